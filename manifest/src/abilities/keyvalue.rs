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

/// Buckets, by the name that the guest opens. At least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValueConfig(pub BTreeMap<String, BucketConfig>);

/// A bucket of `wasi:keyvalue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketConfig {
    /// Where it is kept.
    pub store: StoreConfig,
    /// Keys of others are not in it: the name of the component, or the name under which components
    /// share it.
    pub space: Namespace,
}

/// Whose keys are in a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Namespace {
    /// One component's: its name, and the name of the bucket.
    Own(Arc<str>, String),
    /// Of all components that name it so.
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
            let Some(written) = &raw.store else { continue };
            let shared = raw.shared.as_ref().and_then(|shared| {
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
