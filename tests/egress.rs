//! `egress = "name"`: outgoing requests of a component go through a plugin, and only those that it is granted.

use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::upstream::Upstream;

/// A component that fetches what its client says, by way of `plugin`.
fn site(asking: &str, plugin: &str, more: &str, upstream: &Upstream) -> Site {
    Site::new(&format!(
        r#"
        [component.asking]
        source = "guest:{asking}"
        egress = "policy"
        grants.outgoing = ["http://127.0.0.1:{}"]
        [component.policy]
        source = "guest:{plugin}"
        {more}
        [[route]]
        path = "/"
        component = "asking"
        "#,
        upstream.port()
    ))
}

fn fetch(upstream: &Upstream, path: &str) -> String {
    format!("/fetch?url=http://127.0.0.1:{}{path}", upstream.port())
}

#[test]
fn plugin_sees_each_request_that_goes_out_and_its_response_comes_back() {
    for (asking, plugin) in
        [("grants_p2", "mark_p3"), ("grants_p3", "mark_p2"), ("grants_p3", "mark_p3")]
    {
        let upstream = Upstream::start();
        let host =
            site(asking, plugin, "config = { mark = \"policy\" }", &upstream).serve().start();
        let direct = Host::serve(asking)
            .args(["--outgoing", &format!("http://127.0.0.1:{}", upstream.port())])
            .start();
        for path in ["/", "/a?b=c"] {
            let answer = host.get(&fetch(&upstream, path)).text();
            assert_eq!(answer, direct.get(&fetch(&upstream, path)).text());
            assert!(answer.starts_with("200"), "{answer}");
        }
        let heads = upstream.heads();
        let marked: Vec<_> =
            heads.iter().map(|head| head.to_lowercase().contains("x-chain: policy")).collect();
        assert_eq!(marked, [true, false, true, false], "{heads:?}");
        for head in &heads {
            let head = head.to_lowercase();
            assert!(!head.contains("x-forwarded") && !head.contains("next.host"), "{head}");
        }
        host.signal(Signal::TERM);
        host.wait_exit().expect_code(0);
    }
}

#[test]
fn upload_streams_through_the_plugin() {
    let upstream = Upstream::start();
    let host = site("grants_p3", "mark_p3", "", &upstream).serve().start();
    let upload =
        format!("/upload?url=http://127.0.0.1:{}/&method=POST&body=streamed", upstream.port());
    assert_eq!(host.get(&upload).text(), "200\n");
}

#[test]
fn plugin_that_fails_closes_the_way_out_unless_it_is_open() {
    for (more, status, reached) in [("", "502", 0), ("fail = \"open\"", "200", 1)] {
        let upstream = Upstream::start();
        let host = site("grants_p2", "trap_p3", more, &upstream).serve().start();
        let answer = host.get(&fetch(&upstream, "/")).text();
        assert!(answer.starts_with(status), "{more}: {answer}");
        assert_eq!(upstream.requests(), reached, "{more}");
    }
}

#[test]
fn what_is_not_granted_reaches_neither_the_plugin_nor_the_network() {
    let (upstream, other) = (Upstream::start(), Upstream::start());
    let host = site("grants_p2", "mark_p3", "", &upstream).serve().start();
    let answer = host.get(&fetch(&other, "/")).text();
    assert!(answer.starts_with("error: "), "{answer}");
    host.wait_log("outgoing request refused: no grant for");
    assert_eq!(other.requests(), 0);
    // The plugin has no grants, and cannot send elsewhere what it was asked to look at.
    assert_eq!(upstream.requests(), 0);
}

#[test]
fn server_that_is_not_there_is_a_response_as_from_a_proxy() {
    let upstream = Upstream::start();
    let site = site("grants_p2", "mark_p3", "", &upstream);
    let port = upstream.port();
    drop(upstream);
    let host = site.serve().start();
    let answer = host.get(&format!("/fetch?url=http://127.0.0.1:{port}/")).text();
    assert!(answer.starts_with("502"), "{answer}");
}

#[test]
fn egress_that_means_nothing_is_refused_with_its_line() {
    let upstream = Upstream::start();
    for (what, by, says) in [
        ("egress = \"policy\"", "egress = \"polici\"", "did you mean `policy`?"),
        ("egress = \"policy\"", "egress = \"asking\"", "stands before itself"),
        (
            "egress = \"policy\"",
            "egress = \"policy\"\nreuse = { exchanges = 5 }",
            "leave out reuse",
        ),
        ("[[route]]", "egress = \"asking\"\n[[route]]", "has an egress itself"),
    ] {
        let site = site("grants_p2", "mark_p3", "", &upstream);
        let text = std::fs::read_to_string(site.text()).unwrap().replace(what, by);
        site.put_text("host.toml", &text);
        let check = Host::run(["check", site.text()]);
        check.expect_code(2);
        assert!(check.stderr.contains(says), "{says}: {}", check.stderr);
    }
}

#[test]
fn plugin_for_egress_is_no_component_without_a_route() {
    let upstream = Upstream::start();
    let site = site("grants_p2", "mark_p3", "", &upstream);
    let check = Host::run(["check", site.text(), "--strict"]);
    assert!(!check.stdout.contains("no route leads to it"), "{}", check.stdout);
    let site = self::site("grants_p2", "hello_p2", "", &upstream);
    let check = Host::run(["check", site.text()]);
    assert!(
        check.stdout.contains("component policy: it stands in a chain and can pass nothing on"),
        "{}",
        check.stdout
    );
}
