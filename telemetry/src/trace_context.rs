//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>): what the requests of one trace have in common.

use std::fmt;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use super::digits::{span_digits, trace_digits};

/// What vendors add to a trace (§3.3). It goes where `traceparent` goes, as it is.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Bytes of a version-00 `traceparent`.
const LENGTH: usize = 55;

/// The bit that says that the caller may have recorded the trace.
const SAMPLED: u8 = 1;

/// Those that version 00 knows, with that of a random number of the trace (Level 2, §3.2.2.5.2). What others mean, nobody
/// who passes them on can say (§3.2.2.5).
const KNOWN: u8 = SAMPLED | 2;

/// The trace of a request, and the host's own span in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace: 32 hexadecimal digits in headers and logs. Never 0.
    pub trace: u128,
    /// The span of the exchange: 16 hexadecimal digits. Never 0.
    pub span: u64,
    /// The span of the sender, if it said one.
    pub parent: Option<u64>,
    /// The sender's flags, as far as they are known, or 0.
    pub flags: u8,
}

impl TraceContext {
    /// That which the headers of a request name, or a new one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut all = headers.get_all(TRACEPARENT).iter();
        let taken = all.next().and_then(|value| parse(value.as_bytes()));
        // More than one is none (§3.2.2.1).
        match taken.filter(|_| all.next().is_none()) {
            Some((trace, parent, flags)) => {
                let flags = flags & KNOWN;
                Self { trace, span: random_span(), parent: Some(parent), flags }
            }
            None => Self::new(),
        }
    }

    /// That of a request which a guest sends on while it serves one of this trace: the guest's own, if it has written
    /// one.
    #[must_use]
    pub fn onward(&self, headers: &HeaderMap) -> Self {
        let written = Self::of(headers);
        if written.parent.is_some() {
            return written;
        }
        Self { span: written.span, parent: Some(self.span), ..*self }
    }

    /// A new trace.
    #[must_use]
    pub fn new() -> Self {
        let trace = u128::from(random_span()) << 64 | u128::from(fastrand::u64(..));
        Self { trace, span: random_span(), parent: None, flags: 0 }
    }

    /// Whether the sender may have recorded it.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    pub(crate) fn sample(&mut self) {
        self.flags |= SAMPLED;
    }

    /// Writes it into the headers of a request that a guest sends, unless the guest has written one. Returns whether it
    /// has not.
    pub fn write_if_none(&self, headers: &mut HeaderMap) -> bool {
        let writes = !headers.contains_key(TRACEPARENT);
        if writes {
            self.write(headers);
        }
        writes
    }

    /// Writes it into the headers of a request on its way on, with `span` as its sender.
    pub fn write(&self, headers: &mut HeaderMap) {
        let mut text = [0; LENGTH];
        text[..3].copy_from_slice(b"00-");
        text[3..35].copy_from_slice(&trace_digits(self.trace));
        text[35] = b'-';
        text[36..52].copy_from_slice(&span_digits(self.span));
        text[52] = b'-';
        text[53..].copy_from_slice(&span_digits(self.flags.into())[14..]);
        if let Ok(value) = HeaderValue::from_bytes(&text) {
            headers.insert(TRACEPARENT, value);
        }
    }
}

impl Default for TraceContext {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for TraceContext {
    /// The id of the trace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.trace)
    }
}

pub(crate) fn random_span() -> u64 {
    fastrand::u64(1..)
}

/// Trace, sender and flags of a `traceparent` (§3.2). A later version may have more behind the flags (§4.3).
fn parse(text: &[u8]) -> Option<(u128, u64, u8)> {
    let text = std::str::from_utf8(text).ok()?;
    let (known, more) = text.split_at_checked(LENGTH)?;
    let mut parts = known.split('-');
    let (version, trace) = (number(parts.next()?, 2)?, parts.next()?);
    let (parent, flags) = (number(parts.next()?, 16)?, number(parts.next()?, 2)?);
    let fits = match version {
        0xff => false,
        0 => more.is_empty(),
        _ => more.is_empty() || more.starts_with('-'),
    };
    let is_lower = trace.len() == 32 && trace.bytes().all(is_hex);
    let trace = u128::from_str_radix(trace, 16).ok().filter(|trace| is_lower && *trace != 0)?;
    (fits && parent != 0 && parts.next().is_none()).then_some(())?;
    Some((trace, parent, u8::try_from(flags).ok()?))
}

fn number(text: &str, digits: usize) -> Option<u64> {
    (text.len() == digits && text.bytes().all(is_hex)).then_some(())?;
    u64::from_str_radix(text, 16).ok()
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|it| (TRACEPARENT, HeaderValue::try_from(*it).unwrap())).collect()
    }

    #[test]
    fn a_trace_is_taken_over_and_passed_on_with_a_span_of_its_own() {
        let context = TraceContext::of(&headers(&[SENT]));
        assert_eq!(context.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((context.parent, context.is_sampled()), (Some(0x00f0_67aa_0ba9_02b7), true));
        let mut on = headers(&[SENT]);
        context.write(&mut on);
        let on = TraceContext::of(&on);
        assert_eq!((on.trace, on.parent), (context.trace, Some(context.span)));
    }

    /// A host that passes on flags which it does not know says what it cannot know (§3.2.2.5).
    #[test]
    fn flags_that_are_not_known_are_not_passed_on() {
        for (sent, passed_on) in [("ff", 3), ("fe", 2), ("fc", 0), ("01", 1)] {
            for version in ["00", "01"] {
                let (_, ids) = SENT.split_once('-').unwrap();
                let sent = format!("{version}-{}{sent}", ids.strip_suffix("01").unwrap());
                assert_eq!(TraceContext::of(&headers(&[&sent])).flags, passed_on, "{sent}");
            }
        }
    }

    #[test]
    fn what_is_no_traceparent_begins_a_new_trace() {
        for sent in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7é",
        ] {
            let context = TraceContext::of(&headers(&[sent]));
            assert_eq!((context.parent, context.is_sampled()), (None, false), "{sent}");
        }
        assert_eq!(TraceContext::of(&headers(&[SENT, SENT])).parent, None, "two are none");
        let later = format!("01{}-more", SENT.strip_prefix("00").unwrap());
        assert!(TraceContext::of(&headers(&[&later])).parent.is_some(), "a later version");
    }
}
