//! Reads the answer to a bulk request and sorts its items.
//!
//! In: status and bytes, and what was sent. Out: what to do with the request as a whole, or with each document of it.
//! Holds: an answer counts only if it has exactly one item for each document sent. Anything else says
//! nothing about what was stored, and sending again is safe, since documents are created under fixed ids.
//! A document counts as stored only if its item names its id and its index: an ingest pipeline may drop a document,
//! or store it elsewhere, and the engine answers with success.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::parcel::Parcel;
use crate::error::strip_canonical_request;
use crate::sink::{Cause, Unreachable, Why};

/// What becomes of a document after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Not this time; send it again.
    Again,
    /// The engine does not like this document.
    Refused,
    /// An ingest pipeline failed, dropped the document, or changed its index or id.
    Pipeline,
    /// Its index takes no documents; others may.
    Shut,
    /// The next document would meet the same; a person is needed.
    Stop,
}

/// What an answer is compared with.
pub(super) struct Sent<'a> {
    /// The documents.
    pub(super) parcel: &'a Parcel,
    /// How much an item has to name.
    pub(super) proof: Proof,
    /// Returns the index behind a name that is an alias.
    pub(super) behind: &'a (dyn Fn(&str) -> Option<String> + Sync),
}

/// What an item has to name to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Index, id and result: engines always do.
    Named,
    /// The status is enough where nothing contradicts: endpoints that know nothing but bulk requests may leave
    /// out the rest.
    Status,
}

/// What collections for time series and vectors say to a document that has an id; the code beside it says nothing.
const NO_IDS: &str = "Document ID is not supported";

/// The engines' name for a duplicate.
const CONFLICT: &str = "version_conflict_engine_exception";

/// What is wrong with an answer that could be about any documents.
const NAMELESS: &str = "an answer that does not name each document";

/// Sorts an error, of one item or of a whole answer, by its HTTP status and the engine's name for it.
///
/// Only 400 (and 413) is about the document, and not even every 400: too many shards would meet the next one too.
fn sort(cause: &Cause) -> Next {
    match (cause.status().unwrap_or_default(), cause.code()) {
        (_, "index_closed_exception") => Next::Shut,
        (_, "cluster_block_exception") => match cause.block() {
            Some(block) if block.is_of_index() && !block.passes() => Next::Shut,
            Some(block) if !block.passes() => Next::Stop,
            _ => Next::Again,
        },
        (429 | 500..=599, _) => Next::Again,
        (
            400,
            "validation_exception" | "invalid_index_name_exception" | "index_not_found_exception",
        ) => Next::Stop,
        (400 | 409 | 413, _) => Next::Refused,
        _ => Next::Stop,
    }
}

/// Returns what to do with the only document of a request that was refused as a whole.
pub(super) fn next_of_one(cause: &Cause) -> Next {
    let (code, reason) = cause.words();
    match sort(cause) {
        _ if is_pipelines(code, reason) => Next::Pipeline,
        Next::Shut => Next::Shut,
        _ => Next::Refused,
    }
}

/// Returns whether the engine itself says that an ingest pipeline failed.
fn is_pipelines(code: &str, reason: &str) -> bool {
    matches!(
        code,
        "fail_processor_exception" | "ingest_processor_exception" | "ingest_pipeline_exception"
    ) || reason.starts_with("pipeline with id [")
        || reason.starts_with("Pipeline processor configured for non-existent pipeline [")
        || reason.starts_with("final pipeline [")
}

/// Returns whether an error may come from an ingest pipeline, if the index has one.
///
/// A processor fails with whatever its own code throws, and engines pass that on without the processor's name. What
/// remains are errors that only mappings, permissions, limits, overload and connections between nodes have.
pub(super) fn may_be_pipelines(cause: &Cause) -> bool {
    let Cause::Answer { status, code, reason } = cause else { return false };
    let known = NO_PIPELINES.contains(&code.as_str()) || code.ends_with("_transport_exception");
    let mappings = ["Document contains at least one immense term", "Limit of ", "mapper ["];
    let about_mappings = mappings.iter().any(|start| reason.starts_with(start));
    !known && !about_mappings && !matches!(status, 200..=299 | 401 | 413 | 429 | 502..=504)
}

