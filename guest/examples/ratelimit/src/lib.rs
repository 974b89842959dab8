//! A whole plugin: a token bucket for each client, in key-value, so that all instances count together.
//! A bucket holds `capacity` tokens and gets `refill` a second (of the configuration; 10 and 1). A
//! request takes one; where there is none it is answered 429 with `Retry-After`.
//!
//! A client is its `x-api-key`, or else its address: the first one in `x-forwarded-for`, which the host
//! writes (docs/guests.md). Anybody can make up keys, so put `apikey` before this in the chain.
use wasi::config::store as config;
use wasi::http::handler::handle as next;
use wasi::keyvalue::{atomics, store};
use wasip3::clocks::system_clock;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::wit_future;

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package example:ratelimit;
        world ratelimit {
            include host:plugin/next@0.1.0;
            import wasi:keyvalue/store@0.2.0-draft;
            import wasi:keyvalue/atomics@0.2.0-draft;
            import wasi:config/store@0.2.0-rc.1;
        }
    ",
    world: "example:ratelimit/ratelimit",
    generate_all,
    with: {
        "wasi:clocks/types@0.3.0": wasip3::clocks::types,
        "wasi:http/types@0.3.0": wasip3::http::types,
    },
});

struct RateLimit;

impl wasip3::exports::http::handler::Guest for RateLimit {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        // A store that cannot be asked is our failure and not the client's: `fail` decides then.
        let wait = take_token(&client(&request))
            .map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;
        match wait {
            0 => next(request).await,
            microseconds => Ok(too_many(microseconds.div_ceil(1_000_000))),
        }
    }
}

fn client(request: &Request) -> String {
    let headers = request.get_headers();
    let field = |name: &str| {
        let value = headers.get(name).pop();
        value.map(|value| String::from_utf8_lossy(&value).into_owned())
    };
    let address = || Some(field("x-forwarded-for")?.split(',').next()?.to_owned());
    let client = field("x-api-key").or_else(address).unwrap_or_default();
    // A store need not take keys of any length.
    client.chars().take(100).collect()
}

/// Takes a token and gives 0, or tells in how many microseconds there will be one.
///
/// A bucket is one number: the moment at which it will be full again. A token moves it `cost` on,
/// and nothing is left when it lies the whole bucket ahead. So refilling needs no write, and taking
/// is the one atomic step that key-value has.
fn take_token(client: &str) -> Result<u64, store::Error> {
    let cost = (1_000_000.0 / number("refill", 1.0)) as u64;
    let bucket = (number("capacity", 10.0) * cost as f64) as u64;
    let now = now();
    let kept = store::open("ratelimit")?;
    let text = kept.get(client)?.and_then(|bytes| String::from_utf8(bytes).ok());
    let full_at = text.and_then(|text| text.parse().ok()).unwrap_or(0);
    if full_at < now {
        // Full, and no fuller than that however long it was left alone. Two clients that find this
        // at once pay once: an error of a token, in the moment when there are plenty.
        kept.set(client, (now + cost).to_string().as_bytes())?;
        return Ok(0);
    }
    let missing = (full_at + cost).saturating_sub(now + bucket);
    if missing > 0 {
        return Ok(missing);
    }
    // Others may have taken the last one since we looked. Then this one is owed, and comes later.
    let full_at = atomics::increment(&kept, client, cost)?;
    Ok(full_at.saturating_sub(now + bucket))
}

/// A number of the configuration, from a thousandth to a million.
fn number(key: &str, default: f64) -> f64 {
    let text = config::get(key).ok().flatten();
    let number = text.and_then(|text| text.parse().ok());
    number.filter(|number| (0.001..=1e6).contains(number)).unwrap_or(default)
}

/// Microseconds since 1970.
fn now() -> u64 {
    let now = system_clock::now();
    now.seconds.cast_unsigned() * 1_000_000 + u64::from(now.nanoseconds / 1000)
}

fn too_many(seconds: u64) -> Response {
    let headers = [("retry-after".into(), seconds.to_string().into())];
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(Fields::from_list(&headers).unwrap(), None, trailers);
    response.set_status_code(429).unwrap();
    response
}

wasip3::http::service::export!(RateLimit);
