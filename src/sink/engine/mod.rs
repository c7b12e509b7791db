//! The sink that is a search engine: OpenSearch or Elasticsearch, found out by asking.
//!
//! A batch goes `mapping` (the index knows every field) → `settle` (send, sort, send again) → receipt.
//! `install` puts the templates in place before, while the first files are read. Waiting and giving up is in `retry`, a
//! single HTTP request in `client`, and how many of them are under way in [`Width`].

mod calls;
mod client;
mod conflicts;
mod credentials;
mod duplicates;
mod examine;
mod identify;
mod install;
mod inventory;
mod mapping;
mod parcel;
mod paths;
mod redirect;
mod reply;
mod retry;
mod settle;
mod signing;
mod tree;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;
use url::Url;

use self::calls::Calls;
use self::client::Client;
pub use self::client::is_loopback;
pub use self::conflicts::Conflict;
pub use self::credentials::{Credentials, take_userinfo};
use self::duplicates::Comparison;
pub use self::examine::{Disk, Examination, Fill, Rights, TemplateState};
use self::identify::{Identity, Proof, identify};
use self::install::{Overwrite, Templates};
pub use self::mapping::{Learned, Rewrite};
use self::mapping::{Mappings, Stored};
use self::retry::{Policy, Retrier};
use self::settle::Settling;
pub use self::signing::{Service, Signing};
use super::{Cause, Error, Sink, Unfinished};
use crate::event::{Batch, Inventory, Receipt};
use crate::limit::ConcurrencyLimiter;
use crate::normalize::IndexBy;
use crate::report::{Log, Tally};
use crate::shutdown::ShutdownLevel;
use crate::shutdown::ShutdownSignal;

/// Longest time for one request. Engines themselves answer after a minute if a shard is not there.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Time without success after which a run ends early; restarting a node takes less.
const PATIENCE: Duration = Duration::from_mins(10);

/// Requests under way at first: one being answered while the next is being sent.
const FIRST_REQUESTS: usize = 2;

/// Good answers, for each request that may be under way, before one more is allowed.
const GOOD_ROW: usize = 2;

/// Requests under way to an engine on this machine: one for each core, since more only wait in the engine.
const LOCAL_REQUESTS: RangeInclusive<u32> = 2..=8;

/// Requests under way to an engine elsewhere: some of them are always on the wire.
const REMOTE_REQUESTS: u32 = 8;

/// Batches that are being made ready while others are under way.
const NEXT: usize = 2;

/// The first Elasticsearch with composable index templates.
const OLDEST_ELASTICSEARCH: (u64, u64) = (7, 8);

/// What stands for the version of a collection, which does not tell any.
const SERVERLESS: &str = "Serverless";

/// Whether bodies are compressed on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compress {
    /// For hosts other than this one.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where to write, and how.
#[derive(Clone)]
pub struct Target {
    /// Address of the engine. Credentials in it are taken out by [`Target::new`] and [`Engine::connect`].
    pub url: Url,
    /// Whom we say we are.
    pub credentials: Credentials,
    /// How requests are signed, if AWS runs the engine.
    pub signing: Option<Signing>,
    /// Certificates of authorities to trust besides those of the system, in PEM form.
    pub ca_file: Option<PathBuf>,
    /// What names of indices start with.
    pub prefix: String,
    /// How names of indices go on.
    pub index_by: IndexBy,
    /// Overwrite a newer or foreign template.
    pub force: bool,
    /// Learned fields that will be mapped at most; the index gets room for twice as many.
    pub max_fields: u32,
    /// Whether bodies are compressed.
    pub compress: Compress,
    /// Bulk requests under way at most; by default one for each core on this machine, and 8 elsewhere.
    pub requests: Option<u32>,
    /// What happens to documents that are there already.
    pub duplicates: Duplicates,
    /// Longest time for one request.
    pub timeout: Duration,
    /// Time without success after which writing gives up.
    pub patience: Duration,
}

/// What happens to documents whose ids an index held already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duplicates {
    /// They count as the same event.
    #[default]
    Counted,
    /// They are compared with what is stored.
    Compared,
}

