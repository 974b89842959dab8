//! What a space is called in a store that outlives the process.

use std::fmt::Write as _;

use host_manifest::Namespace;

/// `own:COMPONENT:BUCKET` or `shared:NAME`. Two spaces never have the same one: what could be
/// taken for a separator, or for a pattern by those who look with the store's own tools, is
/// written as `%` and two hexadecimal digits.
pub(crate) fn space_name(space: &Namespace) -> String {
    match space {
        Namespace::Own(component, bucket) => {
            format!("own:{}:{}", escaped(component), escaped(bucket))
        }
        Namespace::Shared(name) => format!("shared:{}", escaped(name)),
    }
}

fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            escaped.push(byte.into());
        } else {
            // Writing to a string does not fail.
            write!(escaped, "%{byte:02x}").ok();
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_be_chosen_so_that_they_meet() {
        let own = |component: &str, bucket: &str| {
            space_name(&Namespace::Own(component.into(), bucket.into()))
        };
        assert_eq!(own("shop", "carts"), "own:shop:carts");
        assert_eq!(own("shop:carts", ""), "own:shop%3acarts:");
        assert_eq!(own("shop%3acarts", ""), "own:shop%253acarts:");
        assert_eq!(space_name(&Namespace::Shared("own:shop".to_owned())), "shared:own%3ashop");
        assert_eq!(space_name(&Namespace::Shared("ü*".to_owned())), "shared:%c3%bc%2a");
    }
}
