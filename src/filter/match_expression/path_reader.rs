//! Reads paths: RFC 9535, and what people write instead.
//!
//! Input: the path of a match expression. Output: a [`Path`].
//! Invariant: every path is also checked by the library `serde_json_path`, after it has been rewritten to RFC 9535. What
//! is accepted beyond the standard: a path without `$`; blanks around it; names behind a point that contain `-` or `:` or
//! start with a digit (`$.resources.0` is the key `0` or the first element); `[(@.length-1)]`; `[name]`.

use std::fmt::{self, Write as _};

use serde_json_path::JsonPath;

use super::super::{literal, syntax::SyntaxError};
use super::path::{Evaluation, MAX_DESCENTS, Origin, Path, Segment, Selector, Slice};

/// Parses the part of an expression up to `end`, which is a path.
///
/// # Errors
///
/// If it is not a path.
pub(super) fn parse_path(expression: &str, end: usize) -> Result<Path, SyntaxError> {
    let end = expression[..end].trim_end().len();
    let start = end - expression[..end].trim_start().len();
    if start == end {
        return Err(SyntaxError::new(expression, start, "the path is missing")
            .suggest("start with a path such as $.eventName"));
    }
    let text = &expression[..end];
    Reader {
        text,
        at: start,
        canonical: String::new(),
        places: Vec::new(),
        descents: 0,
        whole_event: false,
    }
    .read()
    .map_err(|error| SyntaxError { expression: expression.to_owned(), ..error })
}

/// A position in a path, and the path so far as RFC 9535 writes it.
struct Reader<'a> {
    /// The expression up to the end of the path.
    text: &'a str,
    at: usize,
    canonical: String,
    /// Offsets in `canonical` and where they come from, ascending.
    places: Vec<(usize, usize)>,
    descents: usize,
    /// Whether a filter refers to the whole event.
    whole_event: bool,
}

/// The largest position of RFC 9535, 2^53 - 1.
const MAX_POSITION: i64 = (1 << 53) - 1;

