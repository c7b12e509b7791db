//! How CloudTrail spells the names of a request or response.
//!
//! Input: an operation and the way to a member of it. Output: the paths below `requestParameters` or `responseElements`
//! that events have it under, list positions left out. Most members have one.
//!
//! | protocol | rule |
//! |---|---|
//! | most | names start in lower case: `DBInstanceIdentifier` is `dBInstanceIdentifier` |
//! | query | as most; the wrapper of a single result is left out |
//! | EC2, calls before 2015-04 | the names of its first API: `{"instancesSet": {"items": [{"instanceId": …}]}}` |
//! | EC2, later calls | a wrapper with the names of the query: `{"CreateFlowLogsRequest": {"ResourceId": {"tag": 1, "content": …}}}` |
//! | S3 | names of the URI, the query, the headers and the XML body as sent |
//!
//! Invariant: these rules exist nowhere else; the kind table is made with them, too.
//! Not here: spellings of single calls (see `spelling_facts`).

use super::{
    model::{Location, Member, Operation, Protocol, Service, Shape, ShapeKind, Side},
    spelling_facts as facts,
};

/// A name in events, and the rules for what is below it.
///
/// It continues a spelling of the field above, so a structure has the same spellings wherever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spelling {
    /// The position of the continued spelling among those of the field above.
    pub above: usize,
    /// The keys below the continued spelling, joined by `.`; empty if the level is left out.
    pub keys: String,
    /// The rules for names below.
    pub(super) form: Form,
    /// How far below the member of the record this is.
    pub(super) level: Level,
}

/// A level below the member of a record, as some rules depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// The whole side.
    Side,
    /// A member of the side.
    First,
    /// Anything below.
    Deeper,
}

impl Level {
    /// Returns the level below.
    fn below(self) -> Self {
        if self == Self::Side { Self::First } else { Self::Deeper }
    }
}

impl Spelling {
    /// Creates a spelling of a member of a structure that has the spelling `above`, the one at this position.
    fn below(above: &Self, position: usize, keys: String, form: Form) -> Self {
        Self { above: position, keys, form, level: above.level.below() }
    }

    /// Creates a spelling of an item or value that continues this one, the one at this position.
    pub(super) fn continued(&self, position: usize, keys: String) -> Self {
        Self { above: position, keys, form: self.form, level: Level::Deeper }
    }

    /// Creates the spelling of a field that CloudTrail adds.
    pub(super) fn added(keys: String, form: Form) -> Self {
        Self { above: 0, keys, form, level: Level::Deeper }
    }

    /// Returns whether this has the same path as another spelling of the same field.
    fn is_same_path(&self, other: &Self) -> bool {
        (self.above, &self.keys) == (other.above, &other.keys)
    }

    /// Returns whether the value is any JSON, so that names below are not predicted.
    pub fn is_any(&self) -> bool {
        self.form == Form::Any
    }
}

/// Which spellings are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Those that events have, at most a few.
    Likely,
    /// Also those that old events, examples in documentation and single services have.
    Possible,
}

/// Rules for the names below a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// The first letter is in lower case.
    LowerCase,
    /// All of a leading abbreviation is in lower case: `ARN` is `arn`.
    LowerAbbreviation,
    /// The names of the API, unchanged.
    AsSent,
    /// A request of EC2's first API: lists hold `items`.
    Ec2Request,
    /// A response of that API.
    Ec2Response,
    /// A request of a later EC2 call: lists hold `tag` and `content`.
    Ec2Wrapped,
    /// A response of a later EC2 call: lists hold `item`.
    Ec2WrappedResponse,
    /// Parameters of an S3 request.
    S3Request,
    /// The body of an S3 request.
    S3Body,
    /// Headers of an S3 response.
    S3Response,
    /// Any JSON.
    Any,
}

/// Spells the names of one side of an operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speller<'a> {
    pub(super) service: &'a Service,
    pub(super) operation: &'a Operation,
    pub(super) side: Side,
    pub(super) offer: Offer,
}

