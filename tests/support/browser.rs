//! A real browser, driven over the DevTools protocol through two pipes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::PATIENCE;
use super::tools::has;

/// Debian's chromium, headless, with one page. Dropping it kills it.
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    last: u64,
    session: Option<String>,
    /// What the page or the browser has complained of.
    pub errors: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Starts it. Where it is not installed, prints a sentence to stdout and returns none.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn start() -> Option<Self> {
        if !has("chromium", "chromium") {
            return None;
        }
        let profile = tempfile::tempdir().expect("a folder can be made");
        let mut command = Command::new("sh");
        // The browser reads commands on 3, and answers on 4.
        command.args(["-c", "exec chromium \"$@\" 3<&0 4>&1 >/dev/null", "sh"]);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.args(["--no-first-run", "--remote-debugging-pipe", "--window-size=1200,1000"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.process_group(0).spawn().expect("there is a shell");
        let commands = child.stdin.take().expect("piped");
        let (sender, messages) = channel();
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        thread::spawn(move || {
            for message in answers.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("it speaks JSON");
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let (errors, session) = (Vec::new(), None);
        let mut browser =
            Self { child, commands, messages, last: 0, session, errors, _profile: profile };
        browser.attach();
        Some(browser)
    }

    fn attach(&mut self) {
        let target = self.ask("Target.createTarget", &json!({ "url": "about:blank" }));
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.ask("Target.attachToTarget", &target);
        self.session = session["sessionId"].as_str().map(ToOwned::to_owned);
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            self.ask(domain, &json!({}));
        }
    }

    /// Goes to a page.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        let gone = self.ask("Page.navigate", &json!({ "url": url }));
        assert!(gone["errorText"].is_null(), "{url}: {gone}");
    }

    /// Has the page shown in dark colours, or in light ones.
    pub fn prefer(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.ask("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Has the page shown on a screen of this size.
    pub fn resize(&mut self, width: u32, height: u32) {
        let mobile = width < 600;
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.ask("Emulation.setDeviceMetricsOverride", &size);
    }

    /// What a script says.
    #[track_caller]
    pub fn evaluate(&mut self, script: &str) -> Value {
        let ask = json!({ "expression": script, "returnByValue": true, "awaitPromise": true });
        let answer = self.ask("Runtime.evaluate", &ask);
        assert!(answer["exceptionDetails"].is_null(), "{script}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until a script says `true`, looking whenever the page changes.
    #[track_caller]
    pub fn wait_until(&mut self, script: &str) {
        let looking = format!(
            "new Promise((done) => {{
                const look = () => {{ try {{ return {script}; }} catch {{ return false; }} }};
                if (look()) return done(true);
                const observer = new MutationObserver(() => {{ if (look()) {{ observer.disconnect(); done(true); }} }});
                observer.observe(document, {{ subtree: true, childList: true, characterData: true, attributes: true }});
            }})"
        );
        assert_eq!(self.evaluate(&looking), true, "{script}");
    }

    /// The page as a PNG.
    pub fn picture(&mut self) -> Vec<u8> {
        let picture = self.ask("Page.captureScreenshot", &json!({ "format": "png" }));
        STANDARD.decode(picture["data"].as_str().expect("text")).expect("base64")
    }

    /// Asks, and waits for the answer; notes complaints that come meanwhile.
    #[track_caller]
    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).expect("it takes commands");
        loop {
            let mut message = match self.messages.recv_timeout(PATIENCE) {
                Ok(message) => message,
                Err(why) => panic!("no answer to {method} {params}: {why}"),
            };
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].take();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Value) {
        let params = &message["params"];
        let is_error = match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => {
                params["type"] == "error" || params["type"] == "warning"
            }
            Some("Log.entryAdded") => params["entry"]["level"] == "error",
            _ => false,
        };
        if is_error {
            self.errors.push(params.to_string());
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("it is small")).expect("not 0");
        // It may be gone already.
        kill_process_group(pid, Signal::KILL).ok();
        self.child.wait().ok();
    }
}