/// What kind of engine answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// OpenSearch.
    OpenSearch,
    /// Elasticsearch.
    Elasticsearch,
    /// Something that takes bulk requests and does not say what it is.
    Unknown,
}

/// What the engine says it is, for the summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What kind of engine answers.
    pub flavour: Flavour,
    /// Its version, if it says.
    pub version: Option<String>,
}

/// A search engine that documents are written to.
pub struct Engine {
    client: Client,
    retrier: Retrier,
    width: ConcurrencyLimiter,
    /// Lets batches on deck: those under way and the next ones, for which fields are put meanwhile.
    deck: Semaphore,
    learned: Arc<dyn Learned>,
    /// Nothing for an endpoint that knows no mappings.
    mappings: Option<Mappings>,
    /// UUID of the cluster.
    cluster: Option<String>,
    description: Description,
    /// If documents that are there already are compared.
    comparison: Option<Comparison>,
    tally: Arc<Tally>,
    stop: ShutdownSignal,
    /// Size in bytes of the smallest body that was refused for its size.
    too_large: AtomicUsize,
    /// Whether the engine ever took a document in this run.
    accepted: AtomicBool,
}

impl Target {
    /// Returns the target with defaults for everything but the address and the prefix.
    pub fn new(url: Url, prefix: &str) -> Self {
        let mut target = Self {
            url,
            credentials: Credentials::None,
            signing: None,
            ca_file: None,
            prefix: prefix.to_owned(),
            index_by: IndexBy::default(),
            force: false,
            max_fields: 5_000,
            compress: Compress::Auto,
            requests: None,
            duplicates: Duplicates::Counted,
            timeout: TIMEOUT,
            patience: PATIENCE,
        };
        target.take_credentials();
        target
    }

    /// Moves credentials out of the address. Those given in another way win.
    fn take_credentials(&mut self) {
        let (username, password) = take_userinfo(&mut self.url);
        let given = username.is_some() || password.is_some();
        if given && self.credentials == Credentials::None {
            self.credentials = Credentials::Basic {
                username: username.unwrap_or_default(),
                password: password.unwrap_or_default(),
            };
        }
    }
}

impl Engine {
    /// Connects: finds out what answers, and what of the templates is missing. Changes nothing yet.
    ///
    /// `template` is the core `mappings` object with `_meta.version`.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if nobody answers, credentials are not accepted, the engine is too old, or the
    /// templates belong to somebody else.
    pub async fn connect(
        mut target: Target,
        template: Value,
        fields: Arc<dyn Learned>,
        log: Log,
        tally: Arc<Tally>,
        stop: ShutdownSignal,
    ) -> Result<Self, Error> {
        target.take_credentials();
        check_prefix(&target.prefix)?;
        let client = Client::new(&target, tally.waits.clone())?;
        if let Some(signing) = &target.signing {
            signing.check(client.address()).await?;
        }
        let policy = Policy::with_patience(target.patience);
        let retrier = Retrier::new(policy, client.address(), log.clone(), stop.clone());
        let connecting = prepare(&client, &retrier, &target, template, &fields, &log, &tally);
        let (description, mappings) = unless_left(&stop, &client, connecting).await?;
        let calls = Calls { client: &client, retrier: &retrier };
        let cluster = match mappings {
            Some(_) => unless_left(&stop, &client, inventory::cluster(&calls)).await?,
            None => None,
        };
        let most = target.requests.unwrap_or_else(|| default_requests(&target.url));
        Ok(Self {
            client,
            retrier,
            width: ConcurrencyLimiter::new(FIRST_REQUESTS, most as usize, GOOD_ROW),
            deck: Semaphore::new(most as usize + NEXT),
            learned: fields,
            mappings,
            cluster,
            description,
            comparison: (target.duplicates == Duplicates::Compared).then(|| Comparison::new(log)),
            tally,
            stop,
            too_large: AtomicUsize::new(usize::MAX),
            accepted: AtomicBool::new(false),
        })
    }

    /// Returns what the engine says it is.
    pub fn describe(&self) -> &Description {
        &self.description
    }

