//! Environment variables and arguments.

use std::sync::Arc;

use host_manifest::abilities::{AbilitySyntax, ENVIRONMENT};
use host_manifest::{ComponentConfig, EnvironmentConfig};
use wasmtime_wasi::WasiCtxBuilder;

use super::ability::{Ability, GrantResources, ImportUse};
use crate::component::sandbox::grants::Grant;

/// The ability.
pub(super) struct EnvironmentAbility;

/// Values may be secret, so they are not printed.
struct Environment(EnvironmentConfig);

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Environment")
    }
}

impl Grant for Environment {
    fn build(&self, builder: &mut WasiCtxBuilder) {
        for (name, value) in &self.0.env {
            builder.env(name, value.reveal());
        }
        builder.args(&self.0.args);
    }
}

impl Ability for EnvironmentAbility {
    fn syntax(&self) -> AbilitySyntax {
        ENVIRONMENT
    }

    fn words(&self) -> &'static [&'static str] {
        &["env", "args"]
    }

    fn uses(&self) -> &'static [ImportUse] {
        // One import brings both; most programs need the variables.
        &[ImportUse {
            prefix: "wasi:cli/environment",
            what: "environment variables",
            grant: "env",
            example: "env = { NAME = \"value\" }",
        }]
    }

    fn provide(
        &self,
        component: &ComponentConfig,
        _: &GrantResources<'_>,
    ) -> Result<Option<Arc<dyn Grant>>, String> {
        let granted: Option<&EnvironmentConfig> = component.grants.get();
        Ok(granted.map(|config| Arc::new(Environment(config.clone())) as _))
    }
}
