//! Imports from `wasi:keyvalue` 0.2.0-draft (`wit/deps/keyvalue.wit`), for buckets that the operator
//! has granted. `keyvalue_extra.rs` has what the draft lacks.
//!
//! The crate `host-keyvalue` has the buckets and their bounds. A guest learns of a failure only what it
//! can act upon; the log has the rest.

use std::sync::Arc;

use host_keyvalue::{Bucket, Buckets, StoreError};
use host_manifest::abilities::{AbilitySyntax, KEYVALUE};
use host_manifest::escape::quote;
use host_manifest::{ComponentConfig, KeyValueConfig, StoreConfig};
use host_telemetry::{ComponentUsage, SpanKind, SpanTimer};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use super::ability::{Ability, GrantResources, ImportUse};
use crate::component::sandbox::grants::{Grant, Grants};
use crate::component::sandbox::log_limit::{LogTopics, log_limited};
use crate::component::sandbox::state::GuestState;

pub(super) mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        trivial_numeric_casts,
        unused_qualifications,
        clippy::error_impl_error,
        reason = "generated"
    )]
    wasmtime::component::bindgen!({
        path: ["../wit/deps/keyvalue.wit", "../wit/keyvalue"],
        world: "host:keyvalue/imports",
        imports: {
            "wasi:keyvalue/store.open": trappable,
            "wasi:keyvalue/store.[drop]bucket": trappable,
            default: async | trappable,
        },
        with: { "wasi:keyvalue/store.bucket": host_keyvalue::Bucket },
        require_store_data_send: true,
    });
}

use bindings::host::keyvalue::extra;
use bindings::wasi::keyvalue::store::{Error, KeyResponse};
use bindings::wasi::keyvalue::{atomics, batch, store};

/// The buckets that a component is granted, for operators.
pub(crate) fn buckets(grants: &Grants) -> Option<&Buckets> {
    grants.get().map(|KeyValueGrant(buckets)| buckets)
}

/// The ability.
pub(super) struct KeyValueAbility;

/// The buckets of a component.
#[derive(Debug)]
struct KeyValueGrant(Buckets);

impl Grant for KeyValueGrant {}

impl Ability for KeyValueAbility {
    fn syntax(&self) -> AbilitySyntax {
        KEYVALUE
    }

    fn words(&self) -> &'static [&'static str] {
        &["keyvalue"]
    }

    fn uses(&self) -> &'static [ImportUse] {
        const USE: ImportUse = ImportUse {
            prefix: "wasi:keyvalue/",
            what: "key-value buckets",
            grant: "keyvalue",
            example: "grants.keyvalue = { bucket = \"main\" }",
        };
        &[USE, ImportUse { prefix: "host:keyvalue/", ..USE }]
    }

    fn provide(
        &self,
        component: &ComponentConfig,
        resources: &GrantResources<'_>,
    ) -> Result<Option<Arc<dyn Grant>>, String> {
        let Some(KeyValueConfig(granted)) = component.grants.get() else { return Ok(None) };
        let mut wanted = granted.clone();
        if resources.look {
            for bucket in wanted.values_mut() {
                if let StoreConfig::Disk(path) = &bucket.store {
                    host_keyvalue::probe(path)?;
                    bucket.store = StoreConfig::Memory(path.display().to_string());
                }
            }
        }
        let buckets = resources.stores.open(&wanted, component.limits.keyvalue);
        let buckets = buckets.map_err(|why| why.to_string())?;
        Ok(Some(Arc::new(KeyValueGrant(buckets))))
    }

    /// A call that waits for a store delays its own instance, and no other.
    fn link(&self, linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        store::add_to_linker::<_, KeyValue>(linker, view)?;
        atomics::add_to_linker::<_, KeyValue>(linker, view)?;
        batch::add_to_linker::<_, KeyValue>(linker, view)?;
        extra::add_to_linker::<_, KeyValue>(linker, view)
    }
}

/// The parts of an instance that the imports use.
fn view(state: &mut GuestState) -> View<'_> {
    let timer = state.span_timer();
    let (grants, table, identity) = state.parts();
    View {
        timer,
        buckets: buckets(grants),
        table,
        component: &identity.component,
        number: identity.number,
        topics: &identity.topics,
        usage: &identity.usage,
    }
}

struct KeyValue;

impl HasData for KeyValue {
    type Data<'a> = View<'a>;
}

