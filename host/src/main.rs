//! The thin shell around the library: arguments in, exit code out.

use std::env;
use std::io::{self, Write as _};

use host::config::args::{self, Job};
use host::config::log_filter;
use host::exit::Exit;
use host::{check, compile, ctl, lifecycle, outlet, serve};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    lifecycle::set_signal_mask();
    let exit = match args::parse(env::args_os()) {
        Ok(Job::Serve(config)) => match log_filter() {
            Ok(_) if config.dry_run => check::dry_run(&config),
            Ok(filter) => serve::run(&config, filter),
            Err(why) => {
                drop(writeln!(outlet::stderr(), "host: {why}"));
                Exit::Usage
            }
        },
        Ok(Job::Schema) => {
            // Whoever closed our stdout does not want to read it.
            drop(writeln!(outlet::stdout(), "{}", host_manifest::schema()));
            Exit::Clean
        }
        Ok(Job::Check(ask)) => check::run(&ask),
        Ok(Job::Compile(ask)) => compile::run(&ask),
        Ok(Job::Compiler(numbers)) => compile::child(&numbers),
        Ok(Job::Ctl(ask)) => ctl::run(&ask),
        Err(why) => {
            // Whoever closed our stdout or stderr does not want to read it.
            drop(why.print());
            if why.use_stderr() { Exit::Usage } else { Exit::Clean }
        }
    };
    drop(io::stdout().flush());
    exit.leave()
}
