"""Facts about CloudTrail that the API models lack, and the classes of types."""
import re

OBJECT, MAP, DOCUMENT = "object", "map", "document"
NON_SCALAR = {OBJECT, MAP, DOCUMENT}
SCALAR = {
    "string": "string", "character": "string", "blob": "blob",
    "boolean": "boolean", "integer": "long", "long": "long", "short": "long",
    "byte": "long", "bigInteger": "long", "float": "double",
    "double": "double", "bigDecimal": "double", "timestamp": "date",
}
# Calls whose answer CloudTrail leaves out: anything that only reads.
READ_ONLY = re.compile(
    r"(Admin)?(Batch)?(Describe|Get|List|Head|Search|Lookup|Query|Scan|Select|"
    r"Filter|Simulate|Preview|Test|Validate|Estimate|Check|Count|Detect|Discover|"
    r"Verify|Compare|Calculate|View|Is|Can|Evaluate)(?![a-z])")
# Read-only by name, yet CloudTrail is known to log an answer for them.
ANSWERED = {("sts", "GetSessionToken"), ("sts", "GetFederationToken"),
            ("ecs", "DiscoverPollEndpoint"), ("ec2", "GetConsoleOutput")}
# CloudTrail's eventSource host where it differs from the signing name.
SOURCE = {"opensearch": "es", "cloudwatch": "monitoring", "elb": "elasticloadbalancing",
          "elbv2": "elasticloadbalancing", "sesv2": "ses", "ses": "ses", "s3control": "s3",
          "events": "events", "stepfunctions": "states", "wafv2": "wafv2"}

# Services whose bodies are logged as they were sent, in part or always: member names keep their first letter.
AS_SENT = {"account", "ce", "chatbot", "dataexchange", "devops-guru", "greengrass", "mediatailor", "pinpoint-sms-voice",
           "resource-explorer-2", "securityhub", "synthetics"}

# Facts no model holds, taken from the field lists and examples AWS publishes
# for CloudTrail and from events seen in the wild.
FIXED = [
    ("additionalEventData", OBJECT, "signin"), ("additionalEventData", OBJECT, "s3"),
    ("additionalEventData", OBJECT, "autoscaling"), ("additionalEventData", OBJECT, "route53"),
    ("additionalEventData", OBJECT, "codecommit"), ("additionalEventData", "string", "kms"),
    ("apiVersion", "string", "lambda"), ("apiVersion", "date", "cloudfront"),
    ("requestParameters.domainName", OBJECT, "route53domains"),
    ("requestParameters.attribute", MAP, "sqs"),
    ("requestParameters.bucketPolicy", DOCUMENT, "s3"),
    ("userIdentity.sessionContext.webIdFederationData.attributes", MAP, "sts"),
    ("serviceEventDetails", DOCUMENT, "*"),
]
