//! The fields of a request or response: shapes resolved to the leaves.
//!
//! Input: an operation and a side. Output: its [`Fields`], visited one after another with their paths in events.
//! Invariants: a structure inside itself is followed once and then marked, so a visit ends. The members of a structure are
//! resolved once, wherever it occurs: some requests have 50,000 fields and a thousand structures.

use std::{
    borrow::Cow,
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    ops::ControlFlow,
    rc::Rc,
    sync::LazyLock,
};

use super::{
    find::contains,
    model::{Member, Operation, ScalarType, Service, Shape, ShapeId, ShapeKind, Side},
    spelling::{self, Form, Offer, Speller, Spelling},
    spelling_facts as facts,
};

/// A field of a request or response, as it is wherever its structure occurs.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    /// How the field is reached from the one above.
    pub step: Step<'a>,
    /// The type of its value.
    pub value: FieldType,
    /// Its names in events, the most common first. Empty if it is not logged.
    pub spellings: Vec<Spelling>,
    /// Number among all fields of a resolver, which stays the same wherever the field occurs.
    pub number: usize,
    /// The fields below, once they have been asked for.
    below: OnceCell<Below>,
}

/// Where the fields below a field are.
#[derive(Clone, Copy, Debug)]
enum Below {
    /// There are none.
    Nothing,
    /// At this position of the levels of a [`Resolver`].
    Level(usize),
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

impl Step<'_> {
    /// Returns the name: that of the model with its first letter in lower case, `[]` for items, `*` for values of a map.
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Member(member) => spelling::lower_first(&member.name).into(),
            Self::Item => "[]".into(),
            Self::Value => "*".into(),
            Self::Added(name) => name.as_ref().into(),
            // A member of the model may have the same name.
            Self::Subresource(name) => format!("?{name}").into(),
        }
    }

    /// Appends the name to a path in the model: `tags[].key`.
    pub fn append_to(&self, path: &mut String) {
        if !path.is_empty() && !matches!(self, Self::Item) {
            path.push('.');
        }
        match self {
            Self::Member(member) => spelling::push_lower_first(path, &member.name),
            _ => path.push_str(&self.name()),
        }
    }
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

impl FieldType {
    /// Returns the shape; `None` for a field that CloudTrail adds.
    pub fn shape(self, service: &Service) -> Option<&Shape> {
        match self {
            Self::Shape(id) => Some(service.shape(id)),
            _ => None,
        }
    }
}

impl<'a> Field<'a> {
    /// Returns the shape; `None` for a field that CloudTrail adds.
    pub fn shape<'s>(&self, service: &'s Service) -> Option<&'s Shape> {
        self.value.shape(service)
    }

    /// Returns the member of the model, if the field is one.
    pub fn member(&self) -> Option<&'a Member> {
        match self.step {
            Step::Member(member) => Some(member),
            _ => None,
        }
    }

    /// Returns the name, as [`Step::name`].
    pub fn name(&self) -> Cow<'_, str> {
        self.step.name()
    }

    /// Returns whether the value is any JSON in events, so that names below are not predicted.
    pub fn is_any(&self) -> bool {
        self.spellings.iter().any(Spelling::is_any)
    }

    /// Returns whether the API does not have the field.
    pub fn is_added(&self) -> bool {
        matches!(self.step, Step::Added(_) | Step::Subresource(_))
    }
}

/// Fields that are next to each other.
type FieldLevel<'a> = Rc<[Field<'a>]>;

/// The operation of a level that does not depend on one.
static ANY_OPERATION: LazyLock<Operation> = LazyLock::new(Operation::default);

/// The service of fields that no model has.
static NO_SERVICE: LazyLock<Service> = LazyLock::new(Service::default);

/// Resolves the structures of a service, each once.
#[derive(Debug)]
pub struct Resolver<'a> {
    service: &'a Service,
    offer: Offer,
    /// How many fields have a number.
    count: Cell<usize>,
    levels: RefCell<Vec<FieldLevel<'a>>>,
    /// The levels of structures: what is below one depends on the rules for its names alone.
    structures: RefCell<HashMap<(ShapeId, Vec<Form>), usize>>,
    /// The members that are resolved; `None` for all.
    wanted: Option<Rc<WantedMembers<'a>>>,
}

