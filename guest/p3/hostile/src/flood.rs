//! Many requests at once.

use std::collections::BTreeMap;

use futures::future::join_all;
use kit::Request;
use kit::types::{Fields, Request as Outgoing, Scheme};
use kit::wasip3::http::client;
use kit::wasip3::wit_future;

/// How many requests came to what, `outcome: number` a line.
pub async fn calls(request: &Request) -> String {
    let url = request.text("url").unwrap_or("http://127.0.0.1:1/");
    let n = request.number("n", 100_000);
    let all = join_all((0..n).map(|_| call(url))).await;
    let mut outcomes = BTreeMap::<String, u64>::new();
    for outcome in all {
        *outcomes.entry(outcome).or_default() += 1;
    }
    outcomes.into_iter().map(|(outcome, number)| format!("{outcome}: {number}\n")).collect()
}

async fn call(url: &str) -> String {
    let (authority, path) = url.trim_start_matches("http://").split_once('/').unwrap_or((url, ""));
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (request, _) = Outgoing::new(Fields::new(), None, trailers, None);
    request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
    if request.set_authority(Some(authority)).is_err() {
        return "bad-authority".into();
    }
    let _ = request.set_path_with_query(Some(&format!("/{path}")));
    match client::send(request).await {
        Ok(answer) => answer.get_status_code().to_string(),
        Err(error) => kit::case(error),
    }
}
