//! Translates the conditions of a search into a query for the engine.
//!
//! Input: a [`Query`], and how the indices map its fields. Output: a [`Pushdown`].
//! Invariant: the query finds every document whose event the search can find. It may find more: the search evaluates all
//! conditions itself. So a condition is translated only if that is certain, whatever events and documents hold:
//!
//! | an event may be stored otherwise than its condition expects | so the query also finds |
//! |---|---|
//! | a load changed the path or the value (see `normalize::rewrite`) | documents with a change note about the path |
//! | a value has no field, or is too long for one | terms in `trailload.unmapped`, by their beginning if they are cut |
//! | not all terms fit into a document | documents with the term `INCOMPLETE_TERM` |
//! | the engine accepted only the top level | documents with `trailload.raw` |
//! | another program wrote the document | documents without `eventName`, and all of indices that it manages |
//! | the time is implausible, or missing | documents with such a time |
//!
//! Not translated: `!=` with other values than null, because one value of a list would make the engine leave out the
//! document; null below the top level, where a list on the way is null too; lists, objects and fractions; regular expressions without a text that must occur; JMESPath.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::fields::{FieldMapping, KnownMapping, MappedFields};
use crate::{
    filter::{
        action::{ActionFilter, ActionPattern},
        glob::Glob,
        literal::{Literal, LiteralNumber},
        match_expression::{MatchExpression, Operator},
        query::{Query, TimeBounds},
        required_text::{push_escaped, wildcard_of_regex},
        selectors::{CallKind, Selectors},
    },
    normalize::{IGNORE_ABOVE, INCOMPLETE_TERM, MAX_TERM_BYTES},
};

/// The field with the terms of values that have no field.
const UNMAPPED: &str = "trailload.unmapped";

/// The field with the change notes.
const CHANGES: &str = "trailload.changes";

/// The fields of an identity that a short principal is made of.
const IDENTITY_FIELDS: [&[&str]; 9] = [
    &["userIdentity", "type"],
    &["userIdentity", "arn"],
    &["userIdentity", "userName"],
    &["userIdentity", "principalId"],
    &["userIdentity", "accountId"],
    &["userIdentity", "invokedBy"],
    &["userIdentity", "sessionContext", "sessionIssuer", "arn"],
    &["userIdentity", "sessionContext", "sessionIssuer", "userName"],
    &["userIdentity", "onBehalfOf", "userId"],
];

/// The words that a short principal begins with, which the fields of an identity do not contain in this form.
const PRINCIPAL_KINDS: [&str; 11] = [
    "user",
    "role",
    "federated",
    "saml",
    "web",
    "identity-center",
    "directory",
    "service",
    "account",
    "anonymous",
    "unknown",
];

/// Fields of the core mapping that only some events have.
const OPTIONAL_FIELDS: [&str; 9] = [
    "annotation",
    "apiVersion",
    "errorCode",
    "errorMessage",
    "readOnly",
    "sessionCredentialFromConsole",
    "sharedEventID",
    "vpcEndpointAccountId",
    "vpcEndpointId",
];

const ERROR_CODE: [&str; 1] = ["errorCode"];
const ERROR_MESSAGE: [&str; 1] = ["errorMessage"];
const EVENT_NAME: [&str; 1] = ["eventName"];
const EVENT_SOURCE: [&str; 1] = ["eventSource"];
const READ_ONLY: [&str; 1] = ["readOnly"];
const SOURCE_IP: &str = "source.ip";
const SOURCE_IP_ADDRESS: [&str; 1] = ["sourceIPAddress"];
const ACCESS_KEY: [&str; 2] = ["userIdentity", "accessKeyId"];

/// Most names of events in one condition: engines limit the clauses of a query to 1,024.
const MAX_NAMES: usize = 300;

/// Names in one regular expression: the longest name of an event in the table has 60 letters.
const NAMES_IN_REGEXP: usize = 12;

/// Longest regular expression for an engine: `index.max_regex_length` is 1,000.
const MAX_REGEXP: usize = 900;

/// Shortest text for a wildcard: with less, the engine would read nearly all values of the field for little.
const MIN_TEXT: usize = 2;

/// Longest path of a field that is looked up.
const MAX_PATH: usize = 200;

/// Times before 2000 and after 2100, in milliseconds, are those of wrong clocks: the event may have another one.
const PLAUSIBLE_MILLISECONDS: [i64; 2] = [946_684_800_000, 4_133_980_800_000];

