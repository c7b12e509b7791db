//! What a field must be for an expression to be true.
//!
//! Input: a syntax tree and a field. Output: the texts of which the field must have one, if the expression requires that.
//! Invariant: on an event where the field has none of these texts, the result is not true as JavaScript sees it, or a
//! function fails. So the expression needs no evaluation on such an event.

use serde_json::Value;

use super::{
    possible_kinds::possible_kinds,
    signature::{Function, Kinds},
    syntax_tree::{Comparator, Expr},
};

/// Returns the texts of which one is required of a field, which is given by the names of its path. `None` if the
/// expression can be true whatever the field is.
pub(super) fn required_texts<'a>(expr: &'a Expr, fields: &[&[&str]]) -> Option<Vec<&'a str>> {
    match expr {
        Expr::And(parts) => required_by_any(parts, fields),
        Expr::Or(parts) => {
            let each: Option<Vec<_>> =
                parts.iter().map(|part| required_texts(part, fields)).collect();
            Some(each?.concat())
        }
        Expr::Comparison { comparator: Comparator::Equal, left, right } => {
            match (&**left, &**right) {
                (field, Expr::Literal(Value::String(text)))
                | (Expr::Literal(Value::String(text)), field)
                    if is_field(field, fields) =>
                {
                    Some(vec![text])
                }
                _ => None,
            }
        }
        Expr::Call { function: Function::Contains, arguments, .. } => match &arguments[..] {
            [list, field] if is_field(field, fields) => literal_texts(list),
            _ => None,
        },
        _ => None,
    }
}

/// Returns the shortest requirement of a part that decides. `a && b` is `a` where `a` is an empty array or object, and
/// that is true in JavaScript whatever `b` is; so parts behind one that can be such a value do not decide.
fn required_by_any<'a>(parts: &'a [Expr], fields: &[&[&str]]) -> Option<Vec<&'a str>> {
    let mut shortest: Option<Vec<&'a str>> = None;
    for part in parts {
        if let Some(texts) = required_texts(part, fields)
            && shortest.as_ref().is_none_or(|shortest| texts.len() < shortest.len())
        {
            shortest = Some(texts);
        }
        if possible_kinds(part).intersects(Kinds::ARRAY.or(Kinds::OBJECT)) {
            break;
        }
    }
    shortest
}

fn is_field(expr: &Expr, fields: &[&[&str]]) -> bool {
    let Expr::Path(path) = expr else { return false };
    fields.iter().any(|field| path.iter().map(|part| part.name.as_str()).eq(field.iter().copied()))
}

/// Returns the texts of a list of literals.
fn literal_texts(list: &Expr) -> Option<Vec<&str>> {
    match list {
        Expr::Literal(Value::Array(items)) => items.iter().map(Value::as_str).collect(),
        Expr::List(items) => items
            .iter()
            .map(|item| match item {
                Expr::Literal(value) => value.as_str(),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Expression;

    const EVENT_NAME: &[&[&str]] = &[&["detail", "eventName"], &["flat", "eventName"]];

    #[test]
    fn a_requirement_is_found_where_it_decides() {
        for (text, expected) in [
            ("detail.eventName == 'A'", Some(vec!["A"])),
            ("'A' == flat.\"eventName\"", Some(vec!["A"])),
            ("contains(detail.x, 'y') && detail.eventName == 'A'", Some(vec!["A"])),
            (
                "detail.eventName == 'A' || detail.eventName == 'B' && detail.x == 'y'",
                Some(vec!["A", "B"]),
            ),
            ("contains(['A', 'B'], detail.eventName)", Some(vec!["A", "B"])),
            ("contains(`[\"A\"]`, detail.eventName) && detail.x", Some(vec!["A"])),
            ("detail.eventName == 'A' && detail.x", Some(vec!["A"])),
            // `[]` is the result where `detail.x` is that, and it is true.
            ("detail.x && detail.eventName == 'A'", None),
            ("detail.eventName == 'A' || detail.x", None),
            ("detail.eventName != 'A'", None),
            ("!(detail.eventName == 'A')", None),
            ("detail.eventName == `1`", None),
            ("detail.eventName", None),
        ] {
            let expression = Expression::parse(text).unwrap();
            assert_eq!(expression.required_texts(EVENT_NAME), expected, "{text}");
        }
    }
}
