//! Every store does what a plain map would do.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::support::{Kinds, ROOM, one, runtime};
use crate::write::number;
use crate::{Bucket, PAIR_OVERHEAD, StoreError, Stores};

#[derive(Clone, Debug)]
enum Op {
    Get(String),
    Exists(String),
    Set(String, Vec<u8>),
    Delete(String),
    Increment(String, u64),
    Swap(String, Option<Vec<u8>>, Vec<u8>),
    GetMany(Vec<String>),
    SetMany(Vec<(String, Vec<u8>)>),
    DeleteMany(Vec<String>),
    List,
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

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        key().prop_map(Op::Get),
        key().prop_map(Op::Exists),
        (key(), value()).prop_map(|(key, value)| Op::Set(key, value)),
        key().prop_map(Op::Delete),
        (key(), delta()).prop_map(|(key, delta)| Op::Increment(key, delta)),
        (key(), proptest::option::of(value()), value())
            .prop_map(|(key, expected, new)| Op::Swap(key, expected, new)),
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
    Number(u64),
    Keys(Vec<String>),
    Done,
}

async fn carry_out(op: Op, bucket: &Bucket) -> Result<Outcome, StoreError> {
    Ok(match op {
        Op::Get(key) => Outcome::Values(vec![bucket.get(key).await?]),
        Op::Exists(key) => Outcome::Yes(bucket.exists(key).await?),
        Op::Set(key, value) => bucket.set(key, value).await.map(|()| Outcome::Done)?,
        Op::Delete(key) => bucket.delete(key).await.map(|()| Outcome::Done)?,
        Op::Increment(key, delta) => Outcome::Number(bucket.increment(key, delta).await?),
        Op::Swap(key, expected, new) => Outcome::Yes(bucket.swap(key, expected, new).await?),
        Op::GetMany(keys) => Outcome::Values(bucket.get_many(keys).await?),
        Op::SetMany(entries) => bucket.set_many(entries).await.map(|()| Outcome::Done)?,
        Op::DeleteMany(keys) => bucket.delete_many(keys).await.map(|()| Outcome::Done)?,
        Op::List => {
            let page = bucket.list_keys(None).await?;
            assert_eq!(page.cursor, None);
            let mut keys = page.keys;
            keys.sort();
            Outcome::Keys(keys)
        }
    })
}

#[derive(Default)]
struct Model {
    pairs: BTreeMap<String, Vec<u8>>,
    limit: u64,
}

impl Model {
    fn carry_out(&mut self, op: Op) -> Result<Outcome, StoreError> {
        Ok(match op {
            Op::Get(key) => Outcome::Values(vec![self.pairs.get(&key).cloned()]),
            Op::Exists(key) => Outcome::Yes(self.pairs.contains_key(&key)),
            Op::Set(key, value) => self.set(vec![(key, value)])?,
            Op::Delete(key) => self.delete(&[key]),
            Op::Increment(key, delta) => {
                if delta > i64::MAX.cast_unsigned() {
                    return Err(StoreError::Overflow);
                }
                let now = self.pairs.get(&key).map_or(Ok(0), |value| number(value))?;
                let sum = u128::from(now) + u128::from(delta);
                if sum > i64::MAX.cast_unsigned().into() {
                    return Err(StoreError::Overflow);
                }
                self.set(vec![(key, sum.to_string().into_bytes())])?;
                Outcome::Number(sum.try_into().unwrap())
            }
            Op::Swap(key, expected, new) => {
                let same = self.pairs.get(&key) == expected.as_ref();
                if same {
                    self.set(vec![(key, new)])?;
                }
                Outcome::Yes(same)
            }
            Op::GetMany(keys) => {
                Outcome::Values(keys.iter().map(|key| self.pairs.get(key).cloned()).collect())
            }
            Op::SetMany(entries) => self.set(entries)?,
            Op::DeleteMany(keys) => self.delete(&keys),
            Op::List => Outcome::Keys(self.pairs.keys().cloned().collect()),
        })
    }

    fn size(pairs: &BTreeMap<String, Vec<u8>>) -> u64 {
        let sizes = pairs.iter().map(|(key, value)| (key.len() + value.len()) as u64);
        sizes.map(|size| size + PAIR_OVERHEAD).sum()
    }

    fn set(&mut self, entries: Vec<(String, Vec<u8>)>) -> Result<Outcome, StoreError> {
        let mut after = self.pairs.clone();
        after.extend(entries);
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
const SMALL: u64 = 500;

fn compare(limit: u64, cases: u32) {
    let kinds = Kinds::new();
    let runtime = runtime();
    for (number, store) in kinds.stores.iter().enumerate() {
        let counted = !matches!(store, host_manifest::StoreConfig::Redis(_));
        if limit != ROOM && !counted {
            continue;
        }
        let stores = Stores::default();
        let bucket = one(&stores, store, limit);
        let cases = if number == 0 { cases * 4 } else { cases };
        let config = ProptestConfig { cases, failure_persistence: None, ..Default::default() };
        let run = TestRunner::new(config).run(&vec(op(), 1..40), |ops| {
            runtime.block_on(async {
                let mut model = Model { limit, ..Default::default() };
                for op in ops {
                    let expected = model.carry_out(op.clone());
                    prop_assert_eq!(carry_out(op, &bucket).await, expected);
                }
                let left: Vec<String> = model.pairs.keys().cloned().collect();
                prop_assert_eq!(bucket.delete_many(left).await, Ok(()));
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