/// A query, and which conditions it covers.
#[derive(Clone, Debug, PartialEq)]
pub struct Pushdown {
    /// The query for the engine.
    pub query: Value,
    /// Descriptions of the conditions in it.
    pub pushed: Vec<String>,
    /// Descriptions of the other conditions.
    pub filtered: Vec<String>,
}

impl Pushdown {
    /// Returns the query that finds all documents.
    pub(super) fn none() -> Self {
        Self { query: match_all(), pushed: Vec::new(), filtered: Vec::new() }
    }
}

/// Returns the query that finds all documents.
pub(super) fn match_all() -> Value {
    json!({ "match_all": {} })
}

/// Returns a query that leaves out indices.
pub(super) fn exclude(query: Value, indices: &[String]) -> Value {
    if indices.is_empty() {
        return query;
    }
    json!({ "bool": { "filter": [query], "must_not": [{ "terms": { "_index": indices } }] } })
}

/// Returns the fields whose mappings [`push_down`] needs.
pub(super) fn fields(query: &Query) -> Vec<String> {
    let mut paths: Vec<Vec<&str>> = IDENTITY_FIELDS.iter().map(|path| path.to_vec()).collect();
    paths.extend([ERROR_CODE, ERROR_MESSAGE, EVENT_NAME, EVENT_SOURCE, READ_ONLY].map(Vec::from));
    paths.extend([Vec::from(SOURCE_IP_ADDRESS), Vec::from(ACCESS_KEY), vec![SOURCE_IP]]);
    let expressions = query.matches.iter().chain(&query.exceptions);
    paths.extend(expressions.filter_map(names));
    let mut fields: Vec<String> = paths.iter().map(|path| path.join(".")).collect();
    fields.sort();
    fields.dedup();
    fields
}

/// Translates a query. Documents of the indices `unmanaged` are found whatever they hold.
pub(super) fn push_down(query: &Query, mapped: &MappedFields, unmanaged: &[String]) -> Pushdown {
    let translator = Translator { mapped };
    let mut pushdown = Pushdown::none();
    let mut conditions = Vec::new();
    let time = time_range(query.range);
    if time.is_some() {
        pushdown.pushed.push("time range".to_owned());
    }
    for (description, clause) in translator.conditions(query) {
        match clause {
            Some(clause) => {
                conditions.push(clause);
                pushdown.pushed.push(description);
            }
            None => pushdown.filtered.push(description),
        }
    }
    if time.is_none() && conditions.is_empty() {
        return pushdown;
    }
    let mut filters = Vec::from_iter(time);
    if !conditions.is_empty() {
        filters.push(any([
            all(conditions),
            json!({ "term": { "trailload.raw": true } }),
            json!({ "term": { UNMAPPED: INCOMPLETE_TERM } }),
        ]));
    }
    let mut found = vec![all(filters), not(&exists("eventName"))];
    if !unmanaged.is_empty() {
        found.push(json!({ "terms": { "_index": unmanaged } }));
    }
    pushdown.query = any(found);
    pushdown
}

struct Translator<'a> {
    mapped: &'a MappedFields,
}

