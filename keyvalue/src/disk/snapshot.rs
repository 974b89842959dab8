//! What readers see: all of one moment, from both tables of pairs.

use redb::{ReadOnlyTable, ReadableDatabase};

use super::database::{PAIRS, TIMED};
use crate::end::NEVER;
use crate::limits::position;
use crate::page::{Page, PageMaker};

type Place = (u32, u64, &'static str);

/// The pairs as they are at this moment.
pub(super) struct Snapshot {
    plain: ReadOnlyTable<Place, &'static [u8]>,
    timed: ReadOnlyTable<Place, (u64, &'static [u8])>,
}

/// Position, key, and when it ends.
type Listed = Result<(u64, String, u64), redb::Error>;

impl Snapshot {
    pub(super) fn open(view: &dyn ReadableDatabase) -> Result<Self, redb::Error> {
        let transaction = view.begin_read()?;
        Ok(Self { plain: transaction.open_table(PAIRS)?, timed: transaction.open_table(TIMED)? })
    }

    /// What `take` makes of the value of a key that has not ended.
    pub(super) fn value<T>(
        &self,
        id: u32,
        key: &str,
        now: u64,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, redb::Error> {
        let place = (id, position(key), key);
        if let Some(value) = self.plain.get(place)? {
            return Ok(Some(take(value.value())));
        }
        let Some(found) = self.timed.get(place)? else { return Ok(None) };
        let (ends, value) = found.value();
        Ok((ends > now).then(|| take(value)))
    }

    /// Pairs of a space from a position on.
    pub(super) fn list(
        &self,
        id: u32,
        from: u64,
        mut maker: PageMaker<'_>,
    ) -> Result<Page, redb::Error> {
        // Ids are given out in order, far below the largest one.
        let range = (id, from, "")..(id.saturating_add(1), 0, "");
        let plain = self.plain.range(range.clone())?.map(|pair| {
            let (place, _) = pair?;
            let (_, position, key) = place.value();
            Ok((position, key.to_owned(), NEVER))
        });
        let timed = self.timed.range(range)?.map(|pair| {
            let (place, found) = pair?;
            let (_, position, key) = place.value();
            Ok((position, key.to_owned(), found.value().0))
        });
        for pair in merged(plain, timed) {
            let (position, key, ends) = pair?;
            if !maker.take(position, &key, ends) {
                break;
            }
        }
        Ok(maker.done())
    }
}

/// Both in one order. Of a key that is in both, the first one counts.
fn merged(
    first: impl Iterator<Item = Listed>,
    second: impl Iterator<Item = Listed>,
) -> impl Iterator<Item = Listed> {
    let (mut first, mut second) = (first.peekable(), second.peekable());
    std::iter::from_fn(move || {
        let (Some(Ok(left)), Some(Ok(right))) = (first.peek(), second.peek()) else {
            // A failure comes out of either.
            return if matches!(second.peek(), Some(Err(_))) {
                second.next()
            } else {
                first.next().or_else(|| second.next())
            };
        };
        let (left, right) = ((left.0, &left.1), (right.0, &right.1));
        if left == right {
            second.next();
        } else if right < left {
            return second.next();
        }
        first.next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(pairs: &[(u64, &str)], ends: u64) -> impl Iterator<Item = Listed> {
        let pairs: Vec<Listed> =
            pairs.iter().map(|(position, key)| Ok((*position, (*key).to_owned(), ends))).collect();
        pairs.into_iter()
    }

    #[test]
    fn of_a_key_in_both_tables_the_plain_one_counts() {
        let plain = listed(&[(1, "a"), (2, "b"), (9, "z")], NEVER);
        let timed = listed(&[(0, "first"), (2, "b"), (2, "c"), (9, "y")], 7);
        let all: Vec<_> = merged(plain, timed).map(Result::unwrap).collect();
        let keys: Vec<_> = all.iter().map(|(_, key, ends)| (&**key, *ends)).collect();
        assert_eq!(
            keys,
            [("first", 7), ("a", NEVER), ("b", NEVER), ("c", 7), ("y", 7), ("z", NEVER)]
        );
    }

    #[test]
    fn a_failure_of_either_is_told() {
        let broken = || std::iter::once(Err(redb::Error::DatabaseClosed));
        let pair = || listed(&[(1, "a")], NEVER);
        assert!(merged(broken(), pair()).any(|pair| pair.is_err()));
        assert!(merged(pair(), broken()).any(|pair| pair.is_err()));
    }
}
