//! An operation or event with its fields.
//!
//! Input: a question about an operation, or an event that is not an API call. Output: sections of fields, one per member of
//! the record.

use std::{borrow::Cow, io::Write};

use serde_json::{Value, json};

use super::{
    PrintError, catalog, html,
    question::{OperationQuestion, did_you_mean},
    structured::{Document, Notation},
    view::{FieldView, Place, kind_name},
};
use crate::{
    cli::failure::Failure,
    normalize::Rules,
    pipeline::observe::{Observed, ObservedCall},
    schema::{
        fields::{self, Field, Step},
        model::{Operation, Protocol, Service, Shape, ShapeKind, Side, Text},
        names, only_reads,
        records::EventFacts,
    },
};

/// An operation or event with its fields.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) service: Cow<'a, Service>,
    /// `None` for an event that is not an API call.
    pub(super) operation: Option<&'a Operation>,
    /// The name of the service, such as `iam`.
    pub(super) service_name: String,
    /// `eventSource`.
    pub(super) event_source: String,
    /// Values of `eventName`, the most common first.
    pub(super) event_names: Vec<String>,
    /// `eventType`.
    pub(super) event_type: &'static str,
    /// Description, if there is one.
    pub(super) description: Option<String>,
    /// The fields, by member of the record.
    pub(super) sections: Vec<Section<'a>>,
    /// Whether one side or field was asked for.
    pub(super) is_partial: bool,
    /// What the logs of `--observed` have.
    pub(super) observed: Option<Observed>,
}

/// The fields below one member of the record.
#[derive(Debug)]
pub(super) struct Section<'a> {
    /// `input`, `output`, or the member of the record.
    pub(super) name: &'static str,
    /// The member of the record.
    pub(super) record_member: &'static str,
    pub(super) side: Option<Side>,
    pub(super) fields: Vec<Field<'a>>,
    /// Names of the field that was asked for, from the top down; empty for all.
    pub(super) selected: Vec<String>,
    /// Whether CloudTrail logs the side.
    pub(super) is_logged: bool,
    /// Whether all fields are in a wrapper that some events lack.
    pub(super) may_lack_wrapper: bool,
}

/// Members of the record in which events that are not API calls have their fields.
const RECORD_MEMBERS: [&str; 4] =
    ["requestParameters", "responseElements", "additionalEventData", "serviceEventDetails"];

impl<'a> Answer<'a> {
    /// Returns the answer to a question about an operation.
    pub(super) fn of_operation(
        service: &'a Service,
        question: &OperationQuestion<'_>,
    ) -> Result<Self, Failure> {
        let info = &service.info;
        let operation = service.operation(&question.name).ok_or_else(|| {
            Failure::action_required(format!("{} has no operation '{}'", info.id, question.name))
        })?;
        let sides: &[Side] = match &question.side {
            Some(side) => std::slice::from_ref(side),
            None => &Side::ALL,
        };
        let section = |side: &Side| Section {
            name: side.name(),
            record_member: side.record_member(),
            side: Some(*side),
            fields: fields::fields(service, operation, *side),
            selected: question.field.clone(),
            is_logged: *side == Side::Input || !only_reads(&info.event_source, &operation.name),
            may_lack_wrapper: info.protocol == Protocol::Ec2 && !operation.predates_wrapping,
        };
        let answer = Self {
            service: Cow::Borrowed(service),
            operation: Some(operation),
            service_name: info.id.to_string(),
            event_source: info.event_source(),
            event_names: names::event_names(info, operation),
            event_type: "AwsApiCall",
            description: catalog::description(operation),
            sections: sides.iter().map(section).collect(),
            is_partial: question.side.is_some(),
            observed: None,
        };
        answer.check_selected(question)?;
        Ok(answer)
    }

