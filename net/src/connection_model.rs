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
//!
//! `HOST_MODEL_STEPS` says how many steps are taken (`make fuzz`: ten million); `HOST_MODEL_SEED` takes one
//! run again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::connection::serve;
use super::registry::Entry;
use super::socket::Socket;
use super::{Context, Limits, Refusal, RequestBody, Room, Scarcity, Service};
use host_lifecycle::{Phase, PhaseWatch, Tracker};

const LIMITS: Limits = Limits { keep_alive: Duration::from_secs(20), ..Limits::TEST };

/// Longer than any wait of a connection: all of its limits, one after the other.
const ENDS_WITHIN: Duration = Duration::from_secs(600);

/// Turns of the connection's task for each step of a run; a loop takes thousands.
const TURNS_PER_STEP: usize = 100;

/// Steps of `make test`.
const STEPS: u64 = 20_000;

/// splitmix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn size(&mut self, most: usize) -> usize {
        usize::try_from(self.roll(most as u64)).expect("less than a usize")
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

/// What the service does with a request's body, said in its path.
const READS: [&str; 5] = ["all", "first", "none", "drop", "discard"];
/// When it answers: before it reads, after that, or in the middle; slowly or at once.
const ANSWERS: [&str; 4] = ["early", "late", "slow", "broken"];

/// What a request is made of.
#[derive(Clone, Debug)]
struct Sent {
    bytes: Vec<u8>,
    /// Where its head ends in them.
    head: usize,
    answer: &'static str,
    malformed: bool,
}

/// A body that would be a request, were it read as one.
const DECOY: &str = "GET /decoy HTTP/1.1\r\nHost: a\r\n\r\n";

impl Sent {
    fn roll(number: usize, dice: &mut Dice) -> Self {
        let read = READS[dice.size(READS.len())];
        let breaks = usize::from(dice.one_in(8));
        let answer = ANSWERS[dice.size(3 + breaks)];
        let holds = if dice.one_in(2) { "hold" } else { "let" };
        let target = format!("/{number}/{read}/{answer}/{holds}");
        let mut body = String::new();
        let mut malformed = false;
        let framing = match dice.roll(4) {
            0 | 1 => String::new(),
            2 => {
                let most = if dice.one_in(20) { 4000 } else { 4 };
                body = DECOY.repeat(dice.size(most));
                format!("Content-Length: {}\r\n", body.len())
            }
            _ => {
                for _ in 0..dice.size(4) {
                    let chunk = DECOY.repeat(1 + dice.size(3));
                    write!(body, "{:x}\r\n{chunk}\r\n", chunk.len()).expect("a string");
                }
                malformed = dice.one_in(12);
                body += if malformed { "2;\r\nab\r\n0\r\n\r\n" } else { "0\r\n\r\n" };
                "Transfer-Encoding: chunked\r\n".into()
            }
        };
        let lead = if dice.one_in(10) { "\r\n" } else { "" };
        let method = if framing.is_empty() { "GET" } else { "POST" };
        let head = format!("{lead}{method} {target} HTTP/1.1\r\nHost: a\r\n{framing}\r\n");
        let length = head.len();
        Self { bytes: (head + &body).into_bytes(), head: length, answer, malformed }
    }
}

/// What went wrong inside the service.
#[derive(Default)]
struct Notes {
    wrong: Mutex<Vec<String>>,
    held: Mutex<Vec<RequestBody>>,
    /// The numbers of the requests that it was asked, in their order.
    asked: Mutex<Vec<String>>,
}

#[derive(Clone)]
struct Model(Arc<Notes>);

type ModelBody =
    http_body_util::combinators::UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

impl Service for Model {
    type Body = ModelBody;

    fn call(
        &self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Response<ModelBody>> + Send + 'static {
        let notes = self.0.clone();
        async move { answer(&notes, request).await }
    }

    fn refusal(&self, why: Refusal) -> Bytes {
        let status = match why {
            Refusal::HeadTooSlow => 408,
            Refusal::Malformed(_) => 400,
            Refusal::NoRoom | Refusal::Stopping => 503,
        };
        format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into()
    }
}

