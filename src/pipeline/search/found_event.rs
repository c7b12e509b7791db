//! An event that is examined: its bytes, its header, and its parsed JSON.
//!
//! Input: a record. Output: the original record, if it is in a document of this program; the parsed JSON, whatever has
//! to be repaired; the id by which an event is found once.

use std::borrow::Cow;

use serde_json::{Value, value::RawValue};

use crate::{
    filter::query::EventHeader,
    normalize::{MalformedRecord, content_hash, event_uuid, repair_record},
};

/// A record as bytes that are printed and as parsed JSON.
pub(super) struct ParsedRecord<'r> {
    /// Valid JSON: the original bytes, unless they had to be repaired.
    pub(super) json: Cow<'r, [u8]>,
    pub(super) value: Value,
}

/// Parses a record. One that is nested deeper than `serde_json` accepts, or that is not quite JSON, is parsed by the
/// tolerant parser of the normalizer.
pub(super) fn parse_record(record: &[u8]) -> Result<ParsedRecord<'_>, MalformedRecord> {
    match serde_json::from_slice(record) {
        Ok(value @ Value::Object(_)) => Ok(ParsedRecord { json: Cow::Borrowed(record), value }),
        _ => {
            let repaired = repair_record(record)?;
            Ok(ParsedRecord { json: Cow::Owned(repaired.json), value: repaired.value })
        }
    }
}

/// Returns a record as valid JSON: as it is, unless it has to be repaired.
pub(super) fn valid_json(record: &[u8]) -> Result<Cow<'_, [u8]>, MalformedRecord> {
    match serde_json::from_slice::<&RawValue>(record) {
        Ok(_) => Ok(Cow::Borrowed(record)),
        Err(_) => Ok(Cow::Owned(repair_record(record)?.json)),
    }
}

/// Returns the id by which an event is found once: the event id, else a hash of the content, as a load does.
pub(super) fn identity(header: &EventHeader<'_>, json: &[u8]) -> Result<u128, MalformedRecord> {
    match header.event_id.and_then(|id| event_uuid(id.as_bytes())) {
        Some(id) => Ok(id),
        None => content_hash(json),
    }
}
