//! The abilities of guests that this crate reads. Each has one file: its keys as they are written, their
//! checks, and its config.
//!
//! The host has the other half of each, its grant and its imports, under the same name. There are two files
//! because manifests are tested and fuzzed without wasmtime. An ability may also have both halves in one file.

mod bucket_form;
mod directories;
mod environment;
mod keyvalue;
mod name_lookup;
mod outgoing;
mod request_shutdown;
mod tcp;
mod wasi_config;

pub use directories::{DirectoriesConfig, DirectoryConfig};
pub use environment::EnvironmentConfig;
pub use keyvalue::{BucketConfig, KeyValueConfig, Namespace};
pub use name_lookup::NameLookupConfig;
pub use outgoing::{InjectedHeaders, OutgoingConfig};
pub use request_shutdown::RequestShutdownConfig;
pub use tcp::TcpConfig;
pub(crate) use wasi_config::{WrittenConfig, read_config};

pub use crate::grants::AbilityConfig;
pub use crate::parse::ability::{AbilitySyntax, AbilityTable, KeyTable};
pub use crate::parse::reader::Reader;
pub use crate::parse::spanned::{Form, Spanned, Written};
/// For `derive(JsonSchema)` of tables in other crates.
pub use schemars;

/// `env` and `args`.
pub const ENVIRONMENT: AbilitySyntax = AbilitySyntax::new::<environment::EnvironmentTable>();
/// `config`.
pub const WASI_CONFIG: AbilitySyntax = AbilitySyntax::new::<wasi_config::WasiConfigTable>();
/// `grants.directories`.
pub const DIRECTORIES: AbilitySyntax = AbilitySyntax::new::<directories::DirectoriesTable>();
/// `grants.outgoing`.
pub const OUTGOING: AbilitySyntax = AbilitySyntax::new::<outgoing::OutgoingTable>();
/// `grants.tcp`.
pub const TCP: AbilitySyntax = AbilitySyntax::new::<tcp::TcpTable>();
/// `grants.name-lookup`.
pub const NAME_LOOKUP: AbilitySyntax = AbilitySyntax::new::<name_lookup::NameLookupTable>();
/// `grants.keyvalue`.
pub const KEYVALUE: AbilitySyntax = AbilitySyntax::new::<keyvalue::KeyValueTable>();
/// `grants.request-shutdown`.
pub const REQUEST_SHUTDOWN: AbilitySyntax =
    AbilitySyntax::new::<request_shutdown::RequestShutdownTable>();

/// All abilities, in the order in which `host check` shows them.
pub const ALL: [AbilitySyntax; 8] =
    [ENVIRONMENT, DIRECTORIES, TCP, NAME_LOOKUP, OUTGOING, WASI_CONFIG, KEYVALUE, REQUEST_SHUTDOWN];
