//! The kind table: what the value at each known path is.
//!
//! In: the compressed text that `scripts/derive-kinds` writes from the API models, about 150,000 paths. Out: the kind of a
//! path, in one probe. Holds: a path is joined by `.`, list levels are left out, and it is get_ignore_case as documents hold it
//! after the rewrite (`requestParameters.policy_object.rules`).
//! Absent on purpose: names. Only hashes are kept (2 MiB), so the table cannot be listed; two paths of one hash would
//! share a kind, which at 64 bits happens once in 10^9 tables and would cost a renamed key.
//!
//! `build.rs` uses this file too: it makes the table that is built in, which is then used where it lies in the program.
//! Reading the text takes 20 ms, longer than loading 5,000 events.

use std::{borrow::Cow, io::Read as _};

use serde::Deserialize;

/// What the value at a path is, and so which key it stands under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum FieldKind {
    /// An object whose keys are names: each is a field of its own.
    Object = 0,
    /// Text, number, boolean, or a list of these.
    Scalar = 1,
    /// An object with free keys, such as tags: its unknown keys are never mapped.
    Map = 2,
    /// Any JSON: taken as it is, and nothing of it is ever mapped.
    Document = 3,
}

/// The first line of the text starts with this, then come the sources it was made of.
const FORMAT: &str = "trailload-kinds 1";

/// A table of this many bytes is no table (today's has 2 MB), so unpacking stops there.
const TEXT_LIMIT: u64 = 64 << 20;

/// Marks an occupied slot; the two bits below hold the kind, the one above says whether names below the
/// place are known, and the others are the hash.
const TAKEN: u64 = 0b100;
const KIND_BITS: u64 = 0b0011;
const HOLDS: u64 = 0b1000;
const NOT_HASH: u64 = KIND_BITS | HOLDS;

/// Where in a document we are, as a number: the hash of the path, grown name by name.
///
/// FNV-1a over the joined path, so that `a` + `.` + `b` and `a.b` are the same place, as they are for an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PathHash(u64);

impl PathHash {
    /// The document itself.
    const ROOT: Self = Self(0xcbf2_9ce4_8422_2325);

    /// Returns the place that a whole path names.
    pub(super) fn of(path: &str) -> Self {
        Self::ROOT.then(path.as_bytes())
    }

    /// Returns where the names of the members of the object here begin.
    fn joint(self) -> Self {
        if self == Self::ROOT { self } else { self.then(b".") }
    }

    fn then(self, bytes: &[u8]) -> Self {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self(bytes.iter().fold(self.0, step))
    }

    /// Spreads the hash over all bits: FNV-1a leaves the upper ones of short texts much alike.
    fn spread(self) -> u64 {
        let hash = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ (hash >> 29)
    }
}

/// Bytes of a slot, the lowest first.
const SLOT: usize = 8;

/// The table: open addressing over hashes, at most four fifths full.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KindTable {
    /// As bytes, so that a table can be used where it lies.
    slots: Cow<'static, [u8]>,
}

impl KindTable {
    /// Takes a table that was made before. `None` if it cannot be one.
    pub(super) fn built(slots: &'static [u8]) -> Option<Self> {
        let fits = slots.len() >= SLOT && slots.len().is_power_of_two();
        fits.then_some(Self { slots: Cow::Borrowed(slots) })
    }

    /// Unpacks and reads the compressed table. `spare` more paths may be [`set`](Self::set) later.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with it, in words that fit behind the file's name.
    pub(super) fn unpack(packed: &[u8], spare: usize) -> Result<Self, String> {
        let mut text = String::with_capacity(packed.len() * 8);
        zstd::stream::read::Decoder::with_buffer(packed)
            .and_then(|decoder| decoder.take(TEXT_LIMIT).read_to_string(&mut text))
            .map_err(|error| format!("cannot be unpacked ({error})"))?;
        Self::parse(&text, spare)
    }

    /// Reads the table's text.
    fn parse(text: &str, spare: usize) -> Result<Self, String> {
        let (first, tree) = text.split_once('\n').ok_or("has no first line")?;
        if first != FORMAT && !first.strip_prefix(FORMAT).is_some_and(|rest| rest.starts_with(' '))
        {
            let found: String = first.chars().take(40).collect();
            return Err(format!("starts with `{found}`, not with `{FORMAT}`"));
        }
        let mut kinds = Self::with_room_for(names_in(tree) + spare);
        Reader {
            bytes: tree.trim_end().as_bytes(),
            at: 0,
            place: PathHash::ROOT,
            above: Vec::new(),
        }
        .read_into(&mut kinds)
        .map_err(|(at, what)| format!("{what} at byte {}", first.len() + 1 + at))?;
        Ok(kinds)
    }

