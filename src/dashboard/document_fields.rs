//! The values that panels read from a document, as an index holds them.
//!
//! Input: a document as it is indexed. Output: the values of each field, as texts.
//! Invariant: a value is one that an engine aggregates: texts beyond the limit of a keyword field are left out, equal values of a
//! list count once, and addresses have one spelling.

use std::{borrow::Cow, collections::BTreeSet, net::IpAddr, ops::Range};

use jiff::Timestamp;
use serde_json::Value;

use super::definition::TIME_FIELD;
use crate::normalize::IGNORE_ABOVE;

/// The field whose values are addresses.
pub(super) const ADDRESS_FIELD: &str = "source.ip";

/// The fields that panels read.
#[derive(Clone, Debug)]
pub(super) struct FieldSlots {
    fields: Vec<FieldSlot>,
}

#[derive(Clone, Debug)]
struct FieldSlot {
    path: Vec<String>,
    is_address: bool,
}

/// The number of a field in [`FieldSlots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(usize);

impl FieldSlots {
    pub(super) fn new(fields: &BTreeSet<String>) -> Self {
        let slot = |name: &String| FieldSlot {
            path: name.split('.').map(str::to_owned).collect(),
            is_address: name == ADDRESS_FIELD,
        };
        Self { fields: fields.iter().map(slot).collect() }
    }

    /// Returns the slot of a field. A field that was not given to [`new`](Self::new) has the first slot behind, which is
    /// always empty.
    pub(super) fn slot(&self, name: &str) -> Slot {
        let is_it = |field: &FieldSlot| name.split('.').eq(field.path.iter().map(String::as_str));
        Slot(self.fields.iter().position(is_it).unwrap_or(self.fields.len()))
    }
}

/// The values of a document.
#[derive(Debug)]
pub(super) struct DocumentFields<'d> {
    values: Vec<Cow<'d, str>>,
    ranges: Vec<Range<usize>>,
    /// The time of the document, in milliseconds since 1970.
    pub(super) time: Option<i64>,
}

impl<'d> DocumentFields<'d> {
    pub(super) fn new(document: &'d Value, slots: &FieldSlots) -> Self {
        let mut fields = Self {
            values: Vec::with_capacity(slots.fields.len()),
            ranges: Vec::with_capacity(slots.fields.len()),
            time: time(document),
        };
        for slot in &slots.fields {
            let from = fields.values.len();
            fields.add(document, &slot.path, slot.is_address);
            fields.remove_repeated(from);
            fields.ranges.push(from..fields.values.len());
        }
        fields
    }

    /// Returns the values of a field.
    pub(super) fn values(&self, slot: Slot) -> &[Cow<'d, str>] {
        self.ranges.get(slot.0).map_or(&[], |range| &self.values[range.clone()])
    }

    fn add(&mut self, value: &'d Value, path: &[String], is_address: bool) {
        match (value, path) {
            (Value::Array(list), _) => {
                for part in list {
                    self.add(part, path, is_address);
                }
            }
            (Value::Object(members), [key, below @ ..]) => {
                if let Some(value) = members.get(key) {
                    self.add(value, below, is_address);
                }
            }
            (Value::String(text), []) if is_address => {
                let address = text.parse().ok().map(|address: IpAddr| address.to_canonical());
                self.values.extend(address.map(|address| Cow::Owned(address.to_string())));
            }
            (Value::String(text), []) if is_indexed(text) => self.values.push(Cow::Borrowed(text)),
            (Value::Bool(value), []) => {
                self.values.push(Cow::Borrowed(if *value { "true" } else { "false" }));
            }
            (Value::Number(number), []) => self.values.push(Cow::Owned(number.to_string())),
            _ => {}
        }
    }

    /// Removes values behind `from` that repeat an earlier one. Nearly all fields have one value.
    fn remove_repeated(&mut self, from: usize) {
        if self.values.len() > from + 1 {
            let mut added = self.values.split_off(from);
            added.sort_unstable();
            added.dedup();
            self.values.append(&mut added);
        }
    }
}

/// Returns whether a keyword field indexes a text.
fn is_indexed(text: &str) -> bool {
    let limit = IGNORE_ABOVE as usize;
    text.len() <= limit || text.encode_utf16().count() <= limit
}

fn time(document: &Value) -> Option<i64> {
    let text = document.get(TIME_FIELD)?.as_str()?;
    text.parse().ok().map(|time: Timestamp| time.as_millisecond())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_those_that_an_index_holds() {
        let fields = ["a.b", "source.ip", "flag", "long", "n"].map(str::to_owned);
        let slots = FieldSlots::new(&fields.into());
        let document = json!({
            "@timestamp": "1970-01-01T00:00:01.500Z",
            "a": [{ "b": "y" }, { "b": ["x", "y", null, { "c": 1 }] }, "z"],
            "source": { "ip": "2001:DB8:0:0::1" },
            "flag": true,
            "long": ["x".repeat(1_025), "ü".repeat(1_024)],
            "n": 7,
        });
        let read = DocumentFields::new(&document, &slots);
        assert_eq!(read.time, Some(1_500));
        assert_eq!(read.values(slots.slot("a.b")), ["x", "y"]);
        assert_eq!(read.values(slots.slot("source.ip")), ["2001:db8::1"]);
        assert_eq!(read.values(slots.slot("flag")), ["true"]);
        assert_eq!(read.values(slots.slot("long")), ["ü".repeat(1_024)]);
        assert_eq!(read.values(slots.slot("n")), ["7"]);
        assert!(read.values(slots.slot("a")).is_empty());
        let nothing = json!({ "@timestamp": "yesterday", "source": { "ip": "ec2.amazonaws.com" } });
        let read = DocumentFields::new(&nothing, &slots);
        assert_eq!(read.time, None);
        assert!(read.values(slots.slot("source.ip")).is_empty());
    }
}
