//! YAML with the line and column of every value.
//!
//! Input: the text of a file with one or more documents. Output: a tree of [`YamlNode`] for each document, or the place of
//! an error.
//! Invariant: the tree is bounded in size and depth, whatever aliases the text contains, and a mapping has each key once.
//! Not here: what the values mean (see [`rule`](super::rule)).

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use serde_json::{Map, Number, Value};

use crate::report::terminal::escape_unprintable;

/// The most values in a file, with those that aliases repeat. A file of 1,000 rules has about 50,000.
const MAX_NODES: usize = 1_000_000;

/// How deep values may be nested. Events have 10 levels at most.
const MAX_DEPTH: usize = 64;

/// The key that merges another mapping into its own in YAML 1.1. YAML 1.2 does not have it.
const MERGE_KEY: &str = "<<";

/// How similar (Jaro-Winkler, 0 to 1) a key must be to be suggested instead of an unknown one.
const MIN_SIMILARITY: f64 = 0.8;

/// A place in a file: line and column from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TextPosition {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for TextPosition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.line, self.column)
    }
}

impl From<Marker> for TextPosition {
    fn from(marker: Marker) -> Self {
        Self { line: marker.line(), column: marker.col() + 1 }
    }
}

/// What is wrong in a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DefinitionError {
    /// Where it is.
    pub position: TextPosition,
    /// What is wrong, in lower case without a full stop.
    pub message: String,
    /// What to write instead, if that is known.
    pub suggestion: Option<String>,
    /// The expression with a caret below the place, if the error is within an expression.
    pub excerpt: Option<String>,
}

impl DefinitionError {
    /// Creates an error without a suggestion.
    pub fn new(position: TextPosition, message: impl Into<String>) -> Self {
        Self { position, message: message.into(), suggestion: None, excerpt: None }
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }
}

/// A value in a YAML document.
#[derive(Clone, Debug, PartialEq)]
pub struct YamlNode {
    /// Where the value starts.
    pub position: TextPosition,
    /// The value.
    pub content: YamlContent,
}

/// The content of a [`YamlNode`].
#[derive(Clone, Debug, PartialEq)]
pub enum YamlContent {
    /// Text without quotation marks, which may mean a number, a boolean or null.
    Plain(String),
    /// Text in quotation marks, or a block of text.
    Quoted(String),
    /// A sequence.
    List(Vec<YamlNode>),
    /// A mapping, in the order of the file.
    Mapping(Vec<YamlEntry>),
}

/// An entry of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct YamlEntry {
    /// The key.
    pub key: String,
    /// Where the key starts.
    pub key_position: TextPosition,
    /// The value.
    pub value: YamlNode,
}

