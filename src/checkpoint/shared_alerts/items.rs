//! The items of the table.
//!
//! ```text
//!  id                    attributes
//!  alert/HASH            rule, event, time, handling, events, raised, after; for each action: owner:A, until:A, delivered:A
//!  group/HASH/SEGMENT    covers, counted, last, last_raised
//!  seen/HASH             spans
//!  rule/HASH             rule, learning_from
//! ```
//!
//! Each item has a `version`, which grows with each change of what decisions depend on, and all but rules have `expires`, the time in
//! seconds of the Unix epoch after which DynamoDB deletes them.
//!
//! Input: items, or attributes. Output: the other of both.
//! Invariant: an item is smaller than 350 KB, where DynamoDB accepts 400 KB; it has a few KB unless a threshold is in the thousands.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};

use crate::checkpoint::alerts::{
    counted_events::{CountedEvent, Threshold, decode, encode},
    judge::{Candidate, Handling, NO_TIME, milliseconds},
    keys::{hexadecimal, key},
};
use crate::filter::rule::Rule;

/// The name of the key of the table.
pub(in crate::checkpoint) const KEY: &str = "id";

/// The attribute by which DynamoDB deletes items.
pub(in crate::checkpoint) const EXPIRES: &str = "expires";

/// The attribute that conditions refer to.
pub(super) const VERSION: &str = "version";

/// Longest text of an attribute for people. Rules and event ids are shorter unless somebody means harm.
const MAX_TEXT_CHARS: usize = 300;

/// Bytes of the counted events of a segment at most.
const MAX_COUNTED_BYTES: usize = 32 << 10;

/// Half windows in a segment at most: half of the matches are judged by one item then, if the rule has no threshold.
const MAX_SEGMENT_HALVES: usize = 32;

/// Bytes of an event that is counted.
const COUNTED_BYTES: usize = 16;

/// Times of a combination at most, of 16 bytes each. More are more than a century of combinations that are new every two weeks.
pub(super) const MAX_SPANS: usize = 4_000;

/// The attributes of an item.
pub(super) type Attributes = HashMap<String, AttributeValue>;

/// The key of an item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ItemKey(pub(super) String);

/// An item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Alert(AlertItem),
    Segment(Segment),
    Combination(Combination),
    Rule(RuleItem),
}

/// An item with its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredItem {
    pub(super) item: Item,
    pub(super) version: u64,
}

/// An event for which a rule has raised an alert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AlertItem {
    pub(super) rule: String,
    pub(super) event_id: String,
    /// Of the event, in milliseconds of the Unix epoch.
    pub(super) time: i64,
    /// Whether it is only recorded.
    pub(super) is_recorded: bool,
    /// Events in the window.
    pub(super) events: u64,
    /// When it was raised, in milliseconds of the Unix epoch.
    pub(super) raised: i64,
    /// The alert of the same group that was raised before it.
    pub(super) after: Option<ItemKey>,
    /// By name of the action.
    pub(super) claims: BTreeMap<String, Claim>,
}

/// Who makes a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) owner: String,
    /// The end of the lease in milliseconds of the Unix epoch, by the clock of AWS.
    pub(super) until: i64,
    /// When the receiver acknowledged it.
    pub(super) delivered: Option<i64>,
}

/// What is remembered of a group in a span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Segment {
    /// Times of alerts, and how they were handled.
    pub(super) covers: BTreeMap<i64, Handling>,
    /// The events that a threshold counts, in the order of time.
    pub(super) counted: Vec<CountedEvent>,
    /// The alert of the group that was raised last, and when.
    pub(super) last: Option<(i64, ItemKey)>,
}

/// A combination of values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Combination {
    /// Times of events each of which is less than `within` after the one before it, in the order of time: the first and the last.
    pub(super) spans: Vec<(i64, i64)>,
}

/// A rule with `first_seen`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RuleItem {
    pub(super) rule: String,
    /// Where the learning period starts, in milliseconds of the Unix epoch.
    pub(super) learning_from: i64,
}

impl ItemKey {
    /// Returns the key of the alert of a rule for an event at a time in milliseconds of the Unix epoch.
    pub(super) fn alert(rule: &str, event_id: &str, time: i64) -> Self {
        let hash = key("shared alert", &[rule, event_id, &time.to_string()]);
        Self(format!("alert/{}", hexadecimal(&hash)))
    }

    /// Returns the key of a rule.
    pub(super) fn rule(rule: &Rule, first_seen_by: &str) -> Self {
        let hash = key("shared rule", &[&rule.name, first_seen_by]);
        Self(format!("rule/{}", hexadecimal(&hash)))
    }

    /// Returns the key of a combination.
    pub(super) fn combination(
        rule: &Rule,
        first_seen_by: &str,
        values: &serde_json::Value,
    ) -> Self {
        let hash = crate::checkpoint::alerts::keys::combination_key(rule, first_seen_by, values);
        Self(format!("seen/{}", hexadecimal(&hash)))
    }