impl Translator<'_> {
    /// Returns the conditions of a query but its time range, each with its description and its translation, if it has one.
    fn conditions(&self, query: &Query) -> Vec<(String, Option<Value>)> {
        let mut conditions = Vec::new();
        if !query.actions.matches_everything() {
            let patterns: Vec<_> =
                query.actions.patterns().iter().map(ToString::to_string).collect();
            conditions
                .push((format!("actions {}", patterns.join(" ")), self.actions(&query.actions)));
        }
        conditions.extend(self.selectors(&query.selectors));
        for expression in query.matches.iter().filter(|expression| !expression.is_empty()) {
            let description = format!("--match '{}'", expression.as_str());
            conditions.push((description, self.expression(expression, Sense::Required)));
        }
        for expression in query.exceptions.iter().filter(|expression| !expression.is_empty()) {
            let description = format!("--except '{}'", expression.as_str());
            conditions.push((description, self.expression(expression, Sense::Excluded)));
        }
        let opaque = query.conditions.iter();
        conditions
            .extend(opaque.map(|condition| (format!("--where '{}'", condition.text()), None)));
        conditions
    }

    fn actions(&self, actions: &ActionFilter) -> Option<Value> {
        self.require_keyword(&EVENT_SOURCE)?;
        self.require_keyword(&EVENT_NAME)?;
        let mut clauses = Vec::new();
        for pattern in actions.patterns() {
            clauses.push(action(pattern)?);
        }
        clauses.extend([changes(&EVENT_SOURCE), changes(&EVENT_NAME)]);
        // Names and sources of more than 1,024 characters are no field, and are no real ones.
        clauses.extend([not_indexed(&EVENT_SOURCE), not_indexed(&EVENT_NAME)]);
        Some(any(clauses))
    }

    fn selectors(&self, selectors: &Selectors) -> Vec<(String, Option<Value>)> {
        let mut conditions = Vec::new();
        if selectors.errors_only {
            conditions.push(("--errors-only".to_owned(), self.errors()));
        }
        if let Some(calls) = selectors.calls {
            let (option, read_only) = match calls {
                CallKind::Read => ("--read-only", true),
                CallKind::Write => ("--write-only", false),
            };
            let clause = self.equals(&READ_ONLY, &Literal::Bool(read_only));
            // A text in another case is no boolean, so a load has changed the key.
            conditions.push((option.to_owned(), clause));
        }
        let each = |option: &str, texts: Vec<String>| {
            texts.iter().map(|text| format!("{option} {text}")).collect::<Vec<_>>().join(" ")
        };
        if !selectors.principals.is_empty() {
            let texts = selectors.principals.iter().map(ToString::to_string).collect();
            conditions.push((each("--principal", texts), self.principals(&selectors.principals)));
        }
        if !selectors.resources.is_empty() {
            // An identifier may be in any request parameter.
            let texts = selectors.resources.iter().map(ToString::to_string).collect();
            conditions.push((each("--resource", texts), None));
        }
        if !selectors.addresses.is_empty() {
            let ranges: Vec<_> = selectors.addresses.iter().map(ToString::to_string).collect();
            conditions.push((each("--ip", ranges.clone()), self.addresses(&ranges)));
        }
        if !selectors.access_keys.is_empty() {
            let keys: Vec<_> =
                selectors.access_keys.iter().map(|key| key.as_str().to_owned()).collect();
            let clauses: Option<Vec<_>> = keys
                .iter()
                .map(|key| self.equals(&ACCESS_KEY, &Literal::Text(key.clone())))
                .collect();
            conditions.push((each("--access-key", keys), clauses.map(any)));
        }
        conditions
    }

    /// Translates that a call failed. The text of an error may be too long for a field.
    fn errors(&self) -> Option<Value> {
        self.require_keyword(&ERROR_CODE)?;
        self.require_keyword(&ERROR_MESSAGE)?;
        Some(any([ERROR_CODE, ERROR_MESSAGE]
            .iter()
            .flat_map(|path| [exists(path[0]), not_indexed(path), changes(path)])))
    }

    /// Translates patterns for principals: a short one consists of parts of the fields of an identity.
    fn principals(&self, patterns: &[Glob]) -> Option<Value> {
        let mut clauses = Vec::new();
        for pattern in patterns {
            let text = longest_part(pattern)?;
            for path in IDENTITY_FIELDS {
                self.require_keyword(path)?;
                clauses.push(wildcard(&path.join("."), &format!("*{text}*"), Case::Ignored));
            }
        }
        for path in IDENTITY_FIELDS {
            clauses.extend([not_indexed(path), changes(path)]);
        }
        Some(any(clauses))
    }

    /// Translates ranges of addresses. An address with blanks around it is not in the field for addresses.
    fn addresses(&self, ranges: &[String]) -> Option<Value> {
        self.require_keyword(&SOURCE_IP_ADDRESS)?;
        if self.mapped.get(SOURCE_IP) != KnownMapping::Mapped(FieldMapping::Ip) {
            return None;
        }
        Some(any([
            json!({ "terms": { SOURCE_IP: ranges } }),
            regexp(SOURCE_IP_ADDRESS[0], ".*[^!-~].*"),
            changes(&SOURCE_IP_ADDRESS),
        ]))
    }

    /// Translates a match expression, or its opposite for an exception.
    fn expression(&self, expression: &MatchExpression, sense: Sense) -> Option<Value> {
        let path = names(expression)?;
        let literal = expression.literal()?;
        match (expression.operator()?, sense) {
            (Operator::Equal, Sense::Required) | (Operator::NotEqual, Sense::Excluded) => {
                self.equals(&path, literal)
            }
            (Operator::NotEqual, Sense::Required) | (Operator::Equal, Sense::Excluded)
                if *literal == Literal::Null =>
            {
                self.is_present(&path)
            }
            (Operator::Regex, Sense::Required) => self.contains(&path, literal.as_text()?),
            _ => None,
        }
    }

    /// Translates that the value at a path equals a literal.
    fn equals(&self, path: &[&str], literal: &Literal) -> Option<Value> {
        let field = path.join(".");
        let mapping = match self.mapped.get(&field) {
            KnownMapping::Unknown => return None,
            KnownMapping::Unmapped => None,
            KnownMapping::Mapped(mapping) => Some(mapping),
        };
        let mut clauses = match literal {
            Literal::Text(text) => equals_text(&field, mapping, text)?,
            Literal::Bool(value) => equals_boolean(&field, mapping, *value)?,
            Literal::Number(LiteralNumber::Integer(number)) => {
                equals_integer(&field, mapping, i64::try_from(*number).ok()?)?
            }
            Literal::Null => {
                // A value of the top level has no list on the way to it.
                let is_value =
                    matches!(mapping, Some(FieldMapping::Keyword { .. } | FieldMapping::Boolean));
                (path.len() == 1 && is_value).then(|| vec![not(&exists(&field))])?
            }
            Literal::Number(LiteralNumber::Float(_)) | Literal::List(_) | Literal::Object(_) => {
                return None;
            }
        };
        clauses.push(changes(path));
        Some(any(clauses))
    }

    /// Translates that a field has a value. A load marks empty lists, which engines do not index, at the top level only.
    fn is_present(&self, path: &[&str]) -> Option<Value> {
        let [field] = path else { return None };
        if !OPTIONAL_FIELDS.contains(field) || self.mapped.get(field) == KnownMapping::Unknown {
            return None;
        }
        Some(any([exists(field), not_indexed(path), changes(path)]))
    }

    /// Translates that a pattern matches in the text at a path.
    fn contains(&self, path: &[&str], pattern: &str) -> Option<Value> {
        let field = path.join(".");
        let mut clauses = Vec::new();
        let pattern = wildcard_of_regex(pattern, MIN_TEXT)?;
        match self.mapped.get(&field) {
            KnownMapping::Unmapped => {}
            // A text that is too long for a field is a term, but only from this length on.
            KnownMapping::Mapped(FieldMapping::Keyword { max_length })
                if max_length >= IGNORE_ABOVE as usize =>
            {
                clauses.push(wildcard(&field, &pattern, Case::Exact));
            }
            _ => return None,
        }
        clauses.push(wildcard(UNMAPPED, &format!("{field}={pattern}"), Case::Exact));
        clauses.push(cut_terms(&field));
        clauses.push(changes(path));
        Some(any(clauses))
    }

    fn require_keyword(&self, path: &[&str]) -> Option<()> {
        match self.mapped.get(&path.join(".")) {
            KnownMapping::Mapped(FieldMapping::Keyword { max_length })
                if max_length >= IGNORE_ABOVE as usize =>
            {
                Some(())
            }
            _ => None,
        }
    }
}

