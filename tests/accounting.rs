//! What the host counts, against the books of clients that do all sorts of things at once.
//!
//! Each client writes down what it sees. It leaves only where it has seen that its request is under way: then the host
//! must have counted it as gone, and there is nothing to guess.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::app::text;
use crate::support::metrics::{self, Metrics};
use crate::support::prelude::*;
use crate::support::site::{Site, route};
use crate::support::wire;

const CLIENTS: u64 = 8;
const ACTIONS: u64 = 120;

const COMPONENTS: &str = "\
    [component.app]\nsource = \"guest:version_a_p2\"\n\
    [component.echo]\nsource = \"guest:echo_p2\"\n\
    [component.bad]\nsource = \"guest:trap_p2\"\n\
    [component.late]\nsource = \"guest:trap_late_p2\"\n\
    [component.hold]\nsource = \"guest:gate_p2\"\n\
    [component.slow]\nsource = \"guest:sleep_p2\"\nlimits.response-head-timeout = \"20ms\"\n\
    [component.narrow]\nsource = \"guest:sleep_p2\"\nlimits.instances = 1\nlimits.queue = 0\n\
    [component.plug]\nsource = \"guest:plugin_bad_p2\"\nfail = \"open\"\n\
    [[route]]\npath = \"/open\"\ncomponent = \"app\"\nchain = [\"plug\"]\n";

const GOING: &str = "[component.going]\nsource = \"guest:hello_p2\"\n\
    [[route]]\npath = \"/going\"\ncomponent = \"going\"\n";

fn manifest(more: &str) -> String {
    let names = ["app", "echo", "bad", "late", "slow", "narrow"];
    let routes: String = names.map(|name| route(&format!("/{name}"), name)).concat();
    let hold = "[[route]]\npath = \"/hold\"\ncomponent = \"hold\"\nstrip-prefix = true\n";
    format!("{COMPONENTS}{routes}{hold}{more}")
}

/// Route, status (empty for none) and end, as the page of metrics has them: how many.
type Book = BTreeMap<(String, String, String), u64>;

/// What one client has seen.
#[derive(Debug, Default)]
struct Ledger {
    book: Book,
    /// Bytes of bodies that were sent to the echo, all of which came back.
    echoed: u64,
    /// Requests whose plugin has trapped.
    opened: u64,
}

impl Ledger {
    fn note(&mut self, route: &str, status: u16, ended: &str) {
        let route = if route.is_empty() { String::new() } else { format!("/{route}/*") };
        *self.book.entry((route, status.to_string(), ended.to_owned())).or_default() += 1;
    }

    fn merge(&mut self, other: Self) {
        for (key, count) in other.book {
            *self.book.entry(key).or_default() += count;
        }
        self.echoed += other.echoed;
        self.opened += other.opened;
    }

