//! The path cache: one worker's copy of the field registry, queried for every key of every event.
//!
//! Input: [`FieldRegistry`], whenever a rule was added or changed. Output: the path below a path, by key or by hash
//! of a key, and its rule.
//!
//! Keys usually come in the same order as in the object before. Each path therefore remembers which paths followed it,
//! and a key is compared with those before it is hashed: this saves 3,700 of 14,700 instructions a record on the fast path
//! (measured as in [`scan`](super::scan)). Invariant: an answer is the registry's, as of the last
//! [`PathCache::refresh`].

use std::{cell::Cell, sync::Arc};

use super::{
    field_registry::{FieldRegistry, PathId, PathInfo, PathRule, ROOT},
    identity::IdentityPart,
    rules::Rules,
    text,
};

/// Top-level keys whose values a document needs besides the record itself.
pub(super) const REQUIRED_KEYS: [&[u8]; 3] = [b"eventID", b"eventTime", b"sourceIPAddress"];

/// One worker's copy of the field registry.
#[derive(Debug)]
pub(super) struct PathCache {
    rules: Arc<Rules>,
    entries: Vec<CachedPath>,
    names: Vec<Box<str>>,
    objects: Cell<u64>,
    /// Paths by their tags: open addressing, a power of two of slots, at most half of them used; [`ROOT`] marks an
    /// empty one. Small enough for the level 1 cache.
    slots: Vec<PathId>,
    /// Tag of each path.
    tags: Vec<u64>,
    version: u64,
    is_full: bool,
}

/// Everything that is read for a key that comes as expected: one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct CachedPath {
    /// The first sixteen bytes of the key as it appears in JSON behind its opening quote, such as `eventName":`,
    /// padded with zeros. Most keys fit.
    words: [u64; 2],
    /// Mask of the significant bits of `words`, or, for a longer key, its last sixteen bytes.
    mask_or_tail: [u64; 2],
    /// Number of the object in which the path was last seen.
    last_object: Cell<u64>,
    /// The two paths that most recently followed this one. For the path of an object itself: those that came first in
    /// it.
    next: Cell<[PathId; 2]>,
    /// What is known about the path.
    info: PathInfo,
    /// Length of the key with its closing quote and colon, in bytes.
    length: u16,
    /// The path of the object that contains the key.
    parent: PathId,
    /// What the document needs the value for besides the record itself.
    pub(super) role: ValueRole,
    /// Whether a string at this path needs no further check.
    pub(super) is_plain_value: bool,
}

/// What a document needs a value for besides the record itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueRole {
    /// Nothing.
    None,
    /// It is one of [`REQUIRED_KEYS`].
    Required,
    /// It is part of the identity, which the principal is made of.
    Identity(IdentityPart),
}

const _: () = assert!(size_of::<CachedPath>() == 64, "more would not fit into a cache line");

/// Number of bytes of a key, with its closing quote and colon, that are compared as words.
const WORDS: usize = 16;

impl CachedPath {
    fn new(key: &[u8], parent: PathId, info: PathInfo, role: ValueRole) -> Self {
        let whole = [key, b"\":"].concat();
        let words = text::load_two(&whole, 0);
        let mask_or_tail = if whole.len() > WORDS {
            text::load_two(&whole, whole.len() - WORDS)
        } else {
            [0, 8].map(|at| match whole.len().saturating_sub(at) {
                bytes @ 0..8 => !(u64::MAX << (bytes * 8)),
                _ => u64::MAX,
            })
        };
        let length = u16::try_from(whole.len()).unwrap_or(0);
        let (last_object, next) = (Cell::new(0), Cell::new([ROOT; 2]));
        let is_plain_value = false;
        let mut entry = Self {
            words,
            mask_or_tail,
            last_object,
            next,
            info,
            length,
            parent,
            role,
            is_plain_value,
        };
        if length == 0 {
            entry.never_match();
        }
        entry.set_info(info);
        entry
    }

