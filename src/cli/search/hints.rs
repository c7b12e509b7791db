//! Warnings and hints where a search may find less than its author expects.
//!
//! Input: a plan before the search, and what the query has met after it. Output: log messages.
//! Invariant: a hint never changes what is found. What makes a result wrong or empty is a warning, which `--quiet` keeps.

use super::{plan::SearchPlan, presets};
use crate::{
    cli::{args::search::ConditionArgs, plan::sources::LOOKUP, time_notes::explain_time},
    filter::{
        action::{ActionWarning, ActionWarningKind},
        jmespath::Expression,
        match_expression::{MatchExpression, MatchHint},
        query::ConditionObservations,
    },
    pipeline::search::{EventSummary, SearchEnd, SearchOutput, UnseenField},
    report::{Log, format},
};

/// Warnings about actions that are shown. Lists of actions may come from a program.
const MAX_ACTION_WARNINGS: usize = 10;

/// Logs what is known before anything is read.
pub(super) fn before_search(plan: &SearchPlan, log: &Log) {
    for (option, time) in &plan.times {
        explain_time(option, time, log);
    }
    // A time range includes whole seconds, so that one that starts now starts at most in the next second.
    if plan.query.range.from.is_some_and(|from| from >= plan.now.as_second()) && !plan.follow {
        log.warn("time", "the time range starts now or later, so nothing is in it yet");
    }
    let is_own = |warning: &ActionWarning| {
        !plan.presets.iter().any(|preset| preset.options.contains(&warning.pattern))
    };
    let mut warnings = plan.query.actions.warnings().into_iter().filter(is_own);
    for warning in warnings.by_ref().take(MAX_ACTION_WARNINGS) {
        warn_about_action(&warning, plan, log);
    }
    match warnings.count() as u64 {
        0 => {}
        more => log.warn(
            "actions",
            format_args!("{} are not shown", format::plural(more, "further warning")),
        ),
    }
    for (option, expression) in match_expressions(plan) {
        warn_about_expression(option, &expression.warnings(), log);
    }
    if let SearchOutput::Summary(EventSummary::Trace(_)) = &plan.output
        && plan.conditions != ConditionArgs::default()
    {
        log.warn(
            "--trace",
            "the other conditions also leave out calls that handed out credentials, so the chain may end early",
        );
    }
    for condition in &plan.query.conditions {
        warn_about_condition(condition, log);
    }
}

fn warn_about_action(warning: &ActionWarning, plan: &SearchPlan, log: &Log) {
    let pattern = &warning.pattern;
    let about = format!("action {pattern}");
    match &warning.kind {
        ActionWarningKind::MatchesNothing => {
            log.warn(&about, "no text matches this pattern; check its brackets");
        }
        ActionWarningKind::OpenBracket => {
            log.warn(&about, "'[' without ']' stands for itself");
        }
        ActionWarningKind::AnyService => {
            log.debug(&about, "searched for as the name of an event of any service");
        }
        ActionWarningKind::AnyAction => {
            log.debug(&about, "searched for as all actions of this service");
        }
        ActionWarningKind::UnknownService { similar } => {
            log.warn(&about, format_args!("no service of this name is known{}", instead(similar)));
        }
        ActionWarningKind::UnknownAction { similar } => {
            let presets = presets::similar_names(pattern);
            let presets = presets.iter().map(|name| format!("the preset {name}"));
            let similar: Vec<String> = presets.chain(similar.iter().cloned()).collect();
            log.warn(&about, format_args!("no such action or event is known{}", instead(&similar)));
        }
        ActionWarningKind::NeverLogged { reason } => {
            log.warn(&about, format_args!("CloudTrail never records this action: {reason}"));
        }
        ActionWarningKind::NoApiCall => log.warn(
            &about,
            "this permission is checked within other calls; CloudTrail records no event of its name",
        ),
        ActionWarningKind::DataEvents if plan.sources.lookup.is_some() => log.warn(
            &about,
            "these are data events, which the event history does not hold; search the bucket of a trail that records \
             them (--in s3://BUCKET)",
        ),
        ActionWarningKind::DataEvents => {}
    }
}

