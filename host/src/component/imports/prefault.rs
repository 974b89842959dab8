//! The import of the module that the compiler appends to large components (crate `host_prefault`). No component can import
//! it itself: it is in no package that components may import from.

use host_prefault::{FUNCTION, INTERFACE};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList};

use crate::component::sandbox::prefault::GuestMemory;
use crate::component::sandbox::state::GuestState;
use crate::component::slot_size::WASM_PAGE;

/// Links it.
pub(crate) fn add(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    type Asked = (WasmList<u8>, u32);
    let next = |mut store: StoreContextMut<'_, GuestState>, (memory, size): Asked| {
        let address = memory.as_le_slice(&store).as_ptr().addr();
        let memory = GuestMemory { address, bytes: u64::from(size) * WASM_PAGE };
        Ok((store.data_mut().next_prefault(memory),))
    };
    linker.instance(INTERFACE)?.func_wrap(FUNCTION, next)
}
