//! The answer to an invocation.
//!
//! Input: what became of the messages. Output: the response, or the error that makes Lambda deliver them again.
//! Invariant: a message is answered as processed only if its [`MessageResult`] is [`MessageResult::Done`]. Of a FIFO group, no message
//! behind one that failed is, because it would come before that one otherwise.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{
    runtime_api::{InvocationErrorKind, ReportedError},
    settings::with_variables,
    trigger::QueueMessage,
};
use crate::cli::failure::Failure;

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MessageResult {
    /// Everything in it is processed, and its alerts are delivered.
    Done,
    /// It is not CloudTrail's.
    Foreign {
        /// What it is instead.
        reason: String,
    },
    /// It was not processed completely.
    Failed {
        /// The cause.
        cause: String,
    },
    /// The time was over before it was processed.
    Unfinished,
}

impl MessageResult {
    pub(super) fn is_done(&self) -> bool {
        *self == Self::Done
    }

    /// Adds the result of another part of the message. The first part that is not done decides, but one that is not CloudTrail's does
    /// not hide that another one has to come again.
    pub(super) fn add(&mut self, part: Self) {
        let is_decided = match self {
            Self::Done => false,
            Self::Foreign { .. } => matches!(part, Self::Done | Self::Foreign { .. }),
            Self::Failed { .. } | Self::Unfinished => true,
        };
        if !is_decided {
            *self = part;
        }
    }

    /// Names the variables of the function instead of options.
    pub(super) fn name_variables(&mut self) {
        if let Self::Failed { cause } = self {
            *cause = with_variables(cause);
        }
    }

    /// Returns why the message is not done.
    pub(super) fn reason(&self) -> Option<String> {
        match self {
            Self::Done => None,
            Self::Foreign { reason } => Some(format!("not CloudTrail: {reason}")),
            Self::Failed { cause } => Some(cause.clone()),
            Self::Unfinished => {
                Some("not processed before the deadline of the invocation".to_owned())
            }
        }
    }

    fn error_kind(&self) -> InvocationErrorKind {
        match self {
            Self::Foreign { .. } => InvocationErrorKind::ForeignMessage,
            Self::Unfinished => InvocationErrorKind::Deadline,
            Self::Done | Self::Failed { .. } => InvocationErrorKind::Incomplete,
        }
    }
}

/// Names the failure of a run as the cause for messages that it did not come to.
pub(super) fn blame(results: &mut [MessageResult], failure: &Failure) {
    let parts = std::iter::once(&failure.heading).chain(&failure.causes).map(String::as_str);
    let cause = parts.collect::<Vec<_>>().join(": ");
    for result in results.iter_mut().filter(|result| **result == MessageResult::Unfinished) {
        *result = MessageResult::Failed { cause: cause.clone() };
    }
}

/// Answers messages that are not CloudTrail's as processed.
pub(super) fn accept_foreign(results: &mut [MessageResult]) {
    for result in
        results.iter_mut().filter(|result| matches!(result, MessageResult::Foreign { .. }))
    {
        *result = MessageResult::Done;
    }
}

/// Returns the response to a batch of a queue: the ids of the messages to deliver again.
pub(super) fn to_queue(messages: &[QueueMessage], results: &[MessageResult]) -> Value {
    let mut failed_groups = HashSet::new();
    let mut failures = Vec::new();
    for (message, result) in messages.iter().zip(results) {
        let is_behind_failed =
            message.group.as_ref().is_some_and(|group| failed_groups.contains(group));
        if result.is_done() && !is_behind_failed {
            continue;
        }
        failed_groups.extend(&message.group);
        failures.push(json!({ "itemIdentifier": message.id }));
    }
    json!({ "batchItemFailures": failures })
}

/// Returns the error of an invocation that is retried as a whole, if its message is not done.
pub(super) fn error(result: &MessageResult) -> Option<ReportedError> {
    Some(ReportedError::new(result.error_kind(), result.reason()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> MessageResult {
        MessageResult::Failed { cause: "no receiver".to_owned() }
    }

    fn answer(messages: &[(&str, Option<&str>, MessageResult)]) -> Vec<String> {
        let queue: Vec<QueueMessage> = messages
            .iter()
            .map(|(id, group, _)| QueueMessage {
                id: (*id).to_owned(),
                group: group.map(str::to_owned),
                body: bytes::Bytes::new(),
            })
            .collect();
        let results: Vec<MessageResult> =
            messages.iter().map(|(_, _, result)| result.clone()).collect();
        let response = to_queue(&queue, &results);
        let failures = response["batchItemFailures"].as_array().unwrap();
        failures
            .iter()
            .map(|failure| failure["itemIdentifier"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn exactly_the_messages_that_are_not_done_come_again() {
        use MessageResult::{Done, Unfinished};
        let foreign = MessageResult::Foreign { reason: "text".to_owned() };
        let batch = [
            ("1", None, Done),
            ("2", None, failed()),
            ("3", None, Done),
            ("4", None, foreign),
            ("5", None, Unfinished),
        ];
        assert_eq!(answer(&batch), ["2", "4", "5"]);
        assert_eq!(answer(&batch[..1]), [""; 0]);
    }

    #[test]
    fn a_part_that_is_foreign_does_not_hide_one_that_failed() {
        use MessageResult::{Done, Unfinished};
        let foreign = || MessageResult::Foreign { reason: "text".to_owned() };
        let of = |parts: [MessageResult; 2]| {
            let mut results = [Done];
            for part in parts {
                results[0].add(part);
            }
            accept_foreign(&mut results);
            results[0].clone()
        };
        assert_eq!(of([foreign(), failed()]), failed());
        assert_eq!(of([failed(), foreign()]), failed());
        assert_eq!(of([foreign(), Unfinished]), Unfinished);
        assert_eq!(of([failed(), Unfinished]), failed());
        assert_eq!(of([foreign(), Done]), Done);
    }

    #[test]
    fn nothing_overtakes_a_failed_message_of_its_group() {
        use MessageResult::Done;
        let batch = [
            ("1", Some("a"), Done),
            ("2", Some("a"), failed()),
            ("3", Some("b"), Done),
            ("4", Some("a"), Done),
            ("5", Some("b"), Done),
        ];
        assert_eq!(answer(&batch), ["2", "4"]);
    }

    #[test]
    fn a_run_that_failed_is_the_cause_for_what_it_did_not_come_to() {
        let mut failure = Failure::action_required("cannot open c.sqlite").hint("make room");
        failure.causes = vec!["no space left on device".to_owned()];
        let mut results = [MessageResult::Unfinished, MessageResult::Done, failed()];
        blame(&mut results, &failure);
        let reasons = results.map(|result| result.reason());
        let reasons = reasons.each_ref().map(Option::as_deref);
        let expected = "cannot open c.sqlite: no space left on device";
        assert_eq!(reasons, [Some(expected), None, Some("no receiver")]);
    }

    #[test]
    fn an_error_names_its_kind_and_cause() {
        assert_eq!(error(&MessageResult::Done), None);
        let error = error(&failed()).unwrap();
        assert_eq!((error.kind, &*error.message), (InvocationErrorKind::Incomplete, "no receiver"));
    }
}
