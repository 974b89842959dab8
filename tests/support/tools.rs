//! Programs that a host is run against, where they are installed. `.ci/run` installs them.

use std::process::{Command, Stdio};

/// Whether `tool` runs here. Where it does not, prints a sentence to stdout: the test shows nothing.
pub fn has(tool: &str, package: &str) -> bool {
    has_with(tool, "--version", package)
}

/// The same of one that tells its version if it is asked like this.
pub fn has_with(tool: &str, question: &str, package: &str) -> bool {
    let mut asked = Command::new(tool);
    asked.arg(question).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // One that is there and fails is none: a script in its place may ask for another package.
    let runs = asked.status().is_ok_and(|status| status.success());
    if !runs {
        println!("no {tool} runs here (Debian: apt-get install {package}), so nothing is shown");
    }
    runs
}
