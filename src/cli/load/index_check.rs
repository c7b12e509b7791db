//! Checks before and after a run whether the documents that the checkpoint records as loaded are still in the engine.
//!
//! Input: a plan, a connected engine, an open checkpoint. Output: a [`Failure`] if the run could lose or duplicate events;
//! log lines about indices that changed; the missing documents, recorded in the checkpoint.
//! Invariant: after an index lost documents, no run ends with exit code 0 until they are loaded again or the loss is
//! accepted.

use std::{borrow::Cow, fmt::Write as _};

use jiff::Timestamp;

use crate::{
    checkpoint::{
        self, CheckpointStore, LoadedIndices,
        indices::{IndexChange, LossReason, MissingDocuments},
    },
    cli::{environment, failure::Failure, plan::Plan},
    event::Inventory,
    normalize::{IndexBy, Retention, TimeRange},
    report::{Log, format},
    sink::Engine,
};

/// Number of indices with a line of their own; `trailload status` lists all.
const MAX_INDICES_LOGGED: usize = 12;

/// Checks that the engine is the one of the checkpoint, and looks for missing documents.
///
/// # Errors
///
/// Returns a [`Failure`] if the engine is a different cluster, or if its indices were created in a different way.
pub(super) async fn check_before_run(
    plan: &Plan,
    engine: &Engine,
    store: &mut CheckpointStore,
    log: &Log,
) -> Result<(), Failure> {
    check_cluster(plan, engine, store, log)?;
    check_index_by(plan, engine, store, log)?;
    let Some(inventory) = engine.inventory() else {
        log.info(
            "checkpoint",
            "the engine does not list its indices; if one is deleted later, trailload cannot notice it",
        );
        return Ok(());
    };
    let mut indices = store.indices()?;
    if let Some(name) = indices.moved_alias(inventory) {
        return Err(checkpoint::Error::AliasMoved { name: name.to_owned() }.into());
    }
    let recounted = if indices.known.is_empty() { None } else { engine.recount(&[]).await? };
    let inventory = recounted.as_ref().unwrap_or(inventory);
    let inventory = recount_if_short(engine, &indices, inventory).await?;
    let now = environment::now().as_millisecond();
    let changes = indices.compare(&inventory, now);
    for change in &changes {
        log_change(change, log);
    }
    accept_expired(plan, engine.retention(), &mut indices, log);
    if let Some(pattern) = &plan.accept_missing {
        for (name, missing) in indices.accept(|name| matches(pattern, name), now) {
            let documents = format::plural(missing.documents, "document");
            log.info(
                &name,
                format_args!("accepted that {documents} are missing ({})", missing.reason),
            );
        }
    }
    Ok(store.set_indices(&indices)?)
}

/// Looks for missing documents after a complete run, and for indices that are complete again.
pub(super) async fn check_after_run(
    plan: &Plan,
    engine: &Engine,
    inventory: Option<&Inventory>,
    store: &mut CheckpointStore,
    log: &Log,
) -> Result<(), Failure> {
    let Some(inventory) = inventory else { return Ok(()) };
    let mut indices = store.indices()?;
    let inventory = recount_if_short(engine, &indices, inventory).await?;
    let mut changes = indices.compare(&inventory, environment::now().as_millisecond());
    if plan.reload {
        changes.extend(indices.confirm_reload(&reloaded(plan, &indices), &inventory));
    }
    // `trailload setup` may have been run since this run began.
    let retention =
        if indices.missing.is_empty() { None } else { engine.current_retention().await? };
    accept_expired(plan, retention, &mut indices, log);
    for change in &changes {
        log_change(change, log);
    }
    Ok(store.set_indices(&indices)?)
}

/// Accepts that indices are gone whose events are older than the retention.
fn accept_expired(
    plan: &Plan,
    retention: Option<Retention>,
    indices: &mut LoadedIndices,
    log: &Log,
) {
    let Some(retention) = retention else { return };
    let now = environment::now();
    let is_expired = has_expired(plan, retention, now);
    for (name, missing) in indices.accept(is_expired, now.as_millisecond()) {
        if missing.reason != LossReason::Deleted {
            continue;
        }
        let documents = format::plural(missing.documents, "document");
        log.info(&name, format_args!("was deleted with {documents} older than {retention}"));
    }
}

/// Returns a predicate for the names of expired indices.
pub(in crate::cli) fn has_expired(
    plan: &Plan,
    retention: Retention,
    now: Timestamp,
) -> impl Fn(&str) -> bool {
    move |name| retention.has_expired(plan.index_by, plan.index.as_str(), name, now)
}

/// Returns the inventory of the engine, counted again for indices that seem to lack documents: recent writes may not be
/// visible yet.
async fn recount_if_short<'a>(
    engine: &Engine,
    indices: &LoadedIndices,
    inventory: &'a Inventory,
) -> Result<Cow<'a, Inventory>, Failure> {
    let short = indices.indices_below_expected(inventory);
    if short.is_empty() {
        return Ok(Cow::Borrowed(inventory));
    }
    let recounted = engine.recount(&short).await?;
    Ok(recounted.map_or(Cow::Borrowed(inventory), Cow::Owned))
}

/// Returns the indices with missing documents whose whole time range was loaded again in this run.
fn reloaded(plan: &Plan, indices: &LoadedIndices) -> Vec<String> {
    let is_covered = |name: &&String| {
        let range = plan.index_by.time_range(plan.index.as_str(), name);
        range.is_some_and(|range| plan.range.includes(&range))
    };
    indices.missing.keys().filter(is_covered).cloned().collect()
}

