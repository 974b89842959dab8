//! Why a request over the control socket is not carried out.

use http::{Response, StatusCode};
use tokio::task::JoinError;
use tracing::warn;

use super::reply::{self, ReplyBody};

/// Why a request is not carried out.
pub(super) struct Rejection {
    pub(super) status: StatusCode,
    pub(super) error: String,
    /// The only method that the path has.
    pub(super) allow: Option<&'static str>,
    /// Nothing more can be read on this connection.
    pub(super) last: bool,
}

impl Rejection {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), allow: None, last: false }
    }

    pub(super) fn response(self) -> Response<ReplyBody> {
        let mut response = reply::refusal(self.status, self.error);
        if let Some(method) = self.allow {
            response = reply::with_allow(response, method);
        }
        if self.last { reply::closing(response) } else { response }
    }

    /// A command has panicked.
    pub(super) fn panicked(why: &JoinError) -> Self {
        warn!(%why, "control: a command has failed");
        let error = "the command has failed inside the host; its log says more";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error)
    }
}
