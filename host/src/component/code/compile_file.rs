//! A file that is compiled and not served.

use std::path::Path;
use std::time::Duration;

use host_code::{ArtefactKey, CodeBundle, CompileBounds, Compiled, Compiler, Urgency, settings};
use wasmtime::Engine;

use super::code_loader::{ReportCompile, chain, reported};
use super::load_error::{FileSizeLimit, LoadError};
use super::rejected::Rejected;
use super::source::Source;
use super::surveyed::SurveyedSource;

/// A component with its code, as it stands in a file.
#[derive(Debug)]
pub struct CompiledFile {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Bytes of code in it.
    pub code: usize,
    /// How long compiling it took.
    pub took: Duration,
}

/// Compiles a file without serving it.
///
/// # Errors
/// See [`Rejected`].
pub async fn compile_file(
    path: &Path,
    (bounds, largest): (CompileBounds, FileSizeLimit),
    report: ReportCompile,
) -> Result<CompiledFile, Rejected> {
    let compiler = Compiler::new(bounds);
    let source = Source::read(path, largest)?.parsed(&compiler).await?;
    let surveyed = SurveyedSource::new(source)?;
    let ruler = Engine::new(&settings(surveyed.concurrency));
    let ruler = ruler.map_err(|why| LoadError::Engine(chain(&why)))?;
    let bytes = &surveyed.source.bytes;
    let key = ArtefactKey::new(&ruler, &surveyed.source.component_digest);
    let compiled = compiler.compile(bytes, &key, surveyed.concurrency, Urgency::Start);
    match reported(&surveyed.source, report, compiled).await {
        Ok(Compiled { artefact, took, .. }) => {
            let code = artefact.bytes().len();
            Ok(CompiledFile { bytes: CodeBundle::seal(bytes, &artefact), code, took })
        }
        Err(why) => Err(Rejected::not_compiled(path, &why)),
    }
}
