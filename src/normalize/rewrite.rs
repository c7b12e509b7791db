//! The slow path: rewrites a record until no mapping can reject it, and lists every change so that it can be undone.
//!
//! Input: the tree of a record, and the field registry. Output: the rewritten tree, the change notes
//! (`trailload.changes`, in the syntax of [`change_note`](super::change_note)), and the terms of unmapped values
//! (`trailload.unmapped`).
//!
//! Invariant: [`restore`](super::restore) turns the result into the record again. A record is changed only for these
//! reasons: a value of the wrong kind at a path that is or will be mapped, a key that this program adds or that leads
//! through a value, and anything that engines reject everywhere. Everything else stays as AWS wrote it.

use std::borrow::Cow;

use super::{
    EVENT_TIME,
    change_note::{Change, pointer_segment},
    field_registry::{FieldRegistry, PathId, PathRule, ROOT},
    object_keys::{METADATA_FIELDS, ObjectKeys, repair_key},
    path_cache::PathCache,
    text,
    timestamp::EventTime,
    tree::{Member, Tree},
    unmapped_terms::{MAX_KEYWORD_BYTES, UnmappedTerms},
};

/// Maximum number of directly nested lists that every engine accepts: OpenSearch rejects more than 20.
const MAX_LIST_DEPTH: usize = 20;

/// What the document of a rewritten record needs besides its members.
#[derive(Debug, Default)]
pub(super) struct RewriteNotes {
    /// Change notes, escaped for JSON.
    pub(super) changes: Vec<Vec<u8>>,
    /// Number of discovered fields that the index must have.
    pub(super) required_fields: u32,
}

/// Rewrites the members of a record.
pub(super) fn rewrite<'a>(
    record: Vec<Member<'a>>,
    fields: &FieldRegistry,
    cache: &mut PathCache,
    unmapped: &mut UnmappedTerms,
) -> (Vec<Member<'a>>, RewriteNotes) {
    let mut rewriter = Rewriter {
        fields,
        cache,
        unmapped,
        notes: RewriteNotes::default(),
        pointer: Vec::new(),
        path: Vec::new(),
    };
    let record = rewriter.object(ROOT, record);
    (record, rewriter.notes)
}

/// Class of a value; a list has the class of its elements.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ValueClass {
    /// `null`, or lists of nothing else.
    Null,
    Scalar,
    Object,
    /// Scalars and objects in one list.
    Mixed,
    /// Scalars and objects in nested lists.
    NestedMixed,
}

fn class(value: &Tree<'_>) -> ValueClass {
    match value {
        Tree::Token(token) if &**token == b"null" => ValueClass::Null,
        Tree::Token(_) | Tree::Text(_) | Tree::BareWord(_) | Tree::TooDeep(_) => ValueClass::Scalar,
        Tree::Object(_) => ValueClass::Object,
        Tree::List(list) => {
            let mut whole = ValueClass::Null;
            for part in list.iter().map(class) {
                whole = match (whole, part) {
                    (_, ValueClass::Mixed | ValueClass::NestedMixed) => {
                        return ValueClass::NestedMixed;
                    }
                    (whole, ValueClass::Null) => whole,
                    (ValueClass::Null, part) => part,
                    (whole, part) if whole == part => whole,
                    _ => ValueClass::Mixed,
                };
            }
            whole
        }
    }
}

