//! Grants that stand on a command line. They are written down as a manifest would have them, and read by its rules,
//! so that a flag can do nothing that a manifest could not.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use super::grammar::Grammar;
use crate::error::Problem;
use crate::text::ManifestText;
use crate::{GrantsConfig, LoadContext};

/// `NAME=VALUE`, of `--env` and `--config`.
#[derive(Clone, PartialEq, Eq)]
pub struct PairFlag {
    /// What stands before the first `=`.
    pub name: String,
    /// What stands behind it; none without a `=`.
    pub value: Option<String>,
}

/// `HOST::GUEST` or `HOST::GUEST:ro`, of `--dir`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryFlag {
    host: String,
    guest: String,
    writable: bool,
}

/// `NAME=memory`, `NAME=disk:PATH` or `NAME=redis:URL`, of `--keyvalue`.
#[derive(Clone, PartialEq, Eq)]
pub struct BucketFlag {
    name: String,
    store: StoreFlag,
}

#[derive(Clone, PartialEq, Eq)]
enum StoreFlag {
    Memory,
    Disk(String),
    Redis(String),
}

/// All grants of a command line, for one component.
#[derive(Clone, Debug, Default)]
pub struct GrantFlags {
    /// `--env`
    pub env: Vec<PairFlag>,
    /// `--config`
    pub config: Vec<PairFlag>,
    /// `--dir`
    pub directories: Vec<DirectoryFlag>,
    /// `--outgoing`
    pub outgoing: Vec<String>,
    /// `--outgoing-addresses`
    pub outgoing_addresses: Vec<String>,
    /// `--keyvalue`
    pub buckets: Vec<BucketFlag>,
}

/// What is wrong with a flag. Never shows a value: it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagFault {
    /// The flag, as far as it may be shown.
    flag: String,
    message: String,
    help: Option<String>,
}

impl fmt::Display for FlagFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.flag, self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

impl FromStr for PairFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() {
            return Err("there is no name before `=`; write NAME=VALUE".into());
        }
        Ok(Self { name: name.to_owned(), value })
    }
}

impl FromStr for DirectoryFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, writable) = match text.strip_suffix(":ro") {
            Some(path) => (path, false),
            None => (text.strip_suffix(":rw").unwrap_or(text), true),
        };
        match path.split_once("::") {
            Some((host, guest)) if !host.is_empty() && !guest.is_empty() => {
                Ok(Self { host: host.to_owned(), guest: guest.to_owned(), writable })
            }
            _ => Err(
                "write HOST::GUEST, or HOST::GUEST:ro if the guest may only read: the directory \
                      here, and its path there, such as ./assets::/assets:ro"
                    .into(),
            ),
        }
    }
}

impl FromStr for BucketFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "write NAME=memory, NAME=disk:PATH or NAME=redis:URL, such as carts=disk:data.redb"
                .into()
        };
        let (name, store) = text.split_once('=').ok_or_else(wrong)?;
        let is_url = ["redis://", "redis+unix://", "unix://", "rediss://"]
            .iter()
            .any(|scheme| store.starts_with(scheme));
        let store = match store.split_once(':') {
            None if store == "memory" => StoreFlag::Memory,
            _ if is_url => StoreFlag::Redis(store.to_owned()),
            Some(("disk", path)) if !path.is_empty() => StoreFlag::Disk(path.to_owned()),
            Some(("redis", url)) if !url.is_empty() => StoreFlag::Redis(url.to_owned()),
            _ => return Err(wrong()),
        };
        if name.is_empty() {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), store })
    }
}

impl fmt::Debug for PairFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value may be a secret.
        f.debug_tuple("PairFlag").field(&self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for BucketFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A password may stand in the URL.
        f.debug_tuple("BucketFlag").field(&self.name).finish_non_exhaustive()
    }
}

impl GrantFlags {
    fn is_empty(&self) -> bool {
        self.env.is_empty()
            && self.config.is_empty()
            && self.directories.is_empty()
            && self.outgoing.is_empty()
            && self.outgoing_addresses.is_empty()
            && self.buckets.is_empty()
    }
}

impl Grammar {
    /// The grants that `flags` give to the component `name`. Relative paths are relative to the current directory.
    /// `context` has what no guest may write to.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn grants(
        &self,
        name: &str,
        flags: &GrantFlags,
        context: &LoadContext,
    ) -> Result<GrantsConfig, Vec<FlagFault>> {
        if flags.is_empty() {
            return Ok(GrantsConfig::default());
        }
        let written = Written::new(name, flags);
        let text = ManifestText::new(Path::new(""), &written.text);
        // Nothing is filled in: a shell has done that.
        let read = self.interpret(&text, false, &|_| None, Some(context));
        let (mut manifest, problems) = match read {
            Ok((manifest, problems)) => (Some(manifest), problems),
            Err(problems) => (None, problems),
        };
        let faults: Vec<_> = problems.iter().map(|problem| written.fault(problem)).collect();
        let component = manifest.as_mut().and_then(|it| it.components.remove(name));
        match component {
            Some(component) if faults.is_empty() => Ok(component.grants),
            _ => Err(faults),
        }
    }
}

