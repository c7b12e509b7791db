//! Classifies a JSON object by its first keys: a CloudTrail record, an envelope around one, a list of records, or
//! something else.
//!
//! Input: text with an object in it, and the context that the object was found in. Output: a `Classification`.
//! Rules: an object is a record if it has `eventVersion`, or `eventID`, or `eventName` and `eventSource`, or `eventId`
//! and `timeWindow` (aggregated events), or `userIdentity` and `eventTime`. In a list called `Records` every object is
//! a record; in a document of another store two of these keys are required. S3 notifications and the batches that
//! Lambda is called with have similar keys, but their `eventSource` starts with `aws:`. Other envelopes are recognized
//! by `envelope::payload`.
//! Invariant: a record as CloudTrail writes it is recognized by its first bytes; it is not walked through for that. A
//! text that is cut off anywhere is classified as before or as incomplete.

use std::{fmt, ops::Range};

use memchr::memmem;

use super::{
    members::Members,
    record_handler::EnvelopeMember,
    skip::{SkipError, skip_space, skip_string},
};
use crate::{
    filter::eventbridge::is_envelope_field,
    source::{
        envelope::{
            payload::{Envelope, Payload, PayloadForm, begins_json, is_forwarding_service},
            unsupported_input::UnsupportedInput,
        },
        input_format::InputFormat,
    },
};

/// The kind of content that is not CloudTrail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForeignKind {
    /// A CloudTrail digest file, for validating the integrity of log files.
    Digest,
    /// A configuration snapshot or history of AWS Config.
    Config,
    /// An S3 event notification, or another event that Lambda is called with.
    Notification,
    /// Other JSON.
    Json,
    /// Text that is not JSON.
    Text,
    /// HTML or XML: often the error page of a proxy or a service, saved in place of the object.
    Markup,
    /// Only zero bytes: a file that was allocated and never written.
    Zeros,
    /// Anything else: images, archives, columnar files.
    Binary,
}

impl fmt::Display for ForeignKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Digest => "digest file",
            Self::Config => "AWS Config snapshot",
            Self::Notification => "event notification",
            Self::Json => "JSON that is not CloudTrail",
            Self::Text => "text that is not JSON",
            Self::Markup => "HTML or XML, possibly an error page saved as the file",
            Self::Zeros => "only zero bytes",
            Self::Binary => "binary data",
        })
    }
}

