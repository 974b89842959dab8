//! Plugins before a component: who is asked, in which order, and what each of them sees.

use crate::support::chain::Chain;
use crate::support::h2raw::fields;
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::status::{in_use, status, wait_all_instances_free};
use crate::support::stop::whole_log;
use crate::support::wire;

/// Plugins of one kind, of the other, and of both.
const MIXES: [[&str; 3]; 4] =
    [["p2", "p2", "p2"], ["p3", "p3", "p3"], ["p2", "p3", "p2"], ["p3", "p2", "p3"]];

/// The guests called `name` of these kinds.
fn guests(name: &str, kinds: [&str; 3]) -> Vec<String> {
    kinds.iter().map(|kind| format!("{name}_{kind}")).collect()
}

/// A chain of three plugins of the same name before `app`.
fn three(name: &str, kinds: [&str; 3], app: &str) -> Chain {
    let guests = guests(name, kinds);
    Chain::new(&guests.iter().map(String::as_str).collect::<Vec<_>>(), app)
}

/// What the answer says of its way.
fn marks(head: &Head) -> String {
    head.headers_named("x-chain").collect::<Vec<_>>().join(" ")
}

#[test]
fn a_request_goes_through_the_plugins_in_their_order_and_the_answer_back() {
    for kinds in MIXES {
        for app in ["info_p2", "info_p3"] {
            let host = three("mark", kinds, app).start();
            let answer = host.get("/");
            assert_eq!(answer.status(), 200, "{answer}");
            let text = answer.text();
            let seen: Vec<_> =
                text.lines().filter_map(|line| line.strip_prefix("header.x-chain: ")).collect();
            assert_eq!(seen, ["one", "two", "three"], "{kinds:?} {app}");
            assert_eq!(marks(&answer.head), "three two one", "{kinds:?} {app}");
        }
    }
}

#[test]
fn a_plugin_that_answers_keeps_the_request_from_all_behind_it() {
    for kind in ["p2", "p3"] {
        let (mark, bad) = (format!("mark_{kind}"), format!("plugin_bad_{kind}"));
        for fail in ["open", "closed"] {
            let host = Chain::new(&[&mark, &bad, &mark], "trap_p2")
                .say("two", &format!("fail = {fail:?}"))
                .start();
            let mut conn = host.connect();
            conn.send("GET / HTTP/1.1\r\nHost: t\r\nx-fail: early\r\n\r\n").unwrap();
            let answer = conn.read_response("GET").unwrap();
            let whole = (answer.status(), answer.text());
            assert_eq!(whole, (403, "forbidden by the plugin\n".to_owned()));
            assert_eq!(marks(&answer.head), "one", "{kind}: the third was not asked");
            // Now all are, and the last one traps.
            let answer = conn.get("/").unwrap();
            assert_eq!((answer.status(), marks(&answer.head).as_str()), (500, "three one"));
            let line = host.wait_log(says::GUEST_FAILED);
            assert!(line.contains("exchange=") && line.contains("component=\"app\""), "{line}");
        }
    }
}

/// What the edge lets in, every plugin can pass on.
#[test]
fn the_longest_method_and_host_reach_the_application_through_plugins() {
    let (method, name) = ("A".repeat(32), format!("{}:65535", "a".repeat(255)));
    for kinds in MIXES {
        let host = three("mark", kinds, "info_p2").start();
        let mut conn = host.connect();
        conn.send(format!("{method} / HTTP/1.1\r\nHost: {name}\r\n\r\n")).unwrap();
        let answer = conn.read_response(&method).unwrap();
        assert_eq!(answer.status(), 200, "{kinds:?}: {answer}");
        assert_eq!(marks(&answer.head), "three two one");
        let text = answer.text();
        assert!(text.contains(&method) && text.contains(&name), "{text}");
    }
}

/// What `app` says of a request, asked over HTTP/1 and over HTTP/2.
fn info_over_both(host: &Host) -> [String; 2] {
    let mut conn = host.connect();
    conn.send(
        "PUT /a%20b/c?d=e&f HTTP/1.1\r\nHost: shop.example:81\r\nX-Own: 1\r\nx-own: 2\r\n\r\n",
    )
    .unwrap();
    let first = conn.read_response("PUT").unwrap();
    assert_eq!(first.status(), 200, "{first}");
    let mut h2 = H2::connect(host.addr());
    let mut asked = fields("PUT", "/a%20b/c?d=e&f");
    asked[2] = (":authority", "shop.example:81");
    asked.extend([("x-own", "1"), ("x-own", "2")]);
    h2.send_fields(1, &asked, true);
    let second = h2.expect_answer(1);
    assert_eq!(second.status, 200, "{second:?}");
    [first.text(), String::from_utf8(second.body).unwrap()]
}

