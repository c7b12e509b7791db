//! Finds files: those named, and those in folders, however deep and however many.
//!
//! Holds: memory is bounded by the depth of the folders and `MAX_NAMES_SORTED`, not by the number of files; a done file
//! costs one `stat`; a link that leads back into its own folders is not followed.
//! Absent on purpose: opening. A file that cannot be read is found out by the worker that reads it.

use std::{
    collections::HashSet,
    ffi::OsString,
    fmt::Write as _,
    fs::{self, DirEntry, Metadata, ReadDir},
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
    vec,
};

use super::{Content, Error, Input, Source, SourceEvent};
use crate::event::fingerprint::{FileChange, Fingerprint};
use crate::{event::Partition, redact};

/// Names of one folder that are held and sorted at a time: a few MiB. Folders of a trail hold less, so
/// they are read in the order of time, which is the order of the names.
const MAX_NAMES_SORTED: usize = 1 << 16;

/// Looks up the fingerprint under which a lane, by its key, was finished by an earlier run.
pub type FinishedLookup = Box<dyn FnMut(&str) -> Option<String> + Send>;

/// The files, folders and streams named on the command line.
pub struct Files {
    roots: Vec<Root>,
    done: FinishedLookup,
    chunk: usize,
}

struct Root {
    /// Which of the words it is.
    word: usize,
    /// As typed.
    name: String,
    kind: RootKind,
}

enum RootKind {
    StandardInput,
    Stream(PathBuf),
    File(PathBuf),
    Folder(PathBuf),
}

impl Files {
    /// Takes the SOURCE words; nothing is read yet. `done` knows what earlier runs finished.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if a word names nothing that can be read; [`Error::is_usage`] is true for it.
    pub fn new(words: &[OsString], done: FinishedLookup) -> Result<Self, Error> {
        let roots = words.iter().enumerate().map(root).collect::<Result<Vec<_>, _>>()?;
        let streams = roots.iter().filter(|root| matches!(root.kind, RootKind::StandardInput));
        if streams.count() > 1 {
            return Err(Error::StandardInputTwice);
        }
        Ok(Self { roots: deduplicate(roots), done, chunk: MAX_NAMES_SORTED })
    }
}

impl Source for Files {
    fn list(&mut self, found: &mut dyn FnMut(usize, SourceEvent) -> bool) -> Result<(), Error> {
        for root in std::mem::take(&mut self.roots) {
            let Root { word, name, kind } = root;
            let found = &mut |what| found(word, what);
            let go_on = match kind {
                RootKind::StandardInput => found(standard_input()),
                RootKind::Stream(path) => found(stream(name, path)),
                RootKind::File(path) => match fs::metadata(&path) {
                    Ok(metadata) => found(file(&mut self.done, || name, path, &metadata)),
                    Err(source) => found(SourceEvent::Failed(Error::List { name, source })),
                },
                RootKind::Folder(path) => FolderWalk::new(self, found, name, path).walk(),
            };
            if !go_on {
                break;
            }
        }
        Ok(())
    }
}

/// Finds out what a word names.
fn root((number, word): (usize, &OsString)) -> Result<Root, Error> {
    let name = word.to_string_lossy().into_owned();
    if word == "-" {
        return Ok(Root { word: number, name, kind: RootKind::StandardInput });
    }
    if has_scheme(&name) {
        return Err(Error::UnknownScheme { word: redact::url(&name) });
    }
    let missing = |source| Error::Missing { name: name.clone(), source };
    let metadata = match fs::metadata(word) {
        Err(_) if name == "lookup" => return Err(Error::UnknownScheme { word: name }),
        metadata => metadata.map_err(missing)?,
    };
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => RootKind::Folder(fs::canonicalize(word).map_err(missing)?),
        kind if kind.is_file() => RootKind::File(fs::canonicalize(word).map_err(missing)?),
        kind if kind.is_fifo() || kind.is_char_device() => RootKind::Stream(PathBuf::from(word)),
        kind if kind.is_socket() => return Err(Error::Unfit { name, what: "a socket" }),
        _ => return Err(Error::Unfit { name, what: "a device" }),
    };
    Ok(Root { word: number, name, kind })
}

/// Returns whether a word begins like `s3://`.
fn has_scheme(word: &str) -> bool {
    let Some((scheme, _)) = word.split_once("://") else { return false };
    let mut bytes = scheme.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
}

