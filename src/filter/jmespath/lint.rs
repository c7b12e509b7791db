//! Finds what is valid in an expression and probably means something else than its author believes.
//!
//! Input: a syntax tree. Output: lints, each with its place and the fix.
//! Invariant: no expression whose result is meant is reported for its form alone; a lint never changes the result.

use super::{
    functions::described,
    node::Node,
    possible_kinds::possible_kinds,
    signature::{Function, Kinds, Parameter, Signature},
    syntax_tree::{Expr, Field},
};
use crate::filter::eventbridge::{FIELDS, FLAT};

/// The fields at the top of a CloudTrail event, as its documentation lists them for version 1.11.
const TOP_LEVEL_FIELDS: [&str; 28] = [
    "additionalEventData",
    "addendum",
    "apiVersion",
    "awsRegion",
    "edgeDeviceDetails",
    "errorCode",
    "errorMessage",
    "eventCategory",
    "eventID",
    "eventName",
    "eventSource",
    "eventTime",
    "eventType",
    "eventVersion",
    "insightDetails",
    "managementEvent",
    "readOnly",
    "recipientAccountId",
    "requestID",
    "requestParameters",
    "responseElements",
    "serviceEventDetails",
    "sessionCredentialFromConsole",
    "sharedEventID",
    "sourceIPAddress",
    "tlsDetails",
    "userAgent",
    "userIdentity",
];

/// A part of an expression that probably means something else than its author believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lint {
    /// What is probably wrong.
    pub kind: LintKind,
    /// Offset in the expression, in bytes.
    pub offset: usize,
    /// What the expression means, in lower case without a full stop.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

/// The kind of a [`Lint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LintKind {
    /// `!a.b` negates `a`.
    NegatedPath,
    /// `"Root"` or `Root` is the name of a field, not text.
    TextWithoutQuotes,
    /// `false` is the name of a field, not a boolean.
    BareLiteral,
    /// The first field of a path is not one that EventBridge delivers.
    MissingDetail,
    /// The result is a list, which is true even if it is empty.
    ListAsResult,
    /// A function that accepts none of its possible arguments.
    AlwaysFails,
    /// The result does not depend on the event.
    Constant,
}

/// Returns the lints of an expression.
pub(super) fn lints(root: &Expr, text: &str) -> Vec<Lint> {
    let mut linter = Linter { text, lints: Vec::new() };
    linter.visit(root, Scope::Event);
    linter.check_result(root);
    linter.lints.sort_by_key(|lint| lint.offset);
    linter.lints
}

struct Linter<'t> {
    text: &'t str,
    lints: Vec<Lint>,
}

/// What the current node of a part of an expression is.
#[derive(Clone, Copy, PartialEq)]
enum Scope {
    /// The event as EventBridge delivers it, whose fields are known.
    Event,
    /// Something within it.
    Part,
}

