//! Finds the member of an envelope that holds the event: messages of SNS and SQS, batches for Lambda, records of
//! Kinesis and Firehose, documents of an index, events of Splunk and Wazuh.
//!
//! Input: the members of an object, one after another. Output: the offset of the event, and the form in which it is
//! stored there.
//! Invariant: a string that does not start like JSON is not an event, so that other log lines are not loaded.

use std::ops::Range;

use super::unsupported_input::UnsupportedInput;
use crate::source::{
    input_format::InputFormat,
    json::{members::Members, skip::skip_space},
};

/// Members that Wazuh adds to the fields of an event.
pub(super) const WAZUH_MEMBERS: &[&[u8]] = &[b"log_info", b"source_ip_address", b"aws_account_id"];

/// Where an event is in its envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) struct Payload {
    /// Offset of the value that holds it.
    pub(in crate::source) offset: usize,
    /// The form in which the value holds it.
    pub(in crate::source) form: PayloadForm,
    /// The format of the input, if this is its first event.
    pub(in crate::source) format: InputFormat,
}

/// The form in which a value holds an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum PayloadForm {
    /// The record as an object.
    Record,
    /// An object whose names or values have to be restored.
    Columns,
    /// A string with JSON.
    Text,
    /// A string with base64, perhaps of compressed text.
    Base64,
    /// An object that has to be classified itself.
    Container,
}

/// Decides whether the object at an offset of a text is a record that stands alone in its envelope.
pub(in crate::source) type RecordCheck = fn(&[u8], usize) -> bool;

/// What the members of an object show about it as an envelope.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::source) struct Envelope {
    best: Option<(Rank, Payload)>,
    /// A base64 member, which is read only in objects that are marked as [`STREAM`].
    base64: Option<Payload>,
    marks: u32,
}

/// A record of Kinesis or Firehose, or a failed delivery: `data` and `rawData` are base64.
const STREAM: u32 = 1;
/// A document of Elastic's AWS integration.
const ECS: u32 = 1 << 1;
const OCSF_CLASS: u32 = 1 << 2;
const OCSF_PRODUCT: u32 = 1 << 3;
/// Forwarded to Lambda by a queue, a topic or a stream.
const FORWARDED: u32 = 1 << 4;
/// A document of an index or an entry of another store.
const DOCUMENT: u32 = 1 << 5;
/// A response of Athena's API with events in it.
const ATHENA: u32 = 1 << 6;
/// A document that trailload wrote; the normalizer restores its record.
const TRAILLOAD: u32 = 1 << 7;

/// How likely a member holds the event; the lowest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// The original event, kept beside its fields.
    Original,
    /// The member that the envelope exists for.
    Body,
    /// A member that may hold an event or a log line.
    LogLine,
    /// An object that may contain such a member.
    Container,
}

impl Envelope {
    /// Adds one member: its key, and the range of its value in `text`.
    pub(in crate::source) fn add_member(
        &mut self,
        key: &[u8],
        text: &[u8],
        value: Range<usize>,
        is_record: RecordCheck,
    ) {
        self.mark(key, &text[value.clone()]);
        let Some((rank, form, offset, format)) = candidate(key, text, value.start, is_record)
        else {
            return;
        };
        let payload = Payload { offset, form, format };
        if form == PayloadForm::Base64 {
            self.base64 = self.base64.or(Some(payload));
        } else if self.best.is_none_or(|(best, _)| rank < best) {
            self.best = Some((rank, payload));
        }
    }

    fn mark(&mut self, key: &[u8], value: &[u8]) {
        self.marks |= match key {
            b"attemptsMade" | b"recordId" | b"partitionKey" | b"PartitionKey"
            | b"SequenceNumber" | b"kinesis" | b"awslogs" => STREAM,
            b"aws" if member(value, 0, b"cloudtrail").is_some_and(|at| value[at] == b'{') => ECS,
            key if key.starts_with(b"aws.cloudtrail.") => ECS,
            b"class_uid" => OCSF_CLASS,
            b"metadata" if memchr::memmem::find(value, b"\"CloudTrail\"").is_some() => OCSF_PRODUCT,
            b"ResultSet" if has_athena_events(value) => ATHENA,
            b"eventSource" | b"EventSource" if is_forwarding_service(value) => FORWARDED,
            b"trailload" => DOCUMENT | TRAILLOAD,
            b"@timestamp" | b"@version" | b"_raw" | b"event" => DOCUMENT,
            _ => 0,
        };
    }

    /// Returns whether the object is an entry of another store, which may hold the event beside its fields.
    pub(in crate::source) fn is_document(&self) -> bool {
        self.marks & DOCUMENT != 0
    }

    /// Returns whether a queue, a topic or a stream forwarded the object to Lambda.
    pub(in crate::source) fn is_forwarded(&self) -> bool {
        self.marks & FORWARDED != 0
    }

    /// Returns where the event is, if the object itself is not a record.
    pub(in crate::source) fn payload(&self) -> Option<Payload> {
        let base64 = self.base64.filter(|_| self.marks & STREAM != 0);
        base64.or_else(|| self.best.map(|(_, payload)| payload))
    }

    /// Returns where the original event is, if the object has the fields of a record too.
    ///
    /// `None` for a document of trailload: what `trailload` holds beside the event would be lost.
    pub(in crate::source) fn original(&self) -> Option<Payload> {
        if self.marks & TRAILLOAD != 0 {
            return None;
        }
        self.best.filter(|(rank, _)| *rank == Rank::Original).map(|(_, payload)| payload)
    }

