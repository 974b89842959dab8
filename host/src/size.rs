//! Sizes for people. `bytesize` prints neither: it rounds what a flag has to take back, and says `56.0 kB`.

/// Bytes as the flags take them: in the largest unit that says it exactly.
pub(crate) fn exact(bytes: u64) -> String {
    let exact = |(shift, _): &(u32, &str)| bytes != 0 && bytes.trailing_zeros() >= *shift;
    let (shift, unit) =
        [(30, "GiB"), (20, "MiB"), (10, "KiB")].into_iter().find(exact).unwrap_or((0, "B"));
    format!("{}{unit}", bytes >> shift)
}

/// Bytes as people say them: `11.2 MB`.
pub(crate) fn rounded(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_printed_as_the_flags_take_them() {
        for text in ["0B", "1B", "1025B", "32KiB", "128MiB", "1536MiB", "4GiB"] {
            let bytes: host_manifest::ByteSize = text.parse().unwrap();
            assert_eq!(exact(bytes.0), text);
        }
    }

    #[test]
    fn sizes_are_those_that_people_say() {
        for (bytes, says) in [(12, "12 B"), (56_013, "56 kB"), (11_234_567, "11.2 MB")] {
            assert_eq!(rounded(bytes), says);
        }
    }
}
