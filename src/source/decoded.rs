//! The report on one input: what was read from it, and what could not be read.

use std::{borrow::Cow, collections::BTreeMap};

use super::{input_format::InputFormat, json::classify::ForeignKind};
use crate::event::Fingerprint;

/// Defects that are kept per input. A report needs a few of them, not a million.
pub const MAX_DEFECTS_KEPT: usize = 20;

/// A place at which the content is damaged, invalid or not supported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// Offset in the decompressed text.
    pub offset: u64,
    /// The reason, as shown to the user.
    pub cause: Cow<'static, str>,
}

/// The report on one input.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// Number of records that were handled.
    pub records: u64,
    /// Number of records that exceed the maximum length.
    pub oversized: u64,
    /// Size of the decompressed text.
    pub text_bytes: u64,
    /// Size as stored.
    pub stored_bytes: u64,
    /// The form of the first record.
    pub format: InputFormat,
    /// Number of objects and texts that are not CloudTrail, by kind.
    pub foreign: BTreeMap<ForeignKind, u64>,
    /// The first [`MAX_DEFECTS_KEPT`] defects.
    pub defects: Vec<Defect>,
    /// Number of all defects.
    pub defect_count: u64,
    /// The file changed while it was read, and must not be recorded as complete.
    pub changed: bool,
    /// The input was not read to its end, because [`RecordHandler::is_stopped`](super::RecordHandler::is_stopped).
    pub stopped: bool,
    /// It is an archive.
    pub is_archive: bool,
    /// The fingerprint of a file, taken when it was opened: it identifies the content that was read.
    pub fingerprint: Option<Fingerprint>,
}

impl Decoded {
    /// Returns the number of objects and texts that are not CloudTrail.
    pub fn foreign_count(&self) -> u64 {
        self.foreign.values().sum()
    }

    /// Returns the report on an archive without members.
    pub(super) fn for_archive() -> Self {
        Self { is_archive: true, ..Self::default() }
    }

    /// Returns the report on an input with one defect.
    pub(super) fn for_defect(offset: u64, cause: impl Into<Cow<'static, str>>) -> Self {
        let mut decoded = Self::default();
        decoded.add_defect(offset, cause);
        decoded
    }

    /// Returns whether nothing in the input is CloudTrail, and nothing damaged may have been.
    pub fn is_foreign(&self) -> bool {
        self.records + self.oversized + self.defect_count == 0
            && (matches!(self.format, InputFormat::Empty | InputFormat::Foreign)
                || !self.foreign.is_empty())
    }

    /// Returns a description of the content that is not CloudTrail, or `None` if there is none. A list without records is
    /// CloudTrail.
    pub fn foreign_summary(&self) -> Option<String> {
        if self.format == InputFormat::Empty && self.foreign.is_empty() {
            let kind = match (self.stored_bytes, self.text_bytes) {
                _ if self.is_archive => "an archive without readable files",
                (0, _) => "an empty file (0 bytes)",
                (_, 0) => "compressed data without content",
                _ => "only white space",
            };
            return Some(kind.to_owned());
        }
        let kinds = self.foreign.iter().map(|(kind, count)| {
            if *count == 1 { kind.to_string() } else { format!("{kind} ({count} times)") }
        });
        let kinds: Vec<String> = kinds.collect();
        (!kinds.is_empty()).then(|| kinds.join(", "))
    }

    /// Adds a defect.
    pub(super) fn add_defect(&mut self, offset: u64, cause: impl Into<Cow<'static, str>>) {
        self.defect_count += 1;
        if self.defects.len() < MAX_DEFECTS_KEPT {
            self.defects.push(Defect { offset, cause: cause.into() });
        }
    }

    /// Adds the report on one member of an archive.
    pub(super) fn merge_member(&mut self, name: &str, member: Self) {
        self.records += member.records;
        self.oversized += member.oversized;
        self.text_bytes += member.text_bytes;
        self.stopped |= member.stopped;
        for (kind, count) in member.foreign {
            *self.foreign.entry(kind).or_default() += count;
        }
        self.defect_count += member.defect_count;
        let free = MAX_DEFECTS_KEPT - self.defects.len();
        self.defects.extend(member.defects.into_iter().take(free).map(
            |Defect { offset, cause }| Defect {
                offset,
                cause: format!("in {name}: {cause}").into(),
            },
        ));
        if matches!(self.format, InputFormat::Empty | InputFormat::Foreign)
            && member.format != InputFormat::Empty
        {
            self.format = member.format;
        }
    }
}
