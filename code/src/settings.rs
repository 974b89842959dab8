//! The settings of the compiler, which the compiling child and the running process share.

use sha2::{Digest as _, Sha256};
use std::num::NonZeroUsize;

use wasmtime::{Config, WasmBacktraceDetails};

/// Frames of a backtrace: a panic of Rust has eight of its own, and what recurses is told by fewer.
const FRAMES: Option<NonZeroUsize> = NonZeroUsize::new(64);

/// The settings of the compiler, for any pool. `concurrency` is for guests that use component-model async.
#[must_use]
pub fn settings(concurrency: bool) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(concurrency)
        .wasm_component_model_async(concurrency)
        // Compiled in, because builds of 48.0.8 without them have aborts of their own (advisories
        // rc4p and 2674), but off: guests that need them are rare, and each is surface.
        .gc_support(false)
        .wasm_gc(false)
        .wasm_threads(false)
        .wasm_memory64(false)
        // Calls between the parts of a composed component copy from memory to memory.
        .wasm_multi_memory(true)
        .native_unwind_info(false)
        // Lines come from our own table, which the compiling child makes (docs/adr/0044): wasmtime would copy the DWARF
        // into each process, and read it anew for each frame of each trap. Unset, a variable of the environment decides,
        // and that of the child is empty.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(FRAMES);
    config
}

/// SHA-256 of the bytes of a component.
#[must_use]
pub fn component_digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
