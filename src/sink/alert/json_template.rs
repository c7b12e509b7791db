//! JSON with expressions: the body of a webhook.
//!
//! ```yaml
//! body:
//!   summary: "${rule}: ${message}"
//!   count: ${events}
//!   who: ${event.userIdentity.arn}
//! ```
//!
//! Input: a YAML value, or JSON text. Output: an error with its place, or a [`JsonTemplate`]; its value for an alert.
//! Invariant: the result is valid JSON with the structure of the template, whatever the alert contains. A text that is one
//! expression becomes its value, of whatever type; in any other text, values are inserted as text. A value that cannot be
//! evaluated is null, or empty within text.
//! Not here: conditions and loops; JMESPath has projections and `||`.

use serde_json::{Map, Value};

use super::placeholders::{TextSegment, split_at_placeholders};
use super::settings::Read;
use crate::filter::{
    jmespath::Expression,
    yaml::{DefinitionError, TextPosition, YamlContent, YamlNode, parse_yaml},
};

/// A JSON value with expressions in its texts.
#[derive(Clone, Debug)]
pub(super) enum JsonTemplate {
    /// A value without expressions.
    Constant(Value),
    /// The value of an expression.
    Expression(Box<Expression>),
    /// Text with expressions in it.
    Text(Vec<TextPart>),
    List(Vec<JsonTemplate>),
    Object(Vec<(String, JsonTemplate)>),
}

/// A part of a text.
#[derive(Clone, Debug)]
pub(super) enum TextPart {
    Literal(String),
    Expression(Box<Expression>),
}

impl JsonTemplate {
    /// Reads a template: a mapping or list with expressions in its texts, or the same as JSON text.
    pub(super) fn read(node: &YamlNode) -> Read<Self> {
        if let Some(text) = node.as_text()
            && text.trim_start().starts_with(['{', '['])
        {
            return Self::from_json_text(text, node.position);
        }
        Self::from_node(node)
    }

    fn from_json_text(text: &str, position: TextPosition) -> Read<Self> {
        let invalid = |reason: &str| {
            DefinitionError::new(position, format!("the body is not valid JSON: {reason}"))
                .suggest("put expressions in quotation marks: {\"count\": \"${events}\"}")
        };
        // JSON is YAML; the JSON parser is stricter.
        if let Err(error) = serde_json::from_str::<Value>(text) {
            return Err(invalid(&error.to_string()));
        }
        let documents = parse_yaml(text).map_err(|error| invalid(&error.message))?;
        let [document] = documents.as_slice() else { return Err(invalid("it is empty")) };
        Self::from_node(&at(document, position))
    }

    fn from_node(node: &YamlNode) -> Read<Self> {
        match &node.content {
            YamlContent::Plain(text) | YamlContent::Quoted(text) if text.contains("${") => {
                Self::from_text(text, node.position)
            }
            YamlContent::Plain(_) | YamlContent::Quoted(_) => Ok(Self::Constant(node.to_json())),
            YamlContent::List(items) => {
                Ok(Self::List(items.iter().map(Self::from_node).collect::<Read<_>>()?))
            }
            YamlContent::Mapping(entries) => {
                let member = |entry: &crate::filter::yaml::YamlEntry| {
                    if entry.key.contains("${") {
                        return Err(DefinitionError::new(
                            entry.key_position,
                            "a key of the body cannot contain an expression",
                        ));
                    }
                    Ok((entry.key.clone(), Self::from_node(&entry.value)?))
                };
                Ok(Self::Object(entries.iter().map(member).collect::<Read<_>>()?))
            }
        }
    }

    fn from_text(text: &str, position: TextPosition) -> Read<Self> {
        let mut parts = split(text, position)?;
        if let [TextPart::Expression(_)] = parts.as_slice()
            && let Some(TextPart::Expression(expression)) = parts.pop()
        {
            return Ok(Self::Expression(expression));
        }
        Ok(Self::Text(parts))
    }

    /// Returns the value for an alert.
    pub(super) fn render(&self, alert: &Value) -> Value {
        match self {
            Self::Constant(value) => value.clone(),
            Self::Expression(expression) => evaluate(expression, alert),
            Self::Text(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        TextPart::Literal(literal) => text.push_str(literal),
                        TextPart::Expression(expression) => match evaluate(expression, alert) {
                            Value::Null => {}
                            Value::String(value) => text.push_str(&value),
                            value => text.push_str(&value.to_string()),
                        },
                    }
                }
                Value::String(text)
            }
            Self::List(items) => items.iter().map(|item| item.render(alert)).collect(),
            Self::Object(members) => members
                .iter()
                .map(|(key, value)| (key.clone(), value.render(alert)))
                .collect::<Map<_, _>>()
                .into(),
        }
    }
}

