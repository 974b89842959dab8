//! How the fields of an event look: `name=value` in its line, and where a guest was when it trapped below it, one
//! function a line.

use std::fmt::{self, Debug};

use host_manifest::escape;
use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// The field that has lines of its own. OpenTelemetry's name.
const STACK: &str = "exception.stacktrace";

/// Writes fields.
pub(crate) struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { writer, stack: String::new(), first: true, done: Ok(()) };
        fields.record(&mut line);
        line.done?;
        for below in line.stack.lines() {
            write!(line.writer, "\n    {}", escape::harmless(below))?;
        }
        Ok(())
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    stack: String,
    first: bool,
    done: fmt::Result,
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == STACK {
            self.stack = value.to_owned();
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let space = if std::mem::take(&mut self.first) { "" } else { " " };
        self.done = self.done.and_then(|()| match field.name() {
            "message" => write!(self.writer, "{space}{value:?}"),
            name => write!(self.writer, "{space}{name}={value:?}"),
        });
    }
}
