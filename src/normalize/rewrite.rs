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
    fields::{Fields, Node, ROOT, Verdict},
    object_keys::{Keys, METADATA, mend_key},
    path_cache::PathCache,
    text,
    timestamp::EventTime,
    tree::{Member, Tree},
    unmapped_terms::{LONGEST_KEYWORD, UnmappedTerms},
};

/// Lists directly inside each other that every engine takes: OpenSearch refuses more than 20.
const DEEPEST_LISTS: usize = 20;

/// What a rewritten record needs beside its members.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Each the inside of a JSON string.
    pub(super) steps: Vec<Vec<u8>>,
    /// How many learned fields the index must know.
    pub(super) needs: u32,
}

/// Rewrites a record.
pub(super) fn rewrite<'a>(
    record: Vec<Member<'a>>,
    fields: &Fields,
    view: &mut PathCache,
    more: &mut UnmappedTerms,
) -> (Vec<Member<'a>>, Notes) {
    let mut rewriter = Rewriter {
        fields,
        view,
        more,
        notes: Notes::default(),
        pointer: Vec::new(),
        path: Vec::new(),
    };
    let record = rewriter.object(ROOT, record);
    (record, rewriter.notes)
}

/// What a value is made of, seen through its lists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// `null`, or lists of nothing else.
    Nothing,
    Value,
    Object,
    /// Both, side by side in one list.
    Mixed,
    /// Both, in lists inside a list.
    Tangled,
}