/// The place in which an object was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::source) enum ObjectContext {
    /// At the top level of a text or line.
    #[default]
    Top,
    /// In a bare list.
    Array,
    /// In the list `Records`.
    Records,
    /// In the list `Events` of a LookupEvents response.
    Lookup,
    /// In the list `logEvents` or `events` of CloudWatch Logs.
    Logs,
    /// In an envelope that holds exactly one event.
    Embedded,
    /// In a document of an index or an entry of another store.
    Document,
    /// In the object `hits` of a search response.
    Hits,
    /// In a list of rows.
    Rows,
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum Classification {
    /// A record.
    Record,
    /// An envelope with a record as an object, which starts at this offset.
    RecordAt(usize),
    /// An envelope with a text in a string, which starts at this offset.
    TextAt(usize),
    /// An envelope with a document to be classified, which starts at this offset.
    DocumentAt(usize),
    /// An envelope, or a record whose names or values have to be restored, and the offset behind the object.
    Payload(Payload, usize),
    /// An event in a form from which the record cannot be restored.
    Unsupported(UnsupportedInput),
    /// An action line of a bulk request; the document follows.
    BulkAction,
    /// An event of LookupEvents with its record in a string, which starts at this offset.
    LookupEvent(usize),
    /// An event of LookupEvents without its record, and the reason.
    MissingRecord(&'static str),
    /// An object that holds lists of records or envelopes.
    List,
    /// Not CloudTrail.
    Foreign(ForeignKind),
    /// A CloudWatch Logs control message (a delivery check).
    ControlMessage,
    /// The text ends before the object can be classified.
    Incomplete,
    /// The text ends inside an object that has the keys of a record.
    IncompleteRecord,
    /// Not JSON.
    Invalid { offset: usize, cause: &'static str },
}

/// The first bytes of a record as CloudTrail and Python's `json` write it. S3 notifications have version 2.
const RECORD_PREFIXES: [&[u8]; 2] = [b"{\"eventVersion\":\"1.", b"{\"eventVersion\": \"1."];

/// Classifies the object at `text[start]`.
pub(in crate::source) fn classify(
    text: &[u8],
    start: usize,
    context: ObjectContext,
) -> Classification {
    let has_record_prefix = RECORD_PREFIXES.iter().any(|prefix| text[start..].starts_with(prefix));
    let may_have_columns = !matches!(context, ObjectContext::Records | ObjectContext::Embedded);
    if has_record_prefix && (!may_have_columns || has_plain_objects(&text[start..])) {
        return Classification::Record;
    }
    let reads_all_members = has_record_prefix || context == ObjectContext::Document;
    let mut seen = KeysSeen { context, start, reads_all_members, ..KeysSeen::default() };
    let mut members = Members::new(text, start);
    loop {
        let outcome = match members.next_key() {
            Ok(Some((key, value))) => seen.member(key, text, value, &mut members),
            Ok(None) => return seen.classification(members.end()),
            Err(error) => Err(seen.failed(error)),
        };
        if let Err(classification) = outcome {
            return classification;
        }
    }
}

/// Returns whether the object at `text[object]` is a record that stands alone in its envelope.
fn is_embedded_record(text: &[u8], object: usize) -> bool {
    classify(text, object, ObjectContext::Embedded) == Classification::Record
}

/// How far [`has_plain_objects`] searches: most records are shorter.
const PLAIN_SCAN_BYTES: usize = 16 << 10;

/// Returns whether the nested objects of a record are JSON objects, as far as that can be seen without walking through
/// it. Query engines return them as strings.
fn has_plain_objects(text: &[u8]) -> bool {
    let text = &text[..text.len().min(PLAIN_SCAN_BYTES)];
    [&b"\"userIdentity\""[..], b"\"requestParameters\""].iter().all(|key| {
        let Some(at) = memmem::find(text, key) else { return false };
        let colon = skip_space(text, at + key.len());
        let value = text.get(skip_space(text, colon + 1));
        text.get(colon) == Some(&b':') && matches!(value, Some(b'{' | b'n'))
    })
}

/// The fields of an event of LookupEvents that are not in its record, as JSON values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::source) struct EnvelopeFields<'t> {
    /// The value of `Username`.
    pub(in crate::source) username: Option<&'t [u8]>,
    /// The value of `Resources`.
    pub(in crate::source) resources: Option<&'t [u8]>,
    /// The value of `EventId`.
    pub(in crate::source) event_id: Option<&'t [u8]>,
    /// The object was read to its end, or as far as it is JSON: more text would add nothing.
    pub(in crate::source) is_complete: bool,
}

/// Returns the fields of the event of LookupEvents at `text[start]`, as far as the text goes and is JSON.
pub(in crate::source) fn envelope_fields(text: &[u8], start: usize) -> EnvelopeFields<'_> {
    let mut fields = EnvelopeFields::default();
    let mut members = Members::new(text, start);
    loop {
        let member = match members.next_member() {
            Ok(Some(member)) => member,
            Err(SkipError::Incomplete) => return fields,
            Ok(None) | Err(SkipError::Invalid { .. }) => {
                return EnvelopeFields { is_complete: true, ..fields };
            }
        };
        match member.key {
            b"Username" => fields.username = Some(&text[member.value]),
            b"Resources" => fields.resources = Some(&text[member.value]),
            b"EventId" => fields.event_id = Some(&text[member.value]),
            _ => {}
        }
    }
}

/// The longest value of an envelope of EventBridge that is read: those that it writes are much shorter.
const MAX_ENVELOPE_VALUE_BYTES: usize = 64 << 10;

