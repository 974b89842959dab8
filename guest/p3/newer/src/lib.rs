//! Answers `hello from PATH`, built against a later patch of WASI 0.3 than the host has.
//! Learnt from it: patches are compatible in both directions.
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

struct Newer;

impl wasip3::exports::http::handler::Guest for Newer {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let (mut body, contents) = wit_stream::new();
        let (_, trailers) = wit_future::new(|| Ok(None));
        spawn_local(async move {
            body.write_all(format!("hello from {path}\n").into_bytes()).await;
        });
        Ok(Response::new(Fields::new(), Some(contents), trailers).0)
    }
}

wasip3::http::service::export!(Newer);
