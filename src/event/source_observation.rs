//! What a source that is followed knows about its own state, for `status` and the log.
//!
//! Input: answers of the source. Output: one [`SourceObservation`] for each time that it was asked for new events.
//! Not here: how often a source is asked, and how observations are shown.

use jiff::Timestamp;

/// The state of a source that is followed, at a moment.
///
/// What a source does not know or does not have is `None`. An observation without `newest_event` or `covered_until` leaves the
/// value of an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceObservation {
    /// When the oldest message that waits was sent.
    pub oldest_waiting: Option<Timestamp>,
    /// Number of messages that wait.
    pub waiting: Option<u64>,
    /// Number of messages that were received and are not deleted yet.
    pub in_flight: Option<u64>,
    /// The time of the newest event that was found; for a bucket, when its newest log file was delivered.
    pub newest_event: Option<Timestamp>,
    /// Events up to this time are complete: they were read, and no late ones are expected.
    pub covered_until: Option<Timestamp>,
}

impl SourceObservation {
    /// Replaces this observation by a later one.
    pub fn update(&mut self, later: Self) {
        let Self { newest_event, covered_until, .. } = *self;
        *self = later;
        self.newest_event = self.newest_event.max(newest_event);
        self.covered_until = self.covered_until.or(covered_until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_later_observation_leaves_open_stays() {
        let at = |second| Timestamp::from_second(second).ok();
        let mut state = SourceObservation {
            oldest_waiting: at(1),
            waiting: Some(5),
            newest_event: at(9),
            covered_until: at(3),
            ..SourceObservation::default()
        };
        state.update(SourceObservation { newest_event: at(8), ..SourceObservation::default() });
        let expected = SourceObservation {
            newest_event: at(9),
            covered_until: at(3),
            ..SourceObservation::default()
        };
        assert_eq!(state, expected);
    }
}
