//! The listeners that a successor may take.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host_handover::{ListenerFacts, ListenerKind, ListenerOrigin};
use host_net::{Acceptor, IdleConnection, ListenerHandle, Service, SocketOrigin};

use tracing::warn;

use crate::config::ListenAddr;
use crate::control::OperatorsHandle;

/// All listeners of this process, by what they are for and where they are configured to be. Cloning gives another handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offers(Arc<Mutex<Vec<Offer>>>);

#[derive(Debug)]
struct Offer {
    kind: ListenerKind,
    /// As it is configured: what a successor looks for.
    address: String,
    path: Option<PathBuf>,
    listener: OfferedListener,
}

enum OfferedListener {
    Guests {
        /// The address as the ready line prints it, by which connections know it.
        name: String,
        handle: ListenerHandle,
        adopt: Box<dyn Fn(IdleConnection) -> io::Result<()> + Send + Sync>,
    },
    Operators(OperatorsHandle),
}

impl fmt::Debug for OfferedListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guests { name, .. } => f.debug_tuple("Guests").field(name).finish(),
            Self::Operators(handle) => f.debug_tuple("Operators").field(handle).finish(),
        }
    }
}

/// The offers at a moment, with their descriptors.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) facts: Vec<ListenerFacts>,
    /// Of each one's socket and, where it has one, of its lock.
    pub(super) descriptors: Vec<OwnedFd>,
}

impl Offers {
    /// A listener for guests, which `acceptor` accepts from.
    pub(crate) fn guests<S: Service>(&self, address: &ListenAddr, acceptor: &Acceptor<S>) {
        let adopter = acceptor.adopter();
        let path = match address {
            ListenAddr::Unix(path) => Some(path.clone()),
            ListenAddr::Tcp(_) => None,
        };
        self.all().push(Offer {
            kind: ListenerKind::Guests,
            address: address.to_string(),
            path,
            listener: OfferedListener::Guests {
                name: adopter.name().to_owned(),
                handle: acceptor.handle(),
                adopt: Box::new(move |idle| adopter.adopt(idle)),
            },
        });
    }

    /// A listener for operators.
    pub(crate) fn operators(&self, kind: ListenerKind, address: String, handle: OperatorsHandle) {
        let path = (kind == ListenerKind::Control).then(|| address.clone().into());
        let listener = OfferedListener::Operators(handle);
        self.all().push(Offer { kind, address, path, listener });
    }

    /// All of them, in an order that stays.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(super) fn gather(&self) -> io::Result<Gathered> {
        let mut gathered = Gathered::default();
        for Offer { kind, address, path, listener } in &*self.all() {
            let shared = match listener {
                OfferedListener::Guests { handle, .. } => handle.share()?.map(|share| {
                    let origin = match share.origin {
                        SocketOrigin::Bound => ListenerOrigin::Bound,
                        SocketOrigin::Inherited => ListenerOrigin::Inherited,
                    };
                    (share.socket, share.lock, origin)
                }),
                OfferedListener::Operators(handle) => {
                    handle.share()?.map(|(socket, lock)| (socket, lock, ListenerOrigin::Bound))
                }
            };
            // Places are those of all of them.
            let Some((socket, lock, origin)) = shared else {
                return Err(io::Error::other(format!("the listener at {address} is closed")));
            };
            gathered.facts.push(ListenerFacts {
                kind: *kind,
                address: address.clone(),
                origin,
                has_lock: lock.is_some(),
                path: path.clone(),
            });
            gathered.descriptors.push(socket);
            gathered.descriptors.extend(lock);
        }
        Ok(gathered)
    }

    /// Takes note of which of the gathered listeners a successor holds too: those at these places.
    pub(super) fn set_shared(&self, uses: &[usize]) {
        for (place, offer) in self.all().iter().enumerate() {
            let is_shared = uses.contains(&place);
            match &offer.listener {
                OfferedListener::Guests { handle, .. } => handle.set_shared(is_shared),
                OfferedListener::Operators(handle) => handle.set_shared(is_shared),
            }
        }
    }

    /// A successor has taken over: operators find it alone.
    pub(super) fn retire(&self) {
        for offer in &*self.all() {
            if let OfferedListener::Operators(handle) = &offer.listener {
                handle.retire();
            }
        }
    }

    /// The place of the listener that connections know by this name.
    pub(super) fn place_of(&self, listener: &str) -> usize {
        let is_it = |offer: &Offer| matches!(&offer.listener, OfferedListener::Guests { name, .. } if name == listener);
        self.all().iter().position(is_it).unwrap_or_default()
    }

    /// Serves a connection on that was accepted at the listener which is configured to be there. All listeners have the
    /// same routes, so any other one does where there is none.
    ///
    /// # Errors
    /// When it cannot be served.
    pub(super) fn adopt(&self, address: Option<&str>, idle: IdleConnection) -> io::Result<()> {
        let all = self.all();
        let guests = || all.iter().filter(|offer| offer.kind == ListenerKind::Guests);
        let there = guests().find(|offer| Some(&*offer.address) == address);
        match there.or_else(|| guests().next()).map(|offer| &offer.listener) {
            Some(OfferedListener::Guests { adopt, .. }) => adopt(idle),
            _ => Err(io::Error::other("there is no listener for guests")),
        }
    }

    /// Serves connections on that were to go over.
    pub(super) fn adopt_all_again(&self, connections: impl IntoIterator<Item = IdleConnection>) {
        for idle in connections {
            let place = self.place_of(&idle.listener);
            let address = self.all().get(place).map(|offer| offer.address.clone());
            if let Err(why) = self.adopt(address.as_deref(), idle) {
                warn!(%why, "upgrade: a connection cannot be taken back");
            }
        }
    }

    fn all(&self) -> MutexGuard<'_, Vec<Offer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
