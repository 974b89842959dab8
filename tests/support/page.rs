//! Runs the commands of a documentation page as they stand there, and compares their output with the page's.
//!
//! A block of a page is ```` ```console ````, with `$ ` before each command and its output below it, or
//! ```` ```sh ````, with commands that must succeed. `<!-- not run: REASON -->` before a block says why it is not
//! run. [`Shell::stands_for`] replaces names that differ on this machine.

use std::collections::VecDeque;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::PATIENCE;
use super::app::{Folder, bytes, text};
use super::host::Host;
use super::lines::Mark;
use super::process::Process;

/// The root of the repository.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Stands before a block that is not run, with the reason.
const NOT_RUN: &str = "<!-- not run: ";

/// One command of a block.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub command: String,
    /// None in ```` ```sh ````, where the command must succeed and may print anything.
    pub output: Option<String>,
}

/// The blocks of a page that are to be run, in their order.
#[derive(Debug)]
pub struct Page {
    name: String,
    blocks: VecDeque<(usize, Vec<Step>)>,
}

impl Page {
    /// The page at this path below the root of the repository.
    ///
    /// # Panics
    /// When a block is marked as not run without a reason.
    #[track_caller]
    pub fn open(name: &str) -> Self {
        let text = fs::read_to_string(Path::new(ROOT).join(name)).expect("the page is there");
        Self { name: name.to_owned(), blocks: blocks(&text) }
    }

    /// Whether no block is left to run.
    pub fn is_done(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Runs the next block in `shell`.
    #[track_caller]
    pub fn run(&mut self, shell: &mut Shell) {
        self.run_with(shell, |_, _| {});
    }

    /// The same. Calls `before` ahead of each command with its number, counted from 0.
    #[track_caller]
    pub fn run_with(&mut self, shell: &mut Shell, before: impl FnMut(usize, &mut Shell)) {
        self.steps(shell, before, |_| {});
    }

    /// The same. Calls `act` after each command has printed `text` or has ended.
    #[track_caller]
    pub fn run_until(&mut self, shell: &mut Shell, text: &str, mut act: impl FnMut()) {
        let patience = || Instant::now() + PATIENCE;
        self.steps(
            shell,
            |_, _| {},
            |process| {
                if process.stdout.wait_for(text, Mark::START, 1, patience()).is_ok() {
                    act();
                }
            },
        );
    }

    #[track_caller]
    fn steps(
        &mut self,
        shell: &mut Shell,
        mut before: impl FnMut(usize, &mut Shell),
        mut meanwhile: impl FnMut(&Process),
    ) {
        let (line, steps) = self.blocks.pop_front().expect("the page has another block");
        for (number, step) in steps.into_iter().enumerate() {
            before(number, shell);
            let place = format!("{}:{line}: {}", self.name, step.command);
            let (code, printed) = shell.run(&step.command, &mut meanwhile);
            match step.output {
                None => assert_eq!(code, 0, "{place}\n{printed}"),
                Some(shown) => assert!(
                    matches(&shown, &printed),
                    "{place}\n---- the page shows\n{shown}\n---- it printed\n{printed}"
                ),
            }
        }
    }

    /// Fails if a block is left that is neither run nor marked as not run.
    #[track_caller]
    pub fn expect_end(self) {
        let left: Vec<_> =
            self.blocks.iter().map(|(line, _)| format!("{}:{line}", self.name)).collect();
        assert!(left.is_empty(), "neither run nor marked with `{NOT_RUN}REASON -->`: {left:?}");
    }
}

/// The blocks of `text` with their lines, without those that are marked as not run.
pub fn blocks(text: &str) -> VecDeque<(usize, Vec<Step>)> {
    let mut blocks = VecDeque::new();
    let mut lines = text.lines().enumerate();
    let mut before = "";
    while let Some((at, line)) = lines.next() {
        if let Some(language @ ("console" | "sh")) = line.strip_prefix("```") {
            let body = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
            let steps = if language == "sh" { plain(body) } else { shown(body) };
            match before.strip_prefix(NOT_RUN).map(|rest| rest.trim_end_matches("-->").trim()) {
                None => blocks.push_back((at + 1, steps)),
                Some(reason) => assert!(!reason.is_empty(), "line {at}: not run, and no reason"),
            }
        }
        before = line;
    }
    blocks
}

/// The commands of a block of ```` ```sh ````.
fn plain<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Step> {
    let commands = lines.filter(|line| !line.trim_start().starts_with('#') && !line.is_empty());
    commands.map(|line| Step { command: line.to_owned(), output: None }).collect()
}

/// The commands of a block of ```` ```console ````, each with the output below it.
fn shown<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in lines {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), output: Some(String::new()) });
        } else {
            let step = steps.last_mut().expect("a block begins with a command");
            *step.output.get_or_insert_default() += &format!("{line}\n");
        }
    }
    steps
}

