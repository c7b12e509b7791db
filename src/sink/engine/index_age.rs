//! The age of an index, counted from its events: the settings that a new index is created with.
//!
//! Lifecycle policies count the age of an index from its creation, so a month of 2019 that is loaded today would be kept as
//! long as a new one. Elasticsearch has a setting for another date, and OpenSearch 3.4 accepts a creation date.
//! Input: the engine, and the name of an index. Output: settings, or none.
//! Invariant: the age is never higher than that of the newest event that the index may contain.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::identify::{Distribution, EngineInfo};
use crate::normalize::IndexBy;

/// The first OpenSearch that accepts a creation date.
const OPENSEARCH_WITH_CREATION_DATE: (u64, u64) = (3, 4);

/// Largest difference between the creation date and the start of a period, in milliseconds: an hour. The checkpoint takes
/// two indices of one name with the same creation date for one index that was restored from a snapshot.
const CREATION_DATE_SPREAD: i64 = 3_600_000;

/// The setting from which an engine takes the age of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AgeSetting {
    /// `index.lifecycle.origination_date`, which can be changed later.
    OriginationDate,
    /// `index.creation_date`, which is final.
    CreationDate,
}

impl AgeSetting {
    /// Returns the setting of an engine. It may still be unknown there: distributions without ILM lack the first.
    pub(super) fn of_engine(info: &EngineInfo) -> Option<Self> {
        match info.distribution {
            Distribution::Elasticsearch => Some(Self::OriginationDate),
            Distribution::OpenSearch
                if !info.is_serverless() && info.is_at_least(OPENSEARCH_WITH_CREATION_DATE) =>
            {
                Some(Self::CreationDate)
            }
            _ => None,
        }
    }

    /// Returns the settings of a new index. `None` for an index without a period.
    pub(super) fn settings(self, by: IndexBy, prefix: &str, index: &str) -> Option<Value> {
        let range = by.time_range(prefix, index)?;
        Some(match self {
            Self::OriginationDate => origination_date(range.to?),
            Self::CreationDate => {
                let date = range.from?.as_millisecond() + fastrand::i64(0..CREATION_DATE_SPREAD);
                json!({ "index": { "creation_date": date } })
            }
        })
    }
}

/// Returns the setting that makes the age of an index count from a point in time, the end of its period.
pub(super) fn origination_date(end: Timestamp) -> Value {
    json!({ "index": { "lifecycle": { "origination_date": end.as_millisecond() } } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_depends_on_the_engine() {
        let of = |distribution, version: &str| {
            let version = Some(version.to_owned());
            AgeSetting::of_engine(&EngineInfo { distribution, version })
        };
        assert_eq!(of(Distribution::Elasticsearch, "8.7.1"), Some(AgeSetting::OriginationDate));
        for (version, expected) in [
            ("2.19.6", None),
            ("3.3.9", None),
            ("3.4.0", Some(AgeSetting::CreationDate)),
            ("3.10.0", Some(AgeSetting::CreationDate)),
            ("4.0.0", Some(AgeSetting::CreationDate)),
            ("Serverless", None),
        ] {
            assert_eq!(of(Distribution::OpenSearch, version), expected, "{version}");
        }
        assert_eq!(of(Distribution::Unknown, "9.0.0"), None);
    }

    #[test]
    fn the_age_counts_from_the_events() {
        let settings = |setting: AgeSetting, index| setting.settings(IndexBy::Month, "ct", index);
        let end = settings(AgeSetting::OriginationDate, "ct-2019.06").unwrap();
        assert_eq!(end["index"]["lifecycle"]["origination_date"], 1_561_939_200_000_i64);
        let start = settings(AgeSetting::CreationDate, "ct-2019.06").unwrap();
        let start = start["index"]["creation_date"].as_i64().unwrap();
        assert!((1_559_347_200_000..1_559_350_800_000).contains(&start), "{start}");
        for setting in [AgeSetting::OriginationDate, AgeSetting::CreationDate] {
            for index in ["ct-undated", "ct", "ct-2019"] {
                assert_eq!(settings(setting, index), None, "{index}");
            }
        }
    }
}
