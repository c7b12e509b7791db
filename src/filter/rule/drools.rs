//! Translates the rules of a Drools file into a rule file.
//!
//! Input: the text of a `.drl` file of the rules engine, whose conditions look at one flat event:
//! `Map(this["userIdentity.arn"].contains("alice") && this["eventName"] == "RunInstances")`.
//! Output: a rule file, and what could not be translated, with line and column.
//! Invariant: a rule is translated completely or not at all; the translation fires on the same events.
//!
//! Understood: `==`, `!=`, `<` and the like, `in`, `&&`, `||`, `!`, parentheses, `,`, the methods and operators `contains`,
//! `startsWith`, `endsWith` and `equals`. Not understood: several patterns, `extends`, regular expressions, Java code.

use std::fmt::Write as _;

use serde_json::Value;

use super::definition::source_of_name;
use crate::filter::{
    jmespath::Expression,
    yaml::{DefinitionError, TextPosition},
};

/// The most parentheses and negations around a condition; the translation has the limit of expressions.
const MAX_NESTING: usize = 8;

/// The result of a translation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DroolsTranslation {
    /// The rule file.
    pub yaml: String,
    /// The number of rules in it.
    pub translated: usize,
    /// What could not be translated.
    pub untranslated: Vec<DefinitionError>,
}

/// Translates a Drools file.
pub fn translate_drools(text: &str) -> DroolsTranslation {
    let mut translation = DroolsTranslation::default();
    let tokens = match tokenize(text) {
        Ok(tokens) => tokens,
        Err(error) => {
            translation.untranslated.push(error);
            return translation;
        }
    };
    let mut parser = DroolsParser { text, tokens, next: 0, notes: Vec::new() };
    while parser.skip_to_rule() {
        match parser.rule() {
            Ok(rule) => {
                if translation.translated > 0 {
                    translation.yaml.push_str("---\n");
                }
                translation.yaml.push_str(&rule.to_yaml());
                translation.translated += 1;
            }
            Err(error) => translation.untranslated.push(error),
        }
    }
    translation.untranslated.append(&mut parser.notes);
    translation.untranslated.sort_by_key(|error| error.position);
    translation
}

/// A rule of the file, with its condition as JMESPath.
struct DroolsRule {
    name: String,
    condition: Option<Condition>,
    actions: Vec<String>,
}

impl DroolsRule {
    fn to_yaml(&self) -> String {
        let mut yaml = format!("name: {}\n", quoted(&self.name));
        let condition =
            self.condition.as_ref().map(|condition| condition.to_expression(Binding::Loose));
        if let Some(events) = condition.as_deref().and_then(required_events) {
            let names: Vec<String> = events.iter().map(|name| quoted(name)).collect();
            // Writing to a string does not fail.
            let _ = writeln!(yaml, "events: [{}]", names.join(", "));
        } else if source_of_name(&self.name).is_none() {
            yaml.push_str("events: [\"*\"]\n");
        }
        if let Some(condition) = condition {
            let _ = writeln!(yaml, "match: >-\n  {}", condition.replace(" && ", "\n  && "));
        }
        if !self.actions.is_empty() {
            let _ = writeln!(yaml, "actions: [{}]", self.actions.join(", "));
        }
        yaml
    }
}

/// A JSON string, which is YAML too.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn required_events(condition: &str) -> Option<Vec<String>> {
    let expression = Expression::parse(condition).ok()?;
    let events = expression.required_texts(&[&["flat", "eventName"]])?;
    Some(events.into_iter().map(str::to_owned).collect())
}

/// A condition of a rule.
enum Condition {
    /// An expression that binds tighter than `!`, `&&` and `||`.
    Call(String),
    /// A comparison.
    Comparison(String),
    Not(Box<Condition>),
    And(Vec<Condition>),
    Or(Vec<Condition>),
}

/// What is around a condition, and whether it needs parentheses there.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Binding {
    Loose,
    And,
    Not,
}

