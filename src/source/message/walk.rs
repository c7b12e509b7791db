//! The walk through a body: removes what the services wrapped around events and notifications.
//!
//! Input: a body. Output: a [`Message`].
//! Invariant: at most [`MAX_DEPTH`] layers are removed, and what is decoded has at most [`MAX_DECODED_BYTES`] in all. Text
//! that is not wrapped is passed on as a slice of the body.

use std::{collections::HashSet, io::Read as _, ops::Range};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use memchr::memmem;

use super::{
    Ignorable, MAX_DECODED_BYTES, Message, Work,
    fields::{Fields, Items, Malformed},
    notification::{DeliveredKeys, Notice, s3_event, s3_record},
};
use crate::source::{
    json::{
        classify::{Classification, ObjectContext, classify},
        members::Members,
        skip::{skip_space, skip_string, skip_value},
        unescape::unescape,
    },
    s3::ObjectReference,
};

/// Lists, envelopes and texts in strings that are read within each other. A message of SNS in a message of SQS adds four.
const MAX_DEPTH: usize = 20;

/// Objects in one message. CloudTrail names some in a notification, S3 one.
const MAX_OBJECTS: usize = 10_000;

/// The members that tell an envelope or a notification from other objects.
const NAMES: [&[u8]; 20] = [
    b"Type",
    b"Message",
    b"Records",
    b"Messages",
    b"s3Bucket",
    b"s3ObjectKey",
    b"Event",
    b"source",
    b"detail-type",
    b"detail",
    b"region",
    b"eventSource",
    b"EventSource",
    b"eventName",
    b"awsRegion",
    b"s3",
    b"Sns",
    b"body",
    b"Body",
    b"requestPayload",
];

/// The text that CloudTrail sends to a topic that it is configured for.
const VALIDATION_MESSAGE: &[u8] = b"CloudTrail validation message";

/// Magic number of gzip.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// Base64 in both alphabets; some programs omit the padding.
const ENGINES: [GeneralPurpose; 2] = [
    GeneralPurpose::new(&alphabet::STANDARD, LENIENT),
    GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT),
];
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Returns what a body contains.
pub(super) fn walk(body: &Bytes) -> Message {
    let mut walk = Walk { decodable: MAX_DECODED_BYTES, ..Walk::default() };
    walk.text(body, 0);
    walk.finish(body)
}

/// What was found so far.
#[derive(Default)]
struct Walk {
    events: Vec<Bytes>,
    objects: Vec<ObjectReference>,
    known_objects: HashSet<ObjectReference>,
    ignorable: Option<Ignorable>,
    /// The first part that is not CloudTrail.
    foreign: Option<String>,
    /// A part cannot be read, so that the message must not be taken as complete.
    malformed: Option<&'static str>,
    /// Bytes that may still be decoded.
    decodable: usize,
}

impl Walk {
    fn finish(self, body: &[u8]) -> Message {
        let Self { events, objects, ignorable, foreign, malformed, .. } = self;
        let has_work = !events.is_empty() || !objects.is_empty();
        if let Some(reason) = malformed {
            let reason = reason.to_owned();
            return if has_work || may_be_about_events(body) {
                Message::Invalid { reason }
            } else {
                Message::Foreign { reason }
            };
        }
        if has_work {
            return Message::Work(Work { events: joined(events), objects });
        }
        match (foreign, ignorable) {
            (Some(reason), _) => Message::Foreign { reason },
            (None, Some(ignorable)) => Message::Ignorable(ignorable),
            (None, None) => Message::Foreign { reason: "an empty message".to_owned() },
        }
    }

    /// Reads a text: JSON values, one after the other, or text in base64.
    fn text(&mut self, text: &Bytes, depth: usize) {
        let text = without_byte_order_mark(text);
        let mut at = skip_space(&text, 0);
        match text.get(at) {
            Some(b'{' | b'[' | b'"') => {}
            Some(_) => return self.plain_text(&text.slice(at..), depth),
            None => return,
        }
        let values = self.events.len();
        while at < text.len() {
            let Ok(end) = skip_value(&text, at) else {
                return self.cut_off(&text.slice(at..), values);
            };
            self.value(&text, at..end, depth);
            at = skip_space(&text, end);
            if text.get(at) == Some(&b',') {
                at = skip_space(&text, at + 1);
            }
        }
    }

