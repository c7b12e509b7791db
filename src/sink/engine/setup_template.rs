//! The component template `PREFIX-setup`: what `trailload setup` was asked for.
//!
//! Input: the options of `setup`, or the template as the engine holds it. Output: the same in the other form.
//! Invariant: every loader reads the retention from here, wherever `setup` was run. Settings that are not asked for are
//! absent, so the engine's defaults or the user's own template decide.

use serde_json::{Map, Value, json};

use super::marks::{MANAGED_BY, is_managed};
use crate::normalize::Retention;

/// The version of the template.
pub(super) const VERSION: u64 = 1;

/// The age of an index that is created without a date of its own, such as `PREFIX-undated`, counts from 2100-01-01, in
/// milliseconds: it has no end, so it never expires.
pub(super) const NEVER_EXPIRES: i64 = 4_102_444_800_000;

/// What `trailload setup` was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SetupTemplate {
    /// How long events are kept; for ever without.
    pub(super) retention: Option<Retention>,
    /// How long after their period indices are in the hot phase.
    pub(super) warm: Option<Retention>,
    /// The number of replicas of new indices.
    pub(super) replicas: Option<u32>,
    /// The ILM policy of new indices.
    pub(super) lifecycle: Option<String>,
}

impl SetupTemplate {
    /// Parses a component template. `None` if it was created by another program.
    pub(super) fn from_component(component: &Value) -> Option<Self> {
        if !is_managed(component) {
            return None;
        }
        let days = |name: &str| component["_meta"][name].as_str()?.parse().ok();
        let index = &component["template"]["settings"]["index"];
        let replicas = &index["number_of_replicas"];
        // Engines return numbers in settings as text.
        let replicas = replicas
            .as_str()
            .and_then(|text| text.parse().ok())
            .or_else(|| replicas.as_u64().and_then(|number| u32::try_from(number).ok()));
        Some(Self {
            retention: days("retention"),
            warm: days("warm"),
            replicas,
            lifecycle: index["lifecycle"]["name"].as_str().map(str::to_owned),
        })
    }

    /// Returns the component template.
    pub(super) fn to_component(&self) -> Value {
        let mut index = Map::new();
        if let Some(replicas) = self.replicas {
            index.insert("number_of_replicas".to_owned(), replicas.into());
        }
        if let Some(policy) = &self.lifecycle {
            let lifecycle = json!({ "name": policy, "origination_date": NEVER_EXPIRES });
            index.insert("lifecycle".to_owned(), lifecycle);
        }
        let mut meta = Map::new();
        meta.insert("managed_by".to_owned(), MANAGED_BY.into());
        meta.insert("version".to_owned(), VERSION.into());
        for (name, days) in [("retention", self.retention), ("warm", self.warm)] {
            if let Some(days) = days {
                meta.insert(name.to_owned(), days.to_string().into());
            }
        }
        json!({ "template": { "settings": { "index": index } }, "_meta": meta })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_read_back() {
        for setup in [
            SetupTemplate::default(),
            SetupTemplate {
                retention: "400d".parse().ok(),
                warm: "60d".parse().ok(),
                replicas: Some(0),
                lifecycle: Some("cloudtrail".to_owned()),
            },
        ] {
            let mut component = setup.to_component();
            assert_eq!(SetupTemplate::from_component(&component), Some(setup.clone()));
            if setup.replicas.is_some() {
                component["template"]["settings"]["index"]["number_of_replicas"] = json!("0");
                assert_eq!(SetupTemplate::from_component(&component), Some(setup));
            }
        }
    }

    #[test]
    fn an_index_without_a_date_of_its_own_never_expires() {
        let lifecycle = Some("cloudtrail".to_owned());
        let setup = SetupTemplate { lifecycle, ..SetupTemplate::default() };
        let component = setup.to_component();
        let from = component.pointer("/template/settings/index/lifecycle/origination_date");
        let from = jiff::Timestamp::from_millisecond(from.unwrap().as_i64().unwrap()).unwrap();
        assert_eq!(from.to_string(), "2100-01-01T00:00:00Z");
    }

    #[test]
    fn the_template_of_another_program_is_not_read() {
        let theirs = json!({ "template": {}, "_meta": { "retention": "1d" } });
        assert_eq!(SetupTemplate::from_component(&theirs), None);
    }
}
