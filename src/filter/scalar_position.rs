//! Where in a YAML file a character of a scalar is.
//!
//! Input: the text of a file; where a scalar starts in it, and its value; an offset in the value. Output: line and column.
//! Invariant: the place is that of the character in the file, whatever escapes, folded lines and indentation are before it.
//! Where that cannot be told, as in the text of an alias, it is where the scalar starts.

use super::yaml::TextPosition;

/// Returns the place of an offset in the value of a scalar.
pub fn position_in_scalar(
    file: &str,
    start: TextPosition,
    value: &str,
    offset: usize,
) -> TextPosition {
    if let Some(header) = block_header(file, start) {
        return in_block(header, value, offset).unwrap_or(start);
    }
    let position = Cursor::at(file, start).map(Cursor::behind_properties).and_then(|cursor| {
        match cursor.peek()? {
            '|' | '>' => in_block(cursor, value, offset),
            '\'' => in_flow(cursor.behind()?, Quotes::Single, value, offset),
            '"' => in_flow(cursor.behind()?, Quotes::Double, value, offset),
            _ => in_flow(cursor, Quotes::None, value, offset),
        }
    });
    position.unwrap_or(start)
}

#[derive(Clone, Copy, PartialEq)]
enum Quotes {
    None,
    Single,
    Double,
}

/// A place in a file.
#[derive(Clone, Copy)]
struct Cursor<'t> {
    rest: &'t str,
    position: TextPosition,
}

impl<'t> Cursor<'t> {
    fn at(file: &'t str, position: TextPosition) -> Option<Self> {
        let mut cursor = Self { rest: file, position: TextPosition { line: 1, column: 1 } };
        for _ in 1..position.line {
            let end = cursor.rest.find('\n')?;
            cursor.rest = cursor.rest.get(end + 1..)?;
        }
        let line_start = cursor.rest.strip_prefix('\u{feff}').filter(|_| position.line == 1);
        cursor.rest = line_start.unwrap_or(cursor.rest);
        let skipped = cursor.rest.char_indices().nth(position.column - 1);
        cursor.rest = cursor.rest.get(skipped.map_or(cursor.rest.len(), |(offset, _)| offset)..)?;
        Some(Self { position, ..cursor })
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.rest = self.rest.get(character.len_utf8()..)?;
        self.position = if character == '\n' {
            TextPosition { line: self.position.line + 1, column: 1 }
        } else {
            TextPosition { column: self.position.column + 1, ..self.position }
        };
        Some(character)
    }

    fn behind(mut self) -> Option<Self> {
        self.take().map(|_| self)
    }

    /// Returns the place behind an anchor and a tag, with which no value starts.
    fn behind_properties(mut self) -> Self {
        while matches!(self.peek(), Some('&' | '!')) {
            self.skip_while(|character| !character.is_whitespace());
            self.skip_while(char::is_whitespace);
        }
        self
    }

    /// Returns whether nothing but blanks is before the end of the line.
    fn is_at_line_end(&self) -> bool {
        self.rest.trim_start_matches([' ', '\t', '\r']).starts_with('\n')
    }

    fn skip_while(&mut self, skips: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&skips) {
            self.take();
        }
    }
}

/// The value that is compared with the file, character by character.
struct Expected<'v> {
    value: &'v str,
    at: usize,
    offset: usize,
}

impl<'v> Expected<'v> {
    fn rest(&self) -> &'v str {
        self.value.get(self.at..).unwrap_or_default()
    }

    fn is_reached(&self) -> bool {
        self.at >= self.offset
    }

    fn take(&mut self, character: char) -> Option<()> {
        self.at += self.rest().starts_with(character).then_some(character.len_utf8())?;
        Some(())
    }

    /// Skips what lines of a file became: a blank, or line breaks.
    fn skip_break(&mut self) {
        let rest = self.rest();
        self.at += if rest.starts_with(' ') {
            1
        } else {
            rest.len() - rest.trim_start_matches('\n').len()
        };
    }
}

/// Finds an offset in a scalar of one or more lines that are folded.
fn in_flow(
    mut cursor: Cursor<'_>,
    quotes: Quotes,
    value: &str,
    offset: usize,
) -> Option<TextPosition> {
    let mut expected = Expected { value, at: 0, offset };
    loop {
        if quotes == Quotes::Double && cursor.rest.starts_with("\\\n") {
            cursor.take();
            cursor.skip_while(char::is_whitespace);
            continue;
        }
        if !expected.rest().is_empty() && cursor.is_at_line_end() {
            expected.skip_break();
            cursor.skip_while(char::is_whitespace);
            if expected.at > expected.offset {
                return Some(cursor.position);
            }
            continue;
        }
        if expected.is_reached() {
            return Some(cursor.position);
        }
        match (quotes, cursor.take()?) {
            (Quotes::Single, '\'') => {
                cursor.take()?;
                expected.take('\'')?;
            }
            (Quotes::Double, '\\') => {
                let digits = match cursor.take()? {
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    _ => 0,
                };
                (0..digits).try_for_each(|_| cursor.take().map(drop))?;
                expected.at += expected.rest().chars().next()?.len_utf8();
            }
            (_, character) => expected.take(character)?,
        }
    }
}