    /// Prevents any key from matching this entry without a lookup.
    fn never_match(&mut self) {
        (self.words, self.mask_or_tail, self.length) = ([1, 0], [0, 0], 0);
    }

    fn set_info(&mut self, info: PathInfo) {
        self.info = info;
        self.is_plain_value = info.rule == PathRule::Value && self.role != ValueRole::Required;
    }

    /// Returns the number of discovered fields that an index must have before it receives this path.
    #[inline]
    pub(super) fn required_fields(&self) -> u32 {
        self.info.required_fields
    }

    /// Marks the path as seen in an object; returns false if it was seen there before.
    #[inline]
    pub(super) fn mark_seen(&self, object: u64) -> bool {
        self.last_object.replace(object) != object
    }
}

#[inline]
fn tag(parent: PathId, hash: u64) -> u64 {
    (hash ^ (u64::from(parent) << 32 | u64::from(parent))).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "any bits of the tag will do")]
fn slot_of(tag: u64, mask: usize) -> usize {
    tag as usize & mask
}

impl PathCache {
    /// Creates a cache with the current paths of `fields`.
    pub(super) fn new(fields: &FieldRegistry) -> Self {
        let mut view = Self {
            rules: Arc::clone(fields.rules()),
            entries: Vec::new(),
            names: Vec::new(),
            objects: Cell::new(0),
            slots: vec![ROOT; 1 << 11],
            tags: Vec::new(),
            version: 0,
            is_full: false,
        };
        view.refresh(fields);
        view
    }

    /// Returns whether the kind table contains a path, given as it appears in JSON. A path with escapes is never
    /// contained.
    pub(super) fn is_known_field(&self, path: &[u8]) -> bool {
        std::str::from_utf8(path).is_ok_and(|path| self.rules.kind(path).is_some())
    }

    /// Copies the rules that were added or changed since the last call.
    pub(super) fn refresh(&mut self, fields: &FieldRegistry) {
        let version = fields.version();
        if version != self.version {
            let entries = &mut self.entries;
            fields.for_each_from(0, |path_id, met| {
                if let Some(entry) = entries.get_mut(path_id as usize) {
                    entry.set_info(met.info);
                }
            });
            self.version = version;
        }
        self.is_full = fields.is_full();
        fields.for_each_from(self.entries.len(), |path_id, met| {
            let role = match IdentityPart::at(met.path) {
                Some(part) => ValueRole::Identity(part),
                None if met.parent == ROOT && REQUIRED_KEYS.contains(&met.name.as_bytes()) => {
                    ValueRole::Required
                }
                None => ValueRole::None,
            };
            let mut entry = CachedPath::new(met.name.as_bytes(), met.parent, met.info, role);
            if path_id == ROOT {
                // `ROOT` stands for "no path followed yet" and must not match the empty key.
                entry.never_match();
            }
            self.entries.push(entry);
            self.tags.push(tag(met.parent, met.hash));
            if path_id != ROOT {
                self.insert(path_id);
            }
            // Escaped, because it is written into change notes and unmapped terms.
            let mut path = Vec::new();
            text::escape(&mut path, met.path.as_bytes());
            self.names.push(String::from_utf8_lossy(&path).into());
        });
    }

    /// Returns whether an existing rule changed since the last [`PathCache::refresh`].
    pub(super) fn is_stale(&self, fields: &FieldRegistry) -> bool {
        self.version != fields.version() || self.entries.is_empty()
    }

    fn insert(&mut self, path_id: PathId) {
        if self.tags.len() * 2 > self.slots.len() {
            let old = std::mem::take(&mut self.slots);
            self.slots = vec![ROOT; old.len() * 2];
            for path_id in old.into_iter().filter(|path_id| *path_id != ROOT) {
                self.fill_slot(path_id);
            }
        }
        self.fill_slot(path_id);
    }

    fn fill_slot(&mut self, path_id: PathId) {
        let mask = self.slots.len() - 1;
        let mut at = slot_of(self.tags[path_id as usize], mask);
        while self.slots[at] != ROOT {
            at = (at + 1) & mask;
        }
        self.slots[at] = path_id;
    }

