//! The modifiers of a field: `userAgent|contains|all`.
//!
//! Input: the words behind the name of a field, and its values. Output: an error, or tests.
//! Invariant: a modifier that does not exist, is not supported, or does not go with the others is refused, so no test means
//! something else than what is written.

use std::net::IpAddr;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use fancy_regex::RegexBuilder;
use serde_json::Value;

use super::{
    pattern::{Anchor, Pattern, plain_text},
    value_test::{DatePart, ExactNumber, NumberTest, Order, Test},
};
use crate::filter::{
    field_test::Case,
    yaml::{DefinitionError, TextPosition, YamlNode},
};

/// Steps of a regular expression after which it counts as not matching, as in `--match`.
const BACKTRACK_LIMIT: usize = 100_000;

/// The most texts that `windash` makes of a value: all of four dashes.
const MAX_DASH_VARIANTS: usize = 625;

/// The characters that start an option on a command line of Windows.
const DASHES: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];

/// What is supported, for the message about what is not.
const SUPPORTED: &str = "supported are contains, startswith, endswith, all, cased, neq, exists, re with i, m and s, cidr, lt, lte, gt, gte, fieldref, windash, base64, base64offset, utf16le, wide, utf16be, utf16, minute, hour, day, week, month and year";

/// How many of the values have to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantifier {
    /// One of them.
    Any,
    /// Each of them.
    All,
    /// None of them, and the field is there.
    None,
}

/// The modifiers of a field.
pub(super) struct Modifiers {
    position: TextPosition,
    anchor: Option<Anchor>,
    case: Case,
    needs_all: bool,
    is_negated: bool,
    kind: Kind,
    /// The flags of a regular expression.
    flags: String,
    encodings: Vec<Encoding>,
    has_windash: bool,
    date_part: Option<DatePart>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Text,
    Regex,
    Exists,
    Network,
    Number(Order),
    Field,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Encoding {
    Utf16Little,
    Utf16Big,
    /// With a byte order mark.
    Utf16,
    Base64,
    /// As a part of a longer text that is encoded.
    Base64Offset,
}

impl Modifiers {
    /// Reads the words. Without one that says where text is, it is the whole field, or anywhere for keywords.
    pub(super) fn parse<'k>(
        words: impl Iterator<Item = &'k str>,
        position: TextPosition,
    ) -> Result<Self, DefinitionError> {
        let mut modifiers = Self {
            position,
            anchor: None,
            case: Case::Ignored,
            needs_all: false,
            is_negated: false,
            kind: Kind::Text,
            flags: String::new(),
            encodings: Vec::new(),
            has_windash: false,
            date_part: None,
        };
        let mut seen: Vec<&str> = Vec::new();
        for word in words {
            if seen.contains(&word) {
                return Err(modifiers.error(format!("the modifier `{word}` is there twice")));
            }
            seen.push(word);
            modifiers.add(word)?;
        }
        modifiers.check()?;
        Ok(modifiers)
    }

    fn add(&mut self, word: &str) -> Result<(), DefinitionError> {
        match word {
            "contains" => self.set_anchor(Anchor::Anywhere),
            "startswith" => self.set_anchor(Anchor::Start),
            "endswith" => self.set_anchor(Anchor::End),
            "re" => self.set_kind(Kind::Regex, word),
            "exists" => self.set_kind(Kind::Exists, word),
            "cidr" => self.set_kind(Kind::Network, word),
            "lt" => self.set_kind(Kind::Number(Order::Less), word),
            "lte" => self.set_kind(Kind::Number(Order::LessOrEqual), word),
            "gt" => self.set_kind(Kind::Number(Order::Greater), word),
            "gte" => self.set_kind(Kind::Number(Order::GreaterOrEqual), word),
            "fieldref" => self.set_kind(Kind::Field, word),
            "all" | "neq" | "cased" | "windash" => {
                self.needs_all |= word == "all";
                self.is_negated |= word == "neq";
                self.has_windash |= word == "windash";
                self.case = if word == "cased" { Case::Respected } else { self.case };
                Ok(())
            }
            "i" | "ignorecase" | "m" | "multiline" | "s" | "dotall" if self.kind == Kind::Regex => {
                let first = word.chars().next().unwrap_or('i');
                self.flags.push(if first == 'd' { 's' } else { first });
                Ok(())
            }
            "utf16le" | "wide" => self.add_encoding(Encoding::Utf16Little),
            "utf16be" => self.add_encoding(Encoding::Utf16Big),
            "utf16" => self.add_encoding(Encoding::Utf16),
            "base64" => self.add_encoding(Encoding::Base64),
            "base64offset" => self.add_encoding(Encoding::Base64Offset),
            "expand" => Err(self.error("the modifier `expand` is not supported: the values of placeholders are not known").suggest("replace the placeholder by its values")),
            _ => match DatePart::named(word) {
                Some(part) => {
                    self.date_part = Some(part);
                    Ok(())
                }
                None => Err(self.error(format!("the modifier `{word}` is not supported")).suggest(SUPPORTED)),
            },
        }
    }

