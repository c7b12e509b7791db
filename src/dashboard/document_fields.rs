//! The values that panels read from documents, as an index holds them.
//!
//! Input: documents as they are indexed, as JSON. Output: the values of each field, as texts.
//! Invariant: a value is one that an engine aggregates: texts beyond the limit of a keyword field are left out, equal values of a
//! list count once, and addresses have one spelling. Nothing but these values is kept of a document.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt,
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    ops::Range,
};

use jiff::Timestamp;
use serde::de::{
    self, Deserialize as _, DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::{de::Read, value::RawValue};

use super::definition::TIME_FIELD;
use crate::normalize::{IGNORE_ABOVE, PLAUSIBLE_MILLISECONDS};

/// The field whose values are addresses.
pub(super) const ADDRESS_FIELD: &str = "source.ip";

/// The fields that panels read.
#[derive(Clone, Debug)]
pub(super) struct FieldSlots {
    names: Vec<String>,
    root: KeyNode,
    /// The time of a document.
    time: Option<Slot>,
    hasher: RandomState,
}

/// A key on the way to fields.
#[derive(Clone, Debug, Default)]
struct KeyNode {
    /// The field that ends here.
    field: Option<Slot>,
    is_address: bool,
    below: Vec<(String, Self)>,
}

/// The number of a field in [`FieldSlots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(usize);

impl FieldSlots {
    pub(super) fn new(fields: &BTreeSet<String>) -> Self {
        let names: Vec<String> = fields.iter().cloned().collect();
        let mut root = KeyNode::default();
        for (number, name) in names.iter().enumerate() {
            let node = name.split('.').fold(&mut root, KeyNode::below);
            node.field = Some(Slot(number));
            node.is_address = name == ADDRESS_FIELD;
        }
        let time = names.iter().position(|name| name == TIME_FIELD).map(Slot);
        Self { names, root, time, hasher: RandomState::new() }
    }

    /// Returns the slot of a field. A field that was not given to [`new`](Self::new) has the first slot behind, which is
    /// always empty.
    pub(super) fn slot(&self, name: &str) -> Slot {
        Slot(self.names.iter().position(|known| known == name).unwrap_or(self.names.len()))
    }
}

impl FieldSlots {
    /// Adds the values of the fields in a document.
    fn collect<'d, R: Read<'d>>(
        &self,
        mut json: serde_json::Deserializer<R>,
        found: &mut FoundValues<'d>,
    ) -> Result<(), serde_json::Error> {
        json.deserialize_map(ValueReader { node: &self.root, hasher: &self.hasher, found })?;
        json.end()
    }
}

impl KeyNode {
    fn below(&mut self, key: &str) -> &mut Self {
        let known = self.below.iter().position(|(known, _)| known == key);
        let at = known.unwrap_or_else(|| {
            self.below.push((key.to_owned(), Self::default()));
            self.below.len() - 1
        });
        &mut self.below[at].1
    }

    fn find(&self, key: &str) -> Option<&Self> {
        self.below.iter().find(|(known, _)| known == key).map(|(_, node)| node)
    }
}

/// A value of a document.
#[derive(Debug)]
pub(super) struct FieldValue<'d> {
    slot: Slot,
    /// The text.
    pub(super) text: Cow<'d, str>,
    /// A hash of the text with a key of this run: nobody can choose texts whose hashes are equal, and of a million texts, the
    /// hashes of two are equal in one run of 36 million. So texts with the same hash are taken for the same.
    pub(super) hash: u64,
}

impl AsRef<str> for FieldValue<'_> {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

/// The values of a document.
#[derive(Debug)]
pub(super) struct DocumentFields<'d> {
    values: Vec<FieldValue<'d>>,
    /// Where the values of each field are.
    ranges: Vec<Range<usize>>,
    /// The time of the document, in milliseconds since 1970; `None` if it has none, or one that no event can have.
    pub(super) time: Option<i64>,
}

impl<'d> DocumentFields<'d> {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not a JSON object.
    pub(super) fn read(document: &'d [u8], slots: &FieldSlots) -> Result<Self, serde_json::Error> {
        // A text is checked as a whole, which is faster than each value on its own.
        let values = Vec::with_capacity(slots.names.len());
        let mut found = FoundValues { values, numbers: Numbers::Parsed };
        found.read(document, slots)?;
        if found.numbers == Numbers::Inexact {
            found = FoundValues { values: Vec::new(), numbers: Numbers::Written };
            found.read(document, slots)?;
        }
        let FoundValues { values, .. } = found;
        let mut fields = Self { values, ranges: vec![0..0; slots.names.len()], time: None };
        if !fields.find_ranges() {
            fields.values.sort_by_key(|value| value.slot.0);
            fields.ranges.fill(0..0);
            fields.find_ranges();
        }
        fields.remove_repeated();
        fields.time = slots
            .time
            .and_then(|slot| fields.values(slot).first())
            .and_then(|time| time_of(&time.text));
        Ok(fields)
    }

