//! The part of the Kibana Query Language that dashboards use.
//!
//! Input: a query such as `eventName:(Get* OR List*) AND NOT errorCode:*`. Output: a [`KqlExpression`], which becomes the
//! query of an engine or is evaluated on one document.
//! Invariant: what is accepted means the same in Kibana, in OpenSearch Dashboards, as a query of an engine, and here: all
//! fields are keywords, booleans or addresses, and values are compared exactly. `*` in a value stands for any text.
//! Deliberately absent: ranges, nested fields, wildcards in field names, and texts without a field.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use thiserror::Error;

/// Maximum number of nested parentheses and negations, far more than any query has.
const MAX_DEPTH: u32 = 32;

/// A query. Fields are names at first; [`map_fields`](Self::map_fields) replaces them by whatever finds their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KqlExpression<F = String> {
    /// All of these hold. An empty query is an empty list.
    All(Vec<Self>),
    /// At least one of these holds.
    Any(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
    /// The field has a value: `field:*`.
    Exists(F),
    /// One of the values of the field is accepted.
    Matches(F, ValueSet),
}

/// The values that a query accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValueSet {
    exact: BTreeSet<String>,
    patterns: Vec<WildcardPattern>,
}

/// A value with wildcards, as the texts between them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct WildcardPattern(Vec<String>);

/// Why a text is not a query.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected {expected} at character {position} of the query '{query}'")]
pub struct KqlError {
    /// The query.
    query: String,
    /// Number of characters before the error.
    position: usize,
    /// What was expected.
    expected: &'static str,
}

impl KqlExpression {
    /// Parses a query. An empty one holds for every document.
    ///
    /// # Errors
    ///
    /// Returns [`KqlError`] if the text is not a query, or uses a part of the language that dashboards do not use.
    pub fn parse(query: &str) -> Result<Self, KqlError> {
        let mut parser = KqlParser { query, rest: query, depth: 0 };
        parser.skip_space();
        if parser.rest.is_empty() {
            return Ok(Self::All(Vec::new()));
        }
        let expression = parser.any()?;
        if parser.rest.is_empty() {
            Ok(expression)
        } else {
            Err(parser.expected("AND, OR or the end"))
        }
    }

    /// Returns the query of an engine that finds the same documents.
    pub fn to_engine_query(&self) -> Value {
        let queries = |parts: &[Self]| parts.iter().map(Self::to_engine_query).collect::<Value>();
        match self {
            Self::All(parts) if parts.is_empty() => json!({ "match_all": {} }),
            Self::All(parts) => json!({ "bool": { "filter": queries(parts) } }),
            Self::Any(parts) => {
                json!({ "bool": { "should": queries(parts), "minimum_should_match": 1 } })
            }
            Self::Not(part) => json!({ "bool": { "must_not": [part.to_engine_query()] } }),
            Self::Exists(field) => json!({ "exists": { "field": field } }),
            Self::Matches(field, values) => values.to_engine_query(field),
        }
    }
}

impl<F> KqlExpression<F> {
    /// Returns the expression with other fields.
    pub fn map_fields<G>(&self, map: &mut impl FnMut(&F) -> G) -> KqlExpression<G> {
        let each = |parts: &[Self], map: &mut _| {
            parts.iter().map(|part| part.map_fields(map)).collect::<Vec<_>>()
        };
        match self {
            Self::All(parts) => KqlExpression::All(each(parts, map)),
            Self::Any(parts) => KqlExpression::Any(each(parts, map)),
            Self::Not(part) => KqlExpression::Not(Box::new(part.map_fields(map))),
            Self::Exists(field) => KqlExpression::Exists(map(field)),
            Self::Matches(field, values) => KqlExpression::Matches(map(field), values.clone()),
        }
    }

    /// Returns whether the expression holds for a document, given the values of its fields.
    pub fn holds<'v, V: AsRef<str> + 'v>(&self, values: &impl Fn(&F) -> &'v [V]) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(values)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(values)),
            Self::Not(part) => !part.holds(values),
            Self::Exists(field) => !values(field).is_empty(),
            Self::Matches(field, accepted) => {
                values(field).iter().any(|value| accepted.contains(value.as_ref()))
            }
        }
    }
}

impl ValueSet {
    /// Returns whether a value is accepted.
    fn contains(&self, value: &str) -> bool {
        self.exact.contains(value) || self.patterns.iter().any(|pattern| pattern.matches(value))
    }

    fn add(&mut self, literals: Vec<String>) {
        match <[String; 1]>::try_from(literals) {
            Ok([exact]) => {
                self.exact.insert(exact);
            }
            Err(parts) => self.patterns.push(WildcardPattern(parts)),
        }
    }

    fn to_engine_query(&self, field: &str) -> Value {
        let mut queries = Vec::new();
        if !self.exact.is_empty() {
            queries.push(json!({ "terms": { field: self.exact } }));
        }
        let patterns = self.patterns.iter();
        queries.extend(
            patterns
                .map(|pattern| json!({ "wildcard": { field: { "value": pattern.escaped() } } })),
        );
        match queries.len() {
            1 => queries.remove(0),
            _ => json!({ "bool": { "should": queries, "minimum_should_match": 1 } }),
        }
    }
}

