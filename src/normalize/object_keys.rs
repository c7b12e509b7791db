//! The keys of one object: repeated keys, keys that engines reject, and unique replacements.
//!
//! Input: the members of an object. Output: the members to rename, and their new keys. Invariant: a replacement
//! differs from all other keys of the object. Not here: the paths of keys.

use std::collections::{HashMap, HashSet};

use super::{text, tree::Member};

/// Maximum length of a key in characters: OpenSearch 3 rejects more than 50,000.
const MAX_KEY_CHARS: usize = 50_000;

/// Length that a longer key is truncated to.
const TRUNCATED_KEY_BYTES: usize = 200;

/// Metadata fields of the engines, which documents must not contain.
pub(super) const METADATA_FIELDS: [&[u8]; 26] = [
    b"_all",
    b"_data_stream_timestamp",
    b"_doc_count",
    b"_feature",
    b"_field_names",
    b"_id",
    b"_ignored",
    b"_ignored_source",
    b"_index",
    b"_index_mode",
    b"_inference_fields",
    b"_nested_path",
    b"_parent",
    b"_primary_term",
    b"_recovery_source",
    b"_routing",
    b"_seq_no",
    b"_size",
    b"_source",
    b"_tier",
    b"_timestamp",
    b"_ts_routing_hash",
    b"_tsid",
    b"_type",
    b"_uid",
    b"_version",
];

/// Hashes of the keys of one object. If two keys had the same hash, a replacement would be numbered without need.
pub(super) struct ObjectKeys {
    /// Hashes of the original keys, sorted.
    original: Vec<u64>,
    assigned: HashSet<u64>,
    /// The last number that was appended to a key that was in use.
    last_number: HashMap<Vec<u8>, u32>,
}

impl ObjectKeys {
    /// Returns the keys of an object, and the positions of members whose key repeats later: JSON parsers use the
    /// last.
    pub(super) fn new(members: &[Member<'_>]) -> (Self, Vec<usize>) {
        let mut numbered: Vec<(u64, usize)> =
            members.iter().enumerate().map(|(at, member)| (text::hash(&member.key), at)).collect();
        numbered.sort_unstable();
        let pairs = numbered.windows(2).filter(|pair| pair[0].0 == pair[1].0);
        let mut repeats: Vec<usize> = pairs.map(|pair| pair[0].1).collect();
        repeats.sort_unstable();
        let original = numbered.into_iter().map(|(hash, _)| hash).collect();
        (Self { original, assigned: HashSet::new(), last_number: HashMap::new() }, repeats)
    }

    fn insert(&mut self, name: &[u8]) -> bool {
        let hash = text::hash(name);
        self.original.binary_search(&hash).is_err() && self.assigned.insert(hash)
    }

    /// Returns a key that no other member has, and reserves it.
    pub(super) fn unique(&mut self, name: &[u8]) -> Vec<u8> {
        if self.insert(name) {
            return name.to_vec();
        }
        let mut number = self.last_number.get(name).copied().unwrap_or(1);
        loop {
            number += 1;
            let numbered = [name, b"_", number.to_string().as_bytes()].concat();
            if self.insert(&numbered) {
                self.last_number.insert(name.to_vec(), number);
                return numbered;
            }
        }
    }
}

/// Returns a replacement for a key that engines reject.
///
/// Engines reject lone surrogates and overlong keys everywhere. In mapped objects (`mapped`) they also reject empty
/// keys, white space, and dots without a name on both sides.
pub(super) fn repair_key(key: &[u8], mapped: bool) -> Option<Vec<u8>> {
    // Nearly all keys consist of letters.
    if key.len() <= TRUNCATED_KEY_BYTES
        && !key.is_empty()
        && key.iter().all(u8::is_ascii_alphanumeric)
    {
        return None;
    }
    let mut repaired = None;
    if text::has_surrogate(key) {
        repaired = Some(
            String::from_utf8_lossy(key)
                .replace("\u{FFFD}\u{FFFD}\u{FFFD}", "\u{FFFD}")
                .into_bytes(),
        );
    }
    let now = repaired.as_deref().unwrap_or(key);
    // The number of bytes is at least the number of characters, so no overlong key passes.
    if now.len() > MAX_KEY_CHARS {
        let cut = String::from_utf8_lossy(&now[..TRUNCATED_KEY_BYTES])
            .trim_end_matches('\u{FFFD}')
            .to_owned();
        repaired = Some(format!("{cut}_cut").into_bytes());
    }
    if mapped {
        let now = repaired.as_deref().unwrap_or(key);
        let text = String::from_utf8_lossy(now);
        if text.split('.').any(|segment| segment.trim().is_empty()) {
            let without = text.replace('.', "_");
            let blank = without.trim().is_empty();
            repaired = Some(if blank { b"_".to_vec() } else { without.into_bytes() });
        }
    }
    repaired
}
