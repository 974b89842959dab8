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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        DirectoriesConfig, EnvironmentConfig, KeyValueConfig, Namespace, OutgoingConfig, Secret,
        StoreConfig, WasiConfigValues, abilities,
    };

    fn read(flags: &GrantFlags) -> Result<GrantsConfig, String> {
        let grammar = Grammar::new(abilities::ALL);
        grammar
            .grants("app", flags, &LoadContext::default())
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    fn all<T: FromStr<Err = String>>(texts: &[&str]) -> Vec<T> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn flags_become_the_grants_that_a_manifest_would_give() {
        let directory = std::env::temp_dir();
        let directory = directory.to_str().unwrap();
        let flags = GrantFlags {
            env: all(&["A=1", "B=x=${HOME} \"\\\n\u{7f}"]),
            config: all(&["rate=10/s"]),
            directories: all(&[&format!("{directory}::/tmp:ro"), &format!("{directory}::/w")]),
            outgoing: vec!["https://api.example.com".into()],
            outgoing_addresses: vec!["loopback".into()],
            buckets: all(&["a=memory", "b=memory", "c=redis://h", "d=redis:redis://h"]),
        };
        let grants = read(&flags).unwrap();
        let env: &EnvironmentConfig = grants.get().unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), Secret::from(value));
        assert_eq!(env.env, [pair("A", "1"), pair("B", "x=${HOME} \"\\\n\u{7f}")]);
        let config = &grants.get::<WasiConfigValues>().unwrap().0[0];
        assert_eq!((&*config.key, config.value.reveal()), ("rate", "10/s"));
        let directories: &DirectoriesConfig = grants.get().unwrap();
        let writable: Vec<_> = directories.0.iter().map(|it| (&*it.guest, it.writable)).collect();
        assert_eq!(writable, [("/tmp", false), ("/w", true)]);
        assert_eq!(grants.get::<OutgoingConfig>().unwrap().origins.len(), 1);
        assert!(grants.reach.loopback && !grants.reach.private);
        let buckets = &grants.get::<KeyValueConfig>().unwrap().0;
        assert_eq!(buckets["a"].store, buckets["b"].store);
        assert_eq!(buckets["c"].store, StoreConfig::Redis("redis://h".into()));
        assert_eq!(buckets["c"].store, buckets["d"].store);
        assert_eq!(buckets["a"].space, Namespace::Own("app".into(), "a".into()));
    }

    #[test]
    fn no_flags_are_no_grants() {
        assert_eq!(read(&GrantFlags::default()), Ok(GrantsConfig::default()));
    }

    #[test]
    fn what_is_wrong_is_said_of_the_flag_without_its_value() {
        let flags = GrantFlags { env: all(&["A=secret", "A=secret"]), ..GrantFlags::default() };
        let why = read(&flags).unwrap_err();
        assert!(why.starts_with("--env A: ") && !why.contains("secret"), "{why}");
        let flags = GrantFlags {
            outgoing: vec!["https://".into()],
            directories: all(&["/not/there::/a", "/::b"]),
            outgoing_addresses: vec!["everywhere".into()],
            buckets: all(&["a=disk:/not/there/data.redb", "b=redis://secret@:1"]),
            config: all(&["\u{1}=x"]),
            ..GrantFlags::default()
        };
        let why = read(&flags).unwrap_err();
        for says in [
            "--outgoing https://: ",
            "--outgoing-addresses everywhere: ",
            "--dir /not/there::/a: the directory /not/there is not there; write HOST::GUEST",
            "--dir /::b: this is no path for a guest; ",
            "--keyvalue a: the directory /not/there is not there; write disk:PATH",
            "--keyvalue b: there is no host in it that could be reached; write redis://",
            "--config \u{1}: this is no name; ",
        ] {
            assert!(why.lines().any(|line| line.starts_with(says)), "{says}\n{why}");
        }
        assert!(!why.contains("secret") && !why.contains("manifest"), "{why}");
    }

    #[test]
    fn guest_that_could_replace_what_is_the_hosts_gets_no_directory() {
        let directory = std::env::temp_dir();
        let grammar = Grammar::new(abilities::ALL);
        let own = vec![("the file of the component".to_owned(), directory.join("app.wasm"))];
        let context = LoadContext { own, ..LoadContext::default() };
        let ask = |how: &str| {
            let flag = format!("{}::/d{how}", directory.display());
            let flags = GrantFlags { directories: all(&[&flag]), ..GrantFlags::default() };
            grammar.grants("app", &flags, &context)
        };
        let why = ask("").unwrap_err()[0].to_string();
        assert!(why.contains("could change the file of the component; write HOST::GUEST"), "{why}");
        ask(":ro").unwrap();
    }

    #[test]
    fn forms_that_mean_nothing_are_refused_with_the_right_one() {
        for text in ["a", "a::", "::b", ":ro", "a:b"] {
            assert!(text.parse::<DirectoryFlag>().unwrap_err().contains("HOST::GUEST"), "{text}");
        }
        for text in ["a", "a=", "=memory", "a=disk", "a=disk:", "a=redis:", "a=sqlite:x", "memory"]
        {
            assert!(text.parse::<BucketFlag>().unwrap_err().contains("disk:PATH"), "{text}");
        }
        assert!("=x".parse::<PairFlag>().is_err());
    }
}
