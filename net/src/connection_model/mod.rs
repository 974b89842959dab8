//! A model of one HTTP/1 connection against the real thing: hyper, the driver and a real socket, on the
//! paused clock. A seed decides what the peer sends and when, what the service does with it, when a stop
//! begins and cuts, and when the connection is asked to make room. What must hold always:
//!
//! - Nobody is answered who has not asked, nor twice, nor out of turn. Nothing of a body is taken for a
//!   request: each request carries its number, each body is full of requests that carry none.
//! - A request of which a byte had reached the host before it closed is answered, unless an answer before
//!   it has said `Connection: close`, or it was told so: 408, 503 or 400 in its place.
//! - The connection ends: no state waits without an event or a bound. And it waits for that: turns of its
//!   task are counted.
//! - Over TLS the same holds, wherever records are cut; and the host says `close_notify` at the end of a
//!   connection on which nothing was broken off, and of no other.
//!
//! `HOST_MODEL_STEPS` says how many steps are taken (`make fuzz`: ten million); `HOST_MODEL_SEED` takes one
//! run again.

mod judge;
mod peer;
mod requests;
mod service;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use host_lifecycle::{Phase, PhaseWatch, Tracker};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use peer::{ModelPeer, read_all};
use requests::{Dice, Sent};
use service::{Model, Notes};

use super::client_bounds::ClientBounds;
use super::connection::serve;
use super::context::{ConnectionContext, PeerLimits};
use super::counts::NetCounts;
use super::registry::ConnectionEntry;
use super::room::Room;
use super::scarcity::Scarcity;
use super::socket::Socket;
use super::tls::testing::configs;

const LIMITS: PeerLimits = PeerLimits { keep_alive: Duration::from_secs(20), ..PeerLimits::TEST };

/// Longer than any wait of a connection: all of its limits, one after the other.
const ENDS_WITHIN: Duration = Duration::from_secs(600);

/// Turns of the connection's task for each step of a run; a loop takes thousands.
const TURNS_PER_STEP: usize = 100;

/// Steps of `make test`.
const STEPS: u64 = 20_000;

/// Counts the turns of a task.
struct Counted<F>(Pin<Box<F>>, Arc<AtomicUsize>);

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<F::Output> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.as_mut().poll(task)
    }
}

/// All that has come from the host.
#[derive(Clone, Debug, Default)]
struct Got {
    bytes: Vec<u8>,
    /// `close_notify`, over TLS.
    closed: bool,
    ended: bool,
}

/// One run: a connection from accept to its end.
struct Run {
    dice: Dice,
    peer: ModelPeer,
    got: watch::Receiver<Got>,
    reader: JoinHandle<()>,
    served: JoinHandle<()>,
    turns: Arc<AtomicUsize>,
    notes: Arc<Notes>,
    entry: Arc<ConnectionEntry>,
    sent: Vec<Sent>,
    /// Bytes that are written, of all requests.
    written: usize,
    steps: usize,
    phase: Phase,
    /// The last byte that the host had before it could close, as far as the peer can know.
    log: Vec<String>,
}

async fn run_of(seed: u64, over_tls: bool) -> (Run, impl Fn(Phase)) {
    let (stream, ours) = UnixStream::pair().unwrap();
    let (set, phase) = PhaseWatch::with_setter();
    set(Phase::Ready);
    let tracker = Tracker::awaited();
    let entry = ConnectionEntry::new(None, "model".into());
    let guard = tracker.guard(entry.clone());
    let room = Room::new(1, tracker.clone());
    let context = ConnectionContext {
        gate: host_lifecycle::AcceptGate::new(true),
        handing: crate::Handing::default(),
        phase,
        connections: tracker,
        counts: NetCounts::default(),
        limits: LIMITS,
        clients: ClientBounds::unbounded(),
        scarcity: Scarcity::new(),
        room: room.clone(),
    };
    let notes = Arc::new(Notes::default());
    let turns = Arc::new(AtomicUsize::new(0));
    let connection = serve(
        (Socket::Unix(ours), None, over_tls.then(configs)),
        context,
        Model(notes.clone()),
        room.turn_now(),
        entry.clone(),
        guard,
    );
    let served = tokio::spawn(Counted(Box::pin(connection), turns.clone()));
    let (peer, read) = ModelPeer::connect(stream, over_tls).await;
    let (tell, got) = watch::channel(Got::default());
    let reader = tokio::spawn(read_all(read, peer.records(), tell));
    let run = Run {
        dice: Dice(seed),
        peer,
        got,
        reader,
        served,
        turns,
        notes,
        entry,
        sent: Vec::new(),
        written: 0,
        steps: 0,
        phase: Phase::Ready,
        log: Vec::new(),
    };
    (run, set)
}

impl Run {
    /// Steps until the run is over; gives how many they were.
    async fn go(mut self, set: impl Fn(Phase)) -> usize {
        let requests = 1 + self.dice.size(5);
        for number in 0..requests {
            let request = Sent::roll(number, &mut self.dice);
            self.sent.push(request);
        }
        let all: Vec<u8> = self.sent.iter().flat_map(|sent| sent.bytes.clone()).collect();
        let stop_at = self.dice.size(all.len() * 2);
        let ends_early = self.dice.one_in(4).then(|| self.dice.size(all.len()));
        let until = ends_early.unwrap_or(all.len());
        // One that ends early may do so in the middle of a record.
        while (self.written < until || ends_early.is_none() && self.peer.has_more())
            && !self.host_has_closed()
        {
            self.step(&all[self.written..until], stop_at, &set).await;
        }
        if self.phase < Phase::Draining && self.dice.one_in(2) {
            self.move_to(Phase::Draining, &set);
        }
        self.finish(all.len()).await
    }

