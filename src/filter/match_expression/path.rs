//! JSONPath: which values of an event an expression looks at.
//!
//! Input: an event. Output: the values that the path selects, one at a time.
//! Invariant: a path means what RFC 9535 says. Selecting needs no memory of the size of the event, and it takes linear
//! time but for `..`, which may occur [`MAX_DESCENTS`] times.
//! Not here: how a path is written (see [`path_reader`](super::path_reader)).

use std::ops::ControlFlow;

use serde_json::Value;
use serde_json_path::JsonPath;

use crate::filter::event_part::{EventPart, Extent, MemberPath};

/// How often `..` may occur in a path. Each occurrence multiplies the values that are looked at by the depth of the event.
pub const MAX_DESCENTS: usize = 2;

/// A path that selects values of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The path as RFC 9535 writes it.
    pub(super) canonical: String,
    pub(super) evaluation: Evaluation,
}

/// What a path needs of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathNeeds {
    /// A part of it.
    Part(EventPart),
    /// The whole event, if it has members with all of these names; else nothing.
    WholeWith(Vec<String>),
}

/// How a path is evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Evaluation {
    /// Here, without a list of the values.
    Segments(Vec<Segment>),
    /// By the library, because a filter refers to the whole event.
    Library(Box<JsonPath>),
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) origin: Origin,
    pub(super) selectors: Vec<Selector>,
}

/// The values that the selectors of a segment are applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The value that the segments before have selected.
    Node,
    /// That value and everything below it (`..`).
    Descendants,
}

/// Which children of a value are selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selector {
    /// The member of an object with this name.
    Name(String),
    /// The element of a list at this position; negative positions count from the end.
    Position(i64),
    /// All children.
    Wildcard,
    /// The elements of a list from `start` up to but without `end`, in steps.
    Slice(Slice),
    /// The children for which a filter holds. The path is relative to the value.
    Filter(Box<JsonPath>),
}

/// The bounds of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) start: Option<i64>,
    pub(super) end: Option<i64>,
    pub(super) step: i64,
}

/// Decides after each selected value whether the next one is wanted.
type Visitor<'a, 'event> = dyn FnMut(&'event Value) -> ControlFlow<()> + 'a;

impl Path {
    /// Passes the selected values to `visit` until it breaks.
    pub fn visit<'event>(
        &self,
        event: &'event Value,
        mut visit: impl FnMut(&'event Value) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match &self.evaluation {
            Evaluation::Segments(segments) => visit_segments(segments, event, &mut visit),
            Evaluation::Library(path) => path.query(event).all().into_iter().try_for_each(visit),
        }
    }

    /// Returns the path as RFC 9535 writes it.
    pub fn as_str(&self) -> &str {
        &self.canonical
    }

    /// Returns the names of the members from the event down to the value, if the path is such a sequence and nothing else.
    pub fn names(&self) -> Option<Vec<&str>> {
        let Evaluation::Segments(segments) = &self.evaluation else { return None };
        segments.iter().map(Segment::child_name).collect()
    }

    /// Returns what the path needs of an event to select the same values.
    pub fn needs(&self) -> PathNeeds {
        let Evaluation::Segments(segments) = &self.evaluation else {
            return PathNeeds::WholeWith(Vec::new());
        };
        let path: MemberPath =
            segments.iter().map_while(Segment::child_name).map(str::to_owned).collect();
        let rest = &segments[path.len()..];
        let extent = match rest.iter().find(|segment| !segment.is_wildcard()) {
            // Wildcards select the members above the name, wherever they are.
            Some(segment) => segment.name().map(|name| Extent::MembersNamed(name.to_owned())),
            None => None,
        };
        match extent {
            Some(extent) => PathNeeds::Part(EventPart { path, extent }),
            None if path.is_empty() => PathNeeds::WholeWith(
                rest.iter().filter_map(Segment::name).map(str::to_owned).collect(),
            ),
            None => PathNeeds::Part(EventPart { path, extent: Extent::Value }),
        }
    }

    /// Returns the last name of the path, such as `userName` in `$..userName`.
    pub fn last_name(&self) -> Option<&str> {
        let Evaluation::Segments(segments) = &self.evaluation else { return None };
        segments.iter().rev().find_map(Segment::name)
    }
}

impl Segment {
    /// Returns the name, if the segment selects the members with one name.
    fn name(&self) -> Option<&str> {
        match self.selectors.as_slice() {
            [Selector::Name(name)] => Some(name),
            _ => None,
        }
    }

