//! How a new version takes over the traffic of the one before: in which steps, and what takes it back.
//!
//! ```text
//! 5% for 60s:  1% ─12s→ 5% ─12s→ 10% ─12s→ 20% ─12s→ 40% ─12s→ all
//! ```

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::HeaderName;

use crate::{HumanDuration, defaults};

/// How a new version of a component takes over from the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryConfig {
    /// What it gets of the exchanges after the first step.
    pub share: TrafficShare,
    /// From its first exchange until it gets all of them.
    pub period: Duration,
    /// What takes it back.
    pub abort_if: AbortRules,
    /// Which exchanges stay with one version.
    pub sticky: Stickiness,
}

/// What is to be otherwise than in another configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CanaryOverrides {
    /// See [`CanaryConfig::share`].
    pub share: Option<TrafficShare>,
    /// See [`CanaryConfig::period`].
    pub period: Option<HumanDuration>,
    /// See [`CanaryConfig::abort_if`].
    pub abort_if: Option<AbortRules>,
    /// See [`CanaryConfig::sticky`].
    pub sticky: Option<Stickiness>,
}

/// A part of the exchanges, in hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrafficShare(u16);

/// What takes a new version back: any of these. None for never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbortRules(pub Vec<AbortRule>);

/// One of them. Each also takes that the version before does better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortRule {
    /// More of its requests fail than this share.
    Errors(TrafficShare),
    /// This percentile of its durations is longer.
    Percentile(u8, LatencyLimit),
}

/// What a percentile is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatencyLimit {
    /// That of the version before, times so many hundredths.
    Times(u32),
    /// A time.
    Time(Duration),
}

/// Which exchanges stay with one version while its share does not shrink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stickiness {
    /// Each is decided by itself.
    #[default]
    Off,
    /// Those of one connection.
    Connection,
    /// Those with the same value of this header.
    Header(HeaderName),
}

impl CanaryConfig {
    /// The same, but for what is in `overrides`.
    #[must_use]
    pub fn with(self, overrides: CanaryOverrides) -> Self {
        Self {
            share: overrides.share.unwrap_or(self.share),
            period: overrides.period.map_or(self.period, |period| period.0),
            abort_if: overrides.abort_if.unwrap_or(self.abort_if),
            sticky: overrides.sticky.unwrap_or(self.sticky),
        }
    }

    /// What it gets in each step before it gets all, each for an equal part of the period.
    ///
    /// The first step is small, so that a version that fails at once fails few requests. From the share that
    /// was asked for on, each step doubles the share: the step before has shown half of the load that comes,
    /// and what is compared needs half as large a difference to be seen. At more than a half the version
    /// before would get too little to compare with.
    #[must_use]
    pub fn steps(&self) -> Vec<TrafficShare> {
        let mut steps = Vec::new();
        if self.share > TrafficShare::FIRST {
            steps.push(TrafficShare::FIRST);
        }
        let doubled = |share: &TrafficShare| Some(TrafficShare(share.0 * 2));
        steps.extend(
            std::iter::successors(Some(self.share), doubled).take_while(TrafficShare::is_asked),
        );
        steps
    }
}

impl Default for CanaryConfig {
    fn default() -> Self {
        let constant = "a constant, which a test reads";
        Self {
            share: defaults::CANARY_SHARE.parse().expect(constant),
            period: defaults::CANARY_PERIOD.parse::<HumanDuration>().expect(constant).0,
            abort_if: defaults::CANARY_ABORT_IF.parse().expect(constant),
            sticky: Stickiness::Off,
        }
    }
}

/// More than that is no limit any more.
const MOST_TIMES: u32 = 1000 * 100;

/// Hundredths of a percent in all exchanges.
const ALL: u16 = 10_000;

impl TrafficShare {
    /// All exchanges.
    pub const ALL: Self = Self(ALL);
    /// No exchange.
    pub const NONE: Self = Self(0);
    /// Of 200 requests a second, two: a version that fails each of them is seen before it has failed one
    /// request in fifty.
    const FIRST: Self = Self(100);

    /// As a part of 1.
    #[must_use]
    pub fn part(self) -> f64 {
        f64::from(self.0) / f64::from(ALL)
    }

    /// As a percentage.
    #[must_use]
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// What the others get.
    #[must_use]
    pub fn rest(self) -> Self {
        Self(ALL.saturating_sub(self.0))
    }

    /// Whether an operator may ask for it.
    fn is_asked(&self) -> bool {
        (10..=ALL / 2).contains(&self.0)
    }
}

impl fmt::Display for TrafficShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.percent())
    }
}

impl FromStr for TrafficShare {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hundredths = hundredths_of_percent(text)
            .ok_or("not a share of the traffic; write it as 5% or 0.5%")?;
        if let Some(share) = share(hundredths).filter(Self::is_asked) {
            return Ok(share);
        }
        Err("a canary gets between 0.1% and 50%: the version before needs traffic to be compared with; \
             write it as 5%"
            .into())
    }
}

