//! Imports from `host:lifecycle` (`wit/lifecycle.wit`): what a guest may know of its own end.

use wasmtime::component::{Accessor, HasSelf, Linker, Resource};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use super::request_shutdown;
use crate::component::sandbox::retirement::RetirementWatch;
use crate::component::sandbox::state::GuestState;

mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        trivial_numeric_casts,
        unused_qualifications,
        reason = "generated"
    )]
    pub(super) mod p2 {
        wasmtime::component::bindgen!({
            path: "../wit",
            world: "imports-p2",
            imports: { default: trappable },
            with: { "wasi:io": wasmtime_wasi::p2::bindings::io },
            require_store_data_send: true,
        });
    }
    pub(super) mod p3 {
        wasmtime::component::bindgen!({
            path: "../wit",
            world: "imports-p3",
            imports: {
                "host:lifecycle/drain-async.drain-begun": store | async | trappable,
                default: trappable,
            },
            with: { "host:lifecycle/control": super::p2::host::lifecycle::control },
            require_store_data_send: true,
        });
    }
}

use bindings::p2::host::lifecycle::{control, drain_pollable};
use bindings::p3::host::lifecycle::drain_async;

/// Links the functions for guests of every kind.
pub(crate) fn add_p2(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    control::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)?;
    drain_pollable::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)
}

/// Links the functions that need an engine with component-model async.
pub(crate) fn add_p3(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    drain_async::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)
}

impl control::Host for GuestState {
    fn draining(&mut self) -> wasmtime::Result<bool> {
        Ok(self.identity().retirement.is_ending())
    }

    fn deadline(&mut self) -> wasmtime::Result<Option<u64>> {
        let left = self.identity().retirement.left();
        Ok(left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)))
    }

    fn generation(&mut self) -> wasmtime::Result<String> {
        Ok(self.identity().label.clone())
    }

    fn request_shutdown(&mut self, reason: String) -> wasmtime::Result<()> {
        request_shutdown::request(self, &reason);
        Ok(())
    }
}

impl drain_pollable::Host for GuestState {
    fn subscribe_drain(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let begun = DrainBegun(self.identity().retirement.clone());
        let begun = self.table().push(begun)?;
        subscribe(self.table(), begun)
    }
}

struct DrainBegun(RetirementWatch);

#[wasmtime_wasi::async_trait]
impl Pollable for DrainBegun {
    async fn ready(&mut self) {
        self.0.ending().await;
    }
}

impl drain_async::Host for GuestState {}

impl<T: Send> drain_async::HostWithStore<T> for HasSelf<GuestState> {
    async fn drain_begun(accessor: &Accessor<T, Self>) -> wasmtime::Result<()> {
        let retirement = accessor.with(|mut access| access.get().identity().retirement.clone());
        retirement.ending().await;
        Ok(())
    }
}
