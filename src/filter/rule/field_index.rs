//! Which rules can be true on an event, found by the fields that they require.
//!
//! ```text
//!  event ─▶ walk along the paths that rules test ─▶ at each field: texts that are equal (hash), substrings (Aho-Corasick)
//!                                                  └▶ candidates, and rules that fail because a field is missing
//! ```
//!
//! Input: rules with one of their requirements each; an event. Output: candidates, and groups of rules that fail.
//! Invariant: a rule that is no candidate and in no group is not true on the event, and does not fail. Each field of an event
//! is looked at once, however many rules test it.
//! Not here: which of the requirements of a rule is used (see [`RuleSet`](super::RuleSet)).

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::Value;

use super::raw_field::RawField;
use crate::filter::event_part::MemberPath;
use crate::filter::field_test::{
    Case, FieldTest, OnNull, OnOther, PathStep, Requirement, TextOperand, TextTest, lowercase,
};

/// The number of a rule.
pub(super) type RuleNumber = usize;

/// The number of a group of rules that fail where a field is null.
pub(super) type GroupNumber = usize;

/// An index of rules by fields.
#[derive(Debug, Default)]
pub(super) struct FieldIndex {
    root: IndexNode,
    tables: Vec<FieldTable>,
    /// The tables with rules that a missing field concerns.
    tables_for_null: Vec<usize>,
    /// Rules without a requirement.
    always: Vec<RuleNumber>,
}

/// A place in events.
#[derive(Debug, Default)]
struct IndexNode {
    members: HashMap<String, IndexNode>,
    elements: Vec<(usize, IndexNode)>,
    table: Option<usize>,
}

/// The rules that test the field at a place.
#[derive(Debug, Default)]
struct FieldTable {
    exact: TextIndex,
    in_any_case: TextIndex,
    /// Rules that every text concerns.
    any_text: Vec<RuleNumber>,
    /// Rules that a value concerns which is neither null nor text.
    other: Vec<RuleNumber>,
    /// Rules that only an evaluation decides about if the field is null.
    undecided_on_null: Vec<RuleNumber>,
    /// The rules that fail if the field is null.
    failing_on_null: Option<GroupNumber>,
}

/// Rules by texts.
#[derive(Debug, Default)]
struct TextIndex {
    equal: HashMap<String, Vec<RuleNumber>>,
    parts: Vec<TextPart>,
    /// Finds all parts at once.
    search: Option<AhoCorasick>,
}

/// A text that other texts contain.
#[derive(Debug)]
struct TextPart {
    text: String,
    place: PartPlace,
    rules: Vec<RuleNumber>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum PartPlace {
    Start,
    End,
    Anywhere,
}

/// What an index finds on an event.
#[derive(Debug, Default)]
pub(super) struct FieldMatches {
    /// Rules to be evaluated, in no order; a rule may be there several times.
    pub(super) candidates: Vec<RuleNumber>,
    /// Groups of rules that fail.
    pub(super) failed: Vec<GroupNumber>,
    /// The tables whose fields are not null.
    seen: Vec<bool>,
    lowercase: String,
    found: FoundParts,
}

/// Which parts were found in a text: a part counts once, however often a text contains it.
#[derive(Debug, Default)]
struct FoundParts {
    /// For each part, the number of the text in which it was found last.
    texts: Vec<u64>,
    /// The number of the current text.
    current: u64,
}

impl FoundParts {
    /// Starts with another text, which is searched for this many parts.
    fn start(&mut self, parts: usize) {
        self.current += 1;
        if self.texts.len() < parts {
            self.texts.resize(parts, 0);
        }
    }