/// Drops what is named twice, or lies in a folder that is named too.
fn deduplicate(roots: Vec<Root>) -> Vec<Root> {
    let folders: HashSet<PathBuf> = roots
        .iter()
        .filter_map(|root| match &root.kind {
            RootKind::Folder(path) => Some(path.clone()),
            _ => None,
        })
        .collect();
    let mut seen = HashSet::new();
    roots
        .into_iter()
        .filter(|root| match &root.kind {
            RootKind::StandardInput => true,
            RootKind::Stream(path) | RootKind::File(path) | RootKind::Folder(path) => {
                let covered = path.ancestors().skip(1).any(|above| folders.contains(above));
                !covered && seen.insert(path.clone())
            }
        })
        .collect()
}

fn standard_input() -> SourceEvent {
    SourceEvent::Input(Input {
        lane: Partition { key: "stdin".to_owned(), fingerprint: String::new() },
        name: "standard input".to_owned(),
        content: Content::Stream(Box::new(io::stdin())),
        size: 0,
    })
}

fn stream(name: String, path: PathBuf) -> SourceEvent {
    let lane = Partition { key: key("fifo", &path), fingerprint: String::new() };
    let content = Content::Stream(Box::new(Fifo::Named(path)));
    SourceEvent::Input(Input { lane, name, content, size: 0 })
}

/// A FIFO or a character device. It is opened by whoever reads it, because that may wait for the other end.
enum Fifo {
    Named(PathBuf),
    Open(fs::File),
}

impl Read for Fifo {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self {
                Self::Named(path) => *self = Self::Open(fs::File::open(path)?),
                Self::Open(file) => return file.read(buffer),
            }
        }
    }
}

fn file(
    done: &mut FinishedLookup,
    name: impl FnOnce() -> String,
    path: PathBuf,
    metadata: &Metadata,
) -> SourceEvent {
    let key = key("file", &path);
    let now = Fingerprint::from_metadata(metadata);
    let before = done(&key).and_then(|before| before.parse().ok());
    let size = now.size;
    match before.map_or(FileChange::Changed, |before| now.change_since(before, &path)) {
        FileChange::Unchanged => return SourceEvent::AlreadyDone { size, touched: None },
        FileChange::Touched(now) => {
            let lane = Partition { key, fingerprint: now.to_string() };
            return SourceEvent::AlreadyDone { size, touched: Some(lane) };
        }
        FileChange::Changed => {}
    }
    let lane = Partition { key, fingerprint: now.to_string() };
    SourceEvent::Input(Input { lane, name: name(), content: Content::File(path), size })
}

/// Returns a lane's key. A path that is no UTF-8 is spelt in a way that no other path can be.
fn key(kind: &str, path: &Path) -> String {
    if let Some(path) = path.to_str() {
        return format!("{kind}:{path}");
    }
    let mut key = format!("{kind}-bytes:");
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            key.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(key, "%{byte:02x}");
        }
    }
    key
}

/// Which file or folder it is, whatever path led to it.
type Identity = (u64, u64);

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// A folder on the way.
struct OpenFolder {
    name: PathBuf,
    path: PathBuf,
    identity: Identity,
    /// What is left of the chunk in hand.
    chunk: vec::IntoIter<(OsString, DirEntry)>,
    /// What is not read yet. Closed as soon as possible: each costs a file descriptor.
    rest: Option<ReadDir>,
}

/// The way through one folder and all in it.
struct FolderWalk<'a> {
    done: &'a mut FinishedLookup,
    found: &'a mut dyn FnMut(SourceEvent) -> bool,
    chunk: usize,
    frames: Vec<OpenFolder>,
    /// Folders entered through links: each once, or a few links could multiply without end.
    linked: HashSet<Identity>,
    first: Option<(PathBuf, PathBuf)>,
}

impl<'a> FolderWalk<'a> {
    fn new(
        files: &'a mut Files,
        found: &'a mut dyn FnMut(SourceEvent) -> bool,
        name: String,
        path: PathBuf,
    ) -> Self {
        let first = Some((PathBuf::from(name), path));
        let Files { done, chunk, .. } = files;
        Self { done, found, chunk: *chunk, frames: Vec::new(), linked: HashSet::new(), first }
    }