/// The members of an event of EventBridge beside its record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::source) struct EventBridgeMembers<'t> {
    /// The fields of the envelope, in their order.
    pub(in crate::source) members: Vec<EnvelopeMember<'t>>,
    /// The object was read to its end, or as far as it is JSON: more text would add nothing.
    pub(in crate::source) is_complete: bool,
}

/// Returns the envelope of the event of EventBridge at `text[start]`, as far as the text goes and is JSON.
pub(in crate::source) fn eventbridge_members(text: &[u8], start: usize) -> EventBridgeMembers<'_> {
    // Repeated fields are possible, and as many as a text has room for.
    const MAX_MEMBERS: usize = 64;
    let mut found = EventBridgeMembers::default();
    let mut members = Members::new(text, start);
    while found.members.len() < MAX_MEMBERS {
        let member = match members.next_member() {
            Ok(Some(member)) => member,
            Err(SkipError::Incomplete) => return found,
            Ok(None) | Err(SkipError::Invalid { .. }) => break,
        };
        match str::from_utf8(member.key) {
            Ok(name)
                if is_envelope_field(name) && member.value.len() <= MAX_ENVELOPE_VALUE_BYTES =>
            {
                found.members.push((name, &text[member.value]));
            }
            _ => {}
        }
    }
    found.is_complete = true;
    found
}

/// Returns the context of the objects in the list called `key`, or `None` if that list is not read.
pub(in crate::source) fn list_context(key: &[u8], context: ObjectContext) -> Option<ObjectContext> {
    match (key, context) {
        (b"hits", ObjectContext::Hits) => Some(ObjectContext::Array),
        (_, ObjectContext::Top | ObjectContext::Array) => match key {
            b"Records" => Some(ObjectContext::Records),
            b"Events" => Some(ObjectContext::Lookup),
            b"events" | b"logEvents" => Some(ObjectContext::Logs),
            b"results" | b"QueryResultRows" => Some(ObjectContext::Rows),
            b"Messages" | b"records" | b"responses" | b"docs" | b"Entries" => {
                Some(ObjectContext::Array)
            }
            _ => None,
        },
        _ => None,
    }
}

/// Returns the context of the members of the object called `key`, or `None` if it holds no lists that are read.
pub(in crate::source) fn container_context(
    key: &[u8],
    context: ObjectContext,
) -> Option<ObjectContext> {
    match (key, context) {
        (b"hits", ObjectContext::Top | ObjectContext::Array) => Some(ObjectContext::Hits),
        // The response that Kibana and OpenSearch Dashboards show for a request.
        (b"rawResponse", ObjectContext::Top | ObjectContext::Array) => Some(ObjectContext::Array),
        _ => None,
    }
}

/// The significant keys of an object that were read so far.
#[derive(Debug, Default)]
struct KeysSeen {
    context: ObjectContext,
    start: usize,
    keys: u32,
    /// The first key was `eventVersion`.
    version_first: bool,
    /// All members have to be read, although the keys of a record were found.
    reads_all_members: bool,
    /// Members that may hold an event.
    envelope: Envelope,
    /// Objects of the record are strings with JSON, as query engines return them.
    has_column_texts: bool,
    /// Keys of a record in lower case, as query engines return them.
    lower_case_keys: u32,
}

const EVENT_VERSION: u32 = 1;
const EVENT_ID: u32 = 1 << 1;
const EVENT_NAME: u32 = 1 << 2;
const EVENT_SOURCE: u32 = 1 << 3;
const AGGREGATE_ID: u32 = 1 << 4;
const TIME_WINDOW: u32 = 1 << 5;
const USER_IDENTITY: u32 = 1 << 6;
const EVENT_TIME: u32 = 1 << 7;
const LOOKUP_ID: u32 = 1 << 8;
const LOOKUP_NAME: u32 = 1 << 9;
/// Any other key.
const OTHER_KEY: u32 = 1 << 10;
/// The keys that only a record has.
const RECORD_KEYS: u32 = EVENT_VERSION
    | EVENT_ID
    | EVENT_NAME
    | EVENT_SOURCE
    | AGGREGATE_ID
    | TIME_WINDOW
    | USER_IDENTITY
    | EVENT_TIME;