impl YamlNode {
    /// Returns the entries, if the value is a mapping.
    pub fn as_mapping(&self) -> Option<&[YamlEntry]> {
        match &self.content {
            YamlContent::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// Returns the elements, if the value is a sequence.
    pub fn as_list(&self) -> Option<&[YamlNode]> {
        match &self.content {
            YamlContent::List(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the value of a key, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&YamlNode> {
        self.as_mapping()?.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// Returns the text of a scalar, whatever it may mean beside.
    pub fn as_text(&self) -> Option<&str> {
        match &self.content {
            YamlContent::Plain(text) | YamlContent::Quoted(text) => Some(text),
            _ => None,
        }
    }

    /// Returns whether the value is null.
    pub fn is_null(&self) -> bool {
        self.to_json().is_null()
    }

    /// Converts to JSON, with numbers, booleans and null as YAML 1.2 reads them.
    pub fn to_json(&self) -> Value {
        match &self.content {
            YamlContent::Plain(text) => plain_value(text),
            YamlContent::Quoted(text) => Value::from(text.as_str()),
            YamlContent::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            YamlContent::Mapping(entries) => Value::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.value.to_json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// Returns what the value is, with its article, for messages.
    pub fn description(&self) -> &'static str {
        match &self.content {
            YamlContent::Plain(_) | YamlContent::Quoted(_) => match self.to_json() {
                Value::Null => "nothing",
                Value::Bool(_) => "a boolean",
                Value::Number(_) => "a number",
                _ => "text",
            },
            YamlContent::List(_) => "a list",
            YamlContent::Mapping(_) => "a mapping",
        }
    }
}

/// Reads a plain scalar with the core schema of YAML 1.2.
fn plain_value(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::from(text), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|character: char| character.is_ascii_digit() || character == '.')
        || !digits
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
    {
        return None;
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    text.parse::<i64>().map(Number::from).ok().or_else(|| Number::from_f64(text.parse().ok()?))
}

/// Parses the documents of a file. Empty documents are left out.
///
/// # Errors
///
/// If the text is not valid YAML, repeats a key, has a tag that is not of the core schema, or exceeds the limits.
pub fn parse_yaml(text: &str) -> Result<Vec<YamlNode>, DefinitionError> {
    let mut builder = Builder {
        text,
        nodes: 0,
        anchors: HashMap::new(),
        stack: Vec::new(),
        documents: Vec::new(),
    };
    for step in Parser::new_from_str(text) {
        let (event, span) =
            step.map_err(|error| scan_error(text, (*error.marker()).into(), error.info()))?;
        builder.add(event, span.start.into())?;
    }
    Ok(builder.documents)
}

/// A list or mapping that is not complete.
struct Open {
    position: TextPosition,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<YamlNode>),
    Mapping { entries: Vec<YamlEntry>, keys: HashSet<String>, key: Option<(String, TextPosition)> },
}

/// Builds trees from the events of the parser.
struct Builder<'t> {
    text: &'t str,
    nodes: usize,
    anchors: HashMap<usize, YamlNode>,
    stack: Vec<Open>,
    documents: Vec<YamlNode>,
}

impl Builder<'_> {
    fn add(&mut self, event: Event<'_>, position: TextPosition) -> Result<(), DefinitionError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.check_tag(tag.as_deref(), position)?;
                let text = text.into_owned();
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                let content =
                    if is_plain { YamlContent::Plain(text) } else { YamlContent::Quoted(text) };
                self.complete(YamlNode { position, content }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(OpenKind::List(Vec::new()), anchor, tag.as_deref(), position)
            }
            Event::MappingStart(anchor, tag) => self.open(
                OpenKind::Mapping { entries: Vec::new(), keys: HashSet::new(), key: None },
                anchor,
                tag.as_deref(),
                position,
            ),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| {
                    DefinitionError::new(position, "the alias has no anchor before it")
                })?;
                self.nodes += size(&node);
                self.complete(YamlNode { position, ..node }, 0)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn open(
        &mut self,
        kind: OpenKind,
        anchor: usize,
        tag: Option<&Tag>,
        position: TextPosition,
    ) -> Result<(), DefinitionError> {
        self.check_tag(tag, position)?;
        if self.stack.len() >= MAX_DEPTH {
            return Err(DefinitionError::new(
                position,
                format!("values are nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        self.stack.push(Open { position, anchor, kind });
        Ok(())
    }

    fn close(&mut self) -> Result<(), DefinitionError> {
        let Some(Open { position, anchor, kind }) = self.stack.pop() else { return Ok(()) };
        let content = match kind {
            OpenKind::List(items) => YamlContent::List(items),
            OpenKind::Mapping { entries, .. } => YamlContent::Mapping(entries),
        };
        self.complete(YamlNode { position, content }, anchor)
    }

    /// Adds a complete value to what it is part of.
    fn complete(&mut self, node: YamlNode, anchor: usize) -> Result<(), DefinitionError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(DefinitionError::new(
                node.position,
                format!("the file has more than {MAX_NODES} values"),
            ));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut().map(|open| &mut open.kind) {
            None if node.content == YamlContent::Plain(String::new()) => {}
            None => self.documents.push(node),
            Some(OpenKind::List(items)) => items.push(node),
            Some(OpenKind::Mapping { entries, keys, key }) => match key.take() {
                Some((key, key_position)) => {
                    entries.push(YamlEntry { key, key_position, value: node });
                }
                None => *key = Some(unused_key(entries, keys, node)?),
            },
        }
        Ok(())
    }

    /// A leading `!` is a tag in YAML, and a negation in an expression.
    fn check_tag(&self, tag: Option<&Tag>, position: TextPosition) -> Result<(), DefinitionError> {
        match tag {
            Some(tag) if !tag.is_yaml_core_schema() => Err(tag_error(self.text, position)),
            _ => Ok(()),
        }
    }
}

fn unused_key(
    entries: &[YamlEntry],
    keys: &mut HashSet<String>,
    node: YamlNode,
) -> Result<(String, TextPosition), DefinitionError> {
    let position = node.position;
    if node.content == YamlContent::Plain(MERGE_KEY.to_owned()) {
        return Err(DefinitionError::new(position, "merge keys are not supported")
            .suggest("repeat the keys; an alias stands for a whole value"));
    }
    let (YamlContent::Plain(key) | YamlContent::Quoted(key)) = node.content else {
        return Err(DefinitionError::new(position, "a key must be text"));
    };
    if keys.insert(key.clone()) {
        return Ok((key, position));
    }
    let first = entries.iter().find(|entry| entry.key == key);
    let line = first.map_or(position.line, |first| first.key_position.line);
    let key = escape_unprintable(&key);
    let message = format!("the key {key} is there twice; the first is in line {line}");
    Err(DefinitionError::new(position, message))
}

fn size(node: &YamlNode) -> usize {
    match &node.content {
        YamlContent::Plain(_) | YamlContent::Quoted(_) => 1,
        YamlContent::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        YamlContent::Mapping(entries) => {
            1 + entries.iter().map(|entry| size(&entry.value)).sum::<usize>()
        }
    }
}

/// Returns the error for a value that is not what its place expects.
pub fn expected(node: &YamlNode, what: &str) -> DefinitionError {
    DefinitionError::new(
        node.position,
        format!("{what} is expected here, not {}", node.description()),
    )
}

/// Checks that a mapping has only these keys.
///
/// # Errors
///
/// If it has another one; the suggestion is the key that is most like it.
pub fn check_keys(
    entries: &[YamlEntry],
    known: &[&str],
    owner: &str,
) -> Result<(), DefinitionError> {
    let Some(entry) = entries.iter().find(|entry| !known.contains(&entry.key.as_str())) else {
        return Ok(());
    };
    let message = format!("{owner} has no key `{}`", escape_unprintable(&entry.key));
    Err(DefinitionError::new(entry.key_position, message).suggest(
        match nearest(&entry.key, known.iter().copied()) {
            Some(key) => format!("write `{key}`"),
            None => format!("the keys are {}", known.join(", ")),
        },
    ))
}

/// Returns the name that is most like a misspelled one, if one is similar.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    known
        .into_iter()
        .map(|known| (similarity(&name, &known.to_ascii_lowercase()), known))
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
        .map(|(_, known)| known)
}

/// Returns how similar two names are, from 0 to 1. In short names, a typing error changes most of what is measured otherwise.
fn similarity(name: &str, known: &str) -> f64 {
    if strsim::osa_distance(name, known) == 1 && name.len() > 2 {
        return 0.95;
    }
    strsim::jaro_winkler(name, known)
}

/// Returns text that is not empty. Numbers and booleans are taken as they are written.
///
/// # Errors
///
/// If the value is empty, null, a list or a mapping.
pub fn text(node: &YamlNode) -> Result<String, DefinitionError> {
    match node.as_text() {
        Some(text) if !node.is_null() && !text.trim().is_empty() => Ok(text.trim().to_owned()),
        _ => Err(expected(node, "text")),
    }
}

/// Returns the elements of a list; a value that is no list is its only element.
pub fn list_of(node: Option<&YamlNode>) -> Vec<&YamlNode> {
    match node {
        None => Vec::new(),
        Some(node) if node.is_null() => Vec::new(),
        Some(node) => node.as_list().map_or_else(|| vec![node], |items| items.iter().collect()),
    }
}

/// Returns a line of the text, from 1, without what a terminal would interpret.
pub fn line_of(text: &str, line: usize) -> String {
    escape_unprintable(text.lines().nth(line.saturating_sub(1)).unwrap_or_default())
}

fn tag_error(text: &str, position: TextPosition) -> DefinitionError {
    // The position of a tag without a value is that of the value that is missing.
    let line = text.lines().nth(position.line.saturating_sub(1)).unwrap_or_default();
    let column =
        line.find('!').map_or(position.column, |offset| line[..offset].chars().count() + 1);
    DefinitionError::new(TextPosition { column, ..position }, "YAML reads a leading `!` as a tag")
        .suggest(
            "put the value in quotation marks, or start with `>-` and write it on the next line",
        )
}

/// Returns whether a value in a line starts with a variable, outside of quotation marks. That is text, except within `{ }` and `[ ]`.
fn has_unquoted_variable(line: &str) -> bool {
    let variables = line.match_indices("${").map(|(at, _)| &line[..at]);
    variables
        .into_iter()
        .any(|before| before.matches('"').count() % 2 == 0 && before.contains(['{', '[']))
}

/// Translates an error of the scanner, whose causes are often a value that needs quotation marks.
fn scan_error(text: &str, position: TextPosition, info: &str) -> DefinitionError {
    let line = text.lines().nth(position.line.saturating_sub(1)).unwrap_or_default();
    let value = line
        .split_once(": ")
        .map_or(line, |(_, value)| value)
        .trim_start()
        .trim_start_matches("- ");
    if value.starts_with('!') {
        return tag_error(text, position);
    }
    let error = DefinitionError::new(position, format!("the YAML is not valid: {info}"));
    if has_unquoted_variable(line) {
        return error
            .suggest("put text with `${…}` in quotation marks: within `{ }` and `[ ]`, braces are part of YAML");
    }
    if value.starts_with(['`', '@', '%', '*', '&', '|', '>', '"', '\'', '[', '{'])
        || value.contains(": ")
    {
        return error.suggest(
            "put the value in quotation marks, or start with `>-` and write it on the next line",
        );
    }
    if line.starts_with('\t') || line.contains("\t-") {
        return error.suggest("indent with blanks; YAML allows no tabs");
    }
    error
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::json;

    use super::*;

    fn error(text: &str) -> (String, String) {
        let error = parse_yaml(text).unwrap_err();
        (error.position.to_string(), error.message)
    }

    #[test]
    fn values_have_their_place_and_their_json() {
        let documents =
            parse_yaml("a: 1\nb:\n  - x\n  - 'true'\n  - {c: ~, d: 1.5}\n---\n- true\n").unwrap();
        assert_eq!(
            documents[0].to_json(),
            json!({"a": 1, "b": ["x", "true", {"c": null, "d": 1.5}]})
        );
        assert_eq!(documents[1].to_json(), json!([true]));
        let list = documents[0].get("b").unwrap().as_list().unwrap();
        assert_eq!(list[1].position, TextPosition { line: 4, column: 5 });
    }

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (text, value) in [
            ("no", json!("no")),
            ("on", json!("on")),
            ("y", json!("y")),
            ("0o14", json!("0o14")),
            ("12:30:45", json!("12:30:45")),
            ("1_000", json!("1_000")),
            ("TRUE", json!(true)),
            ("tRUE", json!("tRUE")),
            ("012", json!(12)),
            ("1e3", json!(1000.0)),
            ("-7", json!(-7)),
            ("1.2.3.4", json!("1.2.3.4")),
            ("2026-11-27", json!("2026-11-27")),
            ("111122223333", json!(111_122_223_333_i64)),
            ("Null", json!(null)),
            (".", json!(".")),
        ] {
            assert_eq!(parse_yaml(text).unwrap()[0].to_json(), value, "{text}");
        }
    }

    #[test]
    fn a_leading_exclamation_mark_is_explained() {
        for text in [
            "a: 1\nmatch: !starts_with(detail.a, 'x')\n",
            "a: 1\nmatch: !(a)\n",
            "a: 1\nmatch: !a\n",
        ] {
            let error = parse_yaml(text).unwrap_err();
            assert_eq!(error.position, TextPosition { line: 2, column: 8 }, "{text}");
            assert_eq!(error.message, "YAML reads a leading `!` as a tag", "{text}");
            assert!(error.suggestion.is_some());
        }
    }

    #[test]
    fn a_variable_without_quotation_marks_is_explained_where_it_is_no_text() {
        assert!(parse_yaml("a:\n  url: ${URL}\n  text: x ${Y} ${Z}\n").is_ok());
        for text in [
            "a: {kind: slack, url: ${URL}}\n",
            "a: {url: https://x/${URL}}\n",
            "a: [${A}, b]\n",
            "a: {b: \"${A}\", url: ${URL}}\n",
        ] {
            let error = parse_yaml(text).unwrap_err();
            assert!(error.suggestion.unwrap().contains("in quotation marks: within"), "{text}");
        }
    }

    #[test]
    fn repeated_keys_and_unknown_aliases_are_refused() {
        assert_eq!(
            error("a: 1\nb: 2\na: 3\n"),
            ("3:1".to_owned(), "the key a is there twice; the first is in line 1".to_owned())
        );
        assert_eq!(
            error("a: &b {c: 1}\nd:\n  <<: *b\n"),
            ("3:3".to_owned(), "merge keys are not supported".to_owned())
        );
        assert!(parse_yaml("a: {'<<': 1}\n").is_ok());
        assert!(parse_yaml("a: *b\n").is_err());
        assert_eq!(error("? [a]\n: 1\n").1, "a key must be text");
    }

    #[test]
    fn line_ends_and_a_byte_order_mark_make_no_difference() {
        let expected = json!({"a": [1, "x y"], "b": "l\n"});
        for text in [
            "a:\n  - 1\n  - x\n    y\nb: |\n  l\n",
            "a:\r\n  - 1\r\n  - x\r\n    y\r\nb: |\r\n  l\r\n",
            "\u{feff}a:\n  - 1\n  - x\n    y\nb: |\n  l\n",
        ] {
            assert_eq!(parse_yaml(text).unwrap()[0].to_json(), expected, "{text:?}");
        }
        let error = parse_yaml("a:\n\t- 1\n").unwrap_err();
        assert_eq!(error.suggestion.as_deref(), Some("indent with blanks; YAML allows no tabs"));
    }

    #[test]
    fn aliases_and_nesting_are_bounded() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let references = vec![format!("*a{}", level - 1); 10].join(", ");
            writeln!(bomb, "a{level}: &a{level} [{references}]").unwrap();
        }
        assert!(error(&bomb).1.starts_with("the file has more than"));
        assert!(error(&"[".repeat(100)).1.starts_with("values are nested deeper"));
        assert!(parse_yaml(&"[".repeat(10_000)).is_err());
        assert_eq!(
            parse_yaml("a: &x {b: 1}\nc: *x\n").unwrap()[0].to_json(),
            json!({"a": {"b": 1}, "c": {"b": 1}})
        );
    }
}
