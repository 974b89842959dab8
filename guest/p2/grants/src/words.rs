//! What comes in a request and goes into an answer, as text: the same in both worlds.

use kit::Request;
use kit::stores::config;

pub fn configuration(request: &Request) -> Result<String, String> {
    match request.text("key") {
        Some(key) => config::get(key).map(|value| format!("{}\n", value.unwrap_or("none".into()))),
        None => config::get_all().map(|all| lines(all.into_iter().map(pair))),
    }
    .map_err(kit::case)
}

pub fn text<'a>(request: &'a Request, key: &str) -> &'a str {
    request.text(key).unwrap_or_default()
}

pub fn pair((name, value): (String, String)) -> String {
    format!("{name}={value}")
}

pub fn lines(all: impl IntoIterator<Item = String>) -> String {
    all.into_iter().map(|line| line + "\n").collect()
}
