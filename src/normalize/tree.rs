//! One record as a tree, read with patience: whatever still has a shape becomes JSON again.
//!
//! In: the bytes of one record. Out: a [`Tree`] that borrows them, and the JSON text of a tree.
//! The slow way of the normalizer, taken by records that must change or that the fast scan has
//! doubts about. Repaired while reading: raw control characters, bytes that are not UTF-8, unknown
//! escapes, words that are no JSON (`NaN`), numbers that are none (`+1`, `.5`) or too long.

use std::borrow::Cow;

use super::text;

/// Levels of nesting that are kept as they are; deeper values become JSON text. The strictest engines
/// refuse 1,000, and our own parts need a few.
const MAX_DEPTH: usize = 900;

/// Digits of the longest number kept as a number: OpenSearch and Elasticsearch 9 refuse more than 1,000.
const MAX_NUMBER_BYTES: usize = 1_000;

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tree<'a> {
    /// `null`, `true`, `false` or a number, as written.
    Token(Cow<'a, [u8]>),
    /// The inside of a string, as valid JSON.
    Text(Cow<'a, [u8]>),
    /// A word that is no JSON value, or a number too long: written as text.
    BareWord(Cow<'a, [u8]>),
    /// JSON text of a value too deep to keep.
    TooDeep(Cow<'a, [u8]>),
    /// A list.
    List(Vec<Tree<'a>>),
    /// An object, its members in order; keys may repeat.
    Object(Vec<Member<'a>>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member<'a> {
    /// The key in WTF-8.
    pub(super) key: Cow<'a, [u8]>,
    /// The value.
    pub(super) value: Tree<'a>,
}

/// A record that has no shape.
#[derive(Debug, PartialEq, Eq)]
pub struct MalformedRecord {
    /// Offset of the byte that cannot stand there.
    pub offset: usize,
    /// What was expected.
    pub expected: &'static str,
}

/// A tree, and whether bytes had to be mended to read it.
pub(super) struct Parsed<'a> {
    pub(super) tree: Tree<'a>,
    pub(super) repaired: bool,
}

/// Reads one JSON value that fills the text.
pub(super) fn parse(text: &[u8]) -> Result<Parsed<'_>, MalformedRecord> {
    // Looked at as a whole, which is much faster than string by string.
    let valid = simdutf8::basic::from_utf8(text).is_ok();
    let mut parser = TreeParser { text, at: 0, valid, repaired: false };
    let tree = parser.value()?;
    parser.skip_whitespace();
    if parser.at < text.len() {
        return Err(parser.misshapen("the end"));
    }
    Ok(Parsed { tree, repaired: parser.repaired })
}

/// A list or object that is still open.
enum OpenContainer<'a> {
    List(Vec<Tree<'a>>),
    Object(Vec<Member<'a>>, Cow<'a, [u8]>),
}

struct TreeParser<'a> {
    text: &'a [u8],
    at: usize,
    /// The whole text is UTF-8.
    valid: bool,
    repaired: bool,
}

impl<'a> TreeParser<'a> {
    fn misshapen(&self, cause: &'static str) -> MalformedRecord {
        MalformedRecord { offset: self.at, expected: cause }
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.skip_whitespace();
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    /// Reads a value without recursion: a hostile record may be a million levels deep.
    fn value(&mut self) -> Result<Tree<'a>, MalformedRecord> {
        let mut open: Vec<OpenContainer<'a>> = Vec::new();
        loop {
            self.skip_whitespace();
            let start = self.at;
            let mut done = match self.text.get(start) {
                Some(b'{' | b'[') if open.len() >= MAX_DEPTH => self.skip_too_deep()?,
                Some(b'{') => {
                    self.at += 1;
                    if !self.eat(b'}') {
                        let key = self.key()?;
                        open.push(OpenContainer::Object(Vec::new(), key));
                        continue;
                    }
                    Tree::Object(Vec::new())
                }
                Some(b'[') => {
                    self.at += 1;
                    if !self.eat(b']') {
                        open.push(OpenContainer::List(Vec::new()));
                        continue;
                    }
                    Tree::List(Vec::new())
                }
                Some(b'"') => Tree::Text(self.string()?),
                _ => self.word()?,
            };
            // Closes everything that ends with this value.
            loop {
                match open.pop() {
                    None => return Ok(done),
                    Some(OpenContainer::List(mut list)) => {
                        list.push(done);
                        if self.eat(b',') {
                            open.push(OpenContainer::List(list));
                            break;
                        }
                        if !self.eat(b']') {
                            return Err(self.misshapen("',' or ']'"));
                        }
                        done = Tree::List(list);
                    }
                    Some(OpenContainer::Object(mut members, key)) => {
                        members.push(Member { key, value: done });
                        if self.eat(b',') {
                            let key = self.key()?;
                            open.push(OpenContainer::Object(members, key));
                            break;
                        }
                        if !self.eat(b'}') {
                            return Err(self.misshapen("',' or '}'"));
                        }
                        done = Tree::Object(members);
                    }
                }
            }
        }
    }

    fn key(&mut self) -> Result<Cow<'a, [u8]>, MalformedRecord> {
        self.skip_whitespace();
        if self.text.get(self.at) != Some(&b'"') {
            return Err(self.misshapen("a key"));
        }
        let raw = self.string()?;
        if !self.eat(b':') {
            return Err(self.misshapen("':'"));
        }
        Ok(match raw {
            Cow::Borrowed(raw) => text::unescape(raw),
            Cow::Owned(raw) => Cow::Owned(text::unescape(&raw).into_owned()),
        })
    }

    /// Reads a string and returns its inside, as valid JSON.
    fn string(&mut self) -> Result<Cow<'a, [u8]>, MalformedRecord> {
        let start = self.at + 1;
        let mut at = start;
        let mut needs_repair = false;
        loop {
            at = text::find_special(self.text, at);
            match self.text.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    needs_repair |= !is_escape(self.text, at);
                    at += 2;
                }
                Some(_) => {
                    needs_repair = true;
                    at += 1;
                }
                None => {
                    self.at = self.text.len();
                    return Err(self.misshapen("the end of a string"));
                }
            }
        }
        let inside = &self.text[start..at];
        self.at = at + 1;
        if !needs_repair && (self.valid || simdutf8::basic::from_utf8(inside).is_ok()) {
            return Ok(Cow::Borrowed(inside));
        }
        self.repaired = true;
        Ok(Cow::Owned(repair(inside)))
    }

    /// Reads a number, `true`, `false`, `null`, or some other word.
    fn word(&mut self) -> Result<Tree<'a>, MalformedRecord> {
        let start = self.at;
        while !matches!(
            self.text.get(self.at),
            None | Some(b',' | b'}' | b']' | b':' | b'{' | b'[' | b'"' | 0..=b' ')
        ) {
            self.at += 1;
        }
        let word = &self.text[start..self.at];
        if word.is_empty() {
            return Err(self.misshapen("a value"));
        }
        if matches!(word, b"null" | b"true" | b"false") || is_number(word) {
            if word.len() <= MAX_NUMBER_BYTES {
                return Ok(Tree::Token(Cow::Borrowed(word)));
            }
            return Ok(Tree::BareWord(Cow::Borrowed(word)));
        }
        let repaired = repair(word);
        self.repaired |= repaired != word;
        Ok(Tree::BareWord(Cow::Owned(repaired)))
    }

    /// Passes over a value that is too deep to keep.
    fn skip_too_deep(&mut self) -> Result<Tree<'a>, MalformedRecord> {
        let start = self.at;
        let mut level = 0_usize;
        loop {
            match self.text.get(self.at) {
                Some(b'{' | b'[') => level += 1,
                Some(b'}' | b']') => level -= 1,
                Some(b'"') => {
                    self.string()?;
                    continue;
                }
                Some(_) => {}
                None => return Err(self.misshapen("the end of a deep value")),
            }
            self.at += 1;
            if level == 0 {
                let value = &self.text[start..self.at];
                return Ok(Tree::TooDeep(match std::str::from_utf8(value) {
                    Ok(_) => Cow::Borrowed(value),
                    Err(_) => Cow::Owned(String::from_utf8_lossy(value).into_owned().into_bytes()),
                }));
            }
        }
    }
}

