//! One message to the service manager: assignments, one a line.

use std::fmt;
use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager ignores longer messages (systemd: 4096 bytes in all).
const LONGEST_STATUS: usize = 1024;

/// One message, which is told as one: assignments in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message(String);

impl Message {
    /// A message that says nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The process has started, or has done what [`Self::reloading`] began.
    #[must_use]
    pub fn ready(self) -> Self {
        self.with(&NotifyState::Ready)
    }

    /// What is served is being changed. systemd waits for [`Self::ready`] then, and compares the time with that at which
    /// it has sent a signal.
    #[must_use]
    pub fn reloading(self) -> Self {
        let message = self.with(&NotifyState::Reloading);
        match NotifyState::monotonic_usec_now() {
            Ok(now) => message.with(&now),
            // Every kernel has that clock.
            Err(_) => message,
        }
    }

    /// The process has begun to stop.
    #[must_use]
    pub fn stopping(self) -> Self {
        self.with(&NotifyState::Stopping)
    }

    /// What an operator reads in `systemctl status`: one line, so what would break it is a space here; and not too long.
    #[must_use]
    pub fn status(self, status: &str) -> Self {
        let line: String =
            status.chars().map(|each| if each.is_control() { ' ' } else { each }).collect();
        let mut end = line.len().min(LONGEST_STATUS);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        self.with(&NotifyState::Status(line.get(..end).unwrap_or_default()))
    }

    /// The service manager is to wait for so much longer from now on, at least, for the end of a start or of a stop.
    #[must_use]
    pub fn extend_timeout(self, time: Duration) -> Self {
        // The type of the crate has no room for more than 71 minutes.
        self.with(&NotifyState::Custom(&format!("EXTEND_TIMEOUT_USEC={}", time.as_micros())))
    }

    /// The process lives.
    #[must_use]
    pub fn watchdog(self) -> Self {
        self.with(&NotifyState::Watchdog)
    }

    /// The service is this process from now on.
    pub(super) fn main_pid(self, pid: u32) -> Self {
        self.with(&NotifyState::MainPid(pid))
    }

    /// The service manager closes the descriptor that goes with this message once it has done what it was told before
    /// (`sd_notify_barrier(3)`, since systemd 246). One that does not know the word closes it as well.
    pub(super) fn barrier(self) -> Self {
        self.line("BARRIER=1")
    }

    /// The descriptor that goes with this message is to be kept under this name.
    pub(super) fn store(self, name: &str) -> Self {
        self.line("FDSTORE=1").line(format_args!("FDNAME={}", fd_name(name)))
    }

    /// What is kept under this name is to be let go.
    #[must_use]
    pub fn unstore(self, name: &str) -> Self {
        self.line("FDSTOREREMOVE=1").line(format_args!("FDNAME={}", fd_name(name)))
    }

    fn with(self, state: &NotifyState<'_>) -> Self {
        self.line(state)
    }

    fn line(mut self, line: impl fmt::Display) -> Self {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0 += &line.to_string();
        self
    }

    /// What is sent.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The name under which the service manager takes a descriptor and hands it back: no control characters, no colon, which
/// stands between names in `LISTEN_FDNAMES`, and at most 255 bytes.
#[must_use]
pub fn fd_name(name: &str) -> String {
    let plain = |each: char| if each.is_ascii_graphic() && each != ':' { each } else { '-' };
    name.chars().take(255).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(message: &Message) -> &str {
        str::from_utf8(message.bytes()).unwrap()
    }

    #[test]
    fn a_message_has_a_line_for_each_assignment() {
        let message = Message::new().ready().status("serving").watchdog();
        assert_eq!(text(&message), "READY=1\nSTATUS=serving\nWATCHDOG=1");
        let message = Message::new().stopping().extend_timeout(Duration::from_hours(2));
        assert_eq!(text(&message), "STOPPING=1\nEXTEND_TIMEOUT_USEC=7200000000");
        let message = Message::new().unstore("kept-a b:\u{e9}\n");
        assert_eq!(text(&message), "FDSTOREREMOVE=1\nFDNAME=kept-a-b---");
        assert_eq!(text(&Message::new().main_pid(7)), "MAINPID=7");
    }

    /// An error of a manifest has several lines: the second one would be an assignment of its own.
    #[test]
    fn a_status_is_one_line_and_not_too_long() {
        let message = Message::new().status("refused:\n  MAINPID=1\r");
        assert_eq!(text(&message), "STATUS=refused:   MAINPID=1 ");
        let message = Message::new().status(&"\u{e9}".repeat(700));
        assert_eq!(text(&message).len(), "STATUS=".len() + LONGEST_STATUS);
        let message = Message::new().status(&format!("x{}", "\u{e9}".repeat(700)));
        assert_eq!(text(&message).len(), "STATUS=".len() + LONGEST_STATUS - 1);
    }

    #[test]
    fn a_reload_says_when_it_began() {
        let message = Message::new().reloading();
        let (first, time) = text(&message).split_once('\n').unwrap();
        assert_eq!(first, "RELOADING=1");
        let micros: u64 = time.strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
        assert!(micros > 0);
    }
}