impl Speller<'_> {
    /// Returns the spellings of the whole side.
    pub(super) fn roots(self) -> Vec<Spelling> {
        let root = |form| Spelling { above: 0, keys: String::new(), form, level: Level::Side };
        let id = self.service.info.id.as_ref();
        if self.service.info.protocol == Protocol::Ec2 {
            return self.ec2_roots();
        }
        let mut roots = match self.side {
            Side::Input if is_s3(self.service) => vec![root(Form::S3Request)],
            Side::Output if is_s3(self.service) => vec![root(Form::S3Response)],
            _ if facts::is_as_sent(id) => vec![root(Form::LowerCase), root(Form::AsSent)],
            _ if facts::lowers_abbreviations(id) => vec![root(Form::LowerAbbreviation)],
            _ => vec![root(Form::LowerCase)],
        };
        // Some of its responses have `aRN`.
        let has_both = self.offer == Offer::Possible || self.side == Side::Output;
        if has_both && facts::lowers_abbreviations(id) {
            roots.push(root(Form::LowerCase));
        }
        roots
    }

    fn ec2_roots(self) -> Vec<Spelling> {
        let (plain, wrapped, suffix) = match self.side {
            Side::Input => (Form::Ec2Request, Form::Ec2Wrapped, "Request"),
            Side::Output => (Form::Ec2Response, Form::Ec2WrappedResponse, "Response"),
        };
        let root = |keys, form| Spelling { above: 0, keys, form, level: Level::Side };
        let plain = root(String::new(), plain);
        let wrapped = root(format!("{}{suffix}", self.operation.name), wrapped);
        match (self.offer, self.operation.predates_wrapping) {
            (Offer::Likely, true) => vec![plain],
            // Most are wrapped, but events and examples without the wrapper exist.
            (Offer::Likely, false) | (Offer::Possible, _) => vec![wrapped, plain],
        }
    }

    /// Returns the spellings of a member of a structure with these spellings.
    pub(super) fn member(self, parents: &[Spelling], member: &Member) -> Vec<Spelling> {
        let target = self.service.shape(member.shape);
        let mut found: Vec<Spelling> = Vec::with_capacity(parents.len());
        for (position, parent) in parents.iter().enumerate() {
            for (name, form) in self.names(parent, member, target) {
                let is_same = |known: &Spelling| {
                    known.keys == name
                        && (known.above == position || parents[known.above].is_same_path(parent))
                };
                if !found.iter().any(is_same) {
                    found.push(Spelling::below(parent, position, name, form));
                }
            }
        }
        found
    }

    /// Returns the spellings of an item of a list with these spellings. `member` is the member that holds the list.
    pub(super) fn item(
        self,
        lists: &[Spelling],
        list: &Shape,
        member: Option<&Member>,
    ) -> Vec<Spelling> {
        let ShapeKind::List { item, item_name } = &list.kind else { return Vec::new() };
        let is_scalar = matches!(self.service.shape(*item).kind, ShapeKind::Scalar(_));
        let item_name = item_name.as_deref();
        let spelled = lists.iter().enumerate().map(|(position, spelling)| {
            let keys = match spelling.form {
                // The only lists of the first API without a level of their own.
                Form::Ec2Request
                    if spelling.level == Level::Deeper && last_key(spelling) == "tags" =>
                {
                    String::new()
                }
                Form::Ec2Request if is_scalar => {
                    let name = Self::ec2_item_name(&spelling.keys, item_name, member);
                    format!("items.{name}")
                }
                Form::Ec2Response if spelling.keys.ends_with("privateIpAddressesSet") => {
                    "item".to_owned()
                }
                Form::Ec2Request | Form::Ec2Response => "items".to_owned(),
                Form::Ec2Wrapped if is_scalar => "content".to_owned(),
                Form::Ec2WrappedResponse => "item".to_owned(),
                Form::S3Body if !is_flattened(list, member) => {
                    item_name.unwrap_or_default().to_owned()
                }
                _ => String::new(),
            };
            spelling.continued(position, keys)
        });
        let also_direct = |(_, spelling): &(usize, &Spelling)| {
            self.offer == Offer::Possible && spelling.form == Form::S3Body && !is_scalar
        };
        let direct = lists.iter().enumerate().filter(also_direct);
        let direct = direct.map(|(position, spelling)| spelling.continued(position, String::new()));
        spelled.chain(direct).collect()
    }

    /// Returns the spellings of the values of a map with these spellings; `*` stands for any key.
    pub(super) fn value(maps: &[Spelling]) -> Vec<Spelling> {
        let value = |(position, map): (usize, &Spelling)| map.continued(position, "*".to_owned());
        maps.iter().enumerate().map(value).collect()
    }

    /// Returns the names of a member below a path, each with the rules for what is below it. An empty name leaves a level
    /// out.
    fn names(self, parent: &Spelling, member: &Member, target: &Shape) -> Vec<(String, Form)> {
        let form = parent.form;
        let name = member.name.as_ref();
        let wire = member.location_name.as_deref().unwrap_or(name);
        let with_form = |names: Vec<String>| names.into_iter().map(|name| (name, form)).collect();
        match form {
            Form::LowerCase => with_form(self.lower_case(parent, member, target)),
            Form::LowerAbbreviation => with_form(vec![lower_abbreviation(name)]),
            Form::AsSent | Form::S3Body => with_form(vec![wire.to_owned()]),
            Form::Ec2Request => with_form(self.ec2_request(parent, member, target)),
            Form::Ec2Response => with_form(self.ec2_response(parent, wire)),
            Form::Ec2WrappedResponse => with_form(vec![lower_first(wire)]),
            Form::Ec2Wrapped => {
                with_form(vec![upper_first(member.query_name.as_deref().unwrap_or(wire))])
            }
            Form::S3Request => Self::s3_request(member, target),
            Form::S3Response if member.location == Location::Header => {
                with_form(vec![wire.to_owned()])
            }
            Form::S3Response | Form::Any => Vec::new(),
        }
    }

    fn lower_case(self, parent: &Spelling, member: &Member, target: &Shape) -> Vec<String> {
        let plain = lower_first(&member.name);
        let is_top = parent.level == Level::Side;
        if is_top && self.side == Side::Output && self.is_wrapper(target) {
            return if self.offer == Offer::Possible {
                vec![String::new(), plain]
            } else {
                vec![String::new()]
            };
        }
        let mut names = vec![plain];
        let wire = match (&target.kind, member.location) {
            // The name in the path of the URI: `name` for `clusterName`.
            (_, Location::Uri) => member.location_name.as_deref(),
            (kind, _)
                if self.service.info.protocol == Protocol::Query
                    && is_flattened(target, Some(member)) =>
            {
                let item_name = match kind {
                    ShapeKind::List { item_name, .. } => item_name.as_deref(),
                    _ => None,
                };
                member.location_name.as_deref().or(item_name)
            }
            _ => None,
        };
        names.extend(wire.map(lower_first).filter(|wire| *wire != names[0]));
        if is_top && self.side == Side::Input && member.location == Location::Body {
            names.extend(
                facts::body_wrapper(&self.service.info.id, &self.operation.name)
                    .map(|wrapper| join(&wrapper, &names[0])),
            );
        }
        names
    }

    /// Returns whether a member of a response of the query protocol is a wrapper that CloudTrail leaves out.
    fn is_wrapper(self, target: &Shape) -> bool {
        self.service.info.protocol == Protocol::Query && target.flags.wrapper
    }

    /// Returns the names in a request of EC2's first API. Lists of structures have the name of the member, those of texts
    /// are named after what they hold.
    fn ec2_request(self, parent: &Spelling, member: &Member, target: &Shape) -> Vec<String> {
        let base = lower_first(member.location_name.as_deref().unwrap_or(&member.name));
        let is_top = parent.level == Level::Side;
        if is_top && let Some(names) = facts::ec2_parameter(&self.operation.name, &member.name) {
            return names.iter().map(|name| (*name).to_owned()).collect();
        }
        let ShapeKind::List { item, .. } = &target.kind else { return vec![base] };
        let is_scalar = matches!(self.service.shape(*item).kind, ShapeKind::Scalar(_));
        let plain = lower_first(&member.name);
        let mut likely = match facts::ec2_list(&base) {
            Some((list, _)) => vec![list.to_owned()],
            None if base.ends_with("Set") || base == "blockDeviceMapping" => vec![base.clone()],
            None if is_top && plain == base => vec![base.clone()],
            None if is_top || is_scalar => vec![format!("{base}Set")],
            None => vec![plain.clone()],
        };
        let is_known = facts::ec2_list(&base).is_some() || base == "blockDeviceMapping";
        if is_top && !is_scalar && !is_known {
            push_new(&mut likely, plain.clone());
        }
        if self.offer == Offer::Possible && !base.ends_with("Set") {
            let short = base.strip_suffix("Id").unwrap_or(&base);
            for name in [
                plain,
                format!("{base}Set"),
                format!("{short}Set"),
                format!("{short}sSet"),
                format!("{}Set", lower_first(&member.name)),
            ] {
                push_new(&mut likely, name);
            }
        }
        likely
    }

    fn ec2_response(self, parent: &Spelling, wire: &str) -> Vec<String> {
        match (parent.level == Level::Side, lower_first(wire).as_str()) {
            (true, "return") => vec!["_return".to_owned()],
            (true, name) => facts::ec2_result(&self.operation.name, name)
                .map_or_else(|| vec![name.to_owned()], |known| vec![known.to_owned()]),
            (false, name) => vec![name.to_owned()],
        }
    }

    /// Returns the key of a text in a list of EC2's first API.
    fn ec2_item_name(list: &str, item_name: Option<&str>, member: Option<&Member>) -> String {
        let base = member.and_then(|member| member.location_name.as_deref());
        let known = base.and_then(|base| facts::ec2_list(&lower_first(base)));
        if let Some((_, item)) = known {
            return item.to_owned();
        }
        if let Some(item) = facts::ec2_item(list) {
            return item.to_owned();
        }
        match base.or(item_name) {
            None | Some("item" | "Item") => "value".to_owned(),
            Some(name) => lower_first(name),
        }
    }

    /// Returns the names of a parameter of an S3 request.
    fn s3_request(member: &Member, target: &Shape) -> Vec<(String, Form)> {
        let name = member.name.as_ref();
        let wire = member.location_name.as_deref().unwrap_or(name);
        let is_stream = target.flags.streaming || member.flags.streaming;
        let spelled = match (member.location, name) {
            (Location::Uri, "Bucket") => "bucketName".to_owned(),
            (Location::Uri, "Key") => "key".to_owned(),
            (Location::Uri, _) => lower_first(name),
            (Location::Headers, _) => return Vec::new(),
            (Location::Body, "Policy") => {
                return vec![("bucketPolicy".to_owned(), Form::Any)];
            }
            (Location::Body, _) if is_stream => return Vec::new(),
            _ => wire.to_owned(),
        };
        vec![(spelled, Form::S3Body)]
    }
}

