//! `host completions`.

use clap_complete::{Shell, generate};
use host_log::outlet;

use crate::config::args::{self, CompletingShell};
use crate::exit::Exit;

/// Prints what completes the command line of a program of this name in this shell.
#[must_use]
pub fn run(shell: CompletingShell, name: &'static str) -> Exit {
    let script = match shell {
        CompletingShell::Bash => bash(name),
        CompletingShell::Zsh => script(Shell::Zsh, name),
        CompletingShell::Fish => script(Shell::Fish, name),
    };
    Exit::Clean.if_printed("host completions", outlet::pass(script.as_bytes()))
}

fn script(shell: Shell, name: &'static str) -> String {
    let mut script = Vec::new();
    generate(shell, &mut args::visible(name), name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// `clap_complete` 4.6 names functions for subcommands in two ways if there is a `-` in the name of the program, and
/// then completes none of them. What it makes of `host` goes by the name that was typed, so only its last lines, which
/// say what is completed, need the other name.
fn bash(name: &str) -> String {
    let script = script(Shell::Bash, "host");
    let mut named = String::new();
    for line in script.lines() {
        let is_last = line.trim_start().starts_with("complete -F ");
        match line.strip_suffix("host").filter(|_| is_last) {
            Some(line) => named += &format!("{line}{name}\n"),
            None => named += &format!("{line}\n"),
        }
    }
    named
}
