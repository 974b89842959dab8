//! Always the same short answer, without a kit, a format or any growth of memory: the guest of the
//! benchmark.
//! Learnt from it: what a request costs in the host.

mod arena;

use wasip3::exports::http::handler::Guest;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

#[global_allocator]
static ARENA: arena::Arena = arena::Arena::new();

struct Hello;

impl Guest for Hello {
    async fn handle(_: Request) -> Result<Response, ErrorCode> {
        let headers = Fields::new();
        let _ = headers.append("content-type", b"text/plain");
        let _ = headers.append("content-length", b"12");
        let (mut body, contents) = wit_stream::new();
        let (_, trailers) = wit_future::new(|| Ok(None));
        let (response, _) = Response::new(headers, Some(contents), trailers);
        spawn_local(async move {
            body.write_all(b"hello world\n".to_vec()).await;
        });
        Ok(response)
    }
}

wasip3::http::service::export!(Hello);
