use std::io::{Cursor, Write};

use std::io;

use rawzip::{CompressionMethod, ZipArchiveWriter};

use crate::limit::DecoderLimits;
use crate::source::{
    Content, Decoded, Decoder, ForeignKind, InputFormat, OversizedRecord, RecordHandler,
    RecordOutcome, skip_value,
};

/// Collects records with the file that they came from.
#[derive(Default)]
struct Collected {
    records: Vec<(String, String)>,
    too_long: Vec<(String, u64)>,
    consumed: u64,
    inside: String,
    most: Option<usize>,
}

impl RecordHandler for Collected {
    fn record(&mut self, text: &[u8], start: usize) -> RecordOutcome {
        let Ok(end) = skip_value(text, start) else { return RecordOutcome::Incomplete };
        let record = String::from_utf8_lossy(&text[start..end]).into_owned();
        self.records.push((self.inside.clone(), record));
        RecordOutcome::EndsAt(end)
    }

    fn oversized(&mut self, record: OversizedRecord) {
        self.too_long.push((self.inside.clone(), record.offset));
    }

    fn archive_member(&mut self, path: &str) {
        self.inside = path.to_owned();
    }

    fn is_stopped(&self) -> bool {
        self.most.is_some_and(|most| self.records.len() >= most)
    }

    fn stored_bytes_read(&mut self, bytes: u64) {
        self.consumed += bytes;
    }
}

const LIMITS: DecoderLimits = DecoderLimits {
    window_bytes: 1 << 12,
    max_record_bytes: 1 << 16,
    max_stored_bytes: 1 << 20,
    max_unpacked_bytes: 1 << 20,
    ..DecoderLimits::DEFAULT
};

fn file(bytes: &[u8], limits: DecoderLimits) -> (Collected, Decoded) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let mut collected = Collected::default();
    let content = Content::File(file.path().to_owned());
    let decoded = Decoder::new(limits).read("test", content, &mut collected).unwrap();
    assert_eq!(collected.consumed, bytes.len() as u64);
    (collected, decoded)
}

/// Reads an archive held as a whole, as a large file, and from front to back: all must give the same.
fn read(bytes: &[u8]) -> (Collected, Decoded) {
    let (whole, decoded) = file(bytes, LIMITS);
    let (large, said) = file(bytes, DecoderLimits { max_stored_bytes: bytes.len() - 1, ..LIMITS });
    assert_eq!((&large.records, &large.too_long), (&whole.records, &whole.too_long));
    assert_eq!((said.format, &said.foreign), (decoded.format, &decoded.foreign));
    let mut piped = Collected::default();
    let content = Content::Stream(Box::new(Cursor::new(bytes.to_vec())));
    let said = Decoder::new(LIMITS).read("test", content, &mut piped).unwrap();
    assert_eq!(piped.consumed, said.stored_bytes);
    assert_eq!((&piped.records, said.format), (&whole.records, decoded.format));
    assert_eq!(said.defect_count, decoded.defect_count, "{:?} {:?}", said.defects, decoded.defects);
    (whole, decoded)
}

