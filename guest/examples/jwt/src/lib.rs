//! A whole plugin: lets a request pass if it has a JSON Web Token that one of the issuer's keys has signed, and answers
//! 401 with `WWW-Authenticate: Bearer` otherwise. Give it `fail = "closed"`.
//!
//! | key | default | |
//! |---|---|---|
//! | `issuer` | needed | what `iss` has to be |
//! | `audience` | needed | words, one of which has to be in `aud` |
//! | `jwks` | | the keys: a JWK Set as text. Either this or `jwks-url` |
//! | `jwks-url` | | where the keys are fetched: `https://login.example/jwks.json`; takes `grants.outgoing` and the bucket `jwks` |
//! | `algorithms` | `RS256 ES256 EdDSA` | which of these count |
//! | `claims` | `sub` | claims that the component behind reads in headers: `sub scope https://x.example/role=role` is `x-jwt-sub`, `x-jwt-scope`, `x-jwt-role` |
//! | `leeway` | `30` | seconds by which clocks may differ, for `exp` and `nbf`; 300 at most |
//! | `forward` | `false` | whether the component behind gets the token too, in `Authorization` |
//! | `refresh` | `300` | seconds after which fetched keys are fetched again |
//! | `max-stale` | `86400` | seconds for which they count while they cannot be fetched |
//! | `min-interval` | `30` | seconds: no more than one fetch in them for keys that are not known, whatever clients send |
//!
//! A token has to have `exp`. Its algorithm has to be that of the key, which the type of the key decides: RSA is RS256,
//! P-256 is ES256, Ed25519 is EdDSA. So `none` and `HS256` never count. A `kid` chooses the key; without one there has to
//! be only one key of the algorithm. Headers `x-jwt-*` of clients are taken out. A value has everything outside of
//! visible ASCII, and `%`, percent-encoded; lists of text are joined by spaces, what else is not text is JSON.
//!
//! Fetched keys are kept in the bucket, where all instances find them, since each request has an instance of its own. What
//! is old is fetched again beside a request that has already passed, so nobody waits, and a server that is away changes
//! nothing for `max-stale`. A key that is not known is fetched while its request waits, for 5 s at most.
//!
//! Limits: tokens of 8 KiB, 2 KiB in a header, 64 keys, 256 KiB of a JWK Set, RSA of 2,048 to 4,096 bits; no encrypted
//! tokens, no `crit`, no revocation of a single token. Somebody who sends made-up key ids and leaves at once can use up
//! the fetches for unknown keys: a new key then counts from the next refresh. Trailers go by as they are, so take an
//! identity from headers only. The host has to know the time.
use kit::{Answer, Config, Fields, Parts, Request, failed, next, remove, set, text};

use crate::fetch::Source;
use crate::keys::{Algorithm, Found, Jwks};
use crate::token::{Refusal, Token};

mod fetch;
mod keys;
mod token;

kit::plugin!(Jwt, handle, start: prepare, schema: "../config.schema.json");

pub struct Jwt {
    issuer: String,
    audience: Vec<String>,
    algorithms: Vec<Algorithm>,
    /// The name of a claim, and that of its header.
    claims: Vec<(String, String)>,
    leeway: u64,
    forward: bool,
    keys: Keys,
}

enum Keys {
    Given(Jwks),
    Fetched(Source),
}

const PREFIX: &str = "x-jwt-";
const CLAIMS: usize = 32;

impl kit::Settings for Jwt {
    fn read(config: &mut Config) -> Result<Self, String> {
        let issuer = config.needed("issuer")?;
        let audience = config.words("audience", "");
        if audience.is_empty() {
            return Err("config.audience is needed".into());
        }
        let words = config.words("algorithms", "RS256 ES256 EdDSA");
        let algorithm = |word: &String| {
            Algorithm::named(word).ok_or_else(|| {
                format!("config.algorithms: {word:?} is none of RS256, ES256, EdDSA")
            })
        };
        let algorithms = words.iter().map(algorithm).collect::<Result<Vec<_>, _>>()?;
        if algorithms.is_empty() {
            return Err("config.algorithms is empty, so no token would pass".into());
        }
        let words = config.words("claims", "sub");
        if words.len() > CLAIMS {
            return Err(format!("config.claims has {} claims; {CLAIMS} at most", words.len()));
        }
        let claims = words.iter().map(|word| claim(word)).collect::<Result<_, _>>()?;
        let leeway = config.number("leeway", 30, 0..=300)?;
        let forward = config.flag("forward")?;
        let source = Source::read(config)?;
        let keys = match (config.text("jwks"), source) {
            (Some(given), None) => Keys::Given(Jwks::given(&given)?),
            (None, Some(source)) => Keys::Fetched(source),
            _ => return Err("one of config.jwks and config.jwks-url is needed".into()),
        };
        Ok(Self { issuer, audience, algorithms, claims, leeway, forward, keys })
    }
}

