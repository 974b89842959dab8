//! Three hosts behind a proxy with its file of `deploy/`, rolled one after the other: no client sees it.
//!
//! Behind HAProxy in each of the ways in which a host is renewed: a restart, a swap, an upgrade. `HOST_SOAK_ROLLS` makes it as many
//! rolls of all three as wanted; `make soak` takes 67 (201 restarts).

use std::env;

use crate::support::fleet::Fleet;
use crate::support::fleet::load::{ClientSums, http1, http2, under_load};
use crate::support::fleet::proxies::{ShippedProxy, ToHosts};
use crate::support::metrics::Metrics;
use crate::support::shipped::{self, Network, listener_in, manifest_in};

const HOSTS: usize = 3;

/// How often all three are rolled: `HOST_SOAK_ROLLS`, or this often.
fn rolls(usual: u32) -> u32 {
    match env::var("HOST_SOAK_ROLLS") {
        Ok(rolls) => rolls.parse().expect("HOST_SOAK_ROLLS is a number"),
        Err(_) => usual,
    }
}

/// A fleet with the manifest that `haproxy.cfg` asks for, behind HAProxy.
#[track_caller]
fn behind_haproxy() -> Option<(Fleet, ShippedProxy)> {
    let config = shipped::text("haproxy/haproxy.cfg");
    let manifest = manifest_in(&config, "Each host has this manifest") + &listener_in(&config);
    let network = Network::new();
    let fleet = Fleet::start(&network, &manifest, HOSTS);
    let proxy = ShippedProxy::haproxy(&network, ToHosts::Plain)?;
    (0..HOSTS).for_each(|number| proxy.wait_server(number, "UP"));
    Some((fleet, proxy))
}

/// Renews each host in turn by `renew`, under load of all kinds of clients, and loses nothing.
#[track_caller]
fn roll_behind_haproxy(
    (what, rolls): (&str, u32),
    renew: impl Fn(&mut Fleet, &ShippedProxy, usize, u32),
) {
    let Some((mut fleet, proxy)) = behind_haproxy() else { return };
    let plans = vec![http1(proxy.addr()), http2(proxy.secure_addr(), &proxy.certificate())];
    let (reports, ()) = under_load(plans, || {
        for roll in 1..=rolls {
            (0..HOSTS).for_each(|number| renew(&mut fleet, &proxy, number, roll));
        }
    });
    let hosts = rolls * u32::try_from(HOSTS).expect("few");
    let sums = ClientSums::of(&format!("{hosts} hosts behind HAProxy, {what}"), &reports);
    assert_eq!(sums.failed, 0);
    fleet.expect_each_once(sums.answered);
}

#[test]
fn rolling_three_hosts_behind_haproxy_by_restart_fails_no_request() {
    roll_behind_haproxy(("restarted", rolls(1)), |fleet, proxy, number, _| {
        fleet.stop(number);
        proxy.wait_server(number, "DOWN");
        fleet.start_again(number);
        proxy.wait_server(number, "UP");
    });
}

#[test]
fn rolling_three_hosts_behind_haproxy_by_swap_fails_no_request() {
    roll_behind_haproxy(("swapped", rolls(3)), |fleet, _, number, roll| {
        fleet.swap(number, u8::try_from(roll % 251).expect("less than 256"));
    });
}

/// HAProxy notices nothing: addresses stay, and its idle connections go over.
#[test]
fn rolling_three_hosts_behind_haproxy_by_upgrade_fails_no_request() {
    roll_behind_haproxy(("upgraded", rolls(3)), |fleet, _, number, _| fleet.upgrade(number));
}

/// Proxies that cannot be asked what they know. A host that a client has reached again is known to them.
#[track_caller]
fn restart_each_behind(what: &str, mut fleet: Fleet, proxy: &ShippedProxy) {
    let (reports, ()) = under_load(vec![http1(proxy.addr())], || {
        for number in 0..HOSTS {
            fleet.stop(number);
            fleet.start_again(number);
            let asked = |told: &Metrics| told.sum("host_requests_accepted_total", &[]) > 0.0;
            Metrics::wait(fleet.host(number), asked);
        }
    });
    let sums = ClientSums::of(&format!("{HOSTS} hosts behind {what}, restarted"), &reports);
    assert_eq!(sums.failed, 0);
    fleet.expect_each_once(sums.answered);
}

#[test]
fn rolling_three_hosts_behind_nginx_by_restart_fails_no_request() {
    let manifest = manifest_in(&shipped::text("nginx/nginx.conf"), "Each host has this manifest")
        + &listener_in(&shipped::text("nginx/passthrough.conf"));
    let network = Network::new();
    let fleet = Fleet::start(&network, &manifest, HOSTS);
    let Some(proxy) = ShippedProxy::nginx(&network, ToHosts::Plain) else { return };
    restart_each_behind("nginx", fleet, &proxy);
}

#[test]
fn rolling_three_hosts_behind_caddy_by_restart_fails_no_request() {
    let config = shipped::text("caddy/Caddyfile");
    let manifest = manifest_in(&config, "Each host has this manifest");
    let network = Network::new();
    let fleet = Fleet::start(&network, &manifest, HOSTS);
    let Some(proxy) = ShippedProxy::caddy(&network, ToHosts::Plain) else { return };
    restart_each_behind("Caddy", fleet, &proxy);
}
