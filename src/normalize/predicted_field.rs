//! Predicts the field of the index that a value is in, without a document.
//!
//! Input: the rules, and the keys of a path one after another. Output: the path after the rewrite, and whether it is mapped.
//! Invariant: equal to what [`FieldRegistry`](super::FieldRegistry) decides for a new index without a field limit, for
//! paths of the kind table; for other paths the first value of a load decides, and its kind is assumed to be the given one.

use super::{
    field_registry::MAX_DEPTH,
    rules::{FieldKind, Rules},
};

/// What a value at a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A string, number or boolean, or a list of them.
    Scalar,
    /// An object, or a list of objects.
    Object,
}

/// The field of the index for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredictedField {
    /// The keys as they are in the document, joined by `.`. Not kept below a path that is not mapped.
    pub path: String,
    /// Kind of the path in the kind table; `None` if it is not there.
    pub kind: Option<FieldKind>,
    /// Whether the index maps the path. Values of other paths are found through `trailload.unmapped`.
    pub is_mapped: bool,
    /// Whether unknown keys below are user data, which is never mapped.
    is_open: bool,
    depth: u32,
}

impl PredictedField {
    /// Returns the field of the record itself, which the members of the record are below.
    pub fn record() -> Self {
        Self { path: String::new(), kind: None, is_mapped: true, is_open: false, depth: 0 }
    }

    /// Returns the field of anything below a path that is not mapped.
    pub fn unmapped() -> Self {
        Self { is_mapped: false, ..Self::record() }
    }

    /// Returns the field of a member with this key.
    #[must_use]
    pub fn child(&self, rules: &Rules, key: &str, value: ValueKind) -> Self {
        let mut path = String::with_capacity(self.path.len() + key.len() + 8);
        path.push_str(&self.path);
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
        let depth = self.depth + 1;
        if !self.is_mapped {
            return Self { path, kind: None, is_mapped: false, is_open: false, depth };
        }
        let mut kind = rules.kind(&path);
        let suffix = match (kind, value) {
            (Some(FieldKind::Scalar), ValueKind::Object) => "_object",
            (Some(FieldKind::Object | FieldKind::Map), ValueKind::Scalar) => "_value",
            _ => "",
        };
        if !suffix.is_empty() {
            path.push_str(suffix);
            kind = rules.kind(&path);
        }
        let is_known_map = kind == Some(FieldKind::Map) && rules.has_children(&path);
        let is_mapped = match kind {
            None => !self.is_open && (value == ValueKind::Scalar || depth < MAX_DEPTH),
            Some(FieldKind::Scalar) => true,
            Some(FieldKind::Object) => depth < MAX_DEPTH,
            Some(FieldKind::Map) => is_known_map && depth < MAX_DEPTH,
            Some(FieldKind::Document) => false,
        };
        Self { path, kind, is_mapped, is_open: is_known_map, depth }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn predict(rules: &Rules, path: &str, value: ValueKind) -> PredictedField {
        let mut keys = path.split('.').peekable();
        let mut field = PredictedField::record();
        while let Some(key) = keys.next() {
            let value = if keys.peek().is_some() { ValueKind::Object } else { value };
            field = field.child(rules, key, value);
        }
        field
    }

    /// The examples of `conflicts.json` are checked against the rewrite by other tests, so they are an independent model.
    #[test]
    fn conflicts_lead_to_the_keys_that_the_rewrite_uses() {
        let rules = Rules::embedded().unwrap();
        let conflicts = rules.conflicts().unwrap();
        assert!(conflicts.len() > 400);
        for conflict in conflicts {
            let (above, _) = conflict.field.rsplit_once('.').unwrap_or(("", ""));
            // Below a renamed key, the names in an event are others than those of the field.
            if above.contains("_object") || conflict.field.ends_with("_object") {
                continue;
            }
            for example in conflict.examples.iter().filter(|example| example.becomes.is_none()) {
                let kind = match &example.given {
                    Value::Object(_) => ValueKind::Object,
                    Value::Array(_) | Value::Null => continue,
                    text if text == "" => continue,
                    _ => ValueKind::Scalar,
                };
                let found = predict(&rules, &conflict.field, kind).path;
                assert_eq!(
                    found.rsplit('.').next(),
                    Some(example.under.as_str()),
                    "{}",
                    conflict.field
                );
            }
        }
    }

    #[test]
    fn free_keys_and_deep_paths_are_not_mapped() {
        let rules = Rules::embedded().unwrap();
        for (path, is_mapped) in [
            ("requestParameters.policyName", true),
            ("requestParameters.tags.Owner", false),
            ("requestParameters.bucketPolicy.Statement.Effect", false),
            ("requestParameters.a.b.c.d.e.f", true),
            ("requestParameters.a.b.c.d.e.f.g", false),
        ] {
            let found = predict(&rules, path, ValueKind::Scalar);
            assert_eq!(found.is_mapped, is_mapped, "{path}: {found:?}");
        }
    }
}
