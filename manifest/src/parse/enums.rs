//! Words and short texts with a meaning, as they stand in the file.

use std::str::FromStr;

use http::Method;
use strum::{EnumString, VariantNames};

use super::spanned::Form;
use crate::outgoing::{Endpoint, Origin};
use crate::{
    AbortRules, AccessLogFormat, AccessLogTarget, AlpnProtocol, ByteSize, ClientAuth,
    DashboardAddr, DurationOrOff, Fail, HealthAddr, HumanDuration, LimitsProfile, ListenAddr,
    LogFilter, LogFormat, LogRateOrOff, MinRateOrOff, OtlpEndpoint, Rate, RateLimitKey, RateOrOff,
    SmokeCheck, SniName, Stdio, Stickiness, TlsVersion, TraceSample, TrafficShare, TrustedProxy,
};

impl Form for HumanDuration {
    const EXAMPLES: &'static [&'static str] = &["500ms", "25s", "1m30s"];
}

impl Form for DurationOrOff {
    const EXAMPLES: &'static [&'static str] = &["30s", "off"];
}

impl Form for ByteSize {
    const EXAMPLES: &'static [&'static str] = &["32KiB", "64MiB", "1GiB"];
}

impl Form for MinRateOrOff {
    const EXAMPLES: &'static [&'static str] = &["240B/s", "1KiB/s", "off"];
}

impl Form for LogRateOrOff {
    const EXAMPLES: &'static [&'static str] = &["64KiB/s", "1MiB/s", "off"];
}

impl Form for LogFilter {
    const EXAMPLES: &'static [&'static str] = &["warn", "info", "info,host_net=debug"];
}

impl Form for LogFormat {
    const WORDS: &'static [&'static str] = Self::VARIANTS;
}

impl Form for AccessLogFormat {
    const WORDS: &'static [&'static str] = Self::VARIANTS;
}

impl Form for OtlpEndpoint {
    const EXAMPLES: &'static [&'static str] = &["http://127.0.0.1:4318"];
}

impl Form for TraceSample {
    const EXAMPLES: &'static [&'static str] = &["100%", "5%"];
}

impl Form for AccessLogTarget {
    const EXAMPLES: &'static [&'static str] = &["access.log", "stdout", "stderr", "off"];
}

impl Form for ListenAddr {
    const EXAMPLES: &'static [&'static str] = &["127.0.0.1:8080", "[::1]:8080", "unix:/run/a.sock"];
}

impl Form for TrustedProxy {
    const EXAMPLES: &'static [&'static str] = &["10.0.0.0/8", "192.0.2.1", "unix"];
}

impl Form for HealthAddr {
    const EXAMPLES: &'static [&'static str] = &["127.0.0.1:8081", "off"];
}

impl Form for DashboardAddr {
    const EXAMPLES: &'static [&'static str] = &["8082", "127.0.0.1:8082", "off"];
}

impl Form for AlpnProtocol {
    const WORDS: &'static [&'static str] = Self::VARIANTS;
}

impl Form for ClientAuth {
    const WORDS: &'static [&'static str] = Self::VARIANTS;
}

impl Form for TlsVersion {
    const WORDS: &'static [&'static str] = Self::VARIANTS;
}

impl Form for SniName {
    const EXAMPLES: &'static [&'static str] = &["shop.example", "*.shop.example"];
}

impl Form for SmokeCheck {
    const EXAMPLES: &'static [&'static str] = &["GET /health 200"];
}

impl Form for Origin {
    const EXAMPLES: &'static [&'static str] =
        &["https://api.example.com", "http://127.0.0.1:9000", "*.svc.local:8080"];
}

impl Form for Endpoint {
    const EXAMPLES: &'static [&'static str] = &["tcp://db.internal:5432"];
}

impl Form for TrafficShare {
    const EXAMPLES: &'static [&'static str] = &["5%", "0.5%"];
}

impl Form for AbortRules {
    const EXAMPLES: &'static [&'static str] = &["errors > 1%, p99 > 2x", "p95 > 500ms", "never"];
}

impl Form for Stickiness {
    const EXAMPLES: &'static [&'static str] = &["off", "connection", "header:x-user"];
}

impl Form for Rate {
    const EXAMPLES: &'static [&'static str] = &["100/s", "600/m", "1000/h"];
}

impl Form for RateOrOff {
    const EXAMPLES: &'static [&'static str] = &["100/s", "600/m", "off"];
}

impl Form for RateLimitKey {
    const EXAMPLES: &'static [&'static str] = &["client", "host", "header:x-api-key"];
}

impl Form for LimitsProfile {
    const WORDS: &'static [&'static str] = Self::VARIANTS;
}

impl Form for Fail {
    const WORDS: &'static [&'static str] = Self::VARIANTS;
}

impl Form for Stdio {
    const WORDS: &'static [&'static str] = Self::VARIANTS;
}

/// A kind of address that names may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = no_reached)]
pub(super) enum Reached {
    Loopback,
    Private,
    LinkLocal,
}

fn no_reached(_: &str) -> String {
    "no kind of addresses; write loopback, private or link-local; public addresses are always allowed for \
     the names in outgoing"
        .into()
}

impl Form for Reached {
    const WORDS: &'static [&'static str] = Self::VARIANTS;
}

/// The kind of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = no_backend)]
pub(super) enum Backend {
    Memory,
    Disk,
    Redis,
}

fn no_backend(_: &str) -> String {
    "no backend; write memory, disk (with path) or redis (with url)".into()
}

impl Form for Backend {
    const WORDS: &'static [&'static str] = Self::VARIANTS;
}

/// An HTTP method, in capitals as on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verb(pub(super) Method);

impl Form for Verb {
    const EXAMPLES: &'static [&'static str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
}

impl FromStr for Verb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let capitals = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
        };
        match Method::from_bytes(text.as_bytes()) {
            Ok(method) if capitals(text) => Ok(Self(method)),
            _ => Err("not a method; they are written in capitals, as GET or POST".into()),
        }
    }
}
