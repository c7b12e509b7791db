//! Counts events over time.
//!
//! Input: events. Output: a table with a row for each interval of UTC time, also for those without events, from the
//! first event to the last.
//! Invariant: memory and rows are bounded. An interval that would exceed them is replaced by a longer one, which is
//! reported.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::counts::{Groups, OTHER, group_name, read_values};
use crate::{
    filter::time_bounds::event_time,
    report::{Log, format},
    sink::events::{FieldList, SummaryCell, SummaryTable},
};

/// Rows of a table: more than a month by the minute.
const MAX_ROWS: i64 = 50_000;

/// Cells in memory: counts of an interval and a group. They take 13 MB.
const MAX_CELLS: usize = 500_000;

/// Cells after which the part of a worker is merged.
const MAX_PART_CELLS: usize = 5_000;

/// Groups, and bytes of their values, that are counted on their own; the events of later ones are counted together.
const MAX_GROUPS: (usize, usize) = (1_000, 4 << 20);

/// Groups that have a column, unless `--limit` is given.
const DEFAULT_COLUMNS: usize = 8;

/// Intervals that replace a shorter one, in seconds: the first one that is a multiple of it, else its double.
const LONGER: [i64; 6] = [10, 60, 600, 3_600, 21_600, 86_400];

/// Seconds of a week.
const WEEK: i64 = 7 * 86_400;

/// The first Monday of the Unix epoch: weeks start on Mondays.
const MONDAY: i64 = 4 * 86_400;

/// The longest interval, in seconds: a century.
const MAX_INTERVAL: i64 = 100 * 366 * 86_400;

/// Number of the group of all events, unless they are grouped.
const ONLY_GROUP: u32 = 0;

/// Number of the group of all events that have no group of their own.
const OTHER_GROUP: u32 = u32::MAX;

/// The number of events over time.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// Length of an interval in seconds.
    interval: i64,
    requested: i64,
    group_by: Option<FieldList>,
    groups: Groups<u32>,
    /// Events by the start of the interval and the number of the group.
    cells: HashMap<(i64, u32), u64>,
    /// Events without a readable time.
    undated: u64,
    /// The values of the current event.
    values: Vec<String>,
}

impl Histogram {
    /// Returns a histogram without events. `interval` is at least a second. With fields, each of the most frequent
    /// values has a column.
    pub fn new(interval: Duration, group_by: Option<FieldList>) -> Self {
        let interval = i64::try_from(interval.as_secs()).unwrap_or(MAX_INTERVAL);
        let interval = interval.clamp(1, MAX_INTERVAL);
        Self {
            interval,
            requested: interval,
            group_by,
            groups: Groups::default(),
            cells: HashMap::new(),
            undated: 0,
            values: Vec::new(),
        }
    }

    /// Returns the fields whose values have columns.
    pub(super) fn group_by(&self) -> Option<&FieldList> {
        self.group_by.as_ref()
    }

    /// Counts an event.
    pub fn add(&mut self, event: &Value) {
        let Some(time) = event_time(event) else {
            self.undated += 1;
            return;
        };
        let group = self.group_of(event);
        let start = interval_start(time.as_second(), self.interval);
        *self.cells.entry((start, group)).or_default() += 1;
    }

    /// Adds the counts of a part.
    pub fn merge(&mut self, mut part: Self) {
        self.undated += part.undated;
        while self.interval < part.interval {
            self.lengthen();
        }
        while part.interval < self.interval {
            part.lengthen();
        }
        let mut numbers = HashMap::new();
        if self.group_by.is_none() {
            numbers.insert(ONLY_GROUP, ONLY_GROUP);
        }
        for (values, number) in part.groups.iter() {
            numbers.insert(*number, self.group_number(values));
        }
        for ((start, group), count) in part.cells {
            let group = numbers.get(&group).copied().unwrap_or(OTHER_GROUP);
            *self.cells.entry((start, group)).or_default() += count;
        }
        while self.cells.len() > MAX_CELLS || self.row_count() > MAX_ROWS {
            self.lengthen();
        }
    }

    /// Returns whether the part of a worker should be merged.
    pub(super) fn is_part_full(&self) -> bool {
        self.cells.len() >= MAX_PART_CELLS
    }

    fn group_of(&mut self, event: &Value) -> u32 {
        let Some(fields) = &self.group_by else { return ONLY_GROUP };
        let mut values = std::mem::take(&mut self.values);
        read_values(fields, event, &mut values);
        let number = self.group_number(&values);
        self.values = values;
        number
    }

