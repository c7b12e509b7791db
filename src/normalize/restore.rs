//! Gives an indexed document back as the record that it was.
//!
//! The notes ([`note`](super::note)) are followed backwards; what we added is left out.

use std::borrow::Cow;

use super::{
    change_note::{Change, ChangeNote, unescape_segment},
    text,
    tree::{self, MalformedRecord, Member, Tree},
};

/// Returns the record's members as they were before the rewrite.
pub(super) fn undo_changes(document: &[u8]) -> Result<Vec<Member<'_>>, MalformedRecord> {
    let Tree::Object(mut members) = tree::parse(document)?.tree else {
        return Err(MalformedRecord { offset: 0, expected: "an object" });
    };
    let steps = change_notes(&members);
    members.retain(|member| !is_added_member(&member.key));
    let mut record = Tree::Object(members);
    for step in steps.iter().rev() {
        // A step that leads nowhere was not ours; the rest can still be undone.
        let _ = undo_step(&mut record, step);
    }
    match record {
        Tree::Object(members) => Ok(members),
        _ => Err(MalformedRecord { offset: 0, expected: "an object" }),
    }
}

/// What a document of ours was made of, when it comes back as if it were a record: from a search, or a dump of an index.
pub(super) struct RestoredRecord {
    /// The record.
    pub(super) record: Vec<u8>,
    /// The object `trailload.lookup`; empty without one.
    pub(super) lookup: Vec<u8>,
    /// Bytes of the record were mended.
    pub(super) is_repaired: bool,
}

/// Returns what a document of ours was made of, or nothing if this is a record.
pub(super) fn from_document(document: &[u8], tree: &Tree<'_>) -> Option<RestoredRecord> {
    let Tree::Object(members) = tree else { return None };
    let Some(ours) = tree.get(b"trailload") else {
        let record = without_added_members(members)?;
        return Some(RestoredRecord { record, lookup: Vec::new(), is_repaired: false });
    };
    if !is_trailload_object(ours) {
        return None;
    }
    let kept = super::stored_original(members).filter(|text| {
        tree::parse(text).is_ok_and(|parsed| matches!(parsed.tree, Tree::Object(_)))
    });
    let record = match kept {
        Some(original) => original,
        None => Tree::Object(undo_changes(document).ok()?).to_original_json(),
    };
    let mut lookup = Vec::new();
    if let Some(value) = ours.get(b"lookup") {
        value.write(&mut lookup);
    }
    let is_repaired = change_notes(members).iter().any(|note| note == super::REPAIRED);
    Some(RestoredRecord { record, lookup, is_repaired })
}

/// Returns whether `trailload` of a document holds what we say there.
fn is_trailload_object(ours: &Tree<'_>) -> bool {
    let Tree::Object(parts) = ours else { return false };
    !parts.is_empty() && parts.iter().all(|part| match &*part.key {
        b"unmapped" | b"changes" => {
            matches!(&part.value, Tree::List(list) if list.iter().all(|line| line.as_text().is_some()))
        }
        b"lookup" => matches!(part.value, Tree::Object(_)),
        b"raw" => matches!(&part.value, Tree::Token(word) if &**word == b"true"),
        _ => false,
    })
}

/// Returns the record of a document without a `trailload` object, to which only `@timestamp`, `source.ip` and
/// `event.original` were added, each derived from the record. `None` if none of them was.
fn without_added_members(members: &[Member<'_>]) -> Option<Vec<u8>> {
    let is = |member: &Member<'_>, key: &[u8]| *member.key == *key;
    if !members.iter().any(|member| is_added_member(&member.key)) {
        return None;
    }
    let rest = || members.iter().filter(|member| !is(member, b"@timestamp")).cloned().collect();
    let record = Tree::Object(rest());
    let time = super::event_time(&record).map(|when| when.milliseconds);
    let address = record.get(b"sourceIPAddress").and_then(Tree::as_text);
    let is_told = |member: &Member<'_>| match (&*member.key, &member.value) {
        (b"@timestamp", value) => {
            let event_time = Member { key: Cow::Borrowed(b"eventTime"), value: value.clone() };
            let told = super::event_time(&Tree::Object(vec![event_time]));
            told.is_some_and(|told| Some(told.milliseconds) == time)
        }
        (b"source", Tree::Object(parts)) => {
            matches!(&parts[..], [ip] if is(ip, b"ip") && address.is_some() && ip.value.as_text() == address)
        }
        _ => false,
    };
    let kept: Vec<Member<'_>> = members.iter().filter(|member| !is_told(member)).cloned().collect();
    if let Some(original) = sole_original(&kept) {
        return Some(original);
    }
    (kept.len() < members.len()).then(|| Tree::Object(kept).to_original_json())
}

