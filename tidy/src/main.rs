//! `make tidy`: prints where the sources are out of shape, and fails if they are anywhere.
//!
//! ```text
//!   sources.rs   every .rs file of ours          module_tree.rs   one crate: modules, names, paths
//!       │                                              │
//!       ├─→ lengths.rs: files and functions            ├─→ circles.rs: files that use each other
//!       │                                              │   (references.rs: the paths of one module)
//!       └──────────────────────────────────────────────┴─→ type_names.rs: names given twice
//! ```
//!
//! It parses with `syn` and does not expand macros or read types. What that misses is said in the
//! head of `circles.rs`.

mod circles;
mod lengths;
mod module_tree;
mod references;
mod sources;
mod type_names;

use std::env;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use sources::Sources;

type Check = fn(&Sources) -> Result<Vec<String>, String>;

const CHECKS: [(&str, Check); 4] = [
    ("files", |sources| Ok(lengths::long_files(sources))),
    ("functions", |sources| Ok(lengths::long_functions(sources))),
    ("circles", circles::circles),
    ("names", |sources| Ok(type_names::repeated(sources))),
];

/// The arguments are the checks to make; all of them if there are none.
fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."));
    match Sources::read(root)
        .and_then(|sources| findings(&sources, &env::args().skip(1).collect::<Vec<_>>()))
    {
        Ok(findings) if findings.is_empty() => ExitCode::SUCCESS,
        Ok(findings) => {
            print(&findings.join("\n"));
            ExitCode::FAILURE
        }
        Err(why) => {
            print(&format!("tidy: {why}"));
            ExitCode::from(2)
        }
    }
}

fn findings(sources: &Sources, asked: &[String]) -> Result<Vec<String>, String> {
    let is_known = |name: &&String| CHECKS.iter().any(|(check, _)| check == name);
    if let Some(name) = asked.iter().find(|name| !is_known(name)) {
        let known = CHECKS.map(|(check, _)| check).join(", ");
        return Err(format!("no check {name}; there are {known}"));
    }
    let mut findings = Vec::new();
    for (name, check) in CHECKS {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            findings.extend(check(sources)?);
        }
    }
    Ok(findings)
}

fn print(lines: &str) {
    // A closed stdout changes nothing in the exit code.
    let _ignored = writeln!(io::stdout(), "{lines}");
}