impl KeysSeen {
    /// Records a member whose key was read and whose value starts at `text[value]`, and skips that value.
    ///
    /// # Errors
    ///
    /// Returns the classification as soon as it is known.
    fn member(
        &mut self,
        key: &[u8],
        text: &[u8],
        value: usize,
        members: &mut Members<'_>,
    ) -> Result<(), Classification> {
        self.classify_by_key(key, text, value)?;
        self.add_key(key, text, value)?;
        let end = members.skip_value().map_err(|error| self.failed(error))?;
        if self.context != ObjectContext::Embedded {
            self.add_value(key, text, value..end);
        }
        Ok(())
    }

    /// Records a value that shows that the event is wrapped or that its fields are columns.
    fn add_value(&mut self, key: &[u8], text: &[u8], value: Range<usize>) {
        self.has_column_texts |= is_column(key) && begins_json(text, value.start);
        self.lower_case_keys |= match key {
            b"eventversion" => EVENT_VERSION,
            b"eventid" => EVENT_ID,
            b"eventname" => EVENT_NAME,
            b"eventsource" => EVENT_SOURCE,
            b"useridentity" => USER_IDENTITY,
            b"eventtime" => EVENT_TIME,
            _ => 0,
        };
        self.envelope.add_member(key, text, value, is_embedded_record);
    }

    /// Returns an error with the classification if the key shows that the object is an envelope or not CloudTrail.
    fn classify_by_key(&self, key: &[u8], text: &[u8], value: usize) -> Result<(), Classification> {
        if self.has_record_keys() {
            return Ok(());
        }
        let is_embedded = self.context == ObjectContext::Embedded;
        Err(match (key, text[value]) {
            (_, b'[') if list_context(key, self.context).is_some() => Classification::List,
            (_, b'{') if container_context(key, self.context).is_some() => Classification::List,
            (b"_source" | b"result", b'{') if self.may_hold_documents() => {
                Classification::DocumentAt(value)
            }
            (b"index" | b"create" | b"update" | b"delete", b'{') if self.keys == 0 => {
                match is_bulk_action(&text[value..]) {
                    Some(true) => Classification::BulkAction,
                    Some(false) => return Ok(()),
                    None => self.incomplete(),
                }
            }
            (b"detail" | b"CloudTrailEvent", b'{') if !is_embedded => {
                match classify(text, value, ObjectContext::Embedded) {
                    Classification::Record => Classification::RecordAt(value),
                    Classification::Incomplete | Classification::IncompleteRecord => {
                        return Err(self.incomplete());
                    }
                    Classification::Invalid { offset, cause } => {
                        Classification::Invalid { offset, cause }
                    }
                    _ => Classification::Foreign(ForeignKind::Json),
                }
            }
            (b"CloudTrailEvent", b'"') if !is_embedded => Classification::LookupEvent(value),
            (b"CloudTrailEvent", b'n') if !is_embedded => {
                Classification::MissingRecord("CloudTrailEvent is null")
            }
            (b"CloudTrailEvent", _) if !is_embedded => {
                Classification::MissingRecord("CloudTrailEvent is neither a string nor an object")
            }
            (b"message", b'"') if self.context == ObjectContext::Logs => {
                Classification::TextAt(value)
            }
            (b"messageType", b'"') => match starts_with(&text[value..], b"\"CONTROL_MESSAGE\"") {
                Some(true) => Classification::ControlMessage,
                Some(false) => return Ok(()),
                None => self.incomplete(),
            },
            (b"digestStartTime" | b"digestEndTime" | b"digestS3Bucket", b'"')
            | (b"logFiles", b'[') => Classification::Foreign(ForeignKind::Digest),
            (b"configurationItems" | b"configurationItem" | b"configurationItemDiff", _)
            | (b"configSnapshotId", b'"') => Classification::Foreign(ForeignKind::Config),
            _ => return Ok(()),
        })
    }

