"""What the events of the corpus look like: text with slots (`@ID@`, `@TIME@`, …) that the corpus fills in.

Three kinds: invented events with the shapes and type conflicts that CloudTrail has, real ones from a folder of samples, and hard ones
that break careless rewriting. The order of the calls to `rng` decides every byte of the corpus: a change here makes it another corpus.
"""

import glob
import gzip
import json
import os
import re

REGIONS = ["us-east-1"] * 6 + ["eu-west-1"] * 3 + ["us-west-2"] * 2 + ["eu-central-1", "ap-southeast-2", "sa-east-1"]
ACCOUNTS = ["111122223333"] * 5 + ["123456789012"] * 3 + ["444455556666"] * 2
AGENTS = [
    "aws-cli/2.17.4 md/awscrt#0.20.11 ua/2.0 os/linux#6.1.92 md/arch#x86_64 lang/python#3.11.8 md/pyimpl#CPython cfg/retry-mode#standard",
    "Boto3/1.34.131 md/Botocore#1.34.131 ua/2.0 os/linux#5.10.219 md/arch#aarch64 lang/python#3.12.3 cfg/retry-mode#legacy Botocore/1.34.131",
    "APN/1.0 HashiCorp/1.0 Terraform/1.8.5 (+https://www.terraform.io) terraform-provider-aws/5.55.0 aws-sdk-go-v2/1.30.0 os/linux lang/go#1.22.4",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "autoscaling.amazonaws.com",
    "cloudformation.amazonaws.com",
    "AWS Internal",
    "lambda.amazonaws.com",
    "aws-sdk-java/1.12.750 Linux/5.10.219-208.866.amzn2.x86_64 OpenJDK_64-Bit_Server_VM/17.0.11+9-LTS java/17.0.11 vendor/Amazon.com_Inc.",
]
ROLES = [
    "ci-deploy",
    "eks-node",
    "data-pipeline",
    "OrganizationAccountAccessRole",
    "AWSServiceRoleForConfig",
    "web-frontend",
    "night-batch",
]
USERS = ["alice", "bob", "svc-backup", "terraform", "j\u00f6rg", "\u5c0f\u6797"]
TLS = {"tlsVersion": "TLSv1.3", "cipherSuite": "TLS_AES_128_GCM_SHA256", "clientProvidedHostHeader": None}


def policy(rng):
    """Returns a policy document as text, as IAM and SQS carry it."""
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "S%d" % i,
                    "Effect": "Allow",
                    "Action": rng.sample(
                        ["s3:GetObject", "s3:PutObject", "kms:Decrypt", "sqs:SendMessage", "ec2:Describe*"], 3
                    ),
                    "Resource": "arn:aws:s3:::bucket-%d/*" % rng.randrange(900),
                    "Condition": {"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}},
                }
                for i in range(rng.randrange(1, 4))
            ],
        },
        indent=rng.choice([None, 2]),
    )


def who(rng, account, service):
    """Returns a userIdentity: roles mostly, then users, services and root."""
    kind = rng.random()
    if kind < 0.62:
        role, session = rng.choice(ROLES), rng.choice(
            [f"i-0{rng.getrandbits(60):015x}", "session-%d" % rng.randrange(10**9), "build.%d" % rng.randrange(9999)]
        )
        pid = "AROA" + "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", k=17))
        u = {
            "type": "AssumedRole",
            "principalId": pid + ":" + session,
            "arn": f"arn:aws:sts::{account}:assumed-role/{role}/{session}",
            "accountId": account,
            "accessKeyId": "@KEY@",
            "sessionContext": {
                "sessionIssuer": {
                    "type": "Role",
                    "principalId": pid,
                    "arn": f"arn:aws:iam::{account}:role/{role}",
                    "accountId": account,
                    "userName": role,
                },
                "webIdFederationData": {},
                "attributes": {"creationDate": "@TIME@", "mfaAuthenticated": "false"},
            },
        }
        if rng.random() < 0.3:
            u["sessionContext"]["ec2RoleDelivery"] = "2.0"
        if rng.random() < 0.2:
            u["invokedBy"] = service
        return u
    if kind < 0.8:
        name = rng.choice(USERS)
        return {
            "type": "IAMUser",
            "principalId": "AIDA" + "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", k=17)),
            "arn": f"arn:aws:iam::{account}:user/{name}",
            "accountId": account,
            "accessKeyId": "@KEY@",
            "userName": name,
        }
    if kind < 0.97:
        return {"type": "AWSService", "invokedBy": service}
    return {
        "type": "Root",
        "principalId": account,
        "arn": f"arn:aws:iam::{account}:root",
        "accountId": account,
        "accessKeyId": "",
    }