/// Returns whether a valid escape starts at `at`.
fn is_escape(text: &[u8], at: usize) -> bool {
    match text.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => true,
        Some(b'u') => text::utf16_unit(text, at + 2).is_some(),
        _ => false,
    }
}

/// Returns whether a word is a number as JSON has them.
pub(super) fn is_number(word: &[u8]) -> bool {
    let digits = |from: usize| {
        word.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let mut at = usize::from(word.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || (whole > 1 && word[at] == b'0') {
        return false;
    }
    at += whole;
    if word.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return false;
        }
        at += 1 + fraction;
    }
    if matches!(word.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(word.get(at), Some(b'+' | b'-')));
        let exponent = digits(at);
        if exponent == 0 {
            return false;
        }
        at += exponent;
    }
    at == word.len()
}

/// Returns the inside of a string with everything invalid mended: control characters escaped,
/// unknown escapes taken literally, bytes that are not UTF-8 replaced.
fn repair(inside: &[u8]) -> Vec<u8> {
    let lossy = String::from_utf8_lossy(inside);
    let bytes = lossy.as_bytes();
    let mut out = Vec::with_capacity(bytes.len() + 8);
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if is_escape(bytes, at) => {
                out.extend_from_slice(&bytes[at..at + 2]);
                at += 1;
            }
            b'\\' => out.extend_from_slice(br"\\"),
            0..0x20 => text::escape(&mut out, &[byte]),
            _ => out.push(byte),
        }
        at += 1;
    }
    out
}

