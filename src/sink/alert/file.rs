//! Alerts in a file: one line of JSON each.
//!
//! Input: an [`AlertMessage`]. Output: a line at the end of the file, on disk when the delivery is acknowledged.
//! Invariant: an alert is in the file once, also after a crash between writing and acknowledging: its id is looked for at the end
//! of the file. A line that a crash has cut is removed. Several processes can append to one file. The memory for ids is bounded.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    AlertMessage, DeliveryError, Rendered,
    settings::{Read, Settings},
};
use crate::{filter::yaml::YamlNode, report::terminal::escape_unprintable};

/// The keys of this kind.
pub(super) const KEYS: [&str; 1] = ["path"];

/// Bytes at the end of a file in which ids are looked for. A crash leaves 64 alerts in doubt, as many can be behind them, and an
/// event has 256 KB at most in CloudTrail: 32 MiB, and as much for other processes.
const TAIL_BYTES: u64 = 64 << 20;

/// Ids that are remembered at least, and half of those that are remembered at most.
const REMEMBERED_IDS: usize = 50_000;

/// Start of each line, which the id follows.
const LINE_START: &[u8] = b"{\"id\":\"";

/// Bytes of a line that are looked at: its start and its id.
const LINE_HEAD_BYTES: usize = 64;

/// The settings of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    path: PathBuf,
}

impl FileSettings {
    pub(super) fn read(node: &YamlNode) -> Read<Self> {
        let settings = Settings::new(node, "file", &[&KEYS])?;
        let path = settings.path("path")?;
        Ok(Self { path: path.ok_or_else(|| settings.missing("path", "path: alerts.ndjson"))? })
    }

    /// Returns why the file cannot be created on this machine, as far as that is seen without writing.
    pub(super) fn warning(&self) -> Option<String> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty())?;
        let problem = "does not exist on this machine; create it before the first alert";
        (!folder.is_dir()).then(|| format!("the folder {} {problem}", shown(folder)))
    }

    pub(super) fn render(&self, message: &AlertMessage) -> Rendered {
        Rendered::local("append to", self.path.display().to_string(), message.to_value())
    }
}

fn shown(path: &Path) -> String {
    escape_unprintable(&path.to_string_lossy())
}

/// Appends alerts to a file.
#[derive(Debug)]
pub(super) struct FileReceiver {
    appender: Arc<Mutex<Appender>>,
}

impl FileReceiver {
    pub(super) fn new(settings: &FileSettings) -> Self {
        let appender = Appender { path: settings.path.clone(), known: Known::default() };
        Self { appender: Arc::new(Mutex::new(appender)) }
    }

    pub(super) async fn deliver(&self, message: &AlertMessage) -> Result<(), DeliveryError> {
        let appender = Arc::clone(&self.appender);
        let (id, line) = (message.alert().id.clone(), message.document().to_json() + "\n");
        let append = move || {
            let mut appender = appender.lock().unwrap_or_else(PoisonError::into_inner);
            let result = appender.append(&id, &line);
            result.map_err(|error| {
                let cause = format!("{}: {error}", appender.path.display());
                match error.kind() {
                    io::ErrorKind::NotFound => {
                        DeliveryError::permanent(cause).hint("create the folder")
                    }
                    io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => {
                        DeliveryError::permanent(cause)
                            .hint("name a file that can be written in `path`")
                    }
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        DeliveryError::transient(cause)
                            .hint("free space, then send the alert again with --retry")
                    }
                    _ => DeliveryError::transient(cause),
                }
            })
        };
        match tokio::task::spawn_blocking(append).await {
            Ok(result) => result,
            Err(error) => Err(DeliveryError::transient(error.to_string())),
        }
    }
}

/// A file that lines are appended to. It is opened for each line, so that it can be moved away at any time.
#[derive(Debug)]
struct Appender {
    path: PathBuf,
    known: Known,
}

/// What is known about the file.
#[derive(Debug, Default)]
struct Known {
    identity: Option<(u64, u64)>,
    /// Up to where ids were read.
    length: u64,
    ids: RecentIds,
}

/// The ids of the latest lines.
#[derive(Debug, Default)]
struct RecentIds {
    latest: HashSet<u128>,
    /// Those before them.
    earlier: HashSet<u128>,
}

impl RecentIds {
    fn insert(&mut self, id: u128) {
        if self.latest.len() >= REMEMBERED_IDS {
            self.earlier = std::mem::take(&mut self.latest);
        }
        self.latest.insert(id);
    }

    fn contains(&self, id: u128) -> bool {
        self.latest.contains(&id) || self.earlier.contains(&id)
    }
}

impl Appender {
    /// Appends a line, unless one with this id is in the file.
    fn append(&mut self, id: &str, line: &str) -> io::Result<()> {
        let is_new = !self.path.exists();
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&self.path)?;
        if !file.metadata()?.is_file() {
            // A pipe or a device has no end to look at.
            return file.write_all(line.as_bytes());
        }
        // Released when the file is closed.
        file.lock()?;
        self.known.update(&mut file)?;
        let id = parse_id(id);
        if id.is_some_and(|id| self.known.ids.contains(id)) {
            return Ok(());
        }
        let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // A disk that is full takes a part of a line.
            let _ = file.set_len(self.known.length);
            return Err(error);
        }
        if is_new {
            sync_folder(&self.path);
        }
        if let Some(id) = id {
            self.known.ids.insert(id);
        }
        self.known.length += line.len() as u64;
        Ok(())
    }
}

