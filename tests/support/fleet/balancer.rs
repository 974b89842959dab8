//! A balancer of connections, as a Service of Kubernetes is one: it learns late who is gone, and understands no HTTP.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use super::super::PATIENCE;

/// It lives until the test ends.
#[derive(Clone, Debug)]
pub struct Balancer {
    addr: SocketAddr,
    shared: Arc<PodList>,
}

#[derive(Debug, Default)]
struct PodList {
    state: Mutex<PodListState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct PodListState {
    /// Those that get connections, in turn.
    listed: Vec<SocketAddr>,
    turn: usize,
    /// Connections that each has got, or has refused.
    chosen: BTreeMap<SocketAddr, u64>,
    refused: u64,
}

impl Balancer {
    /// One that has these endpoints.
    pub fn start(endpoints: &[SocketAddr]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let addr = listener.local_addr().expect("it is bound");
        let state = PodListState { listed: endpoints.to_vec(), ..PodListState::default() };
        let shared = Arc::new(PodList { state: Mutex::new(state), changed: Condvar::default() });
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let endpoints = Arc::clone(&theirs);
                thread::spawn(move || endpoints.serve(client));
            }
        });
        Self { addr, shared }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// It is told of a new endpoint.
    pub fn add(&self, endpoint: SocketAddr) {
        self.shared.state().listed.push(endpoint);
    }

    /// It is told that one is gone.
    pub fn remove(&self, endpoint: SocketAddr) {
        self.shared.state().listed.retain(|it| *it != endpoint);
    }

    /// Clients that were refused because their endpoint has refused them.
    pub fn refused(&self) -> u64 {
        self.shared.state().refused
    }

    /// Waits until an endpoint was chosen so many times more.
    #[track_caller]
    pub fn wait_chosen(&self, endpoint: SocketAddr, more: u64) {
        let until = Instant::now() + PATIENCE;
        let chosen = |state: &PodListState| state.chosen.get(&endpoint).copied().unwrap_or(0);
        let mut state = self.shared.state();
        let wanted = chosen(&state) + more;
        while chosen(&state) < wanted {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{endpoint} was not chosen {more} times more");
            (state, _) = self.shared.changed.wait_timeout(state, left).expect("as in `state`");
        }
    }
}

impl PodList {
    fn state(&self) -> MutexGuard<'_, PodListState> {
        self.state.lock().expect("held for a few lines")
    }

    fn serve(&self, client: TcpStream) {
        let endpoint = {
            let mut state = self.state();
            state.turn += 1;
            let endpoint = state.listed[state.turn % state.listed.len()];
            *state.chosen.entry(endpoint).or_default() += 1;
            endpoint
        };
        let connected = TcpStream::connect(endpoint);
        self.state().refused += u64::from(connected.is_err());
        self.changed.notify_all();
        // Without a host the drop closes the client's connection.
        if let Ok(host) = connected {
            join(client, host);
        }
    }
}

/// Carries bytes both ways until both sides have ended.
fn join(client: TcpStream, host: TcpStream) {
    let Ok((to_client, to_host)) = client.try_clone().and_then(|it| Ok((it, host.try_clone()?)))
    else {
        return;
    };
    let requests = thread::spawn(move || carry(client, to_host));
    carry(host, to_client);
    requests.join().ok();
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    // An error is an end too; the other side sees one in any case.
    io::copy(&mut from, &mut to).ok();
    to.shutdown(Shutdown::Write).ok();
}