/// Whether an expression has to hold or must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
    Required,
    Excluded,
}

/// Whether the case of letters matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Exact,
    Ignored,
}

/// Returns the names of the members that lead to the value of an expression, if they can be looked up.
fn names(expression: &MatchExpression) -> Option<Vec<&str>> {
    let names = expression.path()?.names()?;
    let is_plain = |name: &&str| {
        let is_usual =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':');
        !name.is_empty() && name.bytes().all(is_usual)
    };
    let length: usize = names.iter().map(|name| name.len() + 1).sum();
    (!names.is_empty() && length <= MAX_PATH && names.iter().all(is_plain)).then_some(names)
}

/// Translates a time range. A second is added at both ends, for fractions and leap seconds.
fn time_range(range: TimeBounds) -> Option<Value> {
    if range.is_unbounded() {
        return None;
    }
    let mut bounds = json!({ "format": "epoch_millis" });
    if let Some(from) = range.from {
        bounds["gte"] = json!(from.saturating_sub(1).saturating_mul(1_000));
    }
    if let Some(to) = range.to {
        bounds["lt"] = json!(to.saturating_add(2).saturating_mul(1_000));
    }
    let [first, last] = PLAUSIBLE_MILLISECONDS;
    let limited = |bound: &str, value: i64| json!({ "range": { "@timestamp": { bound: value, "format": "epoch_millis" } } });
    Some(any([
        json!({ "range": { "@timestamp": bounds } }),
        not(&exists("@timestamp")),
        limited("lt", first),
        limited("gte", last),
    ]))
}

