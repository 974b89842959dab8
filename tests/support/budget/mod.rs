//! What a request costs, counted and not timed: user instructions, allocations, clock reads, system calls,
//! wake-ups. The same on a busy machine as on a quiet one.
//!
//! ```text
//!   kinds.rs     which host, which request
//!      ↓
//!   tracer.rs    ptrace: the one worker goes by single instructions, the other threads stand still
//!      ↓
//!   counter.rs   counts: instruction.rs is what one instruction does, image.rs where it lies,
//!                entries.rs which calls count, calls.rs who called, clocks.rs the time that the host sees,
//!                sharing.rs what requests write that others write too
//!      ↓
//!   report.rs    figures, functions, callers
//!      ↓
//!   table.rs     what a request may cost: tests/budget.md
//! ```
//!
//! The worker is counted from the call in which it waits for events to the next such call. Between them lie
//! one request on each of a few connections, from first byte to teardown, and their share of one wake-up.

mod calls;
mod clocks;
mod counter;
mod entries;
mod image;
mod instruction;
mod kinds;
mod report;
mod sharing;
mod table;
mod tracer;

use nix::libc::user_regs_struct as Registers;

use self::counter::Counter;
use self::image::Image;
pub use self::kinds::{Kind, guests_are_of_the_table};
pub use self::report::Report;
pub use self::table::{Budget, row};
use self::tracer::Tracer;
use super::broken::Glance;
use super::raw::Conn;

/// Requests are sent on so many connections at once.
const CONNECTIONS: usize = 2;
/// So many on each before the counting: pools are full then, code and data are mapped.
const WARM_UP: usize = 50;
/// At most so many on each while they are counted.
const ROUNDS: usize = 6;

/// Counts requests of this kind. The report has so many `lines` of functions.
///
/// # Errors
/// When this machine does not allow it, with the reason.
pub fn measure(kind: &Kind, lines: usize) -> Result<Report, String> {
    let (host, _site) = kind.serve();
    let mut connections: Vec<Conn> = (0..CONNECTIONS).map(|_| host.connect()).collect();
    warm_up(&mut connections);
    let tracer = Tracer::seize(&host)?;
    let image = Image::read(&tracer, &kinds::binary());
    let mut counter = Counter::new(&tracer, &image);
    let mut registers = to_wait(&tracer, &mut counter, tracer.registers());
    let mut seen = Vec::new();
    loop {
        ask(&mut connections);
        loop {
            counter.count(&registers);
            registers = tracer.step();
            if counter.is_at_wait(&registers) && all_answered(&connections) {
                break;
            }
        }
        answer(&mut connections);
        let counts = counter.take_counts();
        // Some things are done once in so many requests, and are no request's: one start in 16 is timed, a worker
        // looks at its CPU clock now and then, and once in 61 polls for events. What two rounds do is each one's.
        let again = seen.contains(&counts.events());
        seen.push(counts.events());
        if again || seen.len() == ROUNDS {
            return Ok(Report::new(&counts, &image, CONNECTIONS, lines));
        }
    }
}

/// Asks until pools are full, and then until a second has just begun: once in each, a `Date` is written anew.
fn warm_up(connections: &mut [Conn]) {
    let mut dates = Vec::new();
    while dates.len() < WARM_UP || dates[dates.len() - 1] == dates[dates.len() - 2] {
        ask(connections);
        dates.push(answer(connections));
    }
}

/// Lets the worker go until it is about to wait for events.
fn to_wait(tracer: &Tracer, counter: &mut Counter<'_>, mut registers: Registers) -> Registers {
    while !counter.is_at_wait(&registers) {
        registers = tracer.step();
    }
    registers
}

fn ask(connections: &mut [Conn]) {
    for connection in connections {
        connection.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").expect("it takes requests");
    }
}

fn all_answered(connections: &[Conn]) -> bool {
    connections.iter().all(|connection| connection.glance() == Glance::Bytes)
}

/// Reads an answer on each. Returns the date of the last.
fn answer(connections: &mut [Conn]) -> Option<String> {
    let mut date = None;
    for connection in connections {
        let answer = connection.read_response("GET").expect("a whole answer");
        assert_eq!((answer.status(), answer.text()), (200, "hello world\n".to_owned()));
        date = answer.header("date").map(str::to_owned);
    }
    date
}
