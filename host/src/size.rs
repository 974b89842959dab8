//! Sizes for people. `bytesize` says `56.0 kB`.

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
    fn sizes_are_those_that_people_say() {
        for (bytes, says) in [(12, "12 B"), (56_013, "56 kB"), (11_234_567, "11.2 MB")] {
            assert_eq!(rounded(bytes), says);
        }
    }
}
