//! What a write does, whichever store of ours keeps the pairs.

use std::collections::BTreeMap;

use crate::end::NEVER;
use crate::error::StoreError;
use crate::limits::kept_size;
use crate::ttl::{MAX_FREED, ends};
use crate::usage::Usage;

/// A change of one space. All of it happens, or nothing.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    /// Of a key that is there twice, the last value counts. Takes away a time to live that a key had.
    Set {
        entries: Vec<(String, Vec<u8>)>,
        ttl: Option<u64>,
    },
    Delete(Vec<String>),
    /// A missing key counts as 0. One that has a time to live keeps it.
    Increment {
        key: String,
        delta: u64,
    },
    Swap(Swap),
    /// Frees pairs that have ended, [`MAX_FREED`] at most.
    Free,
}

/// Sets the value if the one before is as expected; none is expected of a key that is not there. No new
/// value: removes the key.
#[derive(Clone, Debug)]
pub(crate) struct Swap {
    pub(crate) key: String,
    pub(crate) expected: Option<Vec<u8>>,
    pub(crate) new: Option<Vec<u8>>,
    pub(crate) ttl: Option<u64>,
}

impl Write {
    /// Bytes of keys and values.
    pub(crate) fn bytes(&self) -> usize {
        let length = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        match self {
            Self::Set { entries, .. } => {
                entries.iter().map(|(key, value)| key.len() + value.len()).sum()
            }
            Self::Delete(keys) => keys.iter().map(String::len).sum(),
            Self::Increment { key, .. } => key.len(),
            Self::Swap(swap) => swap.key.len() + length(&swap.expected) + length(&swap.new),
            Self::Free => 0,
        }
    }

    /// How long what it writes stays, in milliseconds, if that has an end.
    pub(crate) fn ttl(&self) -> Option<u64> {
        match self {
            Self::Set { ttl, .. } | Self::Swap(Swap { ttl, .. }) => *ttl,
            Self::Delete(_) | Self::Increment { .. } | Self::Free => None,
        }
    }
}

/// What a write came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Done,
    Number(u64),
    /// The value was as expected, and has been set.
    Swapped,
    /// It was not, but this.
    Other(Option<Vec<u8>>),
    /// What had ended is free, whatever it was; the next pair ends at this moment.
    Freed {
        next_end: u64,
    },
}

/// A value, and the moment at which it ends.
pub(crate) type Pair = (Vec<u8>, u64);

/// The pairs of one space, while their one writer has them: those that have ended, too.
pub(crate) trait Pairs {
    /// A failure of the store itself.
    type Broken;

    fn pair(&self, key: &str) -> Result<Option<Pair>, Self::Broken>;
    /// What counts of the key, 0 if it is not there.
    fn size(&self, key: &str) -> Result<u64, Self::Broken>;
    fn put(&mut self, key: &str, value: &[u8], ends: u64) -> Result<(), Self::Broken>;
    fn remove(&mut self, key: &str) -> Result<(), Self::Broken>;
    /// Removes pairs that have ended. How much they counted.
    fn free(&mut self, now: u64, most: usize) -> Result<u64, Self::Broken>;
    /// When the next pair ends.
    fn next_end(&self) -> Result<u64, Self::Broken>;
}

/// Carries out a write, within the limit. One that is refused has changed nothing but freed what had ended.
/// After a failure of the store itself the caller must undo what has been put, and correct the usage.
pub(crate) fn apply<P: Pairs>(
    write: &Write,
    pairs: &mut P,
    (usage, limit): (&Usage, u64),
    now: u64,
) -> Result<Result<Reply, StoreError>, P::Broken> {
    let mut room = Room { pairs, usage, limit, now };
    let result = match write {
        Write::Set { entries, ttl } => {
            let entries = entries.iter().map(|(key, value)| (&**key, &**value));
            room.set(entries, ends(now, *ttl))
        }
        Write::Delete(keys) => room.delete(keys),
        Write::Increment { key, delta } => room.increment(key, *delta),
        Write::Swap(swap) => room.swap(swap),
        Write::Free => room.free(),
    };
    match result {
        Ok(reply) => Ok(Ok(reply)),
        Err(Stop::Refused(failure)) => Ok(Err(failure)),
        Err(Stop::Broken(why)) => Err(why),
    }
}

