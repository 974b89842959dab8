//! A Prometheus of the test's own.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::Value;

use super::PATIENCE;
use super::raw::Conn;

/// A Prometheus of the test's own. It ends with the test.
#[derive(Debug)]
pub struct Prometheus {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// One that scrapes this address once a second, as the job `host`.
    pub fn scraping(target: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: host\n  static_configs:\n  \
             - targets: ['{target}']\n"
        );
        fs::write(&config, text).expect("the folder takes files");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = free.expect("a free port");
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it is installed");
        Self { process, address, _folder: folder }
    }

    /// The series that a query gives, as soon as it gives any, and each a number. It scrapes once a second and does not
    /// say when, so `meanwhile` is done before each look.
    ///
    /// # Panics
    /// When it never does.
    #[track_caller]
    pub fn query(&self, query: &str, meanwhile: impl Fn()) -> Vec<Value> {
        let until = Instant::now() + PATIENCE;
        let mut last = String::new();
        loop {
            meanwhile();
            if let Some(answer) = self.ask(query) {
                let found = answer["data"]["result"].as_array().cloned().unwrap_or_default();
                let is_number = |series: &Value| {
                    let value = series["value"][1].as_str().and_then(|it| it.parse::<f64>().ok());
                    value.is_some_and(f64::is_finite)
                };
                if !found.is_empty() && found.iter().all(is_number) {
                    return found;
                }
                last = answer.to_string();
            }
            assert!(Instant::now() < until, "Prometheus never had a number for {query}: {last}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// None while it does not answer yet.
    fn ask(&self, query: &str) -> Option<Value> {
        let encoded = query.bytes().fold(String::new(), |mut text, byte| {
            write!(text, "%{byte:02x}").expect("a string takes all");
            text
        });
        let mut conn = Conn::connect(self.address).ok()?;
        let answer = conn.get(&format!("/api/v1/query?query={encoded}")).ok()?;
        serde_json::from_str(&answer.text()).ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