    fn with_room_for(paths: usize) -> Self {
        let slots = (paths + paths / 4).next_power_of_two().max(16);
        Self { slots: Cow::Owned(vec![0; slots * SLOT]) }
    }

    /// Returns the kind of a place, or `None` if it is unknown.
    pub(super) fn get(&self, place: PathHash) -> Option<FieldKind> {
        let (_, slot) = self.find(place);
        match (slot != 0, slot & KIND_BITS) {
            (false, _) => None,
            (true, 0) => Some(FieldKind::Object),
            (true, 1) => Some(FieldKind::Scalar),
            (true, 2) => Some(FieldKind::Map),
            (true, _) => Some(FieldKind::Document),
        }
    }

    /// Returns whether names below a place are known.
    pub(super) fn holds_names(&self, place: PathHash) -> bool {
        self.find(place).1 & HOLDS != 0
    }

    /// Says what a place is that services disagree about: the last word, and something below it may be mapped.
    pub(super) fn declare(&mut self, place: PathHash, kind: FieldKind) {
        self.set(place, kind);
        self.set_holding(place);
    }

    /// Says what a place is; the last word wins.
    fn set(&mut self, place: PathHash, kind: FieldKind) {
        let (at, slot) = self.find(place);
        self.put(at, (place.spread() & !NOT_HASH) | (slot & HOLDS) | TAKEN | kind as u64);
    }

    /// Says that something below a place, which has a kind already, is to be mapped.
    fn set_holding(&mut self, place: PathHash) {
        let (at, slot) = self.find(place);
        self.put(at, slot | HOLDS);
    }

    fn put(&mut self, at: usize, slot: u64) {
        self.slots.to_mut()[at * SLOT..][..SLOT].copy_from_slice(&slot.to_le_bytes());
    }

    /// Returns the slot that holds the place, or the free one where it belongs, and what is in it. There is one: the
    /// table is never full.
    fn find(&self, place: PathHash) -> (usize, u64) {
        let hash = place.spread();
        let wanted = (hash & !NOT_HASH) | TAKEN;
        let (slots, _) = self.slots.as_chunks::<SLOT>();
        let mask = slots.len() - 1;
        // The lowest bits are taken by the kind and the marks, so others choose the slot.
        let mut at = (hash >> 4) as usize & mask;
        loop {
            let slot = u64::from_le_bytes(slots[at]);
            if slot == 0 || (slot & !NOT_HASH) == wanted {
                return (at, slot);
            }
            at = (at + 1) & mask;
        }
    }
}

impl AsRef<[u8]> for KindTable {
    /// Returns the table as [`Kinds::built`] takes it.
    fn as_ref(&self) -> &[u8] {
        &self.slots
    }
}

/// Returns how many names there are, or a few more: before each stands a comma or a brace, but `{}` holds none.
fn names_in(tree: &str) -> usize {
    let bytes = tree.as_bytes();
    let starts_name = |at: &usize| bytes[*at] == b',' || bytes.get(at + 1) != Some(&b'}');
    1 + memchr::memchr2_iter(b',', b'{', bytes).filter(starts_name).count()
}

/// The bytes that may not stand in a name as they are. A table, because every byte of the text is looked at.
const NOT_IN_NAMES: [bool; 256] = {
    let mut table = [false; 256];
    let marks = b"{},*?\\";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};

/// Walks the tree text, hashing each name once on top of its parent's hash.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    place: PathHash,
    above: Vec<PathHash>,
}

