//! A whole plugin: a token bucket for each client, in key-value, so that all instances count together, and all hosts that
//! share the store. A request takes a token; where there is none it is answered 429 with `Retry-After`.
//!
//! | key | default | |
//! |---|---|---|
//! | `capacity` | `10` | tokens in a full bucket: how many requests may come at once |
//! | `refill` | `1` | tokens that come back each second; `0.5` is one in two seconds |
//! | `key` | `address` | what makes a client: its `address`, or `header:NAME`, for example `header:x-api-key` |
//!
//! An address is the first one in `x-forwarded-for`, which the host writes (docs/guests.md); of IPv6 its /64. A request
//! without the header, or with several, counts by its address. Anybody can make up values of a header, so put a plugin
//! that checks them before this one: `apikey`, `jwt`.
//!
//! Limits: each client takes some 220 bytes of the bucket `ratelimit`, for `keyvalue-size` = 64 MiB about 300,000 of them.
//! When the bucket is full, clients that have all their tokens back are forgotten, up to 1,000 at a time; where nobody
//! can be forgotten the plugin fails, and `fail` decides. Hosts that share a store need clocks that agree: what they
//! differ by is given or taken once. `[route.rate-limit]` of the manifest is faster and counts for one host.
use kit::wasip3::clocks::system_clock;
use kit::{Answer, Config, Fields, Request, atomics, batch, failed, next, status, store};
use sha2::{Digest, Sha256};

kit::plugin!(RateLimit, handle, schema: "../config.schema.json");

struct RateLimit {
    /// Microseconds that a token takes to come back.
    cost: u64,
    /// Microseconds that an empty bucket takes to be full.
    bucket: u64,
    header: Option<String>,
}

impl kit::Settings for RateLimit {
    fn read(config: &mut Config) -> Result<Self, String> {
        let cost = (1_000_000.0 / number(config, "refill", 1.0)?) as u64;
        let bucket = (number(config, "capacity", 10.0)? * cost as f64) as u64;
        if bucket < cost {
            return Err("config.capacity is less than one token, so no request would pass".into());
        }
        let key = config.text("key").unwrap_or_else(|| "address".into());
        let header = match key.split_once(':') {
            None if key == "address" => None,
            Some(("header", name)) => {
                kit::check_name("key", name, true)?;
                Some(name.to_owned())
            }
            _ => return Err(format!("config.key: {key:?} is neither address nor header:NAME")),
        };
        kit::granted("ratelimit")?;
        Ok(Self { cost, bucket, header })
    }
}

/// A number from a thousandth to a million.
fn number(config: &mut Config, key: &'static str, default: f64) -> Result<f64, String> {
    let Some(text) = config.text(key) else { return Ok(default) };
    let number = text.parse().ok().filter(|number| (0.001..=1e6).contains(number));
    number.ok_or_else(|| format!("config.{key}: {text:?} is no number from 0.001 to 1000000"))
}

async fn handle(limit: &'static RateLimit, request: Request) -> Answer {
    // A store that cannot be asked is our failure and not the client's: `fail` decides then.
    match limit.take_token(&limit.client(&request.get_headers())).map_err(failed)? {
        0 => next(request).await,
        microseconds => Ok(too_many(microseconds.div_ceil(1_000_000))),
    }
}

impl RateLimit {
    fn client(&self, headers: &Fields) -> String {
        let value = self.header.as_ref().and_then(|name| kit::only(headers, name));
        // The store need not take values of any length, and should not have secrets in it.
        value.map_or_else(
            || address(headers),
            |value| {
                let digest = Sha256::digest(value);
                digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
            },
        )
    }

    /// Takes a token and gives 0, or tells in how many microseconds there will be one.
    ///
    /// A bucket is one number: the moment at which it will be full again. A token moves it `cost` on,
    /// and nothing is left when it lies the whole bucket ahead. So refilling needs no write, and taking
    /// is the one atomic step that key-value has.
    fn take_token(&self, client: &str) -> Result<u64, store::Error> {
        let now = now();
        let kept = store::open("ratelimit")?;
        let full_at = moment(kept.get(client)?);
        if full_at < now {
            // Full, and no fuller than that however long it was left alone. Two clients that find this
            // at once pay once: an error of a token, in the moment when there are plenty.
            let value = (now + self.cost).to_string();
            if let Err(error) = kept.set(client, value.as_bytes()) {
                if !forget(&kept, now)? {
                    return Err(error);
                }
                kept.set(client, value.as_bytes())?;
            }
            return Ok(0);
        }
        let missing = (full_at + self.cost).saturating_sub(now + self.bucket);
        if missing > 0 {
            return Ok(missing);
        }
        // Others may have taken the last one since we looked. Then this one is owed, and comes later.
        let full_at = atomics::increment(&kept, client, self.cost)?;
        Ok(full_at.saturating_sub(now + self.bucket))
    }
}

fn address(headers: &Fields) -> String {
    match kit::client(headers) {
        Some(std::net::IpAddr::V4(address)) => address.to_string(),
        Some(std::net::IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        None => "unknown".into(),
    }
}

fn moment(value: Option<Vec<u8>>) -> u64 {
    let text = value.and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Pages of a full bucket that one request looks through.
const PAGES: usize = 4;

/// Deletes clients that have all their tokens, from the first page that has any; tells whether there were any. One that
/// takes a token in this moment gets it for nothing.
fn forget(kept: &store::Bucket, now: u64) -> Result<bool, store::Error> {
    let mut cursor = None;
    for _ in 0..PAGES {
        let page = kept.list_keys(cursor)?;
        let values = batch::get_many(kept, &page.keys)?.into_iter().flatten();
        let full = values.filter(|(_, value)| moment(Some(value.clone())) < now);
        let full: Vec<String> = full.map(|(client, _)| client).collect();
        if !full.is_empty() {
            batch::delete_many(kept, &full)?;
            return Ok(true);
        }
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    Ok(false)
}

/// Microseconds since 1970.
fn now() -> u64 {
    let now = system_clock::now();
    now.seconds.cast_unsigned() * 1_000_000 + u64::from(now.nanoseconds / 1000)
}

fn too_many(seconds: u64) -> kit::Response {
    let headers = Fields::new();
    // Digits are a good value.
    let _ = headers.append("retry-after", seconds.to_string().as_bytes());
    status(429, headers)
}