impl WildcardPattern {
    /// Returns whether a text begins with the first part, ends with the last one, and contains the others between them,
    /// in this order.
    fn matches(&self, text: &str) -> bool {
        let [first, between @ .., last] = self.0.as_slice() else { return false };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
        for part in between {
            match rest.find(part.as_str()) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }

    /// Returns the pattern in the syntax of engines, where `?` is a wildcard too.
    fn escaped(&self) -> String {
        let escape =
            |part: &String| part.replace('\\', "\\\\").replace('*', "\\*").replace('?', "\\?");
        self.0.iter().map(escape).collect::<Vec<_>>().join("*")
    }
}

struct KqlParser<'q> {
    query: &'q str,
    rest: &'q str,
    depth: u32,
}

impl KqlParser<'_> {
    fn expected(&self, expected: &'static str) -> KqlError {
        let before = self.query.len() - self.rest.len();
        let position = self.query[..before].chars().count();
        KqlError { query: self.query.to_owned(), position, expected }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: char) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                self.skip_space();
                true
            }
            None => false,
        }
    }

    /// Reads a keyword in any case, if it comes next.
    fn eat_word(&mut self, word: &str) -> bool {
        let Some((found, rest)) = self.rest.split_at_checked(word.len()) else { return false };
        let ends = rest.chars().next().is_none_or(|next| next.is_whitespace() || next == '(');
        let is_next = found.eq_ignore_ascii_case(word) && ends;
        if is_next {
            self.rest = rest;
            self.skip_space();
        }
        is_next
    }

    fn any(&mut self) -> Result<KqlExpression, KqlError> {
        let mut parts = vec![self.all()?];
        while self.eat_word("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { KqlExpression::Any(parts) })
    }

    fn all(&mut self) -> Result<KqlExpression, KqlError> {
        let mut parts = vec![self.not()?];
        while self.eat_word("and") {
            parts.push(self.not()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { KqlExpression::All(parts) })
    }

    fn not(&mut self) -> Result<KqlExpression, KqlError> {
        if self.depth >= MAX_DEPTH {
            return Err(self.expected("fewer levels"));
        }
        self.depth += 1;
        let expression = if self.eat_word("not") {
            KqlExpression::Not(Box::new(self.not()?))
        } else if self.eat('(') {
            let inner = self.any()?;
            if !self.eat(')') {
                return Err(self.expected("')'"));
            }
            inner
        } else {
            self.field()?
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn field(&mut self) -> Result<KqlExpression, KqlError> {
        let is_name = |char: char| char.is_alphanumeric() || matches!(char, '.' | '_' | '@');
        let end = self.rest.find(|char| !is_name(char)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if name.is_empty() {
            return Err(self.expected("the name of a field"));
        }
        self.rest = rest;
        self.skip_space();
        if !self.eat(':') {
            return Err(self.expected("':'"));
        }
        let mut values = ValueSet::default();
        if !self.eat('(') {
            let literals = self.value()?;
            if literals.iter().all(String::is_empty) && literals.len() > 1 {
                return Ok(KqlExpression::Exists(name.to_owned()));
            }
            values.add(literals);
            return Ok(KqlExpression::Matches(name.to_owned(), values));
        }
        values.add(self.value()?);
        while self.eat_word("or") {
            values.add(self.value()?);
        }
        if !self.eat(')') {
            return Err(self.expected("OR or ')'"));
        }
        Ok(KqlExpression::Matches(name.to_owned(), values))
    }

    /// Reads a value, and returns the texts between its wildcards.
    fn value(&mut self) -> Result<Vec<String>, KqlError> {
        let is_bare = !self.rest.starts_with('"');
        let (before, literals) =
            (self.rest, if is_bare { self.bare() } else { vec![self.quoted()?] });
        let is_keyword = |text: &String| {
            ["", "and", "or", "not"].iter().any(|word| text.eq_ignore_ascii_case(word))
        };
        if is_bare && literals.len() == 1 && is_keyword(&literals[0]) {
            self.rest = before;
            return Err(self.expected("a value"));
        }
        self.skip_space();
        Ok(literals)
    }

    fn quoted(&mut self) -> Result<String, KqlError> {
        let mut text = String::new();
        let mut chars = self.rest[1..].chars();
        loop {
            match chars.next() {
                Some('"') => break,
                Some('\\') => text.extend(chars.next()),
                Some(char) => text.push(char),
                None => return Err(self.expected("a value with a closing quote")),
            }
        }
        self.rest = chars.as_str();
        Ok(text)
    }

    fn bare(&mut self) -> Vec<String> {
        let mut literals = vec![String::new()];
        let mut chars = self.rest.chars();
        loop {
            let before = chars.as_str();
            let text = literals.last_mut();
            match (chars.next(), text) {
                (Some('*'), _) => literals.push(String::new()),
                (Some('\\'), Some(text)) => text.extend(chars.next()),
                (Some(char), Some(text))
                    if !char.is_whitespace()
                        && !matches!(char, '(' | ')' | ':' | '"' | '<' | '>' | '{' | '}') =>
                {
                    text.push(char);
                }
                _ => {
                    self.rest = before;
                    return literals;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn parse(query: &str) -> KqlExpression {
        KqlExpression::parse(query).unwrap()
    }

    fn holds(query: &str, document: &[(&str, &[&str])]) -> bool {
        let document: BTreeMap<&str, &[&str]> = document.iter().copied().collect();
        parse(query)
            .holds(&|field: &String| document.get(field.as_str()).copied().unwrap_or_default())
    }

    #[test]
    fn operators_bind_as_in_kibana() {
        let document: &[(&str, &[&str])] = &[("a", &["1"]), ("b", &["2"])];
        for (query, expected) in [
            ("", true),
            ("  ", true),
            ("a:1", true),
            ("a:2", false),
            ("a:1 and b:1 or b:2", true),
            ("b:2 OR a:1 AND a:2", true),
            ("(b:2 OR a:1) AND a:2", false),
            ("NOT a:2 AND b:2", true),
            ("not (a:1 or b:3)", false),
            ("NOT NOT a:1", true),
            ("c:*", false),
            ("NOT c:*", true),
            ("a:(3 OR 1)", true),
            ("a:(3 or 4)", false),
            ("a : 1", true),
            ("a:\"1\"", true),
        ] {
            assert_eq!(holds(query, document), expected, "{query}");
        }
    }

    #[test]
    fn values_are_compared_exactly_and_any_one_is_enough() {
        let document: &[(&str, &[&str])] = &[("e", &["GetObject", "PutObject"])];
        for (query, expected) in [
            ("e:PutObject", true),
            ("e:putobject", false),
            ("e:Put*", true),
            ("e:*Object", true),
            ("e:*tOb*", true),
            ("e:Get*Object*", true),
            ("e:GetObject*", true),
            ("e:Get*GetObject", false),
            ("e:Put\\*", false),
            ("e:\"Put*\"", false),
            ("e:P?tObject", false),
        ] {
            assert_eq!(holds(query, document), expected, "{query}");
        }
        assert!(holds("e:Put\\*", &[("e", &["Put*"])]));
        assert!(holds(r#"e:"a \"b\" c""#, &[("e", &["a \"b\" c"])]));
    }

    #[test]
    fn engines_get_the_same_conditions() {
        assert_eq!(parse("").to_engine_query(), json!({ "match_all": {} }));
        assert_eq!(parse("a:*").to_engine_query(), json!({ "exists": { "field": "a" } }));
        assert_eq!(
            parse("a:x AND NOT b:(y OR z* OR q?)").to_engine_query(),
            json!({ "bool": { "filter": [
                { "terms": { "a": ["x"] } },
                { "bool": { "must_not": [
                    { "bool": { "should": [
                        { "terms": { "b": ["q?", "y"] } },
                        { "wildcard": { "b": { "value": "z*" } } },
                    ], "minimum_should_match": 1 } },
                ] } },
            ] } })
        );
        assert_eq!(
            parse("a:b?*\\*").to_engine_query(),
            json!({ "wildcard": { "a": { "value": "b\\?*\\*" } } })
        );
    }

    #[test]
    fn what_is_not_in_the_subset_is_refused_with_its_place() {
        for (query, position, expected) in [
            ("Root", 4, "':'"),
            ("a:", 2, "a value"),
            ("a:1 b:2", 4, "AND, OR or the end"),
            ("a:(1 OR", 7, "a value"),
            ("a:(1 AND 2)", 5, "OR or ')'"),
            ("a >= 1", 2, "':'"),
            ("a:\"x", 2, "a value with a closing quote"),
            ("(a:1", 4, "')'"),
            ("a:or", 2, "a value"),
            ("a:1 OR", 6, "the name of a field"),
            ("*:x", 0, "the name of a field"),
            ("a:{b:1}", 2, "a value"),
        ] {
            let error = KqlExpression::parse(query).unwrap_err();
            assert_eq!((error.position, error.expected), (position, expected), "{query}");
        }
        let error = KqlExpression::parse(&"(".repeat(100_000)).unwrap_err();
        assert_eq!(error.expected, "fewer levels");
    }

    /// The meaning of a pattern, by trying every length for the first wildcard.
    fn naive(pattern: &[&str], text: &str) -> bool {
        match pattern {
            [only] => *only == text,
            [first, rest @ ..] => text.strip_prefix(first).is_some_and(|text| {
                (0..=text.len())
                    .filter(|at| text.is_char_boundary(*at))
                    .any(|at| naive(rest, &text[at..]))
            }),
            [] => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_as_the_naive_model_does(
            parts in proptest::collection::vec("[ab]{0,2}", 2..5),
            text in "[ab]{0,8}",
        ) {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let pattern = WildcardPattern(parts.iter().map(|part| (*part).to_owned()).collect());
            prop_assert_eq!(pattern.matches(&text), naive(&parts, &text));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "[a-c:*()\"\\\\ é]{0,20}|.{0,40}|(a:b|and|or|not|[()]| ){0,12}") {
            let _ = KqlExpression::parse(&text);
        }
    }
}
