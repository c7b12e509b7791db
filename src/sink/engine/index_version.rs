//! A digest of the mapping and the settings of an index, which changes whenever it may accept other documents.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::api::ApiClient;
use super::paths;
use crate::sink::error::Error;

/// The digest of an index that does not exist.
const MISSING: &str = "none";

/// Bytes of the hash that are kept.
const DIGEST_BYTES: usize = 8;

/// Returns the digest of an index, from its mapping and settings, or from its mapping alone if the settings may not be
/// read.
pub(super) async fn fetch(api: &ApiClient<'_>, name: &str) -> Result<String, Error> {
    let action = format!("reading the mapping of '{name}'");
    let response = match api.get(name, &action).await {
        Err(Error::Denied { .. }) => api.get(&paths::mapping(&[name]), &action).await?,
        response => response?,
    };
    match response.status {
        200..=299 => Ok(digest(&response.json)),
        404 => Ok(MISSING.to_owned()),
        _ => Err(api.refused(&action, &response)),
    }
}

/// Returns a digest that does not depend on the order of keys.
fn digest(value: &Value) -> String {
    let mut leaves = Vec::new();
    flatten(value, &mut String::new(), &mut leaves);
    leaves.sort_unstable();
    let mut text = String::new();
    for byte in Sha256::digest(leaves.join("\n")).iter().take(DIGEST_BYTES) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn flatten(value: &Value, path: &mut String, leaves: &mut Vec<String>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, member) in members {
                let end = path.len();
                // Writing to a String cannot fail.
                let _ = write!(path, "{key:?}.");
                flatten(member, path, leaves);
                path.truncate(end);
            }
        }
        leaf => leaves.push(format!("{path}={leaf}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_digest_depends_on_values_but_not_on_the_order_of_keys() {
        let one = digest(&json!({ "a": { "b": 1, "c": [1, 2] }, "d": {} }));
        assert_eq!(one, digest(&json!({ "d": {}, "a": { "c": [1, 2], "b": 1 } })));
        assert_ne!(one, digest(&json!({ "a": { "b": 1, "c": [2, 1] }, "d": {} })));
        assert_ne!(one, digest(&json!({ "a": { "b": 1, "c": [1, 2] } })));
    }
}
