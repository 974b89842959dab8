//! Errors of the system that do not depend on the request: the process or the machine is short of a
//! resource, and may have it again a moment later.

use std::error::Error;
use std::io;

use rustix::io::Errno;
use wasmtime::OutOfMemory;

/// Shortages of memory, descriptors, file size or disk space, and of locks or time inside the kernel.
const SHORTAGES: [Errno; 11] = [
    Errno::NOMEM,
    Errno::AGAIN,
    Errno::MFILE,
    Errno::NFILE,
    Errno::FBIG,
    Errno::NOSPC,
    Errno::DQUOT,
    Errno::NOBUFS,
    Errno::BUSY,
    Errno::INTR,
    Errno::TXTBSY,
];

/// Whether a shortage is among the causes of this error.
pub(crate) fn is_shortage(why: &wasmtime::Error) -> bool {
    why.is::<OutOfMemory>() || why.chain().any(|cause| number(cause).is_some_and(is_scarce))
}

fn is_scarce(number: Errno) -> bool {
    SHORTAGES.contains(&number)
}

/// The system's number of an error.
fn number(why: &(dyn Error + 'static)) -> Option<Errno> {
    let of_rust = |why: &io::Error| Errno::from_io_error(why);
    why.downcast_ref::<Errno>()
        .copied()
        .or_else(|| why.downcast_ref::<io::Error>().and_then(of_rust))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_told_from_a_fault_of_the_component() {
        for number in SHORTAGES {
            let of_rust = io::Error::from_raw_os_error(number.raw_os_error());
            let of_both = [wasmtime::Error::from(of_rust), wasmtime::Error::from(number)];
            for why in of_both {
                assert!(is_shortage(&why), "{number}");
                assert!(is_shortage(&why.context("making an image of its memory")), "{number}");
            }
        }
        for number in [Errno::PERM, Errno::INVAL, Errno::NOSYS] {
            assert!(!is_shortage(&wasmtime::Error::from(number)), "{number}");
        }
        assert!(!is_shortage(&wasmtime::Error::msg(
            "memory index 0 has a minimum size above the pool's"
        )));
    }
}
