//! How code that was given back is mapped again (docs/adr/0065).

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use host_telemetry::ComponentUsage;

use super::code::code_loader::{CodeLoader, LoadedCode};
use super::code::code_memory::CodeMemory;
use super::code::load_error::FileSizeLimit;
use super::code::single_flight::Flights;
use super::code::surveyed::{Beginning, SurveyedSource};
use super::run::component_code::{ComponentCode, MappedAgain, OnDemand};
use super::run::linked_code::LinkedCode;
use super::sandbox::guest_failure::GuestFailure;

/// What all code of a process has in common that is given back.
pub(super) struct GivenBack {
    memory: Arc<CodeMemory>,
    /// Code that is being mapped again.
    flights: Arc<Flights<MappedAgain>>,
}

impl GivenBack {
    /// At most so many bytes are mapped, as far as no more runs.
    pub(super) fn new(limit: u64) -> Self {
        Self { memory: Arc::new(CodeMemory::new(limit)), flights: Arc::default() }
    }

    /// The code of a component that has just been loaded, which `loader` can load again. It stays mapped if the cache does not have it,
    /// and if it is only for a snapshot.
    pub(super) fn component_code(
        &self,
        surveyed: &SurveyedSource,
        LoadedCode { code, cached }: LoadedCode<LinkedCode>,
        usage: &Arc<ComponentUsage>,
        (loader, largest): (&Arc<CodeLoader<LinkedCode>>, FileSizeLimit),
    ) -> ComponentCode {
        let Some(entry) = cached.filter(|_| matches!(surveyed.beginning, Beginning::Each)) else {
            return ComponentCode::new(surveyed, code, None);
        };
        let (loader, usage, component) =
            (loader.clone(), usage.clone(), Arc::new(surveyed.without_bytes()));
        let engine = code.pre.engine().clone();
        let again = move |files: Vec<PathBuf>| {
            let (loader, usage, component) = (loader.clone(), usage.clone(), component.clone());
            let engine = engine.clone();
            let load = async move {
                let code = loader.load_again(&component, &usage, (engine, files, largest)).await;
                code.map(Arc::new).map_err(|why| {
                    let why = why.rejected_at(component.source.path());
                    GuestFailure::NoCode(why.to_string().into())
                })
            };
            Box::pin(load) as Pin<Box<dyn Future<Output = MappedAgain> + Send>>
        };
        let (memory, flights) = (self.memory.clone(), self.flights.clone());
        let how = OnDemand { memory, flights, again: Box::new(again), _entry: entry };
        ComponentCode::new(surveyed, code, Some(how))
    }
}

impl fmt::Debug for GivenBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GivenBack").field("memory", &self.memory).finish_non_exhaustive()
    }
}
