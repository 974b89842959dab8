//! A value that is written as a text, or as a table that says more.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::spanned::Spanned;

/// `"text"`, or `{ key = … }`.
#[derive(Clone, Debug)]
pub(crate) enum TextOr<T> {
    /// The short form.
    Text(Spanned<String>),
    /// The long form.
    Table(Spanned<T>),
}

impl<T> TextOr<T> {
    /// Where it is written.
    pub(crate) fn span(&self) -> Range<usize> {
        match self {
            Self::Text(text) => text.span.clone(),
            Self::Table(table) => table.span.clone(),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Both forms need a span of their own: `Spanned` of an untagged enum would lose the spans inside.
        let Spanned { value, span } = Spanned::<Either<T>>::deserialize(deserializer)?;
        Ok(match value {
            Either::Text(value) => Self::Text(Spanned { value, span }),
            Either::Table(value) => Self::Table(Spanned { value, span }),
        })
    }
}

enum Either<T> {
    Text(String),
    Table(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Either<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for EitherVisitor<T> {
            type Value = Either<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a table")
            }

            fn visit_str<E>(self, text: &str) -> Result<Either<T>, E> {
                Ok(Either::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Either<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Either::Table)
            }
        }

        deserializer.deserialize_any(EitherVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for TextOr<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("TextOr{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [{ "type": "string" }, table] })
    }
}