impl Linter<'_> {
    fn visit(&mut self, expr: &Expr, scope: Scope) {
        match expr {
            Expr::Chain(parts) => {
                self.check_negated_path(parts);
                for (position, part) in parts.iter().enumerate() {
                    self.visit(part, if position == 0 { scope } else { Scope::Part });
                }
            }
            Expr::Projection { list, each } => {
                self.visit(list, scope);
                self.visit(each, Scope::Part);
            }
            Expr::Reference(inner) => self.visit(inner, Scope::Part),
            Expr::Path(fields) if scope == Scope::Event => self.check_path(fields),
            Expr::Comparison { left, right, .. } => {
                if scope == Scope::Part {
                    self.check_boolean(left);
                    self.check_operand(right);
                }
                self.visit(left, scope);
                self.visit(right, scope);
            }
            _ => {
                self.check_call(expr);
                if scope == Scope::Part {
                    self.check_text_argument(expr);
                }
                for child in children(expr) {
                    self.visit(child, scope);
                }
            }
        }
    }

    /// `!a.b` is parsed as `(!a).b`, the field of a boolean, which is null.
    fn check_negated_path(&mut self, parts: &[Expr]) {
        let [Expr::Not(negated), rest, ..] = parts else { return };
        // In `(!a) | b`, the parentheses show that it is meant.
        if !matches!(
            rest,
            Expr::Path(_) | Expr::Index(_) | Expr::Slice { .. } | Expr::Projection { .. }
        ) {
            return;
        }
        let Some(offset) = first_offset(negated) else { return };
        let Some(bang) = self.text.get(..offset).and_then(|before| before.rfind('!')) else {
            return;
        };
        let path = self.path_from(offset);
        self.report(
            LintKind::NegatedPath,
            bang,
            format!("`!` negates only the first field of `{path}`, so the result is always null"),
            format!("!({path})"),
        );
    }

    /// Checks a path that starts at the event: its first field must be one that EventBridge delivers.
    fn check_path(&mut self, fields: &[Field]) {
        let Some(first) = fields.first() else { return };
        let Field { name, offset } = first;
        if FIELDS.contains(&name.as_str()) || name == FLAT || name == "null" {
            return;
        }
        if TOP_LEVEL_FIELDS.contains(&name.as_str()) {
            let path = self.path_from(*offset);
            let message = format!("`{name}` is a field of the event, which is in `detail`");
            let fix = format!("detail.{path}");
            self.report(LintKind::MissingDetail, *offset, message, fix);
        } else if fields.len() == 1 {
            self.report_name(first);
        } else {
            let message =
                format!("there is no field `{name}`; the fields are {}", FIELDS.join(", "));
            self.report(
                LintKind::MissingDetail,
                *offset,
                message,
                format!("detail.{}", self.path_from(*offset)),
            );
        }
    }

    /// Checks the right side of a comparison within a filter, where names of fields are common but not in quotation marks.
    fn check_operand(&mut self, operand: &Expr) {
        let Expr::Path(fields) = operand else { return };
        if let [field] = &fields[..]
            && (self.is_quoted(field) || matches!(field.name.as_str(), "true" | "false"))
        {
            self.report_name(field);
        }
    }

    /// Checks the left side of a comparison within a filter.
    fn check_boolean(&mut self, operand: &Expr) {
        let Expr::Path(fields) = operand else { return };
        if let [field] = &fields[..]
            && matches!(field.name.as_str(), "true" | "false")
            && !self.is_quoted(field)
        {
            self.report_name(field);
        }
    }

    /// Checks what a text is compared with by a function within a filter.
    fn check_text_argument(&mut self, call: &Expr) {
        let Expr::Call { function, arguments, .. } = call else { return };
        let compares_text =
            matches!(function, Function::Contains | Function::StartsWith | Function::EndsWith);
        if let Some(argument) = arguments.get(1).filter(|_| compares_text) {
            self.check_operand(argument);
        }
    }

    fn is_quoted(&self, field: &Field) -> bool {
        self.text.get(field.offset..).is_some_and(|rest| rest.starts_with('"'))
    }

    /// Reports the name of a field where text or a boolean is probably meant.
    fn report_name(&mut self, field: &Field) {
        let Field { name, offset } = field;
        if matches!(name.as_str(), "true" | "false") && !self.is_quoted(field) {
            let message = format!("{name} is the name of a field here, not a boolean");
            let fix = format!("`{name}` in backticks, or '{name}' where the event has text");
            self.report(LintKind::BareLiteral, *offset, message, fix);
        } else {
            let shown = if self.is_quoted(field) { format!("\"{name}\"") } else { name.clone() };
            let message = format!("{shown} is the name of a field here, not text");
            self.report(LintKind::TextWithoutQuotes, *offset, message, format!("'{name}'"));
        }
    }

    fn check_call(&mut self, call: &Expr) {
        let Expr::Call { function, offset, arguments } = call else { return };
        let signature = Signature::of(*function);
        for (position, argument) in arguments.iter().enumerate() {
            let Some(parameter) = signature.parameter(position) else { continue };
            if parameter == Parameter::Reference || !never_accepted(parameter, argument) {
                continue;
            }
            let found = match argument {
                Expr::Literal(value) => described(Node::Json(value).kind()).to_owned(),
                _ => possible_kinds(argument).names(),
            };
            self.report(
                LintKind::AlwaysFails,
                *offset,
                format!(
                    "{}() takes {} as argument {}, not {found}, so it fails on every event",
                    signature.name,
                    parameter.description(),
                    position + 1
                ),
                format!("{} as argument {}", parameter.description(), position + 1),
            );
        }
    }

    /// A result that is true whatever the event.
    fn check_result(&mut self, root: &Expr) {
        if let Expr::Literal(_) = root {
            self.report(
                LintKind::Constant,
                0,
                "the result does not depend on the event".to_owned(),
                "a comparison of a field with it".to_owned(),
            );
        } else {
            self.check_list(root, root);
        }
    }

    /// Reports a list that decides about the result: an operand of `&&`, the last one of `||`, or the whole expression.
    fn check_list(&mut self, expr: &Expr, root: &Expr) {
        match expr {
            Expr::And(parts) => parts.iter().for_each(|part| self.check_list(part, root)),
            Expr::Or(parts) => {
                if let Some(last) = parts.last() {
                    self.check_list(last, root);
                }
            }
            _ if is_list(expr) => {
                let is_whole = std::ptr::eq(expr, root);
                let offset = if is_whole { 0 } else { first_offset(expr).unwrap_or(0) };
                let text = if is_whole { self.text.trim() } else { self.path_from(offset) };
                let fix = match expr {
                    Expr::Object(_) => "a comparison of one of its values".to_owned(),
                    Expr::Call { .. } | Expr::List(_) if !is_whole => "length(…) > `0`".to_owned(),
                    _ => format!("length({text}) > `0`"),
                };
                let message = match expr {
                    Expr::Object(_) => "the result is an object, and every object is true",
                    _ if is_whole => "the result is a list, and an empty list is true",
                    _ => "the result can be this list, and an empty list is true",
                };
                self.report(LintKind::ListAsResult, offset, message.to_owned(), fix);
            }
            _ => {}
        }
    }

    /// Returns the text of the path at an offset.
    fn path_from(&self, offset: usize) -> &str {
        let rest = self.text.get(offset..).unwrap_or_default();
        let mut quoted = false;
        let mut depth = 0_usize;
        let end = rest.find(|character: char| {
            match character {
                '"' => quoted = !quoted,
                '[' if !quoted => depth += 1,
                ']' if !quoted && depth > 0 => {
                    depth -= 1;
                    return false;
                }
                _ => {}
            }
            !quoted
                && depth == 0
                && !(character.is_alphanumeric()
                    || matches!(character, '.' | '_' | '"' | '*' | ' '))
        });
        rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest).trim_end()
    }

    fn report(&mut self, kind: LintKind, offset: usize, message: String, fix: String) {
        self.lints.push(Lint { kind, offset, message, fix });
    }
}

