//! Realistic chains of credentials, in every order of their events.

use serde_json::{Value, json};

use super::*;

/// An event; `minute` of 2024-06-01 10:00.
fn event(minute: u32, source: &str, name: &str, identity: Value) -> Value {
    let mut event = json!({
        "eventID": format!("{name}-{minute}"), "eventTime": format!("2024-06-01T10:{minute:02}:00Z"),
        "eventSource": format!("{source}.amazonaws.com"), "eventName": name, "sourceIPAddress": "203.0.113.7",
        "userAgent": "aws-cli/2.15",
    });
    event["userIdentity"] = identity;
    event
}

fn alice() -> Value {
    json!({
        "type": "IAMUser", "userName": "alice", "principalId": "AIDAALICE", "accountId": "111122223333",
        "arn": "arn:aws:iam::111122223333:user/alice", "accessKeyId": "AKIAALICE",
    })
}

fn session(role: &str, name: &str, key: &str, created: u32) -> Value {
    json!({
        "type": "AssumedRole", "principalId": format!("AROA{}:{name}", role.to_uppercase()), "accountId": "111122223333",
        "arn": format!("arn:aws:sts::111122223333:assumed-role/{role}/{name}"), "accessKeyId": key,
        "sessionContext": {
            "sessionIssuer": {"type": "Role", "arn": format!("arn:aws:iam::111122223333:role/{role}"), "userName": role},
            "attributes": {"creationDate": format!("2024-06-01T10:{created:02}:00Z"), "mfaAuthenticated": "false"},
        },
    })
}

fn assume(minute: u32, identity: Value, role: &str, name: &str, key: &str) -> Value {
    let mut event = event(minute, "sts", "AssumeRole", identity);
    event["requestParameters"] = json!({"roleArn": format!("arn:aws:iam::111122223333:role/{role}"), "roleSessionName": name});
    event["responseElements"] = json!({
        "credentials": {"accessKeyId": key},
        "assumedRoleUser": {
            "assumedRoleId": format!("AROA{}:{name}", role.to_uppercase()),
            "arn": format!("arn:aws:sts::111122223333:assumed-role/{role}/{name}"),
        },
    });
    event
}

/// Traces in the given order, in the reverse one and in two parts, which has to give the same.
fn trace(target: &str, events: &[Value]) -> TraceReport {
    let run = |events: &mut dyn Iterator<Item = &Value>| {
        let mut trace = Trace::new(TraceTarget::new(target));
        events.for_each(|event| trace.add(event));
        trace
    };
    let report = run(&mut events.iter()).finish();
    assert_eq!(run(&mut events.iter().rev()).finish(), report);
    let (first, second) = events.split_at(events.len() / 2);
    let mut merged = run(&mut second.iter());
    merged.merge(run(&mut first.iter()));
    assert_eq!(merged.finish(), report);
    report
}

/// The principals from the root of the only tree down its first children.
fn path(report: &TraceReport) -> Vec<&str> {
    assert_eq!(report.trees.len(), 1, "{}", report.to_text());
    let mut node = &report.trees[0];
    let mut path = vec![node.principal.as_str()];
    while let Some(child) = node.children.first() {
        path.push(&child.principal);
        node = child;
    }
    path
}

fn chained_roles() -> Vec<Value> {
    vec![
        event(0, "iam", "ListUsers", alice()),
        assume(1, alice(), "Deploy", "alice", "ASIADEPLOY"),
        assume(2, session("Deploy", "alice", "ASIADEPLOY", 1), "Prod", "release", "ASIAPROD"),
        event(3, "s3", "DeleteBucket", session("Prod", "release", "ASIAPROD", 2)),
        event(4, "s3", "DeleteBucket", session("Prod", "release", "ASIAPROD", 2)),
    ]
}

#[test]
fn chained_roles_lead_back_to_the_user() {
    for target in [
        "ASIAPROD",
        "arn:aws:sts::111122223333:assumed-role/Prod/release",
        "AROAPROD:release",
        "release",
        "role/Prod/release",
        "role/prod",
        "arn:aws:iam::111122223333:role/Prod",
    ] {
        let report = trace(target, &chained_roles());
        assert_eq!(
            path(&report),
            ["user/alice", "role/Deploy/alice", "role/Prod/release"],
            "{target}"
        );
        assert_eq!(report.trees[0].end, Some(ChainEnd::FirstIdentity));
        let traced = &report.trees[0].children[0].children[0];
        assert!(traced.is_target && !report.trees[0].is_target);
        assert_eq!((traced.calls(), traced.access_key.as_str()), (2, "ASIAPROD"));
    }
}

