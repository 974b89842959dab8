//! Builds the component, serves it with `host` as `host.toml` says, and asks it.
mod support;

use support::Host;

#[test]
fn app_answers_with_the_path_and_with_json() {
    let host = Host::serve();
    let hello = host.send("GET /you HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    assert!(hello.starts_with("HTTP/1.1 200 "), "{hello}");
    assert!(hello.contains("hello from /you\n"), "{hello}");
    let time = host.send("GET /api/time HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    assert!(
        time.contains("content-type: application/json\r\n"),
        "{time}"
    );
    assert!(time.contains("{\"unix\": "), "{time}");
    host.stop();
}
