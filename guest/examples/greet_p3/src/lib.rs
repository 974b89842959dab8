//! A whole component: answers `hello from PATH`.
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

struct Greet;

impl wasip3::exports::http::handler::Guest for Greet {
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

wasip3::http::service::export!(Greet);
