//! The state of indices as an engine reports it, so that a later run can detect that one was deleted.
//!
//! Input: none; the sink fills these values and the checkpoint compares them.
//! Not here: the meaning of a difference; `checkpoint::indices` decides it.

use std::collections::{BTreeMap, BTreeSet};

/// Distinguishes an index from an earlier or later one with the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexIdentity {
    /// UUID that the engine assigned. It is never reused: an index that is deleted and created again has a new one.
    pub uuid: String,
    /// Creation time, in milliseconds of the Unix epoch. An index restored from a snapshot keeps it.
    pub created_at: i64,
}

/// State of an index at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexState {
    /// Identity of the index.
    pub identity: IndexIdentity,
    /// Number of documents, or `None` if the engine does not report it: the index is closed, or a privilege is missing.
    pub documents: Option<u64>,
}

/// All indices of a prefix at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The indices that documents are written to, by the name that requests use: the index name or an alias.
    pub indices: BTreeMap<String, IndexState>,
    /// UUIDs of all indices whose name or alias starts with the prefix, whether documents are written to them or not.
    pub uuids: BTreeSet<String>,
}
