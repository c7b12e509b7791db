//! The body of an import of saved objects, and its response.
//!
//! Input: [`SavedObject`]s; the response of either product. Output: a multipart form; an [`ImportReport`].
//! Invariant: an import counts as complete only if the response says so: its HTTP status is 200 also when nothing was
//! imported.

use std::fmt;

use reqwest::header::HeaderValue;
use serde_json::Value;

use super::ownership;
use crate::{dashboard::SavedObject, sink::engine::client::Content};

/// The path of the import. Objects that people or other programs wrote are not among those that are sent.
pub(super) const PATH: &str = "api/saved_objects/_import?overwrite=true";

/// What separates the parts of the form. Saved objects are JSON in which no line begins with a hyphen.
const BOUNDARY: &str = "trailload-saved-objects";

/// What became of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Number of objects that were imported.
    pub imported: u64,
    /// Objects that Kibana imported under another id, because another space has an object with that id.
    pub renamed: Vec<RenamedObject>,
    /// The objects that were refused.
    pub refused: Vec<RefusedObject>,
}

/// An object that was imported under another id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenamedObject {
    /// The type.
    pub kind: String,
    /// The id in the file.
    pub id: String,
    /// The id in the space.
    pub new_id: String,
    /// Whether it replaced an object with that id, such as a copy that a person made.
    pub is_replacement: bool,
}

/// An object that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedObject {
    /// The type.
    pub kind: String,
    /// The id.
    pub id: String,
    /// The title, if the response has it.
    pub title: Option<String>,
    /// Why.
    pub problem: ImportProblem,
}

/// Why an object was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportProblem {
    /// There is another object with this id.
    Conflict,
    /// Objects that it refers to do not exist: type and id of each.
    MissingReferences(Vec<(String, String)>),
    /// The product does not know the type, or may not import it.
    UnsupportedType,
    /// Anything else, as the product explains it.
    Other(String),
}

/// Returns the file with the objects, as it is imported: with marks that name trailload.
pub fn import_file(objects: &[SavedObject]) -> String {
    let mut lines = String::new();
    for object in objects {
        lines.push_str(&ownership::with_mark(object).to_string());
        lines.push('\n');
    }
    lines
}

/// Returns the form with the objects as a file. Its name decides whether it is accepted.
pub(super) fn form(objects: &[SavedObject]) -> Content {
    let lines = import_file(objects);
    let text = format!(
        "--{BOUNDARY}\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"trailload.ndjson\"\r\n\
         Content-Type: application/ndjson\r\n\r\n\
         {lines}\r\n--{BOUNDARY}--\r\n"
    );
    let content_type =
        HeaderValue::from_static("multipart/form-data; boundary=trailload-saved-objects");
    Content { content_type, bytes: text.into() }
}

impl ImportReport {
    /// Parses a response. `None` if it is not that of an import.
    pub(super) fn parse(response: &Value) -> Option<Self> {
        let is_complete = response["success"].as_bool()?;
        let imported = response["successCount"].as_u64()?;
        let results = response["successResults"].as_array().into_iter().flatten();
        let renamed = results
            .filter(|result| result["destinationId"].is_string())
            .map(|result| RenamedObject {
                kind: text(&result["type"]),
                id: text(&result["id"]),
                new_id: text(&result["destinationId"]),
                is_replacement: result["overwrite"] == true,
            })
            .collect();
        let refused: Vec<_> =
            response["errors"].as_array().into_iter().flatten().map(refused).collect();
        // A failure without a list of errors must not look like a success.
        (is_complete == refused.is_empty()).then_some(Self { imported, renamed, refused })
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn refused(entry: &Value) -> RefusedObject {
    let error = &entry["error"];
    let problem = match error["type"].as_str().unwrap_or_default() {
        "conflict" | "ambiguous_conflict" => ImportProblem::Conflict,
        "missing_references" => {
            let references = error["references"].as_array().into_iter().flatten();
            let references = references.map(|it| (text(&it["type"]), text(&it["id"]))).collect();
            ImportProblem::MissingReferences(references)
        }
        "unsupported_type" => ImportProblem::UnsupportedType,
        other => ImportProblem::Other(error["message"].as_str().unwrap_or(other).to_owned()),
    };
    let title = entry["meta"]["title"].as_str().or_else(|| entry["title"].as_str());
    RefusedObject {
        kind: text(&entry["type"]),
        id: text(&entry["id"]),
        title: title.map(str::to_owned),
        problem,
    }
}

impl fmt::Display for ImportProblem {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict => to.write_str("another object has this id"),
            Self::MissingReferences(references) => {
                let names: Vec<_> =
                    references.iter().map(|(kind, id)| format!("{kind} {id}")).collect();
                write!(to, "it refers to objects that do not exist: {}", names.join(", "))
            }
            Self::UnsupportedType => to.write_str("objects of this type cannot be imported here"),
            Self::Other(explanation) => to.write_str(explanation),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_success_is_one_only_if_the_response_says_so() {
        let all = json!({ "successCount": 54, "success": true, "successResults": [
            { "type": "dashboard", "id": "a", "meta": {} },
            { "type": "dashboard", "id": "b", "destinationId": "c", "meta": {} } ] });
        let report = ImportReport::parse(&all).unwrap();
        assert_eq!(report.imported, 54);
        let renamed = RenamedObject {
            kind: "dashboard".to_owned(),
            id: "b".to_owned(),
            new_id: "c".to_owned(),
            is_replacement: false,
        };
        assert_eq!(report.renamed, [renamed]);
        assert_eq!(report.refused, []);
        for unknown in [
            json!({}),
            json!({ "success": false, "successCount": 0 }),
            json!({ "success": true }),
            json!({ "success": true, "successCount": 1, "errors": [{ "error": { "type": "conflict" } }] }),
            json!("x"),
        ] {
            assert_eq!(ImportReport::parse(&unknown), None, "{unknown}");
        }
    }

    #[test]
    fn every_refusal_is_explained() {
        let error = |error: Value| {
            let entry =
                json!({ "type": "search", "id": "s", "meta": { "title": "S" }, "error": error });
            let response = json!({ "success": false, "successCount": 2, "errors": [entry] });
            let report = ImportReport::parse(&response).unwrap();
            assert_eq!(report.imported, 2);
            assert_eq!(report.refused[0].title.as_deref(), Some("S"));
            report.refused[0].problem.to_string()
        };
        assert_eq!(error(json!({ "type": "conflict" })), "another object has this id");
        assert_eq!(
            error(json!({ "type": "missing_references",
                "references": [{ "type": "index-pattern", "id": "p" }] })),
            "it refers to objects that do not exist: index-pattern p"
        );
        assert!(error(json!({ "type": "unsupported_type" })).contains("type"));
        assert_eq!(
            error(json!({ "type": "unknown", "message": "disk", "statusCode": 500 })),
            "disk"
        );
        assert_eq!(error(json!({ "type": "new_kind" })), "new_kind");
    }
}
