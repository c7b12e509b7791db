//! Checks the rules of alerts, and the actions that they name. Nothing is sent.

use super::{Doctor, Severity, pass};
use crate::{
    cli::{alerts::AlertPlan, failure::Failure, rule_files::load_valid_rules},
    report::format,
    sink::alert::Action,
};

impl Doctor<'_> {
    /// Checks the rules, if there are any. Each error in a file is logged with its place.
    pub(super) fn rules(&mut self) -> Result<(), Failure> {
        if self.rules.is_empty() {
            return Ok(());
        }
        let checked = load_valid_rules(self.rules, self.log)
            .and_then(|loaded| self.alerts.plan(&loaded, self.log));
        match checked {
            Ok(plan) => self.actions(&plan),
            Err(failure) => self.report_problem(Severity::Failure, &failure),
        }
    }

    fn actions(&mut self, plan: &AlertPlan) -> Result<(), Failure> {
        let rules = format::plural(plan.rules.rules().len() as u64, "rule");
        let names: Vec<_> = plan.actions.iter().map(|action| action.name.as_str()).collect();
        pass("rules", &format!("{rules}, with alerts for {}", names.join(", ")))?;
        if self.load.is_none() && plan.actions.iter().any(Action::needs_engine) {
            let failure = Failure::action_required("an action `index` requires an engine");
            return self.report_problem(
                Severity::Failure,
                &failure.hint("add --into http://localhost:9200"),
            );
        }
        Ok(())
    }
}
