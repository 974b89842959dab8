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

/// Names in one list. All of them are written into every message: 25,000 were more than one has room for.
const MOST_NAMES: usize = 100;

/// Bytes of one value.
const LONGEST_VALUE: usize = 8 * 1024;

/// Bytes of all names and values of one route.
const MOST_BYTES: usize = 32 * 1024;

/// What a route does with headers; none if it does nothing.
pub(super) fn headers(reader: &mut Reader<'_>, raw: &Headers) -> Option<Arc<RouteHeaders>> {
    let mut rules = RulesReader { reader, kind: MessageKind::Request, bytes: 0 };
    let request = rules.read(&raw.request);
    rules.kind = MessageKind::Response;
    let headers = RouteHeaders { request, response: rules.read(&raw.response) };
    (!headers.is_empty()).then(|| Arc::new(headers))
}

/// Reads what a route does with the headers of messages of one kind, and then of the other.
struct RulesReader<'r, 'a> {
    reader: &'r mut Reader<'a>,
    kind: MessageKind,
    /// Of the names and values so far.
    bytes: usize,
}

impl RulesReader<'_, '_> {
    fn read(&mut self, raw: &HeaderTable) -> HeaderRules {
        let few = [
            self.are_few("add", raw.add.keys()),
            self.are_few("remove", &raw.remove),
            self.are_few("set", raw.set.keys()),
        ];
        if few.contains(&false) {
            return HeaderRules::default();
        }
        self.check_once(raw.set.keys().chain(&raw.remove));
        let remove = raw.remove.iter().filter_map(|written| self.name(written)).collect();
        HeaderRules { remove, set: self.fields(&raw.set), add: self.fields(&raw.add) }
    }

