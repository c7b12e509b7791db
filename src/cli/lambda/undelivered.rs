//! Finds the messages whose alerts are not delivered, and remembers them until they come again.
//!
//! Input: the alerts that are not delivered at the end of a run, and what the messages contained. Output: which messages failed
//! because of that.
//! Invariant: a message that contains such an event is found. What cannot be searched, because too much of it was read to be kept, is
//! taken to contain them, so no alert is lost; at worst, a message comes again whose alerts are known then.
//! Not here: which alerts are not delivered (see `checkpoint::alerts`). This is done only if there are some.

use std::{
    collections::{BTreeSet, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use aho_corasick::AhoCorasick;
use bytes::Bytes;

use super::answer::MessageResult;
use crate::{
    checkpoint::alerts::UndeliveredEvent,
    limit::DecoderLimits,
    source::{
        Content, Decoder, OversizedRecord, RecordHandler, RecordOutcome, ReservedBytes, SkipError,
        skip_value,
    },
};

/// Memory of the decoder that reads the messages again, in pieces.
const LIMITS: DecoderLimits = DecoderLimits {
    window_bytes: 256 << 10,
    max_record_bytes: 4 << 20,
    max_stored_bytes: 0,
    max_unpacked_bytes: 0,
    max_extra_bytes: 16 << 20,
};

/// Messages that are remembered. A sandbox rarely sees one of them again.
const MAX_MESSAGES: usize = 10_000;

/// What happens to alerts that could not be delivered in earlier invocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UndeliveredAlerts {
    /// Dead letters stay.
    Keep,
    /// They are sent again: a message that has them came again.
    Retry,
}

/// What is remembered from one invocation to the next.
#[derive(Debug)]
pub(super) struct UndeliveredMemory {
    /// Hashes of the messages whose alerts were not delivered.
    messages: HashSet<u64>,
    /// Those of them that may have an alert whose event was not found in any.
    suspects: HashSet<u64>,
    /// The ids of the alerts that are not delivered.
    alerts: HashSet<String>,
    /// Whether a process that Lambda has ended may have left alerts.
    is_first_run: bool,
}

impl Default for UndeliveredMemory {
    fn default() -> Self {
        Self {
            messages: HashSet::new(),
            suspects: HashSet::new(),
            alerts: HashSet::new(),
            is_first_run: true,
        }
    }
}

impl UndeliveredMemory {
    /// Returns what happens to dead letters in the run that begins: they are sent again if one of their messages came again.
    pub(super) fn on_run(&mut self, bodies: &[Bytes]) -> UndeliveredAlerts {
        let is_first_run = std::mem::take(&mut self.is_first_run);
        if is_first_run || bodies.iter().any(|body| self.messages.contains(&hash(body))) {
            UndeliveredAlerts::Retry
        } else {
            UndeliveredAlerts::Keep
        }
    }

    /// Marks the messages as failed whose alerts are not delivered.
    pub(super) fn on_end(
        &mut self,
        bodies: &[Bytes],
        contents: &[MessageContent],
        end: &UndeliveredEnd,
        results: &mut [MessageResult],
    ) {
        let UndeliveredEnd { events, cause, is_unknown } = end;
        let ids: BTreeSet<String> = events.iter().map(|event| event.event_id.clone()).collect();
        let ids: Vec<String> = ids.into_iter().collect();
        let attribution = Attribution::new(&ids, contents);
        // An event without an id is known by a hash, which no message contains.
        let mut hidden =
            events.iter().filter(|event| !attribution.found.contains(&event.event_id)).peekable();
        let has_hidden = hidden.peek().is_some();
        let may_be_anywhere =
            *is_unknown || hidden.any(|event| !self.alerts.contains(&event.alert));
        let problem = if *is_unknown {
            "whether its alerts are delivered is not known"
        } else {
            "an alert of it is not delivered"
        };
        let failed = || MessageResult::Failed { cause: format!("{problem}: {cause}") };
        let messages = results.iter_mut().zip(contents).zip(&attribution.contains);
        for (((result, content), contains), body) in messages.zip(bodies) {
            let is_read = !content.parts.is_empty() || content.is_cut;
            // One that came again, and whose event is not found again.
            let is_suspect = may_be_anywhere || has_hidden && self.suspects.contains(&hash(body));
            if *contains || (is_suspect && is_read) {
                result.add(failed());
                self.remember(body);
                if is_suspect {
                    self.suspects.insert(hash(body));
                }
            }
        }
        if *is_unknown {
            return;
        }
        self.alerts = events.iter().map(|event| event.alert.clone()).collect();
        if events.is_empty() {
            self.messages.clear();
            self.suspects.clear();
        }
    }

    fn remember(&mut self, body: &Bytes) {
        if self.messages.len() >= MAX_MESSAGES {
            self.messages.clear();
            self.suspects.clear();
        }
        self.messages.insert(hash(body));
    }
}

fn hash(body: &Bytes) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

/// The alerts that are not delivered at the end of a run, also those of earlier runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UndeliveredEnd {
    pub(super) events: Vec<UndeliveredEvent>,
    /// Why not.
    pub(super) cause: String,
    /// Whether the checkpoint cannot be read, so that there may be others.
    pub(super) is_unknown: bool,
}

