//! `host compile`: a component compiled within bounds, as `host serve` does it; and the child that does
//! it for either.

use std::io::{self, Write as _};

use host_code::ChildFailure;
use host_code::ChildOrders;

use crate::component::{self, CompiledFile, FileSizeLimit};
use crate::config::CompileConfig;
use crate::exit::Exit;
use crate::output::Output;
use host_log::outlet;
use host_system::huge_pages;

use crate::{cgroup, progress, resources};

/// Compiles one component and writes its code to a file, or to stdout.
#[must_use]
pub fn run(ask: &CompileConfig) -> Exit {
    let what = "host compile";
    match compile(ask) {
        Ok((Output::File(_), said)) => Exit::Clean.if_printed(what, outlet::print(&said)),
        Ok((Output::Stdout, said)) => {
            outlet::complain(said.trim_end());
            Exit::Clean
        }
        Err(why) => {
            outlet::complain(&format!("{what}: {why:#}"));
            Exit::NoStart
        }
    }
}

/// Gives where the code went, and a line about it.
fn compile(ask: &CompileConfig) -> anyhow::Result<(Output, String)> {
    let unwritten =
        |why: io::Error| anyhow::anyhow!("cannot write {}: {why}", ask.output.display());
    // Before a minute is spent on it.
    let output = Output::open(&ask.output, &ask.app).map_err(unwritten)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cgroup = cgroup::memory_limit();
    let largest = FileSizeLimit::new(ask.memory, cgroup);
    let bounds = (resources::compile(ask.time, ask.memory, cgroup), largest);
    let compiled = runtime.block_on(async {
        let compiled = component::compile_file(&ask.app, bounds, progress::say).await;
        progress::cleared().await;
        compiled
    });
    let CompiledFile { bytes, code, took } = compiled?;
    output.write(&bytes, &ask.app).map_err(unwritten)?;
    let (name, bytes) = (ask.output.display(), code);
    Ok((output, format!("{name}: {bytes} bytes of code, compiled in {took:.3?}\n")))
}

/// The child: stdin to stdout, within the bounds that these numbers say.
#[must_use]
pub fn child(numbers: &[u64]) -> Exit {
    // It computes, and holds all that it touches: what is said of a server's heap is not said of this one.
    drop(huge_pages::allow());
    let done = match ChildOrders::read(numbers) {
        Some(orders) => host_code::child::run(&orders),
        None => Err(ChildFailure::Unable(
            "this command is for the host itself; use `host compile`".into(),
        )),
    };
    match done {
        Ok(()) => Exit::Clean,
        Err(why) => {
            drop(writeln!(io::stderr(), "{why}"));
            Exit::Compiler(why.code())
        }
    }
}
