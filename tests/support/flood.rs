//! A host under attack: a component that is attacked, a neighbour that is served meanwhile, memory, and a clean stop.

use super::h2frame::{self, HEADERS};
use super::h2raw::{H2, fields};
use super::host::Host;
use super::hpack;
use super::memory::Peak;
use super::neighbour::Neighbour;
use super::site::{self, Site};
use super::target::Target;

/// What a host may grow by under any of the attacks, whose connections are gone but for one: what the allocator keeps.
const FLAT_KIB: u64 = 16 << 10;

/// Limits of the component under attack, which would have its requests end.
const PATIENT: &str = "limits.instances = 300\nlimits.response-head-timeout = \"1h\"";

/// What a request for the component under attack waits in.
pub const FOREVER: &str = "/bad?ms=3600000";

/// A host with a component that waits, and a neighbour of it.
#[derive(Debug)]
pub struct Victim {
    /// The host.
    pub host: Host,
    neighbour: Neighbour,
    _site: Site,
}

impl Victim {
    /// With this guest under attack.
    #[track_caller]
    pub fn with(guest: &str) -> Self {
        let source = format!("guest:{guest}");
        let site = Site::new(&site::beside_a_good_one("bad", &source, PATIENT, ""));
        let host = site.serve().tls().start();
        let neighbour = Neighbour::at(&host, "/good");
        Self { host, neighbour, _site: site }
    }

    /// Attacks it, and fails unless the neighbour is served and memory is flat.
    #[track_caller]
    pub fn withstands(&self, what: &str, attack: impl FnOnce(&Host)) {
        let peak = Peak::begin(&self.host);
        attack(&self.host);
        self.neighbour.expect_well();
        let grown = peak.grown_kib();
        assert!(grown < FLAT_KIB, "{what}: the host grew by {grown} KiB");
    }

    /// The same on its TCP address, and on the one that speaks TLS.
    #[track_caller]
    pub fn withstands_on_each(&self, what: &str, attack: impl Fn(&Target)) {
        for at in self.host.addrs() {
            println!("{what}: {at}");
            self.withstands(what, |_| attack(at));
        }
    }

    /// Fails unless it stops as if nothing had been.
    #[track_caller]
    pub fn expect_clean_stop(self) {
        let Self { host, neighbour, _site } = self;
        neighbour.expect_clean_stop(host);
    }
}

/// Bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    h2frame::bytes(kind, flags, stream, payload.as_ref())
}

/// The fields of a request, compressed.
pub fn block(method: &str, path: &str) -> Vec<u8> {
    hpack::encode(&fields(method, path))
}

/// A request that is over with its head.
pub fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, 5, stream, block("GET", FOREVER))
}

/// The head of a request that has a body.
pub fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, 4, stream, block("POST", FOREVER))
}

/// A connection with stream 1 answered, 3 open, 5 never opened, 7 at work with its request whole.
#[track_caller]
pub fn opened(at: &Target) -> H2 {
    let mut h2 = H2::connect_with_window(at, h2frame::FIRST_WINDOW);
    h2.get(1, "/good");
    assert_eq!(h2.expect_status(1), 200);
    h2.conn.send([post(3), get(7)].concat()).expect("it reads");
    round_trip(&mut h2);
    h2
}

/// Waits until the host has read all that was sent.
#[track_caller]
pub fn round_trip(h2: &mut H2) {
    h2.send_ping(false, *b"roundtrp");
    h2.wait("answer to a PING", |frame| match frame {
        h2frame::Frame::Ping { ack: true, .. } => Some(()),
        _ => None,
    });
}
