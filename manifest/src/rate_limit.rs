//! Rate limits: how often something may happen.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use host_forwarded::{CERTIFICATE_FIELDS, is_claim};
use http::header::HOST;
use http::{HeaderName, StatusCode};

use crate::headers::{is_of_connection, says_what_the_client_has_shown};

/// The fastest rate: one in a microsecond. A faster one would limit nothing.
const FASTEST: u32 = 1_000_000;

/// How often something may happen: `100/s`, `600/m`, `1000/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// So many
    pub count: NonZeroU32,
    /// in this time.
    pub period: RatePeriod,
}

/// What a rate is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "their names say it")]
pub enum RatePeriod {
    Second,
    Minute,
    Hour,
}

impl RatePeriod {
    const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    /// How long it is.
    #[must_use]
    pub fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        })
    }

    fn letter(self) -> char {
        match self {
            Self::Second => 's',
            Self::Minute => 'm',
            Self::Hour => 'h',
        }
    }
}

impl Rate {
    /// The time in which a burst of so many comes back.
    #[must_use]
    pub fn refills(self, burst: NonZeroU32) -> Duration {
        self.period.length() * burst.get() / self.count.get()
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{why}; write a rate as 100/s, 600/m or 1000/h");
        let (count, unit) = text.split_once('/').ok_or_else(|| wrong("there is no unit in it"))?;
        let unit = |period: &RatePeriod| unit.trim().chars().eq([period.letter()]);
        let period = RatePeriod::ALL.into_iter().find(unit).ok_or_else(|| wrong("not a rate"))?;
        let count: u32 = count.trim().parse().map_err(|_| wrong("not a rate"))?;
        let count = NonZeroU32::new(count).ok_or_else(|| wrong("nothing at all is no rate"))?;
        if count.get() > FASTEST {
            return Err(wrong("more than a million is no limit"));
        }
        Ok(Self { count, period })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.period.letter())
    }
}

/// A rate, or `off` for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateOrOff(pub Option<Rate>);

impl FromStr for RateOrOff {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        text.parse().map(|rate| Self(Some(rate))).map_err(|why: String| format!("{why}, or off"))
    }
}

/// What the requests of a route are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RateLimitKey {
    /// The client's address; a /64 of IPv6.
    Client,
    /// The value of this header; all requests without it are counted together.
    Header(HeaderName),
    /// The name of the host that is asked for.
    Host,
}

impl FromStr for RateLimitKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write client, host or header:NAME";
        match text.trim() {
            "client" => Ok(Self::Client),
            "host" => Ok(Self::Host),
            text => {
                let name = text.strip_prefix("header:");
                let name = name.ok_or_else(|| format!("requests have no such key; {form}"))?;
                let name = name.trim().parse::<HeaderName>();
                let name = name.map_err(|_| format!("no name of a header; {form}"))?;
                match why_no_key(name.as_str()) {
                    Some(why) => Err(why.into()),
                    None => Ok(Self::Header(name)),
                }
            }
        }
    }
}

/// Why nothing can be counted by this header, if that is so, and what to do. The name is not in it: a variable may stand
/// there.
fn why_no_key(name: &str) -> Option<&'static str> {
    if is_claim(name) {
        // The limit comes before the host writes it.
        return Some(
            "in this header clients say who they are as they like; write key = \"client\"",
        );
    }
    if name == HOST {
        // `Shop.example` and `shop.example:80` are spellings of one host: each would have a bucket of its own.
        return Some(
            "a host has many spellings, and HTTP/2 another field for it; write key = \"host\"",
        );
    }
    // These it writes before it looks at the limit (docs/tls.md).
    let is_written = CERTIFICATE_FIELDS.iter().any(|field| field == name);
    if says_what_the_client_has_shown(name) && !is_written {
        return Some(
            "the host says nothing of certificates in this header, and clients say what they like; \
             write header:x-client-cert-sha256, or key = \"client\"",
        );
    }
    is_of_connection(name).then_some(
        "this header is of one connection, and says nothing of a client; write key = \"client\"",
    )
}

