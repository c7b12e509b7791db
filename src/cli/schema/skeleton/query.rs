//! An example query of the index.

use serde_json::json;

use super::{example, leaves, testable};
use crate::{cli::schema::answer::Answer, normalize::Rules};

/// Returns a search in the Query DSL of Elasticsearch and OpenSearch, for `GET cloudtrail-*/_search`.
pub(in crate::cli::schema) fn query(answer: &Answer<'_>, rules: &Rules) -> String {
    let leaves = leaves(answer, rules);
    let names = match answer.event_names.as_slice() {
        [only] => json!({ "term": { "eventName": only } }),
        several => json!({ "terms": { "eventName": several } }),
    };
    let mut filter = vec![json!({ "term": { "eventSource": answer.event_source } }), names];
    if let Some(leaf) = testable(answer, &leaves) {
        let value = example::value(leaf, &answer.service_name);
        filter.push(if let Some(field) = &leaf.index {
            json!({ "term": { field.as_str(): value } })
        } else {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            json!({ "term": { "trailload.unmapped": format!("{}={text}", leaf.path) } })
        });
    }
    let query = json!({
        "size": 20,
        "sort": [{ "@timestamp": "desc" }],
        "query": { "bool": { "filter": filter } },
    });
    format!("{query:#}\n")
}
