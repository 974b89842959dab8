//! The thin shell around the library: arguments in, exit code out.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};

use host::component::manifest_grammar;
use host::config::args::{self, Invocation};
use host::exit::Exit;
use host::{artefacts, check, compile, completions, ctl, dev, drain_test, init, man, new, serve};
use host_log::outlet;
use host_systemd::HandedSockets;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    host_lifecycle::set_signal_mask();
    // Before anything is opened, and while there is one thread.
    let sockets = HandedSockets::take();
    let exit = match args::parse(env::args_os(), manifest_grammar()) {
        Ok(Invocation::Serve(config)) => match config.log_filter() {
            Ok(_) if config.dry_run => check::dry_run(&config),
            Ok(filter) => serve::run(&config, filter, sockets),
            Err(why) => {
                outlet::complain(&format!("host: {why}"));
                Exit::Usage
            }
        },
        Ok(Invocation::Schema) => {
            let schema = format!("{}\n", manifest_grammar().schema());
            Exit::Clean.if_printed("host schema", outlet::pass(schema.as_bytes()))
        }
        Ok(Invocation::New(ask)) => new::run(&ask),
        Ok(Invocation::Init(ask)) => init::run(&ask),
        Ok(Invocation::Dev(ask)) => dev::run(&ask, sockets),
        Ok(Invocation::Check(ask)) => check::run(&ask),
        Ok(Invocation::Lock(ask)) => artefacts::lock(&ask),
        Ok(Invocation::Push(ask)) => artefacts::push(&ask),
        Ok(Invocation::Sign(ask)) => artefacts::sign(&ask),
        Ok(Invocation::Verify(ask)) => artefacts::verify(&ask),
        Ok(Invocation::Compile(ask)) => compile::run(&ask),
        Ok(Invocation::Compiler(numbers)) => compile::child(&numbers),
        Ok(Invocation::Launch(line)) => launch(&line),
        Ok(Invocation::Ctl(ask)) => ctl::run(&ask),
        Ok(Invocation::DrainTest(ask)) => drain_test::run(&ask),
        Ok(Invocation::Completions(shell, name)) => completions::run(shell, name),
        Ok(Invocation::Man(directory, name)) => man::run(&directory, name),
        Err(why) => {
            let printed = why.print().and_then(|()| io::stdout().flush());
            match printed {
                _ if why.use_stderr() => Exit::Usage,
                // If stdout is closed, there is no reader.
                Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Exit::Clean,
                printed => Exit::Clean.if_printed("host", printed),
            }
        }
    };
    exit.leave()
}

/// The process between a host that is upgraded and its successor.
fn launch(line: &[OsString]) -> Exit {
    match line {
        [program, arguments @ ..] => Exit::Same(host_handover::launch(program, arguments)),
        [] => Exit::Usage,
    }
}
