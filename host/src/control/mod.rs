//! What an operator asks of a running host: the control socket and the answers of health.
//!
//! ```text
//! host ctl, curl ─→ socket ─→ server ─→ Host (handed in by whoever composes the process)
//! load balancer  ─→ health ─→ PhaseWatch
//!                     both: accept ─→ connection (hyper, with our deadlines)
//! ```
//!
//! Runs on the lifecycle's runtime, so that it answers while guests spin on every core. May not
//! know wasmtime, components, exchanges or the listeners' insides: it sees them through [`Host`].

mod accept;
mod connection;
mod follow;
mod health;
mod pace;
mod reply;
pub mod schema;
mod seats;
mod server;
mod socket;

use std::path::PathBuf;
use std::pin::Pin;

use tokio::sync::watch;

pub use health::Health;
pub use server::Server;
pub use socket::{Choice, ControlSocket, SocketError, default_directory, open, path_of};

use schema::{Connection, Ended, Generation, Outcome, Progress, Refused, Status};

/// A command under way. It is run to its end even if who asked for it has gone.
pub type Pending = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// The process, as an operator sees it. Implemented by whoever composes it.
///
/// All calls come on the lifecycle's one thread: none may block.
pub trait Host: Send + Sync + 'static {
    /// The whole, at this moment.
    fn status(&self) -> Status;

    /// Every connection, oldest first.
    fn connections(&self) -> Vec<Connection>;

    /// Every generation that is still here, newest first.
    fn generations(&self) -> Vec<Generation>;

    /// Loads again what is served: the manifest and its files, or the component's file. Bounded by
    /// the implementation.
    fn reload(&self) -> Pending;

    /// Swaps a component, the only one if none is named, to the file at this absolute path. Bounded
    /// by the implementation.
    fn swap(&self, component: Option<String>, path: PathBuf) -> Pending;

    /// Swaps a component, the only one if none is named, to the generation that is kept for it.
    /// Bounded by the implementation.
    fn rollback(&self, component: Option<String>) -> Pending;

    /// Begins a lame duck by hand.
    ///
    /// # Errors
    /// When the phase does not allow it.
    fn drain(&self) -> Result<(), Refused>;

    /// Takes a lame duck by hand back.
    ///
    /// # Errors
    /// When the phase does not allow it.
    fn undrain(&self) -> Result<(), Refused>;

    /// Asks for a stop, or with `now` for one that cuts at once. Asking again is no error.
    fn stop(&self, now: bool);

    /// What is in flight at this moment.
    fn progress(&self) -> Progress;

    /// How the process has ended, once it has.
    fn ended(&self) -> watch::Receiver<Option<Ended>>;
}

#[cfg(test)]
mod fake;
