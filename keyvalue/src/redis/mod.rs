//! Buckets in a Redis server.
//!
//! A bucket is one hash, `host:` and the name of its space; its pairs are the fields. So it is one
//! key for an operator, no name that a guest chooses can leave it, and a list does not walk through
//! what others keep there. The server bounds the memory (`maxmemory`); here only values are bounded.

mod connection;
mod scripts;

use std::sync::Arc;

use redis::FromRedisValue;

use self::connection::Call;
pub(crate) use self::connection::Redis;
use crate::bucket::Page;
use crate::error::Failure;
use crate::names::name;
use crate::write::{Reply, Write};

/// One space of a server.
#[derive(Debug)]
pub(crate) struct Space {
    redis: Arc<Redis>,
    /// Of the hash.
    key: String,
}

impl Space {
    pub(crate) fn new(redis: Arc<Redis>, space: &host_manifest::Space) -> Self {
        Self { redis, key: format!("host:{}", name(space)) }
    }

    pub(crate) async fn value(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.command("HGET", key).await
    }

    pub(crate) async fn exists(&self, key: &str) -> Result<bool, Failure> {
        self.command("HEXISTS", key).await
    }

    /// All of one moment. Fails if they are more than `limit` bytes together.
    pub(crate) async fn values(
        &self,
        keys: &[String],
        limit: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, Failure> {
        let mut call = scripts::VALUES.key(&self.key);
        call.arg(limit).arg(keys);
        let values: Option<Vec<Option<Vec<u8>>>> = self.redis.call(&Call::Script(call)).await?;
        values.ok_or(Failure::AnswerTooLarge)
    }

    pub(crate) async fn list(&self, from: u64) -> Result<Page, Failure> {
        let mut call = scripts::LIST.key(&self.key);
        call.arg(from);
        let (next, keys): (u64, Vec<Vec<u8>>) = self.redis.call(&Call::Script(call)).await?;
        // What somebody else has put there need not be text; then no guest can name it.
        let keys = keys.into_iter().filter_map(|key| String::from_utf8(key).ok()).collect();
        Ok(Page { keys, cursor: (next != 0).then_some(next) })
    }

    pub(crate) async fn write(&self, write: Write) -> Result<Reply, Failure> {
        match write {
            Write::Set(entries) => {
                let _fields: i64 = self.command("HSET", entries).await?;
                Ok(Reply::Done)
            }
            Write::Delete(keys) => {
                let _removed: i64 = self.command("HDEL", keys).await?;
                Ok(Reply::Done)
            }
            Write::Increment { key, delta } => self.increment(&key, delta).await,
            Write::Swap { key, expected, new } => {
                let mut call = scripts::SWAP.key(&self.key);
                call.arg(key).arg(expected.is_some()).arg(expected.unwrap_or_default()).arg(new);
                Ok(Reply::Swapped(self.redis.call(&Call::Script(call)).await?))
            }
        }
    }

    async fn increment(&self, key: &str, delta: u64) -> Result<Reply, Failure> {
        let mut call = scripts::INCREMENT.key(&self.key);
        call.arg(key).arg(delta);
        let answer: String = self.redis.call(&Call::Script(call)).await?;
        match &*answer {
            "not a number" => Err(Failure::NotANumber),
            "overflow" => Err(Failure::Overflow),
            sum => match sum.parse() {
                Ok(sum) => Ok(Reply::Number(sum)),
                Err(_) => Err(Failure::Unavailable(format!("an unexpected answer: {sum}"))),
            },
        }
    }

    async fn command<T: FromRedisValue>(
        &self,
        command: &str,
        arguments: impl redis::ToRedisArgs,
    ) -> Result<T, Failure> {
        let mut command = redis::cmd(command);
        command.arg(&self.key).arg(arguments);
        self.redis.call(&Call::Command(command)).await
    }
}
