//! Many rules at once, indexed by the events that they select and the fields that they require.
//!
//! ```text
//!  source and name ─▶ Shortlist ─▶ FieldIndex of each bucket ─▶ candidates ─▶ Rule::verdict
//!  of the event       the buckets that an event concerns         often none    condition, exceptions
//! ```
//!
//! Input: rules; an event. Output: the verdicts of the rules that select the event.
//! Invariant: the result is that of evaluating each rule on its own. A rule is looked at only on events that it selects,
//! whose name and source its condition can be true for, and whose fields meet one of its requirements.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use serde_json::{Value, json};

use super::{
    Rule, RuleCondition, Verdict,
    bound::{Bound, Bounds},
    candidates::{
        BucketNumber, Candidates, DecidingFields, DecidingValues, FieldNumbers, FieldOfTable,
        FieldsOfCache, RawEvent, SHORTLIST_BUCKETS, Shortlist,
    },
    field_index::{FieldIndex, FieldIndexBuilder, FieldMatches, GroupNumber, RuleNumber},
    raw_field::RawField,
    value_cache::{CachedRules, ValueCache},
};
use crate::filter::{
    event_part::{EventPart, Extent, MemberPath},
    eventbridge::EventView,
    field_test::{FieldTest, OnNull, PathStep, Requirement, TextTest, lowercase},
    flat,
    jmespath::Expression,
};

/// The least number of rules that look at the same fields for which results are remembered.
const MIN_CACHED_RULES: usize = 4;

/// The most fields for which results are remembered. More have too many combinations.
const MAX_CACHED_FIELDS: usize = 6;

/// The most fields of which a rule requires one that is there. Each of them is looked for.
const MAX_PRESENT_FIELDS: usize = 16;

/// Rules with an index.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    /// What is known about each of them without an event.
    bounds: Vec<RuleBounds>,
    buckets: Vec<Bucket>,
    /// Buckets of rules that are bound to event names, and to nothing but sources, as events write them.
    by_name: HashMap<String, BucketNumber>,
    by_source: HashMap<String, BucketNumber>,
    /// The same for Sigma rules, which compare without regard to case, in small letters.
    by_name_in_any_case: HashMap<String, BucketNumber>,
    by_source_in_any_case: HashMap<String, BucketNumber>,
    /// The bucket of rules for all events.
    unbound: Option<BucketNumber>,
    /// Rules that fail together.
    groups: Vec<Vec<RuleNumber>>,
}

/// What is known about a rule without an event.
#[derive(Debug)]
struct RuleBounds {
    bounds: Bounds,
    /// The group in which the rule fails.
    group: Option<GroupNumber>,
}

/// Rules that the same events concern.
#[derive(Debug, Default)]
struct Bucket {
    rules: Vec<RuleNumber>,
    index: FieldIndex,
    /// Rules that are evaluated once for each combination of values.
    cached: Vec<CachedRules>,
    /// The parts of events that conditions and exceptions look at; `None` if that may be the whole event.
    parts: Option<Vec<EventPart>>,
}

/// What the evaluation of rules on an event finds.
#[derive(Clone, Debug)]
pub enum Finding<'s> {
    /// The verdict of a rule; never [`Verdict::NoMatch`].
    Verdict(usize, &'s Rule, Verdict),
    /// All rules of a group fail, because a field is missing that they look at first.
    FailedGroup(usize),
}

