//! Names of functions as people write them.

/// What a mangled name may become. C++ names can be made to grow without end.
const LONGEST: usize = 512;

/// The name of a function as its author knows it: Rust and C++ names are taken apart, others stay. The text is the
/// guest's.
#[must_use]
pub fn demangled(name: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        // Without the hash behind it.
        return bounded(format!("{rust:#}"));
    }
    let options = cpp_demangle::DemangleOptions::new().no_params().no_return_type();
    let cpp = cpp_demangle::Symbol::new(name).ok();
    let cpp = cpp.and_then(|symbol| symbol.demangle_with_options(&options).ok());
    bounded(cpp.unwrap_or_else(|| name.to_owned()))
}

fn bounded(mut name: String) -> String {
    if name.len() > LONGEST {
        name.truncate(name.floor_char_boundary(LONGEST));
        name.push('…');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_source() {
        for (mangled, name) in [
            ("_ZN3pan17look_up_the_price17h0123456789abcdefE", "pan::look_up_the_price"),
            ("_RNvCskwGfYPst2Cb_3pan5price", "pan::price"),
            ("_ZN4shop8Checkout3payEi", "shop::Checkout::pay"),
            ("look_up_the_price", "look_up_the_price"),
            ("_Z", "_Z"),
            ("", ""),
        ] {
            assert_eq!(demangled(mangled), name);
        }
        assert!(demangled(&"ü".repeat(10_000)).len() <= LONGEST + 3);
    }
}
