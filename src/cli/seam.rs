//! Stands in for `checkpoint::Status` until the rooms meet; then this file goes.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// What is safe so far, what was set aside and why, and what was learned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The engine and the index prefix that the file belongs to.
    pub target: String,
    /// When the file was made.
    #[serde(serialize_with = "as_text")]
    pub created: Timestamp,
    /// The latest runs, the last one first.
    pub runs: Vec<Run>,
    /// Lanes (files) that are done.
    pub lanes_done: u64,
    /// Lanes that were read with errors.
    pub lanes_failed: u64,
    /// Records of the done lanes.
    pub records: u64,
    /// Bytes of the done lanes, as they lie on disk.
    pub bytes: u64,
    /// The done lanes by folder; deep trees are gathered in their upper folders.
    pub sources: Vec<Source>,
    /// The lanes that were read with errors, the latest first; not all if there are very many.
    pub failures: Vec<Failure>,
    /// Documents that did not go in.
    pub set_aside: SetAside,
    /// Kinds of fields that no table knew.
    pub decisions: Vec<Decision>,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// When it started.
    #[serde(serialize_with = "as_text")]
    pub started: Timestamp,
    /// When it ended; nothing if it is going on or was killed.
    #[serde(serialize_with = "as_optional_text")]
    pub ended: Option<Timestamp>,
    /// Its exit code.
    pub exit: Option<u8>,
    /// Records read.
    pub read: u64,
    /// Documents new in the index.
    pub created: u64,
    /// Documents that were in the index already.
    pub already_there: u64,
    /// Documents set aside.
    pub set_aside: u64,
    /// Lanes that it finished.
    pub lanes_done: u64,
    /// Lanes that it read with errors.
    pub lanes_failed: u64,
}

/// The done lanes of one folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The folder, with the kind of source before it: `file:/var/trail`.
    pub source: String,
    /// Lanes that are done.
    pub lanes: u64,
    /// Their records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the first of them was done.
    #[serde(serialize_with = "as_text")]
    pub first_done: Timestamp,
    /// When the last of them was done.
    #[serde(serialize_with = "as_text")]
    pub last_done: Timestamp,
}

/// A lane that was read with errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What a person knows it by.
    pub name: String,
    /// What was wrong.
    pub cause: String,
    /// Where, in bytes from the start, if known.
    pub offset: Option<u64>,
    /// Records that were read before.
    pub records: u64,
    /// How many runs failed at it.
    pub tries: u64,
    /// When it failed last.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
}

/// The documents that did not go in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SetAside {
    /// How many there are.
    pub documents: u64,
    /// By reason, the most frequent first; not all if there are very many reasons.
    pub reasons: Vec<Reason>,
}

/// The documents that did not go in for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The reason.
    pub reason: String,
    /// How many documents.
    pub documents: u64,
    /// Some of them.
    pub examples: Vec<Document>,
}

/// A document that did not go in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Document {
    /// The index it was meant for.
    pub index: String,
    /// Its id.
    pub id: String,
    /// Key of the lane it came from.
    pub lane: String,
    /// When it was set aside.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
}

/// The kind of a field that no table knew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The field's path.
    pub path: String,
    /// Its kind.
    pub kind: String,
    /// Who decided.
    pub why: String,
    /// When.
    #[serde(serialize_with = "as_text")]
    pub decided: Timestamp,
}

fn as_text<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn as_optional_text<S: Serializer>(
    time: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}
