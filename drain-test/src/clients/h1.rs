//! What all clients of HTTP/1 do.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::super::fate::{Fate, LossKind, RefusedBy};
use super::super::h1_connection::{Answer, H1Connection, Idle, NoAnswer, NotSent};
use super::super::ledger::EndedRequest;
use super::super::tester::{AskedRequest, Tester};

/// A connection, or none for now.
pub(super) async fn connect(me: &mut Tester) -> Option<H1Connection> {
    let stream = me.connect().await?;
    Some(H1Connection::new(stream, Arc::clone(&me.round)))
}

/// The head of a request, with `fields` that each end their line.
pub(super) fn head(
    me: &Tester,
    asked: AskedRequest,
    method: &str,
    path: Option<&str>,
    fields: &str,
) -> String {
    let tested = &me.round.course.tested;
    let id = asked.id;
    let path = tested.path_of(path, id);
    let authority = &tested.authority;
    format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\nX-Drain-Test: {id}\r\n{fields}\r\n")
}

/// Looks at the connection before the next request, which may be its first. `last` is the request before it.
pub(super) async fn look(
    me: &mut Tester,
    connection: &mut H1Connection,
    last: Option<EndedRequest>,
) -> ControlFlow<()> {
    match (connection.glance().await, last) {
        (Idle::Quiet, _) => return ControlFlow::Continue(()),
        (Idle::Ended, Some(_)) => me.closed_idle(),
        (Idle::Ended, None) => {
            let asked = me.ask();
            me.not_sent(asked, RefusedBy::Closed);
        }
        (Idle::Bytes(what), Some(last)) => me.answered_twice(last, &what),
        (Idle::Bytes(what), None) => {
            let asked = me.ask();
            me.settle(asked, false, Fate::Lost(LossKind::Malformed), &what);
        }
    }
    ControlFlow::Break(())
}

/// Sends a request and settles it. None when the connection is of no more use.
pub(super) async fn exchange(
    me: &mut Tester,
    connection: &mut H1Connection,
    asked: AskedRequest,
    bytes: &[u8],
    pace: Option<Duration>,
) -> Option<EndedRequest> {
    let failed = connection.send(bytes).await.err();
    finish(me, connection, asked, failed, pace).await
}

/// Reads the response to a request that has been sent, as far as it could be, and settles it. None when the
/// connection is of no more use.
pub(super) async fn finish(
    me: &mut Tester,
    connection: &mut H1Connection,
    asked: AskedRequest,
    failed: Option<NotSent>,
    pace: Option<Duration>,
) -> Option<EndedRequest> {
    if failed.as_ref().is_some_and(|failed| failed.sent == 0) {
        me.not_sent(asked, RefusedBy::Closed);
        return None;
    }
    // A server may answer what it has not read to the end, so the response counts even now.
    match connection.answer(pace).await {
        Ok(answer) => {
            let settled = settle(me, asked, answer);
            let rest = leave_or_stay(me, connection, settled, answer).await;
            settled.filter(|_| rest.is_continue() && failed.is_none())
        }
        Err(no_answer) => {
            lost(me, asked, no_answer, failed);
            None
        }
    }
}

/// Enters a request with its response. None when it is lost all the same.
pub(super) fn settle(me: &mut Tester, asked: AskedRequest, answer: Answer) -> Option<EndedRequest> {
    let (fate, detail) = me.judge(answer.status);
    let request = me.settle(asked, true, fate, &detail);
    (fate == Fate::Answered).then_some(request)
}

/// Enters a request without a whole response.
pub(super) fn lost(
    me: &mut Tester,
    asked: AskedRequest,
    no_answer: NoAnswer,
    failed: Option<NotSent>,
) {
    let NoAnswer { kind, why } = no_answer;
    match failed {
        // The reset showed itself before, which takes the error away from the read.
        Some(failed) if kind == LossKind::Eof && failed.is_reset => {
            me.lost(asked, LossKind::Reset, &format!("while it was sent: {}", failed.why));
        }
        _ => me.lost(asked, kind, &why),
    }
}

/// After the last response of a batch: the end, if it was announced.
pub(super) async fn leave_or_stay(
    me: &mut Tester,
    connection: &mut H1Connection,
    settled: Option<EndedRequest>,
    answer: Answer,
) -> ControlFlow<()> {
    if !answer.says_close {
        return ControlFlow::Continue(());
    }
    me.was_told();
    if let (Some(what), Some(settled)) = (connection.wait_end().await, settled) {
        me.answered_twice(settled, &what);
    }
    ControlFlow::Break(())
}
