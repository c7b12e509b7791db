//! Current throughput and estimated remaining time.
//!
//! Input: samples of the counters. Output: rates over a sliding window, which is short enough to show when the engine slows
//! down, and long enough not to fluctuate with every batch.
//! Invariant: no I/O and no clock; the caller passes the time.

use std::{collections::VecDeque, sync::atomic::Ordering::Relaxed, time::Duration};

use super::{format, metrics::Metrics, metrics::SourceMetrics};

/// Length of the sliding window.
const WINDOW: Duration = Duration::from_secs(15);

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// Records read.
    pub(super) records: u64,
    /// Bytes of the records, uncompressed.
    pub(super) bytes_read: u64,
    /// Bytes of input consumed, as stored.
    pub(super) bytes_consumed: u64,
    /// Bytes of input found, as stored.
    pub(super) bytes_found: u64,
    /// Whether all inputs have been found.
    pub(super) listed: bool,
}

impl From<&Metrics> for Sample {
    fn from(metrics: &Metrics) -> Self {
        Self {
            records: metrics.read.load(Relaxed),
            bytes_read: metrics.bytes_read.load(Relaxed),
            bytes_consumed: metrics.bytes_consumed.load(Relaxed),
            bytes_found: metrics.bytes_found.load(Relaxed),
            listed: metrics.listed.load(Relaxed),
        }
    }
}

impl Sample {
    /// Returns the sample of one SOURCE argument.
    pub(super) fn from_source(source: &SourceMetrics, metrics: &Metrics) -> Self {
        Self {
            records: source.records.load(Relaxed),
            bytes_read: source.bytes_read.load(Relaxed),
            bytes_consumed: source.bytes_consumed.load(Relaxed),
            bytes_found: source.bytes_found.load(Relaxed),
            listed: metrics.listed.load(Relaxed),
        }
    }
}

/// Computes the throughput over a sliding window of samples.
#[derive(Clone, Debug, Default)]
pub(super) struct ThroughputMeter {
    samples: VecDeque<(Duration, Sample)>,
}

/// Throughput and estimated remaining time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Throughput {
    /// Records per second.
    pub(super) records: f64,
    /// Uncompressed bytes per second.
    pub(super) bytes: f64,
    /// Estimated remaining time, or `None` if unknown, for example before all inputs have been found.
    pub(super) left: Option<Duration>,
}

impl ThroughputMeter {
    /// Adds a sample taken at the time `at` since the start of the run, and returns the throughput.
    pub(super) fn sample(&mut self, at: Duration, sample: Sample) -> Throughput {
        self.samples.push_back((at, sample));
        // One sample that is older than the window is kept, so that the window is always covered.
        while self.samples.get(1).is_some_and(|(second, _)| at.saturating_sub(*second) >= WINDOW) {
            self.samples.pop_front();
        }
        let (since, first) = self.samples.front().copied().unwrap_or_default();
        let time = at.saturating_sub(since);
        // The first sample is compared with the start of the run.
        let (time, first) = if time.is_zero() { (at, Sample::default()) } else { (time, first) };
        let rate = |now: u64, then: u64| format::per_second(now.saturating_sub(then), time);
        Throughput {
            records: rate(sample.records, first.records),
            bytes: rate(sample.bytes_read, first.bytes_read),
            left: left(sample, rate(sample.bytes_consumed, first.bytes_consumed)),
        }
    }
}

fn left(sample: Sample, consumed_per_second: f64) -> Option<Duration> {
    let remaining = sample.bytes_found.saturating_sub(sample.bytes_consumed);
    if !sample.listed || sample.bytes_found == 0 || consumed_per_second <= 0.0 {
        return None;
    }
    Duration::try_from_secs_f64(format::as_f64(remaining) / consumed_per_second).ok()
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
        let speed = ThroughputMeter::default().sample(at(2), done(100));
        assert_eq!(format::round(speed.records), 50);
        assert_eq!(format::round(speed.bytes), 5_000);
        assert_eq!(speed.left, Some(at(18)));
    }

    #[test]
    fn only_the_window_counts() {
        let mut rate = ThroughputMeter::default();
        rate.sample(at(0), done(0));
        rate.sample(at(100), done(500));
        let speed = rate.sample(at(110), done(600));
        assert!(speed.records < 7.0, "the window still contains the sample before it");
        let speed = rate.sample(at(116), done(660));
        assert_eq!(format::round(speed.records), 10);
    }

    #[test]
    fn nothing_moves_says_nothing_about_the_end() {
        let mut rate = ThroughputMeter::default();
        rate.sample(at(0), done(0));
        assert_eq!(rate.sample(at(5), done(0)).left, None);
        let stdin = Sample { bytes_found: 0, ..done(5) };
        assert_eq!(rate.sample(at(6), stdin).left, None);
    }

    #[test]
    fn before_everything_is_found_nobody_knows_the_end() {
        let unlisted = Sample { listed: false, ..done(100) };
        assert_eq!(ThroughputMeter::default().sample(at(2), unlisted).left, None);
    }
}
