//! Rows of a table for a terminal, one as soon as its event is found.
//!
//! Input: the fields and the width of the terminal. Output: rows whose columns have fixed widths, because later events
//! are not known yet.
//! Invariant: a row is never wider than the terminal; text that is too long is truncated in the middle, because names
//! differ most at their ends. Without a terminal, nothing is truncated. No character steers the terminal.

use std::borrow::Cow;

use console::{Style, measure_text_width};
use serde_json::Value;

use super::field::{ComputedField, Field, FieldList};
use crate::report::terminal::{Color, Terminal, escape_unprintable, truncate_middle};

/// Blanks between two columns.
const GAP: usize = 2;

/// The width that is assumed without a terminal.
const DEFAULT_COLUMNS: usize = 160;

/// The narrowest column.
const LEAST_WIDTH: usize = 6;

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableColumn {
    title: String,
    content: ColumnContent,
    /// Width that the content needs at least to be useful.
    least: usize,
    /// Width beyond which more is seldom needed.
    enough: usize,
    /// Width in this table.
    width: usize,
}

/// What a column shows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ColumnContent {
    /// One field.
    Field(Field),
    /// Account and Region.
    Place,
    /// The error in red, else the resource.
    ErrorOrResource,
}

/// The columns of a table.
#[derive(Clone, Debug)]
pub(super) struct TableLayout {
    columns: Vec<TableColumn>,
    terminal: Terminal,
}

impl TableLayout {
    /// Returns the layout for these fields, or for the usual columns. A narrow terminal has fewer of them.
    pub(super) fn new(fields: Option<&FieldList>, terminal: Terminal) -> Self {
        let available = terminal.columns.unwrap_or(DEFAULT_COLUMNS);
        let mut columns =
            fields.map_or_else(usual_columns, |fields| fields.iter().map(field_column).collect());
        if fields.is_none() {
            // The address is the first to go, then account and Region.
            for dispensable in ["IP", "ACCOUNT/REGION"] {
                if least_width(&columns) > available {
                    columns.retain(|column| column.title != dispensable);
                }
            }
        }
        distribute(&mut columns, available);
        Self { columns, terminal }
    }

    /// Appends the titles of the columns.
    pub(super) fn write_header(&self, out: &mut Vec<u8>) {
        let style = Style::new().bold().force_styling(self.terminal.color == Color::Always);
        let cells =
            self.columns.iter().map(|column| (Cow::Borrowed(column.title.as_str()), Some(&style)));
        self.write_cells(cells, out);
    }

    /// Appends the row of an event.
    pub(super) fn write_row(&self, event: &Value, out: &mut Vec<u8>) {
        let red = Style::new().red().force_styling(self.terminal.color == Color::Always);
        let cells = self.columns.iter().map(|column| match &column.content {
            ColumnContent::Field(field) => (field.text(event), None),
            ColumnContent::Place => (place(event), None),
            ColumnContent::ErrorOrResource => match ComputedField::Error.text(event) {
                error if error.is_empty() => (ComputedField::Resource.text(event), None),
                error => (error, Some(&red)),
            },
        });
        self.write_cells(cells, out);
    }

    fn write_cells<'c>(
        &self,
        cells: impl Iterator<Item = (Cow<'c, str>, Option<&'c Style>)>,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        let last = self.columns.len() - 1;
        for (at, ((text, style), column)) in cells.zip(&self.columns).enumerate() {
            let shown = self.fit(&text, column.width);
            let blanks = column.width.saturating_sub(measure_text_width(&shown));
            match style.filter(|_| self.terminal.color == Color::Always) {
                Some(style) => out.extend_from_slice(style.apply_to(&shown).to_string().as_bytes()),
                None => out.extend_from_slice(shown.as_bytes()),
            }
            if at < last {
                out.resize(out.len() + blanks + GAP, b' ');
            }
        }
        let end = start + out[start..].trim_ascii_end().len();
        out.truncate(end);
    }

    fn fit(&self, text: &str, width: usize) -> String {
        // Truncated before it is escaped too, so that a text of megabytes costs no more than a short one.
        match self.terminal.columns {
            Some(_) => truncate_middle(&escape_unprintable(&shorten(text)), width),
            None => escape_unprintable(text),
        }
    }
}

/// The longest text that is measured as a whole.
const MAX_MEASURED_BYTES: usize = 4_096;

/// Returns a text without its middle, if it is far longer than any terminal is wide.
fn shorten(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_MEASURED_BYTES {
        return text.into();
    }
    let front = text.floor_char_boundary(MAX_MEASURED_BYTES / 2);
    let back = text.ceil_char_boundary(text.len() - MAX_MEASURED_BYTES / 2);
    format!("{}…{}", &text[..front], &text[back..]).into()
}

/// Returns account and Region, separated by a blank.
fn place(event: &Value) -> Cow<'_, str> {
    let (account, region) = (ComputedField::Account.text(event), ComputedField::Region.text(event));
    match (account.is_empty(), region.is_empty()) {
        (_, true) => account,
        (true, false) => region,
        (false, false) => format!("{account} {region}").into(),
    }
}

