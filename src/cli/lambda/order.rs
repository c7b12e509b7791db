//! In which order the messages of an invocation are processed.
//!
//! Input: the messages, and what became of those that were processed. Output: the next ones that are processed together.
//! Invariant: pure. Of a group of a FIFO queue, a message is processed only after the one before it is done; behind one that is not,
//! nothing is. All others are processed together.

use std::collections::HashSet;

use super::{
    answer::MessageResult,
    trigger::{QueueMessage, Trigger},
};

/// The order of the messages of an invocation.
pub(super) struct MessageOrder {
    /// The group of each message, if it has one.
    groups: Vec<Option<String>>,
    /// The messages that were not processed yet.
    waiting: Vec<usize>,
    /// The groups of which nothing more is processed.
    held: HashSet<String>,
}

impl MessageOrder {
    pub(super) fn new(trigger: &Trigger) -> Self {
        let group = |message: &QueueMessage| message.group.clone();
        let groups: Vec<_> = match trigger {
            Trigger::Queue(messages) => messages.iter().map(group).collect(),
            Trigger::Whole(_) => vec![None],
            Trigger::Schedule => Vec::new(),
        };
        let waiting = (0..groups.len()).collect();
        Self { groups, waiting, held: HashSet::new() }
    }

    /// Returns the messages that are to be processed next; none at the end.
    pub(super) fn next(&mut self) -> Vec<usize> {
        let Self { groups, waiting, held } = self;
        let mut begun = HashSet::new();
        let mut next = Vec::new();
        waiting.retain(|&message| {
            let group = groups.get(message).and_then(Option::as_ref);
            let is_next =
                group.is_none_or(|group| !held.contains(group) && begun.insert(group.as_str()));
            if is_next {
                next.push(message);
            }
            !is_next
        });
        next
    }

    /// Records what became of messages. `is_done` has the messages that are not delivered again.
    pub(super) fn on_end(&mut self, message: usize, is_done: bool) {
        let group = self.groups.get(message).and_then(Option::clone);
        self.held.extend(group.filter(|_| !is_done));
    }

    /// Returns the results of messages that were not processed, because one before them is not done.
    pub(super) fn hold_back(&self, results: &mut [MessageResult]) {
        for &message in &self.waiting {
            let group = self.groups.get(message).and_then(Option::as_ref);
            let is_held = group.is_some_and(|group| self.held.contains(group));
            if let Some(result) = results.get_mut(message).filter(|_| is_held) {
                *result = MessageResult::Failed {
                    cause: "not processed, because an earlier message of its group failed"
                        .to_owned(),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(groups: &[Option<&str>]) -> MessageOrder {
        let messages = groups.iter().enumerate().map(|(number, group)| QueueMessage {
            id: number.to_string(),
            group: group.map(str::to_owned),
            body: bytes::Bytes::new(),
        });
        MessageOrder::new(&Trigger::Queue(messages.collect()))
    }

    #[test]
    fn messages_without_order_are_processed_together() {
        let mut order = order(&[None, None, None]);
        assert_eq!((order.next(), order.next()), (vec![0, 1, 2], vec![]));
        let mut whole = MessageOrder::new(&Trigger::Whole(bytes::Bytes::new()));
        assert_eq!((whole.next(), whole.next()), (vec![0], vec![]));
        assert_eq!(MessageOrder::new(&Trigger::Schedule).next(), Vec::<usize>::new());
    }

    #[test]
    fn nothing_is_processed_before_or_behind_a_message_of_its_group_that_failed() {
        let mut order = order(&[Some("a"), Some("a"), Some("b"), Some("a"), Some("b"), Some("a")]);
        assert_eq!(order.next(), [0, 2]);
        order.on_end(0, true);
        order.on_end(2, true);
        assert_eq!(order.next(), [1, 4]);
        order.on_end(1, false);
        order.on_end(4, true);
        assert_eq!(order.next(), [0; 0]);
        let mut results = vec![MessageResult::Done; 6];
        order.hold_back(&mut results);
        let held: Vec<usize> = (0..6).filter(|message| !results[*message].is_done()).collect();
        assert_eq!(held, [3, 5]);
    }
}
