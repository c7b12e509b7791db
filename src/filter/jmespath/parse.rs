//! Parses the text of an expression into a syntax tree.
//!
//! Input: text. Output: a [`SyntaxError`], or a syntax tree of limited depth in which each function exists and has as many
//! arguments as it takes.
//! Invariant: no text makes the parser use much stack or time; the limits are checked before it runs.
//!
//! The grammar is that of the `jmespath` crate. Stricter than it: a function that is unknown, that has too few or too
//! many arguments, or a reference (`&name`) where none belongs, is an error here and not only when an event is evaluated.

use jmespath::{
    ErrorReason, JmespathError,
    ast::{Ast, Comparator as AstComparator},
};
use serde_json::Value;

use super::{
    signature::{Parameter, SIGNATURES, Signature},
    syntax_tree::{Comparator, Expr, Field},
};
use crate::filter::syntax::{SyntaxError, check_limits};

/// The most projections, indices and negations of an expression. The parser needs stack for each of them (about 2 KB
/// without optimization); the longest public rules have less than 20.
const MAX_PROJECTIONS: usize = 250;

/// The deepest syntax tree. Evaluation needs stack for each level; a level of brackets is a few of them.
const MAX_DEPTH: usize = 64;

/// How similar (Jaro-Winkler, 0 to 1) a function is that is suggested instead of one that does not exist: `startsWith` for
/// `starts_with` has 0.97, `lower` for `floor` 0.78.
const MIN_SIMILARITY: f64 = 0.85;

/// Parses an expression.
pub(super) fn parse(text: &str) -> Result<Expr, SyntaxError> {
    check_limits(text)?;
    check_projections(text)?;
    let ast = jmespath::parse(text).map_err(|error| syntax_error(text, &error))?;
    Converter { text }.convert(&ast, 0)
}

/// Checks how many operators there are that the parser recurses for.
fn check_projections(text: &str) -> Result<(), SyntaxError> {
    let mut count = 0;
    let mut quote = None;
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((offset, byte)) = bytes.next() {
        match quote {
            Some(_) if byte == b'\\' => drop(bytes.next()),
            Some(end) if byte == end => quote = None,
            None if matches!(byte, b'\'' | b'"' | b'`') => quote = Some(byte),
            // `&&` and `!=` are no negations or references.
            None if byte == b'&' && bytes.next_if(|(_, next)| *next == b'&').is_some() => {}
            None if byte == b'!' && bytes.next_if(|(_, next)| *next == b'=').is_some() => {}
            None if matches!(byte, b'[' | b'*' | b'!' | b'&') => count += 1,
            Some(_) | None => {}
        }
        if count > MAX_PROJECTIONS {
            let message = format!(
                "the expression has more than {MAX_PROJECTIONS} projections, indices and negations"
            );
            return Err(SyntaxError::new(text, offset, message));
        }
    }
    Ok(())
}

/// Converts the crate's syntax tree.
struct Converter<'t> {
    text: &'t str,
}

