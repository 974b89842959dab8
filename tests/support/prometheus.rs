//! A Prometheus of the test's own.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use super::PATIENCE;
use super::app::Folder;
use super::lines::Mark;
use super::process::Process;
use super::raw::Conn;

/// A Prometheus of the test's own. Dropping it kills it.
#[derive(Debug)]
pub struct Prometheus {
    _process: Process,
    address: SocketAddr,
    _folder: Folder,
}

impl Prometheus {
    /// One that scrapes this address once a second, as the job `host`.
    pub fn scraping(target: SocketAddr) -> Self {
        let folder = Folder::new();
        let config = folder.join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: host\n  static_configs:\n  \
             - targets: ['{target}']\n"
        );
        fs::write(&config, text).expect("the folder takes files");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = free.expect("a free port");
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"));
        let process = Process::spawn(&mut command);
        let until = Instant::now() + PATIENCE;
        let ready = process.stderr.wait_for("Server is ready", Mark::START, 1, until);
        ready.expect("prometheus starts");
        Self { _process: process, address, _folder: folder }
    }

    /// The series that a query gives, as soon as it gives any, and each a number. It scrapes once a second and does not
    /// say when, so `meanwhile` is done before each look.
    ///
    /// # Panics
    /// When it never does.
    #[track_caller]
    pub fn query(&self, query: &str, meanwhile: impl Fn()) -> Vec<Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            meanwhile();
            let answer = self.ask(query);
            let found = answer["data"]["result"].as_array().cloned().unwrap_or_default();
            let is_number = |series: &Value| {
                let value = series["value"][1].as_str().and_then(|it| it.parse::<f64>().ok());
                value.is_some_and(f64::is_finite)
            };
            if !found.is_empty() && found.iter().all(is_number) {
                return found;
            }
            assert!(Instant::now() < until, "Prometheus never had a number for {query}: {answer}");
        }
    }

    #[track_caller]
    fn ask(&self, query: &str) -> Value {
        let encoded = query.bytes().fold(String::new(), |mut text, byte| {
            write!(text, "%{byte:02x}").expect("a string takes all");
            text
        });
        let mut conn = Conn::connect(self.address).expect("it is ready");
        let answer = conn.get(&format!("/api/v1/query?query={encoded}")).expect("it answers");
        serde_json::from_str(&answer.text()).expect("JSON")
    }
}
