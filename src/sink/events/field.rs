//! Fields of an event by name: dotted paths, and values that are computed from several members.
//!
//! Input: `--fields` and `--count-by`, and events. Output: values, as text or JSON.
//! Invariant: a field that an event does not have is empty; no event makes it fail.

use std::{borrow::Cow, fmt, str::FromStr};

use serde_json::{Map, Value};
use thiserror::Error;

use crate::filter::principal::short_principal;

/// The largest number of fields in a list; more columns than any event has at its top level would be a mistake.
const MAX_FIELDS: usize = 100;

/// A list of fields, as `--fields` and `--count-by` take it: `eventName,userIdentity.arn,resources.0.ARN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldList(Vec<Field>);

/// A field of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    name: String,
    access: FieldAccess,
}

/// How the value of a field is found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum FieldAccess {
    Computed(ComputedField),
    Path(Vec<String>),
}

/// A value that is computed from several members of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComputedField {
    /// `eventTime`.
    Time,
    /// The account that the event was delivered to, else that of the caller.
    Account,
    /// `awsRegion`.
    Region,
    /// The short form of the caller, such as `role/Admin/alice@example.com`.
    Principal,
    /// Service and event name, such as `s3:GetObject`.
    Action,
    /// The service, such as `s3`.
    Service,
    /// What was called: the ARN of the first resource, else a name in the request.
    Resource,
    /// The error code; empty if the call succeeded.
    Error,
    /// The address that the call came from, or the service that made it.
    Ip,
}

/// A list of fields that is not valid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FieldListError {
    /// A name is empty, such as between two commas.
    #[error("expected a field such as eventName, userIdentity.arn or resources.0.ARN")]
    Empty,
    /// A field occurs twice, which an object in JSON cannot hold.
    #[error("'{0}' is given twice")]
    Twice(String),
    /// A bracket of a path is not closed.
    #[error("'{0}' has a bracket without an end")]
    Bracket(String),
    /// There are more fields than allowed.
    #[error("expected at most {MAX_FIELDS} fields")]
    TooMany,
}

impl FieldList {
    /// Returns the fields.
    pub fn iter(&self) -> std::slice::Iter<'_, Field> {
        self.0.iter()
    }

    /// Returns the number of fields, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a list of fields is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the list with these computed fields and paths; for the default columns.
    pub(super) fn of(fields: &[&str]) -> Self {
        Self(fields.iter().filter_map(|field| field.parse().ok()).collect())
    }
}

impl<'a> IntoIterator for &'a FieldList {
    type Item = &'a Field;
    type IntoIter = std::slice::Iter<'a, Field>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromStr for FieldList {
    type Err = FieldListError;

    fn from_str(text: &str) -> Result<Self, FieldListError> {
        let fields: Vec<Field> =
            split_outside_brackets(text).map(str::parse).collect::<Result<_, _>>()?;
        if fields.len() > MAX_FIELDS {
            return Err(FieldListError::TooMany);
        }
        let repeated = fields.iter().enumerate().find(|(at, field)| fields[..*at].contains(field));
        match repeated {
            Some((_, field)) => Err(FieldListError::Twice(field.name.clone())),
            None => Ok(Self(fields)),
        }
    }
}

impl fmt::Display for FieldList {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, field) in self.0.iter().enumerate() {
            write!(to, "{}{}", if at > 0 { "," } else { "" }, field.name)?;
        }
        Ok(())
    }
}