/// The members of structures that a search has to look at: those that it looks for, and those that lead to them.
#[derive(Debug)]
pub(super) struct WantedMembers<'a> {
    /// A part of names, in lower case.
    pub(super) word: &'a str,
    /// For each shape, whether it is or leads to a structure that has a member with the word in its name.
    pub(super) leads: Vec<bool>,
}

impl WantedMembers<'_> {
    pub(super) fn leads(&self, shape: ShapeId) -> bool {
        self.leads.get(shape.0 as usize).copied().unwrap_or(false)
    }

    fn contains(&self, member: &Member) -> bool {
        self.leads(member.shape) || contains(&member.name, self.word)
    }
}

impl<'a> Resolver<'a> {
    /// Creates a resolver that has resolved nothing.
    pub fn new(service: &'a Service, offer: Offer) -> Self {
        let (levels, structures) = (RefCell::default(), RefCell::default());
        Self { service, offer, count: Cell::new(0), levels, structures, wanted: None }
    }

    /// Limits the resolver to some members.
    #[must_use]
    pub(super) fn with_wanted(self, wanted: Rc<WantedMembers<'a>>) -> Self {
        Self { wanted: Some(wanted), ..self }
    }

    fn number(&self) -> usize {
        self.count.replace(self.count.get() + 1)
    }