    /// Whether the host has sent FIN. What is written then is not asked of anybody.
    fn host_has_closed(&self) -> bool {
        let mut ask = [PollFd::new(self.peer.socket(), PollFlags::RDHUP)];
        poll(&mut ask, Some(&Timespec::default())).expect("poll(2)") > 0
    }

    /// Sends a piece, lets time pass, moves the phase: one of these.
    async fn step(&mut self, rest: &[u8], stop_at: usize, set: &impl Fn(Phase)) {
        self.steps += 1;
        if self.written >= stop_at && self.phase < Phase::Cut && self.dice.one_in(3) {
            let next = match self.phase {
                Phase::Ready => [Phase::LameDuck, Phase::Draining][self.dice.size(2)],
                Phase::LameDuck => Phase::Draining,
                _ => Phase::Cut,
            };
            return self.move_to(next, set);
        }
        match self.dice.roll(12) {
            0 => sleep(Duration::from_millis(self.dice.roll(3000))).await,
            1 if self.dice.one_in(20) => sleep(Duration::from_secs(self.dice.roll(40))).await,
            2 => tokio::task::yield_now().await,
            3 if self.dice.one_in(10) => {
                self.log.push(format!("room is wanted at {}", self.written));
                self.entry.ask_for_room();
            }
            _ => {
                let most = if self.dice.one_in(3) { 1 } else { rest.len() };
                let piece = 1 + self.dice.size(most.clamp(1, rest.len().max(1)));
                let piece = &rest[..piece.min(rest.len())];
                // A host that reads no more blocks its peer: that is looked at elsewhere.
                let write = self.peer.write(piece, &mut self.dice);
                let wrote = timeout(Duration::from_secs(5), write).await;
                match wrote {
                    Ok(Ok(wrote)) => self.written += wrote,
                    Ok(Err(_)) => {
                        // It has closed. Let its end be read.
                        sleep(Duration::from_millis(1)).await;
                    }
                    Err(_) => {}
                }
            }
        }
    }

    fn move_to(&mut self, phase: Phase, set: &impl Fn(Phase)) {
        self.log.push(format!("{phase:?} at {}", self.written));
        self.phase = phase;
        set(phase);
    }

    /// Waits for the end, and judges.
    async fn finish(mut self, all: usize) -> usize {
        let mut got = self.got.clone();
        let ended = timeout(ENDS_WITHIN, got.wait_for(|got| got.ended)).await;
        assert!(ended.is_ok(), "the connection has no end: {}", self.story());
        drop(ended);
        self.peer.shutdown().await.ok();
        assert!(
            timeout(ENDS_WITHIN, &mut self.served).await.is_ok(),
            "the task has no end: {}",
            self.story()
        );
        (&mut self.reader).await.expect("it panics never");
        let turns = self.turns.load(Ordering::Relaxed);
        assert!(
            turns < TURNS_PER_STEP * (self.steps + all / 1000 + 10),
            "{turns} turns: {}",
            self.story()
        );
        let wrong = self.notes.wrong.lock().unwrap().clone();
        assert!(wrong.is_empty(), "{wrong:?}: {}", self.story());
        let asked = self.notes.asked.lock().unwrap().clone();
        let in_turn: Vec<String> = (0..asked.len()).map(|number| number.to_string()).collect();
        assert_eq!(asked, in_turn, "each once and in its turn: {}", self.story());
        self.judge(asked.len());
        self.steps
    }

    fn fail(&self, why: &str) -> ! {
        panic!("{why}: {}", self.story())
    }

    fn story(&self) -> String {
        let got = self.got.borrow();
        let sent: String = self
            .sent
            .iter()
            .map(|sent| String::from_utf8_lossy(&sent.bytes).into_owned())
            .collect();
        format!(
            "\n{} bytes written of: {:?}\n{:?}\ngot: {:?}",
            self.written,
            sent.get(..3000).unwrap_or(&sent),
            self.log,
            String::from_utf8_lossy(&got.bytes)
        )
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_connection_answers_what_was_asked_and_nothing_else_whatever_comes_when() {
    run_all(false);
}

#[test]
fn a_connection_over_tls_does_the_same_wherever_its_records_are_cut() {
    run_all(true);
}

#[allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "how far it came, and how to come there"
)]
fn run_all(over_tls: bool) {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().expect("a runtime")
    };
    let steps = number("HOST_MODEL_STEPS").unwrap_or(STEPS);
    let only = number("HOST_MODEL_SEED");
    let (mut taken, mut seed, began) = (0, only.unwrap_or(1), Instant::now());
    while taken < steps {
        let run = std::panic::catch_unwind(|| {
            runtime().block_on(async {
                let (run, set) = run_of(seed, over_tls).await;
                run.go(set).await
            })
        });
        match run {
            Ok(run) => taken += run as u64,
            Err(why) => {
                eprintln!("HOST_MODEL_SEED={seed}");
                std::panic::resume_unwind(why);
            }
        }
        if only.is_some() {
            break;
        }
        seed += 1;
    }
    println!(
        "{taken} steps of {seed} connections in {:?}: nothing lost, nothing smuggled",
        began.elapsed()
    );
}
