//! A response body that is compressed as it goes out.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use host_body::PolledFrame;
use host_compress::{Encoder, EncoderPlace};
use http::HeaderMap;
use http_body::Frame;

use super::blame::ExchangeError;

/// What is compressed in one turn before others get theirs: a guest that writes nothing but zeros fills no piece
/// for a long time.
const TURN: usize = 128 * 1024;

/// A body's encoder, with what it has been given and not taken yet.
#[derive(Debug)]
pub(super) struct BodyCoding {
    encoder: Encoder,
    input: Bytes,
    state: CodingState,
}

#[derive(Debug)]
enum CodingState {
    /// More may come of the body.
    Open,
    /// The body is over, with these trailers if it has some. Its last pieces are not.
    Ending(Option<HeaderMap>),
    Ended,
}

impl BodyCoding {
    pub(super) fn new(place: EncoderPlace) -> Self {
        Self { encoder: Encoder::new(place), input: Bytes::new(), state: CodingState::Open }
    }

    /// Whether all was handed over, with the end of the coding.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, CodingState::Ended)
    }

    /// The next compressed frame of a body that gives its own by `next`. What is there is never held back while the
    /// body waits for more.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut next: impl FnMut(&mut Context<'_>) -> PolledFrame<Bytes, ExchangeError>,
    ) -> PolledFrame<Bytes, ExchangeError> {
        let mut taken = 0;
        loop {
            if !self.input.is_empty() {
                if taken >= TURN {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let before = self.input.len();
                let piece = self.encoder.encode(&mut self.input, TURN - taken);
                taken += before - self.input.len();
                match piece {
                    Ok(None) => continue,
                    piece => return given(piece),
                }
            }
            match &mut self.state {
                CodingState::Open => match next(cx) {
                    Poll::Ready(Some(Ok(frame))) => self.take(frame),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                    Poll::Ready(None) => self.state = CodingState::Ending(None),
                    Poll::Pending => {
                        return match self.encoder.flush() {
                            Ok(None) => Poll::Pending,
                            piece => given(piece),
                        };
                    }
                },
                CodingState::Ending(trailers) => match self.encoder.finish() {
                    Ok(None) => {
                        let trailers = trailers.take();
                        self.state = CodingState::Ended;
                        return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                    }
                    piece => return given(piece),
                },
                CodingState::Ended => return Poll::Ready(None),
            }
        }
    }

    fn take(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) => self.input = data,
            Err(frame) => self.state = CodingState::Ending(frame.into_trailers().ok()),
        }
    }
}

/// A piece as a frame. A codec that fails is no fault of the guest; it breaks the message all the same.
fn given(piece: io::Result<Option<Bytes>>) -> PolledFrame<Bytes, ExchangeError> {
    Poll::Ready(match piece {
        Ok(piece) => piece.map(|piece| Ok(Frame::data(piece))),
        Err(why) => Some(Err(ExchangeError::BodyBroken(format!("it cannot be compressed: {why}")))),
    })
}

#[cfg(test)]
#[path = "body_coding_tests.rs"]
mod tests;