impl Condition {
    fn to_expression(&self, around: Binding) -> String {
        let (text, binding) = match self {
            Self::Call(text) => return text.clone(),
            Self::Comparison(text) => (text.clone(), Binding::And),
            Self::Not(inner) => return format!("!{}", inner.to_expression(Binding::Not)),
            Self::And(parts) => (join(parts, " && ", Binding::And), Binding::Loose),
            Self::Or(parts) => (join(parts, " || ", Binding::Loose), Binding::Loose),
        };
        let needs_parentheses = match self {
            Self::Or(_) => around > Binding::Loose,
            _ => around > binding && around == Binding::Not,
        };
        if needs_parentheses { format!("({text})") } else { text }
    }
}

fn join(parts: &[Condition], operator: &str, around: Binding) -> String {
    parts.iter().map(|part| part.to_expression(around)).collect::<Vec<_>>().join(operator)
}

/// A token of a Drools file.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Number(String),
    Symbol(&'static str),
    /// A character without a meaning in conditions; Java code may have it.
    Other(char),
}

/// The symbols of conditions; longer ones first.
const SYMBOLS: [&str; 19] = [
    "&&", "||", "==", "!=", "<=", ">=", "(", ")", "[", "]", "{", "}", ",", ".", ":", ";", "!", "<",
    ">",
];

fn position_of(text: &str, offset: usize) -> TextPosition {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    TextPosition { line, column }
}

fn tokenize(text: &str) -> Result<Vec<(usize, Token)>, DefinitionError> {
    let mut tokens = Vec::new();
    let mut offset = 0;
    while let Some(first) = text.get(offset..).and_then(|rest| rest.chars().next()) {
        let rest = text.get(offset..).unwrap_or_default();
        let start = offset;
        offset += if rest.starts_with("//") || first == '#' {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' || first == '\'' {
            let (value, length) = string(rest, first).ok_or_else(|| {
                DefinitionError::new(
                    position_of(text, start),
                    "the closing quotation mark is missing",
                )
            })?;
            tokens.push((start, Token::Text(value)));
            length
        } else if first.is_ascii_digit()
            || first == '-' && rest.chars().nth(1).is_some_and(|next| next.is_ascii_digit())
        {
            let length = rest
                .strip_prefix('-')
                .unwrap_or(rest)
                .find(|character: char| !character.is_ascii_alphanumeric() && character != '.')
                .map_or(rest.len(), |end| end + usize::from(first == '-'));
            tokens.push((start, Token::Number(rest.get(..length).unwrap_or_default().to_owned())));
            length
        } else if first.is_alphabetic() || matches!(first, '_' | '$') {
            let length = rest
                .find(|character: char| {
                    !character.is_alphanumeric() && !matches!(character, '_' | '$')
                })
                .unwrap_or(rest.len());
            tokens.push((start, Token::Word(rest.get(..length).unwrap_or_default().to_owned())));
            length
        } else if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            tokens.push((start, Token::Symbol(symbol)));
            symbol.len()
        } else {
            if !first.is_whitespace() {
                tokens.push((start, Token::Other(first)));
            }
            first.len_utf8()
        };
    }
    Ok(tokens)
}

/// Reads a string with the escapes of Java; returns it and its length in the file.
fn string(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((offset, character)) = characters.next() {
        match character {
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'u' => {
                    let digits: String =
                        (0..4).map_while(|_| characters.next()).map(|(_, digit)| digit).collect();
                    u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)?
                }
                other => other,
            }),
            _ if character == quote => return Some((value, offset + 1)),
            _ => value.push(character),
        }
    }
    None
}

/// Reads the rules of a file.
struct DroolsParser<'t> {
    text: &'t str,
    tokens: Vec<(usize, Token)>,
    next: usize,
    notes: Vec<DefinitionError>,
}

type Translated<T> = Result<T, DefinitionError>;

