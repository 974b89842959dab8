//! A client that reads its responses slowly, so that a stop comes into the middle of them.

use super::super::ledger::Ledger;
use super::super::tester::Tester;
use super::h1::{connect, exchange, head, look};

pub(super) async fn run(mut me: Tester) -> Ledger {
    while me.goes_on().await {
        keep(&mut me).await;
    }
    me.close()
}

async fn keep(me: &mut Tester) {
    let Some(mut connection) = connect(me).await else { return };
    let mut last = None;
    loop {
        if look(me, &mut connection, last).await.is_break() {
            return;
        }
        let asked = me.ask();
        let plan = &me.round.course.plan;
        let pace = Some(plan.pace);
        let bytes = head(me, asked, "GET", plan.stream_path.as_deref(), "");
        last = exchange(me, &mut connection, asked, bytes.as_bytes(), pace).await;
        if last.is_none() || !me.goes_on().await {
            return;
        }
    }
}
