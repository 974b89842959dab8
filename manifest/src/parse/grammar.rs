//! The grammar of a manifest, and reading one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{LazyLock, OnceLock};

use schemars::Schema;
use serde::Deserialize as _;
use toml::de::{DeTable, DeValue};

use super::ability::{AbilitySyntax, KeyTable};
use super::build::{self, WrittenAbilities};
use super::include::{self, NotIncluded, include};
use super::interpolate::Env;
use super::raw;
use super::reader::Reader;
use super::syntax::syntax;
use super::text_file::{is_passing, read};
use super::validate::Validation;
use crate::error::{ManifestError, Problem};
use crate::text::ManifestText;
use crate::{LoadContext, Manifest, abilities};

/// The grammar with the abilities of this crate.
static GRAMMAR: LazyLock<Grammar> = LazyLock::new(|| Grammar::new(abilities::ALL));

/// The grammar of a manifest: all keys, including those of abilities.
#[derive(Debug)]
pub struct Grammar {
    abilities: Vec<AbilitySyntax>,
    /// Made for the first manifest that is read: most processes of a host read none.
    rules: OnceLock<Rules>,
}

/// What the abilities come to.
#[derive(Debug)]
struct Rules {
    /// The keys of each ability, in their order.
    keys: Vec<Vec<String>>,
    /// In one piece, for the validation.
    schema: Schema,
}

impl Grammar {
    /// The grammar of a host with these abilities.
    #[must_use]
    pub fn new(abilities: impl IntoIterator<Item = AbilitySyntax>) -> Self {
        Self { abilities: abilities.into_iter().collect(), rules: OnceLock::new() }
    }

    fn rules(&self) -> &Rules {
        self.rules.get_or_init(|| Rules {
            keys: self.abilities.iter().map(raw::keys).collect(),
            schema: raw::schema(true, &self.abilities),
        })
    }

    /// Reads the manifest in `path` and fills in variables from `env`. Checks that the files and directories
    /// that it names exist and that guests cannot write to the host's own. Relative paths are relative to the
    /// directory of `path`; `context` has what the manifest does not say.
    ///
    /// # Errors
    /// All problems that can be reported at once.
    pub fn load(
        &self,
        path: &Path,
        env: Env<'_>,
        context: &LoadContext,
    ) -> Result<Manifest, ManifestError> {
        let text = read(path).map_err(|why| {
            let problem = Problem::nowhere(format!("{} cannot be read: {why}", path.display()));
            let problem = problem.help("name a manifest that is there, in UTF-8");
            ManifestError::new(path, "", vec![problem]).passing(is_passing(&why))
        })?;
        let mut text = ManifestText::new(path, &text);
        if let Err(NotIncluded { problem, passing }) = include(&mut text) {
            return Err(ManifestError::of(&text, vec![problem]).passing(passing));
        }
        self.examine(&text, true, env, Some(context))
    }

    /// Reads a manifest as if it stood in `file`, without looking at any file. Relative paths are
    /// relative to the directory of `file`.
    ///
    /// # Errors
    /// All problems that can be reported at once.
    pub fn parse(&self, text: &str, file: &Path, env: Env<'_>) -> Result<Manifest, ManifestError> {
        self.examine(&ManifestText::new(file, text), true, env, None)
    }

    /// The JSON Schema (2020-12) of a manifest, as text over several lines. Editors use it; `host schema`
    /// prints it.
    #[must_use]
    pub fn schema(&self) -> String {
        format!("{:#}", raw::schema(false, &self.abilities).as_value())
    }

    fn examine(
        &self,
        text: &ManifestText,
        is_file: bool,
        env: Env<'_>,
        look: Option<&LoadContext>,
    ) -> Result<Manifest, ManifestError> {
        let strange = include::check(text);
        if !strange.is_empty() {
            return Err(ManifestError::of(text, strange));
        }
        match self.interpret(text, is_file, env, look) {
            Ok((manifest, problems)) if problems.is_empty() => Ok(manifest),
            Ok((_, problems)) | Err(problems) => Err(ManifestError::of(text, problems)),
        }
    }

    /// Reads a text, which is that of a file or of flags. Use the result only if there are no problems.
    ///
    /// # Errors
    /// Problems for which nothing could be read.
    pub(super) fn interpret(
        &self,
        whole: &ManifestText,
        is_file: bool,
        env: Env<'_>,
        look: Option<&LoadContext>,
    ) -> Result<(Manifest, Vec<Problem>), Vec<Problem>> {
        let text = whole.as_str();
        let (mut table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            return Err(errors.iter().map(|error| syntax(error, text)).collect());
        }
        let mut validation = Validation::run(self.rules().schema.as_value(), &mut table);
        let spans = table.get_ref().clone();
        let abilities = self.take_abilities(table.get_mut());
        let raw = raw::Raw::deserialize(toml::Deserializer::from(table));
        let (abilities, raw) = match (abilities, raw) {
            (Ok(abilities), Ok(raw)) => (abilities, raw),
            (Err(error), _) | (_, Err(error)) => {
                validation.problems.push(syntax(&error, text));
                return Err(validation.problems);
            }
        };
        let mut reader = Reader::new(whole, env, look, spans, validation);
        let manifest = build::manifest(&mut reader, &raw, &abilities);
        reader.check_places(is_file);
        Ok((manifest, reader.problems))
    }

    /// Takes the keys of abilities out of the components of a file.
    fn take_abilities(&self, root: &mut DeTable<'_>) -> Result<WrittenAbilities, toml::de::Error> {
        let mut written = BTreeMap::new();
        let Some(DeValue::Table(components)) = root.get_mut("component").map(|it| it.get_mut())
        else {
            return Ok(written);
        };
        for (name, component) in components.iter_mut() {
            let span = component.span();
            let DeValue::Table(component) = component.get_mut() else { continue };
            let mut own = Vec::new();
            for (ability, keys) in self.abilities.iter().zip(&self.rules().keys) {
                let taken = match ability.place {
                    KeyTable::Component => ability.take(keys, component, span.clone()),
                    KeyTable::Grants => component.get_mut("grants").and_then(|grants| {
                        let span = grants.span();
                        let DeValue::Table(grants) = grants.get_mut() else { return None };
                        ability.take(keys, grants, span)
                    }),
                };
                own.extend(taken.transpose()?);
            }
            written.insert(name.get_ref().to_string(), own);
        }
        Ok(written)
    }
}

/// [`Grammar::load`], with the abilities of this crate.
///
/// # Errors
/// As there.
pub fn load(path: &Path, env: Env<'_>, context: &LoadContext) -> Result<Manifest, ManifestError> {
    GRAMMAR.load(path, env, context)
}

/// [`Grammar::parse`], with the abilities of this crate.
///
/// # Errors
/// As there.
pub fn parse(text: &str, file: &Path, env: Env<'_>) -> Result<Manifest, ManifestError> {
    GRAMMAR.parse(text, file, env)
}

/// [`Grammar::schema`], with the abilities of this crate.
#[must_use]
pub fn schema() -> String {
    GRAMMAR.schema()
}
