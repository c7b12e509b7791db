//! Parses the response to a bulk request and classifies its items.
//!
//! Input: status and body of the response, and the request. Output: what to do with the request as a whole, or with each
//! document of it.
//! Invariant: a response counts only if it has exactly one item for each document. Anything else does not show what was
//! stored; sending again is safe, since documents are created under fixed ids. A document counts as stored only if its
//! item names its id and its index: an ingest pipeline may drop a document, or store it elsewhere, and the engine reports
//! success.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::bulk_request::BulkRequest;
use super::error_response::{self, code_and_reason};
use crate::sink::cause::{Cause, ConnectError};
use crate::sink::refusal::RefusalReason;

/// Why a document was neither created nor a duplicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The engine is overloaded or unavailable: the document is sent again.
    Transient,
    /// The engine rejects this document for its content.
    Rejected,
    /// An ingest pipeline failed, dropped the document, or changed its index or id.
    Pipeline,
    /// The index accepts no documents; others may.
    IndexUnwritable,
    /// Any further document would fail too; a person has to act.
    Fatal,
}

/// What a response is compared with.
pub(super) struct SentRequest<'a> {
    /// The request.
    pub(super) request: &'a BulkRequest,
    /// What an item has to contain.
    pub(super) item_detail: ItemDetail,
    /// Returns the index of a name that is an alias.
    pub(super) concrete_index: &'a (dyn Fn(&str) -> Option<String> + Sync),
}

/// What an item has to contain to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemDetail {
    /// Index, id and result, as engines send them.
    Full,
    /// The status, if nothing contradicts it: endpoints that implement nothing but `_bulk` may leave out the rest.
    Status,
}

/// The reason for which time series and vector search collections reject documents with an id; the error type is generic.
const IDS_NOT_SUPPORTED: &str = "Document ID is not supported";

/// The engines' error type of a duplicate.
const DUPLICATE: &str = "version_conflict_engine_exception";

/// Why a response without names is not accepted.
const UNNAMED: &str = "a response that does not name each document";

/// Classifies an error, of one item or of a whole response, by HTTP status and error type.
///
/// Only 400 (and 413) is about the document, and not every 400: the shard limit would reject the next document too.
fn classify(cause: &Cause) -> FailureKind {
    match (cause.status().unwrap_or_default(), cause.code()) {
        (_, "index_closed_exception") => FailureKind::IndexUnwritable,
        (_, "cluster_block_exception") => match cause.cluster_block() {
            Some(block) if block.is_index_level() && !block.is_temporary() => {
                FailureKind::IndexUnwritable
            }
            Some(block) if !block.is_temporary() => FailureKind::Fatal,
            _ => FailureKind::Transient,
        },
        (429 | 500..=599, _) => FailureKind::Transient,
        (
            400,
            "validation_exception" | "invalid_index_name_exception" | "index_not_found_exception",
        ) => FailureKind::Fatal,
        (400 | 409 | 413, _) => FailureKind::Rejected,
        _ => FailureKind::Fatal,
    }
}

/// Classifies an error response to a request with a single document.
pub(super) fn classify_single(cause: &Cause) -> FailureKind {
    let (code, reason) = cause.code_and_reason();
    match classify(cause) {
        _ if is_pipeline_error(code, reason) => FailureKind::Pipeline,
        FailureKind::IndexUnwritable => FailureKind::IndexUnwritable,
        _ => FailureKind::Rejected,
    }
}

/// Returns whether the engine reports that an ingest pipeline failed.
fn is_pipeline_error(code: &str, reason: &str) -> bool {
    matches!(
        code,
        "fail_processor_exception" | "ingest_processor_exception" | "ingest_pipeline_exception"
    ) || reason.starts_with("pipeline with id [")
        || reason.starts_with("Pipeline processor configured for non-existent pipeline [")
        || reason.starts_with("final pipeline [")
}