/// Rejects a cluster other than the one that documents were loaded into, unless an option allows it.
fn check_cluster(
    plan: &Plan,
    engine: &Engine,
    store: &mut CheckpointStore,
    log: &Log,
) -> Result<(), Failure> {
    let Some(ours) = engine.cluster() else { return Ok(()) };
    match store.cluster()? {
        Some(theirs) if theirs == ours => return Ok(()),
        None => {}
        Some(_) if plan.reload => {
            store.reset_progress()?;
            log.warn(
                "checkpoint",
                "the engine is a different cluster than in earlier runs; everything is loaded again",
            );
        }
        Some(_) if plan.accept_cluster => {
            log.info(
                "checkpoint",
                "the engine is a different cluster than in earlier runs; accepted",
            );
        }
        Some(theirs) => {
            let (path, target) = (store.path().to_owned(), plan.target_name());
            let ours = ours.to_owned();
            return Err(checkpoint::Error::ClusterMismatch { path, target, theirs, ours }.into());
        }
    }
    Ok(store.set_cluster(ours)?)
}

/// Rejects a change of `--index-by` while indices of the previous kind exist.
fn check_index_by(
    plan: &Plan,
    engine: &Engine,
    store: &mut CheckpointStore,
    log: &Log,
) -> Result<(), Failure> {
    let (prefix, ours) = (plan.index.as_str(), plan.index_by);
    match store.index_by()? {
        Some(theirs) if theirs == ours => return Ok(()),
        Some(theirs) if !is_gone(engine.inventory(), prefix, theirs) => {
            let path = store.path().to_owned();
            return Err(checkpoint::Error::IndexByMismatch { path, theirs, ours }.into());
        }
        Some(theirs) if plan.reload && plan.range == TimeRange::default() => {
            store.reset_progress()?;
            log.warn(
                "checkpoint",
                format_args!(
                    "no index by {theirs} exists any more; everything is loaded again, by {ours}"
                ),
            );
        }
        // Indices that do not exist any more are reported as missing.
        Some(_) | None => {}
    }
    Ok(store.set_index_by(ours)?)
}

/// Returns whether no index of this kind exists. Without an inventory, one may exist.
fn is_gone(inventory: Option<&Inventory>, prefix: &str, by: IndexBy) -> bool {
    inventory.is_some_and(|all| {
        !all.indices.keys().any(|name| IndexBy::from_index_name(prefix, name) == Some(by))
    })
}

/// Logs a change of an index. Missing documents are reported at the end of the run.
fn log_change(change: &IndexChange, log: &Log) {
    match change {
        IndexChange::Lost(..) => {}
        IndexChange::Restored(name, documents) => log.warn(
            name,
            format_args!(
                "was restored from a snapshot; it contains all {}",
                format::plural(*documents, "document")
            ),
        ),
        IndexChange::Complete(name, documents) => log.info(
            name,
            format_args!(
                "is complete again: it contains at least {}",
                format::plural(*documents, "document")
            ),
        ),
    }
}

/// Warns about each index with missing documents, and how to fix it.
pub(super) fn warn_about_missing(missing: &[(String, MissingDocuments)], plan: &Plan, log: &Log) {
    for (name, missing) in missing.iter().take(MAX_INDICES_LOGGED) {
        log.warn(name, format_args!("{}; {}", describe(missing), remedy(plan, name)));
    }
    if missing.len() > MAX_INDICES_LOGGED {
        let more = missing.len() - MAX_INDICES_LOGGED;
        log.warn(
            "checkpoint",
            format_args!("and {more} more indices; 'trailload status' lists all"),
        );
    }
}

/// Describes what happened to an index.
pub(in crate::cli) fn describe(missing: &MissingDocuments) -> String {
    let documents = format::plural(missing.documents, "document");
    match missing.reason {
        LossReason::Deleted => {
            format!("the index was deleted; {documents} had been loaded into it")
        }
        LossReason::Recreated => {
            format!("the index was deleted and created again; {documents} had been loaded into it")
        }
        LossReason::Emptied => format!(
            "{documents} of {} that were loaded are no longer in the index",
            format::count(missing.expected)
        ),
    }
}

/// Returns how to complete an index that lacks documents.
pub(in crate::cli) fn remedy(plan: &Plan, name: &str) -> String {
    let prefix = plan.index.as_str();
    let range = IndexBy::from_index_name(prefix, name).and_then(|by| by.time_range(prefix, name));
    let TimeRange { from, to } = range.unwrap_or_default();
    let mut text = "load them again with the options of the load and '--reload".to_owned();
    for (option, time) in [("--from", from), ("--to", to)] {
        if let Some(time) = time {
            // Writing to a String cannot fail.
            let _ = write!(text, " {option} {}", time.strftime("%Y-%m-%d"));
        }
    }
    let _ = write!(text, "', or accept the loss with '--accept-missing={name}'");
    text
}

/// Returns whether a name matches a pattern in which `*` matches anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|after| {
            (0..=after.len())
                .filter(|at| after.is_char_boundary(*at))
                .any(|at| matches(rest, &after[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_indices() {
        for (pattern, name, fits) in [
            ("*", "ct-2024.06", true),
            ("ct-2024.06", "ct-2024.06", true),
            ("ct-2024.*", "ct-2024.06", true),
            ("ct-2024.*", "ct-2023.06", false),
            ("ct-2024", "ct-2024.06", false),
            ("*.06", "ct-2024.06", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
