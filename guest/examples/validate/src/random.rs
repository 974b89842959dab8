//! Random numbers where the compiler's target knows no WASI, as with Debian's compiler. The hash maps of `boon` begin with
//! them; `guest/build.sh` says that they come from here.
#![cfg(target_os = "unknown")]

use std::slice;

use kit::wasip3::random::random::get_random_bytes;

/// What the crate getrandom asks for.
///
/// # Safety
/// `to` has room for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(
    to: *mut u8,
    length: usize,
) -> Result<(), getrandom::Error> {
    // SAFETY: that is what the caller says.
    let to = unsafe { slice::from_raw_parts_mut(to, length) };
    let bytes = get_random_bytes(length.try_into().unwrap_or(0));
    to.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
    Ok(())
}