/// Splits a list at its commas, except those within brackets.
fn split_outside_brackets(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    text.split(move |letter| {
        match letter {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    })
}

impl FromStr for Field {
    type Err = FieldListError;

    fn from_str(text: &str) -> Result<Self, FieldListError> {
        let name = text.trim();
        let access = match ComputedField::from_name(name) {
            Some(computed) => FieldAccess::Computed(computed),
            None => FieldAccess::Path(path_segments(name)?),
        };
        Ok(Self { name: name.to_owned(), access })
    }
}

/// Returns the segments of a path. A leading `$.` and brackets are accepted, because `--match` has them.
fn path_segments(path: &str) -> Result<Vec<String>, FieldListError> {
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    rest = rest.strip_prefix('.').unwrap_or(rest);
    let mut segments = Vec::new();
    while !rest.is_empty() {
        let segment;
        if let Some(inside) = rest.strip_prefix('[') {
            let Some((text, behind)) = split_bracket(inside) else {
                return Err(FieldListError::Bracket(path.to_owned()));
            };
            (segment, rest) = (text, behind);
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            (segment, rest) = rest.split_at(end);
        }
        if segment.is_empty() || rest == "." {
            return Err(FieldListError::Empty);
        }
        segments.push(segment.to_owned());
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    if segments.is_empty() { Err(FieldListError::Empty) } else { Ok(segments) }
}

/// Splits the text behind an opening bracket into its content, without quotes, and what follows the closing bracket.
fn split_bracket(inside: &str) -> Option<(&str, &str)> {
    match inside.chars().next()? {
        quote @ ('\'' | '"') => {
            let (text, behind) = inside[1..].split_once(quote)?;
            Some((text, behind.strip_prefix(']')?))
        }
        _ => inside.split_once(']'),
    }
}

impl Field {
    /// Returns a computed field.
    pub(super) fn of_computed(computed: ComputedField) -> Self {
        Self { name: computed.name().to_owned(), access: FieldAccess::Computed(computed) }
    }

    /// Returns the field as the user wrote it; the name of its column.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the computed field, if it is one.
    pub(crate) fn computed(&self) -> Option<ComputedField> {
        match self.access {
            FieldAccess::Computed(computed) => Some(computed),
            FieldAccess::Path(_) => None,
        }
    }

    /// Returns the value as text: a string as it is, another value as JSON, and what is missing or null as empty text.
    /// Several values are separated by commas.
    pub fn text<'e>(&self, event: &'e Value) -> Cow<'e, str> {
        match &self.access {
            FieldAccess::Computed(computed) => computed.text(event),
            FieldAccess::Path(path) => match Selected::at(event, path) {
                Selected::One(value) => value.map_or(Cow::Borrowed(""), value_text),
                Selected::Several(values) => values_text(&values),
            },
        }
    }

    /// Returns the value as JSON; null if it is missing.
    pub(super) fn json(&self, event: &Value) -> Value {
        match &self.access {
            FieldAccess::Computed(computed) => match computed.text(event) {
                text if text.is_empty() => Value::Null,
                text => Value::String(text.into_owned()),
            },
            FieldAccess::Path(path) => match Selected::at(event, path) {
                Selected::One(value) => value.cloned().unwrap_or_default(),
                Selected::Several(values) => Value::Array(values.into_iter().cloned().collect()),
            },
        }
    }

    /// Returns whether the value is a JSON number, which no spreadsheet takes for a formula.
    pub(super) fn is_number(&self, event: &Value) -> bool {
        let FieldAccess::Path(path) = &self.access else { return false };
        matches!(Selected::at(event, path), Selected::One(Some(value)) if value.is_number())
    }
}

/// Returns a value as text: a string as it is, null as empty text, anything else as JSON.
fn value_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Null => Cow::Borrowed(""),
        Value::Bool(true) => Cow::Borrowed("true"),
        Value::Bool(false) => Cow::Borrowed("false"),
        other => Cow::Owned(other.to_string()),
    }
}

/// Returns several values as one text: separated by commas, or as JSON if one of them is an object or a list.
fn values_text<'e>(values: &[&'e Value]) -> Cow<'e, str> {
    match values {
        [] => Cow::Borrowed(""),
        [value] => value_text(value),
        _ if values.iter().any(|value| value.is_object() || value.is_array()) => {
            Cow::Owned(serde_json::json!(values).to_string())
        }
        _ => values.iter().map(|value| value_text(value)).collect::<Vec<_>>().join(", ").into(),
    }
}

/// The segment of a path that stands for all elements of a list, `[*]`.
const ALL_ELEMENTS: &str = "*";