fn class(value: &Tree<'_>) -> Class {
    match value {
        Tree::Token(token) if &**token == b"null" => Class::Nothing,
        Tree::Token(_) | Tree::Text(_) | Tree::Word(_) | Tree::Deep(_) => Class::Value,
        Tree::Object(_) => Class::Object,
        Tree::List(list) => {
            let mut whole = Class::Nothing;
            for part in list.iter().map(class) {
                whole = match (whole, part) {
                    (_, Class::Mixed | Class::Tangled) => return Class::Tangled,
                    (whole, Class::Nothing) => whole,
                    (Class::Nothing, part) => part,
                    (whole, part) if whole == part => whole,
                    _ => Class::Mixed,
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
enum Place {
    /// To a path that the index looks at.
    At(Node),
    /// Where the index does not look.
    Free,
    /// Nowhere: the name is ours, or leads through a value.
    Barred,
}

struct Rewriter<'r> {
    fields: &'r Fields,
    view: &'r mut PathCache,
    more: &'r mut UnmappedTerms,
    notes: Notes,
    /// Where we are in the result: `/requestParameters/items/0`, as the inside of a JSON string.
    pointer: Vec<u8>,
    /// The same as a path, where values are not mapped: `requestParameters.tags`.
    path: Vec<u8>,
}

impl Rewriter<'_> {
    /// Rewrites an object that the index looks at.
    fn object<'a>(&mut self, node: Node, members: Vec<Member<'a>>) -> Vec<Member<'a>> {
        let (mut keys, repeats) = Keys::of(&members);
        // All keys of the object first, then what is below: undone backwards, a note about a member
        // finds it under the name it has in the result.
        let mut placed = Vec::with_capacity(members.len());
        for (number, member) in members.into_iter().enumerate() {
            let repeated = repeats.binary_search(&number).is_ok();
            self.member(node, member, repeated, &mut keys, &mut placed);
        }
        let mut result = Vec::with_capacity(placed.len());
        for (member, place) in placed {
            let (pointer, path) = (self.pointer.len(), self.path.len());
            self.enter_key(&member.key);
            let value = match place {
                Place::At(child) => self.value(child, member.value),
                Place::Free | Place::Barred => {
                    self.path.clear();
                    self.path.extend_from_slice(self.view.path(node).as_bytes());
                    self.extend_path(&member.key);
                    self.free(member.value)
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
        node: Node,
        member: Member<'a>,
        repeated: bool,
        keys: &mut Keys,
        placed: &mut Vec<(Member<'a>, Place)>,
    ) {
        let Member { key: old, mut value } = member;
        let mut key = old.clone();
        if let Some(mended) = mend_key(&key, true) {
            key = Cow::Owned(keys.free(&mended));
        } else if repeated {
            key = Cow::Owned(keys.free(&key));
        }
        // Also a mended key may be one of the engine's, and a dotted one begin like one.
        while node == ROOT
            && METADATA.contains(&key.split(|byte| *byte == b'.').next().unwrap_or(&key))
        {
            key = Cow::Owned(keys.free(&around(&key, class(&value))));
        }
        if list_depth(&value) > DEEPEST_LISTS {
            self.as_json(node, &old, &key, &value, keys, placed);
            return;
        }
        // Two steps are the most seen; the bound is for indices that were mapped with malice.
        for _ in 0..6 {
            let class = class(&value);
            let place = self.place(node, &key, class);
            let verdict = match place {
                Place::At(child) => self.demand(child),
                Place::Free => Verdict::Free,
                Place::Barred => Verdict::Reserved,
            };
            match (verdict, class) {
                (Verdict::Reserved, _) => {
                    key = Cow::Owned(keys.free(&around(&key, class)));
                    continue;
                }
                (_, Class::Tangled) if verdict != Verdict::Free => break,
                (Verdict::Boolean, _) if !is_boolean(&value) => {
                    key = Cow::Owned(keys.free(&[&*key, suffix(class)].concat()));
                    continue;
                }
                (Verdict::Value | Verdict::Object { .. }, Class::Mixed) => {
                    let Tree::List(list) = value else { unreachable!("only lists are mixed") };
                    match self.split(node, (&old, &key), list, verdict == Verdict::Value, keys) {
                        Ok((stays, (moved, elsewhere))) => {
                            placed.push((stays, place));
                            placed.push((moved, elsewhere));
                            return;
                        }
                        Err(list) => value = Tree::List(list),
                    }
                    break;
                }
                (Verdict::Value, Class::Object) => {
                    if let Some(inner) = wrapped(&mut value) {
                        self.note_rename(&old, &key);
                        self.note(Change::Unwrapped, &key, b"");
                        placed.push((Member { key, value: inner }, place));
                        return;
                    }
                    key = Cow::Owned(keys.free(&[&*key, b"_object"].concat()));
                    continue;
                }
                (Verdict::Object { .. }, Class::Value) => {
                    if is_empty_marker(&value) {
                        self.note_rename(&old, &key);
                        self.note(Change::Replaced, &key, &value.as_it_was());
                        placed.push((Member { key, value: Tree::Object(Vec::new()) }, place));
                        return;
                    }
                    key = Cow::Owned(keys.free(&[&*key, b"_value"].concat()));
                    continue;
                }
                _ => {}
            }
            self.note_rename(&old, &key);
            if node == ROOT && &*old == EVENT_TIME {
                value = self.time(&key, value);
            }
            placed.push((Member { key, value }, place));
            return;
        }
        self.as_json(node, &old, &key, &value, keys, placed);
    }

    /// Writes the time of an event so that a date field reads it as the moment that it is. A field would take seconds
    /// for milliseconds, and find the event in 1970.
    fn time<'a>(&mut self, key: &[u8], value: Tree<'a>) -> Tree<'a> {
        let retold = EventTime::read(&value).and_then(|when| when.retold(&value));
        let Some(retold) = retold else { return value };
        self.note(Change::Replaced, key, &value.as_it_was());
        Tree::Text(Cow::Owned(retold.into_bytes()))
    }

    /// Keeps a value as JSON text under a name of its own.
    fn as_json<'a>(
        &mut self,
        node: Node,
        old: &[u8],
        key: &[u8],
        value: &Tree<'a>,
        keys: &mut Keys,
        placed: &mut Vec<(Member<'a>, Place)>,
    ) {
        let mut inside = Vec::new();
        text::escape(&mut inside, &value.as_it_was());
        let mut key = [key, b"_json"].concat();
        let place = loop {
            key = keys.free(&key);
            match self.place(node, &key, Class::Value) {
                Place::At(child) if self.demand(child) != Verdict::Value => {}
                Place::Barred => key = around(&key, Class::Value),
                place => break place,
            }
        };
        self.note_rename(old, &key);
        self.note(Change::Serialized, &key, b"");
        placed
            .push((Member { key: Cow::Owned(key), value: Tree::Text(Cow::Owned(inside)) }, place));
    }

    /// Parts a list of objects and values: what fits stays, the rest moves to a name of its own.
    fn split<'a>(
        &mut self,
        node: Node,
        (old, key): (&[u8], &Cow<'a, [u8]>),
        list: Vec<Tree<'a>>,
        values_stay: bool,
        keys: &mut Keys,
    ) -> Result<(Member<'a>, (Member<'a>, Place)), Vec<Tree<'a>>> {
        let moves = if values_stay { Class::Object } else { Class::Value };
        let other = keys.free(&[&**key, suffix(moves)].concat());
        let elsewhere = self.place(node, &other, moves);
        let fits = match elsewhere {
            Place::Free => true,
            Place::Barred => false,
            Place::At(child) => match self.demand(child) {
                Verdict::Object { .. } => moves == Class::Object,
                Verdict::Value => moves == Class::Value,
                verdict => verdict == Verdict::Free,
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
        Ok((stays, (moved, elsewhere)))
    }

    /// Rewrites a value that fits its path.
    fn value<'a>(&mut self, node: Node, value: Tree<'a>) -> Tree<'a> {
        let known = self.view.known(node);
        if matches!(known.verdict, Verdict::Free | Verdict::Unmapped) {
            self.path.clear();
            self.path.extend_from_slice(self.view.path(node).as_bytes());
            return self.free(value);
        }
        match value {
            Tree::Object(members) => Tree::Object(self.object(node, members)),
            Tree::List(list) => {
                Tree::List(self.each(list, |rewriter, part| rewriter.value(node, part)))
            }
            value => {
                self.notes.needs = self.notes.needs.max(known.needs);
                if let Tree::Text(inside) | Tree::Word(inside) = &value
                    && inside.len() > LONGEST_KEYWORD
                {
                    self.more.add_if_ignored(self.view.path(node).as_bytes(), inside);
                }
                self.leaf(value)
            }
        }
    }

    /// Rewrites a value that the index does not look at.
    fn free<'a>(&mut self, value: Tree<'a>) -> Tree<'a> {
        match value {
            Tree::Object(members) => Tree::Object(self.free_object(members)),
            Tree::List(list) => Tree::List(self.each(list, Self::free)),
            value => {
                let value = self.leaf(value);
                self.more.add(&self.path, &value);
                value
            }
        }
    }

    fn free_object<'a>(&mut self, members: Vec<Member<'a>>) -> Vec<Member<'a>> {
        let (mut keys, repeats) = Keys::of(&members);
        let mut members = members;
        for (number, member) in members.iter_mut().enumerate() {
            let new = match mend_key(&member.key, false) {
                Some(mended) => keys.free(&mended),
                None if repeats.binary_search(&number).is_ok() => keys.free(&member.key),
                None => continue,
            };
            let old = std::mem::replace(&mut member.key, Cow::Owned(new));
            self.note_rename(&old, &member.key);
        }
        for member in &mut members {
            let (pointer, path) = (self.pointer.len(), self.path.len());
            self.enter_key(&member.key);
            self.extend_path(&member.key);
            let value = std::mem::replace(&mut member.value, Tree::List(Vec::new()));
            member.value = self.free(value);
            self.pointer.truncate(pointer);
            self.path.truncate(path);
        }
        members
    }

    fn each<'a>(
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
            Tree::Word(_) => self.note_here(Change::Quoted),
            Tree::Deep(_) => self.note_here(Change::Serialized),
            _ => {}
        }
        value
    }

    /// Finds the path of a member; a dotted key is the path it spells.
    fn place(&mut self, parent: Node, key: &[u8], class: Class) -> Place {
        let mut node = parent;
        let mut segments = key.split(|byte| *byte == b'.').peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            let object = match class {
                _ if !last => Some(true),
                Class::Nothing => None,
                class => Some(class == Class::Object),
            };
            let Some(child) = self.child(node, segment, object) else { return Place::Free };
            match self.demand(child) {
                Verdict::Reserved => return Place::Barred,
                Verdict::Value | Verdict::Boolean if !last => return Place::Barred,
                Verdict::Free => return if last { Place::At(child) } else { Place::Free },
                _ => node = child,
            }
        }
        Place::At(node)
    }

    /// Returns what a path demands of a value; whether it is mapped makes no difference to the value.
    fn demand(&self, node: Node) -> Verdict {
        match self.view.known(node).verdict {
            Verdict::Unmapped => Verdict::Value,
            verdict => verdict,
        }
    }

    fn child(&mut self, parent: Node, key: &[u8], object: Option<bool>) -> Option<Node> {
        if let Some(node) = self.view.child(parent, text::hash(key)) {
            return Some(node);
        }
        let node = self.fields.decide(parent, key, object?);
        if node.is_some() || self.fields.is_full() != self.view.is_full() {
            self.view.refresh(self.fields);
        }
        node
    }

    fn enter_key(&mut self, key: &[u8]) {
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
        self.notes.steps.push(step);
    }

    /// Notes a step about the value we are at.
    fn note_here(&mut self, change: Change) {
        self.notes.steps.push([change.word().as_bytes(), b" ", &self.pointer].concat());
    }
}

/// Returns a name beside one that is barred.
fn around(key: &[u8], class: Class) -> Vec<u8> {
    if key.contains(&b'.') {
        return key.iter().map(|byte| if *byte == b'.' { b'_' } else { *byte }).collect();
    }
    [key, suffix(class)].concat()
}

fn suffix(class: Class) -> &'static [u8] {
    match class {
        Class::Object => b"_object",
        Class::Nothing | Class::Value | Class::Mixed | Class::Tangled => b"_value",
    }
}

/// Takes the value out of `{"value": …}`, EC2's way to write an attribute.
fn wrapped<'a>(value: &mut Tree<'a>) -> Option<Tree<'a>> {
    let Tree::Object(members) = value else { return None };
    let [only] = members.as_slice() else { return None };
    if &*only.key != b"value"
        || !matches!(class(&only.value), Class::Value)
        || list_depth(&only.value) > 0
    {
        return None;
    }
    members.pop().map(|only| only.value)
}
