//! Converts CloudTrail records into documents that an index does not reject.
//!
//! Input: the bytes of one record. Output: an action line and a document line for a bulk request.
//!
//! There are two paths. The fast path (`scan`) reads every byte once and copies the record, with a few keys renamed
//! at most; nearly all records take it. The slow path (`tree`, `rewrite`) handles records that need more changes,
//! that contain a path for the first time, or that the scanner cannot accept. Both list their changes in the
//! document, so that `restore` can reproduce the record. [`FieldRegistry`] decides what each path may hold, using
//! [`Rules`]: the kind table, the declared conflicts and the core template in `mappings/`.
//!
//! Invariant: both paths create the same document. Not here: I/O of any kind.

mod change_note;
mod comparison;
mod document_id;
mod event_value;
mod field_registry;
mod identity;
mod kind_table;
mod lookup_fields;
mod object_keys;
mod path_cache;
mod predicted_field;
mod restore;
mod retention;
mod rewrite;
pub mod rules;
mod scan;
mod text;
mod timestamp;
mod tree;
mod unmapped_terms;

use std::{net::IpAddr, str::FromStr, sync::Arc};

use serde_json::Value;

use crate::filter::principal::ShortPrincipal;

pub use comparison::differences;
pub use event_value::{
    DocumentRecord, RepairedRecord, content_hash, event_uuid, record_of_document, repair_record,
};
pub use field_registry::{
    DecidedBy, FieldDecision, FieldProfile, FieldRegistry, FieldShape, MappingOrigin,
};
pub use predicted_field::{PredictedField, ValueKind};
pub use retention::{InvalidRetention, KeptFrom, Retention};
pub use rules::{Conflict, FieldKind, Rules, with_missing_subfields};
pub(crate) use text::unicode_escape;
pub(crate) use timestamp::PLAUSIBLE_MILLISECONDS;
pub use timestamp::{IndexBy, TimeRange};
pub use tree::MalformedRecord;
pub(crate) use unmapped_terms::{INCOMPLETE_TERM, MAX_TERM_BYTES};

use change_note::{Change, ChangeNote};
use identity::IdentityTexts;
use lookup_fields::LookupFields;
use path_cache::PathCache;
use restore::RestoredRecord;
use scan::{Edit, RequiredPaths, ScanBuffers};
use timestamp::EventTime;
use tree::{Member, Parsed, Tree};
use unmapped_terms::UnmappedTerms;

/// Longest text, in UTF-16 units, that a keyword field indexes (`ignore_above`); longer texts stay in `_source`.
pub(crate) const IGNORE_ABOVE: u32 = 1_024;

/// Settings that apply to all documents of a run.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// First part of every index name.
    pub prefix: String,
    /// How documents are distributed over indices.
    pub index_by: IndexBy,
    /// Events outside this range are skipped, except those without a plausible time.
    pub range: TimeRange,
    /// Events before this time are left out, because their indices have expired.
    pub kept_from: KeptFrom,
    /// Whether the unchanged record is kept in `event.original`.
    pub keep_original: bool,
}

/// Result of normalizing a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalized {
    /// The action line and the document line were appended.
    Document(Placement),
    /// The event is outside the requested range; nothing was appended.
    OutOfRange,
    /// The event is older than the retention; nothing was appended.
    Expired,
}

/// The index of a document and the fields that it requires there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Length of the action line, including its newline.
    pub action_bytes: u32,
    /// Period of the index; [`Normalizer::index_name`] returns its name.
    pub period: u32,
    /// Number of discovered fields that the mapping of the index must have.
    pub required_fields: u32,
    /// Whether the record was changed; added members do not count.
    pub rewritten: bool,
    /// Time of the event in milliseconds since 1970; 0 if it has no plausible time.
    pub time: i64,
}

impl Placement {
    /// Returns whether the event has no plausible time.
    pub fn is_undated(&self) -> bool {
        self.period == timestamp::UNDATED
    }
}

/// Normalizer of one worker.
#[derive(Debug)]
pub struct Normalizer {
    fields: Arc<FieldRegistry>,
    settings: Arc<Settings>,
    cache: PathCache,
    required_paths: Option<RequiredPaths>,
    unmapped: UnmappedTerms,
    buffers: ScanBuffers,
    /// Period and name of the indices used so far.
    indices: Vec<(u32, String)>,
    /// Change notes of the last document.
    changes: Vec<Vec<u8>>,
    /// Envelope fields of the next record.
    lookup_fields: LookupFields,
    /// Buffer for the `trailload.lookup` object of the current record.
    lookup: Vec<u8>,
    /// The `trailload.lookup` object of a document that is normalized again.
    stored_lookup: Vec<u8>,
}

