use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;

use super::{load, parse, schema};
use crate::routes;
use crate::{
    BucketConfig, Directory, Fail, ListenAddr, LoadContext, Manifest, ManifestError, Namespace,
    ReuseConfig, Stdio, StoreConfig, defaults,
};

fn read(text: &str) -> Result<Manifest, ManifestError> {
    parse(text, Path::new("/etc/host/host.toml"), &|name| {
        (name == "TOKEN").then(|| "secret".into())
    })
}

/// What is said of a manifest in which one component is right and `more` follows.
fn refused(more: &str) -> ManifestError {
    let text = format!("[component.shop]\nsource = \"shop.wasm\"\n{more}");
    read(&text).expect_err(more)
}

#[test]
fn one_component_is_enough() {
    let manifest = read("[component.app]\nsource = \"app.wasm\"").expect("right");
    assert_eq!(manifest.listen.addresses, [defaults::ADDRESS.parse().expect("an address")]);
    assert_eq!((manifest.listen.control, manifest.listen.health), (None, None));
    assert_eq!(manifest.total.instances, 1000);
    let app = &manifest.components["app"];
    assert_eq!(app.source, Path::new("/etc/host/app.wasm"));
    assert_eq!(app.limits.instances, 250, "a quarter of all");
    assert_eq!(app.limits.cpu, Duration::from_secs(10));
    assert_eq!((app.reuse, app.breaker, app.fail), (None, None, Fail::Closed));
    assert_eq!(app.grants, crate::GrantsConfig::default());
    let [route] = &manifest.routes[..] else { panic!("one route") };
    assert_eq!(route.pattern.path, routes::PathPattern::Prefix("/".into()));
    assert_eq!(&*route.component, "app");
}

fn full() -> Manifest {
    read(include_str!("../../tests/full.toml")).expect("right")
}

#[test]
fn the_process_is_as_it_is_said() {
    let manifest = full();
    assert_eq!(
        manifest.listen.addresses,
        [
            "0.0.0.0:8080".parse::<ListenAddr>().expect("right"),
            ListenAddr::Unix("/etc/host/run/shop.sock".into()),
        ]
    );
    assert_eq!(manifest.listen.control, Some(PathBuf::from("/run/host/shop.sock")));
    assert_eq!(manifest.listen.health, "127.0.0.1:8081".parse::<SocketAddr>().ok());
    assert_eq!(manifest.connection.header_size, 64 * 1024);
    let min_rate = manifest.connection.min_rate.expect("not off");
    assert_eq!((min_rate.bytes_per_second, min_rate.of_a_window()), (1024, 10 * 1024));
    assert_eq!(manifest.connection.prefetch, 16 * 1024);
    assert_eq!(manifest.stop.timeout, Duration::from_secs(40));
    assert!(manifest.swap.watch);
    assert_eq!(manifest.total.memory, Some(2 << 30));
    assert_eq!(manifest.connection.body_idle, Duration::from_secs(120), "that of the most patient");
}

#[test]
fn limits_are_those_of_the_component_then_those_of_all() {
    let manifest = full();
    let shop = &manifest.components["shop"];
    assert_eq!(shop.limits.memory, 64 << 20, "its own");
    assert_eq!(shop.limits.cpu, Duration::from_secs(2), "that of all");
    assert_eq!(shop.limits.instances, 100, "a quarter");
    assert_eq!(shop.limits.total, Some(Duration::from_secs(60)));
    assert_eq!(shop.limits.log_rate, Some(64 << 10));
    assert_eq!(shop.limits.body_idle, Duration::from_secs(120));
    let reuse = ReuseConfig { exchanges: 50, concurrency: 4, idle: Duration::from_secs(10) };
    assert_eq!(shop.reuse, Some(reuse));
    assert_eq!(shop.breaker.map(|breaker| breaker.failures), Some(5));
}

