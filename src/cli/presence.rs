//! Whether what the checkpoint calls loaded is still in the engine: asked before a run and after it.
//!
//! In: a plan, a connected engine, an open checkpoint. Out: a [`Failure`] if loading could lose or double events; lines
//! about indices that changed; rows in the checkpoint about what is missing.
//! Invariant: an index that lost documents keeps every later run from exit 0, until it is loaded again or the loss is
//! accepted.

use std::{borrow::Cow, fmt::Write as _};

use super::{environment, failure::Failure, load::Plan};
use crate::{
    checkpoint::{
        self, Indices, Store,
        indices::{Change, Missing, Why},
    },
    event::Inventory,
    normalize::{IndexBy, TimeRange},
    report::{Log, figures},
    sink::Engine,
};

/// Indices that are named one by one; `trailload status` lists all.
const NAMED_AT_MOST: usize = 12;

/// Checks that the engine is the one that the checkpoint is about, and looks for what is missing in it.
pub(super) async fn before(
    plan: &Plan,
    engine: &Engine,
    store: &mut Store,
    log: &Log,
) -> Result<(), Failure> {
    check_cluster(plan, engine, store, log)?;
    check_span(plan, engine, store, log)?;
    let Some(inventory) = engine.inventory() else {
        log.info(
            "checkpoint",
            "the engine does not tell which indices it holds: one that is deleted later is not noticed",
        );
        return Ok(());
    };
    let mut indices = store.indices()?;
    if let Some(name) = indices.moved(inventory) {
        return Err(checkpoint::Error::Moved { name: name.to_owned() }.into());
    }
    let recounted = if indices.known.is_empty() { None } else { engine.recount(&[]).await? };
    let inventory = recounted.as_ref().unwrap_or(inventory);
    let inventory = counted(engine, &indices, inventory).await?;
    let now = environment::now().as_millisecond();
    let changes = indices.compare(&inventory, now);
    for change in &changes {
        tell(change, log);
    }
    if let Some(pattern) = &plan.accept_missing {
        for (name, missing) in indices.accept(|name| matches(pattern, name), now) {
            let documents = figures::counted(missing.documents, "document");
            log.info(&name, format_args!("accepted: {documents} missing ({})", missing.why));
        }
    }
    Ok(store.set_indices(&indices)?)
}

/// Looks for what is missing after a run that came to its end, and for what is complete again.
pub(super) async fn after(
    plan: &Plan,
    (engine, held): (&Engine, Option<&Inventory>),
    store: &mut Store,
    log: &Log,
) -> Result<(), Failure> {
    let Some(inventory) = held else { return Ok(()) };
    let mut indices = store.indices()?;
    let inventory = counted(engine, &indices, inventory).await?;
    let mut changes = indices.compare(&inventory, environment::now().as_millisecond());
    if plan.again {
        changes.extend(indices.reloaded(&reloaded(plan, &indices), &inventory));
    }
    for change in &changes {
        tell(change, log);
    }
    Ok(store.set_indices(&indices)?)
}

/// Returns what the engine holds, counted again where it seems to lack documents: what was written last may not be
/// counted yet.
async fn counted<'a>(
    engine: &Engine,
    indices: &Indices,
    inventory: &'a Inventory,
) -> Result<Cow<'a, Inventory>, Failure> {
    let short = indices.short_of(inventory);
    if short.is_empty() {
        return Ok(Cow::Borrowed(inventory));
    }
    let recounted = engine.recount(&short).await?;
    Ok(recounted.map_or(Cow::Borrowed(inventory), Cow::Owned))
}

/// Returns the indices that lack documents and of which this run read every event again.
fn reloaded(plan: &Plan, indices: &Indices) -> Vec<String> {
    let is_covered = |name: &&String| {
        let range = plan.index_by.range_of(plan.index.as_str(), name);
        range.is_some_and(|range| plan.range.includes(&range))
    };
    indices.missing.keys().filter(is_covered).cloned().collect()
}

