//! Rewrites one record until no mapping can refuse it, and notes every step so that it can be undone.
//!
//! In: the tree of a record, and what is known about paths. Out: the tree to be indexed, the notes
//! (`trailload.changes`, as [`note`](super::note) spells them), and the terms of what is not mapped (`trailload.unmapped`).
//! Holds: [`undo`](super::undo) of the result is the record again; only these change a record: a wrong
//! kind under a path that is or will be mapped, a name that is ours or that leads through a value,
//! and what engines refuse wherever it stands. Everything else stays as AWS wrote it.

use std::borrow::Cow;

use super::{
    EVENT_TIME,
    change_note::{Change, pointer_segment},
    field_registry::{FieldRegistry, PathId, ROOT, PathRule},
    object_keys::{ObjectKeys, METADATA_FIELDS, repair_key},
    path_cache::PathCache,
    text,
    timestamp::EventTime,
    tree::{Member, Tree},
    unmapped_terms::{MAX_KEYWORD_BYTES, UnmappedTerms},
};

/// Lists directly inside each other that every engine takes: OpenSearch refuses more than 20.
const MAX_LIST_DEPTH: usize = 20;

/// What a rewritten record needs beside its members.
#[derive(Debug, Default)]
pub(super) struct RewriteNotes {
    /// Each the inside of a JSON string.
    pub(super) changes: Vec<Vec<u8>>,
    /// How many learned fields the index must know.
    pub(super) required_fields: u32,
}

/// Rewrites a record.
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

/// What a value is made of, seen through its lists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ValueClass {
    /// `null`, or lists of nothing else.
    Null,
    Scalar,
    Object,
    /// Both, side by side in one list.
    Mixed,
    /// Both, in lists inside a list.
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
                    (_, ValueClass::Mixed | ValueClass::NestedMixed) => return ValueClass::NestedMixed,
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

