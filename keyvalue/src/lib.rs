//! Backends of `wasi:keyvalue`.