    /// Returns whether DynamoDB may delete the item.
    pub(super) fn expires(&self) -> bool {
        !self.0.starts_with("rule/")
    }
}

/// How the memory of the groups of a rule is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segments {
    pub(super) window: i64,
    /// Milliseconds in a segment.
    length: i64,
}

impl Segments {
    /// Returns the segments of a rule with a window.
    pub(super) fn of(rule: &Rule) -> Option<Self> {
        let window = milliseconds(rule.grouping.window?);
        let threshold = usize::try_from(rule.grouping.threshold).unwrap_or(usize::MAX);
        let half_bytes = threshold.saturating_mul(2 * COUNTED_BYTES);
        let halves = (MAX_COUNTED_BYTES / half_bytes).clamp(1, MAX_SEGMENT_HALVES);
        let halves = i64::try_from(halves).unwrap_or(1);
        Some(Self { window, length: (window / 2).max(1).saturating_mul(halves) })
    }

    /// Returns the number of the segment that contains a time.
    pub(super) fn number(self, time: i64) -> i64 {
        time.div_euclid(self.length)
    }

    /// Returns the keys of the segments less than two windows around a candidate, with their numbers.
    pub(super) fn around(self, candidate: &Candidate<'_>) -> impl Iterator<Item = (i64, ItemKey)> {
        let reach = self.window.saturating_mul(2);
        let first = self.number(candidate.time.saturating_sub(reach));
        let last = self.number(candidate.time.saturating_add(reach));
        let group = candidate.group_key();
        (first..=last).map(move |number| (number, self.key(&group, number)))
    }

    /// Returns the key of a segment. A change of the length starts the memory of a group anew.
    pub(super) fn key(self, group: &[u8; 16], number: i64) -> ItemKey {
        let Self { window, length } = self;
        ItemKey(format!("group/{}/{window}-{length}/{number}", hexadecimal(group)))
    }
}

impl Segment {
    /// Counts an event. Returns whether the counted events have changed.
    pub(super) fn count(&mut self, event: CountedEvent, threshold: Threshold) -> bool {
        threshold.insert(&mut self.counted, event)
    }
}

/// Returns a time as people read it, or nothing for an event without one.
fn shown_time(time: i64) -> Option<String> {
    let time = (time != NO_TIME).then(|| jiff::Timestamp::from_millisecond(time).ok())??;
    Some(time.to_string())
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.chars().take(MAX_TEXT_CHARS).collect())
}

/// Returns an integer as the value of an attribute.
pub(super) fn number(value: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(value.into().to_string())
}

/// Returns the name of an attribute of an action.
pub(super) fn of_action(name: &str, action: &str) -> String {
    format!("{name}:{action}")
}

impl StoredItem {
    /// Returns the attributes of an item that expires at a time in seconds of the Unix epoch.
    pub(super) fn encode(&self, item_key: &ItemKey, expires: i64) -> Attributes {
        let mut attributes = match &self.item {
            Item::Alert(alert) => alert.encode(),
            Item::Segment(segment) => segment.encode(),
            Item::Combination(combination) => combination.encode(),
            Item::Rule(rule) => vec![
                ("rule".to_owned(), text(&rule.rule)),
                ("learning_from".to_owned(), number(rule.learning_from)),
            ],
        };
        attributes.push((KEY.to_owned(), AttributeValue::S(item_key.0.clone())));
        attributes.push((VERSION.to_owned(), number(self.version)));
        if item_key.expires() {
            attributes.push((EXPIRES.to_owned(), number(expires)));
        }
        attributes.into_iter().collect()
    }

    /// Returns the item that attributes stand for, with its key.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with it.
    pub(super) fn decode(attributes: &Attributes) -> Result<(ItemKey, Self), &'static str> {
        let reader = Reader(attributes);
        let item_key = ItemKey(reader.text(KEY).ok_or("it has no id")?.to_owned());
        let item = match item_key.0.split('/').next().unwrap_or_default() {
            "alert" => Item::Alert(AlertItem::decode(reader)),
            "group" => Item::Segment(Segment::decode(reader)?),
            "seen" => Item::Combination(Combination::decode(reader)?),
            "rule" => Item::Rule(RuleItem {
                rule: reader.text("rule").unwrap_or_default().to_owned(),
                learning_from: reader.number("learning_from").ok_or("it has no learning_from")?,
            }),
            _ => return Err("it is none of this program"),
        };
        let version = reader.number(VERSION).and_then(|version| version.try_into().ok());
        Ok((item_key, Self { item, version: version.unwrap_or(0) }))
    }
}