/// Why a write does not happen.
enum Stop<B> {
    Refused(StoreError),
    Broken(B),
}

impl<B> From<StoreError> for Stop<B> {
    fn from(failure: StoreError) -> Self {
        Self::Refused(failure)
    }
}

struct Room<'a, P> {
    pairs: &'a mut P,
    usage: &'a Usage,
    limit: u64,
    now: u64,
}

impl<P: Pairs> Room<'_, P> {
    fn set<'e>(
        &mut self,
        entries: impl Iterator<Item = (&'e str, &'e [u8])>,
        ends: u64,
    ) -> Result<Reply, Stop<P::Broken>> {
        let entries: BTreeMap<&str, &[u8]> = entries.collect();
        if let Err(Stop::Refused(_)) = self.make_room(&entries, ends) {
            // Then what has ended goes first.
            self.free()?;
            self.make_room(&entries, ends)?;
        }
        for (key, value) in entries {
            self.pairs.put(key, value, ends).map_err(Stop::Broken)?;
        }
        Ok(Reply::Done)
    }

    fn make_room(&self, entries: &BTreeMap<&str, &[u8]>, ends: u64) -> Result<(), Stop<P::Broken>> {
        let (mut before, mut after) = (0_u64, 0_u64);
        for (key, value) in entries {
            before = before.saturating_add(self.pairs.size(key).map_err(Stop::Broken)?);
            after = after.saturating_add(kept_size(key, value.len() as u64, ends));
        }
        Ok(self.usage.replace(before, after, self.limit)?)
    }

    fn delete(&mut self, keys: &[String]) -> Result<Reply, Stop<P::Broken>> {
        for key in keys {
            let before = self.pairs.size(key).map_err(Stop::Broken)?;
            self.pairs.remove(key).map_err(Stop::Broken)?;
            self.usage.replace(before, 0, self.limit)?;
        }
        Ok(Reply::Done)
    }

    fn increment(&mut self, key: &str, delta: u64) -> Result<Reply, Stop<P::Broken>> {
        let (now, ends) = match self.current(key)? {
            None => (0, NEVER),
            Some((value, ends)) => (number(&value)?, ends),
        };
        let sum = now.checked_add(delta).filter(|sum| *sum <= LARGEST);
        let sum = sum.ok_or(StoreError::Overflow)?;
        self.set(std::iter::once((key, sum.to_string().as_bytes())), ends)?;
        Ok(Reply::Number(sum))
    }

    fn swap(&mut self, swap: &Swap) -> Result<Reply, Stop<P::Broken>> {
        let now = self.current(&swap.key)?.map(|(value, _)| value);
        if now != swap.expected {
            return Ok(Reply::Other(now));
        }
        match &swap.new {
            Some(new) => {
                self.set(std::iter::once((&*swap.key, &**new)), ends(self.now, swap.ttl))?
            }
            None => self.delete(std::slice::from_ref(&swap.key))?,
        };
        Ok(Reply::Swapped)
    }

    fn free(&mut self) -> Result<Reply, Stop<P::Broken>> {
        let freed = self.pairs.free(self.now, MAX_FREED).map_err(Stop::Broken)?;
        self.usage.replace(freed, 0, self.limit)?;
        let next_end = self.pairs.next_end().map_err(Stop::Broken)?;
        Ok(Reply::Freed { next_end })
    }

    /// The pair, if it has not ended.
    fn current(&self, key: &str) -> Result<Option<Pair>, Stop<P::Broken>> {
        let pair = self.pairs.pair(key).map_err(Stop::Broken)?;
        Ok(pair.filter(|(_, ends)| *ends > self.now))
    }
}

/// As far as Redis counts; so it is the same wherever a bucket is kept.
pub(crate) const LARGEST: u64 = i64::MAX.cast_unsigned();

/// Reads what `increment` writes, and nothing else.
pub(crate) fn number(value: &[u8]) -> Result<u64, StoreError> {
    let text = str::from_utf8(value).map_err(|_| StoreError::NotANumber)?;
    let number: u64 = text.parse().map_err(|_| StoreError::NotANumber)?;
    // `parse` takes "+1" and "01" too, which Redis does not.
    if number > LARGEST || number.to_string() != text {
        return Err(StoreError::NotANumber);
    }
    Ok(number)
}
