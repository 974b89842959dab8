//! Makes the settings that a component is loaded with out of its entry in the manifest: its limits, and its
//! grants, opened.

use std::net::SocketAddr;
use std::sync::Arc;

use host_keyvalue::Stores;
use host_manifest::{ComponentConfig, LoadContext};
use host_outgoing::SystemResolver;
use host_telemetry::Traffic;

use crate::component::{
    ComponentBudgets, CpuScheduler, GrantResources, Grants, GuestLog, GuestLogs, IdleRoom, Keeper,
    MemoryBudget, Rejected, Settings, Smoke, Step, StopProcess, TickCounter, manifest_grammar,
    provide_grants,
};
use crate::config::{self, ServeConfig};
use crate::site::SiteBuilder;

/// What all components of a process draw on. Every load of the process shares it.
#[derive(Clone, Debug)]
pub(crate) struct Provisioner {
    /// Makes a stop wait for instances that are reused.
    pub(crate) keeper: Keeper,
    /// The memory of all guests together, by component.
    pub(crate) memory: ComponentBudgets,
    /// Where instances of all components wait that are reused.
    pub(crate) idle: IdleRoom,
    /// Shares the workers out among components.
    pub(crate) scheduler: CpuScheduler,
    /// The right to stop the process.
    pub(crate) shutdown: StopProcess,
    /// Where buckets are kept.
    pub(crate) stores: Stores,
    /// Listeners of the process that no guest may reach.
    pub(crate) forbidden: Vec<SocketAddr>,
    /// Where what they do is counted.
    pub(crate) traffic: Arc<Traffic>,
    /// Where guests print.
    pub(crate) logs: GuestLogs,
    /// Nothing is to be left behind: what would be in a database file is in memory.
    pub(crate) look: bool,
}

impl Provisioner {
    /// For a check, maybe beside a host that serves the same: no stop waits for it, it stops no process, and
    /// it opens no database. `ticks`: of the clock of guests.
    pub(crate) fn for_check(ticks: &TickCounter) -> Self {
        Self {
            keeper: Keeper::none(),
            memory: ComponentBudgets::new(MemoryBudget::new(None, None)),
            idle: IdleRoom::new(1),
            scheduler: CpuScheduler::new(1, ticks),
            shutdown: StopProcess::new(|| {}),
            stores: Stores::default(),
            forbidden: Vec::new(),
            traffic: Arc::default(),
            logs: GuestLogs::default(),
            look: true,
        }
    }

    /// What builds the site that the manifest of `config` asks for, and reads its file again, if there is one,
    /// at each reload.
    pub(crate) fn into_site_builder(self, config: &ServeConfig) -> SiteBuilder {
        let (manifest, traffic) = (config.manifest.clone(), self.traffic.clone());
        let workers = config.threads.get();
        let provision = move |component: &ComponentConfig| self.settings(component);
        let builder = SiteBuilder::fixed(manifest, workers, traffic, provision);
        let Some(file) = config.file.clone() else { return builder };
        let overrides = config.overrides.clone();
        let context = LoadContext {
            own: overrides.own.clone(),
            total: Some(config.manifest.total),
            check_remote: config::check_remote,
        };
        builder.with_file(file.path.clone(), file.stamp, move || {
            let manifest =
                config::read(&file.path, manifest_grammar(), &context).map_err(|why| Rejected {
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
        let usage = self.traffic.component(&component.name).usage().clone();
        let all_memory = self.memory.component(&component.name);
        Ok(Settings {
            log: self.log(component)?,
            name: component.name.clone(),
            limits,
            memory: MemoryBudget::new(limits.memory_total, Some(all_memory.clone())),
            all_memory,
            share: self.scheduler.share(usage.clone()),
            usage,
            grants: self.grants(component)?,
            has_egress: component.egress.is_some(),
            config: component.grants.get().cloned().unwrap_or_default(),
            route_configs: component.route_configs.clone(),
            reuse: component.reuse,
            snapshot: component.snapshot,
            idle: self.idle.clone(),
            keeper: self.keeper.clone(),
            smoke: component.smoke.iter().map(smoke).collect::<Result<_, _>>()?,
        })
    }

    fn log(&self, component: &ComponentConfig) -> Result<Arc<GuestLog>, String> {
        // A look makes no file.
        let file = component.log.as_deref().filter(|_| !self.look);
        self.logs.component(&component.name, component.limits.log_rate, file).map_err(|why| {
            let path = file.map(|path| path.display().to_string()).unwrap_or_default();
            format!("cannot write its log {path}: {why}")
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
