//! Axes: where values and times are on a chart, and which of them are named.
//!
//! Input: the largest value; a time range. Output: positions and ticks.
//! Invariant: an axis has few ticks, at round values.

use jiff::{ToSpan as _, civil::Date, tz::TimeZone};

use super::super::time_scale::TimeScale;
use super::value;

/// Maximum number of ticks of a time axis: more would not fit into 360 pixels.
const MAX_TIME_TICKS: i64 = 6;

/// Maximum number of ticks of a value axis, besides 0.
const MAX_VALUE_TICKS: f64 = 4.0;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// 1970-01-05, a Monday.
const FIRST_MONDAY: i64 = 4 * DAY;

/// 9000-01-01: times beyond have no date to name.
const LATEST: i64 = 221_845_392_000_000;

/// The axis of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeAxis {
    /// The start of the first interval, in milliseconds since 1970.
    from: i64,
    /// The end of the last interval.
    to: i64,
    scale: TimeScale,
}

/// The distance of ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TickDistance {
    /// Milliseconds, counted from 1970.
    Fixed(i64),
    /// Seven days, from Monday to Monday.
    Week,
    /// Months, counted from January.
    Months(i64),
    /// Years, counted from 0.
    Years(i64),
}

/// From the shortest to the longest.
const STEPS: [TickDistance; 24] = [
    TickDistance::Fixed(MINUTE),
    TickDistance::Fixed(2 * MINUTE),
    TickDistance::Fixed(5 * MINUTE),
    TickDistance::Fixed(10 * MINUTE),
    TickDistance::Fixed(15 * MINUTE),
    TickDistance::Fixed(30 * MINUTE),
    TickDistance::Fixed(HOUR),
    TickDistance::Fixed(2 * HOUR),
    TickDistance::Fixed(3 * HOUR),
    TickDistance::Fixed(6 * HOUR),
    TickDistance::Fixed(12 * HOUR),
    TickDistance::Fixed(DAY),
    TickDistance::Fixed(2 * DAY),
    TickDistance::Week,
    TickDistance::Months(1),
    TickDistance::Months(2),
    TickDistance::Months(3),
    TickDistance::Months(6),
    TickDistance::Years(1),
    TickDistance::Years(2),
    TickDistance::Years(5),
    TickDistance::Years(10),
    TickDistance::Years(20),
    TickDistance::Years(50),
];

impl TimeAxis {
    /// Creates an axis from the interval of the first time to that of the last.
    pub(super) fn new(first: i64, last: i64, scale: TimeScale) -> Self {
        let [first, last] = [first, last].map(|time| time.clamp(-LATEST, LATEST));
        Self { from: scale.start(first), to: scale.next(scale.start(last)), scale }
    }

    /// Returns where the interval that starts at a time begins, and how wide it is, as parts of the axis.
    pub(super) fn interval(self, start: i64) -> (f64, f64) {
        let begin = self.position(start);
        (begin, self.position(self.scale.next(start)) - begin)
    }

    /// Returns where a time is, from 0 to 1.
    fn position(self, time: i64) -> f64 {
        let length = self.to.saturating_sub(self.from).max(1);
        #[expect(clippy::cast_precision_loss, reason = "a pixel is far longer than the error")]
        let position = time.saturating_sub(self.from) as f64 / length as f64;
        position.clamp(0.0, 1.0)
    }

    /// Returns the ticks: where they are, in the middle of the interval that they name, and their names.
    pub(super) fn ticks(self) -> Vec<(f64, String)> {
        let length = self.to.saturating_sub(self.from);
        // Between two intervals, there is nothing to name.
        let shortest = self.scale.next(self.from).saturating_sub(self.from);
        let fits = |step: &&TickDistance| {
            length / step.length() < MAX_TIME_TICKS && 2 * step.length() > shortest
        };
        let step = STEPS.iter().find(fits).copied().unwrap_or(TickDistance::Years(500));
        let mut ticks = Vec::new();
        let mut at = step.first(self.from);
        while let Some(time) = at.filter(|time| *time < self.to) {
            if ticks.len() > 2 * usize::try_from(MAX_TIME_TICKS).unwrap_or(0) {
                break;
            }
            let (begin, width) = self.interval(time);
            ticks.push((begin + width / 2.0, step.label(time)));
            at = step.next(time);
        }
        ticks
    }

