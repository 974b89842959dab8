//! A client that reads its responses slowly, so that a stop comes into the middle of them.

use super::super::h1_connection::H1Connection;
use super::super::ledger::EndedRequest;
use super::super::tester::Tester;
use super::h1::{exchange, head};

/// One request. None when the connection is of no more use.
pub(super) async fn ask(me: &mut Tester, connection: &mut H1Connection) -> Option<EndedRequest> {
    let asked = me.ask();
    let plan = &me.round.course.plan;
    let pace = Some(plan.pace);
    let bytes = head(me, asked, "GET", plan.stream_path.as_deref(), "");
    exchange(me, connection, asked, bytes.as_bytes(), pace).await
}