#[test]
fn a_trace_shows_what_a_principal_handed_on() {
    let report = trace("user/alice", &chained_roles());
    assert_eq!(path(&report), ["user/alice", "role/Deploy/alice", "role/Prod/release"]);
    assert!(report.trees[0].is_target);
}

#[test]
fn the_text_is_a_tree_with_times_addresses_and_programs() {
    let text = trace("ASIAPROD", &chained_roles()).to_text();
    assert_eq!(
        text,
        "\
user/alice  AKIAALICE  arn:aws:iam::111122223333:user/alice
│  first identity
│  2 calls from 2024-06-01T10:00:00Z to 2024-06-01T10:01:00Z
│  from 203.0.113.7 (2)
│  with aws-cli/2.15 (2)
│  did iam:ListUsers (1), sts:AssumeRole (1)
└─ AssumeRole at 2024-06-01T10:01:00Z from 203.0.113.7 with aws-cli/2.15, event AssumeRole-1
   role/Deploy/alice  ASIADEPLOY  arn:aws:sts::111122223333:assumed-role/Deploy/alice
   │  1 call at 2024-06-01T10:02:00Z
   │  from 203.0.113.7 (1)
   │  with aws-cli/2.15 (1)
   │  did sts:AssumeRole (1)
   └─ AssumeRole at 2024-06-01T10:02:00Z from 203.0.113.7 with aws-cli/2.15, event AssumeRole-2
      role/Prod/release  ASIAPROD  arn:aws:sts::111122223333:assumed-role/Prod/release  ◀ traced
         2 calls from 2024-06-01T10:03:00Z to 2024-06-01T10:04:00Z
         from 203.0.113.7 (2)
         with aws-cli/2.15 (2)
         did s3:DeleteBucket (2)
"
    );
}

#[test]
fn both_records_of_a_call_across_accounts_count_once() {
    let mut own = assume(1, alice(), "Deploy", "alice", "ASIADEPLOY");
    own["sharedEventID"] = "shared".into();
    own["recipientAccountId"] = "111122223333".into();
    let mut other = assume(
        1,
        json!({"type": "AWSAccount", "principalId": "AIDAALICE", "accountId": "111122223333"}),
        "Deploy",
        "alice",
        "ASIADEPLOY",
    );
    other["sharedEventID"] = "shared".into();
    other["eventID"] = "other".into();
    let used = event(2, "s3", "ListBuckets", session("Deploy", "alice", "ASIADEPLOY", 1));
    let report = trace("ASIADEPLOY", &[own, other.clone(), used.clone()]);
    assert_eq!(path(&report), ["user/alice", "role/Deploy/alice"]);
    assert_eq!(report.trees[0].end, Some(ChainEnd::FirstIdentity));
    // Without the record of the own account, the unique id leads to other calls of the same user.
    let report =
        trace("ASIADEPLOY", &[event(0, "iam", "ListUsers", alice()), other.clone(), used.clone()]);
    assert_eq!(path(&report), ["user/alice", "role/Deploy/alice"]);
    // Without any call of the user, the account is the end.
    let report = trace("ASIADEPLOY", &[other, used]);
    assert_eq!(path(&report), ["account/111122223333", "role/Deploy/alice"]);
    assert_eq!(report.trees[0].end, Some(ChainEnd::OtherAccount("111122223333".to_owned())));
}

