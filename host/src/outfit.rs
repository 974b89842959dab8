//! From what the manifest says of a component to what it is loaded with: its limits, and its grants
//! made real.

use std::net::SocketAddr;

use host_keyvalue::Stores;
use host_manifest::{ComponentConfig, LoadContext};
use host_outgoing::SystemResolver;

use crate::component::{
    CpuScheduler, GrantResources, Grants, IdleRoom, Keeper, MemoryBudget, Rejected, Settings,
    Smoke, Step, StopProcess, manifest_grammar, provide_grants,
};
use crate::config::{self, ServeConfig};
use crate::site::SiteBuilder;

/// What components are given comes from here. Shared by all loads of a process.
#[derive(Clone, Debug)]
pub(crate) struct Outfit {
    /// Components have names of their own; else they go by their files.
    pub(crate) named: bool,
    /// Makes a stop wait for instances that are reused.
    pub(crate) keeper: Keeper,
    /// Of all guests together.
    pub(crate) memory: MemoryBudget,
    /// Where instances of all of them wait that are reused.
    pub(crate) idle: IdleRoom,
    /// The workers, shared by all components.
    pub(crate) turns: CpuScheduler,
    /// The right to stop the process.
    pub(crate) shutdown: StopProcess,
    /// Where buckets are kept.
    pub(crate) stores: Stores,
    /// Listeners of the process that no guest may reach.
    pub(crate) forbidden: Vec<SocketAddr>,
    /// Nothing is to be left behind: what would be in a database file is in memory.
    pub(crate) look: bool,
}

impl Outfit {
    /// For who only looks, maybe beside a host that serves the same: nothing waits, nobody is stopped,
    /// and no database is opened.
    pub(crate) fn for_a_look() -> Self {
        Self {
            named: false,
            keeper: Keeper::none(),
            memory: MemoryBudget::new(None, None),
            idle: IdleRoom::new(1),
            turns: CpuScheduler::new(1),
            shutdown: StopProcess::new(|| {}),
            stores: Stores::default(),
            forbidden: Vec::new(),
            look: true,
        }
    }

    /// What makes sites for the manifest of `config`, and reads it again where it has a file.
    pub(crate) fn site_builder(self, config: &ServeConfig) -> SiteBuilder {
        let builder =
            SiteBuilder::fixed(config.manifest.clone(), move |component| self.settings(component));
        let Some(file) = config.file.clone() else { return builder };
        let overrides = config.overrides.clone();
        let beside = LoadContext { own: overrides.own.clone(), total: Some(config.manifest.total) };
        builder.with_file(file.path.clone(), file.stamp, move || {
            let manifest =
                config::read(&file.path, manifest_grammar(), &beside).map_err(|why| Rejected {
                    passing: why.is_passing(),
                    ..Rejected::at(Step::Manifest, why.one_line())
                })?;
            Ok(overrides.apply(manifest))
        })
    }

    fn settings(&self, component: &ComponentConfig) -> Result<Settings, String> {
        let smoke = |config::SmokeCheck { method, path, status }: &config::SmokeCheck| {
            Smoke::new(method, path, *status)
                .map_err(|why| format!("smoke '{method} {path} {status}': {why}"))
        };
        let limits = component.limits;
        Ok(Settings {
            name: self.named.then(|| component.name.clone()),
            limits,
            memory: MemoryBudget::new(limits.memory_total, Some(self.memory.clone())),
            share: self.turns.share(),
            grants: self.grants(component)?,
            reuse: component.reuse,
            idle: self.idle.clone(),
            keeper: self.keeper.clone(),
            smoke: component.smoke.iter().map(smoke).collect::<Result<_, _>>()?,
        })
    }

    fn grants(&self, component: &ComponentConfig) -> Result<Grants, String> {
        let resources = GrantResources {
            stores: &self.stores,
            forbidden: &self.forbidden,
            stop: &self.shutdown,
            look: self.look,
            resolver: SystemResolver::new(),
        };
        provide_grants(component, &resources)
    }
}
