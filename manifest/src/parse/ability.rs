//! An ability of guests, as the manifest knows it: its keys, how they are read, and what comes of them.
//!
//! The parser knows no ability by name. It is handed a list of them, so an ability that is written
//! elsewhere, beside its imports, has its keys checked, documented in the schema and read like those here.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use toml::Spanned as TomlSpanned;
use toml::de::DeTable;

use super::reader::Reader;
use crate::grants::{AbilityConfig, AnyConfig, GrantsConfig, Stdio};
use crate::outgoing::Reach;

/// In which table of a component the keys of an ability stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyTable {
    /// `[component.NAME]`.
    Component,
    /// `[component.NAME.grants]`.
    Grants,
}

/// The keys of an ability, as they are written. The comments of its fields are their descriptions in the
/// schema, from which `docs/manifest.md` is checked.
pub trait AbilityTable: DeserializeOwned + JsonSchema + 'static {
    /// Where they stand.
    const TABLE: KeyTable;

    /// What they come to.
    type Config: AbilityConfig;

    /// Checks what is written, and complains to `reader`. None where nothing is granted.
    fn read(&self, reader: &mut Reader<'_>) -> Option<Self::Config>;
}

/// How an ability is written in a manifest: what the parser is handed of it.
#[derive(Clone, Copy)]
pub struct AbilitySyntax {
    pub(super) place: KeyTable,
    pub(super) schema: fn(&mut SchemaGenerator) -> Schema,
    take: fn(TomlSpanned<DeTable<'_>>) -> Result<WrittenAbility, toml::de::Error>,
}

impl AbilitySyntax {
    /// That of this table.
    #[must_use]
    pub const fn new<T: AbilityTable>() -> Self {
        Self { place: T::TABLE, schema: T::json_schema, take: take::<T> }
    }

    /// Takes the `keys` of this ability out of `table`, which stands at `span`. None if there are none.
    pub(super) fn take(
        &self,
        keys: &[String],
        table: &mut DeTable<'_>,
        span: Range<usize>,
    ) -> Option<Result<WrittenAbility, toml::de::Error>> {
        let mut own = DeTable::new();
        for key in keys {
            if let Some((key, value)) = table.remove_entry(key.as_str()) {
                own.insert(key, value);
            }
        }
        (!own.is_empty()).then(|| (self.take)(TomlSpanned::new(span, own)))
    }
}

impl fmt::Debug for AbilitySyntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbilitySyntax").field("place", &self.place).finish_non_exhaustive()
    }
}

fn take<T: AbilityTable>(
    table: TomlSpanned<DeTable<'_>>,
) -> Result<WrittenAbility, toml::de::Error> {
    let table = T::deserialize(toml::Deserializer::from(table))?;
    Ok(WrittenAbility(Box::new(table)))
}

/// What a component says of one ability, not yet checked.
pub(super) struct WrittenAbility(Box<dyn ReadConfig>);

trait ReadConfig {
    fn read_config(&self, reader: &mut Reader<'_>) -> Option<Arc<dyn AnyConfig>>;
}

impl<T: AbilityTable> ReadConfig for T {
    fn read_config(&self, reader: &mut Reader<'_>) -> Option<Arc<dyn AnyConfig>> {
        self.read(reader).map(|config| Arc::new(config) as _)
    }
}

/// What is granted by all that a component says.
pub(super) fn read_grants(
    reader: &mut Reader<'_>,
    written: &[WrittenAbility],
    (stdio, reach): (Stdio, Reach),
) -> GrantsConfig {
    let abilities = written.iter().filter_map(|it| it.0.read_config(reader)).collect();
    GrantsConfig { stdio, reach, abilities }
}
