//! Answers `hello from PATH`, and `/api/time` with JSON.
use wasip3::clocks::system_clock;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

struct App;

impl wasip3::exports::http::handler::Guest for App {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        Ok(match path.as_str() {
            "/api/time" => {
                let seconds = system_clock::now().seconds;
                answer("application/json", format!("{{\"unix\": {seconds}}}\n"))
            }
            _ => answer("text/plain", format!("hello from {path}\n")),
        })
    }
}

fn answer(content_type: &str, text: String) -> Response {
    let headers = [("content-type".to_owned(), content_type.into())];
    let headers = Fields::from_list(&headers).expect("a header that is well-formed");
    let (mut body, contents) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    // The body is written while the host already reads it.
    spawn_local(async move {
        body.write_all(text.into_bytes()).await;
    });
    Response::new(headers, Some(contents), trailers).0
}

wasip3::http::service::export!(App);
