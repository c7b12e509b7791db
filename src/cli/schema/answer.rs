//! An operation or event with its fields.
//!
//! Input: a question about an operation, or an event that is not an API call. Output: sections of fields, one per member of
//! the record.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{
    PrintError, catalog, html,
    question::{OperationQuestion, did_you_mean},
    structured::{Document, Layout, Notation, json_text, push_json_text},
    view::{FieldCache, FieldView, Place, Selected, Spelled, kind_name},
};
use crate::{
    cli::failure::Failure,
    normalize::Rules,
    pipeline::observe::{Observed, ObservedCall},
    schema::{
        fields::{Fields, Next, Step, Visit},
        model::{Operation, Protocol, Service, ServiceInfo, Shape, ShapeKind, Side, Text},
        names, only_reads,
        records::EventFacts,
        spelling::Offer,
    },
};

/// An operation or event with its fields.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    /// The service of the operation; `None` for an event that is not an API call.
    pub(super) info: Option<&'a ServiceInfo>,
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
    pub(super) fields: Fields<'a>,
    /// The field that was asked for; `None` for all.
    pub(super) selected: Option<Selected>,
    /// Whether CloudTrail logs the side.
    pub(super) is_logged: bool,
    /// Whether all fields are in a wrapper that some events lack.
    pub(super) may_lack_wrapper: bool,
}

/// Members of the record in which events that are not API calls have their fields.
const RECORD_MEMBERS: [&str; 5] = [
    "requestParameters",
    "responseElements",
    "additionalEventData",
    "serviceEventDetails",
    "insightDetails",
];

impl<'a> Answer<'a> {
    /// Returns the answer to a question about an operation.
    pub(super) fn of_operation(
        service: &'a Service,
        question: &OperationQuestion<'_>,
        rules: &Rules,
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
            fields: Fields::new(service, operation, *side, Offer::Likely),
            selected: Selected::new(&question.field),
            is_logged: *side == Side::Input || !only_reads(&info.event_source, &operation.name),
            may_lack_wrapper: info.protocol == Protocol::Ec2 && !operation.predates_wrapping,
        };
        let mut answer = Self {
            info: Some(info),
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
        answer.check_selected(question, rules)?;
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
                fields: Fields::known(&paths),
                selected: None,
                is_logged: true,
                may_lack_wrapper: false,
            };
            (!section.fields.is_empty()).then_some(section)
        });
        Self {
            info: None,
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

    /// Fails if a field was asked for that does not exist. A path as in events is accepted, too.
    fn check_selected(
        &mut self,
        question: &OperationQuestion<'_>,
        rules: &Rules,
    ) -> Result<(), Failure> {
        let Some(section) = self.sections.first() else { return Ok(()) };
        let Some(selected) = &section.selected else { return Ok(()) };
        let similar = match closest_fields(&section.fields, selected.names()) {
            Closest::Same => return Ok(()),
            Closest::Similar(similar) => similar,
        };
        let path = format!("{}.{}", section.record_member, selected.names().join("."));
        if let Some(found) = field_at(self.place(section, rules), &path) {
            self.sections[0].selected = Some(found);
            return Ok(());
        }
        let section = &self.sections[0];
        let wanted = question.field.join(".");
        let similar: Vec<&str> = similar.iter().map(String::as_str).collect();
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
        self.sections.iter().all(|section| section.selected.is_none())
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

    /// Visits the fields of a section, or the one that was asked for and those below it.
    pub(super) fn visit(
        &self,
        section: &Section<'a>,
        rules: &Rules,
        visitor: &mut dyn FnMut(Place<'_, 'a>, Option<&FieldView<'_, 'a>>) -> Next,
    ) {
        let place = self.place(section, rules);
        place.visit(section.selected.as_ref(), &mut |view| visitor(place, view));
    }

    pub(super) fn place<'p>(&'p self, section: &'p Section<'a>, rules: &'p Rules) -> Place<'p, 'a> {
        let observed = self.observed.as_ref();
        let Section { fields, record_member, .. } = section;
        Place { fields, record_member, rules, observed }
    }

    /// Prints the answer as JSON or YAML. A single side has its fields at the top.
    pub(super) fn print_structured(
        &self,
        rules: &Rules,
        notation: Notation,
        out: &mut dyn Write,
    ) -> Result<(), PrintError> {
        let mut document = Document::new(out, notation);
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
            document.open(section.name, Layout::Block)?;
            self.write_section(section, rules, &mut document)?;
            document.close()?;
        }
        Ok(document.finish()?)
    }

    fn write_section(
        &self,
        section: &Section<'a>,
        rules: &Rules,
        document: &mut Document<'_>,
    ) -> Result<(), PrintError> {
        let mut writer = FieldWriter {
            document,
            levels: Vec::new(),
            facts: FieldCache::new(),
            buffers: Default::default(),
        };
        let mut result = Ok(());
        self.visit(section, rules, &mut |place, view| {
            result = match view {
                Some(view) => writer.open(place, view),
                None => writer.close(),
            };
            if result.is_ok() { Next::Below } else { Next::Stop }
        });
        Ok(result?)
    }
}