/// Returns whether an error may come from an ingest pipeline, if the index has one.
///
/// A processor fails with whatever its code throws, and engines return that without the processor's name. All errors
/// qualify but those that only mappings, permissions, limits, overload and connections between nodes cause.
pub(super) fn may_be_pipeline_error(cause: &Cause) -> bool {
    let Cause::ErrorResponse { status, code, reason } = cause else { return false };
    let is_known =
        NON_PIPELINE_ERRORS.contains(&code.as_str()) || code.ends_with("_transport_exception");
    let mapping_errors = ["Document contains at least one immense term", "Limit of ", "mapper ["];
    let is_mapping_error = mapping_errors.iter().any(|start| reason.starts_with(start));
    !is_known && !is_mapping_error && !matches!(status, 200..=299 | 401 | 413 | 429 | 502..=504)
}

/// Error types that no processor throws.
const NON_PIPELINE_ERRORS: [&str; 25] = [
    // Mappings and names.
    "mapper_parsing_exception",
    "document_parsing_exception",
    "strict_dynamic_mapping_exception",
    "max_bytes_length_exceeded_exception",
    "validation_exception",
    "invalid_index_name_exception",
    "index_not_found_exception",
    "index_closed_exception",
    DUPLICATE,
    // Permissions.
    "cluster_block_exception",
    "security_exception",
    // Overload, and nodes that join and leave.
    "es_rejected_execution_exception",
    "rejected_execution_exception",
    "circuit_breaking_exception",
    "unavailable_shards_exception",
    "no_shard_available_action_exception",
    "shard_not_found_exception",
    "illegal_index_shard_state_exception",
    "process_cluster_event_timeout_exception",
    "master_not_discovered_exception",
    "already_closed_exception",
    "node_closed_exception",
    "node_not_connected_exception",
    "i_o_exception",
    "translog_exception",
];

/// A document that was neither created nor a duplicate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FailedItem {
    /// Position of the document in the request, from 0.
    pub(super) position: usize,
    /// Why.
    pub(super) kind: FailureKind,
    /// The engine's error.
    pub(super) cause: Cause,
}

/// The classified items of a response. All documents that it does not name were created.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct BulkResponse {
    /// Positions of the duplicates in the request.
    pub(super) duplicates: Vec<usize>,
    /// Documents that are in no index, in the order of the request.
    pub(super) failed: Vec<FailedItem>,
}

/// The outcome of a whole request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RequestOutcome {
    /// There is one item for each document.
    Items(BulkResponse),
    /// The request is larger than the engine, or a proxy, accepts.
    TooLarge(Cause),
    /// The engine is overloaded or unavailable: the whole request is sent again.
    Transient(Cause),
    /// The request is rejected; one of its documents is the reason, or all are.
    Rejected(Cause),
    /// 401, 403, 404 and the like: a person has to act.
    Fatal(Cause),
}

impl RequestOutcome {
    /// Returns whether fewer concurrent requests would help.
    pub(super) fn is_overload(&self) -> bool {
        match self {
            Self::Transient(Cause::Connection { kind, .. }) => *kind == ConnectError::TimedOut,
            Self::Transient(cause) => matches!(cause.status(), Some(429 | 503)),
            Self::Items(response) => {
                response.failed.iter().any(|item| item.kind == FailureKind::Transient)
            }
            _ => false,
        }
    }
}

/// Parses the response to a bulk request.
pub(super) fn parse(status: u16, body: &[u8], sent: &SentRequest<'_>) -> RequestOutcome {
    if (200..=299).contains(&status) {
        return match parse_items(body, sent) {
            Ok(response) => RequestOutcome::Items(response),
            Err(reason) => RequestOutcome::Transient(Cause::UnexpectedResponse { status, reason }),
        };
    }
    let cause = error_response::parse(status, body);
    let (code, reason) = cause.code_and_reason();
    if is_pipeline_error(code, reason) {
        // One of the documents is the reason, or all are.
        return RequestOutcome::Rejected(cause);
    }
    match classify(&cause) {
        _ if RefusalReason::from_cause(&cause) == RefusalReason::Pipeline => {
            RequestOutcome::Fatal(cause)
        }
        _ if status == 413 => RequestOutcome::TooLarge(cause),
        FailureKind::Transient => RequestOutcome::Transient(cause),
        _ if status == 408 => RequestOutcome::Transient(cause),
        FailureKind::Rejected | FailureKind::IndexUnwritable => RequestOutcome::Rejected(cause),
        _ => RequestOutcome::Fatal(cause),
    }
}

