//! Restores the record that a document was created from.
//!
//! Input: a document of this program. Output: the record, without the members that were added, and with all changes
//! undone in reverse order, as the notes in [`change_note`](super::change_note) list them.

use std::borrow::Cow;

use super::{
    change_note::{Change, ChangeNote, unescape_segment},
    text,
    tree::{self, MalformedRecord, Member, Tree},
};

/// Returns the members of the record before the rewrite.
pub(super) fn undo_changes(document: &[u8]) -> Result<Vec<Member<'_>>, MalformedRecord> {
    let Tree::Object(mut members) = tree::parse(document)?.tree else {
        return Err(MalformedRecord { offset: 0, expected: "an object" });
    };
    let steps = change_notes(&members);
    members.retain(|member| !is_added_member(&member.key));
    let mut record = Tree::Object(members);
    for step in steps.iter().rev() {
        // A note whose pointer leads nowhere is not of this program; the others can still be undone.
        let _ = undo_step(&mut record, step);
    }
    match record {
        Tree::Object(members) => Ok(members),
        _ => Err(MalformedRecord { offset: 0, expected: "an object" }),
    }
}

/// The content of a document that is loaded again, from a search result or an index dump.
pub(super) struct RestoredRecord {
    /// The record.
    pub(super) record: Vec<u8>,
    /// The `trailload.lookup` object; empty if there is none.
    pub(super) lookup: Vec<u8>,
    /// Whether the record was repaired.
    pub(super) is_repaired: bool,
}

/// Returns the content of a document of this program, or `None` for any other object.
pub(super) fn from_document(document: &[u8], tree: &Tree<'_>) -> Option<RestoredRecord> {
    let Tree::Object(members) = tree else { return None };
    let Some(trailload) = tree.get(b"trailload") else {
        let record = without_added_members(members)?;
        return Some(RestoredRecord { record, lookup: Vec::new(), is_repaired: false });
    };
    if !is_trailload_object(trailload) {
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
    if let Some(value) = trailload.get(b"lookup") {
        value.write(&mut lookup);
    }
    let is_repaired = change_notes(members).iter().any(|note| note == super::REPAIRED);
    Some(RestoredRecord { record, lookup, is_repaired })
}

/// Returns whether a `trailload` member is one that this program writes.
fn is_trailload_object(trailload: &Tree<'_>) -> bool {
    let Tree::Object(parts) = trailload else { return false };
    !parts.is_empty() && parts.iter().all(|part| match &*part.key {
        b"unmapped" | b"changes" => {
            matches!(&part.value, Tree::List(list) if list.iter().all(|line| line.as_text().is_some()))
        }
        b"principal" => matches!(part.value, Tree::Text(_)),
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
    let is_derived = |member: &Member<'_>| match (&*member.key, &member.value) {
        (b"@timestamp", value) => {
            let event_time = Member { key: Cow::Borrowed(b"eventTime"), value: value.clone() };
            let event_time = super::event_time(&Tree::Object(vec![event_time]));
            event_time.is_some_and(|event_time| Some(event_time.milliseconds) == time)
        }
        (b"source", Tree::Object(parts)) => {
            matches!(&parts[..], [ip] if is(ip, b"ip") && address.is_some() && ip.value.as_text() == address)
        }
        _ => false,
    };
    let kept: Vec<Member<'_>> =
        members.iter().filter(|member| !is_derived(member)).cloned().collect();
    if let Some(original) = sole_original(&kept) {
        return Some(original);
    }
    (kept.len() < members.len()).then(|| Tree::Object(kept).to_original_json())
}

/// Returns `event.original` if `event` contains nothing else and the other members are those of that record.
fn sole_original(members: &[Member<'_>]) -> Option<Vec<u8>> {
    let is_event = |member: &&Member<'_>| &*member.key == b"event";
    let Tree::Object(parts) = &members.iter().find(is_event)?.value else { return None };
    let [only] = parts.as_slice() else { return None };
    let original = only.value.as_text().filter(|_| &*only.key == b"original")?;
    let rest = members.iter().filter(|member| !is_event(member)).cloned().collect();
    let record = tree::parse(&original).ok()?.tree.to_original_json();
    (record == Tree::Object(rest).to_original_json()).then(|| original.into_owned())
}

/// Returns whether this program adds a member of that name. A record's own member of that name was renamed.
fn is_added_member(key: &[u8]) -> bool {
    matches!(key, b"@timestamp" | b"source" | b"event" | b"trailload")
}

/// Returns the change notes of a document, in the order of the changes.
pub(super) fn change_notes(members: &[Member<'_>]) -> Vec<Vec<u8>> {
    let trailload = members.iter().find(|member| &*member.key == b"trailload");
    match trailload.and_then(|trailload| trailload.value.get(b"changes")) {
        Some(Tree::List(steps)) => {
            steps.iter().filter_map(|step| Some(step.as_text()?.into_owned())).collect()
        }
        _ => Vec::new(),
    }
}

/// Undoes one change.
fn undo_step(record: &mut Tree<'_>, step: &[u8]) -> Option<()> {
    let note = ChangeNote::parse(step)?;
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

/// Merges the two lists that were created from a mixed list.
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

/// Returns a copy that borrows nothing.
fn to_static(tree: Tree<'_>) -> Tree<'static> {
    let keep = |bytes: Cow<'_, [u8]>| Cow::Owned(bytes.into_owned());
    match tree {
        Tree::Token(token) => Tree::Token(keep(token)),
        Tree::Text(inside) => Tree::Text(keep(inside)),
        // The string is the unquoted text of the record.
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
