//! `trailload policy`: what it prints is what the load asks for, no less and no more.
//!
//! Each load runs against fakes that note every call, and who made it; the policy printed for the same options is
//! compared with the notes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{ACCOUNT, DAY, KEY, SECRET, TWO, World};
use crate::support::aws::organizations;
use crate::support::aws::s3::{Away, Bucket, Fake, Fault};
use crate::support::events;
use crate::support::load::Load;

type Actions = BTreeSet<String>;

const FILES: [&str; 8] = [
    include_str!("../../policy/lookup.json"),
    include_str!("../../policy/trail.json"),
    include_str!("../../policy/assume-role.json"),
    include_str!("../../policy/organization.json"),
    include_str!("../../policy/opensearch-managed.json"),
    include_str!("../../policy/opensearch-serverless.json"),
    include_str!("../../policy/alerts.json"),
    include_str!("../../policy/alert-state.json"),
];

fn role() -> String {
    format!("arn:aws:iam::{TWO}:role/trailload")
}

/// Returns the actions that a policy allows.
fn actions(policy: &Value) -> Actions {
    let statements = policy["Statement"].as_array().unwrap().iter();
    let words = statements.flat_map(|statement| match &statement["Action"] {
        Value::Array(several) => several.clone(),
        one => vec![one.clone()],
    });
    words.map(|word| word.as_str().unwrap().to_owned()).collect()
}

fn set<'a>(words: impl IntoIterator<Item = &'a str>) -> Actions {
    words.into_iter().map(str::to_owned).collect()
}

/// A world in which all that can be asked for is there.
fn world() -> (World, Fake) {
    let world = World::new();
    for account in [ACCOUNT, TWO] {
        world.put(account, "us-east-1", (30 * DAY, 1_000), 40);
        world.trail.model().put_insights(account, "us-east-1", world.now - DAY, 2);
    }
    world.sts.role(&role(), None);
    world.change(|script| {
        let member = |id: &str| organizations::account(id, "an account", "ACTIVE");
        script.members = Some(vec![member(ACCOUNT), member(TWO)]);
        script.trails = vec![json!({
            "Name": "audit", "TrailARN": "arn:aws:cloudtrail:us-east-1:111122223333:trail/audit",
            "HomeRegion": "us-east-1", "S3BucketName": "trail",
        })];
    });
    let mut bucket = Bucket::new();
    // Nobody says where it is but an answer to HEAD.
    bucket.away = Away::Silent;
    let key = format!(
        "logs/AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/2024/01/02/{ACCOUNT}_CloudTrail_eu-west-1_20240102T0000Z_a.json.gz"
    );
    let body = events::gzip(&events::records(&events::events(0..3)));
    bucket.put(&key, body.clone());
    bucket.put(&key.replacen("logs/", "", 1), body);
    (world, Fake::start([("trail", bucket)]))
}

/// What was asked at AWS, by the caller and by roles.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    caller: Actions,
    roles: Actions,
}

fn asked(world: &World, s3: &Fake, words: &[&str]) -> Asked {
    let mut asked = Asked::default();
    for request in world.server.requests() {
        let action = format!("{}:{}", request.service().unwrap(), request.action());
        // It needs no permission.
        if action == "sts:GetCallerIdentity" {
            continue;
        }
        let by_caller = request.access_key() == Some(KEY);
        if by_caller { &mut asked.caller } else { &mut asked.roles }.insert(action);
    }
    let reader =
        if words.contains(&"--assume-role") { &mut asked.roles } else { &mut asked.caller };
    reader.extend(s3.take_calls().iter().map(|call| match call.action {
        "ListObjectsV2" | "HeadBucket" => "s3:ListBucket".to_owned(),
        "GetObject" => "s3:GetObject".to_owned(),
        other => panic!("a policy says nothing of {other}"),
    }));
    if words.contains(&"--aws-auth") {
        let method = |name: &String| format!("es:ESHttp{}{}", &name[..1], name[1..].to_lowercase());
        asked.caller.extend(world.engine.methods().iter().map(method));
    }
    asked
}

