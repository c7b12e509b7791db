//! A page of LookupEvents as a worker gets it: the records, and the fields that their envelopes add to them.
//!
//! Input: the events that the SDK parsed. Output: calls of a [`RecordHandler`], and [`Decoded`], as for every other
//! input.
//! Invariant: each event yields one record or one defect, so that a page is complete or is fetched again.
//! Deliberately absent: pages that were saved to files, which are JSON (see `json::scanner`); and records beyond the
//! maximum length, as the service limits an event to 256 KB.

use aws_sdk_cloudtrail::types::{Event, Resource};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use crate::source::{
    Decoded, InputFormat, RecordHandler, RecordOutcome,
    json::{
        classify::{Classification, ObjectContext, classify},
        skip::skip_space,
    },
};

/// Memory of an event in addition to its texts.
const EVENT_OVERHEAD_BYTES: usize = 128;

/// The events of one page.
#[derive(Debug)]
pub struct LookupPage {
    /// The events, newest first.
    pub events: Vec<LookupEvent>,
    /// The share of the memory budget; returned when the page is dropped.
    pub permit: Option<OwnedSemaphorePermit>,
}

/// One event of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupEvent {
    /// The value of `EventId`.
    pub id: Option<String>,
    /// The value of `CloudTrailEvent`: the record as JSON.
    pub record: Option<String>,
    /// The value of `Username`, as JSON.
    pub username: Option<Vec<u8>>,
    /// The value of `Resources`, as JSON.
    pub resources: Option<Vec<u8>>,
}

impl LookupPage {
    /// Passes the records to `records`, in order.
    pub fn read<R: RecordHandler + ?Sized>(&self, records: &mut R) -> Decoded {
        let mut decoded = Decoded { format: InputFormat::Lookup, ..Decoded::default() };
        for event in &self.events {
            let offset = decoded.text_bytes;
            let bytes = event.record.as_ref().map_or(0, String::len) as u64;
            decoded.text_bytes += bytes;
            decoded.stored_bytes += bytes;
            match event.read(records) {
                Ok(()) => decoded.records += 1,
                Err((at, cause)) => decoded.add_defect(offset + at as u64, event.describe(&cause)),
            }
            if records.is_stopped() {
                decoded.stopped = true;
                break;
            }
        }
        decoded
    }
}

impl LookupEvent {
    /// Passes the record to `records`; returns what is wrong with it, and where in its text.
    fn read<R: RecordHandler + ?Sized>(&self, records: &mut R) -> Result<(), (usize, String)> {
        let Some(record) = self.record.as_deref().filter(|text| !text.trim().is_empty()) else {
            return Err((0, "CloudTrailEvent is missing or empty".to_owned()));
        };
        let text = record.as_bytes();
        let start = skip_space(text, 0);
        let is_record = text[start] == b'{'
            && !matches!(
                classify(text, start, ObjectContext::Top),
                Classification::Foreign(_) | Classification::List
            );
        if !is_record {
            return Err((start, "CloudTrailEvent is not a CloudTrail record".to_owned()));
        }
        let has_fields = self.username.is_some() || self.resources.is_some();
        if has_fields {
            records.envelope_fields(self.username.as_deref(), self.resources.as_deref());
        }
        let outcome = records.record(text, start);
        if has_fields {
            records.envelope_fields(None, None);
        }
        match outcome {
            RecordOutcome::EndsAt(end) if skip_space(text, end) == text.len() => Ok(()),
            RecordOutcome::EndsAt(end) => Err((end, "text after the record".to_owned())),
            RecordOutcome::Incomplete => Err((text.len(), "the record is truncated".to_owned())),
            RecordOutcome::Invalid { offset, cause } => Err((offset, cause.into_owned())),
        }
    }

    fn describe(&self, cause: &str) -> String {
        match &self.id {
            Some(id) => format!("event \"{id}\": {cause}"),
            None => format!("an event without an ID: {cause}"),
        }
    }

    /// Returns the memory that the event takes.
    pub(super) fn held_bytes(&self) -> usize {
        let Self { id, record, username, resources } = self;
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let json = |json: &Option<Vec<u8>>| json.as_ref().map_or(0, Vec::len);
        text(id) + text(record) + json(username) + json(resources) + EVENT_OVERHEAD_BYTES
    }
}