/// Whether `printed` is the output that a page shows. There `…` stands for any text, and on a line of its own
/// for any lines.
pub fn matches(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (plain_words(shown).replace("\n…\n", "\n…"), plain_words(printed));
    let Some((first, rest)) = shown.split_once('…') else { return shown == printed };
    let Some(mut left) = printed.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('…').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = left.find(part) else { return false };
        left = left.get(at + part.len()..).unwrap_or_default();
    }
    left.ends_with(last)
}

/// `text` with one space between words, and with placeholders for parts that always differ: times become `TIME`,
/// digests and other long hexadecimal numbers `HEX1`, `HEX2`, each its own.
fn plain_words(text: &str) -> String {
    let mut numbers: Vec<&str> = Vec::new();
    let mut plain = String::new();
    for line in text.lines() {
        let words = line.split_whitespace().map(|word| {
            let (word, end) = word.split_at(word.trim_end_matches([',', ':', ';']).len());
            let (name, value) = word.split_once('=').unwrap_or(("", word));
            let equals = if word.contains('=') { "=" } else { "" };
            let value = if is_time(value) {
                "TIME".to_owned()
            } else if value.len() >= 12 && value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let known = numbers.iter().position(|number| *number == value);
                let number = known.unwrap_or_else(|| {
                    numbers.push(value);
                    numbers.len() - 1
                });
                format!("HEX{}", number + 1)
            } else {
                value.to_owned()
            };
            format!("{name}{equals}{value}{end}")
        });
        plain += &words.collect::<Vec<_>>().join(" ");
        plain.push('\n');
    }
    plain
}

/// Times such as `87ms` and `1.2s`, and `2.625`, as in `stopped in 2.625s`.
fn is_time(word: &str) -> bool {
    let number = word.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let is_number = !number.is_empty() && number.parse::<f64>().is_ok();
    match word.strip_prefix(number).unwrap_or_default() {
        "" => is_number && number.contains('.'),
        unit => is_number && ["ms", "s", "m", "h"].contains(&unit),
    }
}

/// A reader's shell, in a folder of its own. `/srv` is a folder in it, `host` is the built host, and `host ctl`
/// finds only the hosts that this shell started.
#[derive(Debug)]
pub struct Shell {
    folder: Folder,
    /// Words of the page, and their replacements here.
    words: Vec<(String, String)>,
    code: i32,
    hosts: Vec<Host>,
    /// The file that a host of the page logs to, as it is before each command.
    log: Option<String>,
    last: String,
}

impl Shell {
    pub fn new() -> Self {
        let folder = Folder::new();
        fs::create_dir(folder.join("srv")).expect("it is new");
        let srv = format!("{}/", text(&folder.join("srv")));
        Self {
            folder,
            words: vec![("/srv/".into(), srv)],
            code: 0,
            hosts: Vec::new(),
            log: None,
            last: String::new(),
        }
    }

    /// Replaces `word` of the page with `here`. The latest replacement wins.
    pub fn stands_for(&mut self, word: &str, here: &str) {
        self.words.retain(|(known, _)| known != word);
        self.words.push((word.to_owned(), here.to_owned()));
    }