    /// Records a key, and returns an error with the classification if the keys suffice for one.
    fn add_key(&mut self, key: &[u8], text: &[u8], value: usize) -> Result<(), Classification> {
        self.keys |= match key {
            b"eventVersion" => {
                self.version_first |= self.keys == 0;
                EVENT_VERSION
            }
            b"eventID" => EVENT_ID,
            b"eventName" => EVENT_NAME,
            b"eventId" => AGGREGATE_ID,
            b"timeWindow" => TIME_WINDOW,
            b"userIdentity" => USER_IDENTITY,
            b"eventTime" => EVENT_TIME,
            b"EventId" => LOOKUP_ID,
            b"EventName" => LOOKUP_NAME,
            b"eventSource" | b"EventSource" => match starts_with(&text[value..], b"\"aws:") {
                Some(true) if self.context == ObjectContext::Embedded => {
                    return Err(Classification::Foreign(ForeignKind::Notification));
                }
                Some(true) => match skip_string(text, value) {
                    Some(_) if is_forwarding_service(&text[value..]) => OTHER_KEY,
                    Some(_) => return Err(Classification::Foreign(ForeignKind::Notification)),
                    None => return Err(self.incomplete()),
                },
                Some(false) if key == b"eventSource" => EVENT_SOURCE,
                Some(false) => OTHER_KEY,
                None => return Err(self.incomplete()),
            },
            _ => OTHER_KEY,
        };
        let has_trail_version = key == b"eventVersion"
            && self.version_first
            && starts_with(&text[value..], b"\"1.") == Some(true);
        let is_record = has_trail_version || self.has(EVENT_SOURCE) && self.has_record_keys();
        if is_record && !self.reads_all_members && !self.envelope.is_document() {
            if matches!(self.context, ObjectContext::Records | ObjectContext::Embedded)
                || has_plain_objects(&text[self.start..])
            {
                return Err(Classification::Record);
            }
            self.reads_all_members = true;
        }
        Ok(())
    }

    fn may_hold_documents(&self) -> bool {
        matches!(self.context, ObjectContext::Top | ObjectContext::Array | ObjectContext::Rows)
    }

    fn has(&self, keys: u32) -> bool {
        self.keys & keys == keys
    }

    fn has_record_keys(&self) -> bool {
        self.has(EVENT_VERSION)
            || self.has(EVENT_ID)
            || self.has(EVENT_NAME | EVENT_SOURCE)
            || self.has(AGGREGATE_ID | TIME_WINDOW)
            || self.has(USER_IDENTITY | EVENT_TIME)
    }

    /// Returns whether the object is a record, by the rules of its context.
    fn is_record(&self) -> bool {
        match self.context {
            ObjectContext::Records => !self.envelope.is_forwarded(),
            ObjectContext::Document => {
                self.has_record_keys() && (self.keys & RECORD_KEYS).count_ones() > 1
            }
            _ => self.has_record_keys() && !self.envelope.is_forwarded(),
        }
    }

    /// Classifies the object, all of whose members were read; it ends before `end`.
    fn classification(&self, end: usize) -> Classification {
        let is_record =
            self.is_record() && (self.has_record_keys() || self.envelope.payload().is_none());
        let payload = if is_record { self.envelope.original() } else { self.envelope.payload() };
        if let Some(payload) = payload {
            return Classification::Payload(payload, end);
        }
        if is_record && !self.has_column_texts {
            return Classification::Record;
        }
        let columns = Payload {
            offset: self.start,
            form: PayloadForm::Columns,
            format: InputFormat::Columns,
        };
        match self.query_row() {
            _ if is_record => Classification::Payload(columns, end),
            QueryRow::WithId => Classification::Payload(columns, end),
            QueryRow::WithoutId => Classification::Unsupported(UnsupportedInput::NoEventId),
            QueryRow::None if self.envelope.is_forwarded() => {
                Classification::Foreign(ForeignKind::Notification)
            }
            QueryRow::None
                if self.context != ObjectContext::Embedded && self.has(LOOKUP_ID | LOOKUP_NAME) =>
            {
                Classification::MissingRecord("CloudTrailEvent is missing")
            }
            QueryRow::None => match self.envelope.unsupported() {
                Some(unsupported) => Classification::Unsupported(unsupported),
                None => Classification::Foreign(ForeignKind::Json),
            },
        }
    }

