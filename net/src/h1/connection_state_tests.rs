//! The machine by itself: what it decides in which state, moment by moment.

use super::decision::REST_AT_MOST;
use super::*;
use crate::connection_end::{CUT_FLUSH, ConnectionEnd};
use crate::service::Refusal;
use crate::socket::{LOOKS, REACTOR_TURN};

const LIMITS: PeerLimits = PeerLimits::TEST;

const SECOND: Duration = Duration::from_secs(1);
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A machine, and when its connection was accepted.
fn fresh() -> (ConnectionState, Instant) {
    let accepted = Instant::now();
    (ConnectionState::new(LIMITS, (accepted, 0), BytesMut::new()), accepted)
}

/// The same, kept alive behind its first answer.
fn kept() -> (ConnectionState, Instant) {
    let (mut state, accepted) = fresh();
    serve(&mut state);
    (state, accepted)
}

fn serve(state: &mut ConnectionState) {
    assert_eq!(state.receive(GET), GET.len());
    state.request(Framing::Sized(0), false);
    assert!(!state.says_close(false, true, None, || false));
    state.answered();
}

#[test]
fn an_idle_connection_is_looked_at_once_more_before_it_is_closed() {
    let (mut state, accepted) = kept();
    let due = accepted + LIMITS.keep_alive;
    assert_eq!(state.decide(), Decision::Wait(due));
    state.tick(due);
    assert_eq!(state.decide(), Decision::Look(Side::Input));
    state.looked(false);
    assert_eq!(state.decide(), Decision::Leave(ConnectionEnd::Finished));
}

/// C8: after a pause of the process the deadline has passed, and the bytes came in time.
#[test]
fn what_the_kernel_has_is_read_before_a_deadline_counts() {
    let (mut state, accepted) = fresh();
    assert_eq!(state.receive(b"GET / HT"), 8);
    let due = accepted + LIMITS.head;
    assert_eq!(state.decide(), Decision::Wait(due));
    state.tick(due + SECOND);
    assert_eq!(state.decide(), Decision::Look(Side::Input));
    state.looked(true);
    assert_eq!(state.decide(), Decision::Wait(due + SECOND + REACTOR_TURN));
    state.receive(b"TP/1.1\r\nHost: a\r\n\r\n");
    state.request(Framing::Sized(0), false);
    assert!(matches!(state.decide(), Decision::Wait(_)));
}

/// No state waits without readiness or a bound: not for bytes either that lie there for ever.
#[test]
fn looks_that_find_something_which_never_comes_are_bounded() {
    let (mut state, accepted) = kept();
    let mut now = accepted + LIMITS.keep_alive;
    for _ in 0..=LOOKS {
        state.tick(now);
        assert_eq!(state.decide(), Decision::Look(Side::Input));
        state.looked(true);
        now += REACTOR_TURN;
    }
    state.tick(now);
    assert_eq!(state.decide(), Decision::Leave(ConnectionEnd::Finished));
}

/// C4: the grace was what the timer had left, and could be nothing.
#[test]
fn after_a_cut_the_grace_is_whole_whatever_was_due_before() {
    let (mut state, accepted) = kept();
    state.receive(GET);
    state.request(Framing::Sized(0), false);
    state.sending(Sending::Blocked);
    let cut = accepted + LIMITS.stall;
    state.tick(cut);
    state.cut();
    assert_eq!(state.decide(), Decision::Wait(cut + CUT_FLUSH));
    state.tick(cut + CUT_FLUSH);
    assert_eq!(state.decide(), Decision::Leave(ConnectionEnd::Dropped));
}

#[test]
fn a_cut_tells_who_has_begun_and_leaves_who_is_idle() {
    for (bytes, end) in [
        (&b"G"[..], ConnectionEnd::Refused(Refusal::Stopping)),
        (b"\r\n", ConnectionEnd::Finished),
        (b"", ConnectionEnd::Finished),
    ] {
        let (mut state, _) = kept();
        state.receive(bytes);
        state.cut();
        if end == ConnectionEnd::Finished {
            assert_eq!(state.decide(), Decision::Look(Side::Input));
            state.looked(false);
        }
        assert_eq!(state.decide(), Decision::Leave(end), "{bytes:?}");
    }
}

#[test]
fn nothing_behind_a_request_is_due_before_its_answer_has_ended() {
    let (mut state, _) = fresh();
    let both = [GET, GET].concat();
    assert_eq!(state.receive(&both), GET.len());
    state.request(Framing::Sized(0), false);
    assert_eq!(state.due(100), Due::Nothing);
    assert!(!state.is_due_again());
    state.answered();
    assert!(state.is_due_again());
    assert_eq!(state.take_ahead(100), GET);
}

