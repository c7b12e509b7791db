//! The API models that an answer is made from: the embedded table, and models in a folder.
//!
//! Input: `--models`, or where Python and the AWS CLI install models. Output: services.
//! Invariant: a model of `--models` replaces that of the table. One that was found by itself adds descriptions only,
//! because it may be older than the table.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    cli::{environment::Environment, failure::Failure},
    filter::action::ActionPattern,
    schema::{
        Table, TableError,
        botocore::{self, ModelFile, Selection},
        find,
        model::{Operation, Service, ServiceInfo, ShapeId, ShapeKind},
        names, records,
        table::IndexEntry,
    },
};

/// The services that can be asked about.
#[derive(Debug)]
pub(super) struct Catalog {
    table: &'static Table,
    models: Models,
    /// Services that only `--models` has.
    new: Vec<Service>,
}

/// Models in folders.
#[derive(Debug)]
enum Models {
    /// They are the truth.
    Given(PathBuf),
    /// They add descriptions.
    Installed(InstalledModels),
}

/// A service of the catalog.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry<'c> {
    /// In the table; `--models` may have a newer model of it.
    Known(&'c IndexEntry),
    /// Only in `--models`.
    New(&'c Service),
}

impl<'c> Entry<'c> {
    pub(super) fn info(self) -> &'c ServiceInfo {
        match self {
            Self::Known(entry) => &entry.info,
            Self::New(service) => &service.info,
        }
    }
}

impl Catalog {
    /// Opens the table, and the folder of `--models` if one is given.
    pub(super) fn open(folder: Option<&Path>, environment: &Environment) -> Result<Self, Failure> {
        let table = Table::embedded()?;
        let Some(folder) = folder else {
            let models = Models::Installed(InstalledModels::new(environment));
            return Ok(Self { table, models, new: Vec::new() });
        };
        let folder = data_folder(folder);
        let mut files = botocore::list(&folder)?;
        files.dedup_by(|later, first| {
            // The list is sorted by version: keep the newest of each service.
            let same = later.service == first.service;
            if same {
                std::mem::swap(later, first);
            }
            same
        });
        let unknown = files.iter().filter(|file| table.entry(&file.service).is_none());
        let new = unknown.map(|file| botocore::read(file, Selection::All));
        let new: Result<Vec<Service>, botocore::Error> = new.collect();
        Ok(Self { table, models: Models::Given(folder), new: new? })
    }

