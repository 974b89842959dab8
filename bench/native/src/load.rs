//! A client that keeps to a timetable, whatever the server does.
//!
//! ```text
//! bench-load ADDR RATE CONNECTIONS SECONDS PATH
//! bench-load 127.0.0.1:8080 30000 64 3 /
//! ```
//!
//! `GET PATH` is due RATE times a second, above 10,000 in groups 100 µs apart. One that finds no idle connection waits for
//! the first, and its latency counts from the moment when it was due: a server that stops for 10 ms makes all
//! that fell due in them late, not one for each connection. The last line on stdout is JSON:
//!
//! ```text
//! {"requests":90000,"p50":0.087,"p99":0.412,"slowest":2.201,"other":0,"other_p99":0.000,"broken":0}
//! ```
//!
//! Latencies are in milliseconds. `other` counts the answers that are not 2xx, with a percentile of their own; `broken` connections that
//! ended, and requests without an answer 5 s after the last one was due.

#![expect(clippy::disallowed_types, reason = "it measures, on no clock that a test pauses")]

use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use std::{env, fmt};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// The shortest tick. Each takes CPU time from the server beside it, so there are no more of them than requests.
const TICK: Duration = Duration::from_micros(100);
const PATIENCE: Duration = Duration::from_secs(5);
/// What the timer is in the events; a connection is its place in the list.
const TIMER: u64 = u64::MAX;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [address, rate, connections, seconds, path] = args.as_slice() else {
        return Err("usage: bench-load ADDR RATE CONNECTIONS SECONDS PATH".into());
    };
    let timetable = Timetable::new(rate.parse()?, seconds.parse()?)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut load = Load::connect(address, connections.parse()?, request.into_bytes())?;
    load.run(timetable)?;
    writeln!(io::stdout(), "{}", Report::of(load))?;
    Ok(())
}

/// When each request is due, counted from the start.
#[derive(Debug)]
struct Timetable {
    rate: f64,
    tick: Duration,
    total: u32,
    next: u32,
}

impl Timetable {
    fn new(rate: f64, seconds: f64) -> Result<Self, String> {
        let total = (rate * seconds).round();
        if !(1.0..1e8).contains(&total) {
            return Err(format!(
                "{rate} a second for {seconds} s: takes 1 to 100 million requests"
            ));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked above"
        )]
        Ok(Self {
            rate,
            tick: TICK.max(Duration::from_secs_f64(1.0 / rate)),
            total: total as u32,
            next: 0,
        })
    }

    /// The next request that is due now. It was due at the tick after its place in the timetable.
    fn due(&mut self, now: Duration) -> Option<Duration> {
        let place = Duration::from_secs_f64(f64::from(self.next) / self.rate);
        let ticks = place.as_nanos().div_ceil(self.tick.as_nanos());
        let due = self.tick * u32::try_from(ticks).ok()?;
        if self.next == self.total || due > now {
            return None;
        }
        self.next += 1;
        Some(due)
    }

    fn end(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.total) / self.rate) + PATIENCE
    }
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// What has come of the answer, and when its request was due.
    answer: Vec<u8>,
    due: Option<Duration>,
}

#[derive(Debug)]
struct Load {
    epoll: OwnedFd,
    timer: OwnedFd,
    request: Vec<u8>,
    connections: Vec<Connection>,
    /// The one that has been idle longest comes first.
    idle: VecDeque<usize>,
    /// Due, and no connection was idle.
    waiting: VecDeque<Duration>,
    in_flight: usize,
    took: Vec<Duration>,
    /// Of answers that are not 2xx, which are in `took` too.
    other: Vec<Duration>,
    broken: usize,
}

