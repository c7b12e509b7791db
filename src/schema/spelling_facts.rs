//! What events have and no rule explains: spellings of single calls, and fields that CloudTrail adds.
//!
//! Facts from published events and from the pages of AWS's guides that show events. The lists of EC2's first API have the
//! names of its SOAP interface.

use super::{
    model::{Operation, Protocol, ScalarType, Service, Side},
    spelling::{self, Offer},
};

/// Services whose requests and responses are logged as they were sent, in part or always: names keep their first letter.
const AS_SENT: [&str; 19] = [
    "account",
    "ce",
    "chatbot",
    "connect",
    "databrew",
    "dataexchange",
    "devops-guru",
    "dlm",
    "greengrass",
    "location",
    "mediatailor",
    "mwaa",
    "outposts",
    "pinpoint-sms-voice",
    "resource-explorer-2",
    "resource-groups",
    "securityhub",
    "synthetics",
    "wellarchitected",
];

/// Services of the same kind, of which no events are known: REST with JSON, names that start with a capital, and a signing name in the
/// model. Nearly all such services with published events log names as they were sent; Lambda does not.
const PROBABLY_AS_SENT: [&str; 39] = [
    "appconfig",
    "appintegrations",
    "application-signals",
    "backupsearch",
    "billingconductor",
    "chime-sdk-identity",
    "chime-sdk-media-pipelines",
    "chime-sdk-meetings",
    "chime-sdk-messaging",
    "chime-sdk-voice",
    "codeguru-reviewer",
    "codestar-notifications",
    "connect-contact-lens",
    "connectparticipant",
    "controlcatalog",
    "customer-profiles",
    "geo-places",
    "geo-routes",
    "internetmonitor",
    "iotwireless",
    "managedblockchain",
    "marketplace-catalog",
    "mediapackagev2",
    "migration-hub-refactor-spaces",
    "mpa",
    "networkmanager",
    "oam",
    "observabilityadmin",
    "pca-connector-ad",
    "pipes",
    "rbin",
    "route53-recovery-control-config",
    "route53profiles",
    "rum",
    "s3outposts",
    "scheduler",
    "schemas",
    "ssm-quicksetup",
    "ssm-sap",
];

/// Returns whether a service's names may keep their first letter.
pub(super) fn is_as_sent(service: &str) -> bool {
    AS_SENT.contains(&service) || PROBABLY_AS_SENT.contains(&service)
}

/// Returns whether a service's names have a leading abbreviation in lower case: `arn` for `ARN`, not `aRN`.
pub(super) fn lowers_abbreviations(service: &str) -> bool {
    service == "secretsmanager"
}

/// Returns the member that the body of a request may be wrapped in. API Gateway has one in most calls.
pub(super) fn body_wrapper(service: &str, operation: &str) -> Option<String> {
    let input = || format!("{}Input", spelling::lower_first(operation));
    matches!(service, "apigateway" | "apigatewayv2").then(input)
}

