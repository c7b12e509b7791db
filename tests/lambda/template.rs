//! `deploy/lambda/template.yaml`: it allows what the program does, and no more. `scripts/deploy-check` checks its syntax.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;

const TEMPLATE: &str = include_str!("../../deploy/lambda/template.yaml");

/// What Lambda does in the name of the function, by its documentation: it reads the queue, keeps what failed, and writes the log.
const OF_LAMBDA: [&str; 6] = [
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
];

/// Returns the actions of statements in a file of `policy/`.
fn actions(policy: &str, statements: &[&str]) -> BTreeSet<String> {
    let path = format!("{}/policy/{policy}.json", env!("CARGO_MANIFEST_DIR"));
    let policy: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let all = policy["Statement"].as_array().unwrap();
    let chosen = all.iter().filter(|one| statements.contains(&one["Sid"].as_str().unwrap()));
    let actions = chosen.flat_map(|one| match &one["Action"] {
        Value::String(action) => vec![action.clone()],
        list => list.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect(),
    });
    actions.collect()
}

/// Returns the actions in the template: words such as `s3:GetObject`.
fn allowed() -> BTreeSet<String> {
    let lines = TEMPLATE.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let words = lines.flat_map(|line| line.split([' ', '[', ']', ',']));
    let is_action = |word: &&str| {
        word.split_once(':').is_some_and(|(service, name)| {
            let services = ["logs", "sqs", "s3", "kms", "es", "sns", "dynamodb"];
            services.contains(&service)
                && name.starts_with(|first: char| first.is_ascii_uppercase())
        })
    };
    words.filter(is_action).map(str::to_owned).collect()
}

#[test]
fn the_role_allows_what_the_program_and_lambda_do_and_nothing_else() {
    let mut expected: BTreeSet<String> = OF_LAMBDA.map(str::to_owned).into();
    // Objects are named by their notifications: no listing.
    expected.extend(actions("trail", &["ReadLogs", "DecryptLogs"]));
    expected.extend(actions("opensearch-managed", &["LoadIntoDomain"]));
    // Only `doctor` checks the table, with the credentials of its user.
    expected.extend(actions("alert-state", &["ShareAlerts"]));
    expected.insert("sns:Publish".to_owned());
    assert_eq!(allowed(), expected);
    assert!(!TEMPLATE.contains("Resource: \"*\""), "every statement names its resource");
}

#[test]
fn read_only_events_reach_the_function_and_failed_messages_are_not_deleted() {
    assert!(TEMPLATE.contains("State: ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS\n"));
    assert!(TEMPLATE.contains("FunctionResponseTypes: [ReportBatchItemFailures]\n"));
    assert!(TEMPLATE.contains("Handler: bootstrap\n"));
}

#[test]
fn the_pattern_of_the_template_is_that_of_rules_for_all_events() {
    let folder = tempfile::tempdir().unwrap();
    let rule = "name: all\nevents: [\"*\"]\n";
    fs::write(folder.path().join("all.yml"), rule).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_trailload"))
        .args(["watch", "--event-pattern", "all.yml"])
        .current_dir(folder.path())
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let line =
        TEMPLATE.lines().find_map(|line| line.trim().strip_prefix("EventPattern: {")).unwrap();
    let in_template: Value = serde_json::from_str(&format!("{{{line}")).unwrap();
    assert_eq!(in_template, printed);
}

/// Runs `scripts/lambda-package`, and returns the names of the files in the package, and the template.
fn package(arguments: &[&str]) -> (Vec<String>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("program"), "a program for another processor").unwrap();
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/lambda-package"))
        .env("TRAILLOAD", env!("CARGO_BIN_EXE_trailload"))
        .args(["--arch", "x86_64", "--program", "program", "--output", "package"])
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let zip = fs::read(path("package/function.zip")).unwrap();
    let archive = rawzip::ZipArchive::from_slice(&zip).unwrap();
    let entries = archive.entries().map(|entry| {
        let entry = entry.unwrap();
        String::from_utf8(entry.file_path().as_ref().to_vec()).unwrap()
    });
    (entries.collect(), fs::read_to_string(path("package/template.yaml")).unwrap())
}

/// Returns the default of a parameter.
fn default(template: &str, parameter: &str) -> String {
    let (_, parameter) = template.split_once(&format!("\n  {parameter}:\n")).unwrap();
    let line = parameter.lines().find_map(|line| line.strip_prefix("    Default: ")).unwrap();
    line.trim_matches('"').to_owned()
}

#[test]
fn a_package_has_what_the_documentation_lists() {
    let starter = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/logging.yml");
    let (files, template) = package(&[starter]);
    assert_eq!(files, ["bootstrap", "rules/logging.yml"]);
    let defaults = ["Architecture", "PackedRules", "SharedAlertState", "Delivery"];
    assert_eq!(defaults.map(|name| default(&template, name)), ["x86_64", "yes", "yes", "queue"]);
    assert!(template.contains("\"StopLogging\""));
    // Without rules there is no alert: the state is not created, and an engine is needed.
    let (files, template) = package(&[]);
    assert_eq!(files, ["bootstrap"]);
    assert_eq!(defaults.map(|name| default(&template, name)), ["x86_64", "no", "yes", "queue"]);
    let shares = "SharesAlerts: !And [!Condition HasRules, !Condition WantsSharedAlerts]\n";
    assert!(template.contains(shares));
    assert!(template.contains("RuleCondition: !Equals [!Ref PackedRules, \"no\"]\n"));
    let without = template.replace("Default: x86_64", "Default: arm64");
    let without = without.replacen("Default: \"no\"", "Default: \"yes\"", 1);
    assert_eq!(without, TEMPLATE, "nothing else is changed");
}

#[test]
fn the_table_is_the_one_that_the_program_expects() {
    assert!(TEMPLATE.contains("- { AttributeName: id, KeyType: HASH }"));
    assert!(
        TEMPLATE.contains("TimeToLiveSpecification: { AttributeName: expires, Enabled: true }")
    );
}

#[test]
fn every_variable_of_the_template_is_one_of_the_program() {
    let docs = include_str!("../../docs/lambda.md");
    let names = TEMPLATE.lines().filter_map(|line| line.trim().split_once(':'));
    let names = names.map(|(name, _)| name).filter(|name| name.starts_with("TRAILLOAD_"));
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 3, "{names:?}");
    for name in names {
        assert!(docs.contains(&format!("`{name}`")), "{name} is not in docs/lambda.md");
    }
}
