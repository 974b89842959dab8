//! What may be asked over the control socket.

/// What there is, in the order of the docs.
pub(super) const ROUTES: &[(&str, Route)] = &[
    ("/v1/status", Route::Status),
    ("/v1/connections", Route::Connections),
    ("/v1/generations", Route::Generations),
    ("/v1/traffic", Route::Traffic),
    ("/v1/usage", Route::Usage),
    ("/v1/reload", Route::Reload),
    ("/v1/reload-tls", Route::ReloadTls),
    ("/v1/swap", Route::Swap),
    ("/v1/rollback", Route::Rollback),
    ("/v1/kv", Route::Buckets),
    ("/v1/kv/list", Route::KeyValue(KeyValueRoute::List)),
    ("/v1/kv/get", Route::KeyValue(KeyValueRoute::Get)),
    ("/v1/kv/set", Route::KeyValue(KeyValueRoute::Set)),
    ("/v1/kv/delete", Route::KeyValue(KeyValueRoute::Delete)),
    ("/v1/canaries", Route::Canaries),
    ("/v1/canaries/follow", Route::FollowCanaries),
    ("/v1/promote", Route::Promote),
    ("/v1/abort", Route::Abort),
    ("/v1/upgrade", Route::Upgrade),
    ("/v1/drain", Route::Drain),
    ("/v1/undrain", Route::Undrain),
    ("/v1/stop", Route::Stop),
];

/// What may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Status,
    Connections,
    Generations,
    Traffic,
    Usage,
    Reload,
    ReloadTls,
    Swap,
    Rollback,
    Canaries,
    FollowCanaries,
    Promote,
    Abort,
    Upgrade,
    Drain,
    Undrain,
    Stop,
    Buckets,
    KeyValue(KeyValueRoute),
}

/// What may be asked of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyValueRoute {
    List,
    Get,
    Set,
    Delete,
}

impl Route {
    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Status
            | Self::Connections
            | Self::Generations
            | Self::Usage
            | Self::Buckets
            | Self::Canaries
            | Self::Traffic => "GET",
            Self::Reload
            | Self::ReloadTls
            | Self::Swap
            | Self::Rollback
            | Self::FollowCanaries
            | Self::Promote
            | Self::Abort
            | Self::Upgrade
            | Self::Drain
            | Self::Undrain
            | Self::KeyValue(_)
            | Self::Stop => "POST",
        }
    }
}