/// Translates a pattern for actions. `None` if it cannot be.
fn action(pattern: &ActionPattern) -> Option<Value> {
    let mut clauses = Vec::new();
    let (service, name) = (pattern.service(), pattern.name());
    if !service.matches_everything() {
        let added = pattern.added_services().iter().chain(pattern.added_events().keys());
        clauses.push(any_name(EVENT_SOURCE[0], service, added, ".amazonaws.com")?);
    }
    if !name.matches_everything() {
        let added = pattern.added_events().values().flatten();
        // The date of an API version.
        clauses.push(any_name(EVENT_NAME[0], name, added, "20")?);
    }
    (!clauses.is_empty()).then(|| all(clauses))
}

/// Returns a clause for names that match a glob or are among others, possibly with an end that begins like this.
fn any_name<'n>(
    field: &str,
    glob: &Glob,
    others: impl Iterator<Item = &'n String>,
    end: &str,
) -> Option<Value> {
    let others: BTreeSet<&str> =
        others.map(String::as_str).filter(|name| !glob.matches(name)).collect();
    let is_plain =
        |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if others.len() > MAX_NAMES || !others.iter().all(is_plain) {
        return None;
    }
    let pattern = wildcard_of_glob(glob);
    let mut clauses = Vec::new();
    if !pattern.ends_with('*') {
        clauses.push(wildcard(field, &format!("{pattern}{end}*"), Case::Ignored));
    }
    clauses.push(wildcard(field, &pattern, Case::Ignored));
    let names: Vec<&str> = others.into_iter().collect();
    clauses.extend(names.chunks(NAMES_IN_REGEXP).map(|names| {
        let pattern = format!("({})({}.*)?", names.join("|"), end.replace('.', "\\."));
        json!({ "regexp": { field: { "value": pattern, "flags": "NONE", "case_insensitive": true } } })
    }));
    Some(any(clauses))
}

/// Returns a wildcard for all texts that a glob matches, and perhaps others: what it cannot express ends it.
fn wildcard_of_glob(glob: &Glob) -> String {
    let mut pattern = String::new();
    for letter in glob.as_str().chars() {
        match letter {
            '[' => {
                pattern.push('*');
                break;
            }
            '*' | '?' => pattern.push('*'),
            letter if letter.is_ascii() => push_escaped(&mut pattern, letter),
            _ => pattern.push('*'),
        }
    }
    pattern
}

/// Returns the longest part of a pattern that the fields of an identity must contain, escaped for a wildcard.
fn longest_part(pattern: &Glob) -> Option<String> {
    // A class ends what is certain.
    let text = pattern.as_str().split('[').next().unwrap_or_default();
    let is_separator = |letter: char| matches!(letter, '*' | '?' | '/') || !letter.is_ascii();
    let parts = text.split(is_separator);
    let is_kind = |part: &str| {
        PRINCIPAL_KINDS.iter().any(|kind| {
            let (part, kind) = (part.to_ascii_lowercase(), *kind);
            kind.contains(&part)
        })
    };
    let part = parts
        .filter(|part| part.len() >= MIN_TEXT && !is_kind(part))
        .max_by_key(|part| part.len())?;
    let mut escaped = String::new();
    part.chars().for_each(|letter| push_escaped(&mut escaped, letter));
    Some(escaped)
}

