//! The answer to a panel's question: the rows that its chart or table shows.
//!
//! Input: what an engine responded, or what was counted here. Output: [`PanelAnswer`].
//! Invariant: rows are in the order in which the panel shows them, and a row has one key for each bucket and one value for
//! each metric.

/// The answer to a panel's question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PanelAnswer {
    /// Number of documents that match the panel's query.
    pub documents: u64,
    /// The rows. Without buckets there is one, even if no document matches.
    pub rows: Vec<AnswerRow>,
    /// Whether there were more groups than are counted, so that rare ones may be missing and numbers be too low.
    pub is_incomplete: bool,
}

/// A combination of groups, and what was computed for its documents.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerRow {
    /// The groups, from the outermost bucket to the innermost.
    pub keys: Vec<GroupKey>,
    /// The values of the panel's metrics. `None` if no document of the group has the field.
    pub values: Vec<Option<f64>>,
}

/// A group of documents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKey {
    /// The start of an interval, in milliseconds since 1970.
    Time(i64),
    /// A value of a field, or the label of a query.
    Text(String),
}