/// Returns the policy printed, and what was said beside it.
fn printed(load: &Load) -> (Value, String) {
    let outcome = load.clone().instead("policy").run().exits(0);
    (serde_json::from_str(&outcome.stdout).unwrap(), outcome.stderr)
}

/// Returns the actions of the policy printed for the caller, and of the one that its explanation names for roles.
fn allowed(world: &World, load: &Load) -> Asked {
    let (policy, said) = printed(load);
    let caller = actions(&policy);
    let Some((_, rest)) = said.split_once("'trailload policy ") else {
        return Asked { caller, roles: Actions::new() };
    };
    let words: Vec<&str> = rest.split('\'').next().unwrap().split_whitespace().collect();
    let (policy, _) = printed(&world.load(&words));
    Asked { caller, roles: actions(&policy) }
}

#[test]
fn each_load_asks_for_what_its_policy_allows_and_for_all_of_it() {
    let template = "arn:aws:iam::{account}:role/trailload";
    let role = role();
    let everything: &[&[&str]] = &[
        &[],
        &["lookup", "--regions", "us-east-1"],
        &["--insights"],
        &["--write-only", "--last", "7d"],
        &["--assume-role", &role],
        &["--assume-role", &role, "--regions", "us-east-1"],
        &["--assume-role", template, "--accounts", TWO],
        &["--assume-role", template, "--accounts", "organization"],
        &["s3://trail"],
        &["s3://trail/logs/"],
        &["s3://trail/logs/AWSLogs", "--regions", "eu-west-1"],
        &["s3://trail/AWSLogs/", "--accounts", "organization"],
        &["s3://trail/AWSLogs/", "--assume-role", &role],
        &["--trail", "audit"],
        &["--trail", "arn:aws:cloudtrail:us-east-1:111122223333:trail/audit"],
        &["lookup", "s3://trail/logs/"],
        &["s3://trail/logs/", "--aws-auth"],
    ];
    let mut seen = Actions::new();
    for words in everything {
        let (world, s3) = world();
        if words.contains(&"--aws-auth") {
            world.engine.require_signature(KEY, SECRET);
        }
        let load = world.load_from(&s3, words);
        let allowed = allowed(&world, &load);
        assert_eq!(asked(&world, &s3, &[]), Asked::default(), "to print a policy asks nobody");
        let outcome = load.run().exits(0);
        assert!(outcome.number("created") > 0, "{words:?}");
        let by_load = asked(&world, &s3, words);
        assert_eq!(by_load, allowed, "{words:?}");
        load.instead("doctor").run().exits(0);
        let more = asked(&world, &s3, words);
        assert!(more.caller.is_subset(&allowed.caller), "the doctor needs no more: {words:?}");
        assert!(more.roles.is_subset(&allowed.roles), "the doctor needs no more: {words:?}");
        seen.extend(by_load.caller.into_iter().chain(by_load.roles));
    }

    // What S3 does in the reader's name, and what no fake can be: a collection of AWS's own.
    seen.extend(set([denied_for_the_key().as_str(), "aoss:APIAccessAll"]));
    // What alerts ask for (below), and what SNS does in the publisher's name.
    seen.extend(set(["sns:Publish", "kms:GenerateDataKey*", "kms:Decrypt"]));
    // What a table of shared alerts is asked for; a transaction needs a permission for each of its parts.
    seen.extend(set([
        "dynamodb:BatchGetItem",
        "dynamodb:ConditionCheckItem",
        "dynamodb:DescribeTable",
        "dynamodb:DescribeTimeToLive",
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
    ]));
    let files: Vec<Value> = FILES.iter().map(|file| serde_json::from_str(file).unwrap()).collect();
    assert_eq!(files.iter().flat_map(actions).collect::<Actions>(), seen, "the files of policy/");
}