impl Reader<'_> {
    /// Reads `name`, its mark and its braces, again and again. A failure is a byte offset and what is wrong there.
    fn read_into(&mut self, kinds: &mut KindTable) -> Result<(), (usize, &'static str)> {
        while self.at < self.bytes.len() {
            let place = self.name()?;
            let kind = self.mark();
            let opens = self.eat(b'{');
            kinds.set(
                place,
                if opens && kind == FieldKind::Scalar { FieldKind::Object } else { kind },
            );
            if opens {
                self.above.push(self.place);
                self.place = place;
                if self.bytes.get(self.at) != Some(&b'}') {
                    kinds.set_holding(place);
                    continue;
                }
            }
            self.close()?;
        }
        if self.above.is_empty() { Ok(()) } else { Err((self.at, "a closing brace is missing")) }
    }

    /// Reads one name and returns where it stands.
    fn name(&mut self) -> Result<PathHash, (usize, &'static str)> {
        let start = self.at;
        let mut place = self.place.joint();
        while let Some(&byte) = self.bytes.get(self.at) {
            if NOT_IN_NAMES[usize::from(byte)] {
                if byte != b'\\' {
                    break;
                }
                self.at += 1;
                let escaped = self.bytes.get(self.at).ok_or((self.at, "the last escape is cut"))?;
                place = place.then(&[*escaped]);
            } else {
                place = place.then(&[byte]);
            }
            self.at += 1;
        }
        if self.at == start { Err((start, "a name is missing")) } else { Ok(place) }
    }

    fn mark(&mut self) -> FieldKind {
        if self.eat(b'*') {
            FieldKind::Map
        } else if self.eat(b'?') {
            FieldKind::Document
        } else {
            FieldKind::Scalar
        }
    }

    /// Reads the braces that close here, and the comma before the next name.
    fn close(&mut self) -> Result<(), (usize, &'static str)> {
        while self.eat(b'}') {
            self.place = self.above.pop().ok_or((self.at - 1, "a brace closes nothing"))?;
        }
        if self.at == self.bytes.len() || (self.eat(b',') && self.at < self.bytes.len()) {
            return Ok(());
        }
        Err((self.at, "a comma and a name should follow"))
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(tree: &str) -> Result<KindTable, String> {
        KindTable::parse(&format!("{FORMAT} a test\n{tree}\n"), 0)
    }

    fn kind(kinds: &KindTable, path: &str) -> Option<FieldKind> {
        kinds.get(PathHash::of(path))
    }

    #[test]
    fn every_form_of_the_text_is_read() {
        let kinds = parse(r"a,b{c,d{e{}},f*{g},h?},i{},j*,k\{\,\\l").unwrap();
        let expected = [
            ("a", FieldKind::Scalar),
            ("b", FieldKind::Object),
            ("b.c", FieldKind::Scalar),
            ("b.d", FieldKind::Object),
            ("b.d.e", FieldKind::Object),
            ("b.f", FieldKind::Map),
            ("b.f.g", FieldKind::Scalar),
            ("b.h", FieldKind::Document),
            ("i", FieldKind::Object),
            ("j", FieldKind::Map),
            (r"k{,\l", FieldKind::Scalar),
        ];
        for (path, expected) in expected {
            assert_eq!(kind(&kinds, path), Some(expected), "{path}");
        }
        for unknown in ["", "c", "b.", "b.e", "a.b", "b.d.e.f"] {
            assert_eq!(kind(&kinds, unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_damaged_text_says_what_and_where() {
        let cases = [
            ("a{b", "a closing brace is missing at byte 28"),
            ("a}", "a brace closes nothing at byte 26"),
            ("a,,b", "a name is missing at byte 27"),
            ("a,", "a comma and a name should follow at byte 27"),
            ("a{b}c", "a comma and a name should follow at byte 29"),
            (r"a\", "the last escape is cut at byte 27"),
        ];
        for (tree, message) in cases {
            assert_eq!(parse(tree).unwrap_err(), message, "{tree}");
        }
        let newer = KindTable::parse("trailload-kinds 12 x\na\n", 0).unwrap_err();
        assert_eq!(newer, "starts with `trailload-kinds 12 x`, not with `trailload-kinds 1`");
        assert!(KindTable::unpack(b"no zstd", 0).unwrap_err().starts_with("cannot be unpacked"));
    }

    #[test]
    fn the_last_word_about_a_path_wins() {
        let mut kinds = parse("a,b").unwrap();
        kinds.set(PathHash::of("a"), FieldKind::Document);
        kinds.set(PathHash::of("new"), FieldKind::Map);
        assert_eq!(kind(&kinds, "a"), Some(FieldKind::Document));
        assert_eq!(kind(&kinds, "b"), Some(FieldKind::Scalar));
        assert_eq!(kind(&kinds, "new"), Some(FieldKind::Map));
    }

    #[test]
    fn a_table_is_used_where_it_lies() {
        let kinds = parse("a,b{c}").unwrap();
        let lying = KindTable::built(kinds.as_ref().to_vec().leak()).unwrap();
        assert_eq!(kind(&lying, "b.c"), Some(FieldKind::Scalar));
        assert_eq!(lying, kinds);
        assert_eq!(KindTable::built(b""), None);
        assert_eq!(KindTable::built(&[0; 24]), None);
    }
}
