//! Counts events by the values of fields.
//!
//! Input: events. Output: a table, sorted by the number of events.
//! Invariant: memory is bounded. The first [`MAX_GROUPS`] different values are counted exactly; events with values that
//! occur first after these are counted together, in the row `(other)`.

use std::{borrow::Borrow, collections::HashMap, fmt::Write as _};

use serde_json::Value;

use crate::{
    report::{Log, format},
    sink::events::{FieldList, SummaryCell, SummaryTable},
};

/// Groups that are counted on their own.
const MAX_GROUPS: usize = 100_000;

/// Bytes of the values of these groups.
const MAX_GROUP_BYTES: usize = 16 << 20;

/// Groups after which the part of a worker is merged, and the bytes of their values.
const MAX_PART: (usize, usize) = (2_000, 1 << 20);

/// The row of events that are in no other row.
pub(super) const OTHER: &str = "(other)";

/// The number of events by the values of fields.
#[derive(Clone, Debug)]
pub struct Counts {
    fields: FieldList,
    groups: Groups<u64>,
    other: u64,
    limits: (usize, usize),
    /// The values of the current event.
    values: Vec<String>,
}

/// Something for each group of values.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups<T> {
    by_values: HashMap<Vec<String>, T>,
    bytes: usize,
}

impl<T> Groups<T> {
    pub(super) fn len(&self) -> usize {
        self.by_values.len()
    }

    pub(super) fn get_mut(&mut self, values: &[String]) -> Option<&mut T> {
        self.by_values.get_mut(values)
    }

    pub(super) fn insert(&mut self, values: Vec<String>, value: T) {
        self.bytes += bytes_of(&values);
        self.by_values.insert(values, value);
    }

    /// Returns whether a further group fits into limits of groups and bytes.
    pub(super) fn has_room(&self, values: &[String], (groups, bytes): (usize, usize)) -> bool {
        self.len() < groups && self.bytes + bytes_of(values) <= bytes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Vec<String>, &T)> {
        self.by_values.iter()
    }

    fn into_iter(self) -> impl Iterator<Item = (Vec<String>, T)> {
        self.by_values.into_iter()
    }
}

fn bytes_of(values: &[String]) -> usize {
    values.iter().map(|value| value.len() + size_of::<String>()).sum()
}

/// Replaces `values` by those of an event.
pub(super) fn read_values(fields: &FieldList, event: &Value, values: &mut Vec<String>) {
    values.resize(fields.len(), String::new());
    for (value, field) in values.iter_mut().zip(fields.iter()) {
        value.clear();
        value.push_str(field.text(event).borrow());
    }
}

impl Counts {
    /// Returns counts by these fields, without events.
    pub fn new(fields: FieldList) -> Self {
        Self {
            fields,
            groups: Groups { by_values: HashMap::new(), bytes: 0 },
            other: 0,
            limits: (MAX_GROUPS, MAX_GROUP_BYTES),
            values: Vec::new(),
        }
    }

    /// Returns the fields that events are counted by.
    pub(super) fn fields(&self) -> &FieldList {
        &self.fields
    }

    /// Counts an event.
    pub fn add(&mut self, event: &Value) {
        let Self { fields, groups, values, .. } = self;
        read_values(fields, event, values);
        match groups.get_mut(values) {
            Some(count) => *count += 1,
            None => groups.insert(values.clone(), 1),
        }
    }

    /// Adds the counts of a part.
    pub fn merge(&mut self, part: Self) {
        self.other += part.other;
        for (values, count) in part.groups.into_iter() {
            if let Some(known) = self.groups.get_mut(&values) {
                *known += count;
            } else if self.groups.has_room(&values, self.limits) {
                self.groups.insert(values, count);
            } else {
                // A group that is refused once is refused always, because no group is ever removed.
                self.other += count;
            }
        }
    }

    /// Returns whether the part of a worker should be merged.
    pub(super) fn is_part_full(&self) -> bool {
        self.groups.len() >= MAX_PART.0 || self.groups.bytes >= MAX_PART.1
    }

