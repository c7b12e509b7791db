//! Templates, lifecycle and roles: plan, requests, changes.
//!
//! Input: a connected engine. Output: lines of the plan; the changes in the engine.

use std::{fmt::Write as _, sync::Arc};

use super::{
    Days, Setup,
    outcome::{SetupOutcome, line},
};
use crate::{
    cli::{failure::Failure, print},
    normalize::{FieldProfile, FieldRegistry, Rules},
    sink::{
        self, EngineSetup, PeriodConflict, SetupRequest, missing_privilege,
        provision::{Action, Change, ObjectKind},
    },
};

/// The maximum number of discovered fields, as in a load without `--max-fields`.
const MAX_FIELDS: u32 = 5_000;

/// Indices with a line of their own in a plan.
const MAX_INDICES_SHOWN: usize = 12;

/// The changes in an engine.
pub(super) struct EnginePlan {
    changes: Vec<Change>,
}

impl EnginePlan {
    pub(super) async fn new(setup: &Setup<'_>, engine: &EngineSetup) -> Result<Self, Failure> {
        let args = setup.args;
        let changes = if args.remove {
            engine.plan_removal().await?
        } else {
            let rules = Arc::new(Rules::embedded()?);
            let fields = FieldRegistry::new(rules, FieldProfile::default(), MAX_FIELDS);
            let request = SetupRequest {
                core: fields.template().clone(),
                max_fields: MAX_FIELDS,
                retention: Days::requested(args.retention),
                warm: Days::requested(args.warm),
                replicas: args.replicas,
            };
            if (args.warm.is_some() || args.retention.is_some())
                && let Some(conflict) = engine.period_conflict(&request).await?
            {
                return Err(refuse_periods(conflict, args.warm));
            }
            engine.plan(&request).await?
        };
        Ok(Self { changes })
    }

    /// Prints what happens to each object.
    pub(super) fn print(
        &self,
        engine: &EngineSetup,
        outcome: &mut SetupOutcome,
    ) -> Result<(), Failure> {
        let reader = engine.reader();
        outcome.line(&format!("engine {}: {}", reader.address(), reader.info()))?;
        let is_index = |change: &&Change| change.kind == ObjectKind::Index;
        let indices = self.changes.iter().filter(is_index).count();
        let mut shown = 0;
        for change in &self.changes {
            shown += usize::from(is_index(&change));
            if is_index(&change) && shown > MAX_INDICES_SHOWN {
                continue;
            }
            outcome.plan(&change.action, describe(change))?;
        }
        if indices > MAX_INDICES_SHOWN {
            let action = Action::Update("as those above".to_owned());
            let more = indices - MAX_INDICES_SHOWN;
            outcome.line(&line(&action, &format!("{more} more indices")))?;
        }
        if self.changes.is_empty() {
            outcome.line("  nothing to do")?;
        }
        Ok(())
    }

    /// Prints the requests, in the form of the consoles of Kibana and OpenSearch Dashboards.
    pub(super) fn print_requests(&self, engine: &EngineSetup) -> Result<(), Failure> {
        for change in &self.changes {
            for request in &change.requests {
                let mut text = format!(
                    "\n# {} at {}\n{} /{}\n",
                    describe(change),
                    engine.reader().address(),
                    request.verb,
                    request.path.trim_start_matches('/')
                );
                if let Some(body) = &request.body {
                    let _ = writeln!(text, "{body:#}");
                }
                print(&text)?;
            }
        }
        Ok(())
    }

    /// Makes the changes. One that is refused does not stop the others.
    pub(super) async fn apply(
        &self,
        setup: &Setup<'_>,
        engine: &EngineSetup,
        outcome: &mut SetupOutcome,
    ) -> Result<(), Failure> {
        let mut deleted = Vec::new();
        for change in self.changes.iter().filter(|change| !change.requests.is_empty()) {
            match engine.apply(change).await {
                Ok(()) => {
                    outcome.done(&change.action);
                    deleted.extend(Some(change).filter(|change| change.action == Action::Delete));
                }
                Err(error) => match refusal(error)? {
                    Refusal(failure) => outcome.failed(&failure, setup.log),
                },
            }
        }
        if setup.args.remove {
            name_what_came_back(engine, &deleted, outcome).await
        } else {
            Ok(())
        }
    }
}

/// Names the deleted objects that are there again: a load that runs installs its templates before it creates an index.
async fn name_what_came_back(
    engine: &EngineSetup,
    deleted: &[&Change],
    outcome: &mut SetupOutcome,
) -> Result<(), Failure> {
    if deleted.is_empty() {
        return Ok(());
    }
    for found in engine.plan_removal().await? {
        let is_same = |change: &&Change| change.kind == found.kind && change.name == found.name;
        if deleted.iter().copied().any(|change| is_same(&change)) {
            let reason = "it was created again, by a load that runs: stop it, then run the same command again";
            outcome.plan(&Action::Blocked(reason.to_owned()), describe(&found))?;
        }
    }
    Ok(())
}

/// Returns the usage error for periods of which one is given and the other is recorded in the engine.
fn refuse_periods(conflict: PeriodConflict, given_warm: Option<Days>) -> Failure {
    let PeriodConflict { warm, retention } = conflict;
    if given_warm.is_some() {
        Failure::usage(format!(
            "invalid value '{warm}' for '--warm <DAYS|none>': expected less than the recorded retention ({retention})"
        ))
        .hint("choose a shorter time, or change the retention too (--retention)")
    } else {
        Failure::usage(format!(
            "invalid value '{retention}' for '--retention <DAYS|none>': expected more than the recorded '--warm' ({warm})"
        ))
        .hint("choose a longer time, or change the other too (--warm DAYS, or --warm none)")
    }
}

/// A change that the engine refused, while it responds to others.
struct Refusal(Failure);

/// Returns the refusal of one change; any other error ends the command.
fn refusal(error: sink::Error) -> Result<Refusal, Failure> {
    let missing = match &error {
        sink::Error::Denied { status: 403, source, .. } => Some(missing_privilege(source)),
        sink::Error::Refused { .. } => None,
        _ => return Err(error.into()),
    };
    let failure = Failure::from(error);
    Ok(Refusal(match missing {
        Some(missing) => {
            failure.hint(format!("{missing}; grant it, then run the same command again"))
        }
        None => failure,
    }))
}

fn describe(change: &Change) -> String {
    format!("{} '{}'", change.kind, change.name)
}