fn equals_text(field: &str, mapping: Option<FieldMapping>, text: &str) -> Option<Vec<Value>> {
    if text.contains(char::REPLACEMENT_CHARACTER) {
        // Engines store half a surrogate pair as another character.
        return None;
    }
    let mut clauses = vec![term_of_text(field, text)];
    match mapping {
        None => {}
        Some(FieldMapping::Keyword { max_length }) => {
            let length = text.encode_utf16().count();
            if length <= max_length {
                clauses.push(json!({ "term": { field: text } }));
            } else if length <= IGNORE_ABOVE as usize {
                return None;
            }
        }
        Some(FieldMapping::Boolean) => match text {
            "true" | "false" => clauses.push(json!({ "term": { field: text } })),
            // A boolean field takes it for false.
            "" => clauses.push(json!({ "term": { field: false } })),
            _ => {}
        },
        Some(FieldMapping::Date) => {
            let is_usual = text.len() == 20 && text.ends_with('Z') && !text.contains(":60");
            let is_time = is_usual && text.parse::<jiff::Timestamp>().is_ok();
            is_time.then(|| clauses.push(json!({ "term": { field: text } })))?;
        }
        Some(FieldMapping::Ip) => return None,
    }
    Some(clauses)
}

fn equals_boolean(field: &str, mapping: Option<FieldMapping>, value: bool) -> Option<Vec<Value>> {
    let mut clauses = vec![json!({ "term": { UNMAPPED: format!("{field}={value}") } })];
    match mapping {
        None => {}
        Some(FieldMapping::Keyword { .. } | FieldMapping::Boolean) => {
            clauses.push(json!({ "term": { field: value.to_string() } }));
        }
        Some(FieldMapping::Date | FieldMapping::Ip) => return None,
    }
    Some(clauses)
}

/// Translates an integer, which an event may hold as `5`, `5.0` or `50e-1`.
fn equals_integer(field: &str, mapping: Option<FieldMapping>, number: i64) -> Option<Vec<Value>> {
    let pattern = format!("{number}|-?[0-9]+[.eE][-+.0-9eE]*|-0");
    let escaped = field.replace('.', "\\.");
    let mut clauses = vec![regexp(UNMAPPED, &format!("{escaped}=({pattern})"))];
    match mapping {
        // A boolean field holds no numbers.
        None | Some(FieldMapping::Boolean) => {}
        Some(FieldMapping::Keyword { .. }) => clauses.push(regexp(field, &pattern)),
        Some(FieldMapping::Date | FieldMapping::Ip) => return None,
    }
    Some(clauses)
}

/// Returns a clause for the term of a text without a field. Terms are cut after a number of bytes that depends on how the
/// record escapes letters: with up to six bytes for each UTF-16 unit.
fn term_of_text(field: &str, text: &str) -> Value {
    const MAX_ESCAPED_UNIT: usize = 6;
    let certain = MAX_TERM_BYTES.saturating_sub(field.len()) / MAX_ESCAPED_UNIT;
    let mut units = 0;
    let beginning: String = text
        .chars()
        .take_while(|letter| {
            units += letter.len_utf16();
            units <= certain
        })
        .collect();
    let term = format!("{field}={beginning}");
    if beginning.len() == text.len() {
        json!({ "term": { UNMAPPED: term } })
    } else {
        json!({ "prefix": { UNMAPPED: term } })
    }
}

/// Returns a clause for terms of a field that may be cut.
fn cut_terms(field: &str) -> Value {
    /// Bytes of a character, as two units.
    const MAX_ESCAPED_CHARACTER: usize = 12;
    let characters = MAX_TERM_BYTES.saturating_sub(field.len()) / MAX_ESCAPED_CHARACTER;
    let escaped = field.replace('.', "\\.");
    regexp(UNMAPPED, &format!("{escaped}=.{{{},}}", characters.saturating_sub(1)))
}

/// Returns a clause for documents in which a path has a value that its field does not index.
fn not_indexed(path: &[&str]) -> Value {
    json!({ "prefix": { UNMAPPED: format!("{}=", path.join(".")) } })
}

/// Returns a clause for documents with a change note about a path: one that names it or a path on the way to it.
fn changes(path: &[&str]) -> Value {
    let [first, rest @ ..] = path else { return exists(CHANGES) };
    let pattern = if rest.is_empty() {
        format!("[a-z]+ /{first}.*|[a-z]+ /[^ ]* {first}")
    } else {
        format!(
            "[a-z]+ /{first}[^/ ]*( .*)?|[a-z]+ /[^/ ]+ {first}|.*[/ ]({})([_/ ].*)?",
            rest.join("|")
        )
    };
    if pattern.len() > MAX_REGEXP { exists(CHANGES) } else { regexp(CHANGES, &pattern) }
}