/// Lists in requests of EC2's first API: name of the query, name in events, key of an item.
const EC2_LISTS: [(&str, &str, &str); 42] = [
    ("allocationId", "allocationIdsSet", "allocationId"),
    ("attributeName", "accountAttributeNameSet", "attributeName"),
    ("bundleId", "bundlesSet", "bundleId"),
    ("conversionTaskId", "conversionTaskIdSet", "conversionTaskId"),
    ("customerGatewayId", "customerGatewaySet", "customerGatewayId"),
    ("dhcpOptionsId", "dhcpOptionsSet", "dhcpOptionsId"),
    ("dhcpConfiguration", "dhcpConfigurationSet", "key"),
    ("executableBy", "executableBySet", "user"),
    ("exportTaskId", "exportTaskIdSet", "exportTaskId"),
    ("filter", "filterSet", "name"),
    ("groupId", "securityGroupIdSet", "groupId"),
    ("groupName", "securityGroupSet", "groupName"),
    ("imageId", "imagesSet", "imageId"),
    ("instanceId", "instancesSet", "instanceId"),
    ("instanceType", "instanceTypeSet", "instanceType"),
    ("internetGatewayId", "internetGatewayIdSet", "internetGatewayId"),
    ("keyName", "keySet", "keyName"),
    ("networkAclId", "networkAclIdSet", "networkAclId"),
    ("networkInterfaceId", "networkInterfaceIdSet", "networkInterfaceId"),
    ("owner", "ownersSet", "owner"),
    ("privateIpAddress", "privateIpAddressesSet", "privateIpAddress"),
    ("privateIpAddresses", "privateIpAddressesSet", "privateIpAddress"),
    ("productDescription", "productDescriptionSet", "productDescription"),
    ("publicIp", "publicIpsSet", "publicIp"),
    ("regionName", "regionSet", "regionName"),
    ("reservedInstancesId", "reservedInstancesSet", "reservedInstancesId"),
    ("resourceId", "resourcesSet", "resourceId"),
    ("restorableBy", "sharedUsersSet", "user"),
    ("routeTableId", "routeTableIdSet", "routeTableId"),
    ("securityGroup", "groupSet", "groupName"),
    ("securityGroupId", "groupSet", "groupId"),
    ("snapshotId", "snapshotSet", "snapshotId"),
    ("spotInstanceRequestId", "spotInstanceRequestIdSet", "spotInstanceRequestId"),
    ("subnetId", "subnetSet", "subnetId"),
    ("tagSpecification", "tagSpecificationSet", "resourceType"),
    ("volumeId", "volumeSet", "volumeId"),
    ("vpcId", "vpcSet", "vpcId"),
    ("vpcPeeringConnectionId", "vpcPeeringConnectionIdSet", "vpcPeeringConnectionId"),
    ("vpnConnectionId", "vpnConnectionSet", "vpnConnectionId"),
    ("vpnGatewayId", "vpnGatewaySet", "vpnGatewayId"),
    ("zoneId", "availabilityZoneIdSet", "zoneId"),
    ("zoneName", "availabilityZoneSet", "zoneName"),
];

/// Returns the name of a list of EC2's first API and the key of an item, if it holds texts.
pub(super) fn ec2_list(query_name: &str) -> Option<(&'static str, &'static str)> {
    let found = EC2_LISTS.iter().find(|(name, ..)| *name == query_name);
    found.map(|(_, list, item)| (*list, *item))
}

/// Parameters of single EC2 calls: call, member, names. An empty name leaves a level out.
const EC2_PARAMETERS: [(&str, &str, &[&str]); 20] = [
    ("CreateNetworkAclEntry", "IcmpTypeCode", &["icmpTypeCode"]),
    ("CreateNetworkAclEntry", "Protocol", &["aclProtocol"]),
    ("CreateVolume", "AvailabilityZone", &["zone"]),
    ("DescribePlacementGroups", "GroupIds", &["placementGroupIdSet"]),
    ("DescribePlacementGroups", "GroupNames", &["placementGroupSet"]),
    ("ModifyImageAttribute", "Attribute", &["attributeType"]),
    ("ModifyInstanceAttribute", "Attribute", &["attributeType", "attribute"]),
    ("ModifyInstanceAttribute", "Groups", &["groupSet"]),
    ("ModifyReservedInstances", "TargetConfigurations", &["targetConfigurationSet"]),
    ("ModifySnapshotAttribute", "Attribute", &["attributeType"]),
    ("RegisterImage", "BlockDeviceMappings", &["blockDeviceMapping"]),
    ("ReplaceNetworkAclEntry", "IcmpTypeCode", &["icmpTypeCode"]),
    ("ReplaceNetworkAclEntry", "Protocol", &["aclProtocol"]),
    ("ResetImageAttribute", "Attribute", &["attributeType"]),
    ("ResetSnapshotAttribute", "Attribute", &["attributeType"]),
    ("RunInstances", "ImageId", &["instancesSet.items.imageId"]),
    ("RunInstances", "KeyName", &["instancesSet.items.keyName"]),
    ("RunInstances", "MaxCount", &["instancesSet.items.maxCount"]),
    ("RunInstances", "MinCount", &["instancesSet.items.minCount"]),
    ("RunInstances", "Placement", &[""]),
];

/// Returns the names of a parameter of an EC2 call that no rule covers.
pub(super) fn ec2_parameter(operation: &str, member: &str) -> Option<&'static [&'static str]> {
    let known = EC2_PARAMETERS.iter();
    known
        .clone()
        .find(|(call, name, _)| (*call, *name) == (operation, member))
        .map(|(.., names)| *names)
}

/// Returns the key of an item of a list of an EC2 call that no rule covers.
pub(super) fn ec2_item(list: &str) -> Option<&'static str> {
    match list {
        "placementGroupIdSet" => Some("groupId"),
        "placementGroupSet" => Some("groupName"),
        _ => None,
    }
}

