//! Reads the answer to a bulk request and sorts its items.
//!
//! In: status and bytes. Out: what to do with the request as a whole, or with each document of it.
//! Holds: an answer counts only if it has exactly one item for each document sent. Anything else says
//! nothing about what was stored, and sending again is safe, since documents are created under fixed ids.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::aws::trouble::without_canon;
use crate::sink::{Cause, Unreachable};

/// What becomes of a document after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// New in the index.
    Created,
    /// In the index already.
    AlreadyThere,
    /// Not this time; send it again.
    Again,
    /// The engine does not like this document.
    Refused,
    /// The next document would meet the same; a person is needed.
    Stop,
}

/// What collections for time series and vectors say to a document that has an id; the code beside it says nothing.
const NO_IDS: &str = "Document ID is not supported";

/// Sorts one item of a bulk reply by its HTTP status and the engine's name for the error.
///
/// 409 is settled: with `create` it says that the event is in the index already. Only 400 (and 413) is about
/// the document, and not even every 400: a closed index or too many shards would meet the next one too.
pub(super) fn sort(status: u16, code: &str) -> Next {
    match (status, code) {
        (200..=299, _) => Next::Created,
        (409, _) => Next::AlreadyThere,
        (_, "cluster_block_exception") | (429 | 500..=599, _) => Next::Again,
        (
            400,
            "validation_exception"
            | "index_closed_exception"
            | "invalid_index_name_exception"
            | "index_not_found_exception",
        ) => Next::Stop,
        (400 | 413, _) => Next::Refused,
        _ => Next::Stop,
    }
}

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

/// Judges the answer to a bulk request of `documents` documents.
pub(super) fn judge(status: u16, body: &[u8], documents: usize) -> Verdict {
    if (200..=299).contains(&status) {
        return match items(body, documents) {
            Ok(reply) => Verdict::Items(reply),
            Err(reason) => Verdict::Again(Cause::Garbage { status, reason }),
        };
    }
    let cause = cause(status, body);
    match sort(status, cause.code()) {
        _ if status == 413 => Verdict::TooLarge(cause),
        Next::Again => Verdict::Again(cause),
        _ if status == 408 => Verdict::Again(cause),
        Next::Refused => Verdict::Refused(cause),
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
    without_canon(said.unwrap_or_default())
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

fn items(body: &[u8], documents: usize) -> Result<Reply, String> {
    if let Some(created) = all_created(body) {
        return if created == documents {
            Ok(Reply::default())
        } else {
            Err(wrong_count(created, documents))
        };
    }
    let bulk: Bulk<'_> = serde_json::from_slice(body).map_err(|error| {
        format!("an answer of {} bytes that is no bulk reply ({error})", body.len())
    })?;
    if bulk.items.len() != documents {
        return Err(wrong_count(bulk.items.len(), documents));
    }
    let mut reply = Reply::default();
    for (place, item) in bulk.items.iter().enumerate() {
        reply.count(place, &item.create);
    }
    Ok(reply)
}

fn wrong_count(items: usize, documents: usize) -> String {
    format!("an answer with {items} items to {documents} documents")
}