    fn error(&self, message: impl Into<String>) -> DefinitionError {
        DefinitionError::new(self.position, message)
    }

    fn set_anchor(&mut self, anchor: Anchor) -> Result<(), DefinitionError> {
        if self.anchor.replace(anchor).is_some() {
            return Err(self.error("only one of contains, startswith and endswith is possible"));
        }
        Ok(())
    }

    fn set_kind(&mut self, kind: Kind, word: &str) -> Result<(), DefinitionError> {
        if self.kind != Kind::Text {
            return Err(
                self.error(format!("the modifier `{word}` does not go with the one before it"))
            );
        }
        self.kind = kind;
        Ok(())
    }

    fn add_encoding(&mut self, encoding: Encoding) -> Result<(), DefinitionError> {
        let is_base64 =
            |encoding: &Encoding| matches!(encoding, Encoding::Base64 | Encoding::Base64Offset);
        match self.encodings.last() {
            Some(last) if is_base64(last) || !is_base64(&encoding) => Err(self.error(
                "at most one encoding in UTF-16 is possible, followed by base64 or base64offset",
            )),
            _ => {
                self.encodings.push(encoding);
                Ok(())
            }
        }
    }

    /// Refuses modifiers that have no effect together.
    fn check(&self) -> Result<(), DefinitionError> {
        let is_text = self.kind == Kind::Text && self.date_part.is_none();
        let conflict = if matches!(
            self.encodings.last(),
            Some(Encoding::Utf16Little | Encoding::Utf16Big | Encoding::Utf16)
        ) {
            Some("text in UTF-16 is possible only before base64 or base64offset")
        } else if !is_text && (self.has_windash || !self.encodings.is_empty()) {
            Some("encodings and windash are possible for text only")
        } else if self.anchor.is_some() && !(is_text || self.kind == Kind::Field) {
            Some("contains, startswith and endswith are possible for text and fieldref only")
        } else if self.case == Case::Respected && !(is_text || self.kind == Kind::Field) {
            Some("cased is possible for text and fieldref only")
        } else if self.is_negated && (self.needs_all || self.kind == Kind::Exists) {
            Some("neq goes with neither all nor exists")
        } else if self.date_part.is_some() && !matches!(self.kind, Kind::Text | Kind::Number(_)) {
            Some("parts of a date are compared with numbers only")
        } else {
            None
        };
        conflict.map_or(Ok(()), |message| Err(self.error(message)))
    }

    pub(super) fn quantifier(&self) -> Quantifier {
        match (self.is_negated, self.needs_all) {
            (true, _) => Quantifier::None,
            (false, true) => Quantifier::All,
            (false, false) => Quantifier::Any,
        }
    }

