//! Configuration: text by name, read into what a plugin works with.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::imports::wasi::config::store;

/// What a plugin makes of its configuration.
pub trait Settings: Sized + 'static {
    /// The error is a sentence for the operator, and names the key.
    fn read(config: &mut Config) -> Result<Self, String>;
}

/// What the manifest says under `config`. A key that nobody asks for is refused: it is a misspelt one.
#[derive(Debug, Default)]
pub struct Config {
    values: BTreeMap<String, String>,
    known: Vec<&'static str>,
}

impl Config {
    /// Reads all of it into the settings of a plugin.
    pub fn read<S: Settings>() -> Result<S, String> {
        let values = store::get_all().map_err(|error| format!("no configuration: {error:?}"))?;
        let mut config = Self { values: values.into_iter().collect(), known: Vec::new() };
        let settings = S::read(&mut config)?;
        let Some(key) = config.values.keys().next() else { return Ok(settings) };
        config.known.sort_unstable();
        Err(match config.known.is_empty() {
            true => format!("config.{key} is not known; there is nothing to configure"),
            false => format!("config.{key} is not known; known are {}", config.known.join(", ")),
        })
    }

    /// The text of a key.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        self.known.push(key);
        self.values.remove(key)
    }

    /// The text of a key that has to be there.
    pub fn needed(&mut self, key: &'static str) -> Result<String, String> {
        let value = self.text(key).filter(|text| !text.trim().is_empty());
        value.ok_or_else(|| format!("config.{key} is needed"))
    }

    /// The words of a list, between white space; `default` where there is none.
    pub fn words(&mut self, key: &'static str, default: &str) -> Vec<String> {
        let text = self.text(key).unwrap_or_else(|| default.to_owned());
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// A whole number.
    pub fn number(
        &mut self,
        key: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Result<u64, String> {
        let Some(text) = self.text(key) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let (from, to) = range.into_inner();
            format!("config.{key}: {text:?} is no whole number from {from} to {to}")
        })
    }

    /// `true` or `false`; false where nothing is said.
    pub fn flag(&mut self, key: &'static str) -> Result<bool, String> {
        match self.text(key).as_deref() {
            Some("true") => Ok(true),
            None | Some("false") => Ok(false),
            Some(text) => Err(format!("config.{key}: {text:?} is neither true nor false")),
        }
    }
}
