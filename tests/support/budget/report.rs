//! What a measurement has found, for the table and for people.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use nix::libc;

use super::counter::Counts;
use super::entries::Entry;
use super::image::Image;

/// What is counted, each per request. Without the host's table of symbols only some of it can be.
pub const COLUMNS: [&str; 10] = [
    "user instructions",
    "bytes copied",
    "allocations",
    "not in wasmtime",
    "clock reads",
    "coarse clock reads",
    "syscalls",
    "wake-ups",
    "task polls",
    "locked instructions",
];

/// Those of [`COLUMNS`] that need symbols.
const NAMED: [&str; 4] = ["allocations", "not in wasmtime", "wake-ups", "task polls"];

/// Said where they are missing.
const NO_SYMBOLS: &str = "This host has no symbols: allocations, wake-ups, polls and shared memory are not counted. \
     `CARGO_PROFILE_DIST_STRIP=none make dist` builds one that has.\n";

/// One request of a kind.
#[derive(Debug)]
pub struct Report {
    /// In the order of [`COLUMNS`]. None for what could not be counted, for want of symbols.
    pub figures: [Option<f64>; COLUMNS.len()],
    /// System calls, functions by their instructions, callers of the allocator, memory that requests share.
    pub details: String,
}

impl Report {
    /// `counts` of so many requests; `lines` is how many functions and callers are wanted.
    pub(super) fn new(counts: &Counts, image: &Image, requests: usize, lines: usize) -> Self {
        let each = Each { counts, image, requests: requests as f64 };
        let mut details = each.totals();
        if !image.is_named {
            details += NO_SYMBOLS;
        }
        if lines > 0 {
            details += &each.functions(lines);
            details += &each.functions_with_callees(lines);
            let allocates = |entry| matches!(entry, Entry::Allocate(_));
            details += &each.callers("allocations", lines, allocates);
            details += &each.callers("bytes copied", lines, |entry| entry == Entry::Copy);
            details += &each.callers("clock reads", lines, |entry| entry == Entry::ReadClock);
            details += &each.callers("wake-ups", lines, |entry| entry == Entry::WakeTask);
        }
        details += &each.shared();
        Self { figures: each.figures(), details }
    }
}

struct Each<'a> {
    counts: &'a Counts,
    image: &'a Image,
    requests: f64,
}

