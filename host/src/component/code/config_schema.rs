//! The JSON Schema that a component carries for what `wasi:config` answers it: a custom section of the component, or of
//! a module in it, so that a wrong configuration is refused before the component runs.

use std::error::Error;

use boon::{CompileError, Compiler, ErrorKind, SchemaIndex, Schemas, UrlLoader, ValidationError};
use host_manifest::escape::quote;
use host_manifest::{ConfigLine, WasiConfigValues};
use serde_json::Value;

/// The name of the section. Its content is the text of the schema.
pub(super) const SECTION: &str = "host:config-schema";

/// A larger one is refused: it is read by this process.
const LARGEST: usize = 64 << 10;

/// What the schema is called among its own references.
const PLACE: &str = "config.json";

/// The schema of a component's configuration: of an object with texts.
pub(crate) struct ConfigSchema {
    schemas: Schemas,
    root: SchemaIndex,
}

/// What is wrong with a configuration, without its values.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigFault {
    /// In a sentence.
    pub(crate) why: String,
    /// The line of the manifest, if it is known.
    pub(crate) line: Option<ConfigLine>,
}

/// A schema refers to nothing outside of itself: this process fetches nothing for a stranger.
struct NothingElse;

impl UrlLoader for NothingElse {
    fn load(&self, _: &str) -> Result<Value, Box<dyn Error>> {
        Err("it refers to another document, and only what is in it counts".into())
    }
}

impl ConfigSchema {
    /// Reads the content of the section.
    ///
    /// # Errors
    /// In one line, what is wrong with it.
    pub(crate) fn read(text: &[u8]) -> Result<Self, String> {
        if text.len() > LARGEST {
            return Err(format!("it has more than {LARGEST} bytes"));
        }
        let schema: Value = serde_json::from_slice(text).map_err(|why| quote(&why.to_string()))?;
        let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
        compiler.use_loader(Box::new(NothingElse));
        let wrong = |why: CompileError| quote(&format!("{why:#}"));
        compiler.add_resource(PLACE, schema).map_err(wrong)?;
        let root = compiler.compile(PLACE, &mut schemas).map_err(wrong)?;
        Ok(Self { schemas, root })
    }

    /// Whether these values fit.
    ///
    /// # Errors
    /// The first that does not.
    pub(crate) fn check(&self, values: &WasiConfigValues) -> Result<(), ConfigFault> {
        let text = |value: &host_manifest::ConfigValue| {
            (value.key.clone(), Value::String(value.value.reveal().to_owned()))
        };
        let object = Value::Object(values.0.iter().map(text).collect());
        let Err(why) = self.schemas.validate(&object, self.root) else { return Ok(()) };
        let why = innermost(&why);
        let key = why.instance_location.to_string();
        let key = key.trim_start_matches('/').replace("~1", "/").replace("~0", "~");
        let line = values.0.iter().find(|value| value.key == key || names(&why.kind, &value.key));
        let line = line.map(|value| &value.line).or_else(|| values.line()).cloned();
        Err(ConfigFault { why: sentence(&key, &why.kind), line })
    }
}

/// The error that has no other one for its cause.
fn innermost<'a, 's, 'v>(mut error: &'a ValidationError<'s, 'v>) -> &'a ValidationError<'s, 'v> {
    while let Some(cause) = error.causes.first() {
        error = cause;
    }
    error
}

/// Whether the error is about this key.
fn names(kind: &ErrorKind<'_, '_>, key: &str) -> bool {
    matches!(kind, ErrorKind::AdditionalProperties { got } if got.iter().any(|got| got == key))
}