/// Errors that no processor throws.
const NO_PIPELINES: [&str; 25] = [
    // Mappings and names.
    "mapper_parsing_exception",
    "document_parsing_exception",
    "strict_dynamic_mapping_exception",
    "max_bytes_length_exceeded_exception",
    "validation_exception",
    "invalid_index_name_exception",
    "index_not_found_exception",
    "index_closed_exception",
    CONFLICT,
    // Permissions.
    "cluster_block_exception",
    "security_exception",
    // Overload, and nodes that come and go.
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

/// One item that was neither created nor there already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Open {
    /// Which document of the request, from 0.
    pub(super) place: usize,
    /// What to do with it.
    pub(super) next: Next,
    /// What the engine said.
    pub(super) cause: Cause,
}

/// A sorted answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// Which documents were there already, by their place in the request.
    pub(super) already_there: Vec<usize>,
    /// Those that are in no index, in order. All others are new.
    pub(super) open: Vec<Open>,
}

/// What a whole answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// One item for each document.
    Items(Reply),
    /// The request was larger than this engine, or a proxy before it, takes.
    TooLarge(Cause),
    /// Send the whole request again, later.
    Again(Cause),
    /// The request was not understood; one of its documents is to blame, or all are.
    Refused(Cause),
    /// 401, 403, 404 and the like: a person is needed.
    Stop(Cause),
}

/// Judges the answer to a bulk request.
pub(super) fn judge(status: u16, body: &[u8], sent: &Sent<'_>) -> Verdict {
    if (200..=299).contains(&status) {
        return match items(body, sent) {
            Ok(reply) => Verdict::Items(reply),
            Err(reason) => Verdict::Again(Cause::Garbage { status, reason }),
        };
    }
    let cause = cause(status, body);
    let (code, reason) = cause.words();
    if is_pipelines(code, reason) {
        // One of its documents is to blame, or all are.
        return Verdict::Refused(cause);
    }
    match sort(&cause) {
        _ if Why::of(&cause) == Why::Pipeline => Verdict::Stop(cause),
        _ if status == 413 => Verdict::TooLarge(cause),
        Next::Again => Verdict::Again(cause),
        _ if status == 408 => Verdict::Again(cause),
        Next::Refused | Next::Shut => Verdict::Refused(cause),
        _ => Verdict::Stop(cause),
    }
}

/// Reads an error answer of any call.
pub(super) fn cause(status: u16, body: &[u8]) -> Cause {
    #[derive(Deserialize)]
    struct Whole<'a> {
        #[serde(borrow)]
        error: Option<&'a RawValue>,
    }
    let (code, reason) = serde_json::from_slice::<Whole<'_>>(body)
        .ok()
        .and_then(|whole| whole.error)
        .map_or_else(|| (String::new(), said_by_aws(body)), |error| detail(error.get()));
    Cause::Answer { status, code, reason }
}

/// Returns what AWS says where it lets nobody through to the engine: which permission is missing, or what is wrong
/// with the signature.
fn said_by_aws(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Said {
        #[serde(alias = "Message")]
        message: String,
    }
    let said = serde_json::from_slice::<Said>(body).map(|said| said.message);
    strip_canonical_request(said.unwrap_or_default())
}

/// Returns what is known of a failed connection, for the two cases in which a smaller request may help.
pub(super) fn may_be_size(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::Connection {
            how: Unreachable::Closed | Unreachable::TimedOut | Unreachable::Other,
            ..
        }
    )
}

fn items(body: &[u8], sent: &Sent<'_>) -> Result<Reply, String> {
    if all_created(body, sent.parcel) {
        return Ok(Reply::default());
    }
    let bulk: Bulk<'_> = serde_json::from_slice(body).map_err(|error| {
        format!("an answer of {} bytes that is no bulk reply ({error})", body.len())
    })?;
    let documents = sent.parcel.documents.len();
    if bulk.items.len() != documents {
        let items = bulk.items.len();
        return Err(format!("an answer with {items} items to {documents} documents"));
    }
    let mut reply = Reply::default();
    for (place, item) in bulk.items.iter().enumerate() {
        reply.count(place, &item.create, sent)?;
    }
    Ok(reply)
}

