//! One worker's copy of what is known about paths, asked for every key of every event.
//!
//! In: [`Fields`], whenever something was decided. Out: the path below a path, by key or by hash of a key,
//! and what it may hold.
//! Keys come in the order they came in last time, nearly always: each path remembers which ones followed it, and
//! a key is compared with those before it is hashed.

use std::{cell::Cell, sync::Arc};

use super::{
    field_registry::{FieldRegistry, PathInfo, PathId, ROOT, PathRule},
    rules::Rules,
    text,
};

/// The top-level keys whose values a document needs beside the record itself.
pub(super) const REQUIRED_KEYS: [&[u8]; 3] = [b"eventID", b"eventTime", b"sourceIPAddress"];

/// One worker's copy of the paths: a flat table that is asked for every key of every event.
#[derive(Debug)]
pub(super) struct PathCache {
    rules: Arc<Rules>,
    entries: Vec<CachedPath>,
    names: Vec<Box<str>>,
    objects: Cell<u64>,
    /// Paths by their tags. Open addressing; a power of two, at most half full; [`ROOT`] where empty. Small, so
    /// that it stays in the fastest memory.
    slots: Vec<PathId>,
    /// The tag of each path.
    tags: Vec<u64>,
    version: u64,
    is_full: bool,
}

/// All that is looked at for a key that comes as expected: one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct CachedPath {
    /// The key as it stands in a text, behind its first quote: the first sixteen bytes of `eventName":`, as
    /// words because most are short; zeros behind the end.
    words: [u64; 2],
    /// The bits of the words that count; of a longer key, its last sixteen bytes.
    mask_or_tail: [u64; 2],
    /// The object in which the path was met last.
    last_object: Cell<u64>,
    /// Which paths followed the last times; for an object's own, which came first in it.
    next: Cell<[PathId; 2]>,
    /// What the path may hold.
    known: PathInfo,
    /// Bytes of the key with its quote and colon.
    length: u16,
    /// The path above.
    parent: PathId,
    /// Whether the document needs the value, beside the record itself.
    is_required: bool,
    /// Whether a text here is taken as it is, and not looked at any further.
    pub(super) is_plain_value: bool,
}

/// Bytes of a key, with its quote and colon, that are compared as words.
const WORDS: usize = 16;

impl CachedPath {
    fn new(key: &[u8], parent: PathId, known: PathInfo, is_required: bool) -> Self {
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
        let mut entry = Self { words, mask_or_tail, last_object, next, known, length, parent, is_required, is_plain_value };
        if length == 0 {
            entry.never_match();
        }
        entry.set_info(known);
        entry
    }

    /// No key is taken for this one before it was looked up.
    fn never_match(&mut self) {
        (self.words, self.mask_or_tail, self.length) = ([1, 0], [0, 0], 0);
    }

    fn set_info(&mut self, known: PathInfo) {
        self.known = known;
        self.is_plain_value = known.rule == PathRule::Value && !self.is_required;
    }

    /// Returns how many learned fields an index must know before it sees this path.
    #[inline]
    pub(super) fn required_fields(&self) -> u32 {
        self.known.required_fields
    }

    /// Notes that the path is met in an object; false if it was there before.
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
#[expect(clippy::cast_possible_truncation, reason = "any bits of it will do")]
fn slot_of(tag: u64, mask: usize) -> usize {
    tag as usize & mask
}

impl PathCache {
    /// Starts with what is known so far.
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

    /// Returns whether the table knows a path, by its name in JSON; one with escapes it does not.
    pub(super) fn is_known_field(&self, path: &[u8]) -> bool {
        std::str::from_utf8(path).is_ok_and(|path| self.rules.kind(path).is_some())
    }

    /// Takes over what was decided since the last time.
    pub(super) fn refresh(&mut self, fields: &FieldRegistry) {
        let version = fields.version();
        if version != self.version {
            let entries = &mut self.entries;
            fields.for_each_from(0, |node, met| {
                if let Some(entry) = entries.get_mut(node as usize) {
                    entry.set_info(met.known);
                }
            });
            self.version = version;
        }
        self.is_full = fields.is_full();
        fields.for_each_from(self.entries.len(), |node, met| {
            let is_required = met.parent == ROOT && REQUIRED_KEYS.contains(&met.name.as_bytes());
            let mut entry = CachedPath::new(met.name.as_bytes(), met.parent, met.known, is_required);
            if node == ROOT {
                // It stands for "nothing followed yet", and must not be taken for an empty key.
                entry.never_match();
            }
            self.entries.push(entry);
            self.tags.push(tag(met.parent, met.hash));
            if node != ROOT {
                self.insert(node);
            }
            // As the inside of a JSON string: it stands in notes and in terms of `trailload.unmapped`.
            let mut path = Vec::new();
            text::escape(&mut path, met.path.as_bytes());
            self.names.push(String::from_utf8_lossy(&path).into());
        });
    }

