use wasmtime::component::{Component, Instance, Linker, WasmList};
use wasmtime::{Engine, Store};

use super::*;
use crate::{ACCESS, TAKE_ONE, WarmComponent};

/// `warm` changes the memory and the global; `sum` adds them up; `hold` keeps a resource of its own.
const GUEST: &str = r#"(component
    (type $resource (resource (rep i32)))
    (core func $new (canon resource.new $resource))
    (core module $module
        (import "" "new" (func $new (param i32) (result i32)))
        (memory (export "memory") 1)
        (global $global (mut i32) (i32.const 1))
        (data (i32.const 70) "\01")
        (func (export "warm")
            (global.set $global (i32.const 40))
            (drop (memory.grow (i32.const 1)))
            (i32.store (i32.const 70000) (i32.const 2)))
        (func (export "sum") (result i32)
            (i32.add (global.get $global) (i32.add (i32.load8_u (i32.const 70)) (i32.load (i32.const 70000)))))
        (func (export "hold") (drop (call $new (i32.const 0)))))
    (core instance $own (export "new" (func $new)))
    (core instance $instance (instantiate $module (with "" (instance $own))))
    (func (export "warm") (canon lift (core func $instance "warm")))
    (func (export "hold") (canon lift (core func $instance "hold")))
    (func (export "sum") (result u32) (canon lift (core func $instance "sum"))))"#;

fn instance(bytes: &[u8]) -> (Store<()>, Instance) {
    let engine = Engine::new(&crate::settings(false)).unwrap();
    let mut store = Store::new(&engine, ());
    store.set_epoch_deadline(1);
    let component = Component::new(&engine, bytes).unwrap();
    let instance = Linker::new(&engine).instantiate(&mut store, &component).unwrap();
    (store, instance)
}

fn call(store: &mut Store<()>, instance: &Instance, name: &str) {
    let function = instance.get_typed_func::<(), ()>(&mut *store, name).unwrap();
    function.call(store, ()).unwrap();
}

/// Takes a handle in a store that may have one.
fn takes_a_handle(store: &mut Store<()>, instance: &Instance) -> bool {
    store.set_max_component_handles(1);
    let taker = instance.get_export_index(&mut *store, None, HANDLES).unwrap();
    let take = instance.get_export_index(&mut *store, Some(&taker), TAKE_ONE).unwrap();
    let take = instance.get_typed_func::<(), ()>(&mut *store, take).unwrap();
    take.call(store, ()).is_ok()
}

#[test]
fn component_begins_with_the_state_of_an_instance() {
    let guest = wat::parse_str(GUEST).unwrap();
    let (mut store, cold) = instance(&instrument(&guest).unwrap());
    call(&mut store, &cold, "warm");
    let access = cold.get_export_index(&mut store, None, ACCESS).unwrap();
    let mut state = WarmState::default();
    let global = cold.get_export_index(&mut store, Some(&access), "global0").unwrap();
    let global = cold.get_typed_func::<(), (i32,)>(&mut store, global).unwrap();
    state.add("global0", WarmPart::S32(global.call(&mut store, ()).unwrap().0));
    let memory = cold.get_export_index(&mut store, Some(&access), "memory1").unwrap();
    let memory = cold.get_typed_func::<(), (WasmList<u8>,)>(&mut store, memory).unwrap();
    let (memory,) = memory.call(&mut store, ()).unwrap();
    state.add_memory("memory1", memory.as_le_slice(&store));
    assert_eq!(state.largest_memory(), 2 << 16, "and not the page behind it");

    let sent = WarmComponent::new(&guest, &state).unwrap();
    let (mut store, warm) = instance(&begin_warm(sent.bytes()).unwrap());
    let sum = warm.get_typed_func::<(), (u32,)>(&mut store, "sum").unwrap();
    assert_eq!(sum.call(&mut store, ()).unwrap().0, 40 + 1 + 2);
}

#[test]
fn handle_is_taken_where_none_is_held() {
    let guest = instrument(&wat::parse_str(GUEST).unwrap()).unwrap();
    for held in [false, true] {
        let (mut store, instance) = instance(&guest);
        if held {
            call(&mut store, &instance, "hold");
        }
        assert_eq!(takes_a_handle(&mut store, &instance), !held);
    }
}

#[test]
fn shapes_that_wizer_gets_wrong_are_refused() {
    for (module, says) in [
        ("(memory 1)", "exports nothing"),
        ("(global (mut i32) (i32.const 0))", "exports nothing"),
        ("(memory 1) (memory 1) (export \"m\" (memory 0))", "more than one memory"),
        ("(table 1 funcref) (func (table.set 0 (i32.const 0) (ref.null func)))", "table.set"),
    ] {
        let component =
            format!("(component (core module $m {module}) (core instance (instantiate $m)))");
        let refused = instrument(&wat::parse_str(component).unwrap()).unwrap_err();
        assert!(refused.to_string().contains(says), "{module}: {refused}");
    }
    let fine = "(component (core module $m (global i32 (i32.const 0)) (func)) (core instance (instantiate $m)))";
    instrument(&wat::parse_str(fine).unwrap()).unwrap();
}

#[test]
fn what_is_cut_off_is_refused() {
    let guest = wat::parse_str(GUEST).unwrap();
    let mut state = WarmState::default();
    state.add_memory("memory1", &[1; 5000]);
    let sent = WarmComponent::new(&guest, &state).unwrap();
    for cut in [0, 10, guest.len(), sent.bytes().len() - 1] {
        assert!(begin_warm(&sent.bytes()[..cut]).is_err(), "{cut}");
    }
}