/// Returns a copy of a tree of which every value is at one place, because its text is a value of another file.
fn at(node: &YamlNode, position: TextPosition) -> YamlNode {
    let content = match &node.content {
        YamlContent::List(items) => {
            YamlContent::List(items.iter().map(|item| at(item, position)).collect())
        }
        YamlContent::Mapping(entries) => YamlContent::Mapping(
            entries
                .iter()
                .map(|entry| crate::filter::yaml::YamlEntry {
                    key: entry.key.clone(),
                    key_position: position,
                    value: at(&entry.value, position),
                })
                .collect(),
        ),
        scalar => scalar.clone(),
    };
    YamlNode { position, content }
}

fn evaluate(expression: &Expression, alert: &Value) -> Value {
    expression.evaluate(alert).map_or(Value::Null, |node| node.to_value())
}

/// Splits a text at its expressions. `$$` before a brace stands for a dollar sign.
fn split(text: &str, position: TextPosition) -> Read<Vec<TextPart>> {
    let part = |segment| match segment {
        TextSegment::Literal(text) => Ok(TextPart::Literal(text)),
        TextSegment::Placeholder(text) => {
            let expression = Expression::parse(text.trim()).map_err(|error| DefinitionError {
                position,
                message: format!("`${{{text}}}`: {}", error.message),
                suggestion: error.suggestion.clone(),
                excerpt: Some(error.caret().to_string()),
            })?;
            Ok(TextPart::Expression(Box::new(expression)))
        }
        TextSegment::Unclosed => Err(DefinitionError::new(position, "`${` has no closing `}`")
            .suggest("write \"${EXPRESSION}\", or $${ for the characters themselves")),
    };
    split_at_placeholders(text, end_of_expression).into_iter().map(part).collect()
}

/// Returns the offset of the brace that ends an expression. Braces within quotation marks and of objects do not.
fn end_of_expression(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut is_escaped = false;
    for (offset, letter) in text.char_indices() {
        match quote {
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if letter == '\\' => is_escaped = true,
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None => match letter {
                '\'' | '"' | '`' => quote = Some(letter),
                '{' => depth += 1,
                '}' if depth == 0 => return Some(offset),
                '}' => depth -= 1,
                _ => {}
            },
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn template(yaml: &str) -> Read<JsonTemplate> {
        JsonTemplate::read(&parse_yaml(yaml)?[0])
    }

    fn render(yaml: &str, alert: &Value) -> Value {
        template(yaml).unwrap().render(alert)
    }

    #[test]
    fn a_text_that_is_an_expression_becomes_its_value() {
        let alert =
            json!({"rule": "r", "events": 5, "event": {"a": [1, {"b": "x\"y"}], "none": null}});
        for (yaml, expected) in [
            ("n: ${events}", json!({"n": 5})),
            ("n: \"${ events }\"", json!({"n": 5})),
            ("t: \"${rule}: ${events}\"", json!({"t": "r: 5"})),
            ("v: ${event.a}", json!({"v": [1, {"b": "x\"y"}]})),
            ("v: \"a ${event.a} b\"", json!({"v": "a [1,{\"b\":\"x\\\"y\"}] b"})),
            ("v: ${event.missing}\nw: \"<${event.missing}>\"", json!({"v": null, "w": "<>"})),
            ("v: \"${{a: rule, b: '}'}}\"", json!({"v": {"a": "r", "b": "}"}})),
            ("v: \"$${rule} $5\"", json!({"v": "${rule} $5"})),
            ("v: ${starts_with(event.none, 'x')}", json!({"v": null})),
            ("[1, true, ~, \"${rule}\"]", json!([1, true, null, "r"])),
            ("'{\"a\": \"${rule}\", \"n\": \"${events}\"}'", json!({"a": "r", "n": 5})),
        ] {
            assert_eq!(render(yaml, &alert), expected, "{yaml}");
        }
    }

    #[test]
    fn an_invalid_template_is_refused() {
        for (yaml, expected) in [
            ("a: \"${rule\"", "no closing"),
            ("a: \"${rule ==}\"", "rule =="),
            ("\"${k}\": 1", "a key of the body"),
            ("'{\"a\": ${rule}}'", "not valid JSON"),
        ] {
            let error = template(yaml).unwrap_err();
            assert!(error.message.contains(expected), "{yaml}: {error:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_inserted_the_structure_stays(rule in any::<String>(), key in any::<String>()) {
            let alert = json!({"rule": rule, "event": {key.clone(): rule.clone()}});
            let yaml = "a: \"${rule}\"\nb: [\"x ${rule} y\", \"${event}\"]\n";
            let text = render(yaml, &alert).to_string();
            let parsed: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(parsed, json!({"a": rule.clone(), "b": [format!("x {rule} y"), {key: rule}]}));
        }
    }
}