    /// Returns the name, if the segment selects a child by it.
    fn child_name(&self) -> Option<&str> {
        self.name().filter(|_| self.origin == Origin::Node)
    }

    fn is_wildcard(&self) -> bool {
        self.selectors == [Selector::Wildcard]
    }
}

/// Passes the values that segments select, from a value on, to `visit`.
fn visit_segments<'event>(
    mut segments: &[Segment],
    mut node: &'event Value,
    visit: &mut Visitor<'_, 'event>,
) -> ControlFlow<()> {
    // Most paths are names and positions only: they need no recursion.
    while let Some((segment, rest)) = segments.split_first() {
        let (Origin::Node, [selector]) = (segment.origin, segment.selectors.as_slice()) else {
            break;
        };
        let child = match selector {
            Selector::Name(name) => node.as_object().and_then(|members| members.get(name)),
            Selector::Position(position) => element(node, *position),
            _ => break,
        };
        let Some(child) = child else { return ControlFlow::Continue(()) };
        (segments, node) = (rest, child);
    }
    match segments.split_first() {
        None => visit(node),
        Some((segment, rest)) => match segment.origin {
            Origin::Node => select(&segment.selectors, rest, node, visit),
            Origin::Descendants => descend(&segment.selectors, rest, node, visit),
        },
    }
}

/// Applies selectors to a value and to everything below it.
fn descend<'event>(
    selectors: &[Selector],
    rest: &[Segment],
    node: &'event Value,
    visit: &mut Visitor<'_, 'event>,
) -> ControlFlow<()> {
    select(selectors, rest, node, visit)?;
    children(node).try_for_each(|child| match child {
        Value::Object(_) | Value::Array(_) => descend(selectors, rest, child, visit),
        _ => ControlFlow::Continue(()),
    })
}

/// Applies selectors to a value, and the remaining segments to what they select.
fn select<'event>(
    selectors: &[Selector],
    rest: &[Segment],
    node: &'event Value,
    visit: &mut Visitor<'_, 'event>,
) -> ControlFlow<()> {
    let mut follow = |child: &'event Value| visit_segments(rest, child, visit);
    for selector in selectors {
        match selector {
            Selector::Name(name) => {
                node.as_object()
                    .and_then(|members| members.get(name))
                    .map_or(ControlFlow::Continue(()), &mut follow)?;
            }
            Selector::Position(position) => {
                element(node, *position).map_or(ControlFlow::Continue(()), &mut follow)?;
            }
            Selector::Wildcard => children(node).try_for_each(&mut follow)?,
            Selector::Slice(slice) => slice.elements(node).try_for_each(&mut follow)?,
            Selector::Filter(path) => {
                path.query(node).all().into_iter().try_for_each(&mut follow)?;
            }
        }
    }
    ControlFlow::Continue(())
}

/// Returns the members or elements of a value.
fn children(node: &Value) -> impl Iterator<Item = &Value> {
    let (members, elements) = (node.as_object(), node.as_array());
    members.into_iter().flat_map(serde_json::Map::values).chain(elements.into_iter().flatten())
}

/// Returns the element of a list at a position; negative positions count from the end.
fn element(node: &Value, position: i64) -> Option<&Value> {
    let elements = node.as_array()?;
    let at = if position < 0 { len(elements).checked_add(position)? } else { position };
    elements.get(usize::try_from(at).ok()?)
}

impl Slice {
    /// Returns the elements of a list that the slice selects, in the order of RFC 9535, section 2.3.4.
    fn elements(self, node: &Value) -> impl Iterator<Item = &Value> {
        let elements = node.as_array().map(Vec::as_slice).unwrap_or_default();
        let len = len(elements);
        let normalize = |bound: i64| if bound < 0 { len.saturating_add(bound) } else { bound };
        let (first, last) = if self.step >= 0 {
            let start = normalize(self.start.unwrap_or(0)).clamp(0, len);
            let end = normalize(self.end.unwrap_or(len)).clamp(0, len);
            (start, end)
        } else {
            let start = self.start.map_or(len - 1, normalize).clamp(-1, len - 1);
            let end = self.end.map_or(-1, normalize).clamp(-1, len - 1);
            (start, end)
        };
        let step = self.step;
        std::iter::successors(Some(first), move |at| at.checked_add(step))
            .take_while(move |at| if step > 0 { *at < last } else { step < 0 && *at > last })
            .filter_map(move |at| elements.get(usize::try_from(at).ok()?))
    }
}

/// Returns the length of a list as a position.
fn len(elements: &[Value]) -> i64 {
    i64::try_from(elements.len()).unwrap_or(i64::MAX)
}
