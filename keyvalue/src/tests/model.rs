//! Every store does what a plain map would do, with an end for some of its pairs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::collection::vec;
use proptest::option::of as option;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::support::{Kinds, ROOM, one, runtime};
use crate::end::NEVER;
use crate::limits::kept_size;
use crate::write::number;
use crate::{Bucket, StoreError, Stores, Swapped};

#[derive(Clone, Debug)]
enum Op {
    Get(String),
    Exists(String),
    Set(String, Vec<u8>),
    Delete(String),
    Increment(String, u64),
    SetFor(String, Vec<u8>, u64),
    Swap(String, Option<Vec<u8>>, Option<Vec<u8>>, Option<u64>),
    /// So many milliseconds pass.
    Pass(u64),
    Sweep,
    GetMany(Vec<String>),
    SetMany(Vec<(String, Vec<u8>)>),
    DeleteMany(Vec<String>),
    List,
    ListPrefix(&'static str),
}

/// Few keys, so that operations meet.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("a".to_owned()),
        Just("a:b".to_owned()),
        Just("a*\n\0".to_owned()),
        Just("schlüssel".to_owned()),
        Just("n".to_owned()),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..40),
        Just(b"0".to_vec()),
        Just(b"41".to_vec()),
        Just(b"-1".to_vec()),
        Just(b"+1".to_vec()),
        Just(b"01".to_vec()),
        Just(b" 1".to_vec()),
        Just(b"9223372036854775807".to_vec()),
        Just(b"9223372036854775808".to_vec()),
        Just(b"18446744073709551615".to_vec()),
    ]
}

fn delta() -> impl Strategy<Value = u64> {
    prop_oneof![0..3_u64, Just(9_223_372_036_854_775_806), any::<u64>()]
}

/// Ends meet the moments at which something is done.
fn ttl() -> impl Strategy<Value = u64> {
    1..6_u64
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        key().prop_map(Op::Get),
        key().prop_map(Op::Exists),
        (key(), value()).prop_map(|(key, value)| Op::Set(key, value)),
        key().prop_map(Op::Delete),
        (key(), delta()).prop_map(|(key, delta)| Op::Increment(key, delta)),
        (key(), value(), ttl()).prop_map(|(key, value, ttl)| Op::SetFor(key, value, ttl)),
        (key(), option(value()), option(value()), option(ttl()))
            .prop_map(|(key, expected, new, ttl)| Op::Swap(key, expected, new, ttl)),
        ttl().prop_map(Op::Pass),
        Just(Op::Sweep),
        prop_oneof![Just(""), Just("a"), Just("a:b"), Just("x")].prop_map(Op::ListPrefix),
        vec(key(), 0..5).prop_map(Op::GetMany),
        vec((key(), value()), 0..5).prop_map(Op::SetMany),
        vec(key(), 0..5).prop_map(Op::DeleteMany),
        Just(Op::List),
    ]
}

/// What an operation came to, in one shape.
#[derive(Debug, PartialEq)]
enum Outcome {
    Values(Vec<Option<Vec<u8>>>),
    Yes(bool),
    Swapped(Swapped),
    Number(u64),
    Keys(Vec<String>),
    Done,
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Done
    }
}

/// In order; they are of one page.
async fn all(bucket: &Bucket) -> Result<Vec<String>, StoreError> {
    let page = bucket.list_keys(None).await?;
    assert_eq!(page.cursor, None);
    let mut keys = page.keys;
    keys.sort();
    Ok(keys)
}

/// Over all pages, in order.
async fn with_prefix(bucket: &Bucket, prefix: &str) -> Result<Vec<String>, StoreError> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = bucket.list_keys_with_prefix(prefix.to_owned(), cursor, 2).await?;
        keys.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            keys.sort();
            return Ok(keys);
        }
    }
}

/// A store, and the time.
struct Tried {
    stores: Stores,
    bucket: Bucket,
    now: Arc<AtomicU64>,
}

async fn carry_out(op: Op, Tried { stores, bucket, now }: &Tried) -> Result<Outcome, StoreError> {
    Ok(match op {
        Op::Get(key) => Outcome::Values(vec![bucket.get(key).await?]),
        Op::Exists(key) => Outcome::Yes(bucket.exists(key).await?),
        Op::Set(key, value) => bucket.set(key, value).await?.into(),
        Op::Delete(key) => bucket.delete(key).await?.into(),
        Op::Increment(key, delta) => Outcome::Number(bucket.increment(key, delta).await?),
        Op::SetFor(key, value, ttl) => {
            let ttl = Duration::from_millis(ttl);
            bucket.set_with_ttl(key, value, ttl).await?.into()
        }
        Op::Swap(key, expected, new, ttl) => {
            let ttl = ttl.map(Duration::from_millis);
            Outcome::Swapped(bucket.compare_and_swap(key, expected, new, ttl).await?)
        }
        Op::Pass(millis) => {
            now.fetch_add(millis, Ordering::SeqCst);
            Outcome::Done
        }
        Op::Sweep => {
            stores.sweep().await;
            Outcome::Done
        }
        Op::GetMany(keys) => Outcome::Values(bucket.get_many(keys).await?),
        Op::SetMany(entries) => bucket.set_many(entries).await?.into(),
        Op::DeleteMany(keys) => bucket.delete_many(keys).await?.into(),
        Op::List => Outcome::Keys(all(bucket).await?),
        Op::ListPrefix(prefix) => Outcome::Keys(with_prefix(bucket, prefix).await?),
    })
}

