//! `host init`: the manifest that a component needs, with each of its imports and how it would be granted.

use std::fmt::Write as _;

use host_log::outlet;
use host_manifest::defaults;

use crate::cgroup;
use crate::component::{FileSizeLimit, ImportUse, Kind, Survey, survey_file, useful_grants};
use crate::config::InitConfig;
use crate::exit::Exit;

/// No compiler takes part.
const NO_BOUND: u64 = u64::MAX;

/// Prints the manifest.
#[must_use]
pub fn run(ask: &InitConfig) -> Exit {
    let largest = FileSizeLimit::new(NO_BOUND, cgroup::memory_limit());
    match survey_file(&ask.app, largest) {
        Ok((kind, survey)) => {
            let text = manifest(ask, kind, &survey);
            Exit::Clean.if_printed("host init", outlet::print(&text))
        }
        Err(why) => {
            outlet::complain(&format!("host init: {:#}", anyhow::Error::from(why)));
            Exit::NoStart
        }
    }
}

fn manifest(ask: &InitConfig, kind: Kind, survey: &Survey) -> String {
    let InitConfig { app, name } = ask;
    let (app, source) = (app.display(), toml::Value::from(app.to_string_lossy().as_ref()));
    let mut text = format!(
        "# For {app}, a component of {kind}: each of its imports, and how it is granted.\n\
         # A `#` before an example keeps it out of force. Nothing is granted but what you ask for.\n\
         #\n\
         #     host check host.toml      says what is granted and what is missing\n\
         #     host serve host.toml      serves it\n\
         #\n\
         # `host schema` has every key, for editors.\n\
         \n\
         [listen]\n\
         addr = [\"{}\"]\n\
         \n\
         [component.{name}]\n\
         source = {source}              # relative to this file\n\
         # smoke = [\"GET / 200\"]            # what a new version must answer before it serves\n\
         # limits.memory = \"{}\"         # of one instance\n",
        defaults::ADDRESS,
        defaults::MAX_MEMORY,
    );
    let uses = useful_grants(&survey.imports);
    for ImportUse { prefix, what, example, grant } in &uses {
        let imports = survey.imports.iter().filter(|name| name.starts_with(prefix));
        // Writing to a string cannot fail.
        write!(text, "\n# {what}:\n{}# {example}\n", commented(imports)).ok();
        if *grant == "outgoing" && survey.can_pass_on() {
            text += "# As a plugin it reaches the component behind it without this grant.\n";
        }
    }
    let free = |name: &&String| !uses.iter().any(|import| name.starts_with(import.prefix));
    let free = commented(survey.imports.iter().filter(free));
    if !free.is_empty() {
        write!(text, "\n# Needs no grant:\n{free}").ok();
    }
    write!(text, "\n[[route]]\npath = \"/\"\ncomponent = \"{name}\"\n").ok();
    if survey.can_pass_on() {
        let line = "# As a plugin it stands in the route of another component: chain =";
        writeln!(text, "{line} [\"{name}\"]").ok();
    }
    if uses.iter().any(|import| import.grant == "keyvalue") {
        text += "\n# The store of that bucket:\n# [keyvalue.main]\n# backend = \"disk\"                 \
                 # or memory, or redis\n# path = \"data.redb\"\n";
    }
    text
}

/// A line for each name.
fn commented<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("#   {name}\n")).collect()
}
