//! What is wrong with a manifest: where, and what to do.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};

use crate::text::ManifestText;

/// More problems than anyone reads at once; each costs a picture.
const MOST_SHOWN: usize = 20;

/// A line that is longer is not drawn: no reader finds a place in it by looking.
const LONGEST_LINE: usize = 500;

/// Everything that is wrong with a manifest. There is at least one problem in it.
///
/// `Display` gives the pictures without colour; [`ManifestError::one_line`] is for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    text: ManifestText,
    problems: Vec<Problem>,
    passing: bool,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, in a sentence.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Places in the file, as bytes, with what to say of each; the first one is that of the
    /// problem. None if it is in no one place.
    pub places: Vec<(Range<usize>, String)>,
}

impl Problem {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, places: vec![(span, "here".into())] }
    }

    pub(crate) fn nowhere(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, places: Vec::new() }
    }

    /// The same problem of a text that begins here in the whole.
    #[must_use]
    pub(crate) fn moved(mut self, start: usize) -> Self {
        for (span, _) in &mut self.places {
            *span = start + span.start..start + span.end;
        }
        self
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub(crate) fn label(mut self, label: &str) -> Self {
        if let Some((_, first)) = self.places.first_mut() {
            label.clone_into(first);
        }
        self
    }

    #[must_use]
    pub(crate) fn also(mut self, span: Range<usize>, label: &str) -> Self {
        self.places.push((span, label.into()));
        self
    }

    /// One picture is of one file: places in others are said in the message.
    fn say_other_files(&mut self, text: &ManifestText) {
        let Some(here) = self.start().map(|start| text.file_at(start).start) else { return };
        let message = &mut self.message;
        self.places.retain(|(span, label)| {
            let file = text.file_at(span.start);
            let is_here = file.start == here;
            if !is_here {
                let (path, line) = (file.path.display(), text.line(span.start));
                message.push_str(&format!("; {label}: {path}:{line}"));
            }
            is_here
        });
    }

    fn start(&self) -> Option<usize> {
        self.places.first().map(|(span, _)| span.start)
    }
}

impl ManifestError {
    /// In the order of the file, each problem once; those in no one place come last.
    pub(crate) fn new(file: &Path, text: &str, problems: Vec<Problem>) -> Self {
        Self::of(&ManifestText::new(file, text), problems)
    }

    /// The same, of a text that may have several files.
    pub(crate) fn of(text: &ManifestText, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.start().unwrap_or(usize::MAX));
        problems.iter_mut().for_each(|problem| problem.say_other_files(text));
        problems.dedup();
        Self { text: text.clone(), problems, passing: false }
    }

    pub(crate) fn passing(self, passing: bool) -> Self {
        Self { passing, ..self }
    }

    /// Whether the file could not be read for want of something that the process or the machine was out
    /// of: the same file may be right a moment later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.passing
    }

    /// The problems, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// File, line, picture and advice for each problem, several lines for each; with the colours of a
    /// terminal if asked for.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let theme =
            if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_width(100);
        let mut out = String::new();
        for problem in self.problems.iter().take(MOST_SHOWN) {
            let picture =
                Picture { problem, place: self.place(problem), source: self.source(problem) };
            if handler.render_report(&mut out, &picture).is_err() {
                out.push_str(&problem.message);
            }
            out.push('\n');
        }
        if let Some(more) = self.problems.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0) {
            out.push_str(&format!("and {more} more\n"));
        }
        out
    }

    /// The first problem and how many there are beside it, in one line without control characters:
    /// `host.toml:12:1: …; … (and 2 more)`.
    #[must_use]
    pub fn one_line(&self) -> String {
        let mut line = String::new();
        if let Some(problem) = self.problems.first() {
            line.push_str(&format!("{}: {}", self.place(problem), problem.message));
            if let Some(help) = &problem.help {
                line.push_str(&format!("; {help}"));
            }
        }
        if self.problems.len() > 1 {
            line.push_str(&format!(" (and {} more)", self.problems.len() - 1));
        }
        line.replace(|char: char| char.is_control(), " ")
    }

    /// `host.toml:12:1`, or the file alone for what is in no one place.
    fn place(&self, problem: &Problem) -> String {
        let file = |byte| self.text.file_at(byte).path.display();
        match problem.start() {
            Some(start) => {
                let (row, column) = self.position(start);
                format!("{}:{row}:{column}", file(start))
            }
            None => file(0).to_string(),
        }
    }

    /// What the picture of a problem is drawn from; none if it has no place, or the lines there are
    /// too long.
    fn source(&self, problem: &Problem) -> Option<Source<'_>> {
        let file = self.text.file_at(problem.start()?);
        let name = file.path.display().to_string();
        let source = Source { name, text: file.text, start: file.start };
        let can_be_drawn = |(span, _): &(Range<usize>, String)| {
            // One picture is of one file.
            let Some(span) = source.span(span) else { return false };
            let drawn = file.text.as_bytes().read_span(&span, 1, 1);
            drawn.is_ok_and(|drawn| {
                drawn.data().split(|byte| *byte == b'\n').all(|line| line.len() <= LONGEST_LINE)
            })
        };
        problem.places.iter().all(can_be_drawn).then_some(source)
    }

    /// Line and column, from 1, of a byte.
    fn position(&self, byte: usize) -> (usize, usize) {
        let file = self.text.file_at(byte);
        let before = file.text.get(..byte.saturating_sub(file.start)).unwrap_or(file.text);
        let row = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        (row, column)
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for ManifestError {}

/// The text of a file, in which columns are counted as editors do: miette counts bytes.
#[derive(Debug)]
struct Source<'a> {
    name: String,
    text: &'a str,
    /// Where it begins in the whole.
    start: usize,
}

impl Source<'_> {
    /// The place in this file of one in the whole.
    fn span(&self, span: &Range<usize>) -> Option<SourceSpan> {
        let start = span.start.checked_sub(self.start)?;
        (start + span.len() <= self.text.len()).then(|| (start, span.len()).into())
    }
}

impl SourceCode for Source<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let contents = self.text.as_bytes().read_span(span, before, after)?;
        let start = contents.span().offset();
        let line = self.text.get(..start).and_then(|text| text.rsplit('\n').next());
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            contents.data(),
            *contents.span(),
            contents.line(),
            line.map_or_else(|| contents.column(), |line| line.chars().count()),
            contents.line_count(),
        )))
    }
}

/// A problem with its source, as `miette` wants it.
#[derive(Debug)]
struct Picture<'a> {
    problem: &'a Problem,
    /// Said in words where no picture shows it.
    place: String,
    source: Option<Source<'a>>,
}

impl fmt::Display for Picture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source.is_none() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Picture<'_> {}

impl Diagnostic for Picture<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let source = self.source.as_ref()?;
        let labels = self.problem.places.iter().filter_map(|(span, label)| {
            Some(LabeledSpan::new_with_span(Some(label.clone()), source.span(span)?))
        });
        Some(Box::new(labels))
    }
}
