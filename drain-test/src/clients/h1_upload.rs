//! A client that sends bodies in pieces, so that a stop comes between them.

use tokio::time::sleep;

use super::super::h1_connection::{H1Connection, Idle, NotSent};
use super::super::ledger::EndedRequest;
use super::super::tester::{AskedRequest, Tester};
use super::h1::{finish, head};

/// The pieces of a body.
const PIECES: usize = 8;
/// The bytes of a piece.
const PIECE: usize = 4096;

/// One request. None when the connection is of no more use.
pub(super) async fn ask(me: &mut Tester, connection: &mut H1Connection) -> Option<EndedRequest> {
    let asked = me.ask();
    let chunked = asked.id.is_multiple_of(2);
    let failed = send(me, connection, asked, chunked).await.err();
    finish(me, connection, asked, failed, None).await
}

/// Sends head and body, until the server answers or ends the connection.
async fn send(
    me: &Tester,
    connection: &mut H1Connection,
    asked: AskedRequest,
    chunked: bool,
) -> Result<(), NotSent> {
    let plan = &me.round.course.plan;
    let field = if chunked {
        "Transfer-Encoding: chunked\r\n".to_owned()
    } else {
        format!("Content-Length: {}\r\n", PIECES * PIECE)
    };
    let head = head(me, asked, "POST", plan.upload_path.as_deref(), &field);
    connection.send(head.as_bytes()).await?;
    let mut sent = head.len();
    let body = "x".repeat(PIECE);
    let piece = if chunked { format!("{PIECE:x}\r\n{body}\r\n") } else { body };
    for _ in 0..PIECES {
        sleep(plan.pace).await;
        if connection.glance().await != Idle::Quiet {
            let why = "the server was done before the body".to_owned();
            return Err(NotSent { sent, is_reset: connection.is_reset, why });
        }
        send_more(connection, piece.as_bytes(), &mut sent).await?;
    }
    if chunked {
        send_more(connection, b"0\r\n\r\n", &mut sent).await?;
    }
    Ok(())
}

async fn send_more(
    connection: &mut H1Connection,
    bytes: &[u8],
    sent: &mut usize,
) -> Result<(), NotSent> {
    let more = connection.send(bytes).await;
    more.map_err(|failed| NotSent { sent: *sent + failed.sent, ..failed })?;
    *sent += bytes.len();
    Ok(())
}
