//! Manifests of one chain.

use std::fmt::Write as _;

use super::host::Host;
use super::site::Site;

/// A manifest of one chain, for every path. The plugins are called `one`, `two` and `three`, the component
/// behind them `app`. Guests that read a configuration get their own name in it, as `mark`.
#[derive(Clone, Debug)]
#[must_use]
pub struct Chain {
    stops: Vec<(&'static str, String, String)>,
    rest: String,
}

const NAMES: [&str; 3] = ["one", "two", "three"];

impl Chain {
    /// A chain of these guests.
    pub fn new(plugins: &[&str], app: &str) -> Self {
        let named = NAMES.into_iter().zip(plugins).chain([("app", &app)]);
        let stop = |(name, guest): (&'static str, &&str)| {
            // The host warns about unused grants.
            let reads = guest.starts_with("mark") || guest.starts_with("grants");
            let config = if reads { format!("config.mark = \"{name}\"\n") } else { String::new() };
            (name, (*guest).to_owned(), config)
        };
        Self { stops: named.map(stop).collect(), rest: String::new() }
    }

    /// Adds a line to the table of the component called `name`.
    pub fn say(mut self, name: &str, line: &str) -> Self {
        let stop = self.stops.iter_mut().find(|stop| stop.0 == name).expect("a name of ours");
        writeln!(stop.2, "{line}").expect("a string takes all");
        self
    }

    /// Adds tables at the end.
    pub fn and(mut self, tables: &str) -> Self {
        writeln!(self.rest, "{tables}").expect("a string takes all");
        self
    }

    /// Its text, for [`Site::new`].
    pub fn toml(&self) -> String {
        let mut toml = String::new();
        for (name, guest, lines) in &self.stops {
            writeln!(toml, "[component.{name}]\nsource = \"guest:{guest}\"\n{lines}")
                .expect("text");
        }
        let plugins = &self.stops[..self.stops.len() - 1];
        let chain: Vec<_> = plugins.iter().map(|(name, ..)| format!("{name:?}")).collect();
        let chain = chain.join(", ");
        format!(
            "{toml}[[route]]\npath = \"/\"\ncomponent = \"app\"\nchain = [{chain}]\n{}",
            self.rest
        )
    }

    /// A host that serves this chain.
    #[track_caller]
    pub fn start(&self) -> Host {
        Site::new(&self.toml()).serve().start()
    }

    /// The same with a control socket.
    #[track_caller]
    pub fn start_with_control(&self) -> Host {
        Site::new(&self.toml()).serve().control().start()
    }
}