def tags(rng, n=6):
    """Returns one to five tags."""
    return [
        {
            "key": rng.choice(["Name", "env", "team", "cost-center", "aws:cloudformation:stack-name", "owner"]),
            "value": f"v-{rng.getrandbits(40):x}",
        }
        for _ in range(rng.randrange(1, n))
    ]


def instance(rng):
    """Returns one started instance of a RunInstances answer."""

    def h():
        return f"{rng.getrandbits(68):017x}"

    return {
        "instanceId": "i-" + h(),
        "imageId": "ami-" + h(),
        "instanceState": {"code": 0, "name": "pending"},
        "privateDnsName": "ip-10-0-%d-%d.ec2.internal" % (rng.randrange(255), rng.randrange(255)),
        "amiLaunchIndex": rng.randrange(9),
        "productCodes": {},
        "instanceType": rng.choice(["t3.micro", "m6i.xlarge", "c7g.large"]),
        "launchTime": 1717243800000 + rng.randrange(10**9),
        "placement": {"availabilityZone": "us-east-1a", "tenancy": "default"},
        "monitoring": {"state": "disabled"},
        "subnetId": "subnet-" + h(),
        "vpcId": "vpc-" + h(),
        "privateIpAddress": "10.0.%d.%d" % (rng.randrange(255), rng.randrange(255)),
        "stateReason": {"code": "pending", "message": "pending"},
        "architecture": "x86_64",
        "rootDeviceType": "ebs",
        "blockDeviceMapping": {},
        "virtualizationType": "hvm",
        "hypervisor": "xen",
        "tagSet": {"items": tags(rng)},
        "clientToken": h(),
        "groupSet": {"items": [{"groupId": "sg-" + h(), "groupName": "default"}]},
        "sourceDestCheck": True,
        "ebsOptimized": False,
    }


