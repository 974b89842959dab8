//! What a write does, whichever store of ours keeps the pairs.

use std::collections::BTreeMap;

use crate::error::Failure;
use crate::limits::pair_size;
use crate::usage::Usage;

/// A change of one space. All of it happens, or nothing.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    /// Of a key that is there twice, the last value counts.
    Set(Vec<(String, Vec<u8>)>),
    Delete(Vec<String>),
    /// A missing key counts as 0.
    Increment {
        key: String,
        delta: u64,
    },
    /// Sets the value if the one before is as expected; none is expected of a key that is not there.
    Swap {
        key: String,
        expected: Option<Vec<u8>>,
        new: Vec<u8>,
    },
}

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Done,
    Number(u64),
    /// Whether the value was as expected, and has been set.
    Swapped(bool),
}

/// The pairs of one space, for as long as nobody else writes to them.
pub(crate) trait Pairs {
    fn value(&self, key: &str) -> Result<Option<Vec<u8>>, Failure>;
    /// Bytes of the value, without reading it.
    fn len(&self, key: &str) -> Result<Option<u64>, Failure>;
    fn put(&mut self, key: &str, value: &[u8]) -> Result<(), Failure>;
    fn remove(&mut self, key: &str) -> Result<(), Failure>;
}

/// Carries out a write, within the limit. After an error of the store itself the caller must
/// undo what has been put, and correct the usage.
pub(crate) fn apply(
    write: Write,
    pairs: &mut impl Pairs,
    usage: &Usage,
    limit: u64,
) -> Result<Reply, Failure> {
    let mut room = Room { pairs, usage, limit };
    match write {
        Write::Set(entries) => room.set(entries),
        Write::Delete(keys) => room.delete(&keys),
        Write::Increment { key, delta } => room.increment(key, delta),
        Write::Swap { key, expected, new } => {
            if room.pairs.value(&key)? != expected {
                return Ok(Reply::Swapped(false));
            }
            room.set(vec![(key, new)])?;
            Ok(Reply::Swapped(true))
        }
    }
}

struct Room<'a, P> {
    pairs: &'a mut P,
    usage: &'a Usage,
    limit: u64,
}

impl<P: Pairs> Room<'_, P> {
    fn size(&self, key: &str) -> Result<u64, Failure> {
        Ok(self.pairs.len(key)?.map_or(0, |value| pair_size(key, value)))
    }

    fn set(&mut self, entries: Vec<(String, Vec<u8>)>) -> Result<Reply, Failure> {
        let entries: BTreeMap<String, Vec<u8>> = entries.into_iter().collect();
        let (mut before, mut after) = (0_u64, 0_u64);
        for (key, value) in &entries {
            before = before.saturating_add(self.size(key)?);
            after = after.saturating_add(pair_size(key, value.len() as u64));
        }
        self.usage.replace(before, after, self.limit)?;
        for (key, value) in &entries {
            self.pairs.put(key, value)?;
        }
        Ok(Reply::Done)
    }

    fn delete(&mut self, keys: &[String]) -> Result<Reply, Failure> {
        for key in keys {
            let before = self.size(key)?;
            self.pairs.remove(key)?;
            self.usage.replace(before, 0, self.limit)?;
        }
        Ok(Reply::Done)
    }

    fn increment(&mut self, key: String, delta: u64) -> Result<Reply, Failure> {
        let now = match self.pairs.value(&key)? {
            None => 0,
            Some(value) => number(&value)?,
        };
        let sum = now.checked_add(delta).filter(|sum| *sum <= LARGEST).ok_or(Failure::Overflow)?;
        self.set(vec![(key, sum.to_string().into_bytes())])?;
        Ok(Reply::Number(sum))
    }
}

/// As far as Redis counts; so it is the same wherever a bucket is kept.
pub(crate) const LARGEST: u64 = i64::MAX.cast_unsigned();

/// Reads what `increment` writes, and nothing else.
pub(crate) fn number(value: &[u8]) -> Result<u64, Failure> {
    let text = str::from_utf8(value).map_err(|_| Failure::NotANumber)?;
    let number: u64 = text.parse().map_err(|_| Failure::NotANumber)?;
    // `parse` takes "+1" and "01" too, which Redis does not.
    if number > LARGEST || number.to_string() != text {
        return Err(Failure::NotANumber);
    }
    Ok(number)
}
