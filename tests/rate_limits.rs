//! Rate limits of routes: what goes beyond them is answered by the host, without an instance.

use std::sync::Barrier;
use std::thread;

use crate::support::access_log;
use crate::support::app::text;
use crate::support::certificates::{Authority, TlsClient};
use crate::support::h2raw::fields;
use crate::support::metrics::{self, Metrics};
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::status::status;
use crate::support::wire;

/// `hello_p2` under `/`, with this rate limit.
fn limited(limit: &str) -> String {
    format!(
        "[component.shop]\nsource = \"guest:hello_p2\"\n\
         [[route]]\npath = \"/\"\ncomponent = \"shop\"\n[route.rate-limit]\n{limit}\n"
    )
}

/// One that no test lives to see refilled.
const THREE: &str = "rate = \"1/h\"\nburst = 3";

/// A `GET` with one more field.
fn get_with(field: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a.test\r\n{field}\r\n\r\n")
}

#[track_caller]
fn ask(conn: &mut Conn, request: impl AsRef<[u8]>) -> Response {
    conn.send(request).expect("the host reads");
    conn.read_response("GET").expect("an answer")
}

#[test]
fn exactly_the_burst_is_served_to_64_clients_at_once() {
    let site = Site::new(&limited("rate = \"1/h\"\nburst = 100"));
    let host = site.serve().args(metrics::ARGS).start();
    let all_are_here = Barrier::new(64);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let clients: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(|| {
                    let mut conn = host.connect();
                    all_are_here.wait();
                    let status = |_| ask(&mut conn, wire::get("/")).status();
                    (0..5).map(status).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("it is answered")).collect()
    });
    let with = |status: u16| statuses.iter().filter(|each| **each == status).count();
    assert_eq!((with(200), with(429)), (100, 220));
    // No instance was taken for what was refused.
    let told = Metrics::wait(&host, |told| told.sum("host_exchanges_total", &[]) == 320.0);
    assert_eq!(told.sum("host_stages_total", &[("host_component", "shop")]), 100.0);
    let refused = [("reason", "rate-limited"), ("http_route", "/*"), ("host_component", "shop")];
    assert_eq!(told.sum("host_exchanges_total", &refused), 220.0);
    assert_eq!(told.sum("host_refusals_total", &refused[..1]), 220.0);
    assert_eq!(told.sum("host_rate_limit_keys", &refused[1..]), 1.0);
}

#[test]
fn refusal_says_what_the_limit_is_and_when_to_come_back() {
    let site = Site::new(&limited(THREE));
    let host = site.serve().start();
    let mut conn = host.connect();
    for left in ["2", "1", "0"] {
        let answer = ask(&mut conn, wire::get("/"));
        assert_eq!(answer.status(), 200, "{answer}");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=3;w=10800"));
        let limit = answer.header("ratelimit").expect("it says what is left");
        assert!(limit.starts_with(&format!("\"default\";r={left};t=")), "{limit}");
        assert_eq!(answer.header("retry-after"), None);
    }
    let refused = ask(&mut conn, wire::get("/"));
    assert_eq!((refused.status(), &*refused.text()), (429, "too many requests\n"));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"default\";q=3;w=10800"));
    let retry: u64 = refused.header("retry-after").expect("it says when").parse().unwrap();
    assert!((3500..=3600).contains(&retry), "one comes back in an hour: {retry}");
    assert_eq!(refused.header("ratelimit"), Some(&*format!("\"default\";r=0;t={retry}")));
    assert!(!refused.head.says_close(), "its connection goes on: {refused}");
    assert_eq!(ask(&mut conn, wire::get("/")).status(), 429);
}

#[test]
fn refusal_can_be_503() {
    let site = Site::new(&limited("rate = \"1/h\"\nanswer = 503"));
    let host = site.serve().start();
    assert_eq!(host.get("/").status(), 200);
    let refused = host.get("/");
    assert_eq!(refused.status(), 503);
    assert!(refused.header("retry-after").is_some());
}