/// Lines in the order of their names. Those of one name keep theirs; between names there is none (RFC 9110 §5.3).
fn by_name(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort_by_key(|line| line.split_once(": ").map(|(name, _)| name.to_owned()));
    lines
}

#[test]
fn the_application_sees_of_a_request_what_it_would_see_without_plugins() {
    for app in ["info_p2", "info_p3"] {
        let alone = info_over_both(&Chain::new(&[], app).start());
        for text in &alone {
            for line in [
                "method: PUT",
                "authority: shop.example:81",
                "path: /a%20b/c?d=e&f",
                "header.x-own: 2",
            ] {
                assert!(text.lines().any(|l| l == line), "no {line:?} in {text}");
            }
        }
        for kinds in MIXES {
            let told = info_over_both(&three("pass", kinds, app).start());
            let seen = |texts: &[String]| {
                texts.iter().map(|it| by_name(&without_trace(it))).collect::<Vec<_>>()
            };
            assert_eq!(seen(&told), seen(&alone), "{kinds:?} before {app}");
        }
    }
}

#[test]
fn a_prefix_is_stripped_for_the_last_one_only() {
    for kind in ["p2", "p3"] {
        let site = Site::new(&format!(
            "[component.plugin]\nsource = \"guest:info_{kind}\"\n\
             [component.pass]\nsource = \"guest:pass_{kind}\"\n\
             [component.again]\nsource = \"guest:pass_{kind}\"\n\
             [component.app]\nsource = \"guest:info_{kind}\"\n\
             [[route]]\npath = \"/seen\"\ncomponent = \"app\"\nchain = [\"pass\", \"plugin\"]\n\
             strip-prefix = true\n\
             [[route]]\npath = \"/shop\"\ncomponent = \"app\"\nchain = [\"pass\", \"again\"]\n\
             strip-prefix = true\n"
        ));
        let host = site.serve().start();
        for (path, seen) in [
            ("/seen/x?y", "/seen/x?y"),
            ("/shop/x?y", "/x?y"),
            ("/shop/shop/x", "/shop/x"),
            ("/shop", "/"),
            ("/shop?q=1", "/?q=1"),
        ] {
            let text = host.get(path).text();
            assert!(text.contains(&format!("\npath: {seen}\n")), "{path} as {kind}: {text}");
        }
    }
}

#[test]
fn next_host_leads_nowhere_from_a_component_that_is_no_plugin() {
    for (guest, fetch) in [("grants_p2", "/fetch"), ("grants_p3", "/fetch")] {
        for plugins in [&[][..], &["pass_p2"], &["pass_p3"]] {
            let chain = Chain::new(plugins, guest)
                .say("app", "grants.outgoing = [\"http://granted.example\"]");
            let host = chain.start();
            for url in ["http://next.host/", "http://next.host:80/x", "http://next.host:81"] {
                let answer = host.get(&format!("{fetch}?url={url}"));
                assert_eq!(answer.status(), 200, "{answer}");
                assert!(answer.text().starts_with("error: "), "{url}: {answer}");
            }
            let line = host.wait_log(says::NOTHING_AFTER);
            assert!(line.contains("component=\"app\""), "{line}");
        }
    }
}