    /// Returns the form of the event if no record can be restored from it.
    pub(in crate::source) fn unsupported(&self) -> Option<UnsupportedInput> {
        let has = |marks| self.marks & marks == marks;
        match () {
            () if has(ECS) => Some(UnsupportedInput::Ecs),
            () if has(ATHENA) => Some(UnsupportedInput::AthenaPage),
            () if has(OCSF_CLASS | OCSF_PRODUCT) => Some(UnsupportedInput::Ocsf),
            () => None,
        }
    }
}

/// Returns whether the rows of a response of Athena's API are CloudTrail events.
fn has_athena_events(value: &[u8]) -> bool {
    let has = |text: &[u8]| memchr::memmem::find(value, text).is_some();
    has(b"\"VarCharValue\"")
        && (has(b"\"eventname\"") || has(b"\"useridentity\"") || has(b"\"eventid\""))
}

/// Returns whether the value of `eventSource` is a service that forwards what others sent.
pub(in crate::source) fn is_forwarding_service(value: &[u8]) -> bool {
    [&b"\"aws:sqs\""[..], b"\"aws:sns\"", b"\"aws:kinesis\""]
        .iter()
        .any(|service| value.starts_with(service))
}

type Candidate = (Rank, PayloadForm, usize, InputFormat);

/// Returns where an event may be in the member whose value is at `text[value]`.
fn candidate(key: &[u8], text: &[u8], value: usize, is_record: RecordCheck) -> Option<Candidate> {
    let json_text = |at: usize| begins_json(text, at).then_some(at);
    let record = |at: usize| (text[at] == b'{' && is_record(text, at)).then_some(at);
    let inner = |key: &[u8]| member(text, value, key);
    Some(match (key, text[value]) {
        (b"event.original", b'"') => {
            (Rank::Original, PayloadForm::Text, json_text(value)?, InputFormat::Documents)
        }
        (b"event.original", b'[') => {
            let first = json_text(first_value(text, value)?)?;
            (Rank::Original, PayloadForm::Text, first, InputFormat::Documents)
        }
        (b"eventJson" | b"eventjson", b'"') => {
            (Rank::Original, PayloadForm::Text, json_text(value)?, InputFormat::Columns)
        }
        (b"event", b'{') => match inner(b"original").and_then(json_text) {
            Some(at) => (Rank::Original, PayloadForm::Text, at, InputFormat::Documents),
            None => (Rank::Body, PayloadForm::Record, record(value)?, InputFormat::Documents),
        },
        (b"Message" | b"Body" | b"body" | b"Detail", b'"') => {
            (Rank::Body, PayloadForm::Text, json_text(value)?, InputFormat::Messages)
        }
        (b"Message" | b"Body" | b"body", b'{') => {
            (Rank::Container, PayloadForm::Container, value, InputFormat::Messages)
        }
        (b"Sns", b'{') => {
            let message = inner(b"Message").and_then(json_text)?;
            (Rank::Body, PayloadForm::Text, message, InputFormat::Messages)
        }
        (b"rawData" | b"data" | b"Data", b'"') => {
            (Rank::Body, PayloadForm::Base64, value, InputFormat::Stream)
        }
        (b"kinesis" | b"awslogs", b'{') => {
            let data = inner(b"data").filter(|&at| text[at] == b'"')?;
            (Rank::Body, PayloadForm::Base64, data, InputFormat::Stream)
        }
        (b"_raw" | b"@message" | b"event", b'"') => {
            (Rank::Body, PayloadForm::Text, json_text(value)?, InputFormat::Documents)
        }
        (b"@message", b'{') => (Rank::Body, PayloadForm::Container, value, InputFormat::Logs),
        (b"data", b'{') => {
            let aws = inner(b"aws").and_then(record)?;
            (Rank::Body, PayloadForm::Columns, aws, InputFormat::Documents)
        }
        (b"aws", b'{') => {
            (Rank::Body, PayloadForm::Columns, record(value)?, InputFormat::Documents)
        }
        (b"message" | b"log" | b"full_log", b'"') => {
            (Rank::LogLine, PayloadForm::Text, json_text(value)?, InputFormat::Documents)
        }
        (b"message" | b"doc" | b"fields", b'{') => {
            (Rank::Container, PayloadForm::Container, value, InputFormat::Documents)
        }
        _ => return None,
    })
}

/// Returns whether a string starts like a JSON object, list or string.
pub(in crate::source) fn begins_json(text: &[u8], string: usize) -> bool {
    if text.get(string) != Some(&b'"') {
        return false;
    }
    let mut rest = &text[string + 1..];
    loop {
        rest = match rest {
            [b' ', rest @ ..] | [b'\\', b'n' | b't' | b'r', rest @ ..] => rest,
            _ => break,
        };
    }
    matches!(rest, [b'{' | b'[', ..] | [b'\\', b'"', ..])
}

/// Returns the offset of the value of `key` in the object at `text[object]`.
fn member(text: &[u8], object: usize, key: &[u8]) -> Option<usize> {
    if text.get(object) != Some(&b'{') {
        return None;
    }
    let mut members = Members::new(text, object);
    while let Some((name, value)) = members.next_key().ok()? {
        if name == key {
            return Some(value);
        }
        members.skip_value().ok()?;
    }
    None
}

/// Returns the offset of the first value of the list at `text[list]`.
fn first_value(text: &[u8], list: usize) -> Option<usize> {
    let at = skip_space(text, list + 1);
    (text.get(at)? != &b']').then_some(at)
}

/// Returns the columnar format of a file that starts with these bytes.
pub(in crate::source) fn columnar_format(head: &[u8]) -> Option<UnsupportedInput> {
    match head {
        [b'P', b'A', b'R', b'1' | b'E', ..] => Some(UnsupportedInput::Parquet),
        [b'O', b'R', b'C', 0..0x20, ..] => Some(UnsupportedInput::Orc),
        [b'O', b'b', b'j', 1, ..] => Some(UnsupportedInput::Avro),
        _ => None,
    }
}