def body(rng, account):
    """(source, name, readOnly, requestParameters, responseElements, extra) of one event; shapes and type conflicts as CloudTrail has them."""

    def h(n=17):
        return "%0*x" % (n, rng.getrandbits(n * 4))

    b = "bucket-%d" % rng.randrange(900)
    pick = rng.random()
    if pick < 0.14:
        return (
            "sts.amazonaws.com",
            "AssumeRole",
            True,
            {
                "roleArn": f"arn:aws:iam::{account}:role/{rng.choice(ROLES)}",
                "roleSessionName": f"s-{h(12)}",
                "externalId": h(8),
                "durationSeconds": 3600,
                **({"policy": policy(rng)} if rng.random() < 0.2 else {}),
            },
            {
                "credentials": {
                    "accessKeyId": "@KEY@",
                    "expiration": "Jun 1, 2024, 1:10:00 PM",
                    "sessionToken": "".join(
                        rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", k=356)
                    )
                    + "==",
                },
                "assumedRoleUser": {
                    "assumedRoleId": f"AROA{h(17).upper()}:s",
                    "arn": f"arn:aws:sts::{account}:assumed-role/x/s",
                },
            },
            {},
        )
    if pick < 0.27:
        return (
            "kms.amazonaws.com",
            "Decrypt",
            True,
            {
                "encryptionContext": {
                    "aws:s3:arn": f"arn:aws:s3:::{b}/{h(24)}",
                    "PARAMETER_ARN": f"arn:aws:ssm:us-east-1:{account}:parameter/p/{h(6)}",
                },
                "encryptionAlgorithm": "SYMMETRIC_DEFAULT",
            },
            None,
            {
                "resources": [
                    {
                        "accountId": account,
                        "type": "AWS::KMS::Key",
                        "ARN": f"arn:aws:kms:us-east-1:{account}:key/{h(32)}",
                    }
                ]
            },
        )
    if pick < 0.42:
        return (
            "ec2.amazonaws.com",
            rng.choice(["DescribeInstances", "DescribeVolumes", "DescribeSnapshots"]),
            True,
            {
                "maxResults": 1000,
                "instancesSet": {"items": [{"instanceId": "i-" + h()} for _ in range(rng.randrange(0, 6))]},
                "filterSet": {
                    "items": [{"name": "tag:env", "valueSet": {"items": [{"value": "prod"}, {"value": "stage"}]}}]
                },
            },
            None,
            {},
        )
    if pick < 0.47:
        return (
            "ec2.amazonaws.com",
            "RunInstances",
            False,
            {
                "instancesSet": {"items": [{"imageId": "ami-" + h(), "minCount": 1, "maxCount": 2}]},
                "userData": "<sensitiveDataRemoved>",
                "instanceType": "t3.micro",
                "blockDeviceMapping": {},
                "monitoring": {"enabled": False},
                "iamInstanceProfile": {"name": "web"},
                "tagSpecificationSet": {"items": [{"resourceType": "instance", "tags": tags(rng)}]},
            },
            {
                "requestId": "@REQ@",
                "reservationId": "r-" + h(),
                "ownerId": account,
                "groupSet": {},
                "instancesSet": {"items": [instance(rng) for _ in range(rng.randrange(1, 3))]},
            },
            {},
        )
    if pick < 0.52:
        return (
            "ec2.amazonaws.com",
            "DescribeInstanceAttribute",
            True,
            {"instanceId": "i-" + h(), "attribute": rng.choice(["disableApiTermination", "userData"])},
            None,
            {},
        )
    if pick < 0.55:
        return (
            "sqs.amazonaws.com",
            "CreateQueue",
            False,
            {
                "queueName": "q-" + h(6),
                "attribute": {"FifoQueue": "true", "VisibilityTimeout": "30", "Policy": policy(rng)},
            },
            {"queueUrl": f"https://sqs.us-east-1.amazonaws.com/{account}/q"},
            {},
        )
    if pick < 0.68:
        return (
            "s3.amazonaws.com",
            rng.choice(["GetObject", "PutObject", "HeadObject"]),
            rng.random() < 0.5,
            {
                "bucketName": b,
                "Host": b + ".s3.amazonaws.com",
                "key": "year=2024/month=06/%s/part-%05d.parquet" % (h(8), rng.randrange(10**5)),
            },
            None,
            {
                "additionalEventData": {
                    "SignatureVersion": "SigV4",
                    "CipherSuite": "TLS_AES_128_GCM_SHA256",
                    "bytesTransferredIn": rng.randrange(10**7),
                    "AuthenticationMethod": "AuthHeader",
                    "x-amz-id-2": "".join(rng.choices("ABCDEFGHabcdefgh0123456789+/", k=76)),
                    "bytesTransferredOut": float(rng.randrange(10**6)),
                },
                "resources": [
                    {"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::{b}/k"},
                    {"accountId": account, "type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::" + b},
                ],
            },
        )
    if pick < 0.72:
        return (
            "s3.amazonaws.com",
            "GetBucketPolicy",
            True,
            {"bucketName": b, "Host": "s3.amazonaws.com", "policy": [""]},
            None,
            {"errorCode": "NoSuchBucketPolicy", "errorMessage": "The bucket policy does not exist"},
        )
    if pick < 0.74:
        return (
            "glacier.amazonaws.com",
            "SetDataRetrievalPolicy",
            False,
            {"accountId": "-", "policy": {"rules": [{"strategy": "FreeTier"}]}},
            None,
            {},
        )
    if pick < 0.76:
        return (
            "health.amazonaws.com",
            "DescribeEvents",
            True,
            {"filter": {"eventStatusCodes": ["open", "upcoming"], "startTimes": [{"from": "Aug 16, 2018 7:12:08 AM"}]}},
            None,
            {},
        )
    if pick < 0.78:
        return (
            "iam.amazonaws.com",
            "GetAccountAuthorizationDetails",
            True,
            {"filter": ["User"], "maxItems": 100},
            None,
            {},
        )
    if pick < 0.80:
        return "events.amazonaws.com", "DescribeRule", True, {"rule": "rule-" + h(8)}, None, {}
    if pick < 0.82:
        return (
            "ses.amazonaws.com",
            "CreateReceiptRule",
            False,
            {
                "rule": {
                    "name": "m-" + h(),
                    "enabled": True,
                    "scanEnabled": True,
                    "actions": [{"s3Action": {"bucketName": b}}],
                },
                "ruleSetName": "default",
            },
            None,
            {},
        )
    if pick < 0.84:
        return (
            "autoscaling.amazonaws.com",
            "CreateLaunchConfiguration",
            False,
            {
                "iamInstanceProfile": f"arn:aws:iam::{account}:instance-profile/ecs",
                "imageId": "ami-" + h(),
                "instanceType": "t3.micro",
            },
            None,
            {"additionalEventData": {"service": "application-autoscaling"}},
        )
    if pick < 0.86:
        return "kms.amazonaws.com", "RetireGrant", False, None, None, {"additionalEventData": "Grant ID: " + h(64)}
    if pick < 0.88:
        return (
            "signin.amazonaws.com",
            "ConsoleLogin",
            False,
            None,
            {"ConsoleLogin": "Success"},
            {
                "additionalEventData": {
                    "LoginTo": "https://console.aws.amazon.com/console/home?state=hashArgs%23&isauthcode=true",
                    "MobileVersion": "No",
                    "MFAUsed": "Yes",
                }
            },
        )
    if pick < 0.91:
        return (
            "iam.amazonaws.com",
            "CreatePolicy",
            False,
            {"policyName": "p-" + h(6), "policyDocument": policy(rng), "tags": []},
            {
                "policy": {
                    "policyName": "p",
                    "policyId": "ANPA" + h().upper(),
                    "arn": f"arn:aws:iam::{account}:policy/p",
                    "path": "/",
                    "defaultVersionId": "v1",
                    "attachmentCount": 0,
                    "permissionsBoundaryUsageCount": 0,
                    "isAttachable": True,
                    "createDate": "Jun 1, 2024, 12:10:00 PM",
                    "updateDate": "Jun 1, 2024, 12:10:00 PM",
                }
            },
            {},
        )
    if pick < 0.94:
        return (
            "lambda.amazonaws.com",
            "UpdateFunctionConfiguration20150331v2",
            False,
            {"functionName": "fn-" + h(5), "environment": {}, "timeout": 30, "memorySize": 512},
            {
                "functionName": "fn",
                "runtime": "python3.12",
                "codeSize": 18446744073709551615,
                "lastModified": "2024-06-01T12:10:00.000+0000",
                "environment": {"variables": {}},
                "vpcConfig": {"subnetIds": [], "securityGroupIds": []},
                "revisionId": h(32),
            },
            {},
        )
    if pick < 0.97:
        return (
            "logs.amazonaws.com",
            "CreateLogStream",
            False,
            {"logGroupName": "/aws/lambda/fn-" + h(5), "logStreamName": "2024/06/01/[$LATEST]" + h(32)},
            None,
            {"apiVersion": "20140328"},
        )
    return (
        "rds.amazonaws.com",
        "CreateDBCluster",
        False,
        {"dBClusterIdentifier": "c-" + h(5), "engine": "aurora-mysql", "tags": tags(rng), "port": 3306},
        {
            "endpoint": "c.cluster-x.eu-west-3.rds.amazonaws.com",
            "allocatedStorage": 1,
            "dbClusterMembers": [],
            "clusterCreateTime": "Jun 1, 2024, 12:10:00 PM",
            "backupRetentionPeriod": 7,
            "serverlessV2": {"minCapacity": 0.5, "maxCapacity": 16.0},
        },
        {},
    )