fn push_new(names: &mut Vec<String>, name: String) {
    if !names.contains(&name) {
        names.push(name);
    }
}

/// Returns whether events of the service have the parameters of S3's REST API.
pub(super) fn is_s3(service: &Service) -> bool {
    matches!(service.info.id.as_ref(), "s3" | "s3control")
}

fn is_flattened(list: &Shape, member: Option<&Member>) -> bool {
    list.flags.flattened || member.is_some_and(|member| member.flags.flattened)
}

/// Returns the last key of a spelling.
fn last_key(spelling: &Spelling) -> &str {
    spelling.keys.rsplit('.').next().unwrap_or_default()
}

/// Joins two paths, either of which may be empty.
pub(super) fn join(path: &str, name: &str) -> String {
    match (path, name) {
        ("", _) => name.to_owned(),
        (_, "") => path.to_owned(),
        _ => {
            // Of exactly the needed length: the largest requests have 30,000 fields.
            let mut joined = String::with_capacity(path.len() + 1 + name.len());
            joined.push_str(path);
            joined.push('.');
            joined.push_str(name);
            joined
        }
    }
}

/// Returns a name with its first letter in lower case, as CloudTrail writes most.
pub fn lower_first(name: &str) -> String {
    change_first(name, str::make_ascii_lowercase)
}

