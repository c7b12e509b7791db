//! Parses only those parts of a record that decide about rules.
//!
//! Input: the source and name of a record; its members, as a scan found them.
//! Output: the rules that the record may concern, and an event with nothing but the parts that these rules look at, or the rules that
//! fire.
//! Invariant: rules have the same verdicts and groups on it as on the whole event. Memory is bounded.

use std::{cell::OnceCell, collections::HashMap, rc::Rc, sync::Arc};

use serde_json::Value;

use super::deciding_text::{FieldFinder, FoundFields, RecordText};
use crate::{
    filter::{
        event_part::{EventPart, EventParts},
        query::EventHeader,
        rule::{Candidates, DecidingFields, DecidingValues, RawEvent, RuleSet, Shortlist},
    },
    pipeline::search::projection::Projection,
};

/// The most projections and names of events that are kept; beyond, all are built again when they are needed. 1,000 rules for as
/// many names and sources have about so many.
const MAX_KNOWN: usize = 4_096;

/// The longest source and name that are kept. Those of AWS have up to 100 characters.
const MAX_NAME_BYTES: usize = 256;

/// The most candidates of a record whose parts are known apart from those of all rules of their shortlist.
const MAX_CANDIDATES: usize = 8;

/// The projections of a worker.
pub(super) struct Projections {
    rules: Arc<RuleSet>,
    /// By source, then by name; `None` if no rule is concerned.
    shortlists: HashMap<String, HashMap<String, Option<Listed>>>,
    names: usize,
    known: Vec<ShortlistProjections>,
    numbers: HashMap<Shortlist, usize>,
    /// What is known of few candidates, by their numbers, found when they are first the candidates.
    candidate_rules: HashMap<Vec<usize>, CandidateRules>,
    /// Where the fields of the current record are.
    found: FoundFields,
    candidates: Candidates,
}

/// What is known of rules that are candidates together.
struct CandidateRules {
    /// What their conditions and exceptions look at; `None` if that may be the whole event.
    parts: Option<Projection>,
    /// The values that decide about them, as long as many events have the same.
    values: Option<RepeatedValues>,
}

/// Values that many events have.
struct RepeatedValues {
    values: DecidingValues,
    finder: FieldFinder,
    lookups: u32,
    /// Lookups of values that were not met before.
    misses: u32,
}

/// The number of lookups after which values are given up that rarely repeat.
const TRIED_LOOKUPS: u32 = 1_000;

/// The rules that events of a source and name may concern.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    pub(super) shortlist: Shortlist,
    /// Of its projections.
    number: usize,
}

/// What the rules of a shortlist look at. `None` stands for the whole event.
struct ShortlistProjections {
    /// The fields that decide which rules are candidates; `None` if it takes a parsed event.
    fields: Option<(DecidingFields, FieldFinder)>,
    /// The parts that conditions and exceptions look at.
    verdicts: Option<Projection>,
    /// The parts that matches are grouped by, found when a rule first fires.
    groups: OnceCell<Option<Projection>>,
}

impl Projections {
    pub(super) fn new(rules: Arc<RuleSet>) -> Self {
        Self {
            rules,
            shortlists: HashMap::new(),
            names: 0,
            known: Vec::new(),
            numbers: HashMap::new(),
            candidate_rules: HashMap::new(),
            found: FoundFields::default(),
            candidates: Candidates::default(),
        }
    }

    /// Returns the rules that a record of this source and name may concern, or `None` if there are none.
    pub(super) fn list(&mut self, event_source: &str, event_name: &str) -> Option<Listed> {
        let known = self.shortlists.get(event_source).and_then(|names| names.get(event_name));
        if let Some(known) = known {
            return *known;
        }
        if self.names >= MAX_KNOWN || self.known.len() >= MAX_KNOWN {
            self.shortlists.clear();
            self.names = 0;
            self.known.clear();
            self.numbers.clear();
        }
        let shortlist = self.rules.shortlist(event_source, event_name);
        let listed =
            shortlist.map(|shortlist| Listed { shortlist, number: self.number(shortlist) });
        if event_source.len() + event_name.len() <= MAX_NAME_BYTES {
            let names = self.shortlists.entry(event_source.to_owned()).or_default();
            names.insert(event_name.to_owned(), listed);
            self.names += 1;
        }
        listed
    }

    fn number(&mut self, shortlist: Shortlist) -> usize {
        let Self { rules, known, numbers, .. } = self;
        *numbers.entry(shortlist).or_insert_with(|| {
            let verdicts = rules.required_parts(shortlist).map(projection);
            let fields = rules.deciding_fields(shortlist).map(|fields| {
                let finder = FieldFinder::new(fields.paths());
                (fields, finder)
            });
            known.push(ShortlistProjections { fields, verdicts, groups: OnceCell::new() });
            known.len() - 1
        })
    }

