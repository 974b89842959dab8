//! Tables for people: aligned, sorted by a column, and no wider than the terminal.

use std::cmp::Reverse;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Between two columns.
const GAP: usize = 2;

/// So much of a name tells it from others. Where there is less room for it, columns are left out.
const NARROW: usize = 14;

/// Once no column can be left out, so much of a name stays.
const NARROWEST: usize = 8;

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
    /// The whole column does, before names are cut to less than says something: the one with the greatest number first.
    optional: Option<u8>,
}

/// A column of this name, whose cells give way like this.
pub(super) const fn column(name: &'static str, cut: Cut) -> TableColumn {
    TableColumn { name, cut, optional: None }
}

impl TableColumn {
    /// The same, left out where there is little room; of several, the one with the greatest number first.
    pub(super) const fn optional(self, order: u8) -> Self {
        Self { optional: Some(order), ..self }
    }
}

/// How the cells of a column give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Not at all.
    Never,
    /// Their ends.
    End,
    /// Their middle: names of one host often begin alike, or end alike.
    Middle,
    /// Their beginnings: the end of a path says more.
    Start,
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

    /// Has the column of this name shown, however little room there is.
    pub(super) fn keep(&mut self, column: &str) {
        let kept = self.columns.iter_mut().filter(|known| known.name == column);
        kept.for_each(|known| known.optional = None);
    }

    /// Sorts its rows by the column of this name, which is shown; those that are alike stay in their order.
    pub(super) fn sort(&mut self, column: &str) {
        self.keep(column);
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
            && let Some(index) = least_wanted(&columns)
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

/// Which column is left out first, if any can be.
fn least_wanted(columns: &[TableColumn]) -> Option<usize> {
    let columns = columns.iter().enumerate();
    let optional = columns.filter_map(|(index, column)| Some((column.optional?, index)));
    optional.max().map(|(_, index)| index)
}

/// How wide a table is at least, if names are to be told apart.
fn least(columns: &[TableColumn], lines: &[Vec<&Cell>]) -> usize {
    let least = |(index, column): (usize, &TableColumn)| match column.cut {
        Cut::Never => widest(lines, index),
        Cut::End | Cut::Middle | Cut::Start => widest(lines, index).min(NARROW),
    };
    columns.iter().enumerate().map(least).sum::<usize>() + GAP * columns.len().saturating_sub(1)
}

/// The width of each column: of its widest cell, unless the table must be narrower.
fn widths(columns: &[TableColumn], lines: &[Vec<&Cell>], width: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = (0..columns.len()).map(|index| widest(lines, index)).collect();
    loop {
        let all = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        let gives = |(column, width): &(&TableColumn, &mut usize)| match column.cut {
            Cut::Never => false,
            Cut::End | Cut::Middle | Cut::Start => **width > NARROWEST,
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
    match side {
        _ if width == 0 => String::new(),
        Cut::Start => format!("…{}", end_of(text, room)),
        Cut::Middle => {
            format!("{}…{}", beginning_of(text, room.div_ceil(2)), end_of(text, room / 2))
        }
        Cut::Never | Cut::End => format!("{}…", beginning_of(text, room)),
    }
}

/// As much of the beginning as fits into `room`, with all marks of its last letter.
fn beginning_of(text: &str, room: usize) -> &str {
    let mut used = 0;
    let too_much = text.char_indices().find(|(_, letter)| {
        used += letter.width().unwrap_or(0);
        used > room
    });
    too_much.map_or(text, |(end, _)| text.split_at(end).0)
}

/// As much of the end as fits into `room`. It begins with a letter and not with a mark of the one before.
fn end_of(text: &str, room: usize) -> &str {
    let (mut used, mut begin) = (0, text.len());
    for (index, letter) in text.char_indices().rev() {
        let width = letter.width().unwrap_or(0);
        used += width;
        if used > room {
            break;
        }
        if width > 0 {
            begin = index;
        }
    }
    text.split_at(begin).1
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
        assert_eq!(cut("日本語の名前", 9, Cut::Middle), "日本…名前");
    }

    #[test]
    fn names_lose_their_middle() {
        assert_eq!(cut("checkout-canary-eu-1", 12, Cut::Middle), "checko…-eu-1");
        for width in 0..20 {
            assert_eq!(cut("checkout-canary-eu-1", width, Cut::Middle).width(), width);
        }
    }

    /// An accent of its own is not left without its letter, and no letter without it.
    #[test]
    fn marks_stay_with_their_letters() {
        let text = "e\u{301}o\u{308}u\u{300}";
        assert_eq!(cut(text, 2, Cut::End), "e\u{301}…");
        assert_eq!(cut(text, 2, Cut::Start), "…u\u{300}");
        assert_eq!(cut(text, 3, Cut::Start), text);
        assert_eq!(cut("e\u{301}漢字u\u{300}", 3, Cut::Start), "…u\u{300}");
    }

    #[test]
    fn columns_are_left_out_before_names_say_nothing_unless_they_are_sorted_by() {
        let mut table = Table::new(&[
            column("name", Cut::Middle),
            column("one", Cut::Never).optional(1),
            column("two", Cut::Never).optional(2),
        ]);
        let cells = ["a-name-that-is-long-eu-1", "111", "222"].map(Cell::text);
        table.row(cells);
        assert_eq!(table.print(24, 1).lines().last(), Some("a-name-…g-eu-1  111  222"));
        assert_eq!(table.print(23, 1).lines().last(), Some("a-name-th…ong-eu-1  111"));
        assert_eq!(table.print(18, 1).lines().last(), Some("a-name-th…ong-eu-1"));
        table.sort("two");
        assert_eq!(table.print(23, 1).lines().last(), Some("a-name-th…ong-eu-1  222"));
        assert_eq!(table.print(8, 1).lines().last(), Some("a-na…u-…"));
    }
}