/// `role`, or `https://x.example/role=role`.
fn claim(word: &str) -> Result<(String, String), String> {
    let (claim, header) = word.rsplit_once('=').unwrap_or((word, word));
    let header = format!("{PREFIX}{}", header.to_ascii_lowercase());
    let tried = Fields::new().append(&header, b"x");
    tried.map_err(|_| {
        format!("config.claims: {header} is no name of a header; write {claim}=NAME")
    })?;
    Ok((claim.to_owned(), header))
}

/// When the component is loaded no client can be in the way of the first fetch.
async fn prepare(jwt: &'static Jwt) {
    if let Keys::Fetched(source) = &jwt.keys {
        source.prepare().await;
    }
}

async fn handle(jwt: &'static Jwt, request: Request) -> Answer {
    let parts = Parts::of(request);
    match jwt.admit(&parts.headers).await? {
        Ok(()) => next(parts.whole()?).await,
        Err(refusal) => Ok(refused(&refusal)),
    }
}

impl Jwt {
    /// Writes who the client is into the headers, or says why it may not pass.
    async fn admit(&'static self, headers: &Fields) -> Result<Result<(), Refusal>, kit::ErrorCode> {
        let token = match token::bearer(headers).and_then(|text| Token::read(&text)) {
            Ok(token) => token,
            Err(refusal) => return Ok(Err(refusal)),
        };
        // What would be refused anyway makes nobody look for its key.
        if let Err(refusal) = self.check(&token) {
            return Ok(Err(refusal));
        }
        let wanted = keys::Wanted { kid: token.kid(), algorithm: token.algorithm };
        let found = match &self.keys {
            Keys::Given(keys) => keys.find(&wanted),
            Keys::Fetched(source) => source.find(&wanted).await.map_err(failed)?,
        };
        let key = match found {
            Found::Key(key) => key,
            Found::Unknown => return Ok(Err(Refusal::invalid("no key fits the token"))),
            Found::Several => {
                return Ok(Err(Refusal::invalid("the token does not say which key it is by")));
            }
        };
        if key.verify(&token.signed, &token.signature).is_none() {
            return Ok(Err(Refusal::invalid("the signature is wrong")));
        }
        if let Keys::Fetched(source) = &self.keys {
            source.refresh_beside();
        }
        self.write(&token, headers)
    }

    fn check(&self, token: &Token) -> Result<(), Refusal> {
        if !self.algorithms.contains(&token.algorithm) {
            return Err(Refusal::invalid("the algorithm does not count here"));
        }
        token.check_times(kit::now(), self.leeway)?;
        token.check_parties(&self.issuer, &self.audience)
    }

    fn write(
        &self,
        token: &Token,
        headers: &Fields,
    ) -> Result<Result<(), Refusal>, kit::ErrorCode> {
        remove(headers, |name| name.starts_with(PREFIX));
        if !self.forward {
            let _ = headers.delete("authorization");
        }
        for (claim, header) in &self.claims {
            match token.value(claim) {
                Ok(Some(value)) => set(headers, header, value.as_bytes())?,
                Ok(None) => {}
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        Ok(Ok(()))
    }
}

fn refused(refusal: &Refusal) -> kit::Response {
    let challenge = match refusal.error {
        None => "Bearer".to_owned(),
        Some(error) => format!("Bearer error=\"{error}\", error_description=\"{}\"", refusal.why),
    };
    let fields = [("www-authenticate", challenge.as_str()), ("cache-control", "no-store")];
    text(401, &fields, "text/plain", format!("{}\n", refusal.why))
}