impl Converter<'_> {
    fn convert(&self, ast: &Ast, depth: usize) -> Result<Expr, SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(self.error(offset_of(ast), "the expression is nested too deeply from here"));
        }
        let inner = |ast: &Ast| self.convert(ast, depth + 1);
        let boxed = |ast: &Ast| inner(ast).map(Box::new);
        let list = |asts: &[Ast]| asts.iter().map(inner).collect::<Result<Vec<_>, _>>();
        Ok(match ast {
            Ast::Identity { .. } => Expr::Current,
            Ast::Field { name, offset } => {
                Expr::Path(vec![Field { name: name.clone(), offset: *offset }])
            }
            Ast::Index { idx, .. } => Expr::Index(*idx),
            Ast::Slice { step: 0, offset, .. } => {
                return Err(self.error(*offset, "the step of a slice is 0"));
            }
            Ast::Slice { start, stop, step, .. } => {
                Expr::Slice { start: *start, stop: *stop, step: *step }
            }
            Ast::Literal { value, .. } => {
                Expr::Literal(serde_json::to_value(value).unwrap_or(Value::Null))
            }
            Ast::Subexpr { .. } => chain(
                spine(ast, |ast| match ast {
                    Ast::Subexpr { lhs, rhs, .. } => Some((lhs, rhs)),
                    _ => None,
                }),
                inner,
            )?,
            Ast::Or { .. } => Expr::Or(
                spine(ast, |ast| match ast {
                    Ast::Or { lhs, rhs, .. } => Some((lhs, rhs)),
                    _ => None,
                })
                .into_iter()
                .map(inner)
                .collect::<Result<_, _>>()?,
            ),
            Ast::And { .. } => Expr::And(
                spine(ast, |ast| match ast {
                    Ast::And { lhs, rhs, .. } => Some((lhs, rhs)),
                    _ => None,
                })
                .into_iter()
                .map(inner)
                .collect::<Result<_, _>>()?,
            ),
            Ast::Not { node, .. } => Expr::Not(boxed(node)?),
            Ast::Comparison { comparator, lhs, rhs, .. } => Expr::Comparison {
                comparator: comparator.into(),
                left: boxed(lhs)?,
                right: boxed(rhs)?,
            },
            Ast::Condition { predicate, then, .. } => {
                Expr::Condition { predicate: boxed(predicate)?, then: boxed(then)? }
            }
            Ast::Flatten { node, .. } => Expr::Flatten(boxed(node)?),
            Ast::ObjectValues { node, .. } => Expr::Values(boxed(node)?),
            Ast::Projection { lhs, rhs, .. } => {
                Expr::Projection { list: boxed(lhs)?, each: boxed(rhs)? }
            }
            Ast::MultiList { elements, .. } => Expr::List(list(elements)?),
            Ast::MultiHash { elements, .. } => Expr::Object(
                elements
                    .iter()
                    .map(|pair| Ok((pair.key.clone(), inner(&pair.value)?)))
                    .collect::<Result<_, SyntaxError>>()?,
            ),
            Ast::Expref { offset, .. } => {
                let message =
                    "a reference such as &name belongs only into functions such as sort_by()";
                return Err(self.error(*offset, message));
            }
            Ast::Function { name, args, offset } => self.call(name, args, *offset, depth)?,
        })
    }

    /// Converts a call. `parenthesis` is the offset of its opening parenthesis.
    fn call(
        &self,
        name: &str,
        arguments: &[Ast],
        parenthesis: usize,
        depth: usize,
    ) -> Result<Expr, SyntaxError> {
        let before = self.text.get(..parenthesis).unwrap_or_default().trim_end();
        let offset = before.len().saturating_sub(name.len());
        let signature = Signature::find(name).ok_or_else(|| self.unknown_function(name, offset))?;
        if !signature.accepts_count(arguments.len()) {
            let message = format!(
                "{name}() takes {}, not {}",
                signature.count_description(),
                arguments.len()
            );
            return Err(self.error(offset, message));
        }
        let arguments: Result<Vec<Expr>, SyntaxError> = arguments
            .iter()
            .enumerate()
            .map(|(position, argument)| self.argument(signature, position, argument, depth))
            .collect();
        Ok(Expr::Call { function: signature.function, offset, arguments: arguments? })
    }

    fn argument(
        &self,
        signature: &Signature,
        position: usize,
        argument: &Ast,
        depth: usize,
    ) -> Result<Expr, SyntaxError> {
        let is_reference = signature.parameter(position) == Some(Parameter::Reference);
        match argument {
            Ast::Expref { ast, .. } if is_reference => {
                Ok(Expr::Reference(Box::new(self.convert(ast, depth + 1)?)))
            }
            _ if is_reference => {
                let message = format!(
                    "argument {} of {}() is a reference such as &name",
                    position + 1,
                    signature.name
                );
                Err(self
                    .error(offset_of(argument), message)
                    .suggest("put `&` before the expression"))
            }
            _ => self.convert(argument, depth + 1),
        }
    }

    fn unknown_function(&self, name: &str, offset: usize) -> SyntaxError {
        let error = self.error(offset, format!("there is no function {name}()"));
        let names = SIGNATURES.iter().map(|signature| signature.name);
        let similarity = |known: &str| strsim::jaro_winkler(&name.to_ascii_lowercase(), known);
        let nearest =
            names.clone().max_by(|left, right| similarity(left).total_cmp(&similarity(right)));
        match nearest.filter(|nearest| similarity(nearest) > MIN_SIMILARITY) {
            Some(nearest) => error.suggest(format!("write {nearest}()")),
            None => {
                error.suggest(format!("the functions are {}", names.collect::<Vec<_>>().join(", ")))
            }
        }
    }

    fn error(&self, offset: usize, message: impl Into<String>) -> SyntaxError {
        SyntaxError::new(self.text, offset, message)
    }
}