/// What a message contained.
#[derive(Clone, Debug, Default)]
pub(super) struct MessageContent {
    /// Its parts, as far as they were kept.
    pub(super) parts: Vec<Bytes>,
    /// Whether there were others.
    pub(super) is_cut: bool,
}

/// The messages that contain some events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attribution {
    /// Whether each message contains one of the events.
    pub(super) contains: Vec<bool>,
    /// The ids that were found.
    pub(super) found: BTreeSet<String>,
}

impl Attribution {
    /// Searches the messages for events.
    pub(super) fn new(ids: &[String], messages: &[MessageContent]) -> Self {
        let nothing = Self { contains: vec![false; messages.len()], found: BTreeSet::new() };
        // The limit of the automaton is far above the number of deliveries that a run allows.
        let Ok(patterns) = AhoCorasick::new(ids) else { return nothing };
        if ids.is_empty() {
            return nothing;
        }
        let mut decoder = Decoder::new(LIMITS);
        let mut attribution = nothing;
        for (contains, message) in attribution.contains.iter_mut().zip(messages) {
            let mut search = EventSearch {
                patterns: &patterns,
                found: BTreeSet::new(),
                is_incomplete: message.is_cut,
            };
            for part in &message.parts {
                search.read(&mut decoder, part);
            }
            *contains = search.is_incomplete || !search.found.is_empty();
            attribution
                .found
                .extend(search.found.into_iter().filter_map(|pattern| ids.get(pattern).cloned()));
        }
        attribution
    }
}

/// Searches records for the ids of events.
struct EventSearch<'p> {
    patterns: &'p AhoCorasick,
    /// The numbers of the ids that were found.
    found: BTreeSet<usize>,
    /// Whether a part could not be searched.
    is_incomplete: bool,
}

impl EventSearch<'_> {
    fn read(&mut self, decoder: &mut Decoder, part: &Bytes) {
        let content = Content::Memory(ReservedBytes { bytes: part.clone(), permit: None });
        let read = decoder.read("", content, self);
        self.is_incomplete |= !read.is_ok_and(|decoded| decoded.defect_count == 0);
    }
}

