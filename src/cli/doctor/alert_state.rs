//! Checks the table in which alerts are shared with other processes.

use super::{Doctor, Severity, pass};
use crate::{
    aws::{Clock, Session},
    checkpoint::shared_alerts::{AlertStateAddress, DynamoTable, TableFinding, TableProblem},
    cli::{
        environment,
        failure::{Failure, create_table, enable_expiry},
        sources::accounts,
    },
};

impl Doctor<'_> {
    /// Checks the table, if one is given. `session` is that of the sources, if they have one.
    pub(super) async fn alert_state(&mut self, session: Option<&Session>) -> Result<(), Failure> {
        let Some(address) = self.alerts.alert_state.as_ref() else { return Ok(()) };
        let own = match session {
            Some(_) => None,
            None => match accounts::new_session(&self.reading.aws, &self.pending).await {
                Ok(session) => Some(session),
                Err(failure) => return self.report_problem(Severity::Failure, &failure),
            },
        };
        let Some(session) = session.or(own.as_ref()) else { return Ok(()) };
        self.check_table(address, session).await
    }

    async fn check_table(
        &mut self,
        address: &AlertStateAddress,
        session: &Session,
    ) -> Result<(), Failure> {
        let table = DynamoTable::new(address, session, Clock::new(environment::now));
        let region = address.region.clone().unwrap_or_else(|| session.region());
        let (name, place) = (&address.table, format!("alert state in the {}", table.place()));
        let mut passed = Vec::new();
        for TableFinding { subject, problem } in table.check().await {
            let (severity, failure) = match problem {
                None => {
                    passed.push(subject);
                    continue;
                }
                Some(TableProblem::Failed(error)) => (Severity::Failure, (&error).into()),
                Some(TableProblem::Unknown(error)) => (Severity::Warning, (&error).into()),
                Some(TableProblem::NotActive(status)) => {
                    let failure =
                        Failure::action_required(format!("{place}: its status is {status}"));
                    (Severity::Failure, failure.hint("wait until it is ACTIVE"))
                }
                Some(TableProblem::WrongKey(key)) => {
                    let heading = format!("{place}: its key is {key} instead of id (HASH, S)");
                    let fix = format!("use another table; {}", create_table(name, &region));
                    (Severity::Failure, Failure::action_required(heading).hint(fix))
                }
                Some(TableProblem::NoExpiry) => {
                    let heading = format!("{place}: items do not expire, so the table grows");
                    let fix = enable_expiry(name, &region);
                    (Severity::Warning, Failure::action_required(heading).hint(fix))
                }
            };
            self.report_problem(severity, &failure)?;
        }
        if passed.is_empty() { Ok(()) } else { pass(&place, &passed.join(", ")) }
    }
}
