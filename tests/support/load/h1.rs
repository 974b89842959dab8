//! HTTP/1.1 clients: one blocking thread each, so the order of their system calls is exact.

use std::ops::ControlFlow;

use super::super::broken::Glance;
use super::super::http1::Response;
use super::super::raw::Conn;
use super::WARM;
use super::client::Client;
use super::ledger::Ledger;

/// A client that keeps its connection for as long as the host does.
pub(super) fn kept(mut me: Client) -> Ledger {
    while keep(&mut me, "GET", ["", "", ""]).is_continue() {}
    me.close()
}

/// A client with uploads that the guest does not read: each body ends after its response, in one piece with
/// the head of the next request.
pub(super) fn held(mut me: Client) -> Ledger {
    let parts = ["0\r\n\r\n", "Transfer-Encoding: chunked\r\n", "8\r\nfor ever\r\n"];
    while keep(&mut me, "POST", parts).is_continue() {}
    me.close()
}

/// A client that has got its responses, and keeps its connection idle until the host closes it.
pub(super) fn idle(mut me: Client) -> Ledger {
    // The client has only one connection, in order or broken.
    if rest(&mut me).is_continue() {
        me.ledger.closed_idle += 1;
    }
    me.close()
}

fn rest(me: &mut Client) -> ControlFlow<()> {
    let mut conn = connect(me)?;
    for _ in 0..WARM {
        let answer = exchange(me, &mut conn, Request::get(""))?;
        if answer.head.says_close() {
            return me.lost(&"told to leave before the stop");
        }
    }
    match conn.wait_fin() {
        Ok(()) => ControlFlow::Continue(()),
        Err(e) => me.lost(&format_args!("while idle: {e}")),
    }
}

/// A client with a connection for each request. Every other request asks to close it.
pub(super) fn fresh(mut me: Client) -> Ledger {
    let close = me.who % 2 == 1;
    while once(&mut me, close).is_continue() {}
    me.close()
}

/// One connection from its first request to its end. `parts`: the bytes after a response, a line of the head,
/// and the bytes between the head and the response.
fn keep(me: &mut Client, method: &'static str, parts: [&'static str; 3]) -> ControlFlow<()> {
    let mut conn = connect(me)?;
    let [behind, field, body] = parts;
    let mut before = "";
    loop {
        let answer = exchange(me, &mut conn, Request { before, method, field, body })?;
        before = behind;
        if answer.head.says_close() {
            me.ledger.told += 1;
            return closed(me, &mut conn);
        }
        // The last look before the next request. An end that it can see is no loss.
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
    let field = if close { "Connection: close\r\n" } else { "" };
    let answer = exchange(me, &mut conn, Request::get(field))?;
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
    match Conn::connect(&me.load.target) {
        Ok(conn) => ControlFlow::Continue(conn),
        Err(e) => me.no_connection(&e),
    }
}

/// The bytes of a request beside its path.
#[derive(Clone, Copy)]
struct Request {
    /// The end of the message before.
    before: &'static str,
    method: &'static str,
    field: &'static str,
    body: &'static str,
}

impl Request {
    fn get(field: &'static str) -> Self {
        Self { before: "", method: "GET", field, body: "" }
    }
}

fn exchange(me: &mut Client, conn: &mut Conn, request: Request) -> ControlFlow<(), Response> {
    let path = me.ask();
    let Request { before, method, field, body } = request;
    let bytes = format!("{before}{method} {path} HTTP/1.1\r\nHost: loss.test\r\n{field}\r\n{body}");
    match conn.send(bytes).and_then(|()| conn.read_response(method)) {
        Ok(answer) => {
            me.judge(answer.status(), &answer.body.bytes, &answer)?;
            ControlFlow::Continue(answer)
        }
        Err(e) => me.lost(&e),
    }
}

/// After `Connection: close` the connection must end by itself, and in order.
fn closed(me: &mut Client, conn: &mut Conn) -> ControlFlow<()> {
    match conn.wait_fin() {
        Ok(()) => ControlFlow::Continue(()),
        Err(e) => me.lost(&format_args!("after an answer with `Connection: close`: {e}")),
    }
}
