//! Starts of a generation that serves nothing yet: one instance with each configuration that it is used with.

use super::code::config_schema::ConfigSchema;
use super::code::rejected::{Rejected, Step};
use super::code::shortage::is_shortage;
use super::generation::Generation;
use super::imports::wasi_config::RouteConfig;
use super::load_progress::begin;
use super::run::settings::Settings;
use super::run::trial::Trial;
use super::sandbox::guest_failure::GuestFailure;

/// Has it show that it starts with each of its configurations.
///
/// # Errors
/// The first that does not fit, or does not start.
pub(super) async fn try_all(generation: &Generation) -> Result<(), Rejected> {
    check_configs(generation)?;
    let configs = &generation.blueprint().settings.route_configs;
    if !configs.only_own {
        start_one(generation, None).await?;
    }
    for config in &configs.own {
        start_one(generation, Some(RouteConfig::new(config)))
            .await
            .map_err(|why| why.on_line(config.line()))?;
    }
    Ok(())
}

/// Checks all configurations that a component is used with by the schema that it carries.
pub(super) fn check_configs(generation: &Generation) -> Result<(), Rejected> {
    let (blueprint, path) = (generation.blueprint(), generation.path().display());
    let Some(schema) = &blueprint.survey().config_schema else { return Ok(()) };
    let schema = ConfigSchema::read(schema).map_err(|why| {
        let why = format!("{path} carries a schema of its configuration that is none: {why}");
        Rejected::at(Step::Check, why)
    })?;
    let Settings { config, route_configs, .. } = &*blueprint.settings;
    let own = (!route_configs.only_own).then_some(config);
    for values in own.into_iter().chain(route_configs.own.iter().map(|own| &**own)) {
        schema.check(values).map_err(|fault| {
            Rejected::at(Step::Check, format!("{path}: {}", fault.why)).on_line(fault.line.as_ref())
        })?;
    }
    Ok(())
}

/// Starts one instance, with the configuration of a route or with its own.
async fn start_one(generation: &Generation, config: Option<RouteConfig>) -> Result<(), Rejected> {
    let trial = make_one(generation, config).await?;
    begin(Step::OnStart);
    trial.run_hooks().await.map_err(|why| not_started(generation, &why))
}

/// Makes one instance, whose hooks have not run.
pub(super) async fn make_one(
    generation: &Generation,
    config: Option<RouteConfig>,
) -> Result<Trial, Rejected> {
    let path = generation.path().display();
    begin(Step::Instantiate);
    generation.instantiate(config).await.map_err(|why| {
        let wants = is_shortage(&why);
        let why = GuestFailure::from_error(&why);
        let passing = wants
            || matches!(
                why,
                GuestFailure::NoMemory(_) | GuestFailure::PoolFull | GuestFailure::NoCode(_)
            );
        let stack = why.stacktrace();
        let why = format!("{path} does not start: {why}");
        Rejected { passing, ..Rejected::at(Step::Instantiate, why) }.with_stack(stack)
    })
}

/// Its `on-start` has failed.
pub(super) fn not_started(generation: &Generation, why: &GuestFailure) -> Rejected {
    let path = generation.path().display();
    Rejected::at(Step::OnStart, format!("{path} does not start: {why}"))
        .with_stack(why.stacktrace())
}
