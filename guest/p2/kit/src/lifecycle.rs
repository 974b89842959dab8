//! `host:lifecycle` for guests of wasi:http 0.2: what a guest may ask, and the hooks it may export.

/// Only what a guest uses of these becomes an import of it.
mod imports {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "imports-p2",
        with: { "wasi:io/poll@0.2.12": wasip2::io::poll },
    });
}

pub use imports::host::lifecycle::control;
pub use imports::host::lifecycle::drain_pollable::subscribe_drain;

/// Returns when the end of this instance has been decided.
pub fn drain_begun() {
    subscribe_drain().block();
}

// A module for each hook, because each is a world of its own: a guest has the hooks it exports, and
// no other.

#[doc(hidden)]
pub mod start {
    wit_bindgen::generate!({ path: "../../../wit", world: "start-p2", pub_export_macro: true });
}

#[doc(hidden)]
pub mod drain {
    wit_bindgen::generate!({ path: "../../../wit", world: "drain-p2", pub_export_macro: true });
}

#[doc(hidden)]
pub mod shutdown {
    wit_bindgen::generate!({ path: "../../../wit", world: "shutdown-p2", pub_export_macro: true });
}

/// Exports `fn() -> Result<(), String>` as the hook `on-start`.
#[macro_export]
macro_rules! on_start {
    ($hook:path) => {
        struct OnStart;

        impl $crate::lifecycle::start::exports::host::lifecycle::on_start::Guest for OnStart {
            fn on_start() -> Result<(), String> {
                $hook()
            }
        }

        $crate::lifecycle::start::export!(OnStart with_types_in $crate::lifecycle::start);
    };
}

/// Exports `fn(milliseconds_left: u64)` as the hook `on-drain`.
#[macro_export]
macro_rules! on_drain {
    ($hook:path) => {
        struct OnDrain;

        impl $crate::lifecycle::drain::exports::host::lifecycle::on_drain::Guest for OnDrain {
            fn on_drain(milliseconds_left: u64) {
                $hook(milliseconds_left)
            }
        }

        $crate::lifecycle::drain::export!(OnDrain with_types_in $crate::lifecycle::drain);
    };
}

/// Exports `fn(milliseconds_left: u64)` as the hook `on-shutdown`.
#[macro_export]
macro_rules! on_shutdown {
    ($hook:path) => {
        struct OnShutdown;

        impl $crate::lifecycle::shutdown::exports::host::lifecycle::on_shutdown::Guest
            for OnShutdown
        {
            fn on_shutdown(milliseconds_left: u64) {
                $hook(milliseconds_left)
            }
        }

        $crate::lifecycle::shutdown::export!(OnShutdown with_types_in $crate::lifecycle::shutdown);
    };
}