/// Returns the name of a member of a response of an EC2 call that no rule covers.
pub(super) fn ec2_result(operation: &str, name: &str) -> Option<&'static str> {
    ((operation, name) == ("CreateVolume", "availabilityZone")).then_some("zone")
}

/// Verbs of calls that only read, whose responses CloudTrail leaves out.
const READING: [&str; 26] = [
    "Describe",
    "Get",
    "List",
    "Head",
    "Search",
    "Lookup",
    "Query",
    "Scan",
    "Select",
    "Filter",
    "Simulate",
    "Preview",
    "Test",
    "Validate",
    "Estimate",
    "Check",
    "Count",
    "Detect",
    "Discover",
    "Verify",
    "Compare",
    "Calculate",
    "View",
    "Is",
    "Can",
    "Evaluate",
];

/// Calls that read by their name, but whose responses are logged.
const ANSWERED: [(&str, &str); 4] = [
    ("ec2", "GetConsoleOutput"),
    ("ecs", "DiscoverPollEndpoint"),
    ("sts", "GetFederationToken"),
    ("sts", "GetSessionToken"),
];

/// Returns whether a call only reads, judging by its name, so that CloudTrail logs no response.
pub fn only_reads(service: &str, operation: &str) -> bool {
    let name = operation.strip_prefix("Admin").unwrap_or(operation);
    let name = name.strip_prefix("Batch").unwrap_or(name);
    let reads = READING.iter().any(|verb| {
        name.strip_prefix(verb)
            .is_some_and(|rest| !rest.starts_with(|char: char| char.is_ascii_lowercase()))
    });
    reads && !ANSWERED.contains(&(service, operation))
}

/// A field that CloudTrail adds to those of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AddedField {
    /// The path below the member of the record; `*` stands for any key.
    pub path: String,
    /// Type of the value; `None` for an object.
    pub scalar: Option<ScalarType>,
    /// Whether it is the subresource of an S3 request.
    pub is_subresource: bool,
}

