//! One worker's copy of what is known about paths, asked for every key of every event.
//!
//! In: [`Fields`], whenever something was decided. Out: the path below a path, by key or by hash of a key,
//! and what it may hold.
//! Keys come in the order they came in last time, nearly always: each path remembers which ones followed it, and
//! a key is compared with those before it is hashed.

use std::{cell::Cell, sync::Arc};

use super::{
    fields::{Fields, Known, Node, ROOT, Verdict},
    rules::Rules,
    text,
};

/// The top-level keys whose values a document needs beside the record itself.
pub(super) const WANTED: [&[u8]; 3] = [b"eventID", b"eventTime", b"sourceIPAddress"];

/// One worker's copy of the paths: a flat table that is asked for every key of every event.
#[derive(Debug)]
pub(super) struct PathCache {
    rules: Arc<Rules>,
    steps: Vec<Step>,
    paths: Vec<Box<str>>,
    objects: Cell<u64>,
    /// Paths by their tags. Open addressing; a power of two, at most half full; [`ROOT`] where empty. Small, so
    /// that it stays in the fastest memory.
    slots: Vec<Node>,
    /// The tag of each path.
    tags: Vec<u64>,
    version: u64,
    full: bool,
}

/// All that is looked at for a key that comes as expected: one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Step {
    /// The key as it stands in a text, behind its first quote: the first sixteen bytes of `eventName":`, as
    /// words because most are short; zeros behind the end.
    words: [u64; 2],
    /// The bits of the words that count; of a longer key, its last sixteen bytes.
    others: [u64; 2],
    /// The object in which the path was met last.
    visited: Cell<u64>,
    /// Which paths followed the last times; for an object's own, which came first in it.
    next: Cell<[Node; 2]>,
    /// What the path may hold.
    known: Known,
    /// Bytes of the key with its quote and colon.
    length: u16,
    /// The path above.
    parent: Node,
    /// Whether the document needs the value, beside the record itself.
    wanted: bool,
    /// Whether a text here is taken as it is, and not looked at any further.
    pub(super) easy: bool,
}

/// Bytes of a key, with its quote and colon, that are compared as words.
const WORDS: usize = 16;

impl Step {
    fn new(key: &[u8], parent: Node, known: Known, wanted: bool) -> Self {
        let whole = [key, b"\":"].concat();
        let words = text::load_two(&whole, 0);
        let others = if whole.len() > WORDS {
            text::load_two(&whole, whole.len() - WORDS)
        } else {
            [0, 8].map(|at| match whole.len().saturating_sub(at) {
                bytes @ 0..8 => !(u64::MAX << (bytes * 8)),
                _ => u64::MAX,
            })
        };
        let length = u16::try_from(whole.len()).unwrap_or(0);
        let (visited, next) = (Cell::new(0), Cell::new([ROOT; 2]));
        let easy = false;
        let mut step = Self { words, others, visited, next, known, length, parent, wanted, easy };
        if length == 0 {
            step.never_follow();
        }
        step.learn(known);
        step
    }

    /// No key is taken for this one before it was looked up.
    fn never_follow(&mut self) {
        (self.words, self.others, self.length) = ([1, 0], [0, 0], 0);
    }

    fn learn(&mut self, known: Known) {
        self.known = known;
        self.easy = known.verdict == Verdict::Value && !self.wanted;
    }

    /// Returns how many learned fields an index must know before it sees this path.
    #[inline]
    pub(super) fn needs(&self) -> u32 {
        self.known.needs
    }

    /// Notes that the path is met in an object; false if it was there before.
    #[inline]
    pub(super) fn visit(&self, object: u64) -> bool {
        self.visited.replace(object) != object
    }
}

#[inline]
fn tag(parent: Node, hash: u64) -> u64 {
    (hash ^ (u64::from(parent) << 32 | u64::from(parent))).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "any bits of it will do")]
fn slot_of(tag: u64, mask: usize) -> usize {
    tag as usize & mask
}

impl PathCache {
    /// Starts with what is known so far.
    pub(super) fn new(fields: &Fields) -> Self {
        let mut view = Self {
            rules: Arc::clone(fields.rules()),
            steps: Vec::new(),
            paths: Vec::new(),
            objects: Cell::new(0),
            slots: vec![ROOT; 1 << 11],
            tags: Vec::new(),
            version: 0,
            full: false,
        };
        view.refresh(fields);
        view
    }

    /// Returns whether the table knows a path, by its name in JSON; one with escapes it does not.
    pub(super) fn is_declared(&self, path: &[u8]) -> bool {
        std::str::from_utf8(path).is_ok_and(|path| self.rules.kind(path).is_some())
    }