    fn field(&self, step: Step<'a>, value: FieldType, spellings: Vec<Spelling>) -> Field<'a> {
        Field { step, value, spellings, number: self.number(), below: OnceCell::new() }
    }

    /// Returns the fields directly below the member of the record; none if the operation does not have the side.
    pub fn side(&self, operation: &'a Operation, side: Side) -> Vec<Field<'a>> {
        let speller = Speller { service: self.service, operation, side, offer: self.offer };
        let Some(shape) = side.of(operation) else { return Vec::new() };
        let mut fields = self.members(speller, shape, &speller.roots());
        for field in &mut fields {
            self.add_xml_namespace(field);
        }
        fields
    }

    /// Returns the paths below the member of the record that the first fields continue.
    pub fn roots(&self, operation: &'a Operation, side: Side) -> Vec<String> {
        let speller = Speller { service: self.service, operation, side, offer: self.offer };
        speller.roots().into_iter().map(|root| root.keys).collect()
    }

    /// Returns the fields below a field. For a structure inside itself they are those of the structure, so a caller has
    /// to stop there.
    pub fn below(&self, field: &Field<'a>) -> Option<FieldLevel<'a>> {
        match field.below.get_or_init(|| self.resolve(field)) {
            Below::Nothing => None,
            Below::Level(number) => self.levels.borrow().get(*number).map(Rc::clone),
        }
    }

    fn resolve(&self, field: &Field<'a>) -> Below {
        let FieldType::Shape(id) = field.value else { return Below::Nothing };
        let shape = self.service.shape(id);
        if shape.flags.event_stream || shape.flags.document {
            return Below::Nothing;
        }
        match &shape.kind {
            ShapeKind::Scalar(_) => Below::Nothing,
            ShapeKind::Structure { .. } => self.structure(id, &field.spellings),
            ShapeKind::List { item, .. } => {
                let spellings = self.speller().item(&field.spellings, shape, field.member());
                let item = self.field(Step::Item, FieldType::Shape(*item), spellings);
                self.level([item].into_iter().chain(self.position(&field.spellings)).collect())
            }
            ShapeKind::Map { value, .. } => {
                let spellings = Speller::value(&field.spellings);
                self.level(vec![self.field(Step::Value, FieldType::Shape(*value), spellings)])
            }
        }
    }

    fn structure(&self, id: ShapeId, spellings: &[Spelling]) -> Below {
        let forms = spellings.iter().map(|spelling| spelling.form).collect();
        let known = self.structures.borrow().get(&(id, forms)).copied();
        if let Some(number) = known {
            return Below::Level(number);
        }
        let below = self.level(self.members(self.speller(), id, spellings));
        if let Below::Level(number) = below {
            let forms = spellings.iter().map(|spelling| spelling.form).collect();
            self.structures.borrow_mut().insert((id, forms), number);
        }
        below
    }

    /// Returns the members of a structure with these spellings.
    fn members(&self, speller: Speller<'a>, id: ShapeId, spellings: &[Spelling]) -> Vec<Field<'a>> {
        let members = self.service.members(id).iter();
        let field = |member: &'a Member| {
            let spellings = speller.member(spellings, member);
            self.field(Step::Member(member), FieldType::Shape(member.shape), spellings)
        };
        match &self.wanted {
            Some(wanted) => members.filter(|member| wanted.contains(member)).map(field).collect(),
            None => members.map(field).collect(),
        }
    }

    /// Returns the position that the items of lists have in requests of later EC2 calls.
    fn position(&self, list: &[Spelling]) -> Option<Field<'a>> {
        let wrapped = list.iter().enumerate().filter(|(_, at)| at.form == Form::Ec2Wrapped);
        let spellings: Vec<Spelling> =
            wrapped.map(|(position, at)| at.continued(position, "tag".to_owned())).collect();
        let value = FieldType::Scalar(ScalarType::Integer);
        let step = Step::Added("tag".into());
        (!spellings.is_empty()).then(|| self.field(step, value, spellings))
    }

    /// Keeps a level, and returns where it is.
    fn level(&self, fields: Vec<Field<'a>>) -> Below {
        if fields.is_empty() {
            return Below::Nothing;
        }
        let mut levels = self.levels.borrow_mut();
        levels.push(fields.into());
        Below::Level(levels.len() - 1)
    }

    /// Returns a speller for what is below the first level, where operation and side decide nothing.
    fn speller(&self) -> Speller<'a> {
        let (operation, side): (&'a Operation, _) = (&ANY_OPERATION, Side::Input);
        Speller { service: self.service, operation, side, offer: self.offer }
    }

    /// Adds the namespace of the XML body of an S3 request.
    fn add_xml_namespace(&self, field: &mut Field<'a>) {
        let FieldType::Shape(id) = field.value else { return };
        let is_body = |spelling: &Spelling| spelling.form == Form::S3Body;
        if !matches!(self.service.shape(id).kind, ShapeKind::Structure { .. })
            || !field.spellings.iter().any(is_body)
        {
            return;
        }
        let spellings = field.spellings.iter().enumerate().map(|(position, body)| Spelling {
            form: Form::S3Body,
            ..body.continued(position, "xmlns".to_owned())
        });
        let step = Step::Added("xmlns".into());
        let value = FieldType::Scalar(ScalarType::String);
        let namespace = self.field(step, value, spellings.collect());
        let mut below = self.members(self.speller(), id, &field.spellings);
        below.push(namespace);
        field.below = self.level(below).into();
    }

    /// Adds a field that CloudTrail adds, and the objects above it, unless there is one with the path.
    fn add(&self, fields: &mut Vec<Field<'a>>, roots: &[String], added: &facts::AddedField) {
        if !self.has_path(fields, roots, &added.path) {
            self.add_below(fields, roots, added);
        }
    }

    /// Returns whether one of the fields, or of those below, has a path. `above` are the paths of the field above.
    fn has_path(&self, fields: &[Field<'a>], above: &[String], path: &str) -> bool {
        fields.iter().any(|field| {
            let own = paths(above, &field.spellings);
            let leads = own.iter().any(|own| is_below(path, own));
            own.iter().any(|own| own == path)
                || leads
                    && !self.is_endless(field)
                    && self.below(field).is_some_and(|below| self.has_path(&below, &own, path))
        })
    }

    /// Returns whether a field is a list or map of itself: only a damaged model has it.
    pub(super) fn is_endless(&self, field: &Field<'a>) -> bool {
        matches!(field.value, FieldType::Shape(id) if leads_above(self.service, id, &[]))
    }

    fn add_below(&self, fields: &mut Vec<Field<'a>>, above: &[String], added: &facts::AddedField) {
        // The path of the field above that the added field continues.
        let continued = above.iter().enumerate();
        let continued = continued.filter(|(_, above)| is_below(&added.path, above));
        let (position, start) = continued
            .map(|(position, above)| (position, above.len()))
            .max_by_key(|(_, length)| *length)
            .unwrap_or((0, 0));
        let rest = added.path[start..].trim_start_matches('.');
        let holder = fields.iter().position(|field| {
            let own = paths(above, &field.spellings);
            own.iter().any(|own| is_below(&added.path, own) && own.len() > start)
                || matches!(field.step, Step::Item) && own == above
        });
        if let Some(holder) = holder {
            let field = &mut fields[holder];
            let own = paths(above, &field.spellings);
            let mut below = self.below(field).map_or_else(Vec::new, |below| below.to_vec());
            self.add_below(&mut below, &own, added);
            field.below = self.level(below).into();
            field.number = self.number();
            return;
        }
        let (name, below) = rest.split_once('.').unwrap_or((rest, ""));
        let scalar = added.scalar.filter(|_| below.is_empty());
        let step = match name {
            "*" => Step::Value,
            _ if added.is_subresource => Step::Subresource(name.to_owned().into()),
            _ => Step::Added(name.to_owned().into()),
        };
        let spelling =
            Spelling { above: position, ..Spelling::added(name.to_owned(), Form::LowerCase) };
        let value = scalar.map_or(FieldType::Object, FieldType::Scalar);
        let mut field = self.field(step, value, vec![spelling]);
        if !below.is_empty() {
            let own = paths(above, &field.spellings);
            let mut fields = Vec::new();
            self.add_below(&mut fields, &own, added);
            field.below = self.level(fields).into();
        }
        fields.push(field);
    }
}

/// Returns whether a path leads through an object with the other path.
fn is_below(path: &str, above: &str) -> bool {
    above.is_empty() || path.strip_prefix(above).is_some_and(|rest| rest.starts_with('.'))
}

/// Returns the paths of spellings that continue those `above`.
pub fn paths(above: &[String], spellings: &[Spelling]) -> Vec<String> {
    let path = |spelling: &Spelling| {
        let above = above.get(spelling.above).map_or("", String::as_str);
        spelling::join(above, &spelling.keys)
    };
    spellings.iter().map(path).collect()
}

/// All fields below a member of the record.
#[derive(Debug)]
pub struct Fields<'a> {
    service: &'a Service,
    resolver: Resolver<'a>,
    /// The structure that the first fields are members of.
    shape: Option<ShapeId>,
    first: Vec<Field<'a>>,
    roots: Vec<String>,
}

/// A field where it occurs.
#[derive(Clone, Copy, Debug)]
pub struct Occurrence<'v, 'a> {
    /// The field.
    pub field: &'v Field<'a>,
    /// Levels above.
    pub depth: usize,
    /// Whether its value, or the items or values of it, are of a structure that the field is inside of. What is below is
    /// left out.
    pub recursive: bool,
    /// Whether there are fields below.
    pub has_below: bool,
}

/// What a visitor wants to see next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The fields below this one.
    Below,
    /// The fields behind it.
    Behind,
    /// Nothing more.
    Stop,
}

/// A step of a visit.
#[derive(Clone, Copy, Debug)]
pub enum Visit<'v, 'a> {
    /// A field; those below it follow.
    Field(Occurrence<'v, 'a>),
    /// All fields below the last field that has not ended were visited.
    End,
}

impl<'a> Fields<'a> {
    /// Returns the fields of a side.
    pub fn new(service: &'a Service, operation: &'a Operation, side: Side, offer: Offer) -> Self {
        let resolver = Resolver::new(service, offer);
        let mut first = resolver.side(operation, side);
        let roots = resolver.roots(operation, side);
        for added in facts::added(service, operation, side, offer) {
            resolver.add(&mut first, &roots, &added);
        }
        Self { service, resolver, shape: side.of(operation), first, roots }
    }

