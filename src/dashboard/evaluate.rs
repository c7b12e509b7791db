//! The answers of panels, computed from documents without an engine.
//!
//! Input: documents as they are indexed, a few hundred at a time, from any number of threads. Output: a [`PanelAnswer`] for each
//! panel, and the latest documents.
//! Invariant: the answer is that of an engine over the same documents. Memory is bounded, whatever the documents contain and
//! however many threads count: beyond [`MAX_GROUPS`] groups of all panels, those with more than their share forget their rarest,
//! beyond [`MAX_VALUES`] different values a number stays as it is, and such an answer is marked as incomplete.
//! Deliberately absent: repeated documents, which the caller leaves out.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, hash_map::Entry},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use serde_json::Value;

use super::{
    answer::{AnswerRow, GroupKey, PanelAnswer},
    definition::{Dashboards, Data, Panel, PanelBucket, PanelMetric, SortOrder, TIME_FIELD},
    document_fields::{ADDRESS_FIELD, DocumentFields, FieldSlots, FieldValue, Slot, address_bytes},
    hashed_key::{HashedMap, HashedSet},
    kql::KqlExpression,
    latest::LatestDocuments,
    time_scale::TimeScale,
};

/// Maximum number of groups that all panels together hold, before those that hold more than their share forget some. At up to
/// 400 bytes a group and twice as many groups in the worst case, 100 MB.
const MAX_GROUPS: usize = 120_000;

/// Maximum number of different values that all panels together count, before those that have more than their share stop. At up
/// to 20 bytes a value and twice as many values in the worst case, 40 MB.
const MAX_VALUES: usize = 1_000_000;

/// The counters of all panels about events. Threads share it.
#[derive(Debug)]
pub struct PanelCounter<'d> {
    slots: FieldSlots,
    panels: Vec<Mutex<CountedPanel<'d>>>,
    seen: Mutex<SeenDocuments>,
    latest: Mutex<LatestDocuments>,
    groups: SharedLimit,
    values: SharedLimit,
    /// Where the next thread starts, so that threads do not wait for each other at the first panel.
    turn: AtomicUsize,
}

/// What is known about all documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeenDocuments {
    /// Number of documents that panels count.
    pub documents: u64,
    /// The times of the first and the last one, in milliseconds since 1970; `None` without documents.
    pub range: Option<(i64, i64)>,
    /// Number of documents without a time that an event can have. They are in no time range, so no panel counts them.
    pub undated: u64,
}

/// A limit for all panels together.
#[derive(Debug)]
struct SharedLimit {
    limit: usize,
    /// What a panel may hold once the limit is reached.
    share: usize,
    used: AtomicUsize,
}

impl SharedLimit {
    fn new(limit: usize, panels: usize) -> Self {
        Self { limit, share: limit / panels.max(1), used: AtomicUsize::new(0) }
    }

    /// Returns what a panel may hold now.
    fn of_panel(&self) -> usize {
        if self.used.load(Relaxed) > self.limit { self.share } else { self.limit }
    }

    fn update(&self, before: usize, after: usize) {
        if after >= before {
            self.used.fetch_add(after - before, Relaxed);
        } else {
            self.used.fetch_sub(before - after, Relaxed);
        }
    }
}

/// A panel and its counters.
#[derive(Debug)]
struct CountedPanel<'d> {
    panel: &'d Panel,
    query: KqlExpression<Slot>,
    /// The buckets from the outside to the inside.
    levels: Vec<Level>,
    metrics: Vec<(MetricKind, Option<Slot>)>,
    scale: TimeScale,
    root: Group,
    usage: Usage,
}

/// How many groups and values a panel holds, and may hold.
#[derive(Debug, Default)]
struct Usage {
    groups: usize,
    values: usize,
    max_groups: usize,
    max_values: usize,
    is_incomplete: bool,
}

