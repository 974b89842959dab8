//! HTTP/1.1 clients: one blocking thread each, so the order of their system calls is exact.

use std::ops::ControlFlow;

use super::super::broken::Glance;
use super::super::http1::Response;
use super::super::raw::Conn;
use super::client::Client;
use super::ledger::Ledger;

/// A client that keeps its connection while the host does.
pub(super) fn kept(mut me: Client) -> Ledger {
    while keep(&mut me).is_continue() {}
    me.close()
}

/// A client that makes a connection for each request; one with an odd number asks to close it.
pub(super) fn fresh(mut me: Client) -> Ledger {
    let close = me.who % 2 == 1;
    while once(&mut me, close).is_continue() {}
    me.close()
}

/// One connection from its first request to its end.
fn keep(me: &mut Client) -> ControlFlow<()> {
    let mut conn = connect(me)?;
    loop {
        let answer = exchange(me, &mut conn, "")?;
        if answer.head.says_close() {
            me.ledger.told += 1;
            return closed(me, &mut conn);
        }
        // The last look before the next request: what can be seen here is no loss.
        match conn.glance() {
            Glance::Quiet => {}
            Glance::Fin => {
                me.ledger.closed_idle += 1;
                return ControlFlow::Continue(());
            }
            Glance::Reset => return me.lost(&"reset while idle"),
            Glance::Bytes => return me.lost(&"bytes behind the answer"),
        }
    }
}

/// One connection with one request, sent at once.
fn once(me: &mut Client, close: bool) -> ControlFlow<()> {
    let mut conn = connect(me)?;
    let answer = exchange(me, &mut conn, if close { "Connection: close\r\n" } else { "" })?;
    if answer.head.says_close() {
        me.ledger.told += u64::from(!close);
        return closed(me, &mut conn);
    }
    if close {
        return me.lost(&"the answer to `Connection: close` does not say it");
    }
    ControlFlow::Continue(())
}

fn connect(me: &mut Client) -> ControlFlow<(), Conn> {
    match Conn::connect(me.load.addr) {
        Ok(conn) => ControlFlow::Continue(conn),
        Err(e) => me.no_connection(&e),
    }
}

fn exchange(me: &mut Client, conn: &mut Conn, more: &str) -> ControlFlow<(), Response> {
    let path = me.ask();
    let request = format!("GET {path} HTTP/1.1\r\nHost: loss.test\r\n{more}\r\n");
    match conn.send(request).and_then(|()| conn.read_response("GET")) {
        Ok(answer) => {
            me.judge(answer.status(), &answer.body.bytes, &answer)?;
            ControlFlow::Continue(answer)
        }
        Err(e) => me.lost(&e),
    }
}

/// After `Connection: close`: the end must come by itself, and in order.
fn closed(me: &mut Client, conn: &mut Conn) -> ControlFlow<()> {
    match conn.wait_fin() {
        Ok(()) => ControlFlow::Continue(()),
        Err(e) => me.lost(&format_args!("after an answer with `Connection: close`: {e}")),
    }
}