/// What a path selects in an event.
enum Selected<'e> {
    /// The value at the end of the path, if there is one.
    One(Option<&'e Value>),
    /// The values of all elements of a list that the path leads through, at least one.
    Several(Vec<&'e Value>),
}

impl<'e> Selected<'e> {
    /// Selects the value at a path. A segment is a key or a position; a key with dots is found by several segments too. A
    /// key that follows a list selects the member of each element.
    fn at(value: &'e Value, path: &[String]) -> Self {
        let [first, rest @ ..] = path else { return Self::One(Some(value)) };
        match value {
            Value::Object(members) => Self::member(members, first, rest),
            Value::Array(list) if first == ALL_ELEMENTS => Self::elements(list, rest),
            Value::Array(list) => match first.parse::<usize>() {
                Ok(at) => list.get(at).map_or(Self::One(None), |value| Self::at(value, rest)),
                Err(_) => Self::elements(list, path),
            },
            _ => Self::One(None),
        }
    }

    fn member(members: &'e Map<String, Value>, first: &str, rest: &[String]) -> Self {
        let found = members.get(first).map_or(Self::One(None), |value| Self::at(value, rest));
        if !matches!(found, Self::One(None)) {
            return found;
        }
        let mut key = first.to_owned();
        let with_dots = rest.iter().enumerate().find_map(|(at, segment)| {
            key.push('.');
            key.push_str(segment);
            Some(Self::at(members.get(&key)?, &rest[at + 1..]))
        });
        with_dots.unwrap_or(found)
    }

    fn elements(list: &'e [Value], path: &[String]) -> Self {
        let mut values = Vec::new();
        for element in list {
            match Self::at(element, path) {
                Self::One(value) => values.extend(value),
                Self::Several(several) => values.extend(several),
            }
        }
        if values.is_empty() { Self::One(None) } else { Self::Several(values) }
    }
}

/// Members of `requestParameters` that name what a call is about, the most specific first, for events without resources.
const TARGET_PARAMETERS: [&str; 24] = [
    "bucketName",
    "functionName",
    "tableName",
    "instanceId",
    "roleName",
    "userName",
    "groupName",
    "policyArn",
    "policyName",
    "keyId",
    "secretId",
    "queueUrl",
    "topicArn",
    "trailName",
    "clusterName",
    "repositoryName",
    "stackName",
    "logGroupName",
    "dBInstanceIdentifier",
    "groupId",
    "roleArn",
    "resourceArn",
    "domainName",
    "name",
];

impl ComputedField {
    /// All computed fields, with their names.
    const ALL: [(&'static str, Self); 9] = [
        ("time", Self::Time),
        ("account", Self::Account),
        ("region", Self::Region),
        ("principal", Self::Principal),
        ("action", Self::Action),
        ("service", Self::Service),
        ("resource", Self::Resource),
        ("error", Self::Error),
        ("ip", Self::Ip),
    ];

    /// Returns the computed field of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(known, field)| (known == name).then_some(field))
    }

    /// Returns the name of the field.
    fn name(self) -> &'static str {
        Self::ALL
            .into_iter()
            .find_map(|(name, field)| (field == self).then_some(name))
            .unwrap_or_default()
    }

    /// Returns the names of all computed fields.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(|(name, _)| name)
    }

    /// Returns the value, or empty text.
    pub(super) fn text(self, event: &Value) -> Cow<'_, str> {
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
        match self {
            Self::Time => text("eventTime").into(),
            Self::Account => account(event).into(),
            Self::Region => text("awsRegion").into(),
            Self::Principal => short_principal(event),
            Self::Action => match (service(event), text("eventName")) {
                ("", name) => name.into(),
                (service, name) => format!("{service}:{name}").into(),
            },
            Self::Service => service(event).into(),
            Self::Resource => resource(event).into(),
            Self::Error => text("errorCode").into(),
            Self::Ip => text("sourceIPAddress").into(),
        }
    }
}

/// Returns the first label of `eventSource`, such as `s3` of `s3.amazonaws.com`.
fn service(event: &Value) -> &str {
    let source = event.get("eventSource").and_then(Value::as_str).unwrap_or_default();
    let domain = [".amazonaws.com", ".amazon.com", ".amazonaws.com.cn"];
    domain.iter().find_map(|domain| source.strip_suffix(domain)).unwrap_or(source)
}

fn account(event: &Value) -> &str {
    let text = |pointer| event.pointer(pointer).and_then(Value::as_str);
    text("/recipientAccountId").or_else(|| text("/userIdentity/accountId")).unwrap_or_default()
}

