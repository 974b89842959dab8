//! Tables for people: aligned, sorted by a column, and no wider than the terminal.

use std::cmp::Reverse;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Between two columns.
const GAP: usize = 2;

/// A column that gives way keeps so much of a name, and so much of a path.
const NARROWEST: usize = 8;
const NARROWEST_PATH: usize = 16;

/// A table. Cells are of the columns in their order.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<TableColumn>,
    rows: Vec<Vec<Cell>>,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableColumn {
    /// As `--sort` has it; the head says the same in capitals.
    pub(super) name: &'static str,
    /// What gives way if the table is too wide.
    pub(super) cut: Cut,
}

/// A column of this name, whose cells give way like this.
pub(super) const fn column(name: &'static str, cut: Cut) -> TableColumn {
    TableColumn { name, cut }
}

/// How the cells of a column give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Not at all.
    Never,
    /// Their ends.
    End,
    /// Their beginnings: the end of a path says more.
    Start,
    /// The whole column, before others are cut to less than says something.
    Column,
}

/// What stands in a row and a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    /// What it is sorted by: the greatest first, then by text.
    size: Option<u64>,
}

impl Cell {
    /// Sorted by its letters.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), size: None }
    }

    /// A number, the greatest of which comes first.
    pub(super) fn number(number: u64) -> Self {
        Self::sized(number.to_string(), number)
    }

    /// A text that is sorted by a number, the greatest of which comes first.
    pub(super) fn sized(text: impl Into<String>, size: u64) -> Self {
        Self { text: text.into(), size: Some(size) }
    }
}

impl Table {
    /// Without rows.
    pub(super) fn new(columns: &[TableColumn]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl Into<Vec<Cell>>) {
        self.rows.push(cells.into());
    }

    /// How many rows it has.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Sorts its rows by the column of this name; those that are alike stay in their order.
    pub(super) fn sort(&mut self, column: &str) {
        let Some(index) = self.columns.iter().position(|known| known.name == column) else {
            return;
        };
        self.rows.sort_by_cached_key(|row| {
            row.get(index).map(|cell| (Reverse(cell.size), cell.text.clone()))
        });
    }

    /// As lines of at most `width`, with the first `rows` rows.
    pub(super) fn print(&self, width: usize, rows: usize) -> String {
        let heads = self.columns.iter().map(|column| column.name.to_uppercase().replace('-', " "));
        let head: Vec<Cell> = heads.map(Cell::text).collect();
        let mut lines: Vec<Vec<&Cell>> = vec![head.iter().collect()];
        lines.extend(self.rows.iter().take(rows).map(|row| row.iter().collect()));
        let mut columns = self.columns.clone();
        while least(&columns, &lines) > width
            && let Some(index) = columns.iter().rposition(|column| column.cut == Cut::Column)
        {
            columns.remove(index);
            lines.iter_mut().filter(|line| index < line.len()).for_each(|line| {
                line.remove(index);
            });
        }
        let widths = widths(&columns, &lines, width);
        let mut text = String::new();
        for line in lines {
            let mut printed = String::new();
            for ((cell, column), width) in line.iter().zip(&columns).zip(&widths) {
                let cell = cut(&cell.text, *width, column.cut);
                let pad = width.saturating_sub(cell.width()) + GAP;
                printed += &cell;
                printed.extend(std::iter::repeat_n(' ', pad));
            }
            text += cut(printed.trim_end(), width, Cut::End).trim_end();
            text.push('\n');
        }
        text
    }
}

/// The width of the widest cell of a column.
fn widest(lines: &[Vec<&Cell>], index: usize) -> usize {
    let cells = lines.iter().filter_map(|line| line.get(index));
    cells.map(|cell| cell.text.width()).max().unwrap_or(0)
}

/// How wide a table is at least.
fn least(columns: &[TableColumn], lines: &[Vec<&Cell>]) -> usize {
    let least = |(index, column): (usize, &TableColumn)| match column.cut {
        Cut::Never | Cut::Column => widest(lines, index),
        Cut::End => widest(lines, index).min(NARROWEST),
        Cut::Start => widest(lines, index).min(NARROWEST_PATH),
    };
    columns.iter().enumerate().map(least).sum::<usize>() + GAP * columns.len().saturating_sub(1)
}

/// The width of each column: of its widest cell, unless the table must be narrower.
fn widths(columns: &[TableColumn], lines: &[Vec<&Cell>], width: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = (0..columns.len()).map(|index| widest(lines, index)).collect();
    loop {
        let all = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        let gives = |(column, width): &(&TableColumn, &mut usize)| match column.cut {
            Cut::Never | Cut::Column => false,
            Cut::End => **width > NARROWEST,
            Cut::Start => **width > NARROWEST_PATH,
        };
        let widest = columns.iter().zip(&mut widths).filter(gives);
        match widest.max_by_key(|(_, width)| **width) {
            Some((_, widest)) if all > width => *widest -= 1,
            _ => return widths,
        }
    }
}

/// A text of at most `width`, with a sign where some of it is missing.
pub(super) fn cut(text: &str, width: usize, side: Cut) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    let take = |chars: &mut dyn Iterator<Item = char>| -> Vec<char> {
        let mut used = 0;
        chars
            .take_while(|char| {
                used += char.width().unwrap_or(0);
                used <= room
            })
            .collect()
    };
    match side {
        _ if width == 0 => String::new(),
        Cut::Start => {
            let end = take(&mut text.chars().rev());
            std::iter::once('…').chain(end.into_iter().rev()).collect()
        }
        Cut::Never | Cut::End | Cut::Column => {
            take(&mut text.chars()).into_iter().chain(['…']).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[
            column("id", Cut::Never),
            column("in-flight", Cut::Never),
            column("path", Cut::Start),
        ]);
        table.row([Cell::number(9), Cell::number(1), Cell::text("/srv/some/where/shop.wasm")]);
        table.row([Cell::number(10), Cell::number(0), Cell::text("/srv/auth.wasm")]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let says = "ID  IN FLIGHT  PATH\n\
                    9   1          /srv/some/where/shop.wasm\n\
                    10  0          /srv/auth.wasm\n";
        assert_eq!(table().print(80, 9), says);
        assert_eq!(table().print(80, 1).lines().count(), 2);
    }

    #[test]
    fn a_table_is_no_wider_than_the_terminal() {
        let says =
            "ID  IN FLIGHT  PATH\n9   1          …here/shop.wasm\n10  0          /srv/auth.wasm\n";
        assert_eq!(table().print(31, 9), says.replace("…here", "…where"));
        for width in 1..60 {
            let text = table().print(width, 9);
            assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
        }
    }

    #[test]
    fn rows_are_sorted_by_size_and_by_letters() {
        let mut table = table();
        table.sort("id");
        assert!(table.print(80, 1).contains("auth"));
        table.sort("in-flight");
        assert!(table.print(80, 1).contains("shop"));
        table.sort("path");
        assert!(table.print(80, 1).contains("auth"));
        table.sort("nothing");
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn wide_letters_count_twice() {
        assert_eq!(cut("日本語", 6, Cut::End), "日本語");
        assert_eq!(cut("日本語", 5, Cut::End), "日本…");
        assert_eq!(cut("日本語", 4, Cut::Start), "…語");
        assert_eq!(cut("x", 0, Cut::End), "");
    }
}
