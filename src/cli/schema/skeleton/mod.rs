//! Texts to start from: a Cloud Custodian policy, a rule, an example event, a query.
//!
//! Input: an answer. Output: a text that other programs accept as it is.
//! Invariant: names are those of events, and every text is deterministic.

pub(super) mod custodian;
mod example;
pub(super) mod query;
pub(super) mod rule;
pub(super) mod sample;

use std::cmp::Reverse;

use crate::{
    normalize::Rules,
    schema::{
        fields::{Next, Step},
        model::ScalarType,
    },
};

use super::answer::Answer;

/// Fields that are looked at. A few are enough to start from, and some requests have thousands.
const MOST_FIELDS: usize = 400;

/// A single value in an event.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the value")]
struct Leaf {
    /// Name of the member that holds it, with its first letter in lower case.
    name: String,
    /// JMESPath from the record, with `[]` at lists.
    expression: String,
    /// Path from the record.
    path: String,
    /// Field of the index; `None` if it is not mapped.
    index: Option<String>,
    scalar: ScalarType,
    enumeration: Vec<String>,
    min: Option<i64>,
    /// Levels above.
    depth: usize,
    /// Whether this member and all above are required.
    is_required: bool,
    is_response: bool,
    json_text: bool,
    may_be_hidden: bool,
    is_added: bool,
}

impl Leaf {
    /// Returns whether the value is in a list or under an arbitrary key.
    fn is_repeated(&self) -> bool {
        self.expression.contains("[]") || self.expression.contains('*')
    }
}

/// Returns the single values of the logged sections of an answer, in the order of the model.
fn leaves(answer: &Answer<'_>, rules: &Rules) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    for section in answer.sections.iter().filter(|section| section.is_logged) {
        // For each level: the name of the last member, and whether all members down to it are required.
        let mut levels: Vec<(String, bool)> = Vec::new();
        let most = leaves.len() + MOST_FIELDS;
        let place = answer.place(section, rules);
        place.visit_expressions(section.selected.as_ref(), &mut |view| {
            let Some(view) = view else {
                levels.pop();
                return Next::Below;
            };
            if leaves.len() >= most {
                return Next::Stop;
            }
            let field = view.field;
            let above = levels.last().cloned().unwrap_or((String::new(), true));
            let name = match field.step {
                Step::Item | Step::Value => above.0,
                _ => field.name().into_owned(),
            };
            let required = field.member().is_none_or(|member| member.flags.required);
            let is_required = above.1 && required && !field.is_added();
            levels.push((name.clone(), is_required));
            let (Some(spelled), Some(scalar)) = (view.spelled.first(), place.scalar(field)) else {
                return Next::Below;
            };
            if view.recursive {
                return Next::Below;
            }
            let shape = field.shape(place.service());
            let min = shape.and_then(|shape| shape.min.as_deref()?.parse().ok());
            let values = shape.map(|shape| shape.enumeration.iter().map(ToString::to_string));
            leaves.push(Leaf {
                name,
                expression: spelled.expression.clone(),
                path: spelled.path.clone(),
                index: spelled.index.is_mapped.then(|| spelled.index.path.clone()),
                scalar,
                enumeration: values.into_iter().flatten().collect(),
                min,
                depth: view.depth,
                is_required,
                is_response: section.record_member == "responseElements",
                json_text: view.facts.json_text,
                may_be_hidden: view.may_be_hidden,
                is_added: field.is_added(),
            });
            Next::Below
        });
    }
    leaves
}

/// Returns the value that an expression may test: not in a list, not secret, close to the top, of a request if possible.
fn testable<'l>(answer: &Answer<'_>, leaves: &'l [Leaf]) -> Option<&'l Leaf> {
    let noun = singular(noun(answer.name()));
    let usable = leaves.iter().filter(|leaf| {
        !leaf.is_repeated()
            && !leaf.may_be_hidden
            && !leaf.json_text
            && !leaf.expression.contains('"')
    });
    usable.max_by_key(|leaf| {
        let is_text = leaf.scalar == ScalarType::String;
        let names_the_noun = leaf.name.to_ascii_lowercase().contains(&noun.to_ascii_lowercase());
        let is_token = leaf.name.to_ascii_lowercase().contains("token");
        (
            !is_token,
            !leaf.is_added || answer.operation.is_none(),
            is_text,
            leaf.is_required,
            leaf.depth == 0,
            !leaf.is_response,
            names_the_noun,
            Reverse((leaf.depth, leaf.name.len())),
        )
    })
}

/// Returns a noun without the ending of the plural.
fn singular(noun: &str) -> &str {
    noun.strip_suffix('s').filter(|singular| !singular.ends_with('s')).unwrap_or(noun)
}

/// Returns what a call acts on: `Policy` for `CreatePolicy`.
fn noun(operation: &str) -> &str {
    let end_of_verb = operation
        .char_indices()
        .skip(1)
        .find(|(_, char)| char.is_ascii_uppercase())
        .map_or(0, |(at, _)| at);
    &operation[end_of_verb..]
}

/// Returns a name in words with hyphens: `create-policy` for `CreatePolicy`.
fn hyphenated(name: &str) -> String {
    let mut text = String::new();
    let mut was_lower = false;
    for char in name.chars() {
        if char.is_ascii_uppercase() && was_lower {
            text.push('-');
        }
        was_lower = char.is_ascii_lowercase() || char.is_ascii_digit();
        text.push(char.to_ascii_lowercase());
    }
    text
}
