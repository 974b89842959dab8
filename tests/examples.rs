//! The examples of `guest/examples`, used as people would use them. (`events` is in `hooks.rs`.)

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::{Duration, Instant};

use crate::example_config::refusal;
use crate::support::chain::Chain;
use crate::support::memory::resident_kib;
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::wire;

#[track_caller]
fn ask(host: &Host, headers: &str) -> Response {
    let mut conn = host.connect();
    conn.send(format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{headers}\r\n")).unwrap();
    conn.read_response("GET").unwrap()
}

/// A line of what `info` tells.
#[track_caller]
fn info_line<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[test]
fn headers_gives_each_request_an_id_and_the_answer_what_browsers_should_be_told() {
    for app in ["info_p2", "info_p3"] {
        let host = Chain::new(&["headers_p3"], app).start();
        let (first, second) = (ask(&host, ""), ask(&host, ""));
        let id = |answer: &Response| {
            let id = answer.header("x-request-id").expect("an id").to_owned();
            assert_eq!(info_line(&answer.text(), "header.x-request-id"), id);
            assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
            id
        };
        assert_ne!(id(&first), id(&second));
        let own = ask(&host, "X-Request-Id: of-the-client\r\n");
        assert_eq!(own.header("x-request-id"), Some("of-the-client"));
        assert_eq!(info_line(&own.text(), "header.x-request-id"), "of-the-client");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "strict-origin-when-cross-origin"),
        ] {
            let values: Vec<_> = own.head.headers_named(name).collect();
            assert_eq!(values, [value], "{name}");
        }
    }
}

/// The SHA-256 of `good`.
const GOOD: &str = "770e607624d689265ca6c44884d0807d9b054d23c473c106c72be9de08b7376c";

/// An application behind API keys, and a component that keeps them.
fn keys(plugin: &str, store: &str) -> String {
    Chain::new(&[plugin], "echo_p3")
        .say("one", "grants.keyvalue.keys = { store = \"main\", shared = \"keys\" }")
        .and(&format!(
            "[component.admin]\nsource = \"guest:grants_p2\"\n\
             grants.keyvalue.keys = {{ store = \"main\", shared = \"keys\" }}\n\
             [[route]]\npath = \"/kv\"\ncomponent = \"admin\"\n[keyvalue.main]\n{store}"
        ))
        .toml()
}

#[track_caller]
fn with_key(host: &Host, key: &[u8]) -> Response {
    let mut conn = host.connect();
    conn.send(
        [b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nx-api-key: ", key, b"\r\n\r\nhi"]
            .concat(),
    )
    .unwrap();
    conn.read_response("POST").unwrap()
}

#[test]
fn apikey_lets_requests_with_a_known_key_pass() {
    for plugin in ["apikey_p2", "apikey_p3"] {
        for store in ["backend = \"memory\"", "backend = \"disk\"\npath = \"keys.redb\""] {
            let site = Site::new(&keys(plugin, store));
            let host = site.serve().start();
            assert_eq!(with_key(&host, b"good").status(), 401, "nobody is known yet");
            assert_eq!(
                host.get(&format!("/kv/set?bucket=keys&key={GOOD}&value=shop-1")).status(),
                200
            );
            let answer = with_key(&host, b"good");
            assert_eq!((answer.status(), answer.text().as_str()), (200, "hi"), "{plugin} {store}");
            assert_eq!(ask(&host, "").status(), 401);
            assert_eq!(ask(&host, "x-api-key: good\r\nx-api-key: good\r\n").status(), 401);
            let long = "x".repeat(2000);
            for key in
                [&b"bad"[..], b"", b"Good", b"goo", b"\xff\xfe", long.as_bytes(), GOOD.as_bytes()]
            {
                let answer = with_key(&host, key);
                assert_eq!(answer.status(), 401, "{plugin} {key:?}");
                assert_ne!(answer.text(), "hi");
            }
            if store.contains("disk") {
                host.signal(Signal::TERM);
                host.wait_exit().expect_code(0);
                let host = site.serve().start();
                assert_eq!(with_key(&host, b"good").status(), 200, "it is kept");
                assert_eq!(host.get(&format!("/kv/delete?bucket=keys&key={GOOD}")).status(), 200);
                assert_eq!(with_key(&host, b"good").status(), 401);
            }
        }
    }
}

#[test]
fn apikey_tells_the_component_behind_whose_key_it_was() {
    let manifest = keys("apikey_p3", "backend = \"memory\"")
        .replace("guest:echo_p3", "guest:info_p3")
        .replace("guest:apikey_p3\"", "guest:apikey_p3\"\nconfig.client-header = \"x-client\"");
    let host = Site::new(&manifest).serve().start();
    assert_eq!(host.get(&format!("/kv/set?bucket=keys&key={GOOD}&value=shop-1")).status(), 200);
    let answer = ask(&host, "x-api-key: good\r\nX-Client: admin\r\nX_Client: admin\r\n");
    assert_eq!((answer.status(), info_line(&answer.text(), "header.x-client")), (200, "shop-1"));
    assert!(!answer.text().contains("admin"), "a client says who it is: {}", answer.text());
}

fn limited(capacity: &str, refill: &str) -> Chain {
    Chain::new(&["ratelimit_p3"], "info_p2")
        .say("one", &format!("config.capacity = {capacity:?}\nconfig.refill = {refill:?}"))
        .say("one", "config.key = \"header:x-api-key\"")
        .say("one", "grants.keyvalue.ratelimit = \"main\"")
        .and("[keyvalue.main]\nbackend = \"memory\"")
}

#[test]
fn ratelimit_lets_exactly_as_many_pass_as_there_are_tokens() {
    let host = limited("3", "0.001").start();
    for _ in 0..3 {
        assert_eq!(ask(&host, "x-api-key: a\r\n").status(), 200);
    }
    for _ in 0..3 {
        let answer = ask(&host, "x-api-key: a\r\n");
        assert_eq!((answer.status(), answer.text().as_str()), (429, ""));
        let seconds: u64 = answer.header("retry-after").expect("when").parse().unwrap();
        assert!((950..=1000).contains(&seconds), "{seconds}");
    }
    assert_eq!(ask(&host, "x-api-key: b\r\n").status(), 200, "another client");
    assert_eq!(ask(&host, "").status(), 200, "one without a key");
}

#[test]
fn ratelimit_counts_right_when_all_come_at_once() {
    let host = limited("10", "0.001").start();
    // A bucket that is full is begun twice if two find it so at once; this one is not full.
    assert_eq!(ask(&host, "x-api-key: a\r\n").status(), 200);
    let passed: usize = thread::scope(|scope| {
        let client = || (0..5).filter(|_| ask(&host, "x-api-key: a\r\n").status() == 200).count();
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().expect("a client that failed")).sum()
    });
    assert_eq!(passed, 9);
}

