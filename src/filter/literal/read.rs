//! Parses literals.
//!
//! Input: an expression and the offset of the value. Output: the value, or the place of what is wrong with it.
//! Invariant: recursion is bounded by [`MAX_NESTING`], whatever was checked before.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::syntax::{MAX_NESTING, SyntaxError};
use super::text::{Quotation, TextReader};
use super::{Literal, LiteralNumber};

/// A position in an expression.
pub(super) struct Reader<'a> {
    expression: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Starts at an offset in bytes.
    pub(super) fn new(expression: &'a str, at: usize) -> Self {
        Self { expression, at, depth: 0 }
    }

    /// Reads one value up to the end of the expression.
    pub(super) fn read_all(mut self) -> Result<Literal, SyntaxError> {
        self.skip_blanks();
        let start = self.at;
        let literal = self.read_value()?;
        self.skip_blanks();
        if self.at == self.expression.len() { Ok(literal) } else { Err(self.trailing_text(start)) }
    }

    /// Reads a value at the current position.
    fn read_value(&mut self) -> Result<Literal, SyntaxError> {
        self.skip_blanks();
        let rest = self.rest();
        match rest.chars().next() {
            None => Err(self.error("the value is missing").suggest(
                "write a text in quotation marks, a number, true, false, null, a list or an object",
            )),
            Some('[') => self.nested(|reader| reader.read_members(']').map(Literal::List)),
            Some('(') => self.nested(Self::read_tuple),
            Some('{') => self.nested(Self::read_object),
            Some('0'..='9' | '.' | '+' | '-') => self.read_number(),
            Some(_) if self.quotation().is_some() => self.read_texts().map(Literal::Text),
            Some(letter) if is_word(letter) => self.read_word(),
            Some('“' | '”' | '„' | '‘' | '’' | '«' | '»') => {
                Err(self.error("this is a typographic quotation mark").suggest("write \" or '"))
            }
            Some('=' | '~') => {
                Err(self.error("this is no value").suggest("the operators are ==, != and regex"))
            }
            Some(',' | ']' | ')' | '}' | ':') => Err(self.error("a value is missing here")),
            Some(_) => Err(self.unquoted()),
        }
    }

    /// Reads something in brackets, within the limit of nesting.
    fn nested(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Literal, SyntaxError>,
    ) -> Result<Literal, SyntaxError> {
        if self.depth == MAX_NESTING {
            return Err(self
                .error(format!("the value is nested deeper than {MAX_NESTING} levels from here")));
        }
        self.depth += 1;
        let opening = self.at;
        self.at += 1;
        let literal = read(self).map_err(|error| self.unclosed_or(error, opening))?;
        self.depth -= 1;
        Ok(literal)
    }

    /// Replaces an error at the end of the expression by one at the bracket that is not closed.
    fn unclosed_or(&self, error: SyntaxError, opening: usize) -> SyntaxError {
        if error.offset < self.expression.len() {
            return error;
        }
        let closing = match self.expression.as_bytes()[opening] {
            b'[' => ']',
            b'(' => ')',
            _ => '}',
        };
        SyntaxError::new(self.expression, opening, "the bracket is not closed")
            .suggest(format!("add {closing} at the end of the value"))
    }

    /// Reads values separated by commas up to a closing bracket.
    fn read_members(&mut self, closing: char) -> Result<Vec<Literal>, SyntaxError> {
        let mut members = Vec::new();
        while !self.take(closing) {
            members.push(self.read_value()?);
            self.expect_separator(closing)?;
        }
        Ok(members)
    }

    /// Reads a tuple, or one value in parentheses, which is that value.
    fn read_tuple(&mut self) -> Result<Literal, SyntaxError> {
        if self.take(')') {
            return Ok(Literal::List(Vec::new()));
        }
        let first = self.read_value()?;
        if self.take(')') {
            return Ok(first);
        }
        self.expect_separator(')')?;
        let mut members = vec![first];
        members.extend(self.read_members(')')?);
        Ok(Literal::List(members))
    }

    /// Reads a dictionary. Of equal keys, the last one counts, as in Python and in most parsers of JSON.
    fn read_object(&mut self) -> Result<Literal, SyntaxError> {
        let mut members = BTreeMap::new();
        while !self.take('}') {
            self.skip_blanks();
            let start = self.at;
            if self.quotation().is_none() && !self.rest().is_empty() {
                return Err(self.wrong_key());
            }
            let Literal::Text(key) = self.read_value()? else {
                return Err(self.wrong_key());
            };
            if !self.take(':') {
                let error = self.error("a colon and a value are missing behind this key");
                return Err(if self.rest().is_empty() {
                    error
                } else {
                    SyntaxError { offset: start, ..error }
                }
                .suggest("write a list as [1, 2] and an object as {\"key\": 1}"));
            }
            members.insert(key, self.read_value()?);
            self.expect_separator('}')?;
        }
        Ok(Literal::Object(members.into_iter().collect()))
    }

    /// Creates the error for a key that is no text.
    fn wrong_key(&self) -> SyntaxError {
        let word = self.word(self.at);
        let error = self.error("the keys of an object are texts");
        if word.is_empty() {
            error.suggest("write a list as [1, 2] and an object as {\"key\": 1}")
        } else {
            error.suggest(format!("put the key in quotation marks: {}", Value::from(word)))
        }
    }

    /// Takes a comma; without one, a closing bracket must follow.
    fn expect_separator(&mut self, closing: char) -> Result<(), SyntaxError> {
        if self.take(',') {
            return Ok(());
        }
        self.skip_blanks();
        if self.rest().starts_with(closing) {
            return Ok(());
        }
        Err(self.error(format!("a comma or {closing} is missing here")))
    }

    /// Reads adjacent texts, which are one.
    fn read_texts(&mut self) -> Result<String, SyntaxError> {
        let mut whole = String::new();
        while let Some((quotation, bytes)) = self.quotation() {
            let opening = self.at;
            let (text, end) =
                TextReader::new(self.expression, self.at + bytes).read(quotation, opening)?;
            whole.push_str(&text);
            self.at = end;
            self.skip_blanks();
        }
        Ok(whole)
    }

    /// Returns the quotation marks at the current position, with an optional prefix, and their length in bytes.
    fn quotation(&self) -> Option<(Quotation, usize)> {
        let rest = self.rest();
        let prefix = rest.bytes().take_while(|byte| b"rRuU".contains(byte)).take(1).count();
        let mark = rest[prefix..].chars().next().filter(|mark| matches!(mark, '"' | '\''))?;
        let triple =
            rest[prefix..].bytes().take(3).filter(|byte| char::from(*byte) == mark).count() == 3;
        let raw = rest.starts_with(['r', 'R']);
        Some((Quotation { mark, triple, raw }, prefix + if triple { 3 } else { 1 }))
    }

    /// Reads a constant that has a name.
    fn read_word(&mut self) -> Result<Literal, SyntaxError> {
        let word = self.word(self.at);
        let literal = match word {
            "None" | "null" => Literal::Null,
            "True" | "true" => Literal::Bool(true),
            "False" | "false" => Literal::Bool(false),
            _ => return Err(self.unknown_word(word)),
        };
        self.at += word.len();
        Ok(literal)
    }

    /// Creates the error for a word that is no constant.
    fn unknown_word(&self, word: &str) -> SyntaxError {
        let behind = self.rest()[word.len()..].chars().next();
        if matches!(behind, Some('"' | '\'')) {
            let message = format!("a text cannot have the prefix {word}");
            return self.error(message).suggest(r#"write "…", or r"…" for a text without escapes"#);
        }
        let suggestion = match word.to_ascii_lowercase().as_str() {
            "none" | "null" | "nil" | "undefined" => "null",
            "true" => "true",
            "false" => "false",
            _ => return self.unquoted(),
        };
        self.error(format!("{word} is no value")).suggest(format!("write {suggestion}"))
    }

    /// Creates the error for a text without quotation marks.
    fn unquoted(&self) -> SyntaxError {
        let rest = self.rest();
        let end = if self.depth > 0 { rest.find([',', ']', ')', '}', ':']) } else { None };
        let text = rest[..end.unwrap_or(rest.len())].trim_end().trim_matches(['"', '\'']);
        self.error("a text must be in quotation marks")
            .suggest(format!("write {}", Value::from(text)))
    }

    /// Creates the error for text behind a value that started at `start`.
    fn trailing_text(&self, start: usize) -> SyntaxError {
        let rest = self.rest();
        let word = self.word(self.at);
        let error = self.error("the value ends before this");
        if rest.starts_with("&&") || word.eq_ignore_ascii_case("and") {
            return error.suggest("give each condition its own --match; all of them must hold");
        }
        if rest.starts_with("||") || word.eq_ignore_ascii_case("or") {
            return error.suggest("for one of several texts, use regex with \"^(a|b)$\"");
        }
        if rest.starts_with(',') {
            return error.suggest("put a list in brackets: [1, 2]");
        }
        let is_bare = self.expression[start..]
            .starts_with(|first: char| first.is_alphanumeric() || "+-.".contains(first));
        if is_bare && !rest.starts_with(|first: char| first == '(' || first.is_whitespace()) {
            return Self { at: start, ..*self }.unquoted();
        }
        error.suggest("give each condition its own --match")
    }

    /// Reads a number with an optional sign.
    fn read_number(&mut self) -> Result<Literal, SyntaxError> {
        let start = self.at;
        let negative = self.rest().starts_with('-');
        if self.rest().starts_with(['+', '-']) {
            self.at += 1;
            self.skip_blanks();
        }
        let body = number_text(self.rest());
        match parse_number(body, negative) {
            Ok(number) => {
                self.at += body.len();
                Ok(Literal::Number(number))
            }
            Err(message) => Err(Self { at: start, ..*self }.wrong_number(body, message)),
        }
    }

    /// Creates the error for a number that is none, such as an account id with a leading zero.
    fn wrong_number(&self, body: &str, message: &str) -> SyntaxError {
        let error = self.error(message);
        if body.is_empty() || self.rest().starts_with(['+', '-']) {
            return error.suggest("put a text in quotation marks");
        }
        SyntaxError { message: error.message, ..self.unquoted() }
    }

    /// Returns the letters, digits and underscores from an offset on.
    fn word(&self, from: usize) -> &'a str {
        let rest = &self.expression[from..];
        &rest[..rest.find(|letter| !is_word(letter)).unwrap_or(rest.len())]
    }

    /// Takes a character behind blanks, if it is there.
    fn take(&mut self, wanted: char) -> bool {
        self.skip_blanks();
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']).len();
    }

    fn rest(&self) -> &'a str {
        &self.expression[self.at..]
    }

    fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError::new(self.expression, self.at, message)
    }
}

