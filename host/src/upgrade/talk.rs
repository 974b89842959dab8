//! What the host that is upgraded says to its successor, and why a successor is given up.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process;
use std::time::Duration;

use host_handover::{ChannelError, HandoverMessage, Hello, ListenerFacts, PROTOCOL, StopPoint};

use super::offers::Gathered;
use super::order::UpgradeError;
use super::successor::Successor;

/// Listeners in one message: each has two descriptors at most.
const LISTENERS_AT_ONCE: usize = 64;

/// Gives the version of the successor.
pub(super) async fn greet(
    successor: &mut Successor,
    within: Duration,
) -> Result<String, UpgradeError> {
    let ours =
        Hello { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").into(), pid: process::id() };
    send(successor, &HandoverMessage::Hello(ours), &[], BEFORE_HELLO).await?;
    let hello = match successor.channel.receive("hello", within).await {
        Ok((HandoverMessage::Hello(hello), _)) => hello,
        said => return Err(given_up(successor, said, "hello").await),
    };
    StopPoint::OldHello.reached();
    if hello.protocol != PROTOCOL {
        let Hello { version, protocol: theirs, .. } = hello;
        return Err(UpgradeError::OtherProtocol { version, theirs, ours: PROTOCOL });
    }
    let (pid, host) = (successor.pid(), hello.pid);
    if host != pid {
        return Err(UpgradeError::Wrapped { pid, host });
    }
    Ok(hello.version)
}

const BEFORE_HELLO: &str = "before it said hello";
pub(super) const WHILE_TAKING: &str = "while it took over";

pub(super) async fn send_listeners(
    successor: &mut Successor,
    Gathered { facts, descriptors }: Gathered,
) -> Result<(), UpgradeError> {
    let count = |facts: &[ListenerFacts]| -> usize {
        facts.iter().map(|facts| 1 + usize::from(facts.has_lock)).sum()
    };
    let mut descriptors = descriptors.iter().map(OwnedFd::as_fd);
    // The last part is empty.
    for part in facts.chunks(LISTENERS_AT_ONCE).chain([&[][..]]) {
        let theirs: Vec<BorrowedFd<'_>> = descriptors.by_ref().take(count(part)).collect();
        let message = HandoverMessage::Listeners(part.to_vec());
        send(successor, &message, &theirs, "before it was ready").await?;
    }
    Ok(())
}

pub(super) async fn send(
    successor: &mut Successor,
    message: &HandoverMessage,
    descriptors: &[BorrowedFd<'_>],
    when: &'static str,
) -> Result<(), UpgradeError> {
    match successor.channel.send(message, descriptors).await {
        Ok(()) => Ok(()),
        Err(why) => Err(failed(successor, why, when).await),
    }
}

/// Why a successor is given up that has said this, or nothing.
pub(super) async fn given_up(
    successor: &mut Successor,
    said: Result<(HandoverMessage, Vec<OwnedFd>), ChannelError>,
    expected: &'static str,
) -> UpgradeError {
    let when = match expected {
        "hello" => BEFORE_HELLO,
        "ready" => "before it was ready",
        _ => WHILE_TAKING,
    };
    match said {
        Ok((HandoverMessage::No { why }, _)) => {
            let how = successor.end_in_words().await;
            UpgradeError::Refused { pid: successor.pid(), how, why }
        }
        Ok((said, _)) => {
            let why = ChannelError::unexpected(&said, expected);
            UpgradeError::GivenUp { pid: successor.pid(), why }
        }
        Err(why) => failed(successor, why, when).await,
    }
}

pub(super) async fn failed(
    successor: &mut Successor,
    why: ChannelError,
    when: &'static str,
) -> UpgradeError {
    let pid = successor.pid();
    match why {
        ChannelError::Closed => {
            UpgradeError::Ended { pid, how: successor.end_in_words().await, when }
        }
        why => UpgradeError::GivenUp { pid, why },
    }
}
