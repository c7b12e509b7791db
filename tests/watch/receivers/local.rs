//! Receivers on this machine: files and programs.

use std::fs;

use serde_json::Value;
use trailload::sink::alert::RetryAdvice;

use super::{deliver, event, hostile_event, hostile_texts, message, receiver};

#[tokio::test]
async fn a_file_has_each_alert_once_in_one_line_of_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alerts.ndjson");
    let yaml = format!("a: {{kind: file, path: {path:?}}}");
    let texts = hostile_texts();
    for _ in 0..2 {
        // Another receiver, as after a restart.
        let receiver = receiver(&yaml);
        for (number, text) in texts.iter().enumerate() {
            deliver(&receiver, &message(number as u64, &hostile_event(text))).await.unwrap();
            deliver(&receiver, &message(number as u64, &hostile_event(text))).await.unwrap();
        }
    }
    let content = fs::read_to_string(path).unwrap();
    let alerts: Vec<Value> =
        content.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(alerts.len(), texts.len());
    for (alert, text) in alerts.iter().zip(&texts) {
        assert_eq!(alert["event"]["userAgent"], **text);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("none/alerts.ndjson"), folder.path().to_owned()] {
        let receiver = receiver(&format!("a: {{kind: file, path: {path:?}}}"));
        let error = deliver(&receiver, &message(1, &event())).await.unwrap_err();
        assert_eq!(error.retry, RetryAdvice::Never, "{error}");
        assert!(error.cause.contains(&*path.to_string_lossy()), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_program_gets_hostile_text_as_data_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let yaml = format!("a: {{kind: command, command: [sh, -c, \"cat >> {}\"]}}", file.display());
    let receiver = receiver(&yaml);
    for (number, text) in hostile_texts().into_iter().enumerate() {
        deliver(&receiver, &message(number as u64, &hostile_event(&text))).await.unwrap();
    }
    let content = fs::read_to_string(file).unwrap();
    assert_eq!(
        content.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count(),
        hostile_texts().len()
    );
}
