//! The plugin `rewrite` of `guest/examples`: headers and paths.

use crate::support::chain::Chain;
use crate::support::wire;

#[test]
fn rewrite_removes_sets_and_adds_headers_in_both_directions() {
    let host = Chain::new(&["rewrite_p3", "headers_p3"], "info_p3")
        .say("one", "config.request-remove = \"x-secret x-other\"")
        .say("one", "config.request-set = \"\"\"x-from: rewrite\nx-request-id: fixed: 1\"\"\"")
        .say("one", "config.request-add = \"x-list: two\"")
        .say("one", "config.response-remove = \"x-frame-options\"")
        .say("one", "config.response-set = \"referrer-policy: origin\"")
        .say("one", "config.response-add = \"x-content-type-options: twice\"")
        .start();
    let mut conn = host.connect();
    conn.send(
        "GET / HTTP/1.1\r\nHost: t\r\nX-Secret: 1\r\nX-Secret: 2\r\nX-From: client\r\nX-From: client\r\n\
         X-List: one\r\n\r\n",
    )
    .unwrap();
    let answer = conn.read_response("GET").unwrap();
    let text = answer.text();
    let lines = |name: &str| -> Vec<String> {
        let begin = format!("header.{name}: ");
        text.lines().filter_map(|line| line.strip_prefix(&begin)).map(str::to_owned).collect()
    };
    assert_eq!(lines("x-secret"), Vec::<String>::new());
    assert_eq!(lines("x-from"), ["rewrite"]);
    assert_eq!(lines("x-request-id"), ["fixed: 1"]);
    assert_eq!(lines("x-list").join(", "), "one, two");
    let answered =
        |name: &str| answer.head.headers_named(name).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(answered("x-frame-options"), Vec::<String>::new());
    assert_eq!(answered("referrer-policy"), ["origin"]);
    assert_eq!(answered("x-content-type-options"), ["nosniff", "twice"]);
}

#[test]
fn rewrite_replaces_the_beginning_of_a_path_at_whole_segments() {
    let host = Chain::new(&["rewrite_p3"], "info_p3")
        .say("one", "config.paths = \"\"\"\n/old /new\n/old/deep /other/\n/gone/ /\n\"\"\"")
        .start();
    for (sent, seen) in [
        ("/old", "/new"),
        ("/old/", "/new/"),
        ("/old/x/y?q=/old", "/new/x/y?q=/old"),
        ("/old?q", "/new?q"),
        ("/older", "/older"),
        ("/x/old", "/x/old"),
        ("/old/deep", "/other"),
        ("/old/deep/x", "/other/x"),
        ("/old/deeper", "/new/deeper"),
        ("/gone", "/"),
        ("/gone/x", "/x"),
        ("/gone?q", "/?q"),
        ("/%6fld", "/%6fld"),
        ("/", "/"),
    ] {
        let text = host.get(sent).text();
        let line = format!("path: {seen}\n");
        assert!(text.contains(&line), "{sent}: no {line:?} in {text}");
    }
}

/// Bodies go by as they come, and a part never looks like the whole.
#[test]
fn rewrite_hands_bodies_over_in_pieces() {
    let host = Chain::new(&["rewrite_p3"], "echo_p3")
        .say("one", "config.request-set = \"x-a: 1\"\nconfig.response-set = \"x-b: 2\"")
        .start();
    let mut conn = host.connect();
    conn.send(wire::chunked("/")).unwrap();
    conn.send(wire::chunk("one")).unwrap();
    let head = conn.read_head().unwrap();
    assert_eq!((head.status, head.header("x-b")), (200, Some("2")));
    assert_eq!(conn.read_chunk().unwrap().as_deref(), Some(&b"one"[..]));
    conn.send(wire::chunk("two")).unwrap();
    assert_eq!(conn.read_chunk().unwrap().as_deref(), Some(&b"two"[..]));
    conn.send(wire::LAST_CHUNK).unwrap();
    assert_eq!(conn.read_chunk().unwrap(), None);
}
