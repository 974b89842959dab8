//! Raw arguments in, one checked [`ServeConfig`] out. Every default is a named constant with its
//! reason.
//!
//! Knows no other part of the host; the others are handed what they need. What a manifest says has a
//! crate of its own; flags make a manifest of a single component.

pub mod args;
mod checked;
mod file;
mod log;

pub(crate) use args::check_remote;
pub use args::{
    CONNECTION_COLUMNS, CanaryAction, CanaryFlags, CanaryShare, CtlCommand, CtlConfig, CtlTarget,
    GENERATION_COLUMNS, KvAction, USAGE_COLUMNS,
};
pub use checked::{
    CacheSetting, CheckConfig, CompileConfig, ControlSetting, DevConfig, DrainTestConfig,
    InitConfig, LockConfig, LogOverrides, ManifestFile, NewConfig, Overrides, PushConfig,
    ServeConfig, SignConfig, VerifyConfig,
};
pub use file::read;
pub use host_manifest::{ListenAddr, ListenConfig, ListenerConfig, Manifest, SmokeCheck};
pub use log::BadLogFilter;

#[cfg(test)]
mod tests;
