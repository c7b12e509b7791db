//! What `trailload setup` changes in an engine.
//!
//! Input: a connected engine, and a [`SetupRequest`]. Output: the [`Change`]s of a plan, which [`EngineSetup::apply`] makes one
//! by one.
//! Invariant: only objects whose marks name trailload are changed or deleted. A plan is made from GET requests alone.
//!
//! | file | responsibility |
//! |---|---|
//! | `templates` | the index template and its component templates |
//! | `lifecycle` | policies of ILM and ISM, and the indices that they apply to |
//! | `roles` | roles for loading and searching |
//! | `retention` | which indices have expired, and their deletion |

mod lifecycle;
mod retention;
mod roles;
mod templates;

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use self::lifecycle::Lifecycle;
pub use self::retention::{Deletion, ExpiredIndex, PassedOver, RetentionError, RetentionPlan};
use super::{
    api::ApiResponse, client::Method, reader::EngineReader, setup_template::SetupTemplate,
    templates::Templates, unless_immediate,
};
use crate::{
    normalize::{IndexBy, Retention},
    pending::PendingRequests,
    report::Log,
    shutdown::ShutdownSignal,
    sink::{
        Target,
        cause::Cause,
        error::Error,
        provision::{Action, Change, ObjectKind, PlannedRequest, Verb},
    },
};

/// How often a change of a role is repeated. The security plugin of OpenSearch keeps all roles in one document, and refuses one of two
/// changes at once.
const MAX_CONFLICTS: u32 = 20;

/// The time between them.
const CONFLICT_WAIT: Duration = Duration::from_millis(100);

/// A value that may be changed, removed or left as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Requested<T> {
    /// It stays as it is.
    #[default]
    Unchanged,
    /// It is removed.
    Unset,
    /// It becomes this.
    Set(T),
}

/// What `trailload setup` is asked for.
#[derive(Clone, Debug)]
pub struct SetupRequest {
    /// The core mapping: `mappings` of new indices.
    pub core: Value,
    /// The maximum number of discovered fields to map.
    pub max_fields: u32,
    /// How long events are kept.
    pub retention: Requested<Retention>,
    /// How long after their period indices are in the hot phase.
    pub warm: Requested<Retention>,
    /// The number of replicas of new indices.
    pub replicas: Option<u32>,
}

/// Periods that exclude each other: indices would be deleted before they are warm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodConflict {
    /// How long after their period indices are in the hot phase.
    pub warm: Retention,
    /// How long events are kept.
    pub retention: Retention,
}

/// An engine whose templates, policies and roles are set up.
#[derive(Debug)]
pub struct EngineSetup {
    reader: EngineReader,
}

/// What was read from an engine: a value, or the privilege that is missing.
type Readable<T> = Result<T, String>;

impl<T: Copy> Requested<T> {
    fn apply(self, to: &mut Option<T>) {
        match self {
            Self::Unchanged => {}
            Self::Unset => *to = None,
            Self::Set(value) => *to = Some(value),
        }
    }
}

impl EngineSetup {
    /// Connects to an engine and identifies it.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if there is no response, if authentication fails, or if the server is not an engine.
    pub async fn connect(
        target: Target,
        log: Log,
        pending: PendingRequests,
        shutdown: ShutdownSignal,
    ) -> Result<Self, Error> {
        Ok(Self { reader: EngineReader::connect(target, log, pending, shutdown).await? })
    }

    /// Returns the engine, for reading.
    pub fn reader(&self) -> &EngineReader {
        &self.reader
    }

    /// Returns the periods of a request and of earlier setups, if they exclude each other.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the engine does not respond.
    pub async fn period_conflict(
        &self,
        request: &SetupRequest,
    ) -> Result<Option<PeriodConflict>, Error> {
        // What cannot be read is reported as a change that is not possible.
        let Ok(found) = self.found_templates().await? else { return Ok(None) };
        let mut wanted = found.setup().unwrap_or_default();
        request.retention.apply(&mut wanted.retention);
        request.warm.apply(&mut wanted.warm);
        let periods = wanted.warm.zip(wanted.retention);
        let conflict = periods.filter(|(warm, retention)| warm.days() >= retention.days());
        Ok(conflict.map(|(warm, retention)| PeriodConflict { warm, retention }))
    }

