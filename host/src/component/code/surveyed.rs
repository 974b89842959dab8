//! A component whose imports and exports have been read, and whether its instances begin warm.

use std::sync::Arc;

use host_code::{CompileError, Compiler};

use super::load_error::LoadError;
use super::rejected::{Rejected, Step};
use super::source::Source;
use super::survey::{Kind, Survey};

/// A component whose imports and exports have been read.
#[derive(Debug)]
pub(crate) struct SurveyedSource {
    pub(crate) source: Source,
    pub(crate) kind: Kind,
    pub(crate) survey: Survey,
    /// It needs an engine with component-model async.
    pub(crate) concurrency: bool,
    pub(crate) beginning: Beginning,
}

/// How instances of a component begin.
#[derive(Clone, Debug)]
pub(crate) enum Beginning {
    /// As the component says, and with its `on-start`.
    Each,
    /// As the component says: one of them is to run `on-start`, and to say what is in its memory then. Beside it the
    /// component as it was before it could say that.
    Cold(Arc<SurveyedSource>),
    /// Where that one was behind its `on-start`.
    Warm,
}

impl SurveyedSource {
    /// Reads imports and exports.
    pub(super) fn new(source: Source) -> Result<Self, LoadError> {
        let (kind, survey) = source.check()?;
        let concurrency = survey.needs_concurrency();
        Ok(Self { source, kind, survey, concurrency, beginning: Beginning::Each })
    }

    /// The same component with exports that say what is in its memory. Bounded in time.
    pub(super) async fn instrumented(self, compiler: &Compiler) -> Result<Self, Rejected> {
        let path = self.source.path().to_owned();
        let refused = |why: CompileError| match why {
            CompileError::Refused(why) => Rejected::at(
                Step::Snapshot,
                format!("{}: no snapshot can be taken of it: {why}; {LEAVE_OUT}", path.display()),
            ),
            why => Rejected { step: Step::Snapshot, ..Rejected::not_compiled(&path, &why) },
        };
        let bytes = compiler.instrument(&self.source.bytes).await.map_err(refused)?;
        let instrumented = Self::new(self.source.with_bytes(bytes))?;
        Ok(Self { beginning: Beginning::Cold(Arc::new(self)), ..instrumented })
    }

    /// The same component as its instances begin warm, with so many bytes of memory.
    pub(super) fn warm(&self, memory: u64) -> Self {
        let Self { source, kind, survey, concurrency, .. } = self;
        let mut survey = survey.clone();
        survey.needs.initial_memory = survey.needs.initial_memory.max(memory);
        let (kind, concurrency, beginning) = (*kind, *concurrency, Beginning::Warm);
        Self { source: source.with_bytes(Vec::new()), kind, survey, concurrency, beginning }
    }

    /// The same without its bytes, which can be read again.
    pub(crate) fn without_bytes(&self) -> Self {
        let Self { source, kind, survey, concurrency, beginning } = self;
        let (survey, beginning) =
            (Survey { needs: survey.needs, ..Survey::default() }, beginning.clone());
        Self {
            source: source.without_bytes(),
            kind: *kind,
            survey,
            concurrency: *concurrency,
            beginning,
        }
    }

    /// What its code is known by: the digest of its file, and whether it can say what is in its memory.
    pub(crate) fn code_name(&self) -> Arc<str> {
        code_name(&self.source.digest, matches!(self.beginning, Beginning::Cold(_)))
    }
}

/// What the code of a file with this digest is known by.
pub(crate) fn code_name(digest: &Arc<str>, snapshot: bool) -> Arc<str> {
    if snapshot { format!("{digest} instrumented").into() } else { digest.clone() }
}

/// What to do about a component of which no snapshot can be taken.
pub(crate) const LEAVE_OUT: &str = "leave out snapshot";
