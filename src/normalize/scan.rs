//! The fast path: reads every byte of a record once, without a copy and without a tree.
//!
//! Input: text that starts with a record. Output: where the record ends, the few values that the document needs, the
//! keys to rename, and the terms of unmapped values.
//!
//! Invariant: a [`ScannedRecord`] is valid JSON; every path in it is known and holds an allowed value, or has a
//! renamed path that allows it; no engine rejects any part of it. In every other case the result is `None` and the
//! record takes the slow path ([`rewrite`](super::rewrite)), which creates the same document.
//!
//! Measured by valgrind on the 3,520 events of `tests/data/events` that take the fast path: 11,000 instructions a record,
//! against 94,000 on the slow path and 80,000 for parsing and writing the record with `serde_json::Value`.

use std::ops::Range;

use super::{
    change_note::Change,
    field_registry::{NewKeys, PathId, PathRule, ROOT},
    identity::{IdentityPart, IdentityRanges},
    path_cache::{self, PathCache, ValueRole},
    text,
    unmapped_terms::{MAX_KEYWORD_BYTES, UnmappedTerms},
};

/// Maximum nesting depth on the fast path.
const MAX_DEPTH: u32 = 64;

/// Maximum number of keys of one object that are compared one by one to find repeated keys.
const MAX_KEYS: usize = 256;

/// Maximum number of directly nested lists on the fast path.
const MAX_LIST_DEPTH: u32 = 16;

/// Maximum length of a number on the fast path.
const MAX_NUMBER_BYTES: usize = 100;

/// Maximum length of a key on the fast path.
const MAX_KEY_BYTES: usize = 1_000;

/// A record that can be copied, apart from `edits`.
#[derive(Debug, Default)]
pub(super) struct ScannedRecord {
    /// Offset behind the record.
    pub(super) end: usize,
    /// Range of the `eventID` string, without quotes.
    pub(super) event_id: Range<usize>,
    /// Range of the `eventTime` string, without quotes.
    pub(super) event_time: Range<usize>,
    /// Range of the `sourceIPAddress` string, without quotes.
    pub(super) source_ip: Range<usize>,
    /// Number of discovered fields that the index must have.
    pub(super) required_fields: u32,
    /// Whether there are line breaks between tokens.
    pub(super) has_line_breaks: bool,
    /// Replacements, in the order of the text.
    pub(super) edits: Vec<Edit>,
    /// Change notes of the edits, equal to those of [`rewrite`](super::rewrite).
    pub(super) changes: Vec<Vec<u8>>,
}

/// Replacement of one range of the text.
#[derive(Debug)]
pub(super) struct Edit {
    pub(super) old: Range<usize>,
    pub(super) new: &'static [u8],
}

/// The paths whose values a document needs besides the record itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequiredPaths {
    pub(super) event_id: PathId,
    pub(super) event_time: PathId,
    pub(super) source_ip: PathId,
}

impl RequiredPaths {
    /// Finds the paths in a cache that contains the core fields.
    pub(super) fn find(cache: &PathCache) -> Option<Self> {
        let path_id = |key: &[u8]| cache.child(ROOT, text::hash(key));
        let [event_id, event_time, source_ip] = path_cache::REQUIRED_KEYS;
        Some(Self {
            event_id: path_id(event_id)?,
            event_time: path_id(event_time)?,
            source_ip: path_id(source_ip)?,
        })
    }
}

/// Buffers that are reused for every record, so that a scan allocates nothing.
#[derive(Debug, Default)]
pub(super) struct ScanBuffers {
    hashes: Vec<u64>,
    path: Vec<u8>,
    name: Vec<u8>,
    /// Where the parts of the identity of the last record are.
    pub(super) identity: IdentityRanges,
}

/// Scans the record that starts at `text[start]`.
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
    buffers.identity = IdentityRanges::default();
    let result = ScannedRecord::default();
    let mut scanner =
        Scanner { text, at: start + 1, cache, required, unmapped, buffers, result, lists: 0 };
    scanner.object(ROOT, 0)?;
    scanner.result.end = scanner.at;
    Some(scanner.result)
}