impl Normalizer {
    /// Creates a normalizer that starts with the current state of `fields`.
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
            lookup_fields: LookupFields::default(),
            lookup: Vec::new(),
            stored_lookup: Vec::new(),
        }
    }

    /// Sets the LookupEvents fields of the records that follow: `Username` and `Resources`, as JSON. `None` for both
    /// clears them.
    pub fn set_lookup_fields(&mut self, username: Option<&[u8]>, resources: Option<&[u8]>) {
        self.lookup_fields.set(username, resources);
    }

    /// Returns the index name of a period.
    pub fn index_name(&mut self, period: u32) -> &str {
        let known = self.indices.iter().position(|(known, _)| *known == period);
        let at = known.unwrap_or_else(|| {
            let name = timestamp::index_name(&self.settings.prefix, self.settings.index_by, period);
            self.indices.push((period, name));
            self.indices.len() - 1
        });
        &self.indices[at].1
    }

    /// Copies the record that starts at `text[start]` into a document, and returns the offset of its end.
    ///
    /// Returns `None` if the record needs [`rewrite`](Self::rewrite) or does not end within `text`.
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
        let scan = scan::scan(
            text,
            start,
            &self.cache,
            self.required_paths?,
            &mut self.unmapped,
            &mut self.buffers,
        )?;
        let record = &text[start..scan.end];
        let (id, time) = (&text[scan.event_id], &text[scan.event_time]);
        let when = EventTime::parse_rfc3339(time)?;
        if !document_id::is_uuid(id) {
            return None;
        }
        let principal = {
            let record = simdutf8::basic::from_utf8(record).ok()?;
            self.buffers.identity.principal(record, start)
        };
        if let Some(left_out) = self.left_out(when) {
            return Some((scan.end, left_out));
        }
        let period = when.period(self.settings.index_by);
        let action_bytes = self.write_action(period, id, out);
        out.extend_from_slice(b"{\"@timestamp\":\"");
        out.extend_from_slice(time);
        out.extend_from_slice(b"\",");
        write_source(&text[scan.source_ip], out);
        self.write_added_members(record, principal, &scan.changes, out);
        let members = out.len();
        let mut from = start + 1;
        for Edit { old, new } in scan.edits {
            out.extend_from_slice(&text[from..old.start]);
            out.extend_from_slice(new);
            from = old.end;
        }
        out.extend_from_slice(&text[from..scan.end]);
        if scan.has_line_breaks {
            // Strings contain no line breaks, so only white space between tokens is replaced.
            for byte in out[members..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
                *byte = b' ';
            }
        }
        out.push(b'\n');
        let rewritten = !scan.changes.is_empty();
        self.changes = scan.changes;
        let placed = Placement {
            action_bytes,
            period,
            required_fields: scan.required_fields,
            rewritten,
            time: when.plausible_milliseconds(),
        };
        Some((scan.end, Normalized::Document(placed)))
    }

    /// Converts any record, with all changes that are required. A document of this program is first restored to its
    /// record, so that its id and its content stay the same.
    ///
    /// # Errors
    ///
    /// Returns [`MalformedRecord`] if the record is not a JSON object, even after repair. Nothing was appended.
    pub fn rewrite(
        &mut self,
        record: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Normalized, MalformedRecord> {
        let parsed = tree::parse(record)?;
        let Tree::Object(_) = parsed.tree else {
            return Err(MalformedRecord { offset: 0, expected: "an object" });
        };
        let Some(RestoredRecord { record, lookup, is_repaired }) =
            restore::from_document(record, &parsed.tree)
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

    /// Converts a parsed record.
    fn rewrite_parsed(
        &mut self,
        record: &[u8],
        parsed: Parsed<'_>,
        out: &mut Vec<u8>,
    ) -> Normalized {
        let when = event_time(&parsed.tree);
        if let Some(left_out) = when.and_then(|when| self.left_out(when)) {
            return left_out;
        }
        let source = parsed
            .tree
            .get(b"sourceIPAddress")
            .and_then(Tree::as_text)
            .map(std::borrow::Cow::into_owned);
        let given = document_id::event_id(&parsed.tree);
        let identity = IdentityTexts::of_record(&parsed.tree);
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
        self.write_added_members(record, identity.principal(), &notes.changes, out);
        write_members_and_close(&members, out);
        out.push(b'\n');
        let rewritten = !notes.changes.is_empty();
        self.changes = notes.changes;
        Normalized::Document(Placement {
            action_bytes,
            period,
            required_fields: notes.required_fields,
            rewritten,
            time: when.map_or(0, EventTime::plausible_milliseconds),
        })
    }

    /// Rewrites a document of an earlier run under the current rules and fields, and returns it with the number of
    /// discovered fields that it requires. Its time, index and id stay the same. `None` if this program did not write
    /// it.
    pub fn rewrite_document(&mut self, document: &[u8]) -> Option<(Vec<u8>, u32)> {
        if self.cache.is_stale(&self.fields) {
            self.cache.refresh(&self.fields);
        }
        rewrite_document(document, &self.fields, &mut self.cache)
    }

    /// Returns descriptions of the changes in the last document, such as `requestParameters.policy_object (was
    /// policy)`.
    pub fn changes(&self) -> impl Iterator<Item = String> {
        let lines = self.changes.iter().map(|step| text::unescape(step));
        lines.filter_map(|line| Some(ChangeNote::parse(&line)?.description()))
    }

    /// Returns why an event of this time is left out, if it is. Implausible times never are: they come from a wrong clock,
    /// so neither the range nor the retention says anything about them.
    fn left_out(&self, when: EventTime) -> Option<Normalized> {
        let Settings { range, kept_from, .. } = &*self.settings;
        if !when.is_plausible() {
            None
        } else if !range.contains(when.milliseconds) {
            Some(Normalized::OutOfRange)
        } else {
            (!kept_from.keeps(when.milliseconds)).then_some(Normalized::Expired)
        }
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

    /// Appends `event.original`, if the record is kept, and `trailload`.
    fn write_added_members(
        &mut self,
        record: &[u8],
        principal: ShortPrincipal<'_>,
        changes: &[Vec<u8>],
        out: &mut Vec<u8>,
    ) {
        let original = self.settings.keep_original.then(|| String::from_utf8_lossy(record));
        write_original(original.as_ref().map(|original| original.as_bytes()), out);
        self.lookup_fields.write(record, &mut self.lookup);
        if self.lookup.is_empty() {
            self.lookup.extend_from_slice(&self.stored_lookup);
        }
        self.unmapped.add_if_not_searchable(changes);
        let (unmapped, lookup) = (self.unmapped.list(), self.lookup.as_slice());
        AddedTexts { principal, unmapped, changes, lookup }.write(out);
    }
}

/// Key of the event time.
const EVENT_TIME: &[u8] = b"eventTime";

/// The change note for repaired records, which has no pointer.
const REPAIRED: &[u8] = Change::Repaired.word().as_bytes();

/// Returns the time of an event: `eventTime`, else the start of its time window, else `@timestamp` as Logstash and
/// others write it. A value that is present but unreadable does not fall through to the next one, which would be the
/// time of something else.
fn event_time(record: &Tree<'_>) -> Option<EventTime> {
    let is_set = |value: &&Tree<'_>| !value.is_null_or_empty();
    let value = record
        .get(EVENT_TIME)
        .filter(is_set)
        .or_else(|| record.get_ignore_case(EVENT_TIME).find(is_set))
        .or_else(|| record.get(b"timeWindow")?.get(b"windowStart").filter(is_set))
        .or_else(|| record.get(b"@timestamp"))?;
    EventTime::from_value(value)
}

/// Appends `source.ip` if the text is an IP address; AWS services use their host name instead.
fn write_source(text: &[u8], out: &mut Vec<u8>) {
    // Cheap check first: host names rarely start with a digit and never contain a colon.
    if !text.first().is_some_and(u8::is_ascii_digit) && !text.contains(&b':') {
        return;
    }
    if is_ipv4(text) || std::str::from_utf8(text).is_ok_and(|text| IpAddr::from_str(text).is_ok()) {
        out.extend_from_slice(b"\"source\":{\"ip\":\"");
        out.extend_from_slice(text);
        out.extend_from_slice(b"\"},");
    }
}

/// Returns whether the text is an IPv4 address, as nearly all are. The parser of the standard library takes 70 instructions
/// a record more.
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

/// What the `trailload` object of a document holds.
struct AddedTexts<'a> {
    principal: ShortPrincipal<'a>,
    /// The terms of `unmapped`, quoted and separated by commas.
    unmapped: &'a [u8],
    /// The change notes, escaped for JSON.
    changes: &'a [Vec<u8>],
    /// The `lookup` object, or nothing.
    lookup: &'a [u8],
}

impl AddedTexts<'_> {
    /// Appends the `trailload` object.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"trailload\":{\"principal\":\"");
        for text in self.principal.texts() {
            text::escape(out, text.as_bytes());
        }
        out.push(b'"');
        if !self.unmapped.is_empty() {
            out.extend_from_slice(b",\"unmapped\":[");
            out.extend_from_slice(self.unmapped);
            out.push(b']');
        }
        if !self.changes.is_empty() {
            out.extend_from_slice(b",\"changes\":[\"");
            for (number, change) in self.changes.iter().enumerate() {
                if number > 0 {
                    out.extend_from_slice(b"\",\"");
                }
                out.extend_from_slice(change);
            }
            out.extend_from_slice(b"\"]");
        }
        if !self.lookup.is_empty() {
            out.extend_from_slice(b",\"lookup\":");
            out.extend_from_slice(self.lookup);
        }
        out.extend_from_slice(b"},");
    }
}

