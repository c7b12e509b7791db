//! One IAM action pattern: `s3:Get*`, `*:Delete*`, `DeleteBucket`.
//!
//! Input: a pattern, then the source and the name of events. Output: whether the event belongs to an action that matches.
//! Invariant: what the table of names adds is decided when the pattern is parsed, so matching an event costs two globs.
//! Not here: several patterns (see `filter`).

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
};

use super::{
    permissions,
    table::{ActionTable, service_of_source},
};
use crate::{
    filter::{glob::Glob, syntax::SyntaxError},
    schema::names::without_date,
};

/// A pattern for IAM actions, which finds the events that these actions lead to.
#[derive(Clone, Debug)]
pub struct ActionPattern {
    /// The pattern as it was written.
    text: String,
    service: Glob,
    name: Glob,
    /// Services whose IAM prefix matches, although their own name does not.
    services: BTreeSet<String>,
    /// Services to the names of events, in lower case, that the table of names adds.
    events: HashMap<String, HashSet<String>>,
    is_bare: bool,
}

impl ActionPattern {
    /// Parses a pattern: a service and a name with `:` between them, `*`, or a name alone for every service.
    ///
    /// # Errors
    ///
    /// Returns an error if a part is empty, or if there are more than two.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(error(text, 0, "an action is empty", Some("write 's3:Get*'".to_owned())));
        }
        let start = text.len() - text.trim_start().len();
        if let Some(place) = trimmed.find(|char: char| char.is_whitespace() || char == ',') {
            let message =
                "an action contains no blank and no comma; several actions are several arguments";
            return Err(error(text, start + place, message, Some(several_actions(trimmed))));
        }
        let Some((service, name)) = trimmed.split_once(':') else {
            return Ok(Self::without_colon(trimmed));
        };
        if service.is_empty() {
            let suggestion = (!name.is_empty()).then(|| format!("write '*:{name}'"));
            return Err(error(text, start, "the service before ':' is missing", suggestion));
        }
        let behind = start + service.len() + 1;
        if name.is_empty() {
            let suggestion = Some(format!("write '{service}:*'"));
            return Err(error(text, behind, "the action behind ':' is missing", suggestion));
        }
        if let Some(colon) = name.find(':') {
            let message = if service.eq_ignore_ascii_case("arn") {
                "this is an ARN, not an action; --resource and --principal take ARNs"
            } else {
                "an action has one ':', between service and name"
            };
            return Err(error(text, behind + colon, message, None));
        }
        Ok(Self::new(trimmed, service_of_source(service), name))
    }

    /// Returns the pattern for a text without a colon: a service if the text is an event source or an IAM prefix, or else
    /// the name of an action of any service.
    fn without_colon(text: &str) -> Self {
        let service = service_of_source(text);
        let pattern = if service.len() < text.len() || is_service(text) {
            Self::new(text, service, "*")
        } else {
            Self::new(text, "*", text)
        };
        Self { is_bare: text != "*", ..pattern }
    }

    fn new(text: &str, service: &str, name: &str) -> Self {
        let (service, name) = (Glob::new(service), Glob::new(name));
        let table = ActionTable::embedded();
        let matching = |(prefix, _): &(&str, &[String])| service.matches(prefix);
        let added = table.all_prefixes().filter(matching);
        let services = added.flat_map(|(_, services)| services.iter().cloned()).collect();
        let mut events: HashMap<String, HashSet<String>> = HashMap::new();
        for row in table.rows.iter().filter(|row| name.matches(&row.action)) {
            for own in table.services(&row.prefix) {
                if service.matches(&row.prefix) || service.matches(own) {
                    let names = events.entry(own.to_owned()).or_default();
                    names.insert(row.event.to_lowercase());
                }
            }
        }
        Self { text: text.to_owned(), service, name, services, events, is_bare: false }
    }

    /// Returns whether an event belongs to an action that matches. `source` is its `eventSource`, with or without
    /// `.amazonaws.com`; both texts are empty if the event has none.
    pub fn matches(&self, source: &str, name: &str) -> bool {
        let service = service_of_source(source);
        self.matches_service(service) && self.matches_name(name)
            || !self.events.is_empty() && self.table_adds(service, name)
    }

    fn matches_service(&self, service: &str) -> bool {
        self.service.matches(service)
            || !self.services.is_empty() && self.services.contains(&*service.to_ascii_lowercase())
    }

    fn matches_name(&self, name: &str) -> bool {
        self.name.matches(name) || without_date(name).is_some_and(|name| self.name.matches(name))
    }

    fn table_adds(&self, service: &str, name: &str) -> bool {
        let Some(events) = self.events.get(&*service.to_ascii_lowercase()) else { return false };
        let name = without_date(name).unwrap_or(name).to_ascii_lowercase();
        events.contains(&name)
    }

    /// Returns the names of the services that the pattern can lead to, or `None` if their number is not limited.
    pub(super) fn services(&self) -> Option<BTreeSet<String>> {
        let table = ActionTable::embedded();
        self.service.literal().map(|prefix| table.services(prefix).map(str::to_owned).collect())
    }

    /// Returns whether every event matches.
    pub fn matches_everything(&self) -> bool {
        self.service.matches_everything() && self.name.matches_everything()
    }

    /// Returns whether the table of names adds events whose names differ.
    pub(super) fn has_other_names(&self) -> bool {
        self.events.iter().any(|(_, names)| names.iter().any(|name| !self.name.matches(name)))
    }

    /// Returns the services that the table of names adds to the glob.
    pub(crate) fn added_services(&self) -> &BTreeSet<String> {
        &self.services
    }

    /// Returns the names of the events, in lower case, that the table of names adds for services.
    pub(crate) fn added_events(&self) -> &HashMap<String, HashSet<String>> {
        &self.events
    }

    /// Returns the glob of the service.
    pub(crate) fn service(&self) -> &Glob {
        &self.service
    }

    /// Returns the glob of the name.
    pub(crate) fn name(&self) -> &Glob {
        &self.name
    }

    /// Returns whether the pattern was written without a service or without a name.
    pub(super) fn is_bare(&self) -> bool {
        self.is_bare
    }
}

impl fmt::Display for ActionPattern {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.text)
    }
}

/// Returns how actions in one text are written as several arguments, or as one if the text is a service and a name.
fn several_actions(text: &str) -> String {
    let is_separator = |letter: char| letter.is_whitespace() || letter == ',';
    let words: Vec<&str> = text.split(is_separator).filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        [service, name] if is_service(service) && !name.contains(':') => {
            format!("write '{service}:{name}'")
        }
        words => format!("write '{}'", words.join("' '")),
    }
}

/// Returns whether a text without a colon is an IAM prefix. Unlike these, names of actions start with a capital.
pub(super) fn is_service(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_uppercase())
        && (permissions::has_prefix(text) || !ActionTable::embedded().other_events(text).is_empty())
}

fn error(text: &str, offset: usize, message: &str, suggestion: Option<String>) -> SyntaxError {
    SyntaxError { expression: text.to_owned(), offset, message: message.to_owned(), suggestion }
}
