//! Policy documents: statements as JSON, split where a managed policy would be too large.
//!
//! Input: statements. Output: documents.
//! Invariant: all documents together allow exactly what the statements allow, and each fits into a managed policy unless
//! a single resource does not.

use serde_json::{Map, Value, json};

/// Characters of a managed policy at most; white space does not count (IAM quotas).
pub(super) const MAX_DOCUMENT_CHARS: usize = 6_144;

/// Actions on resources, in some Regions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Statement {
    pub(super) actions: Vec<String>,
    pub(super) resources: Vec<String>,
    /// The Regions; empty for services without Regions.
    pub(super) regions: Vec<String>,
}

impl Statement {
    fn to_json(&self) -> Value {
        let mut statement = Map::new();
        statement.insert("Effect".to_owned(), "Allow".into());
        statement.insert("Action".to_owned(), json!(self.actions));
        statement.insert("Resource".to_owned(), json!(self.resources));
        if !self.regions.is_empty() {
            let condition = json!({"StringEquals": {"aws:RequestedRegion": self.regions}});
            statement.insert("Condition".to_owned(), condition);
        }
        Value::Object(statement)
    }

    /// Returns two statements that together allow the same, or `None` if there is only one action and resource.
    fn halves(&self) -> Option<[Self; 2]> {
        let (longer, is_resources) = if self.resources.len() >= self.actions.len() {
            (&self.resources, true)
        } else {
            (&self.actions, false)
        };
        if longer.len() < 2 {
            return None;
        }
        let (first, second) = longer.split_at(longer.len() / 2);
        let half = |part: &[String]| {
            let part = part.to_vec();
            if is_resources {
                Self { resources: part, ..self.clone() }
            } else {
                Self { actions: part, ..self.clone() }
            }
        };
        Some([half(first), half(second)])
    }
}

/// Returns documents with these statements, as few as the order of the statements allows.
pub(super) fn documents(statements: Vec<Statement>) -> Vec<Value> {
    let mut pending: Vec<Statement> = statements.into_iter().rev().collect();
    let mut documents = Vec::new();
    let mut current = Vec::new();
    let frame = chars(&document(&[]));
    let mut length = frame;
    while let Some(statement) = pending.pop() {
        let json = statement.to_json();
        // With a comma to the next one.
        let own = chars(&json) + 1;
        if frame + own > MAX_DOCUMENT_CHARS
            && let Some([first, second]) = statement.halves()
        {
            pending.extend([second, first]);
            continue;
        }
        if length + own > MAX_DOCUMENT_CHARS && !current.is_empty() {
            documents.push(document(&std::mem::take(&mut current)));
            length = frame;
        }
        length += own;
        current.push(json);
    }
    if !current.is_empty() {
        documents.push(document(&current));
    }
    documents
}

fn document(statements: &[Value]) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// Returns the characters that IAM counts.
pub(super) fn chars(value: &Value) -> usize {
    value.to_string().chars().filter(|char| !char.is_whitespace()).count()
}
