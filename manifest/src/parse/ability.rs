//! An ability of guests as the manifest sees it: its keys, how they are read, and the config they become.
//!
//! The parser knows no ability by name; it is given a list. So the keys of an ability from another crate,
//! beside its imports, are checked, documented in the schema and read in the same way as those here.

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

/// The table of a component that holds the keys of an ability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyTable {
    /// `[component.NAME]`.
    Component,
    /// `[component.NAME.grants]`.
    Grants,
}

/// The keys of an ability as they are written. The doc comments of its fields become their descriptions in the
/// schema, and `docs/manifest.md` is checked against that.
pub trait AbilityTable: DeserializeOwned + JsonSchema + 'static {
    /// The table that the keys stand in.
    const TABLE: KeyTable;

    /// The config that the keys become.
    type Config: AbilityConfig;

    /// Checks the keys, and reports problems to `reader`. None without a grant.
    fn read(&self, reader: &mut Reader<'_>) -> Option<Self::Config>;
}

/// The parser's view of an ability.
#[derive(Clone, Copy)]
pub struct AbilitySyntax {
    pub(super) place: KeyTable,
    pub(super) schema: fn(&mut SchemaGenerator) -> Schema,
    take: fn(TomlSpanned<DeTable<'_>>) -> Result<WrittenAbility, toml::de::Error>,
}

impl AbilitySyntax {
    /// The syntax of this table.
    #[must_use]
    pub const fn new<T: AbilityTable>() -> Self {
        Self { place: T::TABLE, schema: T::json_schema, take: take::<T> }
    }

    /// Takes the `keys` of this ability out of `table`, which stands at `span`. None if it has none of them.
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

/// A component's keys of one ability, not yet checked.
pub(super) struct WrittenAbility(Box<dyn ReadConfig>);

trait ReadConfig {
    fn read_config(&self, reader: &mut Reader<'_>) -> Option<Arc<dyn AnyConfig>>;
}

impl<T: AbilityTable> ReadConfig for T {
    fn read_config(&self, reader: &mut Reader<'_>) -> Option<Arc<dyn AnyConfig>> {
        self.read(reader).map(|config| Arc::new(config) as _)
    }
}

/// The grants from all abilities of a component.
pub(super) fn read_grants(
    reader: &mut Reader<'_>,
    written: &[WrittenAbility],
    (stdio, reach): (Stdio, Reach),
) -> GrantsConfig {
    let abilities = written.iter().filter_map(|it| it.0.read_config(reader)).collect();
    GrantsConfig { stdio, reach, abilities }
}
