//! Names of directories as RFC 4514 writes them.

use std::fmt::Write as _;

use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The short names that every reader of RFC 4514 knows (its section 3).
const SHORT: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// The name in printable ASCII, its last part first: `CN=client,O=Example`. What else there is of letters stands as
/// the bytes of its UTF-8, each as `\C3`.
pub(crate) fn name(name: &X509Name<'_>) -> String {
    let parts: Vec<_> =
        name.iter().map(|part| part.iter().map(attribute).collect::<Vec<_>>()).collect();
    let parts: Vec<_> = parts.iter().rev().map(|part| part.join("+")).collect();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let short = SHORT.iter().find(|(known, _)| *known == oid);
    match (short, attribute.as_str()) {
        (Some((_, short)), Ok(text)) => format!("{short}={}", escape(text)),
        // Its bytes as they are: their meaning is known to whoever knows the number (RFC 4514, section 2.4).
        _ => {
            let value = attribute.attr_value();
            let mut der = vec![u8::try_from(value.tag().0).unwrap_or(0)];
            der.extend(length(value.data.len()));
            der.extend(value.data);
            format!("{}=#{}", short.map_or(&*oid, |(_, short)| short), hex(&der))
        }
    }
}

/// Section 2.4 of the RFC.
fn escape(text: &str) -> String {
    let last = text.len().saturating_sub(1);
    let mut out = String::with_capacity(text.len());
    for (place, byte) in text.bytes().enumerate() {
        let at_an_end =
            (byte == b' ' && (place == 0 || place == last)) || (byte == b'#' && place == 0);
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' ' | b'#' if at_an_end => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(out, "\\{byte:02X}")),
        }
    }
    out
}

/// A length as DER has it (X.690, section 8.1.3).
fn length(length: usize) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(short @ 0..=127) => vec![short],
        _ => {
            let bytes = length.to_be_bytes();
            let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            let mut out = vec![0x80 | u8::try_from(bytes.len()).unwrap_or(0)];
            out.extend(bytes);
            out
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_a_name_is_escaped() {
        for (text, escaped) in [
            ("James \"Jim\" Smith, III", "James \\\"Jim\\\" Smith\\, III"),
            (" a b ", "\\ a b\\ "),
            ("#1 #2", "\\#1 #2"),
            ("Before\rAfter", "Before\\0DAfter"),
            ("Lučić", "Lu\\C4\\8Di\\C4\\87"),
            ("CN=admin,O=x", "CN=admin\\,O=x"),
            ("a\\b<c>;d+e\0", "a\\\\b\\<c\\>\\;d\\+e\\00"),
            ("", ""),
            (" ", "\\ "),
        ] {
            assert_eq!(escape(text), escaped, "{text:?}");
        }
    }

    #[test]
    fn lengths_are_those_of_der() {
        for (number, der) in
            [(0, vec![0]), (127, vec![127]), (128, vec![0x81, 128]), (300, vec![0x82, 1, 44])]
        {
            assert_eq!(length(number), der);
        }
    }
}
