//! A strict client for any HTTP server: it sends requests, has the server stopped meanwhile, and says what became of
//! each.
//!
//! ```no_run
//! use host_drain_test::{Plan, StopTrigger, run};
//!
//! # async fn example() -> Result<(), host_drain_test::PlanError> {
//! let serve = ["host", "serve", "shop.wasm"].map(str::to_owned).to_vec();
//! let plan = Plan::new("http://127.0.0.1:8080/".to_owned(), StopTrigger::Spawn(serve));
//! let report = run(plan).await?;
//! assert!(report.is_clean(), "{report}");
//! # Ok(())
//! # }
//! ```
//!
//! Each request has exactly one [`Fate`]: answered, refused or lost. It is refused where the client knows that the
//! server has not begun with it, so that anybody may send it again. It is lost in every other case without a whole,
//! right response. RFC 9112, section 9.3.1, lets a client repeat an idempotent request when its kept connection ends
//! without an answer; we count that as lost all the same, because a POST has no such way out, and because a server that
//! announces its end never needs it.
//!
//! ```text
//!   run.rs  one stop after the other ──→ trigger.rs  signals, commands, the server as our child
//!     │
//!     ├──→ clients/  one file for each kind ──→ tester.rs  asks, judges, settles
//!     │                                            │
//!     │        h1_connection.rs, http1.rs,         ├──→ round.rs   what the clients of one stop share
//!     │        connect.rs, stream.rs, tls.rs       └──→ ledger.rs  the sums and the losses
//!     └──→ report.rs, table.rs
//! ```

mod clients;
mod connect;
mod fate;
mod group;
mod h1_connection;
mod http1;
mod kinds;
mod ledger;
mod plan;
mod report;
mod round;
mod run;
mod stream;
mod table;
mod target;
mod tester;
mod tls;
mod trigger;

pub use fate::{Fate, LossKind, RefusedBy, When};
pub use kinds::ClientKind;
pub use ledger::{PhaseCounts, Tally};
pub use plan::{Callback, Plan, StopTrigger, TlsTrust};
pub use report::{DrainReport, Loss, StopOutcome};
pub use run::run;
pub use target::PlanError;