impl DroolsParser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(found)) if found == word)
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(found)) if *found == symbol);
        self.next += usize::from(found);
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.next += usize::from(found);
        found
    }

    fn take_text(&mut self) -> Option<String> {
        let Some(Token::Text(text)) = self.peek() else { return None };
        let text = text.clone();
        self.next += 1;
        Some(text)
    }

    fn error(&self, message: impl Into<String>) -> DefinitionError {
        let offset = self.tokens.get(self.next).map_or(self.text.len(), |(offset, _)| *offset);
        DefinitionError::new(position_of(self.text, offset), message)
    }

    fn expect_symbol(&mut self, symbol: &str) -> Translated<()> {
        if self.take_symbol(symbol) {
            Ok(())
        } else {
            Err(self.error(format!("`{symbol}` is expected here")))
        }
    }

    /// Moves to the next `rule`. Returns whether there is one.
    fn skip_to_rule(&mut self) -> bool {
        while self.next < self.tokens.len() && !self.is_rule_start() {
            self.next += 1;
        }
        self.next < self.tokens.len()
    }

    /// Returns whether here is the word `rule`, and not as a part of a Java name.
    fn is_rule_start(&self) -> bool {
        let before = self.next.checked_sub(1).and_then(|before| self.tokens.get(before));
        self.is_word("rule")
            && !matches!(before, Some((_, Token::Symbol("."))))
            && !matches!(self.tokens.get(self.next + 1), Some((_, Token::Symbol("." | ";"))))
    }

    fn rule(&mut self) -> Translated<DroolsRule> {
        self.next += 1;
        let start = self.next;
        let name = match self.peek() {
            Some(Token::Text(name) | Token::Word(name)) => name.clone(),
            _ => return Err(self.error("the name of the rule is expected here")),
        };
        self.next += 1;
        let named = |error: DefinitionError| DefinitionError {
            message: format!("rule {}: {}", quoted(&name), error.message),
            ..error
        };
        self.attributes().map_err(named)?;
        let condition = self.condition().map_err(named)?;
        let actions = self.actions();
        let rule = DroolsRule { name: name.clone(), condition, actions };
        if let Err(error) = rule.condition.as_ref().map_or(Ok(()), |condition| {
            Expression::parse(&condition.to_expression(Binding::Loose)).map(drop)
        }) {
            self.next = start;
            return Err(named(self.error(error.to_string())));
        }
        if source_of_name(&name).is_none() {
            let end = std::mem::replace(&mut self.next, start);
            let note = self.error("the name does not start with an event source, so the rules engine never ran the rule");
            self.notes.push(named(note).suggest("add `sources` to the translation"));
            self.next = end;
        }
        Ok(rule)
    }

    /// Skips attributes such as `salience 10` before `when`; the order of rules has no effect here.
    fn attributes(&mut self) -> Translated<()> {
        while self.next < self.tokens.len() && !self.is_word("when") && !self.is_word("end") {
            if self.is_word("extends") {
                return Err(self.error("`extends` cannot be translated"));
            }
            if self.take_word("enabled") {
                self.take_symbol("(");
                if self.is_word("false") {
                    return Err(self.error("the rule is not enabled"));
                }
                continue;
            }
            self.next += 1;
        }
        Ok(())
    }

    /// Reads `when $map: Map(…) then`.
    fn condition(&mut self) -> Translated<Option<Condition>> {
        if !self.take_word("when") {
            return Err(self.error("`when` is expected here"));
        }
        if self.take_word("then") {
            return Ok(None);
        }
        if matches!(self.tokens.get(self.next + 1), Some((_, Token::Symbol(":")))) {
            self.next += 2;
        }
        if self.is_word("java") {
            self.next += 1;
            while self.take_symbol(".") && (self.take_word("util") || self.is_word("Map")) {}
        }
        if !self.take_word("Map") {
            return Err(self.error("only a pattern `Map(…)` can be translated"));
        }
        self.expect_symbol("(")?;
        let condition = if self.take_symbol(")") {
            None
        } else {
            let mut parts = vec![self.any_of(0)?];
            while self.take_symbol(",") {
                parts.push(self.any_of(0)?);
            }
            self.expect_symbol(")")?;
            Some(if parts.len() == 1 { parts.swap_remove(0) } else { Condition::And(parts) })
        };
        self.take_symbol(";");
        if self.take_word("then") {
            Ok(condition)
        } else {
            Err(self.error("only one pattern can be translated; `then` is expected here"))
        }
    }

    fn any_of(&mut self, depth: usize) -> Translated<Condition> {
        let mut parts = vec![self.all_of(depth)?];
        while self.take_symbol("||") {
            parts.push(self.all_of(depth)?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Condition::Or(parts) })
    }

    fn all_of(&mut self, depth: usize) -> Translated<Condition> {
        let mut parts = vec![self.negation(depth)?];
        while self.take_symbol("&&") {
            parts.push(self.negation(depth)?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Condition::And(parts) })
    }

    fn negation(&mut self, depth: usize) -> Translated<Condition> {
        if depth > MAX_NESTING {
            return Err(
                self.error(format!("the condition is nested deeper than {MAX_NESTING} levels"))
            );
        }
        if self.take_symbol("!") {
            return Ok(Condition::Not(Box::new(self.negation(depth + 1)?)));
        }
        if self.take_symbol("(") {
            let inner = self.any_of(depth + 1)?;
            self.expect_symbol(")")?;
            return Ok(inner);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Translated<Condition> {
        let left = self.operand()?;
        if self.take_symbol(".") {
            let Some(Token::Word(method)) = self.peek().cloned() else {
                return Err(self.error("a method is expected here"));
            };
            let test = self.test(&method, &left)?;
            return self.compared_with_boolean(test);
        }
        for operator in ["==", "!=", "<=", ">=", "<", ">"] {
            if self.take_symbol(operator) {
                return Ok(Condition::Comparison(format!("{left} {operator} {}", self.operand()?)));
            }
        }
        match self.peek().cloned() {
            Some(Token::Word(word)) if word == "not" => {
                self.next += 1;
                let Some(Token::Word(word)) = self.peek().cloned() else {
                    return Err(self.error("an operator is expected here"));
                };
                Ok(Condition::Not(Box::new(self.test(&word, &left)?)))
            }
            Some(Token::Word(word)) => self.test(&word, &left),
            _ => Ok(Condition::Comparison(format!("{left} == `true`"))),
        }
    }

    /// Reads the rest of `this["key"].contains("x") == true`.
    fn compared_with_boolean(&mut self, test: Condition) -> Translated<Condition> {
        let is_equal = self.take_symbol("==");
        if !is_equal && !self.take_symbol("!=") {
            return Ok(test);
        }
        let expected = if self.take_word("true") {
            true
        } else if self.take_word("false") {
            false
        } else {
            return Err(self.error("`true` or `false` is expected here"));
        };
        Ok(if expected == is_equal { test } else { Condition::Not(Box::new(test)) })
    }

    /// Reads the list of `this["key"] in ("a", "b")`.
    fn list(&mut self, left: &str) -> Translated<Condition> {
        self.next += 1;
        self.expect_symbol("(")?;
        let mut items = vec![self.operand()?];
        while self.take_symbol(",") {
            items.push(self.operand()?);
        }
        self.expect_symbol(")")?;
        Ok(Condition::Call(format!("contains([{}], {left})", items.join(", "))))
    }

    /// Reads a method with its argument in parentheses, or an operator of this name with the argument behind it.
    fn test(&mut self, name: &str, left: &str) -> Translated<Condition> {
        let function = match name {
            "contains" => Some("contains"),
            "startsWith" => Some("starts_with"),
            "endsWith" => Some("ends_with"),
            "equals" => None,
            "in" => return self.list(left),
            _ => return Err(self.error(format!("`{name}` cannot be translated"))),
        };
        self.next += 1;
        let has_parentheses = self.take_symbol("(");
        let right = self.operand()?;
        if has_parentheses {
            self.expect_symbol(")")?;
        }
        Ok(match function {
            Some(function) => Condition::Call(format!("{function}({left}, {right})")),
            None => Condition::Comparison(format!("{left} == {right}")),
        })
    }

    /// Reads `this["key"]`, `this.get("key")` or a literal.
    fn operand(&mut self) -> Translated<String> {
        if self.take_word("this") {
            return self.key();
        }
        let literal = match self.peek().cloned() {
            Some(Token::Text(text)) => text_literal(&text),
            Some(Token::Number(number)) if number_literal(&number).is_some() => {
                number_literal(&number).unwrap_or_default()
            }
            Some(Token::Word(word)) if matches!(word.as_str(), "true" | "false" | "null") => {
                format!("`{word}`")
            }
            _ => return Err(self.error("`this[\"key\"]` or a literal is expected here")),
        };
        self.next += 1;
        Ok(literal)
    }

    fn key(&mut self) -> Translated<String> {
        let end = if self.take_symbol("[") {
            "]"
        } else {
            let is_get = self.take_symbol(".") && self.take_word("get") && self.take_symbol("(");
            if !is_get {
                return Err(self.error("`[\"key\"]` is expected here"));
            }
            ")"
        };
        let key = self
            .take_text()
            .ok_or_else(|| self.error("a key in quotation marks is expected here"))?;
        self.expect_symbol(end)?;
        Ok(format!("flat.{}", quoted(&key)))
    }

    /// Reads the Java code behind `then`: each `new DatadogAlertService()` is the action `datadog`.
    fn actions(&mut self) -> Vec<String> {
        let mut actions: Vec<String> = Vec::new();
        while self.next < self.tokens.len() && !self.is_word("end") {
            let service = match (self.take_word("new"), self.peek()) {
                (true, Some(Token::Word(class))) => {
                    class.strip_suffix("AlertService").map(str::to_lowercase)
                }
                _ => None,
            };
            if let Some(service) =
                service.filter(|service| !service.is_empty() && !actions.contains(service))
            {
                actions.push(service);
            }
            self.next += 1;
        }
        actions
    }
}

/// A number of Java as a literal of JMESPath, without the letter that tells its type.
fn number_literal(number: &str) -> Option<String> {
    let digits = number.trim_end_matches(['l', 'L', 'f', 'F', 'd', 'D', 'B', 'I']);
    serde_json::from_str::<serde_json::Number>(digits).ok().map(|_| format!("`{digits}`"))
}

/// Text as a literal of JMESPath: in quotation marks, or as JSON in backticks where that needs escapes.
fn text_literal(text: &str) -> String {
    if text.contains(['\'', '\\']) || text.chars().any(char::is_control) {
        format!("`{}`", quoted(text).replace('`', "\\u0060"))
    } else {
        format!("'{text}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(condition: &str) -> Result<String, String> {
        let text =
            format!("rule \"ec2.amazonaws.com: x\"\nwhen\n$map: Map({condition})\nthen\nend\n");
        let translation = translate_drools(&text);
        if let Some(error) = translation.untranslated.first() {
            return Err(error.message.clone());
        }
        let file = super::super::parse_rule_file(&translation.yaml);
        assert_eq!(file.errors, []);
        match &file.rules[0].condition {
            Some(super::super::RuleCondition::Expression(expression)) => {
                Ok(expression.text().to_owned())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn conditions_are_translated_with_their_precedence() {
        for (drools, expected) in [
            ("this[\"a\"] == \"b\"", "flat.\"a\" == 'b'"),
            ("this[\"a\"] != null", "flat.\"a\" != `null`"),
            ("this[\"a.b[0].c\"].contains(\"x\")", "contains(flat.\"a.b[0].c\", 'x')"),
            ("!this[\"a\"].contains('x')", "!contains(flat.\"a\", 'x')"),
            ("!(this[\"a\"] == \"b\")", "!(flat.\"a\" == 'b')"),
            (
                "this[\"a\"] == 1 && (this[\"b\"] == 2 || this[\"c\"] == 3)",
                "flat.\"a\" == `1` && (flat.\"b\" == `2` || flat.\"c\" == `3`)",
            ),
            (
                "this[\"a\"] == 1 || this[\"b\"] == 2 && this[\"c\"] == true",
                "flat.\"a\" == `1` || flat.\"b\" == `2` && flat.\"c\" == `true`",
            ),
            (
                "this[\"a\"] > 5, this.get(\"b\") contains \"x\"",
                "flat.\"a\" > `5` && contains(flat.\"b\", 'x')",
            ),
            ("this[\"a\"] not contains \"it's\"", "!contains(flat.\"a\", `\"it's\"`)"),
            ("this[\"a\"].equals(\"b\") /* why */", "flat.\"a\" == 'b'"),
            ("\"b\".equals(this[\"a\"])", "'b' == flat.\"a\""),
            ("this[\"a\"].contains(\"x\") == true", "contains(flat.\"a\", 'x')"),
            ("this[\"a\"].contains(\"x\") == false", "!contains(flat.\"a\", 'x')"),
            ("this[\"a\"].startsWith(\"x\") != true", "!starts_with(flat.\"a\", 'x')"),
            ("this[\"a\"] in (\"x\", \"y\")", "contains(['x', 'y'], flat.\"a\")"),
            ("this[\"a\"] not in (\"x\")", "!contains(['x'], flat.\"a\")"),
            ("this[\"a\"] == -1 || this[\"a\"] > 5L", "flat.\"a\" == `-1` || flat.\"a\" > `5`"),
            ("this[\"a\"] == \"\\u0041\\\\\"", "flat.\"a\" == `\"A\\\\\"`"),
            ("this['a'] == 'it' // why\n", "flat.\"a\" == 'it'"),
            (
                "this[\"a\"] != null && this[\"a\"].contains(\"&& ||\")",
                "flat.\"a\" != `null` && contains(flat.\"a\", '&& ||')",
            ),
            (
                "!(!this[\"a\"].contains(\"x\") || this[\"b\"] == 1)",
                "!(!contains(flat.\"a\", 'x') || flat.\"b\" == `1`)",
            ),
        ] {
            assert_eq!(translated(drools), Ok(expected.to_owned()), "{drools}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (drools, message) in [
            ("this[\"a\"] matches \"x.*\"", "`matches` cannot be translated"),
            ("this[\"a\"].length() > 3", "`length` cannot be translated"),
            ("eval(true)", "is expected here"),
            ("this[\"a\"] == \"b\") from $x (", "only one pattern can be translated"),
        ] {
            let error = translated(drools).unwrap_err();
            assert!(error.contains(message), "{drools}: {error}");
        }
    }

    #[test]
    fn attributes_and_imports_are_understood_or_named() {
        let text = "package a.rule;\nimport org.drools.core.rule.Package;\nrule \"a.b: 1\" extends \"x\" when Map() then end\nrule \"a.b: 2\" enabled false when Map() then end\nrule \"a.b: 3\" no-loop true, dialect \"java\" when $m : java.util.Map(this[\"a\"] == \"b\") then\n  // the end\n  String end1 = \"end\";\nend\n";
        let translation = translate_drools(text);
        let errors: Vec<_> =
            translation.untranslated.iter().map(|error| error.message.as_str()).collect();
        assert_eq!(
            errors,
            [
                "rule \"a.b: 1\": `extends` cannot be translated",
                "rule \"a.b: 2\": the rule is not enabled"
            ]
        );
        assert_eq!(translation.yaml, "name: \"a.b: 3\"\nmatch: >-\n  flat.\"a\" == 'b'\n");
    }

    #[test]
    fn a_rule_that_fails_does_not_prevent_the_others() {
        let text = "rule \"a.b: 1\" when Map(this[\"a\"] matches \"x\") then end\nrule \"a.b: 2\" salience 3 when then new SlackAlertService(); end";
        let translation = translate_drools(text);
        assert_eq!(translation.translated, 1);
        assert_eq!(translation.yaml, "name: \"a.b: 2\"\nactions: [slack]\n");
        assert_eq!(translation.untranslated.len(), 1);
        assert_eq!(translation.untranslated[0].position, TextPosition { line: 1, column: 34 });
    }
}