    /// Goes everywhere, and returns `false` if nobody wants more.
    fn walk(mut self) -> bool {
        if let Some((name, path)) = self.first.take() {
            let entered = fs::metadata(&path)
                .map_err(|source| listing(&name, source))
                .and_then(|metadata| self.enter(name, path, identity(&metadata)));
            if let Err(error) = entered {
                return (self.found)(SourceEvent::Failed(error));
            }
        }
        while !self.frames.is_empty() {
            let go_on = match self.next() {
                Ok(Some(entry)) => self.entry(&entry),
                Ok(None) => true,
                Err(error) => (self.found)(SourceEvent::Failed(error)),
            };
            if !go_on {
                return false;
            }
        }
        true
    }

    /// Returns the next name of the innermost folder, or leaves it.
    fn next(&mut self) -> Result<Option<DirEntry>, Error> {
        let Some(frame) = self.frames.last_mut() else { return Ok(None) };
        if let Some((_, entry)) = frame.chunk.next() {
            return Ok(Some(entry));
        }
        let Some(rest) = frame.rest.take() else {
            self.frames.pop();
            return Ok(None);
        };
        frame.read(rest, self.chunk)?;
        Ok(None)
    }

    fn entry(&mut self, entry: &DirEntry) -> bool {
        let Some(frame) = self.frames.last() else { return true };
        let file_name = entry.file_name();
        let path = frame.path.join(&file_name);
        // Relative to the open folder: a third of the time of a `stat` by path. It does not follow links.
        let own = entry.metadata();
        let link = own.as_ref().is_ok_and(Metadata::is_symlink);
        let metadata = match if link { fs::metadata(&path) } else { own } {
            Ok(metadata) => metadata,
            Err(source) => {
                return (self.found)(SourceEvent::Failed(listing(
                    &frame.name.join(&file_name),
                    source,
                )));
            }
        };
        let kind = metadata.file_type();
        if kind.is_file() {
            let name = || frame.name.join(&file_name).to_string_lossy().into_owned();
            return (self.found)(file(self.done, name, path, &metadata));
        }
        let name = frame.name.join(&file_name);
        let outcome = if kind.is_dir() {
            self.folder(name, path, identity(&metadata), link)
        } else {
            Err(skipped(&name, "it is a FIFO, a socket or a device; name a FIFO itself to read it"))
        };
        outcome.map_or_else(|found| (self.found)(found), |()| true)
    }

    #[expect(clippy::result_large_err, reason = "once a folder")]
    fn folder(
        &mut self,
        name: PathBuf,
        path: PathBuf,
        identity: Identity,
        link: bool,
    ) -> Result<(), SourceEvent> {
        if self.frames.iter().any(|frame| frame.identity == identity) {
            return Err(skipped(&name, "it is a link that leads back to a folder it lies in"));
        }
        if link && !self.linked.insert(identity) {
            return Err(skipped(&name, "another link led to the same folder already"));
        }
        self.enter(name, path, identity).map_err(SourceEvent::Failed)
    }

    fn enter(&mut self, name: PathBuf, path: PathBuf, identity: Identity) -> Result<(), Error> {
        let rest = Some(fs::read_dir(&path).map_err(|source| listing(&name, source))?);
        let chunk = Vec::new().into_iter();
        self.frames.push(OpenFolder { name, path, identity, chunk, rest });
        Ok(())
    }
}

impl OpenFolder {
    /// Reads the next names and sorts them; keeps `rest` only if there may be more.
    fn read(&mut self, mut rest: ReadDir, most: usize) -> Result<(), Error> {
        let mut entries = Vec::new();
        let mut failed = None;
        while entries.len() < most {
            match rest.next() {
                Some(Ok(entry)) => entries.push((entry.file_name(), entry)),
                Some(Err(source)) => {
                    failed = Some(source);
                    break;
                }
                None => break,
            }
        }
        if entries.len() == most {
            self.rest = Some(rest);
        }
        entries.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        self.chunk = entries.into_iter();
        failed.map_or(Ok(()), |source| Err(listing(&self.name, source)))
    }
}

fn listing(name: &Path, source: io::Error) -> Error {
    Error::List { name: name.to_string_lossy().into_owned(), source }
}

