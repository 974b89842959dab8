//! Heads and bodies, one by one.

use super::*;

fn head(text: &str) -> Scan {
    HeadScan::default().scan(text.as_bytes())
}

const BOUNDS: Bounds = Bounds { fields: 4, bytes: 64 };

pub(super) fn chunks() -> ChunkScan {
    ChunkScan::new(BOUNDS)
}

fn body(text: &str) -> Scan {
    chunks().scan(text.as_bytes())
}

/// The flaw of `text` behind as many bytes as `before` has.
#[track_caller]
fn assert_flaw(scan: fn(&str) -> Scan, before: &str, rest: &str, flaw: Flaw) {
    let text = before.to_owned() + rest;
    assert_eq!(scan(&text), Scan::Malformed(before.len(), flaw), "{text:?}");
    assert_eq!(flaw.text().lines().count(), 1, "the peer is told in a line");
}

#[test]
fn a_head_ends_at_its_empty_line() {
    for text in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "m!#$%&'*+-.^_`|~9 http://a?x=1 HTTP/1.1\r\nHost:a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nX:\r\nY: \t\r\n\r\n",
        "GET /a|{}[]^\"<>\\` HTTP/1.1\r\nX: \u{fc} \t:x\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-lengt: 1\r\ncontent-length: 1\r\ncontent-length2: 1\r\n\r\n",
    ] {
        assert_eq!(head(&(text.to_owned() + "GET")), Scan::End(text.len()), "{text:?}");
        for end in 0..text.len() {
            let front = text.as_bytes().get(..end).unwrap();
            assert_eq!(HeadScan::default().scan(front), Scan::More, "{end} of {text:?}");
        }
    }
}

#[test]
fn empty_lines_before_a_head_do_not_begin_it() {
    let mut scan = HeadScan::default();
    assert_eq!(scan.scan(b"\r\n\r\n\r"), Scan::More);
    assert!(!scan.has_begun());
    assert_eq!(scan.scan(b"\nG"), Scan::More);
    assert!(scan.has_begun());
    scan.scan(b" ");
    assert!(scan.has_begun());
}

#[test]
fn what_is_wrong_with_a_head_is_found_at_its_first_byte() {
    use Flaw::*;
    let line = "GET / HTTP/1.1\r\n";
    for (before, rest, flaw) in [
        ("", "\nGET", BareLf),
        ("\r", "GET", BareCr),
        ("", "\x16\x03\x01", Method),
        ("", " GET", Method),
        ("G", "(T", Method),
        ("GET", "\t/", Method),
        ("GET", "\r\n", Method),
        ("GET", "\n", BareLf),
        ("GET ", " /", Target),
        ("GET /", "\u{e9}", Target),
        ("GET /", "\0", Target),
        ("GET /", "\x7f", Target),
        ("GET /", "\t", Target),
        ("GET /", "\r\n", Target),
        ("GET /", "\n", BareLf),
        ("GET /a", "#b", Fragment),
        ("GET ", "#", Fragment),
        ("GET http://a/?", "#", Fragment),
        ("GET / ", " HTTP/1.1", Version),
        ("GET / ", "b HTTP/1.1", Version),
        ("GET / ", "http/1.1", Version),
        ("GET / HTTP/1.1", " \r\n", Version),
        ("GET / HTTP/1.1", "\n", BareLf),
        ("GET / HTTP/1.1", "0\r\n", Version),
        ("GET / HTTP/1", "\r\n", Version),
        ("GET / HTTP/1.", "2", OtherVersion),
        ("GET / HTTP/", "2.0", OtherVersion),
        ("GET / HTTP/", "0.9", OtherVersion),
        ("GET / HTTP/1.1\r", "\r\n", BareCr),
        (line, " Host: a", Fold),
        (line, "\tHost: a", Fold),
        (line, "\n", BareLf),
        (line, ": x", FieldName),
        (line, "\u{e9}: x", FieldName),
        ("GET / HTTP/1.1\r\nHost", " : a", SpaceBeforeColon),
        ("GET / HTTP/1.1\r\nHost", "\t:", SpaceBeforeColon),
        ("GET / HTTP/1.1\r\nHost", "\r\n", FieldName),
        ("GET / HTTP/1.1\r\nHost", "\n", BareLf),
        ("GET / HTTP/1.1\r\nHo", "(st: a", FieldName),
        ("GET / HTTP/1.1\r\nX: a", "\n", BareLf),
        ("GET / HTTP/1.1\r\nX: a\r", "b", BareCr),
        ("GET / HTTP/1.1\r\nX: a\r", "\r\n", BareCr),
        ("GET / HTTP/1.1\r\nX: a", "\0", FieldValue),
        ("GET / HTTP/1.1\r\nX: a", "\x7f", FieldValue),
        ("GET / HTTP/1.1\r\nX: a\r\n", " b\r\n", Fold),
        ("GET / HTTP/1.1\r\nX: a\r\n\r", "G", BareCr),
        ("GET / HTTP/1.1\r\nX: a\r\n", "\nG", BareLf),
        ("GET / HTTP/1.1\r\nContent-Length: 1\r\nCONTENT-LENGTH", ": 1", TwoLengths),
        ("GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding", ":", LengthAndCoding),
        ("GET / HTTP/1.1\r\ntransfer-encoding:\r\nX:\r\ncontent-length", ":", LengthAndCoding),
    ] {
        assert_flaw(head, before, rest, flaw);
    }
}