    /// Returns whether a part is found for the first time in the text.
    fn is_first(&mut self, part: usize) -> bool {
        let current = self.current;
        self.texts.get_mut(part).is_none_or(|text| std::mem::replace(text, current) != current)
    }
}

/// Builds a [`FieldIndex`].
#[derive(Default)]
pub(super) struct FieldIndexBuilder {
    index: FieldIndex,
}

impl FieldIndexBuilder {
    /// Adds a rule that is a candidate on every event.
    pub(super) fn add_always(&mut self, rule: RuleNumber) {
        self.index.always.push(rule);
    }

    /// Adds a rule with one of its requirements. `groups` are the rules that fail together.
    pub(super) fn add(
        &mut self,
        rule: RuleNumber,
        requirement: &Requirement,
        groups: &mut Vec<Vec<RuleNumber>>,
    ) {
        for test in requirement {
            let table = self.table(&test.path);
            table.add(rule, test, groups);
        }
    }

    fn table(&mut self, path: &[PathStep]) -> &mut FieldTable {
        let mut node = &mut self.index.root;
        for step in path {
            node = match step {
                PathStep::Member(name) => node.members.entry(name.clone()).or_default(),
                PathStep::Element(position) => {
                    let known = node.elements.iter().position(|(element, _)| element == position);
                    let at = known.unwrap_or_else(|| {
                        node.elements.push((*position, IndexNode::default()));
                        node.elements.len() - 1
                    });
                    &mut node.elements[at].1
                }
            };
        }
        let tables = &mut self.index.tables;
        let table = *node.table.get_or_insert_with(|| {
            tables.push(FieldTable::default());
            tables.len() - 1
        });
        &mut tables[table]
    }

    pub(super) fn build(mut self) -> FieldIndex {
        let index = &mut self.index;
        for (number, table) in index.tables.iter_mut().enumerate() {
            table.exact.build();
            table.in_any_case.build();
            if table.failing_on_null.is_some() || !table.undecided_on_null.is_empty() {
                index.tables_for_null.push(number);
            }
        }
        self.index
    }
}

impl FieldTable {
    fn add(&mut self, rule: RuleNumber, test: &FieldTest, groups: &mut Vec<Vec<RuleNumber>>) {
        match &test.test {
            TextTest::Never => {}
            TextTest::Any => push_once(&mut self.any_text, rule),
            TextTest::Equals(operand) => {
                let texts = self.texts(operand);
                push_once(texts.equal.entry(operand.text.clone()).or_default(), rule);
            }
            TextTest::StartsWith(operand) => {
                self.texts(operand).add_part(operand, PartPlace::Start, rule);
            }
            TextTest::EndsWith(operand) => {
                self.texts(operand).add_part(operand, PartPlace::End, rule);
            }
            TextTest::Contains(operand) => {
                self.texts(operand).add_part(operand, PartPlace::Anywhere, rule);
            }
        }
        match test.on_null {
            OnNull::Rejected => {}
            OnNull::Undecided => push_once(&mut self.undecided_on_null, rule),
            OnNull::Fails => {
                let group = *self.failing_on_null.get_or_insert_with(|| {
                    groups.push(Vec::new());
                    groups.len() - 1
                });
                if let Some(rules) = groups.get_mut(group) {
                    push_once(rules, rule);
                }
            }
        }
        if test.on_other == OnOther::Undecided {
            push_once(&mut self.other, rule);
        }
    }

    fn texts(&mut self, operand: &TextOperand) -> &mut TextIndex {
        match operand.case {
            Case::Respected => &mut self.exact,
            Case::Ignored => &mut self.in_any_case,
        }
    }

    fn find(&self, value: &Value, matches: &mut FieldMatches) {
        match value {
            Value::Null => {}
            Value::String(text) => self.find_text(text, matches),
            _ => matches.candidates.extend(&self.other),
        }
    }

