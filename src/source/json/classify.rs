//! Decides what an object is by its first keys: a record, an envelope around one, a list of them, or
//! something that is no CloudTrail.
//!
//! An object counts as a record when it has at its top `eventVersion`, or `eventID`, or both `eventName`
//! and `eventSource`, or both `eventId` and `timeWindow` (aggregated), or both `userIdentity` and
//! `eventTime`. Inside a `Records` list every object counts. Notifications of S3 and the streams that
//! Lambda is called with look much the same, but their `eventSource` begins with `aws:`. Where an entry of another store
//! is looked at, two of a record's keys must be there. What else may be an envelope is known to [`payload`](super::shape::payload).
//! ColumnType: a record as the service writes it is known by its first bytes; nothing is walked twice for it.

use std::{fmt, ops::Range};

use memchr::memmem;

use super::skip::skip_space;
use crate::source::{
    decode::InputFormat,
    envelope::{
        payload::{Envelope, PayloadForm, Payload, begins_json, is_sender},
        unsupported_input::UnsupportedInput,
    },
    json::skip::{SkipError, skip_string, skip_value},
};

/// What is no CloudTrail record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForeignKind {
    /// A digest file, which proves that log files were not changed.
    Digest,
    /// A snapshot or history of AWS Config.
    Config,
    /// A notification of S3, or another event that is sent to Lambda.
    Notification,
    /// JSON of another kind.
    Json,
    /// Text that is no JSON.
    Text,
    /// A page of HTML or XML: often the answer of a proxy or of a service that was saved in place of an object.
    Markup,
    /// Nothing but zeros: a file that was given its size and never its content.
    Zeros,
    /// Anything else: pictures, archives, columns.
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
            Self::Markup => "an HTML or XML page, perhaps an error that was saved as the file",
            Self::Zeros => "nothing but zero bytes",
            Self::Binary => "binary data",
        })
    }
}

