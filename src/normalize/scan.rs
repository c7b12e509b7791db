//! The fast way: one look at every byte of a record, no copy, no tree.
//!
//! In: bytes that start with a record. Out: where it ends, if the index takes it as it is, or with
//! a few keys renamed; what stands in the few fields that the document needs; the terms of what is
//! not mapped.
//! Holds: it says [`ScannedRecord`] only of records that are valid JSON, whose every path is known and holds
//! what it may hold, or has a known neighbour that may, and in which nothing is refused by any engine.
//! Any doubt is `None`, and the record takes the slow way ([`rewrite`](super::rewrite)), which must
//! give the same document.
//!
//! Keys come in the order they came in last time, nearly always: each path remembers which one
//! followed it, and is compared with before anything is hashed.

use std::ops::Range;

use super::{
    change_note::Change,
    field_registry::{PathId, ROOT, PathRule},
    path_cache::{self, PathCache},
    text,
    unmapped_terms::{MAX_KEYWORD_BYTES, UnmappedTerms},
};

/// Levels below a record's parts that are followed here; deeper ones take the slow way.
const MAX_DEPTH: u32 = 64;

/// Keys of one object that are compared one by one to find repeats; more take the slow way.
const MAX_KEYS: usize = 256;

/// Lists directly inside each other that are followed here.
const MAX_LIST_DEPTH: u32 = 16;

/// Digits of the longest number followed here.
const MAX_NUMBER_BYTES: usize = 100;

/// Bytes of the longest key followed here.
const MAX_KEY_BYTES: usize = 1_000;

/// A record that can be taken over as it is.
#[derive(Debug, Default)]
pub(super) struct ScannedRecord {
    /// Offset behind the record.
    pub(super) end: usize,
    /// The inside of eventID's text.
    pub(super) event_id: Range<usize>,
    /// The inside of eventTime's text.
    pub(super) event_time: Range<usize>,
    /// The inside of sourceIPAddress's text.
    pub(super) source_ip: Range<usize>,
    /// How many learned fields the index must know.
    pub(super) required_fields: u32,
    /// Whether there are line breaks between the tokens.
    pub(super) has_line_breaks: bool,
    /// What to change, in the order of the text.
    pub(super) edits: Vec<Edit>,
    /// The notes on that, as [`rewrite`](super::rewrite) makes them.
    pub(super) changes: Vec<Vec<u8>>,
}

/// A piece of the text that is replaced.
#[derive(Debug)]
pub(super) struct Edit {
    pub(super) old: Range<usize>,
    pub(super) new: &'static [u8],
}

/// The paths whose values a document needs beside the record itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequiredPaths {
    pub(super) event_id: PathId,
    pub(super) event_time: PathId,
    pub(super) source_ip: PathId,
}

impl RequiredPaths {
    /// Finds the paths in a view that knows the core fields.
    pub(super) fn find(cache: &PathCache) -> Option<Self> {
        let node = |key: &[u8]| cache.child(ROOT, text::hash(key));
        let [event_id, event_time, source_ip] = path_cache::REQUIRED_KEYS;
        Some(Self {
            event_id: node(event_id)?,
            event_time: node(event_time)?,
            source_ip: node(source_ip)?,
        })
    }
}

/// What a scanner keeps from record to record, to allocate nothing.
#[derive(Debug, Default)]
pub(super) struct ScanBuffers {
    hashes: Vec<u64>,
    path: Vec<u8>,
    name: Vec<u8>,
}

/// Looks at the record that starts at `text[start]`.
pub(super) fn scan(
    text: &[u8],
    start: usize,
    cache: &PathCache,
    required: RequiredPaths,
    unmapped: &mut UnmappedTerms,
    buffers: &mut ScanBuffers,
) -> Option<ScannedRecord> {
    buffers.hashes.clear();
    buffers.path.clear();
    let result = ScannedRecord::default();
    let mut scanner = Scanner { text, at: start + 1, cache, required, unmapped, buffers, result, lists: 0 };
    scanner.object(ROOT, 0)?;
    scanner.result.end = scanner.at;
    Some(scanner.result)
}

struct Scanner<'s> {
    text: &'s [u8],
    at: usize,
    cache: &'s PathCache,
    required: RequiredPaths,
    unmapped: &'s mut UnmappedTerms,
    buffers: &'s mut ScanBuffers,
    result: ScannedRecord,
    /// Lists around the object we are in: what is renamed in one would need its position in the note.
    lists: u32,
}

