//! A bucket of `wasi:keyvalue`, in its short and its long form.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::parse::spanned::Spanned;

/// The name of a store, or a table with it.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) store: Option<Spanned<String>>,
    pub(super) shared: Option<Spanned<String>>,
}

/// A bucket in a store.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["store"]))]
struct BucketTable {
    /// The name of a store.
    #[schemars(with = "String")]
    store: Option<Spanned<String>>,
    /// Components that say the same word here share what is in it.
    shared: Option<Spanned<String>>,
}

impl<'de> Deserialize<'de> for Bucket {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Both forms need a span of their own: `Spanned` of an untagged enum would lose the spans inside.
        let at = Spanned::<EitherForm>::deserialize(deserializer)?;
        Ok(match at.value {
            EitherForm::Name(value) => {
                Self { store: Some(Spanned { value, span: at.span }), shared: None }
            }
            EitherForm::Table(BucketTable { store, shared }) => Self { store, shared },
        })
    }
}

enum EitherForm {
    Name(String),
    Table(BucketTable),
}

impl<'de> Deserialize<'de> for EitherForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = EitherForm;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a store, or a table with `store`")
            }

            fn visit_str<E>(self, text: &str) -> Result<EitherForm, E> {
                Ok(EitherForm::Name(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EitherForm, A::Error> {
                BucketTable::deserialize(MapAccessDeserializer::new(map)).map(EitherForm::Table)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Bucket {
    fn schema_name() -> Cow<'static, str> {
        "Bucket".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<BucketTable>();
        json_schema!({
            "description": "The name of a store; or a table with it.",
            "anyOf": [{ "type": "string" }, table]
        })
    }
}