    /// Returns the path below `parent` whose key has this hash, if it is known.
    #[inline]
    pub(super) fn child(&self, parent: PathId, hash: u64) -> Option<PathId> {
        let tag = tag(parent, hash);
        let mask = self.slots.len() - 1;
        let mut at = slot_of(tag, mask);
        loop {
            let path_id = self.slots[at];
            if path_id == ROOT {
                return None;
            }
            if self.tags[path_id as usize] == tag {
                return Some(path_id);
            }
            at = (at + 1) & mask;
        }
    }

    /// Returns the number of an object that is about to be read.
    #[inline]
    pub(super) fn new_object(&self) -> u64 {
        self.objects.set(self.objects.get() + 1);
        self.objects.get()
    }

    /// Marks a path as seen in an object; returns false if it was seen there before.
    #[inline]
    pub(super) fn mark_seen(&self, path_id: PathId, object: u64) -> bool {
        self.entry(path_id).mark_seen(object)
    }

    /// Returns everything known about a path.
    #[inline]
    pub(super) fn entry(&self, path_id: PathId) -> &CachedPath {
        &self.entries[path_id as usize]
    }

    /// Returns the path below `parent` whose key starts at `text[at]`, and the offset behind its colon, if it is one
    /// of the two that followed `before` most recently.
    #[expect(clippy::inline_always, reason = "a call would cost more than the comparison")]
    #[inline(always)]
    pub(super) fn match_expected(
        &self,
        parent: PathId,
        before: PathId,
        text: &[u8],
        at: usize,
    ) -> Option<(PathId, usize)> {
        let words = text::load_two(text, at);
        let [last, earlier] = self.entry(before).next.get();
        let is_next = |path_id| self.match_key(path_id, parent, words, text, at);
        is_next(last).or_else(|| is_next(earlier))
    }

    #[expect(clippy::inline_always, reason = "as above, and the words stay in registers")]
    #[inline(always)]
    fn match_key(
        &self,
        path_id: PathId,
        parent: PathId,
        words: [u64; 2],
        text: &[u8],
        at: usize,
    ) -> Option<(PathId, usize)> {
        let entry = self.entry(path_id);
        let length = usize::from(entry.length);
        let end = at + length;
        let differs = |have: [u64; 2], want: [u64; 2]| (have[0] ^ want[0]) | (have[1] ^ want[1]);
        let is_it = if length <= WORDS {
            let masked = [words[0] & entry.mask_or_tail[0], words[1] & entry.mask_or_tail[1]];
            differs(masked, entry.words) == 0
        } else {
            let tail = text::load_two(text, end - WORDS);
            differs(words, entry.words) | differs(tail, entry.mask_or_tail) == 0
                && (length <= 2 * WORDS || self.matches_middle(path_id, text.get(at..end)))
        };
        // The first path in an object and the path behind the object share the same slot, hence the check of the
        // parent.
        (is_it && entry.parent == parent).then_some((path_id, end))
    }

    /// Compares the middle of a key whose first and last bytes are equal.
    #[cold]
    fn matches_middle(&self, path_id: PathId, key: Option<&[u8]>) -> bool {
        let key = key.and_then(|key| key.strip_suffix(b"\":"));
        key.is_some_and(|key| self.names[path_id as usize].as_bytes().ends_with(key))
    }

    /// Remembers that `after` followed `before`.
    #[inline]
    pub(super) fn remember_next(&self, before: PathId, after: PathId) {
        let next = &self.entry(before).next;
        next.set([after, next.get()[0]]);
    }

    /// Returns whether no further path can become a field.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    #[inline]
    pub(super) fn info(&self, path_id: PathId) -> PathInfo {
        self.entry(path_id).info
    }

    /// Returns the keys of a path, joined by dots and escaped for JSON.
    pub(super) fn name(&self, path_id: PathId) -> &str {
        &self.names[path_id as usize]
    }
}
