//! The parts of HPACK (RFC 7541) for a client that allows no dynamic table and reads printable ASCII: header
//! blocks in, header blocks out.

/// Fields of a header block, in order.
pub type Fields = Vec<(String, String)>;

/// Writes fields as literals without indexing, with literal names and no Huffman coding.
pub fn encode(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0x00);
        for text in [name, value] {
            write_integer(text.len(), 7, &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// Reads a whole header block.
///
/// # Errors
/// When it is cut off, or uses a dynamic table although the client allowed none.
pub fn decode(mut block: &[u8]) -> Result<Fields, String> {
    let mut fields = Vec::new();
    while let Some(first) = block.first().copied() {
        if first & 0x80 != 0 {
            let (name, value) = entry(read_integer(&mut block, 7)?)?;
            fields.push((name.to_owned(), value.to_owned()));
        } else if first & 0xe0 == 0x20 {
            match read_integer(&mut block, 5)? {
                0 => {}
                size => return Err(format!("a dynamic table of {size} bytes")),
            }
        } else {
            // With (6 bits), without, or never (4 bits) indexing. Without a table these are the same.
            let index = read_integer(&mut block, if first & 0x40 == 0 { 4 } else { 6 })?;
            let name = match index {
                0 => read_string(&mut block)?,
                index => entry(index)?.0.to_owned(),
            };
            fields.push((name, read_string(&mut block)?));
        }
    }
    Ok(fields)
}

fn entry(index: usize) -> Result<(&'static str, &'static str), String> {
    let found = index.checked_sub(1).and_then(|index| STATIC.get(index));
    found.copied().ok_or_else(|| format!("index {index} in a table that is not there"))
}

fn write_integer(value: usize, bits: u32, block: &mut Vec<u8>) {
    let max = (1 << bits) - 1;
    if value < max {
        block.extend(u8::try_from(value));
        return;
    }
    block.extend(u8::try_from(max));
    let mut rest = value - max;
    while rest >= 0x80 {
        block.extend(u8::try_from(rest % 0x80 + 0x80));
        rest /= 0x80;
    }
    block.extend(u8::try_from(rest));
}

fn read_integer(block: &mut &[u8], bits: u32) -> Result<usize, String> {
    let max = (1 << bits) - 1;
    let first = usize::from(read_byte(block)?) & max;
    if first < max {
        return Ok(first);
    }
    let mut value = max;
    for shift in (0..28).step_by(7) {
        let byte = usize::from(read_byte(block)?);
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("an integer without end".to_owned())
}

fn read_byte(block: &mut &[u8]) -> Result<u8, String> {
    let (first, rest) = block.split_first().ok_or("a header block that is cut")?;
    *block = rest;
    Ok(*first)
}

fn read_string(block: &mut &[u8]) -> Result<String, String> {
    let huffman = block.first().is_some_and(|byte| byte & 0x80 != 0);
    let length = read_integer(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or("a string that is cut")?;
    *block = rest;
    if huffman { unhuffman(bytes) } else { Ok(String::from_utf8_lossy(bytes).into_owned()) }
}

fn unhuffman(bytes: &[u8]) -> Result<String, String> {
    let mut text = String::new();
    let (mut code, mut length) = (0_u32, 0_u8);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |n| u32::from(byte >> n & 1))) {
        (code, length) = (code << 1 | bit, length + 1);
        if let Some(at) = HUFFMAN.iter().position(|known| *known == (code, length)) {
            text.extend((' '..='~').nth(at));
            (code, length) = (0, 0);
        } else if length > 30 {
            return Err(format!("not a Huffman code after {text:?}"));
        }
    }
    // The rest is padding: fewer than 8 bits, all ones.
    if length < 8 && code + 1 == 1 << length {
        return Ok(text);
    }
    Err(format!("not printable ASCII, or bad padding, after {text:?}"))
}

/// Appendix A: the static table.
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"),
    (":path", "/index.html"), (":scheme", "http"), (":scheme", "https"), (":status", "200"),
    (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""),
    ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""),
    ("authorization", ""), ("cache-control", ""), ("content-disposition", ""),
    ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""),
    ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
    ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""),
    ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""),
    ("vary", ""), ("via", ""), ("www-authenticate", ""),
];

/// Appendix B for `' '..='~'`: code and its length in bits.
#[rustfmt::skip]
const HUFFMAN: [(u32, u8); 95] = [
    (0x14, 6), (0x3f8, 10), (0x3f9, 10), (0xffa, 12), (0x1ff9, 13), (0x15, 6), (0xf8, 8),
    (0x7fa, 11), (0x3fa, 10), (0x3fb, 10), (0xf9, 8), (0x7fb, 11), (0xfa, 8), (0x16, 6),
    (0x17, 6), (0x18, 6), (0x0, 5), (0x1, 5), (0x2, 5), (0x19, 6), (0x1a, 6), (0x1b, 6),
    (0x1c, 6), (0x1d, 6), (0x1e, 6), (0x1f, 6), (0x5c, 7), (0xfb, 8), (0x7ffc, 15), (0x20, 6),
    (0xffb, 12), (0x3fc, 10), (0x1ffa, 13), (0x21, 6), (0x5d, 7), (0x5e, 7), (0x5f, 7), (0x60, 7),
    (0x61, 7), (0x62, 7), (0x63, 7), (0x64, 7), (0x65, 7), (0x66, 7), (0x67, 7), (0x68, 7),
    (0x69, 7), (0x6a, 7), (0x6b, 7), (0x6c, 7), (0x6d, 7), (0x6e, 7), (0x6f, 7), (0x70, 7),
    (0x71, 7), (0x72, 7), (0xfc, 8), (0x73, 7), (0xfd, 8), (0x1ffb, 13), (0x7fff0, 19),
    (0x1ffc, 13), (0x3ffc, 14), (0x22, 6), (0x7ffd, 15), (0x3, 5), (0x23, 6), (0x4, 5), (0x24, 6),
    (0x5, 5), (0x25, 6), (0x26, 6), (0x27, 6), (0x6, 5), (0x74, 7), (0x75, 7), (0x28, 6),
    (0x29, 6), (0x2a, 6), (0x7, 5), (0x2b, 6), (0x76, 7), (0x2c, 6), (0x8, 5), (0x9, 5),
    (0x2d, 6), (0x77, 7), (0x78, 7), (0x79, 7), (0x7a, 7), (0x7b, 7), (0x7ffe, 15), (0x7fc, 11),
    (0x3ffd, 14), (0x1ffd, 13),
];