/// Returns where the `|` or `>` of a block is, whose first line starts at `start`.
fn block_header(file: &str, start: TextPosition) -> Option<Cursor<'_>> {
    let before: Vec<&str> = file.lines().take(start.line - 1).collect();
    let number = before.iter().rposition(|line| !line.trim().is_empty())?;
    let line = before.get(number)?;
    let header = line.split(" #").next()?.trim_end();
    let indicator = header.rsplit([' ', '\t']).next()?;
    let is_block = indicator.starts_with(['|', '>'])
        && indicator
            .chars()
            .skip(1)
            .all(|character| character.is_ascii_digit() || matches!(character, '+' | '-'));
    let first = file.lines().nth(start.line - 1)?;
    let is_first = first.chars().take(start.column - 1).all(char::is_whitespace);
    let column = header.chars().count() - indicator.chars().count() + 1;
    (is_block && is_first)
        .then(|| Cursor::at(file, TextPosition { line: number + 1, column }))
        .flatten()
}

/// Finds an offset in a block, which starts with `|` or `>`.
fn in_block(mut cursor: Cursor<'_>, value: &str, offset: usize) -> Option<TextPosition> {
    let mut expected = Expected { value, at: 0, offset };
    let header = cursor.rest.lines().next()?;
    // With an indentation indicator, the indentation depends on what the block is in.
    if header.split('#').next()?.contains(|character: char| character.is_ascii_digit()) {
        return None;
    }
    cursor.skip_while(|character| character != '\n');
    cursor.take()?;
    while cursor.is_at_line_end() {
        cursor.skip_while(|character| character != '\n');
        cursor.take()?;
        expected.at += usize::from(expected.rest().starts_with('\n'));
    }
    let indentation = cursor.rest.len() - cursor.rest.trim_start_matches(' ').len();
    loop {
        for _ in 0..indentation {
            if cursor.peek()? == ' ' {
                cursor.take();
            }
        }
        while cursor.peek().is_some_and(|character| !matches!(character, '\n' | '\r')) {
            if expected.is_reached() {
                return Some(cursor.position);
            }
            expected.take(cursor.take()?)?;
        }
        if expected.is_reached() {
            return Some(cursor.position);
        }
        expected.skip_break();
        cursor.skip_while(|character| character != '\n');
        cursor.take()?;
        while cursor.is_at_line_end() {
            cursor.skip_while(|character| character != '\n');
            cursor.take()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::yaml::parse_yaml, *};

    /// Returns the places of `X` in the values of a file, as the value tells, and where the file has it.
    fn places(file: &str) -> (String, String) {
        let documents = parse_yaml(file).unwrap();
        let node = documents[0].get("m").unwrap();
        let value = node.as_text().unwrap();
        let found = position_in_scalar(file, node.position, value, value.find('X').unwrap());
        let offset = file.find('X').unwrap();
        let line = file[..offset].matches('\n').count() + 1;
        let start = file[..offset].rfind('\n').map_or(0, |end| end + 1);
        let column = file[start..offset].trim_start_matches('\u{feff}').chars().count() + 1;
        (found.to_string(), TextPosition { line, column }.to_string())
    }

    #[test]
    fn the_place_is_found_in_every_style() {
        for file in [
            "m: aéb X\n",
            "a: 1\nm:   a\n  b\n\n  c X d\n",
            "m: 'it''s é X'\n",
            "m: 'a\n  b\n  X'\n",
            "m: \"a \\\"b\\\" \\u00e9\\x41\\U0001F600 X\"\n",
            "m: \"a \\\n   b X\"\n",
            "m: \"a\n   b X\"\n",
            "m: |\n  a\n  b\n   c X\n",
            "m: |-\n\n  a\n\n  b X\n",
            "m: >-\n  a\n  b X\n",
            "m: >\n  a\n    more\n  b\n\n  c X\n",
            "m: >- # why\n    a\n    && X\n",
            "{ a: 1, m: 'a X' }\n",
            "{ a: 1, m: a X }\n",
            "a: &y 1\nm: &x 'a X'\n",
            "m: &x\n  a X\n",
            "m: &x |\n  a\n  X\n",
            "m: !!str a X\n",
            "\u{feff}m: a X\n",
            "m: >-\r\n  a\r\n  b X\r\n",
            "m: a\r\n  b X\r\n",
            "? m\n: a X\n",
            "m:\n  a X\n",
        ] {
            let (found, expected) = places(file);
            assert_eq!(found, expected, "{file:?}");
        }
    }

    #[test]
    fn elsewhere_it_is_where_the_scalar_starts() {
        let start = TextPosition { line: 2, column: 4 };
        assert_eq!(position_in_scalar("a: &x b X\nm: *x\n", start, "b X", 2), start);
        assert_eq!(position_in_scalar("", start, "b X", 2), start);
        let start = TextPosition { line: 1, column: 4 };
        assert_eq!(position_in_scalar("m: |2\n   a X\n", start, " a X\n", 3), start);
    }

    #[test]
    fn the_end_of_a_value_has_a_place() {
        let start = TextPosition { line: 1, column: 4 };
        for (file, value) in
            [("m: a\n", "a"), ("m: a", "a"), ("m: 'a'\n", "a"), ("m: \"a\"\n", "a")]
        {
            let column = 4 + usize::from(file.contains(['\'', '"'])) + 1;
            let expected = TextPosition { line: 1, column };
            assert_eq!(position_in_scalar(file, start, value, 1), expected, "{file:?}");
        }
    }
}
