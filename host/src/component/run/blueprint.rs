//! The blueprint: the code, limits and grants that generations of one component are made of.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use host_code::Urgency;
use host_manifest::ComponentLimits;
use tokio::time::Instant;
use wasmtime::Store;
use wasmtime::component::Instance;

use super::component_code::{ComponentCode, HeldCode};
use super::linked_code::LinkedCode;
use super::settings::Settings;
use crate::component::code::survey::Survey;
use crate::component::sandbox::grants::Grants;
use crate::component::sandbox::guest_failure::GuestFailure;
use crate::component::sandbox::identity::Identity;
use crate::component::sandbox::prefault::Prefault;
use crate::component::sandbox::retirement::RetirementWatch;
use crate::component::sandbox::state::GuestState;
use crate::component::sandbox::terms::Sandbox;

/// Of the time for the head of an answer, what may pass until the code is there: the rest is for telling that it was not.
const QUARTERS_FOR_CODE: u32 = 3;

/// The code, limits and grants that generations of one component are made of. Held by those generations, and
/// by a load that may make another.
pub struct Blueprint {
    pub(crate) name: Arc<str>,
    pub(crate) path: PathBuf,
    pub(crate) code: Arc<ComponentCode>,
    pub(crate) settings: Arc<Settings>,
    /// Its own, where blueprints may not share a grant: no connection outlives the code that opened it.
    pub(crate) grants: Grants,
    /// How urgent its load is.
    pub(crate) pace: Urgency,
}

/// Code to roll back to, without limits or grants, so that it keeps nothing of those open.
#[derive(Clone)]
pub struct KeptCode {
    pub(crate) path: PathBuf,
    pub(crate) code: Arc<ComponentCode>,
}

impl Blueprint {
    /// The part that is kept to make the blueprint again.
    #[must_use]
    pub fn kept(&self) -> KeptCode {
        KeptCode { path: self.path.clone(), code: self.code.clone() }
    }

    pub(crate) fn new(
        path: &Path,
        code: Arc<ComponentCode>,
        settings: &Arc<Settings>,
        pace: Urgency,
    ) -> Self {
        code.found_at(path);
        let (name, grants) = (settings.name.clone(), settings.grants.for_blueprint());
        Self { name, path: path.to_owned(), code, settings: settings.clone(), grants, pace }
    }

    /// The file that it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its imports and exports.
    #[must_use]
    pub fn survey(&self) -> &Survey {
        &self.code.survey
    }

    /// SHA-256 of that file, in hex.
    #[must_use]
    pub fn digest(&self) -> &Arc<str> {
        &self.code.digest
    }

    /// The sandbox for instances of the generation with this number.
    pub(crate) fn sandbox(&self, number: u64, retirement: RetirementWatch) -> Sandbox {
        let (limits, settings) = (self.limits(), &self.settings);
        let (identity, usage) = ((number, &*self.code.digest), settings.usage.clone());
        Sandbox {
            identity: Identity::new(
                identity,
                self.name.clone(),
                settings.log.clone(),
                retirement,
                usage,
            ),
            memory: limits.memory,
            pocket: settings.memory.pocket(),
            handles: limits.handles,
            outgoing_per_exchange: limits.outgoing_per_exchange,
            share: settings.share.clone(),
            grants: self.grants.clone(),
            has_egress: settings.has_egress,
            prefault: Prefault::new(self.code.kept),
            symbols: self.code.symbols(),
        }
    }

    /// The code of the component. Waits for it in less than an instance has for the head of its answer: who waits for
    /// longer is told that it was the code.
    pub(crate) async fn code(&self) -> Result<HeldCode<'_>, GuestFailure> {
        self.code.get(self.limits().response_head / 4 * QUARTERS_FOR_CODE).await
    }

    pub(crate) fn limits(&self) -> &ComponentLimits {
        &self.settings.limits
    }

    /// Makes an instance of the component's code that may serve: its start functions and its hook `on-start` have run. The exchange that
    /// waits for it has a deadline for its head, and a limit of CPU time; only the hook has a deadline of its own.
    ///
    /// # Errors
    /// When the instance traps, and when the hook fails.
    pub(crate) async fn start(
        &self,
        store: &mut Store<GuestState>,
        code: &LinkedCode,
    ) -> wasmtime::Result<Instance> {
        let usage = &self.settings.usage;
        let began = usage.starts().then(Instant::now);
        let instance = code.pre.instantiate_async(&mut *store).await?;
        if let Some(began) = began {
            usage.started_in(began.elapsed());
        }
        code.hooks.start(store, &instance, self.limits().hook).await?;
        Ok(instance)
    }
}

impl fmt::Debug for KeptCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptCode").field("path", &self.path).finish_non_exhaustive()
    }
}

impl fmt::Debug for Blueprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blueprint")
            .field("path", &self.path)
            .field("digest", &self.code.digest)
            .finish_non_exhaustive()
    }
}
