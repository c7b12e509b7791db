//! The answer as a tree: indented names with types and paths.
//!
//! Input: an answer, the width of the terminal. Output: one line per field, and further lines for further paths, fields of the
//! index that differ from the path, and values. Invariant: a name is never cut; long patterns and lists of values are.

use std::{cell::RefCell, io::Write};

use console::measure_text_width;

use super::{
    PrintError,
    answer::{Answer, Section},
    html,
    view::{FieldView, Place, range},
};
use crate::{
    normalize::Rules,
    report::terminal::{Terminal, escape_unprintable},
    schema::fields::Step,
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
    let result = RefCell::new(Ok(()));
    answer.visit(section, rules, &mut |place, view| {
        let Some(view) = view else { return };
        let mut result = result.borrow_mut();
        if result.is_ok() {
            *result = print_field(place, view, width, terminal, out);
        }
    });
    result.into_inner()?;
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
        ("deprecated", field.member().is_some_and(|member| member.flags.deprecated)),
        ("added by CloudTrail", matches!(field.step, Step::Added(_)) && field.children.is_empty()),
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

fn print_field(
    place: Place<'_>,
    view: &FieldView<'_>,
    width: usize,
    terminal: Terminal,
    out: &mut dyn Write,
) -> Result<(), PrintError> {
    let head = head(place, view);
    let gap = width.saturating_sub(measure_text_width(&head));
    let Some((first, others)) = view.spelled.split_first() else {
        writeln!(out, "{head}{:gap$}  not logged", "")?;
        return Ok(());
    };
    writeln!(out, "{head}{:gap$}  {}", "", escape_unprintable(&first.path))?;
    for other in others {
        writeln!(out, "{:width$}  or {}", "", escape_unprintable(&other.path))?;
    }
    for spelled in view.spelled.iter().filter(|_| view.field.children.is_empty()) {
        let index = escape_unprintable(&spelled.index.path);
        if !spelled.index.is_mapped {
            writeln!(out, "{:width$}  in the index: a term of trailload.unmapped", "")?;
        } else if spelled.index.path != spelled.path {
            writeln!(out, "{:width$}  in the index: {index}", "")?;
        }
    }
    if let Some(text) = view.field.member().and_then(|member| member.documentation.as_deref()) {
        let indent = 4 + 2 * view.depth;
        let text = format!("{:indent$}{}", "", escape_unprintable(&html::to_text(text)));
        writeln!(out, "{}", terminal.wrap(&text, indent))?;
    }
    Ok(())
}
