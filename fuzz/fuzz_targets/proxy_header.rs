//! However a header of the PROXY protocol comes in pieces, it is read to the same byte, within its bounds, and says the
//! same.
#![no_main]

use host_forwarded::{MOST_BYTES, ProxyHeader, ProxyHeaderFault, ProxyHeaderStep};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes, usize::MAX);
    for piece in [1, 3, 7] {
        assert_eq!(read(bytes, piece), whole, "in pieces of {piece}");
    }
    if let Some((Ok(_), length)) = whole {
        assert!(length <= 16 + MOST_BYTES);
        // What stands behind it is another's.
        let longer = [&bytes[..length], b"\nGET / HTTP/1.1\r\n"].concat();
        assert_eq!(read(&longer, usize::MAX), whole);
    }
});

/// Reads as a connection does, at most so many bytes at once. None where the bytes end before the header.
fn read(bytes: &[u8], piece: usize) -> Option<(Result<ProxyHeader, ProxyHeaderFault>, usize)> {
    let mut length = 0;
    loop {
        let next = match ProxyHeader::read(&bytes[..length]) {
            Ok(ProxyHeaderStep::Done(header)) => return Some((Ok(header), length)),
            // Where a fault is found, and which of several, depends on the pieces.
            Err(ProxyHeaderFault::Malformed(_)) => {
                return Some((Err(ProxyHeaderFault::Malformed("")), 0));
            }
            Err(fault) => return Some((Err(fault), 0)),
            Ok(ProxyHeaderStep::Needs(next)) => next,
            Ok(ProxyHeaderStep::Line(most)) => {
                let ahead = &bytes[length..];
                let end = ahead.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
                end.unwrap_or(ahead.len()).min(most).max(1)
            }
        };
        assert!(next > 0);
        // A read gives what there is.
        let next = next.min(piece).min(bytes.len() - length);
        if next == 0 {
            return None;
        }
        length += next;
    }
}