thread_local! {
    /// Memory that evaluations on a thread use one after the other.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Memory of evaluations.
#[derive(Debug, Default)]
struct Scratch {
    matches: FieldMatches,
    cache: ValueCache,
}

/// The number of the next [`CachedRules`].
static NEXT_CACHED: AtomicU64 = AtomicU64::new(0);

impl RuleSet {
    /// Creates the index of rules.
    pub fn new(rules: Vec<Rule>) -> Self {
        let mut builder = RuleSetBuilder::new(rules);
        builder.assign();
        builder.build()
    }

    /// Returns the rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the rules that an event with this source and name may concern, or `None` if there are none. Such an event
    /// needs no parsing.
    pub fn shortlist(&self, event_source: &str, event_name: &str) -> Option<Shortlist> {
        let in_any_case = |map: &HashMap<String, BucketNumber>, text: &str| {
            if map.is_empty() { None } else { map.get(&lowercase(text)).copied() }
        };
        let buckets = [
            self.by_name.get(event_name).copied(),
            self.by_source.get(event_source).copied(),
            in_any_case(&self.by_name_in_any_case, event_name),
            in_any_case(&self.by_source_in_any_case, event_source),
            self.unbound,
        ];
        let shortlist = Shortlist { buckets };
        self.listed(shortlist)
            .any(|bucket| {
                bucket
                    .rules
                    .iter()
                    .any(|rule| self.concerned(*rule, event_source, event_name).is_some())
            })
            .then_some(shortlist)
    }

    /// Returns whether there is a rule that an event with this source and name may concern.
    pub fn has_candidate(&self, event_source: &str, event_name: &str) -> bool {
        self.shortlist(event_source, event_name).is_some()
    }

    /// Returns a rule if it selects events with this source and name, and can be true for them.
    fn concerned(
        &self,
        number: RuleNumber,
        event_source: &str,
        event_name: &str,
    ) -> Option<(&Rule, &RuleBounds)> {
        let (rule, bounds) = (self.rules.get(number)?, self.bounds.get(number)?);
        let is_concerned = bounds.bounds.names.contains(event_name)
            && bounds.bounds.sources.contains(event_source)
            && rule.selection.selects(event_source, event_name);
        is_concerned.then_some((rule, bounds))
    }

    fn listed(&self, shortlist: Shortlist) -> impl Iterator<Item = &Bucket> {
        let numbers = shortlist.buckets.into_iter().flatten();
        numbers.filter_map(|number| self.buckets.get(number as usize))
    }

    /// Returns the parts of an event that the rules of a shortlist look at, or `None` if that may be the whole event.
    pub fn required_parts(&self, shortlist: Shortlist) -> Option<Vec<EventPart>> {
        let mut parts = vec![EventPart::value(["eventSource"]), EventPart::value(["eventName"])];
        for bucket in self.listed(shortlist) {
            parts.extend(bucket.parts.as_ref()?.iter().cloned());
        }
        Some(parts)
    }

    /// Returns the parts of an event that matches of the rules of a shortlist are grouped by, or `None` if that may be the whole
    /// event.
    pub fn grouping_parts(&self, shortlist: Shortlist) -> Option<Vec<EventPart>> {
        let numbers = self.listed(shortlist).flat_map(|bucket| &bucket.rules);
        let rules = numbers.filter_map(|number| self.rules.get(*number));
        let mut parts = Vec::new();
        for expression in rules.flat_map(|rule| rule.grouping.expressions()) {
            parts.extend(with_flat_keys(expression.value_parts()?, expression)?);
        }
        Some(parts)
    }

    /// Returns the rules of a group with their numbers.
    pub fn group(&self, group: usize) -> impl Iterator<Item = (usize, &Rule)> {
        let rules = self.groups.get(group).into_iter().flatten();
        rules.filter_map(|number| Some((*number, self.rules.get(*number)?)))
    }

    /// Calls `visit` with what is found on an event. Rules that select the event and are not mentioned do not match.
    pub fn find<'s, 'a>(&'s self, event: impl Into<EventView<'a>>, visit: impl FnMut(Finding<'s>)) {
        let view: EventView<'a> = event.into();
        let shortlist = self.shortlist(text(view, "eventSource"), text(view, "eventName"));
        if let Some(shortlist) = shortlist {
            self.find_listed(shortlist, view, visit);
        }
    }

    /// Calls `visit` with what is found on an event, as [`find`](Self::find) does, given the shortlist for its source and name.
    pub fn find_listed<'s>(
        &'s self,
        shortlist: Shortlist,
        view: EventView<'_>,
        mut visit: impl FnMut(Finding<'s>),
    ) {
        let (event_source, event_name) = (text(view, "eventSource"), text(view, "eventName"));
        let mut scratch = SCRATCH.take();
        let Scratch { matches, cache } = &mut scratch;
        matches.clear();
        // A member without a name makes several members of one key of the flat view.
        let is_ambiguous = view.detail().get("").is_some();
        for bucket in self.listed(shortlist) {
            if is_ambiguous {
                matches.candidates.extend(&bucket.rules);
            } else {
                bucket.index.find(view.detail(), matches);
                for cached in &bucket.cached {
                    let rules =
                        cache.find(cached, view.detail(), |rule| self.may_match(rule, view));
                    matches.candidates.extend(&rules[..]);
                }
            }
        }
        self.keep_concerned(&mut matches.candidates, event_source, event_name);
        self.visit_verdicts(&matches.candidates, &matches.failed, view, &mut visit);
        SCRATCH.set(scratch);
    }

    /// Sorts candidates, and keeps those that select events with this source and name, and can be true for them.
    fn keep_concerned(
        &self,
        candidates: &mut Vec<RuleNumber>,
        event_source: &str,
        event_name: &str,
    ) {
        candidates.sort_unstable();
        candidates.dedup();
        candidates.retain(|rule| self.concerned(*rule, event_source, event_name).is_some());
    }

    fn visit_verdicts<'s>(
        &'s self,
        candidates: &[RuleNumber],
        failed: &[GroupNumber],
        view: EventView<'_>,
        visit: &mut impl FnMut(Finding<'s>),
    ) {
        for number in candidates {
            let (Some(rule), Some(bounds)) = (self.rules.get(*number), self.bounds.get(*number))
            else {
                continue;
            };
            match rule.verdict(view) {
                Verdict::NoMatch => {}
                // It is reported with its group.
                Verdict::Failed(_) if bounds.group.is_some_and(|group| failed.contains(&group)) => {
                }
                verdict => visit(Finding::Verdict(*number, rule, verdict)),
            }
        }
        for group in failed {
            visit(Finding::FailedGroup(*group));
        }
    }

    /// Returns the fields that decide which rules of a shortlist are candidates, or `None` if an element of an array does.
    pub fn deciding_fields(&self, shortlist: Shortlist) -> Option<DecidingFields> {
        let mut numbers = FieldNumbers::default();
        let (mut tables, mut caches) = (Vec::new(), Vec::new());
        for (bucket, listed) in self.listed(shortlist).enumerate() {
            for (path, table) in listed.index.table_paths()? {
                let field = *numbers.along(&path).last()?;
                tables.push(FieldOfTable { field, bucket, table });
            }
            for (position, cached) in listed.cached.iter().enumerate() {
                let paths = cached.paths.iter().map(|path| numbers.along(path)).collect();
                caches.push(FieldsOfCache { bucket, position, paths });
            }
        }
        Some(numbers.into_fields(shortlist, tables, caches))
    }

    /// Finds the rules that are to be evaluated on an event, of which [`judge`](Self::judge) has the verdicts. Returns `None` if the
    /// event has to be parsed as a whole.
    pub fn find_candidates(
        &self,
        fields: &DecidingFields,
        event: &RawEvent<'_>,
        found: &mut Candidates,
    ) -> Option<()> {
        let mut scratch = SCRATCH.take();
        let decided = self.collect_candidates(fields, event, &mut scratch);
        self.keep_concerned(&mut scratch.matches.candidates, event.source, event.name);
        found.take(&mut scratch.matches);
        SCRATCH.set(scratch);
        decided
    }

    fn collect_candidates(
        &self,
        fields: &DecidingFields,
        event: &RawEvent<'_>,
        scratch: &mut Scratch,
    ) -> Option<()> {
        let Scratch { matches, cache } = scratch;
        matches.clear();
        let buckets: [Option<&Bucket>; SHORTLIST_BUCKETS] = {
            let mut listed = self.listed(fields.shortlist);
            std::array::from_fn(|_| listed.next())
        };
        for bucket in buckets.into_iter().flatten() {
            matches.candidates.extend(bucket.index.always());
        }
        for FieldOfTable { field, bucket, table } in &fields.tables {
            if let Some(bucket) = buckets[*bucket] {
                bucket.index.find_field(*table, (event.field)(*field), matches);
            }
        }
        for FieldsOfCache { bucket, position, paths } in &fields.cached {
            let Some(cached) = buckets[*bucket].and_then(|bucket| bucket.cached.get(*position))
            else {
                continue;
            };
            let rules = cache.find_by_text(cached, event.field, paths, || {
                let parts = (event.parts)()?;
                Some(move |rule| self.may_match(rule, EventView::new(&parts)))
            })?;
            matches.candidates.extend(&rules[..]);
        }
        Some(())
    }

    /// Calls `visit` with the verdicts of candidates, given an event with at least the parts that they look at.
    pub fn judge<'s>(
        &'s self,
        candidates: &Candidates,
        view: EventView<'_>,
        mut visit: impl FnMut(Finding<'s>),
    ) {
        self.visit_verdicts(&candidates.rules, &candidates.failed, view, &mut visit);
    }

    /// Returns the parts of an event that decide about the verdict of a rule, or `None` if that may be the whole event.
    pub fn rule_parts(&self, number: usize) -> Option<Vec<EventPart>> {
        self.rules.get(number).and_then(required_parts)
    }

    /// Returns the values that decide about the verdicts of rules on events without an envelope. `None` if they are many, or if parts of
    /// values decide.
    pub fn deciding_values(&self, numbers: &[usize]) -> Option<DecidingValues> {
        let parts: Option<Vec<Vec<EventPart>>> =
            numbers.iter().map(|number| self.rule_parts(*number)).collect();
        let is_part = |part: &EventPart| {
            part.path.is_empty() || matches!(part.extent, Extent::MembersNamed(_))
        };
        let parts = parts?.concat();
        if parts.iter().any(is_part) {
            return None;
        }
        let mut paths: Vec<MemberPath> = parts.into_iter().map(|part| part.path).collect();
        paths.sort_unstable();
        paths.dedup();
        if paths.len() > MAX_CACHED_FIELDS {
            return None;
        }
        let number = NEXT_CACHED.fetch_add(1, Relaxed);
        Some(DecidingValues::new(CachedRules { number, paths, rules: numbers.to_vec() }))
    }

    /// Returns the numbers of those rules that fire on an event, given the fields that lead to its values. `parts` parses what the rules
    /// look at. `None` if the rules have to be evaluated, because one fails or because the event has to be parsed.
    pub fn find_firing<'t>(
        &self,
        values: &DecidingValues,
        field: impl Fn(usize) -> RawField<'t>,
        parts: impl FnOnce() -> Option<Value>,
    ) -> Option<Rc<[usize]>> {
        let mut scratch = SCRATCH.take();
        let firing = scratch.cache.find_firing(&values.cached, field, &values.paths, || {
            let parts = parts()?;
            let view = EventView::new(&parts);
            let rules = values.cached.rules.iter();
            let verdicts = rules.filter_map(|number| {
                let verdict = self.rules.get(*number)?.verdict(view);
                match verdict {
                    Verdict::Fires(_) => Some(Some(*number)),
                    Verdict::Failed(_) => Some(None),
                    Verdict::Excepted(_) | Verdict::NoMatch => None,
                }
            });
            verdicts.collect()
        });
        SCRATCH.set(scratch);
        firing
    }

    /// Returns whether the condition of a rule is not false.
    fn may_match(&self, number: RuleNumber, view: EventView<'_>) -> bool {
        let condition = self.rules.get(number).and_then(|rule| rule.condition.as_ref());
        condition.is_none_or(|condition| !matches!(condition.is_true(view), Ok(false)))
    }

    /// Calls `visit` with each rule that selects the event and matches or fails, its number and its verdict.
    pub fn evaluate<'s, 'a>(
        &'s self,
        event: impl Into<EventView<'a>>,
        mut visit: impl FnMut(usize, &'s Rule, Verdict),
    ) {
        let view: EventView<'a> = event.into();
        self.find(view, |finding| match finding {
            Finding::Verdict(number, rule, verdict) => visit(number, rule, verdict),
            Finding::FailedGroup(group) => {
                for (number, rule) in self.group(group) {
                    visit(number, rule, rule.verdict(view));
                }
            }
        });
    }
}

/// Returns a text at the top level of an event; an empty one if there is none.
fn text<'a>(view: EventView<'a>, key: &str) -> &'a str {
    view.detail().get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Builds a [`RuleSet`].
struct RuleSetBuilder {
    set: RuleSet,
    /// The requirements of each rule.
    requirements: Vec<Vec<Requirement>>,
    /// How many rules have a test.
    shares: HashMap<FieldTest, usize>,
    indexes: Vec<FieldIndexBuilder>,
    /// Rules that no text decides about, by bucket and the fields that they look at.
    undecided: HashMap<(BucketNumber, Vec<MemberPath>), Vec<RuleNumber>>,
}

impl RuleSetBuilder {
    fn new(rules: Vec<Rule>) -> Self {
        let requirements: Vec<Vec<Requirement>> = rules.iter().map(requirements).collect();
        let mut shares = HashMap::new();
        for test in requirements.iter().flatten().flatten() {
            *shares.entry(test.clone()).or_insert(0) += 1;
        }
        let bounds =
            rules.iter().map(|rule| RuleBounds { bounds: Bounds::of(rule), group: None }).collect();
        let set = RuleSet { rules, bounds, ..RuleSet::default() };
        Self { set, requirements, shares, indexes: Vec::new(), undecided: HashMap::new() }
    }

    /// Assigns each rule to buckets.
    fn assign(&mut self) {
        for number in 0..self.set.rules.len() {
            let Bounds { names, sources } = self.set.bounds[number].bounds.clone();
            let set = &mut self.set;
            let (keys, map, is_decided) = match (names, sources) {
                (Bound::Exactly(names), sources) => {
                    (names, &mut set.by_name, sources == Bound::Any)
                }
                (Bound::InAnyCase(names), _) => (names, &mut set.by_name_in_any_case, false),
                (Bound::Any, Bound::Exactly(sources)) => (sources, &mut set.by_source, true),
                (Bound::Any, Bound::InAnyCase(sources)) => {
                    (sources, &mut set.by_source_in_any_case, false)
                }
                (Bound::Any, Bound::Any) => {
                    let buckets = &mut set.buckets;
                    let bucket = *set.unbound.get_or_insert_with(|| new_bucket(buckets));
                    self.add(number, bucket, GroupUse::Allowed);
                    continue;
                }
            };
            let buckets = &mut set.buckets;
            let keys: Vec<BucketNumber> = keys
                .into_iter()
                .map(|key| *map.entry(key).or_insert_with(|| new_bucket(buckets)))
                .collect();
            // In several buckets, the rule would be in several groups.
            let group_use =
                if is_decided && keys.len() == 1 { GroupUse::Allowed } else { GroupUse::Forbidden };
            for bucket in keys {
                self.add(number, bucket, group_use);
            }
        }
    }

    fn add(&mut self, number: RuleNumber, bucket: BucketNumber, group_use: GroupUse) {
        self.indexes.resize_with(self.set.buckets.len(), FieldIndexBuilder::default);
        self.set.buckets[bucket as usize].rules.push(number);
        match self.cacheable_fields(number) {
            Some(fields) => self.undecided.entry((bucket, fields)).or_default().push(number),
            None => self.add_to_index(number, bucket, group_use),
        }
    }

    /// Returns the fields that a condition looks at, if no test of a text decides about it.
    fn cacheable_fields(&self, number: RuleNumber) -> Option<Vec<MemberPath>> {
        let decides = |requirement: &Requirement| {
            requirement.iter().all(|test| {
                !matches!(test.test, TextTest::Any) && test.on_null != OnNull::Undecided
            })
        };
        if self.requirements[number].iter().any(decides) {
            return None;
        }
        let condition = self.set.rules[number].condition.as_ref()?;
        let mut fields: Vec<MemberPath> =
            parts_of_detail(condition)?.into_iter().map(|part| part.path).collect();
        fields.sort_unstable();
        fields.dedup();
        (fields.len() <= MAX_CACHED_FIELDS).then_some(fields)
    }

    fn add_to_index(&mut self, number: RuleNumber, bucket: BucketNumber, group_use: GroupUse) {
        let position = bucket as usize;
        let narrowest =
            self.requirements[number].iter().min_by_key(|requirement| self.breadth(requirement));
        let Some(mut requirement) = narrowest.cloned() else {
            self.indexes[position].add_always(number);
            return;
        };
        let fails = requirement.iter().filter(|test| test.on_null == OnNull::Fails).count();
        if group_use == GroupUse::Forbidden || fails > 1 {
            for test in requirement.iter_mut().filter(|test| test.on_null == OnNull::Fails) {
                test.on_null = OnNull::Undecided;
            }
        }
        self.indexes[position].add(number, &requirement, &mut self.set.groups);
    }

    /// Returns how many events a requirement probably lets pass: the smaller, the fewer. A text that many rules require is
    /// probably one that many events have.
    fn breadth(&self, requirement: &Requirement) -> usize {
        requirement
            .iter()
            .map(|test| {
                let weight = match &test.test {
                    TextTest::Never => 1,
                    TextTest::Equals(_) => 4,
                    TextTest::StartsWith(part)
                    | TextTest::EndsWith(part)
                    | TextTest::Contains(part) => 8 + 64 / part.text.len().max(1),
                    TextTest::Any => 10_000,
                };
                weight * self.shares.get(test).copied().unwrap_or(1)
            })
            .sum()
    }

    fn build(mut self) -> RuleSet {
        let mut undecided: Vec<_> = std::mem::take(&mut self.undecided).into_iter().collect();
        undecided.sort_unstable();
        for ((bucket, paths), rules) in undecided {
            if rules.len() < MIN_CACHED_RULES {
                for rule in rules {
                    self.add_to_index(rule, bucket, GroupUse::Forbidden);
                }
                continue;
            }
            let number = NEXT_CACHED.fetch_add(1, Relaxed);
            self.set.buckets[bucket as usize].cached.push(CachedRules { number, paths, rules });
        }
        let Self { mut set, indexes, .. } = self;
        for (bucket, index) in set.buckets.iter_mut().zip(indexes) {
            bucket.index = index.build();
            let parts: Option<Vec<Vec<EventPart>>> = bucket
                .rules
                .iter()
                .map(|rule| set.rules.get(*rule).and_then(required_parts))
                .collect();
            bucket.parts = parts.map(|parts| {
                let mut unique: Vec<EventPart> = Vec::new();
                let mut seen = HashSet::new();
                for part in parts.into_iter().flatten() {
                    if seen.insert((part.path.clone(), format!("{:?}", part.extent))) {
                        unique.push(part);
                    }
                }
                unique
            });
        }
        for (group, rules) in set.groups.iter().enumerate() {
            for rule in rules {
                if let Some(bounds) = set.bounds.get_mut(*rule) {
                    bounds.group = Some(group);
                }
            }
        }
        set
    }
}

/// Whether a rule can fail together with the others of its bucket: only if the rule concerns each event of the bucket.
#[derive(Clone, Copy, PartialEq)]
enum GroupUse {
    Allowed,
    Forbidden,
}

fn new_bucket(buckets: &mut Vec<Bucket>) -> BucketNumber {
    buckets.push(Bucket::default());
    BucketNumber::try_from(buckets.len() - 1).unwrap_or(BucketNumber::MAX)
}

/// Returns the requirements of a rule. Where its condition has none and is not true on an event without any of the fields
/// that it looks at, one of these has to be there.
fn requirements(rule: &Rule) -> Vec<Requirement> {
    let Some(condition) = &rule.condition else { return Vec::new() };
    let requirements = match condition {
        RuleCondition::Expression(expression) => expression.requirements(),
        RuleCondition::Sigma(detection) => detection.requirements(),
    };
    if !requirements.is_empty() {
        return requirements;
    }
    let Some(parts) = parts_of_detail(condition) else { return requirements };
    let event = json!({});
    let is_false = matches!(condition.is_true(EventView::new(&event)), Ok(false));
    if !is_false || parts.is_empty() || parts.len() > MAX_PRESENT_FIELDS {
        return requirements;
    }
    let present = |part: &EventPart| {
        FieldTest::present(part.path.iter().cloned().map(PathStep::Member).collect())
    };
    vec![parts.iter().map(present).collect()]
}

/// Returns the parts of the event that a condition looks at, if it looks at nothing that an envelope may have instead.
fn parts_of_detail(condition: &RuleCondition) -> Option<Vec<EventPart>> {
    match condition {
        RuleCondition::Expression(expression) if expression.looks_at_envelope() => None,
        condition => condition_parts(condition),
    }
}

fn condition_parts(condition: &RuleCondition) -> Option<Vec<EventPart>> {
    match condition {
        RuleCondition::Expression(expression) => expression_parts(expression),
        RuleCondition::Sigma(detection) => detection.required_parts(),
    }
}

/// Returns the parts of an event that an expression looks at, directly and through the flat view.
fn expression_parts(expression: &Expression) -> Option<Vec<EventPart>> {
    with_flat_keys(expression.required_parts()?, expression)
}

/// Adds the parts of an event that an expression looks at through the flat view.
fn with_flat_keys(mut parts: Vec<EventPart>, expression: &Expression) -> Option<Vec<EventPart>> {
    let keys = expression.flat_keys()?;
    for key in &keys {
        let path = flat::field_path(key)?;
        let names = path.into_iter().map_while(|step| match step {
            PathStep::Member(name) => Some(name),
            PathStep::Element(_) => None,
        });
        parts.push(EventPart::value(names));
    }
    if !keys.is_empty() {
        parts.push(EventPart::value([""]));
    }
    parts.iter().all(|part| !part.path.is_empty()).then_some(parts)
}

/// Returns the parts of an event that decide about a verdict.
fn required_parts(rule: &Rule) -> Option<Vec<EventPart>> {
    let mut parts = match &rule.condition {
        Some(condition) => condition_parts(condition)?,
        None => Vec::new(),
    };
    for exception in &rule.exceptions {
        parts.extend(expression_parts(exception)?);
    }
    Some(parts)
}
