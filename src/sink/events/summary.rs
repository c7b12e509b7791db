//! Tables that summarize events, in every output format.
//!
//! Input: a [`SummaryTable`]. Output: lines on a stream. On a terminal, numbers are aligned and have separators, and a
//! column can be drawn as bars.

use std::{
    borrow::Cow,
    io::{self, Write},
    ops::ControlFlow,
};

use console::measure_text_width;
use serde_json::{Map, Value};

use super::{
    printer::OutputStream,
    separated::{CellKind, Separator},
    style::{EventFormat, OutputStyle},
};
use crate::report::{
    format,
    terminal::{Align, Padded, escape_unprintable, escape_unprintable_json, truncate_middle},
};

/// Blanks between two columns.
const GAP: usize = 2;

/// The width that is assumed without a terminal.
const DEFAULT_COLUMNS: usize = 120;

/// The widest bar: a longer one is no easier to read.
const MAX_BAR_WIDTH: usize = 80;

/// From this many rows in succession on, those whose numbers are all 0 are shown as one line in a table for people.
const FOLDED_ROWS: usize = 4;

/// The least width of a column of numbers whose title is truncated.
const LEAST_TITLE: usize = 5;

/// A table of texts and numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SummaryTable {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows; each has a cell for every column.
    pub rows: Vec<Vec<SummaryCell>>,
    /// The number of the column that a terminal shows as bars too.
    pub bars: Option<usize>,
}

/// A cell of a [`SummaryTable`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SummaryCell {
    /// A text; empty if an event has no value.
    Text(String),
    /// A number.
    Number(u64),
}

impl SummaryTable {
    /// Prints the table. Returns `Break` if the reader has closed the pipe.
    ///
    /// # Errors
    ///
    /// Returns any other error of the stream.
    pub fn print(
        &self,
        style: &OutputStyle,
        stream: &mut OutputStream,
    ) -> io::Result<ControlFlow<()>> {
        stream.write_with(|out| match style.format {
            EventFormat::Ndjson => self.rows.iter().try_for_each(|row| {
                out.write_all(self.json_line(row, style).as_bytes())?;
                out.write_all(b"\n")
            }),
            EventFormat::Json => self.write_array(style, out),
            EventFormat::Csv => self.write_separated(Separator::Comma, style, out),
            EventFormat::Tsv => self.write_separated(Separator::Tab, style, out),
            EventFormat::Table => self.write_table(style, out),
        })
    }

    fn json_line(&self, row: &[SummaryCell], style: &OutputStyle) -> String {
        let members = self.columns.iter().zip(row).map(|(name, cell)| (name.clone(), cell.json()));
        let line = Value::Object(members.collect::<Map<_, _>>()).to_string();
        if style.is_displayed() { escape_unprintable_json(&line) } else { line }
    }

    fn write_array(&self, style: &OutputStyle, out: &mut dyn Write) -> io::Result<()> {
        for (at, row) in self.rows.iter().enumerate() {
            out.write_all(if at == 0 { b"[\n" } else { b",\n" })?;
            out.write_all(self.json_line(row, style).as_bytes())?;
        }
        out.write_all(if self.rows.is_empty() { b"[]\n" } else { b"\n]\n" })
    }

