//! The latest documents, for the list at the end of a dashboard.
//!
//! Input: the values of documents, in any order. Output: the latest documents, with the fields that the list shows.
//! Invariant: the result does not depend on the order. At most [`MAX_LATEST`] documents are held.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

use serde_json::{Map, Value};

use super::{
    definition::{DataView, TIME_FIELD},
    document_fields::{DocumentFields, FieldSlots, Slot},
    page::MAX_LATEST,
};

/// Maximum number of values of a field in the list. Few fields of a document have more than one.
const MAX_VALUES: usize = 10;

/// The values of a document, by column.
type Row = Vec<Vec<String>>;

/// The latest documents so far.
#[derive(Debug)]
pub(super) struct LatestDocuments {
    columns: Vec<(String, Slot)>,
    /// The times and values of the documents. Those of the same time are in the order of their values.
    documents: BinaryHeap<Reverse<(i64, Row)>>,
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
            if is_full && self.documents.peek().is_some_and(|Reverse((oldest, _))| time < *oldest) {
                continue;
            }
            let values = |slot: Slot| {
                let values = fields.values(slot).iter().take(MAX_VALUES);
                values.map(|value| value.text.clone().into_owned()).collect()
            };
            let row = self.columns.iter().map(|(_, slot)| values(*slot)).collect();
            self.documents.push(Reverse((time, row)));
            if is_full {
                self.documents.pop();
            }
        }
    }

    /// Takes the documents, the newest first.
    pub(super) fn take(&mut self) -> Vec<Value> {
        let documents = std::mem::take(&mut self.documents);
        let documents = documents.into_sorted_vec().into_iter();
        documents.map(|Reverse((_, row))| self.document(row)).collect()
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

impl DataView {
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