/// Never shows a value: it may be a secret.
fn sentence(key: &str, kind: &ErrorKind<'_, '_>) -> String {
    let list = |words: &[&str]| quote(&words.join(", "));
    let what = match kind {
        ErrorKind::Required { want } => return format!("config lacks {}", list(want)),
        ErrorKind::AdditionalProperties { got } => {
            let got: Vec<&str> = got.iter().map(AsRef::as_ref).collect();
            return format!("config.{} means nothing to it; leave it out", list(&got));
        }
        ErrorKind::Enum { want } => {
            let want: Vec<&str> = want.iter().filter_map(Value::as_str).collect();
            format!("is none of {}", list(&want))
        }
        ErrorKind::Const { want } => format!("is not {}", quote(&want.to_string())),
        ErrorKind::Pattern { want, .. } => format!("is not of the form {}", quote(want)),
        ErrorKind::Format { want, .. } => format!("is no {want}"),
        ErrorKind::MinLength { want, .. } => format!("is shorter than {want}"),
        ErrorKind::MaxLength { want, .. } => format!("is longer than {want}"),
        ErrorKind::Type { .. } => "is a text, and its schema wants none".to_owned(),
        _ => "does not fit its schema".to_owned(),
    };
    match key {
        "" => format!("config {what}"),
        key => format!("config.{} {what}", quote(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host_manifest::ConfigValue;

    const SCHEMA: &str = r#"{
        "type": "object",
        "properties": {
            "rate": { "type": "string", "pattern": "^[0-9]+/(s|m|h)$" },
            "mode": { "enum": ["soft", "hard"] }
        },
        "required": ["rate"],
        "additionalProperties": false
    }"#;

    fn check(schema: &str, values: &[(&str, &str)]) -> Result<(), (String, Option<usize>)> {
        let values = values.iter().enumerate().map(|(at, (key, value))| ConfigValue {
            key: (*key).to_owned(),
            value: (*value).into(),
            line: ConfigLine { number: at + 1, included: None },
        });
        let schema = ConfigSchema::read(schema.as_bytes()).unwrap();
        let checked = schema.check(&WasiConfigValues(values.collect()));
        checked.map_err(|fault| (fault.why, fault.line.map(|line| line.number)))
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_line_and_without_its_value() {
        assert_eq!(check(SCHEMA, &[("rate", "10/s"), ("mode", "soft")]), Ok(()));
        for (values, why, line) in [
            (&[("mode", "soft")][..], "config lacks rate", Some(1)),
            (&[], "config lacks rate", None),
            (
                &[("mode", "soft"), ("rate", "secret")],
                "config.rate is not of the form ^[0-9]+/(s|m|h)$",
                Some(2),
            ),
            (&[("mode", "secret"), ("rate", "1/s")], "config.mode is none of soft, hard", Some(1)),
            (
                &[("rate", "1/s"), ("rat", "secret")],
                "config.rat means nothing to it; leave it out",
                Some(2),
            ),
        ] {
            assert_eq!(check(SCHEMA, values), Err((why.to_owned(), line)));
        }
    }

    #[test]
    fn schema_that_is_none_is_refused_and_nothing_is_fetched_for_it() {
        let refused = |text: &[u8]| ConfigSchema::read(text).err().expect("it is refused");
        assert!(refused(&[b' '; LARGEST + 1]).contains("bytes"));
        assert!(refused(b"{").contains("EOF"));
        assert!(refused(br#"{ "type": 1 }"#).contains("not valid"));
        for url in ["file:///etc/passwd", "http://127.0.0.1:1/a", "other.json"] {
            let why = refused(format!(r#"{{ "$ref": "{url}" }}"#).as_bytes());
            assert!(why.contains("another document"), "{why}");
        }
        let deep = format!("{}{}", r#"{"not":"#.repeat(10_000), "}".repeat(10_000));
        refused(deep.as_bytes());
    }

    #[test]
    fn schema_that_goes_in_circles_refuses_and_ends() {
        check(r##"{ "$ref": "#" }"##, &[]).unwrap_err();
        let pattern = r#"{ "properties": { "a": { "pattern": "^(a+)+$" } } }"#;
        check(pattern, &[("a", &format!("{}b", "a".repeat(10_000)))]).unwrap_err();
    }
}
