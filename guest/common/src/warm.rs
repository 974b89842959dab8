//! What a guest computes once, and looks things up in ever after.

use std::cell::RefCell;

/// Steps for each entry: all of them take some 50 ms.
const STEPS: u32 = 400;
const ENTRIES: usize = 1 << 16;

thread_local! {
    static WARM: RefCell<Warm> = const { RefCell::new(Warm { table: Vec::new(), said: String::new(), requests: 0 }) };
}

struct Warm {
    table: Vec<u32>,
    /// What the guest has read when it warmed up.
    said: String,
    requests: u64,
}

/// Fills the table, and keeps what the guest says of itself.
pub fn warm_up(said: String) {
    let mut number = 1_u32;
    let mut next = || {
        for _ in 0..STEPS {
            number ^= number << 13;
            number ^= number >> 17;
            number ^= number << 5;
        }
        number
    };
    let table = (0..ENTRIES).map(|_| next()).collect();
    WARM.set(Warm { table, said, requests: 0 });
}

/// What the table holds, what the guest said, and how many requests it has had, with this one. Changes all of the table
/// but for its first entry.
pub fn warm_line() -> String {
    WARM.with_borrow_mut(|warm| {
        warm.requests += 1;
        let sum = warm.table.iter().fold(0_u32, |sum, entry| sum.rotate_left(1) ^ entry);
        warm.table.iter_mut().skip(1).for_each(|entry| *entry = !*entry);
        let Warm { table, said, requests } = &*warm;
        format!("warm={} sum={sum:08x} said={said} requests={requests}\n", !table.is_empty())
    })
}