#[test]
fn alerts_ask_for_what_the_policy_of_their_actions_allows() {
    let topic = "arn:aws:sns:eu-west-1:111122223333:alerts";
    let own = format!("topic: {{kind: sns, topic_arn: \"{topic}\"}}\n");
    let far = format!("topic: {{kind: sns, topic_arn: \"{topic}\", role_arn: \"{}\"}}\n", role());
    let lookup = ["cloudtrail:LookupEvents", "ec2:DescribeRegions"];
    for (actions_file, more, roles) in
        [(own, "sns:Publish", &[][..]), (far, "sts:AssumeRole", &["sns:Publish"])]
    {
        let (world, s3) = world();
        let rules = world.desk.file("rules.yml", "name: all\nevents: ['*']\nactions: [topic]\n");
        let actions_file = world.desk.file("actions.yml", actions_file);
        let [rules, file] = [&rules, &actions_file].map(|path| path.to_str().unwrap());
        let words = ["lookup", "--rules", rules, "--actions", file, "--alert-max-age", "90d"];
        let load = world.load_from(&s3, &words);
        let (policy, said) = printed(&load);
        assert_eq!(asked(&world, &s3, &[]), Asked::default(), "to print a policy asks nobody");
        let outcome = load.run().exits(0);
        assert!(outcome.number("created") > 0);
        let caller = set(lookup.into_iter().chain([more]));
        let expected = Asked { caller, roles: set(roles.iter().copied()) };
        assert_eq!(asked(&world, &s3, &words), expected);
        assert_eq!(actions(&policy), expected.caller);
        let is_told = said.contains(&format!("{} needs sns:Publish on {topic}", role()));
        assert_eq!(is_told, !roles.is_empty(), "{said}");
    }
}

/// Returns the action that a load names when an object's key may not be used.
fn denied_for_the_key() -> String {
    let (world, s3) = world();
    s3.change("trail", |bucket| bucket.put("logs/encrypted.json.gz", "x"));
    s3.change("trail", |bucket| {
        bucket.always.insert("logs/encrypted.json.gz".to_owned(), Fault::key_denied());
    });
    let outcome = world.load_from(&s3, &["s3://trail/logs/encrypted.json.gz"]).run();
    let (_, rest) = outcome.stderr.split_once("requires ").unwrap_or_else(|| panic!("{outcome:?}"));
    rest.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn the_room_names_the_same_actions_as_the_file() {
    let trail: Value = serde_json::from_str(FILES[1]).unwrap();
    let room = trailload::source::s3::ACTIONS;
    assert!(set(room).is_subset(&actions(&trail)));
    let lookup: Value = serde_json::from_str(FILES[0]).unwrap();
    assert!(set(trailload::source::lookup::ACTIONS.iter().copied()).is_subset(&actions(&lookup)));
}

#[test]
fn standard_output_is_the_policy_and_nothing_else() {
    let (world, _s3) = world();
    let load = world.load(&["s3://trail/logs/"]);
    let (policy, said) = printed(&load);
    assert_eq!(policy["Version"], "2012-10-17");
    assert!(said.contains("kms:Decrypt"), "{said}");
    let quiet = load.instead("policy").with(["--quiet"]).run().exits(0);
    assert_eq!(quiet.stderr, "");
    assert_eq!(serde_json::from_str::<Value>(&quiet.stdout).unwrap(), policy);
    assert!(!world.desk.checkpoint().exists());
    assert_eq!(world.engine.asked().requests, 0);
}

#[test]
fn a_policy_needs_no_engine_and_no_credentials() {
    let program = std::process::Command::new(crate::support::load::PROGRAM)
        .args(["policy", "s3://trail"])
        .env_clear()
        .output()
        .unwrap();
    assert!(program.status.success(), "{program:?}");
    let policy: Value = serde_json::from_slice(&program.stdout).unwrap();
    assert_eq!(actions(&policy), set(["s3:ListBucket", "s3:GetObject"]));
}
