//! A whole plugin: lets a request pass if its header `x-api-key` is a key in the bucket `keys`, and
//! answers 401 otherwise. Give it `fail = "closed"`: open, a plugin that fails lets everybody in.
use wasi::http::handler::handle as next;
use wasi::keyvalue::store;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package example:apikey;
        world apikey {
            include host:plugin/next@0.1.0;
            import wasi:keyvalue/store@0.2.0-draft;
        }
    ",
    world: "example:apikey/apikey",
    with: {
        "wasi:clocks/types@0.3.0": wasip3::clocks::types,
        "wasi:http/types@0.3.0": wasip3::http::types,
        "wasi:http/handler@0.3.0": generate,
        "wasi:keyvalue/store@0.2.0-draft": generate,
    },
});

struct ApiKey;

impl wasip3::exports::http::handler::Guest for ApiKey {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let keys = request.get_headers().get("x-api-key");
        // A store that cannot be asked is our failure and not the client's: `fail` decides then.
        match is_known(&keys).map_err(|error| ErrorCode::InternalError(Some(error.to_string())))? {
            true => next(request).await,
            false => Ok(unauthorized()),
        }
    }
}

/// Whether there is one key, not several to choose from, and somebody has it.
fn is_known(keys: &[Vec<u8>]) -> Result<bool, store::Error> {
    let [key] = keys else { return Ok(false) };
    // A key that no store would take shall not look like a store that fails.
    let Some(key) = str::from_utf8(key).ok().filter(|key| key.len() <= 128) else {
        return Ok(false);
    };
    store::open("keys")?.exists(key)
}

fn unauthorized() -> Response {
    let (mut body, contents) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    spawn_local(async move {
        body.write_all(b"this needs the header x-api-key with a key that is known\n".into()).await;
    });
    let headers = [("content-type".into(), b"text/plain".into())];
    let (response, _) =
        Response::new(Fields::from_list(&headers).unwrap(), Some(contents), trailers);
    response.set_status_code(401).unwrap();
    response
}

wasip3::http::service::export!(ApiKey);
