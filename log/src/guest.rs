//! What guests print, as lines: of the log of the host, or of a file of their component.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use host_manifest::LogFormat;
use tokio::time::Instant;
use tracing::Level;

use crate::line::{Line, Value};
use crate::writer::{LineWriter, Target};

/// Bytes of lines that may wait for the file, for each thread on which guests print.
const BUFFERED: usize = 1024 * 1024;

/// What the log calls guests.
const SCOPE: &str = "guest";

/// A line that a guest has printed.
#[derive(Clone, Copy, Debug)]
pub struct GuestLine<'a> {
    /// Its component's name.
    pub component: &'a str,
    /// The number of its generation.
    pub generation: u64,
    /// `stdout` or `stderr`.
    pub stream: &'a str,
    /// The exchange that it serves, if it is known which.
    pub exchange: Option<u64>,
    /// The trace of that exchange.
    pub trace: Option<u128>,
    /// The line itself. Need not be fit for a log.
    pub text: &'a str,
}

/// 32 hexadecimal digits, as traces are written.
struct TraceId(u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl GuestLine<'_> {
    /// Adds it to the log of the host.
    pub fn log(&self) {
        let Self { component, generation, stream, exchange, trace, text } = *self;
        let trace_id = trace.map(|trace| tracing::field::display(TraceId(trace)));
        tracing::info!(target: SCOPE, exchange, component, generation, stream, trace_id, "{text}");
    }

    fn write(&self, out: &mut impl fmt::Write, format: LogFormat) -> fmt::Result {
        let Self { component, generation, stream, exchange, trace, text } = *self;
        let known = [
            exchange.map(|exchange| ("exchange", Value::Unsigned(exchange))),
            Some(("component", Value::Text(component.into()))),
            Some(("generation", Value::Unsigned(generation))),
            Some(("stream", Value::Text(stream.into()))),
            trace.map(|trace| ("trace_id", Value::Shown(TraceId(trace).to_string()))),
        ];
        let fields: Vec<_> = known.into_iter().flatten().collect();
        let at = SystemTime::now();
        let line = Line { at, level: Level::INFO, scope: SCOPE, body: text, fields: &fields };
        line.write(out, format, false)
    }
}

/// The file of one component's output, with the thread that writes it. Dropping it ends that thread, behind the lines
/// so far.
#[derive(Debug)]
pub struct GuestFile {
    writer: LineWriter,
    format: LogFormat,
}

impl GuestFile {
    /// Opens the file at `path` for the lines of `component`.
    ///
    /// # Errors
    /// It cannot be opened, or there is no thread for it.
    pub fn open(component: &str, path: &Path, format: LogFormat) -> io::Result<Self> {
        let (name, target) = (format!("log of {component}"), Target::File(path.to_owned()));
        Ok(Self { writer: LineWriter::start("guest-log", name, &target, BUFFERED)?, format })
    }

    /// Adds a line. Never waits; without room it is dropped and counted.
    pub fn add(&self, line: &GuestLine<'_>) {
        let mut text = String::new();
        // A string takes all of it.
        line.write(&mut text, self.format).ok();
        self.writer.add(|buffer| buffer.lines.extend_from_slice(text.as_bytes()));
    }

    /// Lines that were dropped so far, because the disk was too slow or refused them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.writer.dropped()
    }

    /// Has the file opened again, once the lines so far are in the one that was. Returns at once.
    pub fn reopen(&self) {
        self.writer.reopen();
    }

    /// Asks for the end, behind the lines so far. Returns at once.
    pub fn begin_end(&self) {
        self.writer.begin_end();
    }

    /// Writes the lines so far, until then at most. Whether that was all.
    pub fn end(&self, until: Instant) -> bool {
        self.writer.end(until)
    }
}

impl Drop for GuestFile {
    fn drop(&mut self) {
        self.writer.begin_end();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    const LINE: GuestLine<'_> = GuestLine {
        component: "shop",
        generation: 3,
        stream: "stderr",
        exchange: Some(7),
        trace: Some(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736),
        text: "out of carts\x1b[2J",
    };

    #[test]
    fn a_line_in_a_file_is_as_one_in_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.log");
        for format in [LogFormat::Text, LogFormat::Json] {
            let file = GuestFile::open("shop", &path, format).unwrap();
            file.add(&LINE);
            file.add(&GuestLine { exchange: None, trace: None, ..LINE });
            assert!(file.end(Instant::now() + Duration::from_secs(30)));
        }
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let behind = "  INFO guest: out of carts\\u{1b}[2J exchange=7 component=\"shop\" \
                      generation=3 stream=\"stderr\" trace_id=4bf92f3577b34da6a3ce929d0e0e4736";
        assert!(lines[0].ends_with(behind), "{}", lines[0]);
        assert!(lines[1].ends_with("[2J component=\"shop\" generation=3 stream=\"stderr\""));
        let json: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
        assert_eq!(json["body"], "out of carts\x1b[2J");
        assert_eq!((&json["log.iostream"], &json["exchange"]), (&"stderr".into(), &7.into()));
    }
}
