//! Goes through the text of one input and finds where its records start.
//!
//! At the top there may be any number of texts: objects, lists, lines with a time stamp before an object.
//! ColumnType: a broken line costs that line; a broken list costs the rest of the input; what was handed over stays.

mod item;
mod string;
mod table;
mod top;

use std::{borrow::Cow, io, rc::Rc};

use crate::source::{
    ForeignKind,
    decode::{Decoded, RecordHandler, InputFormat},
    json::skip::skip_space,
    unpack::ReadCounter,
    json::window::{WindowRead, TextWindow},
};

/// Why walking ends, or goes on at the next line.
enum Interrupt {
    /// Nobody wants more.
    Stopped,
    /// What is here makes no sense; that was noted.
    Invalid,
    /// Nothing of CloudTrail is in here; that was noted.
    Foreign,
    /// The system failed.
    Failed(io::Error),
}

type ScanResult<T = ()> = Result<T, Interrupt>;

/// The way through one text.
pub(in crate::source) struct RecordScanner<'a, R: RecordHandler + ?Sized> {
    window: TextWindow<'a>,
    /// Where we are in the window. What is before may be forgotten.
    at: usize,
    /// Where the line ends that must not be left, if broken lines were met.
    line_end: Option<usize>,
    /// A broken line was met: an object that begins compactly must end on its line.
    line_bounded: bool,
    /// PayloadForm many lists we are in.
    list_depth: u32,
    /// The packed data ended badly, which was noted.
    is_truncated: bool,
    /// Something looked like CloudTrail, or may have before it was cut off.
    may_be_cloudtrail: bool,
    /// Texts at the top so far.
    texts: u64,
    /// Zeros between them.
    zero_count: u64,
    scratch: &'a mut [Vec<u8>],
    /// This is a text within another one, which is within as many less one.
    depth: usize,
    /// Objects within each other that were gone into, looking for an event.
    document_depth: u32,
    meter: Rc<ReadCounter>,
    records: &'a mut R,
    out: Decoded,
}

/// The part of the window that may be looked at.
fn view<'v>(window: &'v TextWindow<'_>, line_end: Option<usize>) -> &'v [u8] {
    let text = window.text();
    &text[..line_end.unwrap_or(text.len())]
}

impl<'a, R: RecordHandler + ?Sized> RecordScanner<'a, R> {
    /// Returns a walk from the window's beginning.
    pub(in crate::source) fn new(
        window: TextWindow<'a>,
        scratch: &'a mut [Vec<u8>],
        meter: &Rc<ReadCounter>,
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
            texts: 0,
            zero_count: 0,
            scratch,
            depth: 0,
            document_depth: 0,
            meter: Rc::clone(meter),
            records,
            out: Decoded::default(),
        }
    }

    /// Goes to the end, and returns what there was and how the system failed, if it did.
    pub(in crate::source) fn scan(mut self) -> (Decoded, Option<io::Error>) {
        let failed = match self.scan_texts() {
            Err(Interrupt::Failed(error)) => Some(error),
            Err(Interrupt::Stopped) => {
                self.out.stopped = true;
                None
            }
            Ok(()) | Err(Interrupt::Invalid | Interrupt::Foreign) => None,
        };
        self.report_progress();
        if !self.may_be_cloudtrail && self.out.defect_count > 0 {
            self.mark_foreign();
        }
        if self.texts == 0 && self.zero_count > 0 && self.out.defect_count == 0 {
            self.count_foreign(ForeignKind::Zeros);
        }
        if self.out.is_foreign() && !self.out.foreign.is_empty() {
            self.out.format = InputFormat::Foreign;
        }
        self.out.bytes_read = self.window.end();
        self.out.bytes_consumed = self.meter.bytes.get();
        (self.out, failed)
    }

    fn text(&self) -> &[u8] {
        view(&self.window, self.line_end)
    }

    fn offset(&self, at: usize) -> u64 {
        self.window.before() + at as u64
    }

    /// Asks for more text; what is before [`Self::at`] is forgotten, so all other places move.
    fn read_more(&mut self) -> ScanResult<WindowRead> {
        if self.line_end.is_some() {
            return Ok(WindowRead::End);
        }
        if !self.records.go_on() {
            return Err(Interrupt::Stopped);
        }
        let keep = std::mem::take(&mut self.at);
        if let Some(bytes) = self.window.growth(keep) {
            self.records.reserve_window(bytes);
        }
        let more = self.window.read_more(keep);
        if self.window.is_usual() {
            self.records.release_window();
        }
        self.report_progress();
        match more {
            Ok(more) => Ok(more),
            Err(error) if self.meter.failed.get() => Err(Interrupt::Failed(error)),
            Err(error) => {
                self.add_defect(self.window.end(), error.to_string());
                self.is_truncated = true;
                self.may_be_cloudtrail = true;
                Ok(WindowRead::End)
            }
        }
    }

    fn report_progress(&mut self) {
        let bytes = self.meter.take_unreported();
        if bytes > 0 {
            self.records.consumed(bytes);
        }
    }

    /// Goes to the next byte that is not white space and returns it, or `None` at the end.
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

    fn set_format(&mut self, shape: InputFormat) {
        if self.out.format == InputFormat::Empty {
            self.out.format = shape;
        }
    }

    fn count_foreign(&mut self, kind: ForeignKind) {
        *self.out.foreign.entry(kind).or_default() += 1;
    }

    /// Settings, templates and scripts may begin like JSON too: broken is only what might be CloudTrail.
    fn mark_foreign(&mut self) {
        self.out.defects.clear();
        self.out.defect_count = 0;
        self.out.foreign.clear();
        self.out.format = InputFormat::Foreign;
        self.count_foreign(ForeignKind::Text);
    }

    fn add_defect(&mut self, offset: u64, cause: impl Into<Cow<'static, str>>) {
        self.out.add_defect(offset, cause);
    }

    fn invalid(&mut self, at: usize, cause: impl Into<Cow<'static, str>>) -> Interrupt {
        self.add_defect(self.offset(at), cause);
        Interrupt::Invalid
    }

    /// Notes that the text, or the line, ends inside `what`.
    fn truncated(&mut self, what: &str) -> Interrupt {
        self.may_be_cloudtrail = true;
        if !self.is_truncated {
            let container = match self.line_end {
                _ if self.depth > 0 => "text in this string",
                Some(_) => "line",
                None => "text",
            };
            let end = self.offset(self.text().len());
            self.add_defect(end, format!("the {container} ends inside {what}"));
        }
        Interrupt::Invalid
    }

    /// The same for something that begins at [`Self::at`].
    fn truncated_here(&mut self, what: &str) -> Interrupt {
        if self.depth > 0 {
            return self.truncated(what);
        }
        let start = self.offset(self.at);
        self.truncated(&format!("{what} that begins at byte {start}"))
    }
}