/// Refuses another cluster than the one that documents went to, unless the user said what to do about it.
fn check_cluster(
    plan: &Plan,
    engine: &Engine,
    store: &mut Store,
    log: &Log,
) -> Result<(), Failure> {
    let Some(ours) = engine.cluster() else { return Ok(()) };
    match store.cluster()? {
        Some(theirs) if theirs == ours => return Ok(()),
        None => {}
        Some(_) if plan.again => {
            store.forget()?;
            log.warn(
                "checkpoint",
                "the engine is another cluster than before: what was loaded into the other one is forgotten, and \
                 everything is loaded again",
            );
        }
        Some(_) if plan.accept_cluster => {
            log.info("checkpoint", "the engine is another cluster than before; accepted");
        }
        Some(theirs) => {
            let (path, target) = (store.path().to_owned(), plan.target_name());
            let ours = ours.to_owned();
            return Err(checkpoint::Error::OtherCluster { path, target, theirs, ours }.into());
        }
    }
    Ok(store.set_cluster(ours)?)
}

/// Refuses indices that are made in another way than before, as long as one of those is there.
fn check_span(plan: &Plan, engine: &Engine, store: &mut Store, log: &Log) -> Result<(), Failure> {
    let (prefix, ours) = (plan.index.as_str(), plan.index_by);
    match store.index_by()? {
        Some(theirs) if theirs == ours => return Ok(()),
        Some(theirs) if !is_gone(engine.inventory(), prefix, theirs) => {
            let path = store.path().to_owned();
            return Err(checkpoint::Error::OtherSpan { path, theirs, ours }.into());
        }
        Some(theirs) if plan.again && plan.range == TimeRange::default() => {
            store.forget()?;
            log.warn(
                "checkpoint",
                format_args!(
                    "the indices by {theirs} are gone; everything is loaded again, by {ours}"
                ),
            );
        }
        // Those that are gone are told as missing.
        Some(_) | None => {}
    }
    Ok(store.set_index_by(ours)?)
}

/// Returns whether no index is there that was made in this way. One that is not told may be.
fn is_gone(inventory: Option<&Inventory>, prefix: &str, by: IndexBy) -> bool {
    inventory.is_some_and(|all| {
        !all.indices.keys().any(|name| IndexBy::of_index(prefix, name) == Some(by))
    })
}

/// Says what changed, where it is good to know. What is missing is told at the end of the run.
fn tell(change: &Change, log: &Log) {
    match change {
        Change::Lost(..) => {}
        Change::Restored(name, documents) => log.warn(
            name,
            format_args!(
                "was restored from a snapshot; all {} are in it",
                figures::counted(*documents, "document")
            ),
        ),
        Change::Complete(name, documents) => log.info(
            name,
            format_args!(
                "is complete again: {} or more are in it",
                figures::counted(*documents, "document")
            ),
        ),
    }
}

/// Warns of every index that lacks documents, with what to do about it.
pub(super) fn warn(missing: &[(String, Missing)], plan: &Plan, log: &Log) {
    for (name, missing) in missing.iter().take(NAMED_AT_MOST) {
        log.warn(name, format_args!("{}; {}", what(missing), way_out(plan, name)));
    }
    if missing.len() > NAMED_AT_MOST {
        let more = missing.len() - NAMED_AT_MOST;
        log.warn("checkpoint", format_args!("and {more} more like it; see 'trailload status'"));
    }
}

/// Returns what happened to an index.
pub(super) fn what(missing: &Missing) -> String {
    let documents = figures::counted(missing.documents, "document");
    match missing.why {
        Why::Deleted => format!("the index is gone, with {documents} that were loaded into it"),
        Why::Recreated => {
            format!("the index that {documents} were loaded into was deleted; this is another one")
        }
        Why::Emptied => format!(
            "{documents} of the {} that were loaded into the index are not in it any more",
            figures::count(missing.wanted)
        ),
    }
}

/// Returns what to do about an index that lacks documents.
pub(super) fn way_out(plan: &Plan, name: &str) -> String {
    let prefix = plan.index.as_str();
    let range = IndexBy::of_index(prefix, name).and_then(|by| by.range_of(prefix, name));
    let TimeRange { from, to } = range.unwrap_or_default();
    let mut text = "load them again with the same command and '--again".to_owned();
    for (option, time) in [("--from", from), ("--to", to)] {
        if let Some(time) = time {
            // Writing to a String cannot fail.
            let _ = write!(text, " {option} {}", time.strftime("%Y-%m-%d"));
        }
    }
    let _ = write!(text, "', or accept it with '--accept-missing={name}'");
    text
}

/// Returns whether a name fits a pattern in which `*` stands for anything.
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
