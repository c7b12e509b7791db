//! Reads JSON the way the engines do: strictly, on bytes, with their limits.
//!
//! In: the bytes of one document. Out: a tree, or the reason why every engine, or the strictest of
//! them, would refuse the document whatever its mapping. Numbers stay as they were spelled.

/// A parsed value. Texts are WTF-8: a lone surrogate is kept as its three bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Boolean(bool),
    Number(String),
    Text(Vec<u8>),
    List(Vec<Json>),
    Object(Vec<(Vec<u8>, Json)>),
}

/// Deepest nesting taken by OpenSearch 3 and Elasticsearch 9.
const DEEPEST: usize = 1_000;
/// Longest number taken by OpenSearch and Elasticsearch 9, in characters.
const LONGEST_NUMBER: usize = 1_000;
/// Longest key taken by OpenSearch 3, in characters.
const LONGEST_KEY: usize = 50_000;

impl Json {
    /// Returns the member called `key`, if this is an object that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Json> {
        let Json::Object(members) = self else { return None };
        members.iter().find(|(name, _)| name == key.as_bytes()).map(|(_, value)| value)
    }

    /// Returns the value at a path of keys joined by dots.
    pub(crate) fn at(&self, path: &str) -> Option<&Json> {
        path.split('.').try_fold(self, |value, key| value.get(key))
    }

    /// Returns the text, if this is one and holds no lone surrogate.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Json::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Sorts the keys at every level, so that two trees compare by meaning.
    pub(crate) fn sorted(self) -> Json {
        match self {
            Json::List(items) => Json::List(items.into_iter().map(Json::sorted).collect()),
            Json::Object(members) => {
                let mut members: Vec<_> =
                    members.into_iter().map(|(key, value)| (key, value.sorted())).collect();
                members.sort_by(|a, b| a.0.cmp(&b.0));
                Json::Object(members)
            }
            other => other,
        }
    }
}

