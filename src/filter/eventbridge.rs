//! The view of an event as EventBridge delivers it: the event under `detail`, beside what EventBridge adds.
//!
//! Input: a CloudTrail event, and the [`Envelope`] in which it was delivered, if it was read from one. Output: the fields
//! `version`, `id`, `detail-type`, `source`, `account`, `time`, `region`, `resources` and `detail`.
//! Invariant: the event is borrowed. A field of the envelope has the delivered value; one that the envelope lacks is derived
//! from the event when it is asked for.
//! Not here: delivery by EventBridge, and its own event id, which the event history does not keep: without an envelope,
//! `id` is the `eventID`.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::flat::FlatView;

/// The fields of the view, in the order in which EventBridge documents them.
pub const FIELDS: [&str; 9] =
    ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"];

/// The field that rules see in addition: the flat view of the event.
pub const FLAT: &str = "flat";

/// `resources` of the envelope: EventBridge leaves it empty for CloudTrail events.
static NO_RESOURCES: Value = Value::Array(Vec::new());

/// The field that holds the CloudTrail event.
pub const DETAIL: &str = "detail";

/// The envelope in which EventBridge delivered an event: the [`FIELDS`] beside `detail`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Envelope(Map<String, Value>);

impl Envelope {
    /// Creates the envelope from members of a delivered event, the values as JSON. Others than the [`FIELDS`], `detail`, null
    /// and what is not JSON are left out; of a name that repeats, the last value counts.
    pub fn from_json<'t>(members: impl IntoIterator<Item = (&'t str, &'t [u8])>) -> Self {
        let mut fields = Map::new();
        for (name, json) in members {
            let value: Value = serde_json::from_slice(json).unwrap_or_default();
            if is_envelope_field(name) && !value.is_null() {
                fields.insert(name.to_owned(), value);
            }
        }
        Self(fields)
    }

    /// Creates the envelope of a delivered event; `None` if the value has no `detail`.
    pub fn of_delivered(event: &Value) -> Option<Self> {
        let members = event.as_object().filter(|members| members.contains_key(DETAIL))?;
        let kept =
            members.iter().filter(|(name, value)| is_envelope_field(name) && !value.is_null());
        Some(Self(kept.map(|(name, value)| (name.clone(), value.clone())).collect()))
    }
}

/// Returns whether an envelope has a field of this name.
pub fn is_envelope_field(name: &str) -> bool {
    name != DETAIL && FIELDS.contains(&name)
}

/// A CloudTrail event as EventBridge delivers it.
#[derive(Clone, Copy, Debug)]
pub struct EventView<'a> {
    event: &'a Value,
    envelope: Option<&'a Envelope>,
    flat: Option<FlatView<'a>>,
}

/// The value of a field of an [`EventView`].
#[derive(Clone, Debug, PartialEq)]
pub enum EventField<'a> {
    /// A part of the event.
    Json(&'a Value),
    /// Text that the view adds.
    Text(Cow<'a, str>),
    /// The flat view of the event.
    Flat(FlatView<'a>),
}

impl<'a> From<&'a Value> for EventView<'a> {
    fn from(event: &'a Value) -> Self {
        Self::new(event)
    }
}

impl<'a> EventView<'a> {
    /// Creates the view of an event.
    pub fn new(event: &'a Value) -> Self {
        Self { event, envelope: None, flat: None }
    }

    /// Adds the envelope in which the event was delivered, if there is one.
    #[must_use]
    pub fn with_envelope(self, envelope: Option<&'a Envelope>) -> Self {
        Self { envelope, ..self }
    }

    /// Adds the field `flat`, the flat view that rules see.
    #[must_use]
    pub fn with_flat(self) -> Self {
        Self { flat: Some(FlatView::new(self.event)), ..self }
    }

    /// Returns the event itself.
    pub fn detail(&self) -> &'a Value {
        self.event
    }

    /// Returns a field, or `None` if the view does not have it.
    pub fn get(&self, name: &str) -> Option<EventField<'a>> {
        if let Some(delivered) = self.envelope.and_then(|Envelope(fields)| fields.get(name)) {
            return Some(EventField::Json(delivered));
        }
        match name {
            DETAIL => Some(EventField::Json(self.event)),
            "version" => Some(EventField::Text(Cow::Borrowed("0"))),
            "id" => self.json("eventID"),
            "detail-type" => Some(EventField::Text(Cow::Borrowed(self.detail_type()))),
            "source" => self.source().map(|source| EventField::Text(Cow::Owned(source))),
            "account" => self.json("recipientAccountId").or_else(|| self.caller_account()),
            "time" => self.json("eventTime"),
            "region" => self.json("awsRegion"),
            "resources" => Some(EventField::Json(&NO_RESOURCES)),
            FLAT => self.flat.map(EventField::Flat),
            _ => None,
        }
    }

    /// Returns the names of the fields.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        FIELDS.into_iter().chain(self.flat.map(|_| FLAT))
    }

    fn json(&self, key: &str) -> Option<EventField<'a>> {
        self.event.get(key).map(EventField::Json)
    }

    /// Events before version 1.02 have no `recipientAccountId`.
    fn caller_account(&self) -> Option<EventField<'a>> {
        self.event.get("userIdentity")?.get("accountId").map(EventField::Json)
    }

    /// `aws.` and the first label of the event source: `aws.ec2` for `ec2.amazonaws.com`.
    fn source(&self) -> Option<String> {
        let event_source = self.event.get("eventSource")?.as_str()?;
        let service = event_source.split_once('.').map_or(event_source, |(service, _)| service);
        Some(format!("aws.{service}"))
    }

    fn detail_type(&self) -> &'static str {
        match self.event.get("eventType").and_then(Value::as_str) {
            // The user guide has both spellings.
            Some("AwsConsoleSignIn" | "AwsConsoleSignin") => "AWS Console Sign In via CloudTrail",
            Some("AwsServiceEvent") => "AWS Service Event via CloudTrail",
            Some("AwsConsoleAction") => "AWS Console Action via CloudTrail",
            Some("AwsCloudTrailInsight") => "AWS Insight via CloudTrail",
            _ => "AWS API Call via CloudTrail",
        }
    }
}