impl Known {
    /// Reads the ids of lines that were not read yet, and removes a line that a crash has cut.
    fn update(&mut self, file: &mut File) -> io::Result<()> {
        let identity = identity(file)?;
        let length = file.metadata()?.len();
        if self.identity != identity || length < self.length {
            let length = length.saturating_sub(TAIL_BYTES);
            *self = Self { identity, length, ids: RecentIds::default() };
        }
        if length == self.length {
            return Ok(());
        }
        file.seek(SeekFrom::Start(self.length))?;
        let mut reader = BufReader::new(&mut *file).take(length - self.length);
        let mut complete = self.length;
        let mut line = Vec::new();
        let mut line_bytes = read_line_head(&mut reader, &mut line)?;
        while line_bytes > 0 && line.last() == Some(&b'\n') {
            complete += line_bytes;
            if let Some(id) = id_of_line(&line) {
                self.ids.insert(id);
            }
            line_bytes = read_line_head(&mut reader, &mut line)?;
        }
        drop(reader);
        if !line.is_empty() && is_start_of_line(&line) {
            file.set_len(complete)?;
        } else if !line.is_empty() {
            // The last line is not one of an alert: it is left as it is.
            file.write_all(b"\n")?;
            complete = length + 1;
        }
        self.length = complete;
        Ok(())
    }
}

/// Reads a line of any length, and returns its bytes; 0 at the end. `line` gets its head, and a line break if the line is complete.
fn read_line_head(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    line.clear();
    let mut bytes = 0;
    loop {
        let available = reader.fill_buf()?;
        let end = memchr::memchr(b'\n', available);
        let content = &available[..end.unwrap_or(available.len())];
        let is_last = end.is_some() || content.is_empty();
        line.extend(content.iter().take(LINE_HEAD_BYTES.saturating_sub(line.len())));
        line.extend(end.map(|_| b'\n'));
        let length = content.len() + usize::from(end.is_some());
        reader.consume(length);
        bytes += length as u64;
        if is_last {
            return Ok(bytes);
        }
    }
}

fn id_of_line(line: &[u8]) -> Option<u128> {
    let rest = line.strip_prefix(LINE_START)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    parse_id(std::str::from_utf8(&rest[..end]).ok()?)
}

/// Returns an id of an alert as a number; `None` for a text that is none.
fn parse_id(id: &str) -> Option<u128> {
    u128::from_str_radix(id, 16).ok()
}

/// Returns whether a text is the start of a line of this program.
fn is_start_of_line(text: &[u8]) -> bool {
    text.starts_with(LINE_START) || LINE_START.starts_with(text)
}

#[cfg(unix)]
fn identity(file: &File) -> io::Result<Option<(u64, u64)>> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = file.metadata()?;
    Ok(Some((metadata.dev(), metadata.ino())))
}

#[cfg(not(unix))]
fn identity(_: &File) -> io::Result<Option<(u64, u64)>> {
    Ok(None)
}

/// Makes the entry of a new file durable; not every system can do that.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn line(id: &str) -> String {
        format!("{{\"id\":\"{id}\",\"x\":1}}\n")
    }

    fn appender(path: &Path) -> Appender {
        Appender { path: path.to_owned(), known: Known::default() }
    }

    #[test]
    fn an_alert_is_written_once_also_by_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.ndjson");
        let (mut one, mut other) = (appender(&path), appender(&path));
        for id in ["a", "b", "a"] {
            one.append(id, &line(id)).unwrap();
            other.append(id, &line(id)).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), line("a") + &line("b"));
    }

    #[test]
    fn a_line_that_a_crash_has_cut_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        for cut in 1..line("b").len() {
            let path = folder.path().join(format!("{cut}.ndjson"));
            fs::write(&path, line("a") + &line("b")[..cut]).unwrap();
            appender(&path).append("b", &line("b")).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), line("a") + &line("b"), "{cut}");
        }
    }

    #[test]
    fn alerts_that_were_in_flight_are_found_before_many_long_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.ndjson");
        let long = |id: u32| format!("{{\"id\":\"{id:x}\",\"x\":\"{}\"}}\n", "x".repeat(300_000));
        let written: String = (0..128).map(long).collect();
        fs::write(&path, &written).unwrap();
        let mut appender = appender(&path);
        for id in 0..128 {
            appender.append(&format!("{id:x}"), &long(id)).unwrap();
        }
        assert!(fs::read_to_string(&path).unwrap() == written);
    }

    #[test]
    fn latest_ids_are_remembered_and_few_others() {
        let mut ids = RecentIds::default();
        for id in 0..REMEMBERED_IDS as u128 * 5 / 2 {
            ids.insert(id);
            assert!(ids.contains(id) && ids.contains(id.saturating_sub(REMEMBERED_IDS as u128)));
        }
        assert!(ids.latest.len() + ids.earlier.len() <= 2 * REMEMBERED_IDS);
        assert!(!ids.contains(0));
    }

    #[test]
    fn a_last_line_of_another_program_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.ndjson");
        fs::write(&path, "hello").unwrap();
        let mut appender = appender(&path);
        appender.append("a", &line("a")).unwrap();
        appender.append("b", &line("b")).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "hello\n".to_owned() + &line("a") + &line("b")
        );
    }

    #[test]
    fn a_file_that_is_moved_away_is_created_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.ndjson");
        let mut appender = appender(&path);
        appender.append("a", &line("a")).unwrap();
        fs::rename(&path, folder.path().join("alerts.1")).unwrap();
        appender.append("b", &line("b")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), line("b"));
    }
}
