//! Outgoing HTTP.

use kit::types::{ErrorCode, Method, Scheme};
use kit::{PeerLeft, Request, client};

pub fn fetch(request: &Request) -> Result<String, String> {
    let url = request.text("url").ok_or("no url")?;
    let data = request.text("data").unwrap_or_default();
    let to = to(url, request.text("method"))?;
    let mut last = String::new();
    for _ in 0..request.number("times", 1) {
        let (status, body) = exchange(&to, data).map_err(kit::case)?;
        last = format!("{status}\n{}", String::from_utf8_lossy(&body));
    }
    Ok(last)
}

/// Splits the URL and checks nothing of it: that is the host's part.
pub fn to(url: &str, method: Option<&str>) -> Result<client::To, String> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme in the url")?;
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    Ok(client::To {
        method: client::method(method.unwrap_or("GET")),
        scheme: match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => Scheme::Other(other.into()),
        },
        authority: rest[..at].into(),
        path: Some(rest[at..].into()),
    })
}

fn exchange(to: &client::To, data: &str) -> Result<(u16, Vec<u8>), ErrorCode> {
    let has_body = !data.is_empty() || matches!(to.method, Method::Post | Method::Put);
    let length = data.len().to_string();
    let headers = [("content-length", &*length)];
    let headers = kit::fields(&headers[..usize::from(has_body)]);
    let (mut body, answer) = client::send(to, headers)?;
    // A server may answer and close before it has read our body, or instead.
    let _ = body.write(data).and_then(|()| body.finish());
    let answer = client::wait(&answer)?;
    let bytes = read(&answer).map_err(|PeerLeft| ErrorCode::HttpResponseIncomplete)?;
    Ok((answer.status(), bytes))
}

fn read(answer: &kit::types::IncomingResponse) -> Result<Vec<u8>, PeerLeft> {
    let (mut body, mut bytes) = (client::body(answer), Vec::new());
    while let Some(piece) = body.chunk()? {
        bytes.extend(piece);
    }
    Ok(bytes)
}