    /// Returns whether a live index overruled a decision since the last [`PathCache::refresh`].
    pub(super) fn is_stale(&self, fields: &FieldRegistry) -> bool {
        self.version != fields.version() || self.entries.is_empty()
    }

    fn insert(&mut self, node: PathId) {
        if self.tags.len() * 2 > self.slots.len() {
            let old = std::mem::take(&mut self.slots);
            self.slots = vec![ROOT; old.len() * 2];
            for node in old.into_iter().filter(|node| *node != ROOT) {
                self.fill_slot(node);
            }
        }
        self.fill_slot(node);
    }

    fn fill_slot(&mut self, node: PathId) {
        let mask = self.slots.len() - 1;
        let mut at = slot_of(self.tags[node as usize], mask);
        while self.slots[at] != ROOT {
            at = (at + 1) & mask;
        }
        self.slots[at] = node;
    }

    /// Returns the path `key` (given by its hash) below `parent`, if it was met before.
    #[inline]
    pub(super) fn child(&self, parent: PathId, hash: u64) -> Option<PathId> {
        let tag = tag(parent, hash);
        let mask = self.slots.len() - 1;
        let mut at = slot_of(tag, mask);
        loop {
            let node = self.slots[at];
            if node == ROOT {
                return None;
            }
            if self.tags[node as usize] == tag {
                return Some(node);
            }
            at = (at + 1) & mask;
        }
    }

    /// Returns a number for an object that is about to be read.
    #[inline]
    pub(super) fn new_object(&self) -> u64 {
        self.objects.set(self.objects.get() + 1);
        self.objects.get()
    }

    /// Notes that a path is met in an object; false if it was there before.
    #[inline]
    pub(super) fn mark_seen(&self, node: PathId, object: u64) -> bool {
        self.entry(node).mark_seen(object)
    }

    /// Returns all that is known about a path.
    #[inline]
    pub(super) fn entry(&self, node: PathId) -> &CachedPath {
        &self.entries[node as usize]
    }

    /// Returns the path below `parent` whose key stands at `text[at]`, if it is one that followed before, and where its
    /// value or white space begins.
    #[expect(clippy::inline_always, reason = "called would cost more than it does")]
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
        let is_next = |node| self.match_key(node, parent, words, text, at);
        is_next(last).or_else(|| is_next(earlier))
    }

    #[expect(clippy::inline_always, reason = "as above; and the words stay in registers")]
    #[inline(always)]
    fn match_key(
        &self,
        node: PathId,
        parent: PathId,
        words: [u64; 2],
        text: &[u8],
        at: usize,
    ) -> Option<(PathId, usize)> {
        let entry = self.entry(node);
        let length = usize::from(entry.length);
        let end = at + length;
        let differs = |have: [u64; 2], want: [u64; 2]| (have[0] ^ want[0]) | (have[1] ^ want[1]);
        let is_it = if length <= WORDS {
            let masked = [words[0] & entry.mask_or_tail[0], words[1] & entry.mask_or_tail[1]];
            differs(masked, entry.words) == 0
        } else {
            let tail = text::load_two(text, end - WORDS);
            differs(words, entry.words) | differs(tail, entry.mask_or_tail) == 0
                && (length <= 2 * WORDS || self.matches_middle(node, text.get(at..end)))
        };
        // What came first in an object and what came behind it are remembered together.
        (is_it && entry.parent == parent).then_some((node, end))
    }

    /// Returns whether the end of a path is this key, of which both ends were compared.
    #[cold]
    fn matches_middle(&self, node: PathId, key: Option<&[u8]>) -> bool {
        let key = key.and_then(|key| key.strip_suffix(b"\":"));
        key.is_some_and(|key| self.names[node as usize].as_bytes().ends_with(key))
    }

    /// Remembers which path followed.
    #[inline]
    pub(super) fn remember_next(&self, before: PathId, after: PathId) {
        let next = &self.entry(before).next;
        next.set([after, next.get()[0]]);
    }

    /// Returns whether no further path will become a field.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    #[inline]
    pub(super) fn known(&self, node: PathId) -> PathInfo {
        self.entry(node).known
    }

    /// Returns the path's name, joined by dots, as the inside of a JSON string.
    pub(super) fn name(&self, node: PathId) -> &str {
        &self.names[node as usize]
    }
}