    /// Returns all services, sorted by id.
    pub(super) fn entries(&self) -> Vec<Entry<'_>> {
        let known = self.table.services.iter().map(Entry::Known);
        let mut entries: Vec<Entry<'_>> = known.chain(self.new.iter().map(Entry::New)).collect();
        entries.sort_by(|one, other| one.info().id.cmp(&other.info().id));
        entries
    }

    /// Returns the sources of events that no service has.
    pub(super) fn sources_without_api(&self) -> Vec<&'static str> {
        let mut sources: Vec<&str> = records::EVENTS.iter().map(|event| event.source).collect();
        sources.dedup();
        sources.retain(|source| self.named(source).is_empty());
        sources
    }

    /// Returns the services with this name, the best fit first.
    pub(super) fn named(&self, name: &str) -> Vec<Entry<'_>> {
        let mut known = names::services(&self.table.services, name);
        let name = names::service_name(name);
        if known.is_empty() {
            // IAM prefixes that no model contains, such as `mobiletargeting`.
            let pattern = ActionPattern::parse(&format!("{name}:*")).ok();
            let sources = pattern.iter().flat_map(ActionPattern::added_services);
            known.extend(sources.flat_map(|name| names::services(&self.table.services, name)));
        }
        let known = known.into_iter().map(Entry::Known);
        let new = self.new.iter().filter(|service| {
            let ServiceInfo { id, event_source, .. } = &service.info;
            id.eq_ignore_ascii_case(&name) || event_source.eq_ignore_ascii_case(&name)
        });
        known.chain(new.map(Entry::New)).collect()
    }

    /// Returns a service with all operations.
    pub(super) fn service(&self, entry: Entry<'_>) -> Result<Service, Failure> {
        match entry {
            Entry::New(service) => Ok(service.clone()),
            Entry::Known(entry) => match self.given(&entry.info.id) {
                Some(file) => {
                    let mut service = botocore::read(&file, Selection::All)?;
                    self.mark_old_calls(entry, &mut service)?;
                    Ok(service)
                }
                None => Ok(self.table.service(entry)?),
            },
        }
    }

    /// Returns whether a service may have an operation or field with a word in its name, which is in lower case.
    pub(super) fn may_contain(&self, entry: Entry<'_>, word: &str) -> Result<bool, Failure> {
        match entry {
            Entry::Known(entry) if self.given(&entry.info.id).is_none() => {
                Ok(find::may_contain(self.table, entry, word)?)
            }
            _ => Ok(true),
        }
    }

    /// Returns the names of the operations of a service.
    pub(super) fn operations(&self, entry: Entry<'_>) -> Result<Vec<String>, Failure> {
        if let Entry::Known(entry) = entry
            && self.given(&entry.info.id).is_none()
        {
            return Ok(entry.operations.iter().map(|name| (*name).to_owned()).collect());
        }
        let service = self.service(entry)?;
        Ok(service.operations.iter().map(|operation| operation.name.to_string()).collect())
    }

    /// Returns a service for a question about one of its operations, with descriptions if models are installed.
    pub(super) fn described(&self, entry: Entry<'_>, operation: &str) -> Result<Service, Failure> {
        let mut service = self.service(entry)?;
        if let Models::Installed(installed) = &self.models
            && let Some(file) = installed.find(&entry.info().id)
            // Descriptions are an extra: a model that cannot be read is as good as none.
            && let Ok(model) = botocore::read(&file, Selection::Operation(operation))
        {
            add_descriptions(&mut service, &model, operation);
        }
        Ok(service)
    }

    /// Returns the model of `--models` for a service.
    fn given(&self, id: &str) -> Option<ModelFile> {
        match &self.models {
            Models::Given(folder) => botocore::find(folder, id),
            Models::Installed(_) => None,
        }
    }

    /// Copies to a newer model what only the table contains: which calls of EC2 are old.
    fn mark_old_calls(&self, entry: &IndexEntry, service: &mut Service) -> Result<(), Failure> {
        if entry.info.id != "ec2" {
            return Ok(());
        }
        let known = self.table.service(entry)?;
        for operation in &mut service.operations {
            operation.predates_wrapping =
                known.operation(&operation.name).is_some_and(|known| known.predates_wrapping);
        }
        Ok(())
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        Self::from_error(crate::cli::exit::Exit::ActionRequired, &error)
    }
}

impl From<botocore::Error> for Failure {
    fn from(error: botocore::Error) -> Self {
        Self::from_error(crate::cli::exit::Exit::ActionRequired, &error)
            .hint("name the 'data' folder of botocore, which the AWS CLI also has: …/botocore/data")
    }
}

/// Returns the folder that contains the services, given it or one above: a checkout of botocore, a Python environment, or the
/// folder of an installed AWS CLI.
fn data_folder(folder: &Path) -> PathBuf {
    let own = MODELS.iter().chain(&["data"]).map(|below| folder.join(below));
    let aws_cli = ["dist", "current/dist", "v2/current/dist"].map(|below| folder.join(below));
    let above = aws_cli.into_iter().chain(python_packages(&folder.join("lib")));
    let above = above.flat_map(|root| MODELS.map(|below| root.join(below)));
    own.chain(above).find(|path| path.is_dir()).unwrap_or_else(|| folder.to_owned())
}

/// Where a folder of Python packages has the models of botocore and of the AWS CLI.
const MODELS: [&str; 2] = ["botocore/data", "awscli/botocore/data"];

/// The places where Python packages and the AWS CLI are installed.
#[derive(Clone, Debug)]
struct InstalledModels {
    home: Option<PathBuf>,
    python_environments: Vec<PathBuf>,
    aws_data_path: Option<OsString>,
}

impl InstalledModels {
    fn new(environment: &Environment) -> Self {
        Self {
            home: environment.home.clone(),
            python_environments: environment.python_environments.clone(),
            aws_data_path: environment.aws_data_path.clone(),
        }
    }

