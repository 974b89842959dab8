//! Durations, sizes, limits and addresses as people write them.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use strum::EnumString;

use crate::defaults;

/// The longest duration that is taken for meant: a year. Keeps `Instant + Duration` from overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A duration: `500ms`, `25s`, `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HumanDuration(pub Duration);

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{why}; write a duration as 500ms, 25s or 1m30s");
        // The reasons of the parser have the text in them, which may come from a variable.
        let span = humantime::parse_duration(text).map_err(|_| match text.trim() {
            "off" => wrong("this one is always on"),
            text if text.starts_with('-') => wrong("no duration is less than nothing"),
            text if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() => {
                wrong("there is no unit in it")
            }
            _ => wrong("not a duration"),
        })?;
        if span > LONGEST {
            return Err("more than a year; write a duration as 500ms, 25s or 1m30s".into());
        }
        Ok(Self(span))
    }
}

/// A duration, or `off` for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationOrOff(pub Option<Duration>);

impl FromStr for DurationOrOff {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        text.parse::<HumanDuration>()
            .map(|span| Self(Some(span.0)))
            .map_err(|why| format!("{why}, or off"))
    }
}

/// A number of bytes: `64MiB`, `32KiB`, `1GB`; without a unit, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<bytesize::ByteSize>()
            .map_err(|_| "not a size; write bytes as 32KiB, 64MiB or 1GiB".to_owned())
            .and_then(|size| match size.as_u64() {
                // What is larger than any number comes out as the largest one.
                u64::MAX => Err("more than can be counted; leave it out for no bound".into()),
                size => Ok(Self(size)),
            })
    }
}

/// The slowest that a peer may be, while it is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinRateConfig {
    /// On average over a window.
    pub bytes_per_second: u64,
    /// Over which it is measured.
    pub window: Duration,
    /// Before the first window begins.
    pub grace: Duration,
}

/// Bytes per second that a peer must move at least, or `off` for none: `240B/s`, `1KiB/s`; without
/// `/s` the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinRateOrOff(pub Option<MinRateConfig>);

impl FromStr for MinRateOrOff {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (window, grace) = (defaults::MIN_RATE_WINDOW, defaults::MIN_RATE_GRACE);
        let rate = per_second(text, "240B/s or 1KiB/s")?;
        Ok(Self(rate.map(|bytes_per_second| MinRateConfig { bytes_per_second, window, grace })))
    }
}

/// Bytes per second that a guest may add to the log, or `off` for no bound: `64KiB/s`, `1MiB/s`;
/// without `/s` the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRateOrOff(pub Option<u64>);

impl FromStr for LogRateOrOff {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        per_second(text, "64KiB/s or 1MiB/s").map(Self)
    }
}

/// Bytes per second; none for `off`. `examples` are for the message.
fn per_second(text: &str, examples: &str) -> Result<Option<u64>, String> {
    let form = format!("write bytes per second as {examples}, or off");
    if text == "off" {
        return Ok(None);
    }
    match text.strip_suffix("/s").unwrap_or(text).parse() {
        Ok(ByteSize(0)) => Err(format!("nothing per second is no rate; {form}")),
        Ok(ByteSize(bytes)) => Ok(Some(bytes)),
        Err(_) => Err(format!("not a rate; {form}")),
    }
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddr {
    /// A TCP address; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for ListenAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err("no path; write unix:/run/app.sock".into());
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let numeric = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        numeric.parse().map(Self::Tcp).map_err(|_| {
            "not an address; write 127.0.0.1:8080, [::1]:8080, 0.0.0.0:0 or unix:/run/app.sock"
                .into()
        })
    }
}

/// A TCP address, or `off` for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthAddr(pub Option<SocketAddr>);

impl FromStr for HealthAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "off" => Ok(Self(None)),
            Ok(ListenAddr::Tcp(address)) => Ok(Self(Some(address))),
            Ok(ListenAddr::Unix(_)) | Err(_) => {
                Err("not an address; write 127.0.0.1:8081, [::1]:8081, 0.0.0.0:0 or off".into())
            }
        }
    }
}

/// A TCP address, a port alone for one of the loopback, or `off` for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DashboardAddr(pub Option<SocketAddr>);

impl FromStr for DashboardAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(port) = text.parse::<u16>() {
            return Ok(Self(Some((Ipv4Addr::LOCALHOST, port).into())));
        }
        match text.parse() {
            Ok(HealthAddr(address)) => Ok(Self(address)),
            Err(_) => Err("not an address; write 8082, 127.0.0.1:8082, [::1]:8082 or off".into()),
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A request and the status of its answer: `GET /health 200`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmokeCheck {
    /// A method of HTTP, in capitals.
    pub method: String,
    /// A path, perhaps with a query.
    pub path: String,
    /// 200 to 599.
    pub status: u16,
}

impl FromStr for SmokeCheck {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write METHOD /PATH STATUS, for example 'GET /health 200'".to_owned();
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let [method, path, status] = words[..] else { return Err(wrong()) };
        let is_method = method.bytes().all(|byte| byte.is_ascii_uppercase());
        let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
        let status = status.parse().ok().filter(|status| (200..600).contains(status));
        match status {
            Some(status) if is_method && is_path => {
                Ok(Self { method: method.into(), path: path.into(), status })
            }
            _ => Err(wrong()),
        }
    }
}

/// Something that guests do not have unless an operator gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString)]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = no_grant)]
pub enum GrantFlag {
    /// The import `request-shutdown` of `host:lifecycle`.
    RequestShutdown,
}

fn no_grant(_: &str) -> String {
    "the only grant there is is `request-shutdown`".into()
}