    /// Finds the rules that may match a record. `None` if the record has to be parsed.
    pub(super) fn find_candidates(
        &mut self,
        listed: Listed,
        header: &EventHeader<'_>,
        record: RecordText<'_>,
    ) -> Option<&Candidates> {
        let Self { rules, known, found, candidates, .. } = self;
        let known = known.get(listed.number)?;
        let (fields, finder) = known.fields.as_ref()?;
        finder.find(record, found)?;
        let event = RawEvent {
            source: header.event_source?,
            name: header.event_name?,
            field: &|field| found.get(record.text, field),
            parts: &|| known.parse_verdict_parts(record),
        };
        rules.find_candidates(fields, &event, candidates)?;
        Some(candidates)
    }

    /// Returns the numbers of the candidates that fire on a record that was delivered without an envelope, if the values that decide are
    /// known. `None` if the candidates have to be evaluated.
    pub(super) fn find_firing(&mut self, record: RecordText<'_>) -> Option<Rc<[usize]>> {
        let Self { rules, candidate_rules, found, candidates, .. } = self;
        if candidates.has_failures() {
            return None;
        }
        let CandidateRules { parts, values: known } =
            known_candidates(candidate_rules, rules, candidates.rules())?;
        let RepeatedValues { values, finder, lookups, misses } = known.as_mut()?;
        finder.find(record, found)?;
        *lookups += 1;
        let field = |field| found.get(record.text, field);
        let firing = rules.find_firing(values, field, || {
            *misses += 1;
            parts.as_ref()?.parse(record.text, record.range(), record.members)
        });
        if *lookups == TRIED_LOOKUPS {
            let is_rare = *misses > TRIED_LOOKUPS / 2;
            (*lookups, *misses) = (0, 0);
            if is_rare {
                *known = None;
            }
        }
        firing
    }

    /// Returns the candidates with the parts of a record that they look at: null if there are none. `None` if the record has to be parsed.
    pub(super) fn parse_candidate_parts(
        &mut self,
        listed: Listed,
        record: RecordText<'_>,
    ) -> Option<(&Candidates, Value)> {
        let Self { rules, known, candidate_rules, candidates, .. } = self;
        let parts = match candidates.rules() {
            [] => Value::Null,
            few if few.len() <= MAX_CANDIDATES => {
                let known = known_candidates(candidate_rules, rules, few)?;
                let parts = known.parts.as_ref()?;
                parts.parse(record.text, record.range(), record.members)?
            }
            _ => known.get(listed.number)?.parse_verdict_parts(record)?,
        };
        Some((candidates, parts))
    }

    /// Returns the parts of a record that decide about the verdicts of its rules, or `None` if it has to be parsed as a whole.
    pub(super) fn parse_verdict_parts(
        &self,
        listed: Listed,
        record: RecordText<'_>,
    ) -> Option<Value> {
        self.known.get(listed.number)?.parse_verdict_parts(record)
    }

    /// Returns the parts of a record that matches are grouped by, or `None` if it has to be parsed as a whole.
    pub(super) fn parse_group_parts(
        &self,
        listed: Listed,
        record: RecordText<'_>,
    ) -> Option<Value> {
        let known = self.known.get(listed.number)?;
        let groups = known
            .groups
            .get_or_init(|| self.rules.grouping_parts(listed.shortlist).map(projection));
        groups.as_ref()?.parse(record.text, record.range(), record.members)
    }
}

impl ShortlistProjections {
    fn parse_verdict_parts(&self, record: RecordText<'_>) -> Option<Value> {
        self.verdicts.as_ref()?.parse(record.text, record.range(), record.members)
    }
}

/// Returns what is known of candidates; `None` if there are none, or many.
fn known_candidates<'k>(
    known: &'k mut HashMap<Vec<usize>, CandidateRules>,
    rules: &RuleSet,
    numbers: &[usize],
) -> Option<&'k mut CandidateRules> {
    if numbers.is_empty() || numbers.len() > MAX_CANDIDATES {
        return None;
    }
    if !known.contains_key(numbers) {
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        let values = rules.deciding_values(numbers).map(|values| {
            let finder = FieldFinder::new(values.fields());
            RepeatedValues { values, finder, lookups: 0, misses: 0 }
        });
        known.insert(
            numbers.to_vec(),
            CandidateRules { parts: parts_of_rules(rules, numbers), values },
        );
    }
    known.get_mut(numbers)
}

/// Returns the projection to what the conditions and exceptions of rules look at, or `None` if that may be the whole event.
fn parts_of_rules(rules: &RuleSet, numbers: &[usize]) -> Option<Projection> {
    let parts: Option<Vec<Vec<EventPart>>> =
        numbers.iter().map(|number| rules.rule_parts(*number)).collect();
    Some(projection(parts?.concat()))
}

fn projection(parts: Vec<EventPart>) -> Projection {
    Projection::new(&EventParts { parts, ..EventParts::default() })
}
