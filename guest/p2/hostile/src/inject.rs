//! Headers and parts of a request that would be something else on the wire, or too much to keep. The
//! same for both worlds: each attempt's outcome, and the fields with all that was taken.

use kit::types::{Fields, Method, Scheme};

use crate::message::{new_request, new_response};

/// More than anybody keeps for a guest that may have thousands of requests.
const LONG: usize = 4 << 20;

const SPLIT: &str = "v\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\ninjected";

/// Tells for each attempt whether it was `taken` or `refused`.
pub fn inject() -> (Fields, String) {
    let headers = Fields::new();
    let mut told = String::new();
    let mut tell = |what: &str, taken: bool| {
        told += &format!("{what}: {}\n", if taken { "taken" } else { "refused" });
    };
    let values = [
        ("cr lf", "v\r\nx-evil: 1"),
        ("lf", "v\nx-evil: 1"),
        ("cr", "v\rx-evil: 1"),
        ("nul", "v\0"),
        ("split", SPLIT),
    ];
    for (what, value) in values {
        tell(&format!("append {what}"), headers.append("x-a", value.as_bytes()).is_ok());
        tell(&format!("set {what}"), headers.set("x-b", &[value.into()]).is_ok());
        let list = [("x-c".into(), value.into())];
        tell(&format!("from-list {what}"), Fields::from_list(&list).is_ok());
    }
    for name in ["x-a: 1\r\nx-evil", "x evil", "x-evil:", "x\0evil", "", "\u{e9}vil"] {
        tell(&format!("name {name:?}"), headers.append(name, b"v").is_ok());
    }
    request(&mut tell);
    for status in [0, 99, 600, 1000] {
        let response = new_response(Fields::new());
        tell(&format!("status {status}"), response.set_status_code(status).is_ok());
    }
    (headers, told)
}

fn request(tell: &mut impl FnMut(&str, bool)) {
    let request = new_request(Fields::new());
    let line = " HTTP/1.1\r\nx-evil: 1";
    for method in ["GET /\r\n", "G ET", ""] {
        let taken = request.set_method(&Method::Other(method.into())).is_ok();
        tell(&format!("method {method:?}"), taken);
    }
    tell("path", request.set_path_with_query(Some(&format!("/{line}"))).is_ok());
    for authority in ["a\r\nx-evil: 1", "user@a", "a/b", "a b", ""] {
        let taken = request.set_authority(Some(authority)).is_ok();
        tell(&format!("authority {authority:?}"), taken);
    }
    tell("method long", request.set_method(&Method::Other("A".repeat(LONG))).is_ok());
    tell("authority long", request.set_authority(Some(&"a".repeat(LONG))).is_ok());
    tell("path long", request.set_path_with_query(Some(&"/a".repeat(LONG / 2))).is_ok());
    tell("scheme", request.set_scheme(Some(&Scheme::Other("ht\r\ntp".into()))).is_ok());
}

/// The same with headers that are about the connection, in any letters.
pub fn forbidden() -> (Fields, String) {
    let headers = Fields::new();
    let mut told = String::new();
    let names = [
        ("connection", "close"),
        ("keep-alive", "timeout=9"),
        ("transfer-encoding", "chunked"),
        ("Transfer-Encoding", "identity"),
        ("upgrade", "h2c"),
        ("host", "evil.example"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authenticate", "Basic"),
        ("proxy-authorization", "Basic"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("te", "trailers"),
        (":status", "201"),
    ];
    for (name, value) in names {
        let appended = headers.append(name, value.as_bytes()).is_ok();
        let set = headers.set(name, &[value.into()]).is_ok();
        let listed = Fields::from_list(&[(name.into(), value.into())]).is_ok();
        let taken = appended || set || listed;
        told += &format!("{name}: {}\n", if taken { "taken" } else { "refused" });
    }
    (headers, told)
}

/// Every header that is taken.
pub fn headers() -> (Fields, String) {
    let headers = Fields::new();
    let taken = (0..).take_while(|i| headers.append(&format!("x-{i}"), &[b'v'; 1000]).is_ok());
    let text = format!("refused at {}\n", taken.count());
    (headers, text)
}
