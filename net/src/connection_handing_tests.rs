//! Connections that another process goes on with: here it is the same one.

use tokio::sync::mpsc::UnboundedReceiver;

use super::super::{Before, adopt};
use super::*;
use crate::handing::{Handing, IdleConnection};
use crate::registry::ConnectionEntry;

/// A peer, and what its connection shares with others.
struct World {
    stream: Stream,
    served: JoinHandle<()>,
    context: ConnectionContext,
    tracker: Tracker,
    set: Box<dyn Fn(Phase)>,
}

async fn connected(over: Over) -> World {
    let (set, phase) = PhaseWatch::with_setter();
    set(Phase::Ready);
    let (stream, ours) = UnixStream::pair().unwrap();
    let tracker = Tracker::awaited();
    let room = Room::new(1, tracker.clone());
    let context = context(phase, &tracker, &room);
    let entry = ConnectionEntry::new(None, "test".into());
    let guard = tracker.guard(entry.clone());
    let tls = (!matches!(over, Over::Plain)).then(testing::configs);
    let socket = (Socket::Unix(ours), None, tls);
    let life = serve(socket, context.clone(), Ok200, room.turn_now(), entry, guard);
    let served = tokio::spawn(life);
    let stream = Stream::over(over, stream).await;
    World { stream, served, context, tracker, set: Box::new(set) }
}

impl World {
    async fn get(&mut self) -> String {
        self.stream.write_all(GET.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok") {
            assert_ne!(self.stream.read_buf(&mut answer).await.unwrap(), 0, "{answer:?}");
        }
        String::from_utf8(answer).unwrap()
    }

    fn begin(&self) -> UnboundedReceiver<IdleConnection> {
        self.context.handing.begin(&self.tracker)
    }

    /// Goes on with it.
    fn adopt(&mut self, idle: IdleConnection) {
        let IdleConnection { socket, peer, served, ahead, .. } = idle;
        let socket = Socket::from_fd(socket, true).unwrap();
        let entry = ConnectionEntry::new(None, "again".into());
        let guard = self.tracker.guard(entry.clone());
        let before = Before { accepted: Instant::now(), served, ahead };
        let context = self.context.clone();
        let life = adopt((socket, peer, before), (context, Ok200), (entry, guard));
        self.served = tokio::spawn(life);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_goes_over_and_a_stop_waits_until_it_has() {
    let mut world = connected(Over::Plain).await;
    world.get().await;
    let mut coming = world.begin();
    let idle = coming.recv().await.unwrap();
    (&mut world.served).await.unwrap();
    assert_eq!((idle.served, &*idle.listener), (1, "test"));
    assert_eq!(world.tracker.in_flight(), 1, "as long as it is on its way");
    assert!(!Handing::is_awaited(&world.tracker));
    world.context.handing.end();
    world.adopt(idle);
    let answer = world.get().await;
    assert!(!answer.contains("close"), "{answer}");
    assert_eq!(world.tracker.in_flight(), 1, "that of the one who goes on");
}

#[tokio::test(start_paused = true)]
async fn who_has_said_too_little_goes_over_with_it() {
    let mut world = connected(Over::Plain).await;
    world.stream.write_all(b"PRI * HT").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let idle = world.begin().recv().await.unwrap();
    assert_eq!((idle.served, &*idle.ahead), (0, &b"PRI * HT"[..]));
    world.context.handing.end();
    world.adopt(idle);
    world.stream.write_all(b"TP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut settings = [0; 9];
    world.stream.read_exact(&mut settings).await.unwrap();
    assert_eq!(settings[3], 4, "HTTP/2 it is");
}

/// It was read here, so it would be missing there.
#[tokio::test(start_paused = true)]
async fn who_has_sent_half_of_an_empty_line_goes_over_behind_the_next_answer() {
    let mut world = connected(Over::Plain).await;
    world.get().await;
    world.stream.write_all(b"\r").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut coming = world.begin();
    tokio::time::sleep(Duration::from_millis(1)).await;
    coming.try_recv().unwrap_err();
    world.stream.write_all(b"\n").await.unwrap();
    let answer = world.get().await;
    assert!(!answer.contains("close"), "{answer}");
    assert_eq!(coming.recv().await.unwrap().served, 2);
}

/// Nobody has told it to leave, so its next request may be on its way.
#[tokio::test(start_paused = true)]
async fn who_comes_over_where_there_is_no_room_is_served() {
    let mut world = connected(Over::Plain).await;
    world.get().await;
    let mut coming = world.begin();
    let idle = coming.recv().await.unwrap();
    (&mut world.served).await.unwrap();
    world.context.handing.end();
    let taken = world.context.room.place_now();
    assert!(taken.is_some() && world.context.room.place_now().is_none());
    world.adopt(idle);
    world.get().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_tls_stays_and_is_told_to_leave() {
    let mut world = connected(Over::Tls(testing::VERSIONS[1])).await;
    world.get().await;
    let mut coming = world.begin();
    (world.set)(Phase::LameDuck);
    let answer = world.get().await;
    assert!(answer.contains("connection: close"), "{answer}");
    coming.try_recv().unwrap_err();
}

/// Whoever was to take them is gone at the same moment.
#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_takes_goes_on_where_it_is() {
    let mut world = connected(Over::Plain).await;
    world.get().await;
    drop(world.begin());
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        world.context.handing.end();
        let answer = world.get().await;
        assert!(!answer.contains("close"), "{answer}");
    }
    assert_eq!(world.tracker.in_flight(), 1);
}

/// Deadlines begin anew, as with a connection that was accepted now.
#[tokio::test(start_paused = true)]
async fn who_goes_over_has_all_its_time_again() {
    let mut world = connected(Over::Plain).await;
    world.get().await;
    let mut coming = world.begin();
    let idle = coming.recv().await.unwrap();
    world.context.handing.end();
    tokio::time::sleep(PeerLimits::TEST.keep_alive).await;
    world.adopt(idle);
    let began = Instant::now();
    let mut rest = Vec::new();
    world.stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!((Bytes::from(rest), began.elapsed()), (Bytes::new(), PeerLimits::TEST.keep_alive));
}
