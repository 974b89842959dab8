//! Hosts with addresses that stay, each stopped, started and swapped while others serve.

pub mod balancer;
pub mod load;
pub mod proxies;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use rustix::process::Signal;

use super::PATIENCE;
use super::app::{text, variant};
use super::host::Host;
use super::says;
use super::shipped::Network;
use super::site::{Site, route};
use super::tls_client;

/// What the clients of a fleet are served by. The paths are those of [`load`].
fn guests() -> String {
    let mut manifest = "[log]\naccess = \"access.log\"\nlog-query = true\n".to_owned();
    for (path, name, guest) in [
        ("/", "slow", "sleep_p2"),
        ("/count", "reader", "reader_p2"),
        ("/big", "big", "big_p2"),
        ("/who", "info", "info_p2"),
    ] {
        manifest += &format!("[component.{name}]\nsource = \"guest:{guest}\"\n");
        manifest += &route(path, name);
    }
    manifest
}

/// Three hosts, or as many as a test starts.
#[derive(Debug)]
pub struct Fleet {
    /// Its addresses.
    pub network: Network,
    sites: Vec<Site>,
    hosts: Vec<Option<Host>>,
}

impl Fleet {
    /// `count` hosts, all running, with this in their manifest.
    #[track_caller]
    pub fn start(network: &Network, manifest: &str, count: usize) -> Self {
        let read = |path| fs::read_to_string(path).expect("it is ours");
        let (cert, key) = (read(tls_client::certificate()), read(tls_client::key()));
        let site = |number| {
            let site = Site::new(&(network.host_text(manifest, number) + &guests()));
            site.put_text("shop.pem", &cert);
            site.put_text("shop.key", &key);
            site
        };
        let sites: Vec<Site> = (0..count).map(site).collect();
        let hosts = sites.iter().map(|site| Some(started(site))).collect();
        Self { network: network.clone(), sites, hosts }
    }

    /// A running host.
    #[track_caller]
    pub fn host(&self, number: usize) -> &Host {
        self.hosts[number].as_ref().expect("it runs")
    }

    /// Where it serves.
    pub fn addr(&self, number: usize) -> SocketAddr {
        (self.network.host(number), self.network.http).into()
    }

    /// Tells a host to stop, and waits for its end, which must be a good one.
    #[track_caller]
    pub fn stop(&mut self, number: usize) {
        self.host(number).signal(Signal::TERM);
        self.expect_end(number);
    }

    /// Waits for the end of a host that was told to stop.
    #[track_caller]
    pub fn expect_end(&mut self, number: usize) {
        let host = self.hosts[number].take().expect("it runs");
        host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
    }

    /// Starts it anew, at the same addresses.
    #[track_caller]
    pub fn start_again(&mut self, number: usize) {
        self.hosts[number] = Some(started(&self.sites[number]));
    }

    /// Swaps a component of it to other bytes, which `nth` must tell from those before.
    #[track_caller]
    pub fn swap(&self, number: usize, nth: u8) {
        let name = format!("swapped-{nth}.wasm");
        let site = &self.sites[number];
        site.put_bytes(&name, &variant("sleep_p2", nth));
        let new = site.folder.join(&name);
        let told = self.host(number).ctl(["swap", "--component", "slow", text(&new)]);
        told.expect_code(0);
    }

    /// Has a new process take over, and waits until the old one has ended.
    #[track_caller]
    pub fn upgrade(&self, number: usize) {
        let host = self.host(number);
        let mark = host.mark();
        host.ctl(["upgrade"]).expect_code(0);
        host.wait_log_after(mark, "upgrade: the old host has ended");
    }

    /// Waits until the access logs have as many requests of clients as these have answers, and fails if one request
    /// was carried out twice.
    #[track_caller]
    pub fn expect_each_once(&self, answered: u64) {
        let until = Instant::now() + PATIENCE;
        let asked = loop {
            let asked: Vec<String> = self.sites.iter().flat_map(asked).collect();
            if asked.len() as u64 >= answered {
                break asked;
            }
            assert!(Instant::now() < until, "{} of {answered} were logged", asked.len());
            thread::yield_now();
        };
        let different: BTreeSet<_> = asked.iter().collect();
        assert_eq!((asked.len() as u64, different.len() as u64), (answered, answered));
    }
}

#[track_caller]
fn started(site: &Site) -> Host {
    site.serve().no_tcp().control().start()
}

/// The queries of what a host has answered to clients of a load.
fn asked(site: &Site) -> Vec<String> {
    let log = fs::read_to_string(site.file("access.log")).unwrap_or_default();
    let query = |line: &str| {
        let (_, rest) = line.split_once("\"url.query\":\"")?;
        let (query, _) = rest.split_once('"')?;
        query.contains("x-drain-test=").then(|| query.to_owned())
    };
    log.lines().filter_map(query).collect()
}
