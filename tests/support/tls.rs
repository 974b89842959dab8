//! A TLS server by the `openssl` program: certificates of a test's own, without a crate for them.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::PATIENCE;
use super::app::{Folder, text};
use super::lines::Mark;
use super::process::Process;

/// A server for `https://localhost`. An authority of its own has signed its certificate. It responds to every
/// request with 200 and a page of openssl's. Dropping it kills it.
#[derive(Debug)]
pub struct Tls {
    _process: Process,
    folder: Folder,
    port: u16,
}

impl Tls {
    /// A new server. Without `openssl`, prints a sentence to stdout and returns None.
    pub fn start() -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            println!("skipped: there is no openssl program here");
            return None;
        }
        let folder = Folder::new();
        certificate(&folder, "ca", &["-addext", "basicConstraints=critical,CA:TRUE"]);
        let (authority, key) = (folder.join("ca.pem"), folder.join("ca.key"));
        let signed = ["-CA", text(&authority), "-CAkey", text(&key)];
        let names = ["-addext", "subjectAltName=DNS:localhost"];
        let leaf = ["-addext", "basicConstraints=critical,CA:FALSE"];
        certificate(&folder, "leaf", &[signed.as_slice(), &names, &leaf].concat());
        let mut command = Command::new("openssl");
        command.args(["s_server", "-www", "-accept", "127.0.0.1:0", "-cert"]);
        command.arg(folder.join("leaf.pem")).arg("-key").arg(folder.join("leaf.key"));
        let process = Process::spawn(&mut command);
        let until = Instant::now() + PATIENCE;
        let line = process.stdout.wait_for("ACCEPT 127.0.0.1:", Mark::START, 1, until);
        let line = line.expect("openssl listens");
        let port = line.rsplit(':').next().and_then(|port| port.trim().parse().ok());
        Some(Self { _process: process, folder, port: port.expect("a port") })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The file with the authority's certificate.
    pub fn authority(&self) -> std::path::PathBuf {
        self.folder.join("ca.pem")
    }
}

/// Makes `NAME.pem` and `NAME.key`.
fn certificate(folder: &Folder, name: &str, how: &[&str]) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    command.args(["-nodes", "-days", "2", "-subj", &format!("/CN=test {name}")]);
    command.arg("-out").arg(folder.join(&format!("{name}.pem")));
    command.arg("-keyout").arg(folder.join(&format!("{name}.key"))).args(how);
    let status = command.stderr(Stdio::null()).status().expect("openssl runs");
    assert!(status.success(), "openssl makes no certificate {name}");
}