/// Flags as a manifest.
#[derive(Default)]
struct Written {
    text: String,
    /// Where each flag stands.
    flags: Vec<(Range<usize>, WrittenFlag)>,
}

struct WrittenFlag {
    /// As far as it may be shown.
    shown: String,
    /// What to do if it is wrong, where the words for manifests do not fit.
    help: Option<&'static str>,
}

impl Written {
    fn new(name: &str, flags: &GrantFlags) -> Self {
        let mut written = Self::default();
        // It is looked for when it is loaded; here it only has to be one.
        written.head(&format!("component.{name}"));
        written.text += "source = \"/proc/self/exe\"\n";
        for (flag, pairs) in [("env", &flags.env), ("config", &flags.config)] {
            written.head(&format!("component.{name}.{flag}"));
            for PairFlag { name, value } in pairs {
                let line =
                    format!("{} = {}", quoted(name), literal(value.as_deref().unwrap_or("")));
                written.add(&line, format!("--{flag} {name}"), None);
            }
        }
        written.head(&format!("component.{name}.grants"));
        written.list("outgoing", &flags.outgoing);
        written.list("outgoing-addresses", &flags.outgoing_addresses);
        written.text += "directories = [\n";
        for DirectoryFlag { host, guest, writable } in &flags.directories {
            let line = format!(
                "{{ host = {}, guest = {}, write = {writable} }},",
                literal(host),
                literal(guest)
            );
            let help = "write HOST::GUEST, or HOST::GUEST:ro if the guest may only read";
            written.add(&line, format!("--dir {host}::{guest}"), Some(help));
        }
        written.text += "]\n";
        written.buckets(name, &flags.buckets);
        written
    }

    /// Buckets that say the same store are in one.
    fn buckets(&mut self, component: &str, buckets: &[BucketFlag]) {
        let mut stores: Vec<(&StoreFlag, String)> = Vec::new();
        self.head(&format!("component.{component}.grants.keyvalue"));
        for BucketFlag { name, store } in buckets {
            if !stores.iter().any(|(other, _)| *other == store) {
                stores.push((store, name.clone()));
            }
            let number = stores.iter().position(|(other, _)| *other == store).unwrap_or_default();
            let line = format!("{} = \"flag-{number}\"", quoted(name));
            self.add(&line, format!("--keyvalue {name}"), None);
        }
        for (number, (store, name)) in stores.iter().enumerate() {
            self.head(&format!("keyvalue.flag-{number}"));
            let (line, help) = match store {
                StoreFlag::Memory => ("backend = \"memory\"".to_owned(), None),
                StoreFlag::Disk(path) => {
                    let line = format!("backend = \"disk\"\npath = {}", literal(path));
                    (line, Some("write disk:PATH with a directory that is there"))
                }
                StoreFlag::Redis(url) => {
                    (format!("backend = \"redis\"\nurl = {}", literal(url)), None)
                }
            };
            self.add(&line, format!("--keyvalue {name}"), help);
        }
    }

    fn head(&mut self, table: &str) {
        self.text += &format!("[{table}]\n");
    }

    fn list(&mut self, key: &str, texts: &[String]) {
        self.text += &format!("{key} = [\n");
        for text in texts {
            self.add(&format!("{},", literal(text)), format!("--{key} {text}"), None);
        }
        self.text += "]\n";
    }

    fn add(&mut self, line: &str, shown: String, help: Option<&'static str>) {
        let start = self.text.len();
        self.text += line;
        self.text.push('\n');
        self.flags.push((start..self.text.len(), WrittenFlag { shown, help }));
    }

    fn fault(&self, problem: &Problem) -> FlagFault {
        let start = problem.places.first().map(|(span, _)| span.start);
        let flag = start.and_then(|start| self.flags.iter().find(|(at, _)| at.contains(&start)));
        let help = match flag {
            Some((_, WrittenFlag { help: Some(help), .. })) => Some((*help).to_owned()),
            _ => problem.help.clone(),
        };
        let flag = flag.map_or_else(|| "grants".to_owned(), |(_, flag)| flag.shown.clone());
        FlagFault { flag, message: problem.message.clone(), help }
    }
}

/// A key or text of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            // Writing to a string cannot fail.
            letter if letter.is_control() => {
                write!(out, "\\U{:08X}", u32::from(letter)).ok();
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// A text in which a dollar is a dollar.
fn literal(text: &str) -> String {
    quoted(&text.replace('$', "$$"))
}