/// A percentage with at most two digits behind the point.
fn hundredths_of_percent(text: &str) -> Option<u32> {
    decimal(text.trim().strip_suffix('%')?)
}

/// None for more than all.
fn share(hundredths: u32) -> Option<TrafficShare> {
    let hundredths = u16::try_from(hundredths).ok()?;
    (hundredths <= ALL).then_some(TrafficShare(hundredths))
}

/// A number with at most two digits behind the point, in hundredths.
fn decimal(text: &str) -> Option<u32> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let fits = !whole.is_empty() && is_digits(whole) && is_digits(fraction) && fraction.len() <= 2;
    let fraction: u32 = format!("{fraction:0<2}").parse().ok().filter(|_| fits)?;
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(fraction)
}

impl FromStr for AbortRules {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "never" {
            return Ok(Self(Vec::new()));
        }
        let rules: Vec<AbortRule> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        for (index, rule) in rules.iter().enumerate() {
            if let Some(first) = rules.iter().take(index).find(|first| first.is_same_kind(rule)) {
                return Err(format!(
                    "{first} and {rule} are two limits for the same; leave one of them out"
                ));
            }
        }
        Ok(Self(rules))
    }
}

impl fmt::Display for AbortRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rule) in self.0.iter().enumerate() {
            write!(f, "{}{rule}", if index == 0 { "" } else { ", " })?;
        }
        if self.0.is_empty() { f.write_str("never") } else { Ok(()) }
    }
}

impl AbortRule {
    /// Whether the stricter one of the two would do. A factor and a time are two questions.
    fn is_same_kind(&self, other: &Self) -> bool {
        use LatencyLimit::{Time, Times};
        match (self, other) {
            (Self::Errors(_), Self::Errors(_)) => true,
            (Self::Percentile(one, Times(_)), Self::Percentile(two, Times(_)))
            | (Self::Percentile(one, Time(_)), Self::Percentile(two, Time(_))) => one == two,
            _ => false,
        }
    }
}

impl FromStr for AbortRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write errors > 1%, p99 > 2x or p99 > 500ms, several with a comma between them, or never";
        let wrong = |why: &str| format!("{why}; {form}");
        let (metric, limit) =
            text.split_once('>').ok_or_else(|| wrong("no rule, because there is no > in it"))?;
        let (metric, limit) = (metric.trim(), limit.trim());
        if metric == "errors" {
            let limit = hundredths_of_percent(limit).and_then(share);
            let limit = limit.filter(|limit| limit.0 > 0 && *limit < TrafficShare::ALL);
            let why = "the limit of errors is a share above 0% and below 100%";
            return Ok(Self::Errors(limit.ok_or_else(|| wrong(why))?));
        }
        let percent = metric.strip_prefix('p').and_then(|percent| percent.parse().ok());
        let percent = percent.filter(|percent| (1..=99).contains(percent));
        let percent = percent.ok_or_else(|| wrong("what is compared is errors, or p1 to p99"))?;
        Ok(Self::Percentile(percent, limit.parse().map_err(wrong)?))
    }
}

impl FromStr for LatencyLimit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if let Some(times) = text.strip_suffix('x') {
            return match decimal(times) {
                Some(times @ 100..=MOST_TIMES) => Ok(Self::Times(times)),
                Some(0..100) => Err("less than 1x is no limit"),
                _ => Err("a factor is between 1x and 1000x, with two digits behind the point"),
            };
        }
        if decimal(text).is_some() {
            return Err("the limit has no unit");
        }
        let time = text.parse::<HumanDuration>();
        let HumanDuration(time) = time.map_err(|_| "the limit is neither 2x nor a time")?;
        match time {
            Duration::ZERO => Err("every request takes longer than nothing"),
            time => Ok(Self::Time(time)),
        }
    }
}

impl fmt::Display for AbortRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errors(share) => write!(f, "errors > {share}"),
            Self::Percentile(percent, LatencyLimit::Times(hundredths)) => {
                write!(f, "p{percent} > {}x", f64::from(*hundredths) / 100.0)
            }
            Self::Percentile(percent, LatencyLimit::Time(time)) => {
                write!(f, "p{percent} > {}", humantime::format_duration(*time))
            }
        }
    }
}

impl FromStr for Stickiness {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write off, connection or header:NAME";
        match text.trim() {
            "off" => Ok(Self::Off),
            "connection" => Ok(Self::Connection),
            text => {
                let name = text.strip_prefix("header:").map(|name| name.trim().parse());
                let name = name.ok_or_else(|| format!("exchanges do not stick to that; {form}"))?;
                name.map(Self::Header).map_err(|_| format!("no name of a header; {form}"))
            }
        }
    }
}

impl fmt::Display for Stickiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Connection => f.write_str("connection"),
            Self::Header(name) => write!(f, "header:{name}"),
        }
    }
}

#[cfg(test)]
#[path = "canary_tests.rs"]
mod tests;
