//! An allocator that begins with memory the guest starts with. Without WASI below it, std's own
//! begins with a `memory.grow`, and that is dear in a guest that lives for one request.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};

const SIZE: usize = 16 << 10;

#[repr(align(16))]
pub struct Arena {
    memory: UnsafeCell<[u8; SIZE]>,
    used: Cell<usize>,
}

impl Arena {
    pub const fn new() -> Self {
        Self { memory: UnsafeCell::new([0; SIZE]), used: Cell::new(0) }
    }
}

// SAFETY: a guest has one thread.
unsafe impl Sync for Arena {}

// SAFETY: every block is the arena's and given out once, or it is `System`'s from first to last.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let start = self.used.get();
        let end = start + layout.size().next_multiple_of(16);
        if end > SIZE || layout.align() > 16 {
            return unsafe { System.alloc(layout) };
        }
        self.used.set(end);
        unsafe { self.memory.get().cast::<u8>().add(start) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // The arena takes nothing back: the instance ends before it is full, or `System` helps out.
        let arena = self.memory.get() as usize;
        if !(arena..arena + SIZE).contains(&(block as usize)) {
            unsafe { System.dealloc(block, layout) };
        }
    }
}
