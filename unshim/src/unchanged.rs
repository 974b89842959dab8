//! Why a component is left as it is.

use thiserror::Error;

/// Why a component is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Unchanged(pub(crate) &'static str);

impl From<wasmparser::Error> for Unchanged {
    fn from(_: wasmparser::Error) -> Self {
        Self("it cannot be read")
    }
}

impl From<wasm_encoder::reencode::Error<Self>> for Unchanged {
    fn from(why: wasm_encoder::reencode::Error<Self>) -> Self {
        match why {
            wasm_encoder::reencode::Error::UserError(why) => why,
            _ => Self("a module of it cannot be written again"),
        }
    }
}
