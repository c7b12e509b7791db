//! Finds operations and fields by a part of their name.
//!
//! Input: a service and a word. Output: the operations and fields whose names contain it.
//! Invariant: a structure that occurs several times in a request or response is searched where it is nearest to the top, so
//! the work is proportional to the size of the model.

use std::collections::{HashSet, VecDeque};

use super::{
    model::{Operation, Service, ShapeId, ShapeKind, Side},
    spelling::{self, Offer, Speller, Spelling},
    table::{IndexEntry, Table, TableError},
};

/// A field whose name contains the word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundField {
    /// The side of the operation.
    pub side: Side,
    /// Path in the model: `tags[].key`.
    pub path: String,
    /// Paths in events below the member of the record.
    pub spellings: Vec<Spelling>,
}

/// Returns whether the text of a service contains the word, which is in lower case. If not, no field of it does.
///
/// # Errors
///
/// Returns [`TableError`] if the embedded table is damaged.
pub fn may_contain(table: &Table, entry: &IndexEntry, word: &str) -> Result<bool, TableError> {
    let text = table.text(entry)?;
    Ok(contains(text, word))
}

/// Returns whether a name contains the word, which is in lower case.
pub fn contains(name: &str, word: &str) -> bool {
    let (name, word) = (name.as_bytes(), word.as_bytes());
    let Some((first, rest)) = word.split_first() else { return true };
    let upper = first.to_ascii_uppercase();
    memchr::memchr2_iter(*first, upper, name).any(|at| {
        name.get(at + 1..at + 1 + rest.len()).is_some_and(|found| found.eq_ignore_ascii_case(rest))
    })
}

/// The structures of a service that contain a member with the word, at any depth.
#[derive(Debug)]
pub struct Finder<'a> {
    service: &'a Service,
    word: &'a str,
    leads_to_match: Vec<bool>,
}

impl<'a> Finder<'a> {
    /// Creates a finder. The word is in lower case.
    pub fn new(service: &'a Service, word: &'a str) -> Self {
        let mut finder = Self { service, word, leads_to_match: vec![false; service.shapes.len()] };
        finder.mark();
        finder
    }

    /// Marks the structures, from those that have such a member to those that refer to them.
    fn mark(&mut self) {
        let mut users: Vec<Vec<u32>> = vec![Vec::new(); self.service.shapes.len()];
        let mut marked = Vec::new();
        for (number, shape) in (0..).zip(&self.service.shapes) {
            let id = ShapeId(number);
            match &shape.kind {
                ShapeKind::Structure { members } => {
                    for member in members {
                        users[member.shape.0 as usize].push(number);
                    }
                    if members.iter().any(|member| contains(&member.name, self.word)) {
                        marked.push(id);
                    }
                }
                ShapeKind::List { item, .. } => users[item.0 as usize].push(number),
                ShapeKind::Map { value, .. } => users[value.0 as usize].push(number),
                ShapeKind::Scalar(_) => {}
            }
        }
        while let Some(id) = marked.pop() {
            let known = std::mem::replace(&mut self.leads_to_match[id.0 as usize], true);
            if !known {
                marked.extend(users[id.0 as usize].iter().map(|number| ShapeId(*number)));
            }
        }
    }

    /// Returns the fields of an operation whose names contain the word.
    pub fn fields(&self, operation: &Operation) -> Vec<FoundField> {
        let mut found = Vec::new();
        for side in Side::ALL {
            if let Some(shape) = side.of(operation)
                && self.leads_to_match[shape.0 as usize]
            {
                self.side(operation, side, shape, &mut found);
            }
        }
        found
    }

    fn side(&self, operation: &Operation, side: Side, shape: ShapeId, found: &mut Vec<FoundField>) {
        let speller = Speller { service: self.service, operation, side, offer: Offer::Likely };
        let mut seen = HashSet::from([shape]);
        let mut queue = VecDeque::from([(shape, String::new(), speller.roots())]);
        while let Some((structure, path, spellings)) = queue.pop_front() {
            for member in self.service.members(structure) {
                let matches = contains(&member.name, self.word);
                let leads = self.leads_to_match[member.shape.0 as usize];
                if !matches && !leads {
                    continue;
                }
                let mut spellings = speller.member(&spellings, member);
                let mut path = spelling::join(&path, &spelling::lower_first(&member.name));
                if matches {
                    let (path, spellings) = (path.clone(), spellings.clone());
                    found.push(FoundField { side, path, spellings });
                }
                let mut id = member.shape;
                let mut holder = Some(member);
                loop {
                    let shape = self.service.shape(id);
                    match &shape.kind {
                        ShapeKind::List { item, .. } => {
                            spellings = speller.item(&spellings, shape, holder);
                            path.push_str("[]");
                            id = *item;
                        }
                        ShapeKind::Map { value, .. } => {
                            spellings = Speller::value(&spellings);
                            path.push_str(".*");
                            id = *value;
                        }
                        ShapeKind::Structure { .. } | ShapeKind::Scalar(_) => break,
                    }
                    holder = None;
                }
                if self.leads_to_match[id.0 as usize] && seen.insert(id) {
                    queue.push_back((id, path, spellings));
                }
            }
        }
    }
}