    /// Adds text that cannot be read to its end. If it begins as events do, whoever reads it reports where it breaks off.
    fn cut_off(&mut self, text: &Bytes, values_before: usize) {
        let begins_as_events = text.first() == Some(&b'{')
            && !begins_as_notification(text)
            && !matches!(
                classify(text, 0, ObjectContext::Top),
                Classification::Foreign(_)
                    | Classification::Incomplete
                    | Classification::Invalid { .. }
            );
        if begins_as_events || self.events.len() > values_before {
            self.add_events(text.clone());
        } else {
            self.malformed("JSON that is invalid or cut off");
        }
    }

    /// Reads text that is not JSON.
    fn plain_text(&mut self, text: &Bytes, depth: usize) {
        if text.starts_with(VALIDATION_MESSAGE) {
            self.ignorable = Some(Ignorable::ValidationMessage);
        } else if text.starts_with(GZIP) {
            self.gzip(text, depth);
        } else if let Some(decoded) = self.base64(text) {
            self.text(&decoded, depth + 1);
        } else {
            self.foreign("text that is not JSON");
        }
    }

    /// Decodes base64, if what it encodes is JSON or compressed.
    fn base64(&mut self, text: &[u8]) -> Option<Bytes> {
        let is_text = |byte: &u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=')
        };
        let plain: Vec<u8> =
            text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        if !plain.iter().all(is_text) || !self.may_decode(plain.len()) {
            return None;
        }
        let decoded = ENGINES.iter().find_map(|engine| engine.decode(&plain).ok())?;
        let begins = decoded.get(skip_space(&decoded, 0));
        let is_known = decoded.starts_with(GZIP) || matches!(begins, Some(b'{' | b'[' | b'"'));
        is_known.then(|| decoded.into())
    }

    /// Decompresses gzip. A text that is too long for a notification is left to whoever reads the events.
    fn gzip(&mut self, compressed: &Bytes, depth: usize) {
        let limit = self.decodable as u64;
        let mut text = Vec::new();
        let read = MultiGzDecoder::new(&compressed[..]).take(limit).read_to_end(&mut text);
        match read {
            Ok(bytes) if self.may_decode(bytes) && (bytes as u64) < limit => {
                self.text(&text.into(), depth + 1);
            }
            Ok(_) => self.add_events(compressed.clone()),
            Err(_) => self.malformed("compressed data that is damaged"),
        }
    }

    /// Takes `bytes` from what may be decoded. Returns whether that was enough.
    fn may_decode(&mut self, bytes: usize) -> bool {
        let left = self.decodable.checked_sub(bytes);
        self.decodable = left.unwrap_or_default();
        left.is_some()
    }

    /// Reads one JSON value.
    fn value(&mut self, text: &Bytes, range: Range<usize>, depth: usize) {
        if depth > MAX_DEPTH {
            return self.malformed("wrapped in too many layers");
        }
        match text[range.start] {
            b'{' => self.object(text, range, depth),
            b'[' => self.list(text, range.start, depth),
            b'"' => self.string(text, range, depth),
            _ => self.foreign("JSON that is not CloudTrail"),
        }
    }

    /// Reads the text in a string.
    fn string(&mut self, text: &Bytes, range: Range<usize>, depth: usize) {
        if !self.may_decode(range.len()) {
            return self.malformed("too large");
        }
        let mut decoded = Vec::with_capacity(range.len());
        unescape(&text[range.start + 1..range.end - 1], &mut decoded);
        self.text(&decoded.into(), depth + 1);
    }

    /// Reads every value of a list.
    fn list(&mut self, text: &Bytes, list: usize, depth: usize) {
        let mut items = Items::new(text, list);
        let mut is_empty = true;
        loop {
            match items.next_item() {
                Ok(Some(item)) => self.value(text, item, depth + 1),
                Ok(None) if is_empty => {
                    self.ignorable = Some(Ignorable::Empty);
                    return;
                }
                Ok(None) => return,
                Err(Malformed) => return self.malformed("JSON that is invalid or cut off"),
            }
            is_empty = false;
        }
    }

    fn object(&mut self, text: &Bytes, range: Range<usize>, depth: usize) {
        let Ok(fields) = Fields::read(text, range.start, &NAMES) else {
            return self.cut_off(&text.slice(range), self.events.len());
        };
        if self.wrapped(text, &fields, depth) || self.notification(text, &fields) {
            return;
        }
        if let Some(list) = fields.list("Records").or_else(|| fields.list("Messages"))
            && has_wrapped_items(text, list.start)
        {
            return self.list(text, list.start, depth);
        }
        self.other(text, range, &fields);
    }

    /// Reads what an envelope contains. Returns whether the object is one.
    fn wrapped(&mut self, text: &Bytes, fields: &Fields<'_>, depth: usize) -> bool {
        if fields.string("Type").as_deref() == Some("SubscriptionConfirmation") {
            self.foreign("a request to confirm a subscription of SNS: open its SubscribeURL");
            return true;
        }
        // Only records and notifications have it.
        if fields.value("eventName").is_some() {
            return false;
        }
        let sns = fields.object("Sns").and_then(|sns| {
            Fields::read(text, sns.start, &[b"Message"]).ok()?.string_range("Message")
        });
        let message = ["Message", "body", "Body", "requestPayload"].into_iter();
        let message = message.filter_map(|name| fields.value(name));
        let is_text = |value: &Range<usize>| matches!(text[value.start], b'"' | b'{' | b'[');
        let Some(inner) = sns.or_else(|| message.into_iter().find(is_text)) else { return false };
        self.value(text, inner, depth + 1);
        true
    }

    /// Reads a notification. Returns whether the object is one.
    fn notification(&mut self, text: &Bytes, fields: &Fields<'_>) -> bool {
        if fields.string("Event").as_deref() == Some("s3:TestEvent") {
            self.ignorable = Some(Ignorable::TestEvent);
        } else if let (Some(bucket), Some(keys)) =
            (fields.string("s3Bucket"), fields.value("s3ObjectKey"))
        {
            let keys = DeliveredKeys { text, bucket, keys };
            if keys.for_each(|notice| self.notice(notice)).is_err() {
                self.malformed("JSON that is invalid or cut off");
            }
        } else if let Some(s3) = fields.object("s3").filter(|_| is_s3_record(fields)) {
            self.notice(s3_record(text, fields, s3));
        } else if let Some(detail) = fields.object("detail").filter(|_| is_s3_event(fields)) {
            self.notice(s3_event(text, fields, detail));
        } else {
            return false;
        }
        true
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Object(object) if self.objects.len() < MAX_OBJECTS => {
                if self.known_objects.insert(object.clone()) {
                    self.objects.push(object);
                }
            }
            Notice::Object(_) => self.malformed("names too many objects"),
            Notice::Ignorable(ignorable) => self.ignorable = Some(ignorable),
            Notice::OtherService(name) => {
                self.foreign(format!("a notification about a log of another service ({name})"));
            }
            Notice::Incomplete => self.malformed("a notification without bucket and key"),
        }
    }

    /// Adds an object that is neither an envelope nor a notification.
    fn other(&mut self, text: &Bytes, range: Range<usize>, fields: &Fields<'_>) {
        let object = text.slice(range);
        match classify(&object, 0, ObjectContext::Top) {
            Classification::Record
            | Classification::RecordAt(_)
            | Classification::TextAt(_)
            | Classification::DocumentAt(_)
            | Classification::Payload(..)
            | Classification::BulkAction
            | Classification::LookupEvent(_)
            | Classification::List
            | Classification::IncompleteRecord => self.add_events(object),
            Classification::ControlMessage => self.ignorable = Some(Ignorable::ControlMessage),
            Classification::Foreign(kind) => match fields.string("detail-type") {
                Some(name) => {
                    let source = fields.string("source").unwrap_or_default();
                    self.foreign(format!("an event of EventBridge, {name} from {source}"));
                }
                None => self.foreign(kind.to_string()),
            },
            Classification::Unsupported(form) => self.foreign(form.to_string()),
            Classification::MissingRecord(reason) => self.foreign(reason),
            Classification::Incomplete | Classification::Invalid { .. } => {
                self.malformed("JSON that is invalid or cut off");
            }
        }
    }

    fn add_events(&mut self, text: Bytes) {
        self.events.push(text);
    }

    fn foreign(&mut self, reason: impl Into<String>) {
        if self.foreign.is_none() {
            self.foreign = Some(reason.into());
        }
    }

    fn malformed(&mut self, reason: &'static str) {
        self.malformed.get_or_insert(reason);
    }
}

