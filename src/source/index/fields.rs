//! How the indices of a search map the fields that a query looks at.
//!
//! Input: the mappings of fields, as the engine returns them. Output: [`MappedFields`].
//! Invariant: a field whose indices differ, or whose mapping is of no known kind, has no [`FieldMapping`], so that nothing is
//! concluded from it. Only indices whose mapping trailload manages are looked at.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// How a field is mapped in every index that maps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldMapping {
    /// A `keyword`, which indexes texts up to this many UTF-16 units.
    Keyword {
        /// `ignore_above`, the lowest of all indices.
        max_length: usize,
    },
    /// A `boolean`.
    Boolean,
    /// A `date`.
    Date,
    /// An `ip`.
    Ip,
}

/// The mappings of the fields that a query looks at.
#[derive(Clone, Debug, Default)]
pub(super) struct MappedFields {
    /// `None` for a field that is mapped in different ways, or in one that is not known here.
    fields: HashMap<String, Option<FieldMapping>>,
}

/// What is known about a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownMapping {
    /// No index maps it as a value.
    Unmapped,
    /// All indices that map it do so in the same way.
    Mapped(FieldMapping),
    /// Nothing can be concluded.
    Unknown,
}

impl MappedFields {
    /// Reads the response of the engine, as far as it is about these indices.
    pub(super) fn new(response: &Map<String, Value>, is_managed: impl Fn(&str) -> bool) -> Self {
        let mut fields: HashMap<String, Option<FieldMapping>> = HashMap::new();
        for (_, index) in response.iter().filter(|(name, _)| is_managed(name)) {
            for (field, mapping) in index["mappings"].as_object().into_iter().flatten() {
                let Some(mapping) =
                    mapping["mapping"].as_object().and_then(|all| all.values().next())
                else {
                    continue;
                };
                let mapping = field_mapping(mapping);
                fields
                    .entry(field.clone())
                    .and_modify(|known| *known = common(*known, mapping))
                    .or_insert(mapping);
            }
        }
        Self { fields }
    }

    /// Returns what is known about a field.
    pub(super) fn get(&self, field: &str) -> KnownMapping {
        match self.fields.get(field) {
            None => KnownMapping::Unmapped,
            Some(Some(mapping)) => KnownMapping::Mapped(*mapping),
            Some(None) => KnownMapping::Unknown,
        }
    }
}

/// Returns whether all indices of a response map `@timestamp` as a date, or not at all.
pub(super) fn is_time_sortable(response: &Map<String, Value>) -> bool {
    response.values().all(|index| {
        let kind = &index["mappings"]["@timestamp"]["mapping"]["@timestamp"]["type"];
        matches!(kind.as_str(), None | Some("date" | "date_nanos"))
    })
}

fn field_mapping(mapping: &Value) -> Option<FieldMapping> {
    if mapping["index"] == false
        || mapping.get("normalizer").is_some()
        || mapping.get("null_value").is_some()
    {
        return None;
    }
    match mapping["type"].as_str()? {
        "keyword" => {
            let max_length = mapping["ignore_above"].as_u64();
            let max_length = max_length.and_then(|length| usize::try_from(length).ok());
            Some(FieldMapping::Keyword { max_length: max_length.unwrap_or(usize::MAX) })
        }
        "boolean" => Some(FieldMapping::Boolean),
        "date" => Some(FieldMapping::Date),
        "ip" => Some(FieldMapping::Ip),
        _ => None,
    }
}

fn common(one: Option<FieldMapping>, other: Option<FieldMapping>) -> Option<FieldMapping> {
    match (one?, other?) {
        (
            FieldMapping::Keyword { max_length: one },
            FieldMapping::Keyword { max_length: other },
        ) => Some(FieldMapping::Keyword { max_length: one.min(other) }),
        (one, other) => (one == other).then_some(one),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(response: &Value) -> MappedFields {
        MappedFields::new(response.as_object().unwrap(), |name| name != "foreign")
    }

    #[test]
    fn a_field_that_indices_map_differently_is_unknown() {
        let field = |mapping: Value| json!({ "full_name": "a.b", "mapping": { "b": mapping } });
        let keyword = |length: u32| field(json!({ "type": "keyword", "ignore_above": length }));
        let index = |field: Value| json!({ "mappings": { "a.b": field } });
        let both = json!({ "1": index(keyword(1024)), "2": index(keyword(256)), "3": { "mappings": {} },
            "foreign": index(field(json!({ "type": "text" }))) });
        let expected = KnownMapping::Mapped(FieldMapping::Keyword { max_length: 256 });
        assert_eq!(fields(&both).get("a.b"), expected);
        assert_eq!(fields(&both).get("a.c"), KnownMapping::Unmapped);
        let different =
            json!({ "1": index(keyword(1)), "2": index(field(json!({ "type": "boolean" }))) });
        assert_eq!(fields(&different).get("a.b"), KnownMapping::Unknown);
        let text = json!({ "1": index(field(json!({ "type": "text" }))) });
        assert_eq!(fields(&text).get("a.b"), KnownMapping::Unknown);
    }

    #[test]
    fn documents_are_sorted_by_time_only_if_it_is_a_date() {
        let index = |kind: &str| json!({ "mappings": { "@timestamp": { "mapping": { "@timestamp": { "type": kind } } } } });
        let sortable = |response: Value| is_time_sortable(response.as_object().unwrap());
        assert!(sortable(
            json!({ "1": index("date"), "2": { "mappings": {} }, "3": index("date_nanos") })
        ));
        assert!(!sortable(json!({ "1": index("date"), "2": index("keyword") })));
    }
}