    /// Returns why an index takes no documents, if that is known.
    fn shut(&self, index: &str) -> Option<Cause> {
        self.mappings.as_ref()?.shut(index)
    }

    /// Takes note of an index that takes no documents.
    fn shut_index(&self, index: &str, cause: &Cause) {
        if let Some(mappings) = &self.mappings {
            mappings.shut_index(index, cause);
        }
    }

    /// Returns the UUID of the cluster, if the engine tells.
    pub fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// Returns the indices of the prefix as they were when the engine was connected to, if it tells.
    pub fn inventory(&self) -> Option<&Inventory> {
        self.mappings.as_ref()?.before()
    }

    /// Counts the documents of the prefix again once all that was written to these indices can be counted. An index
    /// for which that is not allowed has no count then. Without names, all indices are meant, as far as it is allowed.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the engine does not answer.
    pub async fn recount(&self, indices: &[String]) -> Result<Option<Inventory>, Error> {
        let Some(mappings) = &self.mappings else { return Ok(None) };
        let calls = self.calls();
        unless_left(&self.stop, &self.client, mappings.recount(&calls, indices)).await
    }

    fn calls(&self) -> Calls<'_> {
        Calls { client: &self.client, retrier: &self.retrier }
    }

    /// Settles a batch. What the indices hold of it is in `receipt`, also after an error.
    async fn settle(&self, batch: &Batch, receipt: &mut Receipt) -> Result<(), Error> {
        let settling = Settling::new(self, batch, receipt);
        let Some(mappings) = &self.mappings else { return settling.run().await };
        let calls = self.calls();
        // Late, so that the batches behind this one have said by now which fields they use.
        let _deck = self.deck.acquire().await;
        mappings.prepare(&calls, &batch.needs).await?;
        let storing = mappings.store_learned(&calls, &batch.needs);
        // Both to their end: documents that are under way are counted.
        let (settled, stored) = tokio::join!(settling.run(), storing);
        settled?;
        if stored? == Stored::New {
            mappings.check_learned(&calls).await?;
        }
        Ok(())
    }
}

impl Sink for Engine {
    /// Installs the templates that are missing. The first write does it, if nobody did before.
    async fn prepare(&self) -> Result<(), Error> {
        let Some(mappings) = &self.mappings else { return Ok(()) };
        unless_left(&self.stop, &self.client, mappings.install(&self.calls())).await
    }

    /// Makes sure that the next index starts with all that was learned, also by a loader beside this one.
    ///
    /// Puts the index template back if it was deleted, and looks which indices there are now.
    async fn finish(&self) -> Result<Option<Inventory>, Error> {
        let Some(mappings) = &self.mappings else { return Ok(None) };
        let calls = self.calls();
        let finishing = async {
            mappings.finish(&calls).await?;
            mappings.take_stock(&calls).await
        };
        unless_left(&self.stop, &self.client, finishing).await
    }

    /// Returns a digest of the index's mapping and settings.
    async fn index_version(&self, index: &str) -> Result<String, Error> {
        let Some(_) = &self.mappings else { return Ok(String::new()) };
        unless_left(&self.stop, &self.client, mapping::version(&self.calls(), index)).await
    }

    async fn write(&self, batch: Batch) -> Result<Receipt, Unfinished> {
        let mut receipt = settle::receipt(&batch);
        let settling = self.settle(&batch, &mut receipt);
        let settled = unless_left(&self.stop, &self.client, settling).await;
        receipt.indices.retain(|one| one.created + one.already_there > 0);
        for one in &mut receipt.indices {
            one.identity =
                self.mappings.as_ref().and_then(|mappings| mappings.identity(&one.index));
        }
        match settled {
            Ok(()) => Ok(receipt),
            Err(error) => Err(Unfinished { error, indices: receipt.indices }),
        }
    }
}