def synthetic(rng):
    """Returns the template of an event made up from the shapes above."""
    account = "@ACCT@"
    src, name, ro, req, resp, extra = body(rng, account)
    e = {
        "eventVersion": rng.choice(["1.08", "1.09", "1.10", "1.11"]),
        "userIdentity": who(rng, account, src),
        "eventTime": "@TIME@",
        "eventSource": src,
        "eventName": name,
        "awsRegion": "@REGION@",
        "sourceIPAddress": "@IP@" if rng.random() < 0.8 else src,
        "userAgent": rng.choice(AGENTS),
    }
    for k in ("errorCode", "errorMessage"):
        if k in extra:
            e[k] = extra.pop(k)
    if rng.random() < 0.07 and "errorCode" not in e:
        e["errorCode"] = "AccessDenied"
        e["errorMessage"] = (
            'User: arn:aws:sts::@ACCT@:assumed-role/x/y is not authorized to perform: {}:{} on resource: "*" because no identity-based policy allows it\n\twith an explicit deny'.format(src.split(".")[0], name)
        )
    e.update({"requestParameters": req, "responseElements": resp})
    e.update(extra)
    e.update(
        {
            "requestID": "@REQ@",
            "eventID": "@ID@",
            "readOnly": ro,
            "eventType": "AwsApiCall" if name != "ConsoleLogin" else "AwsConsoleSignIn",
            "managementEvent": not name.endswith("Object"),
            "recipientAccountId": account,
            "eventCategory": "Management" if not name.endswith("Object") else "Data",
        }
    )
    if rng.random() < 0.7:
        e["tlsDetails"] = dict(TLS, clientProvidedHostHeader=src)
    if rng.random() < 0.05:
        e["sharedEventID"] = "@REQ@"
    if rng.random() < 0.05:
        e["sessionCredentialFromConsole"] = "true"
    return json.dumps(e, separators=(",", ":"), ensure_ascii=rng.random() < 0.5)


