//! Bulk requests, sorted item by item.

use serde_json::{Value, json};

use super::super::json;
use super::state::{Answer, State, error, refused, status_error};
use super::{Fault, Flavour, Pipeline, Shut};

impl State {
    pub(super) fn bulk(
        &mut self,
        default_index: Option<&str>,
        body: &[u8],
        fault: Option<&Fault>,
    ) -> Answer {
        if body.last() != Some(&b'\n') {
            self.complaints.push("a bulk body without a newline at its end".to_owned());
            return refused(
                400,
                "illegal_argument_exception",
                "The bulk request must be terminated by a newline [\\n]",
            );
        }
        let lines: Vec<&[u8]> = body[..body.len() - 1].split(|byte| *byte == b'\n').collect();
        let mut pairs = Vec::new();
        for (number, pair) in lines.chunks(2).enumerate() {
            let action = serde_json::from_slice::<Value>(pair[0]).ok();
            let (Some(action), [_, document]) =
                (action.as_ref().and_then(|a| a["create"].as_object()), pair)
            else {
                self.complaints.push(format!(
                    "a bulk body with a bad action line: {}",
                    String::from_utf8_lossy(&pair[0][..pair[0].len().min(200)])
                ));
                return refused(
                    400,
                    "illegal_argument_exception",
                    &format!(
                        "Malformed action/metadata line [{}], expected START_OBJECT",
                        2 * number + 1
                    ),
                );
            };
            let index =
                action.get("_index").and_then(Value::as_str).or(default_index).unwrap_or_default();
            let id = action.get("_id").and_then(Value::as_str).unwrap_or_default();
            if id.is_empty() || id.len() > 512 {
                self.complaints.push(format!("an id of {} bytes", id.len()));
                return refused(
                    400,
                    "action_request_validation_exception",
                    "id is too long, must be no longer than 512 bytes",
                );
            }
            pairs.push((index.to_owned(), id.to_owned(), *document));
        }
        self.bulk_items(&pairs, fault)
    }

    fn bulk_items(&mut self, pairs: &[(String, String, &[u8])], fault: Option<&Fault>) -> Answer {
        let taken = match fault {
            Some(Fault::HalfAccepted) => pairs.len().div_ceil(2),
            _ => pairs.len(),
        };
        let mut items = Vec::new();
        for (number, (index, id, document)) in pairs[..taken].iter().enumerate() {
            self.asked.items += 1;
            let mut item = match fault {
                Some(Fault::ItemStatus { every, status }) if number.is_multiple_of(*every) => {
                    status_error(*status)
                }
                _ => self.item(index, id, document),
            };
            let answer = item.as_object_mut().unwrap();
            if let Some(Value::Object(error)) = answer.get_mut("error") {
                error.remove("root_cause");
            }
            answer.entry("_index").or_insert_with(|| json!(index));
            answer.entry("_id").or_insert_with(|| json!(id));
            items.push(json!({ "create": item }));
        }
        let errors = items.iter().any(|item| item["create"]["status"].as_u64() != Some(201));
        match fault {
            Some(Fault::ItemMissing) => drop(items.pop()),
            Some(Fault::EmptyAnswer) => return (200, json!({})),
            _ => {}
        }
        (200, json!({ "took": 3, "errors": errors, "items": items }))
    }

    fn item(&mut self, index: &str, id: &str, document: &[u8]) -> Value {
        if !self.indices.contains_key(index)
            && let Err(reason) = self.new_index(index, &json!({}))
        {
            return error(400, "invalid_index_name_exception", &reason);
        }
        *self.repeated.entry(format!("{index}/{id}")).or_default() += 1;
        match self.shut.get(index) {
            Some(Shut::Closed) => return error(400, "index_closed_exception", "closed"),
            Some(Shut::WriteBlock) => {
                let reason =
                    format!("index [{index}] blocked by: [FORBIDDEN/8/index write (api)];");
                return error(403, "cluster_block_exception", &reason);
            }
            None => {}
        }
        if let Some((name, pipeline)) = self.pipelines.get(index).cloned() {
            return self.piped(&name, &pipeline, (index, id, document));
        }
        self.stored(index, id, document)
    }

    /// Lets a pipeline have the document.
    fn piped(
        &mut self,
        name: &str,
        pipeline: &Pipeline,
        (index, id, document): (&str, &str, &[u8]),
    ) -> Value {
        let (other_index, other_id) = match *pipeline {
            Pipeline::Missing => {
                let reason = format!("pipeline with id [{name}] does not exist");
                return error(400, "illegal_argument_exception", &reason);
            }
            Pipeline::Drop => {
                return json!({ "_version": -3, "result": "noop", "_seq_no": -2, "status": 200 });
            }
            Pipeline::Fail(status, kind, reason) => return error(status, kind, reason),
            Pipeline::Move(other) => (other, id),
            Pipeline::Rename(other) => (index, other),
        };
        if !self.indices.contains_key(other_index) {
            self.new_index(other_index, &json!({ "mappings": { "dynamic": false } })).unwrap();
        }
        let mut answer = self.stored(other_index, other_id, document);
        answer["_index"] = json!(other_index);
        answer["_id"] = json!(other_id);
        answer
    }

    fn stored(&mut self, index: &str, id: &str, document: &[u8]) -> Value {
        if let Some((status, reason)) = self.refuse.as_ref().and_then(|refuse| refuse(document)) {
            return error(status, self.parsing_exception(), &reason);
        }
        let parsed = match json::read(document) {
            Ok(parsed) => parsed,
            Err(reason) => return self.unreadable(&reason),
        };
        let held = self.indices.get_mut(index).unwrap();
        if let Some(reason) = held.mapping.refusal(&parsed) {
            return self.unfitting(id, &reason);
        }
        if held.documents.contains_key(id) {
            let reason =
                format!("[{id}]: version conflict, document already exists (current version [1])");
            return error(409, "version_conflict_engine_exception", &reason);
        }
        held.documents.insert(id.to_owned(), document.to_vec());
        json!({ "_version": 1, "result": "created", "_seq_no": 0, "_primary_term": 1, "status": 201 })
    }

    fn parsing_exception(&self) -> &'static str {
        match self.flavour {
            Flavour::OpenSearch => "mapper_parsing_exception",
            Flavour::Elasticsearch => "document_parsing_exception",
        }
    }

    fn unreadable(&self, reason: &str) -> Value {
        let mut answer = error(400, self.parsing_exception(), "failed to parse");
        answer["error"]["caused_by"] = json!({ "type": "json_parse_exception", "reason": reason });
        answer
    }

    fn unfitting(&self, id: &str, reason: &str) -> Value {
        let at = if self.flavour == Flavour::Elasticsearch { "[1:20] " } else { "" };
        let reason = match reason.strip_suffix(" in document") {
            Some(start) => format!(
                "{at}{start} in document with id '{id}'. Preview of field's value: '{{x=1}}'"
            ),
            None => format!("{at}{reason}"),
        };
        error(400, self.parsing_exception(), &reason)
    }
}