/// Returns where the content of the value that comes next starts, if it is a string.
#[inline]
fn string_start(text: &[u8], at: usize) -> Option<usize> {
    let space = text[at..].iter().position(|byte| *byte > b' ').unwrap_or(0);
    (text.get(at + space) == Some(&b'"')).then_some(at + space + 1)
}

/// Returns the content of the string that starts there, or `None` if it contains escapes: such a record takes the slow path.
#[inline]
fn plain_string(text: &[u8], start: usize) -> Option<Range<usize>> {
    let end = text::find_special(text, start);
    (text.get(end) == Some(&b'"')).then_some(start..end)
}

struct Scanner<'s> {
    text: &'s [u8],
    at: usize,
    cache: &'s PathCache,
    required: RequiredPaths,
    unmapped: &'s mut UnmappedTerms,
    buffers: &'s mut ScanBuffers,
    result: ScannedRecord,
    /// Number of lists around the current object. A change note of an object in a list would need its position.
    lists: u32,
}

/// A set with one bit for each of 64 classes of hashes. Two keys can be equal only if they share a bit.
#[derive(Default)]
struct SeenKeys(u64);

impl Scanner<'_> {
    /// Skips white space and returns the next byte.
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

    /// Reads the separator behind a value: true for a comma, false for `end`.
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

    /// Reads a key and its colon. `None` if the key repeats or contains escapes.
    fn key(&mut self, first: usize, seen: &mut SeenKeys) -> Option<(Range<usize>, u64)> {
        let start = self.at;
        let key = text::plain_key(self.text, start)?;
        self.at = key.end + 1;
        self.eat(b':')?;
        self.mark_key(key.hash, first, seen)?;
        (key.end - start <= MAX_KEY_BYTES).then_some((start..key.end, key.hash))
    }

    /// Records a key of the current object. `None` if it repeats.
    #[inline]
    fn mark_key(&mut self, hash: u64, first: usize, seen: &mut SeenKeys) -> Option<()> {
        let hashes = &mut self.buffers.hashes;
        let bit = 1 << (hash >> 58);
        if seen.0 & bit != 0 && (hashes[first..].contains(&hash) || hashes.len() - first > MAX_KEYS)
        {
            return None;
        }
        seen.0 |= bit;
        hashes.push(hash);
        Some(())
    }

    /// Reads a key that did not match the expected ones, and its colon. Returns its path, if known, and the offset of
    /// its closing quote.
    fn look_up_key(
        &mut self,
        path_id: PathId,
        before: PathId,
        first: usize,
        seen: &mut SeenKeys,
    ) -> Option<(Option<PathId>, usize)> {
        let start = self.at;
        let key = text::plain_key(self.text, start)?;
        self.at = key.end + 1;
        self.eat(b':')?;
        let child = self.cache.child(path_id, key.hash);
        match child {
            Some(child) => self.cache.remember_next(before, child),
            None => self.mark_key(key.hash, first, seen)?,
        }
        (key.end - start <= MAX_KEY_BYTES).then_some((child, key.end))
    }

    /// Scans the members of a mapped object, behind its opening brace.
    fn object(&mut self, path_id: PathId, depth: u32) -> Option<()> {
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        let (text, cache) = (self.text, self.cache);
        let first = self.buffers.hashes.len();
        let mut seen = SeenKeys::default();
        let object = cache.new_object();
        let (mut before, mut required_fields) = (path_id, 0);
        self.eat(b'"')?;
        // As long as members come as expected, the offset stays in a local variable, and so in a register.
        let mut at = self.at;
        loop {
            let start = at;
            let (child, end) =
                if let Some((child, end)) = cache.match_expected(path_id, before, text, start) {
                    at = end;
                    // The match includes the closing quote and the colon.
                    (Some(child), end - 2)
                } else {
                    self.at = start;
                    let key = self.look_up_key(path_id, before, first, &mut seen)?;
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
                    if let ValueRole::Identity(part) = step.role
                        && let Some((end, _)) = simple
                    {
                        self.record_identity(part, at + 1..end - 1);
                    }
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
                self.member(path_id, child, start..end, object, depth)?;
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

    /// Scans the value of a member.
    fn member(
        &mut self,
        path_id: PathId,
        child: Option<PathId>,
        key: Range<usize>,
        object: u64,
        depth: u32,
    ) -> Option<()> {
        let Some(child) = child else { return self.unknown(path_id, key) };
        if path_id == ROOT {
            self.record_required(child)?;
        } else if let ValueRole::Identity(part) = self.cache.entry(child).role
            && let Some(start) = string_start(self.text, self.at)
        {
            let range = plain_string(self.text, start)?;
            self.record_identity(part, range);
        }
        self.value(path_id, child, key, object, depth)
    }

    /// Records where the required values are.
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
        if let Some(start) = string_start(self.text, self.at) {
            *place = plain_string(self.text, start)?;
        }
        Some(())
    }

    /// Records where a part of the identity is. Inside of a list there is none.
    #[inline]
    fn record_identity(&mut self, part: IdentityPart, range: Range<usize>) {
        if self.lists == 0 {
            self.buffers.identity.set(part, range);
        }
    }

    /// Scans a value whose path is not in the cache.
    fn unknown(&mut self, path_id: PathId, key: Range<usize>) -> Option<()> {
        let name = &self.text[key];
        let PathRule::Object { new_keys } = self.cache.info(path_id).rule else { return None };
        // Keys with dots or white space, and metadata fields of the engine, take the slow path.
        let plain = name.iter().any(|byte| *byte > b' ')
            && !name.iter().any(|byte| matches!(byte, b'.' | 0x80..))
            && (path_id != ROOT || name[0] != b'_');
        if !plain {
            return None;
        }
        // `null` and empty lists decide nothing about a path.
        let nothing = match self.peek()? {
            b'n' => true,
            b'[' => self.text.get(self.at + 1) == Some(&b']'),
            _ => false,
        };
        if !nothing && new_keys == NewKeys::Mapped && !self.cache.is_full() {
            return None;
        }
        let path = &mut self.buffers.path;
        path.clear();
        path.extend_from_slice(self.cache.name(path_id).as_bytes());
        if path_id != ROOT {
            path.push(b'.');
        }
        path.extend_from_slice(name);
        // A key of an open object, or a path beyond the field limit, may be one of the kind table that this run has
        // not seen yet.
        if !nothing && new_keys != NewKeys::Unmapped && self.cache.is_known_field(path) {
            return None;
        }
        self.unmapped_value(0, 0)
    }

    /// Scans a value and checks it against the rule of its path.
    #[inline]
    fn value(
        &mut self,
        parent: PathId,
        path_id: PathId,
        key: Range<usize>,
        object: u64,
        depth: u32,
    ) -> Option<()> {
        let info = self.cache.info(path_id);
        match info.rule {
            PathRule::Value | PathRule::Unmapped => {
                let holds_object = match self.peek()? {
                    b'{' => true,
                    b'[' => self.list_starts_with(b'{'),
                    _ => false,
                };
                if holds_object {
                    return self.object_under_suffix(parent, key, object, depth);
                }
                // At the top level, whether such a list holds a value is found out on the slow path.
                if parent == ROOT
                    && self.peek()? == b'['
                    && [b'[', b']', b'n'].iter().any(|byte| self.list_starts_with(*byte))
                {
                    return None;
                }
                self.mapped_values(path_id)
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
                self.object_or_list(path_id, depth, 0)
            }
            PathRule::Anything => {
                self.buffers.path.clear();
                self.buffers.path.extend_from_slice(self.cache.name(path_id).as_bytes());
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

    /// Returns whether the first element of the list at the current offset starts with `byte`.
    fn list_starts_with(&self, byte: u8) -> bool {
        self.text[self.at + 1..].iter().find(|byte| **byte > b' ') == Some(&byte)
    }

    /// Scans an object at a path for values, and renames its key to the path that the index has for such objects.
    fn object_under_suffix(
        &mut self,
        parent: PathId,
        key: Range<usize>,
        object: u64,
        depth: u32,
    ) -> Option<()> {
        // EC2's `{"value": …}` wrappers are removed on the slow path.
        if self.text[self.at + 1..].trim_ascii_start().starts_with(b"\"value\"") {
            return None;
        }
        let path_id = self.rename(parent, key, b"_object", object)?;
        let PathRule::Object { .. } = self.cache.info(path_id).rule else { return None };
        self.object_or_list(path_id, depth, 0)
    }

    /// Scans a value at a path for objects: replaces an empty one by `{}`, and renames the key of any other.
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
        // A list that starts with an empty string may contain nothing else, which the slow path checks.
        if rest[0] == b'[' && rest[1..].trim_ascii_start().starts_with(b"\"\"") {
            return None;
        }
        let path_id = self.rename(parent, key, b"_value", object)?;
        self.mapped_values(path_id)
    }

    /// Scans a scalar or a list of scalars, if the path allows it.
    #[inline]
    fn mapped_values(&mut self, path_id: PathId) -> Option<()> {
        let info = self.cache.info(path_id);
        match info.rule {
            PathRule::Value => {
                self.result.required_fields = self.result.required_fields.max(info.required_fields);
                let start = self.at;
                self.scalar_or_list(0)?;
                if self.at - start > MAX_KEYWORD_BYTES {
                    self.add_long_texts(path_id, start, self.at);
                }
                Some(())
            }
            PathRule::Unmapped => {
                // The first pass ensures that there are no objects, which take the slow path.
                let start = self.at;
                self.scalar_or_list(0)?;
                self.at = start;
                self.buffers.path.clear();
                self.buffers.path.extend_from_slice(self.cache.name(path_id).as_bytes());
                self.unmapped_value(0, 0)
            }
            _ => None,
        }
    }

    /// Adds terms for those strings in `from..to` that are longer than keyword fields index.
    #[cold]
    #[inline(never)]
    fn add_long_texts(&mut self, path_id: PathId, from: usize, to: usize) {
        let path = self.cache.name(path_id).as_bytes();
        let mut at = from;
        // There are no quotes between strings.
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

    /// Appends a suffix to a key, if the resulting path is known and not used in this object.
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
        let path_id = self.cache.child(parent, text::hash(name))?;
        if !self.cache.mark_seen(path_id, object) {
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
        Some(path_id)
    }

    /// Starts a change note for a member. `None` if the pointer would need escapes or a list position.
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

    /// Scans a scalar or a list of scalars.
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

    /// Scans a mapped object or a list of objects.
    fn object_or_list(&mut self, path_id: PathId, depth: u32, lists: u32) -> Option<()> {
        match self.peek()? {
            b'{' if depth < MAX_DEPTH => {
                self.at += 1;
                self.object(path_id, depth + 1)
            }
            b'[' if lists < MAX_LIST_DEPTH => {
                self.at += 1;
                if self.peek()? == b']' {
                    self.at += 1;
                    return Some(());
                }
                self.lists += 1;
                loop {
                    self.object_or_list(path_id, depth, lists + 1)?;
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

    /// Scans an unmapped value and adds its terms.
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

    /// Scans a string that starts at the current offset.
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
        // Nearly all numbers are whole and without a sign.
        let plain =
            word.iter().all(u8::is_ascii_digit) && (word.len() == 1 || word.first() != Some(&b'0'));
        (!word.is_empty()
            && word.len() <= MAX_NUMBER_BYTES
            && (plain || super::tree::is_number(word)))
        .then_some(())
    }
}
