//! A Cloud Custodian policy that runs when an operation is called.
//!
//! The policy has the mode `cloudtrail`: Custodian creates a Lambda function and an EventBridge rule for it. `ids` is a JMESPath
//! expression over the event that gives the identifiers of the resources.

use super::{Leaf, hyphenated, leaves, testable};
use crate::{cli::schema::answer::Answer, normalize::Rules};

/// Resource types of Cloud Custodian: service, part of the name of the operation, resource type, names of the members that
/// hold its identifier, the best first. The first that fits is taken.
const RESOURCES: [(&str, &str, &str, &[&str]); 52] = [
    ("acm", "Certificate", "acm-certificate", &["certificateArn"]),
    ("apigateway", "RestApi", "rest-api", &["id", "restApiId"]),
    ("autoscaling", "AutoScalingGroup", "asg", &["autoScalingGroupName"]),
    ("cloudformation", "Stack", "cfn", &["stackId", "stackName"]),
    ("cloudfront", "Distribution", "distribution", &["id"]),
    ("cloudtrail", "", "cloudtrail", &["trailARN", "name"]),
    ("cloudwatch", "Alarm", "alarm", &["alarmName"]),
    ("codebuild", "Project", "codebuild", &["name"]),
    ("config", "ConfigurationRecorder", "config-recorder", &["name", "configurationRecorderName"]),
    ("config", "ConfigRule", "config-rule", &["configRuleName"]),
    ("dynamodb", "Table", "dynamodb-table", &["tableName"]),
    ("ec2", "VpcPeeringConnection", "peering-connection", &["vpcPeeringConnectionId"]),
    ("ec2", "VpcEndpoint", "vpc-endpoint", &["vpcEndpointId"]),
    ("ec2", "TransitGateway", "transit-gateway", &["transitGatewayId"]),
    ("ec2", "LaunchTemplate", "launch-template-version", &["launchTemplateId"]),
    ("ec2", "SecurityGroup", "security-group", &["groupId"]),
    ("ec2", "NetworkInterface", "eni", &["networkInterfaceId"]),
    ("ec2", "InternetGateway", "internet-gateway", &["internetGatewayId"]),
    ("ec2", "NatGateway", "nat-gateway", &["natGatewayId"]),
    ("ec2", "NetworkAcl", "network-acl", &["networkAclId"]),
    ("ec2", "RouteTable", "route-table", &["routeTableId"]),
    ("ec2", "FlowLogs", "vpc", &["flowLogId", "content"]),
    ("ec2", "Subnet", "subnet", &["subnetId"]),
    ("ec2", "Vpc", "vpc", &["vpcId"]),
    ("ec2", "Snapshot", "ebs-snapshot", &["snapshotId"]),
    ("ec2", "Volume", "ebs", &["volumeId"]),
    ("ec2", "Image", "ami", &["imageId"]),
    ("ec2", "Address", "elastic-ip", &["allocationId"]),
    ("ec2", "KeyPair", "key-pair", &["keyName"]),
    ("ec2", "Instance", "ec2", &["instanceId"]),
    ("ecr", "Repository", "ecr", &["repositoryName"]),
    ("ecs", "Cluster", "ecs", &["clusterArn"]),
    ("efs", "FileSystem", "efs", &["fileSystemId"]),
    ("eks", "Cluster", "eks", &["name", "clusterName"]),
    ("elasticache", "CacheCluster", "cache-cluster", &["cacheClusterId"]),
    ("elb", "LoadBalancer", "elb", &["loadBalancerName"]),
    ("elbv2", "LoadBalancer", "app-elb", &["loadBalancerArn"]),
    ("iam", "Policy", "iam-policy", &["arn", "policyArn"]),
    ("iam", "InstanceProfile", "iam-profile", &["instanceProfileName"]),
    ("iam", "Role", "iam-role", &["roleName"]),
    ("iam", "Group", "iam-group", &["groupName"]),
    ("iam", "", "iam-user", &["userName"]),
    ("kms", "", "kms-key", &["keyId"]),
    ("lambda", "", "lambda", &["functionName"]),
    ("logs", "LogGroup", "log-group", &["logGroupName"]),
    ("opensearch", "Domain", "elasticsearch", &["domainName"]),
    ("rds", "DBSnapshot", "rds-snapshot", &["dBSnapshotIdentifier"]),
    ("rds", "DBCluster", "rds-cluster", &["dBClusterIdentifier"]),
    ("rds", "DBInstance", "rds", &["dBInstanceIdentifier"]),
    ("redshift", "Cluster", "redshift", &["clusterIdentifier"]),
    ("s3", "", "s3", &["bucketName"]),
    ("secretsmanager", "", "secrets-manager", &["arn", "secretId"]),
];