/// What documents are grouped by at one level.
#[derive(Debug)]
enum Level {
    Time,
    Terms(Slot),
    Filters(Vec<KqlExpression<Slot>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MetricKind {
    Count,
    Unique,
    Min,
    Max,
    Sum,
}

/// The counters of a group of documents.
#[derive(Debug, Default)]
struct Group {
    documents: u64,
    metrics: Vec<MetricState>,
    inside: Subgroups,
}

/// The groups inside of a group.
#[derive(Debug, Default)]
enum Subgroups {
    /// There is no further level, or no document yet.
    #[default]
    None,
    Times(BTreeMap<i64, Group>),
    /// By the hash of the value.
    Terms(HashedMap<Term>),
    Filters(Vec<Group>),
}

/// A value, and the documents that have it.
#[derive(Debug)]
struct Term {
    group: Group,
    value: Box<str>,
}

/// The state of a metric.
#[derive(Debug)]
enum MetricState {
    /// Nothing but the number of documents.
    Count,
    /// Hashes of the values.
    Unique(HashedSet),
    /// The smallest or largest value, or the sum; `None` before the first one.
    Number(Option<f64>),
}

impl<'d> PanelCounter<'d> {
    /// Creates the counters of all panels about events.
    pub fn new(dashboards: &'d Dashboards) -> Self {
        Self::with_limits(dashboards, MAX_GROUPS, MAX_VALUES)
    }

    fn with_limits(dashboards: &'d Dashboards, max_groups: usize, max_values: usize) -> Self {
        let slots = FieldSlots::new(&dashboards.fields(Data::Events));
        let columns = dashboards.view(Data::Events).map(|view| view.search.columns.as_slice());
        let latest = LatestDocuments::new(columns.unwrap_or_default(), &slots);
        let panels: Vec<_> = dashboards
            .panels()
            .filter(|(dashboard, _)| dashboard.data == Data::Events)
            .map(|(_, panel)| Mutex::new(CountedPanel::new(panel, &slots)))
            .collect();
        Self {
            groups: SharedLimit::new(max_groups, panels.len()),
            values: SharedLimit::new(max_values, panels.len()),
            slots,
            panels,
            seen: Mutex::default(),
            latest: Mutex::new(latest),
            turn: AtomicUsize::new(0),
        }
    }

    /// Counts documents as they are indexed. One without a time is in no time range, and is left out. Returns the number of
    /// those that are not JSON objects, which are left out too.
    pub fn add(&self, documents: &[&[u8]]) -> u64 {
        let read = documents.iter().map(|document| DocumentFields::read(document, &self.slots));
        let mut all: Vec<_> = read.filter_map(Result::ok).collect();
        let invalid = documents.len() - all.len();
        let undated = all.len();
        all.retain(|fields| fields.time.is_some());
        let undated = undated - all.len();
        let scale = self.add_to_totals(&all, undated);
        lock(&self.latest).add(&all);
        let start = self.turn.fetch_add(1, Relaxed);
        for number in 0..self.panels.len() {
            self.add_to_panel((start.wrapping_add(number)) % self.panels.len(), &all, scale);
        }
        invalid as u64
    }

    /// Adds documents to the totals, and returns the scale for all documents so far.
    fn add_to_totals(&self, documents: &[DocumentFields<'_>], undated: usize) -> TimeScale {
        let mut seen = lock(&self.seen);
        seen.documents += documents.len() as u64;
        seen.undated += undated as u64;
        for time in documents.iter().filter_map(|fields| fields.time) {
            let (first, last) = seen.range.unwrap_or((time, time));
            seen.range = Some((first.min(time), last.max(time)));
        }
        seen.scale()
    }

    fn add_to_panel(&self, number: usize, documents: &[DocumentFields<'_>], scale: TimeScale) {
        let mut panel = lock(&self.panels[number]);
        let (groups, values) = (panel.usage.groups, panel.usage.values);
        panel.usage.max_groups = self.groups.of_panel();
        panel.usage.max_values = self.values.of_panel();
        panel.add(documents, scale);
        self.groups.update(groups, panel.usage.groups);
        self.values.update(values, panel.usage.values);
    }

    /// Returns what is known about all documents so far.
    pub fn seen(&self) -> SeenDocuments {
        *lock(&self.seen)
    }

    /// Takes the latest documents, the newest first, with the fields that lists show.
    pub fn take_latest(&self) -> Vec<Value> {
        lock(&self.latest).take()
    }

    /// Returns the answer of each panel, in the order of [`Dashboards::panels`].
    pub fn answers(&self) -> Vec<(&'d Panel, PanelAnswer)> {
        self.answers_with(self.seen().scale())
    }

    /// Returns the answers with time axes of at least these intervals.
    pub fn answers_with(&self, scale: TimeScale) -> Vec<(&'d Panel, PanelAnswer)> {
        let answer = |panel: &Mutex<CountedPanel<'d>>| {
            let mut panel = lock(panel);
            (panel.panel, panel.answer(scale))
        };
        self.panels.iter().map(answer).collect()
    }
}

impl SeenDocuments {
    /// Returns the intervals of time axes that fit all documents.
    pub fn scale(&self) -> TimeScale {
        self.range.map_or(TimeScale::Day, |(from, to)| TimeScale::for_range(from, to + 1))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'d> CountedPanel<'d> {
    fn new(panel: &'d Panel, slots: &FieldSlots) -> Self {
        let mut slot = |name: &String| slots.slot(name);
        let metrics = panel.metrics.iter().map(|metric| {
            let kind = match metric {
                PanelMetric::Count { .. } => MetricKind::Count,
                PanelMetric::Unique { .. } => MetricKind::Unique,
                PanelMetric::Min { .. } => MetricKind::Min,
                PanelMetric::Max { .. } => MetricKind::Max,
                PanelMetric::Sum { .. } => MetricKind::Sum,
            };
            let field = metric.field().filter(|field| *field != TIME_FIELD);
            (kind, field.map(|field| slots.slot(field)))
        });
        let metrics = metrics.collect();
        let query = panel.expression.map_fields(&mut slot);
        let level = |bucket: &PanelBucket| match bucket {
            PanelBucket::Time => Level::Time,
            PanelBucket::Terms { field, .. } => Level::Terms(slots.slot(field)),
            PanelBucket::Filters { filters, .. } => Level::Filters(
                filters.iter().map(|filter| filter.expression.map_fields(&mut slot)).collect(),
            ),
        };
        let levels = panel.nesting().map(level).collect();
        let usage = Usage::default();
        Self {
            panel,
            query,
            levels,
            metrics,
            scale: TimeScale::Minute,
            root: Group::default(),
            usage,
        }
    }

    /// Counts documents that are part of a set with this scale.
    fn add(&mut self, documents: &[DocumentFields<'_>], scale: TimeScale) {
        if self.scale < scale {
            self.rescale(scale);
        }
        for fields in documents {
            let Some(time) = fields.time else { continue };
            if self.query.holds(&|slot: &Slot| fields.values(*slot)) {
                let Self { levels, metrics, scale, root, usage, .. } = self;
                let mut path = Path { levels, metrics, scale: *scale, usage };
                path.add(root, 0, fields, time);
            }
        }
        if self.usage.groups > self.usage.max_groups {
            self.forget_rare_groups();
        }
    }

    fn rescale(&mut self, scale: TimeScale) {
        self.scale = scale;
        self.root.rescale(scale, &self.metrics);
        self.count_usage();
    }

    /// Removes the rarer half of the outermost groups.
    fn forget_rare_groups(&mut self) {
        self.usage.is_incomplete = true;
        let Subgroups::Terms(groups) = &mut self.root.inside else { return };
        let mut counts: Vec<u64> = groups.values().map(|term| term.group.documents).collect();
        let middle = counts.len() / 2;
        if middle == 0 {
            return;
        }
        let (_, median, _) = counts.select_nth_unstable(middle);
        let median = *median;
        // Of the groups as rare as the median, as many stay as are needed for half of all.
        let more_frequent = groups.values().filter(|term| term.group.documents > median).count();
        let mut left = (counts.len() - middle).saturating_sub(more_frequent);
        groups.retain(|_, term| {
            if term.group.documents != median {
                return term.group.documents > median;
            }
            let stays = left > 0;
            left -= usize::from(stays);
            stays
        });
        groups.shrink_to_fit();
        self.count_usage();
    }

    fn count_usage(&mut self) {
        (self.usage.groups, self.usage.values) = self.root.usage();
    }

    fn answer(&mut self, scale: TimeScale) -> PanelAnswer {
        if self.scale < scale {
            self.rescale(scale);
        }
        let documents = self.root.documents;
        let mut answer =
            PanelAnswer { documents, is_incomplete: self.usage.is_incomplete, rows: Vec::new() };
        self.collect_rows(&self.root, 0, &mut Vec::new(), &mut answer.rows);
        answer
    }

    fn collect_rows(
        &self,
        group: &Group,
        depth: usize,
        keys: &mut Vec<GroupKey>,
        rows: &mut Vec<AnswerRow>,
    ) {
        let Some(bucket) = self.panel.nesting().nth(depth) else {
            let values = (0..self.metrics.len()).map(|metric| self.value(group, metric)).collect();
            rows.push(AnswerRow { keys: self.panel.keys_in_order(keys), values });
            return;
        };
        for (key, inside) in self.groups(bucket, group) {
            keys.push(key);
            self.collect_rows(inside, depth + 1, keys, rows);
            keys.pop();
        }
    }

    /// Returns the groups inside of a group, in the order of the panel.
    fn groups<'g>(&self, bucket: &PanelBucket, group: &'g Group) -> Vec<(GroupKey, &'g Group)> {
        match (bucket, &group.inside) {
            (PanelBucket::Time, Subgroups::Times(times)) => {
                times.iter().map(|(time, group)| (GroupKey::Time(*time), group)).collect()
            }
            (PanelBucket::Filters { filters, .. }, Subgroups::Filters(groups)) => filters
                .iter()
                .zip(groups)
                .map(|(filter, group)| (GroupKey::Text(filter.label.clone()), group))
                .collect(),
            (PanelBucket::Terms { field, size, order, .. }, Subgroups::Terms(groups)) => {
                let mut groups: Vec<(&str, &Group)> =
                    groups.values().map(|term| (&*term.value, &term.group)).collect();
                groups.sort_by(|(one, a), (other, b)| {
                    let by_value = compare(self.value(a, 0), self.value(b, 0));
                    let by_value = match order {
                        SortOrder::Ascending => by_value,
                        SortOrder::Descending => by_value.reverse(),
                    };
                    by_value.then_with(|| match field.as_str() {
                        ADDRESS_FIELD => compare_addresses(one, other),
                        _ => one.cmp(other),
                    })
                });
                groups.truncate(*size);
                groups
                    .into_iter()
                    .map(|(key, group)| (GroupKey::Text(key.to_owned()), group))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    fn value(&self, group: &Group, metric: usize) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        match group.metrics.get(metric) {
            Some(MetricState::Unique(values)) => Some(values.len() as f64),
            Some(MetricState::Number(number)) => *number,
            Some(MetricState::Count) => Some(group.documents as f64),
            // No document, or nothing but counts.
            None => match self.metrics.get(metric)?.0 {
                MetricKind::Min | MetricKind::Max => None,
                MetricKind::Unique | MetricKind::Sum => Some(0.0),
                MetricKind::Count => Some(group.documents as f64),
            },
        }
    }
}

/// Compares metric values; groups without one come last, as in engines.
fn compare(one: Option<f64>, other: Option<f64>) -> Ordering {
    let number = |value: Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
    number(one).total_cmp(&number(other))
}

/// Compares addresses as engines do: by their bytes as IPv6.
fn compare_addresses(one: &str, other: &str) -> Ordering {
    match (address_bytes(one), address_bytes(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => one.cmp(other),
    }
}

/// The way of a document through the levels of a panel.
struct Path<'p> {
    levels: &'p [Level],
    metrics: &'p [(MetricKind, Option<Slot>)],
    scale: TimeScale,
    usage: &'p mut Usage,
}

impl Path<'_> {
    fn add(&mut self, group: &mut Group, depth: usize, fields: &DocumentFields<'_>, time: i64) {
        group.documents += 1;
        self.add_to_metrics(group, fields, time);
        match self.levels.get(depth) {
            None => {}
            Some(Level::Time) => {
                if let Subgroups::None = group.inside {
                    group.inside = Subgroups::Times(BTreeMap::new());
                }
                if let Subgroups::Times(times) = &mut group.inside {
                    let start = self.scale.start(time);
                    let before = times.len();
                    let inside = times.entry(start).or_default();
                    self.add(inside, depth + 1, fields, time);
                    self.usage.groups += times.len() - before;
                }
            }
            Some(Level::Terms(slot)) => {
                if let Subgroups::None = group.inside {
                    group.inside = Subgroups::Terms(HashedMap::default());
                }
                if let Subgroups::Terms(groups) = &mut group.inside {
                    for value in fields.values(*slot) {
                        self.add_to_term(groups, value, depth, fields, time);
                    }
                }
            }
            Some(Level::Filters(filters)) => {
                if let Subgroups::None = group.inside {
                    let groups: Vec<Group> = filters.iter().map(|_| Group::default()).collect();
                    self.usage.groups += groups.len();
                    group.inside = Subgroups::Filters(groups);
                }
                if let Subgroups::Filters(groups) = &mut group.inside {
                    for (filter, group) in filters.iter().zip(groups) {
                        if filter.holds(&|slot: &Slot| fields.values(*slot)) {
                            self.add(group, depth + 1, fields, time);
                        }
                    }
                }
            }
        }
    }

    fn add_to_term(
        &mut self,
        groups: &mut HashedMap<Term>,
        value: &FieldValue<'_>,
        depth: usize,
        fields: &DocumentFields<'_>,
        time: i64,
    ) {
        if let Some(term) = groups.get_mut(&value.hash) {
            return self.add(&mut term.group, depth + 1, fields, time);
        }
        if depth > 0 && self.usage.groups > self.usage.max_groups {
            // Only outermost groups are forgotten; one of them may have more groups inside than all may have together.
            self.usage.is_incomplete = true;
            return;
        }
        let mut group = Group::default();
        self.add(&mut group, depth + 1, fields, time);
        groups.insert(value.hash, Term { group, value: value.text.as_ref().into() });
        self.usage.groups += 1;
    }

    fn add_to_metrics(&mut self, group: &mut Group, fields: &DocumentFields<'_>, time: i64) {
        if self.metrics.iter().all(|(kind, _)| *kind == MetricKind::Count) {
            // The group counts its documents itself.
            return;
        }
        if group.metrics.is_empty() {
            group.metrics = self.metrics.iter().map(|(kind, _)| MetricState::new(*kind)).collect();
        }
        for (state, (kind, slot)) in group.metrics.iter_mut().zip(self.metrics) {
            match (state, slot) {
                (MetricState::Count, _) | (MetricState::Unique(_), None) => {}
                (MetricState::Unique(hashes), Some(slot)) => {
                    for value in fields.values(*slot) {
                        let FieldValue { hash, .. } = *value;
                        if self.usage.values < self.usage.max_values {
                            self.usage.values += usize::from(hashes.insert(hash));
                        } else {
                            self.usage.is_incomplete |= !hashes.contains(&hash);
                        }
                    }
                }
                (MetricState::Number(number), None) => {
                    #[expect(clippy::cast_precision_loss, reason = "milliseconds are below 2^53")]
                    let time = time as f64;
                    *number = Some(kind.combine(*number, time));
                }
                (MetricState::Number(number), Some(slot)) => {
                    for value in
                        fields.values(*slot).iter().filter_map(|value| value.text.parse().ok())
                    {
                        *number = Some(kind.combine(*number, value));
                    }
                }
            }
        }
    }
}

impl MetricKind {
    fn combine(self, before: Option<f64>, value: f64) -> f64 {
        match (self, before) {
            (_, None) => value,
            (Self::Min, Some(before)) => before.min(value),
            (Self::Max, Some(before)) => before.max(value),
            (Self::Sum | Self::Count | Self::Unique, Some(before)) => before + value,
        }
    }
}

impl MetricState {
    fn new(kind: MetricKind) -> Self {
        match kind {
            MetricKind::Count => Self::Count,
            MetricKind::Unique => Self::Unique(HashedSet::default()),
            MetricKind::Sum => Self::Number(Some(0.0)),
            MetricKind::Min | MetricKind::Max => Self::Number(None),
        }
    }

    fn merge(&mut self, other: Self, kind: MetricKind) {
        match (self, other) {
            (Self::Unique(values), Self::Unique(others)) => values.extend(others),
            (Self::Number(number), Self::Number(Some(other))) => {
                *number = Some(kind.combine(*number, other));
            }
            _ => {}
        }
    }
}

impl Group {
    /// Returns the numbers of groups and values inside.
    fn usage(&self) -> (usize, usize) {
        let mut values = 0;
        for metric in &self.metrics {
            if let MetricState::Unique(hashes) = metric {
                values += hashes.len();
            }
        }
        let mut total = (0, values);
        let mut add = |group: &Self| {
            let (groups, values) = group.usage();
            total = (total.0 + groups + 1, total.1 + values);
        };
        match &self.inside {
            Subgroups::None => {}
            Subgroups::Times(groups) => groups.values().for_each(add),
            Subgroups::Terms(groups) => groups.values().map(|term| &term.group).for_each(add),
            Subgroups::Filters(groups) => groups.iter().for_each(&mut add),
        }
        total
    }

    fn merge(&mut self, other: Self, metrics: &[(MetricKind, Option<Slot>)]) {
        self.documents += other.documents;
        if self.metrics.is_empty() {
            self.metrics = other.metrics;
        } else {
            let kinds = metrics.iter().map(|(kind, _)| *kind);
            for ((state, other), kind) in self.metrics.iter_mut().zip(other.metrics).zip(kinds) {
                state.merge(other, kind);
            }
        }
        match (&mut self.inside, other.inside) {
            (_, Subgroups::None) => {}
            (Subgroups::Times(groups), Subgroups::Times(others)) => {
                for (time, other) in others {
                    groups.entry(time).or_default().merge(other, metrics);
                }
            }
            (Subgroups::Terms(groups), Subgroups::Terms(others)) => {
                for (hash, other) in others {
                    match groups.entry(hash) {
                        Entry::Occupied(mut term) => {
                            term.get_mut().group.merge(other.group, metrics);
                        }
                        Entry::Vacant(place) => drop(place.insert(other)),
                    }
                }
            }
            (Subgroups::Filters(groups), Subgroups::Filters(others)) => {
                for (group, other) in groups.iter_mut().zip(others) {
                    group.merge(other, metrics);
                }
            }
            (inside, others) => *inside = others,
        }
    }

    /// Merges the groups of a time axis into longer intervals.
    fn rescale(&mut self, scale: TimeScale, metrics: &[(MetricKind, Option<Slot>)]) {
        match &mut self.inside {
            Subgroups::None => {}
            Subgroups::Times(times) => {
                let mut longer: BTreeMap<i64, Self> = BTreeMap::new();
                for (time, group) in std::mem::take(times) {
                    longer.entry(scale.start(time)).or_default().merge(group, metrics);
                }
                *times = longer;
            }
            Subgroups::Terms(groups) => {
                for term in groups.values_mut() {
                    term.group.rescale(scale, metrics);
                }
            }
            Subgroups::Filters(groups) => {
                for group in groups {
                    group.rescale(scale, metrics);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns a document in which everything is different from other documents, but every third one is by the same principal.
    fn document(number: u32) -> String {
        let dashboards = Dashboards::embedded().unwrap();
        let mut document = Value::Object(serde_json::Map::new());
        for field in dashboards.fields(Data::Events) {
            let pointer = format!("/{}", field.replace('.', "/"));
            let mut inside = &mut document;
            for key in pointer.split('/').skip(1) {
                inside = &mut inside[key];
            }
            *inside = format!("{field} {number}").into();
        }
        document["@timestamp"] = format!("2024-01-01T00:{:02}:00Z", number % 60).into();
        document["source"] = json!({ "ip": format!("2001:db8::{number:x}") });
        if number.is_multiple_of(3) {
            document["trailload"]["principal"] = "user/alice".into();
        }
        document.to_string()
    }

    #[test]
    fn memory_is_bounded_and_what_is_frequent_is_counted() {
        const DOCUMENTS: u32 = 3_000;
        let dashboards = Dashboards::embedded().unwrap();
        let counter = PanelCounter::with_limits(&dashboards, 2_000, 1_000);
        let texts: Vec<String> = (0..DOCUMENTS).map(document).collect();
        let bytes: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        for part in bytes.chunks(10) {
            assert_eq!(counter.add(part), 0);
            let (groups, values) = (&counter.groups.used, &counter.values.used);
            // Twice the limit, and what the last documents added.
            assert!(groups.load(Relaxed) <= 2 * 2_000 + 1_000, "{groups:?}");
            assert!(values.load(Relaxed) <= 2 * 1_000 + 1_000, "{values:?}");
        }
        assert_eq!(counter.seen().documents, u64::from(DOCUMENTS));
        let answers = counter.answers();
        let (_, who) = answers.iter().find(|(panel, _)| panel.id == "i1").unwrap();
        assert!(who.is_incomplete);
        assert_eq!(who.rows[0].keys, [GroupKey::Text("user/alice".to_owned())]);
        assert_eq!(who.rows[0].values[0], Some(f64::from(DOCUMENTS / 3)));
        let (_, number) = answers.iter().find(|(panel, _)| panel.id == "o1").unwrap();
        assert_eq!(
            number.rows[0].values[0],
            Some(f64::from(DOCUMENTS)),
            "all documents are counted"
        );
    }

    #[test]
    fn documents_without_a_time_are_in_no_panel() {
        let dashboards = Dashboards::embedded().unwrap();
        let counter = PanelCounter::new(&dashboards);
        let undated = json!({ "eventName": "a" }).to_string();
        let dated = document(1);
        assert_eq!(counter.add(&[undated.as_bytes(), dated.as_bytes(), b"[1]"]), 1);
        let seen = counter.seen();
        assert_eq!((seen.documents, seen.undated), (1, 1));
        assert!(counter.answers().iter().all(|(_, answer)| answer.documents <= 1));
    }
}