/// Returns whether a request may have been lost because it is too large.
pub(super) fn may_be_too_large(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::Connection {
            kind: ConnectError::ConnectionClosed | ConnectError::TimedOut | ConnectError::Other,
            ..
        }
    )
}

fn parse_items(body: &[u8], sent: &SentRequest<'_>) -> Result<BulkResponse, String> {
    if all_created(body, sent.request) {
        return Ok(BulkResponse::default());
    }
    let bulk: RawResponse<'_> = serde_json::from_slice(body).map_err(|error| {
        format!("a response of {} bytes that is not a bulk response ({error})", body.len())
    })?;
    let documents = sent.request.documents.len();
    if bulk.items.len() != documents {
        let items = bulk.items.len();
        return Err(format!("a response with {items} items for {documents} documents"));
    }
    let mut response = BulkResponse::default();
    for (position, item) in bulk.items.iter().enumerate() {
        response.add(position, &item.create, sent)?;
    }
    Ok(response)
}

/// Returns whether every document was created, without building the items.
///
/// Each item starts with the same bytes as the action line of its document. A response that is not exactly what the
/// `filter_path` of the request yields is parsed as JSON.
fn all_created(body: &[u8], request: &BulkRequest) -> bool {
    const CREATED: &[u8] = br#","result":"created","status":201}},"#;
    let Some(mut rest) = body.strip_prefix(br#"{"errors":false,"items":["#) else { return false };
    for document in &request.documents {
        let named = request.action_line(document).strip_suffix(b"}}\n");
        let Some(outcome) = named.and_then(|named| rest.strip_prefix(named)) else { return false };
        rest = match outcome.strip_prefix(CREATED) {
            Some(rest) => rest,
            // The last one has no comma.
            None if outcome.strip_suffix(b"]}") == CREATED.strip_suffix(b",") => {
                &outcome[outcome.len()..]
            }
            None => return false,
        };
    }
    rest.is_empty() && body.ends_with(b"}]}")
}

impl BulkResponse {
    fn add(
        &mut self,
        position: usize,
        result: &ItemResult<'_>,
        sent: &SentRequest<'_>,
    ) -> Result<(), String> {
        match result.classify(position, sent)? {
            DocumentOutcome::Created => {}
            DocumentOutcome::Duplicate => self.duplicates.push(position),
            DocumentOutcome::Failed(kind, cause) => {
                self.failed.push(FailedItem { position, kind, cause });
            }
        }
        Ok(())
    }
}

/// The outcome of one document.
enum DocumentOutcome {
    /// It is new in the index.
    Created,
    /// The index already held it.
    Duplicate,
    /// It is not in its index.
    Failed(FailureKind, Cause),
}

#[derive(Deserialize)]
struct RawResponse<'a> {
    #[serde(borrow)]
    items: Vec<RawItem<'a>>,
}

#[derive(Deserialize)]
struct RawItem<'a> {
    #[serde(borrow)]
    create: ItemResult<'a>,
}

#[derive(Deserialize)]
struct ItemResult<'a> {
    #[serde(borrow, default, rename = "_index")]
    index: Cow<'a, str>,
    #[serde(borrow, default, rename = "_id")]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    result: Cow<'a, str>,
    status: u16,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// Whether an item is about the document that was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ItemMatch {
    /// It names its id and index.
    Same,
    /// It names another id or another index.
    Different,
    /// It names no id or no index.
    Unnamed,
}

