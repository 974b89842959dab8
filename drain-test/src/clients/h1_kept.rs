//! Clients that keep their connection for as long as the server does, whatever they ask for on it.

use super::super::h1_connection::H1Connection;
use super::super::kinds::ClientKind;
use super::super::ledger::{EndedRequest, Ledger};
use super::super::tester::Tester;
use super::h1::{connect, exchange, head, look};
use super::{h1_pipelined, h1_stream, h1_upload};

pub(super) async fn run(mut me: Tester) -> Ledger {
    while me.goes_on().await {
        keep(&mut me).await;
    }
    me.close()
}

/// One connection from its first request to its end.
async fn keep(me: &mut Tester) {
    let Some(mut connection) = connect(me).await else { return };
    let mut last = None;
    loop {
        if look(me, &mut connection, last).await.is_break() {
            return;
        }
        last = match me.kind {
            ClientKind::H1Pipelined => h1_pipelined::ask(me, &mut connection).await,
            ClientKind::H1Upload => h1_upload::ask(me, &mut connection).await,
            ClientKind::H1Stream => h1_stream::ask(me, &mut connection).await,
            _ => ask(me, &mut connection).await,
        };
        if last.is_none() || !me.goes_on().await {
            return;
        }
    }
}

/// One request. None when the connection is of no more use.
async fn ask(me: &mut Tester, connection: &mut H1Connection) -> Option<EndedRequest> {
    let asked = me.ask();
    let bytes = head(me, asked, "GET", None, "");
    exchange(me, connection, asked, bytes.as_bytes(), None).await
}