    /// Finds out where the values of each field are. Returns whether they are next to each other, as nearly always.
    fn find_ranges(&mut self) -> bool {
        for (number, value) in self.values.iter().enumerate() {
            let Some(range) = self.ranges.get_mut(value.slot.0) else { continue };
            if range.start == range.end {
                *range = number..number + 1;
            } else if range.end == number {
                range.end += 1;
            } else {
                return false;
            }
        }
        true
    }

    /// Leaves out values that repeat another one of the same field. Nearly all fields have one value.
    fn remove_repeated(&mut self) {
        for range in self.ranges.iter_mut().filter(|range| range.len() > 1) {
            let values = &mut self.values[range.clone()];
            values.sort_by(|one, other| one.text.cmp(&other.text));
            let mut kept = 1;
            for number in 1..values.len() {
                if values[number].text != values[kept - 1].text {
                    values.swap(kept, number);
                    kept += 1;
                }
            }
            range.end = range.start + kept;
        }
    }

    /// Returns the values of a field.
    pub(super) fn values(&self, slot: Slot) -> &[FieldValue<'d>] {
        self.ranges.get(slot.0).map_or(&[], |range| &self.values[range.clone()])
    }
}

/// The values that were found in a document.
struct FoundValues<'d> {
    values: Vec<FieldValue<'d>>,
    numbers: Numbers,
}

impl<'d> FoundValues<'d> {
    fn read(&mut self, document: &'d [u8], slots: &FieldSlots) -> Result<(), serde_json::Error> {
        match simdutf8::basic::from_utf8(document) {
            Ok(text) => slots.collect(serde_json::Deserializer::from_str(text), self),
            Err(_) => slots.collect(serde_json::Deserializer::from_slice(document), self),
        }
    }
}

/// How numbers become texts. An engine takes the text of the document, such as `1.50` and `1e3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbers {
    /// From their value, which is faster, and the same for integers of up to 64 bits.
    Parsed,
    /// As before, and there was one whose text may be different.
    Inexact,
    /// As they are written.
    Written,
}

/// Collects the values of fields at and below a key.
struct ValueReader<'n, 'f, 'd> {
    node: &'n KeyNode,
    hasher: &'n RandomState,
    found: &'f mut FoundValues<'d>,
}

impl<'d> ValueReader<'_, '_, 'd> {
    fn add(&mut self, value: Cow<'d, str>) {
        let Some(slot) = self.node.field else { return };
        let text = if self.node.is_address {
            let address: Option<IpAddr> = value.parse().ok();
            let Some(address) = address else { return };
            Cow::Owned(address.to_canonical().to_string())
        } else {
            value
        };
        if is_indexed(&text) {
            let hash = self.hasher.hash_one(text.as_ref());
            self.found.values.push(FieldValue { slot, text, hash });
        }
    }

    /// Reads a value whose text counts if it is a number. The document was read before, so its values are nested as deeply as
    /// the parser allows at most.
    fn read_written<D: de::Deserializer<'d>>(mut self, json: D) -> Result<(), D::Error> {
        let text = <&RawValue>::deserialize(json)?.get();
        if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            self.add(Cow::Borrowed(text));
            return Ok(());
        }
        serde_json::Deserializer::from_str(text).deserialize_any(self).map_err(de::Error::custom)
    }
}

impl<'d> DeserializeSeed<'d> for ValueReader<'_, '_, 'd> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'d>>(self, json: D) -> Result<(), D::Error> {
        if self.found.numbers == Numbers::Written && self.node.field.is_some() {
            return self.read_written(json);
        }
        json.deserialize_any(self)
    }
}

impl<'d> Visitor<'d> for ValueReader<'_, '_, 'd> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a document")
    }

    fn visit_map<A: MapAccess<'d>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(node) = members.next_key_seed(KeyFinder(self.node))? {
            match node {
                Some(node) => {
                    let Self { hasher, .. } = self;
                    members.next_value_seed(ValueReader {
                        node,
                        hasher,
                        found: &mut *self.found,
                    })?;
                }
                None => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'d>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { node, hasher, found } = self;
        while items.next_element_seed(ValueReader { node, hasher, found: &mut *found })?.is_some() {
        }
        Ok(())
    }

    fn visit_borrowed_str<E>(mut self, text: &'d str) -> Result<(), E> {
        self.add(Cow::Borrowed(text));
        Ok(())
    }

    fn visit_str<E>(mut self, text: &str) -> Result<(), E> {
        self.add(Cow::Owned(text.to_owned()));
        Ok(())
    }

    fn visit_bool<E>(mut self, value: bool) -> Result<(), E> {
        self.add(Cow::Borrowed(if value { "true" } else { "false" }));
        Ok(())
    }

    fn visit_u64<E>(mut self, number: u64) -> Result<(), E> {
        self.add(Cow::Owned(number.to_string()));
        Ok(())
    }

    fn visit_i64<E>(mut self, number: i64) -> Result<(), E> {
        self.add(Cow::Owned(number.to_string()));
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.found.numbers = Numbers::Inexact;
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Finds a key among those below a node.
struct KeyFinder<'n>(&'n KeyNode);

