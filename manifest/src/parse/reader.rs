//! Reads the values of a file, and collects all problems.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::confine::Places;
use super::interpolate::{Env, Wrong, interpolate};
use super::spanned::{Spanned, Written};
use super::suggest::nearest;
use super::validate::Validation;
use crate::error::Problem;
use crate::text::ManifestText;
use crate::{ConfigLine, LimitFault, LoadContext, ManifestPlace, StoreConfig};

/// The context for reading values, and the problems so far. Lives for one reading of one file.
pub struct Reader<'a> {
    text: &'a ManifestText,
    env: Env<'a>,
    /// Whether to look at files.
    pub(super) look: bool,
    pub(super) context: &'a LoadContext,
    /// Paths that the manifest names.
    pub(super) places: Places,
    /// Stores of buckets, by name. None for a store with a problem.
    pub(super) stores: StoresByName,
    /// The component being read.
    pub(crate) component: Arc<str>,
    spans: DeTable<'a>,
    damaged: Vec<Range<usize>>,
    whole: bool,
    pub(super) problems: Vec<Problem>,
}

/// The stores of a manifest, by name.
pub(super) type StoresByName = BTreeMap<String, Option<StoreConfig>>;

/// No context beyond the text.
static ALONE: LoadContext = LoadContext { own: Vec::new(), total: None, check_remote: |_| Ok(()) };

impl<'a> Reader<'a> {
    pub(super) fn new(
        text: &'a ManifestText,
        env: Env<'a>,
        look: Option<&'a LoadContext>,
        spans: DeTable<'a>,
        validation: Validation,
    ) -> Self {
        let Validation { problems, damaged, whole } = validation;
        let (context, look) = (look.unwrap_or(&ALONE), look.is_some());
        Self {
            text,
            env,
            look,
            context,
            places: Places::default(),
            stores: StoresByName::default(),
            component: Arc::default(),
            spans,
            damaged,
            whole,
            problems,
        }
    }

    /// What relative paths are relative to that stand here.
    pub(super) fn directory(&self, span: &Range<usize>) -> &Path {
        self.text.directory_at(span.start)
    }

    /// The file and the line of this byte, counted from 1.
    pub(super) fn place(&self, byte: usize) -> ManifestPlace {
        ManifestPlace { file: self.text.file_at(byte).path.to_owned(), line: self.line(byte) }
    }

    /// The line of this byte, with its file if that is an included one.
    pub(crate) fn config_line(&self, byte: usize) -> ConfigLine {
        let file = self.text.file_at(byte);
        let included = (file.start > 0).then(|| file.path.into());
        ConfigLine { number: self.line(byte), included }
    }

    /// The line of this byte in its file, counted from 1.
    pub(crate) fn line(&self, byte: usize) -> usize {
        self.text.line(byte)
    }

    /// Adds a problem.
    pub fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Reports each directory through which a guest could change a path that is not its own. Call it last,
    /// because it takes the paths that the manifest names.
    pub(super) fn check_places(&mut self, is_file: bool) {
        if self.look {
            let mut places = std::mem::take(&mut self.places);
            if is_file {
                self.text.deciding_paths().for_each(|path| places.hold("the manifest", &path));
            }
            self.problems.extend(places.problems(&self.context.own));
        }
    }

    /// Whether a key was taken out of the table here. Then a key that seems to be missing may be there under a
    /// wrong name.
    pub(super) fn is_damaged(&self, span: &Range<usize>) -> bool {
        self.damaged.contains(span)
    }

    /// Whether no key was taken out at the top. If one was, a key that seems to be missing may be that one.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// The text with variables filled in.
    pub fn text(&mut self, written: &Spanned<String>) -> Option<String> {
        let wrong = match interpolate(&written.value, self.env) {
            Ok(text) => return Some(text),
            Err(wrong) => wrong,
        };
        let problem = match wrong {
            Wrong::Unset(name) => {
                let span = self.within(&written.span, &format!("${{{name}}}"));
                Problem::new(span, format!("the environment variable {name} is not set"))
                    .help(format!("set {name} for the host, or write $${{{name}}} for the text"))
            }
            Wrong::Form => Problem::new(written.span.clone(), "no name stands in ${…}")
                .help("write ${NAME} for an environment variable, $$ for a dollar"),
        };
        self.report(problem);
        None
    }

