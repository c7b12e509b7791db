//! Alerts in a file: one line of JSON each.
//!
//! Input: an [`AlertMessage`]. Output: a line at the end of the file, on disk when the delivery is acknowledged.
//! Invariant: an alert is in the file once, also after a crash between writing and acknowledging: its id is looked for at the end
//! of the file. A line that a crash has cut is removed. Several processes can append to one file.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    AlertMessage, DeliveryError, Rendered,
    settings::{Read, Settings},
};
use crate::filter::yaml::YamlNode;

/// The keys of this kind.
pub(super) const KEYS: [&str; 1] = ["path"];

/// Bytes at the end of a file in which ids are looked for: thousands of alerts, and a crash leaves a few in doubt.
const TAIL_BYTES: u64 = 16 << 20;

/// Ids that are remembered; with more, those of the end of the file are read again.
const MAX_IDS: usize = 200_000;

/// Start of each line, which the id follows.
const LINE_START: &[u8] = b"{\"id\":\"";

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

    pub(super) fn render(&self, message: &AlertMessage) -> Rendered {
        Rendered::local("append to", self.path.display().to_string(), message.to_value())
    }
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
    ids: HashSet<String>,
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
        if self.known.ids.contains(id) {
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
        self.known.ids.insert(id.to_owned());
        self.known.length += line.len() as u64;
        Ok(())
    }
}

impl Known {
    /// Reads the ids of lines that were not read yet, and removes a line that a crash has cut.
    fn update(&mut self, file: &mut File) -> io::Result<()> {
        let identity = identity(file)?;
        let length = file.metadata()?.len();
        if self.identity != identity || length < self.length || self.ids.len() > MAX_IDS {
            *self =
                Self { identity, length: length.saturating_sub(TAIL_BYTES), ids: HashSet::new() };
        }
        if length == self.length {
            return Ok(());
        }
        file.seek(SeekFrom::Start(self.length))?;
        let mut reader = BufReader::new(&mut *file).take(length - self.length);
        let mut complete = self.length;
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            if line.last() == Some(&b'\n') {
                complete += line.len() as u64;
                self.ids.extend(id_of_line(&line));
                line.clear();
            }
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

fn id_of_line(line: &[u8]) -> Option<String> {
    let rest = line.strip_prefix(LINE_START)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    String::from_utf8(rest[..end].to_vec()).ok()
}

/// Returns whether a text is the start of a line of this program.
fn is_start_of_line(text: &[u8]) -> bool {
    text.starts_with(LINE_START) || LINE_START.starts_with(text)
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other systems have no such identity")]
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