async fn answer(notes: &Notes, request: Request<RequestBody>) -> Response<ModelBody> {
    let (parts, mut body) = request.into_parts();
    let words: Vec<String> = parts.uri.path().split('/').skip(1).map(str::to_owned).collect();
    let [number, read, when, holds] = &words[..] else {
        notes.wrong.lock().unwrap().push(format!("nobody asked for {}", parts.uri));
        return Response::new(whole(String::new()));
    };
    notes.asked.lock().unwrap().push(number.clone());
    let text = format!("{number}\n");
    if when == "early" && read == "all" {
        // Reads on beside its answer and behind it.
        tokio::spawn(async move { while let Some(Ok(_)) = body.frame().await {} });
        return Response::new(whole(text));
    }
    // An exchange has a deadline of its own.
    let reads = async {
        match &**read {
            _ if when == "early" => {}
            "all" => while let Some(Ok(_)) = body.frame().await {},
            "first" => drop(body.frame().await),
            _ => {}
        }
    };
    timeout(LIMITS.stall, reads).await.ok();
    match (&**read, &**holds) {
        ("discard", _) => body.discard(),
        ("drop", _) => drop(body),
        (_, "hold") => notes.held.lock().unwrap().push(body),
        _ => body.discard(),
    }
    Response::new(match &**when {
        "early" | "late" => whole(text),
        "slow" => {
            Slow { pieces: text.chars().map(String::from).collect(), wait: None, breaks: false }
                .boxed_unsync()
        }
        _ => Slow { pieces: VecDeque::from([text]), wait: None, breaks: true }.boxed_unsync(),
    })
}

fn whole(text: String) -> ModelBody {
    http_body_util::Full::from(text).map_err(never).boxed_unsync()
}

fn never(never: Infallible) -> Box<dyn std::error::Error + Send + Sync> {
    match never {}
}

/// A body that comes byte by byte, one every second, and may break off behind the last one.
struct Slow {
    pieces: VecDeque<String>,
    wait: Option<Pin<Box<tokio::time::Sleep>>>,
    breaks: bool,
}

impl Body for Slow {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let wait = self.wait.get_or_insert_with(|| Box::pin(sleep(Duration::from_secs(1))));
        std::task::ready!(wait.as_mut().poll(task));
        self.wait = None;
        Poll::Ready(match self.pieces.pop_front() {
            Some(piece) => Some(Ok(Frame::data(piece.into()))),
            None if self.breaks => Some(Err("broken off".into())),
            None => None,
        })
    }
}

/// Counts the turns of a task.
struct Counted<F>(Pin<Box<F>>, Arc<AtomicUsize>);

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<F::Output> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.as_mut().poll(task)
    }
}

/// All that has come from the host.
#[derive(Clone, Debug, Default)]
struct Got {
    bytes: Vec<u8>,
    ended: bool,
}

/// One run: a connection from accept to its end.
struct Run {
    dice: Dice,
    peer: OwnedWriteHalf,
    got: watch::Receiver<Got>,
    reader: JoinHandle<()>,
    served: JoinHandle<()>,
    turns: Arc<AtomicUsize>,
    notes: Arc<Notes>,
    entry: Arc<Entry>,
    sent: Vec<Sent>,
    /// Bytes that are written, of all requests.
    written: usize,
    steps: usize,
    phase: Phase,
    /// The last byte that the host had before it could close, as far as the peer can know.
    log: Vec<String>,
}

