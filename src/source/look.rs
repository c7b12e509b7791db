//! Decides what an object is by its first keys: a record, an envelope around one, a list of them, or
//! something that is no CloudTrail.
//!
//! An object counts as a record when it has at its top `eventVersion`, or `eventID`, or both `eventName`
//! and `eventSource`, or both `eventId` and `timeWindow` (aggregated), or both `userIdentity` and
//! `eventTime`. Inside a `Records` list every object counts. Notifications of S3 and the streams that
//! Lambda is called with look much the same, but their `eventSource` begins with `aws:`. Where an entry of another store
//! is looked at, two of a record's keys must be there. What else may be an envelope is known to [`payload`](super::shape::payload).
//! Holds: a record as the service writes it is known by its first bytes; nothing is walked twice for it.

use std::{fmt, ops::Range};

use memchr::memmem;

use super::{
    decode::Shape,
    shape::{
        payload::{Envelope, How, Payload, begins_json, is_sender},
        unread::Unread,
    },
    skip::{Skip, skip_string, skip_value},
};

/// What is no CloudTrail record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
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

impl fmt::Display for Kind {
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
pub(super) enum Context {
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
    Inner,
    /// Where an index, or another store, keeps what it was given.
    Document,
    /// In the object `hits` of a search.
    Hits,
    /// In a list of rows.
    Rows,
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// A record.
    Record,
    /// An envelope; the record begins here.
    Inner(usize),
    /// An envelope; the string that holds the record begins here.
    Text(usize),
    /// An envelope; the object begins here in which to look further.
    Within(usize),
    /// An envelope, or a record that must be restored; it ends before the second place.
    Payload(Payload, usize),
    /// Known to hold an event that cannot be read.
    Unread(Unread),
    /// A line for the engine in a bulk request: the document follows.
    Action,
    /// An event of LookupEvents; the string that holds the record begins here.
    Event(usize),
    /// An event of LookupEvents that does not bring its record; why.
    WithoutRecord(&'static str),
    /// It holds a list of records or envelopes.
    List,
    /// No CloudTrail.
    Foreign(Kind),
    /// Nothing to speak of: CloudWatch Logs asks whether we are there.
    Silent,
    /// The text ends before that is clear. `record`: it would be a record.
    Incomplete { record: bool },
    /// No JSON.
    Broken { offset: usize, cause: &'static str },
}

/// How records begin as the service writes them, and as Python does. The `1.` matters: S3 says `2.`.
const BEGINNINGS: [&[u8]; 2] = [b"{\"eventVersion\":\"1.", b"{\"eventVersion\": \"1."];

/// Returns what the object at `text[start]` is.
pub(super) fn look(text: &[u8], start: usize, context: Context) -> Look {
    let begins = BEGINNINGS.iter().any(|beginning| text[start..].starts_with(beginning));
    let has_columns = !matches!(context, Context::Records | Context::Inner);
    if begins && (!has_columns || is_plain(&text[start..])) {
        return Look::Record;
    }
    let is_whole = begins || context == Context::Document;
    let mut seen = Seen { context, start, is_whole, ..Seen::default() };
    let mut at = start + 1;
    loop {
        at = skip_space(text, at);
        match text.get(at) {
            Some(b'"') => match seen.member(text, at) {
                Ok(end) => at = end,
                Err(look) => return look,
            },
            Some(b',') => at += 1,
            Some(b'}') => return seen.verdict(at + 1),
            Some(_) => return seen.broken(at, "a key was expected"),
            None => return seen.incomplete(),
        }
    }
}

/// How far the fields that columns turn into text are looked for in front of the others: most records are shorter.
const PLAIN_BYTES: usize = 16 << 10;

/// Returns whether the record's objects are objects, as far as that is clear without going through it: in rows of
/// columns they are texts.
fn is_plain(text: &[u8]) -> bool {
    let text = &text[..text.len().min(PLAIN_BYTES)];
    [&b"\"userIdentity\""[..], b"\"requestParameters\""].iter().all(|key| {
        let Some(at) = memmem::find(text, key) else { return false };
        let colon = skip_space(text, at + key.len());
        let value = text.get(skip_space(text, colon + 1));
        text.get(colon) == Some(&b':') && matches!(value, Some(b'{' | b'n'))
    })
}

/// What an envelope of LookupEvents says beside its record, as it stands there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Beside<'t> {
    pub(super) username: Option<&'t [u8]>,
    pub(super) resources: Option<&'t [u8]>,
    /// The value of `EventId`.
    pub(super) event_id: Option<&'t [u8]>,
    /// More text would say nothing more.
    pub(super) is_all: bool,
}

/// Returns what the envelope at `text[start]` says, as far as the text goes and is JSON.
pub(super) fn beside(text: &[u8], start: usize) -> Beside<'_> {
    let mut found = Beside::default();
    let mut at = start + 1;
    loop {
        at = skip_space(text, at);
        match text.get(at) {
            Some(b'"') => {}
            Some(b',') => {
                at += 1;
                continue;
            }
            Some(_) => return Beside { is_all: true, ..found },
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
            Err(Skip::Incomplete) => return found,
            _ => return Beside { is_all: true, ..found },
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
pub(super) fn list(key: &[u8], context: Context) -> Option<Context> {
    match (key, context) {
        (b"hits", Context::Hits) => Some(Context::Array),
        (_, Context::Top | Context::Array) => match key {
            b"Records" => Some(Context::Records),
            b"Events" => Some(Context::Lookup),
            b"events" | b"logEvents" => Some(Context::Logs),
            b"results" | b"QueryResultRows" => Some(Context::Rows),
            b"Messages" | b"records" | b"responses" | b"docs" | b"Entries" => Some(Context::Array),
            _ => None,
        },
        _ => None,
    }
}

/// Returns what the object is that `key` names in `context`, if it holds lists to go through.
pub(super) fn lists_in(key: &[u8], context: Context) -> Option<Context> {
    match (key, context) {
        (b"hits", Context::Top | Context::Array) => Some(Context::Hits),
        // What Dashboards and Kibana show of a request.
        (b"rawResponse", Context::Top | Context::Array) => Some(Context::Array),
        _ => None,
    }
}

/// Returns where the next byte is that is not white space.
pub(super) fn skip_space(text: &[u8], start: usize) -> usize {
    let mut at = start;
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// The telling keys of an object seen so far.
#[derive(Debug, Default)]
struct Seen {
    context: Context,
    start: usize,
    keys: u32,
    version_first: bool,
    /// All members are to be looked at, also when it is clear that they are those of a record.
    is_whole: bool,
    /// What else may hold an event.
    envelope: Envelope,
    /// Members of a record that columns turn into texts are texts of JSON.
    has_texts: bool,
    /// Keys of records in lower case, as query engines have them.
    lower: u32,
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
const ANY: u32 = 1 << 10;
/// What only a record has.
const TELLING: u32 = EVENT_VERSION
    | EVENT_ID
    | EVENT_NAME
    | EVENT_SOURCE
    | AGGREGATE_ID
    | TIME_WINDOW
    | USER_IDENTITY
    | EVENT_TIME;

impl Seen {
    /// Takes in the key at `text[start]` and its value, and returns where that ends, or what is clear now.
    fn member(&mut self, text: &[u8], start: usize) -> Result<usize, Look> {
        let key_end = skip_string(text, start).ok_or_else(|| self.incomplete())?;
        let colon = skip_space(text, key_end);
        match text.get(colon) {
            Some(b':') => {}
            Some(_) => return Err(self.broken(colon, "a colon was expected")),
            None => return Err(self.incomplete()),
        }
        let value = skip_space(text, colon + 1);
        let Some(&first) = text.get(value) else { return Err(self.incomplete()) };
        let key = &text[start + 1..key_end - 1];
        self.envelope(key, text, value, first)?;
        self.telling(key, text, value)?;
        let end = skip_value(text, value).map_err(|skip| match skip {
            Skip::Incomplete => self.incomplete(),
            Skip::Broken { offset, cause } => self.broken(offset, cause),
        })?;
        if self.context != Context::Inner {
            self.wrapped(key, text, value..end);
        }
        Ok(end)
    }

    /// Notes what tells that the event is wrapped, or that its fields are columns.
    fn wrapped(&mut self, key: &[u8], text: &[u8], value: Range<usize>) {
        self.has_texts |= is_column(key) && begins_json(text, value.start);
        self.lower |= match key {
            b"eventversion" => EVENT_VERSION,
            b"eventid" => EVENT_ID,
            b"eventname" => EVENT_NAME,
            b"eventsource" => EVENT_SOURCE,
            b"useridentity" => USER_IDENTITY,
            b"eventtime" => EVENT_TIME,
            _ => 0,
        };
        self.envelope.member(key, text, value);
    }

    /// Fails if the key tells that this is an envelope, or no CloudTrail.
    fn envelope(&self, key: &[u8], text: &[u8], value: usize, first: u8) -> Result<(), Look> {
        if self.is_record() {
            return Ok(());
        }
        let inner = self.context == Context::Inner;
        Err(match (key, first) {
            (_, b'[') if list(key, self.context).is_some() => Look::List,
            (_, b'{') if lists_in(key, self.context).is_some() => Look::List,
            (b"_source" | b"result", b'{') if self.holds_documents() => Look::Within(value),
            (b"index" | b"create" | b"update" | b"delete", b'{') if self.keys == 0 => {
                match begins_action(&text[value..]) {
                    Some(true) => Look::Action,
                    Some(false) => return Ok(()),
                    None => self.incomplete(),
                }
            }
            (b"detail" | b"CloudTrailEvent", b'{') if !inner => {
                match look(text, value, Context::Inner) {
                    Look::Record => Look::Inner(value),
                    Look::Incomplete { .. } => return Err(self.incomplete()),
                    Look::Broken { offset, cause } => Look::Broken { offset, cause },
                    _ => Look::Foreign(Kind::Json),
                }
            }
            (b"CloudTrailEvent", b'"') if !inner => Look::Event(value),
            (b"CloudTrailEvent", b'n') if !inner => Look::WithoutRecord("CloudTrailEvent is null"),
            (b"CloudTrailEvent", _) if !inner => {
                Look::WithoutRecord("CloudTrailEvent is neither text nor an object")
            }
            (b"message", b'"') if self.context == Context::Logs => Look::Text(value),
            (b"messageType", b'"') => match begins(&text[value..], b"\"CONTROL_MESSAGE\"") {
                Some(true) => Look::Silent,
                Some(false) => return Ok(()),
                None => self.incomplete(),
            },
            (b"digestStartTime" | b"digestEndTime" | b"digestS3Bucket", b'"')
            | (b"logFiles", b'[') => Look::Foreign(Kind::Digest),
            (b"configurationItems" | b"configurationItem" | b"configurationItemDiff", _)
            | (b"configSnapshotId", b'"') => Look::Foreign(Kind::Config),
            _ => return Ok(()),
        })
    }

    /// Notes a key that records have, and fails as soon as it is clear that this is one, or is none.
    fn telling(&mut self, key: &[u8], text: &[u8], value: usize) -> Result<(), Look> {
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
            b"eventSource" | b"EventSource" => match begins(&text[value..], b"\"aws:") {
                Some(true) if self.context == Context::Inner => {
                    return Err(Look::Foreign(Kind::Notification));
                }
                Some(true) => match skip_string(text, value) {
                    Some(_) if is_sender(&text[value..]) => ANY,
                    Some(_) => return Err(Look::Foreign(Kind::Notification)),
                    None => return Err(self.incomplete()),
                },
                Some(false) if key == b"eventSource" => EVENT_SOURCE,
                Some(false) => ANY,
                None => return Err(self.incomplete()),
            },
            _ => ANY,
        };
        let trail_version = key == b"eventVersion"
            && self.version_first
            && begins(&text[value..], b"\"1.") == Some(true);
        let is_clear = trail_version || self.has(EVENT_SOURCE) && self.is_record();
        if is_clear && !self.is_whole && !self.envelope.is_document() {
            if matches!(self.context, Context::Records | Context::Inner)
                || is_plain(&text[self.start..])
            {
                return Err(Look::Record);
            }
            self.is_whole = true;
        }
        Ok(())
    }

    fn holds_documents(&self) -> bool {
        matches!(self.context, Context::Top | Context::Array | Context::Rows)
    }

    fn has(&self, keys: u32) -> bool {
        self.keys & keys == keys
    }

    fn is_record(&self) -> bool {
        self.has(EVENT_VERSION)
            || self.has(EVENT_ID)
            || self.has(EVENT_NAME | EVENT_SOURCE)
            || self.has(AGGREGATE_ID | TIME_WINDOW)
            || self.has(USER_IDENTITY | EVENT_TIME)
    }

    fn counts(&self) -> bool {
        match self.context {
            Context::Records => !self.envelope.is_sent(),
            Context::Document => self.is_record() && (self.keys & TELLING).count_ones() > 1,
            _ => self.is_record() && !self.envelope.is_sent(),
        }
    }

    /// Returns what the object is that ends before `end`.
    fn verdict(&self, end: usize) -> Look {
        let is_record =
            self.counts() && (self.is_record() || self.envelope.payload(false).is_none());
        if let Some(payload) = self.envelope.payload(is_record) {
            return Look::Payload(payload, end);
        }
        if is_record && !self.has_texts {
            return Look::Record;
        }
        let columns = Payload { place: self.start, how: How::Columns, shape: Shape::Columns };
        match self.rows() {
            _ if is_record => Look::Payload(columns, end),
            Some(true) => Look::Payload(columns, end),
            Some(false) => Look::Unread(Unread::NoId),
            None if self.envelope.is_sent() => Look::Foreign(Kind::Notification),
            None if self.context != Context::Inner && self.has(LOOKUP_ID | LOOKUP_NAME) => {
                Look::WithoutRecord("CloudTrailEvent is missing")
            }
            None => match self.envelope.unread() {
                Some(unread) => Look::Unread(unread),
                None => Look::Foreign(Kind::Json),
            },
        }
    }

    /// Returns whether it is a row of a query engine, and then whether it says which event it is.
    fn rows(&self) -> Option<bool> {
        let has = |keys| self.lower & keys == keys;
        let is_row = has(EVENT_NAME | EVENT_SOURCE)
            || has(EVENT_NAME | EVENT_ID | EVENT_TIME)
            || has(EVENT_VERSION | USER_IDENTITY);
        is_row.then_some(has(EVENT_ID))
    }

    fn incomplete(&self) -> Look {
        Look::Incomplete { record: self.counts() }
    }

    /// What is broken but counts is handed over all the same: the normalizer says best what is wrong.
    fn broken(&self, offset: usize, cause: &'static str) -> Look {
        if self.counts() { Look::Record } else { Look::Broken { offset, cause } }
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
fn begins_action(text: &[u8]) -> Option<bool> {
    let at = skip_space(text, 1);
    match text.get(at)? {
        b'}' => Some(true),
        b'"' => Some(text.get(at + 1)? == &b'_'),
        _ => Some(false),
    }
}

/// Returns whether `text` begins with `beginning`, or `None` if it ends before that is clear.
fn begins(text: &[u8], beginning: &[u8]) -> Option<bool> {
    if text.len() >= beginning.len() {
        return Some(text.starts_with(beginning));
    }
    if beginning.starts_with(text) { None } else { Some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_top(text: &str) -> Look {
        look(text.as_bytes(), 0, Context::Top)
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
            assert_eq!(at_top(&format!("{{{members}}}")), Look::Record, "{members}");
            let cut = at_top(&format!("{{{members},"));
            assert!(matches!(cut, Look::Record | Look::Incomplete { record: true }), "{members}");
        }
        // As trails write it, and most others: by its first bytes.
        let first = r#"{"eventVersion":"1.08","userIdentity":{"x":1},"requestParameters":null,"#;
        assert_eq!(at_top(first), Look::Record);
        assert_eq!(look(br#"{"eventVersion":"1.08","#, 0, Context::Records), Look::Record);
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
            let columns = Payload { place: 0, how: How::Columns, shape: Shape::Columns };
            assert_eq!(at_top(&text), Look::Payload(columns, text.len()), "{text}");
        }
        let text = r#"{"eventVersion":"1.08","userIdentity":{},"requestParameters":"HIDDEN"}"#;
        assert_eq!(at_top(text), Look::Record);
        assert_eq!(at_top(r#"{"eventname":"1","eventsource":"x"}"#), Look::Unread(Unread::NoId));
        for foreign in [r#"{"eventid":"1","eventname":"x"}"#, r#"{"eventversion":"1"}"#] {
            assert_eq!(at_top(foreign), Look::Foreign(Kind::Json), "{foreign}");
        }
    }

    #[test]
    fn an_entry_of_a_store_is_a_record_by_two_keys() {
        let document = |text: &str| look(text.as_bytes(), 0, Context::Document);
        assert_eq!(document(r#"{"eventVersion":"1.0","x":1}"#), Look::Foreign(Kind::Json));
        assert_eq!(document(r#"{"eventID":"1","x":1}"#), Look::Foreign(Kind::Json));
        assert_eq!(
            document(r#"{"@timestamp":"t","eventVersion":"1","eventID":"1"}"#),
            Look::Record
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
            for context in [Context::Top, Context::Records] {
                assert_eq!(
                    look(text.as_bytes(), 0, context),
                    Look::Foreign(Kind::Notification),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn envelopes_and_others_are_told_apart() {
        assert_eq!(at_top(r#"{"a":{"b":[1]},"Records": [  "#), Look::List);
        assert_eq!(at_top(r#"{"Records":null}"#), Look::Foreign(Kind::Json));
        assert_eq!(at_top(r#"{"detail":{"eventVersion":"1.0"}}"#), Look::Inner(10));
        assert_eq!(at_top(r#"{"detail":{"state":"running"}}"#), Look::Foreign(Kind::Json));
        assert_eq!(at_top(r#"{"EventId":"1","CloudTrailEvent":"{}"}"#), Look::Event(33));
        assert_eq!(at_top(r#"{"messageType":"CONTROL_MESSAGE","logEvents":[]}"#), Look::Silent);
        assert_eq!(at_top(r#"{"messageType":"DATA_MESSAGE","logEvents":[]}"#), Look::List);
        assert_eq!(
            at_top(r#"{"awsAccountId":"1","digestStartTime":"x"}"#),
            Look::Foreign(Kind::Digest)
        );
        assert_eq!(
            at_top(r#"{"fileVersion":"1.0","configurationItems":[]}"#),
            Look::Foreign(Kind::Config)
        );
        assert!(matches!(at_top(r#"{"CloudTrailEvent":null}"#), Look::WithoutRecord(_)));
        assert!(matches!(at_top(r#"{"EventId":"1","EventName":"A"}"#), Look::WithoutRecord(_)));
        assert_eq!(at_top(r#"{"Name":"1","EventId":"A"}"#), Look::Foreign(Kind::Json));
        assert_eq!(at_top("{}"), Look::Foreign(Kind::Json));
        assert_eq!(look(b"{}", 0, Context::Records), Look::Record);
        assert!(matches!(at_top("{a}"), Look::Broken { offset: 1, .. }));
    }

    #[test]
    fn an_envelope_says_who_and_what_before_and_behind_its_record() {
        let text = br#"{ "Username" : "a", "CloudTrailEvent":"{}","Resources":[{"x":1}],"y":2 } ,"#;
        let whole = beside(text, 0);
        assert_eq!(
            (whole.username, whole.resources),
            (Some(&b"\"a\""[..]), Some(&b"[{\"x\":1}]"[..]))
        );
        assert!(whole.is_all);
        let end = text.iter().rposition(|byte| *byte == b'}').unwrap();
        for cut in 1..=end {
            let part = beside(&text[..cut], 0);
            assert!(!part.is_all, "{cut}");
            assert!(part.username.is_none_or(|name| name == b"\"a\""), "{cut}");
            assert!(part.resources.is_none_or(|list| list == b"[{\"x\":1}]"), "{cut}");
        }
        assert!(beside(br#"{"Username" 7}"#, 0).is_all);
        assert_eq!(beside(br#"{"Username":"a","x":]"#, 0).username, Some(&b"\"a\""[..]));
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
                    part == whole || matches!(part, Look::Incomplete { .. }),
                    "{}",
                    &text[..cut]
                );
            }
        }
    }
}
