//! The kinds of clients at work. Each runs until it is refused after the trigger, or the load is over.

mod h1;
mod h1_fresh;
mod h1_kept;
mod h1_pipelined;
mod h1_stream;
mod h1_upload;
mod h2;

use super::kinds::ClientKind;
use super::ledger::Ledger;
use super::tester::Tester;

/// Runs one client to its end.
pub(crate) async fn run(me: Tester) -> Ledger {
    match me.kind {
        ClientKind::H1Kept
        | ClientKind::H1Pipelined
        | ClientKind::H1Upload
        | ClientKind::H1Stream => h1_kept::run(me).await,
        ClientKind::H1Fresh => h1_fresh::run(me).await,
        ClientKind::H2Kept => h2::kept(me).await,
        ClientKind::H2Fresh => h2::fresh(me).await,
    }
}
