//! Turns records into documents that no mapping refuses.
//!
//! In: the bytes of one record. Out: an action line and a document line for a bulk request.
//! Two ways lead there. The fast one (`scan`) looks at every byte once and copies the record, with a few keys
//! renamed at most; nearly all take it. The slow one (`tree`, `rewrite`) is for records that must
//! change more, that bring a path not met before, or that the scan has doubts about. What either
//! changes is noted in the document, so that `undo` can give the record back. What paths may hold is known to
//! [`Fields`], which asks [`Rules`]: the kind table, the declared conflicts and the core template in `mappings/`.
//! Absent on purpose: I/O of any kind.

mod change_note;
mod comparison;
mod document_id;
mod field_registry;
mod kind_table;
mod lookup_fields;
mod object_keys;
mod path_cache;
mod rewrite;
pub mod rules;
mod scan;
mod text;
mod timestamp;
mod tree;
mod restore;
mod unmapped_terms;

use std::{net::IpAddr, str::FromStr, sync::Arc};

use serde_json::Value;

pub use comparison::differences;
pub use field_registry::{
    DecidedBy, FieldDecision, FieldProfile, FieldRegistry, FieldShape, MappingOrigin,
};
pub use rules::{Conflict, FieldKind, Rules, completed};
pub use timestamp::{IndexBy, TimeRange};
pub use tree::MalformedRecord;

use change_note::{Change, ChangeNote};
use lookup_fields::EnvelopeFields;
use path_cache::PathCache;
use scan::{Edit, ScanBuffers, RequiredPaths};
use timestamp::EventTime;
use tree::{Member, Parsed, Tree};
use restore::RestoredRecord;
use unmapped_terms::UnmappedTerms;

/// Characters of the longest text that a keyword field indexes; longer ones stay in the document.
const IGNORE_ABOVE: u32 = 1_024;

/// What the documents of a run have in common.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// First part of every index name.
    pub prefix: String,
    /// How documents are spread over indices.
    pub index_by: IndexBy,
    /// Which events are wanted; an event without a time is always wanted.
    pub range: TimeRange,
    /// Whether the record is kept as text, as it came.
    pub keep_original: bool,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalized {
    /// Its action line and document line were appended.
    Document(Placement),
    /// It happened outside the wanted range.
    OutOfRange,
}

/// Where a document belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Length of the action line, with its line break.
    pub action_bytes: u32,
    /// Which index, as [`Normalizer::index`] names it.
    pub period: u32,
    /// How many learned fields that index must know.
    pub required_fields: u32,
    /// Whether the document differs from the record in more than what we add.
    pub rewritten: bool,
}

impl Placement {
    /// Returns whether the record has no time that can be read, or one at which it cannot have happened.
    pub fn is_undated(&self) -> bool {
        self.period == timestamp::UNDATED
    }
}

/// One worker's normalizer.
#[derive(Debug)]
pub struct Normalizer {
    fields: Arc<FieldRegistry>,
    settings: Arc<Settings>,
    cache: PathCache,
    required_paths: Option<RequiredPaths>,
    unmapped: UnmappedTerms,
    buffers: ScanBuffers,
    /// Bucket and name of the indices used last.
    indices: Vec<(u32, String)>,
    /// What was noted about the record rewritten last.
    changes: Vec<Vec<u8>>,
    /// What the next record's envelope says.
    set_envelope_fields: EnvelopeFields,
    /// What of that the record does not say.
    lookup: Vec<u8>,
    /// The same, as it stood in a document of ours that is read as a record.
    stored_lookup: Vec<u8>,
}

impl Normalizer {
    /// Starts with what the fields know so far.
    pub fn new(fields: Arc<FieldRegistry>, settings: Arc<Settings>) -> Self {
        let cache = PathCache::new(&fields);
        Self {
            required_paths: RequiredPaths::find(&cache),
            fields,
            settings,
            cache,
            unmapped: UnmappedTerms::default(),
            buffers: ScanBuffers::default(),
            indices: Vec::new(),
            changes: Vec::new(),
            set_envelope_fields: EnvelopeFields::default(),
            lookup: Vec::new(),
            stored_lookup: Vec::new(),
        }
    }

