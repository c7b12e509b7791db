//! Decides about matches.
//!
//! Input: the matches of a batch. Output: the alerts among them, and the numbers of the others.
//! Invariant: matches that depend on each other are judged in the order of time; the order within a batch is therefore irrelevant.
//! What a process has raised and does not know any more, because the response was lost, it raises again with the same id.

use std::{collections::HashMap, sync::Arc};

use tokio::task::JoinSet;

use super::{
    Error, LEASE, MARGIN, RETENTION, SharedAlerts,
    items::ItemKey,
    retry::CONFLICT,
    store::{Committed, ItemStore},
    view::{Raising, View, keys},
};
use crate::{
    checkpoint::alerts::{
        alert_actions,
        judge::{Candidate, Handling, Judgement, NO_TIME, Raised, judge, milliseconds},
        raised_alert,
    },
    event::{Alert, DecidedMatches, NewMatch, RuleDecisions},
    filter::rule::Rule,
};

/// Items that are read and written together: within the limit of 100 for a transaction and a `BatchGetItem`.
const MAX_ITEMS: usize = 90;

/// Groups that are decided about at the same time.
const MAX_CONCURRENT: usize = 16;

/// Conflicts with other processes after which a run ends. One of several processes that write the same item is successful each time.
const MAX_CONFLICTS: u32 = 200;

/// Matches that depend on each other, in the order of time.
struct Unit {
    rule: usize,
    /// With their positions in the order of time of all matches.
    matches: Vec<(usize, NewMatch)>,
}

/// What matches depend on.
#[derive(PartialEq, Eq, Hash)]
enum Dependence {
    /// On all matches of their rule.
    Rule(usize),
    /// On those of their group.
    Group(usize, String),
    /// On none but themselves.
    Event(usize, String),
}

/// What was decided about some matches of a rule.
#[derive(Default)]
struct Decided {
    alerts: Vec<(usize, Alert)>,
    counts: RuleDecisions,
}

impl Dependence {
    fn of(rule: &Rule, found: &NewMatch) -> Self {
        let number = found.rule;
        if rule.grouping.first_seen.is_some() {
            // Combinations occur in several groups.
            Self::Rule(number)
        } else if rule.grouping.window.is_some() {
            Self::Group(number, found.group.to_string())
        } else {
            Self::Event(number, found.event_id.clone())
        }
    }
}

#[expect(private_bounds, reason = "only this module has implementations")]
impl<S: ItemStore> SharedAlerts<S> {
    /// Decides about matches. Waits while the table is not available.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the table cannot be used, or if a shutdown is requested while it is not available. Matches that were
    /// decided about before are decided about again with the same result.
    pub async fn decide(&self, matches: Vec<NewMatch>) -> Result<DecidedMatches, Error> {
        let mut units = self.units(matches).into_iter();
        let mut tasks: JoinSet<Result<(usize, Decided), Error>> = JoinSet::new();
        let (mut alerts, mut rules) = (Vec::new(), HashMap::<usize, RuleDecisions>::new());
        loop {
            while tasks.len() < MAX_CONCURRENT
                && let Some(unit) = units.next()
            {
                let shared = self.clone();
                tasks.spawn(async move { Ok((unit.rule, shared.decide_unit(unit).await?)) });
            }
            let Some(decided) = tasks.join_next().await else { break };
            // A panic of a task is one of this function.
            let (rule, decided) =
                decided.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
            alerts.extend(decided.alerts);
            rules
                .entry(rule)
                .or_insert(RuleDecisions { rule, ..RuleDecisions::default() })
                .add(decided.counts);
        }
        alerts.sort_by_key(|(position, _)| *position);
        Ok(DecidedMatches {
            alerts: alerts.into_iter().map(|(_, alert)| alert).collect(),
            rules: rules.into_values().collect(),
        })
    }

    /// Returns the matches by what they depend on.
    fn units(&self, mut matches: Vec<NewMatch>) -> Vec<Unit> {
        matches.sort_by_cached_key(|found| {
            (found.time.unwrap_or(NO_TIME), found.event_id.clone(), found.rule)
        });
        let mut units: Vec<Unit> = Vec::new();
        let mut numbers: HashMap<Dependence, usize> = HashMap::new();
        for (position, found) in matches.into_iter().enumerate() {
            // A number without a rule cannot occur: matches and state have the same rules.
            let Some(rule) = self.0.rules.rules().get(found.rule) else { continue };
            let number = *numbers.entry(Dependence::of(rule, &found)).or_insert_with(|| {
                units.push(Unit { rule: found.rule, matches: Vec::new() });
                units.len() - 1
            });
            units[number].matches.push((position, found));
        }
        units
    }

    async fn decide_unit(&self, unit: Unit) -> Result<Decided, Error> {
        let rules = Arc::clone(&self.0.rules);
        let (Some(rule), Some(by)) =
            (rules.rules().get(unit.rule), self.0.first_seen_by.get(unit.rule))
        else {
            return Ok(Decided::default());
        };
        let mut all = Decided::default();
        let mut rest = unit.matches.as_slice();
        while !rest.is_empty() {
            let (length, keys) = self.next_part(rule, by, rest);
            let (part, later) = rest.split_at(length);
            let decided = self.decide_part(rule, by, part, &keys).await?;
            all.alerts.extend(decided.alerts);
            all.counts.add(decided.counts);
            rest = later;
        }
        Ok(all)
    }

