//! Manifests that are refused: each problem has its place, and says what to do.

use super::tests::{read, refused};

/// Refuses a manifest in which one component is right and `more` follows, for one problem with this text and
/// this help. Returns the line.
#[track_caller]
fn assert_refused(more: &str, says: &str, helps: &str) -> String {
    let report = refused(more);
    let line = report.one_line();
    assert!(line.contains(says) && line.contains(helps), "{more}\n{line}");
    assert_eq!(report.problems().len(), 1, "{more}\n{report}");
    line
}

#[test]
fn each_problem_names_its_line_and_what_to_do() {
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
        ("env = { \"日本\" = \"🦀\", A = 1 }", ":3:25: `component.shop.env.A` is text", "quotes"),
        ("reuse = { concurrency = 2 }", "has no `exchanges`", "add `exchanges = 100`"),
        ("reuse = { exchanges = 0 }", ":3:23: exchanges must be at least 1", "reuse"),
        ("reuse = { exchanges = 1, concurrency = 2 }", ":3:40: concurrency takes reuse", ""),
        ("reuse = { idle = \"1s\" }", ":3:9: `component.shop.reuse` has no `exchanges`", "add"),
        ("snapshot = 1", ":3:12: `component.shop.snapshot` is ", "true"),
        (
            "snapshot = true\n[component.b]\nsource = \"b\"\n[[route]]\npath = \"/\"\ncomponent = \"b\"\n\
             chain = [{ plugin = \"shop\", config = { a = \"1\" } }]",
            ":3:12: a route has a config of its own for it",
            "leave out snapshot",
        ),
        ("breaker = { failures = 0 }", ":3:24: failures must be at least 1", "breaker"),
        ("canary = { share = \"60%\" }", ":3:20: a canary gets between", "write it as 5%"),
        ("canary = { for = \"10ms\" }", ":3:18: for must be at least 1s", "nothing is seen"),
        ("canary = { abort-if = \"errors\" }", ":3:23: no rule, because", "errors > 1%"),
        ("canary = { sticky = \"cookie\" }", ":3:21: exchanges do not stick", "header:NAME"),
    ];
    for (more, says, helps) in cases {
        assert_refused(more, says, helps);
    }
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let cases = [
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
            ":3:23: memory-total is less than memory, 128MiB",
            "of which the profile default gives 128MiB",
        ),
        ("[total]\ninstances = 0", ":4:13: instances must be at least 1", "[total]"),
        ("[total]\ninstances = 9000", ":4:13: instances can be at most 7500", "[total]"),
        (
            "[total]\nmemory = \"1MiB\"",
            ":4:10: memory is more than total.memory",
            "no instance could",
        ),
        ("[stop]\ndrain-delay = \"30s\"", ":4:15: drain-delay is part of", "raise drain-timeout"),
        ("[swap]\ncompile-timeout = \"0s\"", ":4:19: compile-timeout must be", "[swap]"),
        ("[swap]\ncompile-memory = \"9MiB\"", ":4:18: compile-memory must be", "at least 64MiB"),
        ("[limits]\ncpu-time = \"off\"", ":4:12: this one is always on", "25s"),
        ("[limits]\ncpu-time = \"-1s\"", ":4:12: no duration is less than", "25s"),
        ("[limits]\ncpu-time = \"5\"", ":4:12: there is no unit in it", "25s"),
        ("[limits]\nrequest-body = \"99999999EiB\"", ":4:16: more than can be", "leave it out"),
    ];
    for (more, says, helps) in cases {
        assert_refused(more, says, helps);
    }
}