    /// Returns the newest model of a service in the first place that has one.
    fn find(&self, service: &str) -> Option<ModelFile> {
        self.folders().find_map(|folder| botocore::find(&folder, service))
    }

    /// Returns the folders that may hold models, the most specific first.
    fn folders(&self) -> impl Iterator<Item = PathBuf> {
        let given = self.aws_data_path.iter().flat_map(std::env::split_paths);
        let packages = self.package_roots().into_iter().flat_map(|root| python_packages(&root));
        let home = self.home.iter();
        let aws_cli =
            home.map(|home| home.join(AWS_CLI)).chain([Path::new("/usr/local").join(AWS_CLI)]);
        let installed =
            packages.chain(aws_cli).flat_map(|folder| MODELS.map(|below| folder.join(below)));
        given.chain(installed).filter(|folder| folder.is_dir())
    }

    /// Returns the folders that hold one folder per version of Python.
    fn package_roots(&self) -> Vec<PathBuf> {
        let mut roots: Vec<PathBuf> =
            self.python_environments.iter().map(|root| root.join("lib")).collect();
        if let Some(home) = &self.home {
            roots.push(home.join(".local/lib"));
            // Tools in environments of their own.
            for tools in [".local/share/pipx/venvs", ".local/pipx/venvs", ".local/share/uv/tools"] {
                roots.extend(folders_in(&home.join(tools)).map(|tool| tool.join("lib")));
            }
            roots.extend(folders_in(&home.join(".pyenv/versions")).map(|one| one.join("lib")));
        }
        roots.extend(["/usr/local/lib", "/opt/homebrew/lib", "/usr/lib"].map(PathBuf::from));
        for cellar in ["/opt/homebrew/Cellar/awscli", "/usr/local/Cellar/awscli"] {
            roots.extend(folders_in(Path::new(cellar)).map(|one| one.join("libexec/lib")));
        }
        roots.push("/snap/aws-cli/current/lib".into());
        roots
    }
}

/// Where the installer of the AWS CLI puts it, below the home folder or `/usr/local`.
const AWS_CLI: &str = "aws-cli/v2/current/dist";

/// Returns the folders of Python packages below a folder, those of the newest version first.
fn python_packages(root: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let is_python = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3"))
    };
    let mut versions: Vec<PathBuf> = folders_in(root).filter(is_python).collect();
    // `python3.9` is older than `python3.13`.
    versions.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    versions
        .into_iter()
        .rev()
        .flat_map(|version| ["site-packages", "dist-packages"].map(|name| version.join(name)))
}

/// Returns what is in a folder; nothing if it cannot be read.
fn folders_in(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Copies the descriptions of an operation and its members, which are found by name.
fn add_descriptions(service: &mut Service, model: &Service, name: &str) {
    let Some(described) = model.operation(name) else { return };
    let Some(operation) = service.operations.iter_mut().find(|one| one.name == name) else {
        return;
    };
    operation.documentation.clone_from(&described.documentation);
    let sides = [(operation.input, described.input), (operation.output, described.output)];
    let mut pairs: Vec<(ShapeId, ShapeId)> =
        sides.into_iter().filter_map(|(to, from)| Some((to?, from?))).collect();
    let mut done = std::collections::HashSet::new();
    while let Some((to, from)) = pairs.pop() {
        if !done.insert(to) {
            continue;
        }
        match (service.kind_mut(to), &model.shape(from).kind) {
            (ShapeKind::Structure { members }, ShapeKind::Structure { members: described }) => {
                for member in members {
                    let found = described.iter().find(|one| one.name == member.name);
                    let Some(found) = found else { continue };
                    member.documentation.clone_from(&found.documentation);
                    pairs.push((member.shape, found.shape));
                }
            }
            (ShapeKind::List { item, .. }, ShapeKind::List { item: described, .. }) => {
                pairs.push((*item, *described));
            }
            (ShapeKind::Map { value, .. }, ShapeKind::Map { value: described, .. }) => {
                pairs.push((*value, *described));
            }
            _ => {}
        }
    }
}

/// Returns the description of an operation, for the operations that have one.
pub(super) fn description(operation: &Operation) -> Option<String> {
    operation.documentation.as_deref().map(super::html::to_text)
}