/// Returns the direct parts of an expression.
fn children(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Current | Expr::Path(_) | Expr::Index(_) | Expr::Slice { .. } | Expr::Literal(_) => {
            Vec::new()
        }
        Expr::Chain(parts) | Expr::Or(parts) | Expr::And(parts) | Expr::List(parts) => {
            parts.iter().collect()
        }
        Expr::Not(inner) | Expr::Flatten(inner) | Expr::Values(inner) | Expr::Reference(inner) => {
            vec![inner]
        }
        Expr::Comparison { left, right, .. } => vec![left, right],
        Expr::Condition { predicate, then } => vec![predicate, then],
        Expr::Projection { list, each } => vec![list, each],
        Expr::Object(entries) => entries.iter().map(|(_, value)| value).collect(),
        Expr::Call { arguments, .. } => arguments.iter().collect(),
    }
}

/// Returns the offset of the first field of an expression.
fn first_offset(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Call { offset, .. } => Some(*offset),
        Expr::Path(fields) => fields.first().map(|field| field.offset),
        _ => children(expr).into_iter().find_map(first_offset),
    }
}

/// Returns whether an expression is a list of what was found, as a filter or `[*]` yields it.
fn is_projection(expr: &Expr) -> bool {
    match expr {
        Expr::Projection { .. } | Expr::Flatten(_) | Expr::Values(_) => true,
        Expr::Chain(parts) => parts
            .last()
            .is_some_and(|part| is_projection(part) || matches!(part, Expr::Slice { .. })),
        _ => false,
    }
}

/// Returns whether an expression is an array or an object, or null.
fn is_list(expr: &Expr) -> bool {
    match expr {
        Expr::List(_) | Expr::Object(_) => true,
        Expr::Call { function, .. } => {
            let others = Kinds::NULL.or(Kinds::BOOLEAN).or(Kinds::NUMBER).or(Kinds::STRING);
            !Signature::of(*function).returns.intersects(others)
        }
        // What is meant by `!a.b[*]` is reported already.
        Expr::Chain(parts) if matches!(parts.first(), Some(Expr::Not(_))) => false,
        Expr::Chain(parts) => is_projection(expr) || parts.last().is_some_and(is_list),
        Expr::Projection { list, .. } => {
            !matches!(&**list, Expr::Chain(parts) if matches!(parts.first(), Some(Expr::Not(_))))
        }
        _ => is_projection(expr),
    }
}

/// Returns whether no value that an expression can have is accepted.
fn never_accepted(parameter: Parameter, argument: &Expr) -> bool {
    match argument {
        Expr::Literal(value) => !parameter.accepts(&Node::Json(value)),
        _ => !parameter.kinds().intersects(possible_kinds(argument)),
    }
}
