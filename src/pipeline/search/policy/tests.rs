//! Policies of realistic events, and the promises of all policies: grammar, exactness, determinism.

use serde_json::{Value, json};

use super::*;
use crate::pipeline::search::policy::document::{MAX_DOCUMENT_CHARS, chars};

fn event(source: &str, name: &str, parameters: Value) -> Value {
    let mut event = json!({
        "eventVersion": "1.08", "eventSource": source, "eventName": name, "awsRegion": "eu-west-1",
        "recipientAccountId": "111122223333", "eventType": "AwsApiCall",
        "userIdentity": {
            "type": "AssumedRole", "principalId": "AROAEXAMPLE:alice", "accountId": "111122223333",
            "arn": "arn:aws:sts::111122223333:assumed-role/Admin/alice",
            "sessionContext": {"sessionIssuer": {"type": "Role", "arn": "arn:aws:iam::111122223333:role/ops/Admin", "userName": "Admin"}},
        },
    });
    event["requestParameters"] = parameters;
    event
}

fn policy(events: &[Value]) -> PrincipalPolicy {
    let mut policy = LeastPolicy::default();
    for event in events {
        policy.add(event);
    }
    let report = policy.finish();
    assert_eq!(report.policies.len(), 1, "{report:?}");
    report.policies.into_iter().next().unwrap()
}

fn statement(source: &str, name: &str, parameters: Value) -> Value {
    let policy = policy(&[event(source, name, parameters)]);
    let statements = policy.documents[0]["Statement"].as_array().unwrap();
    assert_eq!(statements.len(), 1, "{statements:?}");
    statements[0].clone()
}

#[test]
fn an_action_is_allowed_on_the_resource_in_the_region() {
    let policy =
        policy(&[event("dynamodb.amazonaws.com", "PutItem", json!({"tableName": "orders"}))]);
    assert_eq!(
        (policy.principal.as_str(), policy.arn.as_str()),
        ("role/Admin", "arn:aws:iam::111122223333:role/ops/Admin")
    );
    assert_eq!(
        policy.documents,
        [json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Action": ["dynamodb:PutItem"],
            "Resource": ["arn:aws:dynamodb:eu-west-1:111122223333:table/orders"],
            "Condition": {"StringEquals": {"aws:RequestedRegion": ["eu-west-1"]}},
        }]})]
    );
}

/// Checks the action and the resource that the policies of calls name.
fn check_resources<const N: usize>(calls: [(&str, &str, Value, &str, &str); N]) {
    for (source, name, parameters, action, resource) in calls {
        let statement = statement(source, name, parameters);
        assert_eq!(statement["Action"], json!([action]), "{name}");
        assert_eq!(statement["Resource"], json!([resource]), "{name}");
    }
}