    fn group_number(&mut self, values: &[String]) -> u32 {
        if let Some(number) = self.groups.get_mut(values) {
            return *number;
        }
        let number = u32::try_from(self.groups.len()).unwrap_or(OTHER_GROUP);
        if !self.groups.has_room(values, MAX_GROUPS) {
            return OTHER_GROUP;
        }
        self.groups.insert(values.to_vec(), number);
        number
    }

    /// Counts by the next longer interval.
    fn lengthen(&mut self) {
        let is_longer = |longer: &&i64| **longer > self.interval && **longer % self.interval == 0;
        self.interval = LONGER.iter().find(is_longer).copied().unwrap_or(self.interval * 2);
        let cells = std::mem::take(&mut self.cells);
        for ((start, group), count) in cells {
            *self.cells.entry((interval_start(start, self.interval), group)).or_default() += count;
        }
    }

    /// Returns the starts of the first and the last interval.
    fn ends(&self) -> Option<(i64, i64)> {
        let starts = || self.cells.keys().map(|(start, _)| *start);
        Some((starts().min()?, starts().max()?))
    }

    fn row_count(&self) -> i64 {
        self.ends().map_or(0, |(first, last)| (last - first) / self.interval + 1)
    }

    /// Returns the table. At most `limit` groups have a column.
    pub(super) fn into_table(mut self, limit: Option<u64>, log: &Log) -> SummaryTable {
        while self.row_count() > MAX_ROWS {
            self.lengthen();
        }
        self.report(log);
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let columns = self.group_columns(limit.unwrap_or(DEFAULT_COLUMNS));
        let has_other = self.group_by.is_some() && columns.len() < self.groups.len()
            || self.cells.keys().any(|(_, group)| *group == OTHER_GROUP);
        let mut names = vec!["time".to_owned(), "count".to_owned()];
        names.extend(columns.iter().map(|(values, _)| group_name(values)));
        names.extend(has_other.then(|| OTHER.to_owned()));
        let (first, last) = self.ends().unwrap_or((1, 0));
        let mut rows: HashMap<i64, Vec<u64>> = HashMap::new();
        for ((start, group), count) in &self.cells {
            let row = rows.entry(*start).or_insert_with(|| vec![0; names.len() - 1]);
            row[0] += count;
            if self.group_by.is_some() {
                let column = columns.iter().position(|(_, number)| number == group);
                row[1 + column.unwrap_or(columns.len())] += count;
            }
        }
        let empty = vec![0; names.len() - 1];
        let mut table = SummaryTable { columns: names, rows: Vec::new(), bars: None };
        table.bars = self.group_by.is_none().then_some(1);
        let mut start = first;
        while start <= last {
            let numbers =
                rows.get(&start).unwrap_or(&empty).iter().copied().map(SummaryCell::Number);
            table
                .rows
                .push([SummaryCell::Text(time_text(start))].into_iter().chain(numbers).collect());
            start += self.interval;
        }
        table
    }

    fn report(&self, log: &Log) {
        if self.interval > self.requested {
            let [asked, used] = [self.requested, self.interval].map(interval_text);
            log.warn(
                "--histogram",
                format_args!("{asked} would be too many rows; counted by {used}"),
            );
        }
        if self.undated > 0 {
            let events = format::plural(self.undated, "event");
            log.warn("--histogram", format_args!("{events} without a readable time left out"));
        }
    }

    /// Returns the groups that have a column, at most `limit`, the largest first.
    fn group_columns(&self, limit: usize) -> Vec<(Vec<String>, u32)> {
        let mut totals: HashMap<u32, u64> = HashMap::new();
        for ((_, group), count) in &self.cells {
            *totals.entry(*group).or_default() += count;
        }
        let mut groups: Vec<(u64, &Vec<String>, u32)> = self
            .groups
            .iter()
            .map(|(values, number)| (totals.get(number).copied().unwrap_or(0), values, *number))
            .collect();
        groups.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        groups.truncate(limit);
        groups.into_iter().map(|(_, values, number)| (values.clone(), number)).collect()
    }
}

/// Returns the start of the interval that contains a second of the Unix epoch.
fn interval_start(second: i64, interval: i64) -> i64 {
    let offset = if interval % WEEK == 0 { MONDAY } else { 0 };
    (second - offset).div_euclid(interval) * interval + offset
}

fn time_text(second: i64) -> String {
    Timestamp::from_second(second).map_or_else(|_| second.to_string(), |time| time.to_string())
}

