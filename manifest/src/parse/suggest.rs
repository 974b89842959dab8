//! Suggests the right word for a wrong one.

/// The word of `known` that is nearest to `written`, if one is near.
pub(super) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // The distance takes time proportional to the product of the lengths. No key or name is that long.
    if written.len() > 64 {
        return None;
    }
    let most = (written.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&written.to_lowercase(), word), word))
        .filter(|(distance, word)| *distance <= most || is_part(written, word))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// `timeout` for `queue-timeout`, `max-memory` for `memory`.
fn is_part(written: &str, word: &str) -> bool {
    let long = |text: &str| text.len() >= 4;
    (long(written) && word.contains(written)) || (long(word) && written.contains(word))
}