fn record(id: &str) -> String {
    format!(r#"{{"eventVersion":"1.08","eventID":"{id}"}}"#)
}

/// The text of a log file.
fn log(ids: &[&str]) -> Vec<u8> {
    let records: Vec<String> = ids.iter().map(|id| record(id)).collect();
    format!(r#"{{"Records":[{}]}}"#, records.join(",")).into_bytes()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(text).unwrap();
    writer.finish().unwrap()
}

fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        if name.ends_with('/') {
            header.set_entry_type(::tar::EntryType::Directory);
        }
        builder.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

fn zip(files: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut bytes);
    for (name, text) in files {
        if name.ends_with('/') {
            archive.new_dir(name).create().unwrap();
            continue;
        }
        let (mut entry, config) =
            archive.new_file(name).compression_method(method).start().unwrap();
        let packed = match method {
            CompressionMethod::DEFLATE => {
                let mut to =
                    flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
                to.write_all(text).unwrap();
                to.finish().unwrap()
            }
            CompressionMethod::BZIP2 => {
                let mut to = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                to.write_all(text).unwrap();
                to.finish().unwrap()
            }
            CompressionMethod::ZSTD => zstd::encode_all(&text[..], 1).unwrap(),
            _ => text.clone(),
        };
        // The writer takes sum and size from the text, and we give it the packed bytes.
        let mut counter = config.wrap(io::sink());
        counter.write_all(text).unwrap();
        let (_, descriptor) = counter.finish().unwrap();
        entry.write_all(&packed).unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    bytes
}

/// Archives of the same files, in every form.
fn archives(files: &[(&str, Vec<u8>)]) -> Vec<(&'static str, Vec<u8>)> {
    let tar = tar(files);
    let twice = [&tar[..], &tar[..0]].concat();
    vec![
        ("tar", twice),
        ("tar.gz", gzip(&tar)),
        ("tar.zst", zstd::encode_all(&tar[..], 1).unwrap()),
        ("stored", zip(files, CompressionMethod::STORE)),
        ("deflate", zip(files, CompressionMethod::DEFLATE)),
        ("bzip2", zip(files, CompressionMethod::BZIP2)),
        ("zstd", zip(files, CompressionMethod::ZSTD)),
    ]
}

const LOG: &str = "AWSLogs/1/CloudTrail/r/1.json.gz";

#[test]
fn every_file_of_an_archive_is_read_and_what_systems_add_is_not() {
    let long = format!("{}c.json", "deep/".repeat(60));
    let utf16: Vec<u8> =
        String::from_utf8(log(&["e"])).unwrap().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let files = [
        ("trail/", vec![]),
        ("trail/a.json.gz", gzip(&log(&["a", "b"]))),
        ("trail/README.md", b"# how to".to_vec()),
        (&long, log(&["c"])),
        ("__MACOSX/trail/._a.json.gz", vec![0, 5, 22, 7]),
        ("trail/._a.json.gz", vec![0, 5, 22, 7]),
        ("trail/.DS_Store", vec![0; 9]),
        ("utf-16.json", utf16),
        ("lines", [record("f"), record("g")].join("\n").into_bytes()),
        (LOG, log(&[])),
    ];
    for (form, bytes) in archives(&files) {
        let (collected, decoded) = read(&bytes);
        let ids: Vec<&str> = collected.records.iter().map(|(_, record)| &record[34..35]).collect();
        assert_eq!(ids, ["a", "b", "c", "e", "f", "g"], "{form}");
        assert_eq!(collected.records[2].0, long, "{form}");
        assert_eq!(decoded.defects, [], "{form}");
        assert_eq!((decoded.records, decoded.format), (6, InputFormat::Records), "{form}");
        assert_eq!(decoded.foreign.keys().collect::<Vec<_>>(), [&ForeignKind::Text], "{form}");
    }
}

#[test]
fn what_is_broken_in_one_file_costs_only_that_and_is_named() {
    let files = [
        ("a.json", log(&["a"])),
        ("cut.json.gz", gzip(&log(&["b"]))[..20].to_vec()),
        ("b.json", [&log(&["b"])[..], b"\n{\"eventVersion\":\"1.0\",]"].concat()),
        (LOG, b"<html>503</html>".to_vec()),
        ("AWSLogs/1/CloudTrail/r/2.json.gz", vec![]),
        ("c.json", log(&["c"])),
    ];
    for (form, bytes) in archives(&files) {
        let (collected, decoded) = read(&bytes);
        assert_eq!(collected.records.len(), 3, "{form}: {:?}", decoded.defects);
        let causes: Vec<&str> = decoded.defects.iter().map(|broken| &*broken.cause).collect();
        assert_eq!(decoded.defect_count, 4, "{form}: {causes:?}");
        assert!(causes[0].starts_with("in cut.json.gz: the gzip file is cut off"), "{causes:?}");
        assert!(causes[1].starts_with("in b.json: "), "{causes:?}");
        assert!(causes[2].contains("1.json.gz: not CloudTrail: HTML"), "{causes:?}");
        assert!(causes[3].contains("2.json.gz: not CloudTrail: an empty file"), "{causes:?}");
    }
}

#[test]
fn an_archive_that_is_cut_or_damaged_is_never_taken_for_whole() {
    let names: Vec<String> = (0..3).map(|number| format!("{number}.json")).collect();
    let ids = ["a", "b", "c"];
    let files: Vec<(&str, Vec<u8>)> =
        names.iter().zip(ids).map(|(name, id)| (&**name, log(&[id]))).collect();
    for (form, bytes) in archives(&files) {
        let is_tar = form == "tar";
        // Of the zeros at the end of a tar archive one block is enough.
        let end = if is_tar { bytes.len() - 512 } else { bytes.len() };
        for cut in (600..end).step_by(if is_tar { 64 } else { 7 }) {
            let (collected, decoded) = read(&bytes[..cut]);
            assert!(decoded.defect_count > 0, "{form} cut at {cut} of {end}");
            assert!(collected.records.len() <= 3);
        }
        for at in (0..bytes.len().min(3_000)).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x2a;
            let (_, decoded) = file(&damaged, LIMITS);
            assert!(decoded.records <= 3 + 3, "{form} damaged at {at}");
        }
    }
}

#[test]
fn archives_within_archives_are_opened_to_a_depth() {
    let mut files = vec![("a.json".to_owned(), log(&["a"]))];
    for depth in 1..=5 {
        let named: Vec<(&str, Vec<u8>)> =
            files.iter().map(|(name, bytes)| (&**name, bytes.clone())).collect();
        for (form, bytes) in archives(&named) {
            let (collected, decoded) = file(&bytes, LIMITS);
            let is_open = depth <= 4;
            assert_eq!(collected.records.len(), usize::from(is_open), "{depth} {form}");
            assert_eq!(decoded.defect_count, u64::from(!is_open), "{depth} {form}");
        }
        let next = archives(&named).swap_remove(depth);
        files = vec![(format!("{depth}.{}", next.0), next.1)];
    }
}

#[test]
fn bombs_are_left() {
    let spaces = vec![b' '; 300 << 20];
    let (_, decoded) = file(&zip(&[("a.json", spaces)], CompressionMethod::DEFLATE), LIMITS);
    assert!(decoded.defects[0].cause.contains("bomb"), "{:?}", decoded.defects);
    // Two entries of the directory that name the same bytes.
    let mut over = zip(&[("a", vec![b' '; 3_000]), ("b", log(&["b"]))], CompressionMethod::STORE);
    let entries = memchr::memmem::find_iter(&over, b"PK\x01\x02").collect::<Vec<_>>();
    let (first, second) = (entries[0], entries[1]);
    over.copy_within(first + 16..first + 28, second + 16);
    over.copy_within(first + 42..first + 46, second + 42);
    let (collected, decoded) = file(&over, LIMITS);
    assert_eq!(collected.records.len(), 0);
    assert!(decoded.defects[0].cause.contains("bomb"), "{:?}", decoded.defects);
    // A long name of the length of a bomb.
    let mut header = ::tar::Header::new_gnu();
    header.set_entry_type(::tar::EntryType::GNULongName);
    header.set_path("././@LongLink").unwrap();
    header.set_size(8 << 20);
    header.set_cksum();
    let name = [header.as_bytes(), &vec![b'x'; 8 << 20][..]].concat();
    let (_, decoded) = file(&gzip(&name), LIMITS);
    assert!(decoded.defects[0].cause.contains("1 MiB"), "{:?}", decoded.defects);
}

#[test]
fn what_is_not_opened_says_what_to_do() {
    let (_, decoded) = read(b"7z\xbc\xaf\x27\x1c\0\x04 and more of it");
    assert!(decoded.defects[0].cause.contains("unpack it (7z x FILE)"), "{:?}", decoded.defects);
    let mut locked =
        zip(&[("a.json", log(&["a"])), ("b.json", log(&["b"]))], CompressionMethod::STORE);
    let entry = memchr::memmem::find(&locked, b"PK\x01\x02").unwrap();
    locked[entry + 8] |= 1;
    let (collected, decoded) = read(&locked);
    assert_eq!((collected.records.len(), decoded.defect_count), (1, 1));
    assert!(
        decoded.defects[0].cause.contains("in a.json: it is encrypted"),
        "{:?}",
        decoded.defects
    );
    let mut odd = zip(&[("a.json", log(&["a"]))], CompressionMethod::STORE);
    let entry = memchr::memmem::find(&odd, b"PK\x01\x02").unwrap();
    odd[entry + 10] = 9;
    let (_, decoded) = read(&odd);
    assert!(decoded.defects[0].cause.contains("unzip"), "{:?}", decoded.defects);
}

/// From a pipe the directory at the end comes too late, unless all of it can be held.
#[test]
fn a_large_zip_from_a_pipe_says_what_to_do() {
    let bytes = zip(&[("a.json", log(&["a"]))], CompressionMethod::STORE);
    let mut collected = Collected::default();
    let content = Content::Stream(Box::new(Cursor::new(bytes.clone())));
    let limits = DecoderLimits { max_stored_bytes: bytes.len() - 1, ..LIMITS };
    let decoded = Decoder::new(limits).read("-", content, &mut collected).unwrap();
    assert!(decoded.defects[0].cause.contains("only be read from a file"), "{:?}", decoded.defects);
}

#[test]
fn an_archive_without_files_holds_nothing() {
    for (form, bytes) in archives(&[("a/", vec![])]) {
        let (_, decoded) = read(&bytes);
        assert!(decoded.is_foreign() && decoded.defects.is_empty(), "{form} {:?}", decoded.defects);
        assert!(decoded.foreign_summary().unwrap().contains("without readable files"), "{form}");
    }
}

#[test]
fn a_record_that_is_too_long_is_told_with_its_file_and_reading_stops_when_told() {
    let long = format!(r#"{{"eventVersion":"1.08","x":"{}"}}"#, "x".repeat(1 << 21));
    let files = [("a.json", long.into_bytes()), ("b.json", log(&["b"])), ("c.json", log(&["c"]))];
    for (form, bytes) in archives(&files) {
        let (collected, decoded) = file(&bytes, LIMITS);
        assert_eq!(collected.too_long, [("a.json".to_owned(), 0)], "{form}");
        assert_eq!((decoded.records, decoded.oversized), (2, 1));
        let mut collected = Collected { most: Some(1), ..Collected::default() };
        let room = DecoderLimits { max_stored_bytes: 4 << 20, ..LIMITS };
        let content = Content::Stream(Box::new(Cursor::new(bytes)));
        let decoded = Decoder::new(room).read("-", content, &mut collected).unwrap();
        assert!(decoded.stopped && collected.records.len() == 1, "{form}");
    }
}