impl Reader<'_> {
    /// Reads the whole path.
    fn read(mut self) -> Result<Path, SyntaxError> {
        let mut segments = self.read_root()?;
        segments.extend(self.read_segments()?);
        if self.at < self.text.len() {
            return Err(self.unexpected());
        }
        let library = self.check(&self.canonical, 0)?;
        let evaluation = if self.whole_event {
            Evaluation::Library(Box::new(library))
        } else {
            Evaluation::Segments(segments)
        };
        Ok(Path { canonical: self.canonical, evaluation })
    }

    /// Reads `$`, or adds it where it is left out; then the name that follows is the first segment.
    fn read_root(&mut self) -> Result<Vec<Segment>, SyntaxError> {
        self.mark();
        self.canonical.push('$');
        match self.peek() {
            Some('$') => {
                self.at += 1;
                if self.peek().is_some_and(is_name_start) {
                    let suggestion = format!("write $.{}", self.peek_name());
                    return Err(self.error("a point is missing behind $").suggest(suggestion));
                }
                Ok(Vec::new())
            }
            Some('.' | '[') => Ok(Vec::new()),
            Some('*') => Ok(vec![self.read_member(Origin::Node)?]),
            Some(letter) if is_name_start(letter) => Ok(vec![self.read_member(Origin::Node)?]),
            _ => {
                Err(self.error("this is no path").suggest("start with a path such as $.eventName"))
            }
        }
    }

    /// Reads segments as long as there are any.
    fn read_segments(&mut self) -> Result<Vec<Segment>, SyntaxError> {
        let mut segments = Vec::new();
        loop {
            let end = self.at;
            self.skip_blanks();
            match self.peek() {
                Some('.') => segments.push(self.read_pointed()?),
                Some('[') => segments.push(self.read_brackets(Origin::Node)?),
                _ => {
                    self.at = end;
                    return Ok(segments);
                }
            }
        }
    }

    /// Reads a segment that starts with one or two points.
    fn read_pointed(&mut self) -> Result<Segment, SyntaxError> {
        let start = self.at;
        self.at += 1;
        if self.peek() != Some('.') {
            return self.read_member(Origin::Node);
        }
        self.at += 1;
        self.descents += 1;
        if self.descents > MAX_DESCENTS {
            let message = format!("`..` may occur at most {MAX_DESCENTS} times in an expression");
            return Err(SyntaxError::new(self.text, start, message));
        }
        if self.peek() == Some('[') {
            self.read_brackets(Origin::Descendants)
        } else {
            self.read_member(Origin::Descendants)
        }
    }

    /// Reads what stands behind a point: a name or `*`.
    fn read_member(&mut self, origin: Origin) -> Result<Segment, SyntaxError> {
        self.mark();
        let points = if origin == Origin::Descendants { ".." } else { "." };
        if self.peek() == Some('*') {
            self.at += 1;
            self.canonical.push_str(points);
            self.canonical.push('*');
            return Ok(Segment { origin, selectors: vec![Selector::Wildcard] });
        }
        let name = self.peek_name().to_owned();
        if name.is_empty() {
            return Err(self.no_member());
        }
        self.at += name.len();
        if name.starts_with(is_name_start) && !name.contains(['-', ':']) {
            self.canonical.push_str(points);
            self.canonical.push_str(&name);
            return Ok(Segment { origin, selectors: vec![Selector::Name(name)] });
        }
        if origin == Origin::Descendants {
            self.canonical.push_str(points);
        }
        let position = position(&name);
        match position {
            Some(position) => self.write(format_args!("['{name}',{position}]")),
            None => self.write(format_args!("['{name}']")),
        }
        let mut selectors = vec![Selector::Name(name)];
        selectors.extend(position.map(Selector::Position));
        Ok(Segment { origin, selectors })
    }

    /// Creates the error for a point without a name behind it.
    fn no_member(&self) -> SyntaxError {
        let error = self.error("a name is missing behind the point");
        match self.peek() {
            Some('[') => error.suggest("leave out the point before the bracket"),
            Some('-') => error.suggest("write [-1] for the last element"),
            Some('\'' | '"') => error.suggest("put the name in brackets: $['name']"),
            _ => error,
        }
    }

    /// Reads one or more selectors in brackets.
    fn read_brackets(&mut self, origin: Origin) -> Result<Segment, SyntaxError> {
        let opening = self.at;
        self.mark();
        self.canonical.push_str(if origin == Origin::Descendants { "..[" } else { "[" });
        self.at += 1;
        let mut selectors = Vec::new();
        loop {
            self.skip_blanks();
            selectors.extend(self.read_selector()?);
            self.skip_blanks();
            self.mark();
            match self.peek() {
                Some(',') => self.push(','),
                Some(']') => {
                    self.push(']');
                    return Ok(Segment { origin, selectors });
                }
                None => return Err(unclosed_bracket(self.text, opening)),
                Some(_) => return Err(self.unexpected()),
            }
        }
    }

    /// Reads one selector.
    fn read_selector(&mut self) -> Result<Option<Selector>, SyntaxError> {
        self.mark();
        match self.peek() {
            Some('\'' | '"') => self.read_quoted().map(|name| Some(Selector::Name(name))),
            Some('*') => {
                self.push('*');
                Ok(Some(Selector::Wildcard))
            }
            Some('?') => self.read_filter().map(Some),
            Some('(') => self.read_length().map(Some),
            Some('-' | ':' | '0'..='9') => Ok(self.read_numbers()),
            Some(letter) if is_name_start(letter) => {
                let name = self.peek_name().to_owned();
                self.at += name.len();
                self.write(format_args!("'{name}'"));
                Ok(Some(Selector::Name(name)))
            }
            Some(']') => {
                Err(self.error("the brackets are empty").suggest("write [*] for all elements"))
            }
            Some('@') => Err(self
                .error("a filter starts with a question mark")
                .suggest("write [?(@.name == 'value')]")),
            _ => Err(self.unexpected()),
        }
    }

    /// Reads a name in quotation marks. Its escapes are checked by the library.
    fn read_quoted(&mut self) -> Result<String, SyntaxError> {
        let (name, end) = literal::parse_quoted(self.text, self.at)?;
        self.canonical.push_str(&self.text[self.at..end]);
        self.at = end;
        Ok(name)
    }

    /// Reads a position or a slice. What is no number is refused by the library.
    fn read_numbers(&mut self) -> Option<Selector> {
        let rest = &self.text[self.at..];
        let end =
            rest.find(|letter: char| !(letter.is_ascii_digit() || "-: \t\r\n".contains(letter)));
        let numbers = rest[..end.unwrap_or(rest.len())].trim_end();
        self.canonical.push_str(numbers);
        self.at += numbers.len();
        let bounds: Vec<Option<i64>> =
            numbers.split(':').map(|bound| bound.trim().parse().ok()).collect();
        match bounds[..] {
            [position] => position.map(Selector::Position),
            [start, end] => Some(Selector::Slice(Slice { start, end, step: 1 })),
            [start, end, step] => {
                Some(Selector::Slice(Slice { start, end, step: step.unwrap_or(1) }))
            }
            _ => None,
        }
    }

    /// Reads `(@.length-1)`, the position of the last element, which RFC 9535 writes as -1.
    fn read_length(&mut self) -> Result<Selector, SyntaxError> {
        let rest = &self.text[self.at..];
        let end = rest.find(')').map_or(rest.len(), |at| at + 1);
        let compact: String = rest[..end].split_whitespace().collect();
        let position = compact
            .strip_prefix("(@.length-")
            .and_then(|number| number.strip_suffix(')'))
            .and_then(position)
            .filter(|position| *position > 0);
        let Some(position) = position else {
            return Err(self
                .error("a script in brackets is not supported")
                .suggest("write [-1] for the last element, or [?(…)] for a filter"));
        };
        self.at += end;
        self.write(format_args!("-{position}"));
        Ok(Selector::Position(-position))
    }

    /// Reads a filter up to the comma or bracket behind it.
    fn read_filter(&mut self) -> Result<Selector, SyntaxError> {
        let start = self.canonical.len();
        let mut depth = 0_usize;
        while let Some(letter) = self.peek() {
            match letter {
                ',' | ']' if depth == 0 => break,
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                '\'' | '"' => {
                    self.mark();
                    self.read_quoted()?;
                    continue;
                }
                _ => {}
            }
            self.push(letter);
            if matches!(letter, '@' | '$') {
                self.whole_event |= letter == '$';
                self.read_segments()?;
                self.mark();
            }
        }
        let relative = format!("$[{}]", &self.canonical[start..]);
        Ok(Selector::Filter(Box::new(self.check(&relative, start.saturating_sub(2))?)))
    }

    /// Parses a part of the path, which starts at an offset in `canonical`, by the library.
    fn check(&self, canonical: &str, offset: usize) -> Result<JsonPath, SyntaxError> {
        JsonPath::parse(canonical).map_err(|error| self.refused(offset + error.position()))
    }

    /// Creates the error for what the library does not accept, at an offset in `canonical`.
    fn refused(&self, offset: usize) -> SyntaxError {
        const MESSAGE: &str = "this is no JSONPath (RFC 9535)";
        if let Some((place, suggestion)) = foreign_notation(self.text) {
            return SyntaxError::new(self.text, place, MESSAGE).suggest(suggestion);
        }
        let behind = self.places.partition_point(|(canonical, _)| *canonical <= offset);
        let place = match self.places[..behind].last() {
            Some((canonical, place)) => place + (offset - canonical),
            None => 0,
        };
        let error = SyntaxError::new(self.text, place, MESSAGE);
        if self.canonical.contains("',0]") {
            return error.suggest("in a filter, write [0] for a position or ['0'] for a key");
        }
        error
    }

    /// Creates the error for a character that cannot stand here.
    fn unexpected(&self) -> SyntaxError {
        let rest = &self.text[self.at..];
        let blanks = rest.len() - rest.trim_start().len();
        let at = self.at + blanks;
        let Some(letter) = self.text[at..].chars().next() else {
            return self.error("the path is incomplete");
        };
        let error =
            SyntaxError::new(self.text, at, format!("`{letter}` cannot stand here in a path"));
        if blanks > 0 && is_name_start(letter) {
            let suggestion = "put a name with blanks in brackets and quotation marks: ['a name']";
            return error.suggest(suggestion);
        }
        if blanks == 0 && self.text[..at].ends_with(is_name_start) && !"()]}".contains(letter) {
            return error.suggest(format!(
                "put a name with this character in brackets and quotation marks: ['a{letter}b']"
            ));
        }
        error
    }

    /// Notes that what is appended next to `canonical` comes from the current position.
    fn mark(&mut self) {
        self.places.push((self.canonical.len(), self.at));
    }

    /// Appends to the canonical path. Writing to a text cannot fail.
    fn write(&mut self, text: fmt::Arguments<'_>) {
        let _ = self.canonical.write_fmt(text);
    }

    /// Copies a character.
    fn push(&mut self, letter: char) {
        self.canonical.push(letter);
        self.at += letter.len_utf8();
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    /// Returns the name at the current position, which is empty if there is none.
    fn peek_name(&self) -> &str {
        let rest = &self.text[self.at..];
        if !rest.starts_with(|first: char| is_name_start(first) || first.is_ascii_digit()) {
            return "";
        }
        let end = rest.find(|letter: char| {
            !(is_name_start(letter) || letter.is_ascii_digit() || "-:".contains(letter))
        });
        &rest[..end.unwrap_or(rest.len())]
    }

    fn skip_blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError::new(self.text, self.at, message)
    }
}

