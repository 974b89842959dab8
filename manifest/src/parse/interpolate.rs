//! `${VAR}` in text.

/// Looks up variables.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The problem with a text that has `$` in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong<'a> {
    /// This variable is not set.
    Unset(&'a str),
    /// No name with `}` follows `${`.
    Form,
}

/// The text with variables filled in. `$$` becomes `$`; a `$` before any other character stays.
pub(super) fn interpolate<'a>(text: &'a str, env: Env<'_>) -> Result<String, Wrong<'a>> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            after
        } else if let Some(inside) = after.strip_prefix('{') {
            let (name, after) = inside.split_once('}').ok_or(Wrong::Form)?;
            if !is_name(name) {
                return Err(Wrong::Form);
            }
            out.push_str(&env(name).ok_or(Wrong::Unset(name))?);
            after
        } else {
            out.push('$');
            after
        };
    }
    out.push_str(rest);
    Ok(out)
}

/// Whether a shell takes this as the name of a variable.
fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::{Wrong, interpolate};

    fn filled(text: &str) -> Result<String, Wrong<'_>> {
        interpolate(text, &|name| (name == "A_1").then(|| "${B}".into()))
    }

    #[test]
    fn variables_are_filled_in_once() {
        assert_eq!(filled("x${A_1}y${A_1}"), Ok("x${B}y${B}".into()));
        assert_eq!(filled("$${A_1} costs 5$ or $5 or $$"), Ok("${A_1} costs 5$ or $5 or $".into()));
        assert_eq!(filled("no more"), Ok("no more".into()));
    }

    #[test]
    fn unset_and_malformed_variables_are_errors() {
        assert_eq!(filled("${A_2}"), Err(Wrong::Unset("A_2")));
        for text in ["${", "${}", "${A 1}", "${A_1", "${1A}", "${A-1}"] {
            assert_eq!(filled(text), Err(Wrong::Form), "{text}");
        }
    }
}
