//! Time as the traced host sees it.

use std::collections::HashMap;
use std::time::Duration;

use nix::libc;

use super::tracer::Tracer;

/// A clock that is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// Where the stack is until it has been read.
    pub(super) stack: u64,
    pub(super) clock: u64,
    /// Where the time is written to.
    pub(super) to: u64,
}

/// The clocks of the host. They stand at the moment in which it was stopped, and go on with the instructions that
/// it executes. Otherwise a request would take a second, and be handled as one that does.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// What each clock said at that moment.
    began: HashMap<u64, Duration>,
}

impl Clocks {
    /// Two instructions take a nanosecond.
    fn gone(instructions: u64) -> Duration {
        Duration::from_nanos(instructions / 2)
    }

    /// Puts our time in the place of the kernel's, after so many instructions.
    pub(super) fn set(&mut self, reading: Reading, instructions: u64, tracer: &Tracer) {
        let mut bytes = [0; 16];
        tracer.read(reading.to, &mut bytes).expect("the time was written there");
        let [seconds, nanos] = [0, 8].map(|at| {
            u64::from_le_bytes(bytes[at..at + 8].try_into().expect("these are eight bytes"))
        });
        let real = Duration::from_secs(seconds) + Duration::from_nanos(nanos);
        let stopped = tracer.since.elapsed();
        let began = self.began.entry(reading.clock).or_insert_with(|| real.saturating_sub(stopped));
        let time = *began + Self::gone(instructions);
        let nanos = u64::from(time.subsec_nanos());
        tracer.write(reading.to, &[time.as_secs(), nanos].map(u64::to_le_bytes).concat());
    }
}

/// Whether it is one that the kernel sets at each of its ticks: reading it is a load from memory.
pub(super) fn is_coarse(clock: u64) -> bool {
    let coarse = [libc::CLOCK_REALTIME_COARSE, libc::CLOCK_MONOTONIC_COARSE];
    i32::try_from(clock).is_ok_and(|clock| coarse.contains(&clock))
}
