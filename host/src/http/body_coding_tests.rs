use std::task::Waker;

use host_compress::{ContentCoding, EncoderBudget};

use super::*;

/// The frames of a body, one for each poll: data, `None` where it has none yet.
type Script = Vec<Option<Frame<Bytes>>>;

fn data(text: &'static [u8]) -> Option<Frame<Bytes>> {
    Some(Frame::data(Bytes::from_static(text)))
}

/// What comes of a body by this script: pieces, `None` for each wait, then its trailers.
fn outcome(script: Script) -> (Vec<Option<Bytes>>, Option<HeaderMap>) {
    let place = EncoderBudget::new(1 << 20).take(ContentCoding::Gzip).unwrap();
    let mut coding = BodyCoding::new(place);
    let mut script = script.into_iter();
    let (mut cx, mut pieces) = (Context::from_waker(Waker::noop()), Vec::new());
    loop {
        let next = |_: &mut Context<'_>| match script.next() {
            Some(Some(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(None) => Poll::Pending,
            None => Poll::Ready(None),
        };
        match coding.poll(&mut cx, next) {
            Poll::Pending => pieces.push(None),
            Poll::Ready(Some(frame)) => match frame.unwrap().into_data() {
                Ok(data) => pieces.push(Some(data)),
                Err(trailers) => {
                    assert!(coding.has_ended());
                    return (pieces, trailers.into_trailers().ok());
                }
            },
            Poll::Ready(None) => {
                assert!(coding.has_ended());
                return (pieces, None);
            }
        }
    }
}

#[test]
fn what_is_there_goes_out_before_the_body_waits_and_once() {
    // The wait, and a second look that finds nothing new.
    let (pieces, _) = outcome(vec![data(b"one"), None, None, data(b"two"), None]);
    let shape: Vec<bool> = pieces.iter().map(Option::is_some).collect();
    let expected = [true, true, false, true, true];
    assert_eq!(shape, expected, "the head of gzip, one, a wait, two, the end");
}

#[test]
fn trailers_come_behind_the_last_piece() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    let (pieces, told) = outcome(vec![data(b"one"), Some(Frame::trailers(trailers.clone()))]);
    assert_eq!(told, Some(trailers));
    assert!(pieces.iter().all(Option::is_some), "{pieces:?}");
}

/// Zeros shrink by a thousand: the worker was not given back until 16 MiB of them had filled a piece.
#[test]
fn others_get_their_turn_while_much_is_compressed_to_little() {
    static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
    let (pieces, _) = outcome(vec![data(&ZEROS), data(&ZEROS)]);
    assert!(pieces.len() >= 2 * ZEROS.len() / TURN, "{} turns", pieces.len());
}
