"""Decides which kind keeps the plain key where services disagree."""
from .facts import NON_SCALAR, OBJECT

# Services that most accounts use every day, so their kind outweighs that of others.
CORE = set("ec2 s3 iam sts kms rds lambda ssm logs monitoring dynamodb sqs sns ecs ecr eks autoscaling "
           "elasticloadbalancing cloudformation route53 cloudtrail config secretsmanager events glue "
           "organizations cloudfront acm backup guardduty".split())
CORE_WEIGHT = 20
# Exceptions to the weights: fields that are often queried, and EC2's {"value": x} wrappers, which are unwrapped.
PIN = {"responseElements.role": "object", "requestParameters.rule": "scalar",
       **{f"requestParameters.{n}": "scalar" for n in (
           "disableApiTermination", "disableApiStop", "ebsOptimized", "enaSupport", "imdsSupport",
           "sourceDestCheck", "sriovNetSupport", "instanceInitiatedShutdownBehavior")}}


def canonical(path, classes):
    """Returns the kind with the greater weight; objects win ties."""
    if path in PIN:
        return PIN[path]
    objects, scalars = (set().union(*(names for cls, names in classes.items() if (cls in NON_SCALAR) == side))
                        for side in (True, False))
    return OBJECT if objects and weight(objects) >= weight(scalars) else "scalar"


def weight(services):
    return sum(CORE_WEIGHT if name in CORE else 1 for name in services)
