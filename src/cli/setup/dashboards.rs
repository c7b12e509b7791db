//! Dashboards, searches and index patterns: plan, import, removal; the list of fields.
//!
//! Input: a connected Kibana or OpenSearch Dashboards. Output: lines of the plan; the changes there.
//! Invariant: the objects of one kind that are treated alike share a line, except those that people choose from lists:
//! dashboards and index patterns.

use std::collections::BTreeMap;

use super::{Setup, outcome::SetupOutcome};
use crate::{
    cli::{
        dashboards_endpoint::{INDEX_PATTERN, dashboards_failure, objects_of, refresh_field_lists},
        exit::Exit,
        failure::Failure,
        print,
    },
    dashboard::SavedObject,
    report::{Log, format},
    sink::{
        dashboards::{
            DashboardsClient, DashboardsError, ImportReport, LocatedObject, ObjectState,
            RenamedObject, import_file,
        },
        missing_privilege,
        provision::Action,
    },
};

/// The objects of a prefix, and what happens to each.
pub(super) struct ObjectPlan {
    objects: Vec<(SavedObject, Action)>,
    /// Why the objects cannot be read.
    unreadable: Option<String>,
}

impl ObjectPlan {
    pub(super) async fn new(setup: &Setup<'_>, client: &DashboardsClient) -> Result<Self, Failure> {
        let objects = objects_of(setup.args.connection.index.as_str())?;
        let located = match client.locate(&objects).await {
            Ok(located) => located,
            Err(DashboardsError::Request(crate::sink::Error::Denied {
                status: 403,
                source,
                ..
            })) => {
                let unreadable = Some(missing_privilege(&source));
                return Ok(Self { objects: Vec::new(), unreadable });
            }
            Err(error) => return Err(dashboards_failure(error)),
        };
        let is_removal = setup.args.remove;
        let decide = |state| if is_removal { removal(state) } else { Some(change(state)) };
        let located = located.into_iter();
        let objects = located
            .filter_map(|LocatedObject { object, state }| Some((object, decide(state)?)))
            .collect();
        Ok(Self { objects, unreadable: None })
    }

    /// Prints what happens to the objects.
    pub(super) fn print(
        &self,
        client: &DashboardsClient,
        outcome: &mut SetupOutcome,
    ) -> Result<(), Failure> {
        outcome.line(&format!("dashboards {}: {client}", client.address()))?;
        if let Some(reason) = &self.unreadable {
            return outcome.plan(&Action::Blocked(reason.clone()), "saved objects");
        }
        let mut grouped: BTreeMap<String, (&Action, &str, u64)> = BTreeMap::new();
        for (object, action) in &self.objects {
            let is_listed = matches!(object.kind, "dashboard" | INDEX_PATTERN);
            if is_listed || matches!(action, Action::Blocked(_)) {
                outcome.plan(action, format_args!("{} '{}'", object.kind, object.title))?;
                continue;
            }
            let key = format!("{} {action:?}", object.kind);
            grouped.entry(key).or_insert((action, object.kind, 0)).2 += 1;
        }
        for (action, kind, number) in grouped.values() {
            outcome.plan(action, format::plural(*number, kind))?;
        }
        if self.objects.is_empty() {
            outcome.line("  nothing to do")?;
        }
        Ok(())
    }

    /// Prints the import as a file, or the deletions, as they are sent.
    pub(super) fn print_requests(&self, client: &DashboardsClient) -> Result<(), Failure> {
        let address = client.address();
        let imported = self.imported();
        if !imported.is_empty() {
            let path = "/api/saved_objects/_import?overwrite=true";
            let file = import_file(&imported);
            print(&format!(
                "\n# saved objects at {address}, as the file of an import\n# POST {path}\n{file}"
            ))?;
        }
        for (object, _) in self.objects.iter().filter(|(_, action)| *action == Action::Delete) {
            let path = format!("/api/saved_objects/{}/{}", object.kind, object.id);
            print(&format!(
                "\n# {} '{}' at {address}\nDELETE {path}\n",
                object.kind, object.title
            ))?;
        }
        Ok(())
    }

    /// Returns the objects that are created or replaced.
    fn imported(&self) -> Vec<SavedObject> {
        let is_imported = |action: &Action| matches!(action, Action::Create | Action::Update(_));
        let imported = self.objects.iter().filter(|(_, action)| is_imported(action));
        imported.map(|(object, _)| object.clone()).collect()
    }