    fn write_separated(
        &self,
        separator: Separator,
        style: &OutputStyle,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let shown = |text: &str| -> Cow<'static, str> {
            if style.is_displayed() {
                escape_unprintable(text).into()
            } else {
                text.to_owned().into()
            }
        };
        let mut line = Vec::new();
        let names = self.columns.iter().map(|name| (shown(name), CellKind::Text));
        separator.write_line(names, &mut line);
        line.push(b'\n');
        out.write_all(&line)?;
        for row in &self.rows {
            line.clear();
            let cells = row.iter().map(|cell| match cell {
                SummaryCell::Text(text) => (shown(text), CellKind::Text),
                SummaryCell::Number(number) => (number.to_string().into(), CellKind::Number),
            });
            separator.write_line(cells, &mut line);
            line.push(b'\n');
            out.write_all(&line)?;
        }
        Ok(())
    }

    fn write_table(&self, style: &OutputStyle, out: &mut dyn Write) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let titles: Vec<String> =
            self.columns.iter().map(|name| escape_unprintable(name)).collect();
        let shown: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(SummaryCell::shown).collect()).collect();
        let available = style.terminal.columns.unwrap_or(DEFAULT_COLUMNS);
        let widths = self.widths(&titles, &shown, style.terminal.columns);
        let used: usize = widths.iter().map(|width| width + GAP).sum();
        let bars = self.bars.map(|column| {
            let width = available.saturating_sub(used).min(MAX_BAR_WIDTH);
            Bars { column, width, largest: self.largest(column) }
        });
        self.write_row(&titles, &widths, "", out)?;
        let mut rows = self.rows.iter().zip(&shown).peekable();
        while let Some((row, shown)) = rows.next() {
            let bar = bars.as_ref().map_or_else(String::new, |bars| bars.bar(row));
            self.write_row(shown, &widths, &bar, out)?;
            let empty = rows.clone().take_while(|(row, _)| is_empty(row)).count();
            if empty >= FOLDED_ROWS {
                writeln!(out, "⋮ {} without events", format::count(empty as u64))?;
                rows.nth(empty - 1);
            }
        }
        Ok(())
    }

    /// Returns the widths of the columns. If the terminal is too narrow, long titles of numbers are truncated, and then the
    /// widest texts.
    fn widths(
        &self,
        titles: &[String],
        shown: &[Vec<String>],
        columns: Option<usize>,
    ) -> Vec<usize> {
        let mut widths: Vec<usize> = titles.iter().map(|title| measure_text_width(title)).collect();
        for row in shown {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(measure_text_width(cell));
            }
        }
        let Some(available) = columns else { return widths };
        self.shorten_titles(&mut widths, shown, available);
        let texts: Vec<usize> =
            (0..widths.len()).filter(|column| !self.is_number(*column)).collect();
        loop {
            let used = width_of(&widths);
            let Some(widest) = texts.iter().copied().max_by_key(|column| widths[*column]) else {
                return widths;
            };
            if used <= available || widths[widest] <= 1 {
                return widths;
            }
            // Down to the next widest one, so that all of them lose alike.
            let next = texts
                .iter()
                .filter(|column| **column != widest)
                .map(|column| widths[*column])
                .max();
            let target = next.unwrap_or(1).min(widths[widest] - 1).max(1);
            let needed = used - available;
            widths[widest] -= needed.min(widths[widest] - target);
        }
    }

    /// Makes the widest columns of numbers narrower than their titles, as far as that is needed.
    fn shorten_titles(&self, widths: &mut [usize], shown: &[Vec<String>], available: usize) {
        let least = |column: usize| {
            let cells = shown.iter().filter_map(|row| row.get(column));
            cells.map(|cell| measure_text_width(cell)).max().unwrap_or(0).max(LEAST_TITLE)
        };
        let least: Vec<(usize, usize)> = (0..widths.len())
            .filter(|column| self.is_number(*column))
            .map(|column| (column, least(column)))
            .collect();
        while width_of(widths) > available {
            let can_shrink = least.iter().filter(|(column, least)| widths[*column] > *least);
            let Some((widest, _)) = can_shrink.max_by_key(|(column, _)| widths[*column]) else {
                return;
            };
            widths[*widest] -= 1;
        }
    }

    fn is_number(&self, column: usize) -> bool {
        self.rows.first().is_some_and(|row| matches!(row.get(column), Some(SummaryCell::Number(_))))
    }

    fn largest(&self, column: usize) -> u64 {
        let number = |row: &Vec<SummaryCell>| row.get(column).map_or(0, SummaryCell::number);
        self.rows.iter().map(number).max().unwrap_or(0)
    }

    fn write_row(
        &self,
        cells: &[String],
        widths: &[usize],
        bar: &str,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut line = String::new();
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let side = if self.is_number(column) { Align::Right } else { Align::Left };
            let text = truncate_middle(cell, *width);
            line.push_str(&Padded { text: &text, columns: *width, side }.to_string());
            line.push_str(&" ".repeat(GAP));
        }
        line.push_str(bar);
        writeln!(out, "{}", line.trim_end())
    }
}

/// Returns the width of a row.
fn width_of(widths: &[usize]) -> usize {
    widths.iter().map(|width| width + GAP).sum::<usize>().saturating_sub(GAP)
}

/// Returns whether a row has numbers, and all of them are 0; only a row of a histogram can be empty.
fn is_empty(row: &[SummaryCell]) -> bool {
    row.iter().all(|cell| cell.number() == 0)
}

/// The bars of a column.
struct Bars {
    column: usize,
    width: usize,
    largest: u64,
}

/// Eighths of a character cell, from one to seven.
const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

impl Bars {
    /// Returns the bar of a row. A number other than 0 has at least the narrowest bar.
    fn bar(&self, row: &[SummaryCell]) -> String {
        let number = row.get(self.column).map_or(0, SummaryCell::number);
        if number == 0 || self.largest == 0 || self.width == 0 {
            return String::new();
        }
        let eighths = u128::from(number) * (self.width as u128 * 8) / u128::from(self.largest);
        let eighths = usize::try_from(eighths.max(1)).unwrap_or(self.width * 8);
        let mut bar = "█".repeat(eighths / 8);
        bar.extend((eighths % 8).checked_sub(1).map(|at| EIGHTHS[at]));
        bar
    }
}

