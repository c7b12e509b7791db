//! Scans the text of one input and passes every record in it to a [`RecordHandler`].
//!
//! Input: a [`TextWindow`]. A text consists of any number of JSON values: objects, lists, strings with JSON, lines with a
//! timestamp before an object; or it is a table. Output: calls of the handler, and [`Decoded`].
//! Invariant: invalid JSON in a line affects that line; in a list, it ends the scan of the input. Records before it stay
//! handled.
//!
//! | file | responsible for |
//! |---|---|
//! | `top` | the values at the top level, and lines |
//! | `item` | lists, objects and records |
//! | `string` | texts in strings |
//! | `table` | rows of a table with a header |

mod item;
mod string;
mod table;
mod top;

use std::{borrow::Cow, io, rc::Rc};

use super::{
    classify::ForeignKind,
    record_handler::RecordHandler,
    skip::skip_space,
    window::{TextWindow, WindowRead},
};
use crate::source::{decoded::Decoded, input_format::InputFormat, unpack::ReadCounter};

/// Texts in strings in texts that are scanned: an event in a notification in a message of a queue is three deep.
pub(in crate::source) const MAX_TEXT_DEPTH: usize = 8;

/// The buffers of the texts in strings, the outermost first. A compressed text needs two.
pub(in crate::source) type ScratchBuffers = [Vec<u8>; 2 * MAX_TEXT_DEPTH];

/// The defect of an event that is nested more than [`MAX_TEXT_DEPTH`] texts deep.
const TOO_DEEP: &str = "an event nested in too many strings";

/// How a text is stored in a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StringEncoding {
    /// With the escapes of JSON.
    Json,
    /// In base64, perhaps compressed before.
    Base64,
}

/// Why a scan is interrupted. An invalid line interrupts only the scan of that line.
enum Interrupt {
    /// The handler is stopped.
    Stopped,
    /// The text is not valid JSON; the defect was added.
    Invalid,
    /// The text is not CloudTrail; it was counted.
    Foreign,
    /// The input cannot be read.
    Failed(io::Error),
}

type ScanResult<T = ()> = Result<T, Interrupt>;

/// The scan of one text.
pub(in crate::source) struct RecordScanner<'a, R: RecordHandler + ?Sized> {
    window: TextWindow<'a>,
    /// Offset in the window of the next byte to scan. Text before it may be dropped.
    at: usize,
    /// The end of the line that must not be left, if invalid lines were found before.
    line_end: Option<usize>,
    /// An invalid line was found: an object that is not pretty-printed must end on its line.
    line_bounded: bool,
    /// Number of lists that enclose the position.
    list_depth: u32,
    /// The compressed data ends early; the defect was added.
    is_truncated: bool,
    /// Something looked like CloudTrail, or may have before the text was truncated.
    may_be_cloudtrail: bool,
    /// Values at the top level so far.
    text_count: u64,
    /// Zero bytes between them.
    zero_count: u64,
    scratch: &'a mut [Vec<u8>],
    /// Number of texts that enclose this one.
    text_depth: usize,
    /// Number of documents that enclose the position.
    document_depth: u32,
    counter: Rc<ReadCounter>,
    records: &'a mut R,
    decoded: Decoded,
}

/// Returns the part of the window that may be scanned.
fn visible<'v>(window: &'v TextWindow<'_>, line_end: Option<usize>) -> &'v [u8] {
    let text = window.text();
    &text[..line_end.unwrap_or(text.len())]
}

impl<'a, R: RecordHandler + ?Sized> RecordScanner<'a, R> {
    /// Returns a scanner at the beginning of the window.
    pub(in crate::source) fn new(
        window: TextWindow<'a>,
        scratch: &'a mut [Vec<u8>],
        counter: &Rc<ReadCounter>,
        records: &'a mut R,
    ) -> Self {
        Self {
            window,
            at: 0,
            line_end: None,
            line_bounded: false,
            list_depth: 0,
            is_truncated: false,
            may_be_cloudtrail: false,
            text_count: 0,
            zero_count: 0,
            scratch,
            text_depth: 0,
            document_depth: 0,
            counter: Rc::clone(counter),
            records,
            decoded: Decoded::default(),
        }
    }