/// Returns whether a character can be part of a word.
fn is_word(letter: char) -> bool {
    letter == '_' || letter.is_alphanumeric()
}

/// Returns the start of a text that looks like a number: digits, letters, points, and signs of exponents.
fn number_text(rest: &str) -> &str {
    let is_decimal = !rest.starts_with("0x") && !rest.starts_with("0X");
    let mut previous = ' ';
    let end = rest.find(|letter: char| {
        let is_sign = is_decimal && "+-".contains(letter) && "eE".contains(previous);
        previous = letter;
        !(is_sign || letter == '.' || is_word(letter))
    });
    &rest[..end.unwrap_or(rest.len())]
}

/// Parses a number without its sign, in the notation of Python.
fn parse_number(text: &str, negative: bool) -> Result<LiteralNumber, &'static str> {
    const NOT_A_NUMBER: &str = "this is no number";
    let bytes = text.as_bytes();
    let radix = match bytes.get(..2) {
        Some(b"0x" | b"0X") => 16,
        Some(b"0o" | b"0O") => 8,
        Some(b"0b" | b"0B") => 2,
        _ => 10,
    };
    let is_digit = |at: usize| bytes.get(at).is_some_and(|byte| char::from(*byte).is_digit(radix));
    // An underscore stands between two digits, or between the prefix and a digit.
    let misplaced = (0..bytes.len()).any(|at| {
        bytes[at] == b'_'
            && !(is_digit(at + 1) && at > 0 && (is_digit(at - 1) || (radix != 10 && at == 2)))
    });
    if misplaced {
        return Err(NOT_A_NUMBER);
    }
    let digits = text.replace('_', "");
    let number = match digits.get(2..) {
        Some(digits) if radix != 10 => parse_radix(digits, radix),
        _ if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            if digits.len() > 1
                && digits.starts_with('0')
                && digits.bytes().any(|digit| digit != b'0')
            {
                return Err("a number has no leading zeros, and an identifier is a text");
            }
            parse_radix(&digits, 10)
        }
        _ => parse_float(&digits),
    };
    match number {
        Some(LiteralNumber::Float(float)) if float.is_infinite() && digits.contains(['e', 'E']) => {
            Err("no event can hold a number of this size")
        }
        Some(number) => Ok(if negative { negate(number) } else { number }),
        None => Err(NOT_A_NUMBER),
    }
}