#[test]
fn a_chunked_body_ends_behind_its_trailers() {
    for text in [
        "0\r\n\r\n",
        "000\r\n\r\n",
        "3\r\nabc\r\n0\r\n\r\n",
        "A\r\n0123456789\r\n0\r\n\r\n",
        "00000000000000000000002\r\n\r\n\r\n0\r\n\r\n",
        "3;x=y\r\n\r\n0\r\n0\r\nA: b\r\n\r\n",
        "1;x\r\n\n\r\n0;a;b=c;d=\"e;\\\" \u{fc}\\\\\"\r\n\r\n",
        "1 \t; x \t= \"y\" ; z\r\na\r\n0 ;a\r\nContent-Length: 9\r\n\r\n",
    ] {
        assert_eq!(body(&(text.to_owned() + "GET")), Scan::End(text.len()), "{text:?}");
        for end in 0..text.len() {
            let front = text.as_bytes().get(..end).unwrap();
            assert_eq!(chunks().scan(front), Scan::More, "{end} of {text:?}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_chunked_body_is_found_at_its_first_byte() {
    use Flaw::*;
    for (before, rest, flaw) in [
        ("", "\r\n", ChunkSize),
        ("", "\n", BareLf),
        ("", ";a\r\n", ChunkSize),
        ("", " 1\r\n", ChunkSize),
        ("", "+1\r\n", ChunkSize),
        ("0", "x3\r\n", ChunkSize),
        ("1", "_0\r\n", ChunkSize),
        ("1", ",\r\n", ChunkSize),
        ("ffffffffffffffff", "f\r\n", ChunkSize),
        ("2", "\n", BareLf),
        ("2\r", "\r\n", BareCr),
        ("2\r", "a", BareCr),
        ("a ", "\r\n", ChunkExtension),
        ("a\t", "\r\n", ChunkExtension),
        ("a ", "1\r\n", ChunkExtension),
        ("2;", "\r\n", ChunkExtension),
        ("2; ", "\r\n", ChunkExtension),
        ("2;", ";a\r\n", ChunkExtension),
        ("2;", "=a\r\n", ChunkExtension),
        ("2;a=", "\r\n", ChunkExtension),
        ("2;a=", ";b\r\n", ChunkExtension),
        ("2;a ", "\r\n", ChunkExtension),
        ("2;a=b ", "\r\n", ChunkExtension),
        ("2;a=b", "=c\r\n", ChunkExtension),
        ("2;a ", "b\r\n", ChunkExtension),
        ("2;a=\"b", "\r\n", ChunkExtension),
        ("2;a=\"b\\", "\r\n", ChunkExtension),
        ("2;a=\"b\"", "c\r\n", ChunkExtension),
        ("2;a=\"b", "\n\"\r\n", BareLf),
        ("2;a", "\n", BareLf),
        ("2;", "\0\r\n", ChunkExtension),
        ("1\r\na", "b\r\n", ChunkEnd),
        ("1\r\na", "0\r\n", ChunkEnd),
        ("1\r\na", "\n", BareLf),
        ("1\r\na\r", "0", BareCr),
        ("0\r\n", "\n", BareLf),
        ("0\r\n\r", "G", BareCr),
        ("0\r\n", " A: b\r\n", Fold),
        ("0\r\nA", " : b\r\n", SpaceBeforeColon),
        ("0\r\nA: b", "\n", BareLf),
        ("0\r\n3", "\r\nabc", FieldName),
    ] {
        assert_flaw(body, before, rest, flaw);
    }
}

#[test]
fn lines_with_a_size_have_a_bound() {
    let longest = usize::from(chunked::LINE);
    for line in ["0".repeat(longest), format!("1;{}", "a".repeat(longest - 2))] {
        assert_flaw(body, &line, "\r\n", Flaw::ChunkLine);
    }
    let line = "0".repeat(longest - 1) + "\r\n\r\n";
    assert_eq!(body(&line), Scan::End(line.len()));
}

/// They were left to hyper, which is not asked where a guest ignores its body: the answer did not say that the
/// connection ends, and it ended.
#[test]
fn what_nobody_reads_of_a_body_is_bounded() {
    let trailers = |count: usize, value: usize| {
        "0\r\n".to_owned() + &format!("A:{}\r\n", "b".repeat(value)).repeat(count) + "\r\n"
    };
    assert_eq!(body(&trailers(4, 1)), Scan::End(3 + 4 * 5 + 2));
    assert_eq!(body(&trailers(5, 1)), Scan::Malformed(3 + 4 * 5, Flaw::Trailers));
    assert_eq!(body(&trailers(1, 64 - 7)), Scan::End(3 + 61 + 2));
    assert!(matches!(body(&trailers(1, 64 - 6)), Scan::Malformed(_, Flaw::Trailers)));
    let all = usize::from(chunked::EXTENSIONS);
    // As who signs each chunk sends them.
    let chunk = |bytes: usize| format!("1;{}\r\nx\r\n", "a".repeat(bytes - 1));
    let many = chunk(1000).repeat(all / 1000) + &chunk(all % 1000);
    assert_eq!(body(&many), Scan::More);
    let last = body(&(many.clone() + "0;\r\n\r\n"));
    assert_eq!(last, Scan::Malformed(many.len() + 1, Flaw::ChunkExtensions));
}

#[test]
fn a_scan_that_is_over_stays_over() {
    let mut scan = HeadScan::default();
    assert_eq!(scan.scan(b"GET / HTTP/1.1\r\n\r\n"), Scan::End(18));
    assert_eq!(scan.scan(b"GET"), Scan::End(0));
    let mut scan = chunks();
    assert_eq!(scan.scan(b"x"), Scan::Malformed(0, Flaw::ChunkSize));
    assert_eq!(scan.scan(b"0\r\n\r\n"), Scan::Malformed(0, Flaw::ChunkSize));
}
