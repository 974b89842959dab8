//! The access log: one line for each exchange that has ended, and for each request that the host itself answered.

mod combined;
mod json;
mod text;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use host_manifest::{AccessLogFormat, AccessLogTarget, LogConfig};
use host_telemetry::{ExchangeRecord, Observer};
use tokio::time::Instant;

use crate::time::{self, WallClock};
use crate::writer::{Buffer, LONGEST_LINE, LineWriter, Target};

/// Bytes that may wait for the writer, for each thread that serves: a sixth of a second of 30,000 requests/s. More are
/// dropped, and counted.
const BUFFERED: usize = 2 * 1024 * 1024;

/// The access log. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct AccessLog {
    writer: LineWriter,
    clock: Arc<WallClock>,
    format: AccessLogFormat,
    query: bool,
}

impl AccessLog {
    /// Opens it, where `config` asks for one, and starts the thread that writes it.
    ///
    /// # Errors
    /// Its file cannot be opened, or there is no thread for it.
    pub fn open(config: &LogConfig) -> io::Result<Option<Self>> {
        let target = match &config.access {
            AccessLogTarget::Off => return Ok(None),
            AccessLogTarget::Stdout => Target::Stdout,
            AccessLogTarget::Stderr => Target::Log,
            AccessLogTarget::File(path) => Target::File(path.clone()),
        };
        Ok(Some(Self {
            writer: LineWriter::start("access-log", "access log".into(), &target, BUFFERED)?,
            clock: WallClock::new().into(),
            format: config.access_format,
            query: config.query,
        }))
    }

    /// Lines that were dropped so far, because their reader or the disk was too slow or refused them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.writer.dropped()
    }

    /// Has the file opened again, once the lines so far are in the one that was. Returns at once.
    pub fn reopen(&self) {
        self.writer.reopen();
    }

    /// Writes the lines so far, until then at most. Whether that was all.
    pub fn end(&self, until: Instant) -> bool {
        self.writer.end(until)
    }

    fn write(&self, buffer: &mut Buffer, record: &ExchangeRecord<'_>) {
        // The first line since the writer was here: of what happens to the clock, no later one knows less.
        if buffer.lines.is_empty() {
            self.clock.look();
        }
        let since = self.clock.since_1970(record.began);
        if buffer.second != Some(since.as_secs()) {
            self.tell_second(buffer, since);
        }
        let Buffer { lines, second_text, .. } = buffer;
        lines.reserve(LONGEST_LINE);
        match self.format {
            AccessLogFormat::Json => {
                let start = lines.len();
                lines.extend_from_slice(b"{\"timestamp\":\"");
                lines.extend_from_slice(second_text.as_bytes());
                lines.push(b'.');
                text::six_digits(lines, since.subsec_micros());
                lines.extend_from_slice(b"Z\"");
                json::write(lines, record, self.query, start);
            }
            AccessLogFormat::Combined => combined::write(lines, record, self.query, second_text),
        }
    }

    fn tell_second(&self, buffer: &mut Buffer, since: Duration) {
        let Buffer { second, second_text, .. } = buffer;
        second_text.clear();
        let told = match self.format {
            AccessLogFormat::Json => time::rfc3339_second(second_text, since.as_secs()),
            AccessLogFormat::Combined => time::apache_second(second_text, since.as_secs()),
        };
        // A string takes all of it.
        told.ok();
        *second = Some(since.as_secs());
    }
}

impl Observer for AccessLog {
    fn observe(&self, record: &ExchangeRecord<'_>) {
        self.writer.add(|buffer| self.write(buffer, record));
    }

    fn wants_agent(&self) -> bool {
        self.format == AccessLogFormat::Combined
    }
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