    /// Returns whether the object is a row of a query engine.
    fn query_row(&self) -> QueryRow {
        let has = |keys| self.lower_case_keys & keys == keys;
        let is_row = has(EVENT_NAME | EVENT_SOURCE)
            || has(EVENT_NAME | EVENT_ID | EVENT_TIME)
            || has(EVENT_VERSION | USER_IDENTITY);
        match (is_row, has(EVENT_ID)) {
            (false, _) => QueryRow::None,
            (true, true) => QueryRow::WithId,
            (true, false) => QueryRow::WithoutId,
        }
    }

    fn incomplete(&self) -> Classification {
        if self.is_record() { Classification::IncompleteRecord } else { Classification::Incomplete }
    }

    /// Classifies an object whose next member cannot be read. Invalid JSON with the keys of a record is passed on as a
    /// record: the normalizer has the better error message.
    fn failed(&self, error: SkipError) -> Classification {
        match error {
            SkipError::Incomplete => self.incomplete(),
            SkipError::Invalid { .. } if self.is_record() => Classification::Record,
            SkipError::Invalid { offset, cause } => Classification::Invalid { offset, cause },
        }
    }
}

/// Whether an object is a row of a query engine, and whether it has the event's ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QueryRow {
    None,
    WithId,
    WithoutId,
}

/// Returns whether query engines return this member of a record as a string.
fn is_column(key: &[u8]) -> bool {
    matches!(
        key,
        b"userIdentity"
            | b"requestParameters"
            | b"responseElements"
            | b"additionalEventData"
            | b"serviceEventDetails"
            | b"resources"
            | b"tlsDetails"
    )
}

/// Returns whether an object is the metadata of a bulk action, or `None` if the text ends before that is known.
fn is_bulk_action(text: &[u8]) -> Option<bool> {
    let at = skip_space(text, 1);
    match text.get(at)? {
        b'}' => Some(true),
        b'"' => Some(text.get(at + 1)? == &b'_'),
        _ => Some(false),
    }
}

