//! Finds files: those that are named, and all files in folders.
//!
//! Input: the SOURCE arguments that are paths, or `-`. Output: one [`SourceEvent`] per file.
//! Invariant: memory is bounded by the depth of the folders and by `MAX_NAMES_SORTED`, not by the number of files. A file
//! that an earlier run loaded costs one `stat`. A symbolic link that leads back to a folder it is in is not followed. A
//! file that is named is listed as named, even if its folder is named too.
//! Not here: opening files. The worker that reads a file reports that it cannot be opened.

use std::{
    collections::HashSet,
    ffi::OsString,
    fmt::Write as _,
    fs::{self, DirEntry, Metadata, ReadDir},
    io::{self, Read},
    mem,
    ops::ControlFlow,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
    vec,
};

use super::{Content, Error, EventSender, Input, Source, SourceEvent, SourceRun, task_output};
use crate::event::fingerprint::{FileChange, Fingerprint};
use crate::{
    event::{FinishedPartition, Partition},
    redact,
    shutdown::ShutdownSignal,
};

/// Names of a folder that are sorted at a time: a few MiB. The folders of a trail have fewer, so that their files are read
/// in the order of their names, which is the order of time.
const MAX_NAMES_SORTED: usize = 1 << 16;

/// Returns what an earlier run recorded of the partition with a key, if it finished that.
pub type FinishedLookup = Box<dyn FnMut(&str) -> Option<FinishedPartition> + Send>;

/// The files, folders and streams named on the command line.
pub struct Files {
    /// Numbers of the SOURCE arguments, by their index among those given.
    numbers: Vec<usize>,
    roots: Vec<Root>,
    /// Files and streams that are named, by their canonical paths. They are skipped in folders.
    named: HashSet<PathBuf>,
    finished: FinishedLookup,
    max_names_sorted: usize,
}

/// What one SOURCE argument names.
struct Root {
    /// Index of the argument.
    number: usize,
    /// The argument.
    name: String,
    kind: RootKind,
}

enum RootKind {
    StandardInput,
    /// A FIFO or a character device, by the path of the argument, and its canonical path.
    Stream {
        path: PathBuf,
        canonical: PathBuf,
    },
    /// A file, by its canonical path.
    File(PathBuf),
    /// A folder, by its canonical path.
    Folder(PathBuf),
}

impl RootKind {
    /// Returns the canonical path; `None` for standard input.
    fn canonical(&self) -> Option<&Path> {
        match self {
            Self::StandardInput => None,
            Self::Stream { canonical: path, .. } | Self::File(path) | Self::Folder(path) => {
                Some(path)
            }
        }
    }
}

impl Files {
    /// Returns the source of these SOURCE arguments. Nothing is listed yet. `finished` returns what earlier runs loaded.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if an argument names nothing that can be read; [`Error::is_usage`] is true for it.
    pub fn new(arguments: &[OsString], finished: FinishedLookup) -> Result<Self, Error> {
        let roots = arguments.iter().enumerate();
        let roots = roots.map(|(number, argument)| Root::new(number, argument));
        let roots = roots.collect::<Result<Vec<_>, _>>()?;
        let streams = roots.iter().filter(|root| matches!(root.kind, RootKind::StandardInput));
        if streams.count() > 1 {
            return Err(Error::StandardInputTwice);
        }
        let roots = deduplicate(roots);
        let named = roots
            .iter()
            .filter(|root| !matches!(root.kind, RootKind::Folder(_)))
            .filter_map(|root| root.kind.canonical().map(Path::to_owned))
            .collect();
        Ok(Self { numbers: Vec::new(), roots, named, finished, max_names_sorted: MAX_NAMES_SORTED })
    }
}

impl Files {
    /// Sets the numbers of the SOURCE arguments; those given to [`Files::new`] are numbered from 0 otherwise.
    #[must_use]
    pub fn numbered(mut self, numbers: Vec<usize>) -> Self {
        self.numbers = numbers;
        self
    }

    /// Passes every file to `found`, with the number of its SOURCE argument, until that returns `Break`. Blocks.
    pub(super) fn list(&mut self, found: &mut dyn FnMut(usize, SourceEvent) -> ControlFlow<()>) {
        for root in mem::take(&mut self.roots) {
            let Root { number, name, kind } = root;
            let mut report = |event| found(number, event);
            let flow = match kind {
                RootKind::StandardInput => report(standard_input()),
                RootKind::Stream { path, .. } => report(stream(name, path)),
                RootKind::File(path) => report(match fs::metadata(&path) {
                    Ok(metadata) => file(&mut self.finished, || name, path, &metadata),
                    Err(source) => SourceEvent::Failed(Error::List { name, source }),
                }),
                RootKind::Folder(path) => {
                    FolderWalk::new(self, &mut report).walk(PathBuf::from(name), path)
                }
            };
            if flow.is_break() {
                break;
            }
        }
    }
}

