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

#[test]
fn memory_is_bounded_and_the_report_names_what_was_dropped() {
    let mut trace = Trace::new(TraceTarget::new("AKIA0*"));
    for number in 0..MAX_CREDENTIALS + 50 {
        let mut identity = alice();
        identity["accessKeyId"] = format!("AKIA{number:06}").into();
        trace.add(&event(1, "s3", "ListBuckets", identity));
    }
    let report = trace.finish();
    assert_eq!(report.dropped, 50);
    assert!(report.further > 0);
    assert_eq!(report.remarks().len(), 2);
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
