//! Where components come from that are no files here, and who has to vouch for components.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::Secret;

/// How registries are spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryConfig {
    /// The file with what sources lead to.
    pub lock: PathBuf,
    /// Files with certificates of authorities, beside those of the system.
    pub authorities: Vec<PathBuf>,
    /// Docker's file with credentials; none for that of the user.
    pub docker_config: Option<PathBuf>,
    /// Credentials, by registry.
    pub logins: BTreeMap<String, Secret>,
    /// How often it is looked where a tag leads to; never if none.
    pub poll: Option<Duration>,
}

/// Who has to vouch for components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustConfig {
    /// Files with public keys.
    pub keys: Vec<PathBuf>,
    /// What none of them has signed is refused.
    pub require: bool,
}