    fn find_text(&self, text: &str, matches: &mut FieldMatches) {
        matches.candidates.extend(&self.any_text);
        self.exact.find(text, &mut matches.found, &mut matches.candidates);
        if self.in_any_case.is_empty() {
            return;
        }
        matches.lowercase.clear();
        if text.is_ascii() {
            matches.lowercase.push_str(text);
            matches.lowercase.make_ascii_lowercase();
        } else {
            matches.lowercase.push_str(&lowercase(text));
        }
        let FieldMatches { lowercase, found, candidates, .. } = matches;
        self.in_any_case.find(lowercase, found, candidates);
    }

    fn find_null(&self, matches: &mut FieldMatches) {
        matches.candidates.extend(&self.undecided_on_null);
        matches.failed.extend(self.failing_on_null);
    }
}

/// Adds a rule. Those of a rule are added one after the other.
fn push_once(rules: &mut Vec<RuleNumber>, rule: RuleNumber) {
    if rules.last() != Some(&rule) {
        rules.push(rule);
    }
}

impl TextIndex {
    fn is_empty(&self) -> bool {
        self.equal.is_empty() && self.parts.is_empty()
    }

    fn add_part(&mut self, operand: &TextOperand, place: PartPlace, rule: RuleNumber) {
        self.parts.push(TextPart { text: operand.text.clone(), place, rules: vec![rule] });
    }

    /// Merges the rules with the same part, and builds the search. Without one, which only happens if there are more parts
    /// than it can have, every text is compared with every part.
    fn build(&mut self) {
        let mut merged: HashMap<(String, u8), TextPart> = HashMap::new();
        for part in self.parts.drain(..) {
            match merged.get_mut(&(part.text.clone(), part.place as u8)) {
                Some(known) => known.rules.extend(part.rules),
                None => drop(merged.insert((part.text.clone(), part.place as u8), part)),
            }
        }
        self.parts = merged.into_values().collect();
        if !self.parts.is_empty() {
            let texts = self.parts.iter().map(|part| &part.text);
            self.search = AhoCorasick::builder().match_kind(MatchKind::Standard).build(texts).ok();
        }
    }

    fn find(&self, text: &str, found: &mut FoundParts, candidates: &mut Vec<RuleNumber>) {
        if let Some(rules) = self.equal.get(text) {
            candidates.extend(rules);
        }
        if let Some(search) = &self.search {
            found.start(self.parts.len());
            for occurrence in search.find_overlapping_iter(text) {
                let number = occurrence.pattern().as_usize();
                let Some(part) = self.parts.get(number) else { continue };
                let is_there = match part.place {
                    PartPlace::Start => occurrence.start() == 0,
                    PartPlace::End => occurrence.end() == text.len(),
                    PartPlace::Anywhere => true,
                };
                if is_there && found.is_first(number) {
                    candidates.extend(&part.rules);
                }
            }
        } else {
            let parts = self.parts.iter().filter(|part| text.contains(&part.text));
            candidates.extend(parts.flat_map(|part| &part.rules));
        }
    }
}

/// How a value was reached.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// By the steps of the path alone.
    Direct,
    /// Through the elements of an array, as the paths of Sigma lead; to other rules, there is no field then.
    ThroughArray,
}

impl FieldIndex {
    /// Returns the path of each table, by number; `None` if one of them is about the element of an array.
    pub(super) fn table_paths(&self) -> Option<Vec<(MemberPath, usize)>> {
        let mut paths = Vec::new();
        let mut pending = vec![(MemberPath::new(), &self.root)];
        while let Some((path, node)) = pending.pop() {
            if !node.elements.is_empty() {
                return None;
            }
            for (name, inner) in &node.members {
                let mut path = path.clone();
                path.push(name.clone());
                pending.push((path, inner));
            }
            paths.extend(node.table.map(|table| (path, table)));
        }
        Some(paths)
    }

    /// Returns the rules without a requirement.
    pub(super) fn always(&self) -> &[RuleNumber] {
        &self.always
    }

