//! The table of what a request may cost.

use super::report::{COLUMNS, Report};

const TABLE: &str = include_str!("../../budget.md");

/// How far a figure may be from the table: a part of it, and at least so much. The same host, counted again and
/// again, was at most 0.7 % or 1.5 off: a buffer that grows once in some requests, hash tables with other seeds.
const ABOVE: (f64, f64) = (0.02, 1.5);
/// Further below than this the table is no longer true, and would let the next change take it back unseen.
const BELOW: (f64, f64) = (0.05, 3.0);

/// One row of the table: what a request of a kind may cost.
#[derive(Debug)]
pub struct Budget {
    figures: [f64; COLUMNS.len()],
}

impl Budget {
    /// The budget of the kind called `name`.
    pub fn of(name: &str) -> Self {
        let rows = TABLE.lines().filter_map(|line| line.strip_prefix("| "));
        let mut rows = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
        let head = rows.next().expect("the table has a head");
        assert_eq!(head[1..=COLUMNS.len()], COLUMNS, "the columns of tests/budget.md");
        let row = rows.find(|row| row[0] == name);
        let row = row.unwrap_or_else(|| panic!("tests/budget.md has no row {name:?}"));
        let figure =
            |text: &&str| text.replace(',', "").parse().expect("a figure of tests/budget.md");
        let figures: Vec<f64> = row[1..=COLUMNS.len()].iter().map(figure).collect();
        Self { figures: figures.try_into().expect("one for each column") }
    }

    /// In the order of the table.
    pub fn figures(&self) -> [f64; COLUMNS.len()] {
        self.figures
    }

    /// Which figures are above the table, for people; empty if none is. If it is `exact`, those that are below
    /// it too.
    pub fn compare(&self, report: &Report, exact: bool) -> String {
        let figures = COLUMNS.iter().zip(self.figures).zip(report.figures);
        let lines = figures.filter_map(|((name, budget), figure)| {
            let figure = figure?;
            let part = (figure - budget) / budget.max(1.0) * 100.0;
            let is_far =
                |(share, least): (f64, f64)| (figure - budget).abs() > (budget * share).max(least);
            if figure > budget && is_far(ABOVE) {
                Some(format!(
                    "{name}: {figure:.1}, above {budget:.1} of the table ({part:+.1} %)\n"
                ))
            } else if exact && figure < budget && is_far(BELOW) {
                Some(format!(
                    "{name}: {figure:.1}, lower the table from {budget:.1} ({part:+.1} %)\n"
                ))
            } else {
                None
            }
        });
        lines.collect()
    }
}

/// The row of the table that says what was counted.
pub fn row(name: &str, report: &Report) -> String {
    let figures = report.figures.iter().map(|figure| match figure {
        Some(figure) => format!("{figure:.1}"),
        None => "-".to_owned(),
    });
    format!("| {name} | {} |", figures.collect::<Vec<_>>().join(" | "))
}