    /// Whether there are not too many of these names, which stand under `key`.
    fn are_few<'w>(
        &mut self,
        key: &str,
        names: impl IntoIterator<Item = &'w Spanned<String>>,
    ) -> bool {
        let mut places: Vec<_> = names.into_iter().map(|written| &written.span).collect();
        places.sort_by_key(|span| span.start);
        let Some(beyond) = places.get(MOST_NAMES) else { return true };
        let message = format!("{key} has {} names, and {MOST_NAMES} is the most", places.len());
        let problem = Problem::new((*beyond).clone(), message).label("the first one beyond");
        self.reader.report(problem.help("leave some out, or have a component write these headers"));
        false
    }

    /// Reports names that stand among these twice.
    fn check_once<'w>(&mut self, names: impl Iterator<Item = &'w Spanned<String>>) {
        let mut seen = BTreeMap::new();
        for written in names {
            let Some(first) = seen.insert(written.value.to_ascii_lowercase(), written) else {
                continue;
            };
            let problem = Problem::new(written.span.clone(), "this header is set or removed twice")
                .also(first.span.clone(), "the other one");
            self.reader.report(problem.help("write it once; set takes out what there is, too"));
        }
    }

    fn fields(
        &mut self,
        raw: &BTreeMap<Spanned<String>, Spanned<String>>,
    ) -> Vec<(HeaderName, HeaderValue)> {
        let field = |(written, text): (&Spanned<String>, &Spanned<String>)| {
            let name = self.name(written);
            let value = self.value(text);
            name.zip(value)
        };
        raw.iter().filter_map(field).collect()
    }

    fn name(&mut self, written: &Spanned<String>) -> Option<HeaderName> {
        self.count(written, written.value.len());
        let Ok(name) = written.value.parse::<HeaderName>() else {
            let problem = Problem::new(written.span.clone(), "this is no name of a header");
            self.reader
                .report(problem.help("write it in letters, digits and `-`: x-frame-options"));
            return None;
        };
        if let Some(why) = self.kind.refuses(&name) {
            let problem = Problem::new(written.span.clone(), format!("{name} {why}"));
            self.reader.report(problem.help("leave it out"));
            return None;
        }
        Some(name)
    }

    /// The problem does not show the text: a variable in it may be a secret.
    fn value(&mut self, written: &Spanned<String>) -> Option<HeaderValue> {
        let text = self.reader.text(written)?;
        if text.len() > LONGEST_VALUE {
            let message = format!("this value has {} bytes, and 8KiB is the most", text.len());
            let problem = Problem::new(written.span.clone(), message);
            self.reader.report(problem.help("shorten it, or have a component write this header"));
            return None;
        }
        self.count(written, text.len());
        // No white space that would not count, and nothing that two readers could take for two things.
        let value = HeaderValue::from_str(&text)
            .ok()
            .filter(|_| text.is_ascii() && text.trim_ascii() == text);
        if value.is_none() {
            let problem = Problem::new(written.span.clone(), "this is no value of a header");
            self.reader.report(
                problem.help("write visible letters of ASCII, with spaces between them only"),
            );
        }
        value
    }

    /// Counts what is written here. The first that goes beyond the most is reported, and none behind it.
    fn count(&mut self, written: &Spanned<String>, bytes: usize) {
        let before = self.bytes;
        self.bytes += bytes;
        if before <= MOST_BYTES && self.bytes > MOST_BYTES {
            let message =
                "the headers of this route have more than 32KiB, names and values together";
            let problem = Problem::new(written.span.clone(), message).label("the first one beyond");
            self.reader
                .report(problem.help("leave some out, or have a component write these headers"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, refused};
    use super::{LONGEST_VALUE, MOST_BYTES, MOST_NAMES};

    /// The manifest behind its component: a route that does this with headers, which begins in line 7.
    fn route(headers: &str) -> String {
        format!("[[route]]\npath = \"/\"\ncomponent = \"shop\"\n[route.headers.{headers}\n")
    }

    fn is_read(headers: &str) -> bool {
        let route = route(headers);
        read(&format!("[component.shop]\nsource = \"shop.wasm\"\n{route}")).is_ok()
    }

    /// So many names, from the last to the first, as `key` has them.
    fn names(key: &str, count: usize) -> String {
        let names = (0..count).rev();
        match key {
            "remove" => {
                let names: Vec<_> = names.map(|at| format!("\"x-{at}\"")).collect();
                format!("remove = [{}]", names.join(", "))
            }
            key => names.map(|at| format!("{key}.x-{at} = \"1\"\n")).collect(),
        }
    }

    /// A route that added 25,000 headers made each of its requests panic: no message has room for so many.
    #[test]
    fn more_names_than_a_message_has_room_for_are_refused_in_each_list() {
        for message in ["request", "response"] {
            for key in ["add", "remove", "set"] {
                let most = format!("{message}]\n{}", names(key, MOST_NAMES));
                assert!(is_read(&most), "{message} {key}");
                for count in [MOST_NAMES + 1, 25_000] {
                    let report = refused(&route(&format!("{message}]\n{}", names(key, count))));
                    let [problem] = report.problems() else { panic!("{}", report.one_line()) };
                    let says = format!("{key} has {count} names, and 100 is the most");
                    assert_eq!(problem.message, says);
                    assert!(problem.help.as_ref().is_some_and(|help| help.contains("leave some")));
                    let place = if key == "remove" { ":7:" } else { ":107:" };
                    assert!(report.one_line().contains(place), "{}", report.one_line());
                }
            }
        }
    }

    #[test]
    fn long_values_are_refused_and_are_not_shown() {
        let value =
            |bytes: usize| format!("response]\nset = {{ x-a = \"{}\" }}", "v".repeat(bytes));
        assert!(is_read(&value(LONGEST_VALUE)));
        let line = refused(&route(&value(LONGEST_VALUE + 1))).one_line();
        assert!(line.contains(":7:15: this value has 8193 bytes, and 8KiB is the most"), "{line}");
        assert!(line.contains("shorten it") && !line.contains("vv"), "{line}");
    }

    #[test]
    fn requests_and_responses_of_a_route_have_one_bound_of_bytes_together() {
        // Each with a name of four bytes: 8192 in all.
        let value = "v".repeat(LONGEST_VALUE - 4);
        let both = |more: &str| {
            format!(
                "request]\nset = {{ x-ab = \"{value}\" }}\nadd = {{ x-ab = \"{value}\" }}\n\
                 [route.headers.response]\nset = {{ x-ab = \"{value}\" }}\n\
                 add = {{ x-ab = \"{value}\" }}\n{more}"
            )
        };
        assert_eq!(4 * LONGEST_VALUE, MOST_BYTES);
        assert!(is_read(&both("")));
        // What is removed is read before what is set, and what is added behind that.
        let report = refused(&route(&both("remove = [\"a\"]")));
        let [problem] = report.problems() else { panic!("one, and none behind it") };
        assert!(problem.message.contains("more than 32KiB"), "{}", problem.message);
        assert!(report.one_line().contains(":11:"), "{}", report.one_line());
    }

    #[test]
    fn header_that_stands_twice_is_shown_at_both_places() {
        let report = refused(&route("response]\nset = { X-A = \"1\" }\nremove = [\"x-a\"]"));
        let [problem] = report.problems() else { panic!("one problem") };
        assert_eq!(problem.places.len(), 2);
        assert_eq!(problem.message, "this header is set or removed twice");
    }
}