    /// Returns the test of a value. `default` is where text is without a modifier.
    pub(super) fn test(&self, value: &YamlNode, default: Anchor) -> Result<Test, DefinitionError> {
        let invalid = |what: &str| {
            let message = format!("{what} is expected here, not {}", value.description());
            DefinitionError::new(value.position, message)
        };
        let is_plain = self.kind == Kind::Text && self.anchor.is_none() && self.date_part.is_none();
        if value.is_null() && is_plain && default == Anchor::Whole {
            return Ok(Test::Absent);
        }
        let text =
            value.as_text().filter(|_| !value.is_null()).ok_or_else(|| invalid("a value"))?;
        let number = || ExactNumber::parse(text);
        if let Some(part) = self.date_part {
            let order = if let Kind::Number(order) = self.kind { order } else { Order::Equal };
            let limit = number().ok_or_else(|| invalid("a number"))?;
            return Ok(Test::DatePart(part, NumberTest { order, limit }));
        }
        match self.kind {
            Kind::Text => self.text(text, value, default),
            Kind::Regex => self.regex(text, value.position),
            Kind::Exists => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" => Ok(Test::Exists(true)),
                "false" | "no" => Ok(Test::Exists(false)),
                _ => Err(invalid("true or false")),
            },
            Kind::Network => {
                let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(Into::into));
                network.map(Test::Network).map_err(|_| invalid("a network such as 10.0.0.0/8"))
            }
            Kind::Number(order) => number()
                .map(|limit| Test::Number(NumberTest { order, limit }))
                .ok_or_else(|| invalid("a number")),
            Kind::Field => Ok(Test::Field(
                text.split('.').map(str::to_owned).collect(),
                self.anchor.unwrap_or(Anchor::Whole),
                self.case,
            )),
        }
    }

    fn text(&self, text: &str, value: &YamlNode, default: Anchor) -> Result<Test, DefinitionError> {
        let anchor = self.anchor.unwrap_or(default);
        if self.encodings.is_empty() && !self.has_windash {
            let pattern = Pattern::parse(text, anchor, self.case);
            return Ok(match value.to_json() {
                Value::Number(_) if anchor == Anchor::Whole => match ExactNumber::parse(text) {
                    Some(number) => Test::NumberOrText(number, pattern),
                    None => Test::Text(pattern),
                },
                _ => Test::Text(pattern),
            });
        }
        if self.encodings.is_empty() {
            let variants = Self::dash_variants(text, value)?;
            let patterns = variants.iter().map(|text| Pattern::parse(text, anchor, self.case));
            return Ok(Test::OneOf(patterns.collect()));
        }
        let plain = plain_text(text).ok_or_else(|| {
            DefinitionError::new(value.position, "text with wildcards cannot be encoded")
                .suggest("write `\\*` for an asterisk that is meant")
        })?;
        let variants =
            if self.has_windash { Self::dash_variants(&plain, value)? } else { vec![plain] };
        let encoded = variants.iter().flat_map(|text| encode(text, &self.encodings));
        Ok(Test::OneOf(encoded.map(|text| Pattern::literal(&text, anchor, self.case)).collect()))
    }

    /// Returns the texts with each combination of dashes in the place of those that start an option.
    fn dash_variants(text: &str, value: &YamlNode) -> Result<Vec<String>, DefinitionError> {
        let mut variants = vec![String::new()];
        let mut before = None;
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            let is_word = |other: Option<char>| {
                other.is_some_and(|other| other.is_alphanumeric() || other == '_')
            };
            let is_option = DASHES.contains(&character)
                && !is_word(before)
                && is_word(characters.peek().copied());
            if is_option {
                variants = variants
                    .iter()
                    .flat_map(|variant| DASHES.map(|dash| format!("{variant}{dash}")))
                    .collect();
            } else {
                for variant in &mut variants {
                    variant.push(character);
                }
            }
            if variants.len() > MAX_DASH_VARIANTS {
                return Err(DefinitionError::new(
                    value.position,
                    "the value has more than four dashes, too many for windash",
                ));
            }
            before = Some(character);
        }
        Ok(variants)
    }

    fn regex(&self, text: &str, position: TextPosition) -> Result<Test, DefinitionError> {
        let flags = &self.flags;
        let pattern = if flags.is_empty() { text.to_owned() } else { format!("(?{flags}){text}") };
        let regex = RegexBuilder::new(&pattern).backtrack_limit(BACKTRACK_LIMIT).build();
        regex.map(|regex| Test::Regex(Box::new(regex))).map_err(|error| {
            DefinitionError::new(position, format!("the regular expression is not valid: {error}"))
        })
    }
}

/// Returns the texts that stand for a text in these encodings.
fn encode(text: &str, encodings: &[Encoding]) -> Vec<String> {
    let mut bytes = text.as_bytes().to_vec();
    for encoding in encodings {
        let units = text.encode_utf16();
        match encoding {
            Encoding::Utf16Little => bytes = units.flat_map(u16::to_le_bytes).collect(),
            Encoding::Utf16Big => bytes = units.flat_map(u16::to_be_bytes).collect(),
            Encoding::Utf16 => {
                bytes = [0xFF, 0xFE].into_iter().chain(units.flat_map(u16::to_le_bytes)).collect();
            }
            Encoding::Base64 => return vec![BASE64_STANDARD.encode(&bytes)],
            Encoding::Base64Offset => {
                return (0..3).map(|offset| encode_at(&bytes, offset)).collect();
            }
        }
    }
    Vec::new()
}

/// Returns the characters that the bytes alone decide if they stand at an offset in a text in base64.
fn encode_at(bytes: &[u8], offset: usize) -> String {
    let padded: Vec<u8> = std::iter::repeat_n(b' ', offset).chain(bytes.iter().copied()).collect();
    let encoded = BASE64_STANDARD.encode(&padded);
    // The bits of bytes before the first and behind the last one are in characters that are left out.
    let start = [0, 2, 3].get(offset).copied().unwrap_or(0);
    let end = padded.len() * 8 / 6;
    encoded.get(start..end.max(start)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_text_is_found_at_every_offset() {
        let text = "/bin/bash";
        let parts = encode(text, &[Encoding::Base64Offset]);
        // The example of the documentation of pySigma.
        assert_eq!(encode("foobar", &[Encoding::Base64]), ["Zm9vYmFy"]);
        assert_eq!(encode("foobar", &[Encoding::Base64Offset]), ["Zm9vYmFy", "Zvb2Jhc", "mb29iYX"]);
        for before in ["", "a", "ab", "abc", "abcd"] {
            for behind in ["", "x", "xy", "xyz"] {
                let encoded = BASE64_STANDARD.encode(format!("{before}{text}{behind}"));
                assert!(encoded.contains(&parts[before.len() % 3]), "{encoded} {parts:?}");
            }
        }
        assert_eq!(encode("a", &[Encoding::Utf16Little, Encoding::Base64]), ["YQA="]);
        assert_eq!(encode("a", &[Encoding::Utf16Big, Encoding::Base64]), ["AGE="]);
        assert_eq!(encode("a", &[Encoding::Utf16, Encoding::Base64]), ["//5hAA=="]);
    }
}
