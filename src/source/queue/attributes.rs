//! The attributes of a queue, and what is wrong with them.
//!
//! Input: the attributes as SQS returns them. Output: [`QueueAttributes`], and the [`Weakness`]es of the queue for this program.
//! Not here: the requests.

use std::{collections::HashMap, fmt, time::Duration};

use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::Value;

use crate::report::format;

/// The visibility timeout that is enough for the largest log file and a slow engine.
const ENOUGH_VISIBILITY: Duration = Duration::from_mins(1);

/// The retention that is enough for a weekend.
const ENOUGH_RETENTION: Duration = Duration::from_hours(72);

/// Receives after which a message goes to the dead-letter queue, at least: every restart of a reader counts as one.
const ENOUGH_RECEIVES: u32 = 3;

/// The attributes of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueAttributes {
    /// How long a message is invisible once it was received.
    pub visibility: Option<Duration>,
    /// How long messages are kept.
    pub retention: Option<Duration>,
    /// Where messages go that nobody deletes.
    pub redrive: Option<Redrive>,
    /// The KMS key that messages are encrypted with.
    pub kms_key: Option<String>,
    /// Number of messages that wait.
    pub waiting: Option<u64>,
    /// Number of messages that are received and not deleted.
    pub in_flight: Option<u64>,
    /// Number of messages that are sent with a delay.
    pub delayed: Option<u64>,
}

/// The redrive policy of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    /// The ARN of the dead-letter queue.
    pub target: String,
    /// Number of receives after which a message goes there.
    pub max_receives: u32,
}

/// Something about a queue that should be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// The visibility timeout is short.
    ShortVisibility(Duration),
    /// Messages are kept for a short time.
    ShortRetention(Duration),
    /// There is no dead-letter queue.
    NoRedrive,
    /// Messages go to the dead-letter queue after few receives.
    FewReceives(u32),
}

impl QueueAttributes {
    /// Reads attributes as SQS returns them.
    pub(super) fn new(attributes: &HashMap<QueueAttributeName, String>) -> Self {
        use QueueAttributeName as Name;
        let number = |name: Name| attributes.get(&name).and_then(|text| text.parse::<u64>().ok());
        let duration = |name: Name| number(name).map(Duration::from_secs);
        Self {
            visibility: duration(Name::VisibilityTimeout),
            retention: duration(Name::MessageRetentionPeriod),
            redrive: attributes.get(&Name::RedrivePolicy).and_then(|text| Redrive::parse(text)),
            kms_key: attributes.get(&Name::KmsMasterKeyId).filter(|key| !key.is_empty()).cloned(),
            waiting: number(Name::ApproximateNumberOfMessages),
            in_flight: number(Name::ApproximateNumberOfMessagesNotVisible),
            delayed: number(Name::ApproximateNumberOfMessagesDelayed),
        }
    }

    /// Returns what should be changed about the queue.
    pub fn weaknesses(&self) -> Vec<Weakness> {
        let visibility = self.visibility.filter(|time| *time < ENOUGH_VISIBILITY);
        let retention = self.retention.filter(|time| *time < ENOUGH_RETENTION);
        let redrive = match &self.redrive {
            None => Some(Weakness::NoRedrive),
            Some(Redrive { max_receives, .. }) if *max_receives < ENOUGH_RECEIVES => {
                Some(Weakness::FewReceives(*max_receives))
            }
            Some(_) => None,
        };
        let times = visibility.map(Weakness::ShortVisibility).into_iter();
        times.chain(retention.map(Weakness::ShortRetention)).chain(redrive).collect()
    }
}

