//! `host check` and `--dry-run`: whether what is to be served would serve, and what it would use.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path as FilePath;
use std::sync::Arc;

use host_manifest::Route;
use host_manifest::routes::{Path, Pattern};

use crate::advice;
use crate::component::{self, Loader, Rejected, Survey};
use crate::config::args::{self, Job};
use crate::config::{Cache, Serve};
use crate::exit::Exit;
use crate::outfit::Outfit;
use crate::outlet;
use crate::resources;
use crate::serve;
use crate::site::{App, Site};
use crate::threads;

/// Surveys, compiles, links and starts everything once, and prints what was found.
#[must_use]
pub fn run(app: &FilePath) -> Exit {
    let words = ["host", "serve", "--"].map(Into::into);
    let line = words.into_iter().chain([app.as_os_str().to_owned()]);
    let config = match args::parse(line) {
        // Of a look nothing is left. Only now, because no guest may write to the cache of a start.
        Ok(Job::Serve(config)) => Serve { cache: Cache::Off, ..*config },
        Ok(_) => return Exit::Usage,
        Err(why) => {
            drop(why.print());
            return Exit::Usage;
        }
    };
    conclude("host check", examine(&config))
}

/// Goes as far as a start would, smoke requests and all, and says so.
#[must_use]
pub fn dry_run(config: &Serve) -> Exit {
    conclude("host serve --dry-run", examine(config))
}

fn conclude(what: &str, report: anyhow::Result<String>) -> Exit {
    match report {
        Ok(report) => {
            drop(outlet::stdout().write_all(report.as_bytes()));
            Exit::Clean
        }
        Err(why) => {
            drop(writeln!(outlet::stderr(), "{what}: {why:#}"));
            Exit::NoStart
        }
    }
}

fn examine(config: &Serve) -> anyhow::Result<String> {
    // The survey comes first, because what it says of a wrong file is the better sentence.
    for component in config.manifest.components.values() {
        component::survey_file(&component.source).map_err(Rejected::from)?;
    }
    threads::check(resources::threads(config))?;
    let runtime = threads::runtime(config.threads.get())?;
    let mut workshop = serve::workshop(config, None)?;
    workshop.instances = 1;
    let (loader, outfitter) =
        (Arc::new(Loader::new(&workshop)), Outfit::for_a_look().outfitter(config));
    let site = runtime.block_on(outfitter.build(&loader))?;
    let report = describe(&site, config)?;
    runtime.shutdown_background();
    Ok(report)
}

fn describe(site: &Site, config: &Serve) -> anyhow::Result<String> {
    let mut report = String::new();
    let routes = &config.manifest.routes;
    let mut surveys = advice::Surveys::new();
    for app in site.apps() {
        let (kind, survey) =
            component::survey_file(app.generation.path()).map_err(Rejected::from)?;
        let chained = routes.iter().any(|route| route.chain.contains(&app.manifest.name));
        if config.file.is_some() {
            writeln!(report, "component {}:", app.manifest.name)?;
        }
        writeln!(
            report,
            "{} would serve: {kind} ({})\nexports:\n{}imports:\n{}{}",
            app.generation.path().display(),
            kind.interface(),
            lines(&survey.exports),
            lines(&survey.imports),
            grants(app, &survey, chained)
        )?;
        surveys.insert(app.manifest.name.clone(), (kind, survey));
    }
    if config.file.is_some() {
        let components = config.manifest.components.values();
        for route in routes {
            writeln!(report, "{}", way(route))?;
        }
        for advice in advice::of(components, routes, &surveys) {
            writeln!(report, "warning: {advice}")?;
        }
    }
    Ok(report)
}

/// Which requests go where: `route /shop (GET): auth, shop`.
fn way(route: &Route) -> String {
    let Pattern { host, path, methods } = &route.pattern;
    let (Path::Prefix(path) | Path::Exact(path)) = path;
    let mut text = format!("route {}{path}", host.as_deref().unwrap_or_default());
    if !methods.is_empty() {
        let methods: Vec<_> = methods.iter().map(http::Method::as_str).collect();
        text += &format!(" ({})", methods.join(", "));
    }
    let hops: Vec<_> = route.chain.iter().chain([&route.component]).map(|name| &**name).collect();
    text + ": " + &hops.join(", ")
}

/// Imported by whatever is made with a standard library, which says nothing of what it uses.
const COMMON: [&str; 2] = ["env", "directories"];

/// What it is granted, and what it lacks for all of its imports to be of use.
fn grants(app: &App, survey: &Survey, chained: bool) -> String {
    let granted = app.manifest.grants.words();
    let missing = survey.useful_grants().into_iter().filter(|(_, word)| {
        // A plugin of 0.2 passes requests on by the same import, and needs no grant for that.
        let passes_on = chained && *word == "outgoing";
        !passes_on && !granted.iter().any(|(has, _)| has == word)
    });
    let (common, lacks): (Vec<_>, Vec<_>) = missing.partition(|(_, word)| COMMON.contains(word));
    let words = |list: Vec<(&str, &str)>| {
        list.into_iter().map(|(what, _)| what.to_owned()).collect::<Vec<_>>().join(", ")
    };
    let mut text = String::new();
    if !common.is_empty() {
        let common = words(common);
        writeln!(text, "not granted: {common} (most programs import these, used or not)").ok();
    }
    for (word, what) in &granted {
        // Writing to a string cannot fail.
        writeln!(text, "granted: {word}: {what}").ok();
    }
    if lacks.is_empty() {
        text += if granted.is_empty() { "grants: needs none" } else { "lacks: nothing" };
        return text;
    }
    let lacks = words(lacks);
    text += &if granted.is_empty() {
        format!("grants: could use {lacks}; nothing is granted, so it finds none there")
    } else {
        format!("lacks: {lacks}; it finds none there")
    };
    text
}

fn lines(names: &[String]) -> String {
    names.iter().map(|name| format!("  {name}\n")).collect()
}
