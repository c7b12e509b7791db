//! What `trailload setup` changes: planned changes, before any of them is made.
//!
//! Input: what is there, and what is wanted. Output: [`Change`]s, each with the requests that make it.
//! Invariant: the requests of a change are exactly those that are sent, so that a plan can be printed and reviewed. A change
//! whose object belongs to somebody else has none.

use std::fmt;

use serde_json::Value;

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// An index template.
    IndexTemplate,
    /// A component template.
    ComponentTemplate,
    /// A policy of ILM or ISM.
    LifecyclePolicy,
    /// An existing index.
    Index,
    /// A role.
    Role,
}

/// What happens to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is created.
    Create,
    /// It is changed, for this reason.
    Update(String),
    /// It is deleted, or the change that was made to it is undone.
    Delete,
    /// It stays as it is, for this reason.
    Keep(String),
    /// It is not available in this engine, for this reason. Nothing is missing without it.
    Unavailable(String),
    /// It would have to be changed, but cannot be, for this reason.
    Blocked(String),
}

/// A planned change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The kind of object.
    pub kind: ObjectKind,
    /// The name of the object.
    pub name: String,
    /// What happens to it.
    pub action: Action,
    /// What is sent for that, in this order.
    pub requests: Vec<PlannedRequest>,
}

/// The method of a planned request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `PUT`
    Put,
    /// `POST`
    Post,
    /// `DELETE`
    Delete,
}

/// A planned request.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedRequest {
    /// The method.
    pub verb: Verb,
    /// The path below the URL of the engine.
    pub path: String,
    /// The body, if there is one.
    pub body: Option<Value>,
}

impl Action {
    /// Returns whether the object is, or can be made, what is wanted.
    pub(super) fn is_possible(&self) -> bool {
        !matches!(self, Self::Unavailable(_) | Self::Blocked(_))
    }
}

impl Change {
    /// Creates a change that sends nothing.
    pub(super) fn new(kind: ObjectKind, name: impl Into<String>, action: Action) -> Self {
        Self { kind, name: name.into(), action, requests: Vec::new() }
    }

    /// Adds a request.
    pub(super) fn send(mut self, verb: Verb, path: impl Into<String>, body: Option<Value>) -> Self {
        self.requests.push(PlannedRequest { verb, path: path.into(), body });
        self
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::IndexTemplate => "index template",
            Self::ComponentTemplate => "component template",
            Self::LifecyclePolicy => "lifecycle policy",
            Self::Index => "index",
            Self::Role => "role",
        })
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        })
    }
}