impl AlertItem {
    fn encode(&self) -> Vec<(String, AttributeValue)> {
        let handling = if self.is_recorded { "recorded" } else { "delivered" };
        let mut attributes = vec![
            ("rule".to_owned(), text(&self.rule)),
            ("event".to_owned(), text(&self.event_id)),
            ("handling".to_owned(), text(handling)),
            ("events".to_owned(), number(self.events)),
            ("raised".to_owned(), number(self.raised)),
        ];
        if let Some(time) = shown_time(self.time) {
            attributes.push(("time".to_owned(), text(&time)));
        }
        if let Some(after) = &self.after {
            attributes.push(("after".to_owned(), text(&after.0)));
        }
        for (action, claim) in &self.claims {
            attributes.push((of_action("owner", action), text(&claim.owner)));
            attributes.push((of_action("until", action), number(claim.until)));
            if let Some(delivered) = claim.delivered {
                attributes.push((of_action("delivered", action), number(delivered)));
            }
        }
        attributes
    }

    fn decode(reader: Reader<'_>) -> Self {
        let mut claims: BTreeMap<String, Claim> = BTreeMap::new();
        for name in reader.0.keys() {
            let Some((kind, action)) = name.split_once(':') else { continue };
            let claim = claims.entry(action.to_owned()).or_default();
            match kind {
                "owner" => reader.text(name).unwrap_or_default().clone_into(&mut claim.owner),
                "until" => claim.until = reader.number(name).unwrap_or(0),
                "delivered" => claim.delivered = reader.number(name),
                _ => {}
            }
        }
        let time = reader.text("time").and_then(|time| time.parse::<jiff::Timestamp>().ok());
        Self {
            rule: reader.text("rule").unwrap_or_default().to_owned(),
            event_id: reader.text("event").unwrap_or_default().to_owned(),
            time: time.map_or(NO_TIME, jiff::Timestamp::as_millisecond),
            is_recorded: reader.text("handling") == Some("recorded"),
            events: reader.number("events").and_then(|it| it.try_into().ok()).unwrap_or(1),
            raised: reader.number("raised").unwrap_or(0),
            after: reader.text("after").map(|after| ItemKey(after.to_owned())),
            claims,
        }
    }
}

impl Segment {
    fn encode(&self) -> Vec<(String, AttributeValue)> {
        let mut covers = Vec::with_capacity(self.covers.len() * 9);
        for (time, handling) in &self.covers {
            covers.extend_from_slice(&time.to_le_bytes());
            covers.push(u8::from(*handling == Handling::Delivered));
        }
        let binary = |bytes: Vec<u8>| AttributeValue::B(Blob::new(bytes));
        let mut attributes = vec![("covers".to_owned(), binary(covers))];
        if !self.counted.is_empty() {
            attributes.push(("counted".to_owned(), binary(encode(&self.counted))));
        }
        if let Some((raised, last)) = &self.last {
            attributes.push(("last".to_owned(), text(&last.0)));
            attributes.push(("last_raised".to_owned(), number(*raised)));
        }
        attributes
    }

    fn decode(reader: Reader<'_>) -> Result<Self, &'static str> {
        let covers = reader.bytes("covers").ok_or("it has no covers")?;
        let cover = |bytes: &[u8]| {
            let handling = if bytes[8] == 1 { Handling::Delivered } else { Handling::Recorded };
            (i64::from_le_bytes(std::array::from_fn(|at| bytes[at])), handling)
        };
        let last = reader.text("last").map(|last| ItemKey(last.to_owned()));
        Ok(Self {
            covers: covers.chunks_exact(9).map(cover).collect(),
            counted: reader.bytes("counted").map(decode).unwrap_or_default(),
            last: reader.number("last_raised").zip(last),
        })
    }
}

impl Combination {
    fn encode(&self) -> Vec<(String, AttributeValue)> {
        let mut bytes = Vec::with_capacity(self.spans.len() * 16);
        for (since, until) in &self.spans {
            bytes.extend_from_slice(&since.to_le_bytes());
            bytes.extend_from_slice(&until.to_le_bytes());
        }
        vec![("spans".to_owned(), AttributeValue::B(Blob::new(bytes)))]
    }

    fn decode(reader: Reader<'_>) -> Result<Self, &'static str> {
        let bytes = reader.bytes("spans").ok_or("it has no spans")?;
        let half = |bytes: &[u8], start: usize| {
            i64::from_le_bytes(std::array::from_fn(|at| bytes[start + at]))
        };
        let spans = bytes.chunks_exact(16).map(|bytes| (half(bytes, 0), half(bytes, 8)));
        Ok(Self { spans: spans.collect() })
    }
}

/// Reads attributes.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a Attributes);

impl<'a> Reader<'a> {
    fn text(self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.as_s().ok().map(String::as_str)
    }

    fn number(self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_n().ok()?.parse().ok()
    }

