//! Tickets with which clients resume a session: sealed here, kept by the client.
//!
//! All listeners have the same keys, so a client resumes at any of them, and over a reload of certificates. Those that
//! ask clients for certificates issue no tickets and take none: a ticket begets the next one, and none of them ends when
//! its client's certificate does.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

use crate::validity::now;

/// How long a key seals tickets. It opens them for as long again: forward secrecy of a session that was resumed
/// begins when its key is gone.
const ROTATION: Duration = Duration::from_secs(6 * 60 * 60);

/// How long a ticket is good for.
const LIFETIME: Duration = ROTATION;

/// Sessions have some hundred bytes. TLS has room for 64 KiB.
const LARGEST: usize = 16 * 1024;

const NAME: usize = 16;
const SECRET: usize = 32;
const TIME: usize = 8;

/// The keys that seal tickets: one that does, and the one before, which still opens them. Cheap to clone: all clones
/// are the same keys. They do not show up in `Debug`.
#[derive(Clone)]
pub struct TicketKeys {
    ring: Arc<ArcSwap<KeyRing>>,
    /// Held by whoever makes the next key.
    rotation: Arc<Mutex<()>>,
}

/// The newest key comes first.
struct KeyRing(Vec<Arc<TicketKey>>);

struct TicketKey {
    /// In the clear at the head of a ticket. Says nothing of the key.
    name: [u8; NAME],
    secret: Zeroizing<[u8; SECRET]>,
    key: LessSafeKey,
    /// When it was made, in seconds since 1970.
    made: i64,
}

/// No randomness is to be had.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomness;

impl TicketKeys {
    /// New keys.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new() -> Result<Self, NoRandomness> {
        let key = TicketKey::make(now()).ok_or(NoRandomness)?;
        Ok(Self::of(vec![Arc::new(key)]))
    }

    /// The keys that [`export`](Self::export) has given, in this or in another process. None if these are not its
    /// bytes.
    #[must_use]
    pub fn import(bytes: &[u8]) -> Option<Self> {
        let mut keys = Vec::new();
        let chunks = bytes.chunks_exact(NAME + SECRET + TIME);
        if !chunks.remainder().is_empty() {
            return None;
        }
        for chunk in chunks {
            let (name, rest) = chunk.split_first_chunk::<NAME>()?;
            let (secret, made) = rest.split_first_chunk::<SECRET>()?;
            let made = i64::from_be_bytes(made.try_into().ok()?);
            keys.push(Arc::new(TicketKey::new(*name, Zeroizing::new(*secret), made)?));
        }
        (!keys.is_empty()).then(|| Self::of(keys))
    }

    /// Has all clones be the keys that [`export`](Self::export) has given, in this or in another process. False if these
    /// are not its bytes: then they stay what they are.
    #[must_use]
    pub fn replace(&self, bytes: &[u8]) -> bool {
        let Some(keys) = Self::import(bytes) else { return false };
        self.ring.store(keys.ring.load_full());
        true
    }

    /// The keys, for a process that takes over: whoever has them can read what the sessions of their tickets say.
    #[must_use]
    pub fn export(&self) -> Zeroizing<Vec<u8>> {
        let ring = self.ring.load();
        let mut bytes = Zeroizing::new(Vec::with_capacity(ring.0.len() * (NAME + SECRET + TIME)));
        for key in &ring.0 {
            bytes.extend_from_slice(&key.name);
            bytes.extend_from_slice(&*key.secret);
            bytes.extend_from_slice(&key.made.to_be_bytes());
        }
        bytes
    }

    /// Seals tickets with these keys.
    pub(crate) fn sealer(&self) -> TicketSealer {
        TicketSealer(self.clone())
    }

    fn of(keys: Vec<Arc<TicketKey>>) -> Self {
        Self { ring: Arc::new(ArcSwap::from_pointee(KeyRing(keys))), rotation: Arc::default() }
    }

    /// The key that seals at this time. Makes the next one when it is time, or goes on with the old one if that
    /// cannot be done.
    fn current(&self, now: i64) -> Option<Arc<TicketKey>> {
        let is_new = |key: &TicketKey| !key.is_older(ROTATION, now);
        let newest = || self.ring.load().0.first().cloned();
        let current = newest()?;
        if is_new(&current) {
            return Some(current);
        }
        // Somebody else may be making it: then this ticket is sealed by the old one.
        let Ok(_rotating) = self.rotation.try_lock().map_err(|_| ()) else { return Some(current) };
        let current = newest()?;
        match TicketKey::make(now).filter(|_| !is_new(&current)) {
            Some(next) => {
                let next = Arc::new(next);
                let old = (!current.is_older(2 * ROTATION, now)).then_some(current);
                let keys = [next.clone()].into_iter().chain(old).collect();
                self.ring.store(Arc::new(KeyRing(keys)));
                Some(next)
            }
            None => Some(current),
        }
    }

    fn named(&self, name: &[u8], now: i64) -> Option<Arc<TicketKey>> {
        let ring = self.ring.load();
        let mut keys = ring.0.iter().filter(|key| !key.is_older(2 * ROTATION, now));
        keys.find(|key| key.name == name).cloned()
    }
}

impl TicketKey {
    fn make(made: i64) -> Option<Self> {
        let (random, mut name) = (SystemRandom::new(), [0; NAME]);
        let mut secret = Zeroizing::new([0; SECRET]);
        random.fill(&mut name).ok()?;
        random.fill(&mut *secret).ok()?;
        Self::new(name, secret, made)
    }

