//! Strict clients beside changes, in rounds: requests are counted, not timed. A change is asked for in
//! the middle of each round, and the next round is opened by its outcome. So every change has requests
//! in flight.

use std::ops::RangeInclusive;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use super::PATIENCE;

/// Where the run stands.
#[derive(Default)]
pub struct State {
    /// Requests that may be sent.
    open: usize,
    taken: usize,
    /// Requests that were answered.
    pub answered: usize,
    /// Changes that have been asked for.
    begun: usize,
    /// Changes whose outcome is known.
    pub over: usize,
    /// Answers that came while a change was under way.
    pub meanwhile: usize,
    failed: bool,
}

/// So many changes, and one round of requests more.
pub struct Rounds {
    changes: usize,
    each: usize,
    state: Mutex<State>,
    changed: Condvar,
}

/// The right to one request.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// Its number, from 0.
    pub number: usize,
    /// Changes whose outcome was known before it was sent.
    known: usize,
}

/// Ends the run when a client fails.
pub struct Alarm<'a>(&'a Rounds);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.change(|state| state.failed = true);
        }
    }
}

impl Rounds {
    /// `changes` of them, with rounds of `each` requests.
    pub fn new(changes: usize, each: usize) -> Self {
        Self { changes, each, state: Mutex::default(), changed: Condvar::new() }
    }

    /// All requests that there will be.
    pub fn requests(&self) -> usize {
        (self.changes + 1) * self.each
    }

    /// To be held by who takes part.
    pub fn alarm(&self) -> Alarm<'_> {
        Alarm(self)
    }

    /// Where it stands.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while it holds the state")
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Waits until `ready`, the run has failed (then it gives nothing), or for too long.
    fn wait(&self, ready: impl Fn(&State) -> bool) -> Option<MutexGuard<'_, State>> {
        let until = Instant::now() + PATIENCE;
        let mut state = self.state();
        while !ready(&state) && !state.failed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(state);
                panic!("the run has stalled");
            }
            (state, _) = self.changed.wait_timeout(state, left).expect("as in `state`");
        }
        (!state.failed).then_some(state)
    }

    /// The right to the next request; nothing when all have been sent.
    pub fn ticket(&self) -> Option<Ticket> {
        let all = self.requests();
        let mut state = self.wait(|state| state.taken < state.open || state.taken == all)?;
        if state.taken == all {
            return None;
        }
        let ticket = Ticket { number: state.taken, known: state.over };
        state.taken += 1;
        Some(ticket)
    }

    /// The request was answered: `fits` says whether as it should be after so many changes. It must
    /// be so for a moment at which the request was in flight.
    #[track_caller]
    pub fn judge(&self, ticket: Ticket, what: &str, fits: impl Fn(usize) -> bool) {
        let (begun, over) = {
            let state = self.state();
            (state.begun, state.over)
        };
        let mut may: RangeInclusive<usize> = ticket.known..=begun;
        assert!(may.any(fits), "{what} after change {}, before {begun}", ticket.known);
        self.change(|state| {
            state.answered += 1;
            state.meanwhile += usize::from(over < begun);
        });
    }

    /// Carries out all changes, each in the middle of a round.
    pub fn carry_out(&self, mut carry_out: impl FnMut(usize)) {
        let _alarm = self.alarm();
        self.change(|state| state.open = self.each);
        for number in 1..=self.changes {
            let enough = number * self.each - self.each / 2;
            let Some(state) = self.wait(|state| state.answered >= enough) else { return };
            drop(state);
            self.change(|state| state.begun = number);
            carry_out(number);
            self.change(|state| {
                state.over = number;
                state.open += self.each;
            });
        }
    }
}