/// Counts the items of an answer that says there were no errors, without building them.
///
/// Returns `None` if the answer is not exactly what our `filter_path` yields, which then is read with care.
fn all_created(body: &[u8]) -> Option<usize> {
    const ITEM: &[u8] = br#"{"create":{"status":201}}"#;
    let items = body.strip_prefix(br#"{"errors":false,"items":["#)?.strip_suffix(b"]}")?;
    let mut count = 0;
    for item in items.chunks(ITEM.len() + 1) {
        let last = item.len() == ITEM.len();
        if !(item.starts_with(ITEM) && (last || item.ends_with(b","))) {
            return None;
        }
        count += 1;
    }
    (!items.ends_with(b",")).then_some(count)
}

impl Reply {
    fn count(&mut self, place: usize, outcome: &Outcome<'_>) {
        // The error of a duplicate is a long text, and a second load has nothing but duplicates.
        let (code, reason) = match outcome.error {
            Some(error) if outcome.status != 409 => detail(error.get()),
            _ => Default::default(),
        };
        let next = match sort(outcome.status, &code) {
            // Without ids nothing keeps events from coming twice, and the next document has one too.
            Next::Refused if code == "illegal_argument_exception" && reason.contains(NO_IDS) => {
                Next::Stop
            }
            next => next,
        };
        match next {
            Next::Created => {}
            Next::AlreadyThere => self.already_there.push(place),
            next => {
                let cause = Cause::Answer { status: outcome.status, code, reason };
                self.open.push(Open { place, next, cause });
            }
        }
    }
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
    status: u16,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
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

    #[test]
    fn items_are_sorted_one_by_one() {
        let body = br#"{"took":3,"errors":true,"items":[
            {"create":{"status":201}},
            {"create":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"x"}}},
            {"create":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"busy"}}},
            {"create":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"no","caused_by":{"reason":"why"}}}}]}"#;
        let Verdict::Items(reply) = judge(200, body, 4) else { panic!("an answer with all items") };
        assert_eq!(reply.already_there, [1]);
        assert_eq!(
            reply.open.iter().map(|open| (open.place, open.next)).collect::<Vec<_>>(),
            [(2, Next::Again), (3, Next::Refused)]
        );
        assert_eq!(reply.open[1].cause.to_string(), "400 mapper_parsing_exception: no: why");
    }

    #[test]
    fn a_collection_that_takes_no_ids_ends_the_run() {
        let body = br#"{"errors":true,"items":[{"create":{"status":400,"error":{"type":"illegal_argument_exception",
            "reason":"Document ID is not supported in create/index operation request"}}},
            {"create":{"status":400,"error":{"type":"illegal_argument_exception","reason":"too long"}}}]}"#;
        let Verdict::Items(reply) = judge(200, body, 2) else { panic!("an answer with all items") };
        assert_eq!(
            reply.open.iter().map(|open| open.next).collect::<Vec<_>>(),
            [Next::Stop, Next::Refused]
        );
    }

    #[test]
    fn short_answers_are_counted_without_being_built() {
        let body =
            br#"{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}}]}"#;
        assert_eq!(all_created(body), Some(2));
        assert_eq!(judge(200, body, 2), Verdict::Items(Reply::default()));
        assert!(matches!(judge(200, body, 3), Verdict::Again(Cause::Garbage { .. })));
        assert_eq!(all_created(br#"{"errors":false,"items":[{"create":{"status":201}},]}"#), None);
        assert_eq!(all_created(br#"{"errors":false,"items":[{"create":{"status":200}}]}"#), None);
        assert_eq!(
            judge(200, br#"{"errors":false,"items":[{"create":{"status":200}}]}"#, 1),
            Verdict::Items(Reply::default())
        );
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
                matches!(judge(200, body, 1), Verdict::Again(Cause::Garbage { .. })),
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
            br#"{"error":{"type":"cluster_block_exception","reason":"flood stage"},"status":403}"#;
        assert!(matches!(judge(403, block, 1), Verdict::Again(_)), "a full disk may be emptied");
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(matches!(judge(status, b"<html>", 1), Verdict::Again(_)), "{status}");
        }
        for status in [301, 401, 403, 404, 405, 406] {
            assert!(matches!(judge(status, b"", 1), Verdict::Stop(_)), "{status}");
        }
        assert!(matches!(judge(413, b"", 1), Verdict::TooLarge(_)));
        assert!(matches!(judge(400, br#"{"error":"odd"}"#, 1), Verdict::Refused(_)));
    }

    #[test]
    fn a_400_that_is_not_about_the_document_stops() {
        for code in
            ["validation_exception", "index_closed_exception", "invalid_index_name_exception"]
        {
            assert_eq!(sort(400, code), Next::Stop);
        }
        for code in [
            "mapper_parsing_exception",
            "document_parsing_exception",
            "illegal_argument_exception",
            "",
        ] {
            assert_eq!(sort(400, code), Next::Refused);
        }
        assert_eq!(sort(404, "index_not_found_exception"), Next::Stop);
        assert_eq!(sort(403, "security_exception"), Next::Stop);
    }

    proptest::proptest! {
        #[test]
        fn every_document_is_sorted_once(statuses in proptest::collection::vec(200u16..600, 1..50)) {
            let items: Vec<_> = statuses
                .iter()
                .map(|status| serde_json::json!({"create": {"status": status}}))
                .collect();
            let body = serde_json::json!({"errors": true, "items": items}).to_string();
            let Verdict::Items(reply) = judge(200, body.as_bytes(), statuses.len()) else {
                panic!("an answer with all items")
            };
            let open = reply.open.iter().map(|open| open.place);
            let named: Vec<_> = reply.already_there.iter().copied().chain(open).collect();
            for (place, status) in statuses.iter().enumerate() {
                let times = named.iter().filter(|named| **named == place).count();
                assert_eq!(times, usize::from(*status > 299), "{status}");
            }
        }

        #[test]
        fn no_answer_is_too_odd(status in 100u16..600, body: Vec<u8>, documents in 1usize..9) {
            let settled = matches!(judge(status, &body, documents), Verdict::Items(_));
            assert!(!settled, "random bytes settle nothing");
        }
    }
}