/// Members of a document, each as JSON.
type JsonMembers = Vec<(&'static str, String)>;

/// Writer of nested fields.
struct FieldWriter<'d, 'w> {
    document: &'d mut Document<'w>,
    /// For each open field, whether `members` was opened.
    levels: Vec<bool>,
    /// What does not depend on where a field is.
    facts: FieldCache<(String, JsonMembers)>,
    /// Texts whose memory is reused: paths, and fields of the index.
    buffers: (String, String),
}

impl FieldWriter<'_, '_> {
    fn open(&mut self, place: Place<'_, '_>, view: &FieldView<'_, '_>) -> io::Result<()> {
        let facts = self.facts.get(view.field, || (view.field.name().into(), facts(place, view)));
        let (name, facts) = &*facts;
        let layout = if view.has_below { Layout::Block } else { Layout::Line };
        match (&view.field.step, self.levels.last_mut()) {
            (Step::Item, Some(_)) => self.document.open("member", layout)?,
            (Step::Value, Some(_)) => self.document.open("value", layout)?,
            (_, Some(has_members)) => {
                if !std::mem::replace(has_members, true) {
                    self.document.open("members", Layout::Block)?;
                }
                self.document.open(name, layout)?;
            }
            (_, None) => self.document.open(name, layout)?,
        }
        self.levels.push(false);
        for (key, value) in facts {
            self.document.fact(key, value)?;
        }
        for (key, is_set) in [("recursive", view.recursive), ("may_be_hidden", view.may_be_hidden)]
        {
            if is_set {
                self.document.fact(key, "true")?;
            }
        }
        self.paths(place, view)?;
        if let Some(observed) = view.observed(place) {
            let observed = json!({ "events": observed.events, "example": observed.example });
            self.document.value("observed", &observed)?;
        }
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        if self.levels.pop().unwrap_or_default() {
            self.document.close()?;
        }
        self.document.close()
    }

    /// Writes the paths in events, and the fields of the index.
    fn paths(&mut self, place: Place<'_, '_>, view: &FieldView<'_, '_>) -> io::Result<()> {
        if view.spelled.is_empty() {
            return Ok(());
        }
        let Self { document, buffers: (paths, fields), .. } = self;
        paths.clear();
        fields.clear();
        paths.push('[');
        fields.push('[');
        for (number, spelled) in view.spelled.iter().enumerate() {
            if number > 0 {
                paths.push_str(", ");
                fields.push_str(", ");
            }
            push_json_text(paths, &spelled.path);
            if spelled.index.is_mapped {
                fields.push_str("{\"field\": ");
                push_json_text(fields, &spelled.index.path);
                let mapping = place.mapping_type(spelled, *view.facts);
                let kind = spelled.index.kind.map(kind_name);
                fields.push_str(", \"kind\": ");
                match kind {
                    Some(kind) => push_json_text(fields, kind),
                    None => fields.push_str("null"),
                }
                fields.push_str(", \"type\": ");
                push_json_text(fields, mapping);
                fields.push_str(", \"mapped\": true}");
            } else {
                fields.push_str(UNMAPPED_FIELD);
            }
        }
        paths.push(']');
        fields.push(']');
        document.fact("cloudtrail", paths)?;
        document.fact("index", fields)
    }
}

/// How a value that has no field of its own is shown.
const UNMAPPED_FIELD: &str = r#"{"field": "trailload.unmapped", "mapped": false}"#;

/// Returns what a document has of a field wherever it is.
fn facts(place: Place<'_, '_>, view: &FieldView<'_, '_>) -> JsonMembers {
    let field = view.field;
    let mut facts = vec![("type", json!(place.type_name(field)))];
    let shape = field.shape(place.service());
    if let Some(shape) = shape {
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
        ("json_as_text", view.facts.json_text),
        ("parsed_json", view.facts.parsed_json),
        ("deprecated", field.member().is_some_and(|member| member.flags.deprecated)),
    ];
    facts.extend(flags.iter().filter(|(_, set)| *set).map(|(name, _)| (*name, json!(true))));
    if let Some(text) = field.member().and_then(|member| member.documentation.as_deref()) {
        facts.push(("documentation", json!(html::to_text(text))));
    }
    if let Some(Shape { kind: ShapeKind::Map { key, .. }, .. }) = shape {
        let mut of_key = vec![("type", json!("string"))];
        add_constraints(place.service().shape(*key), &mut of_key);
        let of_key = of_key.into_iter().map(|(name, value)| (name.to_owned(), value));
        facts.push(("key", Value::Object(of_key.collect())));
    }
    facts.iter().map(|(name, value)| (*name, json_text(value))).collect()
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

/// Returns the field that has a path in events.
fn field_at(place: Place<'_, '_>, path: &str) -> Option<Selected> {
    let mut found = None;
    place.visit(None, &mut |view| {
        let has_path = |spelled: &Spelled| spelled.path.eq_ignore_ascii_case(path);
        match view {
            Some(view) if view.spelled.iter().any(has_path) => {
                let names: Vec<String> = view.path.split('.').map(str::to_owned).collect();
                found = Selected::new(&names);
                Next::Stop
            }
            _ => Next::Below,
        }
    });
    found
}

/// The fields that are closest to one that was asked for.
enum Closest {
    /// It exists.
    Same,
    /// Paths of similar fields, the most similar first.
    Similar(Vec<String>),
}

/// Fields that are named in a hint.
const MOST_SIMILAR: usize = 3;

/// Looks for a field by its names, without those of items and values.
fn closest_fields(fields: &Fields<'_>, names: &[String]) -> Closest {
    let last = names.last().map_or("", String::as_str);
    // For each field down to the one that is visited: its path, and how many of the names lead to it.
    let mut open: Vec<(String, Option<usize>)> = Vec::new();
    let mut most = 0;
    let mut beside: Vec<(usize, String)> = Vec::new();
    let mut same_name = Vec::new();
    fields.visit(&mut |visit| {
        let Visit::Field(occurrence) = visit else {
            open.pop();
            return if most == names.len() { Next::Stop } else { Next::Below };
        };
        let (above, matched) =
            open.last().map_or(("", Some(0)), |(path, matched)| (path, *matched));
        let step = &occurrence.field.step;
        if matches!(step, Step::Item | Step::Value) {
            let at = (above.to_owned(), matched);
            open.push(at);
            return Next::Below;
        }
        let name = step.name();
        let path = if above.is_empty() { name.to_string() } else { format!("{above}.{name}") };
        let own = matched.filter(|count| name.eq_ignore_ascii_case(&names[*count]));
        if name.eq_ignore_ascii_case(last) && same_name.len() < MOST_SIMILAR {
            same_name.push(path.clone());
        }
        beside.extend(matched.map(|count| (count, path.clone())));
        let own = own.map(|count| count + 1);
        most = most.max(own.unwrap_or(0));
        open.push((path, own));
        if most == names.len() { Next::Stop } else { Next::Below }
    });
    if most == names.len() {
        return Closest::Same;
    }
    if !same_name.is_empty() {
        return Closest::Similar(same_name);
    }
    let wanted = names.join(".");
    let candidates = beside.iter().filter(|(count, _)| *count == most);
    let similar = names::similar(&wanted, candidates.map(|(_, path)| path.as_str()));
    Closest::Similar(similar.into_iter().map(str::to_owned).collect())
}
