//! Tells what it was asked: one `key: value` a line for method, scheme, authority, path, and
//! `header.NAME: VALUE` for each header.
//! Learnt from it: what the host hands to a guest of a request, and what it keeps back.

use kit::types::Method;
use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    let raw = &request.raw;
    let method = match raw.get_method() {
        Method::Other(name) => name,
        known => kit::case(known).to_uppercase(),
    };
    let scheme = raw.get_scheme().map_or("none".into(), kit::case);
    let authority = raw.get_authority().unwrap_or("none".into());
    let path = raw.get_path_with_query().unwrap_or_default();
    let mut text =
        format!("method: {method}\nscheme: {scheme}\nauthority: {authority}\npath: {path}\n");
    for (name, value) in raw.get_headers().copy_all() {
        text += &format!("header.{name}: {}\n", String::from_utf8_lossy(&value));
    }
    kit::answer(&text)
}
