//! How a path can be written.

use percent_encoding::percent_encode_byte;

/// The spelling of a path that routes are compared with: only what cannot stand in a path is
/// percent-encoded, in capitals; no dots, no empty segments, no backslashes. A request for a route
/// with another spelling is always one that can be read in two ways.
#[must_use]
pub fn normalized(path: &str) -> String {
    remove_dot_segments(&percent_decoded(path).replace('\\', "/"), true)
}

/// Percent-encoding undone, once (RFC 3986 §2.1), of what can stand in a path without it. What cannot
/// is encoded, in capitals.
#[must_use]
pub fn percent_decoded(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let value = encoded(rest);
        rest = if value.is_some() { behind.get(2..).unwrap_or_default() } else { behind };
        let value = value.unwrap_or(byte);
        // What was decoded to a `%` is the beginning of an encoding to a component that decodes twice.
        let stands = match value {
            b'%' => follows_hex(rest),
            b'?' | b'#' => false,
            _ => value.is_ascii_graphic(),
        };
        if stands {
            text.push(char::from(value));
        } else {
            text.push_str(percent_encode_byte(value));
        }
    }
    text
}

/// The byte whose percent-encoding stands at the beginning.
fn encoded(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"%").filter(|rest| follows_hex(rest))?;
    let digits = std::str::from_utf8(digits.get(..2)?).ok()?;
    u8::from_str_radix(digits, 16).ok()
}

fn follows_hex(text: &[u8]) -> bool {
    text.get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// A path without its dots (RFC 3986 §5.2.4), and without empty segments if they are merged.
#[must_use]
pub fn remove_dot_segments(path: &str, merged: bool) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = rest.next() {
        let last = rest.peek().is_none();
        match segment {
            ".." => drop(segments.pop()),
            "." => {}
            "" if merged && !last => {}
            segment => segments.push(segment),
        }
        if last && matches!(segment, "." | "..") {
            segments.push("");
        }
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_plain_spelling() {
        for plain in ["/", "/shop", "/shop/", "/%C3%A9", "/a%20b", "/100%25", "/a%3Fb", "/a.b/..c"]
        {
            assert_eq!(normalized(plain), plain);
        }
        for (path, plain) in [
            ("/%c3%a9", "/%C3%A9"),
            ("/é", "/%C3%A9"),
            ("/%73hop", "/shop"),
            ("/a%2Fb", "/a/b"),
            ("/a\\b", "/a/b"),
            ("/a%5cb", "/a/b"),
            ("//shop", "/shop"),
            ("/./shop/../x", "/x"),
            ("/%2e%2e/x", "/x"),
            ("/a%zz", "/a%25zz"),
        ] {
            assert_eq!(normalized(path), plain, "{path}");
        }
        assert_eq!(percent_decoded("/%2541"), "/%41", "once");
    }
}