impl fmt::Display for RateLimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Host => f.write_str("host"),
        }
    }
}

/// How many requests a route takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RateLimitConfig {
    /// What they are counted by.
    pub key: RateLimitKey,
    /// How many of one key may come in the long run,
    pub rate: Rate,
    /// and how many at once.
    pub burst: NonZeroU32,
    /// What one more is answered: 429 or 503.
    pub answer: StatusCode,
}

impl fmt::Display for RateLimitConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for each {}, burst {}", self.rate, self.key, self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_they_are_written() {
        for text in ["1/s", "100/s", "600/m", "1000/h", "1000000/s"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        assert_eq!(" 10 / m ".parse::<Rate>().unwrap().to_string(), "10/m");
        for (text, says) in [
            ("", "no unit"),
            ("100", "no unit"),
            ("/s", "not a rate"),
            ("0/s", "nothing at all"),
            ("-1/s", "not a rate"),
            ("1.5/s", "not a rate"),
            ("100/d", "not a rate"),
            ("100/ss", "not a rate"),
            ("1000001/h", "no limit"),
            ("99999999999/s", "not a rate"),
            ("off", "no unit"),
        ] {
            let why = text.parse::<Rate>().unwrap_err();
            assert!(why.contains(says) && why.contains("100/s, 600/m or 1000/h"), "{text}: {why}");
        }
        assert_eq!("off".parse(), Ok(RateOrOff(None)));
        assert!("of".parse::<RateOrOff>().unwrap_err().ends_with("or off"));
    }

    #[test]
    fn a_burst_comes_back_at_the_rate() {
        let refills = |rate: &str, burst| {
            rate.parse::<Rate>().unwrap().refills(NonZeroU32::new(burst).unwrap())
        };
        assert_eq!(refills("100/s", 200), Duration::from_secs(2));
        assert_eq!(refills("600/m", 1), Duration::from_millis(100));
        assert_eq!(refills("1000/h", 10), Duration::from_secs(36));
        assert_eq!(refills("1/h", u32::MAX).as_secs(), 3600 * u64::from(u32::MAX));
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        for text in ["client", "host", "header:x-api-key"] {
            assert_eq!(text.parse::<RateLimitKey>().unwrap().to_string(), text);
        }
        for text in ["", "address", "header:", "header:a b", "header", "x-api-key"] {
            let why = text.parse::<RateLimitKey>().unwrap_err();
            assert!(why.ends_with("write client, host or header:NAME"), "{text}: {why}");
        }
    }

    /// A client that wrote `Host` in another way for each request was never limited.
    #[test]
    fn the_header_of_the_host_is_no_key_beside_the_host() {
        for name in ["host", "Host", " HOST "] {
            let why = format!("header:{name}").parse::<RateLimitKey>().unwrap_err();
            assert!(why.ends_with("; write key = \"host\""), "{name}: {why}");
        }
    }

    /// A client that made up another `X-Forwarded-For` for each request was never limited.
    #[test]
    fn nothing_is_counted_by_a_header_in_which_clients_say_who_they_are() {
        for name in [
            "Connection",
            "Forwarded",
            "X-Forwarded-For",
            "keep-alive",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "x-client-cert-fingerprint",
            "x-forwarded-user",
            "x-real-ip",
            "x_client_cert_sha256",
            "x_forwarded_for",
        ] {
            let why = format!("header:{name}").parse::<RateLimitKey>().unwrap_err();
            assert!(
                why.ends_with("write key = \"client\"") || why.ends_with("or key = \"client\"")
            );
            assert_eq!(why.matches("; ").count(), 1, "what is wrong, and what to do: {why}");
        }
        let others = ["authorization", "x-real-ip-of"].map(HeaderName::from_static);
        for name in CERTIFICATE_FIELDS.into_iter().chain(others) {
            assert!(format!("header:{name}").parse::<RateLimitKey>().is_ok(), "{name}");
        }
    }
}