/// The first questions: what is it, and are our templates there?
async fn prepare(
    client: &Client,
    retrier: &Retrier,
    target: &Target,
    template: Value,
    fields: &Arc<dyn Learned>,
    log: &Log,
    tally: &Arc<Tally>,
) -> Result<(Description, Option<Mappings>), Error> {
    let calls = Calls { client, retrier };
    let Identity { description, proof } = match &target.signing {
        // A collection does not say what it is.
        Some(Signing { service: Service::Serverless, .. }) => Identity::collection(),
        _ => identify(&calls).await?,
    };
    check_age(client, &description)?;
    let templates = Templates::new(&target.prefix, template, target.max_fields, target.index_by);
    let force = if target.force { Overwrite::Yes } else { Overwrite::No };
    let found = install::look(&calls, &templates, &**fields, force).await;
    let found = match (found, &proof) {
        // Whoever forbids everything in words that no engine uses is none.
        (Err(Error::Denied { source, .. }), Proof::Owed(_)) if is_wordless(&source) => Ok(None),
        (found, _) => found,
    };
    let Some(missing) = found? else {
        if let Proof::Owed(source) = proof {
            return Err(Error::NoEngine { url: client.address().to_owned(), source });
        }
        log.info(client.address(), "knows no index templates; documents are sent without one");
        return Ok((description, None));
    };
    let found = inventory::look(&calls, &target.prefix, target.index_by).await?;
    inventory::check(&calls, &templates, missing.by(), found.as_ref()).await?;
    let (fields, log, tally) = (Arc::clone(fields), log.clone(), Arc::clone(tally));
    let before = found.map(|found| found.inventory);
    let mappings = Mappings::new((templates, missing), before, fields, log, tally);
    Ok((description, Some(mappings)))
}

/// Returns whether an answer has neither an engine's name for the error nor a reason.
fn is_wordless(cause: &Cause) -> bool {
    matches!(cause, Cause::Answer { code, reason, .. } if code.is_empty() && reason.is_empty())
}

fn check_age(client: &Client, description: &Description) -> Result<(), Error> {
    let Description { flavour: Flavour::Elasticsearch, version: Some(version) } = description
    else {
        return Ok(());
    };
    let mut numbers = version.split('.').map(|number| number.parse::<u64>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) < OLDEST_ELASTICSEARCH => {
            Err(Error::TooOld { url: client.address().to_owned(), version: version.clone() })
        }
        _ => Ok(()),
    }
}

/// Checks a prefix against what engines refuse in the name of an index.
fn check_prefix(prefix: &str) -> Result<(), Error> {
    let why = if prefix.is_empty() {
        "it is empty"
    } else if prefix.starts_with(['-', '_', '+', '.']) {
        "it begins with a sign"
    } else if prefix.chars().any(char::is_uppercase) {
        "it has upper-case letters"
    } else if prefix.contains(|sign: char| {
        sign.is_whitespace() || sign.is_control() || "\\/*?\"<>|,#:%&=".contains(sign)
    }) {
        "it has a sign that names of indices cannot have"
    } else if prefix.len() > 200 {
        "it is too long"
    } else {
        return Ok(());
    };
    Err(Error::Prefix { prefix: prefix.to_owned(), why })
}

/// Returns how many requests may be under way to an engine at this address.
fn default_requests(url: &Url) -> u32 {
    if !is_loopback(url) {
        return REMOTE_REQUESTS;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (least, most) = LOCAL_REQUESTS.into_inner();
    u32::try_from(cores).unwrap_or(most).clamp(least, most)
}

/// Does a work that talks to the engine, unless the user leaves before it is done.
async fn unless_left<T>(
    stop: &ShutdownSignal,
    client: &Client,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        () = stop.reached(ShutdownLevel::Immediate) => Err(interrupted(client)),
        done = work => done,
    }
}

fn interrupted(client: &Client) -> Error {
    Error::Interrupted { url: client.address().to_owned(), source: None }
}

impl fmt::Display for Description {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.flavour {
            Flavour::OpenSearch => "OpenSearch",
            Flavour::Elasticsearch => "Elasticsearch",
            Flavour::Unknown => "unknown engine",
        };
        match &self.version {
            Some(version) => write!(out, "{name} {version}"),
            None => out.write_str(name),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address could still hold a password.
        out.debug_struct("Target")
            .field("host", &self.url.host_str())
            .field("credentials", &self.credentials)
            .field("signing", &self.signing)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Engine")
            .field("client", &self.client)
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}
