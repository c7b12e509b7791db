//! Counts the inputs that a run hands to its workers, by folder.
//!
//! The checkpoint compares the count with the listing when a folder is complete. Memory is bounded by [`MAX_FOLDERS`]; a run that
//! follows a bucket holds the folders of the days that are still open.

use std::collections::BTreeMap;

use crate::source::{Content, Input};

/// Folders that are counted at the same time: a month of an organization with more than a hundred accounts. If there
/// are more, no folder is completed in this run; the next run finds their inputs done and completes them.
const MAX_FOLDERS: usize = 100_000;

/// The number of inputs handed to the workers, by folder.
#[derive(Default)]
pub(super) struct InputsByFolder {
    folders: BTreeMap<String, u64>,
    /// There were more than [`MAX_FOLDERS`]; nothing is counted any more.
    has_overflowed: bool,
}

impl InputsByFolder {
    /// Counts an input. Files are not counted, because their folders are never completed; neither are inputs whose source waits for
    /// their result, because they were named one by one, and the checkpoint does not count them either.
    pub(super) fn add(&mut self, input: &Input) {
        if !matches!(input.content, Content::File(_)) && input.result.is_none() {
            self.add_key(&input.partition.key);
        }
    }

    /// Counts the input of a partition key.
    pub(super) fn add_key(&mut self, key: &str) {
        let Some(slash) = key.rfind('/').filter(|_| !self.has_overflowed) else { return };
        let folder = &key[..=slash];
        if let Some(inputs) = self.folders.get_mut(folder) {
            *inputs += 1;
            return;
        }
        if self.folders.len() >= MAX_FOLDERS {
            *self = Self { has_overflowed: true, ..Self::default() };
            return;
        }
        self.folders.insert(folder.to_owned(), 1);
    }

    /// Removes the folders below a prefix and returns the number of their inputs, or `None` if it is unknown.
    pub(super) fn remove(&mut self, prefix: &str) -> Option<u64> {
        if self.has_overflowed {
            return None;
        }
        let below = self.folders.range(prefix.to_owned()..);
        let below: Vec<String> = below
            .map(|(folder, _)| folder)
            .take_while(|folder| folder.starts_with(prefix))
            .cloned()
            .collect();
        Some(below.iter().filter_map(|folder| self.folders.remove(folder)).sum())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        event::Partition,
        source::{ReservedBytes, result_channel},
    };

    #[test]
    fn the_inputs_below_a_prefix_are_summed_up_once() {
        let mut inputs = InputsByFolder::default();
        for key in
            ["s3://b/01/a", "s3://b/01/b", "s3://b/01/x/c", "s3://b/010/d", "s3://b/02/e", "-"]
        {
            inputs.add_key(key);
        }
        assert_eq!(inputs.remove("s3://b/01/"), Some(3));
        assert_eq!(inputs.remove("s3://b/01/"), Some(0));
        assert_eq!(inputs.remove("s3://b/02/"), Some(1));
    }

    #[test]
    fn inputs_that_a_queue_names_take_no_memory_over_days_and_those_of_a_bucket_until_their_day_is_over()
     {
        let input = |key: &str, result| Input {
            partition: Partition { key: key.to_owned(), fingerprint: "1:e".to_owned() },
            name: key.to_owned(),
            content: Content::Memory(ReservedBytes { bytes: Bytes::new(), permit: None }),
            size: 0,
            result,
        };
        let mut inputs = InputsByFolder::default();
        let mut most = 0;
        for day in 0..3_000 {
            for file in 0..20 {
                let named = format!("s3://b/named/{day}/{file}");
                inputs.add(&input(&named, Some(result_channel().0)));
                inputs.add(&input(&format!("s3://b/listed/{day}/{file}"), None));
            }
            if day >= 4 {
                assert_eq!(inputs.remove(&format!("s3://b/listed/{}/", day - 4)), Some(20));
            }
            most = most.max(inputs.folders.len());
        }
        assert_eq!(most, 4);
    }

    #[test]
    fn with_too_many_folders_every_count_is_unknown() {
        let mut inputs = InputsByFolder::default();
        for folder in 0..=MAX_FOLDERS {
            inputs.add_key(&format!("s3://b/{folder}/a"));
        }
        assert_eq!(inputs.remove("s3://b/1/"), None);
        assert!(inputs.folders.is_empty());
    }
}
