//! `host:lifecycle` for guests of wasi:http 0.3: what a guest may ask, and the hooks it may export.

/// Only what a guest uses of these becomes an import of it.
mod imports {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "imports-p3",
    });
}

pub use imports::host::lifecycle::control;
pub use imports::host::lifecycle::drain_async::drain_begun;

// A module for each hook, because each is a world of its own: a guest has the hooks it exports, and
// no other.

#[doc(hidden)]
pub mod start {
    wit_bindgen::generate!({ path: "../../../wit", world: "start-p3", pub_export_macro: true });
}

#[doc(hidden)]
pub mod drain {
    wit_bindgen::generate!({ path: "../../../wit", world: "drain-p3", pub_export_macro: true });
}

#[doc(hidden)]
pub mod shutdown {
    wit_bindgen::generate!({ path: "../../../wit", world: "shutdown-p3", pub_export_macro: true });
}

/// Exports `async fn() -> Result<(), String>` as the hook `on-start-async`.
#[macro_export]
macro_rules! on_start {
    ($hook:path) => {
        struct OnStart;

        impl $crate::lifecycle::start::exports::host::lifecycle::on_start_async::Guest for OnStart {
            async fn on_start() -> Result<(), String> {
                $hook().await
            }
        }

        $crate::lifecycle::start::export!(OnStart with_types_in $crate::lifecycle::start);
    };
}

/// Exports `async fn(milliseconds_left: u64)` as the hook `on-drain-async`.
#[macro_export]
macro_rules! on_drain {
    ($hook:path) => {
        struct OnDrain;

        impl $crate::lifecycle::drain::exports::host::lifecycle::on_drain_async::Guest for OnDrain {
            async fn on_drain(milliseconds_left: u64) {
                $hook(milliseconds_left).await
            }
        }

        $crate::lifecycle::drain::export!(OnDrain with_types_in $crate::lifecycle::drain);
    };
}

/// Exports `async fn(milliseconds_left: u64)` as the hook `on-shutdown-async`.
#[macro_export]
macro_rules! on_shutdown {
    ($hook:path) => {
        struct OnShutdown;

        impl $crate::lifecycle::shutdown::exports::host::lifecycle::on_shutdown_async::Guest
            for OnShutdown
        {
            async fn on_shutdown(milliseconds_left: u64) {
                $hook(milliseconds_left).await
            }
        }

        $crate::lifecycle::shutdown::export!(OnShutdown with_types_in $crate::lifecycle::shutdown);
    };
}
