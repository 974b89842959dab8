//! The sockets that the service manager has handed over, and which listener takes which.

use std::io;
use std::os::fd::OwnedFd;

use host_handover::ListenerKind;
use host_net::{Giver, ListenerHandle, SocketOrigin};
use host_systemd::{HandedSocket, HandedSockets, SocketPlace, WantedListener, assign, fd_name};
use tracing::{info, warn};

use super::manager::{KeptSocket, ServiceManager};
use crate::config::{ListenAddr, ListenerConfig, ServeConfig};
use crate::upgrade::{GivenListener, Predecessor};

/// Under this and its label the service manager keeps a listener of ours, so that a crash does not close it. One that it
/// has opened itself has another name.
const KEPT: &str = "kept-";

/// A socket in place of the one that a listener would bind.
#[derive(Debug)]
pub(super) struct GivenSocket {
    pub(super) socket: OwnedFd,
    pub(super) giver: Giver,
}

/// For each listener of the configuration, in its order, a socket if there is one.
pub(super) type GivenSockets = Vec<Option<GivenSocket>>;

/// For each listener a socket, if there is one for it: of its name, or at its address; else the one that a host before
/// this one has left with the service manager, when it crashed.
///
/// # Errors
/// A socket is left that the service manager has opened, or one is not where its listener is to be.
pub(super) fn given_sockets(
    handed: HandedSockets,
    config: &ServeConfig,
    manager: &ServiceManager,
) -> anyhow::Result<GivenSockets> {
    let HandedSockets { sockets, for_another } = handed;
    if let Some(pid) = for_another {
        warn!(
            pid,
            "sockets were handed to another process, and none to this one; a shell that starts the host has to \
             `exec` it"
        );
    }
    let is_kept = |it: &HandedSocket| it.name.as_ref().is_some_and(|name| name.starts_with(KEPT));
    let (mut kept, opened): (Vec<_>, Vec<_>) = sockets.into_iter().partition(is_kept);
    let listeners = &config.manifest.listen.listeners;
    let wanted: Vec<_> = listeners.iter().map(wanted).collect();
    // Without a manifest nothing has a name, and an address that nobody has asked for.
    let opened = assign(opened, &wanted, config.file.is_none())?;
    let given = listeners.iter().zip(&wanted).zip(opened);
    let given = given.map(|((listener, wanted), opened)| match opened {
        Some(HandedSocket { name, place, socket }) => {
            info!(listener = listener.label(), %place, name, "the service manager has opened this listener");
            Some(GivenSocket { socket: socket.into(), giver: Giver::ServiceManager })
        }
        None => take_kept(&mut kept, listener, &wanted.place),
    });
    let given = given.collect();
    for HandedSocket { name, place, .. } in kept {
        info!(%place, name, "a listener that was kept is closed: none is to be there now");
        name.inspect(|name| manager.let_go(name));
    }
    Ok(given)
}

/// For each listener of the configuration, in its order, the socket that the predecessor has at the same address.
pub(super) fn taken_over(predecessor: &Predecessor, config: &ServeConfig) -> GivenSockets {
    let take = |listener: &ListenerConfig| {
        let given = predecessor.take(ListenerKind::Guests, &listener.address.to_string())?;
        let GivenListener { socket, lock, origin } = given;
        Some(GivenSocket { socket, giver: Giver::Predecessor { origin, lock } })
    };
    config.manifest.listen.listeners.iter().map(take).collect()
}

/// The listener if the service manager is to keep it: one that this process has bound, with TCP. A Unix socket has its path
/// beside, which the service manager knows nothing of, and which a successor takes over from the dead.
///
/// # Errors
/// When there is no descriptor left.
pub(super) fn to_be_kept(
    listener: &ListenerConfig,
    handle: &ListenerHandle,
) -> io::Result<Option<KeptSocket>> {
    let ListenAddr::Tcp(_) = listener.address else { return Ok(None) };
    let share = handle.share()?.filter(|share| share.origin == SocketOrigin::Bound);
    Ok(share.map(|share| KeptSocket { name: kept_name(listener), socket: share.socket }))
}

fn kept_name(listener: &ListenerConfig) -> String {
    fd_name(&format!("{KEPT}{}", listener.label()))
}

fn take_kept(
    kept: &mut Vec<HandedSocket>,
    listener: &ListenerConfig,
    place: &SocketPlace,
) -> Option<GivenSocket> {
    let name = kept_name(listener);
    let is_it = |it: &HandedSocket| it.name.as_ref() == Some(&name) && it.place.is_meant_by(place);
    let HandedSocket { place, socket, .. } = kept.remove(kept.iter().position(is_it)?);
    info!(listener = listener.label(), %place, "a listener goes on that the process before has left behind");
    // It has ended, so the queue is ours alone, and so is the end of it.
    let giver = Giver::Predecessor { origin: SocketOrigin::Bound, lock: None };
    Some(GivenSocket { socket: socket.into(), giver })
}

fn wanted(listener: &ListenerConfig) -> WantedListener {
    let place = match &listener.address {
        ListenAddr::Tcp(address) => SocketPlace::Tcp(*address),
        ListenAddr::Unix(path) => SocketPlace::Unix(path.clone()),
    };
    WantedListener { name: listener.name.as_ref().map(ToString::to_string), place }
}