#[derive(Default)]
struct Model {
    /// With the moment at which they end.
    pairs: Pairs,
    limit: u64,
    now: u64,
}

type Pairs = BTreeMap<String, (Vec<u8>, u64)>;

impl Model {
    fn carry_out(&mut self, op: Op) -> Result<Outcome, StoreError> {
        let now = self.now;
        self.pairs.retain(|_, (_, ends)| *ends > now);
        Ok(match op {
            Op::Get(key) => Outcome::Values(vec![self.value(&key)]),
            Op::Exists(key) => Outcome::Yes(self.pairs.contains_key(&key)),
            Op::Set(key, value) => self.set(vec![(key, value)], NEVER)?,
            Op::SetFor(key, value, ttl) => self.set(vec![(key, value)], now + ttl)?,
            Op::Delete(key) => self.delete(&[key]),
            Op::Increment(key, delta) => {
                if delta > i64::MAX.cast_unsigned() {
                    return Err(StoreError::Overflow);
                }
                let (value, ends) = match self.pairs.get(&key) {
                    Some((value, ends)) => (number(value)?, *ends),
                    None => (0, NEVER),
                };
                let sum = u128::from(value) + u128::from(delta);
                if sum > i64::MAX.cast_unsigned().into() {
                    return Err(StoreError::Overflow);
                }
                self.set(vec![(key, sum.to_string().into_bytes())], ends)?;
                Outcome::Number(sum.try_into().unwrap())
            }
            Op::Swap(key, expected, new, ttl) => Outcome::Swapped(match self.value(&key) {
                value if value != expected => Swapped::Other(value),
                _ => {
                    match new {
                        Some(new) => {
                            self.set(vec![(key, new)], ttl.map_or(NEVER, |ttl| now + ttl))?
                        }
                        None => self.delete(&[key]),
                    };
                    Swapped::Done
                }
            }),
            Op::Pass(millis) => {
                self.now += millis;
                Outcome::Done
            }
            Op::Sweep => Outcome::Done,
            Op::GetMany(keys) => Outcome::Values(keys.iter().map(|key| self.value(key)).collect()),
            Op::SetMany(entries) => self.set(entries, NEVER)?,
            Op::DeleteMany(keys) => self.delete(&keys),
            Op::List => Outcome::Keys(self.pairs.keys().cloned().collect()),
            Op::ListPrefix(prefix) => {
                let keys = self.pairs.keys().filter(|key| key.starts_with(prefix));
                Outcome::Keys(keys.cloned().collect())
            }
        })
    }

    fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.pairs.get(key).map(|(value, _)| value.clone())
    }

    fn size(pairs: &Pairs) -> u64 {
        pairs.iter().map(|(key, (value, ends))| kept_size(key, value.len() as u64, *ends)).sum()
    }

    fn set(&mut self, entries: Vec<(String, Vec<u8>)>, ends: u64) -> Result<Outcome, StoreError> {
        let mut after = self.pairs.clone();
        after.extend(entries.into_iter().map(|(key, value)| (key, (value, ends))));
        let larger = Self::size(&after) > Self::size(&self.pairs);
        if larger && Self::size(&after) > self.limit {
            return Err(StoreError::Full { limit: self.limit });
        }
        self.pairs = after;
        Ok(Outcome::Done)
    }

    fn delete(&mut self, keys: &[String]) -> Outcome {
        self.pairs.retain(|key, _| !keys.contains(key));
        Outcome::Done
    }
}

/// As long as a value of the model may be under the smallest limit.
const SMALL: u64 = 900;

fn compare(limit: u64, cases: u32) {
    let kinds = Kinds::new();
    let runtime = runtime();
    for (number, store) in kinds.stores.iter().enumerate() {
        let now = Arc::new(AtomicU64::new(1_000_000));
        let stores = Stores::at(now.clone());
        let bucket = one(&stores, store, limit);
        let tried = Tried { stores, bucket, now };
        let cases = if number == 0 { cases * 4 } else { cases };
        let config = ProptestConfig { cases, failure_persistence: None, ..Default::default() };
        let run = TestRunner::new(config).run(&vec(op(), 1..40), |ops| {
            runtime.block_on(async {
                let now = tried.now.load(Ordering::SeqCst);
                let mut model = Model { limit, now, ..Default::default() };
                for op in ops {
                    let expected = model.carry_out(op.clone());
                    prop_assert_eq!(carry_out(op, &tried).await, expected);
                }
                let left: Vec<String> = model.pairs.keys().cloned().collect();
                prop_assert_eq!(tried.bucket.delete_many(left).await, Ok(()));
                Ok(())
            })
        });
        run.unwrap_or_else(|why| panic!("store {number}: {why}"));
    }
}

#[test]
fn every_store_does_what_a_plain_map_would_do() {
    compare(ROOM, 64);
}

#[test]
fn a_store_that_is_nearly_full_does_what_a_plain_map_with_a_limit_would_do() {
    compare(SMALL, 64);
}
