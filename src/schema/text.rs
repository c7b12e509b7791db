//! The text form of a service in the shape table: written by `scripts/derive-shapes`, parsed for each answer.
//!
//! A line per operation, an empty line, then a line per shape in the order of their numbers. Fields are separated by
//! U+001F, parts of a field by U+001E; empty ones at the end are left out. A reference to a shape is its number, or `+`
//! for the next number that was not referred to yet, which is the case for most and compresses well.
//!
//! Invariant: `parse(render(service)) == service`. Every reference is checked, so a parsed service is consistent.

use std::fmt::Write as _;

use super::model::{
    Location, Member, MemberFlags, Operation, ScalarType, Service, ServiceInfo, Shape, ShapeFlags,
    ShapeId, ShapeKind, Text,
};

/// Separates the fields of a line.
pub(super) const FIELD: char = '\u{1f}';
/// Separates the parts of a field.
pub(super) const PART: char = '\u{1e}';

const SCALARS: [(char, ScalarType); 8] = [
    ('s', ScalarType::String),
    ('b', ScalarType::Blob),
    ('o', ScalarType::Boolean),
    ('i', ScalarType::Integer),
    ('l', ScalarType::Long),
    ('f', ScalarType::Float),
    ('d', ScalarType::Double),
    ('t', ScalarType::Timestamp),
];

const LOCATIONS: [(char, Location); 5] = [
    ('u', Location::Uri),
    ('q', Location::Query),
    ('h', Location::Header),
    ('H', Location::Headers),
    ('c', Location::StatusCode),
];

/// Returns the text of a service.
pub(super) fn render(service: &Service) -> String {
    let mut writer = Writer { text: String::new(), next: 0 };
    for operation in &service.operations {
        writer.operation(operation);
    }
    writer.text.push('\n');
    for shape in &service.shapes {
        writer.shape(shape);
    }
    writer.text
}

struct Writer {
    text: String,
    /// The lowest number that no reference named yet.
    next: u32,
}

impl Writer {
    fn operation(&mut self, operation: &Operation) {
        let input = operation.input.map(|id| self.reference(id)).unwrap_or_default();
        let output = operation.output.map(|id| self.reference(id)).unwrap_or_default();
        let flags = [('x', operation.deprecated), ('w', operation.predates_wrapping)];
        let flags = letters(&flags);
        self.line(
            FIELD,
            &[&operation.name, &operation.method, &operation.uri, &input, &output, &flags],
        );
        self.text.push('\n');
    }

    fn shape(&mut self, shape: &Shape) {
        let flags = shape.flags;
        let flags = letters(&[
            ('!', flags.sensitive),
            ('?', flags.document),
            ('~', flags.event_stream),
            ('>', flags.streaming),
            ('^', flags.wrapper),
            ('=', flags.flattened),
            ('|', flags.union),
        ]);
        let limit = |limit: &Option<Text>| limit.as_deref().unwrap_or_default().to_owned();
        let (min, max) = (limit(&shape.min), limit(&shape.max));
        match &shape.kind {
            ShapeKind::Structure { members } => {
                let _ = write!(self.text, "S{flags}");
                for member in members {
                    self.text.push(FIELD);
                    self.member(member);
                }
            }
            ShapeKind::List { item, item_name } => {
                let item = self.reference(*item);
                let name = item_name.as_deref().unwrap_or_default();
                self.line(FIELD, &[&format!("L{flags}"), &min, &max, &item, name]);
            }
            ShapeKind::Map { key, value } => {
                let (key, value) = (self.reference(*key), self.reference(*value));
                self.line(FIELD, &[&format!("M{flags}"), &min, &max, &key, &value]);
            }
            ShapeKind::Scalar(scalar) => {
                let letter = SCALARS.iter().find(|(_, known)| known == scalar);
                let letter = letter.map_or('s', |(letter, _)| *letter);
                let values = shape.enumeration.join(&PART.to_string());
                let pattern = shape.pattern.as_deref().unwrap_or_default();
                self.line(FIELD, &[&format!("{letter}{flags}"), &min, &max, pattern, &values]);
            }
        }
        self.text.push('\n');
    }

    fn member(&mut self, member: &Member) {
        let flags = member.flags;
        let mut letters = letters(&[
            ('r', flags.required),
            ('p', flags.payload),
            ('j', flags.json_text),
            ('=', flags.flattened),
            ('>', flags.streaming),
            ('x', flags.deprecated),
        ]);
        letters.extend(
            LOCATIONS.iter().find(|(_, known)| *known == member.location).map(|(letter, _)| letter),
        );
        let reference = self.reference(member.shape);
        let wire = member.location_name.as_deref().unwrap_or_default();
        let query = member.query_name.as_deref().unwrap_or_default();
        self.line(PART, &[&member.name, &reference, &letters, wire, query]);
    }

    fn reference(&mut self, id: ShapeId) -> String {
        if id.0 == self.next {
            self.next += 1;
            return "+".to_owned();
        }
        id.0.to_string()
    }

    /// Appends fields without the empty ones at the end.
    fn line(&mut self, separator: char, fields: &[&str]) {
        let used = fields.iter().rposition(|field| !field.is_empty()).map_or(0, |last| last + 1);
        for (number, field) in fields[..used].iter().enumerate() {
            if number > 0 {
                self.text.push(separator);
            }
            self.text.push_str(field);
        }
    }
}

