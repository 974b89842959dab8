//! A client with a connection for each request. Every other request asks to close it.

use super::super::h1_connection::Idle;
use super::super::ledger::Ledger;
use super::super::tester::Tester;
use super::h1::{connect, exchange, head, look};

pub(super) async fn run(mut me: Tester) -> Ledger {
    let mut close = me.who % 2 == 1;
    while me.goes_on().await {
        once(&mut me, close).await;
        close = !close;
    }
    me.close()
}

/// One connection with one request, sent at once.
async fn once(me: &mut Tester, close: bool) {
    let Some(mut connection) = connect(me).await else { return };
    if look(me, &mut connection, None).await.is_break() {
        return;
    }
    let asked = me.ask();
    let field = if close { "Connection: close\r\n" } else { "" };
    let bytes = head(me, asked, "GET", None, field);
    let last = exchange(me, &mut connection, asked, bytes.as_bytes(), None).await;
    if let (Some(last), Idle::Bytes(what)) = (last, connection.glance().await) {
        me.answered_twice(last, &what);
    }
}