    fn all(&self) -> u64 {
        self.book.values().sum()
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
enum Action {
    App,
    Echo(usize),
    Bad,
    Late,
    Slow,
    Narrow,
    Open,
    Nowhere,
    /// Leaves when the head of the answer is there.
    Leave,
}

impl Action {
    fn any(dice: &mut fastrand::Rng) -> Self {
        match dice.u8(..12) {
            0..3 => Self::App,
            3 | 4 => Self::Echo(dice.usize(..20_000)),
            5 => Self::Bad,
            6 => Self::Late,
            7 => Self::Slow,
            8 => Self::Narrow,
            9 => Self::Open,
            10 => Self::Nowhere,
            _ => Self::Leave,
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::App => "/app?bytes=300",
            Self::Echo(_) => "/echo",
            Self::Bad => "/bad",
            Self::Late => "/late",
            Self::Slow => "/slow?ms=600000",
            Self::Narrow => "/narrow?ms=3",
            Self::Open => "/open?bytes=200",
            Self::Nowhere => "/nowhere",
            Self::Leave => "/hold/",
        }
    }

    /// Notes a whole answer with this status.
    #[track_caller]
    fn note(self, status: u16, ledger: &mut Ledger) {
        match (self, status) {
            (Self::App, 200) => ledger.note("app", status, "finished"),
            (Self::Echo(bytes), 200) => {
                ledger.echoed += bytes as u64;
                ledger.note("echo", status, "finished");
            }
            (Self::Bad, 500) => ledger.note("bad", status, "guest-trapped"),
            (Self::Slow, 504) => ledger.note("slow", status, "timed-out"),
            (Self::Narrow, 200) => ledger.note("narrow", status, "finished"),
            (Self::Narrow, 503) => ledger.note("narrow", status, "refused"),
            (Self::Open, 200) => {
                ledger.opened += 1;
                ledger.note("open", status, "finished");
            }
            (Self::Nowhere, 404) => ledger.note("", status, "refused"),
            _ => panic!("{status} to {self:?}"),
        }
    }
}

/// Asks over HTTP/1.1, on one connection as long as it may.
fn h1(host: &Host, seed: u64) -> Ledger {
    let (mut ledger, mut dice) = (Ledger::default(), fastrand::Rng::with_seed(seed));
    let mut kept = None;
    for _ in 0..ACTIONS {
        let (action, mut conn) =
            (Action::any(&mut dice), kept.take().unwrap_or_else(|| host.connect()));
        let (path, body) = match action {
            Action::Echo(bytes) => (action.path(), vec![b'x'; bytes]),
            _ => (action.path(), Vec::new()),
        };
        if matches!(action, Action::Leave) {
            conn.send(wire::chunked(path)).unwrap();
            assert_eq!(conn.read_head().unwrap().status, 200);
            ledger.note("hold", 200, "client-gone");
            if dice.bool() {
                conn.reset();
            }
            continue;
        }
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: test\r\nX-Fail: trap\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        conn.send([head.as_bytes(), &body].concat()).unwrap();
        let answer = conn.read_head().and_then(|head| {
            let body = conn.read_body(&head, "POST");
            body.map(|body| Response { head, body })
        });
        match (action, answer) {
            (Action::Late, broken) => {
                wire::assert_broken(broken);
                ledger.note("late", 200, "guest-trapped");
            }
            (_, Err(why)) => panic!("{why} to {action:?}"),
            (_, Ok(answer)) => {
                assert_eq!(answer.body.bytes == body, matches!(action, Action::Echo(_)));
                action.note(answer.status(), &mut ledger);
                kept = Some(conn).filter(|_| !answer.head.says_close());
            }
        }
    }
    ledger
}

/// Asks over HTTP/2, one stream after the other.
fn h2(host: &Host, seed: u64) -> Ledger {
    let (mut ledger, mut dice) = (Ledger::default(), fastrand::Rng::with_seed(seed));
    let mut conn = H2::connect(host.addr());
    for stream in (1..).step_by(2).take(usize::try_from(ACTIONS).unwrap()) {
        let action = Action::any(&mut dice);
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "test"),
            (":path", action.path()),
            ("x-fail", "trap"),
        ];
        let body = match action {
            Action::Echo(bytes) => vec![b'x'; bytes],
            _ => Vec::new(),
        };
        let is_held = matches!(action, Action::Leave);
        conn.send_fields(stream, &fields, body.is_empty() && !is_held);
        let mut parts = body.chunks(16_000).peekable();
        while let Some(part) = parts.next() {
            conn.send_data(stream, part, parts.peek().is_none());
        }
        match action {
            Action::Leave => {
                assert_eq!(conn.expect_status(stream), 200);
                conn.send_rst(stream, 8);
                ledger.note("hold", 200, "client-gone");
            }
            Action::Late => {
                conn.expect_rst(stream);
                ledger.note("late", 200, "guest-trapped");
            }
            _ => {
                let answer = conn.expect_answer(stream);
                assert_eq!(answer.body == body, matches!(action, Action::Echo(_)));
                action.note(answer.status, &mut ledger);
            }
        }
    }
    ledger
}

