//! A client that sends several requests in one write, and reads their responses in turn.

use super::super::fate::{Fate, LossKind, RefusedBy};
use super::super::h1_connection::{H1Connection, NoAnswer, NotSent};
use super::super::ledger::EndedRequest;
use super::super::tester::{AskedRequest, Tester};
use super::h1::{head, leave_or_stay, lost, settle};

/// Requests in one write.
const DEPTH: usize = 4;

/// Some requests and their responses. Gives the last of them, unless the connection is of no more use.
pub(super) async fn ask(me: &mut Tester, connection: &mut H1Connection) -> Option<EndedRequest> {
    let mut bytes = String::new();
    // Each request with the place of its first byte.
    let mut batch = Vec::with_capacity(DEPTH);
    for _ in 0..DEPTH {
        let asked = me.ask();
        batch.push((asked, bytes.len()));
        bytes += &head(me, asked, "GET", None, "");
    }
    let failed = connection.send(bytes.as_bytes()).await.err();
    let sent = failed.as_ref().map_or(bytes.len(), |failed| failed.sent);
    let (begun, not_begun): (Vec<_>, Vec<_>) = batch.into_iter().partition(|(_, at)| *at < sent);
    for (asked, _) in not_begun {
        me.not_sent(asked, RefusedBy::Closed);
    }
    let asked: Vec<AskedRequest> = begun.into_iter().map(|(asked, _)| asked).collect();
    let is_whole = failed.is_none();
    read(me, connection, &asked, failed).await.filter(|_| is_whole)
}

async fn read(
    me: &mut Tester,
    connection: &mut H1Connection,
    batch: &[AskedRequest],
    failed: Option<NotSent>,
) -> Option<EndedRequest> {
    let mut last = None;
    let mut rest = batch.iter().copied();
    while let Some(asked) = rest.next() {
        match connection.answer(None).await {
            Ok(answer) => {
                last = settle(me, asked, answer);
                if !answer.says_close {
                    continue;
                }
                // The server has said that it processes nothing behind this request.
                for behind in rest {
                    me.settle(behind, true, Fate::Refused(RefusedBy::Told), "");
                }
                let _left = leave_or_stay(me, connection, last, answer).await;
                return None;
            }
            Err(no_answer) => {
                for behind in rest {
                    lost_behind(me, behind, &no_answer);
                }
                lost(me, asked, no_answer, failed);
                return None;
            }
        }
    }
    last
}

/// A request behind one without a whole response, so without a byte of its own.
fn lost_behind(me: &mut Tester, asked: AskedRequest, before: &NoAnswer) {
    let kind = match before.kind {
        LossKind::Truncated | LossKind::Malformed => LossKind::Eof,
        kind => kind,
    };
    me.lost(asked, kind, &format!("pipelined behind one that was lost: {}", before.why));
}