#[test]
fn grants_are_as_they_are_said() {
    let manifest = full();
    let grants = &manifest.components["shop"].grants;
    assert_eq!(grants.env, [("API_TOKEN".into(), "secret".into()), ("MODE".into(), "$5".into())]);
    assert_eq!(grants.args, ["shop", "--fast"]);
    assert_eq!(grants.outgoing.len(), 2);
    assert!(grants.reach.private && !grants.reach.loopback);
    assert_eq!(grants.tcp[0].port, 5432);
    assert!(grants.lookup && grants.request_shutdown);
    assert_eq!(grants.stdio, Stdio::Off);
    let assets =
        Directory { host: "/etc/host/assets".into(), guest: "/assets".into(), writable: false };
    assert_eq!(grants.directories[0], assets);
    assert!(grants.directories[1].writable);
    let own = Namespace::Own("shop".into(), "carts".into());
    let carts = BucketConfig { store: StoreConfig::Disk("/etc/host/data.redb".into()), space: own };
    assert_eq!(grants.buckets["carts"], carts);
    assert_eq!(grants.buckets["rates"].space, Namespace::Shared("rates".into()));
}

#[test]
fn routes_are_in_the_order_of_the_file() {
    let manifest = full();
    assert_eq!(manifest.components["auth"].fail, Fail::Open);
    let [first, second, third] = &manifest.routes[..] else { panic!("three routes") };
    assert_eq!(first.pattern.host.as_deref(), Some("*.shop.example"));
    assert_eq!(first.pattern.methods, [Method::GET, Method::HEAD]);
    assert_eq!(first.chain, ["auth".into()]);
    assert!(first.strip_prefix);
    assert_eq!(second.pattern.path, routes::PathPattern::Exact("/health".into()));
    assert_eq!(third.pattern.host, None);
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_what_to_do() {
    let cases = [
        ("[listn]", ":3:2: there is no key `listn` in a manifest", "did you mean `listen`?"),
        ("memory = \"1MiB\"", ":3:1: there is no key `memory`", "into [component.shop.limits]"),
        ("sourc = 1", ":3:1: there is no key `sourc`", "`source`"),
        ("xyzzy = 1", ":3:1: there is no key `xyzzy`", "the keys here are args"),
        ("env = 5", ":3:7: `component.shop.env` is a table, not a number", "as a table"),
        ("args = \"x\"", ":3:8: `component.shop.args` is a list, not text", "brackets"),
        ("source = \"b.wasm\"", ":3:1: duplicate key", "TOML"),
        ("fail = \"shut\"", ":3:8: ", "open"),
        ("smoke = [\"/x\"]", ":3:10: ", "GET /health 200"),
        ("env.\"A=B\" = \"x\"", ":3:5: this is no name for an env", "leave out `=`"),
        ("env.A = \"a\\u0000\"", ":3:9: there is a NUL", "leave it out"),
        ("env.A = \"${NOPE}\"", ":3:10: the environment variable NOPE is not set", "set NOPE"),
        ("env.A = \"${\"", ":3:9: no name stands in ${…}", "$$ for a dollar"),
        (
            "[component.Shop]\nsource = \"x\"\n[[route]]\npath = \"/\"\ncomponent = \"shop\"",
            ":3:12: this is no name for a comp",
            "small letters",
        ),
        (
            "[component.b]\n[[route]]\npath = \"/\"\ncomponent = \"shop\"",
            ":3:1: `component.b` has no `source`",
            "add `source = \"…\"`",
        ),
        ("[component.b]\nsource = \"b\"", "host.toml: the manifest has several", "[[route]]"),
        ("[limits]\ncpu-time = \"0s\"", ":4:12: cpu-time must be longer", "change cpu-time"),
        ("[limits]\nexchange-timeout = \"0s\"", ":4:20: exchange-timeout must be", "[limits]"),
        ("[limits]\nmemory = \"5GiB\"", ":4:10: memory must lie between", "[limits]"),
        ("[limits]\nmemory = \"lots\"", ":4:10: not a size", "64MiB"),
        ("[limits]\nqueue-timeout = \"soon\"", ":4:17: ", "500ms, 25s or 1m30s"),
        ("[limits]\nqueue = -1", ":4:9: `limits.queue` is a number from 0", "whole number"),
        ("[limits]\nqueue = 1.5", ":4:9: `limits.queue` is a number, not a number with", "100"),
        ("[limits]\nhandles = 3", ":4:11: handles must be at least", "change"),
        ("[limits]\ninstances = 2000", ":4:13: instances is more than total.instances", "ch"),
        (
            "limits.memory-total = \"1KiB\"",
            ":3:23: memory-total is less than memory, 128.0 MiB",
            "raise it",
        ),
        ("[total]\ninstances = 0", ":4:13: instances must be at least 1", "[total]"),
        ("[total]\ninstances = 9000", ":4:13: instances can be at most 7500", "[total]"),
        (
            "[total]\nmemory = \"1MiB\"",
            ":4:10: memory is more than total.memory",
            "no instance could",
        ),
        ("[listen]\naddr = []", ":4:8: there is no address", "127.0.0.1:8080"),
        ("[listen]\naddr = [\"x\"]", ":4:9: not an address", "[::1]:8080"),
        ("[listen]\naddr = [\"[::1]:1\", \"[::1]:1\"]", ":4:20: this address is here twice", ""),
        ("[listen]\nmax-header-size = \"1KiB\"", ":4:19: max-header-size must lie", "[listen]"),
        ("[listen]\nmax-connections = 0", ":4:19: max-connections must be at least", ""),
        ("[stop]\ndrain-delay = \"30s\"", ":4:15: drain-delay is part of", "raise drain-timeout"),
        ("[swap]\ncompile-timeout = \"0s\"", ":4:19: compile-timeout must be", "[swap]"),
        ("[swap]\ncompile-memory = \"9MiB\"", ":4:18: compile-memory must be", "at least 64MiB"),
        ("[limits]\ncpu-time = \"off\"", ":4:12: this one is always on", "25s"),
        ("[limits]\ncpu-time = \"-1s\"", ":4:12: no duration is less than", "25s"),
        ("[limits]\ncpu-time = \"5\"", ":4:12: there is no unit in it", "25s"),
        ("[limits]\nrequest-body = \"99999999EiB\"", ":4:16: more than can be", "leave it out"),
        ("env = { \"日本\" = \"🦀\", A = 1 }", ":3:25: `component.shop.env.A` is text", "quotes"),
        ("reuse = { concurrency = 2 }", "has no `exchanges`", "add `exchanges = 100`"),
        (
            "[listen]\naddr = [\"unix:c.sock\"]\ncontrol = \"c.sock\"",
            ":5:11: requests are listened for at this path",
            "another path",
        ),
        ("reuse = { exchanges = 0 }", ":3:23: exchanges must be at least 1", "reuse"),
        ("reuse = { exchanges = 1, concurrency = 2 }", ":3:40: concurrency takes reuse", ""),
        ("reuse = { idle = \"1s\" }", ":3:9: `component.shop.reuse` has no `exchanges`", "add"),
        ("breaker = { failures = 0 }", ":3:24: failures must be at least 1", "breaker"),
    ];
    for (more, says, helps) in cases {
        let report = refused(more);
        let line = report.one_line();
        assert!(line.contains(says) && line.contains(helps), "{more}\n{line}");
        assert_eq!(report.problems().len(), 1, "{more}\n{report}");
    }
}

#[test]
fn grants_that_mean_nothing_are_refused() {
    let cases = [
        ("outgoing = [\"https://x.example/v1\"]", "no path belongs into it", "write an origin"),
        ("outgoing = [\"ftp://x.example\"]", "the scheme is http", "write an origin"),
        ("outgoing = [\"http://Next.host\"]", "takes no grant", "leave it out"),
        ("outgoing-addresses = [\"all\"]", "no kind of addresses", "link-local"),
        ("tcp = [\"db:5432\"]", "an endpoint begins with tcp://", "tcp://db"),
        ("stdio = \"file\"", "neither log nor off", "log or off"),
        ("directories = [{ host = \"a\" }]", "has no `guest`", "add `guest"),
        ("directories = [{ host = \"a\", guest = \"a\" }]", "no path for a guest", "/assets"),
        ("directories = [{ host = \"a\", guest = \"/../a\" }]", "no path for a guest", "/assets"),
        (
            "directories = [{ host = \"a\", guest = \"/a\" }, { host = \"b\", guest = \"/a\" }]",
            "two directories here",
            "another path",
        ),
        (
            "directories = [{ host = \"a\", guest = \"/a\" }, { host = \"b\", guest = \"//a/\" }]",
            "two directories here",
            "another path",
        ),
        ("keyvalue.x = \"man\"", "there is no store `man`", "no store at all"),
        ("keyvalue.x = { shared = \"a\" }", "has no `store`", "add `store"),
        ("keyvalue.x = 5", "is text or a table, not a number", "quotes"),
    ];
    for (grant, says, helps) in cases {
        let report = refused(&format!("[component.shop.grants]\n{grant}"));
        let line = report.one_line();
        assert!(line.contains(":4:") || line.contains(":3:"), "{line}");
        assert!(line.contains(says) && line.contains(helps), "{grant}\n{line}");
        assert_eq!(report.problems().len(), 1, "{grant}\n{report}");
    }
}

#[test]
fn stores_are_checked() {
    let cases = [
        ("[keyvalue.Main]\nbackend = \"memory\"", "no name for a store", "small letters"),
        ("[keyvalue.main]", "has no `backend`", "add `backend"),
        ("[keyvalue.main]\nbackend = \"sqlite\"", "no backend", "memory, disk"),
        ("[keyvalue.main]\nbackend = \"disk\"", "this store has no path", "data.redb"),
        ("[keyvalue.main]\nbackend = \"redis\"", "this store has no url", "redis://"),
        ("[keyvalue.main]\nbackend = \"memory\"\nurl = \"x\"", "has no url", "leave url out"),
        ("[keyvalue.main]\nbackend = \"redis\"\nurl = \"http://x\"", "no URL", "redis://HOST"),
        (
            "[keyvalue.main]\nbackend = \"redis\"\nurl = \"redis://u:p@:99999\"",
            ":5:7: there is no host",
            "redis://HOST:PORT",
        ),
        (
            "[keyvalue.a]\nbackend = \"disk\"\npath = \"x\"\n[keyvalue.b]\nbackend = \"disk\"\npath \
             = \"./x\"",
            "two stores are the same one",
            "another path or url",
        ),
        (
            "[keyvalue.a]\nbackend = \"redis\"\nurl = \"redis://h\"\n[keyvalue.b]\nbackend = \
             \"redis\"\nurl = \"redis://h\"",
            "two stores are the same one",
            "another path or url",
        ),
        (
            "[keyvalue.main]\nbackend = \"memory\"\n[component.shop.grants.keyvalue]\nx = \"mian\"",
            "there is no store `mian`",
            "did you mean `main`?",
        ),
        (
            "[keyvalue.main]\nbackend = \"memory\"\n[component.b]\nsource = \"b\"\ngrants.keyvalue.x = { \
             store = \"main\", share = \"a\" }\n[[route]]\npath = \"/\"\ncomponent = \"b\"",
            "no key `share`",
            "`shared`",
        ),
    ];
    for (more, says, helps) in cases {
        let report = refused(more);
        let line = report.one_line();
        assert!(line.contains(says) && line.contains(helps), "{more}\n{line}");
        assert_eq!(report.problems().len(), 1, "{more}\n{report}");
    }
}

#[test]
fn routes_that_mean_nothing_are_refused() {
    let cases = [
        ("component = \"shop\"", "this route has no path", "path = \"/\""),
        ("path = \"/\"", "`route` has no `component`", "add `component"),
        ("path = \"/\"\ncomponent = \"shpo\"", "no component `shpo`", "did you mean `shop`?"),
        ("pth = \"/\"\ncomponent = \"shop\"", "no key `pth`", "did you mean `path`?"),
        ("path = \"x\"\ncomponent = \"shop\"", "begins with /", "/shop"),
        ("path = \"/x/\"\ncomponent = \"shop\"", "a slash at its end", "write /x:"),
        ("path = \"/x?y\"\ncomponent = \"shop\"", "a query", "without ?"),
        ("path = \"/x/*\"\ncomponent = \"shop\"", "`*` means nothing", "all paths below"),
        ("path = \"/é\"\ncomponent = \"shop\"", "no request has", "%C3%A9"),
        ("path = \"/\"\nexact = \"/\"\ncomponent = \"shop\"", "path or exact", "leave one"),
        (
            "exact = \"/x\"\nstrip-prefix = true\ncomponent = \"shop\"",
            "strip-prefix takes path",
            "in place of exact",
        ),
        ("path = \"/\"\nmethods = []\ncomponent = \"shop\"", "for no method", "leave methods"),
        ("path = \"/\"\nmethods = [\"get\"]\ncomponent = \"shop\"", "not a method", "capitals"),
        ("path = \"/\"\nhost = \"a:80\"\ncomponent = \"shop\"", "no host", "without a port"),
        ("path = \"/\"\nhost = \"http://a\"\ncomponent = \"shop\"", "no host", "without http://"),
        ("path = \"/\"\nhost = \"*\"\ncomponent = \"shop\"", "no host", "*.example"),
        ("path = \"/\"\ncomponent = \"shop\"\nchain = [\"shop\"]", "before itself", "leave it"),
        ("path = \"/\"\ncomponent = \"shop\"\nchain = [\"auht\"]", "no component `auht`", "`auth`"),
        (
            "path = \"/\"\ncomponent = \"shop\"\nchain = [\"auth\", \"auth\"]",
            "in this chain twice",
            "leave one",
        ),
    ];
    for (route, says, helps) in cases {
        let more = format!("[component.auth]\nsource = \"auth.wasm\"\n[[route]]\n{route}");
        let report = refused(&more);
        let line = report.one_line();
        assert!(line.contains(says) && line.contains(helps), "{more}\n{line}");
        assert_eq!(report.problems().len(), 1, "{more}\n{report}");
    }
}

#[test]
fn two_routes_alike_are_both_shown() {
    let route = |more: &str| format!("[[route]]\npath = \"/a\"\ncomponent = \"shop\"\n{more}\n");
    let alike = [
        ("", ""),
        ("host = \"A.example\"", "host = \"a.example.\""),
        ("methods = [\"GET\", \"PUT\"]", "methods = [\"POST\", \"PUT\"]"),
    ];
    for (first, second) in alike {
        let report = refused(&format!("{}{}", route(first), route(second)));
        let [problem] = report.problems() else { panic!("one problem") };
        assert_eq!(problem.places.len(), 2);
        let text = report.to_string();
        assert!(text.contains("the first one") && text.contains("the second one"), "{text}");
    }
    let apart = [
        ("", "methods = [\"GET\"]"),
        ("", "host = \"a.example\""),
        ("host = \"*.a.example\"", "host = \"a.example\""),
        ("methods = [\"GET\"]", "methods = [\"PUT\"]"),
    ];
    for (first, second) in apart {
        let text = format!("[component.shop]\nsource = \"x\"\n{}{}", route(first), route(second));
        assert_eq!(read(&text).expect("right").routes.len(), 2);
    }
}

/// Each component of a chain has an instance until the request is answered: this one would wait for
/// itself.
#[test]
fn a_chain_that_takes_more_instances_than_there_are_is_refused() {
    let of = |total: usize| {
        format!(
            "[total]\ninstances = {total}\n[component.a]\nsource = \"a\"\n[component.b]\nsource = \
             \"b\"\n[component.c]\nsource = \"c\"\n[[route]]\npath = \"/\"\ncomponent = \
             \"c\"\nchain = [\"a\", \"b\"]"
        )
    };
    assert_eq!(read(&of(3)).expect("enough").routes[0].chain.len(), 2);
    let line = read(&of(2)).expect_err("two for three").one_line();
    assert!(line.contains(":12:15: this chain is too long"), "{line}");
    assert!(line.contains("takes 3 instances at once, and total.instances is 2"), "{line}");
}

#[test]
fn a_line_that_nobody_could_read_is_not_drawn() {
    let report = refused(&format!("x = \"{}\"", "y".repeat(1_000_000)));
    let text = report.to_string();
    assert!(text.len() < 1000, "{}", text.len());
    assert!(text.contains("/etc/host/host.toml:3:1: there is no key `x`"), "{text}");
}

#[test]
fn columns_are_those_of_characters() {
    let picture = refused("env = { \"日本\" = \"🦀\", A = 1 }").to_string();
    assert!(picture.contains("host.toml:3:25]"), "{picture}");
}

#[test]
fn all_problems_are_said_at_once_in_the_order_of_the_file() {
    let report = refused("[limits]\nmemory = 5\nqeue = 1\n[swap]\nwatch = \"yes\"");
    let text = report.to_string();
    let lines: Vec<usize> = [":4:10]", ":5:1]", ":7:9]"]
        .iter()
        .map(|place| text.find(place).unwrap_or_else(|| panic!("{place} in\n{text}")))
        .collect();
    assert!(lines.is_sorted());
    assert!(report.one_line().ends_with("(and 2 more)"), "{}", report.one_line());
}

#[test]
fn a_limit_of_all_that_makes_no_sense_is_said_once() {
    let text = "[limits]\nmemory = \"0B\"\n[component.a]\nsource = \"a\"\n[component.b]\nsource = \
                \"b\"\n[[route]]\npath = \"/\"\ncomponent = \"a\"";
    let report = read(text).expect_err("no memory");
    assert_eq!(report.problems().len(), 1, "{report}");
}

#[test]
fn a_picture_points_at_the_place() {
    let report = refused("[swap]\nwatsh = true\n");
    let picture = report.to_string();
    let shown = "  × there is no key `watsh` in `swap`
   ╭─[/etc/host/host.toml:4:1]
 3 │ [swap]
 4 │ watsh = true
   · ──┬──
   ·   ╰── unknown key
   ╰────
  help: did you mean `watch`?";
    assert_eq!(picture, shown);
    assert!(report.render(true).contains('\u{1b}'), "colour if asked");
}

#[test]
fn the_manifest_without_anything_is_refused() {
    let report = read("").expect_err("nothing");
    assert_eq!(
        report.one_line(),
        "/etc/host/host.toml: the manifest has no component; add [component.NAME] with source = \
         \"app.wasm\""
    );
    // A slip at the top is not followed by complaints about what it hides.
    let report = read("[compnent.shop]\nsource = \"x\"").expect_err("nothing");
    assert_eq!(report.problems().len(), 1, "{report}");
}

#[test]
fn files_that_are_not_there_are_refused() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let none = |_: &str| None;
    let report = load(&directory.join("missing.toml"), &none, &LoadContext::default())
        .expect_err("files are missing");
    let text = report.to_string();
    for says in [
        "tests/absent.wasm is not there",
        "tests/absent is not there",
        "tests/full.toml is not a directory",
        "tests/nowhere is not there",
    ] {
        assert!(text.contains(says), "{says} in\n{text}");
    }
    assert_eq!(report.problems().len(), 4, "{text}");
    let report =
        load(&directory.join("no.toml"), &none, &LoadContext::default()).expect_err("no file");
    assert!(report.one_line().contains("no.toml cannot be read: "), "{report}");
}

#[test]
fn the_schema_says_what_the_reader_does() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).expect("JSON");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["$defs"]["Limits"]["properties"]["cpu-time"]["default"], "10s");
    assert_eq!(schema["$defs"]["Limits"]["properties"]["queue"]["type"], "integer");
    assert_eq!(schema["$defs"]["Component"]["required"][0], "source");
    fn described(schema: &serde_json::Value, name: &str) {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let said = property.get("description").is_some() || property.get("$ref").is_some();
            assert!(said, "{name}.{key} has no description");
        }
    }
    described(&schema, "");
    for (name, table) in schema["$defs"].as_object().expect("tables") {
        described(table, name);
    }
}
