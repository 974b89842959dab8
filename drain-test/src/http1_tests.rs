use super::*;

fn head(text: &str) -> ResponseHead {
    ResponseHead::read(text.as_bytes()).unwrap().unwrap()
}

#[test]
fn head_says_where_its_body_ends_and_whether_the_connection_does() {
    let kept = head("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!((kept.status, kept.says_close, kept.ends), (200, false, BodyEnd::Length(5)));
    assert_eq!(kept.length, 38);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x, Close\r\n\r\n";
    assert_eq!((head(chunked).says_close, head(chunked).ends), (true, BodyEnd::Chunked));
    assert_eq!(head("HTTP/1.1 204 No\r\n\r\n").ends, BodyEnd::Length(0));
    assert_eq!(head("HTTP/1.1 200 OK\r\n\r\n").ends, BodyEnd::Connection);
    assert!(head("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").says_close);
    assert!(head("HTTP/1.1 103 Early Hints\r\n\r\n").is_interim());
}

#[test]
fn head_that_two_readers_could_read_in_two_ways_is_an_error() {
    let twice = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for wrong in [twice, both, "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n", "HELO\r\n\r\n"] {
        assert!(ResponseHead::read(wrong.as_bytes()).is_err(), "{wrong:?}");
    }
    assert_eq!(ResponseHead::read(b"HTTP/1.1 200 OK\r\nConten"), Ok(None));
}

/// What is left of `bytes`, and whether the body is whole, if they come one by one or together.
fn decode(ends: BodyEnd, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut together = bytes.to_vec();
    let mut decoder = BodyDecoder::new(ends);
    decoder.take(&mut together).unwrap();
    let mut left = Vec::new();
    let mut one_by_one = BodyDecoder::new(ends);
    for byte in bytes {
        left.push(*byte);
        one_by_one.take(&mut left).unwrap();
    }
    assert_eq!((&left, one_by_one.is_whole()), (&together, decoder.is_whole()));
    (together, decoder.is_whole())
}

#[test]
fn body_ends_where_its_framing_says_and_leaves_what_is_behind() {
    assert_eq!(decode(BodyEnd::Length(3), b"abcHTTP"), (b"HTTP".to_vec(), true));
    assert_eq!(decode(BodyEnd::Length(3), b"ab"), (vec![], false));
    let chunks = b"3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nt: v\r\n\r\nHTTP";
    assert_eq!(decode(BodyEnd::Chunked, chunks), (b"HTTP".to_vec(), true));
    assert_eq!(decode(BodyEnd::Chunked, b"3\r\nabc\r\n0\r\n"), (vec![], false));
    assert_eq!(decode(BodyEnd::Connection, b"all"), (vec![], false));
}

#[test]
fn chunk_that_is_none_is_an_error() {
    for wrong in [&b"x\r\n"[..], b"\r\n", b"-1\r\n", b"3\r\nabcXY0\r\n\r\n"] {
        let read = BodyDecoder::new(BodyEnd::Chunked).take(&mut wrong.to_vec());
        assert!(read.is_err(), "{:?}", String::from_utf8_lossy(wrong));
    }
}
