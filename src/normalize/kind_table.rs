//! The kind table: the kind of the value at each known path.
//!
//! Input: the compressed text that `scripts/derive-kinds` writes from the API models, about 150,000 paths. Output:
//! the kind of a path, with one probe.
//!
//! Invariant: keys of a path are joined by `.`, lists add no key, and keys are those after the rewrite
//! (`requestParameters.policy_object.rules`). Not here: names. The table contains hashes only (2 MiB), so it cannot
//! be listed. Two paths with the same hash would share a kind; at 64 bits that happens in one of 10^9 tables, and
//! would rename a key.
//!
//! `build.rs` includes this file too and compiles the embedded table, which is used in place. Parsing the text takes
//! 20 ms, longer than loading 5,000 events.

use std::{borrow::Cow, io::Read as _};

use serde::Deserialize;

/// Kind of the value at a path, which decides the key that a value is stored under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum FieldKind {
    /// An object whose keys are defined by the API: each is a field of its own.
    Object = 0,
    /// A string, number or boolean, or a list of them.
    Scalar = 1,
    /// An object with arbitrary keys, such as tags: unknown keys are never mapped.
    Map = 2,
    /// Any JSON: stored unchanged and never mapped.
    Document = 3,
}

/// Start of the first line of the text; the sources of the table follow.
const FORMAT: &str = "trailload-kinds 1";

/// Decompression stops here: the text of the table has 2 MB, so a larger one is invalid.
const TEXT_LIMIT: u64 = 64 << 20;

/// Marks an occupied slot. The two bits below contain the kind, the bit above states whether paths below this one are
/// known, and the remaining bits are the hash.
const OCCUPIED: u64 = 0b100;
const KIND_BITS: u64 = 0b0011;
const HAS_CHILDREN: u64 = 0b1000;
const FLAG_BITS: u64 = KIND_BITS | HAS_CHILDREN;

/// Hash of a path, computed key by key.
///
/// It is FNV-1a over the joined path, so that the keys `a` and `b` hash like the key `a.b`, which engines treat
/// alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PathHash(u64);

impl PathHash {
    /// The empty path: the record itself.
    const ROOT: Self = Self(0xcbf2_9ce4_8422_2325);

    /// Returns the hash of a path.
    pub(super) fn from_path(path: &str) -> Self {
        Self::ROOT.extend(path.as_bytes())
    }

    /// Returns the hash to which the keys of an object's members are appended.
    fn child_prefix(self) -> Self {
        if self == Self::ROOT { self } else { self.extend(b".") }
    }

    fn extend(self, bytes: &[u8]) -> Self {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self(bytes.iter().fold(self.0, step))
    }

    /// Distributes the hash over all bits: the upper bits of FNV-1a differ little for short texts.
    fn spread(self) -> u64 {
        let hash = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ (hash >> 29)
    }
}

/// Bytes of a slot, in little-endian order.
const SLOT: usize = 8;

/// The table: open addressing by hash, at most 80 % full.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KindTable {
    /// Stored as bytes, so that the embedded table needs no copy.
    slots: Cow<'static, [u8]>,
}

impl KindTable {
    /// Creates a table from its bytes. `None` if the length is invalid.
    pub(super) fn from_static(slots: &'static [u8]) -> Option<Self> {
        let fits = slots.len() >= SLOT && slots.len().is_power_of_two();
        fits.then_some(Self { slots: Cow::Borrowed(slots) })
    }

    /// Decompresses and parses a table, with room for `spare` more paths to [`set`](Self::set).
    ///
    /// # Errors
    ///
    /// Returns what is wrong, as the end of a sentence that starts with the name of the file.
    pub(super) fn decompress(packed: &[u8], spare: usize) -> Result<Self, String> {
        let mut text = String::with_capacity(packed.len() * 8);
        zstd::stream::read::Decoder::with_buffer(packed)
            .and_then(|decoder| decoder.take(TEXT_LIMIT).read_to_string(&mut text))
            .map_err(|error| format!("cannot be unpacked ({error})"))?;
        Self::parse(&text, spare)
    }

    /// Parses the text of the table.
    fn parse(text: &str, spare: usize) -> Result<Self, String> {
        let (first, tree) = text.split_once('\n').ok_or("has no header line")?;
        if first != FORMAT && !first.strip_prefix(FORMAT).is_some_and(|rest| rest.starts_with(' '))
        {
            let found: String = first.chars().take(40).collect();
            return Err(format!("starts with `{found}`, not with `{FORMAT}`"));
        }
        let mut kinds = Self::with_capacity(count_names(tree) + spare);
        TableParser {
            bytes: tree.trim_end().as_bytes(),
            at: 0,
            place: PathHash::ROOT,
            above: Vec::new(),
        }
        .read_into(&mut kinds)
        .map_err(|(at, what)| format!("{what} at byte {}", first.len() + 1 + at))?;
        Ok(kinds)
    }

    fn with_capacity(paths: usize) -> Self {
        let slots = (paths + paths / 4).next_power_of_two().max(16);
        Self { slots: Cow::Owned(vec![0; slots * SLOT]) }
    }

