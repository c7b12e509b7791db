//! What is shown of a field, in every format.
//!
//! Input: the fields of a side, and the rules of the index. Output: one [`FieldView`] per field, from the top down.
//! Invariant: the fields of an operation are visited one after another; no format holds them all.

use crate::{
    normalize::{FieldKind, PredictedField, Rules, ValueKind},
    pipeline::observe::{Observation, Observed},
    schema::{
        fields::{Field, FieldType, Step},
        model::{ScalarType, Service, Shape, ShapeKind},
        spelling::Spelling,
    },
};

/// Where fields are: the service that their shapes belong to, and the member of the record that holds them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) service: &'a Service,
    /// `requestParameters`, `responseElements` or another member.
    pub(super) record_member: &'a str,
    pub(super) rules: &'a Rules,
    /// What logs have, if any were read.
    pub(super) observed: Option<&'a Observed>,
}

/// A field with everything that is shown of it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the field")]
pub(super) struct FieldView<'a> {
    pub(super) field: &'a Field<'a>,
    /// Path in the model: `policy.tags[].key`.
    pub(super) path: String,
    /// Levels above.
    pub(super) depth: usize,
    /// Spelled paths in the record, and for each the JMESPath expression and the field of the index.
    pub(super) spelled: Vec<Spelled>,
    /// Whether a text holds JSON.
    pub(super) json_text: bool,
    /// Whether a text with JSON is logged as that JSON.
    pub(super) parsed_json: bool,
    /// Whether the value is any JSON.
    pub(super) is_document: bool,
    /// Whether CloudTrail may replace the value by a placeholder.
    pub(super) may_be_hidden: bool,
}

/// A path of a field in records.
#[derive(Clone, Debug)]
pub(super) struct Spelled {
    /// Path from the record: `requestParameters.policyName`.
    pub(super) path: String,
    /// The same as JMESPath, with `[]` at lists.
    pub(super) expression: String,
    /// The field of the index.
    pub(super) index: PredictedField,
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

/// Words in names of values that CloudTrail hides although the model does not call them sensitive.
const HIDDEN: [&str; 4] = ["password", "secretstring", "secretbinary", "secretaccesskey"];

impl FieldView<'_> {
    /// Returns how many events have the field and one value; `None` if no logs were read.
    pub(super) fn observed(&self, place: Place<'_>) -> Option<Observation> {
        let observed = place.observed?;
        let seen = self.spelled.iter().filter_map(|spelled| observed.at(&spelled.path));
        let most = seen.max_by_key(|observation| observation.events);
        Some(most.unwrap_or_default())
    }
}

impl<'a> Place<'a> {
    /// Visits fields from the top down. The visitor is called with `Some` for a field and with `None` behind the fields
    /// below it.
    pub(super) fn visit(
        self,
        fields: &'a [Field<'a>],
        visitor: &mut dyn FnMut(Option<&FieldView<'a>>),
    ) {
        let index =
            PredictedField::record().child(self.rules, self.record_member, ValueKind::Object);
        let top = Spelled {
            path: self.record_member.to_owned(),
            expression: self.record_member.to_owned(),
            index,
        };
        let above = Above {
            path: String::new(),
            depth: 0,
            spelled: vec![top],
            lists: vec![String::new()],
            hidden: false,
        };
        for field in fields {
            self.visit_field(field, &above, visitor);
        }
    }

    fn visit_field(
        self,
        field: &'a Field<'a>,
        above: &Above,
        visitor: &mut dyn FnMut(Option<&FieldView<'a>>),
    ) {
        let view = self.view(field, above);
        visitor(Some(&view));
        let below = Above {
            path: view.path.clone(),
            depth: view.depth + 1,
            lists: field.spellings.iter().map(|spelling| spelling.path.clone()).collect(),
            hidden: view.may_be_hidden,
            spelled: view.spelled,
        };
        for child in &field.children {
            self.visit_field(child, &below, visitor);
        }
        visitor(None);
    }

    fn view(self, field: &'a Field<'a>, above: &Above) -> FieldView<'a> {
        let shape = field.shape(self.service);
        let name = field.name();
        let path = match field.step {
            Step::Item => format!("{}[]", above.path),
            _ if above.path.is_empty() => name.clone().into_owned(),
            _ => format!("{}.{name}", above.path),
        };
        let lower = name.to_ascii_lowercase();
        let is_text = self.scalar(field) == Some(ScalarType::String);
        let is_parsed = field.spellings.iter().any(Spelling::is_any);
        let is_added = field.is_added();
        let json_text =
            is_text && !is_parsed && !is_added && JSON_TEXTS.iter().any(|end| lower.ends_with(end))
                || field.member().is_some_and(|member| member.flags.json_text);
        let is_sensitive = shape.is_some_and(|shape| shape.flags.sensitive);
        let is_scalar = self.scalar(field).is_some();
        let may_be_hidden = is_sensitive
            || above.hidden
            || is_scalar && HIDDEN.iter().any(|word| lower.contains(word));
        let spelled = field.spellings.iter().map(|spelling| self.spell(field, spelling, above));
        FieldView {
            field,
            path,
            depth: above.depth,
            spelled: spelled.collect(),
            json_text,
            parsed_json: is_parsed && is_text,
            is_document: shape.is_some_and(|shape| shape.flags.document),
            may_be_hidden,
        }
    }

