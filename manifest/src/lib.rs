//! The manifest of `host`: what is served, where, with which grants and limits.
//!
//! ```text
//! host.toml ─→ parse ─→ Manifest (checked)
//!                 └───→ ManifestError: file, line and what to do
//! ```
//!
//! A crate of its own, because it needs nothing of the host: it is tested and fuzzed in seconds.

pub mod abilities;
mod canary;
mod checks;
mod compress;
mod config_values;
pub mod defaults;
mod error;
pub mod escape;
mod grants;
mod headers;
mod limit;
mod listener;
mod log;
mod model;
pub mod outgoing;
mod overlap;
mod parse;
mod profile;
mod rate_limit;
mod registry;
pub mod routes;
mod secret;
mod stamp;
mod text;
mod trace;
mod units;

pub use abilities::{
    BucketConfig, DirectoriesConfig, DirectoryConfig, EnvironmentConfig, InjectedHeaders,
    KeyValueConfig, NameLookupConfig, Namespace, OutgoingConfig, RequestShutdownConfig, TcpConfig,
};
pub use canary::{
    AbortRule, AbortRules, CanaryConfig, CanaryOverrides, LatencyLimit, Stickiness, TrafficShare,
};
pub use checks::LimitFault;
pub use compress::CompressConfig;
pub use config_values::{ConfigLine, ConfigValue, WasiConfigValues};
pub use error::{ManifestError, Problem};
pub use grants::{GrantsConfig, Stdio};
pub use headers::{HeaderRules, RouteHeaders};
pub use host_forwarded::{TrustedProxies, TrustedProxy};
pub use limit::{LimitKey, LimitReached, exact_size};
pub use listener::{
    AlpnProtocol, CertificateConfig, ClientAuth, ClientCertificates, ListenerConfig, SniName,
    TlsConfig, TlsVersion,
};
pub use log::{AccessLogFormat, AccessLogTarget, LogConfig, LogFilter, LogFormat};
pub use model::*;
pub use overlap::Overlap;
pub use parse::{
    BucketFlag, DirectoryFlag, FlagFault, Grammar, GrantFlags, PairFlag, is_remote, load, parse,
    schema,
};
pub use profile::{ProfileLimits, STRICT};
pub use rate_limit::{Rate, RateLimitConfig, RateLimitKey, RateOrOff, RatePeriod};
pub use registry::{RegistryConfig, TrustConfig};
pub use secret::Secret;
pub use stamp::Stamp;
pub use trace::{OtlpEndpoint, TraceConfig, TraceSample};
pub use units::{
    ByteSize, DashboardAddr, DurationOrOff, GrantFlag, HealthAddr, HumanDuration, ListenAddr,
    LogRateOrOff, MinRateConfig, MinRateOrOff, SmokeCheck,
};
