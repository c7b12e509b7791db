//! What an index knows of its fields, and which documents it refuses for it.
//!
//! A model of both engine families under `dynamic: false`, as strict as the strictest of them. Each
//! rule was seen on a real engine; `tests/engine/` shows the same documents to the real ones.
//! Absent on purpose: dynamic mapping. An index that would need it is a mistake of the loader.

mod refusal;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Default of `index.mapping.depth.limit`.
const DEEPEST_OBJECT: usize = 20;
/// Field types that both families, or one of them, know.
const TYPES: [&str; 16] = [
    "keyword",
    "text",
    "date",
    "date_nanos",
    "boolean",
    "ip",
    "long",
    "integer",
    "short",
    "double",
    "float",
    "match_only_text",
    "wildcard",
    "constant_keyword",
    "binary",
    "half_float",
];

/// One mapped field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field {
    /// Has fields of its own. Not `enabled`: takes anything and looks at nothing.
    Object { enabled: bool, inner: BTreeMap<String, Field> },
    /// Another name for the field at a path.
    Alias(String),
    /// Holds values; the definition as it was put.
    Values(Map<String, Value>),
}

/// The mapping of one index or template.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mapping {
    /// Everything but the properties: `dynamic`, `_meta`, …
    pub(crate) head: Map<String, Value>,
    /// The fields of the top level.
    pub(crate) fields: BTreeMap<String, Field>,
}

impl Mapping {
    /// Returns this mapping with another merged over it, or the engine's reason against it.
    pub(crate) fn merged(&self, put: &Value, limit: usize) -> Result<Mapping, String> {
        let mut merged = self.clone();
        for (key, value) in put.as_object().into_iter().flatten() {
            match (key.as_str(), value) {
                ("properties", Value::Object(properties)) => {
                    merge(&mut merged.fields, properties, "", 1)?;
                }
                _ => {
                    merged.head.insert(key.clone(), value.clone());
                }
            }
        }
        merged.check_aliases()?;
        let fields = count(&merged.fields);
        if fields > limit {
            return Err(format!("Limit of total fields [{limit}] has been exceeded"));
        }
        Ok(merged)
    }

    /// Returns the mapping as the engine shows it.
    pub(crate) fn shown(&self) -> Value {
        let mut shown = self.head.clone();
        if !self.fields.is_empty() {
            shown.insert("properties".to_owned(), properties(&self.fields));
        }
        Value::Object(shown)
    }

    /// Returns the type of every field by its path; objects and multi-fields too.
    pub(crate) fn kinds(&self) -> BTreeMap<String, String> {
        flatten(&self.shown())
    }

    /// Returns the field at a path of names joined by dots.
    pub(crate) fn field(&self, path: &str) -> Option<&Field> {
        let mut fields = &self.fields;
        let mut found = None;
        for name in path.split('.') {
            let field = fields.get(name)?;
            if let Field::Object { inner, .. } = field {
                fields = inner;
            }
            found = Some(field);
        }
        found
    }

    fn check_aliases(&self) -> Result<(), String> {
        let mut aliases = Vec::new();
        collect_aliases(&self.fields, "", &mut aliases);
        for (name, path) in aliases {
            let found = self.field(&path);
            if !matches!(found, Some(Field::Values(_))) {
                return Err(format!(
                    "Invalid [path] value [{path}] for field alias [{name}]: an alias must refer to an existing field in the mappings."
                ));
            }
        }
        Ok(())
    }
}

/// Returns the type of every field below a mapping's `properties`, by path.
pub(crate) fn flatten(mapping: &Value) -> BTreeMap<String, String> {
    let mut kinds = BTreeMap::new();
    flatten_into(mapping, "", &mut kinds);
    kinds
}

fn flatten_into(level: &Value, prefix: &str, kinds: &mut BTreeMap<String, String>) {
    for inner in ["properties", "fields"] {
        for (name, field) in level[inner].as_object().into_iter().flatten() {
            let path = format!("{prefix}{name}");
            let kind = field["type"].as_str().unwrap_or("object");
            kinds.insert(path.clone(), kind.to_owned());
            flatten_into(field, &format!("{path}."), kinds);
        }
    }
}

fn merge(
    fields: &mut BTreeMap<String, Field>,
    put: &Map<String, Value>,
    prefix: &str,
    depth: usize,
) -> Result<(), String> {
    if depth > DEEPEST_OBJECT {
        return Err(format!(
            "Limit of mapping depth [{DEEPEST_OBJECT}] has been exceeded due to object field [{prefix}]"
        ));
    }
    for (name, definition) in put {
        let (first, rest) = name.split_once('.').unwrap_or((name, ""));
        if first.trim().is_empty() || name.ends_with('.') {
            return Err("field name cannot be an empty string".to_owned());
        }
        if rest.is_empty() {
            merge_one(fields, first, definition, prefix, depth)?;
        } else {
            let spelled_out = json!({ "properties": { rest: definition } });
            merge_one(fields, first, &spelled_out, prefix, depth)?;
        }
    }
    Ok(())
}