/// Returns whether a record of a notification is one of S3 or of a service that is compatible with it.
fn is_s3_record(fields: &Fields<'_>) -> bool {
    fields.string("eventSource").is_none_or(|source| source.ends_with(":s3"))
}

/// Returns whether an event of EventBridge is about an object.
fn is_s3_event(fields: &Fields<'_>) -> bool {
    fields.string("source").as_deref() == Some("aws.s3")
        && fields.string("detail-type").is_some_and(|name| name.starts_with("Object "))
}

/// Returns whether a list holds notifications or messages, and not only records or what a decoder unwraps.
fn has_wrapped_items(text: &[u8], list: usize) -> bool {
    let mut items = Items::new(text, list);
    loop {
        let item = match items.next_item() {
            Ok(Some(item)) => item.start,
            Ok(None) => return false,
            // The item that is cut off may show what it is.
            Err(Malformed) => return is_wrapped_item(text, items.position()),
        };
        if is_wrapped_item(text, item) {
            return true;
        }
    }
}

/// Returns whether a text that is cut off holds a list of notifications or messages. Whoever reads events would take them for
/// records.
fn begins_as_notification(text: &[u8]) -> bool {
    let mut members = Members::new(text, 0);
    while let Ok(Some((key, value))) = members.next_key() {
        if matches!(key, b"Records" | b"Messages") && text[value] == b'[' {
            return has_wrapped_items(text, value);
        }
        if members.skip_value().is_err() {
            return false;
        }
    }
    false
}

