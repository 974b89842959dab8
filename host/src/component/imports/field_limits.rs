//! Bounds the texts of a request that a guest makes, because the host keeps them outside the guest's
//! memory. wasmtime takes a method or an authority of any length.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::WasiHttpView as _;

use crate::component::sandbox::state::GuestState;

/// Bytes of a method or an authority. A host name has at most 255 (RFC 1035 §2.3.4), a port 5, and methods
/// are words (RFC 9110 §9).
const MAX_TEXT: usize = 512;

/// Links the two functions again, for requests of this type.
macro_rules! bound {
    ($types:expr, $set_method:literal, $set_authority:literal, $request:ty, $method:ident) => {{
        let mut types = $types;
        types.func_wrap(
            $set_method,
            |mut store, (request, method): (Resource<$request>, $method)| match &method {
                $method::Other(text) if text.len() > MAX_TEXT => Ok((Err(()),)),
                _ => Ok((store.data_mut().http().set_method(request, method)?,)),
            },
        )?;
        types.func_wrap(
            $set_authority,
            |mut store, (request, authority): (Resource<$request>, Option<String>)| {
                if authority.as_ref().is_some_and(|text| text.len() > MAX_TEXT) {
                    return Ok((Err(()),));
                }
                Ok((store.data_mut().http().set_authority(request, authority)?,))
            },
        )
    }};
}

/// Links the functions for guests of every kind.
pub(crate) fn add_p2(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    use wasmtime_wasi_http::p2::bindings::http::types::{
        HostOutgoingRequest as _, Method, OutgoingRequest,
    };

    bound!(
        linker.instance("wasi:http/types@0.2.12")?,
        "[method]outgoing-request.set-method",
        "[method]outgoing-request.set-authority",
        OutgoingRequest,
        Method
    )
}

/// Links the functions that need an engine with component-model async.
pub(crate) fn add_p3(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    use wasmtime_wasi_http::p3::Request;
    use wasmtime_wasi_http::p3::bindings::http::types::{HostRequest as _, Method};

    bound!(
        linker.instance("wasi:http/types@0.3.0")?,
        "[method]request.set-method",
        "[method]request.set-authority",
        Request,
        Method
    )
}
