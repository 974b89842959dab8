//! The abilities of guests, each with a file of its own. A new one takes that file and one line here.

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

/// What a manifest may say, given what there is to be granted.
#[must_use]
pub fn manifest_grammar() -> &'static Grammar {
    static GRAMMAR: LazyLock<Grammar> =
        LazyLock::new(|| Grammar::new(ABILITIES.iter().map(|ability| ability.syntax())));
    &GRAMMAR
}

/// Makes ready what a component is granted. Blocks.
///
/// # Errors
/// The first grant that cannot be had, with the reason.
pub fn provide_grants(
    component: &ComponentConfig,
    resources: &GrantResources<'_>,
) -> Result<Grants, String> {
    let provide = |ability: &&dyn Ability| ability.provide(component, resources).transpose();
    let granted: Vec<Arc<_>> = ABILITIES.iter().filter_map(provide).collect::<Result<_, _>>()?;
    Ok(Grants::new(component.grants.stdio, granted))
}

/// The grants that a component with these imports may be about to use, each word once. Nothing is granted
/// unless an operator does so, and every import is there all the same.
#[must_use]
pub fn useful_grants(imports: &[String]) -> Vec<ImportUse> {
    let uses = ABILITIES.iter().flat_map(|ability| ability.uses());
    let mut useful: Vec<ImportUse> = Vec::new();
    for import in uses.filter(|it| imports.iter().any(|name| name.starts_with(it.prefix))) {
        if !useful.iter().any(|other| other.grant == import.grant) {
            useful.push(*import);
        }
    }
    useful
}

/// What an operator should know of the grants of a component with these imports: sentences for
/// `host check`.
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

/// Links the imports of all of them; `concurrency` says that the engine has component-model async.
pub(crate) fn link(linker: &mut Linker<GuestState>, concurrency: bool) -> wasmtime::Result<()> {
    for ability in ABILITIES {
        ability.link(linker)?;
        if concurrency {
            ability.link_async(linker)?;
        }
    }
    Ok(())
}
