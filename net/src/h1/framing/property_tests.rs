//! Heads and bodies made from others by small changes, against hyper's parser and a plain reading of the grammar.

use super::tests::chunks;
use super::*;

/// What other tests make their inputs from, by small changes.
const HEADS: [&str; 4] = [
    "GET /a?b HTTP/1.1\r\nHost: a\r\nX: y z\r\n\r\nGET",
    "\r\nPOST http://a/ HTTP/1.0\r\nContent-Length: 3\r\nA:\r\n\r\nabc",
    "PUT * HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost:a\r\n\r\n0\r\n\r\n",
    "X / HTTP/1.1\r\n\r\n",
];
const BODIES: [&str; 4] = [
    "3\r\nabc\r\n0\r\n\r\nGET",
    "2;a\r\n\r\n\r\n1;b=c;d=\"e f\"\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n",
    "a ; x = y\r\n0123456789\r\n00;z=\"\\\"\"\r\n\r\n\r\n",
    "1\r\n1\r\n1\r\n1\r\n0\r\n\r\n",
];
/// Bytes that mean something, and some that do not.
const BYTES: &[u8] = b"\r\n\r\n \t:;=\"\\#/?0129aAf\0\x7f\xe9,";
const ROUNDS: u32 = 20_000;

/// Numbers that look random and are the same each time (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    /// One of `texts` with up to three bytes changed, put in or left out.
    fn variant(&mut self, texts: &[&str]) -> Vec<u8> {
        let mut bytes = texts[self.below(texts.len())].as_bytes().to_vec();
        for _ in 0..self.below(4) {
            let (at, byte) = (self.below(bytes.len()), BYTES[self.below(BYTES.len())]);
            match self.below(3) {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    }
}

/// What `scan` says of `bytes` in pieces of the lengths that `next` gives.
fn in_pieces(
    mut scan: impl FnMut(&[u8]) -> Scan,
    mut bytes: &[u8],
    mut next: impl FnMut() -> usize,
) -> Scan {
    let mut before = 0;
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(next().min(bytes.len()));
        match scan(piece) {
            Scan::More => before += piece.len(),
            Scan::End(at) => return Scan::End(before + at),
            Scan::Malformed(at, flaw) => return Scan::Malformed(before + at, flaw),
        }
        bytes = rest;
    }
    Scan::More
}

#[test]
fn segmentation_does_not_matter() {
    let mut numbers = Numbers(8);
    for _ in 0..ROUNDS {
        for (texts, chunked) in [(&HEADS, false), (&BODIES, true)] {
            let bytes = numbers.variant(texts);
            let fresh = || {
                let (mut head, mut body) = (HeadScan::default(), chunks());
                move |bytes: &[u8]| if chunked { body.scan(bytes) } else { head.scan(bytes) }
            };
            let whole = fresh()(&bytes);
            let shown = bytes.escape_ascii();
            assert_eq!(in_pieces(fresh(), &bytes, || 1), whole, "by bytes: {shown}");
            let most = 1 + numbers.below(bytes.len());
            let next = || numbers.below(most) + 1;
            assert_eq!(in_pieces(fresh(), &bytes, next), whole, "in pieces: {shown}");
        }
    }
}

/// hyper reads heads with httparse. What passes here passes there, and ends at the same byte.
#[test]
fn no_head_passes_that_the_parser_behind_reads_otherwise() {
    let mut numbers = Numbers(9);
    let mut ended = 0;
    for _ in 0..ROUNDS {
        let bytes = numbers.variant(&HEADS);
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let parsed = httparse::Request::new(&mut headers).parse(&bytes);
        let shown = bytes.escape_ascii();
        match HeadScan::default().scan(&bytes) {
            Scan::More => assert_eq!(parsed, Ok(httparse::Status::Partial), "{shown}"),
            Scan::End(at) => {
                ended += 1;
                assert_eq!(parsed, Ok(httparse::Status::Complete(at)), "{shown}");
            }
            Scan::Malformed(..) => {}
        }
    }
    assert!(ended > ROUNDS / 4, "{ended} of {ROUNDS} ended");
}

/// The same grammar once more, as simple as can be, of bytes that are all there.
mod plain {
    fn token(text: &[u8]) -> bool {
        let mark = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        !text.is_empty() && text.iter().all(mark)
    }

    fn text(bytes: &[u8]) -> bool {
        bytes.iter().all(|byte| *byte == b'\t' || (*byte >= 32 && *byte != 127))
    }

    fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        let at = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        Some((&bytes[..at], &bytes[at + 2..]))
    }

    fn space(text: &[u8]) -> &[u8] {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
        &text[text.iter().take_while(|byte| is_space(byte)).count()..]
    }

    /// What is behind the `;` that `text` begins with, if it does.
    fn semicolon(text: &[u8]) -> Option<&[u8]> {
        space(text).strip_prefix(b";").map(space)
    }

    fn front(text: &[u8], matches: impl Fn(&[u8]) -> bool) -> Option<&[u8]> {
        let longest = (1..=text.len()).rev().find(|end| matches(&text[..*end]))?;
        Some(&text[longest..])
    }

    fn quoted(quoted: &[u8]) -> Option<&[u8]> {
        let mut rest = quoted.strip_prefix(b"\"")?;
        loop {
            rest = match rest {
                [b'"', rest @ ..] => return Some(rest),
                [b'\\', byte, rest @ ..] if text(&[*byte]) => rest,
                [byte, rest @ ..] if *byte != b'\\' && text(&[*byte]) => rest,
                _ => return None,
            }
        }
    }

    fn extensions(mut text: &[u8]) -> bool {
        while !text.is_empty() {
            let Some(rest) = semicolon(text).and_then(|rest| front(rest, token)) else {
                return false;
            };
            text = match space(rest).strip_prefix(b"=").map(space) {
                None => rest,
                Some(value) => match quoted(value).or_else(|| front(value, token)) {
                    None => return false,
                    Some(rest) => rest,
                },
            };
        }
        true
    }

    fn field(line: &[u8]) -> bool {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return false };
        token(&line[..colon]) && text(&line[colon + 1..])
    }

    /// Length of the chunked body that `bytes` begin with.
    pub(super) fn body(bytes: &[u8]) -> Option<usize> {
        let mut rest = bytes;
        loop {
            let (sized, behind) = line(rest)?;
            let digits = sized.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let size = str::from_utf8(&sized[..digits]).ok()?;
            let size = usize::from_str_radix(size, 16).ok()?;
            if !extensions(&sized[digits..]) {
                return None;
            }
            rest = behind;
            if size == 0 {
                break;
            }
            rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
        }
        loop {
            let (trailer, behind) = line(rest)?;
            rest = behind;
            if trailer.is_empty() {
                return Some(bytes.len() - rest.len());
            }
            if !field(trailer) {
                return None;
            }
        }
    }
}

#[test]
fn chunked_bodies_are_those_of_the_grammar() {
    let mut numbers = Numbers(10);
    let mut ended = 0;
    for _ in 0..ROUNDS {
        let bytes = numbers.variant(&BODIES);
        let end = match chunks().scan(&bytes) {
            Scan::End(at) => Some(at),
            Scan::More | Scan::Malformed(..) => None,
        };
        assert_eq!(end, plain::body(&bytes), "{}", bytes.escape_ascii());
        ended += u32::from(end.is_some());
    }
    assert!(ended > ROUNDS / 4, "{ended} of {ROUNDS} ended");
}
