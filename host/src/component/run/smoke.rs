//! Smoke requests, which a new generation must answer before it serves. They use no socket.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Empty};
use thiserror::Error;
use wasmtime_wasi_http::WasiBody;

use super::instance::Running;
use crate::component::sandbox::guest_failure::GuestFailure;

/// From the request to the end of the response. Most clients wait as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The `User-Agent` of a smoke request.
const AGENT: HeaderValue = HeaderValue::from_static("host-smoke");

/// A request and the status that its response must have: `GET /health 200`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smoke {
    method: Method,
    path: PathAndQuery,
    status: StatusCode,
}

impl Smoke {
    /// A smoke request.
    ///
    /// # Errors
    /// When a part of it is not valid in HTTP.
    pub fn new(method: &str, path: &str, status: u16) -> Result<Self, http::Error> {
        Ok(Self { method: method.parse()?, path: path.parse()?, status: status.try_into()? })
    }
}

impl fmt::Display for Smoke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{} {} {}`", self.method, self.path, self.status.as_u16())
    }
}

/// Why a smoke request failed.
#[derive(Debug, Error)]
pub(crate) enum SmokeFailure {
    #[error("the answer is {0}")]
    Status(u16),
    #[error("{0}")]
    Guest(#[from] GuestFailure),
    #[error("the answer's body was broken off: {0}")]
    Body(String),
    #[error("no whole answer within {PATIENCE:?}")]
    TooSlow,
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
}

impl SmokeFailure {
    /// The functions that were running: see [`GuestFailure::stacktrace`].
    pub(crate) fn stacktrace(&self) -> Option<String> {
        match self {
            Self::Guest(why) => why.stacktrace(),
            Self::Status(_) | Self::Body(_) | Self::TooSlow | Self::Request(_) => None,
        }
    }
}

impl Smoke {
    /// Runs it on an instance that `start` makes: head, body, and the guest's work after that.
    pub(crate) async fn run(
        &self,
        start: impl FnOnce(Request<WasiBody>) -> Running,
    ) -> Result<(), SmokeFailure> {
        let request = self.request()?;
        host_clock::timeout(PATIENCE, self.expect_answer(start(request)))
            .await
            .map_err(|_| SmokeFailure::TooSlow)?
    }

    fn request(&self) -> Result<Request<WasiBody>, http::Error> {
        let none = Empty::<Bytes>::new().map_err(|never| match never {});
        Request::builder()
            .method(self.method.clone())
            .uri(format!("http://localhost{}", self.path))
            .header(HOST, "localhost")
            .header(USER_AGENT, AGENT)
            .body(none.boxed_unsync())
    }

    async fn expect_answer(&self, mut running: Running) -> Result<(), SmokeFailure> {
        let response = poll_fn(|cx| running.poll_head(cx, |_| ())).await?;
        if response.status() != self.status {
            return Err(SmokeFailure::Status(response.status().as_u16()));
        }
        let mut body = response.into_body();
        poll_fn(|cx| {
            loop {
                let worked = running.poll_work(cx);
                match Pin::new(&mut body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(why))) => {
                        return Poll::Ready(Err(SmokeFailure::Body(format!("{why:?}"))));
                    }
                    // The body of a failed guest ends like the body of a finished one.
                    Poll::Ready(None) => {
                        return Poll::Ready(match worked {
                            Poll::Ready(Err(why)) => Err(why.into()),
                            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
                        });
                    }
                    Poll::Pending => {
                        ready!(running.poll_answered(worked))?;
                        return Poll::Ready(Err(GuestFailure::BodyLeaked.into()));
                    }
                }
            }
        })
        .await?;
        running.release();
        Ok(poll_fn(|cx| running.poll_work(cx)).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smoke_request_names_this_host() {
        let smoke = Smoke::new("GET", "/health?deep=1", 204).unwrap();
        assert_eq!(smoke.to_string(), "`GET /health?deep=1 204`");
        let request = smoke.request().unwrap();
        assert_eq!(request.uri(), "http://localhost/health?deep=1");
        assert!(Smoke::new("G T", "/", 200).is_err());
        assert!(Smoke::new("GET", "/ ", 200).is_err());
    }
}