#[test]
fn addresses_that_cannot_be_listened_at_are_refused() {
    let cases = [
        ("[listen]\naddr = []", ":4:8: there is no address", "127.0.0.1:8080"),
        ("[listen]\naddr = [\"x\"]", ":4:9: not an address", "[::1]:8080"),
        ("[listen]\naddr = [\"[::1]:1\", \"[::1]:1\"]", ":4:20: this address is here twice", ""),
        ("[listen]\nmax-header-size = \"1KiB\"", ":4:19: max-header-size must lie", "[listen]"),
        ("[listen]\nmax-connections = 0", ":4:19: max-connections must be at least", ""),
        (
            "[listen]\naddr = [\"unix:c.sock\"]\ncontrol = \"c.sock\"",
            ":5:11: requests are listened for at this path",
            "another path",
        ),
    ];
    for (more, says, helps) in cases {
        assert_refused(more, says, helps);
    }
}

#[test]
fn listeners_that_make_no_sense_are_refused() {
    let at = "[[listener]]\naddress = \"127.0.0.1:1\"\n";
    let tls = "tls = { cert = \"a.pem\", key = \"a.key\" }\n";
    let cases = [
        ("", "name = \"Public\"", ":5:8: this is no name for a listener", "small letters"),
        (
            "",
            "tls = { cert = \"a.pem\" }",
            ":5:7: `listener.tls` has no `key`",
            "add `key = \"…\"`: Its private",
        ),
        ("", "tls = { key = \"a.key\" }", ":5:7: `listener.tls` has no `cert`", "add `cert"),
        ("", "tls = [{ key = \"a.key\" }]", ":5:8: `listener.tls` has no `cert`", "add `cert"),
        ("", "tls = []", ":5:7: there is no certificate in it", "{ cert = \"cert.pem\""),
        ("", "tls = true", ":5:7: `listener.tls` is a table or a list, not true", "as a table"),
        (
            "",
            "tls = \"a.pem\"",
            ":5:7: `listener.tls` is a table or a list, not text",
            "as a table",
        ),
        ("", "tls = { cret = \"a.pem\" }", ":5:9: there is no key `cret`", "did you mean `cert`?"),
        (
            "",
            "cert = \"a.pem\"",
            ":5:1: there is no key `cert`",
            "`cert` belongs into [listener.tls]",
        ),
        ("", "alpn = [\"h2\"]", ":5:8: this listener has no TLS", "add tls = { cert"),
        ("", "tls-min = \"1.3\"", ":5:11: this listener has no TLS", "add tls"),
        ("", "client-ca = \"ca.pem\"", ":5:13: this listener has no TLS", "add tls"),
        (tls, "client-auth = \"required\"", ":6:15: there is no client-ca", "add client-ca"),
        (
            tls,
            "client-ca = \"c\"\nclient-auth = \"none\"",
            ":7:15: neither optional nor",
            "optional",
        ),
        (tls, "tls-min = \"1.1\"", ":6:11: not a version of TLS", "write 1.2 or 1.3"),
        (tls, "tls-min = 1.3", ":6:11: `listener.tls-min` is text, not a number", "quotes"),
        (tls, "alpn = [\"h2c\"]", ":6:9: not a protocol that is spoken", "write h2 or http/1.1"),
        (tls, "alpn = []", ":6:8: there is no protocol in it", "leave alpn out"),
        (
            "",
            "tls = { cert = \"a\", key = \"b\", names = [\"a b\"] }",
            ":5:41: not a name that",
            "xn--",
        ),
    ];
    for (tls, more, says, helps) in cases {
        assert_refused(&format!("{at}{tls}{more}"), says, helps);
    }
    assert_refused(
        "[[listener]]\nname = \"a\"",
        ":3:1: `listener` has no `address`",
        "add `address",
    );
}

