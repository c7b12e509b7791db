//! The keys of one object: which repeat, which engines refuse, and which names are still free.

use std::collections::{HashMap, HashSet};

use super::{text, tree::Member};

/// Characters of the longest key kept: OpenSearch 3 refuses more than 50,000.
const MAX_KEY_CHARS: usize = 50_000;

/// What is left of a longer key.
const TRUNCATED_KEY_BYTES: usize = 200;

/// Names that engines keep for themselves at the top level.
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

/// The keys of one object: those it came with and those given to it, by their hashes. Should two keys
/// share one, a name is numbered without need.
pub(super) struct ObjectKeys {
    /// Sorted; without those given later.
    original: Vec<u64>,
    assigned: HashSet<u64>,
    /// The last number given to a name that was taken.
    last_number: HashMap<Vec<u8>, u32>,
}

impl ObjectKeys {
    /// Returns the keys of an object, and which members, in order, have a key that comes again
    /// later: JSON readers take the last.
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

    /// Makes a name that no other member has.
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

/// Returns a key that engines take, if they refuse this one.
///
/// Refused anywhere: lone surrogates, and keys too long. Refused in objects that the index looks at
/// (`mapped`): nothing, white space, and dots without a name on both sides.
pub(super) fn repair_key(key: &[u8], mapped: bool) -> Option<Vec<u8>> {
    // Nearly all keys are words of letters.
    if key.len() <= TRUNCATED_KEY_BYTES && !key.is_empty() && key.iter().all(u8::is_ascii_alphanumeric) {
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
    // Bytes are at least characters, so nothing too long slips through.
    if now.len() > MAX_KEY_CHARS {
        let cut = String::from_utf8_lossy(&now[..TRUNCATED_KEY_BYTES]).trim_end_matches('\u{FFFD}').to_owned();
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
