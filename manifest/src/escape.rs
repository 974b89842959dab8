//! Words of strangers, made fit to stand among our own: names that a component chose, paths, what a guest
//! printed, lines of a file that is refused. A terminal that got them as they are would take some for
//! commands.

/// What a stranger may add to a line of ours.
const QUOTED: usize = 1024;

/// One line, bounded, harmless.
#[must_use]
pub fn quote(text: &str) -> String {
    let end = text.floor_char_boundary(QUOTED);
    let (text, rest) = text.split_at(end);
    let more = if rest.is_empty() { "" } else { "…" };
    format!("{}{more}", harmless(text))
}

/// One line, harmless: everything that a terminal could take for a command is made visible. Ends of lines at
/// the end are left out.
#[must_use]
pub fn harmless(text: &str) -> String {
    visible(text.trim_end_matches(['\n', '\r']), |_| false)
}

/// The same for text of many lines, which stay lines.
#[must_use]
pub fn lines(text: &str) -> String {
    visible(text, |letter| letter == '\n')
}

/// JSON with the letters escaped that JSON lets stand in its strings: outside of them there are none.
#[must_use]
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter != '\n' && (letter.is_control() || turns_the_line(letter)) {
            out += &format!("\\u{:04x}", u32::from(letter));
        } else {
            out.push(letter);
        }
    }
    out
}

fn visible(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        let commands = (letter.is_control() && letter != '\t') || turns_the_line(letter);
        if commands && !stays(letter) {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    out
}

/// Letters that make a terminal or a viewer show another line than is there: breaks and marks of
/// direction (Unicode UAX #9, \[CVE-2021-42574\]).
#[must_use]
pub fn turns_the_line(letter: char) -> bool {
    matches!(
        letter,
        '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_made_visible() {
        assert_eq!(harmless("\x1b[31mred\0\r\n"), "\\u{1b}[31mred\\u{0}");
        assert_eq!(harmless("tab\tand umlaut ü\n"), "tab\tand umlaut ü");
        assert_eq!(harmless("\u{202e}desrever"), "\\u{202e}desrever");
        assert_eq!(harmless("one\u{9b}2J"), "one\\u{9b}2J");
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(lines("a\n  b\x1b]0;c\x07\r\n"), "a\n  b\\u{1b}]0;c\\u{7}\\r\n");
    }

    #[test]
    fn json_says_the_same_without_a_command() {
        assert_eq!(
            json("{\n\"a\": \"\u{9b}2J\u{202e}ü\u{7f}\"}"),
            "{\n\"a\": \"\\u009b2J\\u202eü\\u007f\"}"
        );
    }

    #[test]
    fn quoted_text_is_one_bounded_line() {
        assert_eq!(quote("no\nINFO ready\x1b[2K"), "no\\nINFO ready\\u{1b}[2K");
        let long = quote(&"ü".repeat(QUOTED));
        assert!(long.len() <= QUOTED + 3 && long.ends_with('…'), "{}", long.len());
    }
}
