//! Headers that a route sets, adds and removes: without a guest, for every response of the route.

use crate::support::h2raw::fields;
use crate::support::prelude::*;
use crate::support::site::Site;

const HSTS: &str = "max-age=63072000; includeSubDomains";

/// A component at `/` with these headers, behind plugins that read what it is sent.
fn site(more: &str) -> Site {
    Site::new(&format!(
        "{more}[component.info]\nsource = \"guest:info_p3\"\n[component.mark]\nsource = \"guest:mark_p2\"\n\
         config.mark = \"m\"\n[component.slow]\nsource = \"guest:sleep_p2\"\n\
         limits.response-head-timeout = \"100ms\"\nlimits.request-body = \"10B\"\n\
         [[route]]\npath = \"/\"\ncomponent = \"info\"\nchain = [\"mark\"]\n\
         [route.headers.request]\nremove = [\"X-Debug\"]\nset = {{ x-tenant = \"shop\" }}\n\
         add = {{ x-chain = \"edge\" }}\n\
         [route.headers.response]\nset = {{ strict-transport-security = \"{HSTS}\" }}\n\
         add = {{ x-chain = \"edge\" }}\nremove = [\"content-type\"]\n\
         [[route]]\npath = \"/slow\"\ncomponent = \"slow\"\nmethods = [\"GET\", \"POST\"]\n\
         [route.headers.response]\nset = {{ strict-transport-security = \"{HSTS}\", retry-after = \"9\" }}\n"
    ))
}

#[test]
fn a_route_changes_headers_at_the_edge_and_not_between_plugins() {
    let host = site("").serve().start();
    let mut conn = host.connect();
    conn.send(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Debug: 1\r\nX-Debug: 2\r\nX-Tenant: other\r\nX-Chain: own\r\n\r\n",
    )
    .unwrap();
    let answer = conn.read_response("GET").unwrap();
    let told = answer.text();
    assert!(!told.contains("x-debug"), "{told}");
    let seen = |name: &str| -> Vec<String> {
        let line = |line: &str| Some(line.strip_prefix(&format!("header.{name}: "))?.to_owned());
        told.lines().filter_map(line).collect()
    };
    assert_eq!(seen("x-tenant"), ["shop"]);
    // Once, before the plugin.
    assert_eq!(seen("x-chain"), ["own", "edge", "m"]);
    let named = |name: &str| answer.head.headers_named(name).collect::<Vec<_>>();
    assert_eq!(named("strict-transport-security"), [HSTS]);
    assert_eq!(named("x-chain"), ["m", "edge"]);
    assert_eq!(named("content-type"), Vec::<&str>::new());
}

#[test]
fn responses_of_the_host_itself_have_them_too() {
    let host = site("").serve().start();
    for (request, status) in [
        ("GET /slow?ms=60000 HTTP/1.1\r\nHost: a\r\n\r\n", 504),
        ("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n01234567890", 413),
    ] {
        let mut conn = host.connect();
        conn.send(request).unwrap();
        let answer = conn.read_response("GET").unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.header("strict-transport-security"), Some(HSTS), "{status}");
        // What the host has set is set anew, like what a guest has set.
        assert_eq!(answer.header("retry-after"), Some("9"), "{status}");
        assert!(answer.header("x-request-id").is_some());
    }
    // Refused before it could have a route.
    let mut conn = host.connect();
    conn.send("GET /slow HTTP/1.1\r\nHost: a b\r\n\r\n").unwrap();
    let answer = conn.read_response("GET").unwrap();
    assert_eq!((answer.status(), answer.header("strict-transport-security")), (400, None));
    let mut h2 = H2::connect(host.addr());
    h2.send_fields(1, &fields("GET", "/slow?ms=60000"), true);
    let answer = h2.expect_answer(1);
    let hsts = answer.headers.iter().find(|(name, _)| name == "strict-transport-security");
    assert_eq!((answer.status, hsts.map(|(_, value)| &**value)), (504, Some(HSTS)));
}

#[test]
fn they_are_reloaded_like_routes_and_without_a_connection_closed() {
    let site = site("");
    let host = site.serve().control().start();
    let mut conn = host.connect();
    assert_eq!(conn.get("/").unwrap().header("strict-transport-security"), Some(HSTS));
    let manifest = std::fs::read_to_string(site.file("host.toml")).unwrap();
    site.write(&manifest.replace(HSTS, "max-age=1"));
    host.ctl(["reload"]).expect_code(0);
    assert_eq!(conn.get("/").unwrap().header("strict-transport-security"), Some("max-age=1"));
    site.write(&manifest.replace("x-tenant =", "connection ="));
    let refused = host.ctl(["reload"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("connection is of one connection"), "{}", refused.stderr);
    assert_eq!(conn.get("/").unwrap().header("strict-transport-security"), Some("max-age=1"));
}