impl Each<'_> {
    fn figures(&self) -> [Option<f64>; COLUMNS.len()] {
        let counts = self.counts;
        let ours = counts.callers.iter().filter(|((entry, chain), _)| {
            matches!(entry, Entry::Allocate(_)) && !self.is_of_wasmtime(chain)
        });
        let all = [
            counts.instructions,
            counts.bytes_copied,
            counts.allocations,
            ours.map(|(_, count)| count).sum(),
            counts.clock_reads,
            counts.coarse_reads,
            counts.syscalls.values().sum(),
            counts.wakes,
            counts.polls,
            counts.locked,
        ];
        let mut figures = all.map(|count| Some(count as f64 / self.requests));
        if !self.image.is_named {
            for (figure, name) in figures.iter_mut().zip(COLUMNS) {
                *figure = figure.filter(|_| !NAMED.contains(&name));
            }
        }
        figures
    }

    /// The allocator was asked by wasmtime itself, and not by us, hyper, tokio or WASI. What no crate of either
    /// can be told of (the standard library, `bytes`, `http`) is done for the one who called it.
    fn is_of_wasmtime(&self, chain: &[u64]) -> bool {
        const OURS: [&str; 4] = ["host", "hyper", "tokio", "wasmtime_wasi"];
        const THEIRS: [&str; 2] = ["wasmtime", "cranelift"];
        let names = chain.iter().map(|at| self.image.function(*at));
        let is_of = |name: &str, crates: &[&str]| {
            crates.iter().any(|one| name.trim_start_matches('<').starts_with(one))
        };
        let mut known = names.filter(|name| is_of(name, &OURS) || is_of(name, &THEIRS));
        known.next().is_some_and(|name| !is_of(&name, &OURS))
    }

    fn totals(&self) -> String {
        let counts = self.counts;
        let calls = counts.syscalls.iter();
        let calls =
            calls.map(|(number, count)| format!("{} {}", syscall(*number), self.share(*count)));
        format!(
            "system calls: {}\nuser instructions with those of libc's copies and compares: {}\n",
            calls.collect::<Vec<_>>().join(", "),
            self.share(counts.instructions + counts.in_copies)
        )
    }

    fn functions(&self, lines: usize) -> String {
        let counts = self.counts.at.iter();
        self.largest("instructions by function", self.by_name(counts), lines)
    }

    fn functions_with_callees(&self, lines: usize) -> String {
        let counts = self.counts.inclusive.iter();
        self.largest("instructions by function, with what it calls", self.by_name(counts), lines)
    }

    fn by_name<'b>(
        &self,
        counts: impl Iterator<Item = (&'b u64, &'b u64)>,
    ) -> HashMap<String, u64> {
        let mut by_name = HashMap::new();
        for (address, count) in counts {
            *by_name.entry(self.image.function(*address)).or_default() += count;
        }
        by_name
    }

    fn callers(&self, what: &str, lines: usize, is_it: impl Fn(Entry) -> bool) -> String {
        let mut by_name: HashMap<String, u64> = HashMap::new();
        let counts = self.counts.callers.iter().filter(|((entry, _), _)| is_it(*entry));
        for ((_, chain), count) in counts {
            let names = chain.iter().map(|at| self.image.function(*at));
            let names: Vec<_> = names.filter(|name| !is_way_there(name)).take(3).collect();
            *by_name.entry(names.join(" ← ")).or_default() += count;
        }
        self.largest(&format!("{what} by caller"), by_name, lines)
    }

    fn shared(&self) -> String {
        let mut writers: HashMap<String, u64> = HashMap::new();
        let shared = &self.counts.shared;
        for (address, locked) in shared {
            let code: BTreeSet<_> = locked.code.iter().map(|at| self.image.function(*at)).collect();
            let code = code.into_iter().collect::<Vec<_>>().join("; ");
            let name = format!("{} ({address:#x}) by {code}", self.image.place(*address));
            *writers.entry(name).or_default() += locked.writes;
        }
        let title = "writes under a lock to what requests of both connections write, by place";
        self.largest(title, writers, shared.len())
    }

    fn largest(&self, title: &str, counts: HashMap<String, u64>, lines: usize) -> String {
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        let mut text = format!("{title}, the first {lines} of {}:\n", counts.len());
        for (name, count) in counts.into_iter().take(lines) {
            writeln!(text, "{:>10}  {name}", self.share(count)).ok();
        }
        text
    }

    fn share(&self, count: u64) -> String {
        format!("{:.1}", count as f64 / self.requests)
    }
}

/// Those that stand between a caller and the allocator, or the clock, whoever it is.
fn is_way_there(name: &str) -> bool {
    const WAY: [&str; 8] =
        ["alloc::", "<alloc::", "__rustc::", "mi_", "_mi_", "hashbrown::", "std::", "<std::"];
    WAY.iter().any(|way| name.starts_with(way)) || name.contains("libc.so")
}

fn syscall(number: u64) -> String {
    let name = match number.cast_signed() {
        libc::SYS_clock_gettime => "clock_gettime",
        libc::SYS_epoll_ctl => "epoll_ctl",
        libc::SYS_epoll_wait => "epoll_wait",
        libc::SYS_futex => "futex",
        libc::SYS_getrandom => "getrandom",
        libc::SYS_ioctl => "ioctl",
        libc::SYS_madvise => "madvise",
        libc::SYS_mmap => "mmap",
        libc::SYS_mprotect => "mprotect",
        libc::SYS_munmap => "munmap",
        libc::SYS_read => "read",
        libc::SYS_recvfrom => "recvfrom",
        libc::SYS_recvmsg => "recvmsg",
        libc::SYS_sched_yield => "sched_yield",
        libc::SYS_sendmsg => "sendmsg",
        libc::SYS_sendto => "sendto",
        libc::SYS_write => "write",
        libc::SYS_writev => "writev",
        _ => return format!("call {number}"),
    };
    name.to_owned()
}
