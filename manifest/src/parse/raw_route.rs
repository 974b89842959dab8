//! A `[[route]]` table as it is written. The comments here are the descriptions in the schema.

use schemars::JsonSchema;
use serde::Deserialize;

use super::enums::Verb;
use super::headers::Headers;
use super::rate_limit::RateLimit;
use super::spanned::{Spanned, Written};
use super::text_or::TextOr;
use crate::abilities::WrittenConfig;

/// Which requests go to a component, and through which plugins. The best route has the most exact
/// host, then the most exact path, then names the method.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["component"]))]
pub(super) struct Route {
    /// A name, or `*.` and the end of one. All hosts by default.
    pub(super) host: Option<Spanned<String>>,
    /// A path and all that lie below it: `/shop` is for `/shop` and `/shop/x`, not for `/shopping`.
    /// A route needs path or exact.
    pub(super) path: Option<Spanned<String>>,
    /// One path only, in place of path.
    pub(super) exact: Option<Spanned<String>>,
    /// Methods, in capitals. All of them by default.
    pub(super) methods: Option<Spanned<Vec<Written<Verb>>>>,
    /// The component that answers.
    #[schemars(with = "String")]
    pub(super) component: Option<Spanned<String>>,
    /// Components that stand before it as plugins, the first one first: the name of each, or a table with it.
    pub(super) chain: Vec<TextOr<Plugin>>,
    /// Responses are compressed for clients that take zstd, br or gzip: text, JSON, JavaScript, XML, SVG, WebAssembly of
    /// 1KiB and more. Not those to requests with a cookie or an authorization, nor those that set a cookie.
    #[schemars(extend("default" = false))]
    pub(super) compress: bool,
    /// With compress, those too: for responses that never show a secret beside what somebody else has written.
    #[schemars(extend("default" = false))]
    pub(super) compress_credentials: Option<Spanned<bool>>,
    /// Headers that are set, added and removed, of requests and of responses: for HSTS, for example.
    pub(super) headers: Headers,
    /// The component sees the path without what stands in path.
    #[schemars(extend("default" = false))]
    pub(super) strip_prefix: bool,
    /// How many requests it takes of each client. All of them by default.
    pub(super) rate_limit: Option<RateLimit>,
}

/// A component that stands before another one.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["plugin"]))]
pub(super) struct Plugin {
    /// What wasi:config answers to it on this route, in place of its own values of the same keys.
    pub(super) config: WrittenConfig,
    /// The name of the component.
    #[schemars(with = "String")]
    pub(super) plugin: Option<Spanned<String>>,
}
