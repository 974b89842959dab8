//! A server that answers before it has read all, and closes.
//!
//! A guest uploads. The server answers 413 without reading on, and closes: with bytes that it has
//! not read, that is a reset. The next write learns of that, before anybody has read the answer, which
//! lies in the kernel. hyper gave up there: 24 of 40 such uploads had an error for the guest, where curl
//! shows the 413.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll};

use http_body::Frame;

use super::*;

/// How a server closes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Close {
    /// At once: a reset.
    AtOnce,
    /// It says first that it has said all.
    FinFirst,
}

/// One connection: reads the head, answers, closes, and tells that it has.
fn answer_early(listener: &TcpListener, answer: &str, close: Close, closed: &Sender<()>) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut byte = [0];
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    // Something of the body is there that is not read.
    stream.peek(&mut byte).unwrap();
    stream.write_all(answer.as_bytes()).unwrap();
    if close == Close::FinFirst {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    drop(stream);
    closed.send(()).unwrap();
}

/// A body whose second piece comes once the server has closed. It blocks the one thread of the runtime,
/// so that nobody reads in between: that is the point.
struct Late {
    pieces: usize,
    closed: Receiver<()>,
}

impl http_body::Body for Late {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.pieces += 1;
        match self.pieces {
            1 => {}
            // The look at the body ends here.
            2 => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // Written out before the next one is asked for: the server waits for it.
            3 => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            4 => self.closed.recv_timeout(DEADLINE).unwrap(),
            _ => {}
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16384])))))
    }
}

async fn upload(answer: &'static str, close: Close) -> Result<Response<UpstreamBody>, SendError> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    let (closed, is_closed) = channel();
    let server = std::thread::spawn(move || answer_early(&listener, answer, close, &closed));
    let origins = [uri.trim_end_matches('/').to_owned()];
    let client = client_with(&origins, NOTHING, ClientLimits::default(), &Names::default());
    let body = Late { pieces: 0, closed: is_closed };
    let request = Request::post(&uri).body(body).unwrap();
    let response = soon(client.send(request, Timeouts::default())).await;
    tokio::task::spawn_blocking(|| server.join().unwrap()).await.unwrap();
    response
}

const SIZED: &str = "HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
const TO_THE_END: &str = "HTTP/1.1 413 Too Large\r\nconnection: close\r\n\r\nhello";

#[tokio::test]
async fn an_answer_that_has_come_wins_over_the_write_that_fails() {
    for close in [Close::AtOnce, Close::FinFirst] {
        for answer in [SIZED, TO_THE_END] {
            let response = upload(answer, close).await;
            let response = response.unwrap_or_else(|why| panic!("{close:?} {answer}: {why}"));
            assert_eq!(response.status(), 413);
            // The end of a reset is not the end of a body.
            let whole = soon(response.into_body().collect()).await;
            let is_cut = close == Close::AtOnce && answer == TO_THE_END;
            assert_eq!(whole.is_err(), is_cut, "{close:?} {answer}: {whole:?}");
        }
    }
}

#[tokio::test]
async fn without_an_answer_the_write_that_fails_is_the_end() {
    for close in [Close::AtOnce, Close::FinFirst] {
        for answer in ["", "HTTP/1.1 413 Too"] {
            let refused = upload(answer, close).await;
            assert!(matches!(refused, Err(SendError::Incomplete(_))), "{close:?}: {refused:?}");
        }
    }
}
