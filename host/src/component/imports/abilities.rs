//! The list of abilities, each in a file of its own. A new ability takes that file and one line here.

use std::sync::{Arc, LazyLock};

use host_manifest::{ComponentConfig, Grammar};
use wasmtime::component::Linker;

use super::ability::{Ability, GrantResources, ImportUse};
use super::directories::DirectoriesAbility;
use super::environment::EnvironmentAbility;
use super::keyvalue::KeyValueAbility;
use super::name_lookup::NameLookupAbility;
use super::outgoing::OutgoingAbility;
use super::request_shutdown::RequestShutdownAbility;
use super::tcp::TcpAbility;
use super::wasi_config::WasiConfigAbility;
use crate::component::sandbox::grants::Grants;
use crate::component::sandbox::state::GuestState;

/// All of them, in the order in which `host check` shows them.
const ABILITIES: &[&dyn Ability] = &[
    &EnvironmentAbility,
    &DirectoriesAbility,
    &TcpAbility,
    &NameLookupAbility,
    &OutgoingAbility,
    &WasiConfigAbility,
    &KeyValueAbility,
    &RequestShutdownAbility,
];

/// The grammar of a manifest, made of all abilities.
#[must_use]
pub fn manifest_grammar() -> &'static Grammar {
    static GRAMMAR: LazyLock<Grammar> =
        LazyLock::new(|| Grammar::new(ABILITIES.iter().map(|ability| ability.syntax())));
    &GRAMMAR
}

/// Prepares the grants of a component. Blocks.
///
/// # Errors
/// The first grant that cannot be provided, with the reason.
pub fn provide_grants(
    component: &ComponentConfig,
    resources: &GrantResources<'_>,
) -> Result<Grants, String> {
    let provide = |ability: &&dyn Ability| ability.provide(component, resources).transpose();
    let granted: Vec<Arc<_>> = ABILITIES.iter().filter_map(provide).collect::<Result<_, _>>()?;
    Ok(Grants::new(component.grants.stdio, granted))
}

/// The grants that a component with these imports may need, each word once. The host links every import
/// to every component, but grants nothing that the operator has not.
#[must_use]
pub fn useful_grants(imports: &[String]) -> Vec<ImportUse> {
    let uses = ABILITIES.iter().flat_map(|ability| ability.uses());
    let mut useful: Vec<ImportUse> = Vec::new();
    for import in uses.filter(|import| imports.iter().any(|name| name.starts_with(import.prefix))) {
        if !useful.iter().any(|other| other.grant == import.grant) {
            useful.push(*import);
        }
    }
    useful
}

/// Warnings about the grants of a component with these imports: sentences for `host check`.
#[must_use]
pub fn grant_warnings(component: &ComponentConfig, imports: Option<&[String]>) -> Vec<String> {
    let mut warnings: Vec<String> =
        ABILITIES.iter().flat_map(|ability| ability.warnings(component)).collect();
    let Some(imports) = imports else { return warnings };
    let name = &component.name;
    let is_used = |word: &str| {
        let mut abilities = ABILITIES.iter().filter(|ability| ability.words().contains(&word));
        abilities.any(|ability| ability.is_used_by(imports))
    };
    for (word, _) in component.grants.summary().into_iter().filter(|(word, _)| !is_used(word)) {
        warnings.push(format!(
            "component {name}: it is granted {word} and can never use it, because it imports nothing \
             for that: remove the grant"
        ));
    }
    warnings
}

/// Links the imports of all abilities. `concurrency` says that the engine has component-model async.
pub(crate) fn link(linker: &mut Linker<GuestState>, concurrency: bool) -> wasmtime::Result<()> {
    for ability in ABILITIES {
        ability.link(linker)?;
        if concurrency {
            ability.link_async(linker)?;
        }
    }
    Ok(())
}
