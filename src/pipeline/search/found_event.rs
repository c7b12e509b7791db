//! An event that is examined: its bytes, its header, and its parsed JSON.
//!
//! Input: a record. Output: the original record, if it is in a document of this program; the parsed JSON, whatever has
//! to be repaired; the id by which an event is found once.

use std::borrow::Cow;

use serde_json::{Value, value::RawValue};

use crate::{
    filter::query::EventHeader,
    normalize::{MalformedRecord, content_hash, event_uuid, repair_record},
    source::is_plain_object,
};

/// A record as bytes that are printed and as parsed JSON.
pub(in crate::pipeline) struct ParsedRecord<'r> {
    /// Valid JSON: the original bytes, unless they had to be repaired.
    pub(in crate::pipeline) json: Cow<'r, [u8]>,
    pub(in crate::pipeline) value: Value,
}

/// Parses a record. One that is nested deeper than `serde_json` accepts, or that is not quite JSON, is parsed by the
/// tolerant parser of the normalizer.
pub(in crate::pipeline) fn parse_record(
    record: &[u8],
) -> Result<ParsedRecord<'_>, MalformedRecord> {
    if let Ok(value @ Value::Object(_)) = serde_json::from_slice(record) {
        return Ok(ParsedRecord { json: Cow::Borrowed(record), value });
    }
    let repaired = repair_record(record)?;
    Ok(ParsedRecord { json: Cow::Owned(repaired.json), value: repaired.value })
}

/// The most memory that a parsed record may take. Events of CloudTrail have 256 KB at most; with the text of the record,
/// its copy for the output and all other memory, a search stays below 100 MB.
const MAX_PARSED_BYTES: usize = 24 << 20;

/// Memory of a parsed value beside its text, measured with lists of numbers and of empty objects.
const VALUE_BYTES: usize = 80;

/// Length from which the values of a record are counted; a shorter one cannot exceed the limit.
const COUNTED_BYTES: usize = MAX_PARSED_BYTES / VALUE_BYTES;

/// Returns whether a record is too large to be parsed as a whole.
pub(in crate::pipeline) fn is_too_large(record: &[u8]) -> bool {
    if record.len() < COUNTED_BYTES {
        return false;
    }
    // Every value but the first follows one of these; those in strings count as well.
    let values = record.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    record.len() + values * VALUE_BYTES > MAX_PARSED_BYTES
}

/// Returns a record as valid JSON: as it is, unless it has to be repaired.
pub(super) fn valid_json(record: &[u8]) -> Result<Cow<'_, [u8]>, MalformedRecord> {
    if is_plain_object(record) {
        return Ok(Cow::Borrowed(record));
    }
    match serde_json::from_slice::<&RawValue>(record) {
        Ok(_) => Ok(Cow::Borrowed(record)),
        Err(_) => Ok(Cow::Owned(repair_record(record)?.json)),
    }
}

/// Returns the id by which an event is found once: the event id, else a hash of the content, as a load does.
pub(in crate::pipeline) fn identity(
    header: &EventHeader<'_>,
    json: &[u8],
) -> Result<u128, MalformedRecord> {
    match header.event_id.and_then(|id| event_uuid(id.as_bytes())) {
        Some(id) => Ok(id),
        None => content_hash(json),
    }
}
