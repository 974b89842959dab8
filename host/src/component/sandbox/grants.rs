//! What guests are given beyond the sandbox, made ready once for all instances of a generation.

use std::fmt;
use std::sync::Arc;

use host_manifest::{Directory, Stdio};
use host_outgoing::{Endpoints, HttpClient, Lookup};
use tracing::warn;
use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsCtx};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder};
use wasmtime_wasi_config::WasiConfigVariables;

use super::files::OpenLimit;
use super::log_limit::LogLimit;

/// What guests are given beyond the sandbox. Nothing by default. Dropped with the last generation
/// that has it: directories, pools and databases close then.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// The import `request-shutdown`.
    pub request_shutdown: Option<ShutdownGrant>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Arguments.
    pub args: Vec<String>,
    /// What `wasi:config` answers.
    pub config: ConfigGrant,
    /// Where stdout and stderr go.
    pub stdio: Stdio,
    /// Where requests may be sent. Each generation has one like it, with connections of its own.
    pub outgoing: Option<HttpClient>,
    /// Directories, opened.
    pub directories: Option<Directories>,
    /// TCP endpoints that may be connected to.
    pub sockets: Sockets,
    /// What looks names up.
    pub lookup: Option<Lookup>,
    /// Buckets of `wasi:keyvalue`.
    pub buckets: host_keyvalue::Buckets,
}

/// The right to stop the process.
#[derive(Clone)]
pub struct ShutdownGrant(Arc<dyn Fn() + Send + Sync>);

impl ShutdownGrant {
    /// What is called when a guest has asked and its answer is delivered. May be called from any
    /// thread and more than once; must not block.
    pub fn new(stop: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(stop))
    }

    pub(crate) fn use_it(&self) {
        (self.0)();
    }
}

impl fmt::Debug for ShutdownGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShutdownGrant")
    }
}

/// Answers of `wasi:config/store`. Secrets may be among them: they are not printed.
#[derive(Clone, Default)]
pub struct ConfigGrant(pub(crate) Arc<WasiConfigVariables>);

impl ConfigGrant {
    /// These keys with these values.
    #[must_use]
    pub fn new(pairs: &[(String, String)]) -> Self {
        Self(Arc::new(pairs.iter().cloned().collect()))
    }
}

impl fmt::Debug for ConfigGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConfigGrant")
    }
}

/// Directories, opened once: guests see what was there then, whatever the path leads to later.
#[derive(Clone)]
pub struct Directories(WasiFilesystemCtx, OpenLimit);

impl Directories {
    /// Opens them. Blocks. None if there are none.
    ///
    /// # Errors
    /// The first one that cannot be opened, with the reason.
    pub fn open(directories: &[Directory]) -> Result<Option<Self>, String> {
        if directories.is_empty() {
            return Ok(None);
        }
        let mut builder = WasiCtxBuilder::new();
        for Directory { host, guest, writable } in directories {
            let perms = if *writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            builder
                .preopened_dir(host, guest, perms)
                .map_err(|why| format!("cannot open the directory {}: {why}", host.display()))?;
        }
        Ok(Some(Self(builder.build().filesystem().clone(), OpenLimit::default())))
    }
}

impl Directories {
    /// The component's share of the threads that open files.
    pub(crate) fn open_limit(&self) -> &OpenLimit {
        &self.1
    }
}

impl fmt::Debug for Directories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Directories")
    }
}

/// What a guest may do with sockets.
#[derive(Clone)]
pub struct Sockets(WasiSocketsCtx);

impl Sockets {
    /// TCP connections to these endpoints. `component` is for the log.
    #[must_use]
    pub fn new(component: &str, endpoints: Option<Endpoints>) -> Self {
        let (component, limit) = (Arc::<str>::from(component), Arc::new(LogLimit::default()));
        let mut builder = WasiCtxBuilder::new();
        // Each socket is a descriptor of the process: who may connect nowhere gets none.
        builder.allow_tcp(endpoints.is_some());
        builder.socket_addr_check(move |address, what| {
            let (endpoints, component) = (endpoints.clone(), component.clone());
            let limit = limit.clone();
            Box::pin(async move {
                let connects = matches!(what, SocketAddrUse::TcpConnect);
                // A connect binds to whatever the kernel chooses first.
                let any = address.ip().is_unspecified() && address.port() == 0;
                let binds = matches!(what, SocketAddrUse::TcpBind) && any;
                let granted = match endpoints {
                    Some(_) if binds => true,
                    // In a task, because wasmtime wants a future that may be shared.
                    Some(endpoints) if connects => {
                        let asked = tokio::spawn(async move { endpoints.admits(address).await });
                        asked.await.unwrap_or(false)
                    }
                    _ => false,
                };
                if !granted && let Some(permit) = limit.permit() {
                    let left_out = permit.left_out;
                    warn!(%component, %address, ?what, left_out, "socket refused: not granted (grants.tcp)");
                }
                granted
            })
        });
        Self(builder.build().sockets().clone())
    }
}

impl Default for Sockets {
    fn default() -> Self {
        Self::new("", None)
    }
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sockets")
    }
}

impl Grants {
    /// Puts what is granted into the context of a store.
    pub(crate) fn fill(&self, builder: &mut WasiCtxBuilder) {
        builder.envs(&self.env).args(&self.args);
    }

    /// The rest, which a builder has no words for.
    pub(crate) fn furnish(&self, wasi: &mut WasiCtx) {
        wasi.sockets().clone_from(&self.sockets.0);
        if let Some(directories) = &self.directories {
            wasi.filesystem().clone_from(&directories.0);
        }
    }
}