    /// Continues the path, the expression and the field of the index that the field above has.
    fn spell(self, field: &Field<'_>, spelling: &Spelling, above: &Above) -> Spelled {
        let is_above = |path: &String| {
            spelling
                .path
                .strip_prefix(path.as_str())
                .is_some_and(|rest| path.is_empty() || rest.is_empty() || rest.starts_with('.'))
        };
        let number = above.lists.iter().rposition(is_above).unwrap_or(0);
        let Some(parent) = above.spelled.get(number) else {
            return Spelled {
                path: spelling.path.clone(),
                expression: spelling.path.clone(),
                index: PredictedField::record(),
            };
        };
        let rest = spelling.path[above.lists[number].len()..].trim_start_matches('.');
        let mut spelled = parent.clone();
        let is_item = matches!(field.step, Step::Item);
        if rest.is_empty() {
            if is_item {
                spelled.expression.push_str("[]");
            }
            return spelled;
        }
        let value = if self.is_object(field) { ValueKind::Object } else { ValueKind::Scalar };
        let mut keys = rest.split('.').peekable();
        while let Some(key) = keys.next() {
            let value = if keys.peek().is_some() { ValueKind::Object } else { value };
            spelled.index = spelled.index.child(self.rules, key, value);
            spelled.path.push('.');
            spelled.path.push_str(key);
            spelled.expression.push('.');
            spelled.expression.push_str(&quoted(key));
            if matches!(key, "items" | "item") && (is_item || keys.peek().is_some()) {
                spelled.expression.push_str("[]");
            }
        }
        spelled
    }

    /// Returns whether the value of a field is an object, or a list of objects, in an event.
    fn is_object(self, field: &Field<'_>) -> bool {
        let FieldType::Shape(mut id) = field.value else { return field.value == FieldType::Object };
        let items = field.children.first();
        loop {
            match &self.service.shape(id).kind {
                ShapeKind::List { item, .. } => {
                    // EC2's lists are objects with the key `items`.
                    if items.is_some_and(|item| {
                        item.spellings.first().map(|at| &at.path)
                            != field.spellings.first().map(|at| &at.path)
                    }) {
                        return true;
                    }
                    id = *item;
                }
                ShapeKind::Scalar(_) => return false,
                ShapeKind::Structure { .. } | ShapeKind::Map { .. } => return true,
            }
        }
    }

    /// Returns the type of a single value; `None` for structures, lists and maps.
    pub(super) fn scalar(self, field: &Field<'_>) -> Option<ScalarType> {
        match field.value {
            FieldType::Scalar(scalar) => Some(scalar),
            FieldType::Object => None,
            FieldType::Shape(id) => match self.service.shape(id).kind {
                ShapeKind::Scalar(scalar) => Some(scalar),
                _ => None,
            },
        }
    }

    /// Returns whether CloudTrail adds a field to those of the API.
    pub(super) fn is_added(self, field: &Field<'_>) -> bool {
        // An event that is not an API call has no fields of an API.
        field.is_added() && !self.service.operations.is_empty()
    }

    /// Returns the name of the type of a field.
    pub(super) fn type_name(self, field: &Field<'_>) -> &'static str {
        match field.shape(self.service).map(|shape| &shape.kind) {
            Some(ShapeKind::Structure { .. }) => "structure",
            Some(ShapeKind::List { .. }) => "list",
            Some(ShapeKind::Map { .. }) => "map",
            Some(ShapeKind::Scalar(scalar)) => scalar.name(),
            None => self.scalar(field).map_or("structure", ScalarType::name),
        }
    }

    /// Returns the mapping type of a field of the index.
    pub(super) fn mapping_type(self, spelled: &Spelled, field: &Field<'_>) -> &'static str {
        if self.is_object(field) {
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

/// What the fields below a field continue.
struct Above {
    path: String,
    depth: usize,
    spelled: Vec<Spelled>,
    /// The paths of `spelled` below the member of the record.
    lists: Vec<String>,
    hidden: bool,
}

/// Returns a key as JMESPath writes it: quoted unless it is an identifier.
fn quoted(key: &str) -> String {
    let mut chars = key.chars();
    let starts = chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    if key == "*" || starts && chars.all(|char| char.is_ascii_alphanumeric() || char == '_') {
        key.to_owned()
    } else {
        format!("\"{key}\"")
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