/// Returns what may have been meant, as the end of a message.
fn instead(similar: &[String]) -> String {
    match similar {
        [] => String::new(),
        similar => format!("; similar: {}", similar.join(", ")),
    }
}

fn warn_about_condition(condition: &Expression, log: &Log) {
    for lint in condition.lints() {
        log.warn(
            &format!("--where {}", condition.text()),
            format_args!("{}; write {}", lint.message, lint.fix),
        );
    }
}

/// Logs what the query has met.
pub(super) fn after_search(plan: &SearchPlan, end: &SearchEnd, log: &Log) {
    let met = &end.observations;
    for (option, expressions, own) in [
        ("--match", &plan.query.matches, &met.matches),
        ("--except", &plan.query.exceptions, &met.exceptions),
    ] {
        for (expression, own) in expressions.iter().zip(own) {
            warn_about_expression(option, &expression.hints(own), log);
        }
    }
    for (condition, own) in plan.query.conditions.iter().zip(&met.conditions) {
        warn_about_errors(condition, own, log);
    }
    for field in &end.unseen_fields {
        warn_about_field(field, end.found, plan, log);
    }
    if met.without_time > 0 {
        let events = format::plural(met.without_time, "event");
        log.warn("time", format_args!("{events} without a readable eventTime were left out"));
    }
    if met.without_read_only > 0 {
        let (option, instead) = if plan.conditions.read_only {
            ("--read-only", "$.readOnly != false")
        } else {
            ("--write-only", "$.readOnly != true")
        };
        let events = format::plural(met.without_read_only, "event");
        log.warn(
            option,
            format_args!(
                "left out {events} without the field readOnly, which older events lack; --match '{instead}' instead of \
                 {option} includes them"
            ),
        );
    }
    if end.found == 0 && met.events == 0 && end.examined == 0 && plan.sources.names == [LOOKUP] {
        log.info(
            "hint",
            "the event history holds management events of the last 90 days; data events and older ones are in the \
             bucket of a trail (--in s3://BUCKET)",
        );
    }
}

fn warn_about_field(field: &UnseenField, found: u64, plan: &SearchPlan, log: &Log) {
    let option = match &plan.output {
        SearchOutput::Summary(_) => "--count-by",
        SearchOutput::Events | SearchOutput::Sorted(_) => "--fields",
    };
    let suggestion = match field.similar.as_slice() {
        [] => String::new(),
        similar => format!("; did you mean {}?", similar.join(" or ")),
    };
    // With `--limit`, workers can have looked at more events than were printed.
    let events = match field.events.min(found) {
        1 => "the event found does not have this field".to_owned(),
        events => format!("none of the {} found has this field", format::plural(events, "event")),
    };
    log.warn(&format!("{option} {}", field.name), format_args!("{events}{suggestion}"));
}

fn warn_about_errors(condition: &Expression, own: &ConditionObservations, log: &Log) {
    let Some(first) = &own.first_error else { return };
    log.warn(
        &format!("--where {}", condition.text()),
        format_args!(
            "failed on {} of {} and did not select them; first on event {}: {}",
            format::count(own.errors),
            format::plural(own.events, "event"),
            first.event_id,
            first.message
        ),
    );
}

/// Returns the expressions of `--match` and `--except`, each with its option.
fn match_expressions(plan: &SearchPlan) -> impl Iterator<Item = (&'static str, &MatchExpression)> {
    let matches = plan.query.matches.iter().map(|expression| ("--match", expression));
    matches.chain(plan.query.exceptions.iter().map(|expression| ("--except", expression)))
}

fn warn_about_expression(option: &str, hints: &[MatchHint], log: &Log) {
    for hint in hints {
        let suggestion = hint.suggestion.as_ref().map(|suggestion| format!("; {suggestion}"));
        log.warn(
            format!("{option} {}", hint.expression).trim_end(),
            format_args!("{}{}", hint.message, suggestion.unwrap_or_default()),
        );
    }
}
