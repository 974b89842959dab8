//! What a registry asks of those who ask it: `WWW-Authenticate` (RFC 9110, 11.6.1), in which registries name the
//! server that gives tokens.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use serde_json::Value;
use zeroize::Zeroizing;

/// A way to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A name and a password, with each request.
    Basic,
    /// A token of this server.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// The token in the answer of a server of tokens.
pub(crate) fn token(answer: &[u8]) -> Option<Zeroizing<String>> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let token = answer.get("token").or_else(|| answer.get("access_token"))?.as_str()?;
    if token.is_empty() { None } else { Some(Zeroizing::new(token.to_owned())) }
}

impl Challenge {
    /// The first challenge that is understood.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let fields = headers.get_all(WWW_AUTHENTICATE);
        fields.iter().filter_map(|field| field.to_str().ok()).find_map(Self::read)
    }

    fn read(field: &str) -> Option<Self> {
        let field = field.trim();
        let (scheme, parameters) = field.split_once(' ').unwrap_or((field, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        let mut rest = parameters;
        while let Some((name, value, behind)) = parameter(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                "scope" => scope = Some(value),
                _ => {}
            }
            rest = behind;
        }
        Some(Self::Bearer { realm: realm?, service, scope })
    }
}

/// The next `name=value` or `name="value"`, and what is behind it.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    let (name, rest) = text.split_once('=')?;
    let Some(quoted) = rest.trim_start().strip_prefix('"') else {
        let (value, behind) = rest.split_once(',').unwrap_or((rest, ""));
        return Some((name.trim(), value.trim().to_owned(), behind));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((name.trim(), value, quoted.get(at + 1..)?)),
            '\\' => value.push(letters.next()?.1),
            _ => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.into(), service: owned(service), scope: owned(scope) }
    }

    #[test]
    fn challenges_of_registries_are_read() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let read = bearer(
            "https://auth.docker.io/token",
            Some("registry.docker.io"),
            Some("repository:a/b:pull,push"),
        );
        assert_eq!(Challenge::read(hub), Some(read));
        assert_eq!(Challenge::read(r#"Basic realm="x""#), Some(Challenge::Basic));
        assert_eq!(Challenge::read("basic"), Some(Challenge::Basic));
        let odd = r#"bearer Service=s , realm = "a\"b", error="invalid_token""#;
        assert_eq!(Challenge::read(odd), Some(bearer("a\"b", Some("s"), None)));
    }

    #[test]
    fn what_is_no_challenge_is_none() {
        for text in [
            "",
            "Bearer",
            "Bearer realm",
            "Bearer realm=\"x",
            "Negotiate abc",
            "Bearer service=\"x\"",
        ] {
            assert_eq!(Challenge::read(text), None, "{text}");
        }
    }
}