    /// Returns the kind of a path, or `None` if it is unknown.
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

    /// Returns whether paths below this one are known.
    pub(super) fn has_children(&self, place: PathHash) -> bool {
        self.find(place).1 & HAS_CHILDREN != 0
    }

    /// Sets the kind of a declared conflict, which overrides the API models, and allows fields below it.
    pub(super) fn declare(&mut self, place: PathHash, kind: FieldKind) {
        self.set(place, kind);
        self.set_has_children(place);
    }

    /// Sets the kind of a path, replacing an earlier one.
    fn set(&mut self, place: PathHash, kind: FieldKind) {
        let (at, slot) = self.find(place);
        self.put(
            at,
            (place.spread() & !FLAG_BITS) | (slot & HAS_CHILDREN) | OCCUPIED | kind as u64,
        );
    }

    /// Marks a path that has a kind: fields below it may be mapped.
    fn set_has_children(&mut self, place: PathHash) {
        let (at, slot) = self.find(place);
        self.put(at, slot | HAS_CHILDREN);
    }

    fn put(&mut self, at: usize, slot: u64) {
        self.slots.to_mut()[at * SLOT..][..SLOT].copy_from_slice(&slot.to_le_bytes());
    }

    /// Returns the slot of the path, or the free slot for it, and the content. There always is one: the table is
    /// never full.
    fn find(&self, place: PathHash) -> (usize, u64) {
        let hash = place.spread();
        let wanted = (hash & !FLAG_BITS) | OCCUPIED;
        let (slots, _) = self.slots.as_chunks::<SLOT>();
        let mask = slots.len() - 1;
        // The lowest bits are flags, so higher bits choose the slot.
        let mut at = (hash >> 4) as usize & mask;
        loop {
            let slot = u64::from_le_bytes(slots[at]);
            if slot == 0 || (slot & !FLAG_BITS) == wanted {
                return (at, slot);
            }
            at = (at + 1) & mask;
        }
    }
}

impl AsRef<[u8]> for KindTable {
    /// Returns the bytes that [`KindTable::from_static`] accepts.
    fn as_ref(&self) -> &[u8] {
        &self.slots
    }
}

/// Returns the number of names, or slightly more: a comma or a brace precedes each, but `{}` contains none.
fn count_names(tree: &str) -> usize {
    let bytes = tree.as_bytes();
    let starts_name = |at: &usize| bytes[*at] == b',' || bytes.get(at + 1) != Some(&b'}');
    1 + memchr::memchr2_iter(b',', b'{', bytes).filter(starts_name).count()
}

/// Bytes that names contain only escaped. A table, because every byte of the text is tested.
const IS_SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let marks = b"{},*?\\";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};

/// Parser of the text, which hashes each name once, appended to the hash of its parent.
struct TableParser<'a> {
    bytes: &'a [u8],
    at: usize,
    place: PathHash,
    above: Vec<PathHash>,
}

impl TableParser<'_> {
    /// Parses names with their marks and braces. An error is a byte offset and a description.
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
                    kinds.set_has_children(place);
                    continue;
                }
            }
            self.close()?;
        }
        if self.above.is_empty() { Ok(()) } else { Err((self.at, "a closing brace is missing")) }
    }

    /// Parses one name and returns the hash of its path.
    fn name(&mut self) -> Result<PathHash, (usize, &'static str)> {
        let start = self.at;
        let mut place = self.place.child_prefix();
        while let Some(&byte) = self.bytes.get(self.at) {
            if IS_SPECIAL[usize::from(byte)] {
                if byte != b'\\' {
                    break;
                }
                self.at += 1;
                let escaped = self.bytes.get(self.at).ok_or((self.at, "the last escape is cut"))?;
                place = place.extend(&[*escaped]);
            } else {
                place = place.extend(&[byte]);
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

    /// Parses closing braces, and the comma before the next name.
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
        kinds.get(PathHash::from_path(path))
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
        assert!(
            KindTable::decompress(b"no zstd", 0).unwrap_err().starts_with("cannot be unpacked")
        );
    }

    #[test]
    fn the_last_word_about_a_path_wins() {
        let mut kinds = parse("a,b").unwrap();
        kinds.set(PathHash::from_path("a"), FieldKind::Document);
        kinds.set(PathHash::from_path("new"), FieldKind::Map);
        assert_eq!(kind(&kinds, "a"), Some(FieldKind::Document));
        assert_eq!(kind(&kinds, "b"), Some(FieldKind::Scalar));
        assert_eq!(kind(&kinds, "new"), Some(FieldKind::Map));
    }

    #[test]
    fn a_table_is_used_where_it_lies() {
        let kinds = parse("a,b{c}").unwrap();
        let lying = KindTable::from_static(kinds.as_ref().to_vec().leak()).unwrap();
        assert_eq!(kind(&lying, "b.c"), Some(FieldKind::Scalar));
        assert_eq!(lying, kinds);
        assert_eq!(KindTable::from_static(b""), None);
        assert_eq!(KindTable::from_static(&[0; 24]), None);
    }
}