impl Load {
    fn connect(address: &str, count: usize, request: Vec<u8>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        let mut connections = Vec::new();
        for index in 0..count {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(&epoll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
            connections.push(Connection { stream, answer: Vec::new(), due: None });
        }
        Ok(Self {
            epoll,
            timer,
            request,
            connections,
            idle: (0..count).collect(),
            waiting: VecDeque::new(),
            in_flight: 0,
            took: Vec::new(),
            other: Vec::new(),
            broken: 0,
        })
    }

    fn run(&mut self, mut timetable: Timetable) -> io::Result<()> {
        let tick = Timespec::try_from(timetable.tick).map_err(io::Error::other)?;
        let every = Itimerspec { it_interval: tick, it_value: tick };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &every)?;
        let start = Instant::now();
        let mut events = Vec::with_capacity(256);
        while (timetable.next < timetable.total || self.unanswered() > 0)
            && start.elapsed() < timetable.end()
        {
            epoll::wait(&self.epoll, spare_capacity(&mut events), None)?;
            for event in events.drain(..) {
                match event.data.u64() {
                    // How often it has gone off is of no interest: the clock says what is due.
                    TIMER => _ = rustix::io::read(&self.timer, &mut [0_u8; 8])?,
                    index => self.read(usize::try_from(index).map_err(io::Error::other)?, start)?,
                }
            }
            self.waiting.extend(std::iter::from_fn(|| timetable.due(start.elapsed())));
            self.send()?;
        }
        self.broken += self.unanswered();
        Ok(())
    }

    /// How many requests wait for a connection or for their answer.
    fn unanswered(&self) -> usize {
        self.waiting.len() + self.in_flight
    }

    /// Sends what waits on the connections that are idle.
    fn send(&mut self) -> io::Result<()> {
        while let (Some(&due), Some(&index)) = (self.waiting.front(), self.idle.front()) {
            self.idle.pop_front();
            let connection = &mut self.connections[index];
            match (&connection.stream).write_all(&self.request) {
                Ok(()) => {
                    self.waiting.pop_front();
                    self.in_flight += 1;
                    connection.due = Some(due);
                }
                // What was to be sent waits for the next.
                Err(_) => self.end(index)?,
            }
        }
        Ok(())
    }

    fn read(&mut self, index: usize, start: Instant) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        let connection = &mut self.connections[index];
        match connection.stream.read(&mut bytes) {
            Err(why) if why.kind() == ErrorKind::WouldBlock => return Ok(()),
            Ok(count) if count > 0 => connection.answer.extend_from_slice(&bytes[..count]),
            Ok(_) | Err(_) => return self.end(index),
        }
        let Some(status) = answered(&connection.answer) else { return Ok(()) };
        connection.answer.clear();
        if let Some(due) = connection.due.take() {
            self.in_flight -= 1;
            let took = start.elapsed().saturating_sub(due);
            self.took.push(took);
            if !(200..300).contains(&status) {
                self.other.push(took);
            }
            self.idle.push_back(index);
        }
        Ok(())
    }

    /// The server has ended a connection. Its request, if it had one, is left without an answer.
    fn end(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        epoll::delete(&self.epoll, &connection.stream)?;
        if connection.due.take().is_some() {
            self.in_flight -= 1;
        }
        self.broken += 1;
        self.idle.retain(|idle| *idle != index);
        Ok(())
    }
}

/// The status of an answer, once all of it is there.
fn answered(bytes: &[u8]) -> Option<u16> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = head.parse(bytes) else { return None };
    let body = &bytes[length..];
    let declared = head.headers.iter().find(|one| one.name.eq_ignore_ascii_case("content-length"));
    let whole = match declared {
        Some(header) => {
            let length: usize = std::str::from_utf8(header.value).ok()?.trim().parse().ok()?;
            body.len() >= length
        }
        None => body.ends_with(b"0\r\n\r\n"),
    };
    head.code.filter(|_| whole)
}

/// Latencies that were seen, in their order.
struct Latencies(Vec<Duration>);

impl Latencies {
    fn new(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        Self(took)
    }

    /// The latency that this share of a hundred did not exceed, in milliseconds.
    fn percentile(&self, percent: usize) -> f64 {
        let place = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0.get(place).map_or(0.0, |took| took.as_secs_f64() * 1000.0)
    }
}

struct Report {
    took: Latencies,
    other: Latencies,
    broken: usize,
}

impl Report {
    fn of(load: Load) -> Self {
        let (took, other) = (Latencies::new(load.took), Latencies::new(load.other));
        Self { took, other, broken: load.broken }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            r#"{{"requests":{},"p50":{:.3},"p99":{:.3},"slowest":{:.3},"other":{},"other_p99":{:.3},"broken":{}}}"#,
            self.took.0.len(),
            self.took.percentile(50),
            self.took.percentile(99),
            self.took.percentile(100),
            self.other.0.len(),
            self.other.percentile(99),
            self.broken,
        )
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod load_tests;