/// Resource types that are named by the service alone.
const WHOLE_SERVICES: [(&str, &str, &[&str]); 2] =
    [("sns", "sns", &["topicArn"]), ("sqs", "sqs", &["queueUrl"])];

/// The resource type for whatever Custodian has none for, and its identifier in every event.
const ANY_RESOURCE: (&str, &str) = ("account", "recipientAccountId");

/// Returns a policy as YAML.
pub(in crate::cli::schema) fn policy(answer: &Answer<'_>, rules: &Rules) -> String {
    let leaves = leaves(answer, rules);
    let (resource, ids) = resource(answer, &leaves);
    let event = answer.event_name();
    let name = format!("{}-{}", hyphenated(&answer.service_name), hyphenated(answer.name()));
    let filter = testable(answer, &leaves);
    let filter = filter.map_or_else(String::new, |leaf| {
        format!(
            "    filters:\n      - type: event\n        key: detail.{}\n        op: ne\n        value: CHANGE-ME\n",
            leaf.expression
        )
    });
    // Custodian refuses longer names: 64 characters with the prefix `custodian-`.
    let name: String = name.chars().take(54).collect();
    let name = name.trim_end_matches('-');
    format!(
        "policies:\n  - name: {name}\n    description: |\n      Runs when {event} of {source} is called.\n    resource: {resource}\n    \
         mode:\n      type: cloudtrail\n      role: arn:aws:iam::{{account_id}}:role/CloudCustodian\n      events:\n        - source: {source}\n          \
         event: {event}\n          ids: {ids}\n{filter}",
        source = answer.event_source,
    )
}

/// Returns the resource type and the expression for its identifiers.
fn resource(answer: &Answer<'_>, leaves: &[Leaf]) -> (&'static str, String) {
    let (service, operation) = (answer.service_name.as_str(), answer.name());
    let by_name =
        RESOURCES.iter().filter(|(of, part, ..)| *of == service && operation.contains(part));
    let by_name = by_name.map(|(_, _, resource, names)| (*resource, *names));
    let whole = WHOLE_SERVICES.iter().filter(|(of, ..)| *of == service);
    let whole = whole.map(|(_, resource, names)| (*resource, *names));
    for (resource, names) in by_name.chain(whole) {
        if let Some(leaf) = identifier(leaves, names) {
            return (resource, quoted(&leaf.expression));
        }
    }
    let (resource, account) = ANY_RESOURCE;
    (resource, account.to_owned())
}

/// Returns the value that holds an identifier: of the response, or else of the request.
fn identifier<'l>(leaves: &'l [Leaf], names: &[&str]) -> Option<&'l Leaf> {
    let candidates = names.iter().enumerate().flat_map(|(rank, name)| {
        let same = leaves.iter().filter(move |leaf| leaf.name.eq_ignore_ascii_case(name));
        same.map(move |leaf| (rank, leaf))
    });
    // A response is missing if the call fails, but then there is nothing to act on.
    candidates
        .filter(|(_, leaf)| !leaf.expression.contains('*'))
        .min_by_key(|(rank, leaf)| (*rank, !leaf.is_response, leaf.depth, leaf.expression.len()))
        .map(|(_, leaf)| leaf)
}

/// Returns an expression as YAML takes it for a text.
fn quoted(expression: &str) -> String {
    if expression.contains(['"', '[', ']', '*', ':', '#']) {
        format!("'{expression}'")
    } else {
        expression.to_owned()
    }
}
