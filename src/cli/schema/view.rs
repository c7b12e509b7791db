//! What is shown of a field, in every format.
//!
//! Input: the fields of a side, and the rules of the index. Output: one [`FieldView`] per field, from the top down.
//! Invariant: the fields of an operation are visited one after another; no format holds them all.

use std::{cell::RefCell, rc::Rc};

use crate::{
    normalize::{FieldKind, PredictedField, Rules, ValueKind},
    pipeline::observe::{Observation, Observed},
    schema::{
        fields::{Field, FieldType, Fields, Next, Occurrence, Step, Visit},
        model::{ScalarType, Service, Shape, ShapeKind},
    },
};

/// Where fields are: the service that their shapes belong to, and the member of the record that holds them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'p, 'a> {
    pub(super) fields: &'p Fields<'a>,
    /// `requestParameters`, `responseElements` or another member.
    pub(super) record_member: &'p str,
    pub(super) rules: &'p Rules,
    /// What logs have, if any were read.
    pub(super) observed: Option<&'p Observed>,
}

/// A field with everything that is shown of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldView<'v, 'a> {
    pub(super) field: &'v Field<'a>,
    /// Path in the model: `policy.tags[].key`.
    pub(super) path: &'v str,
    /// Levels above.
    pub(super) depth: usize,
    /// Spelled paths in the record, and for each the JMESPath expression and the field of the index.
    pub(super) spelled: &'v [Spelled],
    /// Whether it is a structure inside itself, below which nothing is shown.
    pub(super) recursive: bool,
    /// Whether there are fields below.
    pub(super) has_below: bool,
    /// Whether CloudTrail may replace the value by a placeholder.
    pub(super) may_be_hidden: bool,
    /// What does not depend on the place of the field.
    pub(super) facts: &'v FieldFacts,
}

/// What is known of a field wherever it occurs.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the field")]
pub(super) struct FieldFacts {
    /// Whether a text holds JSON.
    pub(super) json_text: bool,
    /// Whether a text with JSON is logged as that JSON.
    pub(super) parsed_json: bool,
    /// Whether the value is any JSON.
    pub(super) is_document: bool,
    /// Whether the value is an object, or a list of objects, in an event.
    pub(super) is_object: bool,
    /// Whether the value itself may be hidden.
    is_secret: bool,
}

/// A path of a field in records.
#[derive(Clone, Debug)]
pub(super) struct Spelled {
    /// Path from the record: `requestParameters.policyName`.
    pub(super) path: String,
    /// The same as JMESPath, with `[]` at lists; empty unless [`Place::visit_expressions`] is used.
    pub(super) expression: String,
    /// The field of the index.
    pub(super) index: PredictedField,
}

/// What was made of fields, which occur many times in large answers: by their number.
#[derive(Debug)]
pub(super) struct FieldCache<T>(RefCell<Vec<Option<Rc<T>>>>);

impl<T> FieldCache<T> {
    pub(super) fn new() -> Self {
        Self(RefCell::default())
    }

    /// Returns what was made of a field, making it at its first occurrence.
    pub(super) fn get(&self, field: &Field<'_>, make: impl FnOnce() -> T) -> Rc<T> {
        let mut made = self.0.borrow_mut();
        if made.len() <= field.number {
            made.resize_with(field.number + 1, || None);
        }
        Rc::clone(made[field.number].get_or_insert_with(|| Rc::new(make())))
    }
}

/// Texts that hold JSON, by the end of their name in lower case. Services parse some of them.
const JSON_TEXTS: [&str; 14] = [
    "assumerolepolicydocument",
    "accesspolicies",
    "accesspolicy",
    "dashboardbody",
    "eventpattern",
    "imagemanifest",
    "keypolicy",
    "lifecyclepolicytext",
    "policy",
    "policydocument",
    "policytext",
    "resourcepolicy",
    "repositorypolicy",
    "statemachinedefinition",
];

/// Lists in lists that are looked into; only a damaged model has more.
const DEEPEST_LIST: usize = 16;

/// Words in names of values that CloudTrail hides although the model does not call them sensitive.
const HIDDEN: [&str; 4] = ["password", "secretstring", "secretbinary", "secretaccesskey"];

impl FieldView<'_, '_> {
    /// Returns how many events have the field and one value; `None` if no logs were read.
    pub(super) fn observed(&self, place: Place<'_, '_>) -> Option<Observation> {
        let observed = place.observed?;
        let seen = self.spelled.iter().filter_map(|spelled| observed.at(&spelled.path));
        let most = seen.max_by_key(|observation| observation.events);
        Some(most.unwrap_or_default())
    }
}