/// Returns the paths in the event of the values that a field of the view is derived from, the flat view aside; an empty
/// path is the event.
pub fn member_paths(field: &str) -> &'static [&'static [&'static str]] {
    match field {
        "detail" => &[&[]],
        "id" => &[&["eventID"]],
        "detail-type" => &[&["eventType"]],
        "source" => &[&["eventSource"]],
        "account" => &[&["recipientAccountId"], &["userIdentity", "accountId"]],
        "time" => &[&["eventTime"]],
        "region" => &[&["awsRegion"]],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text<'a>(view: &EventView<'a>, name: &str) -> Option<Cow<'a, str>> {
        match view.get(name)? {
            EventField::Text(text) => Some(text),
            EventField::Json(value) => value.as_str().map(Cow::Borrowed),
            EventField::Flat(_) => None,
        }
    }

    #[test]
    fn the_envelope_is_derived_from_the_event() {
        let event = json!({
            "eventSource": "ec2.amazonaws.com", "eventTime": "2026-11-27T07:00:00Z", "awsRegion": "eu-west-1",
            "eventID": "e1", "recipientAccountId": "111122223333", "eventType": "AwsApiCall",
            "userIdentity": { "accountId": "444455556666" }
        });
        let view = EventView::new(&event);
        for (name, expected) in [
            ("source", "aws.ec2"),
            ("account", "111122223333"),
            ("region", "eu-west-1"),
            ("time", "2026-11-27T07:00:00Z"),
            ("id", "e1"),
            ("version", "0"),
            ("detail-type", "AWS API Call via CloudTrail"),
        ] {
            assert_eq!(text(&view, name).as_deref(), Some(expected), "{name}");
        }
        assert_eq!(view.get("detail"), Some(EventField::Json(&event)));
        assert_eq!(view.get("eventName"), None);
    }

    #[test]
    fn a_delivered_envelope_is_seen_as_it_was_delivered() {
        let event = json!({
            "eventSource": "ec2.amazonaws.com", "eventTime": "2026-11-27T07:00:00Z", "awsRegion": "eu-west-1", "eventID": "e1",
        });
        let envelope = Envelope::from_json([
            ("id", &b"\"i\""[..]),
            ("time", b"\"2026-11-27T07:00:01Z\""),
            ("account", b"\"111122223333\""),
            ("region", b"null"),
            ("source", b"invalid"),
            ("resources", b"[\"arn:a\"]"),
            ("detail", b"{}"),
            ("flat", b"{}"),
            ("other", b"1"),
        ]);
        let view = EventView::new(&event).with_envelope(Some(&envelope));
        for (name, expected) in [
            ("id", Some("i")),
            ("time", Some("2026-11-27T07:00:01Z")),
            ("account", Some("111122223333")),
            ("region", Some("eu-west-1")),
            ("source", Some("aws.ec2")),
            ("other", None),
        ] {
            assert_eq!(text(&view, name).as_deref(), expected, "{name}");
        }
        assert_eq!(view.get("resources"), Some(EventField::Json(&json!(["arn:a"]))));
        assert_eq!(view.get("detail"), Some(EventField::Json(&event)));
        assert_eq!(view.get(FLAT), None);
    }

    #[test]
    fn the_envelope_of_a_delivered_event_is_what_stands_beside_the_detail() {
        let delivered = json!({"id": "i", "time": null, "detail": {"id": "x"}, "more": 1});
        assert_eq!(
            Envelope::of_delivered(&delivered),
            Some(Envelope::from_json([("id", &b"\"i\""[..])]))
        );
        assert_eq!(Envelope::of_delivered(&json!({"eventID": "e1"})), None);
        assert_eq!(Envelope::of_delivered(&json!([])), None);
    }

    #[test]
    fn an_old_event_has_the_account_of_its_caller() {
        let event = json!({ "userIdentity": { "accountId": "444455556666" } });
        assert_eq!(text(&EventView::new(&event), "account").as_deref(), Some("444455556666"));
    }

    #[test]
    fn the_detail_type_names_sign_ins_and_service_events() {
        let event = json!({ "eventType": "AwsConsoleSignIn" });
        assert_eq!(
            text(&EventView::new(&event), "detail-type").as_deref(),
            Some("AWS Console Sign In via CloudTrail")
        );
    }

    #[test]
    fn only_rules_see_the_flat_view() {
        let event = json!({ "a": { "b": 1 } });
        assert_eq!(EventView::new(&event).get(FLAT), None);
        assert!(matches!(EventView::new(&event).with_flat().get(FLAT), Some(EventField::Flat(_))));
    }
}
