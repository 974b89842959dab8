//! Buckets of `wasi:keyvalue`.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::bucket_form::Bucket;
use crate::StoreConfig;
use crate::grants::AbilityConfig;
use crate::parse::ability::{AbilityTable, KeyTable};
use crate::parse::reader::Reader;
use crate::parse::spanned::Spanned;
use crate::parse::text_or::TextOr;

/// Buckets, by the name with which the guest opens them. At least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValueConfig(pub BTreeMap<String, BucketConfig>);

/// A bucket of `wasi:keyvalue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketConfig {
    /// Its store.
    pub store: StoreConfig,
    /// The part of the store that is the bucket: the component's own, or one that components share under a name.
    pub space: Namespace,
}

/// The owner of the keys in a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Namespace {
    /// One component: its name, and the name of the bucket.
    Own(Arc<str>, String),
    /// All components that give this name.
    Shared(String),
}

impl AbilityConfig for KeyValueConfig {
    fn summary(&self) -> Vec<(&'static str, String)> {
        let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        vec![("keyvalue", names.join(", "))]
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct KeyValueTable {
    /// Buckets of wasi:keyvalue, by the name that the guest opens.
    keyvalue: BTreeMap<Spanned<String>, Bucket>,
}

impl AbilityTable for KeyValueTable {
    const TABLE: KeyTable = KeyTable::Grants;

    type Config = KeyValueConfig;

    fn read(&self, reader: &mut Reader<'_>) -> Option<KeyValueConfig> {
        let mut out = BTreeMap::new();
        for (name, raw) in &self.keyvalue {
            reader.expect_visible(name);
            let (store, shared) = match raw {
                TextOr::Text(store) => (Some(store), &None),
                TextOr::Table(table) => (table.value.store.as_ref(), &table.value.shared),
            };
            let Some(written) = store else { continue };
            let shared = shared.as_ref().and_then(|shared| {
                reader.expect_visible(shared);
                reader.text(shared)
            });
            let space = match shared {
                Some(shared) => Namespace::Shared(shared),
                None => Namespace::Own(reader.component.clone(), name.value.clone()),
            };
            if let Some(store) = reader.store(written) {
                out.insert(name.value.clone(), BucketConfig { store, space });
            }
        }
        (!out.is_empty()).then_some(KeyValueConfig(out))
    }
}
