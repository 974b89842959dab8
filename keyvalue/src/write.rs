//! What a write does, whichever store of ours keeps the pairs.

use std::collections::BTreeMap;

use crate::error::StoreError;
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

impl Write {
    /// Bytes of keys and values.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Set(entries) => entries.iter().map(|(key, value)| key.len() + value.len()).sum(),
            Self::Delete(keys) => keys.iter().map(String::len).sum(),
            Self::Increment { key, .. } => key.len(),
            Self::Swap { key, expected, new } => {
                key.len() + expected.as_ref().map_or(0, Vec::len) + new.len()
            }
        }
    }
}

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Done,
    Number(u64),
    /// Whether the value was as expected, and has been set.
    Swapped(bool),
}

/// The pairs of one space, while their one writer has them.
pub(crate) trait Pairs {
    /// A failure of the store itself.
    type Broken;

    fn value(&self, key: &str) -> Result<Option<Vec<u8>>, Self::Broken>;
    /// Bytes of the value.
    fn length(&self, key: &str) -> Result<Option<u64>, Self::Broken>;
    fn put(&mut self, key: &str, value: &[u8]) -> Result<(), Self::Broken>;
    fn remove(&mut self, key: &str) -> Result<(), Self::Broken>;
}

/// Carries out a write, within the limit. One that is refused has changed nothing. After a failure
/// of the store itself the caller must undo what has been put, and correct the usage.
pub(crate) fn apply<P: Pairs>(
    write: &Write,
    pairs: &mut P,
    usage: &Usage,
    limit: u64,
) -> Result<Result<Reply, StoreError>, P::Broken> {
    let mut room = Room { pairs, usage, limit };
    let result = match write {
        Write::Set(entries) => room.set(entries.iter().map(|(key, value)| (&**key, &**value))),
        Write::Delete(keys) => room.delete(keys),
        Write::Increment { key, delta } => room.increment(key, *delta),
        Write::Swap { key, expected, new } => room.swap(key, expected.as_deref(), new),
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
}

impl<P: Pairs> Room<'_, P> {
    fn size(&self, key: &str) -> Result<u64, Stop<P::Broken>> {
        let length = self.pairs.length(key).map_err(Stop::Broken)?;
        Ok(length.map_or(0, |length| pair_size(key, length)))
    }

    fn set<'e>(
        &mut self,
        entries: impl Iterator<Item = (&'e str, &'e [u8])>,
    ) -> Result<Reply, Stop<P::Broken>> {
        let entries: BTreeMap<&str, &[u8]> = entries.collect();
        let (mut before, mut after) = (0_u64, 0_u64);
        for (key, value) in &entries {
            before = before.saturating_add(self.size(key)?);
            after = after.saturating_add(pair_size(key, value.len() as u64));
        }
        self.usage.replace(before, after, self.limit)?;
        for (key, value) in entries {
            self.pairs.put(key, value).map_err(Stop::Broken)?;
        }
        Ok(Reply::Done)
    }

    fn delete(&mut self, keys: &[String]) -> Result<Reply, Stop<P::Broken>> {
        for key in keys {
            let before = self.size(key)?;
            self.pairs.remove(key).map_err(Stop::Broken)?;
            self.usage.replace(before, 0, self.limit)?;
        }
        Ok(Reply::Done)
    }

    fn increment(&mut self, key: &str, delta: u64) -> Result<Reply, Stop<P::Broken>> {
        let now = match self.pairs.value(key).map_err(Stop::Broken)? {
            None => 0,
            Some(value) => number(&value)?,
        };
        let sum = now.checked_add(delta).filter(|sum| *sum <= LARGEST);
        let sum = sum.ok_or(StoreError::Overflow)?;
        self.set(std::iter::once((key, sum.to_string().as_bytes())))?;
        Ok(Reply::Number(sum))
    }

    fn swap(
        &mut self,
        key: &str,
        expected: Option<&[u8]>,
        new: &[u8],
    ) -> Result<Reply, Stop<P::Broken>> {
        let now = self.pairs.value(key).map_err(Stop::Broken)?;
        if now.as_deref() != expected {
            return Ok(Reply::Swapped(false));
        }
        self.set(std::iter::once((key, new)))?;
        Ok(Reply::Swapped(true))
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
