//! Ways to break down. Each is a function that a backtrace names.

use std::hint::black_box;

/// Breaks down in this way; in no way that it knows, it comes back.
pub fn break_down(how: &str) {
    match how {
        "panic" => drop(black_box(look_up_the_price(black_box(&[1, 2, 3]), black_box(7)))),
        "unreachable" => core::arch::wasm32::unreachable(),
        "bounds" => drop(black_box(read_far_away(black_box(usize::MAX - 15)))),
        "deep" => drop(black_box(count_down(black_box(u64::MAX)))),
        "memory" => drop(black_box(remember_everything())),
        "exit" => std::process::exit(3),
        _ => {}
    }
}

#[inline(never)]
fn look_up_the_price(prices: &[u32], item: usize) -> u32 {
    with_tax(prices, item)
}

#[inline(always)]
fn with_tax(prices: &[u32], item: usize) -> u32 {
    prices[item] * 119 / 100
}

#[inline(never)]
fn read_far_away(address: usize) -> u64 {
    unsafe { (address as *const u64).read_volatile() }
}

#[inline(never)]
fn count_down(from: u64) -> u64 {
    if from == 0 { 0 } else { black_box(count_down(black_box(from - 1))) + 1 }
}

#[inline(never)]
fn remember_everything() -> usize {
    let mut all = Vec::new();
    loop {
        all.push(black_box(vec![1_u8; 1 << 20]));
        if all.len() == usize::MAX {
            return all.len();
        }
    }
}
