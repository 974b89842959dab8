//! Imports from `host:keyvalue` (`wit/keyvalue`): pairs that end, compare-and-swap, keys by prefix.

use std::time::Duration;

use host_keyvalue::{Bucket, Swapped};
use wasmtime::component::Resource;

use super::keyvalue::View;
use super::keyvalue::bindings::host::keyvalue::extra::{CasError, Host, KeyPage};
use super::keyvalue::bindings::wasi::keyvalue::store::Error;

impl Host for View<'_> {
    async fn set_with_ttl(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
        ttl_ms: u64,
    ) -> wasmtime::Result<Result<(), Error>> {
        let ttl = Duration::from_millis(ttl_ms);
        let result = self.bucket(&bucket)?.set_with_ttl(key, value, ttl).await;
        Ok(self.answer("set-with-ttl", result))
    }

    /// That another value is there is an answer of the store, and no failure.
    async fn compare_and_swap(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
        ttl_ms: Option<u64>,
    ) -> wasmtime::Result<Result<(), CasError>> {
        let (bucket, ttl) = (self.bucket(&bucket)?, ttl_ms.map(Duration::from_millis));
        let result = bucket.compare_and_swap(key, expected, new, ttl).await;
        Ok(match self.answer("compare-and-swap", result) {
            Ok(Swapped::Done) => Ok(()),
            Ok(Swapped::Other(value)) => Err(CasError::CasFailed(value)),
            Err(failure) => Err(CasError::StoreError(failure)),
        })
    }

    async fn list_keys_with_prefix(
        &mut self,
        bucket: Resource<Bucket>,
        prefix: String,
        cursor: Option<String>,
        limit: u32,
    ) -> wasmtime::Result<Result<KeyPage, Error>> {
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let result = self.bucket(&bucket)?.list_keys_with_prefix(prefix, cursor, most).await;
        let result = result.map(|page| KeyPage { keys: page.keys, cursor: page.cursor });
        Ok(self.answer("list-keys-with-prefix", result))
    }
}
