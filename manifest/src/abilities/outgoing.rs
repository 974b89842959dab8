//! HTTP requests of guests.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::error::Problem;
use crate::grants::AbilityConfig;
use crate::headers::MessageKind;
use crate::outgoing::Origin;
use crate::parse::ability::{AbilityTable, KeyTable};
use crate::parse::reader::Reader;
use crate::parse::secrets::SecretText;
use crate::parse::spanned::{Spanned, Written};

/// Where a component may send HTTP requests, and what they have that it does not see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingConfig {
    /// At least one.
    pub origins: Vec<Origin>,
    /// Headers of requests to some of them.
    pub inject: Vec<InjectedHeaders>,
}

/// Headers that requests to an origin get on their way, in place of those that the guest wrote under these names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectedHeaders {
    /// The origin, as it is granted.
    pub origin: Origin,
    /// At most one of each name. They are sensitive, so they are not printed.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl AbilityConfig for OutgoingConfig {
    fn summary(&self) -> Vec<(&'static str, String)> {
        let origins: Vec<String> = self.origins.iter().map(ToString::to_string).collect();
        let injected = self.inject.iter().map(|InjectedHeaders { origin, headers }| {
            let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
            format!("{} for {origin}", names.join(", "))
        });
        let injected: Vec<String> = injected.collect();
        let injected = (!injected.is_empty()).then(|| ("inject", injected.join("; ")));
        [("outgoing", origins.join(", "))].into_iter().chain(injected).collect()
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct OutgoingTable {
    /// Headers that requests to one of these origins get behind the guest's back, by origin and name: it never sees
    /// their values.
    inject: BTreeMap<Spanned<String>, BTreeMap<Spanned<String>, SecretText>>,
    /// Where it may send HTTP requests: scheme (both if left out), host or `*.` and the end of one,
    /// port.
    outgoing: Vec<Written<Origin>>,
}

impl AbilityTable for OutgoingTable {
    const TABLE: KeyTable = KeyTable::Grants;

    type Config = OutgoingConfig;

    fn read(&self, reader: &mut Reader<'_>) -> Option<OutgoingConfig> {
        let origins = reader.parse_all(&self.outgoing);
        let inject = |(written, headers)| injected(reader, written, headers, &origins);
        let inject = self.inject.iter().filter_map(inject).collect();
        (!origins.is_empty()).then_some(OutgoingConfig { origins, inject })
    }
}

fn injected(
    reader: &mut Reader<'_>,
    written: &Spanned<String>,
    raw: &BTreeMap<Spanned<String>, SecretText>,
    granted: &[Origin],
) -> Option<InjectedHeaders> {
    let origin: Result<Origin, String> = written.value.parse();
    let Some(origin) = origin.ok().filter(|origin| granted.contains(origin)) else {
        let problem = Problem::new(written.span.clone(), "no request may be sent there");
        reader.report(problem.help("write an origin as it stands in grants.outgoing"));
        return None;
    };
    let headers = raw.iter().filter_map(|(name, value)| {
        let name = header_name(reader, name);
        let value = header_value(reader, value);
        name.zip(value)
    });
    Some(InjectedHeaders { origin, headers: headers.collect() })
}

fn header_name(reader: &mut Reader<'_>, written: &Spanned<String>) -> Option<HeaderName> {
    let refused = match written.value.parse::<HeaderName>() {
        Ok(name) => match MessageKind::Request.refuses(&name) {
            None => return Some(name),
            Some(why) => format!("{name} {why}"),
        },
        Err(_) => "this is no name of a header".to_owned(),
    };
    reader.report(
        Problem::new(written.span.clone(), refused)
            .help("write another name, such as authorization"),
    );
    None
}

/// The problem does not show the value.
fn header_value(reader: &mut Reader<'_>, written: &SecretText) -> Option<HeaderValue> {
    let secret = reader.secret(written)?;
    let text = secret.reveal();
    let value = HeaderValue::from_str(text);
    let Some(mut value) = value.ok().filter(|_| text.is_ascii() && text.trim_ascii() == text)
    else {
        let problem = Problem::new(written.span(), "this is no value of a header");
        let help = "use visible letters of ASCII, with spaces between them only";
        reader.report(problem.help(help));
        return None;
    };
    value.set_sensitive(true);
    Some(value)
}
