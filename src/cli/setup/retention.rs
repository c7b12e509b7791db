//! `setup --enforce-retention`: deletes the indices whose events are all older than the retention.
//!
//! Input: a connected engine, and the time. Output: a line for each index; deleted indices.
//! Invariant: every deleted index was named before.

use super::{Days, Setup, outcome::SetupOutcome};
use crate::{
    cli::failure::Failure,
    report::format,
    sink::{
        EngineSetup, Error, PassedOver, RetentionError, RetentionPlan, missing_privilege,
        provision::Action,
    },
};

/// The error type of an index that a snapshot is being made of. Its shards are needed until the snapshot has ended.
const SNAPSHOT_IN_PROGRESS: &str = "snapshot_in_progress_exception";

/// Deletes expired indices, or only shows them.
pub(super) async fn enforce(
    setup: &Setup<'_>,
    engine: &EngineSetup,
    outcome: &mut SetupOutcome,
) -> Result<(), Failure> {
    let retention = setup.args.retention.and_then(|Days(retention)| retention);
    let plan = engine.expired_indices(retention, setup.now).await?.map_err(|error| {
        let prefix = engine.reader().prefix();
        let heading = format!("it is not known which indices of '{prefix}' have expired: {error}");
        Failure::action_required(heading).hint(hint(&error))
    })?;
    print_plan(setup, engine, &plan, outcome)?;
    if setup.args.dry_run {
        return outcome.line("dry run: nothing was deleted");
    }
    let mut deleted = Vec::new();
    for index in &plan.expired {
        match engine.delete_index(index).await {
            Ok(_) => {
                outcome.done(&Action::Delete);
                deleted.push(index);
            }
            Err(Error::Denied { status: 403, url, action, source }) => {
                let missing = missing_privilege(&source);
                let error = Error::Denied { status: 403, url, action, source };
                let hint = format!("{missing}; grant it, then run the same command again");
                outcome.failed(&Failure::from(error).hint(hint), setup.log);
            }
            Err(error @ Error::Refused { .. }) => outcome.failed(&refused(error), setup.log),
            Err(error) => return Err(error.into()),
        }
    }
    if !deleted.is_empty() {
        // A load that runs had documents of an index on their way.
        let after = engine.expired_indices(retention, setup.now).await?;
        let expired = after.map(|plan| plan.expired).unwrap_or_default();
        for index in expired.iter().filter(|index| deleted.iter().any(|one| one.name == index.name))
        {
            let reason = "a load that runs created it again: run the same command again when the load has ended";
            outcome.plan(
                &Action::Blocked(reason.to_owned()),
                format_args!("index '{}'", index.name),
            )?;
        }
    }
    outcome.print_totals()
}

fn print_plan(
    setup: &Setup<'_>,
    engine: &EngineSetup,
    plan: &RetentionPlan,
    outcome: &mut SetupOutcome,
) -> Result<(), Failure> {
    let reader = engine.reader();
    outcome.line(&format!("engine {}: {}", reader.address(), reader.info()))?;
    let RetentionPlan { retention, expired, passed_over, kept } = plan;
    let passed_by = match passed_over.len() {
        0 => String::new(),
        number => format!(", {number} passed over"),
    };
    outcome.line(&format!(
        "retention {retention} at {}: {} expired, {kept} kept{passed_by}",
        setup.now.strftime("%Y-%m-%d %H:%M UTC"),
        format::count(expired.len() as u64)
    ))?;
    outcome.kept(*kept);
    for index in expired {
        let end = index.end.strftime("%Y-%m-%d");
        outcome.plan(
            &Action::Delete,
            format_args!("index '{}': all events before {end}", index.name),
        )?;
    }
    for PassedOver { object, reason } in passed_over {
        outcome.plan(&Action::Keep(reason.clone()), object)?;
    }
    Ok(())
}

/// Returns the failure for an index that the engine did not delete.
fn refused(error: Error) -> Failure {
    let is_in_snapshot = match &error {
        Error::Refused { source, .. } => source.code() == SNAPSHOT_IN_PROGRESS,
        _ => false,
    };
    let failure = Failure::from(error);
    if is_in_snapshot {
        failure.hint("wait until the snapshot has ended, then run the same command again")
    } else {
        failure
    }
}

fn hint(error: &RetentionError) -> &'static str {
    match error {
        RetentionError::NoTemplate => {
            "check --index; a load, or 'trailload setup' without --enforce-retention, installs the template"
        }
        RetentionError::ForeignTemplate => "choose the prefix of the loads with --index",
        RetentionError::OneIndex => "load into another prefix with --index-by month",
        RetentionError::NoRetention => {
            "add --retention 400d, or record it for loads too: trailload setup --retention 400d"
        }
        RetentionError::Unreadable(_) => {
            "'trailload policy --for setup' prints the rights that are needed (--role for those of an engine)"
        }
    }
}
