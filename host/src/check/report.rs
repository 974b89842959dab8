//! What `host check` has found, as text and as JSON.

use std::fmt::Write as _;
use std::path::Path as FilePath;

use host_manifest::Route;
use host_manifest::routes::{PathPattern, RoutePattern};
use serde::Serialize;

use super::listeners::CheckedListener;
use super::wants::{Wanted, Wants};
use crate::component::{Footprint, ImportUse, Kind, Rejected, Survey, useful_grants};

/// The name of the JSON's form. Fields may come to it; none changes its meaning or goes.
pub(super) const SCHEMA: &str = "host-check/1";

/// What was found, all in all.
#[derive(Debug, Serialize)]
pub(super) struct CheckReport {
    schema: &'static str,
    /// Whether everything would serve.
    pub(super) ok: bool,
    /// Why nothing could be looked at.
    pub(super) error: Option<String>,
    components: Vec<CheckedComponent>,
    routes: Vec<String>,
    listeners: Vec<CheckedListener>,
    /// What is served to no purpose, and what is near its end.
    pub(super) warnings: Vec<String>,
}

/// What was found of one component.
#[derive(Debug, Serialize)]
pub(super) struct CheckedComponent {
    name: String,
    source: String,
    /// The manifest, and the line in it where the component begins.
    place: Option<Place>,
    ok: bool,
    refused: Option<Refused>,
    /// Imports that the host does not have.
    missing: Vec<String>,
    /// `0.2` or `0.3`, the version of `wasi:http`.
    http: Option<&'static str>,
    exports: Vec<String>,
    imports: Vec<String>,
    /// What each instance is made of.
    instance: Option<Footprint>,
    /// The profile of its limits.
    profile: String,
    /// Limits that it has in place of the profile's.
    beside_profile: Vec<String>,
    granted: Vec<Granted>,
    /// What it says that it wants.
    wants: Vec<Wanted>,
    /// What it is granted and does not want, if it says what it wants.
    not_wanted: Vec<Wanted>,
    #[serde(skip)]
    wants_text: String,
    /// What it imports and is not granted, in words.
    lacks: Vec<&'static str>,
    /// The same, of what most programs import, used or not.
    not_granted: Vec<&'static str>,
    #[serde(skip)]
    interface: Option<(Kind, &'static str)>,
}

#[derive(Debug, Serialize)]
struct Place {
    file: String,
    line: usize,
}

#[derive(Debug, Serialize)]
struct Refused {
    step: &'static str,
    why: String,
    /// The functions that were running, if it trapped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stack: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Granted {
    grant: &'static str,
    what: String,
}

/// What a look into the file has found.
pub(super) struct Findings<'a> {
    pub(super) survey: Option<&'a (Kind, Survey)>,
    /// It stands in a chain.
    pub(super) chained: bool,
    pub(super) missing: Vec<String>,
    pub(super) footprint: Option<Footprint>,
}

/// Imported by whatever is made with a standard library, which says nothing of what it uses.
const COMMON: [&str; 2] = ["env", "directories"];

impl CheckedComponent {
    pub(super) fn new(
        component: &host_manifest::ComponentConfig,
        place: Option<(&FilePath, usize)>,
        outcome: Result<(), Rejected>,
        found: Findings<'_>,
    ) -> Self {
        let granted = component.grants.summary();
        let lacking =
            found.survey.map(|(_, survey)| useful_grants(&survey.imports)).unwrap_or_default();
        let lacking = lacking.into_iter().filter(|ImportUse { grant, .. }| {
            // A plugin of 0.2 passes requests on by the same import, and needs no grant for that.
            let passes_on = found.chained && *grant == "outgoing";
            !passes_on && !granted.iter().any(|(has, _)| has == grant)
        });
        let (common, lacks): (Vec<_>, Vec<_>) =
            lacking.partition(|lacking| COMMON.contains(&lacking.grant));
        let words = |list: Vec<ImportUse>| list.into_iter().map(|it| it.what).collect();
        let kind = found.survey.map(|(kind, _)| *kind);
        let section = found.survey.and_then(|(_, survey)| survey.wants.as_deref());
        let wants = Wants::new(section, component);
        let survey = found.survey.map(|(_, survey)| survey.clone()).unwrap_or_default();
        Self {
            name: component.name.to_string(),
            source: component.source.display().to_string(),
            place: place.map(|(file, line)| Place { file: file.display().to_string(), line }),
            ok: outcome.is_ok(),
            refused: outcome.err().map(|Rejected { step, why, stack, .. }| {
                let why =
                    why.strip_prefix(&format!("component {}: ", component.name)).unwrap_or(&why);
                Refused { step: step.name(), why: why.to_owned(), stack }
            }),
            missing: found.missing,
            http: kind.map(|kind| match kind {
                Kind::P2 => "0.2",
                Kind::P3 => "0.3",
            }),
            exports: survey.exports,
            imports: survey.imports,
            instance: found.footprint,
            profile: component.limits.profile.to_string(),
            beside_profile: component
                .limits
                .beside_profile()
                .into_iter()
                .map(|(key, value)| format!("{key} {value}"))
                .collect(),
            granted: granted.into_iter().map(|(grant, what)| Granted { grant, what }).collect(),
            wants_text: wants.text(),
            wants: wants.wanted,
            not_wanted: wants.unwanted,
            lacks: words(lacks),
            not_granted: words(common),
            interface: kind.map(|kind| (kind, kind.interface())),
        }
    }