/// A bit for each of 64 classes of hashes: two keys of an object can be equal only if they share one.
#[derive(Default)]
struct SeenKeys(u64);

impl Scanner<'_> {
    /// Returns the next byte that is not white space.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.get(self.at)?;
            if byte > b' ' {
                return Some(byte);
            }
            match byte {
                b' ' | b'\t' => {}
                b'\n' | b'\r' => self.result.has_line_breaks = true,
                _ => return None,
            }
            self.at += 1;
        }
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> Option<()> {
        if self.peek()? != byte {
            return None;
        }
        self.at += 1;
        Some(())
    }

    /// Passes what follows a value: true if another one comes, false behind `end`.
    #[inline]
    fn has_next(&mut self, end: u8) -> Option<bool> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Some(true),
            byte if byte == end => Some(false),
            _ => None,
        }
    }

    /// Passes a key and its colon; `None` if it repeats or is not simple.
    fn key(&mut self, first: usize, seen: &mut SeenKeys) -> Option<(Range<usize>, u64)> {
        let start = self.at;
        let key = text::plain_key(self.text, start)?;
        self.at = key.end + 1;
        self.eat(b':')?;
        self.mark_key(key.hash, first, seen)?;
        (key.end - start <= MAX_KEY_BYTES).then_some((start..key.end, key.hash))
    }

    /// Remembers a key of an object; `None` if it was there already.
    #[inline]
    fn mark_key(&mut self, hash: u64, first: usize, seen: &mut SeenKeys) -> Option<()> {
        let hashes = &mut self.buffers.hashes;
        let bit = 1 << (hash >> 58);
        if seen.0 & bit != 0
            && (hashes[first..].contains(&hash) || hashes.len() - first > MAX_KEYS)
        {
            return None;
        }
        seen.0 |= bit;
        hashes.push(hash);
        Some(())
    }

    /// Passes a key that did not follow `before` the last times, and the colon. Returns its path, if that is
    /// known, and where the key ends.
    fn look_up_key(
        &mut self,
        node: PathId,
        before: PathId,
        first: usize,
        seen: &mut SeenKeys,
    ) -> Option<(Option<PathId>, usize)> {
        let start = self.at;
        let key = text::plain_key(self.text, start)?;
        self.at = key.end + 1;
        self.eat(b':')?;
        let child = self.cache.child(node, key.hash);
        match child {
            Some(child) => self.cache.remember_next(before, child),
            None => self.mark_key(key.hash, first, seen)?,
        }
        (key.end - start <= MAX_KEY_BYTES).then_some((child, key.end))
    }

    /// Passes the members of an object that the index looks at, behind its brace.
    fn object(&mut self, node: PathId, depth: u32) -> Option<()> {
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        let (text, cache) = (self.text, self.cache);
        let first = self.buffers.hashes.len();
        let mut seen = SeenKeys::default();
        let object = cache.new_object();
        let (mut before, mut required_fields) = (node, 0);
        self.eat(b'"')?;
        // As long as all is as expected, the place is kept here and not in `self`.
        let mut at = self.at;
        loop {
            let start = at;
            let (child, end) = if let Some((child, end)) = cache.match_expected(node, before, text, start) {
                at = end;
                // Behind the name stand its quote and the colon.
                (Some(child), end - 2)
            } else {
                self.at = start;
                let key = self.look_up_key(node, before, first, &mut seen)?;
                at = self.at;
                key
            };
            let mut simple = None;
            if let Some(child) = child {
                let step = cache.entry(child);
                if !step.mark_seen(object) {
                    return None;
                }
                if step.is_plain_value {
                    simple = text::plain_string(text, at).map(|end| (end, step.required_fields()));
                }
                before = child;
            }
            if let Some((end, need)) = simple {
                if end - at > MAX_KEYWORD_BYTES {
                    self.add_long_texts(before, at, end);
                }
                at = end;
                required_fields = required_fields.max(need);
            } else {
                self.at = at;
                self.member(node, child, start..end, object, depth)?;
                at = self.at;
            }
            if text.get(at..).and_then(|rest| rest.first_chunk()) == Some(b",\"") {
                at += 2;
                continue;
            }
            self.at = at;
            if !self.has_next(b'}')? {
                self.result.required_fields = self.result.required_fields.max(required_fields);
                self.buffers.hashes.truncate(first);
                return Some(());
            }
            self.eat(b'"')?;
            at = self.at;
        }
    }

    /// Passes the value of a member, whatever it is.
    fn member(
        &mut self,
        node: PathId,
        child: Option<PathId>,
        key: Range<usize>,
        object: u64,
        depth: u32,
    ) -> Option<()> {
        let Some(child) = child else { return self.unknown(node, key) };
        if node == ROOT {
            self.record_required(child)?;
        }
        self.value(node, child, key, object, depth)
    }

    /// Notes where the values stand that the document needs.
    #[inline]
    fn record_required(&mut self, child: PathId) -> Option<()> {
        let place = if child == self.required.event_id {
            &mut self.result.event_id
        } else if child == self.required.event_time {
            &mut self.result.event_time
        } else if child == self.required.source_ip {
            &mut self.result.source_ip
        } else {
            return Some(());
        };
        // Only simple texts qualify; one with escapes takes the slow way.
        let space = self.text[self.at..].iter().position(|byte| *byte > b' ').unwrap_or(0);
        if self.text.get(self.at + space) == Some(&b'"') {
            let start = self.at + space + 1;
            let end = text::find_special(self.text, start);
            *place = start..end;
            return (self.text.get(end) == Some(&b'"')).then_some(());
        }
        Some(())
    }

    /// Passes a value whose path the view does not know.
    fn unknown(&mut self, node: PathId, key: Range<usize>) -> Option<()> {
        let name = &self.text[key];
        let rule = self.cache.known(node).rule;
        // Dots, blanks and names of the engine's own are for the slow way.
        let plain = name.iter().any(|byte| *byte > b' ')
            && !name.iter().any(|byte| matches!(byte, b'.' | 0x80..))
            && (node != ROOT || name[0] != b'_');
        if !plain {
            return None;
        }
        // Values that decide nothing need no decision.
        let nothing = match self.peek()? {
            b'n' => true,
            b'[' => self.text.get(self.at + 1) == Some(&b']'),
            _ => false,
        };
        let open = rule == PathRule::Object { open: true };
        if !nothing && !open && !self.cache.is_full() {
            return None;
        }
        let path = &mut self.buffers.path;
        path.clear();
        path.extend_from_slice(self.cache.name(node).as_bytes());
        if node != ROOT {
            path.push(b'.');
        }
        path.extend_from_slice(name);
        // Among free keys, and those beyond the budget, there may be one that the table knows, and this run
        // has not met.
        if !nothing && self.cache.is_known_field(path) {
            return None;
        }
        self.unmapped_value(0, 0)
    }

    /// Passes a value and checks it against its path.
    #[inline]
    fn value(
        &mut self,
        parent: PathId,
        node: PathId,
        key: Range<usize>,
        object: u64,
        depth: u32,
    ) -> Option<()> {
        let known = self.cache.known(node);
        match known.rule {
            PathRule::Value | PathRule::Unmapped => {
                let holds_object = match self.peek()? {
                    b'{' => true,
                    b'[' => self.list_starts_with(b'{'),
                    _ => false,
                };
                if holds_object {
                    return self.object_under_suffix(parent, key, object, depth);
                }
                self.mapped_values(node)
            }
            PathRule::Object { .. } => {
                let holds_object = match self.peek()? {
                    b'{' | b'n' => true,
                    b'[' => {
                        [b'{', b'[', b']', b'n'].iter().any(|byte| self.list_starts_with(*byte))
                    }
                    _ => false,
                };
                if !holds_object {
                    return self.value_under_suffix(parent, key, object);
                }
                self.object_or_list(node, depth, 0)
            }
            PathRule::Anything => {
                self.buffers.path.clear();
                self.buffers.path.extend_from_slice(self.cache.name(node).as_bytes());
                self.unmapped_value(0, 0)
            }
            PathRule::Boolean => match self.peek()? {
                b'"' => {
                    let start = self.at + 1;
                    self.string()?;
                    matches!(&self.text[start..self.at - 1], b"true" | b"false" | b"").then_some(())
                }
                b't' | b'f' | b'n' => self.literal(),
                _ => None,
            },
            PathRule::Reserved => None,
        }
    }

    /// Returns whether the list that starts here begins with this byte.
    fn list_starts_with(&self, byte: u8) -> bool {
        self.text[self.at + 1..].iter().find(|byte| **byte > b' ') == Some(&byte)
    }

    /// Passes objects that stand where values belong: under the name that the index keeps for them.
    fn object_under_suffix(
        &mut self,
        parent: PathId,
        key: Range<usize>,
        object: u64,
        depth: u32,
    ) -> Option<()> {
        // EC2's wrappers are taken off, which is for the slow way.
        if self.text[self.at + 1..].trim_ascii_start().starts_with(b"\"value\"") {
            return None;
        }
        let node = self.rename(parent, key, b"_object", object)?;
        let PathRule::Object { .. } = self.cache.known(node).rule else { return None };
        self.object_or_list(node, depth, 0)
    }

    /// Passes values that stand where objects belong: an empty one becomes `{}`, others get the name that the
    /// index keeps for them.
    fn value_under_suffix(&mut self, parent: PathId, key: Range<usize>, object: u64) -> Option<()> {
        let rest = &self.text[self.at..];
        for (empty, note) in [(&b"\"\""[..], &b" \\\"\\\""[..]), (b"[\"\"]", b" [\\\"\\\"]")] {
            if rest.starts_with(empty) {
                let name = &self.text[key];
                let mut step = self.begin_note(Change::Replaced, parent, name)?;
                step.extend_from_slice(note);
                self.result.changes.push(step);
                let old = self.at..self.at + empty.len();
                self.at = old.end;
                self.result.edits.push(Edit { old, new: b"{}" });
                return Some(());
            }
        }
        // A list that begins with an empty text may be empty all the same.
        if rest[0] == b'[' && rest[1..].trim_ascii_start().starts_with(b"\"\"") {
            return None;
        }
        let node = self.rename(parent, key, b"_value", object)?;
        self.mapped_values(node)
    }

    /// Passes a text, number or word, or a list of them, if the path holds such.
    #[inline]
    fn mapped_values(&mut self, node: PathId) -> Option<()> {
        let known = self.cache.known(node);
        match known.rule {
            PathRule::Value => {
                self.result.required_fields = self.result.required_fields.max(known.required_fields);
                let start = self.at;
                self.scalar_or_list(0)?;
                if self.at - start > MAX_KEYWORD_BYTES {
                    self.add_long_texts(node, start, self.at);
                }
                Some(())
            }
            PathRule::Unmapped => {
                // Twice: objects among the values are for the slow way.
                let start = self.at;
                self.scalar_or_list(0)?;
                self.at = start;
                self.buffers.path.clear();
                self.buffers.path.extend_from_slice(self.cache.name(node).as_bytes());
                self.unmapped_value(0, 0)
            }
            _ => None,
        }
    }

    /// Adds terms for the texts among the values passed at `from..to` that are too long for their field.
    #[cold]
    #[inline(never)]
    fn add_long_texts(&mut self, node: PathId, from: usize, to: usize) {
        let path = self.cache.name(node).as_bytes();
        let mut at = from;
        // There is no quote between texts.
        while let Some(quote) = memchr::memchr(b'"', &self.text[at..to]) {
            let start = at + quote + 1;
            let mut end = text::find_special(self.text, start);
            while self.text.get(end) == Some(&b'\\') {
                end = text::find_special(self.text, end + 2);
            }
            if end - start > MAX_KEYWORD_BYTES {
                self.unmapped.add_if_ignored(path, &self.text[start..end]);
            }
            at = end + 1;
        }
    }

    /// Gives a key its suffix, if the path that it makes is known and free in this object.
    fn rename(
        &mut self,
        parent: PathId,
        key: Range<usize>,
        suffix: &'static [u8],
        object: u64,
    ) -> Option<PathId> {
        let old = &self.text[key.clone()];
        let name = &mut self.buffers.name;
        name.clear();
        name.extend_from_slice(old);
        name.extend_from_slice(suffix);
        let node = self.cache.child(parent, text::hash(name))?;
        if !self.cache.mark_seen(node, object) {
            return None;
        }
        let name = std::mem::take(name);
        let step = self.begin_note(Change::Renamed, parent, &name);
        self.buffers.name = name;
        let mut step = step?;
        step.push(b' ');
        step.extend_from_slice(old);
        self.result.changes.push(step);
        self.result.edits.push(Edit { old: key.end..key.end, new: suffix });
        Some(node)
    }

    /// Begins a note about a member. `None` where its place cannot be said simply.
    fn begin_note(&self, change: Change, parent: PathId, name: &[u8]) -> Option<Vec<u8>> {
        let path = self.cache.name(parent).as_bytes();
        let odd = |byte: &u8| matches!(byte, b'~' | b'/' | b' ' | b'"' | b'\\' | 0..0x20 | 0x80..);
        if self.lists > 0 || path.iter().any(odd) || name.iter().any(odd) {
            return None;
        }
        let mut step = [change.word().as_bytes(), b" "].concat();
        if parent != ROOT {
            step.push(b'/');
            step.extend(path.iter().map(|byte| if *byte == b'.' { b'/' } else { *byte }));
        }
        step.push(b'/');
        step.extend_from_slice(name);
        Some(step)
    }

    /// Passes a text, number or word, or a list of them.
    fn scalar_or_list(&mut self, lists: u32) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b'[' if lists < MAX_LIST_DEPTH => {
                self.at += 1;
                if self.peek()? == b']' {
                    self.at += 1;
                    return Some(());
                }
                loop {
                    self.scalar_or_list(lists + 1)?;
                    if !self.has_next(b']')? {
                        return Some(());
                    }
                }
            }
            b't' | b'f' | b'n' => self.literal(),
            _ => self.number(),
        }
    }

    /// Passes an object that the index looks at, or a list of them.
    fn object_or_list(&mut self, node: PathId, depth: u32, lists: u32) -> Option<()> {
        match self.peek()? {
            b'{' if depth < MAX_DEPTH => {
                self.at += 1;
                self.object(node, depth + 1)
            }
            b'[' if lists < MAX_LIST_DEPTH => {
                self.at += 1;
                if self.peek()? == b']' {
                    self.at += 1;
                    return Some(());
                }
                self.lists += 1;
                loop {
                    self.object_or_list(node, depth, lists + 1)?;
                    if !self.has_next(b']')? {
                        self.lists -= 1;
                        return Some(());
                    }
                }
            }
            b'n' => self.literal(),
            _ => None,
        }
    }

    /// Passes a value that the index does not look at; what it says goes to `trailload.unmapped`.
    fn unmapped_value(&mut self, depth: u32, lists: u32) -> Option<()> {
        match self.peek()? {
            b'"' => {
                let start = self.at + 1;
                self.string()?;
                self.unmapped.add_raw(&self.buffers.path, &self.text[start..self.at - 1]);
                Some(())
            }
            b'{' if depth < MAX_DEPTH => self.unmapped_object(depth),
            b'[' if lists < MAX_LIST_DEPTH && depth < MAX_DEPTH => {
                self.at += 1;
                if self.peek()? == b']' {
                    self.at += 1;
                    return Some(());
                }
                loop {
                    self.unmapped_value(depth + 1, lists + 1)?;
                    if !self.has_next(b']')? {
                        return Some(());
                    }
                }
            }
            b'n' => self.literal(),
            byte => {
                let start = self.at;
                if matches!(byte, b't' | b'f') {
                    self.literal()?;
                } else {
                    self.number()?;
                }
                self.unmapped.add_raw(&self.buffers.path, &self.text[start..self.at]);
                Some(())
            }
        }
    }

    fn unmapped_object(&mut self, depth: u32) -> Option<()> {
        self.at += 1;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        let (first, above) = (self.buffers.hashes.len(), self.buffers.path.len());
        let mut seen = SeenKeys::default();
        loop {
            self.eat(b'"')?;
            let (key, _) = self.key(first, &mut seen)?;
            self.buffers.path.push(b'.');
            self.buffers.path.extend_from_slice(&self.text[key]);
            self.unmapped_value(depth + 1, 0)?;
            self.buffers.path.truncate(above);
            if !self.has_next(b'}')? {
                self.buffers.hashes.truncate(first);
                return Some(());
            }
        }
    }

    /// Passes a string that starts here.
    #[inline]
    fn string(&mut self) -> Option<()> {
        let mut at = self.at + 1;
        loop {
            at = text::find_special(self.text, at);
            match self.text.get(at)? {
                b'"' => {
                    self.at = at + 1;
                    return Some(());
                }
                b'\\' => match self.text.get(at + 1)? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                    b'u' => {
                        text::utf16_unit(self.text, at + 2)?;
                        at += 6;
                    }
                    _ => return None,
                },
                _ => return None,
            }
        }
    }

    fn literal(&mut self) -> Option<()> {
        for word in [&b"null"[..], b"true", b"false"] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Some(());
            }
        }
        None
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
        }
        let word = &self.text[start..self.at];
        // Nearly all are plain whole numbers.
        let plain =
            word.iter().all(u8::is_ascii_digit) && (word.len() == 1 || word.first() != Some(&b'0'));
        (!word.is_empty()
            && word.len() <= MAX_NUMBER_BYTES
            && (plain || super::tree::is_number(word)))
        .then_some(())
    }
}