/// Reads one document.
pub(crate) fn read(bytes: &[u8]) -> Result<Json, String> {
    let mut reader = Reader { bytes, at: 0, depth: 0 };
    let value = reader.value()?;
    reader.blank();
    if reader.at < bytes.len() { Err(reader.unexpected()) } else { Ok(value) }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn blank(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\r' | b'\n') && self.at < self.bytes.len() {
            self.at += 1;
        }
    }

    fn unexpected(&self) -> String {
        match self.bytes.get(self.at) {
            None => "Unexpected end-of-input".to_owned(),
            Some(byte) => format!("Unexpected character (code {byte}) at column {}", self.at + 1),
        }
    }

    fn value(&mut self) -> Result<Json, String> {
        self.blank();
        match self.peek() {
            b'{' => self.nested(Self::object),
            b'[' => self.nested(Self::list),
            b'"' => self.text().map(Json::Text),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word("true", Json::Boolean(true)),
            b'f' => self.word("false", Json::Boolean(false)),
            b'n' => self.word("null", Json::Null),
            _ => Err(self.unexpected()),
        }
    }

    fn nested(&mut self, inner: fn(&mut Self) -> Result<Json, String>) -> Result<Json, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!(
                "Document nesting depth ({}) exceeds the maximum allowed ({DEEPEST})",
                self.depth
            ));
        }
        self.at += 1;
        let value = inner(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Json, String> {
        let mut members = Vec::new();
        let mut seen = std::collections::HashSet::new();
        self.blank();
        if self.peek() == b'}' {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.blank();
            let key = self.key()?;
            if !seen.insert(key.clone()) {
                return Err(format!("Duplicate field '{}'", String::from_utf8_lossy(&key)));
            }
            self.blank();
            self.expect(b':')?;
            members.push((key, self.value()?));
            self.blank();
            if self.peek() == b'}' {
                self.at += 1;
                return Ok(Json::Object(members));
            }
            self.expect(b',')?;
        }
    }

    fn key(&mut self) -> Result<Vec<u8>, String> {
        if self.peek() != b'"' {
            return Err(self.unexpected());
        }
        let key = self.text()?;
        match std::str::from_utf8(&key) {
            Err(_) => Err("Unmatched surrogate in a field name".to_owned()),
            Ok(text) if text.encode_utf16().count() > LONGEST_KEY => {
                Err(format!("Name length exceeds the maximum allowed ({LONGEST_KEY})"))
            }
            Ok(_) => Ok(key),
        }
    }

    fn list(&mut self) -> Result<Json, String> {
        let mut items = Vec::new();
        self.blank();
        if self.peek() == b']' {
            self.at += 1;
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value()?);
            self.blank();
            if self.peek() == b']' {
                self.at += 1;
                return Ok(Json::List(items));
            }
            self.expect(b',')?;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.peek() != byte || self.at >= self.bytes.len() {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, String> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(format!("Unrecognized token at column {}", self.at + 1));
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Json, String> {
        let start = self.at;
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        let spelled = String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned();
        if spelled.len() > LONGEST_NUMBER {
            return Err(format!(
                "Number value length ({}) exceeds the maximum allowed ({LONGEST_NUMBER})",
                spelled.len()
            ));
        }
        Ok(Json::Number(spelled))
    }

    fn digits(&mut self) -> Result<(), String> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == start { Err(self.unexpected()) } else { Ok(()) }
    }

    fn text(&mut self) -> Result<Vec<u8>, String> {
        self.at += 1;
        let mut text = Vec::new();
        let mut plain = self.at;
        loop {
            match self.bytes.get(self.at) {
                None => return Err("Unexpected end-of-input in a text".to_owned()),
                Some(b'"') => break,
                Some(b'\\') => {
                    self.utf8(plain, &mut text)?;
                    self.escape(&mut text)?;
                    plain = self.at;
                }
                Some(0..=31) => return Err("Illegal unquoted character in a text".to_owned()),
                Some(_) => self.at += 1,
            }
        }
        self.utf8(plain, &mut text)?;
        self.at += 1;
        Ok(text)
    }

    fn utf8(&self, from: usize, text: &mut Vec<u8>) -> Result<(), String> {
        let plain = &self.bytes[from..self.at];
        std::str::from_utf8(plain).map_err(|_| "Invalid UTF-8 in a text".to_owned())?;
        text.extend_from_slice(plain);
        Ok(())
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), String> {
        let letter = self.bytes.get(self.at + 1).copied().unwrap_or(0);
        self.at += 2;
        text.push(match letter {
            b'"' | b'\\' | b'/' => letter,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => return self.unicode(text),
            _ => return Err("Unrecognized character escape".to_owned()),
        });
        Ok(())
    }

    fn unicode(&mut self, text: &mut Vec<u8>) -> Result<(), String> {
        let first = self.four()?;
        let mut code = u32::from(first);
        if (0xD800..0xDC00).contains(&first) && self.bytes[self.at..].starts_with(b"\\u") {
            let here = self.at;
            self.at += 2;
            let second = self.four()?;
            if (0xDC00..0xE000).contains(&second) {
                code = 0x10000 + ((u32::from(first) - 0xD800) << 10) + u32::from(second) - 0xDC00;
            } else {
                self.at = here;
            }
        }
        match char::from_u32(code) {
            Some(character) => {
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            None => text.extend_from_slice(&lone(first)),
        }
        Ok(())
    }

    fn four(&mut self) -> Result<u16, String> {
        let digits = self.bytes.get(self.at..self.at + 4).ok_or("Unexpected end-of-input")?;
        let digits = std::str::from_utf8(digits).map_err(|_| "Expected four hex digits")?;
        self.at += 4;
        u16::from_str_radix(digits, 16).map_err(|_| "Expected four hex digits".to_owned())
    }
}

/// Returns a lone surrogate as WTF-8 has it.
fn lone(unit: u16) -> [u8; 3] {
    let low = |shift: u16| u8::try_from((unit >> shift) & 0x3F).unwrap() | 0x80;
    [0xE0 | u8::try_from(unit >> 12).unwrap(), low(6), low(0)]
}

mod tests {
    use super::*;

    #[test]
    fn what_every_engine_takes_is_read() {
        let tree =
            read(br#" {"a":[1,-2.5E+400,true,null,"\ud83d\ude00\ud83d\n"],"a.b":{}} "#).unwrap();
        let Some(Json::List(items)) = tree.get("a") else { panic!("{tree:?}") };
        assert_eq!(items[1], Json::Number("-2.5E+400".to_owned()));
        assert_eq!(items[4], Json::Text("😀".bytes().chain([0xED, 0xA0, 0xBD, b'\n']).collect()));
        assert_eq!(tree.get("a.b"), Some(&Json::Object(vec![])));
    }

    #[test]
    fn what_the_strictest_engine_refuses_is_refused() {
        let long_number = "1".repeat(1_001);
        let long_key = format!("{{\"{}\":1}}", "k".repeat(50_001));
        let deep = "[".repeat(1_001) + &"]".repeat(1_001);
        for refused in [
            r#"{"a":1,"a":2}"#,
            r#"{"ab":1,"\u0061b":2}"#,
            r#"{"\ud83d":1}"#,
            "{\"a\":\"\u{1}\"}",
            "{\"a\":NaN}",
            "{\"a\":01}",
            "{\"a\":1}}",
            "{\"a\":1",
            &long_number,
            &long_key,
            &deep,
        ] {
            assert!(read(refused.as_bytes()).is_err(), "{}", &refused[..refused.len().min(40)]);
        }
        assert!(read(b"\"\xff\"").is_err());
        assert!(read(b"\"\xed\xa0\xbd\"").is_err());
        assert!(read(("[".repeat(1_000) + &"]".repeat(1_000)).as_bytes()).is_ok());
    }
}