#[test]
fn upload_is_turned_away_without_being_read_and_a_small_one_keeps_its_connection() {
    let site = Site::new(&limited("rate = \"1/h\""));
    let host = site.serve().start();
    let mut conn = host.connect();
    assert_eq!(ask(&mut conn, wire::get("/")).status(), 200);
    let post = |length: usize| {
        format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n")
    };
    conn.send(post(5) + "small").unwrap();
    let small = conn.read_response("POST").unwrap();
    assert_eq!((small.status(), small.head.says_close()), (429, false), "{small}");
    // Nothing of this one is sent.
    conn.send(post(1 << 20)).unwrap();
    let large = conn.read_response("POST").unwrap();
    assert_eq!((large.status(), large.head.says_close()), (429, true), "{large}");
}

#[test]
fn same_value_of_a_header_is_the_same_key_over_every_connection_and_protocol() {
    let site = Site::new(&limited(&format!("key = \"header:x-api-key\"\n{THREE}")));
    let host = site.serve().start();
    let over_h1 =
        |key: &str| ask(&mut host.connect(), get_with(&format!("X-API-Key: {key}"))).status();
    let over_h2 = |key: &str| {
        let (mut h2, mut fields) = (H2::connect(host.addr()), fields("GET", "/"));
        fields.push(("x-api-key", key));
        h2.send_fields(1, &fields, true);
        h2.expect_answer(1).status
    };
    assert_eq!([over_h1("a"), over_h2("a"), over_h1("a"), over_h2("a")], [200, 200, 200, 429]);
    assert_eq!([over_h2("b"), over_h1("a"), over_h1("A")], [200, 429, 200]);
    // Those without one are one, with those that have several.
    let without = |_| host.get("/").status();
    assert_eq!([1, 2].map(without), [200, 200]);
    let several = |key: &str| {
        ask(&mut host.connect(), get_with(&format!("X-API-Key: {key}\r\nX-API-Key: a"))).status()
    };
    assert_eq!(["c", "d"].map(several), [200, 429]);
}

#[test]
fn client_behind_a_trusted_proxy_is_who_the_proxy_says_and_no_other_can_choose() {
    let behind = |address: &str| get_with(&format!("X-Forwarded-For: {address}"));
    for trusted in ["trusted-proxies = [\"127.0.0.1/32\"]", ""] {
        let site = Site::new(&format!("[listen]\n{trusted}\n{}", limited(THREE)));
        let host = site.serve().start();
        let mut conn = host.connect();
        let mut of = |address: &str| ask(&mut conn, behind(address)).status();
        let one = "192.0.2.1";
        assert_eq!([one, one, one, one].map(&mut of), [200, 200, 200, 429]);
        // What stands before the address that the proxy has added is the client's own word.
        assert_eq!(of("198.51.100.9, 192.0.2.1"), 429);
        let others = ["192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"];
        let expected = match trusted {
            "" => [429; 5],
            _ => [200, 200, 200, 200, 429],
        };
        assert_eq!(others.map(&mut of), expected, "{trusted}");
    }
}

/// The limit was looked at before the host wrote what it knows: clients with certificates were all one, and who made up
/// another value each time was never limited.
#[test]
fn each_certificate_is_a_key_of_its_own_and_a_header_that_a_client_makes_up_is_none() {
    let (authority, clients) = (Authority::new("test"), Authority::new("clients"));
    authority.write("a", "localhost");
    let [cert, key] = ["a.pem", "a.key"].map(|file| authority.file(file));
    let ca = clients.file("ca.pem");
    for header in ["x-client-cert-sha256", "x-client-cert-subject", "client-cert"] {
        let limit = limited(&format!("key = \"header:{header}\"\n{THREE}"));
        let site = Site::new(&format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\ntls = {{ cert = \"{cert}\", key = \"{key}\" }}\n\
             client-ca = \"{ca}\"\nclient-auth = \"optional\"\n{limit}"
        ));
        let host = site.serve().no_tcp().start();
        let ask = |client: &TlsClient, fields: &str| {
            let mut conn = client.connect(&host, "localhost").expect("it is let in");
            conn.ask(&get_with(fields)).expect("an answer").status()
        };
        let made_up = |value| format!("{header}: {value}");
        let nobody = authority.client();
        for client in [
            &nobody.clone().showing(clients.issue(&["one.example"])),
            &nobody.clone().showing(clients.issue(&["two.example"])),
            &nobody,
        ] {
            let statuses = ["1", "2", "3", "4"].map(|value| ask(client, &made_up(value)));
            assert_eq!(statuses, [200, 200, 200, 429], "{header}");
            // Nor does it get rid of what the host says.
            assert_eq!(ask(client, &format!("Connection: {header}, close")), 429, "{header}");
        }
    }
}

#[test]
fn host_is_the_same_key_however_it_is_spelt() {
    let site = Site::new(&limited(&format!("key = \"host\"\n{THREE}")));
    let host = site.serve().start();
    let of = |name: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n");
        ask(&mut host.connect(), request).status()
    };
    assert_eq!(["a.test", "A.Test", "a.test.:80", "a.test"].map(of), [200, 200, 200, 429]);
    assert_eq!(of("b.test"), 200);
}