impl ItemResult<'_> {
    fn classify(&self, position: usize, sent: &SentRequest<'_>) -> Result<DocumentOutcome, String> {
        let status = self.status;
        if matches!(status, 200..=299) || self.is_duplicate() {
            return self.classify_stored(position, sent);
        }
        let (code, reason) =
            self.error.map(|error| code_and_reason(error.get())).unwrap_or_default();
        // Without ids there are duplicates, and the next document has an id too.
        let ids_not_supported =
            code == "illegal_argument_exception" && reason.contains(IDS_NOT_SUPPORTED);
        let is_pipeline =
            is_pipeline_error(&code, &reason) || self.error.is_some_and(names_processor);
        let cause = Cause::ErrorResponse { status, code, reason };
        let kind = match classify(&cause) {
            _ if ids_not_supported => FailureKind::Fatal,
            _ if is_pipeline => FailureKind::Pipeline,
            kind => kind,
        };
        Ok(DocumentOutcome::Failed(kind, cause))
    }

    /// Returns whether the item is about a duplicate, without parsing its error: that is a long text, and a second load
    /// has nothing but duplicates.
    fn is_duplicate(&self) -> bool {
        if self.status != 409 {
            return false;
        }
        let Some(error) = self.error else { return true };
        error.get().starts_with(r#"{"type":"version_conflict_engine_exception""#)
            || matches!(code_and_reason(error.get()).0.as_str(), "" | DUPLICATE)
    }

    /// Classifies an item that reports a document as stored: it must be the document sent, in its index.
    fn classify_stored(
        &self,
        position: usize,
        sent: &SentRequest<'_>,
    ) -> Result<DocumentOutcome, String> {
        let item_match = self.compare(position, sent);
        let expected = match (self.status, &*self.result) {
            (409, _) => Some(DocumentOutcome::Duplicate),
            (201, "created") => Some(DocumentOutcome::Created),
            (_, "") if sent.item_detail == ItemDetail::Status => Some(DocumentOutcome::Created),
            (_, "") => return Err(UNNAMED.to_owned()),
            _ => None,
        };
        match (item_match, sent.item_detail, expected) {
            (ItemMatch::Unnamed, ItemDetail::Full, _) => Err(UNNAMED.to_owned()),
            (ItemMatch::Same | ItemMatch::Unnamed, _, Some(outcome)) => Ok(outcome),
            _ => {
                let cause = self.unexpected_result(item_match);
                Ok(DocumentOutcome::Failed(FailureKind::Pipeline, cause))
            }
        }
    }

    /// Returns what happened to a document that is not where it was sent to.
    fn unexpected_result(&self, item_match: ItemMatch) -> Cause {
        let Self { index, id, status, result, .. } = self;
        let (code, reason) = match (item_match, status) {
            (ItemMatch::Different, 409) => (DUPLICATE, format!("for '{id}' in '{index}' instead")),
            (ItemMatch::Different, _) => {
                (&**result, format!("it was stored in '{index}' as '{id}' instead"))
            }
            _ => (&**result, "the engine did not create the document".to_owned()),
        };
        Cause::ErrorResponse { status: *status, code: code.to_owned(), reason }
    }

    /// Compares index and id with those of the document that was sent.
    fn compare(&self, position: usize, sent: &SentRequest<'_>) -> ItemMatch {
        let (index, id) = (&*self.index, &*self.id);
        if index.is_empty() || id.is_empty() {
            return ItemMatch::Unnamed;
        }
        let action = sent.request.action_line(&sent.request.documents[position]);
        if is_action_for(action, index, id) {
            return ItemMatch::Same;
        }
        match ActionLine::parse(action) {
            Some(action) if action.create.id == id => {
                let name = &*action.create.index;
                let is_alias =
                    || (sent.concrete_index)(name).is_some_and(|concrete| concrete == index);
                if name == index || is_alias() { ItemMatch::Same } else { ItemMatch::Different }
            }
            _ => ItemMatch::Different,
        }
    }
}