    fn text(&self) -> String {
        let named = self.place.as_ref().map(|_| format!("component {}:\n", self.name));
        let interface = self.interface.map(|(kind, interface)| format!("{kind} ({interface})"));
        format!(
            "{}{} would serve: {}\nexports:\n{}imports:\n{}{}{}{}\n",
            named.unwrap_or_default(),
            self.source,
            interface.unwrap_or_default(),
            lines(&self.exports),
            lines(&self.imports),
            self.instance(),
            self.limits(),
            self.grants()
        )
    }

    /// What each fresh instance is made of, which each request pays for.
    fn instance(&self) -> String {
        let Some(footprint) = self.instance else { return String::new() };
        let hint = footprint.hint().map(|hint| format!(" ({hint})"));
        format!("each instance: {footprint}{}\n", hint.unwrap_or_default())
    }

    /// The profile of its limits, if it has one of its own.
    fn limits(&self) -> String {
        let profile = &*self.profile;
        match (profile, self.beside_profile.join(", ")) {
            ("default", _) => String::new(),
            (_, own) if own.is_empty() => format!("limits: profile {profile}\n"),
            (_, own) => format!("limits: profile {profile}, but {own}\n"),
        }
    }

    /// What it is granted, and what it lacks for all of its imports to be of use.
    fn grants(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        if !self.not_granted.is_empty() {
            let common = self.not_granted.join(", ");
            writeln!(text, "not granted: {common} (most programs import these, used or not)").ok();
        }
        for Granted { grant, what } in &self.granted {
            writeln!(text, "granted: {grant}: {what}").ok();
        }
        text += &self.wants_text;
        let lacks = self.lacks.join(", ");
        text += &match (self.lacks.is_empty(), self.granted.is_empty()) {
            (true, true) => "grants: needs none".to_owned(),
            (true, false) => "lacks: nothing".to_owned(),
            (false, true) => {
                format!("grants: could use {lacks}; nothing is granted, so it finds none there")
            }
            (false, false) => format!("lacks: {lacks}; it finds none there"),
        };
        text
    }

    /// `host.toml:7: component shop: …`, if it would not serve, and below it where it trapped.
    fn refusal(&self) -> Option<String> {
        let Refused { why, stack, .. } = self.refused.as_ref()?;
        let mut text = match &self.place {
            None => why.clone(),
            Some(Place { file, line }) => format!("{file}:{line}: component {}: {why}", self.name),
        };
        for line in stack {
            text += "\n    ";
            text += line;
        }
        Some(text)
    }
}

impl CheckReport {
    pub(super) fn new(
        components: Vec<CheckedComponent>,
        routes: Vec<String>,
        (listeners, warnings): (Vec<CheckedListener>, Vec<String>),
    ) -> Self {
        let ok = components.iter().all(|component| component.ok)
            && listeners.iter().all(|listener| listener.refused().is_empty());
        Self { schema: SCHEMA, ok, error: None, components, routes, listeners, warnings }
    }

    /// What there is to say where nothing could be looked at.
    pub(super) fn none(why: String) -> Self {
        let error = Some(why);
        Self { ok: false, error, ..Self::new(Vec::new(), Vec::new(), Default::default()) }
    }

    /// As people read it, over many lines.
    pub(super) fn text(&self) -> String {
        let components = self.components.iter().map(CheckedComponent::text);
        let routes = self.routes.iter().map(|route| format!("route {route}\n"));
        let warnings = self.warnings.iter().map(|warning| format!("warning: {warning}\n"));
        let listeners = self.listeners.iter().map(CheckedListener::text);
        components.chain(routes).chain(listeners).chain(warnings).collect()
    }

    /// A line for each component that would not serve, or one for why none was looked at.
    pub(super) fn refused(&self) -> Vec<String> {
        let refused = self.components.iter().filter_map(CheckedComponent::refusal);
        let listeners =
            self.listeners.iter().flat_map(|listener| listener.refused().iter().cloned());
        self.error.iter().cloned().chain(refused).chain(listeners).collect()
    }

    /// One document, as docs/manifest.md has it.
    pub(super) fn json(&self) -> String {
        // Text and numbers only: it cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// Which requests go where: `/shop (GET): auth, shop`.
pub(super) fn route_line(route: &Route) -> String {
    let RoutePattern { host, path, methods } = &route.pattern;
    let (PathPattern::Prefix(path) | PathPattern::Exact(path)) = path;
    let mut text = format!("{}{path}", host.as_deref().unwrap_or_default());
    if !methods.is_empty() {
        let methods: Vec<_> = methods.iter().map(http::Method::as_str).collect();
        text += &format!(" ({})", methods.join(", "));
    }
    let plugins = route.chain.iter().map(|entry| &entry.plugin);
    let hops: Vec<_> = plugins.chain([&route.component]).map(|name| &**name).collect();
    text += &format!(": {}", hops.join(", "));
    if let Some(limit) = &route.rate_limit {
        text += &format!("; {limit}");
    }
    text
}

fn lines(names: &[String]) -> String {
    names.iter().map(|name| format!("  {name}\n")).collect()
}
