"""Facts about CloudTrail that the API models lack, and the classes of types."""
OBJECT, MAP, DOCUMENT = "object", "map", "document"
NON_SCALAR = {OBJECT, MAP, DOCUMENT}

# Facts no model holds, taken from the field lists and examples AWS publishes
# for CloudTrail and from events seen in the wild.
FIXED = [
    ("additionalEventData", OBJECT, "signin"), ("additionalEventData", OBJECT, "s3"),
    ("additionalEventData", OBJECT, "autoscaling"), ("additionalEventData", OBJECT, "route53"),
    ("additionalEventData", OBJECT, "codecommit"), ("additionalEventData", "string", "kms"),
    ("apiVersion", "string", "lambda"), ("apiVersion", "date", "cloudfront"),
    ("requestParameters.domainName", OBJECT, "route53domains"),
    ("requestParameters.attribute", MAP, "sqs"),
    ("requestParameters.blockDeviceMapping.items.noDevice", OBJECT, "ec2"),
    ("requestParameters.bucketPolicy", DOCUMENT, "s3"),
    ("userIdentity.sessionContext.webIdFederationData.attributes", MAP, "sts"),
    ("serviceEventDetails", DOCUMENT, "*"),
]
