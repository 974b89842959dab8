//! What can be served and hardly is what is meant: said as warnings, by `host check`, at the start
//! and after each change.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use host_manifest::{Component, Route};
use tokio::time::timeout;

use crate::component::{self, Kind, Survey};
use crate::site::Slot;

/// Files that serve are read again within this time, or there is no advice on them.
const PATIENCE: Duration = Duration::from_secs(60);

/// What components say of themselves, by name.
pub(crate) type Surveys = BTreeMap<Arc<str>, (Kind, Survey)>;

/// A sentence for each component that is served to no purpose.
pub(crate) fn of<'a>(
    components: impl IntoIterator<Item = &'a Component>,
    routes: &[Route],
    surveys: &Surveys,
) -> Vec<String> {
    let mut advice = Vec::new();
    for component in components {
        let name = &component.name;
        let chained = routes.iter().any(|route| route.chain.contains(name));
        let answers = routes.iter().any(|route| route.component == *name);
        if !chained && !answers {
            advice.push(format!("component {name}: no route leads to it"));
        }
        let Some((kind, survey)) = surveys.get(name) else { continue };
        if chained && !survey.can_pass_on() {
            advice.push(format!(
                "component {name}: it stands in a chain and can pass nothing on (it imports neither \
                 wasi:http/handler nor wasi:http/outgoing-handler): nobody behind it is ever asked"
            ));
        }
        if *kind == Kind::P2 && component.reuse.is_some_and(|reuse| reuse.concurrency > 1) {
            advice.push(format!(
                "component {name}: reuse.concurrency is for wasi:http 0.3; an instance of this one \
                 serves one request at a time"
            ));
        }
    }
    advice
}

/// The same for what is served now. Reads files on a thread that may block.
pub(crate) async fn of_what_serves(slot: &Slot) -> Vec<String> {
    let (apps, routes) = {
        let site = slot.current();
        let apps: Vec<(Arc<Component>, PathBuf)> =
            site.apps().map(|app| (app.manifest.clone(), app.generation.path().into())).collect();
        (apps, site.ways().clone())
    };
    let looked = tokio::task::spawn_blocking(move || {
        let survey = |(component, path): &(Arc<Component>, PathBuf)| {
            // It served a moment ago. What has become of the file since is for the next reload.
            Some((component.name.clone(), component::survey_file(path).ok()?))
        };
        let surveys = apps.iter().filter_map(survey).collect();
        of(apps.iter().map(|(component, _)| &**component), &routes, &surveys)
    });
    match timeout(PATIENCE, looked).await {
        Ok(advice) => advice.unwrap_or_default(),
        // Nobody waits for advice, and the next change asks again.
        Err(_) => Vec::new(),
    }
}
