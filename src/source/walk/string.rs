//! Records that are text within a string.

use super::{Records, Step, Walk, view};
use crate::source::{
    Kind,
    decode::{Shape, Taken},
    look::{Context, Look, look, skip_space},
    skip::skip_string,
    unescape::unescape,
    window::More,
};

impl<R: Records + ?Sized> Walk<'_, R> {
    /// Deals with the string that starts `inside` bytes behind [`Self::at`], and goes to its end.
    pub(super) fn string(&mut self, inside: usize, context: Context) -> Step {
        loop {
            let text = view(&self.window, self.line_end);
            let start = self.at + inside;
            if let Some(end) = skip_string(text, start) {
                self.scratch.clear();
                unescape(&text[start + 1..end - 1], self.scratch);
                let (object, offset) = (self.at, self.offset(start));
                self.at = end;
                let shape = if context == Context::Logs { Shape::Logs } else { Shape::Lookup };
                return match self.inner(offset, shape)? {
                    None => Ok(()),
                    Some(kind) if context == Context::Lookup => {
                        let why = if self.scratch.is_empty() {
                            "CloudTrailEvent is empty".to_owned()
                        } else {
                            format!("CloudTrailEvent holds {kind}")
                        };
                        self.without_record(object, start, why);
                        Ok(())
                    }
                    Some(kind) => {
                        self.foreign(kind);
                        Ok(())
                    }
                };
            }
            match self.more()? {
                More::Read => {}
                More::End => return Err(self.cut_here("an object")),
                More::Full => return self.too_long(inside),
            }
        }
    }

    /// Deals with the text in the scratch buffer, from a string at `offset`, and returns what it is if there is no record
    /// in it. What is broken here costs only itself.
    pub(super) fn inner(&mut self, offset: u64, shape: Shape) -> Step<Option<Kind>> {
        let start = skip_space(self.scratch, 0);
        if self.scratch.get(start) != Some(&b'{') {
            return Ok(Some(Kind::Text));
        }
        let record = match look(self.scratch, start, Context::Lookup) {
            Look::Record => start,
            Look::Inner(record) => record,
            Look::Silent => return Ok(None),
            Look::Foreign(kind) => return Ok(Some(kind)),
            Look::Text(_) | Look::List | Look::Event(_) | Look::WithoutRecord(_) => {
                return Ok(Some(Kind::Json));
            }
            Look::Incomplete { .. } => {
                self.note(offset, "the text in this string ends inside an object");
                return Ok(None);
            }
            Look::Broken { cause, .. } => {
                self.note(offset, cause);
                return Ok(None);
            }
        };
        self.shape(shape);
        match self.records.record(self.scratch, record) {
            Taken::Upto(_) => self.taken()?,
            Taken::Incomplete => self.note(offset, "the text in this string ends inside a record"),
            Taken::Broken { cause, .. } => self.note(offset, cause),
        }
        Ok(None)
    }
}
