//! Whether the responses of a route are compressed.

/// How the responses of a route are compressed for clients that take them so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressConfig {
    /// Those with secrets in them too: of requests with a cookie or an authorization, and those that set a cookie.
    pub with_credentials: bool,
}
