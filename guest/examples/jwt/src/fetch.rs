//! Keys that are fetched: found in the bucket, or at the issuer, who is not asked often.

use std::cell::RefCell;
use std::pin::pin;

use futures::future::{Either, select};
use kit::store::{self, Bucket};
use kit::wasip3::clocks::monotonic_clock::wait_for;
use kit::wasip3::http::client;
use kit::wasip3::http::types::{Method, RequestOptions, Scheme};
use kit::wasip3::wit_bindgen::StreamResult;
use kit::wasip3::{spawn_local, wit_future};
use kit::{Config, Fields, Request, Response, atomics};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::keys::{Found, Jwks, Wanted};

pub struct Source {
    scheme: Scheme,
    authority: String,
    path: String,
    url: String,
    /// Begins the names of what is kept of this URL.
    name: String,
    refresh: u64,
    max_stale: u64,
    min_interval: u64,
}

/// What was fetched, and when.
#[derive(Clone, Deserialize, Serialize)]
struct Record {
    at: u64,
    set: Jwks,
}

/// What a fetch is for. Each kind has its turns for itself, so that clients with made-up keys do not use up those
/// of the others.
#[derive(Clone, Copy)]
enum Purpose {
    Unknown,
    Refresh,
}

enum Turn {
    Ours(u64),
    /// Somebody has fetched, or is fetching, in this window.
    Taken(u64),
}

const BUCKET: &str = "jwks";
const PATIENCE: u64 = 5_000_000_000;
const PAUSE: u64 = 20_000_000;
const LONGEST: usize = 256 << 10;

thread_local! {
    /// What this instance has read from the bucket.
    static MEMORY: RefCell<Option<Record>> = const { RefCell::new(None) };
}