fn usual_columns() -> Vec<TableColumn> {
    let computed = |field| ColumnContent::Field(Field::of_computed(field));
    [
        // A time has 20 characters, an account 12, and most Regions up to 14.
        ("TIME", computed(ComputedField::Time), 20, 20),
        ("ACCOUNT/REGION", ColumnContent::Place, 22, 27),
        ("PRINCIPAL", computed(ComputedField::Principal), 16, 40),
        ("ACTION", computed(ComputedField::Action), 18, 40),
        ("RESOURCE OR ERROR", ColumnContent::ErrorOrResource, 17, 90),
        ("IP", computed(ComputedField::Ip), 15, 30),
    ]
    .into_iter()
    .map(|(title, content, least, enough)| TableColumn {
        title: title.to_owned(),
        content,
        least,
        enough,
        width: least,
    })
    .collect()
}

fn field_column(field: &Field) -> TableColumn {
    let (least, enough) = match field.computed() {
        Some(ComputedField::Time) => (20, 20),
        Some(ComputedField::Account) => (12, 12),
        Some(ComputedField::Region) => (9, 14),
        Some(ComputedField::Ip) => (15, 30),
        Some(ComputedField::Service) => (8, 20),
        Some(ComputedField::Error) => (12, 30),
        Some(_) => (16, 60),
        None if field.name() == "eventTime" => (20, 20),
        None if field.name() == "eventID" => (LEAST_WIDTH, 36),
        None => (LEAST_WIDTH, usize::MAX / 1_000),
    };
    let title = escape_unprintable(field.name());
    let content = ColumnContent::Field(field.clone());
    TableColumn { title, content, least, enough, width: least }
}

fn least_width(columns: &[TableColumn]) -> usize {
    columns.iter().map(|column| column.least + GAP).sum::<usize>().saturating_sub(GAP)
}

/// Distributes the available width: what is left beyond the least widths goes to all columns that want more, equally.
fn distribute(columns: &mut [TableColumn], available: usize) {
    for column in columns.iter_mut() {
        column.width = column.least;
    }
    let gaps = GAP * columns.len().saturating_sub(1);
    let mut left = available.saturating_sub(least_width(columns));
    if least_width(columns) > available {
        let each = (available.saturating_sub(gaps) / columns.len().max(1)).max(1);
        for column in columns.iter_mut() {
            column.width = column.width.min(each);
        }
        left = available
            .saturating_sub(columns.iter().map(|column| column.width).sum::<usize>() + gaps);
    }
    loop {
        let wanting = columns.iter().filter(|column| column.width < column.enough).count();
        if left == 0 || wanting == 0 {
            return;
        }
        let each = (left / wanting).max(1);
        for column in columns.iter_mut().filter(|column| column.width < column.enough) {
            let more = each.min(column.enough - column.width).min(left);
            column.width += more;
            left -= more;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn terminal(columns: usize) -> Terminal {
        Terminal { columns: Some(columns), color: Color::Never }
    }

    fn event() -> Value {
        json!({
            "eventTime": "2024-06-30T23:59:59Z", "eventSource": "s3.amazonaws.com", "eventName": "GetObject",
            "awsRegion": "eu-central-1", "recipientAccountId": "111122223333", "sourceIPAddress": "192.0.2.1",
            "resources": [{"ARN": "arn:aws:s3:::a-bucket-with-a-long-name/and/a/long/key"}],
        })
    }

    fn row(layout: &TableLayout, event: &Value) -> String {
        let mut out = Vec::new();
        layout.write_row(event, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn header(layout: &TableLayout) -> String {
        let mut out = Vec::new();
        layout.write_header(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_narrow_terminal_has_fewer_columns() {
        let titles = |columns| header(&TableLayout::new(None, terminal(columns)));
        let titles_of = |columns| {
            titles(columns)
                .split("  ")
                .map(str::trim)
                .filter(|title| !title.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            titles_of(160),
            ["TIME", "ACCOUNT/REGION", "PRINCIPAL", "ACTION", "RESOURCE OR ERROR", "IP"]
        );
        assert_eq!(titles_of(110).len(), 5);
        assert_eq!(titles_of(80).len(), 4);
    }

    #[test]
    fn an_error_is_shown_in_place_of_the_resource() {
        let mut denied = event();
        let layout = TableLayout::new(None, Terminal { columns: Some(120), color: Color::Always });
        assert!(row(&layout, &denied).contains("arn:"));
        denied["errorCode"] = "AccessDenied".into();
        let shown = row(&layout, &denied);
        assert!(
            shown.contains("\u{1b}[31mAccessDenied\u{1b}[0m") && !shown.contains("arn:"),
            "{shown:?}"
        );
    }

    #[test]
    fn without_a_terminal_nothing_is_truncated() {
        let layout = TableLayout::new(None, Terminal::default());
        assert!(
            row(&layout, &event())
                .contains("arn:aws:s3:::a-bucket-with-a-long-name/and/a/long/key")
        );
    }

    proptest! {
        #[test]
        fn a_row_never_exceeds_the_terminal_or_steers_it(
            columns in 20_usize..250, text in "\\PC{0,80}|.{0,80}", fields in 1_usize..6, usual: bool,
        ) {
            let mut event = event();
            event["eventName"] = text.clone().into();
            event["errorCode"] = text.into();
            let names = ["eventName", "time", "errorCode", "ip", "account", "x.y"][..fields].join(",");
            let fields: FieldList = names.parse().unwrap();
            let layout = TableLayout::new((!usual).then_some(&fields), terminal(columns));
            let row = row(&layout, &event);
            prop_assert!(measure_text_width(&row) <= columns.max(28), "{row}");
            prop_assert!(crate::report::terminal::is_printable(&row));
        }
    }
}
