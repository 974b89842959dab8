//! An answer on its way from one instance into another.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::answer::Answer;
use super::clock::Behind;
use crate::component::{BodyError, WasiBody};

/// Frames that wait between two instances. One, so that who writes goes no faster than who reads.
const FRAMES: usize = 1;

/// What goes through the pipe. An end without [`Piece::End`] is a break.
enum Piece {
    Frame(Frame<Bytes>),
    End,
    Broken,
}

/// An answer as a body for another instance, and what has to be awaited for it to get its frames.
/// An answer that is there whole needs nobody.
pub(super) fn piped(
    answer: Answer,
    behind: Behind,
) -> (WasiBody, Option<impl Future<Output = ()> + Send>) {
    if answer.is_whole() {
        let whole = answer.map_err(|_| BodyError::HttpResponseIncomplete);
        return (whole.boxed_unsync(), None);
    }
    let size = answer.size_hint();
    let (send, pieces) = mpsc::channel(FRAMES);
    let pipe = Pipe { pieces, size, ended: false };
    (pipe.boxed_unsync(), Some(pump(answer, send, behind)))
}

/// How fast this goes is no matter of who answers: where nobody takes the pieces, the plugin's limits
/// bound that, and the patience of its client's connection.
async fn pump(mut answer: Answer, send: mpsc::Sender<Piece>, behind: Behind) {
    loop {
        let owed = behind.owe();
        let frame = answer.frame().await;
        let (piece, last) = match frame {
            Some(Ok(frame)) => (Piece::Frame(frame), false),
            None => (Piece::End, true),
            Some(Err(_)) => {
                behind.broke_off();
                (Piece::Broken, true)
            }
        };
        drop(owed);
        let open = match send.try_send(piece) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(piece)) => tokio::select! {
                biased;
                sent = send.send(piece) => sent.is_ok(),
                () = answer.is_overdue() => false,
            },
        };
        if !open || last {
            return;
        }
    }
}

struct Pipe {
    pieces: mpsc::Receiver<Piece>,
    size: SizeHint,
    ended: bool,
}

impl Body for Pipe {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let piece = ready!(self.pieces.poll_recv(cx));
        self.ended = !matches!(piece, Some(Piece::Frame(_)));
        Poll::Ready(match piece {
            Some(Piece::Frame(frame)) => Some(Ok(frame)),
            Some(Piece::End) => None,
            Some(Piece::Broken) | None => Some(Err(BodyError::HttpResponseIncomplete)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}
