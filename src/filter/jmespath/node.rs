//! The values that an expression works on: parts of the event, borrowed, and what functions make of them.
//!
//! Input: an event, a view of it, or a computed value. Output: its kind, text, elements and entries.
//! Invariant: nothing of the event is copied; cloning a node is cheap, whatever its size.

use std::rc::Rc;

use serde_json::{Map, Number, Value};

use super::{
    budget::{Budget, BudgetExceeded},
    number,
};
use crate::filter::{
    eventbridge::{EventField, EventView},
    flat::FlatView,
    truth,
};

/// A value while an expression is evaluated, or its result.
#[derive(Clone, Debug)]
pub enum Node<'a> {
    /// A part of the event, or a literal of the expression.
    Json(&'a Value),
    /// The event as EventBridge delivers it: an object.
    Event(EventView<'a>),
    /// The flat view of the event: an object.
    Flat(FlatView<'a>),
    /// A boolean that was computed.
    Bool(bool),
    /// A number that was computed.
    Number(Number),
    /// Text that was computed.
    Text(Rc<str>),
    /// A list that was computed.
    List(Rc<Vec<Node<'a>>>),
    /// An object that was computed; the keys are unique.
    Object(Rc<Vec<(Rc<str>, Node<'a>)>>),
}

/// The kind of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Null, or missing.
    Null,
    /// True or false.
    Boolean,
    /// A number.
    Number,
    /// Text.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl Kind {
    /// Returns the name that the function `type()` returns.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

/// The elements of an array.
pub(super) enum Elements<'n, 'a> {
    Json(&'a [Value]),
    Computed(&'n [Node<'a>]),
}

impl<'a> Elements<'_, 'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Json(items) => items.len(),
            Self::Computed(items) => items.len(),
        }
    }

    pub(super) fn get(&self, position: usize) -> Option<Node<'a>> {
        match self {
            Self::Json(items) => items.get(position).map(Node::Json),
            Self::Computed(items) => items.get(position).cloned(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Node<'a>> {
        (0..self.len()).filter_map(|position| self.get(position))
    }
}

impl<'a> Node<'a> {
    /// Null; also what is missing.
    pub const NULL: Node<'static> = Node::Json(&Value::Null);

    pub(super) fn text_from(text: impl Into<Rc<str>>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn list(elements: Vec<Node<'a>>) -> Self {
        Self::List(Rc::new(elements))
    }

    /// Converts a value that was computed.
    pub(super) fn from_value(value: Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(boolean) => Self::Bool(boolean),
            Value::Number(number) => Self::Number(number),
            Value::String(text) => Self::text_from(text),
            Value::Array(items) => Self::list(items.into_iter().map(Self::from_value).collect()),
            Value::Object(entries) => Self::Object(Rc::new(
                entries
                    .into_iter()
                    .map(|(key, entry)| (key.into(), Self::from_value(entry)))
                    .collect(),
            )),
        }
    }

    /// Returns a copy as JSON.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Json(value) => (*value).clone(),
            Self::Bool(boolean) => Value::Bool(*boolean),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.to_string()),
            Self::List(items) => Value::Array(items.iter().map(Node::to_value).collect()),
            Self::Event(_) | Self::Flat(_) | Self::Object(_) => Value::Object(
                self.entries()
                    .into_iter()
                    .map(|(key, node)| (key.to_string(), node.to_value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// Returns the kind of the value.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Json(Value::Null) => Kind::Null,
            Self::Json(Value::Bool(_)) | Self::Bool(_) => Kind::Boolean,
            Self::Json(Value::Number(_)) | Self::Number(_) => Kind::Number,
            Self::Json(Value::String(_)) | Self::Text(_) => Kind::String,
            Self::Json(Value::Array(_)) | Self::List(_) => Kind::Array,
            Self::Json(Value::Object(_)) | Self::Event(_) | Self::Flat(_) | Self::Object(_) => {
                Kind::Object
            }
        }
    }

    /// Returns whether the value is null or missing.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Json(Value::Null))
    }

    /// Returns the text, if the value is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Json(Value::String(text)) => Some(text),
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Json(Value::Bool(boolean)) | Self::Bool(boolean) => Some(*boolean),
            _ => None,
        }
    }

    pub(super) fn as_number(&self) -> Option<&Number> {
        match self {
            Self::Json(Value::Number(number)) | Self::Number(number) => Some(number),
            _ => None,
        }
    }

    pub(super) fn as_elements(&self) -> Option<Elements<'_, 'a>> {
        match self {
            Self::Json(Value::Array(items)) => Some(Elements::Json(items)),
            Self::List(items) => Some(Elements::Computed(items)),
            _ => None,
        }
    }

    /// Returns a field of an object; null if it is missing, or if this is not an object.
    pub(super) fn field(&self, name: &str) -> Node<'a> {
        self.entry(name).unwrap_or(Self::NULL)
    }

    /// Returns a field of an object; `None` if it is missing, or if this is not an object.
    fn entry(&self, name: &str) -> Option<Node<'a>> {
        match self {
            Self::Json(Value::Object(entries)) => entries.get(name).map(Node::Json),
            Self::Event(view) => view.get(name).map(Node::from),
            Self::Flat(view) => view.get(name).map(Node::Json),
            Self::Object(entries) => {
                entries.iter().find(|(key, _)| **key == *name).map(|(_, node)| node.clone())
            }
            _ => None,
        }
    }

    /// Returns the number of entries of an object; 0 if this is not an object.
    pub(super) fn entry_count(&self) -> usize {
        match self {
            Self::Json(Value::Object(entries)) => entries.len(),
            Self::Object(entries) => entries.len(),
            Self::Event(view) => view.names().count(),
            Self::Flat(view) => {
                let mut count = 0;
                view.for_each(|_, _| count += 1);
                count
            }
            _ => 0,
        }
    }

    /// Returns the entries of an object in their order; nothing if this is not an object.
    pub(super) fn entries(&self) -> Vec<(Rc<str>, Node<'a>)> {
        match self {
            Self::Json(Value::Object(entries)) => entries
                .iter()
                .map(|(key, value)| (key.as_str().into(), Node::Json(value)))
                .collect(),
            Self::Object(entries) => entries.to_vec(),
            Self::Event(view) => view.names().map(|name| (name.into(), self.field(name))).collect(),
            Self::Flat(view) => view
                .entries()
                .into_iter()
                .map(|(key, value)| (key.into(), Node::Json(value)))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the values of an object in their order; nothing if this is not an object.
    pub(super) fn values(&self) -> Vec<Node<'a>> {
        match self {
            Self::Json(Value::Object(entries)) => entries.values().map(Node::Json).collect(),
            Self::Object(entries) => entries.iter().map(|(_, node)| node.clone()).collect(),
            _ => self.entries().into_iter().map(|(_, node)| node).collect(),
        }
    }

    /// Returns whether JMESPath takes the value as true.
    pub(super) fn is_true_in_jmespath(&self) -> bool {
        match self {
            Self::Json(value) => truth::is_true_in_jmespath(value),
            Self::Bool(boolean) => *boolean,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Object(entries) => !entries.is_empty(),
            Self::Flat(_) => self.entry_count() > 0,
            Self::Number(_) | Self::Event(_) => true,
        }
    }

    /// Returns whether JavaScript takes the value as true, which decides about the result of an expression.
    pub fn is_true_in_javascript(&self) -> bool {
        match self {
            Self::Json(value) => truth::is_true_in_javascript(value),
            Self::Bool(boolean) => *boolean,
            Self::Number(number) => truth::is_nonzero(number),
            Self::Text(text) => !text.is_empty(),
            Self::List(_) | Self::Object(_) | Self::Event(_) | Self::Flat(_) => true,
        }
    }

    /// Returns whether two values are equal: of the same kind, numbers by value, objects in any order.
    pub(super) fn equals(&self, other: &Node<'_>, budget: &Budget) -> Result<bool, BudgetExceeded> {
        budget.take(1)?;
        if self.kind() != other.kind() {
            return Ok(false);
        }
        match self.kind() {
            Kind::Null => Ok(true),
            Kind::Boolean => Ok(self.as_bool() == other.as_bool()),
            Kind::String => Ok(self.as_text() == other.as_text()),
            Kind::Number => Ok(equal_numbers(self, other)),
            Kind::Array => self.equals_array(other, budget),
            Kind::Object => self.equals_object(other, budget),
        }
    }

    fn equals_array(&self, other: &Node<'_>, budget: &Budget) -> Result<bool, BudgetExceeded> {
        let (Some(left), Some(right)) = (self.as_elements(), other.as_elements()) else {
            return Ok(false);
        };
        if left.len() != right.len() {
            return Ok(false);
        }
        for (left, right) in left.iter().zip(right.iter()) {
            if !left.equals(&right, budget)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn equals_object(&self, other: &Node<'_>, budget: &Budget) -> Result<bool, BudgetExceeded> {
        let entries = self.entries();
        if entries.len() != other.entry_count() {
            return Ok(false);
        }
        budget.take(entries.len())?;
        for (key, value) in entries {
            match other.entry(&key) {
                Some(other) if value.equals(&other, budget)? => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Appends the value as compact JSON, with numbers as JavaScript writes them.
    pub(super) fn write_json(
        &self,
        text: &mut String,
        budget: &Budget,
    ) -> Result<(), BudgetExceeded> {
        budget.take(1)?;
        match self.kind() {
            Kind::Null => text.push_str("null"),
            Kind::Boolean => {
                text.push_str(if self.as_bool() == Some(true) { "true" } else { "false" });
            }
            Kind::Number => {
                text.push_str(&self.as_number().map(number::to_text).unwrap_or_default());
            }
            Kind::String => write_quoted(self.as_text().unwrap_or_default(), text, budget)?,
            Kind::Array => {
                text.push('[');
                for (position, item) in
                    self.as_elements().iter().flat_map(Elements::iter).enumerate()
                {
                    if position > 0 {
                        text.push(',');
                    }
                    item.write_json(text, budget)?;
                }
                text.push(']');
            }
            Kind::Object => self.write_object(text, budget)?,
        }
        Ok(())
    }

    fn write_object(&self, text: &mut String, budget: &Budget) -> Result<(), BudgetExceeded> {
        let mut before = '{';
        let mut write = |key: &str, node: &Node<'_>| {
            text.push(before);
            before = ',';
            write_quoted(key, text, budget)?;
            text.push(':');
            node.write_json(text, budget)
        };
        match self {
            // The common case needs no copies of the keys.
            Self::Json(Value::Object(entries)) => {
                entries.iter().try_for_each(|(key, value)| write(key, &Node::Json(value)))?;
            }
            _ => self.entries().iter().try_for_each(|(key, node)| write(key, node))?,
        }
        text.push_str(if before == '{' { "{}" } else { "}" });
        Ok(())
    }
}

fn equal_numbers(left: &Node<'_>, right: &Node<'_>) -> bool {
    match (left.as_number(), right.as_number()) {
        (Some(left), Some(right)) => {
            number::compare(left, right).is_some_and(std::cmp::Ordering::is_eq)
        }
        _ => false,
    }
}

fn write_quoted(value: &str, text: &mut String, budget: &Budget) -> Result<(), BudgetExceeded> {
    budget.take_text(value.len())?;
    let needs_escapes = value.bytes().any(|byte| byte < 0x20 || matches!(byte, b'"' | b'\\'));
    if needs_escapes {
        // Text always has a JSON form.
        text.push_str(&serde_json::to_string(value).unwrap_or_default());
    } else {
        text.push('"');
        text.push_str(value);
        text.push('"');
    }
    Ok(())
}

impl<'a> From<&'a Value> for Node<'a> {
    fn from(value: &'a Value) -> Self {
        Self::Json(value)
    }
}

impl<'a> From<EventView<'a>> for Node<'a> {
    fn from(view: EventView<'a>) -> Self {
        Self::Event(view)
    }
}

impl<'a> From<EventField<'a>> for Node<'a> {
    fn from(field: EventField<'a>) -> Self {
        match field {
            EventField::Json(value) => Self::Json(value),
            EventField::Text(text) => Self::text_from(text.as_ref()),
            EventField::Flat(view) => Self::Flat(view),
        }
    }
}
