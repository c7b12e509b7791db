//! Cells of CSV and TSV.
//!
//! Input: text of events. Output: cells, quoted as RFC 4180 defines, separated by a comma or a tab.
//! Invariant: a spreadsheet takes no cell for a formula: text that starts like one is preceded by `'`, as OWASP
//! recommends. Numbers stay as they are.

use std::borrow::Cow;

/// The character between two cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Separator {
    Comma,
    Tab,
}

/// What a cell holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CellKind {
    Text,
    Number,
}

impl Separator {
    /// Appends the cells of a line, without its end.
    pub(super) fn write_line<'c>(
        self,
        cells: impl Iterator<Item = (Cow<'c, str>, CellKind)>,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        for (at, (text, kind)) in cells.enumerate() {
            if at > 0 {
                out.push(self.byte());
            }
            self.write_cell(&text, kind, out);
        }
        if out.len() == start {
            // Readers drop an empty line.
            out.extend_from_slice(b"\"\"");
        }
    }

    fn write_cell(self, text: &str, kind: CellKind, out: &mut Vec<u8>) {
        let text = match kind {
            CellKind::Text if starts_like_formula(text) => Cow::Owned(format!("'{text}")),
            _ => Cow::Borrowed(text),
        };
        if !self.needs_quotes(&text) {
            out.extend_from_slice(text.as_bytes());
            return;
        }
        out.push(b'"');
        for part in text.split_inclusive('"') {
            out.extend_from_slice(part.as_bytes());
            if part.ends_with('"') {
                out.push(b'"');
            }
        }
        out.push(b'"');
    }

    fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Tab => b'\t',
        }
    }

    fn needs_quotes(self, text: &str) -> bool {
        text.bytes().any(|byte| matches!(byte, b'"' | b'\n' | b'\r') || byte == self.byte())
    }
}

/// Returns whether a spreadsheet may take a text for a formula: after an ASCII or full-width operator, or after a tab or
/// line break that it drops.
fn starts_like_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(separator: Separator, cells: &[&str]) -> String {
        let mut out = Vec::new();
        let cells = cells.iter().map(|cell| (Cow::Borrowed(*cell), CellKind::Text));
        separator.write_line(cells, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn cells_are_quoted_as_rfc_4180_defines() {
        assert_eq!(
            line(Separator::Comma, &["", "a", "b,c", "d\"e", "f\ng", ""]),
            ",a,\"b,c\",\"d\"\"e\",\"f\ng\","
        );
        assert_eq!(line(Separator::Tab, &["a,b", "c\td", "\""]), "a,b\t\"c\td\"\t\"\"\"\"");
        assert_eq!(line(Separator::Comma, &[""]), "\"\"");
    }

    #[test]
    fn no_text_becomes_a_formula() {
        for start in ["=", "+", "-", "@", "＝", "＋", "－", "＠"] {
            assert_eq!(line(Separator::Comma, &[&format!("{start}1")]), format!("'{start}1"));
        }
        assert_eq!(line(Separator::Comma, &["\t=1"]), "'\t=1");
        assert_eq!(line(Separator::Comma, &["\r=1"]), "\"'\r=1\"");
        assert_eq!(line(Separator::Comma, &["a=1", "1-2", "'"]), "a=1,1-2,'");
        let mut out = Vec::new();
        Separator::Comma.write_line([("-7".into(), CellKind::Number)].into_iter(), &mut out);
        assert_eq!(out, b"-7");
    }
}