impl SummaryCell {
    fn json(&self) -> Value {
        match self {
            Self::Text(text) if text.is_empty() => Value::Null,
            Self::Text(text) => Value::String(text.clone()),
            Self::Number(number) => Value::from(*number),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) if text.is_empty() => "-".to_owned(),
            Self::Text(text) => escape_unprintable(text),
            Self::Number(number) => format::count(*number),
        }
    }

    fn number(&self) -> u64 {
        match self {
            Self::Text(_) => 0,
            Self::Number(number) => *number,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::report::terminal::{Color, Terminal};

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn table() -> SummaryTable {
        let row = |name: &str, count| {
            vec![SummaryCell::Text(name.to_owned()), SummaryCell::Number(count)]
        };
        SummaryTable {
            columns: vec!["eventName".to_owned(), "count".to_owned()],
            rows: vec![row("GetObject", 1_200), row("=1+1\u{1b}", 600), row("", 1)],
            bars: None,
        }
    }

    fn printed(table: &SummaryTable, format: EventFormat, columns: Option<usize>) -> String {
        let buffer = Buffer::default();
        let terminal = Terminal { columns, color: Color::Never };
        let style = OutputStyle { format, fields: None, terminal };
        let mut stream = OutputStream::new(buffer.clone());
        assert_eq!(table.print(&style, &mut stream).unwrap(), ControlFlow::Continue(()));
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn every_format_holds_the_same_rows() {
        let lines = [
            r#"{"eventName":"GetObject","count":1200}"#,
            r#"{"eventName":"=1+1\u001b","count":600}"#,
            r#"{"eventName":null,"count":1}"#,
        ];
        assert_eq!(printed(&table(), EventFormat::Ndjson, None), lines.join("\n") + "\n");
        assert_eq!(
            printed(&table(), EventFormat::Json, None),
            format!("[\n{}\n]\n", lines.join(",\n"))
        );
        assert_eq!(
            printed(&table(), EventFormat::Csv, None),
            "eventName,count\nGetObject,1200\n'=1+1\u{1b},600\n,1\n"
        );
        assert_eq!(
            printed(&table(), EventFormat::Tsv, Some(80)).lines().nth(2),
            Some("'=1+1\\u{1b}\t600")
        );
        let shown = "eventName   count\nGetObject   1,200\n=1+1\\u{1b}    600\n-               1\n";
        assert_eq!(printed(&table(), EventFormat::Table, Some(80)), shown);
    }

    #[test]
    fn bars_fill_the_terminal() {
        let bars = SummaryTable { bars: Some(1), ..table() };
        let shown = printed(&bars, EventFormat::Table, Some(39));
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].ends_with(&format!("1,200  {}", "█".repeat(20))), "{shown}");
        assert!(lines[2].ends_with(&format!("600  {}", "█".repeat(10))), "{shown}");
        assert!(lines[3].ends_with("1  ▏"), "{shown}");
        assert!(lines.iter().all(|line| measure_text_width(line) <= 39), "{shown}");
    }

    #[test]
    fn a_narrow_terminal_truncates_the_widest_texts() {
        let long = "arn:aws:iam::111122223333:role/a-very-long-role-name";
        let row =
            vec![long, "GetObject"].into_iter().map(|text| SummaryCell::Text(text.to_owned()));
        let row: Vec<_> = row.chain([SummaryCell::Number(7)]).collect();
        let columns = ["a", "b", "count"].map(str::to_owned).to_vec();
        let table = SummaryTable { columns, rows: vec![row], bars: None };
        let shown = printed(&table, EventFormat::Table, Some(40));
        assert!(shown.contains("GetObject") && shown.contains('…'), "{shown}");
        assert!(shown.lines().all(|line| measure_text_width(line) <= 40), "{shown}");
        assert!(printed(&table, EventFormat::Table, None).contains(long));
    }

    #[test]
    fn empty_rows_in_succession_are_folded_for_people() {
        let row = |time: &str, counts: [u64; 2]| {
            let cells = counts.map(SummaryCell::Number);
            [SummaryCell::Text(time.to_owned())].into_iter().chain(cells).collect()
        };
        let rows = [
            ("1", 5),
            ("2", 0),
            ("3", 0),
            ("4", 0),
            ("5", 7),
            ("6", 0),
            ("7", 0),
            ("8", 0),
            ("9", 0),
            ("10", 1),
        ];
        let columns = ["time", "count", "secretsmanager"].map(str::to_owned).to_vec();
        let rows = rows.into_iter().map(|(time, count)| row(time, [count; 2])).collect();
        let table = SummaryTable { columns, rows, bars: None };
        let shown = printed(&table, EventFormat::Table, None);
        assert_eq!(shown.lines().count(), 8, "{shown}");
        assert_eq!(shown.lines().nth(6), Some("⋮ 4 without events"));
        assert_eq!(printed(&table, EventFormat::Csv, None).lines().count(), 11);
        let narrow = printed(&table, EventFormat::Table, Some(20));
        assert!(narrow.starts_with("time  count  sec…ger\n1         5        5"), "{narrow}");
    }

    #[test]
    fn an_empty_table_is_valid_in_every_format() {
        let empty = SummaryTable { rows: Vec::new(), ..table() };
        assert_eq!(printed(&empty, EventFormat::Ndjson, None), "");
        assert_eq!(printed(&empty, EventFormat::Json, None), "[]\n");
        assert_eq!(printed(&empty, EventFormat::Csv, None), "eventName,count\n");
        assert_eq!(printed(&empty, EventFormat::Table, None), "");
    }
}
