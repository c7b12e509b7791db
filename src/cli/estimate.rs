//! Says what the event history will cost, before it is under way.
//!
//! In: an [`Estimate`]. Out: lines. The advice to use a trail's bucket where the history would take too long.

use std::time::Duration;

use crate::{
    report::{Log, figures},
    source::lookup::{Estimate, RegionEstimate},
};

/// Regions told one by one; the slowest first.
const REGIONS_SHOWN: usize = 20;

/// Tells an estimate. Regions of which nothing is missing are only counted.
pub(super) fn tell(estimate: &Estimate, dry_run: bool, log: &Log) {
    // Nothing could be asked; why was told by those who failed.
    if estimate.regions.is_empty() {
        return;
    }
    let mut missing: Vec<&RegionEstimate> =
        estimate.regions.iter().filter(|region| region.seconds > 0).collect();
    missing.sort_by_key(|region| std::cmp::Reverse(region.time));
    // Nightly loads are short; nobody wants a line for each Region then.
    let shown = if dry_run { REGIONS_SHOWN } else { shown_in_a_load(&missing) };
    for region in missing.iter().take(shown) {
        log.info(&name(region), line(region));
    }
    if shown > 0 && missing.len() > shown {
        let more = (missing.len() - shown) as u64;
        log.info(
            "estimate",
            format_args!("and {}, none slower", figures::counted(more, "more Region")),
        );
    }
    for region in missing.iter().filter(|region| region.needs_trail()) {
        log.warn(
            &name(region),
            format_args!(
                "would take {}: a trail's bucket is much faster (trailload load s3://BUCKET --regions {})",
                about(region.time),
                region.region,
            ),
        );
    }
    log.info("estimate", total(estimate, missing.len()));
}

/// Returns how many Regions deserve a line in a load: those that take a minute or longer.
fn shown_in_a_load(slowest_first: &[&RegionEstimate]) -> usize {
    let long = slowest_first.iter().filter(|region| region.time >= Duration::from_mins(1));
    long.count().min(REGIONS_SHOWN)
}

fn name(region: &RegionEstimate) -> String {
    format!("{} {}", region.account, region.region)
}

fn line(region: &RegionEstimate) -> String {
    let sure = if region.exact { "" } else { "about " };
    format!(
        "{sure}{}, {}, {}",
        figures::counted(region.events, "event"),
        figures::counted(region.requests, "request"),
        about(region.time)
    )
}

fn total(estimate: &Estimate, missing: usize) -> String {
    if missing == 0 {
        return "nothing is missing".to_owned();
    }
    let sure = if estimate.regions.iter().all(|region| region.exact) { "" } else { "about " };
    format!(
        "{sure}{} in {}, {}, {}",
        figures::counted(estimate.events(), "event"),
        figures::counted(missing as u64, "Region"),
        figures::counted(estimate.requests(), "request"),
        about(estimate.time())
    )
}

fn about(time: Duration) -> String {
    figures::duration(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::log::{Format, Verbosity, tests::page};

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

    fn told(regions: Vec<RegionEstimate>, dry_run: bool) -> String {
        let (log, page) = page(Format::Text, Verbosity::Normal);
        tell(&Estimate { regions }, dry_run, &log);
        page.text()
    }

    #[test]
    fn a_dry_run_tells_each_region_the_slowest_first() {
        let regions = vec![region("eu-west-1", 40, true), region("us-east-1", 100_000, false)];
        assert_eq!(
            told(regions, true),
            "info: 111122223333 us-east-1: about 100,000 events, 2,000 requests, 16 min 40 s\n\
             info: 111122223333 eu-west-1: 40 events, 1 request, 0.0 s\n\
             info: estimate: about 100,040 events in 2 Regions, 2,001 requests, 16 min 40 s\n"
        );
    }

    #[test]
    fn a_load_tells_only_what_takes_a_while() {
        let regions = vec![region("eu-west-1", 40, true), region("us-east-1", 40, true)];
        assert_eq!(
            told(regions, false),
            "info: estimate: 80 events in 2 Regions, 2 requests, 0.0 s\n"
        );
        let nothing = RegionEstimate { seconds: 0, events: 0, ..region("eu-west-1", 0, true) };
        assert_eq!(told(vec![], true), "");
        assert_eq!(told(vec![nothing], false), "info: estimate: nothing is missing\n");
    }

    #[test]
    fn what_takes_longer_than_a_day_is_better_read_from_a_bucket() {
        let text = told(vec![region("us-east-1", 50_000_000, false)], false);
        assert!(text.contains("warning: 111122223333 us-east-1: would take "), "{text}");
        assert!(text.contains("trailload load s3://BUCKET --regions us-east-1"), "{text}");
    }

    #[test]
    fn many_regions_are_cut_and_say_so() {
        let regions = (0..25).map(|_| region("eu-west-1", 10_000, false)).collect();
        let text = told(regions, true);
        assert_eq!(text.lines().count(), REGIONS_SHOWN + 2, "{text}");
        assert!(text.contains("info: estimate: and 5 more Regions, none slower\n"), "{text}");
    }
}
