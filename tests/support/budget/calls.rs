//! Which functions are under way, from the moves of the stack pointer: who asked, and what a function costs with
//! all that it calls.

use std::collections::HashMap;

use super::image::Image;

/// A stack pointer that moves farther has gone to the stack of a guest, or back.
pub(super) const FARTHEST_MOVE: u64 = 256 << 10;

/// A function that has been called and has not returned.
#[derive(Clone, Copy, Debug)]
struct Call {
    /// Where the stack was when it began.
    stack: u64,
    /// Where it was called.
    from: u64,
    function: u64,
    /// How many instructions had been executed by then.
    began: u64,
}

/// The calls on one stack that is not in use now.
#[derive(Debug, Default)]
struct Left {
    calls: Vec<Call>,
    /// How many instructions had been executed when it was left.
    at: u64,
}

/// The calls of one thread.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
    others: HashMap<u64, Left>,
    stack: u64,
    /// Instructions of functions with all that they called, by the start of the function.
    pub(super) inclusive: HashMap<u64, u64>,
}

impl Calls {
    /// The stack pointer is there now, after so many instructions.
    pub(super) fn follow(&mut self, stack: u64, now: u64, image: &Image) {
        if self.stack.abs_diff(stack) > FARTHEST_MOVE {
            self.change(image.mapping_of(self.stack), image.mapping_of(stack), stack, now);
        }
        self.stack = stack;
        self.end_below(stack, now);
    }

    /// The instruction at `from` has called the function at `function`.
    pub(super) fn begin(&mut self, function: u64, from: u64, now: u64) {
        self.calls.push(Call { stack: self.stack, from, function, began: now });
    }

    /// Where each of the functions was called, innermost first.
    pub(super) fn chain(&self) -> Vec<u64> {
        self.calls.iter().rev().map(|call| call.from).collect()
    }

    fn change(&mut self, old: u64, new: u64, stack: u64, now: u64) {
        let Left { calls, at } = self.others.remove(&new).unwrap_or_default();
        let calls = std::mem::replace(&mut self.calls, calls);
        self.others.insert(old, Left { calls, at: now });
        // What has ended there had done so before it was left.
        self.end_below(stack, at);
        for call in &mut self.calls {
            call.began += now - at;
        }
    }

    fn end_below(&mut self, stack: u64, now: u64) {
        while let Some(call) = self.calls.pop_if(|call| call.stack < stack) {
            let is_inner = self.calls.iter().any(|outer| outer.function == call.function);
            if !is_inner {
                *self.inclusive.entry(call.function).or_default() += now - call.began;
            }
        }
    }
}