impl Spelled {
    /// Returns the member of the record.
    fn of_member(place: Place<'_, '_>, expression: &str) -> Self {
        let record = PredictedField::record();
        Self {
            path: place.record_member.to_owned(),
            expression: expression.to_owned(),
            index: record.child(place.rules, place.record_member, ValueKind::Object),
        }
    }

    fn empty() -> Self {
        Self { path: String::new(), expression: String::new(), index: PredictedField::record() }
    }

    /// Sets the path, the expression and the field of the index to those of a field below `above`. Memory is reused.
    fn continue_from(&mut self, above: &Self, keys: &str, end: PathEnd, rules: &Rules) {
        self.path.clone_from(&above.path);
        self.expression.clear();
        if !above.expression.is_empty() {
            self.continue_expression(&above.expression, keys, end);
        }
        self.index =
            if above.index.is_mapped { above.index.clone() } else { PredictedField::unmapped() };
        if keys.is_empty() {
            return;
        }
        let mut keys = keys.split('.').peekable();
        while let Some(key) = keys.next() {
            let is_last = keys.peek().is_none();
            let value = if is_last { end.value } else { ValueKind::Object };
            if self.index.is_mapped {
                self.index = self.index.child(rules, key, value);
            }
            self.path.push('.');
            self.path.push_str(key);
        }
    }

    fn continue_expression(&mut self, above: &str, keys: &str, end: PathEnd) {
        self.expression.push_str(above);
        if keys.is_empty() {
            if end.is_item {
                self.expression.push_str("[]");
            }
            return;
        }
        let mut keys = keys.split('.').peekable();
        while let Some(key) = keys.next() {
            self.expression.push('.');
            push_quoted(&mut self.expression, key);
            if matches!(key, "items" | "item") && (end.is_item || keys.peek().is_some()) {
                self.expression.push_str("[]");
            }
        }
    }
}

/// What the last key of a path leads to.
#[derive(Clone, Copy, Debug)]
struct PathEnd {
    /// An item of a list.
    is_item: bool,
    value: ValueKind,
}

/// What the fields below a field continue. Memory is kept from field to field.
#[derive(Debug, Default)]
struct ViewLevel {
    path: String,
    spelled: Vec<Spelled>,
    may_be_hidden: bool,
}

impl<'p, 'a> Place<'p, 'a> {
    /// Visits fields from the top down, only the field that is selected and those below it if one is. The visitor is
    /// called with `Some` for a field and with `None` behind the fields below it.
    pub(super) fn visit(
        self,
        selected: Option<&Selected>,
        visitor: &mut dyn FnMut(Option<&FieldView<'_, 'a>>) -> Next,
    ) {
        self.visit_with(Viewer::new(self, ""), selected, visitor);
    }

    /// Visits fields, as [`visit`](Self::visit), with the expressions of their paths.
    pub(super) fn visit_expressions(
        self,
        selected: Option<&Selected>,
        visitor: &mut dyn FnMut(Option<&FieldView<'_, 'a>>) -> Next,
    ) {
        self.visit_with(Viewer::new(self, self.record_member), selected, visitor);
    }

    fn visit_with(
        self,
        mut viewer: Viewer<'p, 'a>,
        selected: Option<&Selected>,
        visitor: &mut dyn FnMut(Option<&FieldView<'_, 'a>>) -> Next,
    ) {
        let mut selection = selected.map(Selection::new);
        self.fields.visit(&mut |visit| {
            let is_inside = selection.as_mut().is_none_or(|selection| selection.is_inside(visit));
            match visit {
                Visit::Field(occurrence) => {
                    let view = viewer.view(occurrence);
                    if is_inside {
                        return visitor(Some(&view));
                    }
                    let leads = selection.as_ref().is_none_or(Selection::leads);
                    if leads { Next::Below } else { Next::Behind }
                }
                Visit::End if is_inside => visitor(None),
                Visit::End => Next::Below,
            }
        });
    }

    fn facts(self, field: &Field<'a>) -> FieldFacts {
        let shape = field.shape(self.service());
        let scalar = self.scalar(field);
        let is_text = scalar == Some(ScalarType::String);
        let is_parsed = field.is_any();
        let name = field.name().to_ascii_lowercase();
        let names_json = JSON_TEXTS.iter().any(|end| name.ends_with(end));
        FieldFacts {
            json_text: is_text && !is_parsed && !field.is_added() && names_json
                || field.member().is_some_and(|member| member.flags.json_text),
            parsed_json: is_parsed && is_text,
            is_document: shape.is_some_and(|shape| shape.flags.document),
            is_object: self.is_object(field),
            is_secret: shape.is_some_and(|shape| shape.flags.sensitive)
                || scalar.is_some() && HIDDEN.iter().any(|word| name.contains(word)),
        }
    }