impl RecordHandler for EventSearch<'_> {
    fn record(&mut self, text: &[u8], start: usize) -> RecordOutcome {
        match skip_value(text, start) {
            Ok(end) => {
                let found = self.patterns.find_overlapping_iter(&text[start..end]);
                self.found.extend(found.map(|found| found.pattern().as_usize()));
                RecordOutcome::EndsAt(end)
            }
            Err(SkipError::Incomplete) => RecordOutcome::Incomplete,
            Err(SkipError::Invalid { offset, cause }) => {
                RecordOutcome::Invalid { offset, cause: cause.into() }
            }
        }
    }

    fn oversized(&mut self, _record: OversizedRecord) {
        self.is_incomplete = true;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn records(ids: &[&str]) -> String {
        let records: Vec<_> = ids
            .iter()
            .map(|id| serde_json::json!({ "eventVersion": "1.08", "eventTime": "2024-01-01T00:00:00Z", "eventID": id }))
            .collect();
        serde_json::json!({ "Records": records }).to_string()
    }

    fn packed(text: &str) -> Bytes {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(text.as_bytes()).unwrap();
        packer.finish().unwrap().into()
    }

    fn message(parts: Vec<Bytes>, is_cut: bool) -> MessageContent {
        MessageContent { parts, is_cut }
    }

    #[test]
    fn a_message_is_found_by_its_events_also_in_a_compressed_part() {
        let messages = [
            message(vec![records(&["a-1", "a-2"]).into()], false),
            message(vec![packed(&records(&["b-1"])), packed(&records(&["b-2"]))], false),
            message(vec![packed(&records(&["c-1"]))], false),
        ];
        let ids = ["a-2", "b-2", "d-1"].map(str::to_owned);
        let attribution = Attribution::new(&ids, &messages);
        assert_eq!(attribution.contains, [true, true, false]);
        assert_eq!(attribution.found, ["a-2", "b-2"].map(str::to_owned).into());
        assert_eq!(Attribution::new(&[], &messages).contains, [false; 3]);
    }

    /// Returns the results of messages of one part each after a run, and remembers them.
    fn end(
        memory: &mut UndeliveredMemory,
        bodies: &[&str],
        end: &UndeliveredEnd,
    ) -> Vec<MessageResult> {
        let bodies: Vec<Bytes> =
            bodies.iter().map(|body| Bytes::copy_from_slice(body.as_bytes())).collect();
        let contents: Vec<_> =
            bodies.iter().map(|body| message(vec![body.clone()], false)).collect();
        let mut results = vec![MessageResult::Done; bodies.len()];
        memory.on_end(&bodies, &contents, end, &mut results);
        results
    }

    fn are_done(results: &[MessageResult]) -> Vec<bool> {
        results.iter().map(MessageResult::is_done).collect()
    }

    #[test]
    fn a_message_whose_event_cannot_be_found_fails_each_time_it_comes() {
        let (one, other) = (records(&["a-1"]), records(&["b-1"]));
        let event = UndeliveredEvent { alert: "1".to_owned(), event_id: "a hash".to_owned() };
        let undelivered = UndeliveredEnd { events: vec![event], ..UndeliveredEnd::default() };
        let mut memory = UndeliveredMemory::default();
        for _ in 0..3 {
            assert_eq!(are_done(&end(&mut memory, &[&one], &undelivered)), [false]);
            assert_eq!(are_done(&end(&mut memory, &[&other], &undelivered)), [true]);
        }
        assert_eq!(are_done(&end(&mut memory, &[&one], &UndeliveredEnd::default())), [true]);
    }

    #[test]
    fn a_checkpoint_that_cannot_be_read_fails_what_was_read() {
        let unknown = UndeliveredEnd {
            cause: "no disk".to_owned(),
            is_unknown: true,
            ..UndeliveredEnd::default()
        };
        let mut memory = UndeliveredMemory::default();
        let results = end(&mut memory, &[&records(&["a-1"])], &unknown);
        let cause = "whether its alerts are delivered is not known: no disk".to_owned();
        assert_eq!(results, [MessageResult::Failed { cause }]);
    }

    #[test]
    fn what_cannot_be_searched_counts() {
        let damaged = packed(&records(&["a-1"])).slice(..20);
        let messages = [message(vec![damaged], false), message(Vec::new(), true)];
        let attribution = Attribution::new(&["x".to_owned()], &messages);
        assert_eq!(attribution.contains, [true, true]);
        assert!(attribution.found.is_empty());
    }
}
