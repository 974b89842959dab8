//! Buckets in a Redis server.
//!
//! A bucket is one hash, `host:` and the name of its space; its pairs are the fields. So it is one
//! key for an operator, no name that a guest chooses can leave it, and a list does not walk through
//! what others keep there. Two sorted sets stand beside it where a guest needs them. What is in it is counted on the server, in the same step as it is written:
//! several processes may write to one bucket.

mod connection;
mod owner;
mod scripts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::{Script, ScriptInvocation, ToRedisArgs};

use self::connection::Call;
pub(crate) use self::connection::Redis;
use self::owner::Owner;
use crate::end::NEVER;
use crate::error::StoreError;
use crate::names::space_name;
use crate::page::{Page, PrefixPage};
use crate::ttl::NextEnd;
use crate::usage::Accounts;
use crate::write::{Reply, Swap, Write};

/// The field of a hash with its marks: see scripts.rs.
const MARKS: &[u8] = b"\xfe";

/// One space of a server.
#[derive(Debug)]
pub(crate) struct RedisSpace {
    redis: Arc<Redis>,
    /// Of the hash.
    key: String,
    owner: Arc<Owner>,
    next_end: NextEnd,
    /// Whether the hash has been seen with marks: then a value alone does not say whether it has ended.
    marked: AtomicBool,
}

/// What a script that writes answers: a word, the bytes of all, when the next pair ends, values.
type Written = (String, u64, String, Vec<Vec<u8>>);

impl RedisSpace {
    pub(crate) fn new(
        redis: Arc<Redis>,
        space: &host_manifest::Namespace,
        accounts: &Accounts,
    ) -> Self {
        let key = format!("host:{}", space_name(space));
        let owner = redis.owners().owner(space, &key, accounts);
        let (next_end, marked) = (NextEnd::new(NEVER), AtomicBool::new(false));
        Self { redis, key, owner, next_end, marked }
    }

    /// `now`, here and below: the moment for which it is; none: the server's.
    pub(crate) async fn value(
        &self,
        key: &str,
        now: Option<u64>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        if !self.marked.load(Ordering::Relaxed) {
            let mut command = redis::cmd("HMGET");
            command.arg(&self.key).arg(key).arg(MARKS);
            let (value, marks): (Option<Vec<u8>>, Option<Vec<u8>>) =
                self.redis.call(Call::Command(command), 0).await?;
            if marks.is_none() {
                return Ok(value);
            }
            self.marked.store(true, Ordering::Relaxed);
        }
        Ok(self.values(&[key.to_owned()], u64::MAX, now).await?.into_iter().next().flatten())
    }

    pub(crate) async fn exists(&self, key: &str, now: Option<u64>) -> Result<bool, StoreError> {
        let mut call = self.asks(&scripts::EXISTS, "", now);
        call.arg(key);
        self.redis.call(Call::Script(call), 0).await
    }

    /// All of one moment. Fails if they are more than `limit` bytes together.
    pub(crate) async fn values(
        &self,
        keys: &[String],
        limit: u64,
        now: Option<u64>,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut call = self.asks(&scripts::VALUES, limit, now);
        call.arg(keys);
        let values: Option<Vec<Option<Vec<u8>>>> = self.redis.call(Call::Script(call), 0).await?;
        values.ok_or(StoreError::AnswerTooLarge)
    }

    pub(crate) async fn list(&self, from: u64, now: Option<u64>) -> Result<Page, StoreError> {
        let mut call = self.asks(&scripts::LIST, "", now);
        call.arg(from);
        let (next, keys): (u64, Vec<Vec<u8>>) = self.redis.call(Call::Script(call), 0).await?;
        Ok(Page { keys: text(keys), cursor: (next != 0).then_some(next) })
    }

    /// The cursor is the last key of the page before, in hexadecimal digits: it may be no text.
    pub(crate) async fn list_prefix(
        &self,
        prefix: &str,
        cursor: Option<String>,
        most: usize,
        now: Option<u64>,
    ) -> Result<PrefixPage, StoreError> {
        let mut call = self.asks(&scripts::PREFIX, "", now);
        call.arg(prefix).arg(most);
        if let Some(cursor) = cursor {
            let after = from_digits(&cursor).filter(|after| after.starts_with(prefix.as_bytes()));
            call.arg(after.ok_or(StoreError::WrongCursor)?);
        }
        let (more, last, keys): (bool, Vec<u8>, Vec<Vec<u8>>) =
            self.redis.call(Call::Script(call), 0).await?;
        Ok(PrefixPage { keys: text(keys), cursor: more.then(|| digits(&last)) })
    }

