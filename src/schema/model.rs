//! Types of the API models: services, operations and shapes.
//!
//! Invariant: every [`ShapeId`] of a [`Service`] is an index into its shapes, so following one cannot fail. Shapes that no
//! request and no response reaches are absent. Not here: how CloudTrail spells the names (see `spelling`).

use std::borrow::Cow;

/// Text of a model: borrowed from the embedded table, or owned if the model was read from a file.
pub type Text = Cow<'static, str>;

/// Number of a shape within its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShapeId(pub(super) u32);

/// What is known about a service without its shapes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ServiceInfo {
    /// The name that the AWS CLI and botocore use, such as `stepfunctions`.
    pub id: Text,
    /// The `eventSource` of its events without `.amazonaws.com`, such as `states`.
    pub event_source: Text,
    /// The first part of its host name.
    pub endpoint_prefix: Text,
    /// The service name in signatures, which most IAM actions start with.
    pub signing_name: Text,
    /// The name in AWS SDKs, such as `SFN`.
    pub service_id: Text,
    /// How requests are encoded.
    pub protocol: Protocol,
    /// Version of the API.
    pub api_version: Text,
}

impl ServiceInfo {
    /// Returns the `eventSource` of the service's events.
    pub fn event_source(&self) -> String {
        format!("{}.amazonaws.com", self.event_source)
    }
}

/// How requests and responses are encoded, which decides how CloudTrail spells their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Protocol {
    /// JSON with the operation in a header.
    #[default]
    Json,
    /// JSON with the operation in method and URI.
    RestJson,
    /// XML with the operation in method and URI.
    RestXml,
    /// Form parameters and XML.
    Query,
    /// The variant of `Query` that EC2 uses.
    Ec2,
    /// CBOR.
    Cbor,
}

impl Protocol {
    /// Names in botocore's models.
    const NAMES: [(&'static str, Self); 6] = [
        ("json", Self::Json),
        ("rest-json", Self::RestJson),
        ("rest-xml", Self::RestXml),
        ("query", Self::Query),
        ("ec2", Self::Ec2),
        ("smithy-rpc-v2-cbor", Self::Cbor),
    ];

    /// Returns the protocol with this name; an unknown one counts as JSON, which most services use.
    pub(super) fn from_name(name: &str) -> Self {
        Self::NAMES.iter().find(|(known, _)| *known == name).map_or(Self::Json, |(_, found)| *found)
    }

    /// Returns the name in botocore's models.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, known)| *known == self).map_or("json", |(name, _)| name)
    }
}

/// A service with its operations and shapes.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Service {
    /// Names and protocol.
    pub info: ServiceInfo,
    /// The operations, in the order of the model.
    pub operations: Vec<Operation>,
    pub(super) shapes: Vec<Shape>,
}

impl Service {
    /// Returns a shape.
    pub fn shape(&self, id: ShapeId) -> &Shape {
        &self.shapes[id.0 as usize]
    }

    /// Returns what a shape consists of, to be changed.
    pub fn kind_mut(&mut self, id: ShapeId) -> &mut ShapeKind {
        &mut self.shapes[id.0 as usize].kind
    }

    /// Returns the operation with exactly this name.
    pub fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.name == name)
    }

    /// Returns the members of a structure; none for other shapes.
    pub fn members(&self, id: ShapeId) -> &[Member] {
        match &self.shape(id).kind {
            ShapeKind::Structure { members } => members,
            _ => &[],
        }
    }
}

/// A call of the API.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Operation {
    /// Name, such as `CreatePolicy`.
    pub name: Text,
    /// HTTP method.
    pub method: Text,
    /// Path and query of the request, with `{member}` for parts that members fill.
    pub uri: Text,
    /// The request.
    pub input: Option<ShapeId>,
    /// The response.
    pub output: Option<ShapeId>,
    /// Whether AWS advises against its use.
    pub deprecated: bool,
    /// Whether the operation existed before EC2 changed how CloudTrail receives its requests; see `spelling`.
    pub predates_wrapping: bool,
    /// Description, if models with documentation were read.
    pub documentation: Option<Text>,
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Shape {
    /// The type, and what the value consists of.
    pub kind: ShapeKind,
    /// Smallest value, length or number of items, as written in the model.
    pub min: Option<Text>,
    /// Largest value, length or number of items.
    pub max: Option<Text>,
    /// Regular expression that a text must match.
    pub pattern: Option<Text>,
    /// The only values that a text may have.
    pub enumeration: Vec<Text>,
    /// Properties that are either present or not.
    pub flags: ShapeFlags,
}

