//! The headers that a route sets, adds and removes.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;

use super::reader::Reader;
use super::spanned::Spanned;
use crate::error::Problem;
use crate::headers::{HeaderRules, MessageKind, RouteHeaders};

/// What a route does with headers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Headers {
    /// What is done with the headers of a request before a guest sees it.
    pub(super) request: HeaderTable,
    /// What is done with the headers of a response before the client sees it; of the host's own responses too.
    pub(super) response: HeaderTable,
}

/// What is done with the headers of a message: remove, then set, then add.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct HeaderTable {
    /// Fields that are added to those that there are, by name.
    pub(super) add: BTreeMap<Spanned<String>, Spanned<String>>,
    /// Names whose fields are taken out.
    pub(super) remove: Vec<Spanned<String>>,
    /// Fields that stand in place of all those of their name.
    pub(super) set: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// What a route does with headers; none if it does nothing.
pub(super) fn headers(reader: &mut Reader<'_>, raw: &Headers) -> Option<Arc<RouteHeaders>> {
    let headers = RouteHeaders {
        request: rules(reader, &raw.request, MessageKind::Request),
        response: rules(reader, &raw.response, MessageKind::Response),
    };
    (!headers.is_empty()).then(|| Arc::new(headers))
}

fn rules(reader: &mut Reader<'_>, raw: &HeaderTable, kind: MessageKind) -> HeaderRules {
    let remove = raw.remove.iter().filter_map(|written| name(reader, written, kind)).collect();
    let set = fields(reader, &raw.set, kind);
    let rules = HeaderRules { remove, set, add: fields(reader, &raw.add, kind) };
    for written in raw.set.keys().chain(&raw.remove) {
        let meant = |name: &HeaderName| name.as_str().eq_ignore_ascii_case(&written.value);
        let names = rules.set.iter().map(|(name, _)| name).chain(&rules.remove);
        if names.filter(|name| meant(name)).count() > 1 {
            let problem = Problem::new(written.span.clone(), "this header is set or removed twice");
            reader.report(problem.help("write it once; set takes out what there is, too"));
        }
    }
    rules
}

fn fields(
    reader: &mut Reader<'_>,
    raw: &BTreeMap<Spanned<String>, Spanned<String>>,
    kind: MessageKind,
) -> Vec<(HeaderName, HeaderValue)> {
    let field = |(written, text): (&Spanned<String>, &Spanned<String>)| {
        let name = name(reader, written, kind);
        let value = value(reader, text);
        name.zip(value)
    };
    raw.iter().filter_map(field).collect()
}

fn name(
    reader: &mut Reader<'_>,
    written: &Spanned<String>,
    kind: MessageKind,
) -> Option<HeaderName> {
    let Ok(name) = written.value.parse::<HeaderName>() else {
        let problem = Problem::new(written.span.clone(), "this is no name of a header");
        reader.report(problem.help("write it in letters, digits and `-`: x-frame-options"));
        return None;
    };
    if let Some(why) = kind.refuses(&name) {
        let problem = Problem::new(written.span.clone(), format!("{name} {why}"));
        reader.report(problem.help("leave it out"));
        return None;
    }
    Some(name)
}

/// The problem does not show the text: a variable in it may be a secret.
fn value(reader: &mut Reader<'_>, written: &Spanned<String>) -> Option<HeaderValue> {
    let text = reader.text(written)?;
    // No white space that would not count, and nothing that two readers could take for two things.
    let value =
        HeaderValue::from_str(&text).ok().filter(|_| text.is_ascii() && text.trim_ascii() == text);
    if value.is_none() {
        let problem = Problem::new(written.span.clone(), "this is no value of a header");
        reader
            .report(problem.help("write visible letters of ASCII, with spaces between them only"));
    }
    value
}
