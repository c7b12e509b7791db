//! Models of botocore and the AWS CLI: given, or found where they are installed.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use super::{json as answer, messages, schema};
use crate::support::load::PROGRAM;

/// Returns a model with one call, whose description names the version.
fn model(version: &str) -> String {
    json!({
        "metadata": {"apiVersion": version, "endpointPrefix": "sqs", "protocol": "json", "serviceId": "SQS"},
        "operations": {"CreateQueue": {
            "name": "CreateQueue", "http": {"method": "POST", "requestUri": "/"},
            "input": {"shape": "Request"}, "documentation": format!("<p>Version <b>{version}</b> &amp; more.</p>\n<note><p>Read this.</p></note>"),
        }},
        "shapes": {
            "Request": {"type": "structure", "required": ["QueueName"], "members": {
                "QueueName": {"shape": "String", "documentation": "<p>The <i>name</i> of the queue.</p>"},
                "Since": {"shape": "String"},
            }},
            "String": {"type": "string", "max": 9, "documentation": "<p>A text.</p>"},
        },
    })
    .to_string()
}

fn write(folder: &Path, version: &str, content: &[u8], is_compressed: bool) {
    let folder = folder.join("sqs").join(version);
    fs::create_dir_all(&folder).unwrap();
    if is_compressed {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(content).unwrap();
        fs::write(folder.join("service-2.json.gz"), gzip.finish().unwrap()).unwrap();
    } else {
        fs::write(folder.join("service-2.json"), content).unwrap();
    }
}

#[test]
fn the_newest_of_several_versions_counts_compressed_or_not() {
    for (older, newer) in [(true, false), (false, true), (true, true)] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "2012-11-05", model("2012-11-05").as_bytes(), older);
        write(folder.path(), "2031-01-01", model("2031-01-01").as_bytes(), newer);
        let found = answer(&["sqs.CreateQueue", "--models", folder.path().to_str().unwrap()]);
        assert_eq!(found["documentation"], "Version 2031-01-01 & more. Read this.");
        assert_eq!(found["input"]["queueName"]["documentation"], "The name of the queue.");
        assert_eq!(found["input"]["queueName"]["max"], 9);
        assert!(found["input"].get("attributes").is_none(), "the table has it, the model has not");
    }
}

#[test]
fn the_folder_may_be_one_above_the_models() {
    for below in [
        "data",
        "botocore/data",
        "awscli/botocore/data",
        "v2/current/dist/awscli/botocore/data",
        "lib/python3.13/site-packages/botocore/data",
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join(below), "2031-01-01", model("2031-01-01").as_bytes(), true);
        let found = answer(&["sqs.CreateQueue", "--models", folder.path().to_str().unwrap()]);
        assert_eq!(found["documentation"], "Version 2031-01-01 & more. Read this.", "{below}");
    }
}

/// Asks in an environment of its own.
fn ask_with(variable: &str, value: &Path) -> Output {
    Command::new(PROGRAM)
        .args(["schema", "sqs.CreateQueue", "--format", "json"])
        .env_clear()
        .env(variable, value)
        .output()
        .unwrap()
}

#[test]
fn installed_models_are_found_and_add_descriptions_only() {
    for (variable, place) in [
        ("VIRTUAL_ENV", "lib/python3.11/site-packages/botocore/data"),
        ("HOME", ".local/lib/python3.12/site-packages/botocore/data"),
        ("HOME", ".local/pipx/venvs/awscli/lib/python3.11/site-packages/botocore/data"),
        ("HOME", ".local/share/pipx/venvs/awscli/lib/python3.11/site-packages/botocore/data"),
        ("HOME", ".local/share/uv/tools/awscli/lib/python3.13/site-packages/botocore/data"),
        ("AWS_DATA_PATH", ""),
    ] {
        let root = tempfile::tempdir().unwrap();
        write(&root.path().join(place), "2031-01-01", model("2031-01-01").as_bytes(), true);
        let output = ask_with(variable, root.path());
        assert_eq!(output.status.code(), Some(0), "{place}: {}", messages(&output));
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found["documentation"], "Version 2031-01-01 & more. Read this.", "{place}");
        let name = &found["input"]["queueName"];
        assert_eq!(name["documentation"], "The name of the queue.", "{place}");
        // The fields are those of the table.
        assert_eq!(name["max"], Value::Null, "{place}");
        assert!(found["input"].get("attributes").is_some(), "{place}");
        assert!(found["input"].get("since").is_none(), "{place}");
    }
}

#[test]
fn an_installed_model_that_cannot_be_read_is_as_good_as_none() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("lib/python3.11/site-packages/botocore/data");
    write(&data, "2031-01-01", b"\x1f\x8b cut off", false);
    let output = ask_with("VIRTUAL_ENV", root.path());
    assert_eq!(output.status.code(), Some(0), "{}", messages(&output));
}

#[test]
fn broken_models_are_errors_that_name_the_file_and_the_fault() {
    let cut = {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(model("2031-01-01").as_bytes()).unwrap();
        let mut bytes = gzip.finish().unwrap();
        bytes.truncate(bytes.len() / 2);
        bytes
    };
    let dangling = model("2031-01-01").replace("\"shape\":\"Request\"", "\"shape\":\"Gone\"");
    let cases: [(&[u8], &str); 6] = [
        (b"{\"metadata\": ", "is not an API model"),
        (b"", "is not an API model"),
        (b"[]", "is not an API model"),
        (b"{\"metadata\": {}}", "is not an API model"),
        (dangling.as_bytes(), "it lacks the shape `Gone`"),
        (&cut, "could not read"),
    ];
    for (content, message) in cases {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "2031-01-01", content, false);
        let output = schema(&["sqs.CreateQueue", "--models", folder.path().to_str().unwrap()]);
        let said = messages(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("error: ") && said.contains(message), "{said}");
        assert!(said.contains("service-2.json"), "{said}");
    }
    let empty = tempfile::tempdir().unwrap();
    let output = schema(&["sqs.CreateQueue", "--models", empty.path().to_str().unwrap()]);
    assert!(messages(&output).contains("contains no API models"), "{}", messages(&output));
}
