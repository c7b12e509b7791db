//! A tolerant JSON parser: reads one record as a tree and repairs what is not valid JSON.
//!
//! Input: the bytes of one record. Output: a [`Tree`] that borrows from them, and the JSON text of a tree. Part of
//! the slow path.
//!
//! Repaired: control characters in strings, invalid UTF-8, unknown escapes, bare words such as `NaN`, and numbers
//! that are invalid (`+1`, `.5`) or too long. `serde_json` rejects all of these.

use std::borrow::Cow;

use super::text;

/// Maximum nesting depth; deeper values become JSON text. The strictest engines reject 1,000 levels, and this program
/// adds a few.
const MAX_DEPTH: usize = 900;

/// Maximum length of a number: OpenSearch and Elasticsearch 9 reject more than 1,000 digits.
const MAX_NUMBER_BYTES: usize = 1_000;

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tree<'a> {
    /// `null`, `true`, `false` or a number, as written.
    Token(Cow<'a, [u8]>),
    /// A string without its quotes, escaped as valid JSON.
    Text(Cow<'a, [u8]>),
    /// A bare word that is not JSON, or a number that is too long; written as a string.
    BareWord(Cow<'a, [u8]>),
    /// JSON text of a value that exceeds the nesting depth; written as a string.
    TooDeep(Cow<'a, [u8]>),
    /// A list.
    List(Vec<Tree<'a>>),
    /// An object: its members in order. Keys may repeat.
    Object(Vec<Member<'a>>),
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member<'a> {
    /// The key, unescaped, in WTF-8.
    pub(super) key: Cow<'a, [u8]>,
    /// The value.
    pub(super) value: Tree<'a>,
}

/// A record that is not JSON, even after repair.
#[derive(Debug, PartialEq, Eq)]
pub struct MalformedRecord {
    /// Offset of the first byte that is not allowed.
    pub offset: usize,
    /// What was expected there.
    pub expected: &'static str,
}

/// A tree, and whether bytes were repaired.
pub(super) struct Parsed<'a> {
    pub(super) tree: Tree<'a>,
    pub(super) repaired: bool,
}

/// Parses a text that consists of one JSON value.
pub(super) fn parse(text: &[u8]) -> Result<Parsed<'_>, MalformedRecord> {
    // Validating the whole text at once is much faster than string by string.
    let valid = simdutf8::basic::from_utf8(text).is_ok();
    let mut parser = TreeParser { text, at: 0, valid, repaired: false };
    let tree = parser.value()?;
    parser.skip_whitespace();
    if parser.at < text.len() {
        return Err(parser.misshapen("the end"));
    }
    Ok(Parsed { tree, repaired: parser.repaired })
}

/// A list or object whose end is not reached yet.
enum OpenContainer<'a> {
    List(Vec<Tree<'a>>),
    Object(Vec<Member<'a>>, Cow<'a, [u8]>),
}

struct TreeParser<'a> {
    text: &'a [u8],
    at: usize,
    /// Whether the whole text is valid UTF-8.
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

    /// Parses a value without recursion: a hostile record may be a million levels deep.
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
            // Close all containers that end with this value.
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

    /// Parses a string and returns its content, escaped as valid JSON.
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

    /// Parses a number, `true`, `false`, `null`, or a bare word.
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

    /// Skips a value that exceeds the nesting depth.
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

/// Returns whether a word is a valid JSON number.
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

/// Repairs the content of a string: escapes control characters, takes unknown escapes literally, and replaces invalid
/// UTF-8.
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
    /// Appends the tree as valid JSON.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.write_with(out, &|leaf, out| leaf.write_leaf(out));
    }

    /// Appends the tree as valid JSON, with values beyond the nesting depth as they were.
    pub(super) fn write_at_any_depth(&self, out: &mut Vec<u8>) {
        self.write_with(out, &|leaf, out| match leaf {
            Tree::TooDeep(value) => out.extend_from_slice(value),
            leaf => leaf.write_leaf(out),
        });
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

    /// Returns the tree as the record had it: bare words without quotes, deep values as JSON.
    pub(super) fn to_original_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_with(&mut out, &|leaf, out| match leaf {
            Tree::BareWord(inside) => out.extend_from_slice(&text::unescape(inside)),
            Tree::TooDeep(value) => out.extend_from_slice(value),
            leaf => leaf.write_leaf(out),
        });
        out
    }

    /// Returns the value of a member; the last one if the key repeats.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Tree<'_>> {
        let Tree::Object(members) = self else { return None };
        members.iter().rev().find(|member| &*member.key == key).map(|member| &member.value)
    }

    /// Returns the values of all members whose keys equal `key` when ASCII case is ignored, in order.
    pub(super) fn get_ignore_case<'t>(&'t self, key: &'t [u8]) -> impl Iterator<Item = &'t Self> {
        let members = match self {
            Tree::Object(members) => members.as_slice(),
            _ => &[],
        };
        let is_it = move |member: &&'t Member<'_>| member.key.eq_ignore_ascii_case(key);
        members.iter().filter(is_it).map(|member| &member.value)
    }

    /// Returns whether the value is `null` or the empty string.
    pub(super) fn is_null_or_empty(&self) -> bool {
        matches!(self, Tree::Token(token) if &**token == b"null") || self.is_empty_text()
    }

    /// Returns the content of a string, unescaped.
    pub(super) fn as_text(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Tree::Text(inside) => Some(text::unescape(inside)),
            _ => None,
        }
    }

    /// Returns whether the value is the empty string.
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
