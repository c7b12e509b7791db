//! Example searches for the events of a call: a command, the Query DSL, and lines for the search bars of dashboards.
//!
//! Input: an answer. Output: an [`ExampleQuery`], whose forms find the same events.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Leaf, example, leaves, testable};
use crate::{
    cli::schema::{answer::Answer, structured::Notation},
    normalize::Rules,
    report::terminal::escape_unprintable,
};

/// The same search in several languages.
#[derive(Debug)]
pub(in crate::cli::schema) struct ExampleQuery {
    /// A command line of this program.
    command: String,
    /// The body of a search request.
    dsl: Value,
    /// What Kibana and OpenSearch Dashboards take as KQL or DQL.
    kql: String,
    /// What they take as Lucene, as does `query_string`.
    lucene: String,
}

/// The field that holds what has no field of its own.
const UNMAPPED: &str = "trailload.unmapped";

impl ExampleQuery {
    /// Returns a search for the events of a call, with one value of the request if there is one to test.
    pub(in crate::cli::schema) fn new(answer: &Answer<'_>, rules: &Rules) -> Self {
        let leaves = leaves(answer, rules);
        let tested = testable(answer, &leaves)
            .map(|leaf| (leaf, example::value(leaf, &answer.service_name)));
        let names = &answer.event_names;
        let mut conditions = vec![
            Condition::new("eventSource", vec![answer.event_source.clone()]),
            Condition::new("eventName", names.clone()),
        ];
        conditions.extend(tested.as_ref().map(|(leaf, value)| Condition::of_leaf(leaf, value)));
        let join = |separator: &str, line: fn(&Condition) -> String| {
            conditions.iter().map(line).collect::<Vec<_>>().join(separator)
        };
        Self {
            command: command(answer, tested.as_ref()),
            dsl: json!({
                "size": 20,
                "sort": [{ "@timestamp": "desc" }],
                "query": { "bool": { "filter": conditions.iter().map(Condition::dsl).collect::<Vec<_>>() } },
            }),
            kql: join(" and ", Condition::kql),
            lucene: join(" AND ", Condition::lucene),
        }
    }

    /// Returns the forms one below the other, each with a heading.
    pub(in crate::cli::schema) fn text(&self) -> String {
        let Self { command, dsl, kql, lucene } = self;
        let lines = [command, kql, lucene].map(|line| escape_unprintable(line));
        let [command, kql, lucene] = &lines;
        format!(
            "# Command\n{command}\n\n# Query DSL of Elasticsearch and OpenSearch: POST cloudtrail-*/_search\n{dsl:#}\n\n\
             # KQL of Kibana, DQL of OpenSearch Dashboards\n{kql}\n\n# Lucene\n{lucene}\n"
        )
    }

    /// Returns the forms as members of an object.
    pub(in crate::cli::schema) fn structured(&self, notation: Notation) -> String {
        let Self { command, dsl, kql, lucene } = self;
        match notation {
            Notation::Json => {
                let all = json!({ "command": command, "dsl": dsl, "kql": kql, "lucene": lucene });
                format!("{all:#}\n")
            }
            Notation::Yaml => {
                let [command, kql, lucene] = [command, kql, lucene].map(|line| json!(line));
                format!("command: {command}\ndsl: {dsl}\nkql: {kql}\nlucene: {lucene}\n")
            }
        }
    }
}

/// A field and the values that it may have.
struct Condition {
    field: String,
    values: Vec<String>,
    /// The value as JSON, if it is not a text.
    value: Option<Value>,
}

impl Condition {
    fn new(field: &str, values: Vec<String>) -> Self {
        Self { field: field.to_owned(), values, value: None }
    }

    fn of_leaf(leaf: &Leaf, value: &Value) -> Self {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match &leaf.index {
            Some(field) => {
                let value = (!value.is_string()).then(|| value.clone());
                Self { value, ..Self::new(field, vec![text]) }
            }
            None => Self::new(UNMAPPED, vec![format!("{}={text}", leaf.path)]),
        }
    }

    fn dsl(&self) -> Value {
        let field = self.field.as_str();
        match (&self.value, self.values.as_slice()) {
            (Some(value), _) => json!({ "term": { field: value } }),
            (None, [only]) => json!({ "term": { field: only } }),
            (None, several) => json!({ "terms": { field: several } }),
        }
    }

    fn kql(&self) -> String {
        let values = self.quoted(" or ");
        format!("{}: {values}", escaped(&self.field, "\\():<>\"*{} "))
    }

    fn lucene(&self) -> String {
        let values = self.quoted(" OR ");
        format!("{}:{values}", escaped(&self.field, "\\+-!(){}[]^\"~*?:/ "))
    }

    /// Returns the values in quotation marks.
    fn quoted(&self, separator: &str) -> String {
        let values = self.values.iter().map(|value| format!("\"{}\"", escaped(value, "\\\"")));
        let values: Vec<String> = values.collect();
        match values.as_slice() {
            [only] => only.clone(),
            several => format!("({})", several.join(separator)),
        }
    }
}

/// Returns a text with a backslash before some characters.
fn escaped(text: &str, characters: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if characters.contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

/// Returns the command line of a search.
fn command(answer: &Answer<'_>, tested: Option<&(&Leaf, Value)>) -> String {
    let source = answer.event_source.trim_end_matches(".amazonaws.com");
    let mut words = vec!["trailload search".to_owned()];
    words.extend(answer.event_names.iter().map(|name| format!("{source}:{name}")));
    if let Some((leaf, value)) = tested {
        let condition = format!("{} == {value}", json_path(&leaf.path));
        words.push(format!("--match '{}'", condition.replace('\'', r"'\''")));
    }
    words.push("--in index --into http://localhost:9200".to_owned());
    words.join(" ")
}

/// Returns a path as JSONPath, with keys in brackets that are no identifiers.
fn json_path(path: &str) -> String {
    let mut text = "$".to_owned();
    for key in path.split('.') {
        let starts = key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if starts && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            text.extend([".", key]);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "[{}]", json!(key));
        }
    }
    text
}