#[test]
fn ratelimit_refills_with_time_and_not_faster() {
    let host = limited("1", "0.5").start();
    let began = Instant::now();
    let (mut passed, mut refused) = (0, 0);
    while passed < 3 {
        match ask(&host, "").status() {
            200 => passed += 1,
            429 => refused += 1,
            other => panic!("{other}"),
        }
        assert!(began.elapsed() < PATIENCE, "{passed} passed, {refused} refused");
    }
    // Two have waited for two seconds each.
    assert!(began.elapsed() >= Duration::from_millis(3990), "{:?}", began.elapsed());
    assert!(refused > 0);
}

#[test]
fn ratelimit_whose_store_fails_does_as_the_operator_says() {
    for (fail, status) in [("open", 200), ("closed", 502)] {
        // Nothing listens at this port.
        let host = Chain::new(&["ratelimit_p3"], "info_p2")
            .say("one", &format!("fail = {fail:?}\ngrants.keyvalue.ratelimit = \"main\""))
            .and("[keyvalue.main]\nbackend = \"redis\"\nurl = \"redis://127.0.0.1:1/0\"")
            .start();
        assert_eq!(ask(&host, "").status(), status);
    }
    let said = refusal("ratelimit_p3", "");
    assert!(said.contains("the bucket `ratelimit` is not granted"), "{said}");
}

/// Whoever can make up clients could otherwise fill the bucket, and the plugin would fail for everybody.
#[test]
fn ratelimit_forgets_clients_that_have_all_their_tokens_when_the_bucket_is_full() {
    let host = limited("1", "1000").say("one", "limits.keyvalue-size = \"2KiB\"").start();
    for client in 0..60 {
        assert_eq!(ask(&host, &format!("x-api-key: {client}\r\n")).status(), 200, "{client}");
    }
    // Where nobody can be forgotten it fails, and does not count wrong.
    let host = limited("1", "0.001").say("one", "limits.keyvalue-size = \"2KiB\"").start();
    let status = |client: u32| ask(&host, &format!("x-api-key: {client}\r\n")).status();
    let full = (0..60).find(|client| status(*client) == 502).expect("the bucket is full");
    assert!((5..30).contains(&full), "{full} clients fit");
    assert_eq!(status(0), 429, "who is known is counted on");
}

