//! Finds the member of an envelope that holds the event.
//!
//! In: the members of an object, one after another. Out: the place of the event, and how it is wrapped there.
//! ColumnType: text that does not begin like JSON is nobody's event, so log lines of others are passed by.

use std::ops::Range;

use super::unsupported_input::UnsupportedInput;
use crate::source::{
    decode::InputFormat,
    json::classify::{Classification, ObjectContext, classify},
    json::skip::{skip_space, skip_string, skip_value},
};

/// What Wazuh adds to an event.
pub(super) const OF_WAZUH: &[&[u8]] = &[b"log_info", b"source_ip_address", b"aws_account_id"];

/// Where an event is, and how it is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) struct Payload {
    /// Where its value begins.
    pub(in crate::source) place: usize,
    /// PayloadForm it stands there.
    pub(in crate::source) how: PayloadForm,
    /// What the input is called, if this is the first event in it.
    pub(in crate::source) shape: InputFormat,
}

/// PayloadForm an event stands in its envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum PayloadForm {
    /// As an object.
    Record,
    /// As an object whose names or values have to be restored.
    Columns,
    /// As the text of a string.
    Text,
    /// As base64, perhaps packed.
    Base64,
    /// Somewhere in this object.
    Container,
}

/// What one event or message says of itself, beside what it holds.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::source) struct Envelope {
    best: Option<(u8, Payload)>,
    /// Base64 that counts only beside what its wrapper always has.
    encoded: Option<Payload>,
    marks: u32,
}

/// A record of Kinesis, Firehose or a delivery that failed: `data` and `rawData` are base64.
const STREAM: u32 = 1;
/// A field of a document of Elastic's AWS integration.
const ECS: u32 = 1 << 1;
const OCSF_CLASS: u32 = 1 << 2;
const OCSF_PRODUCT: u32 = 1 << 3;
/// An answer of Athena's API with events in it.
const ATHENA: u32 = 1 << 6;
/// Sent to Lambda by a queue, a topic or a stream.
const SENT: u32 = 1 << 4;
/// The object is the document of an index, or an entry of some other store.
const DOCUMENT: u32 = 1 << 5;
/// The object is a document that trailload wrote; the normalizer restores its record.
const TRAILLOAD: u32 = 1 << 7;

/// The event itself, kept on purpose.
const ORIGINAL: u8 = 0;
/// What a wrapper is there for.
const MEANT: u8 = 1;
/// What may be an event, or the line of a log.
const PERHAPS: u8 = 2;
/// Where there may be something of that.
const SOMEWHERE: u8 = 3;

impl Envelope {
    /// Takes in one member: its key, and where its value is in `text`.
    pub(in crate::source) fn member(&mut self, key: &[u8], text: &[u8], value: Range<usize>) {
        self.mark(key, &text[value.clone()]);
        let Some((rank, how, place, shape)) = candidate(key, text, &value) else { return };
        let payload = Payload { place, how, shape };
        if how == PayloadForm::Base64 {
            self.encoded = self.encoded.or(Some(payload));
        } else if self.best.is_none_or(|(best, _)| rank < best) {
            self.best = Some((rank, payload));
        }
    }

    fn mark(&mut self, key: &[u8], value: &[u8]) {
        self.marks |= match key {
            b"attemptsMade" | b"recordId" | b"partitionKey" | b"PartitionKey"
            | b"SequenceNumber" | b"kinesis" | b"awslogs" => STREAM,
            b"aws" if peek(value, 0, b"cloudtrail").is_some_and(|at| value[at] == b'{') => ECS,
            key if key.starts_with(b"aws.cloudtrail.") => ECS,
            b"class_uid" => OCSF_CLASS,
            b"metadata" if memchr::memmem::find(value, b"\"CloudTrail\"").is_some() => OCSF_PRODUCT,
            b"ResultSet" if holds_events(value) => ATHENA,
            b"eventSource" | b"EventSource" if is_sender(value) => SENT,
            b"trailload" => DOCUMENT | TRAILLOAD,
            b"@timestamp" | b"@version" | b"_raw" | b"event" => DOCUMENT,
            _ => 0,
        };
    }

    /// Returns whether this is an entry of another store, which may keep the event beside its fields.
    pub(in crate::source) fn is_document(&self) -> bool {
        self.marks & DOCUMENT != 0
    }

    /// Returns whether a queue, a topic or a stream sent it to Lambda.
    pub(in crate::source) fn is_sent(&self) -> bool {
        self.marks & SENT != 0
    }

    /// Returns where the event is. `is_record`: the object itself looks like one. Base64 counts only beside what its
    /// wrapper always has.
    pub(in crate::source) fn payload(&self, is_record: bool) -> Option<Payload> {
        if !is_record && self.encoded.is_some() && self.marks & STREAM != 0 {
            return self.encoded;
        }
        if is_record && self.marks & TRAILLOAD != 0 {
            return None;
        }
        let (rank, payload) = self.best?;
        (!is_record || rank == ORIGINAL).then_some(payload)
    }

    /// Returns what the object is, if it is known and cannot be read.
    pub(in crate::source) fn unread(&self) -> Option<UnsupportedInput> {
        let has = |marks| self.marks & marks == marks;
        match () {
            () if has(ECS) => Some(UnsupportedInput::Ecs),
            () if has(ATHENA) => Some(UnsupportedInput::AthenaPage),
            () if has(OCSF_CLASS | OCSF_PRODUCT) => Some(UnsupportedInput::Ocsf),
            () => None,
        }
    }
}