impl Source for Files {
    fn run(mut self: Box<Self>, out: EventSender, _shutdown: ShutdownSignal) -> SourceRun {
        Box::pin(async move {
            let mut out = out.into_blocking();
            let listing = tokio::task::spawn_blocking(move || {
                let numbers = mem::take(&mut self.numbers);
                self.list(&mut |number, event| {
                    // Its first read may wait long for the other end: a worker starts that at once.
                    let is_stream = matches!(
                        &event,
                        SourceEvent::Input(Input { content: Content::Stream(_), .. })
                    );
                    let number = numbers.get(number).copied().unwrap_or(number);
                    let sent = out.send(number, event);
                    let sent = sent.and_then(|()| if is_stream { out.flush() } else { Ok(()) });
                    sent.map_or(ControlFlow::Break(()), ControlFlow::Continue)
                });
                // If the receiver is gone, the run ends for another reason.
                let _ = out.flush();
                Ok(())
            });
            task_output(listing.await).unwrap_or(Ok(()))
        })
    }
}

impl Root {
    /// Returns what an argument names.
    fn new(number: usize, argument: &OsString) -> Result<Self, Error> {
        let name = argument.to_string_lossy().into_owned();
        if argument == "-" {
            return Ok(Self { number, name, kind: RootKind::StandardInput });
        }
        if has_scheme(&name) {
            return Err(Error::UnknownScheme { word: redact::url(&name) });
        }
        let missing = |source| Error::Missing { name: name.clone(), source };
        let metadata = match fs::metadata(argument) {
            Err(_) if name == "lookup" => return Err(Error::UnknownScheme { word: name }),
            metadata => metadata.map_err(missing)?,
        };
        let canonical = || fs::canonicalize(argument).map_err(missing);
        let kind = match metadata.file_type() {
            kind if kind.is_dir() => RootKind::Folder(canonical()?),
            kind if kind.is_file() => RootKind::File(canonical()?),
            kind if kind.is_fifo() || kind.is_char_device() => {
                RootKind::Stream { path: PathBuf::from(argument), canonical: canonical()? }
            }
            kind if kind.is_socket() => {
                return Err(Error::UnsupportedFileType { name, what: "a socket" });
            }
            _ => return Err(Error::UnsupportedFileType { name, what: "a device" }),
        };
        Ok(Self { number, name, kind })
    }
}

/// Returns whether an argument starts with the scheme of a URL, like `s3://`.
fn has_scheme(argument: &str) -> bool {
    let Some((scheme, _)) = argument.split_once("://") else { return false };
    let mut bytes = scheme.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
}

/// Drops what is named twice, and folders that are in another folder that is named.
fn deduplicate(roots: Vec<Root>) -> Vec<Root> {
    let is_folder = |root: &&Root| matches!(root.kind, RootKind::Folder(_));
    let folders = roots.iter().filter(is_folder);
    let folders: HashSet<PathBuf> =
        folders.filter_map(|root| root.kind.canonical().map(Path::to_owned)).collect();
    let mut seen = HashSet::new();
    let keep = |root: &Root| {
        let Some(path) = root.kind.canonical() else { return true };
        let is_covered =
            is_folder(&root) && path.ancestors().skip(1).any(|ancestor| folders.contains(ancestor));
        !is_covered && seen.insert(path.to_owned())
    };
    roots.into_iter().filter(keep).collect()
}

fn standard_input() -> SourceEvent {
    SourceEvent::Input(Input {
        partition: Partition { key: "stdin".to_owned(), fingerprint: String::new() },
        name: "standard input".to_owned(),
        content: Content::Stream(Box::new(io::stdin())),
        size: 0,
        result: None,
    })
}

fn stream(name: String, path: PathBuf) -> SourceEvent {
    let partition = Partition { key: key("fifo", &path), fingerprint: String::new() };
    let content = Content::Stream(Box::new(Fifo::Named(path)));
    SourceEvent::Input(Input { partition, name, content, size: 0, result: None })
}