/// Returns whether an action line has this index and id, if neither requires an escape sequence.
fn is_action_for(action: &[u8], index: &str, id: &str) -> bool {
    let rest = action.strip_prefix(br#"{"create":{"_index":""#);
    let rest = rest.and_then(|rest| rest.strip_prefix(index.as_bytes()));
    let rest = rest.and_then(|rest| rest.strip_prefix(br#"","_id":""#));
    let rest = rest.and_then(|rest| rest.strip_prefix(id.as_bytes()));
    rest.is_some_and(|rest| rest == b"\"}}\n")
}

/// The action line of a document.
#[derive(Deserialize)]
pub(super) struct ActionLine<'a> {
    /// The action, which is always `create`.
    #[serde(borrow)]
    pub(super) create: CreateAction<'a>,
}

/// Index and id of a document.
#[derive(Deserialize)]
pub(super) struct CreateAction<'a> {
    /// Name of the index, or of an alias.
    #[serde(borrow, default, rename = "_index")]
    index: Cow<'a, str>,
    /// Id of the document.
    #[serde(borrow, rename = "_id")]
    pub(super) id: Cow<'a, str>,
}

impl<'a> ActionLine<'a> {
    /// Parses an action line.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

/// Returns the document id of an action line.
pub(super) fn document_id(action: &[u8]) -> String {
    ActionLine::parse(action).map(|action| action.create.id.into_owned()).unwrap_or_default()
}

/// Returns whether an `error` value names the processor that failed, as some versions do.
fn names_processor(error: &RawValue) -> bool {
    error.get().contains(r#""processor_type":""#) || error.get().contains(r#""pipeline_origin":"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::event::{Batch, Entry};

    /// Returns a request with documents `id0`, `id1`, …, for `trail-1`.
    fn request(documents: usize) -> BulkRequest {
        let names: Vec<_> = (0..documents).map(|number| format!("id{number}")).collect();
        request_of(&names)
    }

    fn request_of(ids: &[String]) -> BulkRequest {
        let (mut body, mut entries) = (Vec::new(), Vec::new());
        let place = |body: &Vec<u8>| u32::try_from(body.len()).unwrap();
        for id in ids {
            let action = place(&body);
            let id = serde_json::to_string(id).unwrap();
            let line = format!("{{\"create\":{{\"_index\":\"trail-1\",\"_id\":{id}}}}}\n");
            body.extend_from_slice(line.as_bytes());
            let document = place(&body);
            body.extend_from_slice(b"{}\n");
            entries.push(Entry { action, document, end: place(&body), index: 0, share: 0 });
        }
        BulkRequest::from_batch(&Batch { body: body.into(), entries, ..Batch::default() })
    }

    fn parsed(status: u16, body: &str, documents: usize) -> RequestOutcome {
        parsed_with(ItemDetail::Full, status, body.as_bytes(), &request(documents))
    }

    fn parsed_with(
        item_detail: ItemDetail,
        status: u16,
        body: &[u8],
        request: &BulkRequest,
    ) -> RequestOutcome {
        let concrete_index = |name: &str| (name == "trail-1").then(|| "behind-1".to_owned());
        parse(status, body, &SentRequest { request, item_detail, concrete_index: &concrete_index })
    }

    /// Returns an item about document `number`, with `rest` after its names.
    fn item(number: usize, rest: &str) -> String {
        format!("{{\"create\":{{\"_index\":\"trail-1\",\"_id\":\"id{number}\",{rest}}}}}")
    }

    fn body_of(items: &[String]) -> String {
        format!("{{\"errors\":false,\"items\":[{}]}}", items.join(","))
    }

    const CREATED: &str = r#""result":"created","status":201"#;
    const NOOP: &str = r#""result":"noop","status":200"#;
    const DUPLICATE: &str =
        r#""status":409,"error":{"type":"version_conflict_engine_exception","reason":"x"}"#;

    fn response(outcome: RequestOutcome) -> BulkResponse {
        match outcome {
            RequestOutcome::Items(response) => response,
            other => panic!("not a response with all items: {other:?}"),
        }
    }

    fn kinds(response: &BulkResponse) -> Vec<(usize, FailureKind)> {
        response.failed.iter().map(|item| (item.position, item.kind)).collect()
    }

    #[test]
    fn items_are_classified_one_by_one() {
        let busy =
            r#""status":429,"error":{"type":"es_rejected_execution_exception","reason":"busy"}"#;
        let no = r#""status":400,"error":{"type":"mapper_parsing_exception","reason":"no","caused_by":{"reason":"why"}}"#;
        let items = [item(0, CREATED), item(1, DUPLICATE), item(2, busy), item(3, no)];
        let response = response(parsed(200, &body_of(&items), 4));
        assert_eq!(response.duplicates, [1]);
        assert_eq!(kinds(&response), [(2, FailureKind::Transient), (3, FailureKind::Rejected)]);
        assert_eq!(response.failed[1].cause.to_string(), "400 mapper_parsing_exception: no: why");
    }

    #[test]
    fn a_document_counts_only_under_its_id_in_its_index() {
        let created = body_of(&[item(0, CREATED), item(1, CREATED)]);
        assert!(all_created(created.as_bytes(), &request(2)));
        assert_eq!(parsed(200, &created, 2), RequestOutcome::Items(BulkResponse::default()));
        let elsewhere = |index: &str, id: &str| {
            format!("{{\"create\":{{\"_index\":\"{index}\",\"_id\":\"{id}\",{CREATED}}}}}")
        };
        for (item, expected) in [
            (item(1, NOOP), "200 noop: the engine did not create the document"),
            (item(0, CREATED), "201 created: it was stored in 'trail-1' as 'id0' instead"),
            (
                elsewhere("trail-2", "id1"),
                "201 created: it was stored in 'trail-2' as 'id1' instead",
            ),
            (item(1, r#""result":"updated","status":200"#), "200 updated"),
            (item(1, r#""result":"created","status":200"#), "200 created"),
            (item(0, DUPLICATE), "409 version_conflict_engine_exception: for 'id0' in"),
        ] {
            let body = body_of(&[self::item(0, CREATED), item]);
            assert!(!all_created(body.as_bytes(), &request(2)), "{body}");
            let response = response(parsed(200, &body, 2));
            assert_eq!(kinds(&response), [(1, FailureKind::Pipeline)], "{body}");
            assert!(response.duplicates.is_empty());
            assert!(
                response.failed[0].cause.to_string().starts_with(expected),
                "{:?}",
                response.failed
            );
        }
    }

    #[test]
    fn the_index_of_an_alias_is_accepted() {
        let body = body_of(&[item(0, CREATED), item(1, DUPLICATE)]).replace("trail-1", "behind-1");
        let response = response(parsed(200, &body, 2));
        assert_eq!((response.duplicates.as_slice(), response.failed.len()), ([1].as_slice(), 0));
    }

    #[test]
    fn escaped_ids_are_compared_unescaped() {
        let ids = ["a\"b".to_owned(), "c/d".to_owned()];
        let body = r#"{"errors":false,"items":[{"create":{"_index":"trail-1","_id":"\u0061\"b","result":"created","status":201}},{"create":{"_index":"trail-1","_id":"c\/d","result":"created","status":201}}]}"#;
        let parsed = parsed_with(ItemDetail::Full, 200, body.as_bytes(), &request_of(&ids));
        assert_eq!(parsed, RequestOutcome::Items(BulkResponse::default()));
    }

    #[test]
    fn a_response_without_names_counts_only_for_bulk_only_endpoints() {
        let short =
            r#"{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":200}}]}"#;
        let parsed = |detail| parsed_with(detail, 200, short.as_bytes(), &request(2));
        assert!(matches!(
            parsed(ItemDetail::Full),
            RequestOutcome::Transient(Cause::UnexpectedResponse { .. })
        ));
        assert_eq!(parsed(ItemDetail::Status), RequestOutcome::Items(BulkResponse::default()));
        for other in [item(0, CREATED), item(1, NOOP)] {
            let body = body_of(&[item(0, CREATED), other]);
            let parsed = parsed_with(ItemDetail::Status, 200, body.as_bytes(), &request(2));
            assert_eq!(
                kinds(&response(parsed)),
                [(1, FailureKind::Pipeline)],
                "what it names must match"
            );
        }
    }

    #[test]
    fn a_pipeline_failure_is_recognized_whatever_its_status() {
        for (status, error) in [
            (
                400,
                r#"{"type":"illegal_argument_exception","reason":"pipeline with id [nosuch] does not exist"}"#,
            ),
            (500, r#"{"type":"fail_processor_exception","reason":"no good"}"#),
            (503, r#"{"type":"exception","reason":"x","header":{"processor_type":"script"}}"#),
            (429, r#"{"type":"ingest_processor_exception","reason":"x"}"#),
            (
                500,
                r#"{"type":"illegal_state_exception","reason":"final pipeline [f] can't change the target index"}"#,
            ),
        ] {
            let body = body_of(&[item(0, &format!("\"status\":{status},\"error\":{error}"))]);
            assert_eq!(
                kinds(&response(parsed(200, &body, 1))),
                [(0, FailureKind::Pipeline)],
                "{body}"
            );
        }
    }

    #[test]
    fn an_unknown_error_may_be_a_pipeline_failure() {
        let cause = |status, code: &str, reason: &str| Cause::ErrorResponse {
            status,
            code: code.to_owned(),
            reason: reason.to_owned(),
        };
        for (status, code) in [
            (400, "illegal_argument_exception"),
            (500, "null_pointer_exception"),
            (404, "resource_not_found_exception"),
            (400, "script_exception"),
        ] {
            assert!(may_be_pipeline_error(&cause(status, code, "field [x] not present")), "{code}");
        }
        for (status, code, reason) in [
            (400, "mapper_parsing_exception", "no"),
            (400, "document_parsing_exception", "no"),
            (429, "anything", "busy"),
            (503, "anything", "busy"),
            (403, "security_exception", "no"),
            (400, "illegal_argument_exception", "Limit of total fields [9] has been exceeded"),
            (403, "cluster_block_exception", "x"),
            (500, "node_not_connected_exception", "x"),
            (500, "send_request_transport_exception", "x"),
        ] {
            assert!(!may_be_pipeline_error(&cause(status, code, reason)), "{code} {reason}");
        }
    }

    #[test]
    fn a_cluster_without_ingest_nodes_ends_the_run() {
        let none = r#"{"error":{"type":"illegal_state_exception","reason":"There are no ingest nodes in this cluster, unable to forward request to an ingest node."}}"#;
        assert!(matches!(parsed(500, none, 2), RequestOutcome::Fatal(_)), "halves would fail too");
    }

    #[test]
    fn a_block_or_a_closed_index_affects_that_index_alone() {
        let open = |status: u16, code: &str, reason: &str| {
            let error = format!(
                "\"status\":{status},\"error\":{{\"type\":\"{code}\",\"reason\":\"{reason}\"}}"
            );
            kinds(&response(parsed(200, &body_of(&[item(0, &error)]), 1)))[0].1
        };
        let blocked = |status, by: &str| {
            open(status, "cluster_block_exception", &format!("index [trail-1] blocked by: [{by}];"))
        };
        assert_eq!(open(400, "index_closed_exception", "closed"), FailureKind::IndexUnwritable);
        assert_eq!(blocked(403, "FORBIDDEN/8/index write (api)"), FailureKind::IndexUnwritable);
        assert_eq!(blocked(403, "FORBIDDEN/5/index read-only (api)"), FailureKind::IndexUnwritable);
        assert_eq!(blocked(403, "FORBIDDEN/9/index metadata (api)"), FailureKind::IndexUnwritable);
        assert_eq!(blocked(403, "FORBIDDEN/4/index closed"), FailureKind::IndexUnwritable);
        assert_eq!(
            blocked(429, "TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage"),
            FailureKind::Transient
        );
        assert_eq!(
            blocked(403, "FORBIDDEN/12/index read-only / allow delete (api)"),
            FailureKind::Transient
        );
        let whole =
            |by: &str| open(403, "cluster_block_exception", &format!("blocked by: [{by}];"));
        assert_eq!(whole("FORBIDDEN/6/cluster read-only (api)"), FailureKind::Fatal);
        assert_eq!(whole("SERVICE_UNAVAILABLE/1/state not recovered"), FailureKind::Transient);
    }

    #[test]
    fn a_collection_without_document_ids_ends_the_run() {
        let no_ids = r#""status":400,"error":{"type":"illegal_argument_exception","reason":"Document ID is not supported in create/index operation request"}"#;
        let long =
            r#""status":400,"error":{"type":"illegal_argument_exception","reason":"too long"}"#;
        let response = response(parsed(200, &body_of(&[item(0, no_ids), item(1, long)]), 2));
        assert_eq!(kinds(&response), [(0, FailureKind::Fatal), (1, FailureKind::Rejected)]);
    }

    #[test]
    fn filtered_responses_are_accepted_without_parsing() {
        let items = [item(0, CREATED), item(1, CREATED)];
        let body = body_of(&items);
        assert!(all_created(body.as_bytes(), &request(2)));
        for documents in [1, 3] {
            assert!(!all_created(body.as_bytes(), &request(documents)));
            assert!(matches!(
                parsed(200, &body, documents),
                RequestOutcome::Transient(Cause::UnexpectedResponse { .. })
            ));
        }
        for odd in [
            body.replace("]}", ",]}"),
            body.replace("]}", "]}]}"),
            body.replace("}},{", "}}{"),
            body.replace(":201", ":200"),
            body.replace("[{", "[,{"),
        ] {
            assert!(!all_created(odd.as_bytes(), &request(2)), "{odd}");
        }
    }

    #[test]
    fn other_responses_are_retried() {
        let bodies: [&[u8]; 5] = [
            b"<html>login</html>",
            b"",
            b"{}",
            br#"{"errors":false}"#,
            br#"{"errors":true,"items":[{"create""#,
        ];
        for body in bodies {
            assert!(
                matches!(
                    parsed_with(ItemDetail::Full, 200, body, &request(1)),
                    RequestOutcome::Transient(Cause::UnexpectedResponse { .. })
                ),
                "{body:?}"
            );
        }
    }

    #[test]
    fn whole_responses_are_classified_by_status_and_code() {
        let block =
            r#"{"error":{"type":"cluster_block_exception","reason":"flood stage"},"status":403}"#;
        assert!(
            matches!(parsed(403, block, 1), RequestOutcome::Transient(_)),
            "disk space may be freed"
        );
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(
                matches!(parsed(status, "<html>", 1), RequestOutcome::Transient(_)),
                "{status}"
            );
        }
        for status in [301, 401, 403, 404, 405, 406] {
            assert!(matches!(parsed(status, "", 1), RequestOutcome::Fatal(_)), "{status}");
        }
        assert!(matches!(parsed(413, "", 1), RequestOutcome::TooLarge(_)));
        assert!(matches!(parsed(400, r#"{"error":"odd"}"#, 1), RequestOutcome::Rejected(_)));
    }

    #[test]
    fn a_400_that_is_not_about_the_document_is_fatal() {
        let classified = |status, code: &str| {
            classify(&Cause::ErrorResponse { status, code: code.to_owned(), reason: String::new() })
        };
        for code in ["validation_exception", "invalid_index_name_exception"] {
            assert_eq!(classified(400, code), FailureKind::Fatal);
        }
        for code in [
            "mapper_parsing_exception",
            "document_parsing_exception",
            "illegal_argument_exception",
            "",
        ] {
            assert_eq!(classified(400, code), FailureKind::Rejected);
        }
        assert_eq!(classified(404, "index_not_found_exception"), FailureKind::Fatal);
        assert_eq!(classified(403, "security_exception"), FailureKind::Fatal);
    }

    proptest::proptest! {
        #[test]
        fn every_document_is_classified_once(statuses in proptest::collection::vec(200u16..600, 1..50)) {
            let items: Vec<_> = statuses.iter().enumerate().map(|(number, status)| {
                item(number, &format!("\"result\":\"created\",\"status\":{status}"))
            }).collect();
            let response = response(parsed(200, &body_of(&items), statuses.len()));
            let failed = response.failed.iter().map(|item| item.position);
            let named: Vec<_> = response.duplicates.iter().copied().chain(failed).collect();
            for (place, status) in statuses.iter().enumerate() {
                let times = named.iter().filter(|named| **named == place).count();
                assert_eq!(times, usize::from(*status != 201), "{status}");
            }
        }

        #[test]
        fn random_responses_settle_nothing(status in 100u16..600, body: Vec<u8>, documents in 1usize..9) {
            let parsed = parsed_with(ItemDetail::Status, status, &body, &request(documents));
            assert!(!matches!(parsed, RequestOutcome::Items(_)), "random bytes settle nothing");
        }
    }
}
