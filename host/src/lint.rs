//! Warnings of what can be served and is hardly meant so: printed by `host check`, and logged at the start and
//! after each change.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use host_manifest::{ComponentConfig, OutgoingConfig, Route, TcpConfig};

use crate::component::{Kind, Survey, grant_warnings};
use crate::site::Site;

/// What components say of themselves, by name.
pub(crate) type Surveys = BTreeMap<Arc<str>, (Kind, Survey)>;

/// A sentence for each component that is served to no purpose, and one for chains that may wait for
/// each other.
pub(crate) fn warnings<'a>(
    components: impl IntoIterator<Item = &'a ComponentConfig>,
    routes: &[Route],
    surveys: &Surveys,
) -> Vec<String> {
    let components: Vec<&ComponentConfig> = components.into_iter().collect();
    let plugins = plugins(routes);
    let answer: HashSet<&str> = routes.iter().map(|route| &*route.component).collect();
    let ways_out: HashSet<&str> =
        components.iter().filter_map(|component| component.egress.as_deref()).collect();
    let mut warnings = Vec::new();
    for &component in &components {
        let name = &component.name;
        let chained = plugins.contains(&**name);
        let sends_out = ways_out.contains(&**name);
        if !chained && !sends_out && !answer.contains(&**name) {
            warnings.push(format!("component {name}: no route leads to it"));
        }
        let survey = surveys.get(name);
        let imports = survey.map(|(_, survey)| survey.imports.as_slice());
        warnings.extend(grant_warnings(component, imports));
        let Some((kind, survey)) = survey else { continue };
        warnings.extend(reach_without_names(component, chained));
        if (chained || sends_out) && !survey.can_pass_on() {
            warnings.push(format!(
                "component {name}: it stands in a chain and can pass nothing on (it imports neither \
                 wasi:http/handler nor wasi:http/outgoing-handler): nobody behind it is ever asked"
            ));
        }
        if *kind == Kind::P2 && component.reuse.is_some_and(|reuse| reuse.concurrency > 1) {
            warnings.push(format!(
                "component {name}: reuse.concurrency is for wasi:http 0.3; an instance of this one \
                 serves one request at a time"
            ));
        }
    }
    warnings.extend(circle(routes).map(|names| {
        format!(
            "components {}: ways lead from each to the next and back to the first; a request that has an \
             instance of one waits for the next, so when all are taken, requests wait for each other \
             until queue-timeout (503); let all chains name them in the same order",
            names.join(", ")
        )
    }));
    warnings
}

/// The components that stand in a chain.
pub(crate) fn plugins(routes: &[Route]) -> HashSet<&str> {
    routes.iter().flat_map(|route| &route.chain).map(|entry| &*entry.plugin).collect()
}

/// What it is granted of addresses without a name that could lead there.
fn reach_without_names(component: &ComponentConfig, chained: bool) -> Option<String> {
    let ComponentConfig { name, grants, .. } = component;
    let reach = &grants.reach;
    let named = grants.get::<OutgoingConfig>().is_some() || grants.get::<TcpConfig>().is_some();
    let reaches = reach.loopback || reach.private || reach.link_local;
    (reaches && !named && !chained).then(|| {
        format!(
            "component {name}: its grant outgoing-addresses says where names may lead, and it is granted no name: \
             grant outgoing or tcp too"
        )
    })
}

/// Components each of which stands before the next on some way, and the last before the first.
fn circle(routes: &[Route]) -> Option<Vec<&str>> {
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for route in routes {
        let mut hops: Vec<&str> = route.chain.iter().map(|entry| &*entry.plugin).collect();
        hops.push(&route.component);
        for pair in hops.windows(2) {
            next.entry(pair[0]).or_default().insert(pair[1]);
        }
    }
    // A component that leads to none, or only to such, is in no circle.
    while let Some(end) = next.iter().find(|(_, to)| !to.iter().any(|to| next.contains_key(to))) {
        let end = *end.0;
        next.remove(end);
    }
    let mut names: Vec<&str> = Vec::new();
    let mut at = *next.keys().next()?;
    loop {
        if let Some(first) = names.iter().position(|name| *name == at) {
            return Some(names.split_off(first));
        }
        names.push(at);
        at = next.get(at)?.iter().find(|to| next.contains_key(*to))?;
    }
}

/// The same for a site that is served.
pub(crate) fn warnings_of_site(site: &Site) -> Vec<String> {
    let surveys = site.apps().map(|app| {
        let survey = app.generation().blueprint().survey().clone();
        (app.manifest.name.clone(), (app.generation().kind(), survey))
    });
    warnings(site.apps().map(|app| &*app.manifest), site.routes(), &surveys.collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The circle of a manifest with these ways, the last of each answers.
    fn circle_of(ways: &[&[&str]]) -> Option<String> {
        let mut text = String::new();
        for name in ["a", "b", "c", "d"] {
            text += &format!("[component.{name}]\nsource = \"{name}.wasm\"\n");
        }
        for (number, way) in ways.iter().enumerate() {
            let (component, chain) = way.split_last().unwrap();
            text += &format!(
                "[[route]]\npath = \"/{number}\"\ncomponent = {component:?}\nchain = {chain:?}\n"
            );
        }
        let manifest = host_manifest::parse(&text, Path::new("host.toml"), &|_| None).unwrap();
        circle(&manifest.routes).map(|names| names.join(" "))
    }

    #[test]
    fn ways_that_lead_back_are_found() {
        let none: [&[&[&str]]; 3] = [
            &[&["a"], &["b"]],
            &[&["a", "b", "c"], &["b", "c"], &["a", "c"]],
            &[&["a", "c", "d"], &["b", "c", "d"], &["a", "b", "d"]],
        ];
        for ways in none {
            assert_eq!(circle_of(ways), None, "{ways:?}");
        }
        let some: [(&[&[&str]], &str); 4] = [
            (&[&["a", "b", "c"], &["b", "a", "c"]], "a b"),
            (&[&["a", "b"], &["b", "a"]], "a b"),
            (&[&["a", "b", "d"], &["b", "c", "d"], &["c", "a", "d"]], "a b c"),
            // The way into it is no part of it.
            (&[&["a", "b", "d"], &["b", "c", "d"], &["c", "b", "d"]], "b c"),
        ];
        for (ways, names) in some {
            assert_eq!(circle_of(ways).as_deref(), Some(names), "{ways:?}");
        }
    }
}
