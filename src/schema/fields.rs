//! The fields of a request or response: shapes resolved to the leaves.
//!
//! Input: an operation and a side. Output: a tree of [`Field`]s with their paths in events.
//! Invariant: a structure inside itself is followed once and then marked, so the tree is finite.

use std::borrow::Cow;

use super::{
    model::{Member, Operation, ScalarType, Service, Shape, ShapeId, ShapeKind, Side},
    spelling::{self, Form, Offer, Speller, Spelling},
    spelling_facts as facts,
};

/// A field of a request or response.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    /// How the field is reached from the one above.
    pub step: Step<'a>,
    /// The type of its value.
    pub value: FieldType,
    /// Whether the value, or its items or values, are of a structure that the field is inside of. Fields below are left
    /// out.
    pub recursive: bool,
    /// Paths in events below `requestParameters` or `responseElements`, the most common first. Empty if it is not logged.
    pub spellings: Vec<Spelling>,
    /// The fields below.
    pub children: Vec<Field<'a>>,
}

/// How a field is reached from the one above.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// A member of a structure.
    Member(&'a Member),
    /// An item of a list.
    Item,
    /// A value of a map.
    Value,
    /// A field that CloudTrail adds, with its name.
    Added(Cow<'a, str>),
    /// The subresource in the query of the URI of an S3 request, which CloudTrail adds as an empty text.
    Subresource(Cow<'a, str>),
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// A shape of the service.
    Shape(ShapeId),
    /// A value of a field that CloudTrail adds.
    Scalar(ScalarType),
    /// An object that CloudTrail adds.
    Object,
}

impl<'a> Field<'a> {
    /// Returns the shape; `None` for a field that CloudTrail adds.
    pub fn shape(&self, service: &'a Service) -> Option<&'a Shape> {
        match self.value {
            FieldType::Shape(id) => Some(service.shape(id)),
            _ => None,
        }
    }

    /// Returns the member of the model, if the field is one.
    pub fn member(&self) -> Option<&'a Member> {
        match self.step {
            Step::Member(member) => Some(member),
            _ => None,
        }
    }

    /// Returns the name: that of the model with its first letter in lower case, `[]` for items, `*` for values of a map.
    pub fn name(&self) -> Cow<'_, str> {
        match &self.step {
            Step::Member(member) => spelling::lower_first(&member.name).into(),
            Step::Item => "[]".into(),
            Step::Value => "*".into(),
            Step::Added(name) => name.as_ref().into(),
            // A member of the model may have the same name.
            Step::Subresource(name) => format!("?{name}").into(),
        }
    }

    /// Returns whether the API does not have the field.
    pub fn is_added(&self) -> bool {
        matches!(self.step, Step::Added(_) | Step::Subresource(_))
    }
}

/// Returns the fields of a side with the spellings that events have; none if the operation does not have the side.
pub fn fields<'a>(service: &'a Service, operation: &'a Operation, side: Side) -> Vec<Field<'a>> {
    offered_fields(service, operation, side, Offer::Likely)
}

/// Returns the fields of a side.
pub fn offered_fields<'a>(
    service: &'a Service,
    operation: &'a Operation,
    side: Side,
    offer: Offer,
) -> Vec<Field<'a>> {
    let speller = Speller { service, operation, side, offer };
    let mut resolver = Resolver { speller, service, above: Vec::new() };
    let roots = speller.roots();
    let mut found = match side.of(operation) {
        Some(shape) => resolver.members(shape, &roots),
        None => Vec::new(),
    };
    for added in facts::added(service, operation, side, offer) {
        add(&mut found, &added);
    }
    found
}

/// Adds a field that CloudTrail adds, and the objects above it, unless an equal path is there.
fn add(fields: &mut Vec<Field<'_>>, added: &facts::AddedField) {
    let is_known = |field: &Field<'_>| has_path(field, &added.path);
    if fields.iter().any(is_known) {
        return;
    }
    let mut level = fields;
    let mut path = String::new();
    let mut names = added.path.split('.').peekable();
    while let Some(name) = names.next() {
        path = spelling::join(&path, name);
        let is_last = names.peek().is_none();
        // A field of the model that has the path holds it; so does one that was added before.
        let has_path = |field: &Field<'_>| field.spellings.iter().any(|at| at.path == path);
        let at = level.iter().position(|field| !is_last && has_path(field));
        let at = at.unwrap_or_else(|| {
            let value =
                added.scalar.filter(|_| is_last).map_or(FieldType::Object, FieldType::Scalar);
            level.push(Field {
                step: match name {
                    "*" => Step::Value,
                    _ if added.is_subresource => Step::Subresource(name.to_owned().into()),
                    _ => Step::Added(name.to_owned().into()),
                },
                value,
                recursive: false,
                spellings: vec![Spelling::new(path.clone(), Form::LowerCase)],
                children: Vec::new(),
            });
            level.len() - 1
        });
        level = &mut level[at].children;
    }
}

