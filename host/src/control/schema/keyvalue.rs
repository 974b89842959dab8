//! Buckets, as operators read and write them.

use serde::{Deserialize, Serialize};

/// Answer to `GET /v1/kv`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketList {
    /// By component and name.
    pub buckets: Vec<BucketStatus>,
}

/// A bucket that a component has been granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketStatus {
    /// The component.
    pub component: String,
    /// The name that the component opens it by.
    pub bucket: String,
    /// Where it is kept: `memory`, `disk` or `redis`.
    pub backend: String,
}

/// Which bucket is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketName {
    /// The component; left out if only one has a bucket of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// The name that the component opens it by.
    pub bucket: String,
}

/// Asks for keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysRequest {
    /// See [`BucketName`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// See [`BucketName`].
    pub bucket: String,
    /// What the keys begin with; left out for all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// The cursor of the page before; left out for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many at most, 1000 at most; left out for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A page of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyList {
    /// They may be none although more follow.
    pub keys: Vec<String>,
    /// What gets the next page; left out after the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Asks for the value of a key, or to remove it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// See [`BucketName`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// See [`BucketName`].
    pub bucket: String,
    /// The key.
    pub key: String,
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    /// Its bytes, in base64.
    pub value_base64: String,
}

/// Sets the value of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRequest {
    /// See [`BucketName`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// See [`BucketName`].
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Its bytes, in base64.
    pub value_base64: String,
    /// How long it stays; left out for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

/// It has been written, or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyWritten {
    /// Whose bucket it was.
    pub component: String,
    /// Its name.
    pub bucket: String,
}