/// A site of files, with a secret beside its folder.
fn files() -> (Site, Host) {
    let site = Site::new(
        "[component.files]\nsource = \"guest:files_p2\"\n\
         grants.directories = [{ host = \"www\", guest = \"/www\" }]\n",
    );
    let www = site.folder.join("www");
    fs::create_dir_all(www.join("sub/deep")).unwrap();
    for (name, text) in [
        ("../secret", "secret"),
        ("index.html", "<p>index"),
        ("a b.txt", "blank"),
        ("style.css", "p {}"),
        ("data.json", "{}"),
        ("code.wasm", "wasm"),
        ("noextension", "bytes"),
        (".hidden", "hidden"),
        ("sub/index.html", "<p>sub"),
        ("empty.txt", ""),
    ] {
        fs::write(www.join(name), text).unwrap();
    }
    symlink("../secret", www.join("relative")).unwrap();
    symlink(site.folder.join("secret"), www.join("absolute")).unwrap();
    symlink("style.css", www.join("inside.css")).unwrap();
    let host = site.serve().start();
    (site, host)
}

#[test]
fn files_are_served_with_their_type_and_length() {
    let (_site, host) = files();
    let mut conn = host.connect();
    for (path, media, text) in [
        ("/", "text/html; charset=utf-8", "<p>index"),
        ("/index.html", "text/html; charset=utf-8", "<p>index"),
        ("/?query=1", "text/html; charset=utf-8", "<p>index"),
        ("/a%20b.txt", "text/plain; charset=utf-8", "blank"),
        ("/style.css", "text/css; charset=utf-8", "p {}"),
        ("/inside.css", "text/css; charset=utf-8", "p {}"),
        ("/data.json?x", "application/json", "{}"),
        ("/code.wasm", "application/wasm", "wasm"),
        ("/noextension", "application/octet-stream", "bytes"),
        ("/sub/", "text/html; charset=utf-8", "<p>sub"),
        ("/empty.txt", "text/plain; charset=utf-8", ""),
    ] {
        let answer = conn.get(path).unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (200, text), "{path}");
        assert_eq!(answer.header("content-type"), Some(media), "{path}");
        let length = text.len().to_string();
        assert_eq!(answer.header("content-length"), Some(length.as_str()), "{path}");
        conn.send(format!("HEAD {path} HTTP/1.1\r\nHost: t\r\n\r\n")).unwrap();
        let head = conn.read_head().unwrap();
        assert_eq!((head.status, head.header("content-type")), (200, Some(media)), "{path}");
        assert_eq!(head.header("content-length"), Some(length.as_str()), "{path}");
    }
}

#[test]
fn files_that_are_not_there_and_paths_that_lead_out_are_404() {
    let (_site, host) = files();
    let mut conn = host.connect();
    for path in [
        "/none",
        "/none/index.html",
        "/index.html/x",
        "/.hidden",
        "/sub/deep/",
        "/../secret",
        "/sub/../../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/%2e%2e%2fsecret",
        "/..%5csecret",
        "/www/../../secret",
        "/relative",
        "/absolute",
        "//../secret",
        "/%00",
        "/%",
        "/%ff",
    ] {
        let answer = conn.get(path).unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (404, ""), "{path}");
    }
    let answer = conn.get("/sub").unwrap();
    assert_eq!((answer.status(), answer.header("location")), (308, Some("./sub/")));
    conn.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n").unwrap();
    let answer = conn.read_response("POST").unwrap();
    assert_eq!((answer.status(), answer.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn files_of_20_mib_are_streamed_and_not_held() {
    let (site, host) = files();
    let bytes: Vec<u8> = (0_u32..5 << 20).flat_map(u32::to_be_bytes).collect();
    fs::write(site.folder.join("www/large.bin"), &bytes).unwrap();
    let mut conn = host.connect();
    assert_eq!(conn.get("/").unwrap().status(), 200);
    let before = resident_kib(&host);
    conn.send(wire::get("/large.bin")).unwrap();
    let head = conn.read_head().unwrap();
    assert_eq!(head.header("content-length"), Some("20971520"));
    // Nothing more is read of it before the client reads.
    let grown = resident_kib(&host).saturating_sub(before);
    assert!(grown < 16 << 10, "grown by {grown} KiB");
    let body = conn.read_body(&head, "GET").unwrap();
    assert!(body.bytes == bytes, "{} bytes, others", body.bytes.len());
    let grown = resident_kib(&host).saturating_sub(before);
    assert!(grown < 16 << 10, "grown by {grown} KiB");
    assert_eq!(conn.get("/").unwrap().status(), 200, "the connection goes on");
    // A file behind plugins is the same file.
    let manifest = fs::read_to_string(site.text()).unwrap();
    site.write(&format!(
        "{manifest}[component.pass]\nsource = \"guest:pass_p2\"\n[component.mark]\nsource = \"guest:mark_p3\"\n\
         [[route]]\npath = \"/\"\ncomponent = \"files\"\nchain = [\"pass\", \"mark\"]\n"
    ));
    let host = site.serve().start();
    let answer = host.get("/large.bin");
    assert!(answer.body.bytes == bytes && answer.header("x-chain") == Some("mark"));
}