fn letters(flags: &[(char, bool)]) -> String {
    flags.iter().filter(|(_, set)| *set).map(|(letter, _)| letter).collect()
}

/// Parses the text of a service. An error is the number of the line, from 1.
pub(super) fn parse(info: ServiceInfo, text: &'static str) -> Result<Service, usize> {
    let mut reader = Reader { next: 0, greatest: None };
    let mut service = Service { info, ..Service::default() };
    service.shapes.reserve_exact(memchr::memchr_iter(b'\n', text.as_bytes()).count());
    let mut lines = text.split_terminator('\n').enumerate();
    for (_, line) in lines.by_ref().take_while(|(_, line)| !line.is_empty()) {
        service.operations.push(reader.operation(line));
    }
    for (number, line) in lines {
        service.shapes.push(reader.shape(line).ok_or(number + 1)?);
    }
    let known = service.shapes.len();
    let consistent = reader.greatest.is_none_or(|greatest| (greatest as usize) < known);
    if consistent { Ok(service) } else { Err(known) }
}

struct Reader {
    next: u32,
    greatest: Option<u32>,
}

impl Reader {
    fn operation(&mut self, line: &'static str) -> Operation {
        let mut fields = Parts::new(line, FIELD);
        let mut field = || fields.next().unwrap_or_default();
        let (name, method, uri) = (field(), field(), field());
        let (input, output, flags) = (field(), field(), field());
        Operation {
            name: name.into(),
            method: method.into(),
            uri: uri.into(),
            input: self.reference(input),
            output: self.reference(output),
            deprecated: flags.contains('x'),
            predates_wrapping: flags.contains('w'),
            documentation: None,
        }
    }

    fn shape(&mut self, line: &'static str) -> Option<Shape> {
        let mut fields = Parts::new(line, FIELD);
        let head = fields.next()?;
        let mut letters = head.chars();
        let letter = letters.next()?;
        let flags = letters.as_str();
        let mut shape = Shape { flags: shape_flags(flags), ..Shape::default() };
        if letter == 'S' {
            let mut members = Vec::with_capacity(fields.count_left());
            for field in fields {
                members.push(self.member(field)?);
            }
            shape.kind = ShapeKind::Structure { members };
            return Some(shape);
        }
        let mut field = || fields.next().unwrap_or_default();
        shape.min = optional(field());
        shape.max = optional(field());
        let (first, second) = (field(), field());
        shape.kind = match letter {
            'L' => ShapeKind::List { item: self.reference(first)?, item_name: optional(second) },
            'M' => ShapeKind::Map { key: self.reference(first)?, value: self.reference(second)? },
            _ => {
                shape.pattern = optional(first);
                if !second.is_empty() {
                    shape.enumeration = second.split(PART).map(Text::from).collect();
                }
                let scalar = SCALARS.iter().find(|(known, _)| *known == letter)?;
                ShapeKind::Scalar(scalar.1)
            }
        };
        Some(shape)
    }

    fn member(&mut self, field: &'static str) -> Option<Member> {
        let mut parts = Parts::new(field, PART);
        let mut part = || parts.next().unwrap_or_default();
        let (name, reference, letters, wire, query) = (part(), part(), part(), part(), part());
        let location = LOCATIONS.iter().find(|(letter, _)| letters.contains(*letter));
        Some(Member {
            name: name.into(),
            shape: self.reference(reference)?,
            location_name: optional(wire),
            query_name: optional(query),
            location: location.map(|(_, location)| *location).unwrap_or_default(),
            flags: MemberFlags {
                required: letters.contains('r'),
                payload: letters.contains('p'),
                json_text: letters.contains('j'),
                flattened: letters.contains('='),
                streaming: letters.contains('>'),
                deprecated: letters.contains('x'),
            },
            documentation: None,
        })
    }

    fn reference(&mut self, text: &str) -> Option<ShapeId> {
        let id = if text == "+" {
            self.next += 1;
            self.next - 1
        } else {
            text.parse().ok()?
        };
        self.greatest = self.greatest.max(Some(id));
        Some(ShapeId(id))
    }
}

/// The parts of a line, as `str::split` returns them; most have a few bytes, for which a plain loop is the fastest search.
pub(super) struct Parts {
    rest: Option<&'static str>,
    separator: u8,
}

impl Parts {
    pub(super) fn new(text: &'static str, separator: char) -> Self {
        // Both separators are ASCII.
        Self { rest: Some(text), separator: separator as u8 }
    }

    fn count_left(&self) -> usize {
        let rest = self.rest.unwrap_or_default().as_bytes();
        memchr::memchr_iter(self.separator, rest).count() + 1
    }
}

impl Iterator for Parts {
    type Item = &'static str;

    fn next(&mut self) -> Option<&'static str> {
        let text = self.rest?;
        let Some(end) = text.bytes().position(|byte| byte == self.separator) else {
            return self.rest.take();
        };
        self.rest = text.get(end + 1..);
        text.get(..end)
    }
}

fn optional(text: &'static str) -> Option<Text> {
    (!text.is_empty()).then_some(Text::Borrowed(text))
}

fn shape_flags(letters: &str) -> ShapeFlags {
    ShapeFlags {
        sensitive: letters.contains('!'),
        document: letters.contains('?'),
        event_stream: letters.contains('~'),
        streaming: letters.contains('>'),
        wrapper: letters.contains('^'),
        flattened: letters.contains('='),
        union: letters.contains('|'),
    }
}
