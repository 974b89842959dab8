//! The grants that a component says it wants, in the custom section `host:wants`, beside those that it is given. Nothing
//! is given because it is wanted.

use std::collections::{BTreeMap, BTreeSet};

use host_manifest::escape::quote;
use host_manifest::{
    ComponentConfig, DirectoriesConfig, EnvironmentConfig, KeyValueConfig, OutgoingConfig,
    TcpConfig, WasiConfigValues,
};
use serde::Serialize;

/// A larger section is not read.
const LARGEST: usize = 64 << 10;

/// A grant that is wanted.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Wanted {
    /// The manifest's word for it.
    pub(super) grant: String,
    /// Which: a name, an origin, a path in the guest.
    pub(super) what: String,
    /// Whether the component has it.
    pub(super) given: bool,
}

/// What a component wants, and what it is given and does not want.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wants {
    pub(super) wanted: Vec<Wanted>,
    pub(super) unwanted: Vec<Wanted>,
    /// Why the section cannot be read.
    pub(super) unreadable: Option<String>,
}

/// Grants by word, each with its names.
type Names = BTreeMap<String, BTreeSet<String>>;

impl Wants {
    /// Reads the section of a component. A component without one wants nothing that could be said.
    pub(super) fn new(section: Option<&[u8]>, component: &ComponentConfig) -> Self {
        let Some(section) = section else { return Self::default() };
        let wanted = match read(section) {
            Ok(wanted) => wanted,
            Err(why) => return Self { unreadable: Some(why), ..Self::default() },
        };
        let given = given(component);
        let missing = |one: &Names, other: &Names, grant: &str, what: &str| {
            !(one.contains_key(grant) && other.get(grant).is_some_and(|it| it.contains(what)))
        };
        let list = |names: &Names| -> Vec<(String, String)> {
            let pairs = names.iter().flat_map(|(grant, all)| all.iter().map(move |it| (grant, it)));
            pairs.map(|(grant, what)| (grant.clone(), what.clone())).collect()
        };
        let row = |(grant, what): (String, String)| {
            let given = !missing(&wanted, &given, &grant, &what);
            Wanted { grant, what, given }
        };
        let unwanted = list(&given)
            .into_iter()
            .filter(|(grant, what)| !wanted.get(grant).is_some_and(|it| it.contains(what)));
        let unwanted = unwanted.map(|(grant, what)| Wanted { grant, what, given: true }).collect();
        Self { wanted: list(&wanted).into_iter().map(row).collect(), unwanted, unreadable: None }
    }

    /// As people read it: a line for each kind.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let line = |head: &str, rows: Vec<&Wanted>| {
            let rows: Vec<String> =
                rows.iter().map(|it| format!("{} {}", it.grant, it.what)).collect();
            match rows.is_empty() {
                true => String::new(),
                false => format!("{head}: {}\n", rows.join(", ")),
            }
        };
        text += &line("wants and has", self.wanted.iter().filter(|it| it.given).collect());
        text += &line("wants and lacks", self.wanted.iter().filter(|it| !it.given).collect());
        text += &line("has and does not want", self.unwanted.iter().collect());
        if let Some(why) = &self.unreadable {
            text += &format!("wants: its section host:wants cannot be read: {why}\n");
        }
        text
    }
}

fn read(section: &[u8]) -> Result<Names, String> {
    if section.len() > LARGEST {
        return Err(format!("it has more than {LARGEST} bytes"));
    }
    let text = std::str::from_utf8(section).map_err(|_| "it is not text in UTF-8".to_owned())?;
    let names: Names = toml::from_str(text).map_err(|why| quote(why.message()))?;
    let harmless = |(grant, all): (String, BTreeSet<String>)| {
        (quote(&grant), all.iter().map(|what| quote(what)).collect())
    };
    Ok(names.into_iter().map(harmless).collect())
}

/// What a component is given, by the words and names that its author knows.
fn given(component: &ComponentConfig) -> Names {
    let grants = &component.grants;
    let mut names = Names::new();
    let mut add = |grant: &str, what: Vec<String>| {
        if !what.is_empty() {
            names.insert(grant.to_owned(), what.into_iter().collect());
        }
    };
    if let Some(EnvironmentConfig { env, .. }) = grants.get() {
        add("env", env.iter().map(|(name, _)| name.clone()).collect());
    }
    if let Some(WasiConfigValues(values)) = grants.get() {
        add("config", values.iter().map(|value| value.key.clone()).collect());
    }
    if let Some(DirectoriesConfig(directories)) = grants.get() {
        add("directories", directories.iter().map(|it| it.guest.clone()).collect());
    }
    if let Some(OutgoingConfig { origins, .. }) = grants.get() {
        add("outgoing", origins.iter().map(ToString::to_string).collect());
    }
    if let Some(TcpConfig(endpoints)) = grants.get() {
        add("tcp", endpoints.iter().map(ToString::to_string).collect());
    }
    if let Some(KeyValueConfig(buckets)) = grants.get() {
        add("keyvalue", buckets.keys().cloned().collect());
    }
    names
}
