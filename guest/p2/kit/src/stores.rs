//! Key-value and configuration. Only what a guest uses of these becomes an import of it.

mod imports {
    wit_bindgen::generate!({ path: "../../wit", world: "stores", generate_all });
}

pub use imports::host::keyvalue::extra;
pub use imports::wasi::config::store as config;
pub use imports::wasi::keyvalue::{atomics, batch, store};
