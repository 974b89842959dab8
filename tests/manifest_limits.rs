//! Limits in a manifest bound each component for itself.

use crate::manifest::{FOUR, who};
use crate::support::prelude::*;
use crate::support::site::{Site, component, route};
use crate::support::stop::{Held, OPEN, POST_HEAD};
use crate::support::wire;

#[test]
fn request_body_is_bounded_by_each_component_for_itself() {
    for guest in ["echo_p2", "echo_p3"] {
        let small = component("small") + "[component.small.limits]\nrequest-body = \"10B\"\n";
        let routes = route("/small", "small") + &route("/large", "large");
        let manifest = small + &component("large") + &routes;
        let site = Site::with(&manifest, &[("small.wasm", guest), ("large.wasm", guest)]);
        let host = site.serve().start();
        for (path, length, status) in
            [("/small", 10, 200), ("/small", 11, 413), ("/large", 11, 200), ("/small/x", 11, 413)]
        {
            let mut conn = host.connect();
            conn.send(wire::sized(path, length) + &"x".repeat(length)).unwrap();
            let answer = conn.read_response("POST").unwrap();
            assert_eq!(answer.status(), status, "{guest}: {path} with {length}");
        }
    }
}

#[test]
fn component_at_its_limit_of_instances_turns_away_its_own_requests_only() {
    for guest in ["gate_p2", "gate_p3"] {
        let limits = "[component.gate.limits]\ninstances = 1\nqueue = 0\n";
        let routes = route("/", "gate") + &route("/a", "a");
        let manifest = component("gate") + limits + &component("a") + &routes;
        let site = Site::with(&manifest, &[("gate.wasm", guest), FOUR[0]]);
        let host = site.serve().start();
        let held = Held::on(&host);
        let answer = host.get("/");
        assert_eq!((answer.status(), answer.text().as_str()), (503, "too busy\n"), "{guest}");
        assert!(answer.header("retry-after").is_some());
        assert_eq!(who(&host.get("/a")), "a");
        let mut conn = held.open();
        // Its permit comes back with the last byte.
        conn.send(POST_HEAD).unwrap();
        host.wait_log(says::GATE_STARTED);
        conn.send(OPEN).unwrap();
        assert_eq!(conn.read_response("POST").unwrap().status(), 200);
    }
}

#[test]
fn time_and_memory_are_bounded_by_each_component_for_itself() {
    let strict = "[component.sleep-1.limits]\nresponse-head-timeout = \"100ms\"\n\
                  [component.hungry-1.limits]\nmemory = \"4MiB\"\n\
                  [component.busy-1.limits]\ncpu-time = \"100ms\"\n";
    let mut manifest = strict.to_owned();
    let mut files = Vec::new();
    for guest in ["sleep", "hungry", "busy"] {
        for which in ["1", "2"] {
            let name = format!("{guest}-{which}");
            let source = format!("source = \"{name}.wasm\"\n");
            let route = route(&format!("/{name}"), &name);
            manifest += &format!("[component.{name}]\n{source}{route}strip-prefix = true\n");
            files.push((format!("{name}.wasm"), format!("{guest}_p2")));
        }
    }
    let files: Vec<_> = files.iter().map(|(file, guest)| (&**file, &**guest)).collect();
    let site = Site::with(&manifest, &files);
    let host = site.serve().start();
    assert_eq!(host.get("/sleep-1?ms=60000").status(), 504);
    assert_eq!(host.get("/sleep-2?ms=200").status(), 200);
    assert_eq!(host.get("/busy-1?ms=60000").status(), 504);
    assert_eq!(host.get("/busy-2?ms=200").status(), 200);
    let few = host.get("/hungry-1?mib=16").text();
    assert!(few.starts_with("refused at "), "{few}");
    assert_eq!(host.get("/hungry-2?mib=16").text(), "got 16 MiB\n");
    assert_eq!(host.get("/hungry-1/abort?mib=16").status(), 500);
    assert_eq!(host.get("/hungry-2/abort?mib=16").status(), 200);
}
