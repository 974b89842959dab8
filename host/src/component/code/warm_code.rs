//! Code of a component whose instances begin where one was.
//!
//! It is kept in no cache: what a guest has read of its environment and its configuration is in it.

use std::sync::Arc;

use host_code::{ArtefactKey, Compiled, Urgency, WarmComponent, WarmState};
use host_telemetry::ComponentUsage;
use tokio::time::Instant;

use super::code_loader::{CodeError, CodeLoader, aside, chain, link, log_loaded, reported};
use super::load_error::{FileSizeLimit, LoadError};
use super::rejected::{Rejected, Step};
use super::surveyed::SurveyedSource;

impl<C: Send + 'static> CodeLoader<C> {
    /// Compiles a component whose instances begin with this state. Bounded in time.
    pub(crate) async fn compile_warm(
        &self,
        original: &Arc<SurveyedSource>,
        state: WarmState,
        usage: &ComponentUsage,
        (pace, largest): (Urgency, FileSizeLimit),
    ) -> Result<(Arc<SurveyedSource>, C), CodeError> {
        let began = Instant::now();
        let bytes = original.source.bytes.len().saturating_add(state.filled());
        largest.check(bytes).map_err(|why| Rejected::at(Step::Snapshot, why))?;
        let surveyed = Arc::new(original.warm(state.largest_memory()));
        let concurrency = surveyed.concurrency;
        let ruler = self.engines.ruler(concurrency);
        let ruler = ruler.map_err(|why| Rejected::from(LoadError::Engine(chain(&why))))?;
        let (component, refused) =
            (original.clone(), |why: String| Rejected::at(Step::Snapshot, why));
        let join = move || {
            let warm = WarmComponent::new(&component.source.bytes, &state).map_err(refused)?;
            let key = ArtefactKey::new(&ruler, &warm.digest());
            Ok::<_, Rejected>((warm, key))
        };
        let (warm, key) = aside(pace, join).await??;
        let compiled = self.compiler.compile_warm(&warm, &key, concurrency, pace);
        let compiled = reported(&original.source, self.report, compiled).await?;
        let Compiled { artefact, took, memory } = compiled;
        usage.compiled(took, memory);
        let (engines, component, linker) =
            (self.engines.clone(), surveyed.clone(), self.link.clone());
        let code = aside(pace, move || link(&engines, &component, &artefact, &linker)).await??;
        log_loaded(original, began, false);
        Ok((surveyed, code))
    }
}
