//! Several sandboxes: with a shared state, an alert is sent once, whichever of them has its event.

use std::collections::BTreeSet;

use super::{batch, envelope, function::Package};
use crate::{
    support::real::given,
    watch::{
        hook::{Answer, Hook, created, ids},
        shared::Table,
    },
};

fn body(number: usize) -> String {
    envelope(&created(number, "al", 1)).to_string()
}

fn sandbox(hook: &Hook, table: &Table) -> Package {
    Package::with_rule(&hook.actions())
        .set("TRAILLOAD_ALERT_STATE", &format!("{}?region=eu-west-1", table.address()))
        .set("AWS_ENDPOINT_URL_DYNAMODB", &given("TRAILLOAD_TEST_S3"))
}

#[test]
fn sandboxes_that_share_the_state_send_each_alert_once() {
    let (hook, table) = (Hook::start(), Table::new());
    table.let_expire();
    let functions = [sandbox(&hook, &table).start(), sandbox(&hook, &table).start()];
    for number in 0..6 {
        let payload = batch(&[("1", body(number)), ("2", body((number + 1) % 6))]);
        let function = &functions[number % 2];
        assert_eq!(function.invoke(&payload).failed_items(), [""; 0]);
    }
    let events = hook.events();
    assert_eq!(events.iter().cloned().collect::<BTreeSet<String>>(), ids(0..6));
    assert_eq!(events.len(), 6);
}

#[test]
fn a_message_that_failed_in_one_sandbox_is_delivered_by_another() {
    let (hook, table) = (Hook::start(), Table::new());
    table.let_expire();
    let functions = [sandbox(&hook, &table).start(), sandbox(&hook, &table).start()];
    hook.answers(|_, _| Answer::Status(400, ""));
    let payload = batch(&[("1", body(1))]);
    assert_eq!(functions[0].invoke(&payload).failed_items(), ["1"]);
    hook.answers(|_, _| Answer::Accept);
    // A dead letter of the first one is free for others.
    assert_eq!(functions[1].invoke(&payload).failed_items(), [""; 0]);
    assert_eq!(functions[0].invoke(&payload).failed_items(), [""; 0]);
    assert_eq!(hook.events().len(), 1);
}

#[test]
fn without_a_shared_state_each_sandbox_has_a_memory_of_its_own() {
    let hook = Hook::start();
    let functions =
        [Package::with_rule(&hook.actions()).start(), Package::with_rule(&hook.actions()).start()];
    for function in &functions {
        assert_eq!(function.invoke(&batch(&[("1", body(1))])).failed_items(), [""; 0]);
    }
    let received = hook.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].key, received[1].key, "a receiver can drop the repetition");
}
