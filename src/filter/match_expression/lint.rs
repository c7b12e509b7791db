//! Finds patterns that cannot do what was meant, before any event is read.
//!
//! Input: a valid pattern. Output: what is wrong with it, and the pattern that was probably meant.
//! Invariant: no false alarm: only what follows from the syntax tree is reported, and constructs that are not understood
//! count as harmless. A pattern is suggested only if it is valid and has no such flaw itself.

use fancy_regex::{Assertion, Expr, LookAround};

use super::pattern::Pattern;

/// What is wrong with a valid pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternFlaw {
    /// It cannot match any text.
    NeverMatches,
    /// It matches every text, although a look-ahead was meant to exclude some.
    AlwaysMatches,
    /// It contains a backspace, where a word boundary was meant.
    Backspace,
}

impl PatternFlaw {
    /// Describes the flaw, in lower case without a full stop.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::NeverMatches => {
                "the pattern cannot match any text: something must come before ^ or behind $"
            }
            Self::AlwaysMatches => {
                "the pattern matches every text: without ^, a negative look-ahead holds somewhere in each"
            }
            Self::Backspace => {
                r#"\b in quotation marks is the backspace character; r"…" keeps it as a word boundary"#
            }
        }
    }
}

/// Returns the flaws of a pattern, each with the pattern that was probably meant.
pub(super) fn flaws(pattern: &str) -> Vec<(PatternFlaw, Option<String>)> {
    let mut flaws = Vec::new();
    if pattern.contains('\u{8}') {
        flaws.push((PatternFlaw::Backspace, Some(pattern.replace('\u{8}', r"\b"))));
    }
    let Ok(tree) = Expr::parse_tree(pattern) else { return flaws };
    if never_matches(&tree.expr) {
        flaws.push((PatternFlaw::NeverMatches, meant_by_never(pattern)));
    } else if excludes_nothing(&tree.expr) {
        flaws.push((PatternFlaw::AlwaysMatches, meant_by_always(pattern)));
    }
    flaws
}

/// Returns whether no text can match.
fn never_matches(expr: &Expr) -> bool {
    match expr {
        Expr::Concat(parts) => parts.iter().any(never_matches) || is_anchored_inside(parts),
        Expr::Alt(branches) => branches.iter().all(never_matches),
        Expr::Group(child) => never_matches(child),
        Expr::AtomicGroup(child) => never_matches(child),
        Expr::Repeat { child, lo, .. } => {
            *lo > 0 && never_matches(child)
                || *lo > 1 && least_len(child) > 0 && (starts_text(child) || ends_text(child))
        }
        Expr::LookAround(child, LookAround::LookAhead | LookAround::LookBehind) => {
            never_matches(child)
        }
        Expr::LookAround(child, LookAround::LookAheadNeg | LookAround::LookBehindNeg) => {
            always_matches(child)
        }
        _ => false,
    }
}

/// Returns whether the start of the text is required behind something, or its end before something.
fn is_anchored_inside(parts: &[Expr]) -> bool {
    let start = parts.iter().rposition(starts_text);
    let end = parts.iter().position(ends_text);
    start.is_some_and(|at| parts[..at].iter().any(|part| least_len(part) > 0))
        || end.is_some_and(|at| parts[at + 1..].iter().any(|part| least_len(part) > 0))
}

/// Returns whether each match of an expression starts at the start of the text.
fn starts_text(expr: &Expr) -> bool {
    match expr {
        Expr::Assertion(Assertion::StartText) => true,
        Expr::Concat(parts) => parts.iter().any(starts_text),
        Expr::Alt(branches) => branches.iter().all(starts_text),
        Expr::Group(child) => starts_text(child),
        Expr::AtomicGroup(child) | Expr::LookAround(child, LookAround::LookAhead) => {
            starts_text(child)
        }
        Expr::Repeat { child, lo, .. } => *lo > 0 && starts_text(child),
        _ => false,
    }
}

/// Returns whether each match of an expression ends at the end of the text.
fn ends_text(expr: &Expr) -> bool {
    match expr {
        Expr::Assertion(Assertion::EndText) => true,
        Expr::Concat(parts) => parts.iter().any(ends_text),
        Expr::Alt(branches) => branches.iter().all(ends_text),
        Expr::Group(child) => ends_text(child),
        Expr::AtomicGroup(child) | Expr::LookAround(child, LookAround::LookBehind) => {
            ends_text(child)
        }
        Expr::Repeat { child, lo, .. } => *lo > 0 && ends_text(child),
        _ => false,
    }
}

