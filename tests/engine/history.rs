//! The event history of whole accounts, from a strict fake of AWS into real engines.

use serde_json::json;
use trailload::aws::AwsPartition;

use super::on_every_engine;
use crate::cloud::World;
use crate::support::aws::ACCOUNT;
use crate::support::load::wait_for;
use crate::support::real::{Corner, Engine};

on_every_engine!(every_id_of_20_regions_of_2_accounts_is_there_once);

/// An account that a role leads into.
const OTHER: &str = "444455556666";

const DAY: i64 = 86_400;

/// Events of an account and Region: some pages.
const EVENTS: u32 = 150;

/// The first run is killed when some of it is there.
fn every_id_of_20_regions_of_2_accounts_is_there_once(corner: &Corner) {
    let world = World::new();
    // The last ones: us-east-1 is among them, which nobody can turn off.
    let regions = AwsPartition::Aws.regions().last_chunk::<20>().unwrap();
    world.enable(regions);
    world.let_in(&format!("arn:aws:iam::{OTHER}:role/reader"));
    for account in [ACCOUNT, OTHER] {
        for region in regions {
            world.put(account, region, (85 * DAY, 1_000), EVENTS);
        }
    }
    let both = format!("{ACCOUNT},{OTHER}");
    let words = ["--accounts", &both, "--assume-role", "arn:aws:iam::{account}:role/reader"];
    let load = world.load_into(corner.url(), &words).with(corner.index());

    let running = load.start();
    let count = || corner.indexed().filter(|count| *count > 1_000);
    wait_for("some documents", count);
    assert!(running.kill());

    let all = 40 * u64::from(EVENTS);
    load.run().exits(0).says(["2 accounts in 40 Regions"]);
    assert_eq!(corner.ids(), world.settled());
    assert_eq!(corner.count(), all);
    assert_eq!(load.run().exits(0).number("created"), 0);
    assert_eq!(corner.count(), all);

    let named = json!({ "exists": { "field": "trailload.lookup.resources.name" } });
    assert_eq!(corner.found(&named), all, "what LookupEvents says beside the records is found");
    assert_eq!(corner.kinds()["trailload.lookup.username"], "keyword");
}