fn interval_text(seconds: i64) -> String {
    let units = [(WEEK, "w"), (86_400, "d"), (3_600, "h"), (60, "m")];
    let unit = units.into_iter().find(|(length, _)| seconds % length == 0);
    let (length, name) = unit.unwrap_or((1, "s"));
    format!("{}{name}", seconds / length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::report::log::{LogFormat, Verbosity, tests::page};

    fn log() -> Log {
        page(LogFormat::Text, Verbosity::Quiet).0
    }

    fn histogram(seconds: u64, group_by: Option<&str>) -> Histogram {
        Histogram::new(Duration::from_secs(seconds), group_by.map(|fields| fields.parse().unwrap()))
    }

    fn event(time: &str, name: &str) -> Value {
        json!({"eventTime": time, "eventName": name})
    }

    fn rows(table: &SummaryTable) -> Vec<(String, Vec<u64>)> {
        let number = |cell: &SummaryCell| match cell {
            SummaryCell::Number(number) => *number,
            SummaryCell::Text(text) => panic!("{text}"),
        };
        let row = |row: &Vec<SummaryCell>| match &row[0] {
            SummaryCell::Text(time) => (time.clone(), row[1..].iter().map(number).collect()),
            SummaryCell::Number(_) => panic!("{row:?}"),
        };
        table.rows.iter().map(row).collect()
    }

    #[test]
    fn intervals_without_events_have_a_row_between_others() {
        let mut hours = histogram(3_600, None);
        for time in
            ["2024-06-30T23:59:59Z", "2024-06-30T23:00:00Z", "2024-07-01T02:30:00Z", "never"]
        {
            hours.add(&event(time, "A"));
        }
        let expected = [
            ("2024-06-30T23:00:00Z", 2),
            ("2024-07-01T00:00:00Z", 0),
            ("2024-07-01T01:00:00Z", 0),
            ("2024-07-01T02:00:00Z", 1),
        ];
        let table = hours.into_table(None, &log());
        assert_eq!(rows(&table), expected.map(|(time, count)| (time.to_owned(), vec![count])));
        assert_eq!(table.bars, Some(1));
        assert_eq!(
            histogram(60, None).into_table(None, &log()).rows,
            Vec::<Vec<SummaryCell>>::new()
        );
    }

    #[test]
    fn weeks_start_on_monday() {
        let mut weeks = histogram(604_800, None);
        // A Sunday and a Monday.
        weeks.add(&event("2024-06-30T12:00:00Z", "A"));
        weeks.add(&event("2024-07-01T12:00:00Z", "A"));
        let starts: Vec<String> =
            rows(&weeks.into_table(None, &log())).into_iter().map(|(time, _)| time).collect();
        assert_eq!(starts, ["2024-06-24T00:00:00Z", "2024-07-01T00:00:00Z"]);
    }

    #[test]
    fn the_largest_groups_have_columns() {
        let mut total = histogram(60, Some("eventName"));
        for number in 0..10 {
            let mut part = histogram(60, Some("eventName"));
            for _ in 0..=number {
                part.add(&event("2024-06-30T00:00:00Z", &format!("E{number}")));
            }
            total.merge(part);
        }
        let table = total.into_table(None, &log());
        assert_eq!(
            table.columns,
            ["time", "count", "E9", "E8", "E7", "E6", "E5", "E4", "E3", "E2", "(other)"]
        );
        assert_eq!(rows(&table)[0].1, [55, 10, 9, 8, 7, 6, 5, 4, 3, 3]);
    }

    #[test]
    fn an_interval_that_is_too_short_is_lengthened() {
        let mut seconds = histogram(1, None);
        for time in ["2014-01-01T00:00:00Z", "2024-01-01T00:00:01Z"] {
            let mut part = histogram(1, None);
            part.add(&event(time, "A"));
            seconds.merge(part);
        }
        assert!(seconds.row_count() <= MAX_ROWS);
        assert_eq!(interval_text(seconds.interval), "6h");
        let mut odd = histogram(420, None);
        odd.lengthen();
        assert_eq!(interval_text(odd.interval), "14m");
    }

    proptest! {
        #[test]
        fn every_event_is_in_the_row_of_its_time(
            times in prop::collection::vec(-2_000_000_000_i64..4_000_000_000, 1..60), interval in 1_u64..10_000_000, parts in 1_usize..5,
        ) {
            let mut total = histogram(interval, None);
            for part in times.chunks(times.len().div_ceil(parts)) {
                let mut histogram = histogram(interval, None);
                for time in part {
                    histogram.add(&event(&time_text(*time), "A"));
                }
                total.merge(histogram);
            }
            let used = total.interval;
            let table = rows(&total.into_table(None, &log()));
            prop_assert!(table.len() <= usize::try_from(MAX_ROWS).unwrap());
            for (start, counts) in table {
                let start: Timestamp = start.parse().unwrap();
                let range = start.as_second()..start.as_second() + used;
                let expected = times.iter().filter(|time| range.contains(time)).count() as u64;
                prop_assert_eq!(counts, vec![expected]);
            }
        }
    }
}
