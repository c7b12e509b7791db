//! Text in quotation marks: the escapes of Python and JSON.
//!
//! Input: an expression and the offset of a quotation mark. Output: the text, and the offset behind it.
//! Invariant: the text is valid Unicode; what an event cannot hold either, such as half a surrogate pair, is refused.

use super::super::syntax::SyntaxError;

/// How a text is written: its quotation mark, once or three times, and whether escapes are kept.
#[derive(Clone, Copy)]
pub(super) struct Quotation {
    pub(super) mark: char,
    pub(super) triple: bool,
    pub(super) raw: bool,
}

/// A position in the body of a text.
pub(super) struct TextReader<'a> {
    expression: &'a str,
    at: usize,
    text: String,
    /// The first half of a surrogate pair, with its offset.
    high_surrogate: Option<(u32, usize)>,
}

impl<'a> TextReader<'a> {
    /// Starts behind the opening quotation mark.
    pub(super) fn new(expression: &'a str, at: usize) -> Self {
        Self { expression, at, text: String::new(), high_surrogate: None }
    }

    /// Reads to behind the closing quotation mark; returns the text and the offset there.
    pub(super) fn read(
        mut self,
        quotation: Quotation,
        opening: usize,
    ) -> Result<(String, usize), SyntaxError> {
        let closing = quotation.mark.to_string().repeat(if quotation.triple { 3 } else { 1 });
        loop {
            let rest = &self.expression[self.at..];
            if rest.starts_with(&closing) {
                self.check_surrogate()?;
                return Ok((self.text, self.at + closing.len()));
            }
            match rest.chars().next() {
                None => return Err(unclosed(self.expression, opening, &closing)),
                Some('\\') => self.read_escape(quotation, opening)?,
                Some('\n' | '\r') if !quotation.triple => {
                    return Err(SyntaxError::new(
                        self.expression,
                        self.at,
                        "a line break inside the quotation marks",
                    )
                    .suggest(r"write \n, or use three quotation marks on either side"));
                }
                Some(letter) => self.push(letter, letter.len_utf8())?,
            }
        }
    }

    /// Appends a character that took `bytes` bytes of the expression.
    fn push(&mut self, letter: char, bytes: usize) -> Result<(), SyntaxError> {
        self.check_surrogate()?;
        self.text.push(letter);
        self.at += bytes;
        Ok(())
    }

    /// Refuses the first half of a surrogate pair that no second half followed.
    fn check_surrogate(&self) -> Result<(), SyntaxError> {
        match self.high_surrogate {
            Some((_, at)) => Err(half_surrogate(self.expression, at)),
            None => Ok(()),
        }
    }

    /// Reads a backslash and what belongs to it.
    fn read_escape(&mut self, quotation: Quotation, opening: usize) -> Result<(), SyntaxError> {
        let Some(letter) = self.expression[self.at + 1..].chars().next() else {
            let closing = quotation.mark.to_string().repeat(if quotation.triple { 3 } else { 1 });
            return Err(unclosed(self.expression, opening, &closing));
        };
        let bytes = 1 + letter.len_utf8();
        if quotation.raw {
            self.push('\\', 1)?;
            return self.push(letter, letter.len_utf8());
        }
        match letter {
            '\n' => {
                self.at += bytes;
                Ok(())
            }
            '\\' | '\'' | '"' | '/' => self.push(letter, bytes),
            'a' => self.push('\u{7}', bytes),
            'b' => self.push('\u{8}', bytes),
            'f' => self.push('\u{c}', bytes),
            'n' => self.push('\n', bytes),
            'r' => self.push('\r', bytes),
            't' => self.push('\t', bytes),
            'v' => self.push('\u{b}', bytes),
            '0'..='7' => self.read_octal(),
            'x' => self.read_hexadecimal(2),
            'u' => self.read_hexadecimal(4),
            'U' => self.read_hexadecimal(8),
            'N' => Err(SyntaxError::new(
                self.expression,
                self.at,
                "names of characters are not supported",
            )
            .suggest(r"write \u and the four hexadecimal digits of the character")),
            // As in Python, the backslash stays: "\." and "\d" are common in regular expressions.
            _ => {
                self.push('\\', 1)?;
                self.push(letter, letter.len_utf8())
            }
        }
    }

    /// Reads one to three octal digits.
    fn read_octal(&mut self) -> Result<(), SyntaxError> {
        let digits: String = self.expression[self.at + 1..]
            .chars()
            .take(3)
            .take_while(|digit| digit.is_digit(8))
            .collect();
        let code = u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32);
        self.push(code.unwrap_or('\0'), 1 + digits.len())
    }

    /// Reads an escape with exactly `count` hexadecimal digits, and joins the halves of surrogate pairs.
    fn read_hexadecimal(&mut self, count: usize) -> Result<(), SyntaxError> {
        let digits = self.expression.get(self.at + 2..self.at + 2 + count);
        let Some(code) = digits
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        else {
            let message = format!("this escape needs {count} hexadecimal digits");
            return Err(SyntaxError::new(self.expression, self.at, message)
                .suggest(r#"write \\ for a backslash, or r"…" for a text without escapes"#));
        };
        match (self.high_surrogate.take(), code) {
            (Some((high, _)), 0xdc00..=0xdfff) => {
                let code = 0x1_0000 + ((high - 0xd800) << 10) + (code - 0xdc00);
                self.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 2 + count)
            }
            (None, 0xd800..=0xdbff) => {
                self.high_surrogate = Some((code, self.at));
                self.at += 2 + count;
                Ok(())
            }
            (Some((_, at)), _) => Err(half_surrogate(self.expression, at)),
            (None, _) => match char::from_u32(code) {
                Some(letter) => self.push(letter, 2 + count),
                None => Err(half_surrogate(self.expression, self.at)),
            },
        }
    }
}

/// Creates the error for a text without an end.
fn unclosed(expression: &str, opening: usize, closing: &str) -> SyntaxError {
    SyntaxError::new(expression, opening, "the quotation mark is not closed")
        .suggest(format!("add {closing} at the end of the text"))
}

/// Creates the error for an escape that is no character.
fn half_surrogate(expression: &str, at: usize) -> SyntaxError {
    SyntaxError::new(expression, at, "this escape is no Unicode character, so no event can hold it")
}
