//! Finds and restores CloudTrail events in the envelopes that other services and tools put around them.
//!
//! Input: the text of one object, row or table header. Output: the offset of the event, or the event itself where its
//! names or values have to be restored.
//! Invariant: no I/O; an envelope is recognized by members that only it has, so that foreign JSON stays foreign.
//!
//! | file | responsible for |
//! |---|---|
//! | [`payload`] | the member of an envelope that holds the event: SNS, SQS, Lambda, Firehose, documents of an index, Splunk, Wazuh |
//! | [`row`] | rows as lists of fields: CloudWatch Logs Insights, CloudTrail Lake |
//! | [`table`] | tables with a header: CSV of the console, Athena, CloudTrail Lake, Splunk |
//! | [`field_names`] | the names of CloudTrail's fields, for columns in lower case |
//! | [`column_values`], [`struct_text`] | values that a query engine turned into text |
//! | [`unsupported_input`] | forms from which no record can be restored |

mod column_values;
mod field_names;
mod json_text;
pub(super) mod payload;
pub(super) mod row;
mod struct_text;
pub(super) mod table;
pub(super) mod unsupported_input;

/// Writes the record at `text[start]`, whose names or values are those of columns, to `out` as CloudTrail writes it.
/// Returns `None` if the object is not JSON.
pub(super) fn restore_record(text: &[u8], start: usize, out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    column_values::write_object(text, start, field_names::RECORD, payload::WAZUH_MEMBERS, out)
        .map(|_| ())
}