fn skipped(name: &Path, why: &str) -> SourceEvent {
    SourceEvent::Skipped { name: name.to_string_lossy().into_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::HashMap,
        os::unix::{fs::symlink, net::UnixListener},
        time::Duration,
    };

    fn files(words: &[&Path]) -> Result<Files, Error> {
        let words: Vec<OsString> = words.iter().map(|word| word.as_os_str().to_owned()).collect();
        Files::new(&words, Box::new(|_| None))
    }

    fn listed(files: &mut Files) -> Vec<SourceEvent> {
        let mut all = Vec::new();
        files
            .list(&mut |_, found| {
                all.push(found);
                true
            })
            .unwrap();
        all
    }

    /// Names of the inputs, below `folder`.
    fn names(found: &[SourceEvent], folder: &Path) -> Vec<String> {
        let prefix = format!("{}/", folder.display());
        let inputs = found.iter().filter_map(|found| match found {
            SourceEvent::Input(input) => {
                Some(input.name.strip_prefix(&prefix).unwrap_or(&input.name))
            }
            _ => None,
        });
        inputs.map(str::to_owned).collect()
    }

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn folders_are_read_in_the_order_of_names_whatever_the_chunk() {
        let folder = tempfile::tempdir().unwrap();
        let wanted =
            ["2023/12/31/z", "2024/01/01/a", "2024/01/02/.hidden", "2024/01/02/b.json", "top"];
        for name in wanted.iter().rev() {
            write(&folder.path().join(name), "");
        }
        let found = listed(&mut files(&[folder.path()]).unwrap());
        assert_eq!(names(&found, folder.path()), wanted);
        for chunk in [1, 2, 5] {
            let mut files = files(&[folder.path()]).unwrap();
            files.chunk = chunk;
            let mut names = names(&listed(&mut files), folder.path());
            names.sort();
            assert_eq!(names, wanted);
        }
    }

    #[test]
    fn listing_stops_when_told() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b/c", "d"] {
            write(&folder.path().join(name), "");
        }
        let mut seen = 0;
        files(&[folder.path()])
            .unwrap()
            .list(&mut |_, _| {
                seen += 1;
                seen < 2
            })
            .unwrap();
        assert_eq!(seen, 2);
    }

    #[test]
    fn links_are_followed_but_never_round() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(&folder.path().join("a/file"), "");
        write(&other.path().join("far"), "");
        symlink(other.path(), folder.path().join("b")).unwrap();
        symlink(other.path(), folder.path().join("c")).unwrap();
        symlink("..", folder.path().join("a/up")).unwrap();
        symlink(folder.path().join("a/file"), folder.path().join("d")).unwrap();
        symlink("nowhere", folder.path().join("e")).unwrap();
        let found = listed(&mut files(&[folder.path()]).unwrap());
        assert_eq!(names(&found, folder.path()), ["a/file", "b/far", "d"]);
        let skipped: Vec<&str> = found
            .iter()
            .filter_map(|found| match found {
                SourceEvent::Skipped { name, why } => Some((name, why)),
                _ => None,
            })
            .map(|(name, _)| name.rsplit('/').next().unwrap())
            .collect();
        assert_eq!(skipped, ["up", "c"]);
        let failed = found.iter().filter(|found| matches!(found, SourceEvent::Failed(Error::List { name, .. }) if name.ends_with("/e")));
        assert_eq!(failed.count(), 1);
    }

    #[test]
    fn sockets_in_folders_are_passed_by_and_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let found = listed(&mut files(&[folder.path()]).unwrap());
        assert!(
            matches!(&found[..], [SourceEvent::Skipped { name, .. }] if name.ends_with("socket"))
        );
        assert!(matches!(files(&[&socket]), Err(Error::Unfit { .. })));
    }

    #[test]
    fn a_fifo_that_is_named_is_a_stream() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let found = listed(&mut files(&[&fifo]).unwrap());
        let [SourceEvent::Input(input)] = &found[..] else { panic!("{found:?}") };
        assert_eq!((input.lane.fingerprint.as_str(), input.size), ("", 0));
        // Not opened yet, or the listing would have waited for a writer.
        assert!(matches!(input.content, Content::Stream(_)));
        let found = listed(&mut files(&[folder.path()]).unwrap());
        assert!(matches!(&found[..], [SourceEvent::Skipped { .. }]), "{found:?}");
    }

    #[test]
    fn words_that_name_nothing_are_refused() {
        for word in ["s3://bucket/key", "http://x", "lookup", "lookup://x"] {
            let error = files(&[Path::new(word)]).err().unwrap();
            assert!(matches!(error, Error::UnknownScheme { .. }) && error.is_usage(), "{word}");
        }
        let error = files(&[Path::new("/no/such/file")]).err().unwrap();
        assert!(matches!(&error, Error::Missing { name, .. } if name == "/no/such/file"));
        let twice = [Path::new("-"), Path::new("-")];
        assert!(matches!(files(&twice), Err(Error::StandardInputTwice)));
        assert_eq!(
            names(&listed(&mut files(&twice[1..]).unwrap()), Path::new("")),
            ["standard input"]
        );
    }

    #[test]
    fn what_is_named_twice_is_listed_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/file");
        write(&file, "");
        let again = folder.path().join("a/../a/file");
        let found = listed(&mut files(&[&file, &again, &file]).unwrap());
        assert_eq!(found.len(), 1);
        let found = listed(&mut files(&[&file, folder.path(), &folder.path().join("a")]).unwrap());
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn paths_that_are_no_text_have_keys_of_their_own() {
        use std::ffi::OsStr;
        let path = |bytes: &'static [u8]| Path::new(OsStr::from_bytes(bytes)).to_owned();
        let keys: HashSet<String> =
            [&b"/a\xff"[..], b"/a\xfe", b"/a%ff", b"/a%ff\xff", "/a\u{fffd}".as_bytes()]
                .into_iter()
                .map(|bytes| key("file", &path(bytes)))
                .collect();
        assert_eq!(keys.len(), 5);
    }

    #[test]
    fn a_done_file_is_listed_again_only_if_it_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let far = |seconds| {
            fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
        };
        let age = |seconds| {
            fs::File::options().append(true).open(&path).unwrap().set_times(far(seconds)).unwrap();
        };
        fs::write(&path, "one two").unwrap();
        age(1000);
        let opened = fs::File::open(&path).unwrap();
        let done = Fingerprint::from_metadata(&opened.metadata().unwrap())
            .with_content_hash(&opened)
            .unwrap()
            .to_string();
        let found = |done: &str| {
            let done = done.to_owned();
            let words = [path.clone().into_os_string()];
            listed(&mut Files::new(&words, Box::new(move |_| Some(done.clone()))).unwrap())
        };
        let listed = |done: &str| matches!(found(done)[..], [SourceEvent::Input(_)]);
        let untouched = |done: &str| {
            matches!(found(done)[..], [SourceEvent::AlreadyDone { touched: None, .. }])
        };
        assert!(untouched(&done), "nothing changed");
        age(2000);
        let [SourceEvent::AlreadyDone { touched: Some(touched), .. }] = &found(&done)[..] else {
            panic!("touched")
        };
        assert!(untouched(&touched.fingerprint), "touched, and that is known");
        let without_hash = done.rsplit_once(':').unwrap().0;
        assert!(listed(without_hash), "touched, and no hash to compare");
        fs::write(&path, "one owt").unwrap();
        assert!(listed(&done), "changed, of the same size");
        fs::write(&path, "one two three").unwrap();
        age(1000);
        assert!(listed(&done), "grown, of the same age");
        assert!(listed("nonsense"), "a fingerprint of another kind");
    }

    #[test]
    fn a_hundred_thousand_done_files_are_skipped_without_being_opened() {
        const FILES: usize = 100_000;
        let folder = tempfile::tempdir().unwrap();
        // Links to one file: the same names and the same number of stats, and much quicker to make.
        let original = folder.path().join("original");
        fs::write(&original, "x").unwrap();
        let below = folder.path().join("below");
        fs::create_dir(&below).unwrap();
        let fingerprint = Fingerprint::from_metadata(&fs::metadata(&original).unwrap()).to_string();
        let mut done = HashMap::new();
        let root = fs::canonicalize(&below).unwrap();
        for number in 0..FILES {
            let name = format!("111122223333_CloudTrail_us-east-1_{number:012}.json.gz");
            // A file system may limit the links of one file.
            if fs::hard_link(&original, below.join(&name)).is_err() {
                symlink(&original, below.join(&name)).unwrap();
            }
            done.insert(key("file", &root.join(name)), fingerprint.clone());
        }
        let words = [below.into_os_string()];
        let mut files = Files::new(&words, Box::new(move |key| done.get(key).cloned())).unwrap();
        let mut skipped = 0;
        files
            .list(&mut |_, found| {
                skipped += usize::from(matches!(found, SourceEvent::AlreadyDone { size: 1, .. }));
                true
            })
            .unwrap();
        assert_eq!(skipped, FILES);
    }
}
