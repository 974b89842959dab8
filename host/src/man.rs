//! `host man`, hidden: a page for the program and for each command that people give. Packages ship them.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, fs};

use clap_mangen::Man;
use host_log::outlet;

use crate::config::args;
use crate::exit::Exit;

/// What the page of the program says beyond its commands.
const BEYOND: &str = include_str!("man.roff");

/// Its first second: days of it have no text.
const YEAR_10000: u64 = 253_402_300_800;

/// Writes the pages of a program of this name into this directory.
#[must_use]
pub fn run(directory: &Path, name: &'static str) -> Exit {
    match write(directory, name) {
        Ok(()) => Exit::Clean,
        Err(why) => {
            let place = directory.display();
            outlet::complain(&format!("host man: cannot write to {place}: {why}"));
            Exit::NoStart
        }
    }
}

fn write(directory: &Path, name: &'static str) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut program = args::visible(name).disable_help_subcommand(true);
    program.build();
    let mut commands = vec![program];
    while let Some(command) = commands.pop() {
        let subcommands = command.get_subcommands().filter(|it| !it.is_hide_set());
        commands.extend(subcommands.cloned());
        let is_program = command.get_name() == name;
        let page = Man::new(command).date(date()).manual("host").source(source());
        let mut text = Vec::new();
        page.render(&mut text)?;
        // Before a list of values, where one is enough and mandoc warns of two.
        let text = String::from_utf8_lossy(&text).replace(".br\n\n.br\n", ".sp\n");
        let end = match is_program {
            true => BEYOND.to_owned(),
            false => format!(".SH \"SEE ALSO\"\n.BR {name} (1)\n"),
        };
        fs::write(directory.join(page.get_filename()), text + &end)?;
    }
    Ok(())
}

/// Under the last line of a page.
fn source() -> String {
    format!("host {}", env!("CARGO_PKG_VERSION"))
}

/// The day of what is packaged, by the convention of reproducible builds; without it today.
fn date() -> String {
    let seconds = env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let seconds = seconds.filter(|seconds| *seconds < YEAR_10000);
    let moment = seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    let moment = humantime::format_rfc3339_seconds(moment.unwrap_or_else(SystemTime::now));
    let moment = moment.to_string();
    moment.split_once('T').map(|(day, _)| day.to_owned()).unwrap_or_default()
}