    /// Returns the answer to a question about an event that is not an API call.
    pub(super) fn of_event(event: &'static EventFacts) -> Self {
        let sections = RECORD_MEMBERS.iter().filter_map(|member| {
            let below = event.fields.iter().filter_map(|(path, kind)| {
                Some((path.strip_prefix(member)?.strip_prefix('.')?, *kind))
            });
            let paths: Vec<(&str, &str)> = below.collect();
            let section = Section {
                name: member,
                record_member: member,
                side: None,
                fields: fields::known_fields(&paths),
                selected: Vec::new(),
                is_logged: true,
                may_lack_wrapper: false,
            };
            (!section.fields.is_empty()).then_some(section)
        });
        Self {
            service: Cow::Owned(Service::default()),
            operation: None,
            service_name: event.source.to_owned(),
            event_source: format!("{}.amazonaws.com", event.source),
            event_names: vec![event.name.to_owned()],
            event_type: event.event_type,
            description: Some(format!("Logged when {}.", event.summary)),
            sections: sections.collect(),
            is_partial: false,
            observed: None,
        }
    }

    /// Fails if a field was asked for that does not exist.
    fn check_selected(&self, question: &OperationQuestion<'_>) -> Result<(), Failure> {
        if question.field.is_empty() {
            return Ok(());
        }
        let Some(section) = self.sections.first() else { return Ok(()) };
        if select(&section.fields, &section.selected).is_some() {
            return Ok(());
        }
        let wanted = question.field.join(".");
        let mut known = Vec::new();
        collect_paths(&section.fields, "", &mut known);
        let last = question.field.last().map_or("", String::as_str);
        let by_path = names::similar(&wanted, known.iter().map(String::as_str));
        let same_name = known.iter().filter(|path| path.rsplit('.').next() == Some(last));
        let similar: Vec<&str> = same_name.map(String::as_str).take(3).collect();
        let similar = if similar.is_empty() { by_path } else { similar };
        let side = format!("{}.{}.{}", self.service_name, question.name, section.name);
        Err(Failure::action_required(format!("{side} has no field '{wanted}'"))
            .hint(did_you_mean(&similar, &format!("'trailload schema {side}' lists the fields"))))
    }

    /// Returns the name of the operation or event.
    pub(super) fn name(&self) -> &str {
        self.operation.map_or_else(
            || self.event_names.first().map_or("", String::as_str),
            |one| one.name.as_ref(),
        )
    }

    /// Returns the value of `eventName` that most events have.
    pub(super) fn event_name(&self) -> &str {
        self.event_names.first().map_or("", String::as_str)
    }

    /// Returns whether no single field was asked for.
    pub(super) fn is_whole(&self) -> bool {
        self.sections.iter().all(|section| section.selected.is_empty())
    }

    /// Returns the events that the answer is about.
    pub(super) fn call(&self) -> ObservedCall {
        // Events that were logged under the name of the API are meant too.
        let mut event_names = self.event_names.clone();
        if !event_names.iter().any(|name| name == self.name()) {
            event_names.push(self.name().to_owned());
        }
        ObservedCall {
            event_source: self.event_source.clone(),
            event_names,
            members: self.sections.iter().map(|section| section.record_member).collect(),
        }
    }