    /// Takes in what an envelope of LookupEvents says beside the records that come next: the values of `Username`
    /// and `Resources`, as JSON. Without any, there is no envelope any unmapped.
    pub fn set_lookup_fields(&mut self, username: Option<&[u8]>, resources: Option<&[u8]>) {
        self.set_envelope_fields.set(username, resources);
    }

    /// Returns the name of an index.
    pub fn index_name(&mut self, period: u32) -> &str {
        let known = self.indices.iter().position(|(known, _)| *known == period);
        let at = known.unwrap_or_else(|| {
            let name = timestamp::index_name(&self.settings.prefix, self.settings.index_by, period);
            self.indices.push((period, name));
            self.indices.len() - 1
        });
        &self.indices[at].1
    }

    /// Takes the record that starts at `text[start]` as it is, and says where it ends.
    ///
    /// `None` if it has to go the slow way, or does not end in this text.
    pub fn try_copy(
        &mut self,
        text: &[u8],
        start: usize,
        out: &mut Vec<u8>,
    ) -> Option<(usize, Normalized)> {
        if self.cache.is_stale(&self.fields) {
            self.cache.refresh(&self.fields);
        }
        self.unmapped.clear();
        let scan =
            scan::scan(text, start, &self.cache, self.required_paths?, &mut self.unmapped, &mut self.buffers)?;
        let record = &text[start..scan.end];
        let (id, time) = (&text[scan.event_id], &text[scan.event_time]);
        let when = EventTime::parse_rfc3339(time)?;
        if !document_id::is_uuid(id) || simdutf8::basic::from_utf8(record).is_err() {
            return None;
        }
        if !self.is_wanted(when) {
            return Some((scan.end, Normalized::OutOfRange));
        }
        let period = when.period(self.settings.index_by);
        let action_bytes = self.write_action(period, id, out);
        out.extend_from_slice(b"{\"@timestamp\":\"");
        out.extend_from_slice(time);
        out.extend_from_slice(b"\",");
        write_source(&text[scan.source_ip], out);
        self.write_added_members(&scan.changes, record, out);
        let members = out.len();
        let mut from = start + 1;
        for Edit { old, new } in scan.edits {
            out.extend_from_slice(&text[from..old.start]);
            out.extend_from_slice(new);
            from = old.end;
        }
        out.extend_from_slice(&text[from..scan.end]);
        if scan.has_line_breaks {
            // Inside a string there is none, so these only part tokens.
            for byte in out[members..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
                *byte = b' ';
            }
        }
        out.push(b'\n');
        let rewritten = !scan.changes.is_empty();
        self.changes = scan.changes;
        let placed =
            Placement { action_bytes, period: period, required_fields: scan.required_fields, rewritten };
        Some((scan.end, Normalized::Document(placed)))
    }