/// Returns the ARN of the first resource, else the name in the request that says what the call is about.
fn resource<'e>(event: &'e Value) -> &'e str {
    let resources = event.get("resources").and_then(Value::as_array);
    let arn = |resource: &'e Value| resource.get("ARN").or_else(|| resource.get("arn"))?.as_str();
    let parameters = event.get("requestParameters").and_then(Value::as_object);
    let parameter = || TARGET_PARAMETERS.iter().find_map(|name| parameters?.get(*name)?.as_str());
    resources.and_then(|list| list.iter().find_map(arn)).or_else(parameter).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(field: &str, event: &Value) -> String {
        field.parse::<Field>().unwrap().text(event).into_owned()
    }

    #[test]
    fn a_path_leads_to_keys_and_positions() {
        let event = json!({
            "eventName": "Get", "readOnly": true, "n": -7, "none": null, "a.b": {"c.d": "dots"},
            "rules": {"items": [{"ports": [{"from": 22}, {"from": 80}]}, {"ports": [{"from": 443}]}, {}]},
            "one": [{"ARN": "arn:3"}], "resources": [{"ARN": "arn:1"}, {"ARN": "arn:2"}], "headers": {"x-amz-id-2": "id", "a": {"b": "deep"}},
        });
        for (field, expected) in [
            ("eventName", "Get"),
            (" eventName ", "Get"),
            ("$.eventName", "Get"),
            ("readOnly", "true"),
            ("n", "-7"),
            ("none", ""),
            ("missing.x", ""),
            ("eventName.x", ""),
            ("resources.1.ARN", "arn:2"),
            ("resources[0].ARN", "arn:1"),
            ("$.resources[0]['ARN']", "arn:1"),
            ("resources.9.ARN", ""),
            ("resources.ARN", "arn:1, arn:2"),
            ("resources[*].ARN", "arn:1, arn:2"),
            ("resources.*.arn", ""),
            ("resources[*]", r#"[{"ARN":"arn:1"},{"ARN":"arn:2"}]"#),
            ("rules.items.ports.from", "22, 80, 443"),
            ("rules.items.ports", r#"[[{"from":22},{"from":80}],[{"from":443}]]"#),
            ("one.ARN", "arn:3"),
            ("resources.-1", ""),
            ("resources.0", r#"{"ARN":"arn:1"}"#),
            ("headers.x-amz-id-2", "id"),
            ("a.b.c.d", "dots"),
            ("['a.b']['c.d']", "dots"),
            ("headers.a.b", "deep"),
        ] {
            assert_eq!(text(field, &event), expected, "{field}");
        }
        assert_eq!(text("eventName", &json!([1])), "");
    }

    #[test]
    fn a_list_is_checked() {
        let list: FieldList = "eventName,['a,b'],principal".parse().unwrap();
        let names: Vec<&str> = list.iter().map(Field::name).collect();
        assert_eq!(names, ["eventName", "['a,b']", "principal"]);
        for (text, error) in [
            ("", FieldListError::Empty),
            ("a,,b", FieldListError::Empty),
            ("a..b", FieldListError::Empty),
            ("a.", FieldListError::Empty),
            ("$", FieldListError::Empty),
            ("a[0", FieldListError::Bracket("a[0".to_owned())),
            ("a['x", FieldListError::Bracket("a['x".to_owned())),
            ("a,b,a", FieldListError::Twice("a".to_owned())),
            (&vec!["a"; MAX_FIELDS + 1].join(","), FieldListError::TooMany),
        ] {
            assert_eq!(text.parse::<FieldList>(), Err(error), "{text}");
        }
    }

    #[test]
    fn computed_fields_take_what_the_event_has() {
        let event = json!({
            "eventTime": "2024-06-30T00:00:00Z", "eventSource": "s3.amazonaws.com", "eventName": "GetObject",
            "awsRegion": "eu-west-1", "recipientAccountId": "1", "sourceIPAddress": "192.0.2.1", "errorCode": "AccessDenied",
            "requestParameters": {"name": "n", "bucketName": "b"},
        });
        for (field, expected) in [
            ("time", "2024-06-30T00:00:00Z"),
            ("account", "1"),
            ("region", "eu-west-1"),
            ("action", "s3:GetObject"),
            ("service", "s3"),
            ("resource", "b"),
            ("error", "AccessDenied"),
            ("ip", "192.0.2.1"),
        ] {
            assert_eq!(text(field, &event), expected, "{field}");
        }
        let arn = json!({"resources": [{"type": "x"}, {"ARN": "arn:2"}], "requestParameters": {"name": "n"}});
        assert_eq!(text("resource", &arn), "arn:2");
        for field in ComputedField::names() {
            for event in
                [json!(null), json!({"resources": 7, "userIdentity": "x", "eventSource": {}})]
            {
                let _no_panic = text(field, &event);
            }
        }
    }
}
