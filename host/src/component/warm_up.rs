//! From code whose instances begin cold to code whose instances begin where one of them was behind its `on-start`
//! (docs/adr/0061).

use std::sync::Arc;

use tokio::time::Instant;
use tracing::info;

use super::code::code_loader::CodeLoader;
use super::code::load_error::FileSizeLimit;
use super::code::rejected::{Rejected, Step};
use super::code::surveyed::{LEAVE_OUT, SurveyedSource};
use super::generation::Generation;
use super::load_progress::begin;
use super::run::blueprint::Blueprint;
use super::run::component_code::ComponentCode;
use super::run::linked_code::LinkedCode;
use super::run::warm_trial::NoState;
use super::starts::{check_configs, make_one, not_started};

/// Has one instance run its `on-start`, as the generation with this number, and makes a blueprint whose instances
/// begin there. All of it is the component's own: grants, limits, the time for the hook.
pub(super) async fn warm_up(
    (loader, largest): (&CodeLoader<LinkedCode>, FileSizeLimit),
    number: u64,
    original: &Arc<SurveyedSource>,
    blueprint: &Arc<Blueprint>,
) -> Result<Arc<Blueprint>, Rejected> {
    let (began, settings) = (Instant::now(), &blueprint.settings);
    let cold = Generation::new(number, blueprint.clone());
    check_configs(&cold)?;
    let path = blueprint.path().display();
    let none = |why: &dyn std::fmt::Display| {
        Rejected::at(Step::Snapshot, format!("{path}: no snapshot can be taken of it: {why}"))
    };
    if !blueprint.code().await.is_ok_and(|code| code.hooks.has_start()) {
        return Err(none(&format_args!("it has no on-start; {LEAVE_OUT}")));
    }
    // A manifest that asks for both has been refused: what has been read would be of one of them.
    if !settings.route_configs.own.is_empty() {
        return Err(none(&format_args!("routes have configs of their own for it; {LEAVE_OUT}")));
    }
    let trial = make_one(&cold, None).await?;
    begin(Step::OnStart);
    let state = trial.warm_up().await.map_err(|why| match why {
        NoState::NotStarted(why) => not_started(&cold, &why),
        why => none(&format_args!("{why}, or {LEAVE_OUT}")),
    })?;
    begin(Step::Snapshot);
    let (memory, filled) = (state.largest_memory(), state.filled());
    let how = (blueprint.pace, largest);
    let code = loader.compile_warm(original, state, &settings.usage, how).await;
    let (surveyed, code) = code.map_err(|why| {
        let why = why.rejected_at(blueprint.path());
        Rejected { step: Step::Snapshot, why: format!("its snapshot: {}", why.why), ..why }
    })?;
    let (component, took) = (&*blueprint.name, began.elapsed());
    info!(
        component,
        memory,
        filled,
        took = %format_args!("{took:.3?}"),
        "on-start has run once: instances begin behind it"
    );
    // It is in no cache.
    let code = Arc::new(ComponentCode::new(&surveyed, code, None));
    let warm = Blueprint::new(blueprint.path(), code, settings, blueprint.pace);
    Ok(Arc::new(warm))
}