/// Returns whether `text` starts with `prefix`, or `None` if it ends before that is known.
fn starts_with(text: &[u8], prefix: &[u8]) -> Option<bool> {
    if text.len() >= prefix.len() {
        return Some(text.starts_with(prefix));
    }
    if prefix.starts_with(text) { None } else { Some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_top(text: &str) -> Classification {
        classify(text.as_bytes(), 0, ObjectContext::Top)
    }

    #[test]
    fn records_are_known_by_their_keys() {
        for members in [
            r#""eventVersion":"1.08""#,
            r#""eventVersion": "1.08""#,
            r#" "eventVersion" : "1.08""#,
            r#""eventVersion":"2.0""#,
            r#""awsRegion":"x","eventID":"1","eventSource":"s3.amazonaws.com""#,
            r#""eventName":"A","eventSource":"s3.amazonaws.com""#,
            r#""eventId":"1","timeWindow":{}"#,
            r#""userIdentity":{},"eventTime":"x""#,
            r#""eventTime":"x","eventID":"1","insightDetails":{}"#,
        ] {
            assert_eq!(at_top(&format!("{{{members}}}")), Classification::Record, "{members}");
            let cut = at_top(&format!("{{{members},"));
            assert!(
                matches!(cut, Classification::Record | Classification::IncompleteRecord),
                "{members}"
            );
        }
        // As trails write it, and most others: by its first bytes.
        let first = r#"{"eventVersion":"1.08","userIdentity":{"x":1},"requestParameters":null,"#;
        assert_eq!(at_top(first), Classification::Record);
        assert_eq!(
            classify(br#"{"eventVersion":"1.08","#, 0, ObjectContext::Records),
            Classification::Record
        );
    }

    #[test]
    fn the_fields_of_columns_are_texts() {
        for members in [
            r#""eventVersion":"1.08","userIdentity":"{\"a\":1}","requestParameters":null"#,
            r#""eventVersion":"1.08","userIdentity":{},"requestParameters":"{\"a\":1}""#,
            r#""awsRegion":"x","eventID":"1","eventSource":"s","resources":"[]","userIdentity":null"#,
            r#""eventversion":"1.08","useridentity":{},"eventid":"1""#,
            r#""eventname":"1","eventsource":"x","eventid":"1""#,
        ] {
            let text = format!("{{{members}}}");
            let columns =
                Payload { offset: 0, form: PayloadForm::Columns, format: InputFormat::Columns };
            assert_eq!(at_top(&text), Classification::Payload(columns, text.len()), "{text}");
        }
        let text = r#"{"eventVersion":"1.08","userIdentity":{},"requestParameters":"HIDDEN"}"#;
        assert_eq!(at_top(text), Classification::Record);
        assert_eq!(
            at_top(r#"{"eventname":"1","eventsource":"x"}"#),
            Classification::Unsupported(UnsupportedInput::NoEventId)
        );
        for foreign in [r#"{"eventid":"1","eventname":"x"}"#, r#"{"eventversion":"1"}"#] {
            assert_eq!(at_top(foreign), Classification::Foreign(ForeignKind::Json), "{foreign}");
        }
    }

    #[test]
    fn an_entry_of_a_store_is_a_record_by_two_keys() {
        let document = |text: &str| classify(text.as_bytes(), 0, ObjectContext::Document);
        assert_eq!(
            document(r#"{"eventVersion":"1.0","x":1}"#),
            Classification::Foreign(ForeignKind::Json)
        );
        assert_eq!(
            document(r#"{"eventID":"1","x":1}"#),
            Classification::Foreign(ForeignKind::Json)
        );
        assert_eq!(
            document(r#"{"@timestamp":"t","eventVersion":"1","eventID":"1"}"#),
            Classification::Record
        );
    }

    #[test]
    fn notifications_are_no_records() {
        for text in [
            r#"{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"x","s3":{}}"#,
            r#"{"eventID":"1","eventVersion":"1.0","dynamodb":{},"eventSource":"aws:dynamodb"}"#,
            r#"{"kinesis":{},"eventSource":"aws:kinesis","eventVersion":"1.0"}"#,
            r#"{"EventSource":"aws:sns","EventVersion":"1.0"}"#,
        ] {
            for context in [ObjectContext::Top, ObjectContext::Records] {
                assert_eq!(
                    classify(text.as_bytes(), 0, context),
                    Classification::Foreign(ForeignKind::Notification),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn envelopes_and_others_are_told_apart() {
        assert_eq!(at_top(r#"{"a":{"b":[1]},"Records": [  "#), Classification::List);
        assert_eq!(at_top(r#"{"Records":null}"#), Classification::Foreign(ForeignKind::Json));
        assert_eq!(at_top(r#"{"detail":{"eventVersion":"1.0"}}"#), Classification::RecordAt(10));
        assert_eq!(
            at_top(r#"{"detail":{"state":"running"}}"#),
            Classification::Foreign(ForeignKind::Json)
        );
        assert_eq!(
            at_top(r#"{"EventId":"1","CloudTrailEvent":"{}"}"#),
            Classification::LookupEvent(33)
        );
        assert_eq!(
            at_top(r#"{"messageType":"CONTROL_MESSAGE","logEvents":[]}"#),
            Classification::ControlMessage
        );
        assert_eq!(
            at_top(r#"{"messageType":"DATA_MESSAGE","logEvents":[]}"#),
            Classification::List
        );
        assert_eq!(
            at_top(r#"{"awsAccountId":"1","digestStartTime":"x"}"#),
            Classification::Foreign(ForeignKind::Digest)
        );
        assert_eq!(
            at_top(r#"{"fileVersion":"1.0","configurationItems":[]}"#),
            Classification::Foreign(ForeignKind::Config)
        );
        assert!(matches!(at_top(r#"{"CloudTrailEvent":null}"#), Classification::MissingRecord(_)));
        assert!(matches!(
            at_top(r#"{"EventId":"1","EventName":"A"}"#),
            Classification::MissingRecord(_)
        ));
        assert_eq!(
            at_top(r#"{"Name":"1","EventId":"A"}"#),
            Classification::Foreign(ForeignKind::Json)
        );
        assert_eq!(at_top("{}"), Classification::Foreign(ForeignKind::Json));
        assert_eq!(classify(b"{}", 0, ObjectContext::Records), Classification::Record);
        assert!(matches!(at_top("{a}"), Classification::Invalid { offset: 1, .. }));
    }

    #[test]
    fn an_event_of_eventbridge_shows_its_envelope_before_and_behind_the_detail() {
        let text = br#"{"id": "i","detail":{"id":"x"},"time":"t","flat":1,"resources":[1] } ,"#;
        let whole = eventbridge_members(text, 0);
        let expected: [EnvelopeMember<'_>; 3] =
            [("id", br#""i""#), ("time", br#""t""#), ("resources", b"[1]")];
        assert_eq!((&*whole.members, whole.is_complete), (&expected[..], true));
        for cut in 1..text.len() {
            let part = eventbridge_members(&text[..cut], 0);
            assert_eq!(part.is_complete, cut > text.len() - 3, "{cut}");
            assert!(expected.starts_with(&part.members), "{cut}");
        }
        assert!(eventbridge_members(br#"{"id" 7}"#, 0).is_complete);
        let long = format!(r#"{{"id":"{}","time":"t"}}"#, "x".repeat(MAX_ENVELOPE_VALUE_BYTES));
        assert_eq!(eventbridge_members(long.as_bytes(), 0).members, [("time", &br#""t""#[..])]);
        let many = format!("{{{}\"id\":1", "\"id\":0,".repeat(1_000));
        assert_eq!(eventbridge_members(many.as_bytes(), 0).members.len(), 64);
    }

    #[test]
    fn an_envelope_says_who_and_what_before_and_behind_its_record() {
        let text = br#"{ "Username" : "a", "CloudTrailEvent":"{}","Resources":[{"x":1}],"y":2 } ,"#;
        let whole = envelope_fields(text, 0);
        assert_eq!(
            (whole.username, whole.resources),
            (Some(&b"\"a\""[..]), Some(&b"[{\"x\":1}]"[..]))
        );
        assert!(whole.is_complete);
        let end = text.iter().rposition(|byte| *byte == b'}').unwrap();
        for cut in 1..=end {
            let part = envelope_fields(&text[..cut], 0);
            assert!(!part.is_complete, "{cut}");
            assert!(part.username.is_none_or(|name| name == b"\"a\""), "{cut}");
            assert!(part.resources.is_none_or(|list| list == b"[{\"x\":1}]"), "{cut}");
        }
        assert!(envelope_fields(br#"{"Username" 7}"#, 0).is_complete);
        assert_eq!(envelope_fields(br#"{"Username":"a","x":]"#, 0).username, Some(&b"\"a\""[..]));
    }

    #[test]
    fn a_cut_anywhere_never_changes_the_answer() {
        for text in [
            r#"{"awsRegion":"x","eventID":"1","eventSource":"s3.amazonaws.com"}"#,
            r#"{"id":"1","detail":{"a":1,"eventID":"2","eventSource":"x"}}"#,
            r#"{"eventVersion":"2.1","eventSource":"aws:s3","s3":{}}"#,
            r#"{"messageType":"CONTROL_MESSAGE"}"#,
            r#"{"timestamp":1,"message":"{}"}"#,
        ] {
            let whole = at_top(text);
            for cut in 1..text.len() {
                let part = at_top(&text[..cut]);
                assert!(
                    part == whole
                        || matches!(
                            part,
                            Classification::Incomplete | Classification::IncompleteRecord
                        ),
                    "{}",
                    &text[..cut]
                );
            }
        }
    }
}