/// Creates the error for a bracket without its counterpart.
pub(super) fn unclosed_bracket(expression: &str, opening: usize) -> SyntaxError {
    SyntaxError::new(expression, opening, "the bracket is not closed").suggest("add ] at its end")
}

/// Returns whether a name may start with a character, as RFC 9535 defines it.
fn is_name_start(letter: char) -> bool {
    letter == '_' || letter.is_ascii_alphabetic() || !letter.is_ascii()
}

/// Returns the position that a number means, without a sign or leading zeros.
fn position(name: &str) -> Option<i64> {
    let is_number =
        name.bytes().all(|digit| digit.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    is_number.then(|| name.parse().ok()).flatten().filter(|position| *position <= MAX_POSITION)
}

/// Returns where a filter uses the notation of another language, and what to write instead.
fn foreign_notation(path: &str) -> Option<(usize, &'static str)> {
    const NOTATIONS: [(&str, &str); 9] = [
        (
            "=~",
            "write match(@.name, 'pattern') for the whole text, or search(@.name, 'pattern') for a part of it",
        ),
        ("===", "write == in a filter"),
        (" and ", "write && in a filter"),
        (" or ", "write || in a filter"),
        (" in ", "write @.name == 'a' || @.name == 'b' in a filter"),
        ("not ", "write ! in a filter"),
        ("True", "write true in a filter"),
        ("False", "write false in a filter"),
        ("None", "write null in a filter"),
    ];
    let filter = path.find('?')?;
    NOTATIONS.into_iter().find_map(|(notation, suggestion)| {
        let blanks = notation.len() - notation.trim_start().len();
        let at = path[filter..].find(notation)?;
        Some((filter + at + blanks, suggestion))
    })
}