    /// Takes over what was decided since the last time.
    pub(super) fn refresh(&mut self, fields: &Fields) {
        let version = fields.version();
        if version != self.version {
            let steps = &mut self.steps;
            fields.each_from(0, |node, met| {
                if let Some(step) = steps.get_mut(node as usize) {
                    step.learn(met.known);
                }
            });
            self.version = version;
        }
        self.full = fields.is_full();
        fields.each_from(self.steps.len(), |node, met| {
            let wanted = met.parent == ROOT && WANTED.contains(&met.name.as_bytes());
            let mut step = Step::new(met.name.as_bytes(), met.parent, met.known, wanted);
            if node == ROOT {
                // It stands for "nothing followed yet", and must not be taken for an empty key.
                step.never_follow();
            }
            self.steps.push(step);
            self.tags.push(tag(met.parent, met.hash));
            if node != ROOT {
                self.insert(node);
            }
            // As the inside of a JSON string: it stands in notes and in terms of `trailload.unmapped`.
            let mut path = Vec::new();
            text::escape(&mut path, met.path.as_bytes());
            self.paths.push(String::from_utf8_lossy(&path).into());
        });
    }

    /// Returns whether a live index overruled a decision since the last [`PathCache::refresh`].
    pub(super) fn is_stale(&self, fields: &Fields) -> bool {
        self.version != fields.version() || self.steps.is_empty()
    }

    fn insert(&mut self, node: Node) {
        if self.tags.len() * 2 > self.slots.len() {
            let old = std::mem::take(&mut self.slots);
            self.slots = vec![ROOT; old.len() * 2];
            for node in old.into_iter().filter(|node| *node != ROOT) {
                self.place(node);
            }
        }
        self.place(node);
    }

    fn place(&mut self, node: Node) {
        let mask = self.slots.len() - 1;
        let mut at = slot_of(self.tags[node as usize], mask);
        while self.slots[at] != ROOT {
            at = (at + 1) & mask;
        }
        self.slots[at] = node;
    }

    /// Returns the path `key` (given by its hash) below `parent`, if it was met before.
    #[inline]
    pub(super) fn child(&self, parent: Node, hash: u64) -> Option<Node> {
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
    pub(super) fn visit(&self, node: Node, object: u64) -> bool {
        self.step(node).visit(object)
    }

    /// Returns all that is known about a path.
    #[inline]
    pub(super) fn step(&self, node: Node) -> &Step {
        &self.steps[node as usize]
    }

    /// Returns the path below `parent` whose key stands at `text[at]`, if it is one that followed before, and where its
    /// value or white space begins.
    #[expect(clippy::inline_always, reason = "called would cost more than it does")]
    #[inline(always)]
    pub(super) fn follows(
        &self,
        parent: Node,
        before: Node,
        text: &[u8],
        at: usize,
    ) -> Option<(Node, usize)> {
        let words = text::load_two(text, at);
        let [last, earlier] = self.step(before).next.get();
        let is_next = |node| self.is_at(node, parent, words, text, at);
        is_next(last).or_else(|| is_next(earlier))
    }

    #[expect(clippy::inline_always, reason = "as above; and the words stay in registers")]
    #[inline(always)]
    fn is_at(
        &self,
        node: Node,
        parent: Node,
        words: [u64; 2],
        text: &[u8],
        at: usize,
    ) -> Option<(Node, usize)> {
        let step = self.step(node);
        let length = usize::from(step.length);
        let end = at + length;
        let differs = |have: [u64; 2], want: [u64; 2]| (have[0] ^ want[0]) | (have[1] ^ want[1]);
        let is_it = if length <= WORDS {
            let masked = [words[0] & step.others[0], words[1] & step.others[1]];
            differs(masked, step.words) == 0
        } else {
            let tail = text::load_two(text, end - WORDS);
            differs(words, step.words) | differs(tail, step.others) == 0
                && (length <= 2 * WORDS || self.has_middle(node, text.get(at..end)))
        };
        // What came first in an object and what came behind it are remembered together.
        (is_it && step.parent == parent).then_some((node, end))
    }

    /// Returns whether the end of a path is this key, of which both ends were compared.
    #[cold]
    fn has_middle(&self, node: Node, key: Option<&[u8]>) -> bool {
        let key = key.and_then(|key| key.strip_suffix(b"\":"));
        key.is_some_and(|key| self.paths[node as usize].as_bytes().ends_with(key))
    }

    /// Remembers which path followed.
    #[inline]
    pub(super) fn expect(&self, before: Node, after: Node) {
        let next = &self.step(before).next;
        next.set([after, next.get()[0]]);
    }

    /// Returns whether no further path will become a field.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    #[inline]
    pub(super) fn known(&self, node: Node) -> Known {
        self.step(node).known
    }

    /// Returns the path's name, joined by dots, as the inside of a JSON string.
    pub(super) fn path(&self, node: Node) -> &str {
        &self.paths[node as usize]
    }
}