fn has_path(field: &Field<'_>, path: &str) -> bool {
    let is_equal = field.spellings.iter().any(|spelling| spelling.path == path);
    is_equal || field.children.iter().any(|child| has_path(child, path))
}

struct Resolver<'a> {
    speller: Speller<'a>,
    service: &'a Service,
    /// The structures above.
    above: Vec<ShapeId>,
}

impl<'a> Resolver<'a> {
    fn members(&mut self, shape: ShapeId, spellings: &[Spelling]) -> Vec<Field<'a>> {
        self.above.push(shape);
        let members = self.service.members(shape);
        let mut fields: Vec<Field<'a>> = Vec::with_capacity(members.len());
        for member in members {
            let spellings = self.speller.member(spellings, member);
            fields.push(self.field(Step::Member(member), member.shape, spellings));
        }
        self.above.pop();
        fields
    }

    fn field(&mut self, step: Step<'a>, id: ShapeId, spellings: Vec<Spelling>) -> Field<'a> {
        let shape = self.service.shape(id);
        let recursive = self.leads_above(id);
        let value = FieldType::Shape(id);
        let mut field = Field { step, value, recursive, spellings, children: Vec::new() };
        if recursive || shape.flags.event_stream || shape.flags.document {
            return field;
        }
        match &shape.kind {
            ShapeKind::Structure { .. } => {
                field.children = self.members(id, &field.spellings);
                self.add_xml_namespace(&mut field);
            }
            ShapeKind::List { item, .. } => {
                let member = field.member();
                let spellings = self.speller.item(&field.spellings, shape, member);
                field.children.reserve_exact(1);
                field.children.push(self.field(Step::Item, *item, spellings));
                add_position(&mut field);
            }
            ShapeKind::Map { value, .. } => {
                let spellings = Speller::value(&field.spellings);
                field.children.reserve_exact(1);
                field.children.push(self.field(Step::Value, *value, spellings));
            }
            ShapeKind::Scalar(_) => {}
        }
        field
    }

    /// Returns whether a structure above is what this shape, or its items or values at any depth, have as shape.
    fn leads_above(&self, mut id: ShapeId) -> bool {
        let mut containers = Vec::new();
        loop {
            let next = match &self.service.shape(id).kind {
                ShapeKind::List { item, .. } => *item,
                ShapeKind::Map { value, .. } => *value,
                _ => return self.above.contains(&id),
            };
            // A list of itself: only a damaged model has it.
            if containers.contains(&id) {
                return true;
            }
            containers.push(id);
            id = next;
        }
    }

    /// Adds the namespace of the XML body of an S3 request.
    fn add_xml_namespace(&self, field: &mut Field<'a>) {
        if self.above.len() == 1 && field.spellings.iter().any(|at| at.form == Form::S3Body) {
            let below = field.spellings.iter();
            let spellings =
                below.map(|at| Spelling::new(spelling::join(&at.path, "xmlns"), Form::S3Body));
            field.children.push(Field {
                step: Step::Added("xmlns".into()),
                value: FieldType::Scalar(ScalarType::String),
                recursive: false,
                spellings: spellings.collect(),
                children: Vec::new(),
            });
        }
    }
}

/// Adds the position that the items of lists have in requests of later EC2 calls.
fn add_position(list: &mut Field<'_>) {
    let wrapped = list.spellings.iter().filter(|at| at.form == Form::Ec2Wrapped);
    let spellings: Vec<Spelling> = wrapped
        .map(|at| Spelling::new(spelling::join(&at.path, "tag"), Form::Ec2Wrapped))
        .collect();
    if !spellings.is_empty() {
        list.children.push(Field {
            step: Step::Added("tag".into()),
            value: FieldType::Scalar(ScalarType::Integer),
            recursive: false,
            spellings,
            children: Vec::new(),
        });
    }
}

/// Returns fields that no model has, given their paths and the names of their types.
pub fn known_fields(paths: &[(&str, &str)]) -> Vec<Field<'static>> {
    let mut fields = Vec::new();
    for (path, type_name) in paths {
        let scalar = Some(ScalarType::from_name(type_name));
        let path = (*path).to_owned();
        add(&mut fields, &facts::AddedField { path, scalar, is_subresource: false });
    }
    fields
}
