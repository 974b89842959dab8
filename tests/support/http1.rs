//! HTTP/1.1 responses, read strictly: any fault is an error, even one that other clients forgive.

use std::fmt;

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The minor version: 1 for HTTP/1.1.
    pub minor: u8,
    /// The status code.
    pub status: u16,
    /// The fields in their order, with names as they were sent.
    pub headers: Vec<(String, String)>,
    /// Every byte, with the empty line.
    pub raw: Vec<u8>,
}

impl Head {
    /// Reads the head at the start of `bytes`. None while its end is missing.
    ///
    /// # Errors
    /// When RFC 9112 does not allow a server to send it.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, String> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let raw = bytes[..end + 4].to_vec();
        let text = str::from_utf8(&bytes[..end]).map_err(|_| "a head that is not text")?;
        let mut lines = text.split("\r\n");
        let (minor, status) = status_line(lines.next().unwrap_or_default())?;
        let headers = lines.map(field).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Self { minor, status, headers, raw }))
    }

    /// The value of the first field called `name`, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_named(name).next()
    }

    /// The values of all fields called `name`.
    pub fn headers_named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let named =
            move |(n, v): &'a (String, String)| n.eq_ignore_ascii_case(name).then_some(&**v);
        self.headers.iter().filter_map(named)
    }

    /// Whether it has `Connection: close`.
    pub fn says_close(&self) -> bool {
        let mut tokens = self.headers_named("connection").flat_map(|value| value.split(','));
        tokens.any(|token| token.trim().eq_ignore_ascii_case("close"))
    }
}

/// Where the body of a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body, whatever the fields say.
    None,
    /// After this many bytes.
    Length(u64),
    /// With the chunk of size 0.
    Chunked,
    /// With the connection.
    Close,
}

impl Framing {
    /// The framing of the response with `head` to a request with `method`.
    ///
    /// # Errors
    /// When two readers could disagree on it.
    pub fn read(head: &Head, method: &str) -> Result<Self, String> {
        let lengths: Vec<&str> = head.headers_named("content-length").collect();
        let codings: Vec<&str> = head.headers_named("transfer-encoding").collect();
        if method == "HEAD" || head.status < 200 || matches!(head.status, 204 | 304) {
            return Ok(Self::None);
        }
        match (lengths.as_slice(), codings.as_slice()) {
            ([], []) => Ok(Self::Close),
            ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Self::Chunked),
            ([length], []) if digits(length) => {
                length.parse().map(Self::Length).map_err(|e| format!("{length:?}: {e}"))
            }
            _ => Err(format!("unclear framing: length {lengths:?}, coding {codings:?}")),
        }
    }
}

/// A whole body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Its bytes, without chunk framing.
    pub bytes: Vec<u8>,
    /// The fields after the last chunk.
    pub trailers: Vec<(String, String)>,
}

impl Body {
    /// Its bytes as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// A whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its head. Interim heads (1xx) before it are dropped.
    pub head: Head,
    /// Its body.
    pub body: Body,
}

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The value of the first field called `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        self.body.text()
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", String::from_utf8_lossy(&self.head.raw), self.text())
    }
}

/// The size in the line before a chunk. Extensions are allowed and ignored.
pub fn chunk_size(line: &str) -> Result<usize, String> {
    let size = line.split(';').next().unwrap_or_default();
    let hex = !size.is_empty() && size.bytes().all(|b| b.is_ascii_hexdigit());
    let size = if hex { usize::from_str_radix(size, 16).ok() } else { None };
    size.ok_or_else(|| format!("not a chunk size: {line:?}"))
}

/// One field line.
pub fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("not a field: {line:?}"))?;
    let value = value.trim_matches([' ', '\t']);
    if name.is_empty() || !name.bytes().all(token_byte) {
        return Err(format!("not a field name: {line:?}"));
    }
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return Err(format!("a control character in {line:?}"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn status_line(line: &str) -> Result<(u8, u16), String> {
    let wrong = || format!("not a status line: {line:?}");
    let (version, rest) = line.split_once(' ').ok_or_else(wrong)?;
    let minor = match version {
        "HTTP/1.0" => 0,
        "HTTP/1.1" => 1,
        _ => return Err(wrong()),
    };
    let (status, reason) = rest.split_once(' ').ok_or_else(wrong)?;
    if status.len() != 3 || !digits(status) || reason.chars().any(char::is_control) {
        return Err(wrong());
    }
    Ok((minor, status.parse().map_err(|_| wrong())?))
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
