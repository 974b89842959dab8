//! Outgoing HTTP.

use kit::types::{ErrorCode, Fields, Method, Request as Outgoing, Scheme};
use kit::wasip3::http::client;
use kit::wasip3::{spawn_local, wit_future, wit_stream};
use kit::{Incoming, PeerLeft, Request};

pub async fn fetch(request: &Request) -> Result<String, String> {
    let url = request.text("url").ok_or("no url")?;
    let data = request.text("data").unwrap_or_default();
    let method = method(request.text("method").unwrap_or("GET"));
    let mut last = String::new();
    for _ in 0..request.number("times", 1) {
        let outgoing = match data {
            "" => bare(),
            data => with_body(data),
        };
        aim(&outgoing, &method, url)?;
        let (status, body) = exchange(outgoing).await.map_err(kit::case)?;
        last = format!("{status}\n{}", String::from_utf8_lossy(&body));
    }
    Ok(last)
}

fn bare() -> Outgoing {
    let (_, trailers) = wit_future::new(|| Ok(None));
    Outgoing::new(Fields::new(), None, trailers, None).0
}

fn with_body(data: &str) -> Outgoing {
    let (mut body, contents) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    let headers = kit::fields(&[("content-length", &data.len().to_string())]);
    let bytes = data.as_bytes().to_vec();
    spawn_local(async move {
        body.write_all(bytes).await;
    });
    Outgoing::new(headers, Some(contents), trailers, None).0
}

/// Splits the URL and checks nothing of it: that is the host's part.
pub fn aim(outgoing: &Outgoing, method: &Method, url: &str) -> Result<(), String> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme in the url")?;
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.into()),
    };
    outgoing
        .set_method(method)
        .and_then(|()| outgoing.set_scheme(Some(&scheme)))
        .and_then(|()| outgoing.set_authority(Some(&rest[..at])))
        .and_then(|()| outgoing.set_path_with_query(Some(&rest[at..])))
        .map_err(|()| "http-request-uri-invalid".into())
}

pub fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        other => Method::Other(other.into()),
    }
}

async fn exchange(request: Outgoing) -> Result<(u16, Vec<u8>), ErrorCode> {
    let answer = client::send(request).await?;
    let status = answer.get_status_code();
    let (mut body, mut bytes) = (Incoming::of(answer), Vec::new());
    while let Some(piece) = body.chunk().await {
        bytes.extend(piece);
    }
    body.trailers().await.map_err(|PeerLeft| ErrorCode::HttpResponseIncomplete)?;
    Ok((status, bytes))
}
