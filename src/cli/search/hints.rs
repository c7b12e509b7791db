//! Warnings and hints where a search may find less than its author expects.
//!
//! Input: a plan before the search, and what the query has met after it. Output: log messages.
//! Invariant: a hint never changes what is found. What makes a result wrong or empty is a warning, which `--quiet` keeps.

use super::{plan::SearchPlan, presets};
use crate::{
    cli::plan::sources::LOOKUP,
    filter::{
        action::{ActionWarning, ActionWarningKind},
        jmespath::Expression,
        literal::Literal,
        match_expression::{MatchExpression, Operator},
        query::{ConditionObservations, ExpressionObservations, Observations},
    },
    pipeline::search::SearchEnd,
    report::{Log, format},
};

/// Logs what is known before anything is read.
pub(super) fn before_search(plan: &SearchPlan, log: &Log) {
    for time in &plan.times_without_zone {
        log.info(
            "time",
            format_args!("'{time}' is taken as UTC; write it with Z or an offset such as +02:00 to state the zone"),
        );
    }
    if plan.query.range.from.is_some_and(|from| from > plan.now.as_second()) {
        log.warn("time", "the time range starts in the future, so nothing is in it yet");
    }
    for warning in plan.query.actions.warnings() {
        warn_about_action(&warning, plan, log);
    }
    for expression in plan.query.matches.iter().chain(&plan.query.exceptions) {
        if expression.is_empty() {
            log.warn("--match", "an empty expression is no condition and was left out");
        }
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
            let similar: Vec<String> = similar.iter().cloned().chain(presets).collect();
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
            format_args!("{}; {}", lint.message, lint.fix),
        );
    }
}

/// Logs what the query has met.
pub(super) fn after_search(plan: &SearchPlan, end: &SearchEnd, log: &Log) {
    let met = &end.observations;
    for (expression, own) in plan.query.matches.iter().zip(&met.matches) {
        ExpressionHints { option: "--match", expression, own, met, log }.log();
    }
    for (expression, own) in plan.query.exceptions.iter().zip(&met.exceptions) {
        ExpressionHints { option: "--except", expression, own, met, log }.log();
    }
    for (condition, own) in plan.query.conditions.iter().zip(&met.conditions) {
        warn_about_errors(condition, own, log);
    }
    if met.without_time > 0 {
        let events = format::plural(met.without_time, "event");
        log.warn("time", format_args!("{events} without a readable eventTime were left out"));
    }
    if met.without_read_only > 0 {
        let option = if plan.conditions.read_only { "--read-only" } else { "--write-only" };
        let events = format::plural(met.without_read_only, "event");
        log.warn(
            option,
            format_args!("{events} left out that have no field readOnly; older events lack it"),
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

/// The hints about one match expression.
struct ExpressionHints<'a> {
    option: &'a str,
    expression: &'a MatchExpression,
    /// What the expression has met.
    own: &'a ExpressionObservations,
    /// What the whole query has met.
    met: &'a Observations,
    log: &'a Log,
}

impl ExpressionHints<'_> {
    fn log(&self) {
        if self.own.gave_up > 0 {
            self.warn(format_args!(
                "the pattern took too long on {} and did not match them; simplify it",
                format::plural(self.own.gave_up, "event")
            ));
        }
        if self.own.events == 0 {
            return;
        }
        if self.is_field_missing() {
            self.warn_about_field();
        } else if self.own.has_boolean_text {
            self.warn(format_args!(
                "some events hold the text \"true\" or \"false\" here, which is not the boolean; compare with the text in \
                 quotation marks",
            ));
        }
    }

    /// Returns whether the field occurs in no event, although the expression looks for a value of it.
    fn is_field_missing(&self) -> bool {
        let is_null = self.expression.literal().is_none_or(|literal| *literal == Literal::Null);
        let looks_for_value =
            matches!(self.expression.operator(), Some(Operator::Equal | Operator::Regex));
        !self.own.has_field && looks_for_value && !is_null
    }

    fn warn_about_field(&self) {
        let last_name = self.expression.path().and_then(|path| path.last_name());
        let similar = last_name.map(|name| self.met.similar_fields(name)).unwrap_or_default();
        let similar: Vec<String> = similar.iter().map(|field| format!("$.{field}")).collect();
        self.warn(format_args!(
            "none of the {} that it was compared with has this field{}",
            format::plural(self.own.events, "event"),
            instead(&similar)
        ));
    }

    fn warn(&self, message: std::fmt::Arguments<'_>) {
        self.log.warn(&format!("{} {}", self.option, self.expression.as_str()), message);
    }
}