impl From<Event> for LookupEvent {
    fn from(event: Event) -> Self {
        let Event { event_id, username, resources, cloud_trail_event, .. } = event;
        let resources = resources.filter(|resources| !resources.is_empty());
        Self {
            id: event_id,
            record: cloud_trail_event,
            username: username.as_ref().map(to_json),
            resources: resources.map(|resources| {
                to_json(&resources.iter().map(ResourceFields::from).collect::<Vec<_>>())
            }),
        }
    }
}

/// The fields of a resource, as LookupEvents names them.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ResourceFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_name: Option<&'a str>,
}

impl<'a> From<&'a Resource> for ResourceFields<'a> {
    fn from(resource: &'a Resource) -> Self {
        Self { resource_type: resource.resource_type(), resource_name: resource.resource_name() }
    }
}

fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings and lists of them can be written to memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::OversizedRecord;

    /// Takes down records with the fields of their envelopes, until it has enough.
    #[derive(Default)]
    struct Recorder {
        fields: Option<String>,
        records: Vec<String>,
        stops_after: Option<usize>,
    }

    impl RecordHandler for Recorder {
        fn record(&mut self, text: &[u8], start: usize) -> RecordOutcome {
            let value: Result<serde_json::Value, _> = serde_json::from_slice(&text[start..]);
            if value.is_err() {
                return RecordOutcome::Invalid { offset: start + 1, cause: "odd".into() };
            }
            let text = String::from_utf8_lossy(&text[start..]);
            self.records.push(format!("{text}{}", self.fields.as_deref().unwrap_or_default()));
            RecordOutcome::EndsAt(start + text.len())
        }

        fn envelope_fields(&mut self, username: Option<&[u8]>, resources: Option<&[u8]>) {
            let text = |json: Option<&[u8]>| String::from_utf8_lossy(json.unwrap_or(b"-")).into();
            let [username, resources]: [String; 2] = [text(username), text(resources)];
            self.fields =
                (username != "-" || resources != "-").then(|| format!(" {username} {resources}"));
        }

        fn oversized(&mut self, _record: OversizedRecord) {
            unreachable!("no record of LookupEvents is that long")
        }

        fn is_stopped(&self) -> bool {
            self.stops_after.is_some_and(|records| self.records.len() >= records)
        }
    }

    fn event(id: &str, record: &str) -> Event {
        Event::builder().event_id(id).cloud_trail_event(record).build()
    }

    fn page(events: impl IntoIterator<Item = Event>) -> LookupPage {
        let events = events.into_iter().map(LookupEvent::from).collect();
        LookupPage { events, permit: None }
    }

    const RECORD: &str = r#"{"eventVersion":"1.08","userIdentity":{},"requestParameters":null}"#;

    #[test]
    fn a_record_comes_with_the_fields_of_its_envelope_only() {
        let resource = Resource::builder().resource_name("b\"").build();
        let first =
            Event::builder().username("alice").resources(resource).cloud_trail_event(RECORD);
        let mut records = Recorder::default();
        let decoded = page([first.build(), event("2", RECORD)]).read(&mut records);
        assert_eq!(
            records.records,
            [format!(r#"{RECORD} "alice" [{{"ResourceName":"b\""}}]"#).as_str(), RECORD]
        );
        assert_eq!((decoded.records, decoded.defect_count), (2, 0));
        assert_eq!(decoded.stored_bytes, 2 * RECORD.len() as u64);
    }

    #[test]
    fn an_event_without_a_record_is_a_defect() {
        let broken = format!("{RECORD},");
        let mut records = Recorder::default();
        let none = Event::builder().build();
        let events =
            [none, event("1", " "), event("2", "[]"), event("3", "{\"a\":1}"), event("4", RECORD)];
        let decoded = page(events.into_iter().chain([event("5", &broken)])).read(&mut records);
        let causes: Vec<_> = decoded.defects.iter().map(|defect| defect.cause.as_ref()).collect();
        assert_eq!(
            causes,
            [
                "an event without an ID: CloudTrailEvent is missing or empty",
                "event \"1\": CloudTrailEvent is missing or empty",
                "event \"2\": CloudTrailEvent is not a CloudTrail record",
                "event \"3\": CloudTrailEvent is not a CloudTrail record",
                "event \"5\": odd",
            ]
        );
        assert_eq!(decoded.records, 1);
    }

    #[test]
    fn reading_stops_behind_a_record() {
        let mut records = Recorder { stops_after: Some(1), ..Recorder::default() };
        let decoded = page([event("1", RECORD), event("2", RECORD)]).read(&mut records);
        assert!(decoded.stopped);
        assert_eq!(decoded.records, 1);
    }
}
