//! Guests: from a file to instances that serve requests, with their grants and limits.
//!
//! ```text
//! path ─→ code/ ─→ run/blueprint ─→ Generation ─→ run/smoke            load.rs drives this way
//!                    imports/ ┘         │
//!                                       │ sandbox/: what each instance is given
//!                                       ▼
//!                        request ─→ start ─→ run/instance: Running ─→ head, body
//! ```
//!
//! | room | holds | knows |
//! |---|---|---|
//! | `code/` | from bytes to compiled code | nothing of requests or grants |
//! | `sandbox/` | what one guest is given and may use | not `code/` |
//! | `imports/` | what a guest can call | `sandbox/` |
//! | `run/` | a guest at work | all three |
//!
//! May not know sockets, hyper's server, the lifecycle or the command line. Errors of wasmtime end
//! here.

mod code;
mod generation;
mod imports;
mod known_code;
mod load;
mod load_progress;
mod map_again;
mod run;
mod sandbox;
mod slot_size;
mod starts;
mod tick;
mod wanted;
mod warm_up;

pub use code::code_cache::CodeCacheSetting;
pub use code::code_loader::{Compiling, LoaderConfig, ReportCompile};
pub use code::compile_file::{CompiledFile, compile_file};
pub use code::epoch::EpochClock;
pub use code::footprint::Footprint;
pub use code::load_error::{FileSizeLimit, LoadError};
pub use code::rejected::{Rejected, Step};
pub use code::source::{Glance, Source, survey_file};
pub use code::survey::{Kind, Survey};
pub use code::vouch::VouchForFile;
pub use generation::{Generation, Surroundings};
pub use host_code::Urgency;
pub use host_manifest::{ComponentLimits, ReuseConfig};
pub use imports::abilities::{grant_warnings, manifest_grammar, provide_grants, useful_grants};
pub use imports::ability::{GrantResources, ImportUse, StopProcess};
pub(crate) use imports::keyvalue::buckets;
pub use imports::wasi_config::RouteConfig;
pub use load::{Held, Loader, Unmade};
pub use load_progress::LoadProgress;
pub use run::blueprint::{Blueprint, KeptCode};
pub use run::idle_room::IdleRoom;
pub use run::instance::Running;
pub use run::keeper::Keeper;
pub use run::settings::Settings;
pub use run::smoke::Smoke;
pub use sandbox::component_budgets::ComponentBudgets;
pub use sandbox::cpu_scheduler::{ComponentShare, CpuScheduler};
pub use sandbox::egress::{EgressHandler, NetworkEnd, NetworkSending};
pub use sandbox::grants::Grants;
pub use sandbox::guest_failure::{GuestFailure, GuestTrap, HookTime};
pub use sandbox::guest_log::{GuestLog, GuestLogs};
pub use sandbox::hops::Hops;
pub use sandbox::memory_budget::MemoryBudget;
pub use sandbox::next_handler::{NEXT_HOST, NextHandler, Passing};
pub use sandbox::retirement::{CutReason, Retirement};
pub use sandbox::served::ServedExchange;
pub use tick::TickCounter;
pub use wanted::Wanted;
pub use wasmtime_wasi_http::{Error as BodyError, WasiBody};
