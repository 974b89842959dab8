use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;

use super::{load, parse, schema};
use crate::routes;
use crate::{
    AlpnProtocol, BucketConfig, ClientAuth, DirectoriesConfig, DirectoryConfig, EnvironmentConfig,
    Fail, KeyValueConfig, ListenAddr, ListenerConfig, LoadContext, Manifest, ManifestError,
    NameLookupConfig, Namespace, OutgoingConfig, RequestShutdownConfig, ReuseConfig, SniName,
    Stdio, StoreConfig, TcpConfig, TlsVersion, defaults,
};

pub(super) fn read(text: &str) -> Result<Manifest, ManifestError> {
    parse(text, Path::new("/etc/host/host.toml"), &|name| {
        (name == "TOKEN").then(|| "secret".into())
    })
}

/// The error for a manifest in which one component is right and `more` follows.
pub(super) fn refused(more: &str) -> ManifestError {
    let text = format!("[component.shop]\nsource = \"shop.wasm\"\n{more}");
    read(&text).expect_err(more)
}

#[test]
fn one_component_is_enough() {
    let manifest = read("[component.app]\nsource = \"app.wasm\"").expect("right");
    let default = ListenerConfig::plain(defaults::ADDRESS.parse().expect("an address"));
    assert_eq!(manifest.listen.listeners, [default]);
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
fn the_process_is_read_as_written() {
    let manifest = full();
    let [tcp, unix, public] = &manifest.listen.listeners[..] else { panic!("three listeners") };
    assert_eq!(*tcp, ListenerConfig::plain("0.0.0.0:8080".parse().expect("right")));
    let path = ListenAddr::Unix("/etc/host/run/shop.sock".into());
    assert_eq!(*unix, ListenerConfig::plain(path));
    assert_eq!((public.name.as_deref(), public.proxy_protocol), (Some("public"), true));
    assert_eq!(manifest.listen.control, Some(PathBuf::from("/run/host/shop.sock")));
    assert_eq!(manifest.listen.health, "127.0.0.1:8081".parse::<SocketAddr>().ok());
    assert_eq!(manifest.connection.header_size, 64 * 1024);
    assert!(manifest.listen.trusted_proxies.has("10.1.2.3".parse().ok()));
    assert!(manifest.listen.trusted_proxies.has(None));
    let min_rate = manifest.connection.min_rate.expect("not off");
    assert_eq!((min_rate.bytes_per_second, min_rate.window.as_secs()), (1024, 10));
    assert_eq!(manifest.connection.prefetch, 16 * 1024);
    assert_eq!(manifest.stop.timeout, Duration::from_secs(40));
    assert!(manifest.swap.watch);
    assert_eq!(manifest.total.memory, Some(2 << 30));
    assert_eq!(manifest.connection.body_idle, Duration::from_secs(120), "that of the most patient");
}

#[test]
fn listeners_are_read_as_written() {
    let manifest = full();
    let tls = manifest.listen.listeners[2].tls.as_ref().expect("it has TLS");
    let [shop, others] = &tls.certificates[..] else { panic!("two certificates") };
    assert_eq!(
        (&*shop.cert, &*shop.key),
        ("/etc/host/shop.pem".as_ref(), "/etc/host/shop.key".as_ref())
    );
    assert!(shop.names.is_empty());
    let names: Vec<_> = others.names.iter().map(SniName::as_str).collect();
    assert_eq!(names, ["*.shop.example", "other.example"]);
    let clients = tls.clients.as_ref().expect("they show certificates");
    assert_eq!(clients.authorities, Path::new("/etc/host/clients.pem"));
    assert_eq!(clients.auth, ClientAuth::Optional);
    assert_eq!((&tls.alpn[..], tls.min_version), (&[AlpnProtocol::Http1][..], TlsVersion::Tls13));
    assert_eq!(manifest.connection.handshake, Duration::from_secs(5));
    let line =
        include_str!("../../tests/full.toml").lines().position(|line| line.starts_with("tls ="));
    assert_eq!(tls.line, line.map(|line| line + 1));
}

#[test]
fn one_certificate_needs_no_list_and_a_listener_no_address_beside_it() {
    let manifest = read(
        "[component.app]\nsource = \"app.wasm\"\n[[listener]]\naddress = \"[::]:8443\"\n\
         tls = { cert = \"a.pem\", key = \"a.key\" }\nclient-ca = \"ca.pem\"",
    );
    let [listener] = &manifest.expect("right").listen.listeners[..] else { panic!("one listener") };
    assert_eq!(listener.label(), "[::]:8443");
    let tls = listener.tls.as_ref().expect("it has TLS");
    assert_eq!((tls.certificates.len(), &tls.alpn[..]), (1, &AlpnProtocol::ALL[..]));
    assert_eq!(tls.clients.as_ref().map(|clients| clients.auth), Some(ClientAuth::Required));
    assert_eq!(tls.min_version, TlsVersion::Tls12);
}

#[test]
fn limits_come_from_the_component_then_from_those_of_all() {
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
fn grants_are_read_as_written() {
    let manifest = full();
    let grants = &manifest.components["shop"].grants;
    let environment: &EnvironmentConfig = grants.get().expect("granted");
    let pairs = [("API_TOKEN".into(), "secret".into()), ("MODE".into(), "$5".into())];
    assert_eq!(environment.env, pairs);
    assert_eq!(environment.args, ["shop", "--fast"]);
    assert_eq!(grants.get::<OutgoingConfig>().expect("granted").origins.len(), 2);
    assert!(grants.reach.private && !grants.reach.loopback);
    assert_eq!(grants.get::<TcpConfig>().expect("granted").0[0].port, 5432);
    assert!(grants.get::<NameLookupConfig>().is_some());
    assert!(grants.get::<RequestShutdownConfig>().is_some());
    assert_eq!(grants.stdio, Stdio::Off);
    let DirectoriesConfig(directories) = grants.get().expect("granted");
    let host = "/etc/host/assets".into();
    let assets = DirectoryConfig { host, guest: "/assets".into(), writable: false };
    assert_eq!(directories[0], assets);
    assert!(directories[1].writable);
    let own = Namespace::Own("shop".into(), "carts".into());
    let carts = BucketConfig { store: StoreConfig::Disk("/etc/host/data.redb".into()), space: own };
    let KeyValueConfig(buckets) = grants.get().expect("granted");
    assert_eq!(buckets["carts"], carts);
    assert_eq!(buckets["rates"].space, Namespace::Shared("rates".into()));
}

#[test]
fn headers_of_a_route_are_read_as_written() {
    let manifest = full();
    let headers = manifest.routes[0].headers.as_ref().expect("it has some");
    let text = |fields: &[(http::HeaderName, http::HeaderValue)]| {
        let text = |(name, value): &(http::HeaderName, http::HeaderValue)| {
            format!("{name}: {}", value.to_str().expect("text"))
        };
        fields.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(text(&headers.request.set), ["x-shop: secret"]);
    assert_eq!(headers.request.remove, ["x-debug"]);
    assert_eq!(text(&headers.response.set), ["strict-transport-security: max-age=63072000"]);
    assert_eq!(text(&headers.response.add), ["link: </a>; rel=preload", "vary: origin"]);
    assert_eq!(headers.response.remove, ["server"]);
    assert_eq!(manifest.routes[1].headers, None);
}

#[test]
fn grants_are_summed_up_without_their_secrets() {
    let manifest = full();
    let grants = &manifest.components["shop"].grants;
    let words: Vec<_> = grants.summary().into_iter().map(|(word, _)| word).collect();
    assert_eq!(
        words,
        ["env", "args", "directories", "tcp", "outgoing", "config", "keyvalue", "request-shutdown"],
        "the look-up of names stands beside tcp"
    );
    assert!(grants.summary().iter().all(|(_, what)| !what.contains("secret")));
    assert_eq!(*grants, grants.clone());
    assert_ne!(*grants, manifest.components["auth"].grants);
}

#[test]
fn routes_are_in_the_order_of_the_file() {
    let manifest = full();
    assert_eq!(manifest.components["auth"].fail, Fail::Open);
    let [first, second, third] = &manifest.routes[..] else { panic!("three routes") };
    assert_eq!(first.pattern.host.as_deref(), Some("*.shop.example"));
    assert_eq!(first.pattern.methods, [Method::GET, Method::HEAD]);
    assert_eq!(first.chain.len(), 1);
    assert_eq!(&*first.chain[0].plugin, "auth");
    assert!(first.strip_prefix);
    assert_eq!(second.pattern.path, routes::PathPattern::Exact("/health".into()));
    assert_eq!(third.pattern.host, None);
}

#[test]
fn a_line_that_is_too_long_to_read_is_not_drawn() {
    let report = refused(&format!("x = \"{}\"", "y".repeat(1_000_000)));
    let text = report.to_string();
    assert!(text.len() < 1000, "{}", text.len());
    assert!(text.contains("/etc/host/host.toml:3:1: there is no key `x`"), "{text}");
}

#[test]
fn columns_count_characters() {
    let picture = refused("env = { \"日本\" = \"🦀\", A = 1 }").to_string();
    assert!(picture.contains("host.toml:3:25]"), "{picture}");
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
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
fn a_wrong_limit_of_all_is_reported_once() {
    let text = "[limits]\nmemory = \"0B\"\n[component.a]\nsource = \"a\"\n[component.b]\nsource = \
                \"b\"\n[[route]]\npath = \"/\"\ncomponent = \"a\"";
    let report = read(text).expect_err("no memory");
    assert_eq!(report.problems().len(), 1, "{report}");
}

#[test]
fn a_picture_points_at_the_place_of_a_problem() {
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
fn an_empty_manifest_is_refused() {
    let report = read("").expect_err("nothing");
    assert_eq!(
        report.one_line(),
        "/etc/host/host.toml: the manifest has no component; add [component.NAME] with source = \
         \"app.wasm\""
    );
    // A typo at the top is not followed by reports about what it hides.
    let report = read("[compnent.shop]\nsource = \"x\"").expect_err("nothing");
    assert_eq!(report.problems().len(), 1, "{report}");
}

#[test]
fn missing_files_are_refused() {
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
fn the_schema_agrees_with_the_reader() {
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