    /// Returns the table: at most `limit` groups, the largest first, and a row for all other events.
    pub(super) fn into_table(self, limit: Option<u64>, log: &Log) -> SummaryTable {
        if self.other > 0 {
            let (shown, other) =
                (format::count(self.groups.len() as u64), format::plural(self.other, "event"));
            log.warn(
                "--count-by",
                format_args!(
                    "the first {shown} groups are counted; {other} of later groups are in {OTHER}"
                ),
            );
        }
        let Self { fields, groups, mut other, .. } = self;
        let mut groups: Vec<(Vec<String>, u64)> = groups.into_iter().collect();
        groups.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        other += groups.iter().skip(limit).map(|(_, count)| count).sum::<u64>();
        groups.truncate(limit);
        let columns = fields
            .iter()
            .map(|field| field.name().to_owned())
            .chain(["count".to_owned()])
            .collect();
        if other > 0 {
            let mut values = vec![String::new(); fields.len()];
            values[0].push_str(OTHER);
            groups.push((values, other));
        }
        let row = |(values, count): (Vec<String>, u64)| {
            let values = values.into_iter().map(SummaryCell::Text);
            values.chain([SummaryCell::Number(count)]).collect()
        };
        SummaryTable { columns, rows: groups.into_iter().map(row).collect(), bars: None }
    }
}

/// Returns the values of a group as one text.
pub(super) fn group_name(values: &[String]) -> String {
    let mut name = String::new();
    for (at, value) in values.iter().enumerate() {
        let value = if value.is_empty() { "-" } else { value };
        // Writing to a String cannot fail.
        let _ = write!(name, "{}{value}", if at > 0 { " " } else { "" });
    }
    name
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::report::log::{LogFormat, Verbosity, tests::page};

    fn log() -> Log {
        page(LogFormat::Text, Verbosity::Quiet).0
    }

    fn rows(table: SummaryTable) -> Vec<(String, u64)> {
        let row = |row: Vec<SummaryCell>| match row.as_slice() {
            [SummaryCell::Text(text), SummaryCell::Number(count)] => (text.clone(), *count),
            other => panic!("{other:?}"),
        };
        table.rows.into_iter().map(row).collect()
    }

    fn counts(fields: &str) -> Counts {
        Counts::new(fields.parse().unwrap())
    }

    proptest! {
        #[test]
        fn groups_are_exact_and_every_event_is_in_a_row(
            parts in prop::collection::vec(prop::collection::vec(0_u32..30, 0..60), 1..6), max in 1_usize..40,
            limit in prop::option::of(0_u64..40),
        ) {
            let mut total = Counts { limits: (max, usize::MAX), ..counts("name") };
            let mut expected: BTreeMap<String, u64> = BTreeMap::new();
            for part in &parts {
                let mut counts = counts("name");
                for name in part {
                    counts.add(&json!({"name": name.to_string()}));
                    *expected.entry(name.to_string()).or_default() += 1;
                }
                total.merge(counts);
            }
            let rows = rows(total.into_table(limit, &log()));
            let all: u64 = expected.values().sum();
            prop_assert_eq!(rows.iter().map(|(_, count)| count).sum::<u64>(), all);
            let exact: Vec<_> = rows.iter().filter(|(name, _)| name != OTHER).collect();
            prop_assert!(exact.iter().all(|(name, count)| expected[name] == *count));
            prop_assert!(exact.is_sorted_by(|a, b| a.1 >= b.1));
            let shown = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
            prop_assert_eq!(exact.len(), expected.len().min(max).min(shown));
        }
    }

    #[test]
    fn several_fields_are_counted_together() {
        let mut counts = counts("a,b.c");
        for event in
            [json!({"a": "x", "b": {"c": 1}}), json!({"a": "x"}), json!({"a": "x", "b": {"c": 1}})]
        {
            counts.add(&event);
        }
        let table = counts.into_table(None, &log());
        assert_eq!(table.columns, ["a", "b.c", "count"]);
        let text = |text: &str| SummaryCell::Text(text.to_owned());
        assert_eq!(
            table.rows,
            [
                vec![text("x"), text("1"), SummaryCell::Number(2)],
                vec![text("x"), text(""), SummaryCell::Number(1)],
            ]
        );
    }

    #[test]
    fn long_values_do_not_exceed_the_memory() {
        let mut total = counts("name");
        for number in 0..40 {
            let mut part = counts("name");
            part.add(&json!({"name": format!("{number}{}", "x".repeat(1 << 20))}));
            assert!(part.is_part_full());
            total.merge(part);
        }
        assert!(total.groups.bytes <= MAX_GROUP_BYTES);
        let rows = rows(total.into_table(None, &log()));
        assert_eq!(rows.last().unwrap(), &(OTHER.to_owned(), 40 - 15));
    }
}