#[test]
fn listeners_have_addresses_and_names_of_their_own() {
    let both = "[listen]\naddr = [\"127.0.0.1:1\"]\n";
    let listener = |address: &str| format!("[[listener]]\nname = \"a\"\naddress = \"{address}\"\n");
    let twice = format!("{both}{}", listener("127.0.0.1:1"));
    assert_refused(&twice, ":7:11: this address is here twice", "leave one of them out");
    let part = format!("{both}{}", listener("0.0.0.0:1"));
    assert_refused(&part, ":7:11: 0.0.0.0:1 and 127.0.0.1:1 cannot be listened at both", "[::]");
    let names = format!("{}{}", listener("127.0.0.1:1"), listener("127.0.0.1:2"));
    assert_refused(&names, ":7:8: another listener has this name", "its own");
    let control = format!("[listen]\ncontrol = \"c.sock\"\n{}", listener("unix:c.sock"));
    assert_refused(&control, ":4:11: requests are listened for at this path", "another path");
}

#[test]
fn grants_without_a_meaning_are_refused() {
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
        let line = assert_refused(&format!("[component.shop.grants]\n{grant}"), says, helps);
        assert!(line.contains(":4:") || line.contains(":3:"), "{line}");
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
        assert_refused(more, says, helps);
    }
}

#[test]
fn routes_without_a_meaning_are_refused() {
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
        (
            "path = \"/\"\ncompress-credentials = true\ncomponent = \"shop\"",
            "nothing is compressed",
            "compress = true beside it",
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
        assert_refused(&more, says, helps);
    }
}

#[test]
fn two_equal_routes_are_both_shown() {
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

/// Each component of a chain holds an instance until the response to the request: this chain would wait for
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
fn headers_that_are_not_the_operators_are_refused() {
    let route = |headers: &str| {
        format!("[[route]]\npath = \"/\"\ncomponent = \"shop\"\n[route.headers.{headers}")
    };
    for (headers, says, helps) in [
        (
            "response]\nset = { Content-Length = \"1\" }",
            ":7:9: content-length says where",
            "leave it",
        ),
        ("request]\nremove = [\"connection\"]", ":7:11: connection is of one", "leave it"),
        ("request]\nset = { host = \"a\" }", ":7:9: host says which route", "leave it"),
        ("request]\nadd = { X-Forwarded-For = \"a\" }", ":7:9: x-forwarded-for says who", "leave"),
        ("response]\nset = { date = \"a\" }", ":7:9: date is written by the host", "leave it"),
        ("response]\nset = { \"a b\" = \"a\" }", ":7:9: this is no name of a header", "letters"),
        ("response]\nset = { \"\" = \"a\" }", ":7:9: this is no name of a header", "letters"),
        ("response]\nset = { a = \"x\\r\\ny: z\" }", ":7:13: this is no value", "visible"),
        ("response]\nset = { a = \" x\" }", ":7:13: this is no value", "visible"),
        ("response]\nset = { a = \"\u{f6}\" }", ":7:13: this is no value", "visible"),
        ("response]\nset = { a = \"${NOPE}\" }", ":7:14: the environment variable", "set NOPE"),
        ("response]\nset = { a = 1 }", ":7:13: `route.headers.response.set.a` is text", "quotes"),
        ("respons]\nset = { a = \"1\" }", ":6:16: there is no key `respons`", "`response`"),
    ] {
        assert_refused(&route(headers), says, helps);
    }
    let twice = refused(&route("response]\nset = { X-A = \"1\" }\nremove = [\"x-a\"]"));
    assert!(twice.one_line().contains("this header is set or removed twice"), "{twice}");
}

#[test]
fn proxies_are_believed_by_name_of_their_network() {
    let listen = |list: &str| format!("[listen]\ntrusted-proxies = {list}");
    assert_refused(&listen("[\"10.0.0.1/8\"]"), ":4:20: there are bits behind", "write 10.0.0.0/8");
    assert_refused(&listen("[\"unix\", \"*\"]"), ":4:28: neither a network", "10.0.0.0/8");
    assert_refused(&listen("\"10.0.0.0/8\""), ":4:19: ", "brackets");
    assert_refused(
        "[[listener]]\naddress = \"127.0.0.1:1\"\nproxy-protocol = true",
        ":3:1: proxy-protocol is for trusted proxies only",
        "add trusted-proxies",
    );
}