/// A FIFO or a character device. It is opened by the first read, because that may wait for the other end.
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
    finished: &mut FinishedLookup,
    name: impl FnOnce() -> String,
    path: PathBuf,
    metadata: &Metadata,
) -> SourceEvent {
    let key = key("file", &path);
    let now = Fingerprint::from_metadata(metadata);
    let before = finished(&key);
    let is_foreign = before.as_ref().is_some_and(|before| before.is_foreign);
    let before = before.and_then(|before| before.fingerprint.parse().ok());
    let size = now.size;
    match before.map_or(FileChange::Changed, |before| now.change_since(before, &path)) {
        FileChange::Unchanged => {
            return SourceEvent::AlreadyDone { size, touched: None, is_foreign };
        }
        FileChange::Touched(now) => {
            let partition = Partition { key, fingerprint: now.to_string() };
            return SourceEvent::AlreadyDone { size, touched: Some(partition), is_foreign };
        }
        FileChange::Changed => {}
    }
    let partition = Partition { key, fingerprint: now.to_string() };
    let content = Content::File(path);
    SourceEvent::Input(Input { partition, name: name(), content, size, result: None })
}

/// Returns the key of a partition. A path that is not UTF-8 is percent-encoded, with a prefix that no other path has.
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

/// Identifies a file or folder regardless of the path to it: device and inode.
type Identity = (u64, u64);

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// A folder that is being listed.
struct OpenFolder {
    name: PathBuf,
    path: PathBuf,
    identity: Identity,
    /// The sorted names that were not returned yet.
    sorted: vec::IntoIter<(OsString, DirEntry)>,
    /// The rest of the folder; `None` at its end, so that the file descriptor is closed as soon as possible.
    rest: Option<ReadDir>,
}

/// Lists all files in a folder and the folders in it.
struct FolderWalk<'a> {
    named: &'a HashSet<PathBuf>,
    finished: &'a mut FinishedLookup,
    report: &'a mut dyn FnMut(SourceEvent) -> ControlFlow<()>,
    max_names_sorted: usize,
    /// The folders that enclose the current one, from the outermost on.
    open: Vec<OpenFolder>,
    /// Folders that symbolic links led to. Each is listed once, since a few links could multiply without end.
    linked: HashSet<Identity>,
}

/// A folder that the walk came to.
struct SubFolder {
    name: PathBuf,
    path: PathBuf,
    identity: Identity,
    /// The entry is a symbolic link to the folder.
    is_link: bool,
}

impl<'a> FolderWalk<'a> {
    fn new(
        files: &'a mut Files,
        report: &'a mut dyn FnMut(SourceEvent) -> ControlFlow<()>,
    ) -> Self {
        let Files { named, finished, max_names_sorted, .. } = files;
        Self {
            named,
            finished,
            report,
            max_names_sorted: *max_names_sorted,
            open: Vec::new(),
            linked: HashSet::new(),
        }
    }

    /// Lists the folder at `path`, called `name` in messages, until `report` breaks.
    fn walk(mut self, name: PathBuf, path: PathBuf) -> ControlFlow<()> {
        let entered = fs::metadata(&path)
            .map_err(|source| list_error(&name, source))
            .and_then(|metadata| self.enter(name, path, identity(&metadata)));
        if let Err(error) = entered {
            return (self.report)(SourceEvent::Failed(error));
        }
        while !self.open.is_empty() {
            match self.next_entry() {
                Ok(Some(entry)) => self.visit(&entry)?,
                Ok(None) => {}
                Err(error) => (self.report)(SourceEvent::Failed(error))?,
            }
        }
        ControlFlow::Continue(())
    }

    /// Returns the next entry of the innermost folder; `None` if there was none in memory, or the folder ended.
    fn next_entry(&mut self) -> Result<Option<DirEntry>, Error> {
        let Some(folder) = self.open.last_mut() else { return Ok(None) };
        if let Some((_, entry)) = folder.sorted.next() {
            return Ok(Some(entry));
        }
        let Some(rest) = folder.rest.take() else {
            self.open.pop();
            return Ok(None);
        };
        folder.read(rest, self.max_names_sorted)?;
        Ok(None)
    }

    fn visit(&mut self, entry: &DirEntry) -> ControlFlow<()> {
        let Some(folder) = self.open.last() else { return ControlFlow::Continue(()) };
        let file_name = entry.file_name();
        let path = folder.path.join(&file_name);
        if self.named.contains(&path) {
            return ControlFlow::Continue(());
        }
        // Relative to the open folder, which takes a third of the time of `stat` with a path. Does not follow links.
        let own = entry.metadata();
        let is_link = own.as_ref().is_ok_and(Metadata::is_symlink);
        let metadata = match if is_link { fs::metadata(&path) } else { own } {
            Ok(metadata) => metadata,
            Err(source) => {
                let error = list_error(&folder.name.join(&file_name), source);
                return (self.report)(SourceEvent::Failed(error));
            }
        };
        let kind = metadata.file_type();
        if kind.is_file() {
            let name = || folder.name.join(&file_name).to_string_lossy().into_owned();
            return (self.report)(file(self.finished, name, path, &metadata));
        }
        let name = folder.name.join(&file_name);
        if kind.is_dir() {
            return self.visit_folder(SubFolder {
                name,
                path,
                identity: identity(&metadata),
                is_link,
            });
        }
        (self.report)(skipped(
            &name,
            "it is a FIFO, a socket or a device; name a FIFO as SOURCE to read it",
        ))
    }

