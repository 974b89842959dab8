//! From the configuration to what loads components.

use std::sync::Arc;

use anyhow::Context as _;
use host_certs::{CertificateStore, TicketKeys};
use host_lifecycle::{Cause, Phase, Tracker};
use tracing::{info, warn};

use super::process::Process;
use crate::component::{
    CodeCacheSetting, ComponentBudgets, CpuScheduler, EpochClock, FileSizeLimit, IdleRoom, Keeper,
    Loader, LoaderConfig, MemoryBudget, Rejected, StopProcess, TickCounter,
};
use crate::config::ServeConfig;
use crate::progress;
use crate::provision::Provisioner;
use crate::resources;
use crate::site::{Backlog, Site, SiteBuilder};
use crate::supply::Supply;

/// What all loads have in common. `memory`: of all guests together. `cgroup`: the limit of the process, if it has
/// one. `supply`: what says which files may be loaded.
pub(crate) fn loader_config(
    config: &ServeConfig,
    memory: Option<u64>,
    cgroup: Option<u64>,
    supply: &Supply,
) -> anyhow::Result<LoaderConfig> {
    let manifest = &config.manifest;
    // Idle instances stay in the pool beside those that bulkheads count, as many at most. A manifest may
    // come to say so at a reload.
    let reuses = config.file.is_some()
        || manifest.components.values().any(|component| component.reuse.is_some());
    let times = if reuses { 2 } else { 1 };
    Ok(LoaderConfig {
        instances: manifest.total.instances.saturating_mul(times),
        cache: config.cache.directory().map_or(CodeCacheSetting::Off, CodeCacheSetting::Directory),
        bounds: resources::compile(manifest.swap.compile, manifest.swap.compile_memory, cgroup),
        largest: FileSizeLimit::new(manifest.swap.compile_memory, cgroup),
        memory,
        report: progress::log,
        vouch: supply.vouch(),
        code_memory: code_memory(config),
        clock: EpochClock::start().context("the clock of guests")?,
    })
}

/// Bytes of code that are mapped. What is given back has to be found again.
fn code_memory(config: &ServeConfig) -> Option<u64> {
    let limit = config.manifest.total.code_memory;
    if limit.is_some() && config.cache.directory().is_none() {
        warn!(
            "total.code-memory: there is no code cache to load code from again, so no code is given back"
        );
        return None;
    }
    limit
}

/// What builds the site that the manifest asks for, now and at every reload. `ticks`: of the clock of guests.
pub(super) async fn site_builder(
    config: &ServeConfig,
    process: &Process,
    memory: Option<u64>,
    ticks: &TickCounter,
    supply: &Arc<Supply>,
) -> Result<SiteBuilder, Rejected> {
    let commander = process.commander.clone();
    let provisioner = Provisioner {
        keeper: keeper(process.trackers.instances.clone()),
        memory: ComponentBudgets::new(MemoryBudget::new(memory, None)),
        idle: IdleRoom::new(config.manifest.total.instances),
        scheduler: CpuScheduler::new(config.threads.get(), ticks),
        shutdown: StopProcess::new(move || commander.stop(Cause::Guest)),
        stores: process.stores.clone(),
        forbidden: process.operators.clone(),
        traffic: process.traffic.clone(),
        logs: process.guest_logs.clone(),
        look: false,
    };
    let phase = process.phase.clone();
    let backlog = Backlog::until(move || phase.now() >= Phase::Draining);
    let builder = provisioner.into_site_builder(config).with_backlog(backlog);
    supply.for_builder(builder).await
}

/// The certificates of listeners, and what their handshakes go by. Whether one has expired is no matter here: its
/// listener would serve nobody without it.
pub(crate) async fn load_certificates(
    config: &ServeConfig,
) -> anyhow::Result<Arc<CertificateStore>> {
    let tickets = TicketKeys::new()?;
    let listeners = config.manifest.listen.listeners.clone();
    let loaded =
        tokio::task::spawn_blocking(move || CertificateStore::load(&listeners, tickets)).await?;
    loaded.map(Arc::new).map_err(|errors| {
        let file = config.file.as_ref().map(|file| file.path.as_path());
        let lines: Vec<_> = errors.iter().map(|error| error.in_file(file)).collect();
        anyhow::anyhow!(lines.join("\n"))
    })
}

/// Loads the first generations, with everything that a swap would ask of them.
pub(super) async fn load_site(builder: &SiteBuilder, loader: &Arc<Loader>) -> anyhow::Result<Site> {
    let site = builder.build(loader).await?;
    for app in site.apps() {
        let (component, kind) = (app.generation().name(), app.generation().kind());
        info!(component, %kind, generation = app.generation().number(), "component is ready");
    }
    Ok(site)
}

/// Lets components be in flight without knowing what that means.
pub(super) fn keeper(tracker: Tracker) -> Keeper {
    Keeper::new(move |what| Box::new(tracker.guard(Arc::new(what))))
}