#[test]
fn session_tokens_and_federation_tokens_lead_to_the_user() {
    let mut temporary = alice();
    temporary["accessKeyId"] = "ASIATOKEN".into();
    temporary["sessionContext"] =
        json!({"attributes": {"creationDate": "2024-06-01T10:01:00Z", "mfaAuthenticated": "true"}});
    let mut token = event(1, "sts", "GetSessionToken", alice());
    token["requestParameters"] = json!({"serialNumber": "arn:aws:iam::111122223333:mfa/alice"});
    token["responseElements"] = json!({"credentials": {"accessKeyId": "ASIATOKEN"}});
    let report = trace("ASIATOKEN", &[token, event(2, "s3", "ListBuckets", temporary)]);
    assert_eq!(path(&report), ["user/alice", "user/alice"]);
    assert!(report.trees[0].children[0].has_mfa);
    assert!(report.to_text().contains("with a second factor"));

    let mut token = event(1, "sts", "GetFederationToken", alice());
    token["responseElements"] = json!({
        "credentials": {"accessKeyId": "ASIAFED"},
        "federatedUser": {"federatedUserId": "111122223333:bob", "arn": "arn:aws:sts::111122223333:federated-user/bob"},
    });
    let federated = json!({"type": "FederatedUser", "principalId": "111122223333:bob", "accountId": "111122223333",
        "arn": "arn:aws:sts::111122223333:federated-user/bob", "accessKeyId": "ASIAFED"});
    let report = trace("federated/bob", &[token, event(2, "s3", "ListBuckets", federated)]);
    assert_eq!(path(&report), ["user/alice", "federated/bob"]);
}

#[test]
fn identity_providers_and_services_are_first_identities() {
    let saml =
        json!({"type": "SAMLUser", "userName": "alice@example.com", "principalId": "x:alice"});
    let mut issued = assume(1, saml, "Sso", "alice@example.com", "ASIASAML");
    issued["eventName"] = "AssumeRoleWithSAML".into();
    let used = event(2, "s3", "ListBuckets", session("Sso", "alice@example.com", "ASIASAML", 1));
    let report = trace("*alice@example.com", &[issued, used]);
    assert_eq!(path(&report), ["saml/alice@example.com", "role/Sso/alice@example.com"]);
    assert_eq!(report.trees[0].end, Some(ChainEnd::FirstIdentity));

    let service = json!({"type": "AWSService", "invokedBy": "ec2.amazonaws.com"});
    let issued = assume(1, service, "Web", "i-0123", "ASIAINSTANCE");
    let used = event(2, "s3", "ListBuckets", session("Web", "i-0123", "ASIAINSTANCE", 1));
    let report = trace("i-0123", &[issued, used.clone()]);
    assert_eq!(path(&report), ["service/ec2", "role/Web/i-0123"]);
    let report = trace("ASIAINSTANCE", &[used]);
    assert_eq!(path(&report), ["role/Web/i-0123"]);
    assert_eq!(report.trees[0].end, Some(ChainEnd::Instance("i-0123".to_owned())));
}

#[test]
fn a_role_that_was_switched_to_in_the_console_leads_to_the_user() {
    let mut switched = event(
        1,
        "signin",
        "SwitchRole",
        json!({
            "type": "AssumedRole", "principalId": "AROAADMIN:alice", "accountId": "111122223333",
            "arn": "arn:aws:sts::111122223333:assumed-role/Admin/alice",
        }),
    );
    switched["additionalEventData"] = json!({"SwitchFrom": "arn:aws:iam::111122223333:user/alice"});
    switched["responseElements"] = json!({"SwitchRole": "Success"});
    let used = event(2, "s3", "ListBuckets", session("Admin", "alice", "ASIACONSOLE", 1));
    let report = trace("ASIACONSOLE", &[switched, used]);
    assert_eq!(path(&report), ["user/alice", "role/Admin/alice"]);
}

#[test]
fn console_sessions_of_users_lead_to_their_sign_in() {
    let mut login = event(
        1,
        "signin",
        "ConsoleLogin",
        json!({
            "type": "IAMUser", "userName": "alice", "principalId": "AIDAALICE", "accountId": "111122223333",
            "arn": "arn:aws:iam::111122223333:user/alice",
        }),
    );
    login["responseElements"] = json!({"ConsoleLogin": "Success"});
    let mut console = alice();
    console["accessKeyId"] = "ASIACONSOLE".into();
    console["sessionContext"] = json!({"attributes": {"creationDate": "2024-06-01T10:01:02Z", "mfaAuthenticated": "false"}});
    let report = trace("ASIACONSOLE", &[login, event(2, "s3", "ListBuckets", console)]);
    assert_eq!(path(&report), ["user/alice", "user/alice"]);
    assert!(report.to_text().contains("ConsoleLogin at 2024-06-01T10:01:00Z"));
}