/// Appends a name with its first letter in lower case.
pub(super) fn push_lower_first(text: &mut String, name: &str) {
    let mut chars = name.chars();
    text.extend(chars.next().map(|first| first.to_ascii_lowercase()));
    text.push_str(chars.as_str());
}

fn upper_first(name: &str) -> String {
    change_first(name, str::make_ascii_uppercase)
}

/// Returns a copy with the first letter changed, if it is ASCII.
fn change_first(name: &str, change: impl Fn(&mut str)) -> String {
    let mut changed = name.to_owned();
    changed.get_mut(..1).map(change);
    changed
}

/// Returns a name with a leading abbreviation in lower case: `ARN` becomes `arn`, `KMSKeyId` becomes `kmsKeyId`.
fn lower_abbreviation(name: &str) -> String {
    let capitals = name.chars().take_while(char::is_ascii_uppercase).count();
    let lowered = if capitals == name.len() { capitals } else { capitals.saturating_sub(1).max(1) };
    let mut changed = name.to_owned();
    changed.get_mut(..lowered).map(str::make_ascii_lowercase);
    changed
}

#[cfg(test)]
mod tests {
    use crate::schema::{
        Table,
        fields::{ExpandedField, expanded},
        model::Side,
        spelling::Offer,
    };

    /// Returns the paths in events of a field, given its path in the model.
    fn spelled(call: &str, side: Side, path: &str) -> Vec<String> {
        let table = Table::embedded().unwrap();
        let (service, operation) = call.split_once('.').unwrap();
        let service = table.service(table.entry(service).unwrap()).unwrap();
        let operation = service.operation(operation).unwrap();
        let fields = expanded(&service, operation, side, Offer::Likely);
        let mut level: &[ExpandedField<'_>] = &fields;
        let mut found = None;
        for name in path.replace("[]", ".[]").split('.') {
            let field = level.iter().find(|field| field.step.name() == name);
            let field = field.unwrap_or_else(|| panic!("{call} lacks {path}"));
            level = &field.children;
            found = Some(field.paths.clone());
        }
        found.unwrap()
    }

    #[test]
    fn each_protocol_has_its_rule() {
        use Side::{Input, Output};
        let cases: &[(&str, Side, &str, &[&str])] = &[
            ("iam.CreatePolicy", Output, "policy.arn", &["policy.arn"]),
            ("rds.CreateDBInstance", Input, "dBInstanceIdentifier", &["dBInstanceIdentifier"]),
            // The wrapper of a single result is left out, but not the same structure further down.
            ("rds.CreateDBInstance", Output, "dBInstance.engine", &["engine"]),
            (
                "rds.CreateDBInstance",
                Output,
                "dBInstance.dBSubnetGroup.vpcId",
                &["dBSubnetGroup.vpcId"],
            ),
            ("ec2.StopInstances", Input, "instanceIds[]", &["instancesSet.items.instanceId"]),
            ("ec2.RunInstances", Input, "imageId", &["instancesSet.items.imageId"]),
            ("ec2.RunInstances", Input, "placement.tenancy", &["tenancy"]),
            (
                "ec2.DescribeInstances",
                Input,
                "filters[].values[]",
                &["filterSet.items.valueSet.items.value"],
            ),
            (
                "ec2.CreateVpc",
                Input,
                "tagSpecifications[].tags[].key",
                &["tagSpecificationSet.items.tags.key"],
            ),
            (
                "ec2.DeleteFlowLogs",
                Input,
                "flowLogIds[]",
                &["DeleteFlowLogsRequest.FlowLogId.content", "flowLogIdSet.items.flowLogId"],
            ),
            ("s3.PutBucketPolicy", Input, "bucket", &["bucketName"]),
            ("s3.PutBucketPolicy", Input, "policy", &["bucketPolicy"]),
            ("s3.CreateBucket", Input, "aCL", &["x-amz-acl"]),
            ("s3.PutBucketTagging", Input, "tagging.tagSet[].key", &["Tagging.TagSet.Tag.Key"]),
            ("secretsmanager.CreateSecret", Output, "aRN", &["arn", "aRN"]),
            ("secretsmanager.DeleteSecret", Output, "name", &["name"]),
            ("ec2.CreateNetworkAclEntry", Input, "protocol", &["aclProtocol"]),
            ("dynamodb.PutItem", Input, "item.*.s", &["item.*.s"]),
            ("eks.DescribeAccessEntry", Input, "clusterName", &["clusterName", "name"]),
            // Logged as it was sent, or perhaps not.
            ("mwaa.CreateEnvironment", Input, "name", &["name", "Name"]),
            (
                "resource-groups.CreateGroup",
                Output,
                "group.groupArn",
                &["group.groupArn", "Group.GroupArn"],
            ),
        ];
        for (call, side, path, expected) in cases {
            assert_eq!(spelled(call, *side, path), *expected, "{call} {path}");
        }
    }

    #[test]
    fn fields_that_cloudtrail_adds_are_there() {
        use Side::{Input, Output};
        for (call, side, name) in [
            ("ec2.CreateVpc", Output, "requestId"),
            ("ec2.DeleteVpc", Output, "_return"),
            ("s3.PutBucketPolicy", Input, "Host"),
            ("eks.CreateCluster", Output, "message"),
            ("guardduty.DeleteDetector", Output, "__type"),
            ("s3.ListObjects", Input, "list-type"),
            ("ec2.EnableSerialConsoleAccess", Input, "EnableSerialConsoleAccessRequest"),
        ] {
            assert_eq!(spelled(call, side, name), [name], "{call}");
        }
    }
}
