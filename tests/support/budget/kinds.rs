//! The requests that have a budget: what is served, and how.

use std::path::PathBuf;
use std::{env, fs};

use crate::support::binary::{BINARY, guest};
use crate::support::host::Host;
use crate::support::site::Site;

/// A kind of request: `GET /` over a kept-alive connection of HTTP/1, answered by a hello.
#[derive(Debug)]
pub struct Kind {
    /// As the table calls it.
    pub name: &'static str,
    component: &'static str,
    /// A plugin before the component, which passes everything on.
    plugin: Option<&'static str>,
    args: &'static [&'static str],
}

/// All of them.
pub const KINDS: [Kind; 6] = [
    Kind { name: "0.2, fresh", component: "hello_p2", plugin: None, args: &[] },
    Kind { name: "0.3, fresh", component: "hello_p3", plugin: None, args: &[] },
    Kind { name: "0.2, reused", component: "hello_p2", plugin: None, args: &["--reuse", "100000"] },
    Kind {
        name: "0.3, reused",
        component: "hello_p3",
        plugin: None,
        args: &["--reuse", "100000", "--reuse-concurrency", "16"],
    },
    Kind { name: "0.2, a plugin", component: "hello_p2", plugin: Some("pass_p2"), args: &[] },
    Kind { name: "0.3, a plugin", component: "hello_p3", plugin: Some("pass_p3"), args: &[] },
];

/// Copies without `rep movsb`, which stops once for each byte under ptrace.
const PLAIN_COPIES: &str = "glibc.cpu.hwcaps=-ERMS";

impl Kind {
    /// The kind that the table calls `name`.
    pub fn named(name: &str) -> &'static Self {
        KINDS.iter().find(|kind| kind.name == name).expect("it is one of them")
    }

    /// A host that serves it with one worker.
    pub(super) fn serve(&self) -> (Host, Option<Site>) {
        let (serve, site) = match self.plugin {
            None => (Host::serve(self.component), None),
            Some(plugin) => {
                let site = Site::new(&format!(
                    "[component.app]\nsource = \"guest:{}\"\n[component.plugin]\nsource = \"guest:{plugin}\"\n\
                     [[route]]\npath = \"/\"\ncomponent = \"app\"\nchain = [\"plugin\"]\n",
                    self.component
                ));
                (site.serve(), Some(site))
            }
        };
        let serve = serve.program(&binary()).env("GLIBC_TUNABLES", PLAIN_COPIES);
        let more = env::var("HOST_BUDGET_ARGS").unwrap_or_default();
        let serve = serve.args(["--threads", "1"]).args(self.args.iter().copied());
        (serve.args(more.split_ascii_whitespace()).start(), site)
    }
}

/// Whether the guests are of the compiler that the table is for, rustup's. Debian's has no WASI below `std`: its
/// guests import less, and cost up to 10 % less.
pub fn guests_are_of_the_table() -> bool {
    let pass = fs::read(guest("pass_p2")).expect("it was built");
    // The paths of rustup's own `std`.
    pass.windows(RUSTUP.len()).any(|bytes| bytes == RUSTUP)
}

const RUSTUP: &[u8] = b"/rustc/";

/// The host that is measured: the built one, or `HOST_BUDGET_BINARY`.
pub(super) fn binary() -> PathBuf {
    env::var_os("HOST_BUDGET_BINARY").map_or_else(|| PathBuf::from(BINARY), PathBuf::from)
}
