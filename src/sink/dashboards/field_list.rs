//! The list of fields that OpenSearch Dashboards stores in an index pattern.
//!
//! A field that came into the indices later is shown with a question mark there, and cannot be used in a panel, until the
//! list is read again. Kibana asks the engine each time, so there is nothing to do.
//! Input: the id of an index pattern. Output: the number of fields, stored in it.
//! Invariant: scripted fields, and how often people have used a field, are kept.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{DashboardsClient, DashboardsError, Product};
use crate::sink::engine::{client::Method, unless_immediate};

/// The metadata fields that index patterns list, as OpenSearch Dashboards itself asks for them.
const META_FIELDS: &str = r#"["_source","_id","_type","_index","_score"]"#;

/// What became of a list of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldListUpdate {
    /// It has this many fields now.
    Refreshed(usize),
    /// The product stores no list.
    NotStored,
    /// There is no such index pattern.
    NoIndexPattern,
    /// No index matches the pattern yet.
    NoIndex,
}

impl DashboardsClient {
    /// Refreshes the list of fields of an index pattern.
    ///
    /// # Errors
    ///
    /// Returns [`DashboardsError`] if it cannot be read or written.
    pub async fn refresh_fields(&self, id: &str) -> Result<FieldListUpdate, DashboardsError> {
        if self.product == Product::Kibana {
            return Ok(FieldListUpdate::NotStored);
        }
        let path = format!("api/saved_objects/index-pattern/{id}");
        let action = format!("reading the index pattern '{id}'");
        let Some(stored) = self.read(&path, &action).await? else {
            return Ok(FieldListUpdate::NoIndexPattern);
        };
        let attributes = &stored["attributes"];
        let title = attributes["title"].as_str().unwrap_or_default();
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let fields = format!(
            "api/index_patterns/_fields_for_wildcard?pattern={}&meta_fields={}",
            encoded(title),
            encoded(META_FIELDS)
        );
        let action = format!("reading the fields of '{title}'");
        let Some(found) = self.read(&fields, &action).await? else {
            return Ok(FieldListUpdate::NoIndex);
        };
        if found["fields"].as_array().is_none_or(Vec::is_empty) {
            return Ok(FieldListUpdate::NoIndex);
        }
        let list = merged(&found["fields"], attributes["fields"].as_str());
        let number = list.len();
        let body = json!({ "attributes": {
            "title": title,
            "timeFieldName": attributes["timeFieldName"],
            "fields": Value::from(list).to_string(),
        } });
        let action = format!("storing the fields of '{title}'");
        self.send(Method::Put, &path, &body, &action).await?;
        Ok(FieldListUpdate::Refreshed(number))
    }

    /// Reads an object. `None` if there is none.
    async fn read(&self, path: &str, action: &str) -> Result<Option<Value>, DashboardsError> {
        let api = self.api();
        let reading = api.get(path, action);
        let response = unless_immediate(&self.shutdown, &self.client, reading).await?;
        match response.status {
            200..=299 => Ok(Some(response.json)),
            404 => Ok(None),
            _ => Err(api.refused(action, &response).into()),
        }
    }
}

/// Returns the fields of the indices in the stored form, with what only the stored list knows.
fn merged(found: &Value, stored: Option<&str>) -> Vec<Value> {
    let stored: Value =
        stored.and_then(|stored| serde_json::from_str(stored).ok()).unwrap_or_default();
    let stored = stored.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut fields: Vec<Value> = found.as_array().cloned().unwrap_or_default();
    for field in &mut fields {
        let known = stored.iter().find(|known| known["name"] == field["name"]);
        let count = known.and_then(|known| known["count"].as_u64()).unwrap_or(0);
        field["count"] = count.into();
        field["scripted"] = false.into();
    }
    fields.extend(stored.iter().filter(|known| known["scripted"] == true).cloned());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_scripted_fields_are_kept() {
        let found = json!([
            { "name": "a", "type": "string", "aggregatable": true },
            { "name": "b", "type": "date", "aggregatable": true },
        ]);
        let stored = json!([
            { "name": "a", "count": 7, "scripted": false },
            { "name": "gone", "count": 1, "scripted": false },
            { "name": "hour", "count": 2, "scripted": true, "script": "1", "lang": "painless" },
        ]);
        let fields = merged(&found, Some(&stored.to_string()));
        let names: Vec<_> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["a", "b", "hour"]);
        assert_eq!((&fields[0]["count"], &fields[1]["count"]), (&json!(7), &json!(0)));
        assert_eq!(fields[1]["scripted"], false);
        assert_eq!(fields[2]["script"], "1");
        assert_eq!(merged(&found, None).len(), 2);
        assert_eq!(merged(&found, Some("not JSON")).len(), 2);
    }
}
