//! Strict clients beside changes, in rounds. Rounds count requests and measure no time: each change is asked
//! for in the middle of a round, and its outcome opens the next round. So every change has requests in
//! flight.

use std::ops::RangeInclusive;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use super::PATIENCE;

/// The progress of the run.
#[derive(Default)]
pub struct State {
    /// Requests that may be sent.
    open: usize,
    taken: usize,
    /// Requests that got their response.
    pub answered: usize,
    /// Changes that have been asked for.
    begun: usize,
    /// Changes whose outcome is known.
    pub over: usize,
    /// Responses that came while a change was under way.
    pub meanwhile: usize,
    failed: bool,
}

/// A number of changes, with a round of requests for each, and one more round.
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

/// Ends the run when its holder fails.
pub struct Alarm<'a>(&'a Rounds);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.change(|state| state.failed = true);
        }
    }
}

impl Rounds {
    /// `changes` changes, with rounds of `each` requests.
    pub fn new(changes: usize, each: usize) -> Self {
        Self { changes, each, state: Mutex::default(), changed: Condvar::new() }
    }

    /// The number of all requests.
    pub fn requests(&self) -> usize {
        (self.changes + 1) * self.each
    }

    /// An alarm that each participant of the run holds.
    pub fn alarm(&self) -> Alarm<'_> {
        Alarm(self)
    }

    /// The progress now.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while it holds the state")
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Waits until `ready`. None if the run has failed. Fails the run if that takes too long.
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

    /// The right to the next request. None when all have been sent.
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

    /// Counts a response. `fits` says whether it is right after a number of changes. It must be right for a
    /// moment at which the request was in flight.
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