impl Source {
    pub fn read(config: &mut Config) -> Result<Option<Self>, String> {
        let url = config.text("jwks-url");
        let refresh = config.number("refresh", 300, 1..=86_400)?;
        let max_stale = config.number("max-stale", 86_400, 1..=31_536_000)?;
        let min_interval = config.number("min-interval", 30, 1..=86_400)?;
        let Some(url) = url else { return Ok(None) };
        let wrong = || format!("config.jwks-url: {url:?} is no URL; write https://HOST/PATH");
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let scheme = match scheme {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(wrong()),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let odd = url.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#');
        if authority.is_empty() || authority.contains(['@', '?']) || odd {
            return Err(wrong());
        }
        if max_stale < refresh {
            return Err("config.max-stale is below config.refresh".into());
        }
        kit::granted(BUCKET)?;
        let digest = Sha256::digest(&url);
        let name = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let (authority, path) = (authority.to_owned(), path.to_owned());
        Ok(Some(Self { scheme, authority, path, name, refresh, max_stale, min_interval, url }))
    }

    /// Fetches if nothing has ever been fetched. Whatever comes of it is seen when a key is needed.
    pub async fn prepare(&self) {
        let Ok(bucket) = store::open(BUCKET) else { return };
        if matches!(self.kept(&bucket), Ok(None)) {
            let _ = self.fetch_in_turn(&bucket, Purpose::Refresh).await;
        }
    }

    /// The key of a token. An error is ours, not the client's.
    pub async fn find(&self, wanted: &Wanted<'_>) -> Result<Found, String> {
        if let Some(record) = self.remembered()
            && let found @ (Found::Key(_) | Found::Several) = record.set.find(wanted)
        {
            return Ok(found);
        }
        let bucket = store::open(BUCKET).map_err(|error| error.to_string())?;
        if let Some(record) = self.kept(&bucket)?
            && let found @ (Found::Key(_) | Found::Several) = record.set.find(wanted)
        {
            return Ok(found);
        }
        self.fetch_in_turn(&bucket, Purpose::Unknown).await?;
        match self.kept(&bucket)? {
            Some(record) => Ok(record.set.find(wanted)),
            None => Err(format!("no keys from {}", self.url)),
        }
    }

    /// Fetches again what is old, while the request goes on.
    pub fn refresh_beside(&'static self) {
        let age = |record: &Record| kit::now().saturating_sub(record.at);
        let is_old =
            MEMORY.with_borrow(|record| record.as_ref().is_some_and(|r| age(r) > self.refresh));
        if !is_old {
            return;
        }
        spawn_local(async move {
            let Ok(bucket) = store::open(BUCKET) else { return };
            // Another instance may have done it.
            if matches!(self.kept(&bucket), Ok(Some(record)) if age(&record) > self.refresh) {
                let _ = self.fetch_in_turn(&bucket, Purpose::Refresh).await;
            }
        });
    }

    /// What this instance knows and need not look up.
    fn remembered(&self) -> Option<Record> {
        let is_young = |record: &Record| kit::now().saturating_sub(record.at) <= self.refresh;
        MEMORY.with_borrow(|record| record.clone().filter(is_young))
    }

    /// What the bucket has, unless it is too old to count.
    fn kept(&self, bucket: &Bucket) -> Result<Option<Record>, String> {
        let bytes = bucket.get(&self.key("set")).map_err(|error| error.to_string())?;
        let record = bytes.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
        let record = record.filter(|r| kit::now().saturating_sub(r.at) <= self.max_stale);
        MEMORY.set(record.clone());
        Ok(record)
    }

    fn key(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }

    /// Fetches if it is our turn. If it is not, waits for whoever is fetching right now.
    async fn fetch_in_turn(&self, bucket: &Bucket, purpose: Purpose) -> Result<(), String> {
        let done = self.key(purpose.name("done"));
        match self.turn(bucket, purpose).map_err(|error| error.to_string())? {
            Turn::Ours(window) => {
                let fetched = self.fetch().await.and_then(|set| self.keep(bucket, set));
                if let Err(why) = fetched {
                    kit::log(format!("jwt: no keys from {}: {why}", self.url)).await;
                }
                bucket.set(&done, window.to_string().as_bytes()).map_err(|error| error.to_string())
            }
            Turn::Taken(window) => {
                for _ in 0..PATIENCE / PAUSE {
                    if number(bucket, &done).is_ok_and(|done| done >= window) {
                        break;
                    }
                    wait_for(PAUSE).await;
                }
                Ok(())
            }
        }
    }

    /// Time goes by in windows of `min-interval`. The first one to count in a window has it, unless somebody had the
    /// window before: so two fetches are never closer than a window is long.
    fn turn(&self, bucket: &Bucket, purpose: Purpose) -> Result<Turn, store::Error> {
        let window = kit::now() / self.min_interval;
        let key = |window: u64| self.key(&format!("{}-{window}", purpose.name("turn")));
        let before = window.saturating_sub(1);
        if bucket.exists(&key(before))? {
            return Ok(Turn::Taken(before));
        }
        if atomics::increment(bucket, &key(window), 1)? != 1 {
            return Ok(Turn::Taken(window));
        }
        let last = self.key(purpose.name("last"));
        let old = number(bucket, &last)?;
        if old < before {
            bucket.delete(&key(old))?;
        }
        bucket.set(&last, window.to_string().as_bytes())?;
        Ok(Turn::Ours(window))
    }

    fn keep(&self, bucket: &Bucket, set: Jwks) -> Result<(), String> {
        let record = Record { at: kit::now(), set };
        let bytes = serde_json::to_vec(&record).map_err(|error| error.to_string())?;
        bucket.set(&self.key("set"), &bytes).map_err(|error| error.to_string())
    }

    async fn fetch(&self) -> Result<Jwks, String> {
        let fetched = pin!(self.ask());
        match select(fetched, pin!(wait_for(PATIENCE))).await {
            Either::Left((set, _)) => set,
            Either::Right(_) => Err("it takes too long".into()),
        }
    }

    async fn ask(&self) -> Result<Jwks, String> {
        let headers = Fields::new();
        let _ = headers.append("accept", b"application/jwk-set+json, application/json");
        let options = RequestOptions::new();
        for set in [RequestOptions::set_connect_timeout, RequestOptions::set_first_byte_timeout] {
            let _ = set(&options, Some(PATIENCE));
        }
        let (_, trailers) = wit_future::new(|| Ok(None));
        let (request, _) = Request::new(headers, None, trailers, Some(options));
        let path = if self.path.is_empty() { "/" } else { &self.path };
        request
            .set_method(&Method::Get)
            .and_then(|()| request.set_scheme(Some(&self.scheme)))
            .and_then(|()| request.set_authority(Some(&self.authority)))
            .and_then(|()| request.set_path_with_query(Some(path)))
            .map_err(|()| "it is no URL")?;
        let response = client::send(request).await.map_err(|error| format!("{error:?}"))?;
        let code = response.get_status_code();
        if code != 200 {
            return Err(format!("it answers {code}"));
        }
        let set = Jwks::read(&whole(response).await?)?;
        if set.is_empty() {
            return Err("no key for RS256, ES256 or EdDSA in it".into());
        }
        Ok(set)
    }
}

impl Purpose {
    fn name(self, what: &'static str) -> &'static str {
        match (self, what) {
            (Self::Unknown, "done") => "unknown-done",
            (Self::Unknown, "last") => "unknown-last",
            (Self::Unknown, _) => "unknown-turn",
            (Self::Refresh, "done") => "refresh-done",
            (Self::Refresh, "last") => "refresh-last",
            (Self::Refresh, _) => "refresh-turn",
        }
    }
}

fn number(bucket: &Bucket, key: &str) -> Result<u64, store::Error> {
    let text = bucket.get(key)?.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// The body, if it is a whole one and not too large.
async fn whole(response: Response) -> Result<Vec<u8>, String> {
    let (_, read) = wit_future::new(|| Ok(()));
    let (mut body, trailers) = Response::consume_body(response, read);
    let mut all = Vec::new();
    loop {
        let (result, bytes) = body.read(Vec::with_capacity(16 << 10)).await;
        all.extend(bytes);
        if all.len() > LONGEST {
            return Err(format!("it has more than {LONGEST} bytes"));
        }
        if !matches!(result, StreamResult::Complete(_)) {
            break;
        }
    }
    drop(body);
    trailers.await.map_err(|error| format!("it broke off: {error:?}"))?;
    Ok(all)
}