fn wildcard(field: &str, pattern: &str, case: Case) -> Value {
    match case {
        Case::Exact => json!({ "wildcard": { field: { "value": pattern } } }),
        Case::Ignored => {
            json!({ "wildcard": { field: { "value": pattern, "case_insensitive": true } } })
        }
    }
}

fn regexp(field: &str, pattern: &str) -> Value {
    json!({ "regexp": { field: { "value": pattern, "flags": "NONE" } } })
}

fn exists(field: &str) -> Value {
    json!({ "exists": { "field": field } })
}

fn not(clause: &Value) -> Value {
    json!({ "bool": { "must_not": [clause] } })
}

fn all(mut clauses: Vec<Value>) -> Value {
    match clauses.len() {
        1 => clauses.remove(0),
        _ => json!({ "bool": { "filter": clauses } }),
    }
}

fn any(clauses: impl IntoIterator<Item = Value>) -> Value {
    let mut clauses: Vec<Value> = clauses.into_iter().collect();
    match clauses.len() {
        1 => clauses.remove(0),
        _ => json!({ "bool": { "should": clauses, "minimum_should_match": 1 } }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns fields as a load maps them.
    fn mapped() -> MappedFields {
        let leaf = |kind: &str| json!({ "type": kind, "ignore_above": 1024 });
        let field = |path: &str, kind: &str| {
            let name = path.rsplit('.').next().unwrap().to_owned();
            (path.to_owned(), json!({ "full_name": path, "mapping": { name: leaf(kind) } }))
        };
        let mut fields: serde_json::Map<String, Value> = [
            ("eventTime", "date"),
            ("readOnly", "boolean"),
            ("source.ip", "ip"),
            ("requestParameters.policy", "text"),
        ]
        .map(|(path, kind)| field(path, kind))
        .into_iter()
        .collect();
        let keywords = ["errorCode", "errorMessage", "eventName", "eventSource", "sourceIPAddress"];
        let identity = IDENTITY_FIELDS.iter().map(|path| path.join("."));
        let identity = identity.chain([ACCESS_KEY.join(".")]);
        let keywords = keywords.iter().map(|path| (*path).to_owned()).chain(identity);
        fields.extend(keywords.map(|path| field(&path, "keyword")));
        let response = json!({ "index": { "mappings": fields } });
        MappedFields::new(response.as_object().unwrap(), |_| true)
    }

    fn of(matches: &[&str], exceptions: &[&str]) -> Pushdown {
        let parse = |texts: &[&str]| {
            texts.iter().map(|text| MatchExpression::parse(text).unwrap()).collect()
        };
        let query =
            Query { matches: parse(matches), exceptions: parse(exceptions), ..Query::default() };
        push_down(&query, &mapped(), &[])
    }

    #[test]
    fn a_search_for_everything_has_no_conditions() {
        assert_eq!(push_down(&Query::default(), &mapped(), &[]), Pushdown::none());
    }

    #[test]
    fn what_could_lose_an_event_is_not_translated() {
        for expression in [
            "$.eventName != \"GetObject\"",
            "$.userIdentity.userName == null",
            "$.userIdentity.userName != null",
            "$.eventTime != null",
            "$.eventTime == \"2024-02-30T00:00:00Z\"",
            "$.eventTime regex \"2024\"",
            "$.requestParameters.policy == \"x\"",
            "$.requestParameters.list == [1]",
            "$.requestParameters.object == {\"a\": 1}",
            "$.requestParameters.number == 1.5",
            "$.requestParameters.* == 1",
            "$.requestParameters[\"a.b\"] == 1",
            "$..userName == \"alice\"",
            "$.userAgent regex \"(?i)aws-cli\"",
            "$.userAgent regex \"^(?!aws)\"",
            "$.userAgent regex \".\"",
            "$.source.ip == \"192.0.2.1\"",
        ] {
            let pushdown = of(&[expression], &[]);
            assert_eq!(pushdown.query, match_all(), "{expression}");
            assert_eq!(pushdown.filtered, [format!("--match '{expression}'")]);
        }
        for expression in ["$.eventName == \"GetObject\"", "$.eventName regex \"Get\""] {
            assert_eq!(of(&[], &[expression]).query, match_all(), "{expression}");
        }
    }

    #[test]
    fn what_is_certain_is_translated() {
        for (expression, clause) in [
            ("$.eventName == \"GetObject\"", json!({ "term": { "eventName": "GetObject" } })),
            (
                "$.eventName regex \"^Get\"",
                json!({ "wildcard": { "eventName": { "value": "Get*" } } }),
            ),
            ("$.readOnly == true", json!({ "term": { "readOnly": "true" } })),
            ("$.readOnly == \"true\"", json!({ "term": { "readOnly": "true" } })),
            ("$.errorCode == None", not(&exists("errorCode"))),
            ("$.errorCode != None", exists("errorCode")),
            (
                "$.requestParameters.new == \"x\"",
                json!({ "term": { UNMAPPED: "requestParameters.new=x" } }),
            ),
            (
                "$.eventTime == \"2024-02-03T04:05:06Z\"",
                json!({ "term": { "eventTime": "2024-02-03T04:05:06Z" } }),
            ),
        ] {
            let pushdown = of(&[expression], &[]);
            let query = pushdown.query.to_string();
            assert!(query.contains(&clause.to_string()), "{expression}: {query}");
            assert_eq!(pushdown.pushed, [format!("--match '{expression}'")]);
            // Whatever a load has changed is found too.
            assert!(query.contains(CHANGES), "{query}");
        }
        let except = of(&[], &["$.eventName != \"GetObject\""]).query.to_string();
        assert!(except.contains(r#"{"term":{"eventName":"GetObject"}}"#), "{except}");
    }

    #[test]
    fn a_term_that_may_be_cut_is_found_by_its_beginning() {
        assert_eq!(
            term_of_text("a.b", &"x".repeat(84)),
            json!({ "term": { UNMAPPED: format!("a.b={}", "x".repeat(84)) } })
        );
        let certain = (MAX_TERM_BYTES - 3) / 6;
        assert_eq!(
            term_of_text("a.b", &"x".repeat(2_000)),
            json!({ "prefix": { UNMAPPED: format!("a.b={}", "x".repeat(certain)) } })
        );
        let Value::Object(clause) = term_of_text("a.b", &"\u{1f600}".repeat(60)) else { panic!() };
        let prefix = clause["prefix"][UNMAPPED].as_str().unwrap();
        assert_eq!(prefix.chars().count(), 4 + certain / 2, "no half of a pair");
    }

    #[test]
    fn documents_of_others_and_excluded_indices_are_named() {
        let query = Query {
            range: TimeBounds { from: Some(1_700_000_000), to: Some(1_700_000_001) },
            ..Query::default()
        };
        let pushdown = push_down(&query, &mapped(), &["theirs".to_owned()]);
        let text = pushdown.query.to_string();
        assert!(text.contains(r#""gte":1699999999000,"lt":1700000003000"#), "{text}");
        assert!(text.contains(r#"{"terms":{"_index":["theirs"]}}"#), "{text}");
        let excluded = exclude(match_all(), &["other".to_owned()]);
        assert_eq!(excluded["bool"]["must_not"][0]["terms"]["_index"], json!(["other"]));
        assert_eq!(exclude(match_all(), &[]), match_all());
    }

    #[test]
    fn a_short_principal_is_looked_up_by_its_longest_part() {
        for (pattern, part) in [
            ("role/Admin/alice@example.com", Some("alice@example.com")),
            ("user/al*", Some("al")),
            ("*Admin*", Some("Admin")),
            ("root", Some("root")),
            ("service/*", None),
            ("us*", None),
            ("*", None),
            ("al[il]ce", Some("al")),
            ("ro[ol]e/Admin", None),
            ("role/Zoë", Some("Zo")),
        ] {
            assert_eq!(longest_part(&Glob::new(pattern)).as_deref(), part, "{pattern}");
        }
    }

    #[test]
    fn names_of_the_table_are_added_to_those_of_a_pattern() {
        let query = |pattern: &str| {
            let actions = ActionFilter::parse(&[pattern]).unwrap();
            let query = Query { actions, ..Query::default() };
            push_down(&query, &mapped(), &[]).query.to_string()
        };
        let buckets = query("s3:ListAllMyBuckets");
        assert!(buckets.contains("(listbuckets)(20.*)?"), "{buckets}");
        let alarms = query("cloudwatch:*");
        assert!(alarms.contains(r"(monitoring)(\\.amazonaws\\.com.*)?"), "{alarms}");
        assert!(!alarms.contains(r#""eventName":{"value""#), "{alarms}");
        assert!(query("*:Delete*").contains(r#""eventName":{"value":"Delete*""#));
    }
}
