//! `host compile`: a component compiled within bounds, as `host serve` does it; and the child that does
//! it for either.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use host_code::child::End;
use host_code::{Artefact, Orders};

use crate::component;
use crate::config::Compile;
use crate::exit::Exit;
use crate::progress;
use crate::resources;

/// Compiles one component and writes its code to a file.
#[must_use]
pub fn run(ask: &Compile) -> Exit {
    match compile(ask) {
        Ok(said) => {
            // Whoever closed our stdout does not want to read it.
            drop(writeln!(io::stdout(), "{said}"));
            Exit::Clean
        }
        Err(why) => {
            drop(writeln!(io::stderr(), "host compile: {why:#}"));
            Exit::NoStart
        }
    }
}

fn compile(ask: &Compile) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bounds = (resources::compile(ask.time, ask.memory), resources::file(ask.memory));
    let compiled = runtime.block_on(async {
        let compiled = component::compile_file(&ask.app, bounds, progress::say).await;
        progress::cleared().await;
        compiled
    });
    let (artefact, took) = compiled?;
    write(&ask.output, &artefact)
        .map_err(|why| anyhow::anyhow!("cannot write {}: {why}", ask.output.display()))?;
    Ok(report(&ask.output, &artefact, took))
}

fn report(output: &Path, artefact: &Artefact, took: Duration) -> String {
    let (output, bytes) = (output.display(), artefact.bytes().len());
    format!("{output}: {bytes} bytes of code, compiled in {took:.3?}")
}

/// Writes beside the place and renames: nobody sees half of it.
fn write(output: &Path, artefact: &Artefact) -> io::Result<()> {
    let mut name = output.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", process::id()));
    let new: PathBuf = output.with_file_name(name);
    let written = fs::write(&new, artefact.bytes()).and_then(|()| fs::rename(&new, output));
    if written.is_err() {
        fs::remove_file(&new).ok();
    }
    written
}

/// The child: stdin to stdout, within the bounds that these numbers say.
#[must_use]
pub fn child(numbers: &[u64]) -> Exit {
    let done = match Orders::read(numbers) {
        Some(orders) => host_code::child::run(&orders),
        None => Err(End::Unable("this command is for the host itself; use `host compile`".into())),
    };
    match done {
        Ok(()) => Exit::Clean,
        Err(why) => {
            drop(writeln!(io::stderr(), "{why}"));
            Exit::Compiler(why.code())
        }
    }
}