    /// Imports or deletes the objects. One that is refused does not stop the others.
    pub(super) async fn apply(
        &self,
        setup: &Setup<'_>,
        client: &DashboardsClient,
        outcome: &mut SetupOutcome,
    ) -> Result<(), Failure> {
        if self.unreadable.is_some() {
            return Ok(());
        }
        if setup.args.remove {
            return self.delete(setup.log, client, outcome).await;
        }
        self.import(setup.log, client, outcome).await?;
        let prefix = setup.args.connection.index.as_str();
        for failure in refresh_field_lists(prefix, client, setup.log).await? {
            outcome.failed(&failure, setup.log);
        }
        Ok(())
    }

    async fn import(
        &self,
        log: &Log,
        client: &DashboardsClient,
        outcome: &mut SetupOutcome,
    ) -> Result<(), Failure> {
        let imported = self.imported();
        if imported.is_empty() {
            return Ok(());
        }
        let report = match self.import_with_own_ids(client, &imported).await {
            Ok(report) => report,
            Err(error) => {
                outcome.failed(&dashboards_failure(error), log);
                return Ok(());
            }
        };
        for (object, action) in &self.objects {
            let is_refused = report
                .refused
                .iter()
                .any(|refused| refused.kind == object.kind && refused.id == object.id);
            if !is_refused {
                outcome.done(action);
            }
        }
        for refused in &report.refused {
            let name = refused.title.as_deref().unwrap_or(&refused.id);
            let heading = format!("{} did not import {} '{name}'", client.address(), refused.kind);
            let mut failure =
                Failure { exit: Exit::Incomplete, ..Failure::action_required(heading) };
            failure.causes.push(refused.problem.to_string());
            outcome.failed(&failure, log);
        }
        if !report.renamed.is_empty() {
            let number = format::plural(report.renamed.len() as u64, "object");
            log.warn(
                client.address(),
                format_args!(
                    "{number} got random ids, because another space has objects with these ids; the next setup imports \
                     them again"
                ),
            );
        }
        Ok(())
    }

    /// Imports objects. If another space has their ids, Kibana gives them random ones: then they are taken back, and imported
    /// with ids that only this space has.
    async fn import_with_own_ids(
        &self,
        client: &DashboardsClient,
        objects: &[SavedObject],
    ) -> Result<ImportReport, DashboardsError> {
        let report = client.import(objects).await?;
        let is_first = self.objects.iter().all(|(_, action)| *action == Action::Create);
        let own = client.with_own_ids(objects).filter(|_| is_first && !report.renamed.is_empty());
        let Some(own) = own else { return Ok(report) };
        // From the end: an object stands behind those that it refers to.
        for object in objects.iter().rev() {
            let is_object =
                |other: &&RenamedObject| other.kind == object.kind && other.id == object.id;
            let id = match report.renamed.iter().find(is_object) {
                Some(renamed) if renamed.is_replacement => continue,
                Some(renamed) => &renamed.new_id,
                None => &object.id,
            };
            client.delete(object.kind, id).await?;
        }
        let mut report = client.import(&own).await?;
        for refused in &mut report.refused {
            let at = own.iter().position(|own| own.kind == refused.kind && own.id == refused.id);
            if let Some(object) = at.and_then(|at| objects.get(at)) {
                refused.id.clone_from(&object.id);
            }
        }
        Ok(report)
    }

    async fn delete(
        &self,
        log: &Log,
        client: &DashboardsClient,
        outcome: &mut SetupOutcome,
    ) -> Result<(), Failure> {
        // From the end: an object stands behind those that it refers to.
        let deleted = self.objects.iter().rev().filter(|(_, action)| *action == Action::Delete);
        for (object, action) in deleted {
            match client.delete(object.kind, &object.id).await {
                Ok(_) => outcome.done(action),
                Err(error) => outcome.failed(&dashboards_failure(error), log),
            }
        }
        Ok(())
    }
}

/// Returns what happens to an object that is wanted.
fn change(state: ObjectState) -> Action {
    match state {
        ObjectState::Missing => Action::Create,
        ObjectState::Current => Action::Keep("current".to_owned()),
        ObjectState::Outdated => Action::Update("as this version has it".to_owned()),
        ObjectState::Newer(version) => {
            Action::Keep(format!("trailload {version}, which is newer, wrote it"))
        }
        ObjectState::Foreign => {
            Action::Blocked("somebody else's object has this id, so it is not changed".to_owned())
        }
        ObjectState::Unreadable(reason) => Action::Blocked(reason),
    }
}

/// Returns what happens to an object that is not wanted any more.
fn removal(state: ObjectState) -> Option<Action> {
    match state {
        ObjectState::Missing => None,
        ObjectState::Current | ObjectState::Outdated | ObjectState::Newer(_) => {
            Some(Action::Delete)
        }
        ObjectState::Foreign => Some(Action::Keep("somebody else's".to_owned())),
        ObjectState::Unreadable(reason) => Some(Action::Blocked(reason)),
    }
}