    /// Adds what the field of a table adds on an event in which no array is on the way to it.
    pub(super) fn find_field(&self, table: usize, field: RawField<'_>, matches: &mut FieldMatches) {
        let Some(table) = self.tables.get(table) else { return };
        match field {
            RawField::Missing | RawField::Null => table.find_null(matches),
            RawField::Text(text) => table.find_text(text, matches),
            RawField::Object(_) | RawField::Other(_) => matches.candidates.extend(&table.other),
        }
    }

    /// Adds what there is to evaluate on an event.
    pub(super) fn find(&self, event: &Value, matches: &mut FieldMatches) {
        matches.candidates.extend(&self.always);
        if self.tables.is_empty() {
            return;
        }
        matches.seen.clear();
        matches.seen.resize(self.tables.len(), false);
        self.walk(&self.root, event, Way::Direct, matches);
        for number in &self.tables_for_null {
            if !matches.seen.get(*number).copied().unwrap_or(false)
                && let Some(table) = self.tables.get(*number)
            {
                table.find_null(matches);
            }
        }
    }

    fn walk(&self, node: &IndexNode, value: &Value, way: Way, matches: &mut FieldMatches) {
        if let Some((number, table)) =
            node.table.and_then(|number| Some((number, self.tables.get(number)?)))
        {
            table.find(value, matches);
            if way == Way::Direct && !value.is_null() {
                matches.seen[number] = true;
            }
        }
        match value {
            Value::Object(entries) if node.members.len() < entries.len() => {
                for (name, inner) in &node.members {
                    if let Some(entry) = entries.get(name) {
                        self.walk(inner, entry, way, matches);
                    }
                }
            }
            Value::Object(entries) => {
                for (name, entry) in entries {
                    if let Some(inner) = node.members.get(name) {
                        self.walk(inner, entry, way, matches);
                    }
                }
            }
            Value::Array(items) => {
                for (position, inner) in &node.elements {
                    if let Some(item) = items.get(*position) {
                        self.walk(inner, item, way, matches);
                    }
                }
                if !node.members.is_empty() {
                    for item in items {
                        self.walk_elements(node, item, matches);
                    }
                }
            }
            _ => {}
        }
    }

    /// Walks on from an element of an array, whose own table is that of the array.
    fn walk_elements(&self, node: &IndexNode, item: &Value, matches: &mut FieldMatches) {
        match item {
            Value::Object(entries) => {
                for (name, entry) in entries {
                    if let Some(inner) = node.members.get(name) {
                        self.walk(inner, entry, Way::ThroughArray, matches);
                    }
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.walk_elements(node, item, matches);
                }
            }
            _ => {}
        }
    }
}

impl FieldMatches {
    /// Forgets what was found on another event.
    pub(super) fn clear(&mut self) {
        self.candidates.clear();
        self.failed.clear();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::filter::field_test::OnNull;

    #[test]
    fn a_text_that_contains_a_part_often_finds_its_rules_once() {
        let mut builder = FieldIndexBuilder::default();
        for (rule, text) in ["a", "a", "aa", "b"].into_iter().enumerate() {
            for case in [Case::Respected, Case::Ignored] {
                let operand = TextOperand { text: text.to_owned(), case };
                let test = FieldTest {
                    path: vec![PathStep::Member("x".to_owned())],
                    test: TextTest::Contains(operand),
                    on_null: OnNull::Rejected,
                    on_other: OnOther::Rejected,
                };
                builder.add(rule, &vec![test], &mut Vec::new());
            }
        }
        let index = builder.build();
        let mut matches = FieldMatches::default();
        for (text, expected) in [
            ("a".repeat(10_000), vec![0, 0, 1, 1, 2, 2]),
            ("a".to_owned(), vec![0, 0, 1, 1]),
            ("bab".to_owned(), vec![0, 0, 1, 1, 3, 3]),
        ] {
            matches.clear();
            index.find(&json!({"x": text}), &mut matches);
            matches.candidates.sort_unstable();
            assert_eq!(matches.candidates, expected);
        }
    }
}
