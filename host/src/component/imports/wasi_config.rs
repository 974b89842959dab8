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

static NOTHING: LazyLock<WasiConfigVariables> = LazyLock::new(WasiConfigVariables::new);

fn view(state: &mut GuestState) -> WasiConfig<'_> {
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
        &[ImportUse { prefix: "wasi:config/", what: "configuration", grant: "config" }]
    }

    fn provide(
        &self,
        component: &ComponentConfig,
        _: &GrantResources<'_>,
    ) -> Result<Option<Arc<dyn Grant>>, String> {
        let granted: Option<&WasiConfigValues> = component.grants.get();
        Ok(granted.map(|values| Arc::new(ConfigGrant(values.0.iter().cloned().collect())) as _))
    }

    fn link(&self, linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        wasmtime_wasi_config::add_to_linker(linker, view)
    }
}
