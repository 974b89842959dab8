//! The elements of `Forwarded` (RFC 7239 §4).

use std::borrow::Cow;
use std::net::IpAddr;

use super::address::address;

/// One element: what a proxy says of the request that came to it. Of the rest (`by`, `secret`, extensions) nothing is
/// kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    /// Who sent it; none where it does not say, or says no address.
    pub(crate) sender: Option<IpAddr>,
    /// The host that was asked for.
    pub(crate) host: Option<Cow<'a, str>>,
    /// The scheme.
    pub(crate) proto: Option<Cow<'a, str>>,
}

/// The elements of one field line, in its order. None if it is not by the grammar, with two liberties that nobody can
/// read in two ways: white space around `;`, and addresses without the quotes that `:` asks for.
pub(crate) fn elements(line: &str) -> Option<Vec<Element<'_>>> {
    let mut elements = Vec::new();
    let (mut element, mut named) = (Element::default(), Named::default());
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches(WHITE);
        if !rest.is_empty() && !rest.starts_with([',', ';']) {
            rest = pair(rest, &mut element, &mut named)?.trim_start_matches(WHITE);
        }
        match rest.split_at_checked(1) {
            Some((";", behind)) => rest = behind,
            Some((",", behind)) => {
                finish(&mut elements, &mut element, &mut named);
                rest = behind;
            }
            None => {
                finish(&mut elements, &mut element, &mut named);
                return Some(elements);
            }
            Some(_) => return None,
        }
    }
}

const WHITE: [char; 2] = [' ', '\t'];

/// Which parameters an element has had: none may stand there twice (RFC 7239 §4).
#[derive(Default)]
struct Named {
    anything: bool,
    sender: bool,
    host: bool,
    proto: bool,
}

/// Takes note of an element, unless it is empty: a list may have such (RFC 9110 §5.6.1).
fn finish<'a>(elements: &mut Vec<Element<'a>>, element: &mut Element<'a>, named: &mut Named) {
    let (element, named) = (std::mem::take(element), std::mem::take(named));
    if named.anything {
        elements.push(element);
    }
}

/// Reads `name=value`, and returns what stands behind it.
fn pair<'a>(text: &'a str, element: &mut Element<'a>, named: &mut Named) -> Option<&'a str> {
    let (name, rest) = text.split_once('=')?;
    if name.is_empty() || !is_plain(name) {
        return None;
    }
    let (value, rest) = value(rest)?;
    named.anything = true;
    let mut first = |seen: fn(&mut Named) -> &mut bool| !std::mem::replace(seen(named), true);
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    if is("for") {
        element.sender = address(&value);
        return first(|named| &mut named.sender).then_some(rest);
    }
    if is("host") {
        element.host = Some(value);
        return first(|named| &mut named.host).then_some(rest);
    }
    if is("proto") {
        element.proto = Some(value);
        return first(|named| &mut named.proto).then_some(rest);
    }
    Some(rest)
}

/// Whether all of a text may stand without quotation marks: the letters of a token (RFC 9110 §5.6.2).
pub(crate) fn is_plain(text: &str) -> bool {
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    text.bytes().all(is_of_token)
}

/// A value, and what stands behind it.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let ends = |letter: char| WHITE.contains(&letter) || [',', ';'].contains(&letter);
        let (value, rest) = text.split_at_checked(text.find(ends).unwrap_or(text.len()))?;
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\=".contains(&byte);
        let is_fit = !value.is_empty() && value.bytes().all(is_plain);
        return is_fit.then_some((Cow::Borrowed(value), rest));
    };
    let end = quoted.find(['"', '\\'])?;
    let (plain, behind) = quoted.split_at_checked(end)?;
    if let Some(rest) = behind.strip_prefix('"') {
        return is_text(plain).then_some((Cow::Borrowed(plain), rest));
    }
    let mut value = plain.to_owned();
    let mut letters = behind.chars();
    loop {
        match letters.next()? {
            '"' => break,
            '\\' => value.push(letters.next()?),
            letter => value.push(letter),
        }
    }
    is_text(&value).then_some((Cow::Owned(value), letters.as_str()))
}

fn is_text(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(sender: &str, host: &'static str, proto: &'static str) -> Element<'static> {
        let text = |text: &'static str| Some(Cow::Borrowed(text)).filter(|text| !text.is_empty());
        Element { sender: sender.parse().ok(), host: text(host), proto: text(proto) }
    }

    #[test]
    fn elements_are_read_by_the_grammar() {
        for (line, read) in [
            ("for=192.0.2.43", vec![element("192.0.2.43", "", "")]),
            // The examples of RFC 7239 §4 and §7.
            ("for=\"_gazonk\"", vec![element("", "", "")]),
            ("For=\"[2001:db8:cafe::17]:4711\"", vec![element("2001:db8:cafe::17", "", "")]),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", vec![element("192.0.2.60", "", "http")]),
            (
                "for=192.0.2.43, for=198.51.100.17",
                vec![element("192.0.2.43", "", ""), element("198.51.100.17", "", "")],
            ),
            (
                "for=192.0.2.43,for=\"[2001:db8:cafe::17]\",for=unknown",
                vec![
                    element("192.0.2.43", "", ""),
                    element("2001:db8:cafe::17", "", ""),
                    element("", "", ""),
                ],
            ),
            (
                "PROTO=https; by=_x ;HOST=\"a:80\";\tfor=192.0.2.1:80",
                vec![element("192.0.2.1", "a:80", "https")],
            ),
            ("for=[2001:db8::1]:80", vec![element("2001:db8::1", "", "")]),
            ("secret=\"a,b;for=1.2.3.4\"", vec![element("", "", "")]),
            ("by=\"\\\"\\\\\";for=\"1\\92.0.2.1\"", vec![element("192.0.2.1", "", "")]),
            ("for=\"\"", vec![element("", "", "")]),
            (" , ,for=192.0.2.1,; ;, ", vec![element("192.0.2.1", "", "")]),
            ("", vec![]),
        ] {
            assert_eq!(elements(line), Some(read), "{line}");
        }
    }

    #[test]
    fn a_line_that_is_not_by_the_grammar_is_none() {
        for line in [
            "192.0.2.1",
            "for",
            "for=",
            "for =192.0.2.1",
            "for= 192.0.2.1",
            "=192.0.2.1",
            "for=192.0.2.1 proto=http",
            "for=192.0.2.1;for=192.0.2.2",
            "host=a;Host=b",
            "proto=http;proto=https",
            "for=\"192.0.2.1",
            "for=\"192.0.2.1\\",
            "for=\"192.0.2.1\"x",
            "for=1\"2\"",
            "for=a=b",
            "f\u{f6}r=192.0.2.1",
            "for=\"\u{f6}\"",
            "for=192.0.2.1\0",
            // A client that leaves a quote open in front of what a proxy adds: nobody is told apart in it.
            "for=198.51.100.1;secret=\", for=\"[2001:db8::1]\"",
        ] {
            assert_eq!(elements(line), None, "{line}");
        }
    }
}