/// The parts of an instance that the imports use.
pub(super) struct View<'a> {
    /// The span of this call, if it is wanted.
    timer: Option<SpanTimer>,
    /// None without a grant.
    buckets: Option<&'a Buckets>,
    table: &'a mut ResourceTable,
    component: &'a str,
    number: u64,
    topics: &'a LogTopics,
    usage: &'a ComponentUsage,
}

impl View<'_> {
    pub(super) fn bucket(&self, bucket: &Resource<Bucket>) -> wasmtime::Result<Bucket> {
        Ok(self.table.get(bucket)?.clone())
    }

    /// The guest's result. The log has more; the store itself logs, once for all components, that it
    /// is not available.
    pub(super) fn answer<T>(
        &self,
        operation: &'static str,
        result: Result<T, StoreError>,
    ) -> Result<T, Error> {
        self.usage.keyvalue(operation, result.is_err());
        if let Some(timer) = self.timer {
            let attributes = vec![
                ("db.operation.name", operation.into()),
                ("host.component", self.component.to_owned().into()),
            ];
            timer.end(
                (SpanKind::Client, format!("keyvalue {operation}")),
                attributes,
                result.is_err(),
            );
        }
        result.map_err(|failure| {
            if !matches!(failure, StoreError::Unavailable(_)) {
                let why = failure.to_string();
                log_limited!(warn, self, "stores", why, "key-value operation of a guest fails");
            }
            Error::Other(failure.for_guest().to_owned())
        })
    }

    /// Refuses a bucket. A component without any bucket lacks the grant; one with other buckets has the wrong
    /// name. Neither learns the buckets of other components.
    fn refuse(&self, identifier: &str) -> Error {
        log_limited!(
            warn,
            self,
            "buckets",
            bucket = quote(identifier),
            "guest opens a key-value bucket that it was not granted (grants.keyvalue)"
        );
        if self.buckets.is_none_or(Buckets::is_empty) {
            Error::AccessDenied
        } else {
            Error::NoSuchStore
        }
    }
}

impl store::Host for View<'_> {
    fn open(&mut self, identifier: String) -> wasmtime::Result<Result<Resource<Bucket>, Error>> {
        match self.buckets.and_then(|buckets| buckets.get(&identifier)) {
            Some(bucket) => Ok(Ok(self.table.push(bucket)?)),
            None => Ok(Err(self.refuse(&identifier))),
        }
    }
}

impl store::HostBucket for View<'_> {
    async fn get(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        let result = self.bucket(&bucket)?.get(key).await;
        Ok(self.answer("get", result))
    }

    async fn set(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let result = self.bucket(&bucket)?.set(key, value).await;
        Ok(self.answer("set", result))
    }

    async fn delete(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<(), Error>> {
        let result = self.bucket(&bucket)?.delete(key).await;
        Ok(self.answer("delete", result))
    }

    async fn exists(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<bool, Error>> {
        let result = self.bucket(&bucket)?.exists(key).await;
        Ok(self.answer("exists", result))
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<u64>,
    ) -> wasmtime::Result<Result<KeyResponse, Error>> {
        let result = self.bucket(&bucket)?.list_keys(cursor).await;
        let result = result.map(|page| KeyResponse { keys: page.keys, cursor: page.cursor });
        Ok(self.answer("list-keys", result))
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for View<'_> {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: u64,
    ) -> wasmtime::Result<Result<u64, Error>> {
        let result = self.bucket(&bucket)?.increment(key, delta).await;
        Ok(self.answer("increment", result))
    }
}

/// A pair in the result of a batch.
type Pair = (String, Vec<u8>);

impl batch::Host for View<'_> {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Option<Pair>>, Error>> {
        let result = self.bucket(&bucket)?.get_many(keys.clone()).await;
        let result = result.map(|values| {
            let pairs = keys.into_iter().zip(values);
            pairs.map(|(key, value)| value.map(|value| (key, value))).collect()
        });
        Ok(self.answer("get-many", result))
    }

    async fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        key_values: Vec<Pair>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let result = self.bucket(&bucket)?.set_many(key_values).await;
        Ok(self.answer("set-many", result))
    }

    async fn delete_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let result = self.bucket(&bucket)?.delete_many(keys).await;
        Ok(self.answer("delete-many", result))
    }
}

#[cfg(test)]
#[path = "keyvalue_tests.rs"]
mod tests;
