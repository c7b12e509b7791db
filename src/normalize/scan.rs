//! The fast way: one look at every byte of a record, no copy, no tree.
//!
//! In: bytes that start with a record. Out: where it ends, if the index takes it exactly as it is;
//! what stands in the few fields that the document needs; the terms of what is not mapped.
//! Holds: it says [`Scan`] only of records that are valid JSON, whose every path is known and holds
//! what it may hold, and in which nothing is refused by any engine. Any doubt is `None`, and the
//! record takes the slow way ([`rewrite`](super::rewrite)), which must give the same document.

use std::ops::Range;

use super::{
    fields::{Node, ROOT, Verdict, View},
    more::More,
    text,
};

/// Levels below a record's parts that are followed here; deeper ones take the slow way.
const DEEPEST: u32 = 64;

/// Keys of one object that are compared one by one to find repeats; more take the slow way.
const MOST_KEYS: usize = 256;

/// Lists directly inside each other that are followed here.
const DEEPEST_LISTS: u32 = 16;

/// Digits of the longest number followed here.
const LONGEST_NUMBER: usize = 100;

/// Bytes of the longest key followed here.
const LONGEST_KEY: usize = 1_000;

/// A record that can be taken over as it is.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Offset behind the record.
    pub(super) end: usize,
    /// The inside of eventID's text.
    pub(super) event_id: Range<usize>,
    /// The inside of eventTime's text.
    pub(super) event_time: Range<usize>,
    /// The inside of sourceIPAddress's text.
    pub(super) source_ip: Range<usize>,
    /// How many learned fields the index must know.
    pub(super) needs: u32,
    /// Whether there are line breaks between the tokens.
    pub(super) broken_lines: bool,
}

/// The paths whose values a document needs beside the record itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) event_id: Node,
    pub(super) event_time: Node,
    pub(super) source_ip: Node,
}

impl Wanted {
    /// Finds the paths in a view that knows the core fields.
    pub(super) fn find(view: &View) -> Option<Self> {
        let node = |key: &[u8]| view.child(ROOT, text::hash(key));
        Some(Self {
            event_id: node(b"eventID")?,
            event_time: node(b"eventTime")?,
            source_ip: node(b"sourceIPAddress")?,
        })
    }
}

/// What a scanner keeps from record to record, to allocate nothing.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    hashes: Vec<u64>,
    path: Vec<u8>,
}

/// Looks at the record that starts at `text[start]`.
pub(super) fn scan(
    text: &[u8],
    start: usize,
    view: &View,
    wanted: Wanted,
    more: &mut More,
    scratch: &mut Scratch,
) -> Option<Scan> {
    scratch.hashes.clear();
    scratch.path.clear();
    let found = Scan::default();
    let mut scanner = Scanner { text, at: start + 1, view, wanted, more, scratch, found };
    scanner.object(ROOT, 0)?;
    scanner.found.end = scanner.at;
    Some(scanner.found)
}

struct Scanner<'s> {
    text: &'s [u8],
    at: usize,
    view: &'s View,
    wanted: Wanted,
    more: &'s mut More,
    scratch: &'s mut Scratch,
    found: Scan,
}

