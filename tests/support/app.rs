//! A component's file that tests replace while it is served, and the outcomes of swaps.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tempfile::{Builder, TempDir};

use super::binary::guest;
use super::h2raw::Answer;
use super::host::Host;
use super::http1::Response;
use super::says;
use super::serve::Serve;

/// A folder of one test's own, removed with its content.
#[derive(Debug)]
pub struct Folder(TempDir);

impl Folder {
    /// A new, empty folder. Every user may look into it, because some hosts run as another user.
    pub fn new() -> Self {
        let open = Permissions::from_mode(0o755);
        let folder = Builder::new().prefix("host-e2e-").permissions(open).tempdir();
        Self(folder.expect("a folder can be made"))
    }

    /// The path of `name` in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A component's file, `app.wasm` in a folder of its own.
#[derive(Debug)]
pub struct App {
    /// Its folder, for files beside it.
    pub folder: Folder,
    path: PathBuf,
}

impl App {
    /// A copy of the guest called `name`.
    pub fn new(name: &str) -> Self {
        let folder = Folder::new();
        let path = folder.join("app.wasm");
        let app = Self { folder, path };
        app.put(name);
        app
    }

    /// A host that will serve it.
    pub fn serve(&self) -> Serve {
        Host::serve(self.text())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its path as text.
    pub fn text(&self) -> &str {
        text(&self.path)
    }

    /// Puts a copy of the guest called `name` in its place by a rename, so that no reader sees half of it.
    pub fn put(&self, name: &str) {
        self.put_bytes(&bytes(name));
    }

    /// The same with these bytes.
    pub fn put_bytes(&self, bytes: &[u8]) {
        let new = self.folder.join("app.wasm.new");
        fs::write(&new, bytes).expect("the folder takes files");
        fs::rename(&new, &self.path).expect("a file can be replaced");
    }
}

/// A path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours is text")
}

/// The bytes of the guest called `name`.
pub fn bytes(name: &str) -> Vec<u8> {
    fs::read(guest(name)).expect("a guest can be read")
}

/// The guest called `name` as other bytes: with one of 256 custom sections added, which have no effect.
pub fn variant(name: &str, number: u8) -> Vec<u8> {
    one_more(&bytes(name), number)
}

/// The same with these bytes.
pub fn one_more(component: &[u8], number: u8) -> Vec<u8> {
    // Section 0, of five bytes, with a name of three.
    [component, b"\0\x05\x03new", &[number]].concat()
}

/// The guest called `name` with another module, which has no effect and takes a while to compile: long enough
/// for a test to find its compiler at work.
pub fn slower(name: &str) -> Vec<u8> {
    let module = component(&format!("(module {})", functions(600)));
    [&bytes(name)[..], &section(1, &module)].concat()
}

/// A section of a component, with its length as LEB128 of five bytes.
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let septet = |n: usize| u8::try_from(content.len() >> (7 * n) & 0x7f).expect("seven bits");
    let length = [0, 1, 2, 3, 4].map(|n| septet(n) | if n < 4 { 0x80 } else { 0 });
    [&[id][..], &length, content].concat()
}

/// The guest called `name` with another component in it, which is instantiated beside it. The guest has one already: what
/// it exports, as toolchains have it.
pub fn beside(name: &str, other: &[u8]) -> Vec<u8> {
    const COMPONENTS: u8 = 4;
    const INSTANCES: u8 = 5;
    // One instance, of the component with index 1, without arguments.
    let instance = section(INSTANCES, &[1, 0, 1, 0]);
    [&bytes(name)[..], &section(COMPONENTS, other), &instance].concat()
}

/// A component that takes long to compile: very many different functions.
pub fn slow_to_compile() -> Vec<u8> {
    let functions = functions(4_000);
    component(&format!(
        "(component (core module {functions}) (instance $i) \
         (export \"wasi:http/incoming-handler@0.2.0\" (instance $i)))"
    ))
}

/// This many different functions, as text.
fn functions(count: usize) -> String {
    let step = |n| format!("local.get 0 i64.const {n} i64.mul local.get 0 i64.xor local.set 0 ");
    let function = |f: usize| {
        let body: String = (0..60).map(|n| step(f * 60 + n)).collect();
        format!("(func (param i64) (result i64) {body} local.get 0)\n")
    };
    (0..count).map(function).collect()
}

/// The bytes of a component from its text.
pub fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("text of ours is right")
}

/// Asks for a reload with SIGHUP, waits for its outcome in the log and returns it. No other part of the test may
/// send SIGHUP meanwhile.
#[track_caller]
pub fn reload(host: &Host) -> String {
    let mark = host.mark();
    host.signal(Signal::HUP);
    // One line at the beginning, one with the outcome.
    host.wait_log_nth_after(mark, says::BY_HANGUP, 2)
}

/// Puts the guest called `name` in place, and returns when it serves.
#[track_caller]
pub fn swap_to(host: &Host, app: &App, name: &str) {
    app.put(name);
    expect_swapped(&reload(host));
}

/// Fails unless `outcome` is that of a completed swap. Returns the numbers of the old and the new generation.
#[track_caller]
pub fn expect_swapped(outcome: &str) -> (u64, u64) {
    let numbers = outcome.split_once(says::SWAPPED).and_then(|(_, rest)| {
        let mut words = rest.split_ascii_whitespace();
        let from = words.next()?.parse().ok()?;
        let to = words.nth(1)?.parse().ok()?;
        Some((from, to))
    });
    numbers.unwrap_or_else(|| panic!("not swapped: {outcome}"))
}

/// The version that responded. Fails unless the response is whole, of one version, and 200.
#[track_caller]
pub fn version(answer: &Response) -> String {
    assert_eq!(answer.status(), 200, "{answer}");
    one_version(answer.header("x-version"), &answer.body.bytes)
}

/// The same over HTTP/2.
#[track_caller]
pub fn version_h2(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let header = answer.headers.iter().find(|(name, _)| name == "x-version");
    one_version(header.map(|(_, value)| value.as_str()), &answer.body)
}

#[track_caller]
fn one_version(header: Option<&str>, body: &[u8]) -> String {
    let version = header.expect("an answer names its version");
    let &[letter] = version.as_bytes() else { panic!("a version is a letter: {version:?}") };
    assert!(!body.is_empty(), "the body shows the version too");
    let other = body.iter().find(|byte| **byte != letter);
    assert_eq!(other, None, "an answer of version {version} has a byte of another");
    version.to_owned()
}