impl fmt::Display for QueueAttributes {
    /// Writes what waits, and how the queue is set up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { visibility, retention, redrive, waiting, in_flight, delayed, .. } = self;
        let waiting = waiting.unwrap_or_default() + delayed.unwrap_or_default();
        let in_flight = in_flight.unwrap_or_default();
        write!(f, "{} waiting, {in_flight} in flight", format::plural(waiting, "message"))?;
        if let Some(visibility) = visibility {
            write!(f, "; visibility timeout {}", format::duration(*visibility))?;
        }
        if let Some(retention) = retention {
            write!(f, "; kept for {}", format::duration(*retention))?;
        }
        if let Some(Redrive { target, max_receives }) = redrive {
            let receives = format::plural(u64::from(*max_receives), "receive");
            write!(f, "; to {target} after {receives}")?;
        }
        Ok(())
    }
}

impl Redrive {
    fn parse(policy: &str) -> Option<Self> {
        let policy: Value = serde_json::from_str(policy).ok()?;
        let receives = &policy["maxReceiveCount"];
        // SQS returns a number, and accepts a string.
        let receives = receives.as_u64().or_else(|| receives.as_str()?.parse().ok())?;
        Some(Self {
            target: policy["deadLetterTargetArn"].as_str()?.to_owned(),
            max_receives: u32::try_from(receives).unwrap_or(u32::MAX),
        })
    }
}

impl Weakness {
    /// Returns what to change.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::ShortVisibility(_) => {
                "set VisibilityTimeout to 300 seconds; messages are extended while they are processed, but a delay of one request must not make them visible"
            }
            Self::ShortRetention(_) => {
                "set MessageRetentionPeriod to 1209600 seconds (14 days), so that no message is lost while nobody reads the queue"
            }
            Self::NoRedrive => {
                "set a RedrivePolicy with a dead-letter queue, so that messages that cannot be processed do not return for ever"
            }
            Self::FewReceives(_) => {
                "set maxReceiveCount to 5: each restart while a message is processed counts as a receive"
            }
        }
    }
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShortVisibility(time) => {
                write!(f, "its visibility timeout is only {}", format::duration(*time))
            }
            Self::ShortRetention(time) => {
                write!(f, "it keeps messages for only {}", format::duration(*time))
            }
            Self::NoRedrive => f.write_str("it has no dead-letter queue"),
            Self::FewReceives(count) => write!(
                f,
                "messages go to its dead-letter queue after {}",
                format::plural(u64::from(*count), "receive")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(pairs: &[(QueueAttributeName, &str)]) -> QueueAttributes {
        let pairs = pairs.iter().map(|(name, text)| (name.clone(), (*text).to_owned()));
        QueueAttributes::new(&pairs.collect())
    }

    #[test]
    fn a_queue_with_everything_has_no_weakness() {
        use QueueAttributeName as Name;
        let good = attributes(&[
            (Name::VisibilityTimeout, "300"),
            (Name::MessageRetentionPeriod, "1209600"),
            (
                Name::RedrivePolicy,
                r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:111122223333:dead","maxReceiveCount":5}"#,
            ),
            (Name::KmsMasterKeyId, "alias/trail"),
            (Name::ApproximateNumberOfMessages, "12"),
            (Name::ApproximateNumberOfMessagesNotVisible, "3"),
        ]);
        assert_eq!(good.weaknesses(), []);
        assert_eq!((good.waiting, good.in_flight, good.delayed), (Some(12), Some(3), None));
        assert_eq!(good.kms_key.as_deref(), Some("alias/trail"));
    }

    #[test]
    fn weaknesses_have_advice() {
        use QueueAttributeName as Name;
        let weak = attributes(&[
            (Name::VisibilityTimeout, "30"),
            (Name::MessageRetentionPeriod, "3600"),
            (Name::RedrivePolicy, r#"{"deadLetterTargetArn":"a","maxReceiveCount":"1"}"#),
        ]);
        let shown: Vec<String> = weak.weaknesses().iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "its visibility timeout is only 30.0 s",
                "it keeps messages for only 1 h 0 min",
                "messages go to its dead-letter queue after 1 receive",
            ]
        );
        assert_eq!(attributes(&[]).weaknesses(), [Weakness::NoRedrive]);
        assert!(weak.weaknesses().iter().all(|weakness| weakness.advice().starts_with("set ")));
    }
}