fn identity_center_user(user_id: &str) -> Value {
    let store = "arn:aws:identitystore::111122223333:identitystore/d-1234567890";
    json!({"type": "IdentityCenterUser", "accountId": "111122223333", "credentialId": "AAAAexample",
        "onBehalfOf": {"userId": user_id, "identityStoreArn": store}})
}

/// A user of Identity Center asks for the credentials of a permission set.
fn ask_for_permission_set(minute: u32, name: &str, identity: Value) -> Value {
    let mut event = event(minute, "sso", name, identity);
    event["eventType"] = "AwsServiceEvent".into();
    event["serviceEventDetails"] =
        json!({"account_id": "444455556666", "role_name": "AdministratorAccess"});
    event
}

fn permission_set_session(name: &str, key: &str, created: u32) -> Value {
    let role = "AWSReservedSSO_AdministratorAccess_7243976e43c75fc5";
    json!({
        "type": "AssumedRole", "principalId": format!("AROASSO:{name}"), "accountId": "444455556666", "accessKeyId": key,
        "arn": format!("arn:aws:sts::444455556666:assumed-role/{role}/{name}"),
        "sessionContext": {
            "sessionIssuer": {
                "type": "Role", "userName": role, "accountId": "444455556666",
                "arn": format!("arn:aws:iam::444455556666:role/aws-reserved/sso.amazonaws.com/{role}"),
            },
            "attributes": {"creationDate": format!("2024-06-01T10:{created:02}:01Z"), "mfaAuthenticated": "false"},
        },
    })
}

/// What STS records in the account of the role when Identity Center creates a session.
fn assume_permission_set(minute: u32, name: &str, key: &str) -> Value {
    let saml = json!({"type": "SAMLUser", "userName": name, "principalId": format!("/nQTexample=:{name}"), "identityProvider": "/nQTexample="});
    let session = permission_set_session(name, key, minute);
    let mut event = event(minute, "sts", "AssumeRoleWithSAML", saml);
    event["requestParameters"] = json!({"roleArn": session["sessionContext"]["sessionIssuer"]["arn"], "roleSessionName": name});
    event["responseElements"] = json!({
        "credentials": {"accessKeyId": key},
        "assumedRoleUser": {"assumedRoleId": session["principalId"], "arn": session["arn"]},
    });
    event
}

#[test]
fn sessions_of_permission_sets_lead_to_the_user_of_identity_center() {
    for (name, identity, root) in [
        ("GetRoleCredentials", identity_center_user("u-1"), "identity-center/u-1"),
        ("Federate", identity_center_user("u-1"), "identity-center/u-1"),
        // As events were until 2025.
        (
            "Federate",
            json!({"type": "Unknown", "principalId": "p-1", "accountId": "111122223333", "userName": "alice@example.com"}),
            "unknown/alice@example.com",
        ),
    ] {
        let asked = ask_for_permission_set(1, name, identity);
        let issued = assume_permission_set(1, "alice@example.com", "ASIASSO");
        let used = event(
            2,
            "s3",
            "ListBuckets",
            permission_set_session("alice@example.com", "ASIASSO", 1),
        );
        let report = trace("ASIASSO", &[asked.clone(), issued, used.clone()]);
        let role = "role/AWSReservedSSO_AdministratorAccess_7243976e43c75fc5/alice@example.com";
        assert_eq!(path(&report), [root, "saml/alice@example.com", role], "{name}");
        assert_eq!(report.trees[0].end, Some(ChainEnd::FirstIdentity));
        assert!(report.to_text().contains("(by permission set and time)"));
        // Without the events of the account of the role.
        assert_eq!(path(&trace("ASIASSO", &[asked, used])), [root, role], "{name}");
    }
}

