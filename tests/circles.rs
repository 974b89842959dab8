//! A guest that requests its own host, or another that requests this one.

use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::status::wait_in_use;
use crate::support::wire;

/// A host whose guest may send requests to the host itself: its port is known once it is there.
fn circle(guest: &str, reuse: &str) -> (Site, Host, u16) {
    let component = format!("[component.app]\nsource = \"guest:{guest}\"\n{reuse}");
    let site = Site::new(&component);
    let host = site.serve().control().start();
    let port = host.addr().port();
    let grants = format!("[component.app.grants]\noutgoing = [\"http://127.0.0.1:{port}\"]\n");
    site.write(&(component + &grants));
    host.ctl(["reload"]).expect_code(0);
    (site, host, port)
}

/// `/fetch?url=` of itself, so many times within one another.
fn nested(port: u16, times: usize) -> String {
    format!("/fetch?url=http://127.0.0.1:{port}").repeat(times) + "/"
}

/// One request took 250 instances, which waited for each other for 30 s: each of them fetched the next one.
#[test]
fn request_that_goes_in_circles_is_refused_at_the_ninth_time() {
    let reuse = "reuse = { exchanges = 50, concurrency = 4 }\n";
    for (guest, reuse) in
        [("grants_p2", ""), ("grants_p3", ""), ("grants_p2", reuse), ("grants_p3", reuse)]
    {
        let (_site, host, port) = circle(guest, reuse);
        let answer = host.get(&nested(port, 20));
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text(), "200\n".repeat(8) + "508\nrequest goes in circles\n", "{guest}");
        let fine = host.get(&nested(port, 8));
        // What follows are the guest's clocks, which may have any digits: "monotonic: 50508" came.
        let after = fine.text().strip_prefix(&"200\n".repeat(8)).map(str::to_owned);
        assert!(after.is_some_and(|report| report.starts_with("env:")), "{guest}: {fine}");
        wait_in_use(&host, 0);
    }
}

/// What a client says of the depth is about its own request only, and no guest sees it.
#[test]
fn depth_that_a_client_claims_is_its_own_affair() {
    for guest in ["grants_p2", "grants_p3"] {
        let (_site, host, port) = circle(guest, "");
        let ask = |depth: &str, path: &str| {
            let mut conn = host.connect();
            let head = wire::get(path).replace("Host:", &format!("host-hops: {depth}\r\nHost:"));
            conn.send(head).unwrap();
            conn.read_response("GET").unwrap()
        };
        for (depth, nested_times, says) in [
            ("9", 0, None),
            ("18446744073709551616", 0, Some("")),
            ("8", 1, Some("508\n")),
            ("8", 0, Some("")),
            ("-1", 1, Some("200\n")),
            ("x", 1, Some("200\n")),
        ] {
            let answer = ask(depth, &nested(port, nested_times));
            match says {
                None => assert_eq!(answer.status(), 508, "{guest} {depth}: {answer}"),
                Some(says) => {
                    assert_eq!(answer.status(), 200, "{guest} {depth}: {answer}");
                    assert!(answer.text().starts_with(says), "{guest} {depth}: {answer}");
                }
            }
        }
        assert_eq!(host.get(&nested(port, 1)).text().lines().next(), Some("200"), "nobody else's");
    }
}

/// The plugin on the way out sends the request on as its own: it keeps the depth, or a circle by way of it has no end.
#[test]
fn circle_by_way_of_egress_is_refused_at_the_ninth_time() {
    for (guest, plugin) in
        [("grants_p2", "pass_p3"), ("grants_p3", "pass_p2"), ("grants_p3", "pass_p3")]
    {
        let both = |grants: &str| {
            format!(
                "[component.app]\nsource = \"guest:{guest}\"\negress = \"policy\"\n{grants}\
                 [component.policy]\nsource = \"guest:{plugin}\"\n\
                 [[route]]\npath = \"/\"\ncomponent = \"app\"\n"
            )
        };
        let site = Site::new(&both(""));
        let host = site.serve().control().start();
        let port = host.addr().port();
        site.write(&both(&format!("grants.outgoing = [\"http://127.0.0.1:{port}\"]\n")));
        host.ctl(["reload"]).expect_code(0);
        let answer = host.get(&nested(port, 20));
        assert_eq!(
            answer.text(),
            "200\n".repeat(8) + "508\nrequest goes in circles\n",
            "{guest} {plugin}"
        );
        wait_in_use(&host, 0);
    }
}