/// Returns whether the rows of Athena's API are of CloudTrail events.
fn holds_events(value: &[u8]) -> bool {
    let has = |text: &[u8]| memchr::memmem::find(value, text).is_some();
    has(b"\"VarCharValue\"")
        && (has(b"\"eventname\"") || has(b"\"useridentity\"") || has(b"\"eventid\""))
}

/// Returns whether the value of `eventSource` names something that hands on what others sent.
pub(in crate::source) fn is_sender(value: &[u8]) -> bool {
    [&b"\"aws:sqs\""[..], b"\"aws:sns\"", b"\"aws:kinesis\""]
        .iter()
        .any(|sender| value.starts_with(sender))
}

type Candidate = (u8, PayloadForm, usize, InputFormat);

/// Returns where in a member an event may be.
fn candidate(key: &[u8], text: &[u8], value: &Range<usize>) -> Option<Candidate> {
    let place = value.start;
    let json_text = || begins_json(text, place).then_some(place);
    let within = |key: &[u8]| peek(text, place, key).filter(|&at| begins_json(text, at));
    Some(match (key, text[place]) {
        (b"event.original", b'"') => (ORIGINAL, PayloadForm::Text, json_text()?, InputFormat::Documents),
        (b"event.original", b'[') => (
            ORIGINAL,
            PayloadForm::Text,
            first(text, place).filter(|&at| begins_json(text, at))?,
            InputFormat::Documents,
        ),
        (b"eventJson" | b"eventjson", b'"') => (ORIGINAL, PayloadForm::Text, json_text()?, InputFormat::Columns),
        (b"event", b'{') => match within(b"original") {
            Some(at) => (ORIGINAL, PayloadForm::Text, at, InputFormat::Documents),
            None => (MEANT, PayloadForm::Record, record(text, place)?, InputFormat::Documents),
        },
        (b"Message" | b"Body" | b"body" | b"Detail", b'"') => {
            (MEANT, PayloadForm::Text, json_text()?, InputFormat::Messages)
        }
        (b"Message" | b"Body" | b"body", b'{') => (SOMEWHERE, PayloadForm::Container, place, InputFormat::Messages),
        (b"Sns", b'{') => (MEANT, PayloadForm::Text, within(b"Message")?, InputFormat::Messages),
        (b"rawData" | b"data" | b"Data", b'"') => (MEANT, PayloadForm::Base64, place, InputFormat::Stream),
        (b"kinesis" | b"awslogs", b'{') => (
            MEANT,
            PayloadForm::Base64,
            peek(text, place, b"data").filter(|&at| text[at] == b'"')?,
            InputFormat::Stream,
        ),
        (b"_raw" | b"@message" | b"event", b'"') => {
            (MEANT, PayloadForm::Text, json_text()?, InputFormat::Documents)
        }
        (b"@message", b'{') => (MEANT, PayloadForm::Container, place, InputFormat::Logs),
        (b"data", b'{') => {
            let aws = peek(text, place, b"aws").filter(|&at| text[at] == b'{')?;
            (MEANT, PayloadForm::Columns, record(text, aws)?, InputFormat::Documents)
        }
        (b"aws", b'{') => (MEANT, PayloadForm::Columns, record(text, place)?, InputFormat::Documents),
        (b"message" | b"log" | b"full_log", b'"') => {
            (PERHAPS, PayloadForm::Text, json_text()?, InputFormat::Documents)
        }
        (b"message" | b"doc" | b"fields", b'{') => {
            (SOMEWHERE, PayloadForm::Container, place, InputFormat::Documents)
        }
        _ => return None,
    })
}

/// Returns the object's place if it is a record.
fn record(text: &[u8], place: usize) -> Option<usize> {
    (classify(text, place, ObjectContext::Embedded) == Classification::Record).then_some(place)
}

/// Returns whether a string begins like a JSON object, list or text.
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

/// Returns where the value of `key` begins in the object at `text[object]`.
fn peek(text: &[u8], object: usize, key: &[u8]) -> Option<usize> {
    if text.get(object) != Some(&b'{') {
        return None;
    }
    let mut at = object + 1;
    loop {
        at = skip_space(text, at);
        match text.get(at)? {
            b',' => at += 1,
            b'"' => {
                let end = skip_string(text, at)?;
                let value = skip_space(text, skip_space(text, end) + 1);
                if &text[at + 1..end - 1] == key {
                    return text.get(value).map(|_| value);
                }
                at = skip_value(text, value).ok()?;
            }
            _ => return None,
        }
    }
}

/// Returns where the first value of the list at `text[list]` begins.
fn first(text: &[u8], list: usize) -> Option<usize> {
    let at = skip_space(text, list + 1);
    (text.get(at)? != &b']').then_some(at)
}

/// Returns what a file of columns is, by its first bytes.
pub(in crate::source) fn columns(head: &[u8]) -> Option<UnsupportedInput> {
    match head {
        [b'P', b'A', b'R', b'1' | b'E', ..] => Some(UnsupportedInput::Parquet),
        [b'O', b'R', b'C', 0..0x20, ..] => Some(UnsupportedInput::Orc),
        [b'O', b'b', b'j', 1, ..] => Some(UnsupportedInput::Avro),
        _ => None,
    }
}