#[test]
fn a_session_of_a_permission_set_belongs_to_its_own_user() {
    let mut own = permission_set_session("alice@example.com", "ASIASSO", 1);
    own["onBehalfOf"] = json!({"userId": "u-1"});
    let events = [
        ask_for_permission_set(1, "GetRoleCredentials", identity_center_user("u-1")),
        ask_for_permission_set(1, "Federate", identity_center_user("u-2")),
        event(2, "s3", "ListBuckets", own),
    ];
    let report = trace("ASIASSO", &events);
    assert_eq!(report.trees[0].principal, "identity-center/u-1");
    assert!(report.to_text().contains("on behalf of the Identity Center user u-1"));
    // The id of the user is a target, too.
    for target in ["u-1", "identity-center/u-1"] {
        assert_eq!(trace(target, &events).trees[0].principal, "identity-center/u-1");
    }
    // Another permission set, account or time is another session.
    let used = event(2, "s3", "ListBuckets", permission_set_session("alice", "ASIASSO", 1));
    for (member, value) in [("role_name", "ReadOnly"), ("account_id", "999900001111")] {
        let mut other = ask_for_permission_set(1, "Federate", identity_center_user("u-1"));
        other["serviceEventDetails"][member] = value.into();
        let report = trace("ASIASSO", &[other, used.clone()]);
        assert_eq!(report.trees[0].end, Some(ChainEnd::MissingIssuance), "{member}");
    }
    let late = ask_for_permission_set(30, "Federate", identity_center_user("u-1"));
    assert_eq!(trace("ASIASSO", &[late, used]).trees[0].end, Some(ChainEnd::MissingIssuance));
}

#[test]
fn a_root_session_for_one_task_leads_to_the_administrator() {
    let mut issued = event(1, "sts", "AssumeRoot", session("Security", "alice", "ASIAADMIN", 0));
    issued["requestParameters"] = json!({"targetPrincipal": "444455556666", "taskPolicyArn": {"arn": "arn:aws:iam::aws:policy/root-task/S3UnlockBucketPolicy"}});
    issued["responseElements"] = json!({"credentials": {"accessKeyId": "ASIAROOT"}});
    let root = |key: &str| {
        json!({"type": "Root", "principalId": "444455556666", "arn": "arn:aws:iam::444455556666:root", "accountId": "444455556666",
            "accessKeyId": key, "sessionContext": {"attributes": {"creationDate": "2024-06-01T10:01:00Z", "mfaAuthenticated": "false"}}})
    };
    let report = trace(
        "ASIAROOT",
        &[issued.clone(), event(2, "s3", "DeleteBucketPolicy", root("ASIAROOT"))],
    );
    assert_eq!(path(&report), ["role/Security/alice", "root"]);
    // Not used yet; and the credentials of another session of the root user.
    assert_eq!(path(&trace("ASIAROOT", &[issued.clone()])), ["role/Security/alice", "root"]);
    let report =
        trace("ASIACONSOLE", &[issued, event(2, "s3", "ListBuckets", root("ASIACONSOLE"))]);
    assert_eq!(report.trees[0].end, Some(ChainEnd::MissingIssuance));
}

#[test]
fn web_identities_certificates_and_pods_are_first_identities() {
    let web = json!({"type": "WebIdentityUser", "principalId": "accounts.example.com:app:1", "userName": "1", "identityProvider": "accounts.example.com"});
    let mut issued = assume(1, web, "Web", "app", "ASIAWEB");
    issued["eventName"] = "AssumeRoleWithWebIdentity".into();
    let used = event(2, "s3", "ListBuckets", session("Web", "app", "ASIAWEB", 1));
    assert_eq!(path(&trace("ASIAWEB", &[issued, used])), ["web/1", "role/Web/app"]);

    let anywhere = json!({"type": "AWSAccount", "principalId": "", "accountId": "111122223333"});
    let mut issued = event(1, "rolesanywhere", "CreateSession", anywhere);
    let answer = assume(1, Value::Null, "Edge", "0a1b", "ASIAEDGE")["responseElements"].clone();
    issued["responseElements"] = json!({"credentialSet": [answer], "subjectArn": "arn:aws:rolesanywhere:eu-west-1:111122223333:subject/x"});
    let used = event(2, "s3", "ListBuckets", session("Edge", "0a1b", "ASIAEDGE", 1));
    assert_eq!(
        path(&trace("ASIAEDGE", &[issued, used])),
        ["account/111122223333", "role/Edge/0a1b"]
    );
}

