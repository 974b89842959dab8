//! A response on its way from one instance into another.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::deadlines::{Claim, Downstream};
use super::response_body::ResponseBody;
use crate::component::{BodyError, WasiBody};

/// Frames that wait between two instances. One, so that the writer goes no faster than the reader.
const FRAMES: usize = 1;

/// What goes through the channel. An end without [`Piece::End`] is a break.
pub(super) enum Piece {
    Frame(Frame<Bytes>),
    End,
    Broken,
}

/// The reader's end of a body.
pub(super) enum BodyReceiver {
    /// All of it is here.
    Whole(Bytes),
    Pieces(mpsc::Receiver<Piece>, SizeHint),
}

/// The reader's end of a response body, and what has to be awaited for it to get its frames: nothing, if
/// all of it is here.
pub(super) fn body_channel(
    mut body: ResponseBody,
    downstream: Downstream,
) -> (BodyReceiver, Option<impl Future<Output = ()> + Send>) {
    if let Some(whole) = body.take_whole() {
        return (BodyReceiver::Whole(whole), None);
    }
    let size = body.size_hint();
    let (send, pieces) = mpsc::channel(FRAMES);
    (BodyReceiver::Pieces(pieces, size), Some(pump(body, send, downstream)))
}

/// Ends with the body, or when its reader is gone: then the writer gets no further turn.
///
/// A slow reader is no fault of the writer. Its pace is bounded by the limits of the plugin that reads, and by
/// the patience of its client's connection.
async fn pump(mut body: ResponseBody, send: mpsc::Sender<Piece>, downstream: Downstream) {
    let mut gone = pin!(send.closed());
    loop {
        let pending = downstream.pending();
        let frame = tokio::select! {
            biased;
            () = &mut gone => return,
            frame = body.frame() => frame,
        };
        let (piece, last) = match frame {
            Some(Ok(frame)) => (Piece::Frame(frame), false),
            None => (Piece::End, true),
            Some(Err(_)) => {
                downstream.broke_off();
                (Piece::Broken, true)
            }
        };
        drop(pending);
        let open = match send.try_send(piece) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(piece)) => tokio::select! {
                biased;
                sent = send.send(piece) => sent.is_ok(),
                () = body.is_overdue() => false,
            },
        };
        if !open || last {
            return;
        }
    }
}

impl BodyReceiver {
    /// The body for another instance, which has this `claim` until it has read it.
    pub(super) fn into_body(self, claim: Claim) -> WasiBody {
        match self {
            Self::Whole(whole) => Full::new(whole).map_err(|never| match never {}).boxed_unsync(),
            Self::Pieces(pieces, size) => {
                ChannelBody { pieces, size, ended: false, _claim: claim }.boxed_unsync()
            }
        }
    }
}

struct ChannelBody {
    pieces: mpsc::Receiver<Piece>,
    size: SizeHint,
    ended: bool,
    _claim: Claim,
}

impl Body for ChannelBody {
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
