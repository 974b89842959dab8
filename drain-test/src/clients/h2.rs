//! Clients of HTTP/2.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest, handshake};
use h2::{Error, Reason};
use http::Request;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::super::fate::{Fate, LossKind, RefusedBy};
use super::super::ledger::Ledger;
use super::super::tester::{AskedRequest, Tester};

/// Streams that a kept connection has at a time.
const STREAMS: usize = 4;
/// How long our own end of a connection may take to close once no stream needs it.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// An open connection: the handle that sends requests, and the task that drives it, which is this value's.
struct Open {
    send: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), Error>>,
}

/// Why a connection takes no more requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It had ended before the next request was sent.
    Unasked(RefusedBy),
    /// GOAWAY has refused the last request.
    Told,
    /// The last request was lost.
    Broken,
}

impl End {
    /// The connection has ended in this way, and nothing is sent on it any more.
    fn unasked(error: &Error) -> Self {
        Self::Unasked(if is_told(error) { RefusedBy::Goaway } else { RefusedBy::Closed })
    }

    fn is_told(self) -> bool {
        matches!(self, Self::Told | Self::Unasked(RefusedBy::Goaway))
    }
}

/// A client with several streams at a time on a connection, for as long as the server keeps it.
pub(super) async fn kept(mut me: Tester) -> Ledger {
    let mut ledger = Ledger::default();
    while me.goes_on().await {
        let Some(open) = connect(&mut me).await else { continue };
        // The streams are this client's: it waits for all of them.
        let mut streams = JoinSet::new();
        for _ in 0..STREAMS {
            streams.spawn(keep(me.companion(), open.send.clone()));
        }
        let mut ends = Vec::new();
        while let Some(Ok((of_stream, end))) = streams.join_next().await {
            ledger.merge(of_stream);
            ends.extend(end);
        }
        if ends.iter().any(|end| end.is_told()) {
            me.was_told();
        } else if ends.contains(&End::Unasked(RefusedBy::Closed)) {
            me.closed_idle();
        }
        close(open).await;
    }
    ledger.merge(me.close());
    ledger
}

/// A client with a connection for each request.
pub(super) async fn fresh(mut me: Tester) -> Ledger {
    while me.goes_on().await {
        let Some(open) = connect(&mut me).await else { continue };
        let send = open.send.clone();
        if let ControlFlow::Break(end) = exchange(&mut me, send).await {
            if let End::Unasked(by) = end {
                let asked = me.ask();
                me.not_sent(asked, by);
            }
            if end.is_told() {
                me.was_told();
            }
        }
        close(open).await;
    }
    me.close()
}

/// One request after the other, until the connection or the load ends.
async fn keep(mut me: Tester, send: SendRequest<Bytes>) -> (Ledger, Option<End>) {
    while me.goes_on().await {
        if let ControlFlow::Break(end) = exchange(&mut me, send.clone()).await {
            return (me.close(), Some(end));
        }
    }
    (me.close(), None)
}

async fn connect(me: &mut Tester) -> Option<Open> {
    let stream = me.connect().await?;
    // It sends the preface and waits for nothing.
    match handshake(stream).await {
        Ok((send, connection)) => Some(Open { send, driver: tokio::spawn(connection) }),
        Err(_) => {
            let asked = me.ask();
            me.not_sent(asked, RefusedBy::Closed);
            None
        }
    }
}

/// One request with its whole response. Breaks when the connection takes no more.
async fn exchange(me: &mut Tester, send: SendRequest<Bytes>) -> ControlFlow<End> {
    let patience = me.round.course.plan.patience;
    let mut send = match timeout(patience, send.ready()).await {
        Ok(Ok(send)) => send,
        Ok(Err(e)) => return ControlFlow::Break(End::unasked(&e)),
        Err(_) => {
            let asked = me.ask();
            let fate = Fate::Lost(LossKind::Timeout);
            me.settle(asked, false, fate, "no stream could be opened in time");
            return ControlFlow::Break(End::Broken);
        }
    };
    // There is no await between `ready` and `send_request`, so the result of `ready` still holds.
    let asked = me.ask();
    let Some(request) = request(me, asked) else { return ControlFlow::Break(End::Broken) };
    let answer = match send.send_request(request, true) {
        Ok((answer, _)) => answer,
        // The connection has ended since, and not a byte was sent.
        Err(e) => return ControlFlow::Break(End::unasked(&e)),
    };
    let mut has_begun = false;
    match timeout(patience, whole(answer, &mut has_begun)).await {
        Ok(Ok(status)) => {
            let (fate, detail) = me.judge(status);
            me.settle(asked, true, fate, &detail);
            ControlFlow::Continue(())
        }
        Ok(Err(e)) => failed(me, asked, &e, has_begun),
        Err(_) => {
            me.lost(asked, LossKind::Timeout, "no whole response in time");
            ControlFlow::Break(End::Broken)
        }
    }
}

fn request(me: &mut Tester, asked: AskedRequest) -> Option<Request<()>> {
    let tested = &me.round.course.tested;
    let scheme = if tested.tls.is_some() { "https" } else { "http" };
    let uri = format!("{scheme}://{}{}", tested.authority, tested.path_of(None, asked.id));
    let built = Request::get(uri).header("x-drain-test", asked.id).body(());
    if let Err(e) = &built {
        me.settle(asked, false, Fate::Lost(LossKind::Malformed), &e.to_string());
    }
    built.ok()
}

/// The status, once the whole response has come.
async fn whole(answer: ResponseFuture, has_begun: &mut bool) -> Result<u16, Error> {
    let (head, mut body) = answer.await?.into_parts();
    *has_begun = true;
    while let Some(data) = body.data().await.transpose()? {
        body.flow_control().release_capacity(data.len())?;
    }
    body.trailers().await?;
    Ok(head.status.as_u16())
}

/// Enters a request without a whole response.
fn failed(
    me: &mut Tester,
    asked: AskedRequest,
    error: &Error,
    has_begun: bool,
) -> ControlFlow<End> {
    let is_refused_stream =
        error.is_reset() && error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM);
    let why = error.to_string();
    match error.get_io().map(io::Error::kind) {
        // Whoever has the head of a response does not believe that the request was not begun.
        _ if has_begun => me.lost(asked, LossKind::Truncated, &why),
        // h2 gives the peer's GOAWAY to those streams only that are above the last one that it names.
        _ if is_told(error) => {
            me.settle(asked, true, Fate::Refused(RefusedBy::Goaway), "");
        }
        _ if is_refused_stream => {
            me.settle(asked, true, Fate::Refused(RefusedBy::Stream), "");
        }
        // h2 calls an end in order a broken pipe; rustls one without `close_notify` an unexpected end.
        Some(io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof) => {
            me.lost(asked, LossKind::Eof, &why);
        }
        Some(_) => me.lost(asked, LossKind::Reset, &why),
        None if error.is_reset() => me.lost_stream(asked, &why),
        None => me.lost(asked, LossKind::Malformed, &why),
    }
    match error.is_reset() {
        // A stream that was reset leaves the connection in order.
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(if is_told(error) { End::Told } else { End::Broken }),
    }
}

/// Whether the peer has said GOAWAY.
fn is_told(error: &Error) -> bool {
    error.is_go_away() && error.is_remote()
}

/// Closes our end. No stream needs it, so what happens to the connection now is no loss.
async fn close(open: Open) {
    drop(open.send);
    let abort = open.driver.abort_handle();
    if timeout(CLOSE_PATIENCE, open.driver).await.is_err() {
        abort.abort();
    }
}
