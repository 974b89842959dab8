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
        let share = percentage(text).ok_or("not a share of the traffic; write it as 5% or 0.5%")?;
        if share.is_asked() {
            return Ok(share);
        }
        Err("a canary gets between 0.1% and 50%: the version before needs traffic to be compared with; \
             write it as 5%"
            .into())
    }
}

/// A percentage with at most two digits behind the point.
fn percentage(text: &str) -> Option<TrafficShare> {
    let hundredths = decimal(text.trim().strip_suffix('%')?)?;
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
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
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

impl FromStr for AbortRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write errors > 1%, p99 > 2x or p99 > 500ms, several with a comma between them, or never";
        let wrong = |why: &str| format!("{why}; {form}");
        let (metric, limit) =
            text.split_once('>').ok_or_else(|| wrong("no rule, because there is no > in it"))?;
        let (metric, limit) = (metric.trim(), limit.trim());
        if metric == "errors" {
            let share = percentage(limit).filter(|share| share.0 > 0 && *share < TrafficShare::ALL);
            let share = share.ok_or_else(|| wrong("the limit of errors is a share above 0%"))?;
            return Ok(Self::Errors(share));
        }
        let percent = metric.strip_prefix('p').and_then(|percent| percent.parse().ok());
        let percent = percent.filter(|percent| (1..=99).contains(percent));
        let percent = percent.ok_or_else(|| wrong("what is compared is errors, or p1 to p99"))?;
        let limit = match limit.strip_suffix('x') {
            Some(times) => {
                let times = decimal(times).filter(|times| *times >= 100);
                LatencyLimit::Times(times.ok_or_else(|| wrong("less than 1x is no limit"))?)
            }
            None => {
                let time = limit.parse::<HumanDuration>();
                LatencyLimit::Time(time.map_err(|_| wrong("the limit is neither 2x nor a time"))?.0)
            }
        };
        Ok(Self::Percentile(percent, limit))
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
mod tests {
    use super::*;

    fn steps(share: &str) -> String {
        let canary = CanaryConfig { share: share.parse().unwrap(), ..CanaryConfig::default() };
        canary.steps().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_canary_begins_small_and_doubles_its_share() {
        assert_eq!(steps("5%"), "1% 5% 10% 20% 40%");
        assert_eq!(steps("1%"), "1% 2% 4% 8% 16% 32%");
        assert_eq!(steps("0.1%"), "0.1% 0.2% 0.4% 0.8% 1.6% 3.2% 6.4% 12.8% 25.6%");
        assert_eq!(steps("12.5%"), "1% 12.5% 25% 50%");
        assert_eq!(steps("50%"), "1% 50%");
    }

    #[test]
    fn what_is_written_is_what_is_shown() {
        for text in ["never", "errors > 1%", "errors > 0.5%, p99 > 2x, p50 > 1.25x, p95 > 500ms"] {
            assert_eq!(text.parse::<AbortRules>().unwrap().to_string(), text);
        }
        for text in ["off", "connection", "header:x-user"] {
            assert_eq!(text.parse::<Stickiness>().unwrap().to_string(), text);
        }
        let terse = "errors>1%,p99>2x".parse::<AbortRules>().unwrap();
        assert_eq!(terse, CanaryConfig::default().abort_if);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_form() {
        for (text, says) in [
            ("", "no > in it"),
            ("errors < 1%", "no > in it"),
            ("errors > 2x", "a share above 0%"),
            ("errors > 0%", "a share above 0%"),
            ("errors > 100%", "a share above 0%"),
            ("errors > 1.234%", "a share above 0%"),
            ("p100 > 2x", "errors, or p1 to p99"),
            ("latency > 2x", "errors, or p1 to p99"),
            ("p99 > 0.5x", "less than 1x"),
            ("p99 > fast", "neither 2x nor a time"),
            ("errors > 1%,", "no > in it"),
        ] {
            let why = text.parse::<AbortRules>().unwrap_err();
            assert!(why.contains(says) && why.contains("write errors > 1%"), "{text}: {why}");
        }
        for text in ["5", "-5%", "5.%%", "0.01%", "51%", "100%", "999999999%", "1e1%"] {
            text.parse::<TrafficShare>().unwrap_err();
        }
        for text in ["", "cookie", "header:", "header:a b"] {
            text.parse::<Stickiness>().unwrap_err();
        }
    }
}
