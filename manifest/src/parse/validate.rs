//! Checks the file against its schema before it is read: reports all unknown keys, values of the wrong type and
//! missing keys at once, where `serde` would stop at the first.

use std::borrow::Cow;
use std::mem;
use std::ops::Range;

use serde_json::Value;
use toml::Spanned as TomlSpanned;
use toml::de::{DeTable, DeValue};

use super::suggest::nearest;
use crate::error::Problem;

/// The result of a validation.
pub(super) struct Validation {
    pub(super) problems: Vec<Problem>,
    /// Tables with a key that was wrong and was taken out. A key that seems to be missing there may be that one.
    pub(super) damaged: Vec<Range<usize>>,
    /// False if a key was taken out at the top, or a whole component.
    pub(super) whole: bool,
}

impl Validation {
    /// Takes the parts that do not fit `schema` (one piece, without references) out of the file.
    pub(super) fn run(schema: &Value, root: &mut TomlSpanned<DeTable<'_>>) -> Self {
        let mut validation = Self { problems: Vec::new(), damaged: Vec::new(), whole: true };
        let span = root.span();
        validation.table(schema, root.get_mut(), span, "");
        validation
    }

    fn table(&mut self, schema: &Value, table: &mut DeTable<'_>, span: Range<usize>, name: &str) {
        let mut damaged = false;
        for (key, mut value) in mem::take(table) {
            let inside = match name {
                "" => key.get_ref().to_string(),
                name => format!("{name}.{}", key.get_ref()),
            };
            let fits = match child(schema, key.get_ref()) {
                Some(child) => self.value(child, &mut value, &inside),
                None => {
                    self.problems.push(unknown(schema, &key, name));
                    false
                }
            };
            if fits {
                table.insert(key, value);
            }
            damaged |= !fits;
        }
        if damaged {
            self.whole &= !matches!(name, "" | "component");
            self.damaged.push(span);
            return;
        }
        for key in strings(schema, "required") {
            if !table.contains_key(key) {
                self.problems.push(
                    Problem::new(span.clone(), format!("{} has no `{key}`", describe(name)))
                        .label("in this table")
                        .help(missing(schema, key)),
                );
                self.damaged.push(span.clone());
            }
        }
    }

    /// Whether `value` has a type that `schema` allows. Also checks its content then.
    fn value(&mut self, schema: &Value, value: &mut TomlSpanned<DeValue<'_>>, name: &str) -> bool {
        let span = value.span();
        let Some(schema) = alternative(schema, value.get_ref()) else {
            self.problems.push(mistyped(schema, value, name));
            return false;
        };
        match value.get_mut() {
            DeValue::Table(table) => self.table(schema, table, span, name),
            DeValue::Array(array) => {
                let Some(items) = schema.get("items") else { return true };
                let mut fits = true;
                for item in array.iter_mut() {
                    fits &= self.value(items, item, name);
                }
                return fits;
            }
            DeValue::Integer(number) => {
                let small = schema.get("minimum").and_then(Value::as_i64) == Some(0)
                    && number.as_str().starts_with('-');
                if small || i64::from_str_radix(number.as_str(), number.radix()).is_err() {
                    self.problems.push(
                        Problem::new(span, format!("`{name}` is a number from 0 upwards"))
                            .help("write a whole number, such as 100"),
                    );
                    return false;
                }
            }
            _ => {}
        }
        true
    }
}

fn child<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    schema
        .get("properties")
        .and_then(|properties| properties.get(key))
        .or_else(|| schema.get("additionalProperties").filter(|more| more.is_object()))
}

/// The part of `schema` for values of this type.
fn alternative<'a>(schema: &'a Value, value: &DeValue<'_>) -> Option<&'a Value> {
    if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
        return any.iter().find_map(|schema| alternative(schema, value));
    }
    let word = match value {
        DeValue::String(_) => "string",
        DeValue::Integer(_) => "integer",
        DeValue::Boolean(_) => "boolean",
        DeValue::Array(_) => "array",
        DeValue::Table(_) => "object",
        DeValue::Float(_) | DeValue::Datetime(_) => return None,
    };
    types(schema).contains(&word).then_some(schema)
}

/// The keys of a table, or of the first alternative that is one.
fn table_keys(schema: &Value) -> Option<&Value> {
    let any = || schema.get("anyOf").and_then(Value::as_array)?.iter().find_map(table_keys);
    schema.get("properties").or_else(any)
}

fn types(schema: &Value) -> Vec<&str> {
    if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
        return any.iter().flat_map(types).collect();
    }
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        _ => strings(schema, "type"),
    }
}

fn strings<'a>(schema: &'a Value, key: &str) -> Vec<&'a str> {
    let list = schema.get(key).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn describe(table: &str) -> String {
    match table {
        "" => "the manifest".into(),
        table => format!("`{table}`"),
    }
}

fn unknown(schema: &Value, key: &TomlSpanned<Cow<'_, str>>, table: &str) -> Problem {
    let written = key.get_ref();
    let properties = schema.get("properties").and_then(Value::as_object);
    let known: Vec<&str> =
        properties.into_iter().flat_map(|keys| keys.keys()).map(String::as_str).collect();
    let deeper = known.iter().find(|inner| {
        let inner = properties.and_then(|keys| keys.get(**inner));
        inner.and_then(table_keys).is_some_and(|keys| keys.get(written.as_ref()).is_some())
    });
    let help = match (nearest(written, known.iter().copied()), deeper) {
        (_, Some(deeper)) if table.is_empty() => format!("`{written}` belongs into [{deeper}]"),
        (_, Some(deeper)) => format!("`{written}` belongs into [{table}.{deeper}]"),
        (Some(near), None) => format!("did you mean `{near}`?"),
        (None, None) => format!("the keys here are {}", known.join(", ")),
    };
    let place = if table.is_empty() { "in a manifest" } else { "in" };
    let place = if table.is_empty() { place.into() } else { format!("{place} `{table}`") };
    Problem::new(key.span(), format!("there is no key `{written}` {place}"))
        .label("unknown key")
        .help(help)
}

fn missing(schema: &Value, key: &str) -> String {
    let what = schema.pointer(&format!("/properties/{key}/description")).and_then(Value::as_str);
    let kinds = schema.pointer(&format!("/properties/{key}")).map(types).unwrap_or_default();
    let value = if kinds.contains(&"integer") { "100" } else { "\"…\"" };
    format!("add `{key} = {value}`: {}", what.unwrap_or("it is needed").replace('\n', " "))
}

fn mistyped(schema: &Value, value: &TomlSpanned<DeValue<'_>>, name: &str) -> Problem {
    let kinds = types(schema);
    let words: Vec<&str> = kinds.iter().filter_map(|kind| word(kind)).collect();
    let problem = Problem::new(
        value.span(),
        format!("`{name}` is {}, not {}", words.join(" or "), found(value.get_ref())),
    );
    let advice = match (kinds.first(), value.get_ref()) {
        (Some(&"array"), DeValue::String(_)) => "put it into brackets: [\"…\"]",
        (Some(&"array"), DeValue::Table(_)) => "put it into brackets, or its name: [[…]]",
        (Some(&"string"), _) => "put it into quotes, such as \"25s\" or \"64MiB\" or \"text\"",
        (Some(&"integer"), _) => "write a whole number without quotes, such as 100",
        (Some(&"boolean"), _) => "write true or false without quotes",
        (Some(&"object"), _) => "write it as a table: [name] with keys below, or { key = … }",
        _ => return problem,
    };
    problem.help(advice)
}

fn word(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "string" => "text",
        "integer" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a table",
        _ => return None,
    })
}

fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
