use wasmparser::{CanonicalFunction, CanonicalOption, ExternalKind, Instance, Payload};

use super::*;

fn binary(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn validate(component: &[u8]) -> wasmparser::Result<()> {
    Validator::new_with_features(WasmFeatures::all()).validate_all(component).map(drop)
}

/// A component with items of each kind, so that no index is 0, and its second memory is large.
const GUEST: &str = r#"(component
  (type (list u8))
  (import "a" (instance $a (export "f" (func (param "text" string)))))
  (core module $small (memory (export "m") 1))
  (core module $large (memory (export "m") 64) (func (export "run")))
  (core instance $s (instantiate $small))
  (core instance $l (instantiate $large))
  (alias core export $s "m" (core memory $ms))
  (alias core export $l "m" (core memory $ml))
  (alias export $a "f" (func $f))
  (core func (canon lower (func $f) (memory $ms)))
  (alias core export $l "run" (core func $run))
  (func $lifted (canon lift (core func $run)))
  (component $nested)
  (instance (instantiate $nested))
  (export "run" (func $lifted)))"#;

#[test]
fn a_module_that_gets_the_large_memory_is_appended() {
    let before = binary(GUEST);
    let after = prefault(&before).unwrap();
    assert!(after.starts_with(&before));
    validate(&after).unwrap();
    let (mut lowered_with, mut handed) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(&after) {
        match payload.unwrap() {
            Payload::ComponentCanonicalSection(functions) => {
                for function in functions {
                    if let CanonicalFunction::Lower { options, .. } = function.unwrap() {
                        lowered_with.extend(options);
                    }
                }
            }
            Payload::InstanceSection(instances) => {
                for instance in instances {
                    if let Instance::FromExports(exports) = instance.unwrap() {
                        handed.extend(exports);
                    }
                }
            }
            _ => {}
        }
    }
    assert_eq!(lowered_with, [0, 1].map(CanonicalOption::Memory));
    let handed: Vec<_> = handed.iter().map(|export| (export.kind, export.index)).collect();
    assert_eq!(handed, [(ExternalKind::Memory, 1), (ExternalKind::Func, 2)]);
}

#[test]
fn what_has_no_large_memory_of_32_bits_is_left_as_it_is() {
    let large = "(memory (export \"m\") 64)";
    assert!(GUEST.contains(large));
    for memory in [
        "(memory (export \"m\") 31)",
        "(memory (export \"m\") i64 64)",
        "(memory (export \"m\") 64 64 shared)",
        "(memory (export \"m\") 1048576 (pagesize 1))",
    ] {
        assert_eq!(prefault(&binary(&GUEST.replacen(large, memory, 1))), None, "{memory}");
    }
    let exact = GUEST.replacen(large, "(memory (export \"m\") 32)", 1);
    assert!(prefault(&binary(&exact)).is_some());
    for bytes in [
        &b""[..],
        b"\0asm\x01\0\0\0",
        b"hello, world",
        &binary("(component)"),
        &binary("(module (memory 64))"),
    ] {
        assert_eq!(prefault(bytes), None, "{bytes:?}");
    }
}

/// The compiler refuses the result, and compiles the component as it is. The host refuses that.
#[test]
fn a_component_that_imports_the_instance_itself_does_not_become_valid() {
    let text = GUEST.replacen("(import \"a\"", &format!("(import \"{INTERFACE}\""), 1);
    let before = binary(&text);
    validate(&before).unwrap();
    assert!(validate(&prefault(&before).unwrap()).is_err());
}

#[test]
fn damaged_components_do_not_become_valid() {
    let whole = binary(GUEST);
    let mut taken = 0;
    let mut try_it = |bytes: &[u8]| {
        if let Some(after) = prefault(bytes) {
            assert_eq!(validate(&after).is_ok(), validate(bytes).is_ok(), "{bytes:?}");
            taken += 1;
        }
    };
    for length in 0..whole.len() {
        try_it(&whole[..length]);
    }
    for place in 8..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << bit;
            try_it(&bytes);
        }
    }
    assert!(taken > 0, "other names and constants make other components");
}

#[test]
fn ranges_fit_into_a_result() {
    assert_eq!(packed(&(0..1)), 1 << 32);
    assert_eq!(packed(&(3..5)), (3 * PAGE) | (2 << 32));
    assert_eq!(packed(&(0..1 << 20)), 1 << 52, "all of a memory of 32 bits");
}
