//! One line of the log, as text for people or as JSON for programs.
//!
//! ```text
//! 2026-11-29T10:48:30.123456Z  WARN host::http: guest failed exchange=7 component="shop" status=500
//! {"timestamp":"2026-11-29T10:48:30.123456Z","severity_text":"WARN","body":"guest failed",…}
//! ```
//!
//! Words of strangers (paths, what a guest printed) stand in both. Neither has a byte in it that ends the line
//! or that a terminal takes for a command.

use std::fmt::{self, Write};
use std::time::SystemTime;

use host_manifest::{LogFormat, escape};
use tracing::Level;

use crate::time;

/// What a field says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Words: in quotes.
    Text(String),
    /// Something that shows itself: in quotes only where it would not end otherwise.
    Shown(String),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
}

/// One line, not yet written.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) at: SystemTime,
    pub(crate) level: Level,
    /// The part of the program that says it: `host::http`, or `guest`.
    pub(crate) scope: &'a str,
    pub(crate) body: &'a str,
    pub(crate) fields: &'a [(&'a str, Value)],
}

/// Where a guest was when it trapped, one function a line. OpenTelemetry's name.
const STACK: &str = "exception.stacktrace";

/// Names of fields that OpenTelemetry has a name for (semantic conventions 1.37).
const CONVENTIONS: &[(&str, &str)] = &[
    ("addr", "server.address"),
    ("method", "http.request.method"),
    ("path", "url.path"),
    ("pid", "process.pid"),
    ("route", "http.route"),
    ("status", "http.response.status_code"),
    ("stream", "log.iostream"),
    ("why", "error.message"),
];

impl Line<'_> {
    /// Writes it, with its end. `colour` is for text on a terminal.
    pub(crate) fn write(
        &self,
        out: &mut impl Write,
        format: LogFormat,
        colour: bool,
    ) -> fmt::Result {
        match format {
            LogFormat::Text => self.text(out, colour),
            LogFormat::Json => self.json(out),
        }
    }

    fn text(&self, out: &mut impl Write, colour: bool) -> fmt::Result {
        let (dim, bold, level, plain) = if colour {
            ("\x1b[2m", "\x1b[1m", colour_of(self.level), "\x1b[0m")
        } else {
            ("", "", "", "")
        };
        out.write_str(dim)?;
        time::rfc3339(out, self.at)?;
        write!(out, "{plain} {level}{:>5}{plain} ", self.level.as_str())?;
        write!(out, "{dim}{}:{plain} ", self.scope)?;
        out.write_str(&escape::harmless(self.body))?;
        for (name, value) in self.fields.iter().filter(|(name, _)| *name != STACK) {
            write!(out, " {bold}{name}{plain}{dim}={plain}")?;
            value.text(out)?;
        }
        for (_, value) in self.fields.iter().filter(|(name, _)| *name == STACK) {
            value.below(out)?;
        }
        out.write_char('\n')
    }

    fn json(&self, out: &mut impl Write) -> fmt::Result {
        out.write_str("{\"timestamp\":\"")?;
        time::rfc3339(out, self.at)?;
        let (level, number) = severity(self.level);
        write!(out, "\",\"severity_text\":\"{level}\",\"severity_number\":{number},\"body\":")?;
        json_string(out, self.body.trim_end_matches(['\n', '\r']))?;
        for (name, value) in self.fields {
            out.write_char(',')?;
            json_string(out, convention(name))?;
            out.write_char(':')?;
            value.json(out)?;
        }
        out.write_str(",\"otel.scope.name\":")?;
        json_string(out, self.scope)?;
        out.write_str("}\n")
    }
}

impl Value {
    /// In lines of its own, below the one that it belongs to.
    fn below(&self, out: &mut impl Write) -> fmt::Result {
        let (Self::Text(text) | Self::Shown(text)) = self else { return Ok(()) };
        text.lines().try_for_each(|line| write!(out, "\n    {}", escape::harmless(line)))
    }

    fn text(&self, out: &mut impl Write) -> fmt::Result {
        match self {
            Self::Shown(text) if is_one_word(text) => out.write_str(text),
            Self::Text(text) | Self::Shown(text) => quoted(out, text),
            Self::Unsigned(number) => write!(out, "{number}"),
            Self::Signed(number) => write!(out, "{number}"),
            Self::Float(number) => write!(out, "{number}"),
            Self::Bool(yes) => write!(out, "{yes}"),
        }
    }

    fn json(&self, out: &mut impl Write) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Shown(text) => json_string(out, text),
            Self::Unsigned(number) => write!(out, "{number}"),
            Self::Signed(number) => write!(out, "{number}"),
            // JSON has no number for the others.
            Self::Float(number) if number.is_finite() => write!(out, "{number}"),
            Self::Float(number) => write!(out, "\"{number}\""),
            Self::Bool(yes) => write!(out, "{yes}"),
        }
    }
}

/// What JSON calls a field.
fn convention(name: &str) -> &str {
    let known = CONVENTIONS.iter().find(|(ours, _)| *ours == name);
    known.map_or(name, |(_, conventional)| conventional)
}