    /// Returns what an interval is called.
    pub(super) fn unit(self) -> &'static str {
        self.scale.as_str()
    }

    /// Returns the range in words.
    pub(super) fn range(self) -> String {
        let format = match self.scale {
            TimeScale::Minute | TimeScale::Hour => "%Y-%m-%d %H:%M",
            TimeScale::Day => "%Y-%m-%d",
            TimeScale::Month => "%Y-%m",
            TimeScale::Year => "%Y",
        };
        let from = value::formatted(self.from, format);
        // The last interval, not the first moment behind it.
        let to = value::formatted(self.to - 1, format);
        if from == to { from } else { format!("{from} to {to}") }
    }

    /// Returns the start of an interval in as many characters as its length needs.
    pub(super) fn start(self, start: i64) -> String {
        TimeAxis { from: start, to: start + 1, scale: self.scale }.range()
    }
}

impl TickDistance {
    /// Returns its approximate length in milliseconds.
    fn length(self) -> i64 {
        match self {
            Self::Fixed(length) => length,
            Self::Week => 7 * DAY,
            Self::Months(months) => months * 30 * DAY,
            Self::Years(years) => years * 365 * DAY,
        }
    }

    /// Returns the first tick that is not before a time.
    fn first(self, time: i64) -> Option<i64> {
        let ceiling = |length: i64, offset: i64| {
            let over = (time - offset).rem_euclid(length);
            Some(if over == 0 { time } else { time - over + length })
        };
        match self {
            Self::Fixed(length) => ceiling(length, 0),
            Self::Week => ceiling(7 * DAY, FIRST_MONDAY),
            Self::Months(_) | Self::Years(_) => {
                let mut date = value::date_time(time)?.date().first_of_month();
                while milliseconds(date)? < time || !self.is_tick(date) {
                    date = date.checked_add(1.month()).ok()?;
                }
                milliseconds(date)
            }
        }
    }

    fn is_tick(self, date: Date) -> bool {
        let month = i64::from(date.month()) - 1;
        match self {
            Self::Fixed(_) | Self::Week => true,
            Self::Months(months) => month % months == 0,
            Self::Years(years) => month == 0 && i64::from(date.year()).rem_euclid(years) == 0,
        }
    }

    /// Returns the tick behind another.
    fn next(self, tick: i64) -> Option<i64> {
        let later = |date: Date, span: jiff::Span| milliseconds(date.checked_add(span).ok()?);
        match self {
            Self::Fixed(length) => tick.checked_add(length),
            Self::Week => tick.checked_add(7 * DAY),
            Self::Months(months) => later(value::date_time(tick)?.date(), months.months()),
            Self::Years(years) => later(value::date_time(tick)?.date(), years.years()),
        }
    }

    fn label(self, tick: i64) -> String {
        let format = match self {
            Self::Fixed(length) if length < DAY && tick.rem_euclid(DAY) != 0 => "%H:%M",
            Self::Fixed(_) | Self::Week => "%b %-d",
            Self::Months(_) => "%b %Y",
            Self::Years(_) => "%Y",
        };
        value::formatted(tick, format)
    }
}

fn milliseconds(date: Date) -> Option<i64> {
    date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_millisecond())
}