    /// Returns what a reader should know about the answer as a whole.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let name = format!("{}.{}", self.service_name, self.name());
        for section in &self.sections {
            if section.side.is_some_and(|side| {
                self.operation.is_some_and(|operation| side.of(operation).is_none())
            }) && self.is_partial
            {
                notes.push(format!("{name} has no {}", section.name));
            } else if !section.is_logged && self.is_partial {
                notes.push(format!(
                    "{name} only reads, so CloudTrail logs no responseElements for it"
                ));
            }
        }
        if self.operation.is_some_and(|operation| operation.deprecated) {
            notes.push(format!("AWS advises against {name}"));
        }
        notes
    }

    /// Visits the fields of a section, or the one that was asked for.
    pub(super) fn visit(
        &'a self,
        section: &'a Section<'a>,
        rules: &'a Rules,
        visitor: &mut dyn FnMut(Place<'_>, Option<&FieldView<'_>>),
    ) {
        let place = self.place(section, rules);
        if section.selected.is_empty() {
            return place.visit(&section.fields, &mut |view| visitor(place, view));
        }
        let wanted = section.selected.join(".");
        let mut inside = 0;
        place.visit(&section.fields, &mut |view| match view {
            Some(view) if inside > 0 || same_field(&view.path, &wanted) => {
                inside += 1;
                visitor(place, Some(view));
            }
            None if inside > 0 => {
                inside -= 1;
                visitor(place, None);
            }
            _ => {}
        });
    }

    pub(super) fn place<'p>(&'p self, section: &'p Section<'_>, rules: &'p Rules) -> Place<'p> {
        let observed = self.observed.as_ref();
        Place { service: &self.service, record_member: section.record_member, rules, observed }
    }

    /// Prints the answer as JSON or YAML. A single side has its fields at the top.
    pub(super) fn print_structured(
        &self,
        rules: &Rules,
        notation: Notation,
        out: &mut dyn Write,
    ) -> Result<(), PrintError> {
        let mut document = Document::new(out, notation)?;
        if let (true, [section]) = (self.is_partial, self.sections.as_slice()) {
            self.write_section(section, rules, &mut document)?;
            return Ok(document.finish()?);
        }
        document.value("service", &json!(self.service_name))?;
        document.value("operation", &json!(self.name()))?;
        document.value("event_source", &json!(self.event_source))?;
        document.value("event_names", &json!(self.event_names))?;
        document.value("event_type", &json!(self.event_type))?;
        if let Some(observed) = &self.observed {
            document.value("observed_events", &json!(observed.events))?;
        }
        if let Some(description) = &self.description {
            document.value("documentation", &json!(description))?;
        }
        for section in &self.sections {
            document.open(section.name)?;
            self.write_section(section, rules, &mut document)?;
            document.close()?;
        }
        Ok(document.finish()?)
    }

    fn write_section(
        &self,
        section: &Section<'_>,
        rules: &Rules,
        document: &mut Document<'_>,
    ) -> Result<(), PrintError> {
        let mut levels: Vec<Level> = Vec::new();
        let mut result = Ok(());
        self.visit(section, rules, &mut |place, view| {
            if result.is_ok() {
                result = match view {
                    Some(view) => write_field(place, view, &mut levels, document),
                    None => close_field(&mut levels, document),
                };
            }
        });
        Ok(result?)
    }
}

/// The field of the index that holds what has no field of its own.
const UNMAPPED: &str = "trailload.unmapped";

/// An open field in a document.
struct Level {
    /// Whether `members` was opened.
    has_members: bool,
}

fn write_field(
    place: Place<'_>,
    view: &FieldView<'_>,
    levels: &mut Vec<Level>,
    document: &mut Document<'_>,
) -> std::io::Result<()> {
    let name = view.field.name();
    match (&view.field.step, levels.last_mut()) {
        (Step::Item, Some(_)) => document.open("member")?,
        (Step::Value, Some(_)) => document.open("value")?,
        (_, Some(level)) => {
            if !std::mem::replace(&mut level.has_members, true) {
                document.open("members")?;
            }
            document.open(&name)?;
        }
        (_, None) => document.open(&name)?,
    }
    levels.push(Level { has_members: false });
    for (key, value) in facts(place, view) {
        document.value(key, &value)?;
    }
    Ok(())
}

fn close_field(levels: &mut Vec<Level>, document: &mut Document<'_>) -> std::io::Result<()> {
    if levels.pop().is_some_and(|level| level.has_members) {
        document.close()?;
    }
    document.close()
}

