//! A bucket of `wasi:keyvalue`, in its short and its long form.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::parse::spanned::Spanned;
use crate::parse::text_or::TextOr;

/// The name of a store, or a table with it.
pub(super) type Bucket = TextOr<BucketTable>;

/// A bucket in a store.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["store"]))]
pub(super) struct BucketTable {
    /// The name of a store.
    #[schemars(with = "String")]
    pub(super) store: Option<Spanned<String>>,
    /// Components that say the same word here share what is in it.
    pub(super) shared: Option<Spanned<String>>,
}