/// A bit for each of 64 classes of hashes: two keys of an object can be equal only if they share one.
#[derive(Default)]
struct Seen(u64);

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
                b'\n' | b'\r' => self.found.broken_lines = true,
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
    fn another(&mut self, end: u8) -> Option<bool> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Some(true),
            byte if byte == end => Some(false),
            _ => None,
        }
    }

    /// Passes a key and its colon; `None` if it repeats or is not simple.
    #[inline]
    fn key(&mut self, first: usize, seen: &mut Seen) -> Option<(Range<usize>, u64)> {
        self.eat(b'"')?;
        let start = self.at;
        let key = text::plain_key(self.text, start)?;
        self.at = key.end + 1;
        self.eat(b':')?;
        let hashes = &mut self.scratch.hashes;
        let bit = 1 << (key.hash >> 58);
        if seen.0 & bit != 0
            && (hashes[first..].contains(&key.hash) || hashes.len() - first > MOST_KEYS)
        {
            return None;
        }
        seen.0 |= bit;
        hashes.push(key.hash);
        (key.end - start <= LONGEST_KEY).then_some((start..key.end, key.hash))
    }

    /// Passes the members of an object that the index looks at, behind its brace.
    fn object(&mut self, node: Node, depth: u32) -> Option<()> {
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        let first = self.scratch.hashes.len();
        let mut seen = Seen::default();
        loop {
            let (key, hash) = self.key(first, &mut seen)?;
            if let Some(child) = self.view.child(node, hash) {
                if node == ROOT {
                    self.remember(child);
                }
                self.value(child, depth)?;
            } else {
                self.unknown(node, key)?;
            }
            if !self.another(b'}')? {
                self.scratch.hashes.truncate(first);
                return Some(());
            }
        }
    }

    /// Notes where the values stand that the document needs.
    #[inline]
    fn remember(&mut self, child: Node) {
        let place = if child == self.wanted.event_id {
            &mut self.found.event_id
        } else if child == self.wanted.event_time {
            &mut self.found.event_time
        } else if child == self.wanted.source_ip {
            &mut self.found.source_ip
        } else {
            return;
        };
        // Only simple texts qualify; whoever needs more of them takes the slow way.
        let quote = self.text[self.at..].iter().position(|byte| *byte > b' ').unwrap_or(0);
        if self.text.get(self.at + quote) == Some(&b'"') {
            let start = self.at + quote + 1;
            *place = start..text::special(self.text, start);
        }
    }

    /// Passes a value whose path the view does not know.
    fn unknown(&mut self, node: Node, key: Range<usize>) -> Option<()> {
        let name = &self.text[key];
        let verdict = self.view.known(node).verdict;
        // Dots, blanks and names of the engine's own are for the slow way.
        let plain = name.iter().any(|byte| *byte > b' ')
            && !name.iter().any(|byte| matches!(byte, b'.' | 0x80..))
            && (node != ROOT || name[0] != b'_');
        if !plain {
            return None;
        }
        if verdict != (Verdict::Object { open: true }) && !self.view.is_full() {
            // Values that decide nothing need no decision.
            let nothing = match self.peek()? {
                b'n' => true,
                b'[' => self.text.get(self.at + 1) == Some(&b']'),
                _ => false,
            };
            if !nothing {
                return None;
            }
        }
        let path = &mut self.scratch.path;
        path.clear();
        path.extend_from_slice(self.view.path(node).as_bytes());
        if node != ROOT {
            path.push(b'.');
        }
        path.extend_from_slice(name);
        self.free(0, 0)
    }

    /// Passes a value and checks it against its path.
    #[inline]
    fn value(&mut self, node: Node, depth: u32) -> Option<()> {
        let known = self.view.known(node);
        match known.verdict {
            Verdict::Value => {
                self.found.needs = self.found.needs.max(known.needs);
                self.scalars(0)
            }
            Verdict::Object { .. } => self.objects(node, depth, 0),
            Verdict::Free => {
                self.scratch.path.clear();
                self.scratch.path.extend_from_slice(self.view.path(node).as_bytes());
                self.free(0, 0)
            }
            Verdict::Boolean => match self.peek()? {
                b'"' => {
                    let start = self.at + 1;
                    self.string()?;
                    matches!(&self.text[start..self.at - 1], b"true" | b"false" | b"").then_some(())
                }
                b't' | b'f' | b'n' => self.literal(),
                _ => None,
            },
            Verdict::Reserved => None,
        }
    }

    /// Passes a text, number or word, or a list of them.
    fn scalars(&mut self, lists: u32) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b'[' if lists < DEEPEST_LISTS => {
                self.at += 1;
                if self.peek()? == b']' {
                    self.at += 1;
                    return Some(());
                }
                loop {
                    self.scalars(lists + 1)?;
                    if !self.another(b']')? {
                        return Some(());
                    }
                }
            }
            b't' | b'f' | b'n' => self.literal(),
            _ => self.number(),
        }
    }

    /// Passes an object that the index looks at, or a list of them.
    fn objects(&mut self, node: Node, depth: u32, lists: u32) -> Option<()> {
        match self.peek()? {
            b'{' if depth < DEEPEST => {
                self.at += 1;
                self.object(node, depth + 1)
            }
            b'[' if lists < DEEPEST_LISTS => {
                self.at += 1;
                if self.peek()? == b']' {
                    self.at += 1;
                    return Some(());
                }
                loop {
                    self.objects(node, depth, lists + 1)?;
                    if !self.another(b']')? {
                        return Some(());
                    }
                }
            }
            b'n' => self.literal(),
            _ => None,
        }
    }

    /// Passes a value that the index does not look at; what it says goes to `trailload.more`.
    fn free(&mut self, depth: u32, lists: u32) -> Option<()> {
        match self.peek()? {
            b'"' => {
                let start = self.at + 1;
                self.string()?;
                self.more.add_raw(&self.scratch.path, &self.text[start..self.at - 1]);
                Some(())
            }
            b'{' if depth < DEEPEST => self.free_object(depth),
            b'[' if lists < DEEPEST_LISTS && depth < DEEPEST => {
                self.at += 1;
                if self.peek()? == b']' {
                    self.at += 1;
                    return Some(());
                }
                loop {
                    self.free(depth + 1, lists + 1)?;
                    if !self.another(b']')? {
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
                self.more.add_raw(&self.scratch.path, &self.text[start..self.at]);
                Some(())
            }
        }
    }

    fn free_object(&mut self, depth: u32) -> Option<()> {
        self.at += 1;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        let (first, above) = (self.scratch.hashes.len(), self.scratch.path.len());
        let mut seen = Seen::default();
        loop {
            let (key, _) = self.key(first, &mut seen)?;
            self.scratch.path.push(b'.');
            self.scratch.path.extend_from_slice(&self.text[key]);
            self.free(depth + 1, 0)?;
            self.scratch.path.truncate(above);
            if !self.another(b'}')? {
                self.scratch.hashes.truncate(first);
                return Some(());
            }
        }
    }

    /// Passes a string that starts here.
    #[inline]
    fn string(&mut self) -> Option<()> {
        let mut at = self.at + 1;
        loop {
            at = text::special(self.text, at);
            match self.text.get(at)? {
                b'"' => {
                    self.at = at + 1;
                    return Some(());
                }
                b'\\' => match self.text.get(at + 1)? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                    b'u' => {
                        text::unit(self.text, at + 2)?;
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
            && word.len() <= LONGEST_NUMBER
            && (plain || super::tree::is_number(word)))
        .then_some(())
    }
}