    /// `limit` is of all that counts together with this space.
    pub(crate) async fn write(
        &self,
        write: Write,
        limit: u64,
        now: Option<u64>,
    ) -> Result<Reply, StoreError> {
        let (bytes, is_free, ttl) = (write.bytes(), matches!(write, Write::Free), write.ttl());
        let (script, arguments) = asked(write);
        let mut call = script.prepare_invoke();
        call.key(&self.key).key(self.ends()).key(self.order());
        for other in self.owner.others(&self.key) {
            let ends = format!("{other}:ends");
            call.key(other).key(ends);
        }
        call.arg(self.owner.limit(limit)).arg(given(now)).arg(given(ttl)).arg(arguments);
        let (word, used, next_end, values): Written =
            self.redis.call(Call::Script(call), bytes).await?;
        self.owner.counted(used);
        let next_end = next_end.parse().unwrap_or(NEVER);
        self.next_end.note(next_end);
        match &*word {
            "done" if is_free => Ok(Reply::Freed { next_end }),
            "done" => Ok(Reply::Done),
            "swapped" => Ok(Reply::Swapped),
            "other" => Ok(Reply::Other(values.into_iter().next())),
            "full" => Err(StoreError::Full { limit }),
            "not a number" => Err(StoreError::NotANumber),
            "overflow" => Err(StoreError::Overflow),
            sum => match sum.parse() {
                Ok(sum) => Ok(Reply::Number(sum)),
                Err(_) => Err(StoreError::Unavailable(format!("an unexpected answer: {sum}"))),
            },
        }
    }

    pub(crate) fn next_end(&self) -> &NextEnd {
        &self.next_end
    }

    /// A script that writes no pair, with what its arguments begin with.
    fn asks(
        &self,
        script: &'static Script,
        limit: impl ToRedisArgs,
        now: Option<u64>,
    ) -> ScriptInvocation<'static> {
        let mut call = script.prepare_invoke();
        call.key(&self.key).key(self.ends()).key(self.order());
        call.arg(limit).arg(given(now)).arg("");
        call
    }

    fn ends(&self) -> String {
        format!("{}:ends", self.key)
    }

    fn order(&self) -> String {
        format!("{}:order", self.key)
    }
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_digits(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// A number, or nothing.
fn given(number: Option<u64>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}

/// Another program may have put keys there that are not text. No guest can name those.
fn text(keys: Vec<Vec<u8>>) -> Vec<String> {
    keys.into_iter().filter_map(|key| String::from_utf8(key).ok()).collect()
}

/// The script that carries out a write, and its arguments behind the time to live.
fn asked(write: Write) -> (&'static Script, Vec<Vec<u8>>) {
    match write {
        Write::Set { entries, .. } => {
            let entries: BTreeMap<String, Vec<u8>> = entries.into_iter().collect();
            let arguments = entries.into_iter().flat_map(|(key, value)| [key.into(), value]);
            (&scripts::SET, arguments.collect())
        }
        Write::Delete(keys) => {
            let keys: BTreeSet<String> = keys.into_iter().collect();
            (&scripts::DELETE, keys.into_iter().map(Vec::from).collect())
        }
        Write::Increment { key, delta } => {
            (&scripts::INCREMENT, vec![key.into(), delta.to_string().into()])
        }
        Write::Swap(Swap { key, expected, new, .. }) => {
            let is_there =
                |value: &Option<Vec<u8>>| Vec::from(u8::from(value.is_some()).to_string());
            let mut arguments = vec![is_there(&expected), expected.unwrap_or_default()];
            arguments.extend([is_there(&new), key.into(), new.unwrap_or_default()]);
            (&scripts::SWAP, arguments)
        }
        Write::Free => (&scripts::FREE, Vec::new()),
    }
}
