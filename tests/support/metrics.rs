//! What the host counts, as `/metrics` tells it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::PATIENCE;
use super::host::Host;
use super::raw::Conn;

/// The argument that has a host answer `/metrics`.
pub const ARGS: [&str; 2] = ["--health-addr", "127.0.0.1:0"];

/// Where the log says that health is answered.
#[track_caller]
pub fn address(host: &Host) -> SocketAddr {
    let line = host.wait_log("health=");
    let (_, rest) = line.split_once("health=").expect("it is in the line");
    let mut words = rest.split(|letter: char| !letter.is_ascii_digit() && !".:".contains(letter));
    words.next().expect("an address").parse().expect("an address")
}

/// The page, as a browser gets it.
#[track_caller]
pub fn page(host: &Host) -> String {
    let mut conn = Conn::connect(address(host)).expect("health is answered");
    let answer = conn.get("/metrics").expect("a page");
    assert_eq!(answer.status(), 200, "{answer}");
    answer.text()
}

/// All samples at one moment.
#[derive(Debug)]
pub struct Metrics(Vec<Sample>);

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Asks the host.
    #[track_caller]
    pub fn of(host: &Host) -> Self {
        let page = page(host);
        Self(page.lines().filter(|line| !line.starts_with('#')).map(Sample::parse).collect())
    }

    /// Asks the host again and again, until it tells what is wanted.
    ///
    /// # Panics
    /// When that takes longer than the patience.
    #[track_caller]
    pub fn wait(host: &Host, wanted: impl Fn(&Self) -> bool) -> Self {
        let until = Instant::now() + PATIENCE;
        loop {
            let metrics = Self::of(host);
            if wanted(&metrics) {
                return metrics;
            }
            assert!(Instant::now() < until, "never told: {metrics:?}");
        }
    }

    /// The sum of all samples of this name with these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            let fits = |(label, value): &(&str, &str)| {
                sample.labels.get(*label).is_some_and(|is| is == value)
            };
            sample.name == name && labels.iter().all(fits)
        };
        self.0.iter().filter(has).map(|sample| sample.value).sum()
    }

    /// The values of a label of this family.
    pub fn values(&self, name: &str, label: &str) -> Vec<&str> {
        let of_name = self.0.iter().filter(|sample| sample.name == name);
        let mut values: Vec<_> =
            of_name.filter_map(|sample| sample.labels.get(label).map(String::as_str)).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// Requests that came, and exchanges that ended in this way.
    pub fn ended(&self, ended: &str) -> f64 {
        self.sum("host_exchanges_total", &[("ended", ended)])
    }
}

impl Sample {
    /// `name{label="value",…} 1.0`. No test has a quote or a comma in a value.
    fn parse(line: &str) -> Self {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        let value = value.parse().expect("a number");
        let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
        let labels = labels.strip_suffix('}').expect("the end of the labels");
        let labels = labels.split(',').filter(|label| !label.is_empty()).map(|label| {
            let (label, value) = label.split_once('=').expect("a label");
            (label.to_owned(), value.trim_matches('"').to_owned())
        });
        Self { name: name.to_owned(), labels: labels.collect(), value }
    }
}