    /// Returns fields that no model has, given their paths and the names of their types.
    pub fn known(fields: &[(&str, &str)]) -> Self {
        let resolver = Resolver::new(&NO_SERVICE, Offer::Likely);
        let mut first = Vec::new();
        let roots = vec![String::new()];
        for (path, type_name) in fields {
            let scalar = Some(ScalarType::from_name(type_name));
            let path = (*path).to_owned();
            let added = facts::AddedField { path, scalar, is_subresource: false };
            resolver.add(&mut first, &roots, &added);
        }
        Self { service: &NO_SERVICE, resolver, shape: None, first, roots }
    }

    /// Returns the service that the shapes belong to.
    pub fn service(&self) -> &'a Service {
        self.service
    }

    /// Returns the paths that the spellings of the first fields continue, below the member of the record.
    pub fn roots(&self) -> &[String] {
        &self.roots
    }

    /// Returns whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Returns the fields below a field, as [`Resolver::below`].
    pub fn below(&self, field: &Field<'a>) -> Option<Rc<[Field<'a>]>> {
        self.resolver.below(field)
    }

    /// Visits the fields from the top down, until the visitor stops.
    pub fn visit(&self, visitor: &mut dyn FnMut(Visit<'_, 'a>) -> Next) {
        let mut walk = Walk { fields: self, above: self.shape.into_iter().collect(), visitor };
        let _ = self.first.iter().try_for_each(|field| walk.field(field, 0));
    }
}