    /// Returns what has to be changed, in the order in which that is possible.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the engine does not respond.
    pub async fn plan(&self, request: &SetupRequest) -> Result<Vec<Change>, Error> {
        let found = self.found_templates().await?;
        let found = match found {
            Ok(found) => found,
            Err(reason) => {
                let name = self.reader.prefix();
                let blocked = Change::new(ObjectKind::IndexTemplate, name, Action::Blocked(reason));
                let mut changes = vec![blocked];
                changes.extend(self.role_changes().await?);
                return Ok(changes);
            }
        };
        let earlier = found.setup().unwrap_or_default();
        let mut wanted = earlier.clone();
        request.retention.apply(&mut wanted.retention);
        request.warm.apply(&mut wanted.warm);
        wanted.replicas = request.replicas.or(wanted.replicas);
        let lifecycle = self.lifecycle().await?;
        let by = found.index_by().unwrap_or_default();
        let policy = match &lifecycle {
            // A policy that cannot be read may still delete what is to be kept now.
            Lifecycle::Unreadable(reason) if earlier.has_lifecycle() => {
                Some(lifecycle::unreadable(self.reader.prefix(), reason))
            }
            _ => lifecycle.policy_change(&wanted, self.reader.prefix(), by),
        };
        // Neither a template nor an index may name a policy that is missing, or somebody else's.
        let ours = policy.as_ref().map(|change| change.action.clone()).filter(Action::is_possible);
        wanted.lifecycle = match &lifecycle {
            Lifecycle::Unreadable(_) => wanted.lifecycle,
            _ if ours.is_some() => lifecycle.policy_in_templates(&wanted, self.reader.prefix()),
            _ => None,
        };
        let applies = wanted.has_lifecycle();
        let mut changes: Vec<Change> = policy.into_iter().collect();
        let setup = Some(wanted)
            .filter(|wanted| *wanted != SetupTemplate::default() || found.setup().is_some());
        let templates =
            Templates::new(self.reader.prefix(), request.core.clone(), request.max_fields, by)
                .with_setup(setup)
                .keeping_field_limit(found.index_template());
        changes.extend(found.changes(&templates));
        if let Some(policy) = ours {
            if applies {
                changes.extend(self.attachments(&lifecycle, by).await?);
            }
            changes.extend(self.renewals(&lifecycle, &policy).await?);
            // Both name the same reason if the policies of indices cannot be read.
            changes.dedup();
        }
        changes.extend(self.role_changes().await?);
        Ok(changes)
    }

    /// Returns what has to be deleted so that nothing is left of what `trailload setup` made, in the order in which that is
    /// possible. Indices are not deleted.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the engine does not respond.
    pub async fn plan_removal(&self) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        match self.found_templates().await? {
            Ok(found) => changes.extend(found.removals(self.reader.prefix())),
            Err(reason) => changes.push(Change::new(
                ObjectKind::IndexTemplate,
                self.reader.prefix(),
                Action::Blocked(reason),
            )),
        }
        let lifecycle = self.lifecycle().await?;
        if lifecycle.is_ours() {
            changes.extend(self.detachments(&lifecycle).await?);
        }
        changes.extend(lifecycle.removal(self.reader.prefix()));
        changes.extend(self.role_removals().await?);
        Ok(changes)
    }

    /// Makes a change.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if one of its requests is refused; those before it were made.
    pub async fn apply(&self, change: &Change) -> Result<(), Error> {
        for request in &change.requests {
            self.send(change, request).await?;
        }
        Ok(())
    }

    async fn send(&self, change: &Change, request: &PlannedRequest) -> Result<(), Error> {
        let (method, deed) = match request.verb {
            Verb::Put => (Method::Put, "writing"),
            Verb::Post => (Method::Post, "changing"),
            Verb::Delete => (Method::Delete, "deleting"),
        };
        let action = format!("{deed} the {} '{}'", change.kind, change.name);
        let api = self.reader.api();
        let send = async || {
            let sending = api.send(method, &request.path, request.body.as_ref(), &action);
            self.unless_immediate(sending).await
        };
        let mut response = send().await?;
        for _ in 0..MAX_CONFLICTS {
            if response.status != 409 || change.kind != ObjectKind::Role {
                break;
            }
            sleep_until(Instant::now() + CONFLICT_WAIT).await;
            response = send().await?;
        }
        let is_gone = response.status == 404 && request.verb == Verb::Delete;
        // ISM, and ILM when it removes a policy, respond with success also if they refuse.
        let has_failed = response.json["failures"] == true || response.json["has_failures"] == true;
        if (response.is_success() && !has_failed) || is_gone {
            return Ok(());
        }
        if response.status == 400 && self.is_there(request).await? {
            return Ok(());
        }
        if has_failed {
            let reason = response.json["failed_indices"][0]["reason"].as_str();
            let reason = reason.unwrap_or("it was not done for this index");
            let source = Cause::ErrorResponse {
                status: response.status,
                code: String::new(),
                reason: reason.to_owned(),
            };
            return Err(super::api::refusal(api.address(), &action, source));
        }
        Err(api.refused(&action, &response))
    }

    /// Returns whether an object that was to be created is there: another setup created it a moment ago. Engines have no error
    /// type of its own for that.
    async fn is_there(&self, request: &PlannedRequest) -> Result<bool, Error> {
        let Some(path) = request.path.strip_suffix("?create=true") else { return Ok(false) };
        let found = self.read(path, "reading what another setup may have created").await?;
        Ok(found.is_ok_and(|response| response.is_success()))
    }

    /// Reads a resource. The inner error is the privilege that is missing.
    async fn read(&self, path: &str, action: &str) -> Result<Readable<ApiResponse>, Error> {
        let api = self.reader.api();
        readable(self.unless_immediate(api.send(Method::Get, path, None, action)).await)
    }

    async fn unless_immediate<T>(
        &self,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        unless_immediate(self.reader.shutdown(), self.reader.client(), operation).await
    }
}

