//! Debian's `docker-registry` on a port of its own.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::Signal;

use super::PATIENCE;
use super::app::Folder;
use super::process::Process;
use super::tools;

/// `user` with the password `sesame`.
const HTPASSWD: &str = "user:$2b$04$E.ApURUgOZZoLc9qofbyg.q2cXawRWHLKYaJMB0abYmw/FjoGILcq\n";

/// A registry with nothing in it. Dropping it ends it.
#[derive(Debug)]
pub struct Registry {
    process: Process,
    address: String,
    _folder: Folder,
}

impl Registry {
    /// Starts one that lets in everybody, or who knows the password. None, with a sentence, where there is none to
    /// be had.
    pub fn start(with_password: bool) -> Option<Self> {
        if !tools::has("docker-registry", "docker-registry") {
            return None;
        }
        let folder = Folder::new();
        let data = folder.join("data");
        let mut config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: 127.0.0.1:0\n",
            data.display()
        );
        if with_password {
            let path = folder.join("htpasswd");
            fs::write(&path, HTPASSWD).expect("the folder takes files");
            config += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path.display());
        }
        let path = folder.join("config.yml");
        fs::write(&path, config).expect("the folder takes files");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&path).stdin(Stdio::null());
        let process = Process::spawn(&mut command);
        let until = Instant::now() + PATIENCE;
        let line = process.stderr.wait_for("listening on ", super::lines::Mark::START, 1, until);
        let line = line.unwrap_or_else(|_| panic!("docker-registry does not listen"));
        let rest = line.split_once("listening on ").expect("it was waited for").1;
        let address = rest.split(['"', ',']).next().expect("the address ends").to_owned();
        Some(Self { address, process, _folder: folder })
    }

    /// What a source says: `oci://127.0.0.1:PORT/NAME`.
    pub fn source(&self, name: &str) -> String {
        format!("oci://{}/{name}", self.address)
    }

    /// Its name: `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ends it.
    pub fn stop(self) {
        self.process.signal(Signal::KILL);
        self.process.wait(Instant::now() + PATIENCE);
    }
}