/// C1, C2: whatever is still to come of a request that was answered is followed to its end.
#[test]
fn the_head_behind_a_body_that_nobody_reads_is_found() {
    let (mut state, accepted) = fresh();
    state.receive(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    state.request(Framing::Chunked, false);
    state.answered();
    assert_eq!(state.decide(), Decision::Wait(accepted + LIMITS.stall));
    let chunk = b"1b\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n";
    let all = [&chunk[..], GET].concat();
    assert_eq!(state.receive(&all), chunk.len());
    assert_eq!(state.doing(), Activity::Reading, "the next one has begun");
    assert_eq!(state.take_ahead(100), GET);
}

/// An upload that went on for longer than a peer may stall was cut, and the next request lost.
#[test]
fn the_rest_of_a_body_is_read_while_it_comes_and_not_for_ever() {
    let (mut state, accepted) = fresh();
    let length = 1 << 20;
    state.receive(
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
    );
    state.request(Framing::Sized(length), false);
    state.answered();
    let mut now = accepted;
    while let Decision::Wait(until) = state.decide() {
        if until == accepted + REST_AT_MOST {
            break;
        }
        assert_eq!(until, now + LIMITS.stall);
        now += LIMITS.stall / 2;
        state.tick(now);
        state.receive(b"x");
    }
    assert_eq!(state.decide(), Decision::Wait(accepted + REST_AT_MOST));
}

/// `Connection: close` is for a body that its peer holds back and that nobody asked for.
#[test]
fn who_was_asked_for_its_body_may_send_another_request() {
    for (asked, closes) in [(true, false), (false, true)] {
        let (mut state, _) = fresh();
        state.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
        state.request(Framing::Sized(9), false);
        assert_eq!(state.says_close(false, asked, None, || false), closes);
    }
}

#[test]
fn who_is_asked_to_make_room_leaves_only_if_it_is_idle() {
    let (mut state, _) = kept();
    assert!(state.make_room());
    assert_eq!(state.decide(), Decision::Look(Side::Input));
    state.receive(b"G");
    assert!(matches!(state.decide(), Decision::Wait(_)), "a request has begun");
    let (mut busy, _) = fresh();
    busy.receive(GET);
    busy.request(Framing::Sized(0), false);
    assert!(!busy.make_room());
    busy.answered();
    assert!(matches!(busy.decide(), Decision::Wait(_)), "that was for then");
}

/// The peer knows that nothing follows; what it sent all the same it may send again (RFC 9112 §9.6).
#[test]
fn nothing_is_read_behind_an_answer_that_said_close() {
    let (mut state, accepted) = fresh();
    state.receive(GET);
    state.request(Framing::Sized(0), false);
    assert!(state.says_close(false, true, Some(accepted), || false));
    state.answered();
    assert_eq!(state.decide(), Decision::Leave(ConnectionEnd::Finished));
    assert_eq!(state.due(100), Due::Nothing);
}

/// What the kernel has of the next request goes with the socket, so nobody looks; a stop does not hurry.
#[test]
fn an_idle_connection_goes_over_at_once_and_one_that_is_not_stays() {
    let over = Decision::Leave(ConnectionEnd::GoesOver);
    let (mut state, _) = kept();
    state.drain();
    state.set_goes_over(true);
    assert_eq!(state.decide(), over);
    state.receive(b"G");
    assert!(matches!(state.decide(), Decision::Wait(_)), "a head has begun");
    state.receive(&GET[1..]);
    state.request(Framing::Sized(0), false);
    assert!(matches!(state.decide(), Decision::Wait(_)), "an answer is owed");
    state.answered();
    state.sending(Sending::Blocked);
    assert_ne!(state.decide(), over, "the peer has not taken it");
    state.flushed();
    assert_eq!(state.decide(), over);
    state.set_goes_over(false);
    assert_ne!(state.decide(), over, "taken back");
}

/// A client whose next request was always there already held the old process up until its stop cut, and lost it.
#[test]
fn a_peer_that_would_never_be_idle_is_told_to_leave() {
    let leaving = |state: &ConnectionState| Some(state.now);
    let answer = |complete: bool, next: bool| {
        let (mut state, _) = kept();
        state.set_goes_over(true);
        state.receive(GET);
        state.request(Framing::Sized(if complete { 0 } else { 5 }), false);
        let since = leaving(&state);
        let told = state.says_close(false, true, since, || next);
        state.tick(state.now + 2 * PIPELINED_AT_MOST);
        (told, state.says_close(false, true, since, || next))
    };
    assert_eq!(answer(true, false), (false, true), "it is idle behind this");
    assert_eq!(answer(false, false), (true, true), "more of this request is to come");
    assert_eq!(answer(true, true), (false, true), "it has had its time");
}