#[test]
fn resources_of_well_known_services_are_named() {
    check_resources([
        (
            "s3.amazonaws.com",
            "GetObject",
            json!({"bucketName": "logs", "key": "a/b c.txt"}),
            "s3:GetObject",
            "arn:aws:s3:::logs/a/b c.txt",
        ),
        (
            "s3.amazonaws.com",
            "GetObject",
            json!({"bucketName": "logs", "key": "a", "versionId": "v"}),
            "s3:GetObjectVersion",
            "arn:aws:s3:::logs/a",
        ),
        (
            "s3.amazonaws.com",
            "GetObject",
            json!({"bucketName": "logs", "key": "a*$?"}),
            "s3:GetObject",
            "arn:aws:s3:::logs/a${*}${$}${?}",
        ),
        (
            "s3.amazonaws.com",
            "ListObjectsV2",
            json!({"bucketName": "logs"}),
            "s3:ListBucket",
            "arn:aws:s3:::logs",
        ),
        (
            "s3.amazonaws.com",
            "PutBucketEncryption",
            json!({"bucketName": "logs"}),
            "s3:PutEncryptionConfiguration",
            "arn:aws:s3:::logs",
        ),
        (
            "lambda.amazonaws.com",
            "UpdateFunctionCode20150331v2",
            json!({"functionName": "arn:aws:lambda:eu-west-1:111122223333:function:f"}),
            "lambda:UpdateFunctionCode",
            "arn:aws:lambda:eu-west-1:111122223333:function:f",
        ),
        (
            "lambda.amazonaws.com",
            "DeleteFunction20150331",
            json!({"functionName": "f"}),
            "lambda:DeleteFunction",
            "arn:aws:lambda:eu-west-1:111122223333:function:f",
        ),
        (
            "sqs.amazonaws.com",
            "SendMessage",
            json!({"queueUrl": "https://sqs.eu-west-1.amazonaws.com/111122223333/jobs"}),
            "sqs:SendMessage",
            "arn:aws:sqs:eu-west-1:111122223333:jobs",
        ),
        (
            "sns.amazonaws.com",
            "Publish",
            json!({"topicArn": "arn:aws:sns:eu-west-1:111122223333:t"}),
            "sns:Publish",
            "arn:aws:sns:eu-west-1:111122223333:t",
        ),
        (
            "sns.amazonaws.com",
            "CreateTopic",
            json!({"name": "t"}),
            "sns:CreateTopic",
            "arn:aws:sns:eu-west-1:111122223333:t",
        ),
        (
            "secretsmanager.amazonaws.com",
            "GetSecretValue",
            json!({"secretId": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:x-AbCdEf"}),
            "secretsmanager:GetSecretValue",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:x-AbCdEf",
        ),
        (
            "ec2.amazonaws.com",
            "StopInstances",
            json!({"instancesSet": {"items": [{"instanceId": "i-1"}]}}),
            "ec2:StopInstances",
            "arn:aws:ec2:eu-west-1:111122223333:instance/i-1",
        ),
        (
            "sts.amazonaws.com",
            "AssumeRole",
            json!({"roleArn": "arn:aws:iam::444455556666:role/x/Deploy"}),
            "sts:AssumeRole",
            "arn:aws:iam::444455556666:role/x/Deploy",
        ),
        (
            "ssm.amazonaws.com",
            "GetParameter",
            json!({"name": "/app/key"}),
            "ssm:GetParameter",
            "arn:aws:ssm:eu-west-1:111122223333:parameter/app/key",
        ),
    ]);
}

#[test]
fn resources_of_further_services_are_named() {
    check_resources([
        (
            "rds.amazonaws.com",
            "DeleteDBInstance",
            json!({"dBInstanceIdentifier": "db"}),
            "rds:DeleteDBInstance",
            "arn:aws:rds:eu-west-1:111122223333:db:db",
        ),
        (
            "secretsmanager.amazonaws.com",
            "GetSecretValue",
            json!({"secretId": "db/main"}),
            "secretsmanager:GetSecretValue",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:db/main-??????",
        ),
        (
            "route53.amazonaws.com",
            "ChangeResourceRecordSets",
            json!({"hostedZoneId": "/hostedzone/Z1"}),
            "route53:ChangeResourceRecordSets",
            "arn:aws:route53:::hostedzone/Z1",
        ),
        (
            "eks.amazonaws.com",
            "DescribeCluster",
            json!({"name": "prod"}),
            "eks:DescribeCluster",
            "arn:aws:eks:eu-west-1:111122223333:cluster/prod",
        ),
        (
            "ecs.amazonaws.com",
            "DeleteService",
            json!({"cluster": "c", "service": "s"}),
            "ecs:DeleteService",
            "arn:aws:ecs:eu-west-1:111122223333:service/c/s",
        ),
        (
            "cloudformation.amazonaws.com",
            "DeleteStack",
            json!({"stackName": "web"}),
            "cloudformation:DeleteStack",
            "arn:aws:cloudformation:eu-west-1:111122223333:stack/web/*",
        ),
        (
            "lambda.amazonaws.com",
            "Invoke",
            json!({"functionName": "111122223333:function:f"}),
            "lambda:InvokeFunction",
            "arn:aws:lambda:eu-west-1:111122223333:function:f",
        ),
        (
            "logs.amazonaws.com",
            "PutRetentionPolicy",
            json!({"logGroupName": "/aws/x", "logStreamName": "y"}),
            "logs:PutRetentionPolicy",
            "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/x:*",
        ),
        (
            "ec2.amazonaws.com",
            "AuthorizeSecurityGroupIngress",
            json!({"groupId": "sg-1", "ipPermissions": {}}),
            "ec2:AuthorizeSecurityGroupIngress",
            "arn:aws:ec2:eu-west-1:111122223333:security-group/sg-1",
        ),
        (
            "events.amazonaws.com",
            "PutRule",
            json!({"name": "r"}),
            "events:PutRule",
            "arn:aws:events:eu-west-1:111122223333:rule/r",
        ),
        (
            "autoscaling.amazonaws.com",
            "UpdateAutoScalingGroup",
            json!({"autoScalingGroupName": "web"}),
            "autoscaling:UpdateAutoScalingGroup",
            "arn:aws:autoscaling:eu-west-1:111122223333:autoScalingGroup:*:autoScalingGroupName/web",
        ),
        (
            "iam.amazonaws.com",
            "CreateRole",
            json!({"roleName": "R", "path": "/ops/"}),
            "iam:CreateRole",
            "arn:aws:iam::111122223333:role/ops/R",
        ),
        (
            "ecr.amazonaws.com",
            "PutImage",
            json!({"repositoryName": "team/app"}),
            "ecr:PutImage",
            "arn:aws:ecr:eu-west-1:111122223333:repository/team/app",
        ),
    ]);
}

#[test]
fn several_resources_of_one_call_are_all_named() {
    let statement = statement(
        "dynamodb.amazonaws.com",
        "BatchGetItem",
        json!({"requestItems": {"a": {}, "b": {}}}),
    );
    assert_eq!(statement["Resource"].as_array().unwrap().len(), 2);
    let copy = json!({"bucketName": "to", "key": "x", "x-amz-copy-source": "/from/y?versionId=1"});
    let policy = policy(&[event("s3.amazonaws.com", "CopyObject", copy)]);
    let statements = &policy.documents[0]["Statement"];
    assert_eq!(statements[0]["Action"], json!(["s3:GetObject"]));
    assert_eq!(statements[0]["Resource"], json!(["arn:aws:s3:::from/y"]));
    assert_eq!(statements[1]["Action"], json!(["s3:PutObject"]));
    assert_eq!(statements[1]["Resource"], json!(["arn:aws:s3:::to/x"]));
}

#[test]
fn an_alias_of_a_key_is_no_key() {
    let mut decrypt = event("kms.amazonaws.com", "Decrypt", json!({"keyId": "alias/app"}));
    let unknown = &policy(&[decrypt.clone()]).documents[0]["Statement"][0];
    assert_eq!(unknown["Resource"], json!(["arn:aws:kms:eu-west-1:111122223333:key/*"]));
    let arn = "arn:aws:kms:eu-west-1:111122223333:key/1234";
    decrypt["resources"] = json!([{"ARN": arn, "type": "AWS::KMS::Key"}]);
    assert_eq!(policy(&[decrypt]).documents[0]["Statement"][0]["Resource"], json!([arn]));
}

#[test]
fn services_without_regions_have_no_condition() {
    let statement = statement("iam.amazonaws.com", "DeleteUser", json!({"userName": "bob"}));
    assert_eq!(statement["Resource"], json!(["arn:aws:iam::111122223333:user/bob"]));
    assert_eq!(statement.get("Condition"), None);
}

#[test]
fn partitions_are_those_of_the_event() {
    for (partition, region) in [("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")] {
        let mut event = event("dynamodb.amazonaws.com", "PutItem", json!({"tableName": "t"}));
        event["awsRegion"] = region.into();
        event["userIdentity"] = json!({"type": "IAMUser", "userName": "bob", "arn": format!("arn:{partition}:iam::111122223333:user/bob")});
        let policy = policy(&[event]);
        assert_eq!(policy.principal, "user/bob");
        let resource = &policy.documents[0]["Statement"][0]["Resource"][0];
        assert_eq!(resource, &format!("arn:{partition}:dynamodb:{region}:111122223333:table/t"));
    }
}

#[test]
fn every_wildcard_has_a_remark() {
    let events = [
        event("s3.amazonaws.com", "ListBuckets", json!({})),
        event("ec2.amazonaws.com", "DescribeInstances", json!({})),
        event("example.amazonaws.com", "DoSomething", json!({})),
        event(
            "ec2.amazonaws.com",
            "RunInstances",
            json!({"instancesSet": {"items": [{"imageId": "ami-1"}]}}),
        ),
        event("dynamodb.amazonaws.com", "PutItem", Value::Null),
    ];
    let policy = policy(&events);
    let with_wildcard: Vec<&str> = policy.documents[0]["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|statement| statement["Resource"].as_array().unwrap())
        .filter_map(Value::as_str)
        .filter(|resource| resource.contains('*'))
        .collect();
    let remarked: Vec<&str> = policy
        .remarks
        .iter()
        .filter_map(|remark| match remark {
            PolicyRemark::Wildcard { resource, .. } => Some(resource.as_str()),
            _ => None,
        })
        .collect();
    assert!(with_wildcard.len() >= 4, "{with_wildcard:?}");
    for resource in with_wildcard {
        assert!(remarked.contains(&resource), "{resource} {:?}", policy.remarks);
    }
    let text: Vec<String> = policy.remarks.iter().map(ToString::to_string).collect();
    assert!(
        text.iter()
            .any(|line| line.contains("takes no resource") && line.contains("s3:ListAllMyBuckets")),
        "{text:?}"
    );
    assert!(text.iter().any(|line| line.contains("example:DoSomething")), "{text:?}");
}

#[test]
fn denied_calls_are_left_out_unless_they_are_asked_for() {
    let mut denied = event("iam.amazonaws.com", "DeleteUser", json!({"userName": "bob"}));
    for code in
        ["AccessDenied", "Client.UnauthorizedOperation", "AccessDeniedException", "ExpiredToken"]
    {
        denied["errorCode"] = code.into();
        let policy = policy(std::slice::from_ref(&denied));
        assert_eq!(policy.documents, Vec::<Value>::new(), "{code}");
        assert_eq!(policy.remarks, [PolicyRemark::Denied { calls: 1 }]);
    }
    let mut summary = LeastPolicy::new(DeniedCalls::Include);
    summary.add(&denied);
    assert_eq!(summary.finish().policies[0].documents.len(), 1);
    denied["errorCode"] = "NoSuchEntityException".into();
    assert_eq!(policy(&[denied]).documents.len(), 1);
}

#[test]
fn callers_that_need_no_policy_are_counted() {
    let mut summary = LeastPolicy::default();
    for identity in [
        json!({"type": "Root", "arn": "arn:aws:iam::111122223333:root"}),
        json!({"type": "AWSService", "invokedBy": "ec2.amazonaws.com"}),
        json!({"type": "SAMLUser", "userName": "alice"}),
        json!({"type": "AWSAccount", "accountId": "ANONYMOUS_PRINCIPAL"}),
        json!({}),
    ] {
        summary.add(&json!({"eventSource": "sts.amazonaws.com", "eventName": "AssumeRole", "userIdentity": identity}));
    }
    let report = summary.finish();
    assert_eq!(report.policies, []);
    assert_eq!(report.without_policy.values().sum::<u64>(), 5);
    assert_eq!(report.to_text(), "");
    assert_eq!(report.remarks().len(), 3);
}

#[test]
fn one_document_is_printed_as_it_is_and_several_with_their_principals() {
    let user = |name: &str, event_name: &str, table: &str| {
        let mut event = event("dynamodb.amazonaws.com", event_name, json!({"tableName": table}));
        let arn = format!("arn:aws:iam::111122223333:user/{name}");
        event["userIdentity"] = json!({"type": "IAMUser", "userName": name, "arn": arn});
        event
    };
    let text = |events: &[Value]| {
        let mut policy = LeastPolicy::new(DeniedCalls::LeaveOut);
        for event in events {
            policy.add(event);
        }
        policy.finish().to_text()
    };
    let one = text(&[user("alice", "GetItem", "a")]);
    let document: Value = serde_json::from_str(&one).unwrap();
    assert_eq!(document["Version"], "2012-10-17");
    assert!(one.lines().count() > 3, "it is made for reading: {one}");

    let several = text(&[user("alice", "GetItem", "a"), user("bob", "PutItem", "b")]);
    let lines: Vec<Value> =
        several.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let principals: Vec<&Value> = lines.iter().map(|line| &line["principal"]).collect();
    assert_eq!(principals, ["user/alice", "user/bob"]);
    assert_eq!(lines[0]["documents"][0], document);
}

#[test]
fn statements_are_merged_and_do_not_depend_on_the_order() {
    let names = ["GetItem", "PutItem", "DeleteItem"];
    let mut events: Vec<Value> = names
        .iter()
        .flat_map(|name| {
            ["a", "b"]
                .map(|table| event("dynamodb.amazonaws.com", name, json!({"tableName": table})))
        })
        .collect();
    let forward = policy(&events);
    assert_eq!(forward.documents[0]["Statement"].as_array().unwrap().len(), 1);
    assert_eq!(forward.documents[0]["Statement"][0]["Action"].as_array().unwrap().len(), 3);
    events.reverse();
    assert_eq!(policy(&events), forward);
    let (mut first, mut second) = (LeastPolicy::default(), LeastPolicy::default());
    events[..2].iter().for_each(|event| first.add(event));
    events[2..].iter().for_each(|event| second.add(event));
    second.merge(first);
    assert_eq!(second.finish().policies, [forward]);
}

#[test]
fn nothing_is_allowed_that_was_not_found() {
    let mut other_region = event("dynamodb.amazonaws.com", "GetItem", json!({"tableName": "b"}));
    other_region["awsRegion"] = "us-east-1".into();
    let mut bucket = event("s3.amazonaws.com", "GetBucketAcl", json!({"bucketName": "y"}));
    bucket["awsRegion"] = "us-east-1".into();
    let policy = policy(&[
        event("dynamodb.amazonaws.com", "PutItem", json!({"tableName": "a"})),
        other_region,
        event("s3.amazonaws.com", "GetBucketAcl", json!({"bucketName": "x"})),
        bucket,
    ]);
    let mut allowed = Vec::new();
    for statement in policy.documents[0]["Statement"].as_array().unwrap() {
        for action in statement["Action"].as_array().unwrap() {
            for resource in statement["Resource"].as_array().unwrap() {
                for region in statement["Condition"]["StringEquals"]["aws:RequestedRegion"]
                    .as_array()
                    .unwrap()
                {
                    allowed.push(format!(
                        "{} {} {}",
                        action.as_str().unwrap(),
                        resource.as_str().unwrap(),
                        region.as_str().unwrap()
                    ));
                }
            }
        }
    }
    allowed.sort();
    assert_eq!(
        allowed,
        [
            "dynamodb:GetItem arn:aws:dynamodb:us-east-1:111122223333:table/b us-east-1",
            "dynamodb:PutItem arn:aws:dynamodb:eu-west-1:111122223333:table/a eu-west-1",
            "s3:GetBucketAcl arn:aws:s3:::x eu-west-1",
            "s3:GetBucketAcl arn:aws:s3:::y us-east-1",
        ]
    );
}

#[test]
fn a_large_policy_is_split_below_the_limit_of_a_managed_policy() {
    let events: Vec<Value> = (0..150)
        .map(|number| {
            event(
                "dynamodb.amazonaws.com",
                "PutItem",
                json!({"tableName": format!("table-with-a-long-name-{number}")}),
            )
        })
        .collect();
    let policy = policy(&events);
    assert!(policy.documents.len() > 1);
    let mut resources = 0;
    for document in &policy.documents {
        assert!(chars(document) <= MAX_DOCUMENT_CHARS);
        for statement in document["Statement"].as_array().unwrap() {
            resources += statement["Resource"].as_array().unwrap().len();
        }
    }
    assert_eq!(resources, 150);
    assert!(policy.remarks.contains(&PolicyRemark::Split { documents: policy.documents.len() }));
}

#[test]
fn an_action_on_very_many_resources_is_widened_and_remarked() {
    let objects: Vec<Value> = (0..5_000)
        .map(|number| {
            event(
                "s3.amazonaws.com",
                "GetObject",
                json!({"bucketName": "logs", "key": format!("a/{}/{number}", number % 7)}),
            )
        })
        .collect();
    let forward = policy(&objects);
    let resources = &forward.documents[0]["Statement"][0]["Resource"];
    assert_eq!(resources[0], "arn:aws:s3:::logs/a/0/*");
    assert_eq!(resources.as_array().unwrap().len(), 7);
    assert!(
        matches!(forward.remarks.as_slice(), [PolicyRemark::Widened { .. }]),
        "{:?}",
        forward.remarks
    );
    // Parts of workers, none of which is widened on its own as far.
    let mut merged = LeastPolicy::default();
    for part in objects.chunks(90).rev() {
        let mut summary = LeastPolicy::default();
        for event in part {
            summary.add(event);
        }
        merged.merge(summary);
    }
    assert_eq!(merged.finish().policies, [forward]);
}

#[test]
fn sign_ins_and_service_events_are_remarked_as_no_action() {
    let mut service = event("kms.amazonaws.com", "RotateKey", Value::Null);
    service["eventType"] = "AwsServiceEvent".into();
    let policy = policy(&[event("signin.amazonaws.com", "SwitchRole", Value::Null), service]);
    assert_eq!(policy.documents, Vec::<Value>::new());
    assert_eq!(
        policy.remarks,
        [PolicyRemark::NoAction {
            events: vec![("RotateKey".to_owned(), 1), ("SwitchRole".to_owned(), 1)]
        }]
    );
}

/// The grammar of policies that the IAM user guide gives, as far as policies of identities are concerned.
fn check_grammar(document: &Value) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let keys: Vec<&String> = document.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["Version", "Statement"]);
    assert_eq!(document["Version"], "2012-10-17");
    let statements = document["Statement"].as_array().unwrap();
    assert!(!statements.is_empty());
    for statement in statements {
        for key in statement.as_object().unwrap().keys() {
            assert!(["Effect", "Action", "Resource", "Condition"].contains(&key.as_str()));
        }
        assert_eq!(statement["Effect"], "Allow");
        let actions = statement["Action"].as_array().unwrap();
        assert!(!actions.is_empty());
        for action in actions.iter().map(text) {
            let (prefix, name) = action.split_once(':').unwrap();
            let is_part = |part: &str| {
                !part.is_empty()
                    && part
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            };
            assert!(is_part(prefix) && is_part(name), "{action}");
        }
        let resources = statement["Resource"].as_array().unwrap();
        assert!(!resources.is_empty());
        for resource in resources.iter().map(text) {
            assert!(
                resource == "*" || resource.starts_with("arn:") && resource.split(':').count() >= 6,
                "{resource}"
            );
        }
        if let Some(condition) = statement.get("Condition") {
            let regions = condition["StringEquals"]["aws:RequestedRegion"].as_array().unwrap();
            assert!(!regions.is_empty());
        }
    }
    assert!(chars(document) <= MAX_DOCUMENT_CHARS);
}

#[test]
fn policies_of_all_public_events_follow_the_grammar_and_do_not_depend_on_the_order() {
    let mut events = crate::filter::principal::tests::corpus();
    let finish = |events: &[Value]| {
        let mut summary = LeastPolicy::new(DeniedCalls::Include);
        for event in events {
            summary.add(event);
        }
        summary.finish()
    };
    let report = finish(&events);
    assert!(report.policies.len() > 50, "{}", report.policies.len());
    for policy in &report.policies {
        policy.documents.iter().for_each(check_grammar);
    }
    events.reverse();
    assert_eq!(finish(&events), report);
}
