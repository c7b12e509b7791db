//! The `eventSource` of a service's events, where the API model does not contain it.
//!
//! For most services it is the service name in signatures. The exceptions are facts from events and from AWS's lists of
//! services that CloudTrail supports.

/// Services whose events have another source than the name in signatures, sorted.
const EXCEPTIONS: [(&str, &str); 22] = [
    ("application-autoscaling", "autoscaling"),
    ("autoscaling-plans", "autoscaling"),
    ("cloudwatchomni", "cloudwatch"),
    ("connectparticipant", "connect"),
    ("iotsecuretunneling", "iotsecuredtunneling"),
    ("marketplace-agreement", "agreement-marketplace"),
    ("marketplace-catalog", "marketplacecatalog"),
    ("marketplace-deployment", "deployment-marketplace"),
    ("marketplace-discovery", "discovery-marketplace"),
    ("marketplace-entitlement", "entitlement-marketplace"),
    ("marketplace-reporting", "reporting-marketplace"),
    ("marketplacecommerceanalytics", "marketplacecommerceanalytics"),
    ("meteringmarketplace", "metering-marketplace"),
    ("mq", "amazonmq"),
    ("opensearch", "es"),
    ("pinpoint", "pinpoint"),
    ("rds-data", "rdsdata"),
    ("servicecatalog-appregistry", "servicecatalog-appregistry"),
    ("sesv2", "ses"),
    ("sso", "sso"),
    ("sso-oidc", "sso"),
    ("stepfunctions", "states"),
];

/// Names that a service also has: other sources of its events, and IAM prefixes that no model contains.
pub(super) const ALIASES: [(&str, &str); 15] = [
    ("awsssoportal", "sso"),
    ("cloudcontrolapi", "cloudcontrol"),
    ("elasticfilesystem", "efs"),
    ("elasticloadbalancing", "elbv2"),
    ("lexv2", "lexv2-models"),
    ("models.lex", "lex-models"),
    ("mechanicalturk", "mturk"),
    ("migrationhub", "mgh"),
    ("opensearchservice", "opensearch"),
    ("runtime.lex", "lex-runtime"),
    ("s3express", "s3"),
    ("streams.dynamodb", "dynamodbstreams"),
    ("tag", "resourcegroupstaggingapi"),
    ("tts", "polly"),
    ("transcribestreaming", "transcribe"),
];

/// Returns the source without `.amazonaws.com`.
pub(super) fn of(id: &str, signing_name: &str, endpoint_prefix: &str) -> String {
    let exception = EXCEPTIONS.iter().find(|(service, _)| *service == id);
    if let Some((_, source)) = exception {
        return (*source).to_owned();
    }
    let name = if signing_name.is_empty() { endpoint_prefix } else { signing_name };
    name.to_ascii_lowercase()
}