/// Returns a number of characters that every match has at least; 0 for what is not understood.
fn least_len(expr: &Expr) -> usize {
    match expr {
        Expr::Any { .. } | Expr::Delegate { .. } | Expr::GeneralNewline { .. } => 1,
        Expr::Literal { val, .. } => usize::from(!val.is_empty()),
        Expr::Concat(parts) => parts.iter().map(least_len).max().unwrap_or(0),
        Expr::Alt(branches) => branches.iter().map(least_len).min().unwrap_or(0),
        Expr::Group(child) => least_len(child),
        Expr::AtomicGroup(child) => least_len(child),
        Expr::Repeat { child, lo, .. } => usize::from(*lo > 0) * least_len(child),
        _ => 0,
    }
}

/// Returns whether an expression matches at every place of every text.
fn always_matches(expr: &Expr) -> bool {
    match expr {
        Expr::Empty | Expr::Repeat { lo: 0, .. } => true,
        Expr::Concat(parts) => parts.iter().all(always_matches),
        Expr::Alt(branches) => branches.iter().any(always_matches),
        Expr::Group(child) => always_matches(child),
        Expr::Repeat { child, .. } => always_matches(child),
        _ => false,
    }
}

/// Returns whether an expression contains a negative look-ahead and matches every text all the same.
fn excludes_nothing(expr: &Expr) -> bool {
    let is_negative = |part: &Expr| matches!(part, Expr::LookAround(_, LookAround::LookAheadNeg));
    if !expr.has_descendant_or_self(is_negative) {
        return false;
    }
    match expr {
        Expr::Group(child) => excludes_nothing(child),
        // The end of a text is followed by nothing, so that what is excluded does not follow there.
        Expr::LookAround(child, LookAround::LookAheadNeg) => least_len(child) > 0,
        Expr::Concat(parts) => {
            parts.iter().all(|part| always_matches(part) || excludes_nothing(part))
        }
        other => always_matches(other),
    }
}

/// Returns the pattern that was probably meant by one that never matches.
fn meant_by_never(pattern: &str) -> Option<String> {
    let anchors = anchors(pattern);
    let carets: Vec<_> = anchors.iter().filter(|(at, letter)| *letter == '^' && *at > 0).collect();
    if let [(at, _)] = carets[..]
        && let Some(meant) = not_followed_by(&pattern[..*at], &pattern[at + 1..])
    {
        return flawless(meant);
    }
    let inside: Vec<_> = anchors
        .iter()
        .filter(|(at, letter)| if *letter == '^' { *at > 0 } else { at + 1 < pattern.len() })
        .collect();
    let [(at, _)] = inside[..] else { return None };
    // In a group of a special kind, the anchor may be all there is.
    if pattern.contains("(?") {
        return None;
    }
    flawless(format!("{}{}", &pattern[..*at], &pattern[at + 1..]))
}

/// Recognizes `PREFIX^((?!WORD).)`, which was meant to find texts in which no WORD follows PREFIX.
fn not_followed_by(prefix: &str, rest: &str) -> Option<String> {
    let rest = rest.strip_prefix("((?!")?;
    let (word, end) = rest.split_at(rest.rfind(").)")?);
    let is_rest_plain = end[3..].chars().all(|letter| "*+$".contains(letter));
    let any = if prefix.starts_with('^') || prefix.starts_with(".*") { "" } else { ".*" };
    let word = word.strip_suffix(".*").unwrap_or(word);
    is_rest_plain.then(|| format!("^(?!{any}{}{word}$)", prefix.trim_start_matches('^')))
}

/// Returns the pattern that was probably meant by one with a look-ahead that excludes nothing.
fn meant_by_always(pattern: &str) -> Option<String> {
    let inner = pattern.strip_prefix("((?!").or_else(|| pattern.strip_prefix("(?!"))?;
    let end = inner.find(')')?;
    let word = inner[..end].trim_start_matches(".*").trim_end_matches(".*");
    if word.contains('(') {
        return None;
    }
    let any = if pattern.starts_with("((?!") || inner.starts_with(".*") { ".*" } else { "" };
    flawless(format!("^(?!{any}{word})"))
}

/// Returns a pattern that is valid and has no flaw of its own.
fn flawless(pattern: String) -> Option<String> {
    let tree = Expr::parse_tree(&pattern).ok()?;
    let is_good = !never_matches(&tree.expr) && !excludes_nothing(&tree.expr);
    (is_good && Pattern::compile(&pattern).is_ok()).then_some(pattern)
}

/// Returns the `^` and `$` outside of escapes and character classes, with their offsets.
fn anchors(pattern: &str) -> Vec<(usize, char)> {
    let mut found = Vec::new();
    let mut is_class = false;
    let mut letters = pattern.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => {
                letters.next();
            }
            '[' => is_class = true,
            ']' => is_class = false,
            '^' | '$' if !is_class => found.push((at, letter)),
            _ => {}
        }
    }
    found
}