/// Where an object was met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::source) enum ObjectContext {
    /// At the top of a text, or of a line.
    #[default]
    Top,
    /// In a bare list.
    Array,
    /// In the list `Records`.
    Records,
    /// In the list `Events` of LookupEvents.
    Lookup,
    /// In the list `logEvents` or `events` of CloudWatch Logs.
    Logs,
    /// In the text of a string, or as the `detail` of an envelope.
    Embedded,
    /// Where an index, or another store, keeps what it was given.
    Document,
    /// In the object `hits` of a search.
    Hits,
    /// In a list of rows.
    Rows,
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum Classification {
    /// A record.
    Record,
    /// An envelope; the record begins here.
    RecordAt(usize),
    /// An envelope; the string that holds the record begins here.
    TextAt(usize),
    /// An envelope; the object begins here in which to look further.
    DocumentAt(usize),
    /// An envelope, or a record that must be restored; it ends before the second place.
    Payload(Payload, usize),
    /// Known to hold an event that cannot be read.
    Unsupported(UnsupportedInput),
    /// A line for the engine in a bulk request: the document follows.
    BulkAction,
    /// An event of LookupEvents; the string that holds the record begins here.
    LookupEvent(usize),
    /// An event of LookupEvents that does not bring its record; why.
    MissingRecord(&'static str),
    /// It holds a list of records or envelopes.
    List,
    /// No CloudTrail.
    Foreign(ForeignKind),
    /// Nothing to speak of: CloudWatch Logs asks whether we are there.
    ControlMessage,
    /// The text ends before that is clear. `record`: it would be a record.
    Incomplete { record: bool },
    /// No JSON.
    Invalid { offset: usize, cause: &'static str },
}

/// PayloadForm records begin as the service writes them, and as Python does. The `1.` matters: S3 says `2.`.
const RECORD_PREFIXES: [&[u8]; 2] = [b"{\"eventVersion\":\"1.", b"{\"eventVersion\": \"1."];

/// Returns what the object at `text[start]` is.
pub(in crate::source) fn classify(text: &[u8], start: usize, context: ObjectContext) -> Classification {
    let begins = RECORD_PREFIXES.iter().any(|beginning| text[start..].starts_with(beginning));
    let has_columns = !matches!(context, ObjectContext::Records | ObjectContext::Embedded);
    if begins && (!has_columns || has_plain_objects(&text[start..])) {
        return Classification::Record;
    }
    let is_whole = begins || context == ObjectContext::Document;
    let mut seen = KeysSeen { context, start, reads_all_members: is_whole, ..KeysSeen::default() };
    let mut at = start + 1;
    loop {
        at = skip_space(text, at);
        match text.get(at) {
            Some(b'"') => match seen.member(text, at) {
                Ok(end) => at = end,
                Err(look) => return look,
            },
            Some(b',') => at += 1,
            Some(b'}') => return seen.classification(at + 1),
            Some(_) => return seen.invalid(at, "a key was expected"),
            None => return seen.incomplete(),
        }
    }
}

/// PayloadForm far the fields that columns turn into text are looked for in front of the others: most records are shorter.
const PLAIN_SCAN_BYTES: usize = 16 << 10;

/// Returns whether the record's objects are objects, as far as that is clear without going through it: in rows of
/// columns they are texts.
fn has_plain_objects(text: &[u8]) -> bool {
    let text = &text[..text.len().min(PLAIN_SCAN_BYTES)];
    [&b"\"userIdentity\""[..], b"\"requestParameters\""].iter().all(|key| {
        let Some(at) = memmem::find(text, key) else { return false };
        let colon = skip_space(text, at + key.len());
        let value = text.get(skip_space(text, colon + 1));
        text.get(colon) == Some(&b':') && matches!(value, Some(b'{' | b'n'))
    })
}

/// What an envelope of LookupEvents says beside its record, as it stands there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::source) struct EnvelopeFields<'t> {
    pub(in crate::source) username: Option<&'t [u8]>,
    pub(in crate::source) resources: Option<&'t [u8]>,
    /// The value of `EventId`.
    pub(in crate::source) event_id: Option<&'t [u8]>,
    /// WindowRead text would say nothing more.
    pub(in crate::source) is_complete: bool,
}

/// Returns what the envelope at `text[start]` says, as far as the text goes and is JSON.
pub(in crate::source) fn envelope_fields(text: &[u8], start: usize) -> EnvelopeFields<'_> {
    let mut found = EnvelopeFields::default();
    let mut at = start + 1;
    loop {
        at = skip_space(text, at);
        match text.get(at) {
            Some(b'"') => {}
            Some(b',') => {
                at += 1;
                continue;
            }
            Some(_) => return EnvelopeFields { is_complete: true, ..found },
            None => return found,
        }
        let Some(key_end) = skip_string(text, at) else { return found };
        let colon = skip_space(text, key_end);
        let value = skip_space(text, colon + 1);
        if value >= text.len() {
            return found;
        }
        let end = match skip_value(text, value) {
            Ok(end) if text[colon] == b':' => end,
            Err(SkipError::Incomplete) => return found,
            _ => return EnvelopeFields { is_complete: true, ..found },
        };
        match &text[at + 1..key_end - 1] {
            b"Username" => found.username = Some(&text[value..end]),
            b"Resources" => found.resources = Some(&text[value..end]),
            b"EventId" => found.event_id = Some(&text[value..end]),
            _ => {}
        }
        at = end;
    }
}

/// Returns the list that `key` names in `context`, and what is in it.
pub(in crate::source) fn list_context(key: &[u8], context: ObjectContext) -> Option<ObjectContext> {
    match (key, context) {
        (b"hits", ObjectContext::Hits) => Some(ObjectContext::Array),
        (_, ObjectContext::Top | ObjectContext::Array) => match key {
            b"Records" => Some(ObjectContext::Records),
            b"Events" => Some(ObjectContext::Lookup),
            b"events" | b"logEvents" => Some(ObjectContext::Logs),
            b"results" | b"QueryResultRows" => Some(ObjectContext::Rows),
            b"Messages" | b"records" | b"responses" | b"docs" | b"Entries" => Some(ObjectContext::Array),
            _ => None,
        },
        _ => None,
    }
}