/// Changes of all kinds, while the clients are at work.
fn change(host: &Host, site: &Site) {
    let path = guest("version_b_p2");
    host.ctl(["swap", text(&path), "--component", "app"]).expect_code(0);
    site.write(&manifest(""));
    host.ctl(["reload"]).expect_code(0);
    let path = guest("version_b_p3");
    host.ctl(["swap", text(&path), "--component", "app"]).expect_code(0);
    host.ctl(["rollback", "--component", "app"]).expect_code(0);
}

/// What the page says of the exchanges, as a client writes it down.
fn told(metrics: &Metrics) -> Book {
    let labels = ["http_route", "http_response_status_code", "ended"];
    metrics
        .by("host_exchanges_total", labels)
        .into_iter()
        .map(|([route, status, ended], count)| ((route, status, ended), count))
        .collect()
}

#[test]
fn what_the_host_has_counted_is_what_its_clients_have_seen() {
    let site = Site::new(&manifest(GOING));
    let host = site.serve().control().args(metrics::ARGS).start();
    let mut ledger = Ledger::default();
    assert_eq!(host.get("/going").status(), 200);
    ledger.note("going", 200, "finished");
    let held = {
        let mut conn = host.connect();
        conn.send(wire::chunked("/hold/")).unwrap();
        let head = conn.read_head().unwrap();
        (conn, head)
    };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut before = Metrics::of(&host);
            while !done.load(Ordering::SeqCst) {
                let now = Metrics::of(&host);
                assert_eq!(now.fallen_since(&before), Vec::<String>::new());
                before = now;
            }
        });
        let client = |number| {
            let (host, ask) = (&host, if number % 2 == 0 { h1 } else { h2 });
            scope.spawn(move || ask(host, number))
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        change(&host, &site);
        clients.into_iter().for_each(|client| ledger.merge(client.join().unwrap()));
        done.store(true, Ordering::SeqCst);
        watching.join().unwrap();
    });
    let (mut conn, head) = held;
    let active = |told: &Metrics| told.sum("http_server_active_requests", &[]);
    assert_counted(&Metrics::wait(&host, |told| active(told) == 1.0), &ledger);
    // Nothing of it changes while a stop waits for the one that is left.
    host.signal(Signal::TERM);
    host.wait_log(says::DRAINING);
    assert_counted(&Metrics::of(&host), &ledger);
    conn.send(wire::LAST_CHUNK).unwrap();
    assert_eq!(conn.read_body(&head, "POST").unwrap().text(), "started\ndone\n");
    host.wait_exit().expect_code(0);
}

/// Fails unless all but the one that is held is counted as in the ledger, in each family that has it.
#[track_caller]
fn assert_counted(metrics: &Metrics, ledger: &Ledger) {
    assert_eq!(told(metrics), ledger.book);
    #[expect(clippy::cast_precision_loss, reason = "no test sends so many")]
    let count = |count: u64| count as f64;
    let sum = |name, labels: &[(&str, &str)]| metrics.sum(name, labels);
    let all = count(ledger.all());
    assert_eq!(sum("host_requests_accepted_total", &[]), all + 1.0);
    assert_eq!(sum("http_server_request_duration_seconds_count", &[]), all);
    assert_eq!(sum("host_time_to_head_seconds_count", &[]), all, "each had a head");
    assert_eq!(sum("host_refusals_total", &[]), metrics.ended("refused"));
    let echo = [("host_component", "echo")];
    assert_eq!(sum("host_received_bytes_total", &echo), count(ledger.echoed));
    assert_eq!(sum("host_sent_bytes_total", &echo), count(ledger.echoed));
    let plug = [("host_component", "plug"), ("ended", "guest-trapped")];
    assert_eq!(sum("host_stages_total", &plug), count(ledger.opened));
    let of = |route: &str| {
        let counts = ledger.book.iter().filter(|((known, ..), _)| known == route);
        count(counts.map(|(_, count)| count).sum())
    };
    let app = [("host_component", "app")];
    assert_eq!(sum("host_stages_total", &app), of("/app/*") + of("/open/*"));
    assert_eq!(sum("host_stages_total", &[("host_component", "going")]), 1.0, "it was removed");
    assert_eq!(sum("host_generation_in_flight", &[]), 1.0);
}
