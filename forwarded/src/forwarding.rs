//! The rule by which the client of a request is found.

use std::collections::VecDeque;
use std::net::IpAddr;

use http::header::FORWARDED;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName};

use super::address::address;
use super::element::{Element, elements};
use super::names::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use super::trusted::TrustedProxies;

/// Entries of a list that are looked at, from its end. There are as many trusted proxies in a row nowhere.
pub const MOST_ENTRIES: usize = 32;

/// The way of a request from its client to the host's peer, as far as it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// Who sent it; none where nobody who is believed knows.
    pub client: Option<IpAddr>,
    /// What the client asked by, where the peer is believed and says it.
    pub scheme: Option<Scheme>,
    /// The host that the client asked for, where the peer is believed and says it.
    pub host: Option<Authority>,
    /// The trusted proxies behind the client, the peer last; one on a Unix socket has no address.
    proxies: Vec<Option<IpAddr>>,
}

/// What one of the two lists says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Walk {
    /// Entries that were there, of those looked at.
    entries: usize,
    client: Option<IpAddr>,
    /// Trusted ones that were passed, the last one of the list first.
    passed: Vec<IpAddr>,
}

impl Forwarding {
    /// Of a request whose peer is its client.
    #[must_use]
    pub fn direct(peer: Option<IpAddr>) -> Self {
        let client = peer.map(|peer| peer.to_canonical());
        Self { client, scheme: None, host: None, proxies: Vec::new() }
    }

    /// Of a request with these headers.
    ///
    /// From a peer that is not trusted they say nothing. From a trusted one, its `X-Forwarded-For` is walked from the
    /// right: the first entry that is not a trusted proxy is the client, and where that is no address nobody knows who
    /// the client is. Where all are trusted, the client is the leftmost. `Forwarded` is read in the same way; it
    /// counts where there is no `X-Forwarded-For`. Where the two name different clients, neither is believed, because
    /// most proxies write one of them and hand on the other as their client has sent it.
    #[must_use]
    pub fn read(headers: &HeaderMap, peer: Option<IpAddr>, trusted: &TrustedProxies) -> Self {
        if trusted.is_empty() || !trusted.has(peer) {
            return Self::direct(peer);
        }
        let entries = entries(headers);
        let elements = all_elements(headers);
        let by_entries = Walk::new(entries.iter().rev().copied(), trusted);
        let by_elements = Walk::new(elements.iter().rev().map(|it| it.sender), trusted);
        let walk = match (by_entries.entries, by_elements.entries) {
            (0, 0) => {
                let named = Named::by_fields(headers, 0);
                return Self { scheme: named.scheme, host: named.host, ..Self::direct(peer) };
            }
            (0, _) => &by_elements,
            (_, 0) => &by_entries,
            _ if by_entries.client != by_elements.client => &Walk::default(),
            _ => &by_entries,
        };
        let position = walk.position();
        let named = match (by_entries.entries, walk.entries) {
            (_, 0) => Named::default(),
            (0, _) => Named::by_elements(&elements, position),
            _ => Named::by_fields(headers, position)
                .or(Named::by_elements(&elements, by_elements.position())),
        };
        let client_is_proxy = walk.client.is_some() && walk.passed.last() == walk.client.as_ref();
        let passed = walk.passed.len() - usize::from(client_is_proxy);
        let peer = peer.map(|peer| peer.to_canonical());
        Self {
            client: walk.client,
            scheme: named.scheme,
            host: named.host,
            proxies: walk
                .passed
                .iter()
                .take(passed)
                .rev()
                .copied()
                .map(Some)
                .chain([peer])
                .collect(),
        }
    }

    /// All that sent it on, the client first and the peer last; none for one that nobody knows.
    pub fn senders(&self) -> impl Iterator<Item = Option<IpAddr>> {
        [self.client].into_iter().chain(self.proxies.iter().copied())
    }
}

