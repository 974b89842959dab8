//! Look-ups of guests, and who waits for whom.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::mpsc as blocking;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;

use super::slow::Silent;
use super::*;
use crate::{Lookup, LookupError, SystemResolver};

/// Places of all components in these tests.
const ALL: usize = 10;

/// A name server that says which names it is asked for, and answers none before its gate opens.
struct Server {
    asked: mpsc::UnboundedReceiver<String>,
    gate: blocking::Sender<()>,
    resolver: SystemResolver,
}

impl Server {
    fn new(all: &Arc<Semaphore>) -> Self {
        let (asks, asked) = mpsc::unbounded_channel();
        let (gate, opens) = blocking::channel();
        let opens = Mutex::new(opens);
        let resolver = SystemResolver::asking(Arc::clone(all), move |host, port| {
            asks.send(host.to_owned()).unwrap();
            // Also if the gate is dropped: then it is open for ever.
            opens.lock().unwrap().recv().ok();
            Ok(vec![SocketAddr::new([192, 0, 2, 1].into(), port)])
        });
        Self { asked, gate, resolver }
    }

    fn lookup(&self) -> Lookup {
        Lookup::new(self.resolver.clone())
    }

    async fn asked(&mut self) -> String {
        soon(self.asked.recv()).await.unwrap()
    }

    /// Opens the gate for good once another name has been asked for, which it gives.
    async fn open_after_the_next(mut self) -> String {
        self.asked().await
    }

    /// Asks for `n` names, and waits until as many of them as there are places have been asked for.
    async fn flooded(&mut self, n: usize) -> JoinSet<Result<Vec<IpAddr>, LookupError>> {
        let mut flood = JoinSet::new();
        for number in 0..n {
            let lookup = self.lookup();
            flood.spawn(async move { lookup.lookup(&format!("n{number}.test")).await });
        }
        for _ in 0..8 {
            self.asked().await;
        }
        flood
    }
}

fn all() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(ALL))
}

/// `tokio::net::lookup_host` let a guest that asked for 3000 names have all threads of the process:
/// nobody's file was read, and a stop waited, until the name server gave up.
#[tokio::test]
async fn a_flood_of_look_ups_leaves_room_for_others_and_for_their_files() {
    let all = all();
    let mut flooding = Server::new(&all);
    let flood = flooding.flooded(3000).await;
    let mut other = Server::new(&all);
    other.gate.send(()).unwrap();
    let found = soon(other.lookup().lookup("other.test")).await.unwrap();
    assert_eq!(found, [IpAddr::from([192, 0, 2, 1])]);
    assert_eq!(other.asked().await, "other.test");
    soon(spawn_blocking(|| ())).await.unwrap();
    assert_eq!(all.available_permits(), ALL - 8);
    assert!(flooding.asked.try_recv().is_err(), "a ninth name is asked for");
    drop((flood, flooding.gate));
}

#[tokio::test]
async fn who_gives_up_leaves_the_queue_at_once() {
    let mut server = Server::new(&all());
    let _eight = server.flooded(8).await;
    let (first, second) = (server.lookup(), server.lookup());
    let mut first = Box::pin(first.lookup("first.test"));
    let mut second = Box::pin(second.lookup("second.test"));
    assert!(poll_once(&mut first).await && poll_once(&mut second).await, "both wait");
    drop(first);
    server.gate.send(()).unwrap();
    let (found, asked) = tokio::join!(soon(second), server.open_after_the_next());
    assert_eq!((found.is_ok(), &*asked), (true, "second.test"));
}

/// Whether it waits.
async fn poll_once(future: &mut (impl Future + Unpin)) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(Pin::new(&mut *future).poll(cx).is_pending()))
        .await
}

/// `getaddrinfo` cannot be interrupted: a guest that gives up and asks again must not have more
/// threads for it.
#[tokio::test]
async fn a_look_up_that_nobody_waits_for_counts_until_it_ends() {
    let all = all();
    let mut server = Server::new(&all);
    let mut flood = server.flooded(8).await;
    soon(flood.shutdown()).await;
    let lookup = server.lookup();
    let mut next = Box::pin(lookup.lookup("next.test"));
    assert!(poll_once(&mut next).await);
    assert_eq!(all.available_permits(), ALL - 8);
    drop(server.gate);
    soon(next).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_look_up_without_an_answer_has_our_deadline() {
    let start = Instant::now();
    let refused = Lookup::new(Silent).lookup("a.test").await;
    assert_eq!(refused, Err(LookupError::Timeout));
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn an_address_is_its_own_answer_and_noise_has_none() {
    let names = Names::default();
    let lookup = Lookup::new(names.clone());
    for (text, address) in [
        ("192.0.2.7", "192.0.2.7"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
    ] {
        assert_eq!(lookup.lookup(text).await, Ok(vec![address.parse().unwrap()]), "{text}");
    }
    for text in
        ["", ".", "a b", "a/b", "a\0b", "user@a.test", "a.test:80", "127.1", "0x7f.1", "bücher"]
    {
        assert_eq!(lookup.lookup(text).await, Err(LookupError::NotAName), "{text:?}");
    }
    assert_eq!(names.asked(), 0);
}

#[tokio::test]
async fn a_name_has_all_its_addresses_or_none_at_all() {
    let port = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 0);
    let addresses = vec![port("2001:db8::1"), port("::ffff:192.0.2.7")];
    let names = Names::saying([addresses, Vec::new()]);
    let lookup = Lookup::new(names.clone());
    let expected = ["2001:db8::1", "192.0.2.7"].map(|ip| ip.parse::<IpAddr>().unwrap());
    assert_eq!(lookup.lookup("A.test.").await, Ok(expected.to_vec()));
    for lookup in [lookup, Lookup::new(Names::default())] {
        let refused = lookup.lookup("a.test").await;
        assert!(matches!(refused, Err(LookupError::Unresolvable(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn the_system_knows_localhost() {
    let found = soon(Lookup::new(SystemResolver::new()).lookup("localhost")).await.unwrap();
    assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
}