/// Properties of a shape.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the traits of the model, independent of each other"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ShapeFlags {
    /// The value is secret, so CloudTrail may log a placeholder.
    pub sensitive: bool,
    /// The value is any JSON.
    pub document: bool,
    /// A stream of events, which is never logged.
    pub event_stream: bool,
    /// A stream of bytes, which is never logged.
    pub streaming: bool,
    /// A structure that wraps the only result.
    pub wrapper: bool,
    /// A list or map without an element of its own in XML.
    pub flattened: bool,
    /// A structure of which exactly one member is set.
    pub union: bool,
}

/// What a value consists of.
#[derive(Clone, Debug, PartialEq)]
pub enum ShapeKind {
    /// Named members.
    Structure {
        /// The members, in the order of the model.
        members: Vec<Member>,
    },
    /// Items of one shape.
    List {
        /// Shape of an item.
        item: ShapeId,
        /// Name of an item in XML.
        item_name: Option<Text>,
    },
    /// Values of one shape under arbitrary keys.
    Map {
        /// Shape of a key; an enumeration lists the possible keys.
        key: ShapeId,
        /// Shape of a value.
        value: ShapeId,
    },
    /// A single value.
    Scalar(ScalarType),
}

impl Default for ShapeKind {
    fn default() -> Self {
        Self::Scalar(ScalarType::String)
    }
}

/// Type of a single value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarType {
    /// Text.
    String,
    /// Bytes, which CloudTrail logs as base64, as a placeholder or not at all.
    Blob,
    /// `true` or `false`.
    Boolean,
    /// Integer of 32 bits.
    Integer,
    /// Integer of 64 bits.
    Long,
    /// Number of single precision.
    Float,
    /// Number of double precision.
    Double,
    /// Point in time.
    Timestamp,
}

impl ScalarType {
    const NAMES: [(&'static str, Self); 8] = [
        ("string", Self::String),
        ("blob", Self::Blob),
        ("boolean", Self::Boolean),
        ("integer", Self::Integer),
        ("long", Self::Long),
        ("float", Self::Float),
        ("double", Self::Double),
        ("timestamp", Self::Timestamp),
    ];

    /// Returns the type with this name. Names that only old models use count as the nearest one.
    pub(super) fn from_name(name: &str) -> Self {
        match name {
            "short" | "byte" => Self::Integer,
            "bigInteger" => Self::Long,
            "bigDecimal" => Self::Double,
            _ => Self::NAMES
                .iter()
                .find(|(known, _)| *known == name)
                .map_or(Self::String, |(_, found)| *found),
        }
    }

    /// Returns the name in botocore's models.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, known)| *known == self).map_or("string", |(name, _)| name)
    }
}

/// A member of a structure.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Name in the model.
    pub name: Text,
    /// Shape of the value.
    pub shape: ShapeId,
    /// Name in the request or response, if it differs.
    pub location_name: Option<Text>,
    /// Name in a query request, if that differs too.
    pub query_name: Option<Text>,
    /// Where in the request or response the value is.
    pub location: Location,
    /// Properties that are either present or not.
    pub flags: MemberFlags,
    /// Description, if models with documentation were read.
    pub documentation: Option<Text>,
}

/// Properties of a member.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the traits of the model, independent of each other"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MemberFlags {
    /// The member must be present.
    pub required: bool,
    /// The member is the whole body.
    pub payload: bool,
    /// The value is JSON in a text.
    pub json_text: bool,
    /// As [`ShapeFlags::flattened`], for this member.
    pub flattened: bool,
    /// As [`ShapeFlags::streaming`], for this member.
    pub streaming: bool,
    /// AWS advises against its use.
    pub deprecated: bool,
}

/// Where in a request or response a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Location {
    /// In the body.
    #[default]
    Body,
    /// In the path.
    Uri,
    /// In the query.
    Query,
    /// In a header.
    Header,
    /// In all headers that start with the location name.
    Headers,
    /// The status code.
    StatusCode,
}

impl Location {
    /// Returns the location with this name in botocore's models.
    pub(super) fn from_name(name: Option<&str>) -> Self {
        match name {
            Some("uri") => Self::Uri,
            Some("querystring") => Self::Query,
            Some("header") => Self::Header,
            Some("headers") => Self::Headers,
            Some("statusCode") => Self::StatusCode,
            _ => Self::Body,
        }
    }
}

/// The two sides of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The request, logged in `requestParameters`.
    Input,
    /// The response, logged in `responseElements`.
    Output,
}

impl Side {
    /// Both sides.
    pub const ALL: [Self; 2] = [Self::Input, Self::Output];

    /// Returns the name in a question: `input` or `output`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }

    /// Returns the member of a CloudTrail record that holds this side.
    pub fn record_member(self) -> &'static str {
        match self {
            Self::Input => "requestParameters",
            Self::Output => "responseElements",
        }
    }

    /// Returns the shape of this side, if the operation has it.
    pub fn of(self, operation: &Operation) -> Option<ShapeId> {
        match self {
            Self::Input => operation.input,
            Self::Output => operation.output,
        }
    }
}
