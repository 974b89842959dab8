//! Huge pages, which this process does without.
//!
//! Where `/sys/kernel/mm/transparent_hugepage/enabled` is `madvise` or `always`, the allocator has its heap backed by
//! pages of 2 MiB, and memory that nothing was ever written to is resident too: the 16 KiB for output that each HTTP/2
//! connection reserves, and hardly ever fills, for one (ADR 0057).

use std::io;

use rustix::thread::disable_transparent_huge_pages;

/// Has the kernel back this process, and those that it starts, with small pages from now on (prctl(2),
/// `PR_SET_THP_DISABLE`).
///
/// # Errors
/// When the kernel was built without huge pages. Then there is nothing to do without.
pub fn disable() -> io::Result<()> {
    Ok(disable_transparent_huge_pages(true)?)
}

/// Allows them again, in a process that was started by one that does without.
///
/// # Errors
/// As [`disable`].
pub fn allow() -> io::Result<()> {
    Ok(disable_transparent_huge_pages(false)?)
}
