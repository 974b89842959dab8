//! What fits into one line of a terminal.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar as _;

/// As much of `text` as fits, with a sign where there is more. The last column stays free: some terminals begin
/// another line when it is written to.
#[must_use]
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    let room = columns.saturating_sub(1);
    let (mut width, mut end) = (0, 0);
    for (at, letter) in text.char_indices() {
        let wide = letter.width().unwrap_or(0);
        if width + wide < room {
            end = at + letter.len_utf8();
        }
        width += wide;
    }
    if width <= room { text.into() } else { format!("{}…", text.split_at(end).0).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_to_the_columns() {
        for (text, columns, shown) in [
            ("abc", 80, "abc"),
            ("abc", 4, "abc"),
            ("abcd", 4, "ab…"),
            ("漢字です", 10, "漢字です"),
            ("漢字です", 8, "漢字で…"),
            ("漢字です", 7, "漢字…"),
            ("abc", 1, "…"),
            ("abc", 0, "…"),
            ("", 0, ""),
        ] {
            assert_eq!(cut(text, columns), shown, "{text} in {columns}");
        }
    }
}
