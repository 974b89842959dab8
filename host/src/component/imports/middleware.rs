//! Passing a request on in a chain, for guests of wasi:http 0.3: they import the interface that they
//! export (`wasi:http/handler`, world `middleware`). Guests of 0.2 send to
//! [`NEXT_HOST`](crate::component::NEXT_HOST).

use wasmtime::component::{Accessor, HasSelf, Linker, Resource};
use wasmtime_wasi_http::WasiHttp;
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p3::bindings::http::client::HostWithStore as _;
use wasmtime_wasi_http::p3::bindings::http::types::{ErrorCode, Request, Response};

use crate::component::sandbox::state::GuestState;

mod bindings {
    #![allow(missing_docs, unreachable_pub, unused_qualifications, reason = "generated")]
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package host:chain;
            world plugin { import wasi:http/handler@0.3.0; }
        ",
        world: "host:chain/plugin",
        imports: {
            "wasi:http/handler.handle": store | async | trappable,
            default: trappable,
        },
        with: {
            "wasi:http/types": wasmtime_wasi_http::p3::bindings::http::types,
            "wasi:clocks/types": wasmtime_wasi::p3::bindings::clocks::types,
        },
        require_store_data_send: true,
    });
}

use bindings::wasi::http::handler;

/// Links it. Needs an engine with component-model async.
pub(crate) fn add(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    handler::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)
}

impl handler::Host for GuestState {}

impl handler::HostWithStore<GuestState> for HasSelf<GuestState> {
    async fn handle(
        accessor: &Accessor<GuestState, Self>,
        request: Resource<Request>,
    ) -> wasmtime::Result<Result<Resource<Response>, ErrorCode>> {
        let client = accessor.with_getter::<WasiHttp>(|state| state.http());
        let passing = WasiHttp::send(&client, request);
        // wasmtime's client reads this in the first poll of `send`, before other code can run.
        accessor.with(|mut access| access.get().hooks().pass_next(true));
        let sent = passing.await;
        accessor.with(|mut access| access.get().hooks().pass_next(false));
        match sent {
            Ok(response) => Ok(Ok(response)),
            Err(why) => why.downcast().map(Err),
        }
    }
}