/// The statuses of so many requests under this path.
fn statuses<const N: usize>(host: &Host, path: &str) -> [u16; N] {
    [(); N].map(|()| host.get(path).status())
}

fn two_routes(shop: &str, cart: &str) -> String {
    let route = |path: &str, rate: &str| {
        format!(
            "[[route]]\npath = \"{path}\"\ncomponent = \"shop\"\n[route.rate-limit]\nrate = \"1/h\"\nburst = {rate}\n"
        )
    };
    "[component.shop]\nsource = \"shop.wasm\"\n".to_owned()
        + &route("/shop", shop)
        + &route("/cart", cart)
}

#[test]
fn each_route_has_a_limit_of_its_own_that_lives_through_reloads_and_swaps() {
    let site = Site::with(&two_routes("2", "1"), &[("shop.wasm", "version_a_p2")]);
    let host = site.serve().control().start();
    assert_eq!(statuses(&host, "/shop"), [200, 200, 429]);
    assert_eq!(statuses(&host, "/cart"), [200, 429]);
    // Another version of the component, another limit for the other route.
    site.put("shop.wasm", "version_b_p2");
    site.write(&two_routes("2", "3"));
    host.ctl(["reload"]).expect_code(0);
    assert_eq!(host.get("/cart").header("x-version"), Some("b"));
    assert_eq!(statuses(&host, "/shop"), [429]);
    assert_eq!(statuses(&host, "/cart"), [200, 200, 429]);
    host.ctl(["swap", "--component", "shop", text(&guest("version_a_p2"))]).expect_code(0);
    assert_eq!((statuses(&host, "/shop"), statuses(&host, "/cart")), ([429], [429]));
    // The same for fewer is another limit.
    site.write(&two_routes("1", "3"));
    host.ctl(["reload"]).expect_code(0);
    assert_eq!(statuses(&host, "/shop"), [200, 429]);
}

#[test]
fn refusals_are_in_the_status_and_in_the_access_log() {
    let site = Site::new(&limited(THREE));
    let log = site.folder.join("access.log");
    let host = site.serve().control().args(["--access-log", text(&log)]).start();
    assert_eq!(statuses(&host, "/"), [200, 200, 200, 429, 429]);
    // Threads write their lines in any order.
    // Threads write their lines in any order.
    let lines = access_log::lines(&log, 5);
    let lines = lines.iter().map(|line| access_log::parsed(line));
    let refused: Vec<_> = lines.filter(|line| line["http.response.status_code"] == 429).collect();
    assert_eq!(refused.len(), 2);
    for line in &refused {
        assert_eq!((&line["end"], &line["reason"]), (&"refused".into(), &"rate-limited".into()));
        assert_eq!(line["http.route"], "/*");
        assert!(line["generation"].is_null(), "no instance has served it: {line}");
    }
    let status = status(&host);
    let limit = &status["rate_limits"][0];
    assert_eq!((&limit["refused"], &limit["keys"]), (&2.into(), &1.into()), "{limit}");
    assert_eq!(limit["limit"], "1/h for each client, burst 3");
    let said = host.ctl(["status"]).stdout;
    assert!(said.contains("rate limit   /*: 1/h for each client, burst 3: 2 refused"), "{said}");
}

#[test]
fn key_that_has_used_its_burst_up_is_served_again_when_it_comes_back() {
    let site = Site::new(&limited("rate = \"20/s\"\nburst = 1"));
    let host = site.serve().start();
    let mut conn = host.connect();
    let (mut served, mut refused) = (0, 0);
    while served < 5 {
        match ask(&mut conn, wire::get("/")).status() {
            200 => served += 1,
            429 => refused += 1,
            status => panic!("{status}"),
        }
    }
    println!("{refused} were refused meanwhile");
}
