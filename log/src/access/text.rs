//! The parts of a line of the access log, added to its bytes without an allocation: numbers, times, and words of
//! strangers, each of a bounded length.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

/// Where a text was cut.
const MORE: &str = "…";

/// Words of ours: their length is known when the host is built, so they are a few stores.
#[inline]
pub(super) fn ours<const N: usize>(out: &mut Vec<u8>, words: &[u8; N]) {
    out.extend_from_slice(words);
}

/// A decimal number.
pub(super) fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Seconds with six digits behind the point: `0.001204`.
pub(super) fn seconds(out: &mut Vec<u8>, span: Duration) {
    match span.as_secs() {
        0 => out.push(b'0'),
        more => number(out, more),
    }
    out.push(b'.');
    six_digits(out, span.subsec_micros());
}

/// A number below a million, with all its zeros.
pub(super) fn six_digits(out: &mut Vec<u8>, number: u32) {
    let mut digits = [0; 6];
    for (pair, place) in digits.chunks_exact_mut(2).zip([10_000, 100, 1]) {
        let two = usize::try_from(number / place % 100).unwrap_or_default();
        pair.copy_from_slice(&PAIRS[two]);
    }
    out.extend_from_slice(&digits);
}

/// `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let (mut ten, mut at) = (0, 0);
    while ten < 10 {
        let mut one = 0;
        while one < 10 {
            pairs[at] = [b'0' + ten, b'0' + one];
            (one, at) = (one + 1, at + 1);
        }
        ten += 1;
    }
    pairs
};

/// An address without its port.
pub(super) fn ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            let [first, rest @ ..] = ip.octets();
            number(out, first.into());
            for part in rest {
                out.push(b'.');
                number(out, part.into());
            }
        }
        IpAddr::V6(ip) => shown(out, ip),
    }
}

/// What shows itself.
pub(super) fn shown(out: &mut Vec<u8>, what: impl std::fmt::Display) {
    // A vector takes all of it.
    write!(out, "{what}").ok();
}

/// Words of strangers inside a string of JSON: at most so many bytes, with nothing in them that ends the string or
/// the line, or that a terminal takes for a command.
#[inline]
pub(super) fn json(out: &mut Vec<u8>, text: &str, most: usize) {
    if text.len() <= most && are_plain(text.as_bytes()) {
        out.extend_from_slice(text.as_bytes());
    } else {
        json_escaped(out, text, most);
    }
}

#[cold]
fn json_escaped(out: &mut Vec<u8>, text: &str, most: usize) {
    let end = out.len() + most;
    for letter in text.chars() {
        let before = out.len();
        match letter {
            '"' | '\\' => out.extend_from_slice(&[b'\\', u8::try_from(letter).unwrap_or_default()]),
            letter if letter.is_control() || host_manifest::escape::turns_the_line(letter) => {
                shown(out, format_args!("\\u{:04x}", u32::from(letter)));
            }
            letter => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        if out.len() > end {
            out.truncate(before);
            out.extend_from_slice(MORE.as_bytes());
            return;
        }
    }
}

/// Whether a byte stands in JSON as it is, in front of any terminal.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// [`is_plain`] of each byte that there is.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        plain[byte as usize] = is_plain(byte);
        byte += 1;
    }
    plain
};

/// [`is_plain`] of each byte. Most words have a few, so it is a look into a table for each.
fn are_plain(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| PLAIN[usize::from(*byte)])
}

/// Words of strangers as Apache writes them: quotes and backslashes escaped, everything that is no printable ASCII as
/// `\xhh` (`ap_escape_logitem`). At most so many bytes.
pub(super) fn apache(out: &mut Vec<u8>, text: &[u8], most: usize) {
    if text.len() <= most && are_plain(text) {
        out.extend_from_slice(text);
        return;
    }
    let end = out.len() + most;
    for byte in text {
        let before = out.len();
        let short = match byte {
            b'"' | b'\\' => Some(*byte),
            0x08 => Some(b'b'),
            b'\n' => Some(b'n'),
            b'\r' => Some(b'r'),
            b'\t' => Some(b't'),
            0x0b => Some(b'v'),
            _ => None,
        };
        match short {
            Some(sign) => out.extend_from_slice(&[b'\\', sign]),
            None if is_plain(*byte) => out.push(*byte),
            None => shown(out, format_args!("\\x{byte:02x}")),
        }
        if out.len() > end {
            out.truncate(before);
            out.extend_from_slice(b"...");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_have_their_digits() {
        let span = Duration::new(12, 1_204_999);
        assert_eq!(text(|out| seconds(out, span)), "12.001204");
        assert_eq!(text(|out| seconds(out, Duration::from_micros(999_907))), "0.999907");
        for address in ["192.0.2.1", "255.255.255.255", "2001:db8::1"] {
            assert_eq!(text(|out| ip(out, address.parse().unwrap())), address);
        }
    }

    #[test]
    fn json_says_what_it_was_and_nothing_else() {
        for hostile in [
            "/plain?x=1&y=2",
            "\" , \"status\":200 }",
            "\\\"\n{\"forged\":1}",
            "\x1b[2J\x7f\u{9b}\u{202e}\u{2028}",
            "ü漢\0\t\r",
            "",
        ] {
            let json = text(|out| json(out, hostile, 1000));
            assert!(json.chars().all(|letter| !letter.is_control()), "{json:?}");
            assert!(!json.contains('\u{202e}') && !json.contains('\u{2028}'), "{json:?}");
            let back: String = serde_json::from_str(&format!("\"{json}\"")).unwrap();
            assert_eq!(back, hostile);
        }
    }

    #[test]
    fn long_words_are_cut_between_letters() {
        assert_eq!(text(|out| json(out, "abcdef", 5)), "abcde…");
        assert_eq!(text(|out| json(out, "ab\ncdef", 7)), "ab…");
        assert_eq!(text(|out| json(out, "äöü", 5)), "äö…");
        assert_eq!(text(|out| apache(out, b"abcdef", 5)), "abcde...");
        assert_eq!(text(|out| apache(out, b"ab\"\"", 5)), "ab\\\"...");
    }

    #[test]
    fn apache_escapes_what_is_not_printable() {
        let hostile = b"\"a\\b\n\r\t\x08\x0b\x00\x1b\x7f\xc3\xbc c";
        let escaped = "\\\"a\\\\b\\n\\r\\t\\b\\v\\x00\\x1b\\x7f\\xc3\\xbc c";
        assert_eq!(text(|out| apache(out, hostile, 1000)), escaped);
    }
}