/// Returns whether every document was created, without building the items.
///
/// Each item begins as the action line of its document did, byte for byte. What is not exactly what our
/// `filter_path` yields is read with care.
fn all_created(body: &[u8], parcel: &Parcel) -> bool {
    const CREATED: &[u8] = br#","result":"created","status":201}},"#;
    let Some(mut rest) = body.strip_prefix(br#"{"errors":false,"items":["#) else { return false };
    for document in &parcel.documents {
        let named = parcel.action(document).strip_suffix(b"}}\n");
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

impl Reply {
    fn count(
        &mut self,
        place: usize,
        outcome: &Outcome<'_>,
        sent: &Sent<'_>,
    ) -> Result<(), String> {
        match outcome.sorted(place, sent)? {
            Sorted::Created => {}
            Sorted::AlreadyThere => self.already_there.push(place),
            Sorted::Open(next, cause) => self.open.push(Open { place, next, cause }),
        }
        Ok(())
    }
}

/// One sorted item.
enum Sorted {
    /// New in the index.
    Created,
    /// In the index already.
    AlreadyThere,
    /// In no index that is ours, and why.
    Open(Next, Cause),
}

#[derive(Deserialize)]
struct Bulk<'a> {
    #[serde(borrow)]
    items: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    create: Outcome<'a>,
}

#[derive(Deserialize)]
struct Outcome<'a> {
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
enum Named {
    /// Its id and its index.
    Ours,
    /// Another id, or another index.
    Other,
    /// The item leaves something out.
    Nothing,
}

impl Outcome<'_> {
    fn sorted(&self, place: usize, sent: &Sent<'_>) -> Result<Sorted, String> {
        let status = self.status;
        if matches!(status, 200..=299) || self.is_conflict() {
            return self.stored(place, sent);
        }
        let (code, reason) = self.error.map(|error| detail(error.get())).unwrap_or_default();
        // Without ids nothing keeps events from coming twice, and the next document has one too.
        let no_ids = code == "illegal_argument_exception" && reason.contains(NO_IDS);
        let pipeline = is_pipelines(&code, &reason) || self.error.is_some_and(names_processor);
        let cause = Cause::Answer { status, code, reason };
        let next = match sort(&cause) {
            _ if no_ids => Next::Stop,
            _ if pipeline => Next::Pipeline,
            next => next,
        };
        Ok(Sorted::Open(next, cause))
    }

    /// Returns whether the item is about a duplicate, without reading its error: that is a long text, and a second
    /// load has nothing but duplicates.
    fn is_conflict(&self) -> bool {
        if self.status != 409 {
            return false;
        }
        let Some(error) = self.error else { return true };
        error.get().starts_with(r#"{"type":"version_conflict_engine_exception""#)
            || matches!(detail(error.get()).0.as_str(), "" | CONFLICT)
    }

    /// Sorts an item that says that a document is in an index: is it ours, and in ours?
    fn stored(&self, place: usize, sent: &Sent<'_>) -> Result<Sorted, String> {
        let named = self.named(place, sent);
        let as_it_should = match (self.status, &*self.result) {
            (409, _) => Some(Sorted::AlreadyThere),
            (201, "created") => Some(Sorted::Created),
            (_, "") if sent.proof == Proof::Status => Some(Sorted::Created),
            (_, "") => return Err(NAMELESS.to_owned()),
            _ => None,
        };
        match (named, sent.proof, as_it_should) {
            (Named::Nothing, Proof::Named, _) => Err(NAMELESS.to_owned()),
            (Named::Ours | Named::Nothing, _, Some(sorted)) => Ok(sorted),
            _ => Ok(Sorted::Open(Next::Pipeline, self.astray(named))),
        }
    }

    /// Returns what became of a document that is not where it was sent.
    fn astray(&self, named: Named) -> Cause {
        let Self { index, id, status, result, .. } = self;
        let (code, reason) = match (named, status) {
            (Named::Other, 409) => (CONFLICT, format!("for '{id}' in '{index}' instead")),
            (Named::Other, _) => (&**result, format!("it went to '{index}' as '{id}' instead")),
            _ => (&**result, "the engine did not create the document".to_owned()),
        };
        Cause::Answer { status: *status, code: code.to_owned(), reason }
    }

    /// Compares index and id with what was sent.
    fn named(&self, place: usize, sent: &Sent<'_>) -> Named {
        let (index, id) = (&*self.index, &*self.id);
        if index.is_empty() || id.is_empty() {
            return Named::Nothing;
        }
        let action = sent.parcel.action(&sent.parcel.documents[place]);
        if is_for(action, index, id) {
            return Named::Ours;
        }
        match Action::read(action) {
            Some(action) if action.create.id == id => {
                let asked = &*action.create.index;
                let behind = || (sent.behind)(asked).is_some_and(|behind| behind == index);
                if asked == index || behind() { Named::Ours } else { Named::Other }
            }
            _ => Named::Other,
        }
    }
}

/// Returns whether an action line is for this index and id, if neither needs an escape.
fn is_for(action: &[u8], index: &str, id: &str) -> bool {
    let rest = action.strip_prefix(br#"{"create":{"_index":""#);
    let rest = rest.and_then(|rest| rest.strip_prefix(index.as_bytes()));
    let rest = rest.and_then(|rest| rest.strip_prefix(br#"","_id":""#));
    let rest = rest.and_then(|rest| rest.strip_prefix(id.as_bytes()));
    rest.is_some_and(|rest| rest == b"\"}}\n")
}

/// The line before a document.
#[derive(Deserialize)]
pub(super) struct Action<'a> {
    /// What is to be done; always this.
    #[serde(borrow)]
    pub(super) create: Create<'a>,
}

/// Where a document is to be created.
#[derive(Deserialize)]
pub(super) struct Create<'a> {
    /// Name of the index, or of an alias.
    #[serde(borrow, default, rename = "_index")]
    index: Cow<'a, str>,
    /// Id of the document.
    #[serde(borrow, rename = "_id")]
    pub(super) id: Cow<'a, str>,
}

impl<'a> Action<'a> {
    /// Reads an action line.
    pub(super) fn read(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

/// Returns whether an `error` value names the processor that failed, as some versions do.
fn names_processor(error: &RawValue) -> bool {
    error.get().contains(r#""processor_type":""#) || error.get().contains(r#""pipeline_origin":"#)
}

/// Returns name and words of an `error` value, which is an object or a plain text.
fn detail(error: &str) -> (String, String) {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Object {
            #[serde(default, rename = "type")]
            code: Option<String>,
            #[serde(default)]
            reason: Option<String>,
            #[serde(default)]
            caused_by: Option<CausedBy>,
        },
    }
    #[derive(Deserialize)]
    struct CausedBy {
        #[serde(default)]
        reason: Option<String>,
        #[serde(default)]
        caused_by: Option<Box<CausedBy>>,
    }
    match serde_json::from_str(error) {
        Ok(Either::Text(reason)) => (String::new(), reason),
        Ok(Either::Object { code, reason, caused_by }) => {
            let mut words = reason.unwrap_or_default();
            let mut deeper = caused_by;
            while let Some(cause) = deeper {
                if let Some(reason) = cause.reason.filter(|reason| !words.contains(reason)) {
                    words.push_str(": ");
                    words.push_str(&reason);
                }
                deeper = cause.caused_by.map(|cause| *cause);
            }
            (code.unwrap_or_default(), words)
        }
        Err(_) => Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::event::{Batch, Entry};

    /// So many documents `id0`, `id1`, …, sent to `trail-1`.
    fn parcel(documents: usize) -> Parcel {
        let names: Vec<_> = (0..documents).map(|number| format!("id{number}")).collect();
        parcel_of(&names)
    }

    fn parcel_of(ids: &[String]) -> Parcel {
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
        Parcel::whole(&Batch { body: body.into(), entries, ..Batch::default() })
    }

    fn judged(status: u16, body: &str, documents: usize) -> Verdict {
        judged_with(Proof::Named, status, body.as_bytes(), &parcel(documents))
    }

    fn judged_with(proof: Proof, status: u16, body: &[u8], parcel: &Parcel) -> Verdict {
        let behind = |name: &str| (name == "trail-1").then(|| "behind-1".to_owned());
        judge(status, body, &Sent { parcel, proof, behind: &behind })
    }

    /// An item about document `number`, with `rest` behind its names.
    fn item(number: usize, rest: &str) -> String {
        format!("{{\"create\":{{\"_index\":\"trail-1\",\"_id\":\"id{number}\",{rest}}}}}")
    }

    fn answer(items: &[String]) -> String {
        format!("{{\"errors\":false,\"items\":[{}]}}", items.join(","))
    }

    const CREATED: &str = r#""result":"created","status":201"#;
    const NOOP: &str = r#""result":"noop","status":200"#;
    const DUPLICATE: &str =
        r#""status":409,"error":{"type":"version_conflict_engine_exception","reason":"x"}"#;

    fn reply(verdict: Verdict) -> Reply {
        match verdict {
            Verdict::Items(reply) => reply,
            other => panic!("an answer with all items: {other:?}"),
        }
    }

    fn nexts(reply: &Reply) -> Vec<(usize, Next)> {
        reply.open.iter().map(|open| (open.place, open.next)).collect()
    }

    #[test]
    fn items_are_sorted_one_by_one() {
        let busy =
            r#""status":429,"error":{"type":"es_rejected_execution_exception","reason":"busy"}"#;
        let no = r#""status":400,"error":{"type":"mapper_parsing_exception","reason":"no","caused_by":{"reason":"why"}}"#;
        let items = [item(0, CREATED), item(1, DUPLICATE), item(2, busy), item(3, no)];
        let reply = reply(judged(200, &answer(&items), 4));
        assert_eq!(reply.already_there, [1]);
        assert_eq!(nexts(&reply), [(2, Next::Again), (3, Next::Refused)]);
        assert_eq!(reply.open[1].cause.to_string(), "400 mapper_parsing_exception: no: why");
    }

    #[test]
    fn only_what_was_created_under_our_id_in_our_index_counts() {
        let created = answer(&[item(0, CREATED), item(1, CREATED)]);
        assert!(all_created(created.as_bytes(), &parcel(2)));
        assert_eq!(judged(200, &created, 2), Verdict::Items(Reply::default()));
        let elsewhere = |index: &str, id: &str| {
            format!("{{\"create\":{{\"_index\":\"{index}\",\"_id\":\"{id}\",{CREATED}}}}}")
        };
        for (item, told) in [
            (item(1, NOOP), "200 noop: the engine did not create the document"),
            (item(0, CREATED), "201 created: it went to 'trail-1' as 'id0' instead"),
            (elsewhere("trail-2", "id1"), "201 created: it went to 'trail-2' as 'id1' instead"),
            (item(1, r#""result":"updated","status":200"#), "200 updated"),
            (item(1, r#""result":"created","status":200"#), "200 created"),
            (item(0, DUPLICATE), "409 version_conflict_engine_exception: for 'id0' in"),
        ] {
            let body = answer(&[self::item(0, CREATED), item]);
            assert!(!all_created(body.as_bytes(), &parcel(2)), "{body}");
            let reply = reply(judged(200, &body, 2));
            assert_eq!(nexts(&reply), [(1, Next::Pipeline)], "{body}");
            assert!(reply.already_there.is_empty());
            assert!(reply.open[0].cause.to_string().starts_with(told), "{:?}", reply.open);
        }
    }

    #[test]
    fn an_index_behind_an_alias_is_ours() {
        let body = answer(&[item(0, CREATED), item(1, DUPLICATE)]).replace("trail-1", "behind-1");
        let reply = reply(judged(200, &body, 2));
        assert_eq!((reply.already_there.as_slice(), reply.open.len()), ([1].as_slice(), 0));
    }

    #[test]
    fn an_id_that_needs_an_escape_is_compared_by_its_meaning() {
        let ids = ["a\"b".to_owned(), "c/d".to_owned()];
        let body = r#"{"errors":false,"items":[{"create":{"_index":"trail-1","_id":"\u0061\"b","result":"created","status":201}},{"create":{"_index":"trail-1","_id":"c\/d","result":"created","status":201}}]}"#;
        let judged = judged_with(Proof::Named, 200, body.as_bytes(), &parcel_of(&ids));
        assert_eq!(judged, Verdict::Items(Reply::default()));
    }

    #[test]
    fn an_answer_without_names_counts_only_for_endpoints_that_know_nothing_but_bulk() {
        let short =
            r#"{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":200}}]}"#;
        let judged = |proof| judged_with(proof, 200, short.as_bytes(), &parcel(2));
        assert!(matches!(judged(Proof::Named), Verdict::Again(Cause::Garbage { .. })));
        assert_eq!(judged(Proof::Status), Verdict::Items(Reply::default()));
        for other in [item(0, CREATED), item(1, NOOP)] {
            let body = answer(&[item(0, CREATED), other]);
            let judged = judged_with(Proof::Status, 200, body.as_bytes(), &parcel(2));
            assert_eq!(nexts(&reply(judged)), [(1, Next::Pipeline)], "what is said has to fit");
        }
    }

    #[test]
    fn a_failing_pipeline_is_told_whatever_its_status() {
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
            let body = answer(&[item(0, &format!("\"status\":{status},\"error\":{error}"))]);
            assert_eq!(nexts(&reply(judged(200, &body, 1))), [(0, Next::Pipeline)], "{body}");
        }
    }

    #[test]
    fn an_error_without_a_name_may_be_a_pipelines() {
        let cause = |status, code: &str, reason: &str| Cause::Answer {
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
            assert!(may_be_pipelines(&cause(status, code, "field [x] not present")), "{code}");
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
            assert!(!may_be_pipelines(&cause(status, code, reason)), "{code} {reason}");
        }
    }

    #[test]
    fn a_cluster_that_can_run_no_pipeline_ends_the_run() {
        let none = r#"{"error":{"type":"illegal_state_exception","reason":"There are no ingest nodes in this cluster, unable to forward request to an ingest node."}}"#;
        assert!(matches!(judged(500, none, 2), Verdict::Stop(_)), "halves would meet the same");
    }

    #[test]
    fn a_block_or_a_closed_index_is_about_that_index_alone() {
        let open = |status: u16, code: &str, reason: &str| {
            let error = format!(
                "\"status\":{status},\"error\":{{\"type\":\"{code}\",\"reason\":\"{reason}\"}}"
            );
            nexts(&reply(judged(200, &answer(&[item(0, &error)]), 1)))[0].1
        };
        let blocked = |status, by: &str| {
            open(status, "cluster_block_exception", &format!("index [trail-1] blocked by: [{by}];"))
        };
        assert_eq!(open(400, "index_closed_exception", "closed"), Next::Shut);
        assert_eq!(blocked(403, "FORBIDDEN/8/index write (api)"), Next::Shut);
        assert_eq!(blocked(403, "FORBIDDEN/5/index read-only (api)"), Next::Shut);
        assert_eq!(blocked(403, "FORBIDDEN/9/index metadata (api)"), Next::Shut);
        assert_eq!(blocked(403, "FORBIDDEN/4/index closed"), Next::Shut);
        assert_eq!(
            blocked(429, "TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage"),
            Next::Again
        );
        assert_eq!(blocked(403, "FORBIDDEN/12/index read-only / allow delete (api)"), Next::Again);
        let whole =
            |by: &str| open(403, "cluster_block_exception", &format!("blocked by: [{by}];"));
        assert_eq!(whole("FORBIDDEN/6/cluster read-only (api)"), Next::Stop);
        assert_eq!(whole("SERVICE_UNAVAILABLE/1/state not recovered"), Next::Again);
    }

    #[test]
    fn a_collection_that_takes_no_ids_ends_the_run() {
        let no_ids = r#""status":400,"error":{"type":"illegal_argument_exception","reason":"Document ID is not supported in create/index operation request"}"#;
        let long =
            r#""status":400,"error":{"type":"illegal_argument_exception","reason":"too long"}"#;
        let reply = reply(judged(200, &answer(&[item(0, no_ids), item(1, long)]), 2));
        assert_eq!(nexts(&reply), [(0, Next::Stop), (1, Next::Refused)]);
    }

    #[test]
    fn short_answers_are_counted_without_being_built() {
        let items = [item(0, CREATED), item(1, CREATED)];
        let body = answer(&items);
        assert!(all_created(body.as_bytes(), &parcel(2)));
        for documents in [1, 3] {
            assert!(!all_created(body.as_bytes(), &parcel(documents)));
            assert!(matches!(judged(200, &body, documents), Verdict::Again(Cause::Garbage { .. })));
        }
        for odd in [
            body.replace("]}", ",]}"),
            body.replace("]}", "]}]}"),
            body.replace("}},{", "}}{"),
            body.replace(":201", ":200"),
            body.replace("[{", "[,{"),
        ] {
            assert!(!all_created(odd.as_bytes(), &parcel(2)), "{odd}");
        }
    }

    #[test]
    fn answers_of_no_engine_say_nothing() {
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
                    judged_with(Proof::Named, 200, body, &parcel(1)),
                    Verdict::Again(Cause::Garbage { .. })
                ),
                "{body:?}"
            );
        }
    }

    #[test]
    fn what_aws_says_before_the_engine_is_told_without_the_session() {
        let told = |body: &str| cause(403, body.as_bytes()).to_string();
        let denied = r#"{"Message":"User: anonymous is not authorized to perform: es:ESHttpPost"}"#;
        assert!(told(denied).contains("es:ESHttpPost"), "{}", told(denied));
        let signature = r#"{"message":"The signature does not match.\n\nThe Canonical String for this request should have been\n'POST\n/_bulk\nx-amz-security-token:hunter2'"}"#;
        assert!(told(signature).ends_with("The signature does not match."), "{}", told(signature));
    }

    #[test]
    fn whole_answers_are_judged_by_status_and_code() {
        let block =
            r#"{"error":{"type":"cluster_block_exception","reason":"flood stage"},"status":403}"#;
        assert!(matches!(judged(403, block, 1), Verdict::Again(_)), "a full disk may be emptied");
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(matches!(judged(status, "<html>", 1), Verdict::Again(_)), "{status}");
        }
        for status in [301, 401, 403, 404, 405, 406] {
            assert!(matches!(judged(status, "", 1), Verdict::Stop(_)), "{status}");
        }
        assert!(matches!(judged(413, "", 1), Verdict::TooLarge(_)));
        assert!(matches!(judged(400, r#"{"error":"odd"}"#, 1), Verdict::Refused(_)));
    }

    #[test]
    fn a_400_that_is_not_about_the_document_stops() {
        let sorted = |status, code: &str| {
            sort(&Cause::Answer { status, code: code.to_owned(), reason: String::new() })
        };
        for code in ["validation_exception", "invalid_index_name_exception"] {
            assert_eq!(sorted(400, code), Next::Stop);
        }
        for code in [
            "mapper_parsing_exception",
            "document_parsing_exception",
            "illegal_argument_exception",
            "",
        ] {
            assert_eq!(sorted(400, code), Next::Refused);
        }
        assert_eq!(sorted(404, "index_not_found_exception"), Next::Stop);
        assert_eq!(sorted(403, "security_exception"), Next::Stop);
    }

    proptest::proptest! {
        #[test]
        fn every_document_is_sorted_once(statuses in proptest::collection::vec(200u16..600, 1..50)) {
            let items: Vec<_> = statuses.iter().enumerate().map(|(number, status)| {
                item(number, &format!("\"result\":\"created\",\"status\":{status}"))
            }).collect();
            let reply = reply(judged(200, &answer(&items), statuses.len()));
            let open = reply.open.iter().map(|open| open.place);
            let named: Vec<_> = reply.already_there.iter().copied().chain(open).collect();
            for (place, status) in statuses.iter().enumerate() {
                let times = named.iter().filter(|named| **named == place).count();
                assert_eq!(times, usize::from(*status != 201), "{status}");
            }
        }

        #[test]
        fn no_answer_is_too_odd(status in 100u16..600, body: Vec<u8>, documents in 1usize..9) {
            let judged = judged_with(Proof::Status, status, &body, &parcel(documents));
            assert!(!matches!(judged, Verdict::Items(_)), "random bytes settle nothing");
        }
    }
}