    fn bytes(self, name: &str) -> Option<&'a [u8]> {
        self.0.get(name)?.as_b().ok().map(Blob::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::rule::parse_rule_file;

    fn round_trip(id: &str, item: Item) -> usize {
        let stored = StoredItem { item, version: 7 };
        let id = ItemKey(id.to_owned());
        let attributes = stored.encode(&id, 1_800_000_000);
        assert_eq!(StoredItem::decode(&attributes).unwrap(), (id.clone(), stored));
        assert_eq!(attributes.contains_key(EXPIRES), id.expires());
        let size = |value: &AttributeValue| match value {
            AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
            AttributeValue::B(bytes) => bytes.as_ref().len(),
            _ => 0,
        };
        attributes.iter().map(|(name, value)| name.len() + size(value)).sum()
    }

    #[test]
    fn items_are_decoded_as_they_were_encoded() {
        let claim = Claim { owner: "o".to_owned(), until: 5, delivered: Some(6) };
        let pending = Claim { delivered: None, ..claim.clone() };
        let alert = AlertItem {
            rule: "r".to_owned(),
            event_id: "e".to_owned(),
            time: 1_700_000_000_123,
            events: 3,
            raised: 1_700_000_000_456,
            after: Some(ItemKey("alert/1".to_owned())),
            claims: [("a:b".to_owned(), claim), ("c".to_owned(), pending)].into(),
            ..AlertItem::default()
        };
        round_trip("alert/0", Item::Alert(alert.clone()));
        let bare = AlertItem { time: NO_TIME, is_recorded: true, after: None, ..alert };
        round_trip("alert/0", Item::Alert(AlertItem { claims: BTreeMap::new(), ..bare }));
        let counted = vec![CountedEvent { time: -5, hash: u64::MAX }];
        let segment = Segment {
            covers: [(-1, Handling::Recorded), (9, Handling::Delivered)].into(),
            counted,
            last: Some((4, ItemKey("alert/1".to_owned()))),
        };
        round_trip("group/0/1-2/-3", Item::Segment(segment));
        round_trip("group/0/1-2/0", Item::Segment(Segment::default()));
        let spans = vec![(i64::MIN, -1), (0, NO_TIME)];
        round_trip("seen/0", Item::Combination(Combination { spans }));
        let rule = RuleItem { rule: "r".to_owned(), learning_from: -3 };
        round_trip("rule/0", Item::Rule(rule));
    }

    #[test]
    fn an_item_stays_far_below_the_limit_of_the_service_whatever_the_rule_is() {
        for threshold in [2, 5, 85, 1_000, 10_000] {
            let text = format!("name: r\nevents: [A]\nwindow: 1m\nthreshold: {threshold}\n");
            let rule = parse_rule_file(&text).rules.remove(0);
            let segments = Segments::of(&rule).unwrap();
            let limit = Threshold { count: threshold, window: segments.window };
            let mut segment = Segment::default();
            // More events than the threshold keeps, in every half window of the segment.
            let step = (segments.window / 2 / (3 * i64::try_from(threshold).unwrap())).max(1);
            let mut time = 0;
            for hash in 0.. {
                segment.count(CountedEvent { time, hash }, limit);
                if hash % 2 == 1 {
                    time += step;
                }
                if segments.number(time) != 0 {
                    break;
                }
            }
            let size = round_trip("group/0/1-2/0", Item::Segment(segment));
            assert!(size < 350_000, "{size} bytes with a threshold of {threshold}");
        }
        let spans = vec![(i64::MIN, i64::MAX); MAX_SPANS];
        assert!(round_trip("seen/0", Item::Combination(Combination { spans })) < 100_000);
    }

    #[test]
    fn segments_around_a_candidate_contain_all_times_less_than_two_windows_away() {
        let rule =
            parse_rule_file("name: r\nevents: [A]\nwindow: 7s\nthreshold: 400\n").rules.remove(0);
        let segments = Segments::of(&rule).unwrap();
        let found = crate::event::NewMatch {
            rule: 0,
            group: serde_json::json!([]),
            combination: None,
            time: None,
            evaluated_from: None,
            event_id: "e".to_owned(),
            event: bytes::Bytes::new(),
        };
        for time in (-100_000..100_000).step_by(777) {
            let found = crate::event::NewMatch { time: Some(time), ..found.clone() };
            let candidate = Candidate::new(&rule, &found, None, 0);
            let numbers: Vec<i64> = segments.around(&candidate).map(|(number, _)| number).collect();
            for near in [time - 13_999, time, time + 13_999] {
                assert!(numbers.contains(&segments.number(near)), "{near} near {time}");
            }
        }
        let without_time = crate::event::NewMatch { time: None, ..found };
        let candidate = Candidate::new(&rule, &without_time, None, 0);
        assert!(segments.around(&candidate).count() < 20);
    }
}