/// Returns whether a structure above is what a shape, or its items or values at any depth, have as shape.
fn leads_above(service: &Service, mut id: ShapeId, above: &[ShapeId]) -> bool {
    let mut containers = Vec::new();
    loop {
        let next = match &service.shape(id).kind {
            ShapeKind::List { item, .. } => *item,
            ShapeKind::Map { value, .. } => *value,
            _ => return above.contains(&id),
        };
        // A list of itself: only a damaged model has it.
        if containers.contains(&id) {
            return true;
        }
        containers.push(id);
        id = next;
    }
}

/// A visit in progress.
struct Walk<'w, 'a, 'v> {
    fields: &'w Fields<'a>,
    /// The structures above.
    above: Vec<ShapeId>,
    visitor: &'v mut dyn FnMut(Visit<'_, 'a>) -> Next,
}

impl<'a> Walk<'_, 'a, '_> {
    fn field(&mut self, field: &Field<'a>, depth: usize) -> ControlFlow<()> {
        let shape = match field.value {
            FieldType::Shape(id) => Some(id),
            _ => None,
        };
        let service = self.fields.service;
        let recursive = shape.is_some_and(|id| leads_above(service, id, &self.above));
        let below = if recursive { None } else { self.fields.below(field) };
        let has_below = below.is_some();
        let occurrence = Occurrence { field, depth, recursive, has_below };
        match ((self.visitor)(Visit::Field(occurrence)), below) {
            (Next::Stop, _) => return ControlFlow::Break(()),
            (Next::Below, Some(below)) => {
                let levels = self.above.len();
                let structure = shape
                    .filter(|id| matches!(service.shape(*id).kind, ShapeKind::Structure { .. }));
                self.above.extend(structure);
                below.iter().try_for_each(|field| self.field(field, depth + 1))?;
                self.above.truncate(levels);
            }
            (Next::Below | Next::Behind, _) => {}
        }
        match (self.visitor)(Visit::End) {
            Next::Stop => ControlFlow::Break(()),
            Next::Below | Next::Behind => ControlFlow::Continue(()),
        }
    }
}

/// A field with its paths, and the fields below it.
#[derive(Clone, Debug)]
pub struct ExpandedField<'a> {
    /// How the field is reached from the one above.
    pub step: Step<'a>,
    /// The type of its value.
    pub value: FieldType,
    /// As [`Occurrence::recursive`].
    pub recursive: bool,
    /// Whether the value is any JSON, so that paths below are not predicted.
    pub is_any: bool,
    /// Paths in events below the member of the record, the most common first.
    pub paths: Vec<String>,
    /// The fields below.
    pub children: Vec<ExpandedField<'a>>,
}

/// Returns the fields of a side as a tree, which takes much memory for some.
pub fn expanded<'a>(
    service: &'a Service,
    operation: &'a Operation,
    side: Side,
    offer: Offer,
) -> Vec<ExpandedField<'a>> {
    let fields = Fields::new(service, operation, side, offer);
    let mut open: Vec<ExpandedField<'a>> = Vec::new();
    let mut found = Vec::new();
    fields.visit(&mut |visit| {
        match visit {
            Visit::Field(Occurrence { field, recursive, .. }) => {
                let above = open.last().map_or(fields.roots(), |above| above.paths.as_slice());
                open.push(ExpandedField {
                    step: field.step.clone(),
                    value: field.value,
                    recursive,
                    is_any: field.is_any(),
                    paths: paths(above, &field.spellings),
                    children: Vec::new(),
                });
            }
            Visit::End => {
                if let Some(field) = open.pop() {
                    open.last_mut().map_or(&mut found, |above| &mut above.children).push(field);
                }
            }
        }
        Next::Below
    });
    found
}