    /// Returns the service that the shapes belong to.
    pub(super) fn service(self) -> &'a Service {
        self.fields.service()
    }

    /// Returns whether the value of a field is an object, or a list of objects, in an event.
    fn is_object(self, field: &Field<'a>) -> bool {
        let FieldType::Shape(mut id) = field.value else { return field.value == FieldType::Object };
        let mut lists = 0;
        loop {
            match &self.service().shape(id).kind {
                // EC2's lists are objects with the key `items`.
                ShapeKind::List { .. } if lists == 0 && self.has_item_key(field) => return true,
                ShapeKind::List { item, .. } if lists < DEEPEST_LIST => id = *item,
                ShapeKind::List { .. } | ShapeKind::Scalar(_) => return false,
                ShapeKind::Structure { .. } | ShapeKind::Map { .. } => return true,
            }
            lists += 1;
        }
    }

    /// Returns whether the items of a list are below a key of their own.
    fn has_item_key(self, list: &Field<'a>) -> bool {
        let below = self.fields.below(list);
        let item = below.as_ref().and_then(|below| below.first());
        let first = item.and_then(|item| item.spellings.first());
        first.is_some_and(|spelling| !spelling.keys.is_empty())
    }

    /// Returns the type of a single value; `None` for structures, lists and maps.
    pub(super) fn scalar(self, field: &Field<'_>) -> Option<ScalarType> {
        match field.value {
            FieldType::Scalar(scalar) => Some(scalar),
            FieldType::Object => None,
            FieldType::Shape(id) => match self.service().shape(id).kind {
                ShapeKind::Scalar(scalar) => Some(scalar),
                _ => None,
            },
        }
    }

    /// Returns whether CloudTrail adds a field to those of the API.
    pub(super) fn is_added(self, field: &Field<'_>) -> bool {
        // An event that is not an API call has no fields of an API.
        field.is_added() && !self.service().operations.is_empty()
    }

    /// Returns the name of the type of a field.
    pub(super) fn type_name(self, field: &Field<'_>) -> &'static str {
        match field.shape(self.service()).map(|shape| &shape.kind) {
            Some(ShapeKind::Structure { .. }) => "structure",
            Some(ShapeKind::List { .. }) => "list",
            Some(ShapeKind::Map { .. }) => "map",
            Some(ShapeKind::Scalar(scalar)) => scalar.name(),
            None => self.scalar(field).map_or("structure", ScalarType::name),
        }
    }

    /// Returns the mapping type of a field of the index.
    pub(super) fn mapping_type(self, spelled: &Spelled, facts: FieldFacts) -> &'static str {
        if facts.is_object {
            return "object";
        }
        let mapping = self.rules.declared_mapping(&spelled.index.path);
        match mapping.and_then(|mapping| mapping["type"].as_str()) {
            Some("text") => "text",
            Some("long") => "long",
            Some("double") => "double",
            Some("date") => "date",
            Some("boolean") => "boolean",
            Some("ip") => "ip",
            _ => "keyword",
        }
    }
}

/// Makes views of fields that are visited one after another.
struct Viewer<'p, 'a> {
    place: Place<'p, 'a>,
    facts: FieldCache<FieldFacts>,
    /// The facts of the field that is shown.
    current: Rc<FieldFacts>,
    /// The member of the record, and the fields down to the one that is shown.
    levels: Vec<ViewLevel>,
}

impl<'p, 'a> Viewer<'p, 'a> {
    /// Creates a viewer. `expression` is that of the member of the record, or empty if none are needed.
    fn new(place: Place<'p, 'a>, expression: &str) -> Self {
        let member = Spelled::of_member(place, expression);
        let end = PathEnd { is_item: false, value: ValueKind::Object };
        let root = |keys: &String| {
            let mut spelled = Spelled::empty();
            spelled.continue_from(&member, keys, end, place.rules);
            spelled
        };
        let spelled = place.fields.roots().iter().map(root).collect();
        let top = ViewLevel { spelled, ..ViewLevel::default() };
        let current = FieldFacts {
            json_text: false,
            parsed_json: false,
            is_document: false,
            is_object: true,
            is_secret: false,
        };
        Self { place, facts: FieldCache::new(), current: current.into(), levels: vec![top] }
    }