/// Returns `event.original` if `event` holds nothing else and the other members are those of that record.
fn sole_original(members: &[Member<'_>]) -> Option<Vec<u8>> {
    let is_event = |member: &&Member<'_>| &*member.key == b"event";
    let Tree::Object(parts) = &members.iter().find(is_event)?.value else { return None };
    let [only] = parts.as_slice() else { return None };
    let original = only.value.as_text().filter(|_| &*only.key == b"original")?;
    let rest = members.iter().filter(|member| !is_event(member)).cloned().collect();
    let record = tree::parse(&original).ok()?.tree.to_original_json();
    (record == Tree::Object(rest).to_original_json()).then(|| original.into_owned())
}

/// The members that we add to a record. A record's own under such a name was renamed.
fn is_added_member(key: &[u8]) -> bool {
    matches!(key, b"@timestamp" | b"source" | b"event" | b"trailload")
}

/// Returns the notes in a document of ours, in the order in which the changes were made.
pub(super) fn change_notes(members: &[Member<'_>]) -> Vec<Vec<u8>> {
    let ours = members.iter().find(|member| &*member.key == b"trailload");
    match ours.and_then(|ours| ours.value.get(b"changes")) {
        Some(Tree::List(steps)) => {
            steps.iter().filter_map(|step| Some(step.as_text()?.into_owned())).collect()
        }
        _ => Vec::new(),
    }
}

/// Undoes one step.
fn undo_step(record: &mut Tree<'_>, step: &[u8]) -> Option<()> {
    let note = ChangeNote::read(step)?;
    let mut segments: Vec<Vec<u8>> = note.segments().collect();
    let last = segments.pop()?;
    let mut parent = record;
    for segment in &segments {
        parent = descend(parent, segment)?;
    }
    match note.change {
        Change::Renamed => rename(parent, &last, note.argument),
        Change::Replaced => replace(parent, &last, |_| parsed(note.argument)),
        Change::Unwrapped => replace(parent, &last, |value| {
            let member = Member { key: Cow::Borrowed(b"value"), value };
            Some(Tree::Object(vec![member]))
        }),
        Change::Serialized => replace(parent, &last, |value| parsed(&value.as_text()?)),
        Change::Quoted => replace(parent, &last, |value| match value {
            Tree::Text(inside) => {
                Some(Tree::Token(Cow::Owned(text::unescape(&inside).into_owned())))
            }
            other => Some(other),
        }),
        Change::Split => merge_split_list(parent, &last, note.argument),
        Change::Repaired => None,
    }
}

fn descend<'t, 'a>(parent: &'t mut Tree<'a>, segment: &[u8]) -> Option<&'t mut Tree<'a>> {
    match parent {
        Tree::Object(members) => members
            .iter_mut()
            .find(|member| *member.key == *segment)
            .map(|member| &mut member.value),
        Tree::List(list) => list.get_mut(std::str::from_utf8(segment).ok()?.parse::<usize>().ok()?),
        _ => None,
    }
}

fn rename(parent: &mut Tree<'_>, new: &[u8], old: &[u8]) -> Option<()> {
    let Tree::Object(members) = parent else { return None };
    let member = members.iter_mut().find(|member| *member.key == *new)?;
    member.key = Cow::Owned(old.to_vec());
    Some(())
}

fn replace<'a>(
    parent: &mut Tree<'a>,
    key: &[u8],
    with: impl FnOnce(Tree<'a>) -> Option<Tree<'a>>,
) -> Option<()> {
    let place = descend(parent, key)?;
    let value = std::mem::replace(place, Tree::List(Vec::new()));
    *place = with(value)?;
    Some(())
}

/// Puts the two parts of a split list together again.
fn merge_split_list(parent: &mut Tree<'_>, key: &[u8], argument: &[u8]) -> Option<()> {
    let Tree::Object(members) = parent else { return None };
    let mut words = argument.split(|byte| *byte == b' ');
    let other = unescape_segment(words.next()?);
    let positions = std::str::from_utf8(words.next()?).ok()?;
    let at = members.iter().position(|member| *member.key == *other)?;
    let Tree::List(moved) = members.remove(at).value else { return None };
    let Tree::List(list) = &mut members.iter_mut().find(|member| *member.key == *key)?.value else {
        return None;
    };
    for (position, part) in positions.split(',').zip(moved) {
        let position = position.parse::<usize>().ok()?.min(list.len());
        list.insert(position, part);
    }
    Some(())
}

fn parsed(json: &[u8]) -> Option<Tree<'static>> {
    Some(to_static(tree::parse(json).ok()?.tree))
}

/// Copies what a tree borrows.
fn to_static(tree: Tree<'_>) -> Tree<'static> {
    let keep = |bytes: Cow<'_, [u8]>| Cow::Owned(bytes.into_owned());
    match tree {
        Tree::Token(token) => Tree::Token(keep(token)),
        Tree::Text(inside) => Tree::Text(keep(inside)),
        // The text of a word or of a deep value is what stood there; written without quotes again.
        Tree::BareWord(inside) => Tree::Token(Cow::Owned(text::unescape(&inside).into_owned())),
        Tree::TooDeep(value) => Tree::Token(keep(value)),
        Tree::List(list) => Tree::List(list.into_iter().map(to_static).collect()),
        Tree::Object(members) => Tree::Object(
            members
                .into_iter()
                .map(|member| Member { key: keep(member.key), value: to_static(member.value) })
                .collect(),
        ),
    }
}
