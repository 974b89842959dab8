//! What the system lets the process have, and how it is shared out.

use std::time::Duration;

use host_code::CompileBounds;
use host_compress::EncoderBudget;
use host_manifest::{AccessLogTarget, exact_size};
use host_system::descriptors;
use tokio::runtime::Runtime;
use tracing::{info, warn};

use crate::cgroup;
use crate::config::ServeConfig;
use crate::threads::{self, RuntimeError};

/// Makes the runtime, once the process is known to get all threads that it needs beside its first: for the
/// workers and for what blocks, for the log, the lifecycle and both clocks, for what watches, for metrics, for the
/// access log, the files of components and spans; and a few for what comes and goes.
///
/// # Errors
/// [`RuntimeError`].
pub(crate) fn runtime(config: &ServeConfig) -> Result<Runtime, RuntimeError> {
    let watch = usize::from(config.manifest.swap.watch);
    let metrics = usize::from(config.manifest.listen.health.is_some());
    let access = usize::from(config.manifest.log.access != AccessLogTarget::Off);
    let guests = config.manifest.components.values();
    let files = access + guests.filter(|component| component.log.is_some()).count();
    let traces = usize::from(config.manifest.log.trace.endpoint.is_some());
    threads::runtime(config.threads.get(), 4 + watch + metrics + files + traces + threads::SPARE)
}

/// Connections that there may be: as many as are allowed, and there are descriptors for.
pub(crate) fn connections(config: &ServeConfig) -> usize {
    let allowed = config.manifest.connection.connections;
    allowed.min(descriptors::for_connections(descriptors::limit(), config.file.is_some()))
}

/// Says how many descriptors there are, if that is not what was asked for. `before`: the limit that the
/// process was started with.
pub(crate) fn say_descriptors(config: &ServeConfig, before: Option<u64>) {
    let (limit, connections) = (descriptors::limit(), connections(config));
    if connections < config.manifest.connection.connections {
        let name =
            if config.file.is_some() { "listen.max-connections" } else { "--max-connections" };
        warn!(
            limit,
            connections,
            "fewer file descriptors than connections allowed, so there will be no more than these: raise \
             `ulimit -Hn` (systemd: LimitNOFILE=) or lower {name}"
        );
    } else if before != limit {
        info!(before, limit, connections, "the limit of file descriptors has been raised");
    }
}

/// Memory of all guests together: what is asked for; else what the system lets the process have, less
/// what it needs for itself. `cgroup`: its limit, if it has one.
pub(crate) fn memory(config: &ServeConfig, cgroup: Option<u64>) -> Option<u64> {
    let asked = config.manifest.total.memory;
    let Some(limit) = cgroup else { return asked };
    let fits = cgroup::for_guests(limit);
    let [allowed, guests] = [limit, asked.unwrap_or(fits)].map(exact_size);
    if asked.is_some_and(|asked| asked > fits) {
        let fits = exact_size(fits);
        let name = if config.file.is_some() { "total.memory" } else { "--total-memory" };
        warn!(
            allowed,
            guests,
            "guests may have more memory than the cgroup leaves them: the kernel may kill the host; \
             {name} had better be {fits} at most, or not be said at all"
        );
    } else {
        info!(allowed, guests, "memory: the cgroup has a limit, and guests have a part of it");
    }
    asked.or(Some(fits))
}

/// What encoders of responses may take together, on all connections.
pub(crate) fn encoders() -> EncoderBudget {
    EncoderBudget::new(cgroup::for_encoders(cgroup::memory_limit()))
}

/// What compiling a component may take. Its code is copied into memory of the engine's own, so the host holds
/// it twice for a moment.
pub(crate) fn compile(time: Duration, memory: u64, cgroup: Option<u64>) -> CompileBounds {
    let host = cgroup.map_or(memory, cgroup::for_the_host);
    CompileBounds { memory, time, output: memory.min(host) }
}
