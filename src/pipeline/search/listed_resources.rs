//! The resources that LookupEvents lists beside an event: `--resource` finds an event by them, too.
//!
//! Input: the value of `Resources` in a response, or what a load kept of it in a document. Output: a copy of the event
//! with them. Invariant: whatever they are, they make no event fail, and they are never printed.

use serde_json::{Value, json};

/// The longest value that is parsed, as in a load.
const MAX_BYTES: usize = 1 << 20;

/// The resources of the current event.
#[derive(Debug, Default)]
pub(super) struct ListedResources(Vec<Value>);

impl ListedResources {
    /// Replaces the resources by those of a response.
    pub(super) fn set(&mut self, resources: Option<&[u8]>) {
        self.0.clear();
        let resources = resources.filter(|json| json.len() <= MAX_BYTES);
        if let Some(Value::Array(list)) =
            resources.and_then(|json| serde_json::from_slice(json).ok())
        {
            self.0 = list;
        }
    }

    /// Replaces the resources by those that a document contains.
    pub(super) fn set_from_document(&mut self, lookup: &[u8]) {
        self.0.clear();
        let lookup: Value = serde_json::from_slice(lookup).unwrap_or_default();
        let listed = lookup.get("resources").and_then(Value::as_array);
        let names = listed.into_iter().flatten().filter_map(|resource| resource.get("name"));
        self.0 = names.map(|name| json!({ "ResourceName": name })).collect();
    }

    /// Returns a copy of the event with the resources, or `None` if there are none.
    pub(super) fn add_to(&self, event: &Value) -> Option<Value> {
        if self.0.is_empty() {
            return None;
        }
        let mut event = event.clone();
        match event.get_mut("resources").and_then(Value::as_array_mut) {
            Some(list) => list.extend_from_slice(&self.0),
            None => {
                drop(event.as_object_mut()?.insert("resources".to_owned(), self.0.clone().into()));
            }
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_added_to_those_of_the_event() {
        let mut listed = ListedResources::default();
        assert_eq!(listed.add_to(&json!({})), None);
        listed.set(Some(br#"[{"ResourceType":"AWS::S3::Bucket","ResourceName":"b"}]"#));
        let bucket = json!({"ResourceType": "AWS::S3::Bucket", "ResourceName": "b"});
        assert_eq!(listed.add_to(&json!({})), Some(json!({"resources": [bucket]})));
        assert_eq!(
            listed.add_to(&json!({"resources": null})),
            Some(json!({"resources": [bucket]}))
        );
        assert_eq!(
            listed.add_to(&json!({"resources": [1]})),
            Some(json!({"resources": [1, bucket]}))
        );
        listed.set_from_document(
            br#"{"username":"x","resources":[{"type":"T","name":"k"},{"type":"T"}]}"#,
        );
        assert_eq!(listed.add_to(&json!({})), Some(json!({"resources": [{"ResourceName": "k"}]})));
        for broken in [None, Some(&b"{"[..]), Some(b"null"), Some(b"7")] {
            listed.set(broken);
            assert_eq!(listed.add_to(&json!({})), None);
        }
        listed.set_from_document(b"[");
        assert_eq!(listed.add_to(&json!({})), None);
    }
}