# Shapes that break careless rewriting: escapes, lone surrogates, big numbers, exponents, duplicate keys, deep nesting, spaces, empty keys, dots.
HARD = [
    r'"requestParameters":{"name":"tab\t nl\n quote\" back\\ slash\/ nul\u0000 \ud83d\ude00 lone\ud83d x","raw":"é漢字😀","a.b":{"c.d":1},"":"empty key","policy":[{"x":[[]]},""]}',
    r'"requestParameters":{"big":123456789012345678901234567890,"u64":18446744073709551615,"i64":-9223372036854775808,"f":1.0,"e":1E400,"neg0":-0.0,"prec":0.1000000000000000055511151231257827}',
    r'"requestParameters":{"dup":1,"dup":{"x":2},"policy":"a","policy":{"b":"]}{[\\"}}',
    r'"requestParameters" : { "spaced" : [ 1 , 2 , { "k" : "v, ]}" } ] , "policy" : "{\"Version\":\"2012-10-17\"}" }',
    '"requestParameters":{"deep":' + '{"n":' * 60 + "[1]" + "}" * 60 + "}",
    '"requestParameters":{"filter":{"values":[' + ",".join('"%s"' % ("x" * 200) for _ in range(120)) + "]}}",
]


def hard(rng):
    """Returns the template of an event that breaks careless rewriting."""
    shape = rng.randrange(len(HARD))
    return (
        '{"eventVersion":"1.08","userIdentity":{"type":"AWSAccount","principalId":"","accountId":"ANONYMOUS_PRINCIPAL"},"eventTime":"@TIME@",'
        '"eventSource":"hard.amazonaws.com","eventName":"Hard%d","awsRegion":"@REGION@","sourceIPAddress":"@IP@","userAgent":"h",%s,'
        '"responseElements":null,"requestID":"@REQ@","eventID":"@ID@","readOnly":true,"eventType":"AwsApiCall","managementEvent":true,'
        '"recipientAccountId":"@ACCT@"}'
    ) % (shape, HARD[shape])


def real(samples):
    """Turns real events into templates: identity, time and Region become slots, so that every event made of them is unique."""
    out = []
    for path in sorted(glob.glob(os.path.join(samples, "**", "*json*"), recursive=True)):
        try:
            with (gzip.open if path.endswith(".gz") else open)(path, "rb") as f:
                data = f.read()
            doc = (
                [json.loads(line) for line in data.splitlines() if line.strip()]
                if ".ndjson" in path
                else json.loads(data)
            )
        except (ValueError, OSError, UnicodeDecodeError):
            continue
        for r in (doc.get("Records", []) if isinstance(doc, dict) else doc if isinstance(doc, list) else []):
            if not (isinstance(r, dict) and "eventID" in r and "eventName" in r):
                continue
            s = json.dumps(r, separators=(",", ":"), ensure_ascii=False)
            for key, slot in (
                ("eventID", "@ID@"),
                ("requestID", "@REQ@"),
                ("awsRegion", "@REGION@"),
                ("recipientAccountId", "@ACCT@"),
                ("eventTime", "@TIME@"),
            ):
                v = r.get(key)
                if isinstance(v, str) and len(v) > 7:
                    s = s.replace(v, slot)
            key = (r.get("userIdentity") or {}).get("accessKeyId")
            if isinstance(key, str) and re.fullmatch(r"A[SK]IA[0-9A-Z]{8,}", key):
                s = s.replace(key, "@KEY@")
            if re.fullmatch(r"[0-9.]+", str(r.get("sourceIPAddress"))):
                s = s.replace(r["sourceIPAddress"], "@IP@")
            try:
                s.encode()  # a lone surrogate belongs to the hard share, not to the clean corpus
            except UnicodeEncodeError:
                continue
            if s.count("@ID@"):
                out.append(s)
    return out