#[test]
fn events_of_any_shape_are_traced() {
    let odd =
        [json!(null), json!(7), json!([]), json!({}), json!("x"), json!([{"a": 1}]), json!(true)];
    for name in [
        "AssumeRole",
        "SwitchRole",
        "ConsoleLogin",
        "GetRoleCredentials",
        "AssumeRoot",
        "CreateAccessKey",
        "CreateSession",
    ] {
        for source in ["sts", "signin", "sso", "iam"] {
            for value in &odd {
                let mut event = event(1, source, name, value.clone());
                for key in [
                    "requestParameters",
                    "responseElements",
                    "additionalEventData",
                    "serviceEventDetails",
                    "sharedEventID",
                    "eventTime",
                ] {
                    event[key] = value.clone();
                    trace("x", &[event.clone()]);
                }
                let mut within = alice();
                within["sessionContext"] = value.clone();
                within["onBehalfOf"] = value.clone();
                event["userIdentity"] = within;
                trace("user/alice", &[event]);
            }
        }
    }
    let nameless = |key: &str| {
        let mut event = assume(1, alice(), "Deploy", "alice", key);
        event["eventID"] = Value::Null;
        event
    };
    let report = trace("user/alice", &[nameless("ASIAA"), nameless("ASIAB")]);
    assert_eq!(report.trees[0].children.len(), 2);
}

#[test]
fn an_access_key_leads_to_the_principal_that_created_it() {
    let mut created = event(1, "iam", "CreateAccessKey", alice());
    created["responseElements"] =
        json!({"accessKey": {"accessKeyId": "AKIABACKDOOR", "userName": "backup"}});
    let backdoor = json!({"type": "IAMUser", "userName": "backup", "principalId": "AIDABACKUP", "accountId": "111122223333",
        "arn": "arn:aws:iam::111122223333:user/backup", "accessKeyId": "AKIABACKDOOR"});
    let report = trace("AKIABACKDOOR", &[created, event(5, "s3", "ListBuckets", backdoor)]);
    assert_eq!(path(&report), ["user/alice", "user/backup"]);
}

#[test]
fn a_credential_that_was_handed_out_and_not_used_is_found() {
    let report = trace("ASIADEPLOY", &[assume(1, alice(), "Deploy", "alice", "ASIADEPLOY")]);
    assert_eq!(path(&report), ["user/alice", "role/Deploy/alice"]);
    assert_eq!(report.trees[0].children[0].calls(), 0);
}

#[test]
fn missing_links_are_shown_with_the_source_identity() {
    let mut identity = session("Prod", "release", "ASIAPROD", 1);
    identity["sessionContext"]["sourceIdentity"] = "alice".into();
    let report = trace("alice", &[event(2, "s3", "ListBuckets", identity)]);
    assert_eq!(report.trees[0].end, Some(ChainEnd::MissingIssuance));
    let text = report.to_text();
    assert!(text.contains("chain incomplete") && text.contains("source identity: alice"), "{text}");
}

#[test]
fn a_chain_that_comes_back_to_itself_is_cut() {
    let events = [
        assume(1, session("A", "x", "ASIAA", 0), "B", "x", "ASIAB"),
        assume(2, session("B", "x", "ASIAB", 1), "A", "x", "ASIAA"),
    ];
    let report = trace("ASIAA", &events);
    assert_eq!(report.trees.len(), 1);
    assert_eq!(report.trees[0].end, Some(ChainEnd::Loop));
    assert!(report.to_text().contains("cut here"));
    // A role that assumes itself under the same name, without keys.
    let mut own = assume(1, session("A", "x", "ASIAA", 0), "A", "x", "ASIAA");
    own["eventID"] = "own".into();
    assert_eq!(trace("ASIAA", &[own]).trees[0].end, Some(ChainEnd::Loop));
}

#[test]
fn calls_that_failed_hand_out_nothing() {
    let mut denied = assume(1, alice(), "Deploy", "alice", "ASIADEPLOY");
    denied["errorCode"] = "AccessDenied".into();
    denied["responseElements"] = Value::Null;
    let used = event(2, "s3", "ListBuckets", session("Deploy", "alice", "ASIADEPLOY", 1));
    let report = trace("ASIADEPLOY", &[denied, used]);
    assert_eq!(report.trees[0].end, Some(ChainEnd::MissingIssuance));
}