/// Whether a text stands by itself behind `name=`.
fn is_one_word(text: &str) -> bool {
    let fits = |letter: char| {
        letter.is_alphanumeric() || (letter.is_ascii_graphic() && !matches!(letter, '"' | '\\'))
    };
    !text.is_empty() && text.chars().all(fits)
}

/// In quotes, with those that are in it escaped.
fn quoted(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for letter in escape::harmless(&text.replace('\\', "\\\\").replace('"', "\\\"")).chars() {
        out.write_char(letter)?;
    }
    out.write_char('"')
}

/// As JSON, with all escaped that a terminal could take for a command.
fn json_string(out: &mut impl Write, text: &str) -> fmt::Result {
    let json = serde_json::to_string(text).map_err(|_| fmt::Error)?;
    out.write_str(&escape::json(&json))
}

/// Name and number of a level in OpenTelemetry's data model of logs.
fn severity(level: Level) -> (&'static str, u8) {
    match level {
        Level::ERROR => ("ERROR", 17),
        Level::WARN => ("WARN", 13),
        Level::INFO => ("INFO", 9),
        Level::DEBUG => ("DEBUG", 5),
        Level::TRACE => ("TRACE", 1),
    }
}

fn colour_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn written(body: &str, fields: &[(&str, Value)], format: LogFormat, colour: bool) -> String {
        let at = UNIX_EPOCH + Duration::new(1_795_949_310, 123_456_789);
        let line = Line { at, level: Level::WARN, scope: "host::http", body, fields };
        let mut out = String::new();
        line.write(&mut out, format, colour).unwrap();
        out
    }

    fn text(value: &str) -> Value {
        Value::Text(value.into())
    }

    #[test]
    fn text_has_the_message_and_then_its_fields() {
        let shown = |value: &str| Value::Shown(value.into());
        let fields = [
            ("component", text("shop")),
            ("why", shown("no such file")),
            ("took", shown("1.5s")),
            ("empty", shown("")),
            ("status", Value::Unsigned(500)),
            ("left", Value::Signed(-1)),
            ("cached", Value::Bool(true)),
        ];
        assert_eq!(
            written("guest failed", &fields, LogFormat::Text, false),
            "2026-11-29T10:48:30.123456Z  WARN host::http: guest failed component=\"shop\" \
             why=\"no such file\" took=1.5s empty=\"\" status=500 left=-1 cached=true\n"
        );
    }

    #[test]
    fn json_has_the_names_of_opentelemetry() {
        let fields = [("status", Value::Unsigned(500)), ("component", text("shop"))];
        let line = written("guest failed", &fields, LogFormat::Json, false);
        assert_eq!(
            line,
            "{\"timestamp\":\"2026-11-29T10:48:30.123456Z\",\"severity_text\":\"WARN\",\
             \"severity_number\":13,\"body\":\"guest failed\",\"http.response.status_code\":500,\
             \"component\":\"shop\",\"otel.scope.name\":\"host::http\"}\n"
        );
    }

    /// A guest may print what it likes, and a client may ask for any path.
    #[test]
    fn words_of_strangers_stay_in_their_line() {
        let hostile = "a\n2026 INFO \"ready\" \\ \x1b[2J \u{202e}\u{9b}\0\r";
        let fields = [("path", text(hostile))];
        for format in [LogFormat::Text, LogFormat::Json] {
            let line = written(hostile, &fields, format, false);
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
            assert!(line.trim_end().chars().all(|letter| !letter.is_control()), "{line:?}");
            assert!(!line.contains('\u{202e}'), "{line:?}");
        }
        let json: serde_json::Value =
            serde_json::from_str(&written(hostile, &fields, LogFormat::Json, false)).unwrap();
        assert_eq!(json["url.path"], hostile, "JSON says what it was");
        let line = written("x", &[("path", text("\"\\"))], LogFormat::Text, false);
        assert!(line.ends_with("x path=\"\\\"\\\\\"\n"), "{line}");
    }

    #[test]
    fn where_a_guest_trapped_stands_below_the_line_and_in_one_field_of_json() {
        let fields = [
            ("exception.stacktrace", text("shop::cart\nshop::main")),
            ("status", Value::Unsigned(500)),
        ];
        let line = written("guest failed", &fields, LogFormat::Text, false);
        assert!(
            line.ends_with("guest failed status=500\n    shop::cart\n    shop::main\n"),
            "{line}"
        );
        let line = written("guest failed", &fields, LogFormat::Json, false);
        let line: serde_json::Value = serde_json::from_str(line.trim_end()).unwrap();
        assert_eq!(line["exception.stacktrace"], "shop::cart\nshop::main");
    }

    #[test]
    fn colours_are_for_terminals_only() {
        let fields = [("component", text("shop"))];
        assert!(written("x", &fields, LogFormat::Text, true).contains("\x1b[33m WARN\x1b[0m"));
        assert!(!written("x", &fields, LogFormat::Text, false).contains('\x1b'));
        assert!(!written("x", &fields, LogFormat::Json, true).contains('\x1b'));
    }
}