impl<'d, 'n> DeserializeSeed<'d> for KeyFinder<'n> {
    type Value = Option<&'n KeyNode>;

    fn deserialize<D: de::Deserializer<'d>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'n> Visitor<'_> for KeyFinder<'n> {
    type Value = Option<&'n KeyNode>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.find(key))
    }
}

/// Returns whether a keyword field indexes a text.
fn is_indexed(text: &str) -> bool {
    let limit = IGNORE_ABOVE as usize;
    text.len() <= limit || text.encode_utf16().count() <= limit
}

fn time_of(text: &str) -> Option<i64> {
    let time = text.parse().ok().map(|time: Timestamp| time.as_millisecond())?;
    is_plausible(time).then_some(time)
}

/// Returns whether an event can be from this time, in milliseconds since 1970.
#[expect(clippy::cast_precision_loss, reason = "milliseconds are below 2^53")]
fn is_plausible(time: i64) -> bool {
    PLAUSIBLE_MILLISECONDS.contains(&(time as f64))
}

/// Returns an address as IPv6.
pub(super) fn address_bytes(text: &str) -> Option<[u8; 16]> {
    match text.parse().ok()? {
        IpAddr::V4(address) => Some(address.to_ipv6_mapped().octets()),
        IpAddr::V6(address) => Some(address.octets()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slots() -> FieldSlots {
        FieldSlots::new(
            &["@timestamp", "a.b", "source.ip", "flag", "long", "n"].map(str::to_owned).into(),
        )
    }

    fn texts<'f>(fields: &'f DocumentFields<'_>, slot: Slot) -> Vec<&'f str> {
        fields.values(slot).iter().map(AsRef::as_ref).collect()
    }

    #[test]
    fn values_are_those_that_an_index_holds() {
        let slots = slots();
        let document = json!({
            "@timestamp": "2001-09-09T01:46:41.500Z",
            "a": [{ "b": "y" }, { "b": ["x", "y", null, { "c": 1 }, "\u{e9}\n"] }, "z"],
            "source": { "ip": "2001:DB8:0:0::1", "port": 443 },
            "flag": true,
            "long": ["x".repeat(1_025), "\u{fc}".repeat(1_024)],
            "n": [7, -7, 0.5],
            "a.b": "no path",
            "other": { "a": { "b": "not this" } },
        })
        .to_string();
        let read = DocumentFields::read(document.as_bytes(), &slots).unwrap();
        assert_eq!(read.time, Some(1_000_000_001_500));
        assert_eq!(texts(&read, slots.slot("a.b")), ["x", "y", "\u{e9}\n"]);
        assert_eq!(texts(&read, slots.slot("source.ip")), ["2001:db8::1"]);
        assert_eq!(texts(&read, slots.slot("flag")), ["true"]);
        assert_eq!(texts(&read, slots.slot("long")), ["\u{fc}".repeat(1_024)]);
        assert_eq!(texts(&read, slots.slot("n")), ["-7", "0.5", "7"]);
        assert!(read.values(slots.slot("a")).is_empty());
    }

    #[test]
    fn numbers_are_texts_as_they_are_written() {
        let slots = slots();
        // As OpenSearch 3 and Elasticsearch 8 have them in a keyword field.
        let numbers = [
            "-0",
            "0.10",
            "1.0",
            "1.2345678E7",
            "100000000.0",
            "12345678",
            "12345678.5",
            "123456789012",
            "123456789012345678901234567890",
            "1e3",
        ];
        let document = format!("{{\"n\":[{}],\"a\":{{\"b\":[\"x\",1.50]}}}}", numbers.join(","));
        let read = DocumentFields::read(document.as_bytes(), &slots).unwrap();
        assert_eq!(texts(&read, slots.slot("n")), numbers);
        assert_eq!(texts(&read, slots.slot("a.b")), ["1.50", "x"]);
    }

    #[test]
    fn what_an_index_does_not_hold_is_no_value() {
        let slots = slots();
        for time in ["yesterday", "1999-12-31T23:59:59Z", "2101-01-01T00:00:00Z"] {
            let document = json!({ "@timestamp": time, "source": { "ip": "ec2.amazonaws.com" } });
            let document = document.to_string();
            let read = DocumentFields::read(document.as_bytes(), &slots).unwrap();
            assert_eq!(read.time, None, "{time}");
            assert!(read.values(slots.slot("source.ip")).is_empty());
        }
        for document in ["[]", "{}{}", "{\"a\":", ""] {
            assert!(DocumentFields::read(document.as_bytes(), &slots).is_err(), "{document}");
        }
    }
}