/// Returns how many lists stand directly inside each other.
fn list_depth(value: &Tree<'_>) -> usize {
    match value {
        Tree::List(list) => 1 + list.iter().map(list_depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Returns whether the value is `""` or a list of nothing else: how S3 and EC2 write an empty element.
fn is_empty_marker(value: &Tree<'_>) -> bool {
    match value {
        Tree::List(list) => !list.is_empty() && list.iter().all(Tree::is_empty_text),
        value => value.is_empty_text(),
    }
}

/// Returns whether a boolean field takes the value.
fn is_boolean(value: &Tree<'_>) -> bool {
    match value {
        Tree::Token(word) => matches!(&**word, b"true" | b"false" | b"null"),
        Tree::Text(inside) => matches!(&**inside, b"true" | b"false" | b""),
        Tree::List(list) => list.iter().all(is_boolean),
        _ => false,
    }
}

/// Where a member goes.
#[derive(Clone, Copy)]
enum Target {
    /// To a path that the index looks at.
    Path(PathId),
    /// Where the index does not look.
    Unmapped,
    /// Nowhere: the name is ours, or leads through a value.
    Forbidden,
}

struct Rewriter<'r> {
    fields: &'r FieldRegistry,
    cache: &'r mut PathCache,
    unmapped: &'r mut UnmappedTerms,
    notes: RewriteNotes,
    /// Where we are in the result: `/requestParameters/items/0`, as the inside of a JSON string.
    pointer: Vec<u8>,
    /// The same as a path, where values are not mapped: `requestParameters.tags`.
    path: Vec<u8>,
}

impl Rewriter<'_> {
    /// Rewrites an object that the index looks at.
    fn object<'a>(&mut self, node: PathId, members: Vec<Member<'a>>) -> Vec<Member<'a>> {
        let (mut keys, repeats) = ObjectKeys::new(&members);
        // All keys of the object first, then what is below: undone backwards, a note about a member
        // finds it under the name it has in the result.
        let mut placed = Vec::with_capacity(members.len());
        for (number, member) in members.into_iter().enumerate() {
            let repeated = repeats.binary_search(&number).is_ok();
            self.member(node, member, repeated, &mut keys, &mut placed);
        }
        let mut result = Vec::with_capacity(placed.len());
        for (member, target) in placed {
            let (pointer, path) = (self.pointer.len(), self.path.len());
            self.push_key(&member.key);
            let value = match target {
                Target::Path(child) => self.value(child, member.value),
                Target::Unmapped | Target::Forbidden => {
                    self.path.clear();
                    self.path.extend_from_slice(self.cache.name(node).as_bytes());
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

    /// Finds a name under which a member can stand, and adds it to `placed`.
    fn member<'a>(
        &mut self,
        node: PathId,
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
        // Also a mended key may be one of the engine's, and a dotted one begin like one.
        while node == ROOT
            && METADATA_FIELDS.contains(&key.split(|byte| *byte == b'.').next().unwrap_or(&key))
        {
            key = Cow::Owned(keys.unique(&alternative_key(&key, class(&value))));
        }
        if list_depth(&value) > MAX_LIST_DEPTH {
            self.serialize(node, &old, &key, &value, keys, placed);
            return;
        }
        // Two steps are the most seen; the bound is for indices that were mapped with malice.
        for _ in 0..6 {
            let class = class(&value);
            let target = self.resolve(node, &key, class);
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
                    match self.split(node, (&old, &key), list, rule == PathRule::Value, keys) {
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
            self.note_rename(&old, &key);
            if node == ROOT && &*old == EVENT_TIME {
                value = self.reformat_time(&key, value);
            }
            placed.push((Member { key, value }, target));
            return;
        }
        self.serialize(node, &old, &key, &value, keys, placed);
    }

    /// Writes the time of an event so that a date field reads it as the moment that it is. A field would take seconds
    /// for milliseconds, and find the event in 1970.
    fn reformat_time<'a>(&mut self, key: &[u8], value: Tree<'a>) -> Tree<'a> {
        let reformatted = EventTime::from_value(&value).and_then(|when| when.reformatted(&value));
        let Some(reformatted) = reformatted else { return value };
        self.note(Change::Replaced, key, &value.to_original_json());
        Tree::Text(Cow::Owned(reformatted.into_bytes()))
    }

    /// Keeps a value as JSON text under a name of its own.
    fn serialize<'a>(
        &mut self,
        node: PathId,
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
            match self.resolve(node, &key, ValueClass::Scalar) {
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

    /// Parts a list of objects and values: what fits stays, the rest moves to a name of its own.
    fn split<'a>(
        &mut self,
        node: PathId,
        (old, key): (&[u8], &Cow<'a, [u8]>),
        list: Vec<Tree<'a>>,
        values_stay: bool,
        keys: &mut ObjectKeys,
    ) -> Result<(Member<'a>, (Member<'a>, Target)), Vec<Tree<'a>>> {
        let moves = if values_stay { ValueClass::Object } else { ValueClass::Scalar };
        let other = keys.unique(&[&**key, suffix(moves)].concat());
        let other_target = self.resolve(node, &other, moves);
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

    /// Rewrites a value that fits its path.
    fn value<'a>(&mut self, node: PathId, value: Tree<'a>) -> Tree<'a> {
        let known = self.cache.known(node);
        if matches!(known.rule, PathRule::Anything | PathRule::Unmapped) {
            self.path.clear();
            self.path.extend_from_slice(self.cache.name(node).as_bytes());
            return self.unmapped_value(value);
        }
        match value {
            Tree::Object(members) => Tree::Object(self.object(node, members)),
            Tree::List(list) => {
                Tree::List(self.map_list(list, |rewriter, part| rewriter.value(node, part)))
            }
            value => {
                self.notes.required_fields = self.notes.required_fields.max(known.required_fields);
                if let Tree::Text(inside) | Tree::BareWord(inside) = &value
                    && inside.len() > MAX_KEYWORD_BYTES
                {
                    self.unmapped.add_if_ignored(self.cache.name(node).as_bytes(), inside);
                }
                self.leaf(value)
            }
        }
    }

    /// Rewrites a value that the index does not look at.
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
            // Only lists and objects, and what was no JSON, can have something to note.
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

    /// Finds the path of a member; a dotted key is the path it spells.
    fn resolve(&mut self, parent: PathId, key: &[u8], class: ValueClass) -> Target {
        let mut node = parent;
        let mut segments = key.split(|byte| *byte == b'.').peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            let object = match class {
                _ if !last => Some(true),
                ValueClass::Null => None,
                class => Some(class == ValueClass::Object),
            };
            let Some(child) = self.child(node, segment, object) else { return Target::Unmapped };
            match self.value_rule(child) {
                PathRule::Reserved => return Target::Forbidden,
                PathRule::Value | PathRule::Boolean if !last => return Target::Forbidden,
                PathRule::Anything => return if last { Target::Path(child) } else { Target::Unmapped },
                _ => node = child,
            }
        }
        Target::Path(node)
    }

    /// Returns what a path demands of a value; whether it is mapped makes no difference to the value.
    fn value_rule(&self, node: PathId) -> PathRule {
        match self.cache.known(node).rule {
            PathRule::Unmapped => PathRule::Value,
            rule => rule,
        }
    }

    fn child(&mut self, parent: PathId, key: &[u8], object: Option<bool>) -> Option<PathId> {
        if let Some(node) = self.cache.child(parent, text::hash(key)) {
            return Some(node);
        }
        let node = self.fields.resolve(parent, key, object?);
        if node.is_some() || self.fields.is_full() != self.cache.is_full() {
            self.cache.refresh(self.fields);
        }
        node
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

    /// Notes a step about the member `key` of the object we are in.
    fn note(&mut self, change: Change, key: &[u8], argument: &[u8]) {
        let mut step = [change.word().as_bytes(), b" ", &self.pointer, b"/"].concat();
        text::escape(&mut step, &pointer_segment(key));
        if !argument.is_empty() || change == Change::Renamed {
            step.push(b' ');
            text::escape(&mut step, argument);
        }
        self.notes.changes.push(step);
    }

    /// Notes a step about the value we are at.
    fn note_here(&mut self, change: Change) {
        self.notes.changes.push([change.word().as_bytes(), b" ", &self.pointer].concat());
    }
}

/// Returns a name beside one that is barred.
fn alternative_key(key: &[u8], class: ValueClass) -> Vec<u8> {
    if key.contains(&b'.') {
        return key.iter().map(|byte| if *byte == b'.' { b'_' } else { *byte }).collect();
    }
    [key, suffix(class)].concat()
}

fn suffix(class: ValueClass) -> &'static [u8] {
    match class {
        ValueClass::Object => b"_object",
        ValueClass::Null | ValueClass::Scalar | ValueClass::Mixed | ValueClass::NestedMixed => b"_value",
    }
}

/// Takes the value out of `{"value": …}`, EC2's way to write an attribute.
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
