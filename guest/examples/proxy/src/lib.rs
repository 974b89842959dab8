//! A whole component: a reverse proxy to the server that the configuration names as `upstream`,
//! `http://127.0.0.1:9000` or `https://example.com/base`; its origin has to be granted as outgoing.
//! Bodies stream in both directions. An upstream that fails is 502, one that is too slow 504.
use wasi::config::store as config;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme};
use wasip3::wit_future;

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package example:proxy;
        world proxy {
            import wasi:config/store@0.2.0-rc.1;
        }
    ",
    world: "example:proxy/proxy",
    generate_all,
});

/// What speaks of one connection and not of the message (RFC 9110, section 7.6.1). The host has
/// taken most of them out already, and would not let us set them.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

struct Proxy;

impl wasip3::exports::http::handler::Guest for Proxy {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let upstream = config::get("upstream").ok().flatten().unwrap_or_default();
        let sent = match aimed_at(&upstream, request) {
            Some(request) => client::send(request).await,
            None => Err(ErrorCode::ConfigurationError),
        };
        Ok(sent.map_or_else(|error| status(failed(&error)), came_back))
    }
}

/// The request as it goes to the upstream; `None` where that is not the URL of a server.
fn aimed_at(upstream: &str, old: Request) -> Option<Request> {
    let (scheme, rest) = upstream.split_once("://")?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    let (authority, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = old.get_path_with_query().unwrap_or_else(|| "/".into());
    let path = format!("{}{path}", base.trim_end_matches('/'));

    let method = old.get_method();
    // With `forwarded` and `x-forwarded-*` as the host has written them: they say who the client is.
    let headers = end_to_end(&old.get_headers());
    let (_, read) = wit_future::new(|| Ok(()));
    let (body, trailers) = Request::consume_body(old, read);
    let (new, _) = Request::new(headers, Some(body), trailers, None);
    new.set_method(&method).ok()?;
    new.set_scheme(Some(&scheme)).ok()?;
    new.set_authority(Some(authority)).ok()?;
    new.set_path_with_query(Some(&path)).ok()?;
    Some(new)
}

fn came_back(old: Response) -> Response {
    let code = old.get_status_code();
    let headers = end_to_end(&old.get_headers());
    let (_, read) = wit_future::new(|| Ok(()));
    let (body, trailers) = Response::consume_body(old, read);
    let (new, _) = Response::new(headers, Some(body), trailers);
    // From 600 on there is none: the server's answer is not one to hand on (RFC 9110, section 15).
    match new.set_status_code(code) {
        Ok(()) => new,
        Err(()) => status(502),
    }
}

/// A copy without what is hop-by-hop, and without what `connection` says is.
fn end_to_end(headers: &Fields) -> Fields {
    let named = headers.get("connection").concat();
    let copy = headers.clone();
    for name in String::from_utf8_lossy(&named).split(',').chain(HOP_BY_HOP) {
        let _ = copy.delete(name.trim());
    }
    copy
}

fn failed(error: &ErrorCode) -> u16 {
    match error {
        ErrorCode::DnsTimeout
        | ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => 504,
        _ => 502,
    }
}

fn status(code: u16) -> Response {
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(Fields::new(), None, trailers);
    response.set_status_code(code).unwrap();
    response
}

wasip3::http::service::export!(Proxy);