/// Parses an integer. One that does not fit into 64 bits is rounded as in an event.
fn parse_radix(digits: &str, radix: u32) -> Option<LiteralNumber> {
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    match i128::from_str_radix(digits, radix) {
        Ok(integer) if u64::try_from(integer).is_ok() => Some(LiteralNumber::Integer(integer)),
        Ok(integer) => Some(LiteralNumber::Float(round_as_event(&integer.to_string()))),
        Err(_) if radix == 10 => Some(LiteralNumber::Float(round_as_event(digits))),
        Err(_) => Some(LiteralNumber::Float(round_power_of_two(digits, radix))),
    }
}

/// Rounds an integer in a notation whose radix is a power of two: the leading 120 bits, and whether anything but zeros
/// follows them, decide.
fn round_power_of_two(digits: &str, radix: u32) -> f64 {
    let bits = radix.trailing_zeros();
    let (mut leading, mut exponent) = (0_u128, 0_i32);
    for digit in digits.chars().filter_map(|digit| digit.to_digit(radix)) {
        if leading.leading_zeros() > 8 {
            leading = (leading << bits) | u128::from(digit);
        } else {
            leading |= u128::from(digit != 0);
            exponent = exponent.saturating_add(bits.cast_signed());
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "this is the rounding")]
    let rounded = leading as f64;
    rounded * 2_f64.powi(exponent)
}

/// Parses a floating-point number in the notation of Python, in which digits may be missing on one side of the point.
fn parse_float(text: &str) -> Option<LiteralNumber> {
    let is_numeric = text.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    // Only whether it is a number: names such as `inf` are left out, and the value is that of the event's parser.
    is_numeric.then(|| text.parse::<f64>().ok()).flatten()?;
    let exponent = text.find(['e', 'E']).unwrap_or(text.len());
    let (digits, exponent) = text.split_at(exponent);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(LiteralNumber::Float(round_as_event(&format!("{whole}{point}{fraction}{exponent}"))))
}

/// Rounds a number of JSON like the parser of events, which may differ in the last bit from the nearest number.
fn round_as_event(json: &str) -> f64 {
    serde_json::from_str(json).unwrap_or(f64::INFINITY)
}

fn negate(number: LiteralNumber) -> LiteralNumber {
    match number {
        LiteralNumber::Integer(integer) => LiteralNumber::Integer(-integer),
        LiteralNumber::Float(float) => LiteralNumber::Float(-float),
    }
}