/// Returns what the object is that `key` names in `context`, if it holds lists to go through.
pub(in crate::source) fn container_context(key: &[u8], context: ObjectContext) -> Option<ObjectContext> {
    match (key, context) {
        (b"hits", ObjectContext::Top | ObjectContext::Array) => Some(ObjectContext::Hits),
        // What Dashboards and Kibana show of a request.
        (b"rawResponse", ObjectContext::Top | ObjectContext::Array) => Some(ObjectContext::Array),
        _ => None,
    }
}

/// The telling keys of an object seen so far.
#[derive(Debug, Default)]
struct KeysSeen {
    context: ObjectContext,
    start: usize,
    keys: u32,
    version_first: bool,
    /// All members are to be looked at, also when it is clear that they are those of a record.
    reads_all_members: bool,
    /// What else may hold an event.
    classify_by_key: Envelope,
    /// Members of a record that columns turn into texts are texts of JSON.
    has_column_texts: bool,
    /// Keys of records in lower case, as query engines have them.
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
/// Not telling, but one was there.
const OTHER_KEY: u32 = 1 << 10;
/// What only a record has.
const RECORD_KEYS: u32 = EVENT_VERSION
    | EVENT_ID
    | EVENT_NAME
    | EVENT_SOURCE
    | AGGREGATE_ID
    | TIME_WINDOW
    | USER_IDENTITY
    | EVENT_TIME;

impl KeysSeen {
    /// Takes in the key at `text[start]` and its value, and returns where that ends, or what is clear now.
    fn member(&mut self, text: &[u8], start: usize) -> Result<usize, Classification> {
        let key_end = skip_string(text, start).ok_or_else(|| self.incomplete())?;
        let colon = skip_space(text, key_end);
        match text.get(colon) {
            Some(b':') => {}
            Some(_) => return Err(self.invalid(colon, "a colon was expected")),
            None => return Err(self.incomplete()),
        }
        let value = skip_space(text, colon + 1);
        let Some(&first) = text.get(value) else { return Err(self.incomplete()) };
        let key = &text[start + 1..key_end - 1];
        self.envelope(key, text, value, first)?;
        self.note_record_key(key, text, value)?;
        let end = skip_value(text, value).map_err(|skip| match skip {
            SkipError::Incomplete => self.incomplete(),
            SkipError::Invalid { offset, cause } => self.invalid(offset, cause),
        })?;
        if self.context != ObjectContext::Embedded {
            self.note_value(key, text, value..end);
        }
        Ok(end)
    }

    /// Notes what tells that the event is wrapped, or that its fields are columns.
    fn note_value(&mut self, key: &[u8], text: &[u8], value: Range<usize>) {
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
        self.classify_by_key.member(key, text, value);
    }