    /// Returns how many matches can be decided about together, and the items that they depend on.
    fn next_part(
        &self,
        rule: &Rule,
        by: &str,
        matches: &[(usize, NewMatch)],
    ) -> (usize, Vec<ItemKey>) {
        let mut known: Vec<ItemKey> = Vec::new();
        for (length, (_, found)) in matches.iter().enumerate() {
            let candidate = self.candidate(rule, found, self.local_now());
            let mut more = keys(rule, by, &candidate);
            more.retain(|key| !known.contains(key));
            if length > 0 && known.len() + more.len() > MAX_ITEMS {
                return (length, known);
            }
            known.extend(more);
        }
        (matches.len(), known)
    }

    async fn decide_part(
        &self,
        rule: &Rule,
        by: &str,
        matches: &[(usize, NewMatch)],
        keys: &[ItemKey],
    ) -> Result<Decided, Error> {
        let store = &self.0.store;
        for attempt in 1..=MAX_CONFLICTS {
            // Most alerts of rules without a memory are new: a conflict tells if one is not.
            let items = if attempt == 1 && matches.len() == 1 && keys.len() == 1 {
                HashMap::new()
            } else {
                self.patiently(|| store.read(keys)).await?
            };
            let mut view = View::new(rule, by, items);
            let decided = self.judge_all(rule, &mut view, matches);
            let changes = view.into_changes();
            let expires = self.expires(rule);
            if self.patiently(|| store.commit(&changes, expires)).await? == Committed::Yes {
                return Ok(decided);
            }
            self.pause(CONFLICT.delay(attempt)).await?;
        }
        Err(Error::Contended {
            table: store.table().to_owned(),
            rule: rule.name.clone(),
            attempts: MAX_CONFLICTS,
        })
    }

    /// Judges matches in turn.
    fn judge_all(
        &self,
        rule: &Rule,
        view: &mut View<'_>,
        matches: &[(usize, NewMatch)],
    ) -> Decided {
        let now = self.local_now();
        let mut decided = Decided::default();
        for (position, found) in matches {
            let candidate = self.candidate(rule, found, now);
            let Ok(judgement) = judge(view, rule, &candidate);
            decided.counts.count(judgement);
            let alert = match judgement {
                Judgement::Alert(raised) => self.raise(rule, view, &candidate, raised),
                Judgement::Duplicate => self.undelivered(rule, view, &candidate),
                Judgement::Learned | Judgement::Suppressed => None,
            };
            decided.alerts.extend(alert.map(|alert| (*position, alert)));
        }
        decided
    }

    /// Adds an alert to the items. Returns it if it is to be delivered.
    fn raise(
        &self,
        rule: &Rule,
        view: &mut View<'_>,
        candidate: &Candidate<'_>,
        raised: Raised,
    ) -> Option<Alert> {
        let actions = alert_actions(rule, &self.0.options.default_actions);
        let by = Raising {
            owner: &self.0.owner,
            until: self.0.store.now().saturating_add(milliseconds(LEASE)),
            now: self.local_now(),
            actions: &actions,
        };
        view.raise(candidate, raised, &by);
        let is_delivered = raised.handling == Handling::Delivered && !actions.is_empty();
        is_delivered.then(|| self.alert(rule, candidate, raised.events))
    }

    /// Returns the alert that was raised for a candidate before, with the actions by which it is not delivered, if there are any. Its
    /// process may have ended, so this one delivers it once the lease of that one is over.
    fn undelivered(
        &self,
        rule: &Rule,
        view: &View<'_>,
        candidate: &Candidate<'_>,
    ) -> Option<Alert> {
        let known = view.alert(candidate)?;
        let mut alert = self.alert(rule, candidate, known.events);
        alert.actions.retain(|action| {
            known.claims.get(action).is_some_and(|claim| claim.delivered.is_none())
        });
        (!alert.actions.is_empty()).then_some(alert)
    }

    fn alert(&self, rule: &Rule, candidate: &Candidate<'_>, events: u64) -> Alert {
        raised_alert(rule, candidate.found, events, &self.0.options.default_actions)
    }

    fn candidate<'m>(&self, rule: &'m Rule, found: &'m NewMatch, now: i64) -> Candidate<'m> {
        Candidate::new(rule, found, self.0.options.max_age, now)
    }

    /// Returns when what is written now expires, in seconds of the Unix epoch.
    fn expires(&self, rule: &Rule) -> i64 {
        let grouping = &rule.grouping;
        let window = grouping.window.map_or(0, milliseconds);
        let within = grouping.first_seen.as_ref().map_or(0, |seen| milliseconds(seen.within));
        let now = self.0.store.now();
        let until = now
            .saturating_add(milliseconds(RETENTION))
            .saturating_add(window.max(within))
            .saturating_add(milliseconds(MARGIN));
        until / 1_000
    }
}

impl RuleDecisions {
    fn count(&mut self, judgement: Judgement) {
        let counter = match judgement {
            Judgement::Duplicate => &mut self.duplicates,
            Judgement::Learned => &mut self.learned,
            Judgement::Suppressed => &mut self.suppressed,
            Judgement::Alert(Raised { handling: Handling::Recorded, .. }) => &mut self.recorded,
            Judgement::Alert(Raised { handling: Handling::Delivered, .. }) => &mut self.alerts,
        };
        *counter += 1;
    }

    fn add(&mut self, other: Self) {
        self.duplicates += other.duplicates;
        self.learned += other.learned;
        self.suppressed += other.suppressed;
        self.recorded += other.recorded;
        self.alerts += other.alerts;
    }
}
