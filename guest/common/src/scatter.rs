//! Writes to many places far from each other, as interpreters do.

use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

/// The pages of the kernel.
const PAGE: usize = 4 << 10;

/// Pages of memory that begins as zeroes, and how far apart those are that get written.
const ZEROES: (usize, usize) = (420, 3);

/// Pages of memory that begins with data from the component, likewise.
const DATA: (usize, usize) = (120, 2);

static IN_ZEROES: [AtomicU8; ZEROES.0 * PAGE] = [const { AtomicU8::new(0) }; ZEROES.0 * PAGE];
static IN_DATA: [AtomicU8; DATA.0 * PAGE] = [const { AtomicU8::new(7) }; DATA.0 * PAGE];

/// Counts the bytes that are not as they were at first, then leaves `secret` in 200 pages.
pub fn scatter(secret: &str) -> String {
    let changed =
        |bytes: &[AtomicU8], first| bytes.iter().filter(|byte| byte.load(Relaxed) != first).count();
    let changed = changed(&IN_ZEROES, 0) + changed(&IN_DATA, 7);
    let mut written = 0;
    for (bytes, step) in [(&IN_ZEROES[..], ZEROES.1), (&IN_DATA[..], DATA.1)] {
        for page in bytes.chunks(PAGE).step_by(step) {
            page.iter().zip(secret.bytes()).for_each(|(place, byte)| place.store(byte, Relaxed));
            written += 1;
        }
    }
    format!("changed: {changed}\nwritten: {written}\n")
}