impl Walk {
    /// By the senders of a list, the last one first.
    fn new(senders: impl Iterator<Item = Option<IpAddr>>, trusted: &TrustedProxies) -> Self {
        let mut walk = Self::default();
        for sender in senders {
            walk.entries += 1;
            walk.client = sender;
            match sender {
                Some(proxy) if trusted.has(sender) => walk.passed.push(proxy),
                _ => return walk,
            }
        }
        if walk.entries == MOST_ENTRIES {
            // The way goes on, further than it is looked at.
            walk.client = None;
        }
        walk
    }

    /// Where in the list the client stands, counted from its end.
    fn position(&self) -> usize {
        self.entries.saturating_sub(1)
    }
}

/// What a trusted proxy says of the request that came to it.
#[derive(Default)]
struct Named {
    scheme: Option<Scheme>,
    host: Option<Authority>,
}

impl Named {
    /// By `X-Forwarded-Proto` and `X-Forwarded-Host`. Where they are lists, what stands as far from the end as the
    /// client does; the first one of a shorter list, which one proxy has written and others have left.
    fn by_fields(headers: &HeaderMap, position: usize) -> Self {
        let at = |name| {
            let values = list(headers, name);
            let last = values.len().checked_sub(1)?;
            values.get(last.saturating_sub(position)).and_then(|value| str::from_utf8(value).ok())
        };
        Self {
            scheme: at(&X_FORWARDED_PROTO).and_then(scheme),
            host: at(&X_FORWARDED_HOST).and_then(authority),
        }
    }

    fn by_elements(elements: &VecDeque<Element<'_>>, position: usize) -> Self {
        let element = elements.iter().rev().nth(position);
        let proto = element.and_then(|element| element.proto.as_deref());
        let host = element.and_then(|element| element.host.as_deref());
        Self { scheme: proto.and_then(scheme), host: host.and_then(authority) }
    }

    fn or(self, other: Self) -> Self {
        Self { scheme: self.scheme.or(other.scheme), host: self.host.or(other.host) }
    }
}

fn scheme(text: &str) -> Option<Scheme> {
    let known = [Scheme::HTTP, Scheme::HTTPS];
    known.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(text))
}

/// Bytes of a host with its port: a name has 255 at most (RFC 1035 §2.3.4), a port 5.
const HOST: usize = 255 + ":65535".len();

fn authority(text: &str) -> Option<Authority> {
    let authority = text.parse::<Authority>().ok().filter(|_| text.len() <= HOST)?;
    let has_port = text.len() > authority.host().len();
    // One with a `,` would be two where it is written again.
    let is_fit = !authority.host().is_empty() && !text.contains(['@', ',']);
    (is_fit && (!has_port || authority.port_u16().is_some())).then_some(authority)
}

/// The senders of `X-Forwarded-For` that are looked at, in the order of the list.
fn entries(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let entries = list(headers, &X_FORWARDED_FOR);
    let read = |entry: &&[u8]| str::from_utf8(entry).ok().and_then(address);
    entries.iter().map(read).collect()
}

/// The last entries of a list that may stand in several fields, without those that are empty.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> VecDeque<&'a [u8]> {
    let fields = headers.get_all(name).iter();
    let entries = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
    last(entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()))
}

/// The elements of `Forwarded` that are looked at. A field that cannot be read is one that says nothing.
fn all_elements(headers: &HeaderMap) -> VecDeque<Element<'_>> {
    let fields = headers.get_all(FORWARDED).iter();
    let read = fields.map(|field| field.to_str().ok().and_then(elements));
    last(read.flat_map(|read| read.unwrap_or_else(|| vec![Element::default()])))
}

fn last<T>(all: impl Iterator<Item = T>) -> VecDeque<T> {
    let mut last = VecDeque::new();
    for one in all {
        if last.len() == MOST_ENTRIES {
            last.pop_front();
        }
        last.push_back(one);
    }
    last
}

#[cfg(test)]
#[path = "forwarding_tests.rs"]
mod tests;