/// Returns the operands of an operator that associates to the left, from the first to the last.
fn spine<'a>(
    ast: &'a Ast,
    operands: impl Fn(&'a Ast) -> Option<(&'a Ast, &'a Ast)>,
) -> Vec<&'a Ast> {
    let mut parts = Vec::new();
    let mut first = ast;
    while let Some((left, right)) = operands(first) {
        parts.push(right);
        first = left;
    }
    parts.push(first);
    parts.reverse();
    parts
}

/// Joins the parts of `a.b.c`; neighbouring fields become one path.
fn chain<'a>(
    parts: Vec<&'a Ast>,
    convert: impl Fn(&'a Ast) -> Result<Expr, SyntaxError>,
) -> Result<Expr, SyntaxError> {
    let mut chain: Vec<Expr> = Vec::new();
    for part in parts {
        match (chain.last_mut(), convert(part)?) {
            (Some(Expr::Path(path)), Expr::Path(fields)) => path.extend(fields),
            (_, Expr::Chain(parts)) => chain.extend(parts),
            (_, part) => chain.push(part),
        }
    }
    Ok(if chain.len() == 1 { chain.swap_remove(0) } else { Expr::Chain(chain) })
}

fn offset_of(ast: &Ast) -> usize {
    match ast {
        Ast::Comparison { offset, .. }
        | Ast::Condition { offset, .. }
        | Ast::Identity { offset }
        | Ast::Expref { offset, .. }
        | Ast::Flatten { offset, .. }
        | Ast::Function { offset, .. }
        | Ast::Field { offset, .. }
        | Ast::Index { offset, .. }
        | Ast::Literal { offset, .. }
        | Ast::MultiList { offset, .. }
        | Ast::MultiHash { offset, .. }
        | Ast::Not { offset, .. }
        | Ast::Projection { offset, .. }
        | Ast::ObjectValues { offset, .. }
        | Ast::And { offset, .. }
        | Ast::Or { offset, .. }
        | Ast::Slice { offset, .. }
        | Ast::Subexpr { offset, .. } => *offset,
    }
}

impl From<&AstComparator> for Comparator {
    fn from(comparator: &AstComparator) -> Self {
        match comparator {
            AstComparator::Equal => Self::Equal,
            AstComparator::NotEqual => Self::NotEqual,
            AstComparator::LessThan => Self::Less,
            AstComparator::LessThanEqual => Self::LessOrEqual,
            AstComparator::GreaterThan => Self::Greater,
            AstComparator::GreaterThanEqual => Self::GreaterOrEqual,
        }
    }
}

/// Translates an error of the parser, which names its tokens as its source code does.
fn syntax_error(text: &str, error: &JmespathError) -> SyntaxError {
    let ErrorReason::Parse(reason) = &error.reason else {
        return SyntaxError::new(text, error.offset, "the expression is not valid");
    };
    let found = match text.get(error.offset..).and_then(|rest| rest.chars().next()) {
        Some(character) => format!("`{character}`"),
        None => "the end".to_owned(),
    };
    let expected = reason.split(" -- found").next().unwrap_or_default();
    let message = match expected {
        _ if reason.starts_with("'=' is not valid") => {
            return SyntaxError::new(text, error.offset, "`=` is not an operator")
                .suggest("write `==` to compare");
        }
        _ if reason.starts_with("Unclosed") => format!("the closing {found} is missing"),
        _ if reason.starts_with("Unable to parse literal JSON") => {
            return SyntaxError::new(text, error.offset, "the text in backticks is not JSON")
                .suggest("write text as 'text', and numbers, true, false and null as `1`, `true`");
        }
        _ if reason.starts_with("Unable to parse quoted identifier") => {
            "the quoted name is not valid".to_owned()
        }
        _ if reason.starts_with("Invalid character") => format!("{found} has no meaning here"),
        "Unexpected nud token" => {
            format!("a field, a value or a function is expected here, not {found}")
        }
        "Unexpected led token" | "Did not parse the complete expression" => {
            format!("an operator or the end is expected here, not {found}")
        }
        _ => match expected.strip_prefix("Expected ") {
            Some(what) => format!("{what} is expected here, not {found}"),
            None => format!("the expression is not valid here, at {found}"),
        },
    };
    SyntaxError::new(text, error.offset, message)
}
