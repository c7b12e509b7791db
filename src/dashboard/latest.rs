//! The latest documents, for the list at the end of a dashboard.
//!
//! Input: the values of documents, in any order. Output: the latest documents, with the fields that the list shows.
//! Invariant: the result does not depend on the order in which documents are read, and those of the same time are in the order that
//! [`DataView::latest_order`] asks an engine for. At most [`MAX_LATEST`] documents are held.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

use serde_json::{Map, Value, json};

use super::{
    definition::{DataView, TIME_FIELD},
    document_fields::{ADDRESS_FIELD, DocumentFields, FieldSlots, Slot, address_bytes},
    page::MAX_LATEST,
};

/// Maximum number of values of a field in the list. Few fields of a document have more than one.
const MAX_VALUES: usize = 10;

/// The values of a document, by column.
type Row = Vec<Vec<String>>;

/// A document of the list. The smallest one comes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ListedDocument {
    time: Reverse<i64>,
    /// The place of each column's smallest value.
    places: Vec<Place>,
    row: Row,
}

/// Where a value comes in an order. The order of the variants counts.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Address([u8; 16]),
    Text(String),
    Missing,
}

/// The latest documents so far.
#[derive(Debug)]
pub(super) struct LatestDocuments {
    columns: Vec<(String, Slot)>,
    documents: BinaryHeap<ListedDocument>,
}

impl LatestDocuments {
    /// Creates a list with these fields, and the time.
    pub(super) fn new(columns: &[String], slots: &FieldSlots) -> Self {
        let time = TIME_FIELD.to_owned();
        let columns = std::iter::once(&time).chain(columns);
        let columns = columns.map(|name| (name.clone(), slots.slot(name))).collect();
        Self { columns, documents: BinaryHeap::new() }
    }

    /// Adds documents with a time.
    pub(super) fn add(&mut self, documents: &[DocumentFields<'_>]) {
        for fields in documents {
            let Some(time) = fields.time else { continue };
            let is_full = self.documents.len() >= MAX_LATEST;
            if is_full && self.documents.peek().is_some_and(|last| time < last.time.0) {
                continue;
            }
            let values = |slot: Slot| {
                let values = fields.values(slot).iter().take(MAX_VALUES);
                values.map(|value| value.text.clone().into_owned()).collect()
            };
            let row = self.columns.iter().map(|(_, slot)| values(*slot)).collect();
            // The first column is the time.
            let places = self.columns[1..].iter().map(|(name, slot)| place(name, *slot, fields));
            let places = places.collect();
            self.documents.push(ListedDocument { time: Reverse(time), places, row });
            if is_full {
                self.documents.pop();
            }
        }
    }

    /// Takes the documents, the newest first.
    pub(super) fn take(&mut self) -> Vec<Value> {
        let documents = std::mem::take(&mut self.documents);
        let documents = documents.into_sorted_vec().into_iter();
        documents.map(|listed| self.document(listed.row)).collect()
    }

    fn document(&self, row: Row) -> Value {
        let mut document = Map::new();
        for ((name, _), mut values) in self.columns.iter().zip(row) {
            let value = match values.len() {
                0 => continue,
                1 => Value::String(values.remove(0)),
                _ => values.into(),
            };
            insert(&mut document, name, value);
        }
        Value::Object(document)
    }
}

fn place(name: &str, slot: Slot, fields: &DocumentFields<'_>) -> Place {
    let texts = fields.values(slot).iter().map(|value| value.text.as_ref());
    let place = |text: &str| match address_bytes(text) {
        Some(bytes) if name == ADDRESS_FIELD => Place::Address(bytes),
        _ => Place::Text(text.to_owned()),
    };
    texts.map(place).min().unwrap_or(Place::Missing)
}

impl DataView {
    /// Returns the order of the list for the search of an engine: the newest first, and those of the same time in the order of
    /// the columns, so that the list is the same whenever it is asked for. The first part is enough where an index cannot sort
    /// by a column.
    pub fn latest_order(&self) -> Vec<Value> {
        let column = |name: &String| {
            let kind = if name == ADDRESS_FIELD { "ip" } else { "keyword" };
            json!({ name: { "order": "asc", "missing": "_last", "unmapped_type": kind } })
        };
        let time = json!({ TIME_FIELD: { "order": "desc", "unmapped_type": "date" } });
        std::iter::once(time).chain(self.search.columns.iter().map(column)).collect()
    }

    /// Returns documents as the list shows them: the latest ones, the newest first, with its fields. Documents that cannot be
    /// read are left out.
    pub fn listed(&self, documents: &[Value]) -> Vec<Value> {
        let mut fields: BTreeSet<String> = self.search.columns.iter().cloned().collect();
        fields.insert(TIME_FIELD.to_owned());
        let slots = FieldSlots::new(&fields);
        let mut latest = LatestDocuments::new(&self.search.columns, &slots);
        for document in documents {
            let text = document.to_string();
            if let Ok(fields) = DocumentFields::read(text.as_bytes(), &slots) {
                latest.add(&[fields]);
            }
        }
        latest.take()
    }
}

/// Sets the value at a path.
fn insert(members: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(members.insert(path.to_owned(), value)),
        Some((key, below)) => {
            let inside = members.entry(key).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inside) = inside {
                insert(inside, below, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_of_the_same_time_are_in_the_order_of_their_columns() {
        let columns = ["a", "source.ip"].map(str::to_owned);
        let slots = FieldSlots::new(&["@timestamp", "a", "source.ip"].map(str::to_owned).into());
        let document = |a: Value, ip: &str| json!({ "@timestamp": "2024-01-01T00:00:00Z", "a": a, "source": { "ip": ip } });
        let expected = [
            document("A".into(), "10.0.0.1"),
            document(json!(["B", "x"]), "10.0.0.1"),
            document("a".into(), "9.0.0.1"),
            document("a".into(), "10.0.0.1"),
            document("a".into(), "2001:db8::1"),
        ];
        let last = json!({
            "@timestamp": "2024-01-01T00:00:00Z", "source": { "ip": "9.0.0.1" },
        });
        let mut latest = LatestDocuments::new(&columns, &slots);
        for text in [&last].into_iter().chain(expected.iter().rev()).map(Value::to_string) {
            latest.add(&[DocumentFields::read(text.as_bytes(), &slots).unwrap()]);
        }
        assert_eq!(latest.take(), [&expected[..], &[last]].concat());
    }

    #[test]
    fn the_latest_documents_stay_in_any_order() {
        let columns = ["a.b", "c"].map(str::to_owned);
        let names = ["@timestamp", "a.b", "c"].map(str::to_owned);
        let slots = FieldSlots::new(&names.into());
        let document = |number: usize| {
            let (minute, second) = (number / 60, number % 60);
            let time = format!("2024-01-01T00:{minute:02}:{second:02}Z");
            json!({ "@timestamp": time, "a": { "b": ["y", "x"] }, "c": number }).to_string()
        };
        let latest = |numbers: &mut dyn Iterator<Item = usize>| {
            let mut latest = LatestDocuments::new(&columns, &slots);
            for text in numbers.map(document) {
                latest.add(&[DocumentFields::read(text.as_bytes(), &slots).unwrap()]);
            }
            latest.take()
        };
        let forwards = latest(&mut (0..200));
        assert_eq!(forwards, latest(&mut (0..200).rev()));
        assert_eq!(forwards.len(), MAX_LATEST);
        let first = json!({
            "@timestamp": "2024-01-01T00:03:19Z", "a": { "b": ["x", "y"] }, "c": "199",
        });
        assert_eq!(forwards[0], first);
    }
}
