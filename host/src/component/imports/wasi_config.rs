//! `wasi:config/store`: the values under `config` in the manifest.

use std::fmt;
use std::sync::{Arc, LazyLock};

use host_manifest::abilities::{AbilitySyntax, WASI_CONFIG};
use host_manifest::{ComponentConfig, WasiConfigValues};
use wasmtime::component::Linker;
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};

use super::ability::{Ability, GrantResources, ImportUse};
use crate::component::sandbox::grants::Grant;
use crate::component::sandbox::state::GuestState;

/// The ability.
pub(super) struct WasiConfigAbility;

/// Values may be secret, so they are not printed.
struct ConfigGrant(WasiConfigVariables);

impl fmt::Debug for ConfigGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConfigGrant")
    }
}

impl Grant for ConfigGrant {}

/// What `wasi:config` answers a plugin on one route. Cheap to clone.
#[derive(Clone)]
pub struct RouteConfig(Arc<WasiConfigVariables>);

impl RouteConfig {
    /// These values, and no others.
    #[must_use]
    pub fn new(values: &WasiConfigValues) -> Self {
        Self(Arc::new(variables(values)))
    }
}

impl fmt::Debug for RouteConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RouteConfig")
    }
}

fn variables(values: &WasiConfigValues) -> WasiConfigVariables {
    values.0.iter().map(|it| (it.key.clone(), it.value.reveal().to_owned())).collect()
}

static NOTHING: LazyLock<WasiConfigVariables> = LazyLock::new(WasiConfigVariables::new);

fn view(state: &mut GuestState) -> WasiConfig<'_> {
    if let Some(RouteConfig(own)) = state.own::<RouteConfig>() {
        return WasiConfig::new(own);
    }
    WasiConfig::new(state.grants().get::<ConfigGrant>().map_or(&*NOTHING, |grant| &grant.0))
}

impl Ability for WasiConfigAbility {
    fn syntax(&self) -> AbilitySyntax {
        WASI_CONFIG
    }

    fn words(&self) -> &'static [&'static str] {
        &["config"]
    }

    fn uses(&self) -> &'static [ImportUse] {
        &[ImportUse {
            prefix: "wasi:config/",
            what: "configuration",
            grant: "config",
            example: "config = { name = \"value\" }",
        }]
    }

    fn provide(
        &self,
        component: &ComponentConfig,
        _: &GrantResources<'_>,
    ) -> Result<Option<Arc<dyn Grant>>, String> {
        let granted: Option<&WasiConfigValues> = component.grants.get();
        Ok(granted.map(|values| Arc::new(ConfigGrant(variables(values))) as _))
    }

    fn link(&self, linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        wasmtime_wasi_config::add_to_linker(linker, view)
    }
}
