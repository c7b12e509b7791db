//! SIGKILL at exact moments of each step of a message: its receipt, the fetch of an object, the acknowledgement of documents, the
//! delivery of an alert, the deletion. Nothing is lost, and nothing is there twice.

use super::{QUEUE, QueueWorld};
use crate::support::aws::sqs::from_event_bus;
use crate::support::events::{event, ids};
use crate::support::trap::{MOMENTS, Moment, Trap};
use crate::support::wire::Request;
use crate::watch::hook::{Folder, Hook, created, ids as created_ids};

/// Bodies and objects, 3 events each.
const BODIES: usize = 25;
const OBJECTS: usize = 6;
const EVENTS: usize = BODIES + 3 * OBJECTS;

fn is_action(request: &Request, action: &str) -> bool {
    request.header("x-amz-target").is_some_and(|target| target.ends_with(action))
}

/// Kills a load at each moment of the first and a later request; another one must complete its work.
fn kill_loads(is_meant: fn(&Request) -> bool, later: usize) {
    for moment in MOMENTS {
        for number in [0, later] {
            let world = QueueWorld::new();
            for number in 0..BODIES {
                world.queue.send(&from_event_bus(&event(number)));
            }
            for number in 0..OBJECTS {
                let first = BODIES + 3 * number;
                world.deliver(&number.to_string(), first..first + 3);
            }
            let trap = Trap::new(moment, number, is_meant);
            // Small batches and one fetch at a time, so that there is a later request of each kind.
            let load = world.desk.load_all([QUEUE], &trap.before(world.engine.url()));
            let load = world.environment().into_iter().fold(load, |load, (name, value)| {
                let value = if value.starts_with("http") { trap.before(&value) } else { value };
                load.environment(name, &value)
            });
            let load = load.with(["--batch", "16KiB"]);
            let running = load.start();
            trap.aim(running.pid());
            trap.wait();
            running.kill();
            world.queue.expire_all();
            // The same addresses, since a checkpoint belongs to one engine: the trap lets everything pass now.
            load.run().exits(0);
            let name = format!("{moment:?} of request {number}");
            assert_eq!(world.queue.len(), 0, "{name}");
            assert_eq!(world.engine.ids(), ids(0..EVENTS), "{name}");
            assert_eq!(world.engine.count(), EVENTS, "{name}: an event is there twice");
        }
    }
}

#[test]
fn killed_while_messages_are_received() {
    kill_loads(|request| is_action(request, ".ReceiveMessage"), 1);
}

#[test]
fn killed_while_an_object_is_fetched() {
    kill_loads(|request| request.method == "GET" && request.path.contains("/AWSLogs/"), 3);
}

#[test]
fn killed_while_documents_are_acknowledged() {
    kill_loads(|request| request.path.ends_with("/_bulk"), 1);
}

#[test]
fn killed_while_messages_are_deleted() {
    kill_loads(|request| is_action(request, ".DeleteMessageBatch"), 1);
}

#[test]
fn killed_while_an_alert_is_delivered() {
    for moment in MOMENTS {
        for number in [0, 2] {
            let world = QueueWorld::new();
            let (folder, hook) = (Folder::new(), Hook::start());
            for number in 0..5 {
                world.queue.send(&from_event_bus(&created(number, "alice", 5)));
            }
            let trap = Trap::new(moment, number, |request| request.path == "/hook");
            let watch = |actions: &str| {
                folder.write("actions.yml", actions);
                let words = ["watch", "rules.yml", "--actions", "actions.yml", "--in", QUEUE];
                let mut command = folder.command(&[&words[..], &["--checkpoint", "c.db"]].concat());
                command.env("HOME", folder.path("home")).envs(world.environment());
                command
            };
            let trapped = trap.before(hook.url());
            let mut child = watch(&hook.actions().replace(hook.url(), &trapped)).spawn().unwrap();
            trap.aim(child.id());
            trap.wait();
            child.wait().unwrap();
            world.queue.expire_all();
            // The address of the receiver is not what an alert is remembered by.
            let output = watch(&hook.actions()).output().unwrap();
            let name = format!("{moment:?} of request {number}");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{name}: {said}");
            assert_eq!(world.queue.len(), 0, "{name}");
            let events = hook.events().into_iter().collect();
            assert_eq!(created_ids(0..5), events, "{name}");
            // Whether the receiver has acknowledged it, the program cannot know unless it has read the response.
            let again = hook.acknowledged().into_values().filter(|times| *times > 1).count();
            assert!(again <= usize::from(moment != Moment::BeforeService), "{name}: {again}");
        }
    }
}