/// Returns the members of a field in a document, but for the fields below.
fn facts(place: Place<'_>, view: &FieldView<'_>) -> Vec<(&'static str, Value)> {
    let field = view.field;
    let mut facts = vec![("type", json!(place.type_name(field)))];
    if let Some(shape) = field.shape(place.service) {
        add_constraints(shape, &mut facts);
    }
    match &field.step {
        Step::Member(member) => facts.push(("required", json!(member.flags.required))),
        Step::Added(_) | Step::Subresource(_) if place.is_added(field) => {
            facts.push(("added_by_cloudtrail", json!(true)));
        }
        _ => {}
    }
    let flags = [
        ("recursive", field.recursive),
        ("may_be_hidden", view.may_be_hidden),
        ("json_as_text", view.json_text),
        ("parsed_json", view.parsed_json),
        ("deprecated", field.member().is_some_and(|member| member.flags.deprecated)),
    ];
    facts.extend(flags.iter().filter(|(_, set)| *set).map(|(name, _)| (*name, json!(true))));
    let paths: Vec<&str> = view.spelled.iter().map(|spelled| spelled.path.as_str()).collect();
    if !paths.is_empty() {
        facts.push(("cloudtrail", json!(paths)));
        let fields = view.spelled.iter().map(|spelled| {
            if !spelled.index.is_mapped {
                return json!({ "field": UNMAPPED, "mapped": false });
            }
            let kind = spelled.index.kind.map(kind_name);
            json!({
                "field": spelled.index.path,
                "kind": kind,
                "type": place.mapping_type(spelled, field),
                "mapped": true,
            })
        });
        facts.push(("index", fields.collect()));
    }
    if let Some(observed) = view.observed(place) {
        facts.push(("observed", json!({ "events": observed.events, "example": observed.example })));
    }
    if let Some(text) = field.member().and_then(|member| member.documentation.as_deref()) {
        facts.push(("documentation", json!(html::to_text(text))));
    }
    if let Some(Shape { kind: ShapeKind::Map { key, .. }, .. }) = field.shape(place.service) {
        let mut of_key = vec![("type", json!("string"))];
        add_constraints(place.service.shape(*key), &mut of_key);
        let of_key = of_key.into_iter().map(|(name, value)| (name.to_owned(), value));
        facts.push(("key", Value::Object(of_key.collect())));
    }
    facts
}

fn add_constraints(shape: &Shape, facts: &mut Vec<(&'static str, Value)>) {
    let number = |text: &Text| serde_json::from_str(text).unwrap_or_else(|_| json!(text));
    facts.extend(shape.min.as_ref().map(|min| ("min", number(min))));
    facts.extend(shape.max.as_ref().map(|max| ("max", number(max))));
    facts.extend(shape.pattern.as_ref().map(|pattern| ("pattern", json!(pattern))));
    if !shape.enumeration.is_empty() {
        facts.push(("enum", json!(shape.enumeration)));
    }
}

/// Finds a field by its names. `[]` and `*` may be left out.
fn select<'f, 'a>(fields: &'f [Field<'a>], names: &[String]) -> Option<&'f Field<'a>> {
    let mut known = Vec::new();
    collect(fields, "", &mut known);
    let wanted = names.join(".");
    known.into_iter().find(|(path, _)| same_field(path, &wanted)).map(|(_, field)| field)
}

/// Returns whether a path of the model is meant by a question.
fn same_field(path: &str, wanted: &str) -> bool {
    path.eq_ignore_ascii_case(wanted) || plain(path).eq_ignore_ascii_case(&plain(wanted))
}

/// Returns a path without the signs for items and values.
fn plain(path: &str) -> String {
    path.replace("[]", "").replace(".*", "")
}

fn collect<'f, 'a>(fields: &'f [Field<'a>], above: &str, known: &mut Vec<(String, &'f Field<'a>)>) {
    for field in fields {
        let name = field.name();
        let path = match field.step {
            Step::Item => format!("{above}[]"),
            _ if above.is_empty() => name.into_owned(),
            _ => format!("{above}.{name}"),
        };
        known.push((path.clone(), field));
        collect(&field.children, &path, known);
    }
}

fn collect_paths(fields: &[Field<'_>], above: &str, paths: &mut Vec<String>) {
    let mut known = Vec::new();
    collect(fields, above, &mut known);
    paths.extend(known.into_iter().map(|(path, _)| path));
}