/// Appends the members of a record and the closing brace of the document.
fn write_members_and_close(members: &[Member<'_>], out: &mut Vec<u8>) {
    tree::write_members(members, out);
    if members.is_empty() && out.last() == Some(&b',') {
        out.pop();
    }
    out.push(b'}');
}

/// Returns the record that a document was created from, as JSON.
///
/// # Errors
///
/// Returns [`MalformedRecord`] if the document is not a JSON object.
pub fn restore_record(document: &[u8]) -> Result<Vec<u8>, MalformedRecord> {
    Ok(Tree::Object(restore::undo_changes(document)?).to_original_json())
}

/// Rewrites documents for one index whose mapping differs from the field registry and that rejected them.
#[derive(Debug)]
pub struct IndexRewriter {
    fields: FieldRegistry,
    cache: PathCache,
}

impl IndexRewriter {
    /// Creates a rewriter from the live `mappings` of the index and the rules of `fields`.
    pub fn new(fields: &FieldRegistry, mappings: &Value) -> Self {
        let fields = fields.for_index(mappings);
        let cache = PathCache::new(&fields);
        Self { fields, cache }
    }

    /// Rewrites a document for the index. Values that the index does not map become terms in `trailload.unmapped`,
    /// since no further fields are added for it. `None` if the document does not change or this program did not write
    /// it.
    pub fn rewrite(&mut self, document: &[u8]) -> Option<Vec<u8>> {
        let (again, _) = rewrite_document(document, &self.fields, &mut self.cache)?;
        (again.trim_ascii_end() != document.trim_ascii_end()).then_some(again)
    }
}

/// Rewrites a document from its record, and returns it with the number of discovered fields that it requires.
fn rewrite_document(
    document: &[u8],
    fields: &FieldRegistry,
    cache: &mut PathCache,
) -> Option<(Vec<u8>, u32)> {
    let Tree::Object(old) = tree::parse(document).ok()?.tree else { return None };
    // The restored record is parsed again, because the document's strings may be invalid JSON in the record.
    let record = restore_record(document).ok()?;
    let record = tree::parse(&record).ok()?.tree;
    let identity = IdentityTexts::of_record(&record);
    let Tree::Object(record) = record else { return None };
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
    unmapped.add_if_not_searchable(&notes.changes);
    let (unmapped, changes) = (unmapped.list(), notes.changes.as_slice());
    AddedTexts { principal: identity.principal(), unmapped, changes, lookup: &lookup }
        .write(&mut out);
    write_members_and_close(&members, &mut out);
    out.push(b'\n');
    Some((out, notes.required_fields))
}

/// Returns `event.original` of a document of this program. A record's own `event` was renamed.
fn stored_original(document: &[Member<'_>]) -> Option<Vec<u8>> {
    let event = document.iter().find(|member| &*member.key == b"event")?;
    Some(event.value.get(b"original")?.as_text()?.into_owned())
}

/// Returns the `trailload.lookup` object of a document of this program, or nothing.
fn stored_lookup(document: &[Member<'_>]) -> Vec<u8> {
    let mut kept = Vec::new();
    let ours = document.iter().find(|member| &*member.key == b"trailload");
    if let Some(lookup) = ours.and_then(|ours| ours.value.get(b"lookup")) {
        lookup.write(&mut kept);
    }
    kept
}

/// Top-level texts that a raw document keeps as fields: those that searches and dashboards use most.
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

/// Returns the fallback for a rejected document: its top-level texts, and the record in `event.original`.
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
    let identity = tree::parse(&record).map(|parsed| IdentityTexts::of_record(&parsed.tree));
    out.extend_from_slice(b"\"trailload\":{\"principal\":\"");
    for text in identity.unwrap_or_default().principal().texts() {
        text::escape(&mut out, text.as_bytes());
    }
    out.extend_from_slice(b"\",\"raw\":true");
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
