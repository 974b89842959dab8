//! The program `haproxy` in front of hosts.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::Command;

use super::app::{Folder, text};
use super::process::Process;
use super::tools;

/// HAProxy with one frontend for HTTP. Dropping it kills it.
#[derive(Debug)]
pub struct HaProxy {
    _process: Process,
    _folder: Folder,
    addr: SocketAddr,
}

impl HaProxy {
    /// One that sends requests on to these servers, with these words behind each: `send-proxy check`. None where
    /// there is no haproxy, said on stdout.
    #[track_caller]
    pub fn start(servers: &[SocketAddr], words: &str, backend: &str) -> Option<Self> {
        if !tools::has_with("haproxy", "-v", "haproxy") {
            return None;
        }
        let folder = Folder::new();
        // It listens from here on: whoever connects before haproxy has come up waits in the queue.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("it has one");
        let servers: String = (1..)
            .zip(servers)
            .map(|(number, server)| format!("    server s{number} {server} {words}\n"))
            .collect();
        let config = folder.join("haproxy.cfg");
        let lines = format!(
            "global\n    maxconn 1000\n    nbthread 1\ndefaults\n    mode http\n    timeout connect 5s\n    \
             timeout client 60s\n    timeout server 60s\nfrontend front\n    bind fd@0\n    \
             default_backend hosts\nbackend hosts\n    option redispatch 1\n    retries 5\n{backend}{servers}"
        );
        fs::write(&config, lines).expect("a folder of ours");
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f", text(&config)]);
        let process = Process::spawn_reading(&mut command, OwnedFd::from(listener).into());
        Some(Self { _process: process, _folder: folder, addr })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}
