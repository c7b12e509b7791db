//! Several accounts: roles one by one, from a file, and for a whole organization.

use serde_json::Value;

use super::{ACCOUNT, DAY, THREE, TWO, World};
use crate::support::aws::organizations;
use crate::support::aws::server::Response;

/// A world with five events in each of three accounts; a role leads into two of them.
fn three() -> World {
    let world = World::new();
    for account in [ACCOUNT, TWO, THREE] {
        world.put(account, "us-east-1", (30 * DAY, 1_000), 5);
    }
    for account in [TWO, THREE] {
        world.sts.role(&role(account), None);
    }
    world.change(|script| {
        let member = |id: &str| organizations::account(id, "an account", "ACTIVE");
        let gone = organizations::account("222233334444", "gone", "SUSPENDED");
        script.members = Some(vec![member(ACCOUNT), member(TWO), member(THREE), gone]);
    });
    world
}

fn role(account: &str) -> String {
    format!("arn:aws:iam::{account}:role/trailload")
}

#[test]
fn roles_are_given_one_by_one() {
    let world = three();
    let words = ["--assume-role", &role(TWO), "--assume-role", &role(THREE)];
    let run = world.load(&words).run().exits(0).counted([10, 10, 0, 0]);
    run.says(["2 accounts in 4 Regions"]);
    assert_eq!(world.server.count("AssumeRole"), 2);
    assert!(!world.pages_so_far().contains_key("111122223333 us-east-1"));
}

#[test]
fn roles_are_read_from_a_file() {
    let world = three();
    let file =
        world.desk.file("roles", format!("# ours\n{}\n{} # theirs\n", role(TWO), role(THREE)));
    let words = ["--assume-role", file.to_str().unwrap()];
    world.load(&words).run().exits(0).counted([10, 10, 0, 0]);
}

#[test]
fn a_role_that_asks_for_an_external_id_is_told_it() {
    let world = three();
    world.sts.role(&role(TWO), Some("a word"));
    let words = ["--assume-role", &role(TWO)];
    let run = world.load(&words).run().exits(1);
    run.says(["could not assume arn:aws:iam::444455556666:role/trailload", "external ID"]);
    world.load(&[&words[..], &["--external-id", "a word"]].concat()).run().exits(0);
}

#[test]
fn all_accounts_of_an_organization_are_loaded() {
    let world = three();
    let words =
        ["--accounts", "organization", "--assume-role", "arn:aws:iam::{account}:role/trailload"];
    let load = world.load(&words);
    load.run().exits(0).counted([15, 15, 0, 0]).says(["3 accounts in 6 Regions"]);
    assert_eq!(world.loaded(), world.settled());
    assert_eq!(world.server.count("AssumeRole"), 2, "at home nobody needs a role");
    let before = world.pages_so_far();
    assert_eq!(load.run().exits(0).number("created"), 0);
    assert!(world.pages(&before).values().all(|pages| *pages <= 1));
}

#[test]
fn accounts_are_named_for_a_template() {
    let world = three();
    let template = "arn:aws:iam::{account}:role/trailload";
    world.load(&["--accounts", THREE, "--assume-role", template]).run().exits(0);
    assert_eq!(world.pages_so_far().len(), 2, "two Regions of one account");
    let run = world.load(&["--accounts", TWO]).run().exits(2);
    run.says([
        "'--accounts' includes 444455556666, but the credentials are for account 111122223333",
    ]);
}

#[test]
fn an_account_that_cannot_be_entered_is_a_line_and_the_rest_goes_on() {
    let world = three();
    world.sts.role(&role(TWO), Some("a word that nobody says"));
    let words =
        ["--accounts", "organization", "--assume-role", "arn:aws:iam::{account}:role/trailload"];
    let run = world.load(&words).run().exits(3).counted([10, 10, 0, 0]);
    let failures = run.summary.as_ref().unwrap()["failures"].clone();
    let failures = failures.as_array().unwrap();
    assert_eq!(failures.len(), 1, "{failures:?}");
    let told = Value::Array(failures.clone()).to_string();
    assert!(told.contains(TWO) && told.contains("sts:AssumeRole"), "{told}");
    run.says(["444455556666"]);
}

#[test]
fn of_several_roles_of_an_account_the_first_that_gets_in_is_used() {
    let (denied, second) = (role(TWO).replace("trailload", "denied"), role(TWO) + "-second");
    let world = three();
    world.sts.role(&second, None);
    let run = world.load(&["--assume-role", &denied, "--assume-role", &role(TWO)]).run().exits(3);
    run.counted([5, 5, 0, 0]).says(["444455556666", "could not assume", "1 account in 2 Regions"]);

    let world = three();
    let words =
        ["--assume-role", &role(TWO), "--assume-role", &denied, "--assume-role", &role(TWO)];
    world.load(&words).run().exits(0).counted([5, 5, 0, 0]);
    assert_eq!(world.server.count("AssumeRole"), 1);

    // One that may be assumed and may not read is no way in either.
    let world = three();
    world.sts.role(&second, None);
    let refused = Response::json_error(400, "AccessDeniedException", "no identity-based policy");
    world.server.next("LookupEvents", refused);
    let run = world.load(&["--assume-role", &second, "--assume-role", &role(TWO)]).run().exits(3);
    run.counted([5, 5, 0, 0]).says(["cloudtrail:LookupEvents"]);
}

#[test]
fn no_account_that_can_be_entered_is_the_end() {
    let world = World::new();
    let words = ["--assume-role", &role(TWO), "--assume-role", &role(THREE)];
    let run = world.load(&words).run().exits(1);
    run.says(["could not assume", "and 1 other account", "hint: the role's trust policy"]);
    assert_eq!(world.engine.count(), 0);
}

#[test]
fn an_organization_that_may_not_be_listed_is_told() {
    let world = three();
    world.change(|script| script.members = None);
    let words =
        ["--accounts", "organization", "--assume-role", "arn:aws:iam::{account}:role/trailload"];
    let run = world.load(&words).run().exits(1);
    run.says(["organizations:ListAccounts", "account 111122223333", "trailload policy"]);
}
