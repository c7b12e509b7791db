//! The answer as a tree: indented names with types and paths.
//!
//! Input: an answer, the width of the terminal. Output: one line per field, and further lines for further paths, fields of the
//! index that differ from the path, and values. Invariant: a name is never cut; long patterns and lists of values are.

use std::{
    io::{self, Write},
    rc::Rc,
};

use console::measure_text_width;

use super::{
    PrintError,
    answer::{Answer, Section},
    html,
    structured::write_blocks,
    view::{FieldCache, FieldView, Place, range},
};
use crate::{
    normalize::Rules,
    report::{
        format::plural,
        terminal::{Terminal, escape_unprintable, push_blanks, push_printable},
    },
    schema::fields::Next,
};

/// Columns that a pattern or a list of values may take.
const LONGEST_CONSTRAINT: usize = 48;

/// Columns of the first two columns together at most; longer lines push their path to the right.
const MOST_COLUMNS: usize = 72;

/// Prints an answer.
pub(super) fn print(
    answer: &Answer<'_>,
    rules: &Rules,
    terminal: Terminal,
    out: &mut dyn Write,
) -> Result<(), PrintError> {
    writeln!(out, "{} {}", answer.event_source, answer.event_names.join(" or "))?;
    if let Some(description) = &answer.description {
        writeln!(out, "{}", terminal.wrap(&escape_unprintable(description), 0))?;
    }
    let mut has_required = false;
    for section in &answer.sections {
        writeln!(out)?;
        has_required |= print_section(answer, section, rules, terminal, out)?;
    }
    if has_required {
        writeln!(out, "\n* required")?;
    }
    Ok(())
}

/// Prints a section, and returns whether a field is required.
fn print_section<'a>(
    answer: &Answer<'a>,
    section: &Section<'a>,
    rules: &Rules,
    terminal: Terminal,
    out: &mut dyn Write,
) -> Result<bool, PrintError> {
    if section.side.is_none() {
        writeln!(out, "{}", section.record_member)?;
    } else if section.is_logged {
        writeln!(out, "{} ({})", section.record_member, section.name)?;
    } else {
        writeln!(
            out,
            "{} ({}): not logged, because the call only reads",
            section.record_member, section.name
        )?;
    }
    let mut printer = FieldPrinter::new(terminal);
    let mut count = 0_usize;
    let mut has_required = false;
    answer.visit(section, rules, &mut |place, view| {
        if let Some(view) = view {
            printer.measure(place, view);
            count += 1;
            has_required |= view.field.member().is_some_and(|member| member.flags.required);
        }
        Next::Below
    });
    if count == 0 {
        writeln!(out, "  none")?;
        return Ok(false);
    }
    // The number of paths of each field above: those of a field are printed where they become more.
    let mut paths = vec![printer.print_root(section, out)?];
    let mut result = Ok(());
    answer.visit(section, rules, &mut |place, view| {
        let Some(view) = view else {
            paths.pop();
            return Next::Below;
        };
        let above = paths.last().copied().unwrap_or(1);
        paths.push(view.spelled.len());
        result = printer.print(place, view, above, out);
        if result.is_ok() { Next::Below } else { Next::Stop }
    });
    result?;
    printer.flush(out)?;
    Ok(has_required)
}

/// Returns the name and the type of a field, which are the same wherever it occurs.
fn head(place: Place<'_, '_>, view: &FieldView<'_, '_>) -> String {
    let field = view.field;
    let required = field.member().is_some_and(|member| member.flags.required);
    let mark = if required { "*" } else { "" };
    let name = field.name();
    escape_unprintable(&format!("{name}{mark}  {}", constraints(place, view)))
}

/// Returns the type of a field, its constraints and marks.
fn constraints(place: Place<'_, '_>, view: &FieldView<'_, '_>) -> String {
    let field = view.field;
    let mut parts = Vec::new();
    let mut kind = place.type_name(field).to_owned();
    if let Some(shape) = field.shape(place.service()) {
        if let Some(range) = range(shape) {
            kind.push(' ');
            kind.push_str(&range);
        }
        parts.push(kind);
        parts.extend(shape.pattern.as_deref().map(cut));
        if !shape.enumeration.is_empty() {
            parts.push(cut(&shape.enumeration.join(" | ")));
        }
    } else {
        parts.push(kind);
    }
    let marks = [
        ("JSON as text", view.facts.json_text),
        ("parsed JSON", view.facts.parsed_json),
        ("deprecated", field.member().is_some_and(|member| member.flags.deprecated)),
        ("added by CloudTrail", place.is_added(field) && !view.has_below),
    ];
    parts.extend(marks.iter().filter(|(_, set)| *set).map(|(mark, _)| (*mark).to_owned()));
    parts.join(", ")
}