    /// An environment variable of the host.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name)
    }

    /// The span of `part` in the source within `span`; the whole span if it is written in another way.
    fn within(&self, span: &Range<usize>, part: &str) -> Range<usize> {
        let at = self.text.as_str().get(span.clone()).and_then(|text| text.find(part));
        at.map_or_else(|| span.clone(), |at| span.start + at..span.start + at + part.len())
    }

    /// The value of a short text. The problem does not show the text: a variable in it may be a secret.
    pub fn parse<T: FromStr<Err = String>>(&mut self, written: &Written<T>) -> Option<T> {
        let text = self.plain_text(&written.text)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(why) => {
                let (message, help) = match why.split_once("; ") {
                    Some((message, help)) => (message, Some(help)),
                    None => ("this is not what can stand here", Some(why.as_str())),
                };
                let mut problem = Problem::new(written.text.span.clone(), message);
                problem.help = help.map(str::to_owned);
                self.report(problem);
                None
            }
        }
    }

    /// The values of several short texts.
    pub fn parse_all<T: FromStr<Err = String>>(&mut self, written: &[Written<T>]) -> Vec<T> {
        written.iter().filter_map(|written| self.parse(written)).collect()
    }

    /// The written value, or `default`.
    pub fn parse_or<T: FromStr<Err = String>>(
        &mut self,
        written: Option<&Written<T>>,
        default: T,
    ) -> T {
        written.and_then(|written| self.parse(written)).unwrap_or(default)
    }

    /// Text that goes to guests or to the system unchanged.
    pub fn plain_text(&mut self, written: &Spanned<String>) -> Option<String> {
        let text = self.text(written)?;
        if text.contains('\0') {
            self.report(
                Problem::new(written.span.clone(), "there is a NUL in it")
                    .help("leave it out; no program can be given one"),
            );
            return None;
        }
        Some(text)
    }

    /// Notes that a guest sees a directory, for `check_places`.
    pub(crate) fn grant_directory(&mut self, path: &Path, written: &Spanned<String>, write: bool) {
        self.places.directory(path, written, write);
    }

    /// The store of this name. Reports it if there is none.
    pub(crate) fn store(&mut self, written: &Spanned<String>) -> Option<StoreConfig> {
        let name = self.text(written)?;
        let found = self.stores.get(&name).cloned();
        if found.is_none() {
            let names: Vec<String> = self.stores.keys().cloned().collect();
            self.report_unknown(written, "store", names.iter().map(String::as_str));
        }
        // A problem of the store has been reported.
        found.flatten()
    }

    /// Reports a name that is empty or has control characters.
    pub fn expect_visible(&mut self, name: &Spanned<String>) {
        if !is_visible(&name.value) {
            self.report(
                Problem::new(name.span.clone(), "this is no name")
                    .help("write at least one character, and no control characters"),
            );
        }
    }

    /// Reports `written`, which is not in `known`.
    pub(super) fn report_unknown<'b>(
        &mut self,
        written: &Spanned<String>,
        what: &str,
        known: impl IntoIterator<Item = &'b str> + Clone,
    ) {
        let names: Vec<&str> = known.clone().into_iter().take(10).collect();
        let help = match nearest(&written.value, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => format!("there is no {what} at all in this manifest"),
            None => format!("there is {}", names.join(", ")),
        };
        let message = format!("there is no {what} `{}`", written.value);
        self.report(Problem::new(written.span.clone(), message).label("not there").help(help));
    }

    /// Reports a name that no component or store can have.
    pub(super) fn check_name(&mut self, name: &Spanned<String>, what: &str) {
        let fine = !name.value.is_empty()
            && name.value.len() <= 63
            && name
                .value
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !fine {
            self.report(
                Problem::new(name.span.clone(), format!("this is no name for a {what}"))
                    .help("write it in small letters, digits and `-`, up to 63 of them"),
            );
        }
    }

    /// Reports `faults` of the limits in the table at `path`.
    pub(super) fn report_faults(&mut self, faults: Vec<LimitFault>, path: &[&str]) {
        for fault in faults {
            let span = self
                .blame(&fault, path)
                .or_else(|| self.span_below(&["total"], fault.key))
                .or_else(|| self.span_of(path))
                .unwrap_or(0..0);
            let text = fault.to_string();
            let advice = format!("change {} in [{}]", fault.key, path.join("."));
            let (message, help) = text.split_once("; ").unwrap_or((&text, &advice));
            let mut problem = Problem::new(span, message);
            if let Some(other) = fault.clash.and_then(|key| self.span_below(path, key)) {
                problem = problem.also(other, "beside this");
            }
            self.report(problem.help(help));
        }
    }

    /// The place of the faulty key in the table at `path`, if it is there.
    pub(super) fn blame(&self, fault: &LimitFault, path: &[&str]) -> Option<Range<usize>> {
        self.span_below(path, fault.key)
            .or_else(|| fault.clash.and_then(|key| self.span_below(path, key)))
    }

    fn span_below(&self, path: &[&str], key: &str) -> Option<Range<usize>> {
        let path: Vec<&str> = path.iter().copied().chain([key]).collect();
        self.span_of(&path)
    }

    fn span_of(&self, path: &[&str]) -> Option<Range<usize>> {
        let (first, rest) = path.split_first()?;
        let mut value = self.spans.get(*first)?;
        for key in rest {
            let DeValue::Table(table) = value.get_ref() else { return None };
            value = table.get(*key)?;
        }
        Some(value.span())
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("problems", &self.problems).finish_non_exhaustive()
    }
}

/// Whether a name is not empty and has no control characters.
pub(crate) fn is_visible(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}
