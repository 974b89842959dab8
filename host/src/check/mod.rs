//! `host check` and `--dry-run`: whether what is to be served would serve, and what it would use.

mod listeners;
mod report;
mod wants;

use std::io;
use std::sync::Arc;

use crate::cgroup;
use crate::component::{self, Glance, Loader};
use crate::config::{CheckConfig, ServeConfig};
use crate::exit::Exit;
use crate::lint;
use crate::progress;
use crate::provision::Provisioner;
use crate::resources;
use crate::serve;
use crate::supply::Supply;
use host_log::outlet;
use report::{CheckReport, CheckedComponent, Findings};

/// Surveys, compiles, links and starts everything once, and prints what was found. Code is taken from the
/// cache and kept there, as a start would.
#[must_use]
pub fn run(ask: &CheckConfig) -> Exit {
    let what = "host check";
    let report = examine(&ask.serve).unwrap_or_else(|why| CheckReport::none(format!("{why:#}")));
    let printed = if ask.json {
        if let Some(why) = &report.error {
            outlet::complain(&format!("{what}: {why}"));
        }
        outlet::print_json(format!("{}\n", report.json()).as_bytes())
    } else {
        print(what, &report)
    };
    let exit = match report.ok {
        false => Exit::NoStart,
        true if ask.strict && !report.warnings.is_empty() => Exit::Warned,
        true => Exit::Clean,
    };
    exit.if_printed(what, printed)
}

/// Goes as far as a start would, smoke requests and all, and says so.
#[must_use]
pub fn dry_run(config: &ServeConfig) -> Exit {
    let what = "host serve --dry-run";
    let report = examine(config).unwrap_or_else(|why| CheckReport::none(format!("{why:#}")));
    let printed = print(what, &report);
    let exit = if report.ok { Exit::Clean } else { Exit::NoStart };
    exit.if_printed(what, printed)
}

/// What would serve, on stdout; if something would not, that alone, on stderr, a line for each.
fn print(what: &str, report: &CheckReport) -> io::Result<()> {
    for refused in report.refused() {
        outlet::complain(&format!("{what}: {refused}"));
    }
    if report.ok { outlet::print(&report.text()) } else { Ok(()) }
}

fn examine(config: &ServeConfig) -> anyhow::Result<CheckReport> {
    let runtime = resources::runtime(config)?;
    let supply = Supply::new(&config.cache);
    let mut loader_config = serve::loader_config(config, None, cgroup::memory_limit(), &supply)?;
    (loader_config.instances, loader_config.report) = (1, progress::say);
    let loader = Arc::new(Loader::new(&loader_config));
    let builder = Provisioner::for_check(loader_config.clock.ticks()).into_site_builder(config);
    let report = runtime.block_on(async {
        let builder = supply.for_builder(builder).await?;
        let checked = builder.check(&loader).await;
        progress::cleared().await;
        Ok(describe(checked, config, &loader).await)
    });
    runtime.shutdown_background();
    report
}

/// Each component with what a start would make of it.
type Checked = Vec<(host_manifest::ComponentConfig, Result<(), component::Rejected>)>;

async fn describe(checked: Checked, config: &ServeConfig, loader: &Loader) -> CheckReport {
    let (routes, places) = (&config.manifest.routes, &config.manifest.places);
    let mut surveys = lint::Surveys::new();
    let mut components = Vec::new();
    let plugins = lint::plugins(routes);
    for (component, outcome) in checked {
        let chained = plugins.contains(&*component.name);
        let Glance { survey, missing, footprint } = loader.glance(&component.source).await;
        let place = places.get(&component.name);
        let place = place.map(|place| (place.file.as_path(), place.line));
        let found = Findings { survey: survey.as_ref(), chained, missing, footprint };
        components.push(CheckedComponent::new(&component, place, outcome, found));
        surveys.extend(survey.map(|survey| (component.name.clone(), survey)));
    }
    let lines = match &config.file {
        None => Vec::new(),
        Some(_) => routes.iter().map(report::route_line).collect(),
    };
    let mut warnings = lint::warnings(config.manifest.components.values(), routes, &surveys);
    let file = config.file.as_ref().map(|file| file.path.as_path());
    let (listeners, ends) = listeners::check(&config.manifest.listen.listeners, file);
    warnings.extend(ends);
    CheckReport::new(components, lines, (listeners, warnings))
}
