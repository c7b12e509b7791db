//! The document id: the `eventID` of a record, or a hash of its content.
//!
//! Input: a record. Output: its id. Invariant: different events have different ids, and one event always has the same
//! id, however its JSON is written. Sample data shares ids such as `1`, and aggregated and hand-written records have
//! none, so only UUIDs are used.

use sha2::{Digest, Sha256};

use super::{
    text,
    tree::{Member, Tree},
};

/// Bytes of the hash that are used: 128 bits, as many as an `eventID` has.
const HASH_BYTES: usize = 16;

/// Returns whether the text is a UUID: 8-4-4-4-12 hexadecimal digits.
pub(super) fn is_uuid(text: &[u8]) -> bool {
    let Ok(text) = <&[u8; 36]>::try_from(text) else { return false };
    // Checks every byte without branching: digits and letters alternate at random, and mispredicted branches would
    // take longer than the whole check.
    let wrong = text.iter().enumerate().fold(0, |wrong, (at, byte)| {
        let right = match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => (byte.wrapping_sub(b'0') < 10) | ((byte | 0x20).wrapping_sub(b'a') < 6),
        };
        wrong | u8::from(!right)
    });
    wrong == 0
}

/// Key of the event id.
const EVENT_ID: &[u8] = b"eventID";

/// Returns the id of the record, if it is a UUID: `eventID`, or the same key in another case (`eventId` in aggregated
/// events, `eventid` in tables of Athena).
pub(super) fn event_id(record: &Tree<'_>) -> Option<Vec<u8>> {
    let id = |value: &Tree<'_>| Some(value.as_text()?.into_owned()).filter(|id| is_uuid(id));
    record.get(EVENT_ID).and_then(id).or_else(|| record.get_ignore_case(EVENT_ID).find_map(id))
}

/// Returns an id derived from the content, which does not depend on the order of keys.
pub(super) fn content_id(members: &[Member<'_>]) -> String {
    format!("sha256-{:032x}", content_hash(members))
}

/// Returns the number that [`content_id`] contains.
pub(super) fn content_hash(members: &[Member<'_>]) -> u128 {
    let mut canonical = Vec::new();
    write_object(members, &mut canonical);
    hash(&canonical)
}

/// Returns the first bits of the SHA-256 hash.
pub(super) fn hash(bytes: &[u8]) -> u128 {
    let digest = Sha256::digest(bytes);
    digest[..HASH_BYTES].iter().fold(0, |hash, byte| hash << 8 | u128::from(*byte))
}

/// Returns the canonical form of a value, which does not depend on the order of keys.
pub(super) fn canonical_form(value: &Tree<'_>) -> Vec<u8> {
    let mut content = Vec::new();
    write_tree(value, &mut content);
    content
}

fn write_tree(tree: &Tree<'_>, out: &mut Vec<u8>) {
    match tree {
        Tree::Token(token) => out.extend_from_slice(token),
        Tree::Text(inside) => write_text(&text::unescape(inside), out),
        Tree::BareWord(inside) => out.extend_from_slice(inside),
        Tree::TooDeep(value) => out.extend_from_slice(value),
        Tree::List(list) => {
            out.push(b'[');
            for value in list {
                write_tree(value, out);
                out.push(b',');
            }
            out.push(b']');
        }
        Tree::Object(members) => write_object(members, out),
    }
}

fn write_object(members: &[Member<'_>], out: &mut Vec<u8>) {
    let mut sorted: Vec<&Member<'_>> = members.iter().collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    out.push(b'{');
    for member in sorted {
        write_text(&member.key, out);
        out.push(b':');
        write_tree(&member.value, out);
        out.push(b',');
    }
    out.push(b'}');
}

/// Appends the length and the bytes of a text, so that different texts never look alike.
fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(text.len().to_string().as_bytes());
    out.push(b'"');
    out.extend_from_slice(text);
}
