//! What must hold of the answers.

use host_lifecycle::Phase;

use super::Run;

impl Run {
    /// Reads the answers, in order.
    pub(super) fn judge(&self, asked: usize) {
        let got = self.got.borrow();
        let text = String::from_utf8_lossy(&got.bytes).into_owned();
        let mut rest = &*text;
        let (mut answered, mut closes, mut broken) = (0, false, false);
        while !rest.is_empty() {
            assert!(!closes, "something behind the last answer: {}", self.story());
            let (head, behind) =
                rest.split_once("\r\n\r\n").unwrap_or_else(|| self.fail("half a head"));
            let head = head.to_ascii_lowercase();
            closes = head.contains("connection: close");
            let status = head.get(9..12).unwrap_or_else(|| self.fail("no status"));
            let (body, next) = if head.contains("transfer-encoding: chunked") {
                dechunked(behind)
            } else {
                let (_, length) =
                    head.split_once("content-length: ").unwrap_or_else(|| self.fail("no length"));
                let length = length.lines().next().and_then(|it| it.parse().ok());
                let length: usize = length.unwrap_or_else(|| self.fail("bad length"));
                let body = behind.get(..length).unwrap_or_else(|| self.fail("half a body"));
                (Some(body.to_owned()), behind.get(length..).unwrap_or_default())
            };
            rest = next;
            if status != "200" {
                assert!(closes && matches!(status, "400" | "408" | "503"), "{}", self.story());
                self.judge_refusal(status, answered);
                answered += 1;
                continue;
            }
            let sent = self.sent.get(answered).unwrap_or_else(|| self.fail("one answer too many"));
            assert!(answered < asked, "answered before it was asked: {}", self.story());
            match body {
                Some(body) if sent.answer != "broken" => {
                    assert_eq!(body, format!("{answered}\n"), "{}", self.story());
                }
                Some(_) => self.fail("a broken answer looks whole"),
                None => {
                    let cut = self.phase == Phase::Cut;
                    assert!(sent.answer == "broken" || cut, "{}", self.story());
                    (broken, closes) = (true, true);
                    assert!(rest.is_empty(), "{}", self.story());
                }
            }
            answered += 1;
        }
        if !closes && !broken {
            self.judge_silence(answered);
        }
        if self.peer.records().is_some() {
            self.judge_close(broken, got.closed);
        }
    }

    /// A `close_notify` says that all is whole (RFC 8446 §6.1).
    fn judge_close(&self, broken: bool, said: bool) {
        assert!(!(broken && said), "close_notify behind a broken answer: {}", self.story());
        assert!(said || broken || self.phase == Phase::Cut, "no close_notify: {}", self.story());
    }

    /// Whether this is a reason for the next request to be refused.
    fn judge_refusal(&self, status: &str, answered: usize) {
        let begun: usize = self.sent.iter().take(answered).map(|sent| sent.bytes.len()).sum();
        let is_right = match status {
            "503" => self.phase == Phase::Cut,
            "408" => self.written > begun,
            _ => self.sent.iter().take(answered + 1).any(|sent| sent.malformed),
        };
        assert!(is_right, "{status} in place of {answered}: {}", self.story());
    }

    /// The host has closed without a word, so nothing of the next request may have been there.
    fn judge_silence(&self, answered: usize) {
        let before: usize = self.sent.iter().take(answered).map(|sent| sent.bytes.len()).sum();
        let whole = self.written.saturating_sub(before);
        let Some(next) = self.sent.get(answered) else { return };
        // A body that was broken by the peer's own mistake ends the connection behind its answer.
        let spoilt = self.sent.iter().take(answered).any(|sent| sent.malformed);
        let empty_lines =
            next.bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        assert!(
            whole <= empty_lines || spoilt || self.phase == Phase::Cut,
            "request {answered} was lost, {whole} bytes of {}: {}",
            next.head,
            self.story()
        );
    }
}

/// A chunked body, unless it breaks off, and what is behind it.
fn dechunked(mut text: &str) -> (Option<String>, &str) {
    let mut body = String::new();
    loop {
        let Some((size, rest)) = text.split_once("\r\n") else { return (None, "") };
        let size = usize::from_str_radix(size, 16).expect("hyper writes sizes");
        let Some(chunk) = rest.get(..size) else { return (None, "") };
        body += chunk;
        let Some(next) = rest.get(size..).and_then(|it| it.strip_prefix("\r\n")) else {
            return (None, "");
        };
        if size == 0 {
            return (Some(body), next);
        }
        text = next;
    }
}