/// Fields that single calls have: service, call, side, path. `*` at the start of the call stands for any text.
const ADDED: [(&str, &str, Side, &str); 75] = [
    ("ec2", "AttachVolume", Side::Input, "deleteOnTermination"),
    ("ec2", "CreateNetworkInterface", Side::Input, "denyAllIgwTraffic"),
    ("ec2", "DeleteSnapshot", Side::Input, "force"),
    ("ec2", "DeleteVolume", Side::Input, "reportVolumeFailure"),
    ("ec2", "DescribeAccountAttributes", Side::Input, "filterSet"),
    ("ec2", "*SecurityGroupEgress", Side::Input, "ipPermissions.items.groups"),
    ("ec2", "*SecurityGroupIngress", Side::Input, "ipPermissions.items.groups"),
    ("ec2", "DescribeAvailabilityZones", Side::Input, "availabilityZoneIdSet"),
    ("ec2", "RunInstances", Side::Input, "blockDeviceMapping.items.noDevice"),
    ("ec2", "CreateSecurityGroup", Side::Output, "_return"),
    ("ec2", "DisassociateRouteTable", Side::Output, "associationState.state"),
    ("ec2", "RunInstances", Side::Output, "instancesSet.items.metadataOptions.httpProtocolIpv4"),
    ("ec2", "RunInstances", Side::Output, "instancesSet.items.networkInterfaceSet.items.tagSet"),
    ("ec2", "RunInstances", Side::Output, "instancesSet.items.interfaceId"),
    (
        "ec2",
        "RunInstances",
        Side::Output,
        "instancesSet.items.networkInterfaceSet.items.associableWithElasticIpBySet",
    ),
    (
        "ec2",
        "RunInstances",
        Side::Output,
        "instancesSet.items.networkInterfaceSet.items.attachableToInstanceBySet",
    ),
    (
        "ec2",
        "RunInstances",
        Side::Output,
        "instancesSet.items.networkInterfaceSet.items.attachment.instanceId",
    ),
    (
        "ec2",
        "RunInstances",
        Side::Output,
        "instancesSet.items.networkInterfaceSet.items.attachment.instanceOwnerId",
    ),
    (
        "ec2",
        "RunInstances",
        Side::Output,
        "instancesSet.items.networkInterfaceSet.items.availabilityZone",
    ),
    (
        "ec2",
        "RunInstances",
        Side::Output,
        "instancesSet.items.networkInterfaceSet.items.internalInterfaceId",
    ),
    (
        "ec2",
        "RunInstances",
        Side::Output,
        "instancesSet.items.networkInterfaceSet.items.requesterManaged",
    ),
    ("rds", "*DBInstance", Side::Output, "httpEndpointEnabled"),
    (
        "cloudfront",
        "*Distribution",
        Side::Output,
        "distribution.distributionConfig.origins.items.oacSigningBehavior",
    ),
    ("cloudfront", "UpdateDistribution", Side::Output, "location"),
    // A deletion through a transit gateway has a wrapper of its own.
    (
        "ec2",
        "DeleteTransitGatewayVpcAttachment",
        Side::Input,
        "DelTGwVpcAttachReq.TransitGatewayAttachmentId",
    ),
    ("lambda", "UpdateFunctionCode", Side::Input, "fullyQualifiedArn.arnPrefix.account"),
    ("lambda", "UpdateFunctionCode", Side::Input, "fullyQualifiedArn.arnPrefix.partition"),
    ("lambda", "UpdateFunctionCode", Side::Input, "fullyQualifiedArn.arnPrefix.region"),
    ("lambda", "UpdateFunctionCode", Side::Input, "fullyQualifiedArn.functionQualifier"),
    ("lambda", "UpdateFunctionCode", Side::Input, "fullyQualifiedArn.relativeId.functionName"),
    ("s3", "*", Side::Input, "Host"),
    ("s3", "*", Side::Input, "host"),
    // Of URLs that were signed before.
    ("s3", "*", Side::Input, "X-Amz-Algorithm"),
    ("s3", "*", Side::Input, "X-Amz-Credential"),
    ("s3", "*", Side::Input, "X-Amz-Date"),
    ("s3", "*", Side::Input, "X-Amz-Expires"),
    ("s3", "*", Side::Input, "X-Amz-SignedHeaders"),
    ("s3", "*", Side::Output, "x-amz-id-2"),
    ("s3", "*", Side::Output, "x-amz-request-id"),
    // SDKs name the operation in the query of some calls.
    ("s3", "*Object", Side::Input, "x-id"),
    // Calls of `ListObjectsV2` are logged as `ListObjects`.
    ("s3", "ListObjects", Side::Input, "continuation-token"),
    ("s3", "ListObjects", Side::Input, "fetch-owner"),
    ("s3", "ListObjects", Side::Input, "list-type"),
    ("s3", "ListObjects", Side::Input, "start-after"),
    // The headers of a request are repeated.
    ("s3", "*Acl", Side::Input, "accessControlList.x-amz-grant-full-control"),
    ("s3", "*Acl", Side::Input, "accessControlList.x-amz-grant-read"),
    ("s3", "*Acl", Side::Input, "accessControlList.x-amz-grant-read-acp"),
    ("s3", "*Acl", Side::Input, "accessControlList.x-amz-grant-write"),
    ("s3", "*Acl", Side::Input, "accessControlList.x-amz-grant-write-acp"),
    ("s3", "PutBucketLifecycle", Side::Input, "LifecycleConfiguration.Rule.Filter.Prefix"),
    ("s3control", "*", Side::Input, "Host"),
    ("kafka", "*", Side::Output, "Access-Control-Expose-Headers"),
    ("mwaa", "*", Side::Output, "Access-Control-Expose-Headers"),
    ("ssm", "SendCommand", Side::Input, "interactive"),
    ("ssm", "SendCommand", Side::Output, "command.clientName"),
    ("ssm", "SendCommand", Side::Output, "command.clientSourceId"),
    ("ssm", "SendCommand", Side::Output, "command.hasCancelCommandSignature"),
    ("ssm", "SendCommand", Side::Output, "command.hasSendCommandSignature"),
    ("ssm", "SendCommand", Side::Output, "command.interactive"),
    ("sts", "AssumeRole", Side::Input, "incomingTransitiveTags.*"),
    ("sts", "AssumeRole", Side::Input, "principalTags.*"),
    ("sts", "AssumeRoleWithSAML", Side::Input, "principalTags.*"),
    ("sts", "AssumeRoleWithSAML", Side::Input, "roleSessionName"),
    ("sts", "AssumeRoleWithSAML", Side::Input, "sAMLAssertionID"),
    ("sts", "AssumeRoleWithSAML", Side::Input, "transitiveTagKeys"),
    ("sts", "AssumeRoleWithWebIdentity", Side::Input, "principalTags.*"),
    ("sts", "AssumeRoleWithWebIdentity", Side::Input, "transitiveTagKeys"),
    ("kms", "PutKeyPolicy", Side::Output, "keyId"),
    ("apigateway", "*", Side::Input, "template"),
    ("apigateway", "*", Side::Output, "self.*"),
    ("apigateway", "*Stage", Side::Output, "stageFlushAuthorizerCache.*"),
    ("apigateway", "*Stage", Side::Output, "stageFlushCache.*"),
    ("greengrass", "*", Side::Output, "Message"),
    ("dynamodb", "*Item", Side::Input, "key.*"),
    ("route53domains", "*", Side::Input, "domainName.name"),
];

