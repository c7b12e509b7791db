//! Logs how long the event history will take to load.
//!
//! Input: an [`Estimate`]. Output: log lines, and a warning for each Region where the bucket of a trail is much faster.

use std::time::Duration;

use crate::{
    report::{Log, format},
    source::lookup::{Estimate, RegionEstimate},
};

/// Number of Regions with a line of their own, the slowest first.
const MAX_REGIONS_LOGGED: usize = 20;

/// Which Regions get a line of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// All Regions with events to load.
    AllRegions,
    /// Regions that take a minute or longer: most nightly loads have none.
    SlowRegions,
}

/// Logs an estimate. Regions without events to load are only counted.
pub(super) fn log_estimate(estimate: &Estimate, detail: Detail, log: &Log) {
    // No Region answered; each failure was logged already.
    if estimate.regions.is_empty() {
        return;
    }
    let mut missing: Vec<&RegionEstimate> =
        estimate.regions.iter().filter(|region| region.seconds > 0).collect();
    missing.sort_by_key(|region| std::cmp::Reverse(region.time));
    let shown = match detail {
        Detail::AllRegions => MAX_REGIONS_LOGGED,
        Detail::SlowRegions => slow_regions(&missing).min(MAX_REGIONS_LOGGED),
    };
    for region in missing.iter().take(shown) {
        log.info(&name(region), line(region));
    }
    if shown > 0 && missing.len() > shown {
        let more = (missing.len() - shown) as u64;
        log.info(
            "estimate",
            format_args!("and {}, all faster", format::plural(more, "more Region")),
        );
    }
    for region in missing.iter().filter(|region| region.needs_trail()) {
        log.warn(
            &name(region),
            format_args!(
                "would take {}; the bucket of a trail is much faster (trailload load s3://BUCKET --regions {})",
                about(region.time),
                region.region,
            ),
        );
    }
    log.info("estimate", total(estimate, missing.len()));
}

/// Returns the number of Regions that take a minute or longer.
fn slow_regions(regions: &[&RegionEstimate]) -> usize {
    regions.iter().filter(|region| region.time >= Duration::from_mins(1)).count()
}

fn name(region: &RegionEstimate) -> String {
    format!("{} {}", region.account, region.region)
}

fn line(region: &RegionEstimate) -> String {
    let sure = if region.exact { "" } else { "about " };
    format!(
        "{sure}{}, {}, {}",
        format::plural(region.events, "event"),
        format::plural(region.requests, "request"),
        about(region.time)
    )
}

fn total(estimate: &Estimate, missing: usize) -> String {
    if missing == 0 {
        return "no events to load".to_owned();
    }
    let sure = if estimate.regions.iter().all(|region| region.exact) { "" } else { "about " };
    format!(
        "{sure}{} in {}, {}, {}",
        format::plural(estimate.events(), "event"),
        format::plural(missing as u64, "Region"),
        format::plural(estimate.requests(), "request"),
        about(estimate.time())
    )
}

fn about(time: Duration) -> String {
    format::duration(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::log::{LogFormat, Verbosity, tests::page};

    fn region(name: &str, events: u64, exact: bool) -> RegionEstimate {
        RegionEstimate {
            account: "111122223333".to_owned(),
            region: name.to_owned(),
            seconds: 86_400,
            events,
            requests: events.div_ceil(50),
            time: Duration::from_secs(events / 100),
            exact,
        }
    }

    fn logged(regions: Vec<RegionEstimate>, detail: Detail) -> String {
        let (log, page) = page(LogFormat::Text, Verbosity::Normal);
        log_estimate(&Estimate { regions }, detail, &log);
        page.text()
    }

    #[test]
    fn a_dry_run_tells_each_region_the_slowest_first() {
        let regions = vec![region("eu-west-1", 40, true), region("us-east-1", 100_000, false)];
        assert_eq!(
            logged(regions, Detail::AllRegions),
            "info: 111122223333 us-east-1: about 100,000 events, 2,000 requests, 16 min 40 s\n\
             info: 111122223333 eu-west-1: 40 events, 1 request, 0.0 s\n\
             info: estimate: about 100,040 events in 2 Regions, 2,001 requests, 16 min 40 s\n"
        );
    }

    #[test]
    fn a_load_tells_only_what_takes_a_while() {
        let regions = vec![region("eu-west-1", 40, true), region("us-east-1", 40, true)];
        assert_eq!(
            logged(regions, Detail::SlowRegions),
            "info: estimate: 80 events in 2 Regions, 2 requests, 0.0 s\n"
        );
        let nothing = RegionEstimate { seconds: 0, events: 0, ..region("eu-west-1", 0, true) };
        assert_eq!(logged(vec![], Detail::AllRegions), "");
        assert_eq!(
            logged(vec![nothing], Detail::SlowRegions),
            "info: estimate: no events to load\n"
        );
    }

    #[test]
    fn what_takes_longer_than_a_day_is_better_read_from_a_bucket() {
        let text = logged(vec![region("us-east-1", 50_000_000, false)], Detail::SlowRegions);
        assert!(text.contains("warning: 111122223333 us-east-1: would take "), "{text}");
        assert!(text.contains("trailload load s3://BUCKET --regions us-east-1"), "{text}");
    }

    #[test]
    fn many_regions_are_cut_and_say_so() {
        let regions = (0..25).map(|_| region("eu-west-1", 10_000, false)).collect();
        let text = logged(regions, Detail::AllRegions);
        assert_eq!(text.lines().count(), MAX_REGIONS_LOGGED + 2, "{text}");
        assert!(text.contains("info: estimate: and 5 more Regions, all faster\n"), "{text}");
    }
}
