//! `chain = [{ plugin = …, config = … }]`: one plugin, with another configuration on each route.

use crate::support::prelude::*;
use crate::support::site::Site;

fn site(plugin: &str) -> String {
    format!(
        r#"
        [component.mark]
        source = "guest:{plugin}"
        config = {{ mark = "everywhere", other = "kept" }}
        [component.hello]
        source = "guest:hello_p2"
        [[route]]
        path = "/"
        component = "hello"
        chain = ["mark"]
        [[route]]
        path = "/one"
        component = "hello"
        chain = [{{ plugin = "mark", config = {{ mark = "one" }} }}]
        [[route]]
        path = "/two"
        component = "hello"
        chain = [{{ plugin = "mark", config = {{ mark = "two" }} }}]
        "#
    )
}

/// What the plugin has written into the response.
#[track_caller]
fn mark(host: &Host, path: &str) -> String {
    let answer = host.get(path);
    assert_eq!(answer.head.status, 200);
    answer.head.headers_named("x-chain").collect::<Vec<_>>().join(" ")
}

#[test]
fn plugin_has_the_configuration_of_the_route_or_else_its_own() {
    for plugin in ["mark_p2", "mark_p3"] {
        let site = Site::new(&site(plugin));
        let host = site.serve().control().start();
        let all = |host: &Host| ["/", "/one", "/two", "/one/x"].map(|path| mark(host, path));
        assert_eq!(all(&host), ["everywhere", "one", "two", "one"]);

        // One component: it is swapped once, and all routes have what is new.
        site.write(&self::site(plugin).replace("\"two\"", "\"second\""));
        host.ctl(["reload"]).expect_code(0);
        assert_eq!(all(&host), ["everywhere", "one", "second", "one"]);
        let generations = host.ctl(["generations"]).stdout;
        assert_eq!(generations.matches("  mark  ").count(), 1, "{generations}");
    }
}

#[test]
fn same_configuration_elsewhere_in_the_file_is_no_change() {
    let site = Site::new(&site("mark_p2"));
    let host = site.serve().control().start();
    site.write(&format!("# a line more\n\n{}", self::site("mark_p2")));
    let reload = host.ctl(["reload"]);
    reload.expect_code(0);
    assert!(reload.stdout.contains("unchanged"), "{}", reload.stdout);
}

#[test]
fn what_is_wrong_with_an_entry_is_said_with_its_place() {
    for (entry, says) in [
        (r#"{ config = { a = "1" } }"#, "no `plugin`"),
        (r#"{ plugin = "marc" }"#, "did you mean `mark`?"),
        (r#"{ plugin = "mark", conf = { a = "1" } }"#, "conf"),
        (r#"{ plugin = "mark", config = { a = 1 } }"#, "`route.chain.config.a`"),
        (r#"{ plugin = "mark", config = { a = { file = "none" } } }"#, "none is not there"),
        (r#""mark", { plugin = "mark" }"#, "in this chain twice"),
    ] {
        let text = site("mark_p2").replace(r#"chain = ["mark"]"#, &format!("chain = [{entry}]"));
        let check = Host::run(["check", Site::new(&text).text()]);
        check.expect_code(2);
        assert!(check.stderr.contains(says), "{says}: {}", check.stderr);
        assert!(check.stderr.contains("host.toml:10:"), "{}", check.stderr);
    }
}