impl SetupTemplate {
    /// Returns whether indices have an end, or a phase after the first.
    fn has_lifecycle(&self) -> bool {
        self.retention.is_some() || self.warm.is_some()
    }
}

/// Turns the refusal of one request into the privilege that is missing. Wrong credentials stay an error.
fn readable<T>(result: Result<T, Error>) -> Result<Readable<T>, Error> {
    match result {
        Err(Error::Denied { status: 403, source, .. }) => Ok(Err(missing_privilege(&source))),
        Err(error) => Err(error),
        Ok(value) => Ok(Ok(value)),
    }
}

/// Returns what a user lacks, as far as the response of the engine, or of AWS, names it.
pub fn missing_privilege(cause: &Cause) -> String {
    let text = cause.to_string();
    let in_brackets = text.split('[').skip(1).filter_map(|rest| rest.split(']').next());
    let mut names = in_brackets.filter(|name| name.contains(':') && !name.contains([' ', ',']));
    let of_aws = || {
        let action = text.split("to perform: ").nth(1)?;
        action.split_whitespace().next()
    };
    match names.next().or_else(of_aws) {
        Some(name) => format!("the privilege {name} is missing"),
        None => format!("it is not allowed ({text})"),
    }
}

/// Returns the period of the indices of a prefix that the index template records.
fn recorded_index_by(index_template: Option<&Value>) -> Option<IndexBy> {
    super::templates::index_by(index_template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_privilege_is_named() {
        let denied = |code: &str, reason: &str| {
            missing_privilege(&Cause::ErrorResponse {
                status: 403,
                code: code.to_owned(),
                reason: reason.to_owned(),
            })
        };
        let opensearch = "no permissions for [indices:admin/index_template/put] and User [name=me, backend_roles=[], requestedTenant=null]";
        assert_eq!(
            denied("security_exception", opensearch),
            "the privilege indices:admin/index_template/put is missing"
        );
        let elasticsearch = "action [cluster:admin/ilm/put] is unauthorized for user [me] with effective roles [a], this action is granted by the cluster privileges [manage_ilm,manage,all]";
        assert_eq!(
            denied("security_exception", elasticsearch),
            "the privilege cluster:admin/ilm/put is missing"
        );
        let aws = "User: arn:aws:sts::1:assumed-role/a/b is not authorized to perform: es:ESHttpPut because no identity-based policy allows it";
        assert_eq!(denied("", aws), "the privilege es:ESHttpPut is missing");
        assert_eq!(denied("", "no"), "it is not allowed (403 Forbidden: no)");
    }
}