#[test]
fn a_plugin_and_an_application_have_each_their_own_grants() {
    for kind in ["p2", "p3"] {
        // What the plugin has, the application has not.
        let plugin = format!("pass_{kind}");
        let host = Chain::new(&[&plugin], "grants_p2")
            .say("one", "env.SECRET = \"x\"\nargs = [\"secret\"]")
            .say("one", "grants.outgoing = [\"http://127.0.0.1:1\"]")
            .say("one", "grants.outgoing-addresses = [\"loopback\"]")
            .say("one", "grants.keyvalue.keys = \"main\"")
            .and("[keyvalue.main]\nbackend = \"memory\"")
            .start();
        let text = host.get("/").text();
        for line in ["env: 0", "args: 0", "http: denied"] {
            assert!(text.lines().any(|l| l == line), "no {line:?} in {text}");
        }
        assert_eq!(host.get("/config?key=mark").text(), "app\n");
        let text = host.get("/kv/get?bucket=keys&key=a").text();
        assert!(text.contains("access-denied"), "{text}");
    }
    // And the other way round: a key would be there, but not for the plugin.
    let host = Chain::new(&["apikey_p2"], "grants_p2")
        .say("app", "grants.keyvalue.keys = \"main\"")
        .and("[keyvalue.main]\nbackend = \"memory\"")
        .and("[[route]]\npath = \"/kv\"\ncomponent = \"app\"")
        .start();
    // The SHA-256 of `good`.
    let digest = "770e607624d689265ca6c44884d0807d9b054d23c473c106c72be9de08b7376c";
    assert_eq!(host.get(&format!("/kv/set?bucket=keys&key={digest}&value=1")).status(), 200);
    let mut conn = host.connect();
    conn.send("GET / HTTP/1.1\r\nHost: t\r\nx-api-key: good\r\n\r\n").unwrap();
    let answer = conn.read_response("GET").unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (502, "bad gateway\n"));
    let line = host.wait_log("guest opens a key-value bucket that it was not granted");
    assert!(line.contains("component=\"one\""), "{line}");
}

#[test]
fn what_is_wrong_with_the_application_comes_through_its_plugins_as_an_answer() {
    for kinds in MIXES {
        for fail in ["open", "closed"] {
            let open = format!("fail = {fail:?}");
            let host = three("mark", kinds, "trap_p3").say("one", &open).start();
            let answer = host.get("/");
            assert_eq!((answer.status(), answer.text().as_str()), (500, "internal error\n"));
            assert_eq!(marks(&answer.head), "three two one");

            let slow = "limits.response-head-timeout = \"100ms\"";
            let host = three("mark", kinds, "sleep_p2").say("two", &open).say("app", slow).start();
            let answer = host.get("/?ms=60000");
            assert_eq!((answer.status(), answer.text().as_str()), (504, "took too long\n"));
            assert_eq!(marks(&answer.head), "three two one");

            let few = "limits.instances = 1\nlimits.queue = 0";
            let host = three("mark", kinds, "gate_p3").say("three", &open).say("app", few).start();
            let mut held = host.connect();
            held.send(wire::chunked("/head")).unwrap();
            host.wait_log(says::GATE_STARTED);
            let answer = host.get("/");
            assert_eq!((answer.status(), answer.text().as_str()), (503, "too busy\n"));
            assert_eq!(answer.header("retry-after"), Some("1"));
            assert_eq!(marks(&answer.head), "three two one");
            held.send(wire::LAST_CHUNK).unwrap();
            assert_eq!(held.read_response("POST").unwrap().text(), "done\n");
            drop(held);
            assert!(!whole_log(host).contains(says::PASSED_BY), "no plugin has failed");
        }
    }
}

#[test]
fn a_client_that_goes_away_takes_the_instances_of_all_its_chain_along() {
    for kinds in MIXES {
        for app in ["gate_p2", "gate_p3"] {
            let host = three("mark", kinds, app).start_with_control();
            for path in ["/head", "/"] {
                let mut conn = host.connect();
                let mark = host.mark();
                conn.send(wire::chunked(path)).unwrap();
                if path == "/" {
                    assert_eq!(conn.read_head().unwrap().status, 200);
                } else {
                    host.wait_log_after(mark, says::GATE_STARTED);
                }
                assert!(
                    in_use(&status(&host)).iter().all(|(_, count)| *count == 1),
                    "{:?}",
                    in_use(&status(&host))
                );
                conn.reset();
                wait_all_instances_free(&host);
            }
            let log = host.log();
            assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
        }
    }
}

#[test]
fn a_stream_that_its_client_resets_ends_the_chain_and_leaves_its_neighbours() {
    for kinds in MIXES {
        let host = three("pass", kinds, "drip_p3").start_with_control();
        let mut h2 = H2::connect(host.addr());
        h2.get(1, "/?n=100000&ms=5");
        h2.get(3, "/?n=3&ms=50");
        assert_eq!(h2.expect_data(1).0, b"tick 1\n");
        h2.send_rst(1, 8);
        assert_eq!(h2.expect_answer(3).body, b"tick 1\ntick 2\ntick 3\n");
        wait_all_instances_free(&host);
    }
}