impl Tree<'_> {
    /// Appends the tree as JSON text that engines take.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.write_with(out, &|leaf, out| leaf.write_leaf(out));
    }

    fn write_with(&self, out: &mut Vec<u8>, leaf: &impl Fn(&Self, &mut Vec<u8>)) {
        match self {
            Tree::List(list) => {
                out.push(b'[');
                for (number, value) in list.iter().enumerate() {
                    if number > 0 {
                        out.push(b',');
                    }
                    value.write_with(out, leaf);
                }
                out.push(b']');
            }
            Tree::Object(members) => {
                out.push(b'{');
                for (number, member) in members.iter().enumerate() {
                    if number > 0 {
                        out.push(b',');
                    }
                    write_key(&member.key, out);
                    member.value.write_with(out, leaf);
                }
                out.push(b'}');
            }
            other => leaf(other, out),
        }
    }

    fn write_leaf(&self, out: &mut Vec<u8>) {
        match self {
            Tree::Token(token) => out.extend_from_slice(token),
            Tree::Text(inside) | Tree::BareWord(inside) => {
                out.push(b'"');
                out.extend_from_slice(inside);
                out.push(b'"');
            }
            Tree::TooDeep(value) => {
                out.push(b'"');
                text::escape(out, value);
                out.push(b'"');
            }
            Tree::List(_) | Tree::Object(_) => {}
        }
    }

    /// Returns the tree as the record had it: words without quotes, deep values in full.
    pub(super) fn to_original_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_with(&mut out, &|leaf, out| match leaf {
            Tree::BareWord(inside) => out.extend_from_slice(&text::unescape(inside)),
            Tree::TooDeep(value) => out.extend_from_slice(value),
            leaf => leaf.write_leaf(out),
        });
        out
    }

    /// Returns the value of a member; the last one, should the key repeat.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Tree<'_>> {
        let Tree::Object(members) = self else { return None };
        members.iter().rev().find(|member| &*member.key == key).map(|member| &member.value)
    }

    /// Returns the values of the members whose keys differ from this one in upper and lower case at most, in order.
    pub(super) fn get_ignore_case<'t>(&'t self, key: &'t [u8]) -> impl Iterator<Item = &'t Self> {
        let members = match self {
            Tree::Object(members) => members.as_slice(),
            _ => &[],
        };
        let is_it = move |member: &&'t Member<'_>| member.key.eq_ignore_ascii_case(key);
        members.iter().filter(is_it).map(|member| &member.value)
    }

    /// Returns whether this says nothing: `null` or the empty string.
    pub(super) fn is_null_or_empty(&self) -> bool {
        matches!(self, Tree::Token(token) if &**token == b"null") || self.is_empty_text()
    }

    /// Returns the text of a string, unescaped.
    pub(super) fn as_text(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Tree::Text(inside) => Some(text::unescape(inside)),
            _ => None,
        }
    }

    /// Returns whether this is the empty string.
    pub(super) fn is_empty_text(&self) -> bool {
        matches!(self, Tree::Text(inside) if inside.is_empty())
    }
}

/// Appends a key and its colon.
fn write_key(key: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    text::escape(out, key);
    out.extend_from_slice(b"\":");
}

/// Appends the members of an object, separated by commas.
pub(super) fn write_members(members: &[Member<'_>], out: &mut Vec<u8>) {
    for (number, member) in members.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        write_key(&member.key, out);
        member.value.write(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &[u8]) -> String {
        let mut out = Vec::new();
        parse(text).unwrap().tree.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_valid_comes_out_as_it_went_in() {
        for text in [
            r#"{"a":1,"b":[true,null,-1.5e+10,""],"c":{"d":{}},"a":2}"#,
            r#""\ud83d lone \u0041""#,
            "123456789012345678901234567890",
            "1E400",
        ] {
            assert_eq!(json(text.as_bytes()), text);
        }
    }

    #[test]
    fn what_is_nearly_json_is_mended() {
        for (text, repaired) in [
            (&b"{\"a\":\"x\x01\ny\"}"[..], r#"{"a":"x\u0001\ny"}"#),
            (b"[NaN, +1, .5, 007]", r#"["NaN","+1",".5","007"]"#),
            (b"\"\\x41\"", r#""\\x41""#),
            (b"\"\xff\"", "\"\u{FFFD}\""),
        ] {
            assert_eq!(json(text), repaired);
        }
        assert_eq!(json("1".repeat(1_001).as_bytes()), format!("\"{}\"", "1".repeat(1_001)));
        assert_eq!(json("1".repeat(1_000).as_bytes()), "1".repeat(1_000));
    }

    #[test]
    fn a_million_levels_are_no_trouble() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        let Tree::List(_) = parse(deep.as_bytes()).unwrap().tree else { panic!("a list") };
        let lists = json(deep.as_bytes()).bytes().take_while(|byte| *byte == b'[').count();
        assert_eq!(lists, MAX_DEPTH);
    }

    #[test]
    fn what_has_no_shape_says_where() {
        for (text, at) in [
            ("{\"a\":1", 6),
            ("{\"a\" 1}", 5),
            ("[1 2]", 3),
            ("{1:2}", 1),
            ("\"abc", 4),
            ("1 2", 2),
        ] {
            assert_eq!(parse(text.as_bytes()).err().map(|error| error.offset), Some(at), "{text}");
        }
    }
}
