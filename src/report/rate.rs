//! How fast it goes now, and how long it will still take.
//!
//! Pure: samples in, rates out. The window is short enough to show that the engine has slowed
//! down, and long enough not to jump with every batch.

use std::{collections::VecDeque, sync::atomic::Ordering::Relaxed, time::Duration};

use super::{figures, tally::SourceTally, tally::Tally};

/// How far back rates look.
const WINDOW: Duration = Duration::from_secs(15);

/// What has been done at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Records read.
    pub records: u64,
    /// Their uncompressed bytes.
    pub bytes_read: u64,
    /// Stored bytes read.
    pub bytes_consumed: u64,
    /// Stored bytes found.
    pub bytes_found: u64,
    /// Whether all there is was found.
    pub listed: bool,
}

impl From<&Tally> for Sample {
    fn from(tally: &Tally) -> Self {
        Self {
            records: tally.read.load(Relaxed),
            bytes_read: tally.bytes_read.load(Relaxed),
            bytes_consumed: tally.bytes_consumed.load(Relaxed),
            bytes_found: tally.bytes_found.load(Relaxed),
            listed: tally.listed.load(Relaxed),
        }
    }
}

impl Sample {
    /// Returns the sample of one SOURCE word of a run.
    pub fn of_source(source: &SourceTally, tally: &Tally) -> Self {
        Self {
            records: source.records.load(Relaxed),
            bytes_read: source.bytes_read.load(Relaxed),
            bytes_consumed: source.bytes_consumed.load(Relaxed),
            bytes_found: source.bytes_found.load(Relaxed),
            listed: tally.listed.load(Relaxed),
        }
    }
}

/// The samples of the last seconds.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    samples: VecDeque<(Duration, Sample)>,
}

/// How fast it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Speed {
    /// Records a second.
    pub records: f64,
    /// Uncompressed bytes a second.
    pub bytes: f64,
    /// Time until the end; `None` while that cannot be told, such as before everything is found.
    pub left: Option<Duration>,
}

impl Rate {
    /// Takes in a sample, `at` after the start of the run, and returns the speed.
    pub fn sample(&mut self, at: Duration, sample: Sample) -> Speed {
        self.samples.push_back((at, sample));
        // One sample older than the window stays, so that the window is always full.
        while self.samples.get(1).is_some_and(|(second, _)| at.saturating_sub(*second) >= WINDOW) {
            self.samples.pop_front();
        }
        let (since, first) = self.samples.front().copied().unwrap_or_default();
        let time = at.saturating_sub(since);
        // The very first sample has nothing before it but the start of the run.
        let (time, first) = if time.is_zero() { (at, Sample::default()) } else { (time, first) };
        let rate = |now: u64, then: u64| figures::per_second(now.saturating_sub(then), time);
        Speed {
            records: rate(sample.records, first.records),
            bytes: rate(sample.bytes_read, first.bytes_read),
            left: left(sample, rate(sample.bytes_consumed, first.bytes_consumed)),
        }
    }
}

fn left(sample: Sample, consumed_a_second: f64) -> Option<Duration> {
    let remaining = sample.bytes_found.saturating_sub(sample.bytes_consumed);
    if !sample.listed || sample.bytes_found == 0 || consumed_a_second <= 0.0 {
        return None;
    }
    Duration::try_from_secs_f64(figures::float(remaining) / consumed_a_second).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn done(records: u64) -> Sample {
        Sample {
            records,
            bytes_read: records * 100,
            bytes_consumed: records * 10,
            bytes_found: 10_000,
            listed: true,
        }
    }

    #[test]
    fn the_first_sample_counts_from_the_start() {
        let speed = Rate::default().sample(at(2), done(100));
        assert_eq!(figures::whole(speed.records), 50);
        assert_eq!(figures::whole(speed.bytes), 5_000);
        assert_eq!(speed.left, Some(at(18)));
    }

    #[test]
    fn only_the_window_counts() {
        let mut rate = Rate::default();
        rate.sample(at(0), done(0));
        rate.sample(at(100), done(500));
        let speed = rate.sample(at(110), done(600));
        assert!(speed.records < 7.0, "the window still holds the sample before it");
        let speed = rate.sample(at(116), done(660));
        assert_eq!(figures::whole(speed.records), 10);
    }

    #[test]
    fn nothing_moves_says_nothing_about_the_end() {
        let mut rate = Rate::default();
        rate.sample(at(0), done(0));
        assert_eq!(rate.sample(at(5), done(0)).left, None);
        let stdin = Sample { bytes_found: 0, ..done(5) };
        assert_eq!(rate.sample(at(6), stdin).left, None);
    }

    #[test]
    fn before_everything_is_found_nobody_knows_the_end() {
        let unlisted = Sample { listed: false, ..done(100) };
        assert_eq!(Rate::default().sample(at(2), unlisted).left, None);
    }
}
