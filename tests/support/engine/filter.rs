//! What `filter_path` leaves of an answer.

use serde_json::{Map, Value, json};

/// Returns whether a name fits a pattern in which `*` stands for anything.
pub(super) fn glob(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => {
            let Some(after) = name.strip_prefix(start) else { return false };
            (0..=after.len())
                .filter(|at| after.is_char_boundary(*at))
                .any(|at| glob(rest, &after[at..]))
        }
    }
}

/// Returns what `filter_path` leaves of an answer; an item that loses everything disappears, as on the engines.
pub(super) fn filtered(answer: Value, filter: Option<String>) -> Value {
    let Some(filter) = filter else { return answer };
    let paths: Vec<Vec<&str>> = filter.split(',').map(|path| path.split('.').collect()).collect();
    let paths: Vec<&[&str]> = paths.iter().map(Vec::as_slice).collect();
    kept(&answer, &paths).unwrap_or_else(|| json!({}))
}

fn kept(value: &Value, paths: &[&[&str]]) -> Option<Value> {
    if paths.iter().any(|path| path.is_empty()) {
        return Some(value.clone());
    }
    match value {
        Value::Array(items) => {
            let items: Vec<Value> = items.iter().filter_map(|item| kept(item, paths)).collect();
            (!items.is_empty()).then(|| items.into())
        }
        Value::Object(members) => {
            let members: Map<String, Value> = members
                .iter()
                .filter_map(|(key, value)| {
                    let mut inner: Vec<&[&str]> = Vec::new();
                    for path in paths {
                        match path[0] {
                            "**" => {
                                inner.push(path);
                                if path.get(1).is_some_and(|next| glob(next, key)) {
                                    inner.push(&path[2..]);
                                }
                            }
                            pattern if glob(pattern, key) => inner.push(&path[1..]),
                            _ => {}
                        }
                    }
                    kept(value, &inner).map(|value| (key.clone(), value))
                })
                .collect();
            (!members.is_empty()).then(|| members.into())
        }
        _ => None,
    }
}
