//! From what the manifest says of a component to what it is loaded with: its limits, and its grants
//! made real.

use host_manifest::Component;

use crate::component::{Grants, Keeper, MemoryBudget, Settings, ShutdownGrant, Smoke};
use crate::config::{self, Serve};
use crate::site::Outfitter;

/// What components are given comes from here. Shared by all loads of a process.
#[derive(Clone, Debug)]
pub(crate) struct Outfit {
    /// Components have names of their own; else they go by their files.
    pub(crate) named: bool,
    /// Makes a stop wait for instances that are reused.
    pub(crate) keeper: Keeper,
    /// Of all guests together.
    pub(crate) memory: MemoryBudget,
    /// The right to stop the process.
    pub(crate) shutdown: ShutdownGrant,
}

impl Outfit {
    /// For who only looks: nothing waits, nobody is stopped.
    pub(crate) fn for_a_look() -> Self {
        Self {
            named: false,
            keeper: Keeper::none(),
            memory: MemoryBudget::new(None, None),
            shutdown: ShutdownGrant::new(|| {}),
        }
    }

    /// What makes sites for the manifest of `config`, and reads it again where it has a file.
    pub(crate) fn outfitter(self, config: &Serve) -> Outfitter {
        let outfitter =
            Outfitter::fixed(config.manifest.clone(), move |component| self.settings(component));
        let Some(file) = config.file.clone() else { return outfitter };
        let over = config.over.clone();
        outfitter.read_by(file.clone(), move || {
            let manifest = config::read(&file).map_err(|why| why.one_line())?;
            Ok(over.lay_over(manifest))
        })
    }

    fn settings(&self, component: &Component) -> Result<Settings, String> {
        let smoke = |config::Smoke { method, path, status }: &config::Smoke| {
            Smoke::new(method, path, *status)
                .map_err(|why| format!("smoke '{method} {path} {status}': {why}"))
        };
        let limits = component.limits;
        Ok(Settings {
            name: self.named.then(|| component.name.clone()),
            limits,
            memory: MemoryBudget::new(limits.memory_total, Some(self.memory.clone())),
            grants: self.grants(component)?,
            reuse: component.reuse,
            keeper: self.keeper.clone(),
            smoke: component.smoke.iter().map(smoke).collect::<Result<_, _>>()?,
        })
    }

    fn grants(&self, component: &Component) -> Result<Grants, String> {
        let granted = &component.grants;
        Ok(Grants { request_shutdown: granted.request_shutdown.then(|| self.shutdown.clone()) })
    }
}