fn run_of(seed: u64) -> (Run, impl Fn(Phase)) {
    let (stream, ours) = UnixStream::pair().unwrap();
    let (set, phase) = PhaseWatch::with_setter();
    set(Phase::Ready);
    let tracker = Tracker::awaited();
    let entry = Entry::new(None, "model".into());
    let guard = tracker.guard(entry.clone());
    let room = Room::new(1, tracker.clone());
    let context =
        Context { phase, connections: tracker, limits: LIMITS, scarcity: Scarcity::new() };
    let notes = Arc::new(Notes::default());
    let turns = Arc::new(AtomicUsize::new(0));
    let connection =
        serve(Socket::Unix(ours), context, Model(notes.clone()), room, entry.clone(), guard);
    let served = tokio::spawn(Counted(Box::pin(connection), turns.clone()));
    let (read, peer) = stream.into_split();
    let (tell, got) = watch::channel(Got::default());
    let reader = tokio::spawn(read_all(read, tell));
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

async fn read_all(mut read: OwnedReadHalf, tell: watch::Sender<Got>) {
    let mut buffer = [0; 4096];
    loop {
        let read = read.read(&mut buffer).await.unwrap_or(0);
        tell.send_modify(|got| {
            got.bytes.extend_from_slice(&buffer[..read]);
            got.ended = read == 0;
        });
        if read == 0 {
            return;
        }
    }
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
        while self.written < until && !self.host_has_closed() {
            self.step(&all[self.written..until], stop_at, &set).await;
        }
        if self.phase < Phase::Draining && self.dice.one_in(2) {
            self.move_to(Phase::Draining, &set);
        }
        self.finish(all.len()).await
    }

    /// Whether the host has sent FIN. What is written then is not asked of anybody.
    fn host_has_closed(&self) -> bool {
        let stream: &UnixStream = self.peer.as_ref();
        let mut ask = [PollFd::new(stream, PollFlags::RDHUP)];
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
                let piece = 1 + self.dice.size(most.min(rest.len()));
                let piece = &rest[..piece.min(rest.len())];
                // A host that reads no more blocks its peer: that is looked at elsewhere.
                let wrote = timeout(Duration::from_secs(5), self.peer.write(piece)).await;
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

    /// Reads the answers, in order.
    fn judge(&self, asked: usize) {
        let got = self.got.borrow();
        let text = String::from_utf8_lossy(&got.bytes).into_owned();
        let mut rest = &*text;
        let (mut answered, mut closes, mut broken) = (0, false, false);
        while !rest.is_empty() {
            assert!(!closes, "something behind the last answer: {}", self.story());
            let (head, behind) =
                rest.split_once("\r\n\r\n").unwrap_or_else(|| self.fail("half a head"));
            let head = head.to_ascii_lowercase();
            closes = head.contains("connection: close");
            let status = head.get(9..12).unwrap_or_else(|| self.fail("no status"));
            let (body, next) = if head.contains("transfer-encoding: chunked") {
                dechunked(behind)
            } else {
                let (_, length) =
                    head.split_once("content-length: ").unwrap_or_else(|| self.fail("no length"));
                let length = length.lines().next().and_then(|it| it.parse().ok());
                let length: usize = length.unwrap_or_else(|| self.fail("bad length"));
                let body = behind.get(..length).unwrap_or_else(|| self.fail("half a body"));
                (Some(body.to_owned()), behind.get(length..).unwrap_or_default())
            };
            rest = next;
            if status != "200" {
                assert!(closes && matches!(status, "400" | "408" | "503"), "{}", self.story());
                self.judge_refusal(status, answered);
                answered += 1;
                continue;
            }
            let sent = self.sent.get(answered).unwrap_or_else(|| self.fail("one answer too many"));
            assert!(answered < asked, "answered before it was asked: {}", self.story());
            match body {
                Some(body) if sent.answer != "broken" => {
                    assert_eq!(body, format!("{answered}\n"), "{}", self.story());
                }
                Some(_) => self.fail("a broken answer looks whole"),
                None => {
                    let cut = self.phase == Phase::Cut;
                    assert!(sent.answer == "broken" || cut, "{}", self.story());
                    (broken, closes) = (true, true);
                    assert!(rest.is_empty(), "{}", self.story());
                }
            }
            answered += 1;
        }
        if !closes && !broken {
            self.judge_silence(answered);
        }
    }

    /// Whether this is a reason for the next request to be refused.
    fn judge_refusal(&self, status: &str, answered: usize) {
        let begun: usize = self.sent.iter().take(answered).map(|sent| sent.bytes.len()).sum();
        let is_right = match status {
            "503" => self.phase == Phase::Cut,
            "408" => self.written > begun,
            _ => self.sent.iter().take(answered + 1).any(|sent| sent.malformed),
        };
        assert!(is_right, "{status} in place of {answered}: {}", self.story());
    }

    /// The host has closed without a word, so nothing of the next request may have been there.
    fn judge_silence(&self, answered: usize) {
        let before: usize = self.sent.iter().take(answered).map(|sent| sent.bytes.len()).sum();
        let whole = self.written.saturating_sub(before);
        let Some(next) = self.sent.get(answered) else { return };
        // A body that was broken by the peer's own mistake ends the connection behind its answer.
        let spoilt = self.sent.iter().take(answered).any(|sent| sent.malformed);
        let empty_lines =
            next.bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        assert!(
            whole <= empty_lines || spoilt || self.phase == Phase::Cut,
            "request {answered} was lost, {whole} bytes of {}: {}",
            next.head,
            self.story()
        );
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

/// A chunked body, unless it breaks off, and what is behind it.
fn dechunked(mut text: &str) -> (Option<String>, &str) {
    let mut body = String::new();
    loop {
        let Some((size, rest)) = text.split_once("\r\n") else { return (None, "") };
        let size = usize::from_str_radix(size, 16).expect("hyper writes sizes");
        let Some(chunk) = rest.get(..size) else { return (None, "") };
        body += chunk;
        let Some(next) = rest.get(size..).and_then(|it| it.strip_prefix("\r\n")) else {
            return (None, "");
        };
        if size == 0 {
            return (Some(body), next);
        }
        text = next;
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
#[allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "how far it came, and how to come there"
)]
fn a_connection_answers_what_was_asked_and_nothing_else_whatever_comes_when() {
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
                let (run, set) = run_of(seed);
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
