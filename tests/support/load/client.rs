//! A client of either protocol: it sends requests with names of their own, judges responses and keeps its
//! ledger.

use std::fmt::Display;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Ledger, Load, WARM};

/// How much of a wrong response a loss quotes.
const QUOTE: usize = 300;

/// One client. It ends with its first loss, or when it is refused.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) who: usize,
    pub(super) load: Arc<Load>,
    pub(super) ledger: Ledger,
    requests: u64,
    sent_late: bool,
    warm: bool,
}

impl Client {
    pub(super) fn new(who: usize, load: Arc<Load>) -> Self {
        let ledger = Ledger::default();
        Self { who, load, ledger, requests: 0, sent_late: false, warm: false }
    }

    /// The path of the next request, with an id that no other request has. The caller must send it now.
    pub(super) fn ask(&mut self) -> String {
        self.ledger.sent += 1;
        self.requests += 1;
        self.sent_late = self.load.is_stopping();
        let joint = if self.load.path.contains('?') { '&' } else { '?' };
        format!("{}{joint}id={}-{}", self.load.path, self.who, self.requests)
    }

    /// Judges a whole response. `shown` is the response for a human reader.
    pub(super) fn judge(
        &mut self,
        status: u16,
        body: &[u8],
        shown: &dyn Display,
    ) -> ControlFlow<()> {
        if status != 200 || body != self.load.expected {
            let shown: String = shown.to_string().chars().take(QUOTE).collect();
            return self.lost(&format_args!("wrong answer, status {status}: {shown:?}"));
        }
        self.ledger.answered += 1;
        self.ledger.late += u64::from(self.sent_late);
        if self.ledger.answered == WARM {
            self.warm = true;
            self.load.one_more_is_warm();
        }
        ControlFlow::Continue(())
    }

    /// Records a loss, which ends the client.
    pub(super) fn lost<T>(&mut self, why: &dyn Display) -> ControlFlow<(), T> {
        let when = if self.load.is_stopping() { "after" } else { "before" };
        let (who, request) = (self.who, self.requests);
        let why = format!("client {who}, request {request}, {when} the signal: {why}");
        self.ledger.lost.push(why);
        ControlFlow::Break(())
    }

    /// Records a failed connect, which ends the client.
    pub(super) fn no_connection<T>(&mut self, error: &io::Error) -> ControlFlow<(), T> {
        let refused =
            matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut);
        if refused && self.load.is_stopping() {
            self.ledger.refused += 1;
            return ControlFlow::Break(());
        }
        self.lost(&format_args!("could not connect: {error}"))
    }

    /// The ledger of a client that has ended.
    pub(super) fn close(mut self) -> Ledger {
        std::mem::take(&mut self.ledger)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The stop need not wait for the responses of a client that has ended, for any reason.
        if !self.warm {
            self.load.one_more_is_warm();
        }
    }
}
