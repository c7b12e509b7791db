//! One worker's copy of what is known about paths, asked for every key of every event.
//!
//! In: [`Fields`], whenever something was decided. Out: the path below a path, by key or by hash of a key,
//! and what it may hold.
//! Keys come in the order they came in last time, nearly always: each path remembers which ones followed it, and
//! a key is compared with those before it is hashed.

use std::{cell::Cell, sync::Arc};

use super::{
    fields::{Fields, Known, Node, ROOT},
    rules::Rules,
    text,
};

/// One worker's copy of the paths: a flat table that is asked for every key of every event.
#[derive(Debug)]
pub(super) struct View {
    rules: Arc<Rules>,
    steps: Vec<Step>,
    paths: Vec<Box<str>>,
    objects: Cell<u64>,
    /// Open addressing; a power of two, at most half full. `child` is [`ROOT`] where empty.
    slots: Vec<Slot>,
    used: usize,
    epoch: u64,
    full: bool,
}

/// All that is looked at for a key that comes as expected: one cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Step {
    /// The key as it stands in a text, behind its first quote: the first sixteen bytes of `eventName":`, as
    /// words because most are short; zeros behind the end.
    words: [u64; 2],
    /// The bits of the words that count.
    masks: [u64; 2],
    /// The object in which the path was met last.
    visited: Cell<u64>,
    /// Which paths followed the last times; for an object's own, which came first in it.
    next: Cell<[Node; 2]>,
    /// What the path may hold.
    known: Known,
    /// Bytes of the key with its quote and colon.
    length: u32,
    /// The path above.
    parent: Node,
}

impl Step {
    fn new(key: &[u8], parent: Node, known: Known) -> Self {
        let whole = [key, b"\":"].concat();
        let words = [0, 8].map(|at| text::load(&whole, at));
        let masks = [0, 8].map(|at| match whole.len().saturating_sub(at) {
            bytes @ 0..8 => !(u64::MAX << (bytes * 8)),
            _ => u64::MAX,
        });
        #[expect(clippy::cast_possible_truncation, reason = "keys are cut at 50,000 bytes")]
        let length = whole.len() as u32;
        let (visited, next) = (Cell::new(0), Cell::new([ROOT; 2]));
        Self { words, masks, visited, next, known, length, parent }
    }

    #[inline]
    fn is_begun_by(&self, words: [u64; 2]) -> bool {
        words[0] & self.masks[0] == self.words[0] && words[1] & self.masks[1] == self.words[1]
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    tag: u64,
    child: Node,
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

impl View {
    /// Starts with what is known so far.
    pub(super) fn new(fields: &Fields) -> Self {
        let mut view = Self {
            rules: Arc::clone(fields.rules()),
            steps: Vec::new(),
            paths: Vec::new(),
            objects: Cell::new(0),
            slots: vec![Slot::default(); 1 << 13],
            used: 0,
            epoch: 0,
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
        let epoch = fields.epoch();
        if epoch != self.epoch {
            let steps = &mut self.steps;
            fields.each_from(0, |node, met| {
                if let Some(step) = steps.get_mut(node as usize) {
                    step.known = met.known;
                }
            });
            self.epoch = epoch;
        }
        self.full = fields.is_full();
        fields.each_from(self.steps.len(), |node, met| {
            let mut step = Step::new(met.name.as_bytes(), met.parent, met.known);
            if node == ROOT {
                // It stands for "nothing followed yet", and must not be taken for an empty key.
                (step.words, step.masks) = ([1, 0], [0, 0]);
            } else {
                self.insert(tag(met.parent, met.hash), node);
            }
            self.steps.push(step);
            // As the inside of a JSON string: it stands in notes and in terms of `trailload.more`.
            let mut path = Vec::new();
            text::escape(&mut path, met.path.as_bytes());
            self.paths.push(String::from_utf8_lossy(&path).into());
        });
    }

    /// Returns whether a live index overruled a decision since the last [`View::refresh`].
    pub(super) fn is_stale(&self, fields: &Fields) -> bool {
        self.epoch != fields.epoch() || self.steps.is_empty()
    }

    fn insert(&mut self, tag: u64, child: Node) {
        if (self.used + 1) * 2 > self.slots.len() {
            let old = std::mem::take(&mut self.slots);
            self.slots = vec![Slot::default(); old.len() * 2];
            for slot in old.into_iter().filter(|slot| slot.child != ROOT) {
                self.place(slot);
            }
        }
        self.place(Slot { tag, child });
        self.used += 1;
    }

    fn place(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = slot_of(slot.tag, mask);
        while self.slots[at].child != ROOT {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }

    /// Returns the path `key` (given by its hash) below `parent`, if it was met before.
    #[inline]
    pub(super) fn child(&self, parent: Node, hash: u64) -> Option<Node> {
        let tag = tag(parent, hash);
        let mask = self.slots.len() - 1;
        let mut at = slot_of(tag, mask);
        loop {
            let slot = self.slots[at];
            if slot.child == ROOT {
                return None;
            }
            if slot.tag == tag {
                return Some(slot.child);
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
        self.steps[node as usize].visited.replace(object) != object
    }

    /// Returns the path below `parent` whose key stands at `text[at]`, if it is one that followed before, and
    /// where its value or white space begins.
    #[inline]
    pub(super) fn follows(
        &self,
        parent: Node,
        before: Node,
        text: &[u8],
        at: usize,
    ) -> Option<(Node, usize)> {
        let words = [text::load(text, at), text::load(text, at + 8)];
        let [last, earlier] = self.steps[before as usize].next.get();
        let is_next = |node| self.is_at(node, parent, words, text, at);
        is_next(last).or_else(|| is_next(earlier))
    }

    #[inline]
    fn is_at(
        &self,
        node: Node,
        parent: Node,
        words: [u64; 2],
        text: &[u8],
        at: usize,
    ) -> Option<(Node, usize)> {
        let step = &self.steps[node as usize];
        let end = at + step.length as usize;
        // The path ends with the key, and the words hold its first bytes.
        let whole = || {
            let (path, rest) = (self.paths[node as usize].as_bytes(), text.get(at + 14..end)?);
            let tail = rest.strip_suffix(b"\":")?;
            path.ends_with(tail).then_some(())
        };
        // What came first in an object and what came behind it are remembered together.
        (step.is_begun_by(words)
            && step.parent == parent
            && (step.length <= 16 || whole().is_some()))
        .then_some((node, end))
    }

    /// Remembers which path followed.
    #[inline]
    pub(super) fn expect(&self, before: Node, after: Node) {
        let next = &self.steps[before as usize].next;
        next.set([after, next.get()[0]]);
    }

    /// Returns whether no further path will become a field.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    #[inline]
    pub(super) fn known(&self, node: Node) -> Known {
        self.steps[node as usize].known
    }

    /// Returns the path's name, joined by dots, as the inside of a JSON string.
    pub(super) fn path(&self, node: Node) -> &str {
        &self.paths[node as usize]
    }
}
