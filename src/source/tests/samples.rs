//! The files under `tests/data`: what their README says is in them is what is found in them.

use std::path::{Path, PathBuf};

use super::*;

fn data(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(folder)
}

/// Reads every file of a folder, and says of each its name below the folder and what was in it.
fn read_all(folder: &str) -> Vec<(String, Collected, Decoded)> {
    let folder = data(folder);
    let mut files = Files::new(&[folder.clone().into()], Box::new(|_| None)).unwrap();
    let mut inputs = Vec::new();
    let mut decoder = Decoder::new(DecoderLimits::default());
    let list = &mut |_, found| {
        let SourceEvent::Input(Input { name, content, .. }) = found else { panic!("{found:?}") };
        let mut collected = Collected::default();
        let decoded = decoder.read(&name, content, &mut collected).unwrap();
        let name = Path::new(&name).strip_prefix(&folder).unwrap().to_string_lossy().into_owned();
        inputs.push((name, collected, decoded));
        std::ops::ControlFlow::Continue(())
    };
    files.list(list);
    inputs
}

#[test]
fn the_sample_gives_what_its_readme_says() {
    // Folder, shape, files, records, strangers.
    let wanted: &[(&str, InputFormat, u64, u64, u64)] = &[
        ("AWSLogs/111111111111/CloudTrail/", InputFormat::Records, 1, 2, 0),
        ("AWSLogs/111122223333/CloudTrail-Digest/", InputFormat::Foreign, 3, 0, 3),
        ("AWSLogs/123456789012/CloudTrail/", InputFormat::Records, 1, 13, 0),
        ("AWSLogs/123456789012/CloudTrail-Aggregated/", InputFormat::Records, 1, 2, 0),
        ("AWSLogs/123456789012/CloudTrail-Digest/", InputFormat::Foreign, 1, 0, 1),
        ("AWSLogs/123456789012/CloudTrail-Insight/", InputFormat::Records, 1, 2, 0),
        ("AWSLogs/123456789012/CloudTrail-NetworkActivity/", InputFormat::Records, 1, 3, 0),
        ("AWSLogs/123456789012/Config/", InputFormat::Foreign, 1, 0, 1),
        ("AWSLogs/218007301253/CloudTrail/", InputFormat::Records, 13, 56, 0),
        ("cloudwatch-logs/", InputFormat::Logs, 3, 24, 0),
        ("eventbridge/", InputFormat::EventBridge, 1, 7, 0),
        ("lists/", InputFormat::Array, 12, 12, 0),
        ("lookup-events/", InputFormat::Lookup, 2, 12, 0),
        ("notifications/", InputFormat::Foreign, 1, 0, 1),
        ("objects/concatenated.json", InputFormat::Objects, 1, 10, 0),
        ("objects/lines.ndjson", InputFormat::Objects, 2, 20, 0),
        ("objects/members.gz", InputFormat::Objects, 1, 10, 0),
        ("objects/not-json.csv", InputFormat::Foreign, 1, 0, 1),
        ("objects/one.json", InputFormat::Object, 1, 1, 0),
        ("objects/pretty.json", InputFormat::Objects, 1, 3, 0),
    ];
    let all = read_all("sample");
    for &(folder, shape, files, records, strangers) in wanted {
        let here =
            || all.iter().filter(|(name, ..)| name.starts_with(folder)).map(|(.., said)| said);
        assert!(here().all(|said| said.format == shape && said.defects.is_empty()), "{folder}");
        assert_eq!(here().count() as u64, files, "{folder}");
        assert_eq!(here().map(|said| said.records).sum::<u64>(), records, "{folder}");
        assert_eq!(here().map(Decoded::foreign_count).sum::<u64>(), strangers, "{folder}");
    }
    assert_eq!(all.len() as u64, wanted.iter().map(|wanted| wanted.2).sum::<u64>());
    let is_json = |record: &String| serde_json::from_str::<serde_json::Value>(record).is_ok();
    assert!(all.iter().all(|(_, collected, _)| collected.records.iter().all(is_json)));
}

#[test]
fn the_edge_files_give_what_their_readme_says() {
    let wanted = [
        ("SerializerTestFile.json", 6, 0),
        ("SerializerTestFileBadFieldName.json", 2, 0),
        ("SerializerTestFileBadJsonFormat.json", 0, 1),
        ("SerializerTestFileCompact.json", 6, 0),
        ("SerializerTestFileCompact.json.gz", 6, 0),
        ("SerializerTestFileLocation.json", 6, 0),
        ("SerializerTestFileMissField.json", 4, 0),
        ("SerializerTestFileNewFieldAtRandomPlaces.json", 2, 0),
        ("SerializerTestFileNewFieldName.json", 2, 0),
        ("SerializerTestFileNewFieldsInRoot.json", 2, 0),
        ("SerializerTestFileNewFieldsInUserIdentity.json", 2, 0),
        ("broken-line.ndjson", 3, 2),
        ("cut.json", 2, 1),
        ("cut.json.gz", 6, 1),
        ("empty.json", 0, 0),
        ("trailing-garbage.json.gz", 1, 1),
    ];
    let all = read_all("edge");
    let found: Vec<(&str, u64, u64)> = all
        .iter()
        .map(|(name, _, said)| (name.as_str(), said.records, said.defect_count))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn every_event_of_the_corpus_is_found() {
    let found: u64 = read_all("events")
        .iter()
        .map(|(_, _, decoded)| {
            assert_eq!((decoded.defect_count, decoded.foreign_count()), (0, 0));
            decoded.records
        })
        .sum();
    assert_eq!(found, 4169);
}
