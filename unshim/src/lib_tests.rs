use wasmparser::{Instance, Parser, Payload};

use super::*;

/// A guest as toolchains make them: it logs a text, and reads a name into memory that its allocator gives.
const GUEST: &str = r#"(component
  (import "log" (func $log (param "text" string)))
  (import "name" (func $name (result string)))
  (core module $shim
    (type (func (param i32 i32)))
    (type (func (param i32)))
    (table (export "$imports") 2 2 funcref)
    (func (export "0") (type 0) local.get 0 local.get 1 i32.const 0 call_indirect (type 0))
    (func (export "1") (type 1) local.get 0 i32.const 1 call_indirect (type 1)))
  (core module $main
    (import "host" "log" (func $log (param i32 i32)))
    (import "host" "name" (func $name (param i32)))
    (import "old" "log" (func $old (param i32 i32)))
    (memory (export "memory") 1)
    (global $calls (mut i32) (i32.const 0))
    (global $heap (mut i32) (i32.const 1024))
    (global $step i32 (i32.const 8))
    (data (i32.const 16) "hello")
    (func $realloc (export "realloc") (param i32 i32 i32 i32) (result i32)
      (call $bump (local.get 3)))
    (func $bump (param i32) (result i32)
      (global.set $heap (i32.add (global.get $heap) (i32.add (local.get 0) (global.get $step))))
      (i32.sub (global.get $heap) (local.get 0)))
    (func (export "run") (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (call $log (i32.const 16) (i32.const 5))
      (call $old (i32.const 16) (i32.const 5))
      (call $name (i32.const 8))
      (i32.add (global.get $heap) (global.get $calls))))
  (core module $fixup
    (import "" "0" (func (param i32 i32)))
    (import "" "1" (func (param i32)))
    (import "" "$imports" (table 2 2 funcref))
    (elem (i32.const 0) func 0 1))
  (core instance $s (instantiate $shim))
  (alias core export $s "0" (core func $s0))
  (alias core export $s "1" (core func $s1))
  (core instance $host (export "log" (func $s0)) (export "name" (func $s1)))
  (core instance $old (export "log" (func $s0)))
  (core instance $m (instantiate $main
    (with "host" (instance $host)) (with "old" (instance $old))))
  (alias core export $m "memory" (core memory $memory))
  (alias core export $m "realloc" (core func $realloc))
  (alias core export $s "$imports" (core table $table))
  (core func $log' (canon lower (func $log) (memory $memory)))
  (core func $name' (canon lower (func $name) (memory $memory) (realloc $realloc)))
  (core instance $args
    (export "$imports" (table $table)) (export "0" (func $log')) (export "1" (func $name')))
  (core instance $f (instantiate $fixup (with "" (instance $args))))
  (alias core export $m "run" (core func $run))
  (func (export "run") (result u32) (canon lift (core func $run))))"#;

fn binary(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// The instances of modules in a component, and the imports of each module, as `module name`.
fn shape(component: &[u8]) -> (usize, Vec<Vec<String>>) {
    let (mut instances, mut modules) = (0, Vec::new());
    for payload in Parser::new(0).parse_all(component) {
        match payload.unwrap() {
            Payload::ModuleSection { .. } => modules.push(Vec::new()),
            Payload::ImportSection(section) => {
                let imports = section.into_imports().map(|import| import.unwrap());
                let names = imports.map(|import| format!("{} {}", import.module, import.name));
                modules.last_mut().unwrap().extend(names);
            }
            Payload::InstanceSection(section) => {
                let made =
                    |instance: &Instance<'_>| matches!(instance, Instance::Instantiate { .. });
                instances += section.into_iter().filter(|it| made(it.as_ref().unwrap())).count();
            }
            _ => {}
        }
    }
    (instances, modules)
}

#[test]
fn a_guest_gets_its_memory_and_its_host_functions_from_outside() {
    let before = binary(GUEST);
    assert_eq!(shape(&before).0, 3);
    let after = unshim(&before).unwrap().bytes;
    validate(&after).unwrap();
    let (instances, modules) = shape(&after);
    assert_eq!(instances, 2);
    let [base, main, fixup] = &modules[..] else { panic!("{modules:?}") };
    assert!(base.is_empty() && fixup.is_empty(), "{modules:?}");
    // The same function under two names is imported twice; of its globals only the one that the allocator sets is
    // shared.
    let imports = [
        "host:unshim/lowered 0",
        "host:unshim/lowered 1",
        "host:unshim/lowered 2",
        "host:unshim/base host:unshim/memory",
        "host:unshim/base host:unshim/global-1",
    ];
    assert_eq!(main[..], imports.map(String::from)[..]);
    assert_eq!(
        unshim(&before).unwrap().bytes,
        after,
        "code is kept under the digest of the component"
    );
    assert_eq!(unshim(&after), Err(Unchanged("its core instances are not shim, guest and fixup")));
}

/// What stands in [`GUEST`], what stands there instead, and why that is left as it is. Each is as valid.
const OTHERS: &[(&str, &str, &str)] = &[
    (
        "i32.const 0 call_indirect",
        "nop i32.const 0 call_indirect",
        "its shim does more than a shim",
    ),
    (
        "local.get 0 i32.const 1 call",
        "local.get 0 drop i32.const 9 i32.const 1 call",
        "its shim does more than a shim",
    ),
    (
        "(elem (i32.const 0) func 0 1)",
        "(func) (elem (i32.const 0) func 0 1)",
        "its fixup does more than a fixup",
    ),
    (
        "(elem (i32.const 0) func 0 1)",
        "(elem (i32.const 0) func 1 0)",
        "a function of its shim calls one of another type",
    ),
    ("(elem (i32.const 0) func 0 1)", "(elem (i32.const 0) func 0)", "its fixup lacks a function"),
    (
        "(data (i32.const 16) \"hello\")",
        "(start $init) (func $init)",
        "the guest has a start function",
    ),
    ("(data (i32.const 16) \"hello\")", "(data \"hello\")", "the guest copies data itself"),
    (
        "(call $bump (local.get 3))",
        "(call $log (i32.const 0) (i32.const 0)) (i32.const 0)",
        "its allocator needs the rest of the guest",
    ),
    (
        "(call $bump (local.get 3))",
        "(call_indirect (type 0) (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 0)) (table 1 funcref) (func",
        "its allocator needs the rest of the guest",
    ),
    (
        "(core instance $f",
        "(core module $e) (core instance (instantiate $e)) (core instance $f",
        "its core instances are not shim, guest and fixup",
    ),
    (
        "(alias core export $m \"run\"",
        "(alias core export $args \"0\" (core func)) (alias core export $m \"run\"",
        "it takes items out of other instances",
    ),
    (
        "(core func $log' (canon",
        "(type (resource (rep i32) (dtor (core func $s1)))) (core func $log' (canon",
        "its shim is used by more than the guest",
    ),
    (
        "(import \"name\"",
        "(import \"a\" (core module)) (import \"name\"",
        "modules of it are used as values",
    ),
    (
        "(alias core export $m \"run\"",
        "(component (alias outer 1 0 (core module))) (alias core export $m \"run\"",
        "a component in it uses its modules",
    ),
];

#[test]
fn what_is_not_a_guest_a_shim_and_a_fixup_is_left_as_it_is() {
    for (was, is, why) in OTHERS {
        assert!(GUEST.contains(was), "{was}");
        let component = binary(&GUEST.replacen(was, is, 1));
        assert_eq!(unshim(&component), Err(Unchanged(why)), "{is}");
    }
    for bytes in [&b""[..], b"\0asm\x01\0\0\0", b"hello, world", &binary("(component)")] {
        assert!(unshim(bytes).is_err(), "{bytes:?}");
    }
}

/// The shim that is left out must not hide a fault: the compiler would accept what it refused before.
#[test]
fn a_component_that_is_not_valid_stays_so() {
    for (was, is) in [
        (
            "(import \"\" \"0\" (func (param i32 i32)))",
            "(import \"\" \"0\" (func (param i64 i32)))",
        ),
        ("(table 2 2 funcref)", "(table 3 3 funcref)"),
        ("(type (func (param i32)))", "(type (func (param i64)))"),
    ] {
        let component = binary(&GUEST.replacen(was, is, 1));
        assert_eq!(unshim(&component), Err(Unchanged("it cannot be read")), "{is}");
    }
}

#[test]
fn damaged_components_are_valid_or_left_as_they_are() {
    let whole = binary(GUEST);
    for length in 0..whole.len() {
        if let Ok(Unshimmed { bytes: after, .. }) = unshim(&whole[..length]) {
            validate(&after).unwrap();
        }
    }
    let mut taken = 0;
    for place in 8..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << bit;
            if let Ok(Unshimmed { bytes: after, .. }) = unshim(&bytes) {
                validate(&after).unwrap();
                taken += 1;
            }
        }
    }
    assert!(taken > 0, "other names and constants make other components");
}

/// Traps in the allocator named no function, and a guest with names of its data was left with its shim.
#[test]
fn functions_keep_their_names() {
    let unshimmed = unshim(&binary(&GUEST.replacen("(data (", "(data $text (", 1))).unwrap();
    let CopiedAllocator { base, main, functions } = &unshimmed.allocator;
    assert_eq!((*base, *main, &functions[..]), (0, 1, &[0, 1][..]));
    let modules = ComponentOutline::read(&unshimmed.bytes).unwrap().modules;
    for (module, functions) in [
        (*base, &[(0, "realloc"), (1, "bump")][..]),
        (*main, &[(0, "log"), (1, "name"), (2, "old"), (3, "realloc"), (4, "bump")]),
    ] {
        let mut names = main_module::ModuleNames::default();
        for payload in Parser::new(0).parse_all(modules[module]) {
            if let Payload::CustomSection(section) = payload.unwrap() {
                names.read(&section).unwrap();
            }
        }
        assert_eq!(names.module, Some("main"));
        assert_eq!(names.functions.into_iter().collect::<Vec<_>>(), functions);
    }
}