    fn new(name: [u8; NAME], secret: Zeroizing<[u8; SECRET]>, made: i64) -> Option<Self> {
        let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &*secret).ok()?);
        Some(Self { name, secret, key, made })
    }

    fn is_older(&self, age: Duration, now: i64) -> bool {
        is_over(self.made, age, now)
    }
}

/// Whether more than `span` has passed.
fn is_over(since: i64, span: Duration, now: i64) -> bool {
    now.saturating_sub(since) > i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

/// Seals tickets, and opens its own: `name of the key | nonce | sealed: time, session`.
#[derive(Debug)]
pub(crate) struct TicketSealer(TicketKeys);

impl TicketSealer {
    fn seal(&self, session: &[u8], now: i64) -> Option<Vec<u8>> {
        if session.len() > LARGEST {
            return None;
        }
        let key = self.0.current(now)?;
        let mut nonce = [0; NONCE_LEN];
        // At random: counting would tell how many there are.
        SystemRandom::new().fill(&mut nonce).ok()?;
        let head = NAME + NONCE_LEN;
        let length = head + TIME + session.len() + CHACHA20_POLY1305.tag_len();
        let mut ticket = Vec::with_capacity(length);
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(&now.to_be_bytes());
        ticket.extend_from_slice(session);
        let (nonce, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(key.name));
        let sealed = ticket.get_mut(head..)?;
        let tag = key.key.seal_in_place_separate_tag(nonce, aad, sealed).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn open(&self, ticket: &[u8], now: i64) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.0.named(name, now)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.key.open_in_place(nonce, Aad::from(key.name), &mut sealed).ok()?;
        let (time, session) = opened.split_first_chunk::<TIME>()?;
        let issued = i64::from_be_bytes(*time);
        (!is_over(issued, LIFETIME, now)).then(|| session.to_vec())
    }
}

impl ProducesTickets for TicketSealer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        self.seal(session, now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, now())
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_800_000_000;
    const HOUR: i64 = 3600;

    fn keys() -> TicketKeys {
        TicketKeys::of(vec![Arc::new(TicketKey::make(NOON).unwrap())])
    }

    #[test]
    fn a_ticket_is_opened_for_as_long_as_it_is_good() {
        let sealer = keys().sealer();
        let ticket = sealer.seal(b"session", NOON).unwrap();
        assert_eq!(sealer.open(&ticket, NOON + 6 * HOUR).as_deref(), Some(&b"session"[..]));
        assert_eq!(sealer.open(&ticket, NOON + 6 * HOUR + 1), None);
        assert_eq!(
            sealer.open(&ticket, NOON - HOUR).as_deref(),
            Some(&b"session"[..]),
            "the clock was set back"
        );
        for place in 0..ticket.len() {
            let mut other = ticket.clone();
            other[place] ^= 1;
            assert_eq!(sealer.open(&other, NOON), None, "byte {place}");
            assert_eq!(sealer.open(&ticket[..place], NOON), None, "{place} bytes");
        }
    }

    #[test]
    fn keys_rotate_and_the_one_before_still_opens() {
        let keys = keys();
        let sealer = keys.sealer();
        let first = sealer.seal(b"1", NOON + 6 * HOUR).unwrap();
        let second = sealer.seal(b"2", NOON + 6 * HOUR + 1).unwrap();
        assert_ne!(first[..NAME], second[..NAME], "another key");
        assert_eq!(sealer.open(&first, NOON + 11 * HOUR).as_deref(), Some(&b"1"[..]));
        assert_eq!(sealer.open(&second, NOON + 11 * HOUR).as_deref(), Some(&b"2"[..]));
        let third = sealer.seal(b"3", NOON + 13 * HOUR).unwrap();
        assert_eq!(keys.ring.load().0.len(), 2, "the first one is gone");
        assert_eq!(sealer.open(&third, NOON + 13 * HOUR).as_deref(), Some(&b"3"[..]));
        drop(sealer.seal(b"4", NOON + 100 * HOUR).unwrap());
        assert_eq!(keys.ring.load().0.len(), 1, "the ones before are too old to be kept");
    }

    #[test]
    fn a_successor_opens_what_its_predecessor_has_sealed() {
        let keys = keys();
        let old = keys.sealer().seal(b"old", NOON + HOUR).unwrap();
        let new = keys.sealer().seal(b"new", NOON + 7 * HOUR).unwrap();
        let successor = TicketKeys::import(&keys.export()).unwrap();
        for (ticket, session) in [(old, "old"), (new, "new")] {
            let opened = successor.sealer().open(&ticket, NOON + 7 * HOUR);
            assert_eq!(opened.as_deref(), Some(session.as_bytes()));
        }
        let ticket = successor.sealer().seal(b"back", NOON + 7 * HOUR).unwrap();
        assert!(keys.sealer().open(&ticket, NOON + 7 * HOUR).is_some(), "the keys are the same");
        for bytes in [&b""[..], &[0; 55], &keys.export()[1..]] {
            assert!(TicketKeys::import(bytes).is_none(), "{} bytes", bytes.len());
        }
    }

    #[test]
    fn what_has_no_room_in_a_ticket_gets_none() {
        let sealer = keys().sealer();
        assert!(sealer.seal(&[0; LARGEST], NOON).is_some());
        assert!(sealer.seal(&[0; LARGEST + 1], NOON).is_none());
    }

    #[test]
    fn keys_are_not_shown() {
        let keys = keys();
        let shown = format!("{keys:?} {:?}", keys.sealer());
        assert_eq!(shown, "TicketKeys { .. } TicketSealer(TicketKeys { .. })");
    }
}
