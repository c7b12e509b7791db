//! What an engine tells about the indices of a prefix, so that a later run notices when one of them is gone.
//!
//! In: nothing; these are plain values, filled by the sink and compared by the checkpoint.
//! Absent on purpose: what a difference means; that is `checkpoint::indices`.

use std::collections::{BTreeMap, BTreeSet};

/// What tells an index from another one that has, or had, the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexIdentity {
    /// The engine's own name for it, never used twice: an index that is deleted and made again has another one.
    pub uuid: String,
    /// When it was made, in milliseconds of the Unix epoch. A snapshot keeps this time, so a restored index has it too.
    pub created_at: i64,
}

/// An index as the engine holds it at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexState {
    /// Which index it is.
    pub identity: IndexIdentity,
    /// How many documents it holds; `None` if the engine does not tell (a closed index, a missing right).
    pub documents: Option<u64>,
}

/// All indices of a prefix at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The indices that documents go to, by the name that documents are sent under: their own, or that of an alias.
    pub indices: BTreeMap<String, IndexState>,
    /// The UUIDs of all indices whose name or alias begins with the prefix, whether documents go there or not.
    pub uuids: BTreeSet<String>,
}
