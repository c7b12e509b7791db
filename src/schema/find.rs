//! Finds operations and fields by a part of their name.
//!
//! Input: a service and a word. Output: the operations and fields whose names contain it.
//! Invariant: a structure that occurs several times in a request or response is searched where it is nearest to the top, so
//! the work is proportional to the size of the model.

use std::{collections::HashSet, rc::Rc};

use super::{
    fields::{Field, FieldType, Resolver, WantedMembers, paths},
    model::{Operation, Service, Shape, ShapeId, ShapeKind, Side},
    spelling::Offer,
    table::{IndexEntry, Table, TableError},
};

/// A field whose name contains the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundField<'f> {
    /// The side of the operation.
    pub side: Side,
    /// Path in the model: `tags[].key`.
    pub path: &'f str,
    /// Paths in events below the member of the record.
    pub paths: &'f [String],
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

/// The longest text that a plain loop searches faster than `memchr`.
const SHORT: usize = 64;

/// Returns whether a name contains the word, which is in lower case.
pub fn contains(name: &str, word: &str) -> bool {
    let (name, word) = (name.as_bytes(), word.as_bytes());
    let Some((first, rest)) = word.split_first() else { return true };
    let continues = |at: usize| {
        name.get(at + 1..at + 1 + rest.len()).is_some_and(|found| found.eq_ignore_ascii_case(rest))
    };
    if name.len() <= SHORT {
        let starts =
            name.iter().enumerate().filter(|(_, byte)| byte.to_ascii_lowercase() == *first);
        return starts.map(|(at, _)| at).any(continues);
    }
    memchr::memchr2_iter(*first, first.to_ascii_uppercase(), name).any(continues)
}

/// Finds the fields of a service whose names contain a word.
#[derive(Debug)]
pub struct Finder<'a> {
    service: &'a Service,
    word: &'a str,
    resolver: Resolver<'a>,
    wanted: Rc<WantedMembers<'a>>,
}

impl<'a> Finder<'a> {
    /// Creates a finder. The word is in lower case.
    pub fn new(service: &'a Service, word: &'a str) -> Self {
        let wanted = Rc::new(WantedMembers { word, leads: leads_to_match(service, word) });
        let resolver = Resolver::new(service, Offer::Likely).with_wanted(Rc::clone(&wanted));
        Self { service, word, resolver, wanted }
    }

    /// Calls back with the fields of an operation whose names contain the word.
    pub fn fields(&self, operation: &'a Operation, found: &mut dyn FnMut(FoundField<'_>)) {
        for side in Side::ALL {
            if let Some(shape) = side.of(operation)
                && self.leads(shape)
            {
                self.side(operation, side, shape, found);
            }
        }
    }

    fn leads(&self, shape: ShapeId) -> bool {
        self.wanted.leads(shape)
    }

    /// Goes through the structures of a side, those nearest to the top first, each once.
    fn side(
        &self,
        operation: &'a Operation,
        side: Side,
        shape: ShapeId,
        found: &mut dyn FnMut(FoundField<'_>),
    ) {
        let roots = self.resolver.roots(operation, side);
        let mut seen = HashSet::from([shape]);
        let first = self.resolver.side(operation, side).into();
        let mut queue = vec![Queued { fields: first, path: String::new(), paths: roots }];
        let mut next = 0;
        while next < queue.len() {
            let Queued { fields, path, paths } = std::mem::take(&mut queue[next]);
            for field in &*fields {
                let matches =
                    field.member().is_some_and(|member| contains(&member.name, self.word));
                let leads = matches!(field.value, FieldType::Shape(id) if self.leads(id));
                if !matches && !leads {
                    continue;
                }
                let at = Queued::below(field, &path, &paths);
                if matches {
                    found(FoundField { side, path: &at.path, paths: &at.paths });
                }
                if leads && let Some(below) = self.structure_below(field, at, &mut seen) {
                    queue.push(below);
                }
            }
            next += 1;
        }
    }

    /// Returns the members of a field's structure, or of that of its items or values, unless they were seen before.
    fn structure_below(
        &self,
        field: &Field<'a>,
        mut at: Queued<'a>,
        seen: &mut HashSet<ShapeId>,
    ) -> Option<Queued<'a>> {
        let mut field = field.clone();
        loop {
            let FieldType::Shape(id) = field.value else { return None };
            match self.service.shape(id).kind {
                ShapeKind::Structure { .. } if !seen.insert(id) => return None,
                ShapeKind::Structure { .. } => {
                    return Some(Queued { fields: self.resolver.below(&field)?, ..at });
                }
                ShapeKind::Scalar(_) => return None,
                ShapeKind::List { .. } | ShapeKind::Map { .. } => {
                    let below = self.resolver.below(&field)?;
                    field = below.first().filter(|_| !self.resolver.is_endless(&field))?.clone();
                    at = Queued::below(&field, &at.path, &at.paths);
                }
            }
        }
    }
}

/// Fields that wait to be searched, and where they are.
struct Queued<'a> {
    fields: Rc<[Field<'a>]>,
    /// Path in the model of the structure.
    path: String,
    /// Its paths in events.
    paths: Vec<String>,
}

impl Default for Queued<'_> {
    fn default() -> Self {
        Self { fields: Rc::new([]), path: String::new(), paths: Vec::new() }
    }
}

impl Queued<'_> {
    /// Returns where a field is, without the fields below it.
    fn below(field: &Field<'_>, above: &str, paths_above: &[String]) -> Self {
        let mut path = above.to_owned();
        field.step.append_to(&mut path);
        Self { path, paths: paths(paths_above, &field.spellings), ..Self::default() }
    }
}

/// Returns for each shape whether it is, or leads to, a structure that has a member with the word.
fn leads_to_match(service: &Service, word: &str) -> Vec<bool> {
    let has_match = |shape: &Shape| match &shape.kind {
        ShapeKind::Structure { members } => {
            members.iter().any(|member| contains(&member.name, word))
        }
        _ => false,
    };
    let mut leads: Vec<bool> = service.shapes.iter().map(has_match).collect();
    loop {
        let mut has_changed = false;
        // Shapes are numbered in the order of the first references to them, so most of those that a shape refers to follow.
        for (number, shape) in service.shapes.iter().enumerate().rev() {
            if leads[number] {
                continue;
            }
            let leads_to = |id: ShapeId| leads[id.0 as usize];
            leads[number] = match &shape.kind {
                ShapeKind::Structure { members } => {
                    members.iter().any(|member| leads_to(member.shape))
                }
                ShapeKind::List { item, .. } => leads_to(*item),
                ShapeKind::Map { value, .. } => leads_to(*value),
                ShapeKind::Scalar(_) => false,
            };
            has_changed |= leads[number];
        }
        if !has_changed {
            return leads;
        }
    }
}