    /// Fails if the key tells that this is an envelope, or no CloudTrail.
    fn envelope(&self, key: &[u8], text: &[u8], value: usize, first: u8) -> Result<(), Classification> {
        if self.has_record_keys() {
            return Ok(());
        }
        let inner = self.context == ObjectContext::Embedded;
        Err(match (key, first) {
            (_, b'[') if list_context(key, self.context).is_some() => Classification::List,
            (_, b'{') if container_context(key, self.context).is_some() => Classification::List,
            (b"_source" | b"result", b'{') if self.may_hold_documents() => Classification::DocumentAt(value),
            (b"index" | b"create" | b"update" | b"delete", b'{') if self.keys == 0 => {
                match is_bulk_action(&text[value..]) {
                    Some(true) => Classification::BulkAction,
                    Some(false) => return Ok(()),
                    None => self.incomplete(),
                }
            }
            (b"detail" | b"CloudTrailEvent", b'{') if !inner => {
                match classify(text, value, ObjectContext::Embedded) {
                    Classification::Record => Classification::RecordAt(value),
                    Classification::Incomplete { .. } => return Err(self.incomplete()),
                    Classification::Invalid { offset, cause } => Classification::Invalid { offset, cause },
                    _ => Classification::Foreign(ForeignKind::Json),
                }
            }
            (b"CloudTrailEvent", b'"') if !inner => Classification::LookupEvent(value),
            (b"CloudTrailEvent", b'n') if !inner => Classification::MissingRecord("CloudTrailEvent is null"),
            (b"CloudTrailEvent", _) if !inner => {
                Classification::MissingRecord("CloudTrailEvent is neither text nor an object")
            }
            (b"message", b'"') if self.context == ObjectContext::Logs => Classification::TextAt(value),
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

    /// Notes a key that records have, and fails as soon as it is clear that this is one, or is none.
    fn note_record_key(&mut self, key: &[u8], text: &[u8], value: usize) -> Result<(), Classification> {
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
                    Some(_) if is_sender(&text[value..]) => OTHER_KEY,
                    Some(_) => return Err(Classification::Foreign(ForeignKind::Notification)),
                    None => return Err(self.incomplete()),
                },
                Some(false) if key == b"eventSource" => EVENT_SOURCE,
                Some(false) => OTHER_KEY,
                None => return Err(self.incomplete()),
            },
            _ => OTHER_KEY,
        };
        let trail_version = key == b"eventVersion"
            && self.version_first
            && starts_with(&text[value..], b"\"1.") == Some(true);
        let is_clear = trail_version || self.has(EVENT_SOURCE) && self.has_record_keys();
        if is_clear && !self.reads_all_members && !self.classify_by_key.is_document() {
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

    fn is_accepted(&self) -> bool {
        match self.context {
            ObjectContext::Records => !self.classify_by_key.is_sent(),
            ObjectContext::Document => self.has_record_keys() && (self.keys & RECORD_KEYS).count_ones() > 1,
            _ => self.has_record_keys() && !self.classify_by_key.is_sent(),
        }
    }

    /// Returns what the object is that ends before `end`.
    fn classification(&self, end: usize) -> Classification {
        let is_record =
            self.is_accepted() && (self.has_record_keys() || self.classify_by_key.payload(false).is_none());
        if let Some(payload) = self.classify_by_key.payload(is_record) {
            return Classification::Payload(payload, end);
        }
        if is_record && !self.has_column_texts {
            return Classification::Record;
        }
        let columns = Payload { place: self.start, how: PayloadForm::Columns, shape: InputFormat::Columns };
        match self.row_has_id() {
            _ if is_record => Classification::Payload(columns, end),
            Some(true) => Classification::Payload(columns, end),
            Some(false) => Classification::Unsupported(UnsupportedInput::NoId),
            None if self.classify_by_key.is_sent() => Classification::Foreign(ForeignKind::Notification),
            None if self.context != ObjectContext::Embedded && self.has(LOOKUP_ID | LOOKUP_NAME) => {
                Classification::MissingRecord("CloudTrailEvent is missing")
            }
            None => match self.classify_by_key.unread() {
                Some(unread) => Classification::Unsupported(unread),
                None => Classification::Foreign(ForeignKind::Json),
            },
        }
    }

    /// Returns whether it is a row of a query engine, and then whether it says which event it is.
    fn row_has_id(&self) -> Option<bool> {
        let has = |keys| self.lower_case_keys & keys == keys;
        let is_row = has(EVENT_NAME | EVENT_SOURCE)
            || has(EVENT_NAME | EVENT_ID | EVENT_TIME)
            || has(EVENT_VERSION | USER_IDENTITY);
        is_row.then_some(has(EVENT_ID))
    }

    fn incomplete(&self) -> Classification {
        Classification::Incomplete { record: self.is_accepted() }
    }

    /// What is broken but counts is handed over all the same: the normalizer says best what is wrong.
    fn invalid(&self, offset: usize, cause: &'static str) -> Classification {
        if self.is_accepted() { Classification::Record } else { Classification::Invalid { offset, cause } }
    }
}

/// Returns whether columns turn a member of a record into text.
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

/// Returns whether an object is what a bulk request says about the document behind it, or `None` if the text ends before
/// that is clear.
fn is_bulk_action(text: &[u8]) -> Option<bool> {
    let at = skip_space(text, 1);
    match text.get(at)? {
        b'}' => Some(true),
        b'"' => Some(text.get(at + 1)? == &b'_'),
        _ => Some(false),
    }
}

/// Returns whether `text` begins with `beginning`, or `None` if it ends before that is clear.
fn starts_with(text: &[u8], beginning: &[u8]) -> Option<bool> {
    if text.len() >= beginning.len() {
        return Some(text.starts_with(beginning));
    }
    if beginning.starts_with(text) { None } else { Some(false) }
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
            assert!(matches!(cut, Classification::Record | Classification::Incomplete { record: true }), "{members}");
        }
        // As trails write it, and most others: by its first bytes.
        let first = r#"{"eventVersion":"1.08","userIdentity":{"x":1},"requestParameters":null,"#;
        assert_eq!(at_top(first), Classification::Record);
        assert_eq!(classify(br#"{"eventVersion":"1.08","#, 0, ObjectContext::Records), Classification::Record);
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
            let columns = Payload { place: 0, how: PayloadForm::Columns, shape: InputFormat::Columns };
            assert_eq!(at_top(&text), Classification::Payload(columns, text.len()), "{text}");
        }
        let text = r#"{"eventVersion":"1.08","userIdentity":{},"requestParameters":"HIDDEN"}"#;
        assert_eq!(at_top(text), Classification::Record);
        assert_eq!(at_top(r#"{"eventname":"1","eventsource":"x"}"#), Classification::Unsupported(UnsupportedInput::NoId));
        for foreign in [r#"{"eventid":"1","eventname":"x"}"#, r#"{"eventversion":"1"}"#] {
            assert_eq!(at_top(foreign), Classification::Foreign(ForeignKind::Json), "{foreign}");
        }
    }

    #[test]
    fn an_entry_of_a_store_is_a_record_by_two_keys() {
        let document = |text: &str| classify(text.as_bytes(), 0, ObjectContext::Document);
        assert_eq!(document(r#"{"eventVersion":"1.0","x":1}"#), Classification::Foreign(ForeignKind::Json));
        assert_eq!(document(r#"{"eventID":"1","x":1}"#), Classification::Foreign(ForeignKind::Json));
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
        assert_eq!(at_top(r#"{"detail":{"state":"running"}}"#), Classification::Foreign(ForeignKind::Json));
        assert_eq!(at_top(r#"{"EventId":"1","CloudTrailEvent":"{}"}"#), Classification::LookupEvent(33));
        assert_eq!(at_top(r#"{"messageType":"CONTROL_MESSAGE","logEvents":[]}"#), Classification::ControlMessage);
        assert_eq!(at_top(r#"{"messageType":"DATA_MESSAGE","logEvents":[]}"#), Classification::List);
        assert_eq!(
            at_top(r#"{"awsAccountId":"1","digestStartTime":"x"}"#),
            Classification::Foreign(ForeignKind::Digest)
        );
        assert_eq!(
            at_top(r#"{"fileVersion":"1.0","configurationItems":[]}"#),
            Classification::Foreign(ForeignKind::Config)
        );
        assert!(matches!(at_top(r#"{"CloudTrailEvent":null}"#), Classification::MissingRecord(_)));
        assert!(matches!(at_top(r#"{"EventId":"1","EventName":"A"}"#), Classification::MissingRecord(_)));
        assert_eq!(at_top(r#"{"Name":"1","EventId":"A"}"#), Classification::Foreign(ForeignKind::Json));
        assert_eq!(at_top("{}"), Classification::Foreign(ForeignKind::Json));
        assert_eq!(classify(b"{}", 0, ObjectContext::Records), Classification::Record);
        assert!(matches!(at_top("{a}"), Classification::Invalid { offset: 1, .. }));
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
                    part == whole || matches!(part, Classification::Incomplete { .. }),
                    "{}",
                    &text[..cut]
                );
            }
        }
    }
}
