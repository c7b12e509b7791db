//! Which documents a mapping refuses, and in whose words.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::json::Json;
use super::{Field, Mapping};

/// Names that the engines keep for themselves at the top level.
const METADATA: [&str; 9] = [
    "_id",
    "_index",
    "_routing",
    "_source",
    "_field_names",
    "_ignored",
    "_seq_no",
    "_version",
    "_doc_count",
];
/// Lists deeper than this right below a mapped object are refused by OpenSearch.
const DEEPEST_LIST: usize = 20;
/// Longest term of a keyword that has no `ignore_above`, in bytes (Lucene's own limit).
const LONGEST_TERM: usize = 32_766;
impl Mapping {
    /// Returns why the document would be refused, or nothing.
    pub(crate) fn refusal(&self, document: &Json) -> Option<String> {
        let Json::Object(members) = document else {
            return Some(
                "failed to parse: Malformed content, must start with an object".to_owned(),
            );
        };
        if let Some((name, _)) =
            members.iter().find(|(key, _)| METADATA.iter().any(|m| m.as_bytes() == key.as_slice()))
        {
            let name = String::from_utf8_lossy(name);
            return Some(format!(
                "Field [{name}] is a metadata field and cannot be added inside a document. Use the index API request parameters."
            ));
        }
        members_refusal(&self.fields, members, "")
    }
}

fn members_refusal(
    fields: &BTreeMap<String, Field>,
    members: &[(Vec<u8>, Json)],
    prefix: &str,
) -> Option<String> {
    members.iter().find_map(|(key, value)| {
        let key = String::from_utf8_lossy(key);
        odd_key(&key)
            .or_else(|| deep_list(value, prefix, &key))
            .or_else(|| member_refusal(fields, &key, value, prefix))
    })
}

fn odd_key(key: &str) -> Option<String> {
    if key.trim().is_empty() {
        return Some("field name cannot be an empty string".to_owned());
    }
    let stripped = key.strip_suffix('.').unwrap_or(key);
    let odd = stripped.split('.').any(|part| part.trim().is_empty());
    odd.then(|| {
        format!("field name [{key}] cannot contain only whitespace or start, end or double a dot")
    })
}

fn deep_list(value: &Json, prefix: &str, key: &str) -> Option<String> {
    fn depth(value: &Json) -> usize {
        match value {
            Json::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }
    (depth(value) > DEEPEST_LIST).then(|| {
        format!("The depth of the field [{prefix}{key}] has exceeded the allowed limit of [{DEEPEST_LIST}]")
    })
}

fn member_refusal(
    fields: &BTreeMap<String, Field>,
    key: &str,
    value: &Json,
    prefix: &str,
) -> Option<String> {
    let (first, rest) =
        if fields.contains_key(key) { (key, "") } else { key.split_once('.').unwrap_or((key, "")) };
    let field = fields.get(first)?;
    let path = format!("{prefix}{first}");
    match field {
        Field::Object { enabled: false, .. } => None,
        Field::Object { inner, .. } if rest.is_empty() => object_refusal(inner, value, &path),
        Field::Object { inner, .. } => member_refusal(inner, rest, value, &format!("{path}.")),
        Field::Values(_) | Field::Alias(_) if !rest.is_empty() => Some(format!(
            "Could not dynamically add mapping for field [{key}]. Existing mapping for [{path}] must be of type object but found [{}].",
            kind_of(field)
        )),
        Field::Alias(_) => {
            let nothing = matches!(value, Json::List(items) if items.is_empty());
            (!nothing).then(|| format!("Cannot write to a field alias [{path}]."))
        }
        Field::Values(definition) => values_refusal(definition, value, &path),
    }
}

fn kind_of(field: &Field) -> &str {
    match field {
        Field::Object { .. } => "object",
        Field::Alias(_) => "alias",
        Field::Values(definition) => definition.get("type").and_then(Value::as_str).unwrap_or(""),
    }
}

fn object_refusal(inner: &BTreeMap<String, Field>, value: &Json, path: &str) -> Option<String> {
    match value {
        Json::Null => None,
        Json::Object(members) => members_refusal(inner, members, &format!("{path}.")),
        Json::List(items) => items.iter().find_map(|item| object_refusal(inner, item, path)),
        _ => Some(format!(
            "object mapping for [{path}] tried to parse field [{path}] as object, but found a concrete value"
        )),
    }
}

fn values_refusal(definition: &Map<String, Value>, value: &Json, path: &str) -> Option<String> {
    match value {
        Json::Null => None,
        Json::List(items) => items.iter().find_map(|item| values_refusal(definition, item, path)),
        _ => {
            let mut kinds = vec![definition];
            let twins = definition.get("fields").and_then(Value::as_object);
            kinds.extend(twins.into_iter().flatten().filter_map(|(_, twin)| twin.as_object()));
            let refusing = kinds.into_iter().find(|kind| !takes(kind, value))?;
            let kind = refusing.get("type").and_then(Value::as_str).unwrap_or("");
            Some(format!("failed to parse field [{path}] of type [{kind}] in document"))
        }
    }
}

/// Returns whether a field so defined takes one value that is neither null nor a list.
fn takes(definition: &Map<String, Value>, value: &Json) -> bool {
    if matches!(value, Json::Object(_)) {
        return false;
    }
    let lenient = definition.get("ignore_malformed") == Some(&Value::Bool(true));
    match definition.get("type").and_then(Value::as_str).unwrap_or("") {
        "keyword" | "wildcard" => fits_a_term(definition, value),
        "text" | "match_only_text" => true,
        "boolean" => match value {
            Json::Boolean(_) => true,
            Json::Text(text) => matches!(text.as_slice(), b"" | b"true" | b"false"),
            _ => false,
        },
        _ if lenient => true,
        "date" | "date_nanos" => match value {
            Json::Number(spelled) => spelled.parse::<i64>().is_ok(),
            _ => value.text().is_some_and(looks_like_a_date),
        },
        "ip" => value.text().is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok()),
        _ => match value {
            Json::Number(_) => true,
            _ => value.text().is_some_and(|text| text.parse::<f64>().is_ok()),
        },
    }
}

fn fits_a_term(definition: &Map<String, Value>, value: &Json) -> bool {
    let off = |what: &str| definition.get(what) == Some(&Value::Bool(false));
    let stored = !(off("index") && off("doc_values"));
    match value {
        Json::Text(text) if stored && !definition.contains_key("ignore_above") => {
            text.len() <= LONGEST_TERM
        }
        _ => true,
    }
}

fn looks_like_a_date(text: &str) -> bool {
    let date = text.split('T').next().unwrap_or("");
    let parts: Vec<_> = date.split('-').map(str::parse::<u16>).collect();
    let within = |part: &Result<u16, _>, most: u16| matches!(part, Ok(n) if (1..=most).contains(n));
    date.len() >= 4
        && parts.first().is_some_and(Result::is_ok)
        && parts.get(1).is_none_or(|month| within(month, 12))
        && parts.get(2).is_none_or(|day| within(day, 31))
        && parts.len() <= 3
        && text.is_ascii()
        && !text.contains(' ')
}
