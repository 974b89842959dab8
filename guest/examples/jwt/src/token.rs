//! A token taken apart: RFC 7519 in the compact form of RFC 7515, read as RFC 8725 advises.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kit::Fields;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::keys::Algorithm;

/// Why a token does not count.
#[derive(Debug)]
pub struct Refusal {
    /// As in RFC 6750, section 3.1; none where there is no token.
    pub error: Option<&'static str>,
    pub why: &'static str,
}

impl Refusal {
    pub fn invalid(why: &'static str) -> Self {
        Self { error: Some("invalid_token"), why }
    }
}

const LONGEST: usize = 8 << 10;
const LONGEST_VALUE: usize = 2 << 10;

/// The token of a request.
pub fn bearer(headers: &Fields) -> Result<String, Refusal> {
    let missing = Refusal { error: None, why: "this needs a token: Authorization: Bearer TOKEN" };
    let several = Refusal { error: Some("invalid_request"), why: "there is more than one token" };
    let mut values = headers.get("authorization");
    let value = values.pop().ok_or(missing)?;
    if !values.is_empty() {
        return Err(several);
    }
    let no_bearer = Refusal { error: None, why: "this needs a token: Authorization: Bearer TOKEN" };
    let Some((scheme, token)) = str::from_utf8(&value).ok().and_then(|text| text.split_once(' '))
    else {
        return Err(no_bearer);
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(no_bearer);
    }
    Ok(token.trim().to_owned())
}

/// A token whose signature is still to be checked.
pub struct Token {
    pub algorithm: Algorithm,
    pub signed: String,
    pub signature: Vec<u8>,
    kid: Option<String>,
    claims: Map<String, Value>,
}

/// What counts of the header. A name that is there twice is an error.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

impl Token {
    pub fn read(text: &str) -> Result<Self, Refusal> {
        let malformed = || Refusal::invalid("the token is malformed");
        if text.len() > LONGEST {
            return Err(Refusal::invalid("the token is too long"));
        }
        let (signed, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
        let header: Header = serde_json::from_slice(&bytes(header)?).map_err(|_| malformed())?;
        let algorithm = Algorithm::named(&header.alg)
            .ok_or_else(|| Refusal::invalid("the algorithm does not count here"))?;
        if header.crit.is_some() {
            return Err(Refusal::invalid("the token has critical extensions"));
        }
        let claims = serde_json::from_slice(&bytes(claims)?).map_err(|_| malformed())?;
        let (signed, signature) = (signed.to_owned(), bytes(signature)?);
        Ok(Self { algorithm, signed, signature, kid: header.kid, claims })
    }

    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Seconds since 1970, which may be a fraction.
    fn time(&self, claim: &str) -> Result<Option<f64>, Refusal> {
        match self.claims.get(claim) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(time) => Ok(Some(time)),
                None => Err(Refusal::invalid("a time in the token is no number")),
            },
        }
    }

    pub fn check_times(&self, now: u64, leeway: u64) -> Result<(), Refusal> {
        let (now, leeway) = (now as f64, leeway as f64);
        match self.time("exp")? {
            None => return Err(Refusal::invalid("the token does not say when it expires")),
            Some(end) if now >= end + leeway => {
                return Err(Refusal::invalid("the token has expired"));
            }
            Some(_) => {}
        }
        match self.time("nbf")? {
            Some(begin) if now < begin - leeway => {
                Err(Refusal::invalid("the token does not count yet"))
            }
            _ => Ok(()),
        }
    }

    pub fn check_parties(&self, issuer: &str, audience: &[String]) -> Result<(), Refusal> {
        if self.claims.get("iss").and_then(Value::as_str) != Some(issuer) {
            return Err(Refusal::invalid("the token is of another issuer"));
        }
        let ours =
            |value: &Value| value.as_str().is_some_and(|aud| audience.iter().any(|a| a == aud));
        let is_meant = match self.claims.get("aud") {
            Some(Value::Array(all)) => all.iter().any(ours),
            Some(one) => ours(one),
            None => false,
        };
        is_meant.then_some(()).ok_or(Refusal::invalid("the token is for somebody else"))
    }

    /// A claim as the value of a header.
    pub fn value(&self, claim: &str) -> Result<Option<String>, Refusal> {
        let text = match self.claims.get(claim) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(all)) if all.iter().all(Value::is_string) => {
                all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
            }
            Some(other) => other.to_string(),
        };
        let mut value = String::new();
        for byte in text.bytes() {
            match byte {
                b'%' => value.push_str("%25"),
                b' '..=b'~' => value.push(byte.into()),
                _ => value.push_str(&format!("%{byte:02X}")),
            }
        }
        if value.len() > LONGEST_VALUE {
            return Err(Refusal::invalid("a claim is too long"));
        }
        Ok(Some(value))
    }
}