/// Returns the number of directly nested lists.
fn list_depth(value: &Tree<'_>) -> usize {
    match value {
        Tree::List(list) => 1 + list.iter().map(list_depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Returns whether the value is `""` or a list of empty strings, as S3 and EC2 serialize an empty XML element.
fn is_empty_marker(value: &Tree<'_>) -> bool {
    match value {
        Tree::List(list) => !list.is_empty() && list.iter().all(Tree::is_empty_text),
        value => value.is_empty_text(),
    }
}

/// Returns whether the value is a list without a value, for which engines index nothing.
fn is_empty_list(value: &Tree<'_>) -> bool {
    matches!(value, Tree::List(_)) && class(value) == ValueClass::Null
}

/// Returns whether a boolean field accepts the value.
fn is_boolean(value: &Tree<'_>) -> bool {
    match value {
        Tree::Token(word) => matches!(&**word, b"true" | b"false" | b"null"),
        Tree::Text(inside) => matches!(&**inside, b"true" | b"false" | b""),
        Tree::List(list) => list.iter().all(is_boolean),
        _ => false,
    }
}

/// Where a member is placed.
#[derive(Clone, Copy)]
enum Target {
    /// At a path that the index maps or may map.
    Path(PathId),
    /// Where the index does not parse values.
    Unmapped,
    /// Nowhere: this program adds a member of that name, or the path leads through a value.
    Forbidden,
}

struct Rewriter<'r> {
    fields: &'r FieldRegistry,
    cache: &'r mut PathCache,
    unmapped: &'r mut UnmappedTerms,
    notes: RewriteNotes,
    /// JSON Pointer to the current value in the result, escaped for JSON: `/requestParameters/items/0`.
    pointer: Vec<u8>,
    /// Path of the current unmapped value, escaped for JSON: `requestParameters.tags`.
    path: Vec<u8>,
}

impl Rewriter<'_> {
    /// Rewrites a mapped object.
    fn object<'a>(&mut self, path_id: PathId, members: Vec<Member<'a>>) -> Vec<Member<'a>> {
        let (mut keys, repeats) = ObjectKeys::new(&members);
        // All keys of the object come before the values below. Undone backwards, a note about a member then finds it
        // under its key in the result.
        let mut placed = Vec::with_capacity(members.len());
        for (number, member) in members.into_iter().enumerate() {
            let repeated = repeats.binary_search(&number).is_ok();
            self.member(path_id, member, repeated, &mut keys, &mut placed);
        }
        let mut result = Vec::with_capacity(placed.len());
        for (member, target) in placed {
            let (pointer, path) = (self.pointer.len(), self.path.len());
            self.push_key(&member.key);
            let value = match target {
                Target::Path(child) => self.value(child, member.value),
                Target::Unmapped | Target::Forbidden => {
                    self.path.clear();
                    self.path.extend_from_slice(self.cache.name(path_id).as_bytes());
                    self.extend_path(&member.key);
                    self.unmapped_value(member.value)
                }
            };
            self.pointer.truncate(pointer);
            self.path.truncate(path);
            result.push(Member { key: member.key, value });
        }
        result
    }

    /// Finds the key of a member in the result and appends the member to `placed`.
    fn member<'a>(
        &mut self,
        path_id: PathId,
        member: Member<'a>,
        repeated: bool,
        keys: &mut ObjectKeys,
        placed: &mut Vec<(Member<'a>, Target)>,
    ) {
        let Member { key: old, mut value } = member;
        let mut key = old.clone();
        if let Some(repaired) = repair_key(&key, true) {
            key = Cow::Owned(keys.unique(&repaired));
        } else if repeated {
            key = Cow::Owned(keys.unique(&key));
        }
        // A repaired key may be a metadata field too, and a dotted key may start with one.
        while path_id == ROOT
            && METADATA_FIELDS.contains(&key.split(|byte| *byte == b'.').next().unwrap_or(&key))
        {
            key = Cow::Owned(keys.unique(&alternative_key(&key, class(&value))));
        }
        if list_depth(&value) > MAX_LIST_DEPTH {
            self.serialize(path_id, &old, &key, &value, keys, placed);
            return;
        }
        // At most two rounds occur in practice; the limit is for hostile mappings.
        for _ in 0..6 {
            let class = class(&value);
            let target = self.resolve(path_id, &key, class);
            let rule = match target {
                Target::Path(child) => self.value_rule(child),
                Target::Unmapped => PathRule::Anything,
                Target::Forbidden => PathRule::Reserved,
            };
            match (rule, class) {
                (PathRule::Reserved, _) => {
                    key = Cow::Owned(keys.unique(&alternative_key(&key, class)));
                    continue;
                }
                (_, ValueClass::NestedMixed) if rule != PathRule::Anything => break,
                (PathRule::Boolean, _) if !is_boolean(&value) => {
                    key = Cow::Owned(keys.unique(&[&*key, suffix(class)].concat()));
                    continue;
                }
                (PathRule::Value | PathRule::Object { .. }, ValueClass::Mixed) => {
                    let Tree::List(list) = value else { unreachable!("only lists are mixed") };
                    match self.split(path_id, (&old, &key), list, rule == PathRule::Value, keys) {
                        Ok((stays, (moved, other_target))) => {
                            placed.push((stays, target));
                            placed.push((moved, other_target));
                            return;
                        }
                        Err(list) => value = Tree::List(list),
                    }
                    break;
                }
                (PathRule::Value, ValueClass::Object) => {
                    if let Some(inner) = unwrap_value(&mut value) {
                        self.note_rename(&old, &key);
                        self.note(Change::Unwrapped, &key, b"");
                        placed.push((Member { key, value: inner }, target));
                        return;
                    }
                    key = Cow::Owned(keys.unique(&[&*key, b"_object"].concat()));
                    continue;
                }
                (PathRule::Object { .. }, ValueClass::Scalar) => {
                    if is_empty_marker(&value) {
                        self.note_rename(&old, &key);
                        self.note(Change::Replaced, &key, &value.to_original_json());
                        placed.push((Member { key, value: Tree::Object(Vec::new()) }, target));
                        return;
                    }
                    key = Cow::Owned(keys.unique(&[&*key, b"_value"].concat()));
                    continue;
                }
                _ => {}
            }
            if path_id == ROOT
                && matches!(rule, PathRule::Value | PathRule::Boolean)
                && is_empty_list(&value)
            {
                // A search for events that have the field would not find this one.
                self.unmapped.add_incomplete();
            }
            self.note_rename(&old, &key);
            if path_id == ROOT && &*old == EVENT_TIME {
                value = self.reformat_time(&key, value);
            }
            placed.push((Member { key, value }, target));
            return;
        }
        self.serialize(path_id, &old, &key, &value, keys, placed);
    }

    /// Rewrites an event time that date fields would reject or misread: they read a number of seconds as
    /// milliseconds, which is a time in 1970.
    fn reformat_time<'a>(&mut self, key: &[u8], value: Tree<'a>) -> Tree<'a> {
        let reformatted = EventTime::from_value(&value).and_then(|when| when.reformatted(&value));
        let Some(reformatted) = reformatted else { return value };
        self.note(Change::Replaced, key, &value.to_original_json());
        Tree::Text(Cow::Owned(reformatted.into_bytes()))
    }

    /// Replaces a value by its JSON text, under a key of its own.
    fn serialize<'a>(
        &mut self,
        path_id: PathId,
        old: &[u8],
        key: &[u8],
        value: &Tree<'a>,
        keys: &mut ObjectKeys,
        placed: &mut Vec<(Member<'a>, Target)>,
    ) {
        let mut inside = Vec::new();
        text::escape(&mut inside, &value.to_original_json());
        let mut key = [key, b"_json"].concat();
        let target = loop {
            key = keys.unique(&key);
            match self.resolve(path_id, &key, ValueClass::Scalar) {
                Target::Path(child) if self.value_rule(child) != PathRule::Value => {}
                Target::Forbidden => key = alternative_key(&key, ValueClass::Scalar),
                target => break target,
            }
        };
        self.note_rename(old, &key);
        self.note(Change::Serialized, &key, b"");
        placed
            .push((Member { key: Cow::Owned(key), value: Tree::Text(Cow::Owned(inside)) }, target));
    }

    /// Splits a list of objects and scalars: the elements that the path allows stay, the others move to a key of
    /// their own.
    fn split<'a>(
        &mut self,
        path_id: PathId,
        (old, key): (&[u8], &Cow<'a, [u8]>),
        list: Vec<Tree<'a>>,
        values_stay: bool,
        keys: &mut ObjectKeys,
    ) -> Result<(Member<'a>, (Member<'a>, Target)), Vec<Tree<'a>>> {
        let moves = if values_stay { ValueClass::Object } else { ValueClass::Scalar };
        let other = keys.unique(&[&**key, suffix(moves)].concat());
        let other_target = self.resolve(path_id, &other, moves);
        let fits = match other_target {
            Target::Unmapped => true,
            Target::Forbidden => false,
            Target::Path(child) => match self.value_rule(child) {
                PathRule::Object { .. } => moves == ValueClass::Object,
                PathRule::Value => moves == ValueClass::Scalar,
                rule => rule == PathRule::Anything,
            },
        };
        if !fits {
            return Err(list);
        }
        let (mut stay, mut moved, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for (position, part) in list.into_iter().enumerate() {
            if class(&part) == moves {
                moved.push(part);
                positions.push(position.to_string());
            } else {
                stay.push(part);
            }
        }
        self.note_rename(old, key);
        let argument =
            [&pointer_segment(&other), &b" "[..], positions.join(",").as_bytes()].concat();
        self.note(Change::Split, key, &argument);
        let stays = Member { key: key.clone(), value: Tree::List(stay) };
        let moved = Member { key: Cow::Owned(other), value: Tree::List(moved) };
        Ok((stays, (moved, other_target)))
    }

    /// Rewrites a value that its path allows.
    fn value<'a>(&mut self, path_id: PathId, value: Tree<'a>) -> Tree<'a> {
        let info = self.cache.info(path_id);
        if matches!(info.rule, PathRule::Anything | PathRule::Unmapped) {
            self.path.clear();
            self.path.extend_from_slice(self.cache.name(path_id).as_bytes());
            return self.unmapped_value(value);
        }
        match value {
            Tree::Object(members) => Tree::Object(self.object(path_id, members)),
            Tree::List(list) => {
                Tree::List(self.map_list(list, |rewriter, part| rewriter.value(path_id, part)))
            }
            value => {
                self.notes.required_fields = self.notes.required_fields.max(info.required_fields);
                if let Tree::Text(inside) | Tree::BareWord(inside) = &value
                    && inside.len() > MAX_KEYWORD_BYTES
                {
                    self.unmapped.add_if_ignored(self.cache.name(path_id).as_bytes(), inside);
                }
                self.leaf(value)
            }
        }
    }

    /// Rewrites an unmapped value and adds its terms.
    fn unmapped_value<'a>(&mut self, value: Tree<'a>) -> Tree<'a> {
        match value {
            Tree::Object(members) => Tree::Object(self.unmapped_object(members)),
            Tree::List(list) => Tree::List(self.map_list(list, Self::unmapped_value)),
            value => {
                let value = self.leaf(value);
                self.unmapped.add(&self.path, &value);
                value
            }
        }
    }

    fn unmapped_object<'a>(&mut self, members: Vec<Member<'a>>) -> Vec<Member<'a>> {
        let (mut keys, repeats) = ObjectKeys::new(&members);
        let mut members = members;
        for (number, member) in members.iter_mut().enumerate() {
            let new = match repair_key(&member.key, false) {
                Some(repaired) => keys.unique(&repaired),
                None if repeats.binary_search(&number).is_ok() => keys.unique(&member.key),
                None => continue,
            };
            let old = std::mem::replace(&mut member.key, Cow::Owned(new));
            self.note_rename(&old, &member.key);
        }
        for member in &mut members {
            let (pointer, path) = (self.pointer.len(), self.path.len());
            self.push_key(&member.key);
            self.extend_path(&member.key);
            let value = std::mem::replace(&mut member.value, Tree::List(Vec::new()));
            member.value = self.unmapped_value(value);
            self.pointer.truncate(pointer);
            self.path.truncate(path);
        }
        members
    }

    fn map_list<'a>(
        &mut self,
        list: Vec<Tree<'a>>,
        work: impl Fn(&mut Self, Tree<'a>) -> Tree<'a>,
    ) -> Vec<Tree<'a>> {
        let pointer = self.pointer.len();
        let mut result = Vec::with_capacity(list.len());
        for (number, part) in list.into_iter().enumerate() {
            // Only lists, objects and invalid tokens can produce a change note.
            if !matches!(part, Tree::Token(_) | Tree::Text(_)) {
                self.pointer.extend_from_slice(format!("/{number}").as_bytes());
            }
            result.push(work(self, part));
            self.pointer.truncate(pointer);
        }
        result
    }

    fn leaf<'a>(&mut self, value: Tree<'a>) -> Tree<'a> {
        match &value {
            Tree::BareWord(_) => self.note_here(Change::Quoted),
            Tree::TooDeep(_) => self.note_here(Change::Serialized),
            _ => {}
        }
        value
    }

    /// Finds the path of a member. A dotted key is a path of several keys.
    fn resolve(&mut self, parent: PathId, key: &[u8], class: ValueClass) -> Target {
        let mut path_id = parent;
        let mut segments = key.split(|byte| *byte == b'.').peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            let object = match class {
                _ if !last => Some(true),
                ValueClass::Null => None,
                class => Some(class == ValueClass::Object),
            };
            let Some(child) = self.child(path_id, segment, object) else { return Target::Unmapped };
            match self.value_rule(child) {
                PathRule::Reserved => return Target::Forbidden,
                PathRule::Value | PathRule::Boolean if !last => return Target::Forbidden,
                PathRule::Anything => {
                    return if last { Target::Path(child) } else { Target::Unmapped };
                }
                _ => path_id = child,
            }
        }
        Target::Path(path_id)
    }

    /// Returns the rule for the kind of a value: whether the path is mapped makes no difference.
    fn value_rule(&self, path_id: PathId) -> PathRule {
        match self.cache.info(path_id).rule {
            PathRule::Unmapped => PathRule::Value,
            rule => rule,
        }
    }

    fn child(&mut self, parent: PathId, key: &[u8], object: Option<bool>) -> Option<PathId> {
        if let Some(path_id) = self.cache.child(parent, text::hash(key)) {
            return Some(path_id);
        }
        let path_id = self.fields.resolve(parent, key, object?);
        if path_id.is_some() || self.fields.is_full() != self.cache.is_full() {
            self.cache.refresh(self.fields);
        }
        path_id
    }

    fn push_key(&mut self, key: &[u8]) {
        self.pointer.push(b'/');
        text::escape(&mut self.pointer, &pointer_segment(key));
    }

    fn extend_path(&mut self, key: &[u8]) {
        if !self.path.is_empty() {
            self.path.push(b'.');
        }
        text::escape(&mut self.path, key);
    }

    fn note_rename(&mut self, old: &[u8], new: &[u8]) {
        if old != new {
            self.note(Change::Renamed, new, old);
        }
    }

    /// Adds a change note about the member `key` of the current object.
    fn note(&mut self, change: Change, key: &[u8], argument: &[u8]) {
        let mut step = [change.word().as_bytes(), b" ", &self.pointer, b"/"].concat();
        text::escape(&mut step, &pointer_segment(key));
        if !argument.is_empty() || change == Change::Renamed {
            step.push(b' ');
            text::escape(&mut step, argument);
        }
        self.notes.changes.push(step);
    }

    /// Adds a change note about the current value.
    fn note_here(&mut self, change: Change) {
        self.notes.changes.push([change.word().as_bytes(), b" ", &self.pointer].concat());
    }
}

/// Returns an alternative for a key that is not allowed.
fn alternative_key(key: &[u8], class: ValueClass) -> Vec<u8> {
    if key.contains(&b'.') {
        return key.iter().map(|byte| if *byte == b'.' { b'_' } else { *byte }).collect();
    }
    [key, suffix(class)].concat()
}

fn suffix(class: ValueClass) -> &'static [u8] {
    match class {
        ValueClass::Object => b"_object",
        ValueClass::Null | ValueClass::Scalar | ValueClass::Mixed | ValueClass::NestedMixed => {
            b"_value"
        }
    }
}

/// Takes the value out of `{"value": …}`, the wrapper that EC2 puts around attributes.
fn unwrap_value<'a>(value: &mut Tree<'a>) -> Option<Tree<'a>> {
    let Tree::Object(members) = value else { return None };
    let [only] = members.as_slice() else { return None };
    if &*only.key != b"value"
        || !matches!(class(&only.value), ValueClass::Scalar)
        || list_depth(&only.value) > 0
    {
        return None;
    }
    members.pop().map(|only| only.value)
}