/// Returns the fields that CloudTrail adds to a side of a call.
pub(super) fn added(
    service: &Service,
    operation: &Operation,
    side: Side,
    offer: Offer,
) -> Vec<AddedField> {
    let text =
        |path: String| AddedField { path, scalar: Some(ScalarType::String), is_subresource: false };
    let id = service.info.id.as_ref();
    let known = ADDED.iter().filter(|(of, call, added_side, _)| {
        *of == id && *added_side == side && is_call(call, &operation.name)
    });
    let mut fields: Vec<AddedField> = known
        .map(|(.., path)| AddedField { scalar: added_type(path), ..text((*path).to_owned()) })
        .collect();
    if service.info.protocol == Protocol::Ec2 && side == Side::Output {
        fields.extend(ec2_added(operation, offer));
    }
    if service.info.protocol == Protocol::Ec2 && side == Side::Input && !operation.predates_wrapping
    {
        // A request without parameters is an empty text.
        fields.push(text(format!("{}Request", operation.name)));
    }
    if id == "s3" && side == Side::Input {
        // The subresource in the query of the URI, as in `/{Bucket}?policy`, is logged as `"policy": [""]`.
        let query = operation.uri.split_once('?').map_or("", |(_, query)| query);
        let names = query.split('&').map(|part| part.split('=').next().unwrap_or_default());
        let names = names.filter(|name| !name.is_empty());
        fields
            .extend(names.map(|name| AddedField { is_subresource: true, ..text(name.to_owned()) }));
    }
    if id == "apigateway" && side == Side::Output {
        // The links of a response, such as `stageUpdate` of a stage.
        let noun = operation.name.trim_start_matches(|first: char| !first.is_ascii_lowercase());
        let noun = noun.trim_start_matches(|letter: char| letter.is_ascii_lowercase());
        let noun = noun.to_ascii_lowercase();
        fields.extend(["Update", "Delete"].map(|verb| text(format!("{noun}{verb}.*"))));
    }
    if matches!(service.info.protocol, Protocol::RestJson) && side == Side::Output {
        // The answer of a call that failed.
        fields.push(text("message".to_owned()));
        fields.push(text("__type".to_owned()));
    }
    fields
}

/// Returns the type of a field in [`ADDED`], by its last name; `None` for an object.
fn added_type(path: &str) -> Option<ScalarType> {
    match path.rsplit('.').next().unwrap_or(path) {
        "functionQualifier" | "groups" | "noDevice" => None,
        name if name.ends_with("Set") => None,
        "_return"
        | "deleteOnTermination"
        | "denyAllIgwTraffic"
        | "force"
        | "interactive"
        | "hasCancelCommandSignature"
        | "hasSendCommandSignature"
        | "httpEndpointEnabled"
        | "quiet"
        | "reportVolumeFailure" => Some(ScalarType::Boolean),
        _ => Some(ScalarType::String),
    }
}

fn is_call(pattern: &str, name: &str) -> bool {
    pattern.strip_prefix('*').map_or(pattern == name, |end| name.ends_with(end))
}

fn ec2_added(operation: &Operation, offer: Offer) -> Vec<AddedField> {
    let text =
        |path: String| AddedField { path, scalar: Some(ScalarType::String), is_subresource: false };
    let mut fields = Vec::new();
    if operation.predates_wrapping || offer == Offer::Possible {
        fields.push(text("requestId".to_owned()));
        if operation.output.is_none() || offer == Offer::Possible {
            let path = "_return".to_owned();
            fields.push(AddedField {
                path,
                scalar: Some(ScalarType::Boolean),
                is_subresource: false,
            });
        }
    }
    if !operation.predates_wrapping || offer == Offer::Possible {
        let path = |name| format!("{}Response.{name}", operation.name);
        fields.extend([text(path("requestId")), text(path("xmlns"))]);
    }
    fields
}
