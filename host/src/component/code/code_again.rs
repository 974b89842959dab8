//! Code that was given back, loaded again while a request waits for it: from the cache, or from a compiler if the cache
//! has lost it.

use std::path::PathBuf;
use std::sync::Arc;

use host_code::{Artefact, ArtefactKey, Compiled, Urgency};
use host_telemetry::ComponentUsage;
use wasmtime::Engine;

use super::code_loader::{CodeError, CodeLoader, aside, chain, key, reported};
use super::load_error::{FileSizeLimit, LoadError};
use super::rejected::{Rejected, Step};
use super::source::Source;
use super::surveyed::SurveyedSource;

/// A request waits: nothing of this gives way to other requests.
const PACE: Urgency = Urgency::Start;

impl<C: Send + 'static> CodeLoader<C> {
    /// Loads the code of a component again, which was in these files, into the engine that it was in. Bounded in time.
    pub(crate) async fn load_again(
        &self,
        surveyed: &Arc<SurveyedSource>,
        usage: &ComponentUsage,
        (engine, files, largest): (Engine, Vec<PathBuf>, FileSizeLimit),
    ) -> Result<C, CodeError> {
        let (engines, component) = (self.engines.clone(), surveyed.clone());
        let key = aside(PACE, move || key(&engines, &component)).await??;
        let cached = self.cached(&key, PACE).await;
        let was_lost = cached.is_none();
        let artefact = match cached {
            Some(artefact) => {
                usage.code_from_cache();
                artefact
            }
            None => self.compile_again(surveyed, &key, usage, (files, largest)).await?,
        };
        let (component, linker, kept) =
            (surveyed.clone(), self.link.clone(), self.engines.kept(&engine));
        let link = move || {
            let path = component.source.path();
            let unloadable = |why: wasmtime::Error| LoadError::Unloadable {
                path: path.to_owned(),
                why: chain(&why),
            };
            let code = artefact.load(&engine).map_err(unloadable)?;
            code.initialize_copy_on_write_image().map_err(unloadable)?;
            let linked = linker(&component, &code, kept, artefact.symbols()).map_err(unloadable)?;
            Ok::<_, LoadError>((linked, artefact))
        };
        let (code, artefact) = aside(PACE, link).await?.map_err(Rejected::from)?;
        if was_lost && let Some(cache) = &self.cache {
            cache.put(&key, artefact, PACE).await;
        }
        Ok(code)
    }

    /// Compiles the component once more, if one of the files is what it was.
    async fn compile_again(
        &self,
        surveyed: &SurveyedSource,
        key: &ArtefactKey,
        usage: &ComponentUsage,
        (files, largest): (Vec<PathBuf>, FileSizeLimit),
    ) -> Result<Artefact, CodeError> {
        let source = self.unchanged(&surveyed.source.component_digest, files, largest).await;
        let source = source.ok_or_else(|| {
            let path = surveyed.source.path().display();
            let why = format!(
                "the code cache has lost the code of {path}, and no file has that component any more; if the manifest names \
                 another by now, reload"
            );
            Rejected::for_now(Step::Read, why)
        })?;
        let compiled = self.compiler.compile(&source.bytes, key, surveyed.concurrency, PACE);
        let Compiled { artefact, took, memory } = reported(&source, self.report, compiled).await?;
        usage.compiled(took, memory);
        Ok(artefact)
    }

    /// The component with this digest, out of one of these files.
    async fn unchanged(
        &self,
        component: &[u8; 32],
        files: Vec<PathBuf>,
        largest: FileSizeLimit,
    ) -> Option<Source> {
        for path in files {
            let Ok(Ok(read)) = aside(PACE, move || Source::read(&path, largest)).await else {
                continue;
            };
            match read.parsed(&self.compiler).await {
                Ok(source) if source.component_digest == *component => return Some(source),
                _ => {}
            }
        }
        None
    }
}
