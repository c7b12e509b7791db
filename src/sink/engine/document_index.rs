//! An index of documents about this program's work, such as alerts: its template, and single documents with ids of their own.
//!
//! Input: a [`Target`] whose prefix is the name of the index; documents. Output: nothing if the index has the document, or why a
//! single attempt failed.
//! Invariant: a document whose id the index already has is never written again. The template of another program is not
//! overwritten.
//! Deliberately absent: retries, which the caller makes.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    client::{Client, HttpResponse, Method},
    error_response, paths,
    target::Target,
    templates::is_managed,
};
use crate::{
    pending::PendingRequests,
    sink::{cause::Cause, error::Error},
};

/// What follows the prefix of events in the name of the index with documents about runs.
pub(in crate::sink) const RUNS_SUFFIX: &str = "-runs";

/// What the documents of an index are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sink) enum DocumentKind {
    /// Alerts.
    Alert,
    /// Runs of this program.
    Run,
}

impl DocumentKind {
    /// Returns mappings and settings of the index, as JSON.
    fn template(self) -> &'static str {
        match self {
            Self::Alert => include_str!("../../../mappings/alerts.json"),
            Self::Run => include_str!("../../../mappings/runs.json"),
        }
    }
}

/// Priority of the template: above those of events, whose patterns may match the name.
const PRIORITY: u32 = 1_000;

/// Longest response that is read.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// An index of documents of one kind.
#[derive(Debug)]
pub(in crate::sink) struct DocumentIndex {
    client: Client,
    name: String,
    kind: DocumentKind,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(in crate::sink) struct AttemptError {
    /// The URL of the engine, without credentials.
    pub(in crate::sink) url: String,
    pub(in crate::sink) cause: Cause,
    /// The wait that the engine asked for.
    pub(in crate::sink) retry_after: Option<Duration>,
}

impl DocumentIndex {
    /// Opens a client; sends nothing to the engine.
    pub(in crate::sink) async fn open(
        kind: DocumentKind,
        mut target: Target,
        pending: PendingRequests,
    ) -> Result<Self, Error> {
        let name = target.prefix.clone();
        Ok(Self { client: target.open_client(pending).await?, name, kind })
    }

    /// Installs the template of the index, unless it has this version or a newer one, or is of another program.
    pub(in crate::sink) async fn install_template(&self) -> Result<(), AttemptError> {
        let path = paths::index_template(&self.name);
        let response = self.send(Method::Get, &path, None).await?;
        let template = self.template();
        let is_wanted = match response.status {
            200..=299 => {
                let json: Value = serde_json::from_slice(&response.body).unwrap_or_default();
                let existing = &json["index_templates"][0]["index_template"];
                is_managed(existing) && version(existing) < version(&template)
            }
            404 => true,
            _ => return Err(self.refused(&response)),
        };
        if is_wanted {
            let body = Bytes::from(template.to_string());
            let response = self.send(Method::Put, &path, Some(body)).await?;
            if !(200..=299).contains(&response.status) {
                return Err(self.refused(&response));
            }
        }
        Ok(())
    }

    /// Creates a document, unless the index has one with this id.
    pub(in crate::sink) async fn create(&self, id: &str, body: Bytes) -> Result<(), AttemptError> {
        let path = paths::create(&self.name, id);
        let response = self.send(Method::Put, &path, Some(body)).await?;
        match response.status {
            200..=299 => Ok(()),
            409 if self.refused(&response).cause.code() == "version_conflict_engine_exception" => {
                Ok(())
            }
            _ => Err(self.refused(&response)),
        }
    }

    /// Makes the documents visible to searches now instead of some seconds later, if the engine allows it.
    pub(in crate::sink) async fn refresh(&self) {
        let _ = self.send(Method::Post, &paths::refresh(&self.name), None).await;
    }

    /// Returns the template with its patterns.
    fn template(&self) -> Value {
        let mut template: Value = serde_json::from_str(self.kind.template()).unwrap_or_default();
        let meta = template["mappings"]["_meta"].clone();
        json!({
            "index_patterns": [self.name],
            "priority": PRIORITY,
            "template": template.take(),
            "_meta": meta,
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<HttpResponse, AttemptError> {
        let sent = self.client.send_json_limited(method, path, body, MAX_RESPONSE_BYTES).await;
        sent.map_err(|cause| self.error(cause, None))
    }

    fn refused(&self, response: &HttpResponse) -> AttemptError {
        let cause = error_response::parse(response.status, &response.body);
        self.error(cause, response.retry_after)
    }

    fn error(&self, cause: Cause, retry_after: Option<Duration>) -> AttemptError {
        AttemptError { url: self.client.address().to_owned(), cause, retry_after }
    }
}

fn version(template: &Value) -> Option<u64> {
    template["_meta"]["version"].as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_valid_and_fields_do_not_depend_on_events() {
        for kind in [DocumentKind::Alert, DocumentKind::Run] {
            let template: Value = serde_json::from_str(kind.template()).unwrap();
            assert_eq!(template["mappings"]["dynamic"], json!(false));
            assert!(template["mappings"]["_meta"]["version"].is_u64());
            assert_eq!(template["mappings"]["_meta"]["managed_by"], "trailload");
            let event = &template["mappings"]["properties"]["event"];
            assert!(event.is_null() || event["enabled"] == json!(false));
        }
    }
}