    /// Takes one record of any kind, changing what must change. A document of ours is taken as the record that it was made
    /// of, so that it keeps its id and looks the same again.
    ///
    /// # Errors
    ///
    /// Returns [`Misshapen`] if it is no JSON object, however patiently read. Nothing was appended.
    pub fn rewrite(
        &mut self,
        record: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Normalized, MalformedRecord> {
        let parsed = tree::parse(record)?;
        let Tree::Object(_) = parsed.tree else {
            return Err(MalformedRecord { offset: 0, expected: "an object" });
        };
        let Some(RestoredRecord { record, lookup, is_repaired }) = restore::from_document(record, &parsed.tree)
        else {
            return Ok(self.rewrite_parsed(record, parsed, out));
        };
        self.stored_lookup = lookup;
        let mut parsed = tree::parse(&record)?;
        parsed.repaired |= is_repaired;
        let normalized = self.rewrite_parsed(&record, parsed, out);
        self.stored_lookup.clear();
        Ok(normalized)
    }

    /// Takes a record that was read.
    fn rewrite_parsed(
        &mut self,
        record: &[u8],
        parsed: Parsed<'_>,
        out: &mut Vec<u8>,
    ) -> Normalized {
        let when = event_time(&parsed.tree);
        if when.is_some_and(|when| !self.is_wanted(when)) {
            return Normalized::OutOfRange;
        }
        let source = parsed
            .tree
            .get(b"sourceIPAddress")
            .and_then(Tree::as_text)
            .map(std::borrow::Cow::into_owned);
        let given = document_id::event_id(&parsed.tree);
        let Tree::Object(members) = parsed.tree else { unreachable!("checked above") };
        let id = given.unwrap_or_else(|| document_id::content_id(&members).into_bytes());
        self.unmapped.clear();
        let (members, mut notes) =
            rewrite::rewrite(members, &self.fields, &mut self.cache, &mut self.unmapped);
        if parsed.repaired {
            notes.changes.push(REPAIRED.to_vec());
        }
        let period = when.map_or(timestamp::UNDATED, |when| when.period(self.settings.index_by));
        let action_bytes = self.write_action(period, &id, out);
        out.push(b'{');
        if let Some(when) = when {
            out.extend_from_slice(format!("\"@timestamp\":\"{}\",", when.to_rfc3339()).as_bytes());
        }
        write_source(source.as_deref().unwrap_or_default(), out);
        self.write_added_members(&notes.changes, record, out);
        write_members_and_close(&members, out);
        out.push(b'\n');
        let rewritten = !notes.changes.is_empty();
        self.changes = notes.changes;
        Normalized::Document(Placement {
            action_bytes,
            period: period,
            required_fields: notes.required_fields,
            rewritten,
        })
    }

    /// Makes a document of an earlier run again, under the rules and fields of this one, and returns how many learned
    /// fields it needs. Its time, and so its index and its id, stay. `None` if it is none of ours.
    pub fn rewrite_document(&mut self, document: &[u8]) -> Option<(Vec<u8>, u32)> {
        if self.cache.is_stale(&self.fields) {
            self.cache.refresh(&self.fields);
        }
        rewrite_document(document, &self.fields, &mut self.cache)
    }

    /// Says in words what was changed in the record rewritten last: `requestParameters.policy_object (was policy)`.
    pub fn changes(&self) -> impl Iterator<Item = String> {
        let lines = self.changes.iter().map(|step| text::unescape(step));
        lines.filter_map(|line| Some(ChangeNote::read(&line)?.described()))
    }

    /// Returns whether a moment is in the range asked for. Whoever asks for a range has no use for it to be compared
    /// with the time of a broken clock.
    fn is_wanted(&self, when: EventTime) -> bool {
        self.settings.range.contains(when.milliseconds) || !when.is_plausible()
    }

    /// Appends the action line and returns its length.
    fn write_action(&mut self, period: u32, id: &[u8], out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        out.extend_from_slice(b"{\"create\":{\"_index\":\"");
        let index = self.index_name(period);
        out.extend_from_slice(index.as_bytes());
        out.extend_from_slice(b"\",\"_id\":\"");
        out.extend_from_slice(id);
        out.extend_from_slice(b"\"}}\n");
        #[expect(clippy::cast_possible_truncation, reason = "an index name and an id")]
        let bytes = (out.len() - start) as u32;
        bytes
    }

    /// Appends what we say about a record, if there is anything to say.
    fn write_added_members(&mut self, changes: &[Vec<u8>], record: &[u8], out: &mut Vec<u8>) {
        let original = self.settings.keep_original.then(|| String::from_utf8_lossy(record));
        write_original(original.as_ref().map(|original| original.as_bytes()), out);
        self.set_envelope_fields.write(record, &mut self.lookup);
        if self.lookup.is_empty() {
            self.lookup.extend_from_slice(&self.stored_lookup);
        }
        write_trailload(self.unmapped.list(), changes, &self.lookup, out);
    }
}

/// The key of the time of an event.
const EVENT_TIME: &[u8] = b"eventTime";

/// The note on a record whose bytes had to be mended; there is no more to say.
const REPAIRED: &[u8] = Change::Repaired.word().as_bytes();

/// Finds when a record happened: its eventTime, or the begin of its time window, or where it has neither what Logstash
/// and others write as `@timestamp`. One that is there and cannot be read leaves no room for another: that would be
/// the time of something else.
fn event_time(record: &Tree<'_>) -> Option<EventTime> {
    let says = |value: &&Tree<'_>| !value.is_null_or_empty();
    let told = record
        .get(EVENT_TIME)
        .filter(says)
        .or_else(|| record.get_ignore_case(EVENT_TIME).find(says))
        .or_else(|| record.get(b"timeWindow")?.get(b"windowStart").filter(says))
        .or_else(|| record.get(b"@timestamp"))?;
    EventTime::from_value(told)
}

/// Appends `source.ip`, if the text is an address; services call under their names.
fn write_source(text: &[u8], out: &mut Vec<u8>) {
    // Cheap first: host names seldom begin with a digit and never hold a colon.
    if !text.first().is_some_and(u8::is_ascii_digit) && !text.contains(&b':') {
        return;
    }
    if is_ipv4(text) || std::str::from_utf8(text).is_ok_and(|text| IpAddr::from_str(text).is_ok()) {
        out.extend_from_slice(b"\"source\":{\"ip\":\"");
        out.extend_from_slice(text);
        out.extend_from_slice(b"\"},");
    }
}

/// Returns whether a text is an IPv4 address, as nearly all are: the library's parser costs more than all else we write
/// about a record.
fn is_ipv4(text: &[u8]) -> bool {
    let is_part = |part: &[u8]| {
        part.iter().all(u8::is_ascii_digit)
            && match part.len() {
                1 => true,
                2 => part[0] != b'0',
                3 => part[0] != b'0' && part <= b"255".as_slice(),
                _ => false,
            }
    };
    let mut parts = text.split(|byte| *byte == b'.');
    parts.by_ref().take(4).filter(|part| is_part(part)).count() == 4 && parts.next().is_none()
}

/// Appends `event.original` (ECS: the event as it was received), if the record is kept.
fn write_original(original: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(original) = original {
        out.extend_from_slice(b"\"event\":{\"original\":\"");
        text::escape(out, original);
        out.extend_from_slice(b"\"},");
    }
}

/// Appends the `trailload` object, unless it would be empty.
fn write_trailload(unmapped: &[u8], changes: &[Vec<u8>], lookup: &[u8], out: &mut Vec<u8>) {
    if unmapped.is_empty() && changes.is_empty() && lookup.is_empty() {
        return;
    }
    let mut between = "\"trailload\":{";
    if !unmapped.is_empty() {
        out.extend_from_slice(between.as_bytes());
        out.extend_from_slice(b"\"unmapped\":[");
        out.extend_from_slice(unmapped);
        out.push(b']');
        between = ",";
    }
    if !changes.is_empty() {
        out.extend_from_slice(between.as_bytes());
        out.extend_from_slice(b"\"changes\":[\"");
        for (number, step) in changes.iter().enumerate() {
            if number > 0 {
                out.extend_from_slice(b"\",\"");
            }
            out.extend_from_slice(step);
        }
        out.extend_from_slice(b"\"]");
        between = ",";
    }
    if !lookup.is_empty() {
        out.extend_from_slice(between.as_bytes());
        out.extend_from_slice(b"\"lookup\":");
        out.extend_from_slice(lookup);
    }
    out.extend_from_slice(b"},");
}

/// Appends a record's members and the closing brace of the document.
fn write_members_and_close(members: &[Member<'_>], out: &mut Vec<u8>) {
    tree::write_members(members, out);
    if members.is_empty() && out.last() == Some(&b',') {
        out.pop();
    }
    out.push(b'}');
}

/// Returns the record that a document was made of, as JSON.
///
/// # Errors
///
/// Returns [`Misshapen`] if the document is no JSON object.
pub fn restore_record(document: &[u8]) -> Result<Vec<u8>, MalformedRecord> {
    Ok(Tree::Object(restore::undo_changes(document)?).to_original_json())
}

/// What one index, and only it, decided otherwise; to rewrite the documents it refused.
#[derive(Debug)]
pub struct IndexRewriter {
    fields: FieldRegistry,
    cache: PathCache,
}

impl IndexRewriter {
    /// Starts with the live `mappings` of that index. The rules are those of `fields`.
    pub fn new(fields: &FieldRegistry, mappings: &Value) -> Self {
        let fields = fields.for_index(mappings);
        let cache = PathCache::new(&fields);
        Self { fields, cache }
    }

    /// Rewrites a document for that index, from the record that it was. What the index does not map goes to
    /// `trailload.unmapped`: nobody will add further fields for it. `None` if the document stays as it is, or is
    /// none of ours.
    pub fn rewrite(&mut self, document: &[u8]) -> Option<Vec<u8>> {
        let (again, _) = rewrite_document(document, &self.fields, &mut self.cache)?;
        (again.trim_ascii_end() != document.trim_ascii_end()).then_some(again)
    }
}

/// Makes a document of ours again, from the record that it was, and returns how many learned fields it needs.
fn rewrite_document(document: &[u8], fields: &FieldRegistry, cache: &mut PathCache) -> Option<(Vec<u8>, u32)> {
    let Tree::Object(old) = tree::parse(document).ok()?.tree else { return None };
    // Read once more: what is no JSON there must be made text again.
    let record = restore_record(document).ok()?;
    let Tree::Object(record) = tree::parse(&record).ok()?.tree else { return None };
    let mut unmapped = UnmappedTerms::default();
    let (members, mut notes) = rewrite::rewrite(record, fields, cache, &mut unmapped);
    if restore::change_notes(&old).iter().any(|note| note == REPAIRED) {
        notes.changes.push(REPAIRED.to_vec());
    }
    let mut out = vec![b'{'];
    for member in old.iter().filter(|member| matches!(&*member.key, b"@timestamp" | b"source")) {
        tree::write_members(std::slice::from_ref(member), &mut out);
        out.push(b',');
    }
    write_original(stored_original(&old).as_deref(), &mut out);
    let lookup = stored_lookup(&old);
    write_trailload(unmapped.list(), &notes.changes, &lookup, &mut out);
    write_members_and_close(&members, &mut out);
    out.push(b'\n');
    Some((out, notes.required_fields))
}

/// Returns `event.original` of a document that this module wrote. A record's own `event` was renamed.
fn stored_original(document: &[Member<'_>]) -> Option<Vec<u8>> {
    let event = document.iter().find(|member| &*member.key == b"event")?;
    Some(event.value.get(b"original")?.as_text()?.into_owned())
}

/// Returns the object `trailload.lookup` of a document of ours; empty without one.
fn stored_lookup(document: &[Member<'_>]) -> Vec<u8> {
    let mut kept = Vec::new();
    let ours = document.iter().find(|member| &*member.key == b"trailload");
    if let Some(lookup) = ours.and_then(|ours| ours.value.get(b"lookup")) {
        lookup.write(&mut kept);
    }
    kept
}

/// The top-level texts that a raw document keeps as fields: what dashboards and searches ask for first.
const RAW_DOCUMENT_FIELDS: [&[u8]; 10] = [
    b"awsRegion",
    b"errorCode",
    b"eventID",
    b"eventName",
    b"eventSource",
    b"eventTime",
    b"eventType",
    b"recipientAccountId",
    b"sourceIPAddress",
    b"userAgent",
];

/// Returns the last resort for a document that is refused: its top-level texts, and the record as text.
pub fn raw_document(document: &[u8]) -> Vec<u8> {
    let parsed = tree::parse(document);
    let Ok(Tree::Object(members)) = parsed.map(|parsed| parsed.tree) else {
        return document.to_vec();
    };
    let mut out = vec![b'{'];
    for member in &members {
        let keep = &*member.key == b"@timestamp" || RAW_DOCUMENT_FIELDS.contains(&&*member.key);
        if keep && matches!(member.value, Tree::Text(_)) {
            tree::write_members(std::slice::from_ref(member), &mut out);
            out.push(b',');
        }
    }
    let record = stored_original(&members)
        .or_else(|| restore_record(document).ok())
        .unwrap_or_else(|| document.to_vec());
    write_original(Some(&record), &mut out);
    out.extend_from_slice(b"\"trailload\":{\"raw\":true");
    let lookup = stored_lookup(&members);
    if !lookup.is_empty() {
        out.extend_from_slice(b",\"lookup\":");
        out.extend_from_slice(&lookup);
    }
    out.extend_from_slice(b"}}\n");
    out
}

#[cfg(test)]
mod tests;