/// Returns the ticks of a value axis from 0 to at least the largest value; the last one is the end of the axis.
pub(super) fn value_ticks(largest: f64) -> Vec<f64> {
    let raw = (largest / MAX_VALUE_TICKS).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(raw.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= raw);
    // Counts have no parts.
    let step = step.unwrap_or(10.0 * power).max(1.0);
    let mut ticks = vec![0.0];
    let mut tick = step;
    while ticks.last().is_some_and(|last| *last < largest) && ticks.len() < 8 {
        ticks.push(tick);
        tick += step;
    }
    ticks
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn time(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn labels(from: &str, to: &str) -> String {
        let (from, to) = (time(from), time(to));
        let axis = TimeAxis::new(from, to, TimeScale::for_range(from, to + 1));
        let ticks = axis.ticks();
        assert!(ticks.iter().all(|(position, _)| (0.0..1.0).contains(position)), "{ticks:?}");
        assert!(ticks.is_sorted_by(|(one, _), (other, _)| one < other), "{ticks:?}");
        let labels: Vec<String> = ticks.into_iter().map(|(_, label)| label).collect();
        labels.join(", ")
    }

    #[test]
    fn ticks_are_few_and_at_round_times() {
        for (from, to, expected) in [
            ("2024-03-05T11:42:18Z", "2024-03-05T12:37:50Z", "11:50, 12:00, 12:10, 12:20, 12:30"),
            ("2024-03-05T20:00:00Z", "2024-03-06T04:00:00Z", "20:00, 22:00, Mar 6, 02:00, 04:00"),
            ("2024-03-05T00:00:00Z", "2024-03-08T00:00:00Z", "Mar 5, Mar 6, Mar 7, Mar 8"),
            ("2024-02-20T00:00:00Z", "2024-03-20T00:00:00Z", "Feb 26, Mar 4, Mar 11, Mar 18"),
            (
                "2023-11-03T00:00:00Z",
                "2024-03-01T00:00:00Z",
                "Dec 2023, Jan 2024, Feb 2024, Mar 2024",
            ),
            ("2013-11-01T00:00:00Z", "2026-07-29T00:00:00Z", "2015, 2020, 2025"),
            ("2024-03-05T11:42:18Z", "2024-03-05T11:42:18Z", "11:42"),
        ] {
            assert_eq!(labels(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn ticks_are_in_the_middle_of_the_interval_that_they_name() {
        let (from, to) = (time("2024-02-01T00:00:00Z"), time("2024-05-31T00:00:00Z"));
        let axis = TimeAxis::new(from, to, TimeScale::Month);
        let ticks = axis.ticks();
        assert_eq!(ticks.len(), 4);
        for (position, label) in ticks {
            let month = ["Feb 2024", "Mar 2024", "Apr 2024", "May 2024"].map(|name| name == label);
            let month = month.iter().position(|is_it| *is_it).unwrap() + 2;
            let (begin, width) = axis.interval(time(&format!("2024-{month:02}-01T00:00:00Z")));
            assert!((begin + width / 2.0 - position).abs() < 1e-9, "{label} {position}");
        }
        // One interval has one name, whatever its length.
        for scale in
            [TimeScale::Minute, TimeScale::Hour, TimeScale::Day, TimeScale::Month, TimeScale::Year]
        {
            let axis = TimeAxis::new(from, from, scale);
            let ticks = axis.ticks();
            assert!(ticks.len() <= 1, "{ticks:?}");
            assert!(ticks.iter().all(|(position, _)| (position - 0.5).abs() < 1e-9), "{ticks:?}");
        }
    }

    #[test]
    fn ranges_of_any_length_have_few_ticks() {
        let from = time("2013-11-05T11:42:18Z");
        let mut length = 1;
        while length < 2_500 * 365 * DAY {
            let to = from + length;
            let axis = TimeAxis::new(from, to, TimeScale::for_range(from, to));
            assert!(axis.ticks().len() <= 7, "{length} {:?}", axis.ticks());
            length *= 3;
        }
        TimeAxis::new(i64::MIN, i64::MAX, TimeScale::Minute).ticks();
    }

    #[test]
    fn intervals_divide_the_axis() {
        let axis = TimeAxis::new(
            time("2024-01-05T00:00:00Z"),
            time("2024-02-05T00:00:00Z"),
            TimeScale::Month,
        );
        assert_eq!(axis.range(), "2024-01 to 2024-02");
        let (begin, width) = axis.interval(time("2024-02-01T00:00:00Z"));
        assert!((begin - 31.0 / 60.0).abs() < 1e-9 && (width - 29.0 / 60.0).abs() < 1e-9);
    }

    #[test]
    fn values_have_few_round_ticks() {
        for (largest, expected) in [
            (0.0, vec![0.0]),
            (1.0, vec![0.0, 1.0]),
            (3.0, vec![0.0, 1.0, 2.0, 3.0]),
            (7.0, vec![0.0, 2.0, 4.0, 6.0, 8.0]),
            (1_958.0, vec![0.0, 500.0, 1_000.0, 1_500.0, 2_000.0]),
        ] {
            assert_eq!(value_ticks(largest), expected);
        }
        for largest in [1e300, f64::MIN_POSITIVE, 123_456_789.0] {
            assert!(value_ticks(largest).len() <= 6, "{largest}");
        }
    }
}
