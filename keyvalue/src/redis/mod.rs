//! Buckets in a Redis server.
//!
//! A bucket is one hash, `host:` and the name of its space; its pairs are the fields. So it is one
//! key for an operator, no name that a guest chooses can leave it, and a list does not walk through
//! what others keep there. What is in it is counted on the server, in the same step as it is written:
//! several processes may write to one bucket.

mod connection;
mod owner;
mod scripts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use redis::{FromRedisValue, Script};

use self::connection::Call;
pub(crate) use self::connection::Redis;
use self::owner::Owner;
use crate::error::StoreError;
use crate::names::space_name;
use crate::page::Page;
use crate::usage::Accounts;
use crate::write::{Reply, Write};

/// One space of a server.
#[derive(Debug)]
pub(crate) struct RedisSpace {
    redis: Arc<Redis>,
    /// Of the hash.
    key: String,
    owner: Arc<Owner>,
}

impl RedisSpace {
    pub(crate) fn new(
        redis: Arc<Redis>,
        space: &host_manifest::Namespace,
        accounts: &Accounts,
    ) -> Self {
        let key = format!("host:{}", space_name(space));
        let owner = redis.owners().owner(space, &key, accounts);
        Self { redis, key, owner }
    }

    pub(crate) async fn value(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.command("HGET", key).await
    }

    pub(crate) async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        self.command("HEXISTS", key).await
    }

    /// All of one moment. Fails if they are more than `limit` bytes together.
    pub(crate) async fn values(
        &self,
        keys: &[String],
        limit: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut call = scripts::VALUES.key(&self.key);
        call.arg(limit).arg(keys);
        let values: Option<Vec<Option<Vec<u8>>>> = self.redis.call(Call::Script(call), 0).await?;
        values.ok_or(StoreError::AnswerTooLarge)
    }

    pub(crate) async fn list(&self, from: u64) -> Result<Page, StoreError> {
        let mut call = scripts::LIST.key(&self.key);
        call.arg(from);
        let (next, keys): (u64, Vec<Vec<u8>>) = self.redis.call(Call::Script(call), 0).await?;
        // Another program may have put keys there that are not text. No guest can name those.
        let keys = keys.into_iter().filter_map(|key| String::from_utf8(key).ok()).collect();
        Ok(Page { keys, cursor: (next != 0).then_some(next) })
    }

    /// `limit` is of all that counts together with this space.
    pub(crate) async fn write(&self, write: Write, limit: u64) -> Result<Reply, StoreError> {
        let bytes = write.bytes();
        let (script, arguments) = asked(write);
        let mut call = script.prepare_invoke();
        for key in self.owner.keys(&self.key) {
            call.key(key);
        }
        call.arg(self.owner.limit(limit)).arg(arguments);
        let (word, used): (String, u64) = self.redis.call(Call::Script(call), bytes).await?;
        self.owner.counted(used);
        match &*word {
            "swapped" => Ok(Reply::Swapped(true)),
            "done" => Ok(Reply::Done),
            "other" => Ok(Reply::Swapped(false)),
            "full" => Err(StoreError::Full { limit }),
            "not a number" => Err(StoreError::NotANumber),
            "overflow" => Err(StoreError::Overflow),
            sum => match sum.parse() {
                Ok(sum) => Ok(Reply::Number(sum)),
                Err(_) => Err(StoreError::Unavailable(format!("an unexpected answer: {sum}"))),
            },
        }
    }

    async fn command<T: FromRedisValue + Send + 'static>(
        &self,
        command: &str,
        field: &str,
    ) -> Result<T, StoreError> {
        let mut command = redis::cmd(command);
        command.arg(&self.key).arg(field);
        self.redis.call(Call::Command(command), 0).await
    }
}

/// The script that carries out a write, and its arguments behind the limit.
fn asked(write: Write) -> (&'static Script, Vec<Vec<u8>>) {
    match write {
        Write::Set(entries) => {
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
        Write::Swap { key, expected, new } => {
            let is_expected = if expected.is_some() { "1" } else { "0" };
            let expected = expected.unwrap_or_default();
            (&scripts::SWAP, vec![key.into(), is_expected.into(), expected, new])
        }
    }
}
