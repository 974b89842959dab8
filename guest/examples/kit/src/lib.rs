//! What the plugins beside this have in common: their configuration, read once and refused with a sentence when the
//! component is loaded; its JSON Schema, carried in the component; and messages taken apart and put together.
//!
//! A plugin on it:
//!
//! ```ignore
//! kit::plugin!(Settings, handle, schema: "../config.schema.json");
//!
//! struct Settings { greeting: String }
//!
//! impl kit::Settings for Settings {
//!     fn read(config: &mut kit::Config) -> Result<Self, String> {
//!         Ok(Self { greeting: config.needed("greeting")? })
//!     }
//! }
//!
//! async fn handle(settings: &'static Settings, request: kit::Request) -> kit::Answer {
//!     let parts = kit::Parts::of(request);
//!     kit::set(&parts.headers, "x-greeting", settings.greeting.as_bytes())?;
//!     kit::next(parts.whole()?).await
//! }
//! ```

mod config;
mod headers;
mod imports;
mod message;

#[doc(hidden)]
pub mod start {
    wit_bindgen::generate!({ path: "../../../wit", world: "start-p3", pub_export_macro: true });
}

pub use config::{Config, Settings};
pub use headers::{check_name, client, dashed, only, remove, set};
pub use imports::wasi::http::handler::handle as next;
pub use imports::wasi::keyvalue::{atomics, batch, store};
pub use message::{Parts, Trailers, response_with, status, text};
pub use wasip3;
pub use wasip3::http::types::{ErrorCode, Fields, Request, Response};

pub type Answer = Result<Response, ErrorCode>;

/// Our failure and not the client's: `fail` of the manifest decides what the client gets.
pub fn failed(why: impl ToString) -> ErrorCode {
    ErrorCode::InternalError(Some(why.to_string()))
}

/// Opens the bucket `name`. The error says what to write into the manifest; for `on-start`.
pub fn granted(name: &str) -> Result<(), String> {
    match store::open(name) {
        // A store that is away for a while is no reason to refuse the component.
        Ok(_) | Err(store::Error::Other(_)) => Ok(()),
        Err(_) => Err(format!(
            "the bucket `{name}` is not granted: write [component.NAME.grants.keyvalue] with {name} = \"STORE\""
        )),
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    wasip3::clocks::system_clock::now().seconds.try_into().unwrap_or(0)
}

/// A line in the log.
pub async fn log(line: String) {
    let (mut stderr, bytes) = wasip3::wit_stream::new();
    let written = wasip3::cli::stderr::write_via_stream(bytes);
    stderr.write_all(format!("{line}\n").into_bytes()).await;
    drop(stderr);
    // Nobody can be told that it is not written.
    let _ = written.await;
}

/// What a plugin does at its start that has nothing to do.
#[doc(hidden)]
pub async fn ready<S>(_: &'static S) {}

/// Exports `handle(&'static S, Request) -> Answer` as the component's handler, and reads its settings in the hook
/// `on-start`: what they refuse, the host refuses to load. The file is the JSON Schema of the configuration; it lands in
/// a custom section of the core module, which the component keeps.
///
/// `start: prepare` names an `async fn(&'static S)` that `on-start` calls with good settings.
#[macro_export]
macro_rules! plugin {
    ($settings:ty, $handle:path, schema: $schema:literal) => {
        $crate::plugin!($settings, $handle, start: $crate::ready, schema: $schema);
    };
    ($settings:ty, $handle:path, start: $start:path, schema: $schema:literal) => {
        struct Plugin;

        std::thread_local! {
            static SETTINGS: std::cell::OnceCell<&'static Result<$settings, String>> =
                const { std::cell::OnceCell::new() };
        }

        fn settings() -> Result<&'static $settings, &'static String> {
            let read = || &*std::boxed::Box::leak(std::boxed::Box::new($crate::Config::read()));
            SETTINGS.with(|settings| *settings.get_or_init(read)).as_ref()
        }

        impl $crate::wasip3::exports::http::handler::Guest for Plugin {
            async fn handle(request: $crate::Request) -> $crate::Answer {
                $handle(settings().map_err($crate::failed)?, request).await
            }
        }

        impl $crate::start::exports::host::lifecycle::on_start_async::Guest for Plugin {
            async fn on_start() -> Result<(), String> {
                $start(settings().map_err(String::clone)?).await;
                Ok(())
            }
        }

        $crate::wasip3::http::service::export!(Plugin);
        $crate::start::export!(Plugin with_types_in $crate::start);

        #[used]
        #[unsafe(link_section = "host:config-schema")]
        static CONFIG_SCHEMA: [u8; include_bytes!($schema).len()] = *include_bytes!($schema);
    };
}