/// Cuts a long constraint; the other formats show all of it.
fn cut(text: &str) -> String {
    if text.chars().count() <= LONGEST_CONSTRAINT {
        return text.to_owned();
    }
    text.chars().take(LONGEST_CONSTRAINT - 1).chain(['…']).collect()
}

/// What is printed of a field wherever it occurs.
struct Head {
    /// Name and type.
    text: String,
    columns: usize,
    /// The description, on one line.
    documentation: Option<String>,
}

/// Prints the fields of a section.
struct FieldPrinter {
    /// Columns of the names and types.
    width: usize,
    terminal: Terminal,
    heads: FieldCache<Head>,
    /// The lines that are not yet written, and the one that is being made.
    lines: String,
}

impl FieldPrinter {
    fn new(terminal: Terminal) -> Self {
        Self { width: 0, terminal, heads: FieldCache::new(), lines: String::new() }
    }

    fn head(&self, place: Place<'_, '_>, view: &FieldView<'_, '_>) -> Rc<Head> {
        self.heads.get(view.field, || {
            let text = head(place, view);
            let columns = measure_text_width(&text);
            let documentation = view.field.member().and_then(|one| one.documentation.as_deref());
            let documentation = documentation.map(|text| escape_unprintable(&html::to_text(text)));
            Head { text, columns, documentation }
        })
    }

    /// Makes room for a field that will be printed.
    fn measure(&mut self, place: Place<'_, '_>, view: &FieldView<'_, '_>) {
        let columns = indent(view) + self.head(place, view).columns + marks(view).len();
        self.width = self.width.max(columns.min(MOST_COLUMNS));
    }

    /// Prints what is common to the paths of a section, and returns how many paths the section itself has.
    fn print_root(&self, section: &Section<'_>, out: &mut dyn Write) -> io::Result<usize> {
        if !section.may_lack_wrapper {
            return Ok(1);
        }
        let note = "some events lack the wrapper; --format json has both paths";
        writeln!(out, "  {:width$}{note}", "", width = self.width)?;
        Ok(2)
    }

    /// Prints a field. `above` is the number of paths of the field above.
    fn print(
        &mut self,
        place: Place<'_, '_>,
        view: &FieldView<'_, '_>,
        above: usize,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let head = self.head(place, view);
        let marks = marks(view);
        let columns = indent(view) + head.columns + marks.len();
        self.pad(indent(view));
        self.lines.push_str(&head.text);
        self.lines.push_str(marks);
        self.pad(self.width.saturating_sub(columns));
        let Some((first, others)) = view.spelled.split_first() else {
            self.lines.push_str("  not logged");
            self.end_line(out)?;
            return self.print_documentation(view, &head, out);
        };
        self.lines.push_str("  ");
        push_printable(&mut self.lines, &first.path);
        self.end_line(out)?;
        if view.spelled.len() > above {
            for other in others {
                self.print_below("or ", &other.path, out)?;
            }
        }
        if !view.has_below && !first.index.is_mapped {
            self.print_below("in the index: ", "a term of trailload.unmapped", out)?;
        } else if !view.has_below && first.index.path != first.path {
            self.print_below("in the index: ", &first.index.path, out)?;
        }
        if let (Some(all), Some(seen)) = (place.observed, view.observed(place)) {
            let example = seen.example.map_or_else(String::new, |example| format!(": {example}"));
            let line = format!("{} of {}{example}", seen.events, plural(all.events, "event"));
            self.print_below("in ", &line, out)?;
        }
        self.print_documentation(view, &head, out)
    }

    /// Prints a line below the path of a field.
    fn print_below(&mut self, start: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
        self.pad(self.width + 2);
        self.lines.push_str(start);
        push_printable(&mut self.lines, text);
        self.end_line(out)
    }

    fn print_documentation(
        &mut self,
        view: &FieldView<'_, '_>,
        head: &Head,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let Some(text) = &head.documentation else { return Ok(()) };
        let indent = 2 + indent(view);
        let text = format!("{:indent$}{text}", "");
        self.lines.push_str(&self.terminal.wrap(&text, indent));
        self.end_line(out)
    }

    fn pad(&mut self, columns: usize) {
        push_blanks(&mut self.lines, columns);
    }

    fn end_line(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.lines.push('\n');
        write_blocks(&mut self.lines, out)
    }

    fn flush(&mut self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(self.lines.as_bytes())?;
        self.lines.clear();
        Ok(())
    }
}

fn indent(view: &FieldView<'_, '_>) -> usize {
    2 + 2 * view.depth
}

/// Returns the marks of a field that depend on where it is.
fn marks(view: &FieldView<'_, '_>) -> &'static str {
    match (view.recursive, view.may_be_hidden) {
        (true, true) => ", recursive, may be hidden",
        (true, false) => ", recursive",
        (false, true) => ", may be hidden",
        (false, false) => "",
    }
}