    fn view<'v>(&'v mut self, occurrence: Occurrence<'v, 'a>) -> FieldView<'v, 'a> {
        let Occurrence { field, depth, recursive, has_below } = occurrence;
        self.current = self.facts.get(field, || self.place.facts(field));
        if self.levels.len() < depth + 2 {
            self.levels.resize_with(depth + 2, ViewLevel::default);
        }
        let (above, level) = self.levels.split_at_mut(depth + 1);
        let (above, level) = (&above[depth], &mut level[0]);
        level.path.clone_from(&above.path);
        field.step.append_to(&mut level.path);
        level.may_be_hidden = self.current.is_secret || above.may_be_hidden;
        let value = if self.current.is_object { ValueKind::Object } else { ValueKind::Scalar };
        let end = PathEnd { is_item: matches!(field.step, Step::Item), value };
        level.spelled.truncate(field.spellings.len());
        level.spelled.resize_with(field.spellings.len(), Spelled::empty);
        for (spelled, spelling) in level.spelled.iter_mut().zip(&field.spellings) {
            if let Some(above) = above.spelled.get(spelling.above) {
                spelled.continue_from(above, &spelling.keys, end, self.place.rules);
            }
        }
        FieldView {
            field,
            path: &level.path,
            depth,
            spelled: &level.spelled,
            recursive,
            has_below,
            may_be_hidden: level.may_be_hidden,
            facts: &self.current,
        }
    }
}

/// The field that was asked for: its names from the top down, without those of items and values.
#[derive(Clone, Debug)]
pub(super) struct Selected(Vec<String>);

impl Selected {
    /// Returns the field with these names; `None` if there are none.
    pub(super) fn new(names: &[String]) -> Option<Self> {
        let names = names.iter().map(|name| name.replace("[]", ""));
        let names: Vec<String> = names.filter(|name| !name.is_empty() && name != "*").collect();
        (!names.is_empty()).then_some(Self(names))
    }

    pub(super) fn names(&self) -> &[String] {
        &self.0
    }
}

/// How far a visit is on its way to the selected field.
struct Selection<'s> {
    names: &'s [String],
    /// For each field down to the one that is visited: how many of the names lead to it.
    matched: Vec<Option<usize>>,
}

impl<'s> Selection<'s> {
    fn new(selected: &'s Selected) -> Self {
        Self { names: &selected.0, matched: Vec::new() }
    }

    /// Returns whether a visited field is the selected one or below it.
    fn is_inside(&mut self, visit: Visit<'_, '_>) -> bool {
        let Visit::Field(Occurrence { field, .. }) = visit else {
            return self.matched.pop().flatten() == Some(self.names.len());
        };
        let above = self.matched.last().copied().unwrap_or(Some(0));
        let own = above.and_then(|count| match (&field.step, self.names.get(count)) {
            (Step::Item | Step::Value, _) | (_, None) => Some(count),
            (step, Some(name)) => step.name().eq_ignore_ascii_case(name).then_some(count + 1),
        });
        self.matched.push(own);
        own == Some(self.names.len())
    }

    /// Returns whether the selected field may be below the one that is visited.
    fn leads(&self) -> bool {
        self.matched.last().is_some_and(Option::is_some)
    }
}

/// Appends a key as JMESPath writes it: quoted unless it is an identifier.
fn push_quoted(expression: &mut String, key: &str) {
    let starts = key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let is_identifier =
        starts && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if key == "*" || is_identifier {
        expression.push_str(key);
    } else {
        expression.extend(['"']);
        expression.push_str(key);
        expression.push('"');
    }
}

/// Returns the constraints of a shape as short text: `1–128`, the pattern, the number of values.
pub(super) fn range(shape: &Shape) -> Option<String> {
    match (shape.min.as_deref(), shape.max.as_deref()) {
        (None, None) => None,
        (Some(min), None) => Some(format!("≥ {min}")),
        (None, Some(max)) => Some(format!("≤ {max}")),
        (Some(min), Some(max)) if min == max => Some(min.to_owned()),
        (Some(min), Some(max)) => Some(format!("{min}–{max}")),
    }
}

/// Returns the name of a kind, as in `mappings/README.md`.
pub(super) fn kind_name(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Object => "object",
        FieldKind::Scalar => "scalar",
        FieldKind::Map => "map",
        FieldKind::Document => "document",
    }
}