fn merge_one(
    fields: &mut BTreeMap<String, Field>,
    name: &str,
    definition: &Value,
    prefix: &str,
    depth: usize,
) -> Result<(), String> {
    let path = format!("{prefix}{name}");
    let Value::Object(definition) = definition else {
        return Err(format!("Expected map for property [{path}] but got something else"));
    };
    let kind = definition.get("type").and_then(Value::as_str).unwrap_or("object");
    let known = fields.get_mut(name);
    match (kind, known) {
        ("object", Some(Field::Object { inner, .. })) => match definition.get("properties") {
            Some(Value::Object(put)) => merge(inner, put, &format!("{path}."), depth + 1),
            _ => Ok(()),
        },
        ("object", Some(Field::Values(_) | Field::Alias(_))) | (_, Some(Field::Object { .. })) => {
            Err(format!("can't merge a non object mapping [{path}] with an object mapping"))
        }
        ("object", None) => {
            let enabled = definition.get("enabled") != Some(&Value::Bool(false));
            let mut inner = BTreeMap::new();
            if let Some(Value::Object(put)) = definition.get("properties") {
                merge(&mut inner, put, &format!("{path}."), depth + 1)?;
            }
            fields.insert(name.to_owned(), Field::Object { enabled, inner });
            Ok(())
        }
        ("alias", known) => {
            if matches!(known, Some(Field::Values(_))) {
                return Err(format!(
                    "Cannot merge a field alias mapping [{path}] with a mapping that is not for a field alias."
                ));
            }
            let target = definition.get("path").and_then(Value::as_str).unwrap_or_default();
            fields.insert(name.to_owned(), Field::Alias(target.to_owned()));
            Ok(())
        }
        (kind, Some(Field::Values(known))) if known.get("type") != Some(&json!(kind)) => {
            let before = known.get("type").and_then(Value::as_str).unwrap_or_default();
            Err(format!("mapper [{path}] cannot be changed from type [{before}] to [{kind}]"))
        }
        (_, Some(Field::Alias(_))) => {
            Err(format!("Cannot merge a field mapping [{path}] with a field alias."))
        }
        (kind, _) if !TYPES.contains(&kind) => {
            Err(format!("No handler for type [{kind}] declared on field [{name}]"))
        }
        (_, _) => {
            let mut kept = match fields.remove(name) {
                Some(Field::Values(known)) => known,
                _ => Map::new(),
            };
            kept.extend(definition.clone());
            fields.insert(name.to_owned(), Field::Values(kept));
            Ok(())
        }
    }
}

fn collect_aliases(
    fields: &BTreeMap<String, Field>,
    prefix: &str,
    found: &mut Vec<(String, String)>,
) {
    for (name, field) in fields {
        match field {
            Field::Object { inner, .. } => {
                collect_aliases(inner, &format!("{prefix}{name}."), found);
            }
            Field::Alias(path) => found.push((format!("{prefix}{name}"), path.clone())),
            Field::Values(_) => {}
        }
    }
}

/// Counts as the engines do: objects, aliases and multi-fields are fields too.
fn count(fields: &BTreeMap<String, Field>) -> usize {
    fields
        .values()
        .map(|field| match field {
            Field::Object { inner, .. } => 1 + count(inner),
            Field::Alias(_) => 1,
            Field::Values(definition) => {
                1 + definition.get("fields").and_then(Value::as_object).map_or(0, Map::len)
            }
        })
        .sum()
}

fn properties(fields: &BTreeMap<String, Field>) -> Value {
    let shown = |field: &Field| match field {
        Field::Object { enabled: false, .. } => json!({ "type": "object", "enabled": false }),
        Field::Object { inner, .. } if inner.is_empty() => json!({ "type": "object" }),
        Field::Object { inner, .. } => json!({ "properties": properties(inner) }),
        Field::Alias(path) => json!({ "type": "alias", "path": path }),
        Field::Values(definition) => Value::Object(definition.clone()),
    };
    fields.iter().map(|(name, field)| (name.clone(), shown(field))).collect::<Map<_, _>>().into()
}

mod tests {
    use super::super::json;
    use super::*;

