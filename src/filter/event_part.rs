//! The parts of an event that an expression looks at, so that the others need not be parsed.
//!
//! Input: what expressions and options of a search say about the members they need. Output: plain data.
//! Invariant: the result on an event is that on a copy which holds nothing but these parts.
//! Not here: which parts an expression needs (see [`required_paths`](super::required_paths)), and how they are cut out of
//! a record (see `pipeline::search`).

/// Names of members, from the event down to a value.
pub type MemberPath = Vec<String>;

/// A part of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPart {
    /// Where it is.
    pub path: MemberPath,
    /// What of the value there is needed.
    pub extent: Extent,
}

/// What of a value is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The value, with everything in it.
    Value,
    /// The value; of an object, only that there is one.
    Kind,
    /// The members with this name at any depth below the value, and the objects and lists that contain them. Lists may
    /// have fewer elements then.
    MembersNamed(String),
}

/// The parts of an event that a query looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventParts {
    /// Parts of every event.
    pub parts: Vec<EventPart>,
    /// For each expression that may look at the whole event: the names of members without which it finds nothing. An
    /// event that lacks one of them need not be parsed as a whole for this expression.
    pub whole_with: Vec<Vec<String>>,
}

impl EventPart {
    /// Returns a whole value.
    pub fn value<S: Into<String>>(path: impl IntoIterator<Item = S>) -> Self {
        Self { path: path.into_iter().map(Into::into).collect(), extent: Extent::Value }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    /// What is wanted of a value: the rest of the path, and the extent.
    type Wanted<'p> = (&'p [String], &'p Extent);

    /// Returns a copy of an event with nothing but these parts.
    pub(crate) fn pruned(event: &Value, parts: &[EventPart]) -> Value {
        let wanted: Vec<Wanted<'_>> =
            parts.iter().map(|part| (&part.path[..], &part.extent)).collect();
        if event.is_object() { keep(event, &wanted, &[]) } else { event.clone() }
    }

    /// Returns what is wanted of a value that is wanted itself. `names` are wanted at any depth.
    fn keep<'p>(value: &Value, wanted: &[Wanted<'p>], names: &[&'p str]) -> Value {
        let Value::Object(members) = value else { return value.clone() };
        if wanted.contains(&(&[], &Extent::Value)) {
            return value.clone();
        }
        let here = wanted.iter().filter_map(|(path, extent)| match extent {
            Extent::MembersNamed(name) if path.is_empty() => Some(name.as_str()),
            _ => None,
        });
        let names: Vec<&str> = names.iter().copied().chain(here).collect();
        let mut kept = Map::new();
        for (name, value) in members {
            let below: Vec<Wanted<'p>> = wanted
                .iter()
                .filter(|(path, _)| path.first() == Some(name))
                .map(|(path, extent)| (&path[1..], *extent))
                .collect();
            let value = match () {
                () if names.contains(&name.as_str()) => Some(value.clone()),
                () if !below.is_empty() => Some(keep(value, &below, &names)),
                () => search(value, &names),
            };
            kept.extend(value.map(|value| (name.clone(), value)));
        }
        Value::Object(kept)
    }

    /// Returns the members with these names in a value that is not wanted itself.
    fn search(value: &Value, names: &[&str]) -> Option<Value> {
        match value {
            Value::Object(_) => {
                let found = keep(value, &[], names);
                (found != json!({})).then_some(found)
            }
            Value::Array(elements) => {
                let found: Vec<Value> =
                    elements.iter().filter_map(|element| search(element, names)).collect();
                (!found.is_empty()).then_some(Value::Array(found))
            }
            _ => None,
        }
    }

    #[test]
    fn only_the_parts_are_kept() {
        let event = json!({"a": {"b": 1, "c": [{"x": 1}, {"y": 2}]}, "x": {"z": 3}, "d": "text"});
        let part =
            |path: &[&str], extent| EventPart { extent, ..EventPart::value(path.iter().copied()) };
        for (parts, expected) in [
            (vec![part(&["a", "b"], Extent::Value)], json!({"a": {"b": 1}})),
            (
                vec![part(&["a"], Extent::Kind), part(&["d"], Extent::Kind)],
                json!({"a": {}, "d": "text"}),
            ),
            (
                vec![part(&[], Extent::MembersNamed("x".to_owned()))],
                json!({"a": {"c": [{"x": 1}]}, "x": {"z": 3}}),
            ),
            (
                vec![
                    part(&["a"], Extent::MembersNamed("y".to_owned())),
                    part(&["a", "b"], Extent::Kind),
                ],
                json!({"a": {"b": 1, "c": [{"y": 2}]}}),
            ),
        ] {
            assert_eq!(pruned(&event, &parts), expected, "{parts:?}");
        }
    }
}
