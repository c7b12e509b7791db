//! The file of a Sigma rule.
//!
//! Input: YAML. Output: a [`SigmaRule`], or an error with line and column.
//! Invariant: only rules for CloudTrail are accepted, and only if each part of their detection is supported.

use super::{
    Detection, Search,
    condition::{Identifiers, parse_condition},
    item::Item,
};
use crate::filter::yaml::{DefinitionError, TextPosition, YamlEntry, YamlNode};

/// The key of the condition within `detection`.
const CONDITION: &str = "condition";

/// A Sigma rule.
#[derive(Clone, Debug)]
pub(in crate::filter) struct SigmaRule {
    pub(in crate::filter) title: String,
    pub(in crate::filter) description: Option<String>,
    pub(in crate::filter) level: Option<SigmaLevel>,
    pub(in crate::filter) detection: Detection,
    /// Where the title is.
    pub(in crate::filter) position: TextPosition,
}

/// How serious a match of a Sigma rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::filter) enum SigmaLevel {
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

/// Why a Sigma rule is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::filter) enum SigmaError {
    /// It is for other logs than those of CloudTrail.
    OtherLogSource(DefinitionError),
    /// It is not valid, or has a part that is not supported.
    Invalid(DefinitionError),
}

impl From<DefinitionError> for SigmaError {
    fn from(error: DefinitionError) -> Self {
        Self::Invalid(error)
    }
}

/// Returns whether a document is a Sigma rule, or a part of one.
pub(in crate::filter) fn is_sigma_rule(node: &YamlNode) -> bool {
    let is_action = node
        .get("action")
        .and_then(YamlNode::as_text)
        .is_some_and(|action| matches!(action, "global" | "reset" | "repeat"));
    is_action || ["detection", "logsource", "correlation"].iter().any(|key| node.get(key).is_some())
}

/// Reads a Sigma rule.
pub(in crate::filter) fn parse_sigma_rule(node: &YamlNode) -> Result<SigmaRule, SigmaError> {
    for (key, advice) in [
        ("correlation", "write a rule with `threshold` and `window` instead"),
        ("action", "repeat what is common to the documents in each of them"),
        ("filter", "add it to the condition of the rules that it is for: `and not …`"),
    ] {
        if let Some(value) = node.get(key) {
            let message = format!("`{key}` is not supported in Sigma rules");
            return Err(DefinitionError::new(value.position, message).suggest(advice).into());
        }
    }
    let missing =
        |key: &str| DefinitionError::new(node.position, format!("the Sigma rule has no `{key}`"));
    check_log_source(node.get("logsource").ok_or_else(|| missing("logsource"))?)?;
    let title = node.get("title").ok_or_else(|| missing("title"))?;
    let detection = node.get("detection").ok_or_else(|| missing("detection"))?;
    let text = |node: &YamlNode| node.as_text().map(|text| text.trim().to_owned());
    Ok(SigmaRule {
        title: text(title).filter(|title| !title.is_empty()).ok_or_else(|| missing("title"))?,
        description: node.get("description").and_then(text),
        level: node.get("level").map(level).transpose()?,
        detection: parse_detection(detection)?,
        position: title.position,
    })
}

fn check_log_source(node: &YamlNode) -> Result<(), SigmaError> {
    if node.as_mapping().is_none() {
        return Err(DefinitionError::new(node.position, "`logsource` is not a mapping").into());
    }
    let other = |position, message: String| {
        let message = format!("the rule is for another log source: {message}");
        SigmaError::OtherLogSource(DefinitionError::new(position, message))
    };
    for (key, expected) in [("product", "aws"), ("service", "cloudtrail")] {
        match node.get(key).map(|value| (value, value.as_text().unwrap_or_default())) {
            None => {}
            Some((_, text)) if text.eq_ignore_ascii_case(expected) => {}
            Some((value, text)) => {
                let text = crate::report::terminal::escape_unprintable(text);
                return Err(other(value.position, format!("`{key}` is {text}, not {expected}")));
            }
        }
    }
    match node.get("service") {
        Some(_) => Ok(()),
        None => Err(other(node.position, "it has no `service: cloudtrail`".to_owned())),
    }
}

fn level(node: &YamlNode) -> Result<SigmaLevel, DefinitionError> {
    match node.as_text().unwrap_or_default().to_ascii_lowercase().as_str() {
        "informational" => Ok(SigmaLevel::Informational),
        "low" => Ok(SigmaLevel::Low),
        "medium" => Ok(SigmaLevel::Medium),
        "high" => Ok(SigmaLevel::High),
        "critical" => Ok(SigmaLevel::Critical),
        _ => Err(DefinitionError::new(
            node.position,
            "the level is not informational, low, medium, high or critical",
        )),
    }
}

fn parse_detection(node: &YamlNode) -> Result<Detection, DefinitionError> {
    let entries = node
        .as_mapping()
        .ok_or_else(|| DefinitionError::new(node.position, "`detection` is not a mapping"))?;
    if let Some(entry) = entries.iter().find(|entry| entry.key == "timeframe") {
        return Err(DefinitionError::new(entry.key_position, "`timeframe` is not supported"));
    }
    let condition = node
        .get(CONDITION)
        .ok_or_else(|| DefinitionError::new(node.position, "`detection` has no `condition`"))?;
    let identifiers: Identifiers = entries
        .iter()
        .filter(|entry| entry.key != CONDITION)
        .map(|entry| Ok((entry.key.clone(), search(&entry.value)?)))
        .collect::<Result<_, DefinitionError>>()?;
    let conditions: Vec<&YamlNode> =
        condition.as_list().map_or_else(|| vec![condition], |items| items.iter().collect());
    let mut parts: Vec<Search> = conditions
        .into_iter()
        .map(|condition| {
            let text = condition.as_text().unwrap_or_default();
            parse_condition(text, &identifiers).map_err(|message| {
                DefinitionError::new(
                    condition.position,
                    format!("the condition is not valid: {message}"),
                )
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Detection { root: if parts.len() == 1 { parts.swap_remove(0) } else { Search::Any(parts) } })
}

/// Reads a search identifier: a mapping of fields, or a list of mappings or keywords, one of which has to match.
fn search(node: &YamlNode) -> Result<Search, DefinitionError> {
    match node.as_list() {
        Some([]) => Err(empty_search(node)),
        Some(items) => {
            items.iter().map(fields_or_keyword).collect::<Result<_, _>>().map(Search::Any)
        }
        None => fields_or_keyword(node),
    }
}

/// Reads a mapping of fields, all of which have to match, or a keyword.
fn fields_or_keyword(node: &YamlNode) -> Result<Search, DefinitionError> {
    match node.as_mapping() {
        // It would match every event.
        Some([]) => Err(empty_search(node)),
        Some(entries) => fields(entries).map(Search::All),
        None => Item::keyword(node).map(Search::Item),
    }
}

fn empty_search(node: &YamlNode) -> DefinitionError {
    DefinitionError::new(node.position, "the search identifier is empty")
}

fn fields(entries: &[YamlEntry]) -> Result<Vec<Search>, DefinitionError> {
    entries
        .iter()
        .map(|entry| Item::parse(&entry.key, entry.key_position, &entry.value).map(Search::Item))
        .collect()
}