    /// Scans to the end of the text. Returns the report, and the error if the input could not be read.
    pub(in crate::source) fn scan(mut self) -> (Decoded, Option<io::Error>) {
        let failed = match self.scan_texts() {
            Err(Interrupt::Failed(error)) => Some(error),
            Err(Interrupt::Stopped) => {
                self.decoded.stopped = true;
                None
            }
            Ok(()) | Err(Interrupt::Invalid | Interrupt::Foreign) => None,
        };
        self.report_progress();
        if !self.may_be_cloudtrail && self.decoded.defect_count > 0 {
            self.mark_foreign();
        }
        if self.text_count == 0 && self.zero_count > 0 && self.decoded.defect_count == 0 {
            self.count_foreign(ForeignKind::Zeros);
        }
        if self.decoded.is_foreign() && !self.decoded.foreign.is_empty() {
            self.decoded.format = InputFormat::Foreign;
        }
        self.decoded.text_bytes = self.window.end();
        self.decoded.stored_bytes = self.counter.bytes.get();
        (self.decoded, failed)
    }

    fn text(&self) -> &[u8] {
        visible(&self.window, self.line_end)
    }

    /// Returns the offset in the text of an offset in the window.
    fn offset(&self, at: usize) -> u64 {
        self.window.before() + at as u64
    }

    /// Reads more text. Text before [`Self::at`] is dropped, so that offsets in the window change.
    fn read_more(&mut self) -> ScanResult<WindowRead> {
        if self.line_end.is_some() {
            return Ok(WindowRead::End);
        }
        self.records.before_read();
        if self.records.is_stopped() {
            return Err(Interrupt::Stopped);
        }
        let keep = std::mem::take(&mut self.at);
        if let Some(bytes) = self.window.growth(keep) {
            self.records.reserve_window(bytes);
        }
        let read = self.window.read_more(keep);
        if self.window.has_initial_size() {
            self.records.release_window();
        }
        self.report_progress();
        match read {
            Ok(read) => Ok(read),
            Err(error) if self.counter.failed.get() => Err(Interrupt::Failed(error)),
            Err(error) => {
                self.add_defect(self.window.end(), error.to_string());
                self.is_truncated = true;
                self.may_be_cloudtrail = true;
                Ok(WindowRead::End)
            }
        }
    }

    fn report_progress(&mut self) {
        let bytes = self.counter.take_unreported();
        if bytes > 0 {
            self.records.stored_bytes_read(bytes);
        }
    }

    /// Moves to the next byte that is not white space, and returns it, or `None` at the end.
    fn peek(&mut self) -> ScanResult<Option<u8>> {
        loop {
            self.at = skip_space(self.text(), self.at);
            if let Some(&byte) = self.text().get(self.at) {
                return Ok(Some(byte));
            }
            if self.read_more()? == WindowRead::End {
                return Ok(None);
            }
        }
    }

    fn set_format(&mut self, format: InputFormat) {
        if self.decoded.format == InputFormat::Empty {
            self.decoded.format = format;
        }
    }

    fn count_foreign(&mut self, kind: ForeignKind) {
        *self.decoded.foreign.entry(kind).or_default() += 1;
    }

    /// Reports the input as text that is not CloudTrail. Templates and scripts may start like JSON; invalid JSON is a
    /// defect only where it may have been CloudTrail.
    fn mark_foreign(&mut self) {
        self.decoded.defects.clear();
        self.decoded.defect_count = 0;
        self.decoded.foreign.clear();
        self.decoded.format = InputFormat::Foreign;
        self.count_foreign(ForeignKind::Text);
    }

    fn add_defect(&mut self, offset: u64, cause: impl Into<Cow<'static, str>>) {
        self.decoded.add_defect(offset, cause);
    }

    /// Adds the defect that the text is not valid JSON.
    fn invalid(&mut self, at: usize, cause: impl Into<Cow<'static, str>>) -> Interrupt {
        self.add_defect(self.offset(at), cause);
        Interrupt::Invalid
    }

    /// Adds the defect that the text, or the line, ends inside `what`.
    fn truncated(&mut self, what: &str) -> Interrupt {
        self.may_be_cloudtrail = true;
        if !self.is_truncated {
            let container = match self.line_end {
                _ if self.text_depth > 0 => "text in this string",
                Some(_) => "line",
                None => "text",
            };
            let end = self.offset(self.text().len());
            self.add_defect(end, format!("the {container} ends inside {what}"));
        }
        Interrupt::Invalid
    }

    /// Adds the defect that the text ends inside `what`, which starts at [`Self::at`].
    fn truncated_here(&mut self, what: &str) -> Interrupt {
        if self.text_depth > 0 {
            return self.truncated(what);
        }
        let start = self.offset(self.at);
        self.truncated(&format!("{what} that begins at byte {start}"))
    }
}