    fn visit_folder(&mut self, folder: SubFolder) -> ControlFlow<()> {
        let SubFolder { name, path, identity, is_link } = folder;
        if self.open.iter().any(|open| open.identity == identity) {
            return (self.report)(skipped(&name, "it is a link to a folder that contains it"));
        }
        if is_link && !self.linked.insert(identity) {
            return (self.report)(skipped(&name, "another link led to the same folder"));
        }
        match self.enter(name, path, identity) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => (self.report)(SourceEvent::Failed(error)),
        }
    }

    fn enter(&mut self, name: PathBuf, path: PathBuf, identity: Identity) -> Result<(), Error> {
        let rest = Some(fs::read_dir(&path).map_err(|source| list_error(&name, source))?);
        let sorted = Vec::new().into_iter();
        self.open.push(OpenFolder { name, path, identity, sorted, rest });
        Ok(())
    }
}

impl OpenFolder {
    /// Reads up to `max` names and sorts them. Keeps `rest` only if there may be more.
    fn read(&mut self, mut rest: ReadDir, max: usize) -> Result<(), Error> {
        let mut entries = Vec::new();
        let mut failed = None;
        while entries.len() < max {
            match rest.next() {
                Some(Ok(entry)) => entries.push((entry.file_name(), entry)),
                Some(Err(source)) => {
                    failed = Some(source);
                    break;
                }
                None => break,
            }
        }
        if entries.len() == max {
            self.rest = Some(rest);
        }
        entries.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        self.sorted = entries.into_iter();
        failed.map_or(Ok(()), |source| Err(list_error(&self.name, source)))
    }
}

fn list_error(name: &Path, source: io::Error) -> Error {
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
        files.list(&mut |_, found| {
            all.push(found);
            ControlFlow::Continue(())
        });
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
            files.max_names_sorted = chunk;
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
        files(&[folder.path()]).unwrap().list(&mut |_, _| {
            seen += 1;
            if seen < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
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
        assert!(matches!(files(&[&socket]), Err(Error::UnsupportedFileType { .. })));
    }

    #[test]
    fn a_fifo_that_is_named_is_a_stream() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let found = listed(&mut files(&[&fifo]).unwrap());
        let [SourceEvent::Input(input)] = &found[..] else { panic!("{found:?}") };
        assert_eq!((input.partition.fingerprint.as_str(), input.size), ("", 0));
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
        let found = listed(&mut files(&[folder.path(), &folder.path().join("a")]).unwrap());
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_file_that_is_named_counts_as_named_also_in_a_folder_that_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (file, fifo) = (folder.path().join("a/file"), folder.path().join("a/fifo"));
        write(&file, "");
        write(&folder.path().join("a/other"), "");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        for arguments in [[folder.path(), &file, &fifo], [&file, &fifo, folder.path()]] {
            let of = |path: &Path| arguments.iter().position(|one| *one == path).unwrap();
            let mut inputs = Vec::new();
            files(&arguments).unwrap().list(&mut |number, found| {
                let SourceEvent::Input(input) = found else { panic!("{found:?}") };
                inputs.push((number, input.name));
                ControlFlow::Continue(())
            });
            inputs.sort();
            let mut wanted = [(of(&file), &*file), (of(&fifo), &*fifo)]
                .map(|(number, path)| (number, path.display().to_string()))
                .to_vec();
            let other = folder.path().join("a/other").display().to_string();
            wanted.push((of(folder.path()), other));
            wanted.sort();
            assert_eq!(inputs, wanted);
        }
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
            let finished = FinishedPartition { fingerprint: done, is_foreign: false };
            listed(&mut Files::new(&words, Box::new(move |_| Some(finished.clone()))).unwrap())
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
            let finished =
                FinishedPartition { fingerprint: fingerprint.clone(), is_foreign: false };
            done.insert(key("file", &root.join(name)), finished);
        }
        let words = [below.into_os_string()];
        let mut files = Files::new(&words, Box::new(move |key| done.get(key).cloned())).unwrap();
        let mut skipped = 0;
        files.list(&mut |_, found| {
            skipped += usize::from(matches!(found, SourceEvent::AlreadyDone { size: 1, .. }));
            ControlFlow::Continue(())
        });
        assert_eq!(skipped, FILES);
    }
}
