//! The hexadecimal digits of ids.

/// The 16 hexadecimal digits of a span, or of another number.
#[must_use]
pub fn span_digits(span: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    let (high, low) = digits.split_at_mut(8);
    high.copy_from_slice(&eight_digits(span >> 32));
    low.copy_from_slice(&eight_digits(span & u64::from(u32::MAX)));
    digits
}

/// The 32 hexadecimal digits of a trace.
#[must_use]
pub fn trace_digits(trace: u128) -> [u8; 32] {
    let mut digits = [0; 32];
    let halves = [trace >> 64, trace & u128::from(u64::MAX)];
    for (half, place) in halves.into_iter().zip(digits.chunks_exact_mut(16)) {
        place.copy_from_slice(&span_digits(u64::try_from(half).unwrap_or_default()));
    }
    digits
}

/// The digits of a number of 32 bits, all at once: each half byte gets a byte, and then what makes a letter of it.
fn eight_digits(number: u64) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let two = (number | number << 16) & 0x0000_ffff_0000_ffff;
    let four = (two | two << 8) & 0x00ff_00ff_00ff_00ff;
    let halves = (four | four << 4) & (15 * ONES);
    let letters = (halves + 6 * ONES) >> 4 & ONES;
    (halves + ONES * u64::from(b'0') + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_all_their_digits() {
        for span in [0, 1, 0x00f0_67aa_0ba9_02b7, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(span_digits(span), *format!("{span:016x}").as_bytes());
        }
        for trace in [1, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, u128::MAX] {
            assert_eq!(trace_digits(trace), *format!("{trace:032x}").as_bytes());
        }
    }
}
