//! Checks Kibana or OpenSearch Dashboards: whether it responds, its version, and the objects that `trailload setup` imports.
//!
//! Invariant: nothing is a failure, because a load succeeds without dashboards. Whether objects may be written is not known before
//! they are.

use std::collections::BTreeMap;

use super::{Doctor, Severity, engine::RETRY_TIMEOUT, pass};
use crate::{
    aws::Session,
    cli::{
        args::engine::EngineUrl,
        dashboards_endpoint::{dashboards_failure, dashboards_target, objects_of},
        failure::Failure,
        plan::{Plan, aws::EngineAuth},
        sources::signing,
    },
    report::format,
    shutdown::shutdown_channel,
    sink::dashboards::{DashboardsClient, LocatedObject, ObjectState},
};

/// The numbers of objects in each state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ObjectCounts {
    current: u64,
    missing: u64,
    outdated: u64,
    newer: u64,
    foreign: u64,
    /// By the reason.
    unreadable: BTreeMap<String, u64>,
}

impl Doctor<'_> {
    /// Checks the dashboards of a load, if they are given. `session` is that of the sources, if they have one.
    pub(super) async fn dashboards(
        &mut self,
        plan: &Plan,
        session: Option<&Session>,
    ) -> Result<(), Failure> {
        let Some(url) = &plan.dashboards else { return Ok(()) };
        let credentials = &plan.target.credentials;
        let mut target = dashboards_target(url, credentials, plan.ca_file.clone())?;
        target.retry_deadline = RETRY_TIMEOUT;
        if plan.engine_auth == EngineAuth::SigV4 {
            // Without a session, the failure was already reported.
            let Some(session) = session else { return Ok(()) };
            target.signing = Some(signing(&target.url, session));
        }
        let (_trigger, shutdown) = shutdown_channel();
        let connecting =
            DashboardsClient::connect(&target, self.log.clone(), self.pending.clone(), shutdown);
        let client = match connecting.await {
            Ok(client) => client,
            Err(error) => {
                return self.report_problem(Severity::Warning, &dashboards_failure(error));
            }
        };
        let name = format!("dashboards {}", client.address());
        if client.is_supported() {
            pass(&name, &client.to_string())?;
        } else {
            let failure = Failure::action_required(format!("{name}: {client} is too old"));
            let fix = "update it to Kibana 8 or OpenSearch Dashboards 2";
            self.report_problem(Severity::Warning, &failure.hint(fix))?;
        }
        self.saved_objects(plan, url, &client).await
    }

    async fn saved_objects(
        &mut self,
        plan: &Plan,
        url: &EngineUrl,
        client: &DashboardsClient,
    ) -> Result<(), Failure> {
        let index = plan.index.as_str();
        let name = format!("saved objects of '{index}'");
        let located = match client.locate(&objects_of(index)?).await {
            Ok(located) => located,
            Err(error) => {
                return self.report_problem(Severity::Warning, &dashboards_failure(error));
            }
        };
        let counts = ObjectCounts::new(&located);
        let Some(problem) = counts.problem() else {
            return pass(&name, &counts.describe());
        };
        let failure = Failure::action_required(format!("{name}: {problem}"));
        let into = plan.target.url.as_str().trim_end_matches('/');
        let fix = match (&counts.foreign, counts.unreadable.is_empty()) {
            (_, false) => {
                "grant this user the rights to saved objects in this space or tenant".to_owned()
            }
            (1.., _) => "use another space, tenant or --index".to_owned(),
            _ => format!("run 'trailload setup --into {into} --index {index} --dashboards {url}'"),
        };
        self.report_problem(Severity::Warning, &failure.hint(fix))
    }
}

impl ObjectCounts {
    fn new(located: &[LocatedObject]) -> Self {
        let mut counts = Self::default();
        for LocatedObject { state, .. } in located {
            match state {
                ObjectState::Current => counts.current += 1,
                ObjectState::Missing => counts.missing += 1,
                ObjectState::Outdated => counts.outdated += 1,
                ObjectState::Newer(_) => counts.newer += 1,
                ObjectState::Foreign => counts.foreign += 1,
                ObjectState::Unreadable(reason) => {
                    *counts.unreadable.entry(reason.clone()).or_default() += 1;
                }
            }
        }
        counts
    }

    /// Returns what is there, if nothing is wrong.
    fn describe(&self) -> String {
        let current = format!("{} current", format::count(self.current));
        match self.newer {
            0 => current,
            newer => format!("{current}, {} of a newer version", format::count(newer)),
        }
    }

    /// Returns what is wrong, if anything is.
    fn problem(&self) -> Option<String> {
        let unreadable = self.unreadable.iter();
        let unreadable =
            unreadable.map(|(reason, number)| (*number, format!("cannot be read ({reason})")));
        let kinds = [
            (self.foreign, "of another program under the same ids".to_owned()),
            (self.missing, "missing".to_owned()),
            (self.outdated, "of an older version".to_owned()),
        ];
        let found = unreadable.chain(kinds).filter(|(number, _)| *number > 0);
        let texts: Vec<String> =
            found.map(|(number, kind)| format!("{} {kind}", format::count(number))).collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_that_are_not_as_they_should_be_are_counted() {
        let mut counts = ObjectCounts { current: 1_200, newer: 1, ..ObjectCounts::default() };
        assert_eq!(counts.problem(), None);
        assert_eq!(counts.describe(), "1,200 current, 1 of a newer version");
        (counts.missing, counts.outdated, counts.foreign) = (2, 3, 4);
        counts.unreadable.insert("Forbidden".to_owned(), 5);
        let expected = "5 cannot be read (Forbidden), 4 of another program under the same ids, 2 missing, 3 of an older version";
        assert_eq!(counts.problem().as_deref(), Some(expected));
    }
}
