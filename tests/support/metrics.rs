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
    page_as(host, "*/*")
}

/// The page, as who accepts this gets it.
#[track_caller]
pub fn page_as(host: &Host, accept: &str) -> String {
    let mut conn = Conn::connect(address(host)).expect("health is answered");
    let request = format!("GET /metrics HTTP/1.1\r\nHost: test\r\nAccept: {accept}\r\n\r\n");
    conn.send(request).expect("it reads");
    let answer = conn.read_response("GET").expect("a page");
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

    /// The sums of this family by these labels.
    pub fn by<const N: usize>(&self, name: &str, labels: [&str; N]) -> BTreeMap<[String; N], u64> {
        let mut sums = BTreeMap::new();
        for sample in self.0.iter().filter(|sample| sample.name == name) {
            let key = labels.map(|label| sample.labels.get(label).cloned().unwrap_or_default());
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is a count"
            )]
            let count = sample.value as u64;
            *sums.entry(key).or_default() += count;
        }
        sums
    }

    /// What may only grow and has fallen, or is gone.
    pub fn fallen_since(&self, before: &Self) -> Vec<String> {
        let grows = |sample: &&Sample| {
            ["_total", "_count", "_bucket", "_sum"].iter().any(|end| sample.name.ends_with(end))
        };
        let now: BTreeMap<_, _> =
            self.0.iter().map(|sample| ((&sample.name, &sample.labels), sample.value)).collect();
        let fell = |sample: &&Sample| {
            now.get(&(&sample.name, &sample.labels)).is_none_or(|now| *now < sample.value)
        };
        before.0.iter().filter(grows).filter(fell).map(|sample| format!("{sample:?}")).collect()
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