    /// A path of the page: `/srv/app.wasm`, or one in the folder of the shell.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name.strip_prefix('/').unwrap_or(name))
    }

    /// Puts the guest called `guest` at this path of the page.
    pub fn put(&self, name: &str, guest: &str) {
        self.put_bytes(name, &bytes(guest));
    }

    /// Puts these bytes at this path of the page.
    pub fn put_bytes(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("it can be made");
        fs::write(path, bytes).expect("the folder takes files");
    }

    /// Starts `host serve ARGS...`, with no space in any of its words. From now on `PID` is its process
    /// number, and 127.0.0.1:8080 its address.
    #[track_caller]
    pub fn serve(&mut self, args: &[&str]) -> &Host {
        let (served, args) = args.split_first().expect("something is served");
        let served = self.path(served);
        let host = Host::serve(text(&served))
            .env("XDG_RUNTIME_DIR", self.runtime())
            .args(args.iter().copied())
            .start();
        let pid = host.pid().to_string();
        let socket = self.runtime().join("host").join(format!("{pid}.sock"));
        self.stands_for("/run/host/4242.sock", text(&socket));
        self.stands_for("127.0.0.1:8080", &host.addr().to_string());
        self.stands_for(" PID", &format!(" {pid}"));
        self.hosts.push(host);
        self.host()
    }

    /// The host that was started last.
    #[track_caller]
    pub fn host(&self) -> &Host {
        self.hosts.last().expect("one was started")
    }

    /// The command before.
    pub fn last_command(&self) -> &str {
        &self.last
    }

    /// Kills all hosts that this shell started.
    pub fn kill_hosts(&mut self) {
        self.hosts.clear();
        fs::remove_dir_all(self.runtime()).ok();
    }

    fn runtime(&self) -> PathBuf {
        let runtime = self.folder.join("run");
        fs::create_dir_all(&runtime).expect("the folder takes folders");
        runtime
    }

    /// Runs `command` to its end. Returns its exit code, and its output in the words of the page. A command
    /// that serves goes on.
    #[track_caller]
    fn run(&mut self, command: &str, meanwhile: impl FnOnce(&Process)) -> (i32, String) {
        let command = command.split(" # ").next().unwrap_or(command).trim_end();
        let command = match command.split_once(" 2> ") {
            Some((serve, log)) if serve.starts_with("host serve ") => {
                self.log = Some(log.to_owned());
                serve
            }
            _ => command,
        };
        self.last = command.to_owned();
        if let Some(log) = self.log.clone().filter(|_| !self.hosts.is_empty()) {
            self.put_bytes(&log, self.host().log().as_bytes());
        }
        if let Some(args) = command.strip_prefix("host serve ") {
            self.serve(&args.split(' ').collect::<Vec<_>>());
            return (0, String::new());
        }
        let mut typed = command.to_owned();
        for (word, here) in &self.words {
            typed = typed.replace(word, here);
        }
        // `$?` is the exit code of the command before.
        let script = format!("exec 2>&1; (exit {}); {typed}", self.code);
        let process = Process::spawn(self.bash().args(["-c", &script]));
        meanwhile(&process);
        let until = Instant::now() + PATIENCE;
        self.code = process.wait(until).unwrap_or_else(|| panic!("{command} does not end"));
        assert!(process.stdout.wait_closed(until), "{command} leaves something behind");
        let mut printed = process.stdout.text();
        for (word, here) in &self.words {
            printed = printed.replace(here, word);
        }
        (self.code, printed)
    }

    /// A shell that finds the built host before any other.
    fn bash(&self) -> Command {
        let built = Path::new(env!("CARGO_BIN_EXE_host")).parent().expect("it is in a folder");
        let path = env::var("PATH").expect("there is a PATH");
        let mut bash = Command::new("bash");
        bash.current_dir(self.folder.join(""))
            .env("PATH", format!("{}:{path}", built.display()))
            .env("XDG_RUNTIME_DIR", self.runtime())
            .env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache-home"));
        bash
    }
}