#[test]
fn nothing_found_is_said_so() {
    let report = trace("ASIANOBODY", &chained_roles());
    assert!(report.is_empty());
    assert_eq!(report.to_text(), "");
    assert_eq!(report.remarks(), ["no call of 'ASIANOBODY' was found"]);
}

#[test]
fn text_from_events_cannot_control_the_terminal() {
    let mut event = event(1, "s3", "ListBuckets", alice());
    event["userAgent"] = "\u{1b}[2J\nfake".into();
    let text = trace("AKIAALICE", &[event]).to_text();
    assert!(!text.contains('\u{1b}') && !text.contains("\nfake"), "{text:?}");
}

/// A credential with as many different values as its calls can have, all of the greatest length.
fn hostile_use(number: usize) -> Value {
    let mut identity = alice();
    identity["accessKeyId"] = format!("AKIA{number:06}{}", "x".repeat(300)).into();
    let mut event = event(1, "s3", &format!("{}{number}", "e".repeat(400)), identity);
    event["sourceIPAddress"] = format!("{}{number}", "a".repeat(400)).into();
    event["userAgent"] = format!("{}{number}", "u".repeat(400)).into();
    event
}

#[test]
fn memory_is_bounded_and_the_report_names_what_was_dropped() {
    let mut trace = Trace::new(TraceTarget::new("nobody"));
    for number in 0..30_000 {
        trace.add(&hostile_use(number));
        let key = format!("ASIA{number:06}{}", "x".repeat(300));
        let mut issued = assume(1, alice(), &"r".repeat(300), &"s".repeat(300), &key);
        issued["eventID"] = format!("{number:06}{}", "i".repeat(300)).into();
        trace.add(&issued);
    }
    let limits = [(trace.credential_bytes, MAX_CREDENTIAL_BYTES)];
    for (bytes, limit) in limits.into_iter().chain([(trace.issuance_bytes, MAX_ISSUANCE_BYTES)]) {
        assert!(bytes <= limit + 16_384, "{bytes}");
    }
    assert!(trace.is_part_full());
    let report = trace.finish();
    assert!(report.dropped > 0);
    assert_eq!(report.remarks().len(), 2);
}

#[test]
fn the_values_of_one_credential_are_bounded() {
    let mut trace = Trace::new(TraceTarget::new("AKIAALICE"));
    for number in 0..20_000 {
        let mut event = hostile_use(number);
        event["userIdentity"] = alice();
        trace.add(&event);
    }
    assert!(trace.credential_bytes < 150_000, "{}", trace.credential_bytes);
    let report = trace.finish();
    assert_eq!((report.trees[0].calls(), report.dropped), (20_000, 0));
}

#[test]
fn the_chain_of_the_target_is_kept_among_millions_of_other_credentials() {
    let mut trace = Trace::new(TraceTarget::new("ASIAPROD"));
    for number in 0..40_000 {
        trace.add(&hostile_use(number));
        let mut other = assume(1, alice(), "Other", "x", &format!("ASIA{number:06}"));
        other["eventID"] = format!("other-{number}").into();
        trace.add(&other);
        // Newest first, as LookupEvents returns events.
        if number == 39_000 {
            chained_roles().iter().rev().for_each(|event| trace.add(event));
        }
    }
    let report = trace.finish();
    assert!(report.dropped > 0);
    assert_eq!(path(&report), ["user/alice", "role/Deploy/alice", "role/Prod/release"]);
}

#[test]
fn long_chains_and_equal_names_take_little_time() {
    let started = std::time::Instant::now();
    let mut trace = Trace::new(TraceTarget::new("*"));
    for number in 0..20_000 {
        let key = |number| format!("ASIA{number:06}");
        let caller = session("A", "x", &key(number), 0);
        let mut issued = assume(1, caller, "A", "x", &key(number + 1));
        issued["eventID"] = format!("step-{number}").into();
        trace.add(&issued);
    }
    let report = trace.finish();
    assert!(!report.is_empty());
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}

#[test]
fn public_events_are_traced_without_loops_or_losses() {
    let events = crate::filter::principal::tests::corpus();
    let report = trace("*", &events);
    assert_eq!(report.dropped, 0);
    assert!(report.trees.len() > 10);
    assert!(!report.to_text().is_empty());
    assert_eq!(report.to_json()["trees"].as_array().unwrap().len(), report.trees.len());
}
