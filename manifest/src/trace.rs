//! Where spans go, and how many traces are sampled.

use std::fmt;
use std::str::FromStr;

use http::Uri;

/// The path that OTLP over HTTP has for spans.
const PATH: &str = "/v1/traces";

/// The address of a collector: `http://127.0.0.1:4318`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpEndpoint {
    authority: String,
    path: String,
}

/// Where spans go, and how many traces are sampled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceConfig {
    /// The collector; none for no spans.
    pub endpoint: Option<OtlpEndpoint>,
    /// The part of the traces that begin here and are sampled; all without. Where the sender of a request says
    /// whether its trace is sampled, that counts.
    pub sample: Option<TraceSample>,
}

/// A part of all traces, in millionths: `5%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceSample(u32);

impl TraceSample {
    /// The part, 0 to 1.
    #[must_use]
    pub fn part(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

impl FromStr for TraceSample {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "not a part of all traces; write it as 100%, 5% or 0.1%".to_owned();
        let percent = text.strip_suffix('%').ok_or_else(wrong)?.trim();
        let (whole, parts) = percent.split_once('.').unwrap_or((percent, "0"));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(parts) || parts.len() > 4 {
            return Err(wrong());
        }
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let parts: u32 = format!("{parts:0<4}").parse().map_err(|_| wrong())?;
        let millionths = whole.saturating_mul(10_000).saturating_add(parts);
        if millionths > 1_000_000 { Err(wrong()) } else { Ok(Self(millionths)) }
    }
}

const NO_URL: &str =
    "not the URL of a collector; write http://HOST:PORT, for example http://127.0.0.1:4318";

const NO_TLS: &str =
    "spans are sent over plain HTTP only; run a collector beside the host, and have it speak TLS";

impl OtlpEndpoint {
    /// Host and port.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path that spans are posted to.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where to connect.
    #[must_use]
    pub fn address(&self) -> String {
        let has_port = self.authority.rsplit_once(':').is_some_and(|(_, port)| {
            !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
        });
        if has_port { self.authority.clone() } else { format!("{}:80", self.authority) }
    }
}

impl FromStr for OtlpEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| NO_URL)?;
        match uri.scheme_str() {
            Some("http") => {}
            Some(_) => return Err(NO_TLS.into()),
            None => return Err(NO_URL.into()),
        }
        let authority = uri.authority().ok_or(NO_URL)?;
        let port = authority.as_str().strip_prefix(authority.host());
        let is_port =
            |port: &str| port.strip_prefix(':').is_some_and(|it| it.parse::<u16>().is_ok());
        if !port.is_some_and(|port| port.is_empty() || is_port(port)) || uri.query().is_some() {
            return Err(NO_URL.into());
        }
        // Some write the whole URL of spans, as other variables of OpenTelemetry have it.
        let path = uri.path().trim_end_matches('/');
        let path = format!("{}{PATH}", path.strip_suffix(PATH).unwrap_or(path));
        Ok(Self { authority: authority.to_string(), path })
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_part_of_all_traces() {
        for (text, part) in
            [("100%", 1.0), ("5%", 0.05), ("0.1%", 0.001), ("0%", 0.0), ("2.5%", 0.025)]
        {
            assert!((text.parse::<TraceSample>().unwrap().part() - part).abs() < 1e-9, "{text}");
        }
        for text in ["", "5", "-5%", "101%", "1.23456%", "%", "1e2%"] {
            assert!(text.parse::<TraceSample>().is_err(), "{text}");
        }
    }

    #[test]
    fn endpoints_are_urls_of_collectors() {
        for (text, url, address) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces", "127.0.0.1:4318"),
            ("http://collector/otlp/", "http://collector/otlp/v1/traces", "collector:80"),
            ("http://[::1]:4318", "http://[::1]:4318/v1/traces", "[::1]:4318"),
            ("http://a:4318/v1/traces", "http://a:4318/v1/traces", "a:4318"),
            ("http://a/otlp/v1/traces/", "http://a/otlp/v1/traces", "a:80"),
            ("http://[::1]", "http://[::1]/v1/traces", "[::1]:80"),
        ] {
            let endpoint: OtlpEndpoint = text.parse().unwrap();
            assert_eq!((endpoint.to_string(), endpoint.address()), (url.into(), address.into()));
        }
        assert_eq!("https://a".parse::<OtlpEndpoint>(), Err(NO_TLS.into()));
        for text in [
            "",
            "127.0.0.1:4318",
            "http://",
            "http://u@a",
            "http://a/?x=1",
            "http://a:99999",
            "http://a:",
        ] {
            assert_eq!(text.parse::<OtlpEndpoint>(), Err(NO_URL.into()), "{text}");
        }
    }
}
