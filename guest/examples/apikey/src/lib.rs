//! A whole plugin: lets a request pass if the SHA-256 of its header `x-api-key` is a key in the bucket `keys`, and answers
//! 401 otherwise. Give it `fail = "closed"`: open, a plugin that fails lets everybody in.
//!
//! | key | default | |
//! |---|---|---|
//! | `header` | `x-api-key` | the request header that has the API key |
//! | `client-header` | none | a header in which the component behind reads whose key it was: what the bucket has under the digest. Clients cannot send it |
//!
//! The bucket has digests, 64 hexadecimal digits, and nobody who reads it can use one as a key. A new key comes into
//! being like this, and the value is the name of its owner:
//! `openssl rand -hex 32 | tee key | tr -d '\n' | sha256sum`.
//!
//! Limits: a digest without salt or stretching is right for random keys and wrong for passwords. A key is looked up in
//! the store for each request. The key itself goes on to the component behind.
use kit::{Answer, Config, ErrorCode, Parts, Request, failed, next, remove, set, store, text};
use sha2::{Digest, Sha256};

kit::plugin!(ApiKey, handle, schema: "../config.schema.json");

struct ApiKey {
    header: String,
    client_header: Option<String>,
}

impl kit::Settings for ApiKey {
    fn read(config: &mut Config) -> Result<Self, String> {
        let header = config.text("header").unwrap_or_else(|| "x-api-key".into());
        let client_header = config.text("client-header");
        for (key, name) in [("header", Some(&header)), ("client-header", client_header.as_ref())] {
            name.map_or(Ok(()), |name| kit::check_name(key, name, true))?;
        }
        kit::granted("keys")?;
        Ok(Self { header, client_header })
    }
}

async fn handle(settings: &'static ApiKey, request: Request) -> Answer {
    let keys = request.get_headers().get(&settings.header);
    // A store that cannot be asked is our failure and not the client's: `fail` decides then.
    let Some(owner) = owner(&keys).map_err(failed)? else { return Ok(unauthorized(settings)) };
    let Some(name) = &settings.client_header else { return next(request).await };
    let parts = Parts::of(request);
    remove(&parts.headers, |field| field == kit::dashed(name));
    set(&parts.headers, name, &owner).map_err(|_| bad_owner())?;
    next(parts.whole()?).await
}

/// Whose key it is, if there is one key, not several to choose from, and somebody has it.
fn owner(keys: &[Vec<u8>]) -> Result<Option<Vec<u8>>, store::Error> {
    let [key] = keys else { return Ok(None) };
    store::open("keys")?.get(&hex(&Sha256::digest(key)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bad_owner() -> ErrorCode {
    failed("what the bucket has under the digest of this key cannot be the value of a header")
}

fn unauthorized(settings: &ApiKey) -> kit::Response {
    let why = format!("this needs the header {} with a key that is known\n", settings.header);
    text(401, &[], "text/plain", why)
}
