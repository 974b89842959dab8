//! A client that keeps its connection for as long as the server does.

use super::super::ledger::Ledger;
use super::super::tester::Tester;
use super::h1::{connect, exchange, head, look};

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
        let asked = me.ask();
        let bytes = head(me, asked, "GET", None, "");
        last = exchange(me, &mut connection, asked, bytes.as_bytes(), None).await;
        if last.is_none() || !me.goes_on().await {
            return;
        }
    }
}
