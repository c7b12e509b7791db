//! Finds the fields that decide about rules in the text of a record, without parsing it.
//!
//! Input: the paths of the fields, once; then the text of each record with its members. Output: where each field is, and of which kind.
//! Invariant: a field is what it is in the parsed record. What cannot be decided without parsing is left to the parser: strings with
//! escape sequences, keys that repeat, lists on the way to a field, and what is not quite JSON.

use std::ops::Range;

use crate::{
    filter::{event_part::MemberPath, rule::RawField},
    pipeline::search::{
        projection::{each_member, plain_text},
        record_scan::MemberRange,
    },
};

/// A record and its members.
#[derive(Clone, Copy)]
pub(super) struct RecordText<'t> {
    pub(super) text: &'t [u8],
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) members: &'t [MemberRange],
}

impl<'t> RecordText<'t> {
    pub(super) fn bytes(self) -> &'t [u8] {
        &self.text[self.range()]
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// The fields that are looked for.
#[derive(Debug)]
pub(super) struct FieldFinder {
    root: FieldNode,
    fields: usize,
}

/// The fields within a value.
#[derive(Debug, Default)]
struct FieldNode {
    members: Vec<FieldMember>,
    /// A bit for each length of their names, the last one for all longer ones.
    lengths: u64,
}

#[derive(Debug)]
struct FieldMember {
    name: String,
    /// Its position in the paths.
    field: usize,
    inner: FieldNode,
}

/// Where the fields of a record are in its text.
#[derive(Debug, Default)]
pub(super) struct FoundFields(Vec<FoundField>);

#[derive(Clone, Debug, Default)]
enum FoundField {
    #[default]
    Missing,
    Null,
    /// The content of a string.
    Text(Range<usize>),
    Object(Range<usize>),
    Other(Range<usize>),
}

impl FieldFinder {
    /// Returns what finds the fields at these paths, each of which comes behind those that lead to it.
    pub(super) fn new(paths: &[MemberPath]) -> Self {
        let mut root = FieldNode::default();
        for (field, path) in paths.iter().enumerate() {
            root.add(path, field);
        }
        Self { root, fields: paths.len() }
    }

    /// Finds the fields of a record. `None` if it has to be parsed.
    pub(super) fn find(&self, record: RecordText<'_>, found: &mut FoundFields) -> Option<()> {
        found.0.clear();
        found.0.resize(self.fields, FoundField::Missing);
        for MemberRange { key, value } in record.members {
            if key.is_empty() {
                // Such a member makes several members of one key of the flat view.
                return None;
            }
            self.root.find(record.text, &record.text[key.clone()], value.clone(), found)?;
        }
        Some(())
    }
}

impl FieldNode {
    fn add(&mut self, path: &[String], field: usize) {
        let Some((name, rest)) = path.split_first() else { return };
        let known = self.members.iter().position(|member| member.name == *name);
        let position = known.unwrap_or_else(|| {
            self.lengths |= length_bit(name.len());
            let inner = Self::default();
            self.members.push(FieldMember { name: name.clone(), field, inner });
            self.members.len() - 1
        });
        self.members[position].inner.add(rest, field);
    }

    /// Looks at a member of the value.
    fn find(
        &self,
        text: &[u8],
        key: &[u8],
        value: Range<usize>,
        found: &mut FoundFields,
    ) -> Option<()> {
        if self.lengths & length_bit(key.len()) == 0 {
            return Some(());
        }
        match self.members.iter().find(|member| member.name.as_bytes() == key) {
            Some(member) => member.find(text, value, found),
            None => Some(()),
        }
    }
}

fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

impl FieldMember {
    fn find(&self, text: &[u8], value: Range<usize>, found: &mut FoundFields) -> Option<()> {
        let field = found.0.get_mut(self.field)?;
        if !matches!(field, FoundField::Missing) {
            // The key repeats.
            return None;
        }
        let json = &text[value.clone()];
        *field = match json.first()? {
            b'"' => {
                plain_text(json)?;
                FoundField::Text(value.start + 1..value.end - 1)
            }
            b'{' => FoundField::Object(value.clone()),
            b'[' if !self.inner.members.is_empty() => return None,
            b'[' => FoundField::Other(value.clone()),
            _ if json == b"null" => FoundField::Null,
            _ if is_plain_scalar(json) => FoundField::Other(value.clone()),
            _ => return None,
        };
        if matches!(field, FoundField::Object(_)) && !self.inner.members.is_empty() {
            each_member(text, value, |key, value| self.inner.find(text, key, value, found))?;
        }
        Some(())
    }
}

/// Returns whether a text is a number or a truth value.
fn is_plain_scalar(json: &[u8]) -> bool {
    matches!(json, b"true" | b"false") || serde_json::from_slice::<serde_json::Number>(json).is_ok()
}

impl FoundFields {
    /// Returns a field of the record with this text.
    pub(super) fn get<'t>(&self, text: &'t [u8], field: usize) -> RawField<'t> {
        match self.0.get(field) {
            None | Some(FoundField::Missing) => RawField::Missing,
            Some(FoundField::Null) => RawField::Null,
            // It was found to be text.
            Some(FoundField::Text(range)) => {
                RawField::Text(str::from_utf8(&text[range.clone()]).unwrap_or_default())
            }
            Some(FoundField::Object(range)) => RawField::Object(&text[range.clone()]),
            Some(FoundField::Other(range)) => RawField::Other(&text[range.clone()]),
        }
    }
}