/// Returns whether a value is an object that is a notification or a message. Most records show with their first member that they are not.
fn is_wrapped_item(text: &[u8], object: usize) -> bool {
    if text.get(object) != Some(&b'{') {
        return false;
    }
    let mut members = Members::new(text, object);
    while let Ok(Some((key, value))) = members.next_key() {
        let value = &text[value..];
        match key {
            b"eventVersion" if value.starts_with(b"\"1.") => return false,
            b"eventSource" | b"EventSource" => {
                let end = skip_string(value, 0).unwrap_or_default();
                let services = [&b":s3\""[..], b":sqs\"", b":sns\""];
                return services.iter().any(|name| value[..end].ends_with(name));
            }
            b"s3" | b"Sns" | b"body" | b"Body" | b"Message" | b"detail-type" => return true,
            _ => {}
        }
        if members.skip_value().is_err() {
            return false;
        }
    }
    false
}

/// Returns whether a body that cannot be read mentions what events and notifications have.
fn may_be_about_events(body: &[u8]) -> bool {
    let names = ["Records", "s3ObjectKey", "detail-type", "eventVersion", "CloudTrailEvent"];
    names.iter().any(|name| memmem::find(body, name.as_bytes()).is_some())
}

/// Returns texts as one, each on a line of its own.
fn joined(mut texts: Vec<Bytes>) -> Option<Bytes> {
    if texts.len() < 2 {
        return texts.pop();
    }
    let bytes = texts.iter().map(|text| text.len() + 1).sum();
    let mut all = BytesMut::with_capacity(bytes);
    for text in texts {
        all.extend_from_slice(&text);
        all.extend_from_slice(b"\n");
    }
    Some(all.freeze())
}

/// Returns a text without the mark that some programs write at its start.
fn without_byte_order_mark(text: &Bytes) -> Bytes {
    if text.starts_with("\u{feff}".as_bytes()) { text.slice(3..) } else { text.clone() }
}
