//! What CloudTrail events are wrapped in, other than AWS's own log files, and how it is taken off.
//!
//! In: the text of one object, row or file head. Out: where the event is in it, or the event itself where its names or
//! values have to be restored.
//! ColumnType: pure, no I/O; a wrapper is known by the members that only it has, so that foreign JSON stays foreign.
//!
//! | file | decides |
//! |---|---|
//! | [`payload`] | which member of an envelope holds the event: SNS, SQS, Lambda, Firehose, documents of an index, Splunk, Wazuh |
//! | [`row`] | rows that come as lists: CloudWatch Logs Insights, CloudTrail Lake |
//! | [`table`] | tables with a header: CSV of the console, Athena, CloudTrail Lake, Splunk |
//! | [`field_names`] | the names of CloudTrail's fields, where they lost their capitals |
//! | [`column_values`], [`struct_text`] | values that a query engine turned into text |
//! | [`unsupported_input`] | what is known and cannot be read |

mod field_names;
pub(super) mod payload;
pub(super) mod row;
mod struct_text;
pub(super) mod table;
pub(super) mod unsupported_input;
mod column_values;

/// Writes the record at `text[start]`, whose names or values are those of columns, as CloudTrail writes it. Returns
/// whether that could be done.
pub(super) fn restore(text: &[u8], start: usize, out: &mut Vec<u8>) -> bool {
    out.clear();
   column_values::object(text, start, field_names::RECORD, payload::OF_WAZUH, out).is_some()
}
