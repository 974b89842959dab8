//! Starts and stops `host` for a test. It is the program in `WASM_HOST`, or `wasm-host`, or `host`.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub struct Host {
    process: Child,
    addr: String,
}

impl Host {
    /// Builds the component first, unless the variable `BUILT` says that it is there.
    pub fn serve() -> Self {
        if std::env::var_os("BUILT").is_none() {
            let build = ["build", "--release", "--target", "wasm32-wasip2"];
            assert!(
                Command::new(env!("CARGO"))
                    .args(build)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        // `timeout` hands signals and exit codes on, and ends a host that would go on for ever.
        let mut process = Command::new("timeout")
            .args(["300", &program(), "serve", "host.toml"])
            .args(["--addr", "127.0.0.1:0", "--control", "off"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("timeout of coreutils is installed");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let mut words = line.split_whitespace();
        let addr = words.find_map(|word| word.strip_prefix("addr="));
        let addr = addr
            .expect("host is installed and says that it is ready")
            .to_owned();
        Self { process, addr }
    }

    pub fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(&self.addr).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        socket
    }

    /// What comes back until the host closes the connection.
    pub fn send(&self, request: &str) -> String {
        let mut socket = self.connect();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    pub fn stop(mut self) {
        self.signal();
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
    }

    fn signal(&self) {
        let _ = Command::new("kill")
            .arg(self.process.id().to_string())
            .status();
    }
}

/// For tests that failed before their `stop`.
impl Drop for Host {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.signal();
        }
    }
}

/// What comes until the text is there.
pub fn read_until(socket: &mut TcpStream, text: &str) -> String {
    let (mut answer, mut buffer) = (String::new(), [0; 4096]);
    while !answer.contains(text) {
        let length = socket.read(&mut buffer).unwrap();
        assert!(length > 0, "the answer ended before {text:?}: {answer}");
        answer.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    answer
}

fn program() -> String {
    if let Ok(program) = std::env::var("WASM_HOST") {
        return program;
    }
    let is_there = Command::new("wasm-host").arg("--version").output().is_ok();
    if is_there { "wasm-host" } else { "host" }.to_owned()
}
