//! The answer as a tree: indented names with types and paths.
//!
//! Input: an answer, the width of the terminal. Output: one line per field, and further lines for further paths, fields of the
//! index that differ from the path, and values. Invariant: a name is never cut; long patterns and lists of values are.

use std::io::Write;

use console::measure_text_width;

use super::{
    PrintError,
    answer::{Answer, Section},
    html,
    view::{FieldView, Place, range},
};
use crate::{
    normalize::Rules,
    report::{
        format::plural,
        terminal::{Terminal, escape_unprintable},
    },
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
fn print_section(
    answer: &Answer<'_>,
    section: &Section<'_>,
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
    let mut width = 0;
    let mut count = 0_usize;
    let mut has_required = false;
    answer.visit(section, rules, &mut |place, view| {
        if let Some(view) = view {
            let columns = measure_text_width(&head(place, view));
            width = width.max(columns.min(MOST_COLUMNS));
            count += 1;
            has_required |= view.field.member().is_some_and(|member| member.flags.required);
        }
    });
    if count == 0 {
        writeln!(out, "  none")?;
        return Ok(false);
    }
    let printer = FieldPrinter { width, terminal };
    // The number of paths of each field above: those of a field are printed where they become more.
    let mut paths = vec![printer.print_root(section, out)?];
    let mut result = Ok(());
    answer.visit(section, rules, &mut |place, view| {
        let Some(view) = view else {
            paths.pop();
            return;
        };
        let above = paths.last().copied().unwrap_or(1);
        paths.push(view.spelled.len());
        if result.is_ok() {
            result = printer.print(place, view, above, out);
        }
    });
    result?;
    Ok(has_required)
}

/// Returns the name and the type of a field.
fn head(place: Place<'_>, view: &FieldView<'_>) -> String {
    let field = view.field;
    let required = field.member().is_some_and(|member| member.flags.required);
    let mark = if required { "*" } else { "" };
    let indent = 2 + 2 * view.depth;
    format!("{:indent$}{}{mark}  {}", "", field.name(), constraints(place, view))
}

/// Returns the type of a field, its constraints and marks.
fn constraints(place: Place<'_>, view: &FieldView<'_>) -> String {
    let field = view.field;
    let mut parts = Vec::new();
    let mut kind = place.type_name(field).to_owned();
    if let Some(shape) = field.shape(place.service) {
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
        ("recursive", field.recursive),
        ("may be hidden", view.may_be_hidden),
        ("JSON as text", view.json_text),
        ("parsed JSON", view.parsed_json),
        ("deprecated", field.member().is_some_and(|member| member.flags.deprecated)),
        ("added by CloudTrail", place.is_added(field) && field.children.is_empty()),
    ];
    parts.extend(marks.iter().filter(|(_, set)| *set).map(|(mark, _)| (*mark).to_owned()));
    escape_unprintable(&parts.join(", "))
}

/// Cuts a long constraint; the other formats show all of it.
fn cut(text: &str) -> String {
    if text.chars().count() <= LONGEST_CONSTRAINT {
        return text.to_owned();
    }
    text.chars().take(LONGEST_CONSTRAINT - 1).chain(['…']).collect()
}

/// Prints the fields of a section.
struct FieldPrinter {
    /// Columns of the names and types.
    width: usize,
    terminal: Terminal,
}

impl FieldPrinter {
    /// Prints what is common to the paths of a section, and returns how many paths the section itself has.
    fn print_root(&self, section: &Section<'_>, out: &mut dyn Write) -> Result<usize, PrintError> {
        if !section.may_lack_wrapper {
            return Ok(1);
        }
        let width = self.width;
        writeln!(
            out,
            "  {:width$}some events lack the wrapper; --format json has both paths",
            "",
            width = width
        )?;
        Ok(2)
    }

    /// Prints a field. `above` is the number of paths of the field above.
    fn print(
        &self,
        place: Place<'_>,
        view: &FieldView<'_>,
        above: usize,
        out: &mut dyn Write,
    ) -> Result<(), PrintError> {
        let width = self.width;
        let head = head(place, view);
        let gap = width.saturating_sub(measure_text_width(&head));
        let Some((first, others)) = view.spelled.split_first() else {
            writeln!(out, "{head}{:gap$}  not logged", "")?;
            return self.print_documentation(view, out);
        };
        writeln!(out, "{head}{:gap$}  {}", "", escape_unprintable(&first.path))?;
        if view.spelled.len() > above {
            for other in others {
                writeln!(out, "{:width$}  or {}", "", escape_unprintable(&other.path))?;
            }
        }
        if view.field.children.is_empty() && !first.index.is_mapped {
            writeln!(out, "{:width$}  in the index: a term of trailload.unmapped", "")?;
        } else if view.field.children.is_empty() && first.index.path != first.path {
            let index = escape_unprintable(&first.index.path);
            writeln!(out, "{:width$}  in the index: {index}", "")?;
        }
        if let (Some(all), Some(seen)) = (place.observed, view.observed(place)) {
            let example = seen.example.map_or_else(String::new, |example| format!(": {example}"));
            let line = format!("in {} of {}{example}", seen.events, plural(all.events, "event"));
            writeln!(out, "{:width$}  {}", "", escape_unprintable(&line))?;
        }
        self.print_documentation(view, out)
    }

    fn print_documentation(
        &self,
        view: &FieldView<'_>,
        out: &mut dyn Write,
    ) -> Result<(), PrintError> {
        let text = view.field.member().and_then(|member| member.documentation.as_deref());
        let Some(text) = text else { return Ok(()) };
        let indent = 4 + 2 * view.depth;
        let text = format!("{:indent$}{}", "", escape_unprintable(&html::to_text(text)));
        writeln!(out, "{}", self.terminal.wrap(&text, indent))?;
        Ok(())
    }
}