    fn mapping() -> Mapping {
        let put = json!({ "dynamic": false, "properties": {
            "k": { "type": "keyword", "ignore_above": 1024 },
            "strict": { "type": "keyword" },
            "twins": { "type": "keyword", "ignore_above": 1024, "fields": {
                "num": { "type": "double", "ignore_malformed": true } } },
            "b": { "type": "boolean" },
            "d": { "type": "date" },
            "n": { "type": "long", "ignore_malformed": true },
            "a": { "type": "alias", "path": "k" },
            "o": { "properties": { "p": { "properties": { "q": { "type": "keyword" } } } } }
        }});
        Mapping::default().merged(&put, 10_000).unwrap()
    }

    fn refusal(document: &str) -> Option<String> {
        mapping().refusal(&json::read(document.as_bytes()).unwrap())
    }

    #[test]
    fn the_table_of_refusals_holds_in_the_model() {
        let long = format!(r#"{{"strict":"{}"}}"#, "x".repeat(40_000));
        let lists = format!(r#"{{"u":{}1{}}}"#, "[".repeat(21), "]".repeat(21));
        for document in [
            r#"{"k":{}}"#,
            r#"{"k":[{}]}"#,
            r#"{"k":["a",{"x":1}]}"#,
            r#"{"twins":{"x":1}}"#,
            r#"{"o":"text"}"#,
            r#"{"o":1}"#,
            r#"{"o":""}"#,
            r#"{"o":[""]}"#,
            r#"{"o":{"p":false}}"#,
            r#"{"a":1}"#,
            r#"{"a":null}"#,
            r#"{"a":"x"}"#,
            r#"{"b":"yes"}"#,
            r#"{"b":1}"#,
            r#"{"d":"2024-13-45"}"#,
            r#"{"d":"text"}"#,
            r#"{"n":{}}"#,
            r#"{"n":{"x":1}}"#,
            r#"{"":1}"#,
            r#"{".":1}"#,
            r#"{"..":1}"#,
            r#"{".a":1}"#,
            r#"{"a..b":1}"#,
            r#"{" ":1}"#,
            r#"{"o":{"":1}}"#,
            r#"{"o":{"a..b":1}}"#,
            r#"{"_id":1}"#,
            r#"{"_source":1}"#,
            r#"{"k.x":1}"#,
            r#"{"o.p.q.r":1}"#,
            r#"{"o":{"p.q.r":1}}"#,
            r#"{"o.p":1}"#,
            &long,
            &lists,
        ] {
            assert!(refusal(document).is_some(), "{}", &document[..document.len().min(60)]);
        }
    }

    #[test]
    fn what_the_engines_accept_is_accepted_by_the_model() {
        let lists = format!(r#"{{"u":{{"v":{}1{}}}}}"#, "[".repeat(99), "]".repeat(99));
        for document in [
            "{}",
            r#"{"k":[1,true,null,["b"],"\ud83d"]}"#,
            r#"{"o":null}"#,
            r#"{"o":[]}"#,
            r#"{"a":[]}"#,
            r#"{"b":""}"#,
            r#"{"b":true}"#,
            r#"{"d":"2024-02-01T00:00:00Z"}"#,
            r#"{"n":"abc"}"#,
            r#"{"u":{"":1,".":2," ":3,"_id":4}}"#,
            r#"{"o":{"_id":1}}"#,
            r#"{"x.":1}"#,
            r#"{"x.y":1}"#,
            r#"{"o.p.q":2,"o":{"p":{"q":1}}}"#,
            r#"{"twins":"abc"}"#,
            &lists,
        ] {
            assert_eq!(refusal(document), None, "{document}");
        }
    }

    #[test]
    fn a_mapping_never_changes_its_mind() {
        let known = mapping();
        let put = |properties: Value| known.merged(&json!({ "properties": properties }), 10_000);
        assert!(put(json!({ "k": { "properties": {} } })).unwrap_err().contains("non object"));
        assert!(put(json!({ "o": { "type": "keyword" } })).unwrap_err().contains("non object"));
        assert!(put(json!({ "k": { "type": "long" } })).unwrap_err().contains("cannot be changed"));
        assert!(put(json!({ "z": { "type": "alias", "path": "o" } })).is_err());
        assert!(put(json!({ "": { "type": "keyword" } })).is_err());
        assert!(put(json!({ "q": { "type": "flat" } })).is_err());
        let grown = put(json!({ "o.p.r": { "type": "keyword" } })).unwrap();
        assert_eq!(grown.kinds()["o.p.r"], "keyword");
        assert!(
            known.merged(&json!({ "properties": { "x": { "type": "keyword" } } }), 11).is_err()
        );
        assert_eq!(grown.merged(&grown.shown(), 10_000).unwrap(), grown);
    }
}
