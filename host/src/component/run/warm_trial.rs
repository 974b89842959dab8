//! What an instance has in its memory and its globals behind its `on-start`, read through the exports that a compiler's
//! child has added (`host_code::ACCESS`).

use std::time::Duration;

use host_code::{ACCESS, HANDLES, TAKE_ONE, WarmPart, WarmState};
use thiserror::Error;
use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{ComponentExportIndex, Instance, Val, WasmList};
use wasmtime_wasi::p2::DynOutputStream;

use super::trial::Trial;
use crate::component::sandbox::guest_failure::GuestFailure;
use crate::component::sandbox::state::GuestState;

/// Between two looks whether a guest still works.
const LOOK: Duration = Duration::from_millis(1);

/// Why there is no state to begin with.
#[derive(Debug, Error)]
pub(crate) enum NoState {
    /// Its `on-start` failed.
    #[error("{0}")]
    NotStarted(GuestFailure),
    /// A handle would lead nowhere in another instance.
    #[error(
        "behind its on-start it holds handles, which are of that one instance ({0}); have it drop them before it returns"
    )]
    Holds(String),
    /// Its memory or its globals cannot be read.
    #[error("what is in its memory cannot be read: {0}")]
    Unread(GuestFailure),
}

impl Trial {
    /// Runs `on-start`, and reads what the instance then has in its memory and its globals.
    pub(crate) async fn warm_up(mut self) -> Result<WarmState, NoState> {
        let (hooks, limit) = (&self.code.hooks, self.blueprint.limits().hook);
        let before = tasks(&mut self.store);
        let started = hooks.start(&mut self.store, &self.instance, limit).await;
        started.map_err(|why| NoState::NotStarted(self.failure(why)))?;
        // Bodies are copied within limits of their own. This is the whole memory at once, and not copied.
        self.store.set_hostcall_fuel(usize::MAX);
        settle(&mut self.store, before, limit).await;
        // A call that fails leaves some itself.
        let running = tasks(&mut self.store).saturating_sub(before);
        if take_a_handle(&mut self.store, &self.instance).await.is_err() {
            return Err(NoState::Holds(handles(&mut self.store, running)));
        }
        let state = read(&mut self.store, &self.instance).await;
        state.map_err(|why| NoState::Unread(self.failure(why)))
    }

    fn failure(&self, why: wasmtime::Error) -> GuestFailure {
        GuestFailure::from_error(&self.store.data().explain(why))
    }
}

/// How many calls, streams and futures are open.
fn tasks(store: &mut Store<GuestState>) -> usize {
    store.concurrent_resource_table().map_or(0, |table| table.iter_mut().count())
}

/// Lets what `on-start` has begun come to its end.
async fn settle(store: &mut Store<GuestState>, before: usize, limit: Duration) {
    let settled = async {
        while tasks(store) > before {
            // An error ends the guest, which is found next.
            if store.run_concurrent(async |_| tokio::time::sleep(LOOK).await).await.is_err() {
                break;
            }
        }
    };
    // What still runs then holds a handle.
    host_clock::timeout(limit, settled).await.ok();
}

/// Takes a handle in a store that may have no other one. A call holds one itself, where calls are concurrent.
async fn take_a_handle(store: &mut Store<GuestState>, instance: &Instance) -> wasmtime::Result<()> {
    let calls = usize::from(store.concurrent_resource_table().is_some());
    let most = store.max_component_handles();
    store.set_max_component_handles(calls + 1);
    let taker = exported(store, instance, HANDLES)?;
    let index = instance.get_export_index(&mut *store, Some(&taker), TAKE_ONE);
    let index = index.ok_or_else(|| missing(TAKE_ONE))?;
    let take = instance.get_typed_func::<(), ()>(&mut *store, index)?;
    take.call_async(&mut *store, ()).await?;
    store.set_max_component_handles(most);
    Ok(())
}

/// What is known of the handles that it holds.
fn handles(store: &mut Store<GuestState>, running: usize) -> String {
    let resources: Vec<bool> =
        store.data_mut().table().iter_mut().map(|one| one.is::<DynOutputStream>()).collect();
    let streams = resources.iter().filter(|is_stream| **is_stream).count();
    let held = [
        ("output streams (what it prints goes through one)", streams),
        ("other resources of the host", resources.len() - streams),
        ("parts of calls, streams or futures that have not ended", running),
    ];
    let said: Vec<String> = held
        .iter()
        .filter(|(_, many)| *many > 0)
        .map(|(what, many)| format!("{what}: {many}"))
        .collect();
    if said.is_empty() { "resources of its own".into() } else { said.join(", ") }
}

async fn read(store: &mut Store<GuestState>, instance: &Instance) -> wasmtime::Result<WarmState> {
    let access = exported(store, instance, ACCESS)?;
    let mut state = WarmState::default();
    for (name, index) in functions(store, instance, &access)? {
        if name.starts_with("memory") {
            let memory = instance.get_typed_func::<(), (WasmList<u8>,)>(&mut *store, index)?;
            let (memory,) = memory.call_async(&mut *store, ()).await?;
            state.add_memory(&name, memory.as_le_slice(&*store));
            continue;
        }
        let global = instance.get_func(&mut *store, index).ok_or_else(|| missing(&name))?;
        let mut value = [Val::Bool(false)];
        global.call_async(&mut *store, &[], &mut value).await?;
        let [value] = value;
        state.add(&name, part(&value).ok_or_else(|| missing(&name))?);
    }
    Ok(state)
}

fn part(value: &Val) -> Option<WarmPart> {
    match value {
        Val::S32(value) => Some(WarmPart::S32(*value)),
        Val::S64(value) => Some(WarmPart::S64(*value)),
        Val::Float32(value) => Some(WarmPart::F32(value.to_bits())),
        Val::Float64(value) => Some(WarmPart::F64(value.to_bits())),
        _ => None,
    }
}

/// The functions that an exported instance has.
fn functions(
    store: &mut Store<GuestState>,
    instance: &Instance,
    access: &ComponentExportIndex,
) -> wasmtime::Result<Vec<(String, ComponentExportIndex)>> {
    let Some((ComponentItem::ComponentInstance(has), _)) =
        instance.get_export(&mut *store, None, ACCESS)
    else {
        return Err(missing(ACCESS));
    };
    let engine = store.engine().clone();
    let names: Vec<String> = has.exports(&engine).map(|(name, _)| name.to_owned()).collect();
    names
        .into_iter()
        .map(|name| {
            let index = instance.get_export_index(&mut *store, Some(access), &name);
            let index = index.ok_or_else(|| missing(&name))?;
            Ok((name, index))
        })
        .collect()
}

fn exported(
    store: &mut Store<GuestState>,
    instance: &Instance,
    name: &str,
) -> wasmtime::Result<ComponentExportIndex> {
    instance.get_export_index(&mut *store, None, name).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("the compiler has added no {name}"))
}
