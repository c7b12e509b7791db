//! How events are printed: format, fields and terminal.

use super::{field::FieldList, table::TableLayout};
use crate::report::terminal::Terminal;

/// An output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFormat {
    /// One JSON object a line; the original bytes, unless fields are selected.
    Ndjson,
    /// One JSON array.
    Json,
    /// Comma-separated values with a header line, quoted as RFC 4180 defines.
    Csv,
    /// Tab-separated values with a header line.
    Tsv,
    /// A table for people.
    Table,
}

/// Columns of CSV and TSV unless fields are selected.
const SEPARATED_COLUMNS: [&str; 11] = [
    "time",
    "account",
    "region",
    "principal",
    "userIdentity.arn",
    "action",
    "resource",
    "error",
    "ip",
    "userAgent",
    "eventID",
];

/// How events are printed.
#[derive(Clone, Debug)]
pub struct OutputStyle {
    /// The output format.
    pub format: EventFormat,
    /// The selected fields, or `None` for those of the format.
    pub fields: Option<FieldList>,
    /// The device that is printed to.
    pub terminal: Terminal,
}

impl OutputStyle {
    /// Returns whether the output is displayed, so that characters that steer a terminal have to be escaped.
    pub(super) fn is_displayed(&self) -> bool {
        self.terminal.columns.is_some() || self.format == EventFormat::Table
    }

    /// Returns the columns of CSV and TSV.
    pub(super) fn separated_columns(&self) -> FieldList {
        self.fields.clone().unwrap_or_else(|| FieldList::of(&SEPARATED_COLUMNS))
    }

    /// Returns the columns of a table.
    pub(super) fn table_layout(&self) -> TableLayout {
        TableLayout::new(self.fields.as_ref(), self.terminal)
    }
}
