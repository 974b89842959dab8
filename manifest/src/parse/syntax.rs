//! What is wrong with a text that is no TOML.

use crate::error::Problem;

/// The problem behind an error of the parser.
pub(super) fn syntax(error: &toml::de::Error, text: &str) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let end = text.len();
    Problem::new(span.start.min(end)..span.end.min(end), error.message().replace('\n', ", "))
        .help("the file is TOML: text in quotes, lists in brackets, [table] heads; see toml.io")
}
