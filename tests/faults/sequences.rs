//! Generated sequences of what may happen around a loader. Whatever happens, exit 0 means that every readable event
//! that was asked for is in the index, once.
//!
//! The model is naive on purpose: it knows which files are readable, and counts what the engine holds. It knows nothing
//! of checkpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use crate::support::engine::{FakeEngine, Pipeline, Shut};
use crate::support::events::{events, gzip, id, records};
use crate::support::load::{Desk, Load, Outcome};

/// Files of a trail, of so many events each; neighbours share one event, as overlapping trails do.
const FILES: usize = 4;
const EVENTS_EACH: usize = 9;

/// Events spread over the first months of 2024, one index each.
const MONTHS: usize = 4;

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    Load,
    LoadAgain,
    /// A load of one month only.
    LoadMonth(usize),
    /// A load that would spread the same events over other indices.
    LoadByDay,
    /// SIGKILL while documents are under way.
    KilledLoad,
    DeleteIndex(usize),
    /// The engine comes back empty at the same address.
    RecreateEngine,
    /// Another cluster with the same indices answers, as after a restored snapshot.
    RestoreElsewhere,
    Damage(usize, Damage),
    Repair(usize),
    Shut(usize, Shut),
    Open(usize),
    /// An ingest pipeline that drops documents, in one month.
    Pipeline(usize),
    NoPipeline(usize),
    AcceptMissing,
    AcceptCluster,
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    FirstByte,
    Html,
    Zeros,
    Empty,
    Cut,
}

impl Damage {
    fn of(self, whole: &[u8]) -> Vec<u8> {
        match self {
            Self::FirstByte => [b"\0", &whole[1..]].concat(),
            Self::Html => b"<html><body>503 Service Unavailable</body></html>".to_vec(),
            Self::Zeros => vec![0; whole.len()],
            Self::Empty => Vec::new(),
            Self::Cut => whole[..whole.len() / 2].to_vec(),
        }
    }
}

/// All that the model knows.
struct World {
    desk: Desk,
    engine: FakeEngine,
    damaged: BTreeSet<usize>,
    /// Ids that the engine held at some time.
    seen: BTreeSet<String>,
    /// Ids whose absence the user accepted.
    excused: BTreeSet<String>,
}

fn index(month: usize) -> String {
    format!("cloudtrail-2024.{:02}", month % MONTHS + 1)
}

fn numbers(file: usize) -> std::ops::Range<usize> {
    let first = file * (EVENTS_EACH - 1);
    first..first + EVENTS_EACH
}

impl World {
    fn new() -> World {
        let world = World {
            desk: Desk::new(),
            engine: FakeEngine::start(),
            damaged: BTreeSet::new(),
            seen: BTreeSet::new(),
            excused: BTreeSet::new(),
        };
        (0..FILES).for_each(|file| world.write(file, &content(file)));
        world
    }

    fn write(&self, file: usize, bytes: &[u8]) {
        let name = format!(
            "111122223333_CloudTrail_eu-central-1_20240101T0000Z_abcdefghijklmno{file}.json.gz"
        );
        let folder = PathBuf::from("in/AWSLogs/111122223333/CloudTrail/eu-central-1/2024/01/01");
        self.desk.file(folder.join(name), bytes);
    }

    fn load(&self) -> Load {
        self.desk.load(self.desk.path("in"), self.engine.url()).with(["--batch", "4KiB"])
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Load => drop(self.run(&self.load(), None)),
            Step::LoadAgain => drop(self.run(&self.load().with(["--reload"]), None)),
            Step::LoadMonth(month) => {
                let month = month % MONTHS;
                let [from, to] = [month + 1, month + 2].map(|month| format!("2024-{month:02}-01"));
                drop(self.run(&self.load().with(["--from", &from, "--to", &to]), Some(month)));
            }
            Step::LoadByDay => drop(self.run(&self.load().with(["--index-by", "day"]), None)),
            Step::KilledLoad => self.kill(),
            Step::DeleteIndex(month) => {
                if self.engine.index_names().contains(&index(month)) {
                    self.engine.remove_index(&index(month));
                }
            }
            Step::RecreateEngine => drop(self.engine.recreate()),
            Step::RestoreElsewhere => drop(self.engine.restore_elsewhere()),
            Step::Damage(file, damage) => {
                self.write(file, &damage.of(&content(file)));
                self.damaged.insert(file);
            }
            Step::Repair(file) => self.repair(file),
            Step::Shut(month, shut) => drop(self.engine.shut(&index(month), Some(shut))),
            Step::Open(month) => drop(self.engine.shut(&index(month), None)),
            Step::Pipeline(month) => {
                self.engine.pipeline(&index(month), "drop-all", Pipeline::Drop);
            }
            Step::NoPipeline(month) => drop(self.engine.no_pipeline(&index(month))),
            Step::AcceptMissing => {
                let outcome = self.run(&self.load().with(["--accept-missing"]), None);
                if matches!(outcome.code, Some(0 | 3)) {
                    let held = self.held();
                    let gone = self.seen.iter().filter(|id| !held.contains_key(*id)).cloned();
                    self.excused.extend(gone.collect::<Vec<_>>());
                }
            }
            Step::AcceptCluster => drop(self.run(&self.load().with(["--accept-cluster"]), None)),
        }
    }

    fn repair(&mut self, file: usize) {
        if self.damaged.remove(&file) {
            self.write(file, &content(file));
        }
    }

    fn kill(&self) {
        let before = self.engine.asked().items;
        let running = self.load().start();
        // Where nothing is left to send, it ends by itself.
        self.engine.wait_until(Duration::from_millis(300), |asked| asked.items > before);
        running.kill();
    }

    /// Runs a load and holds its exit code against what the engine has; `month` if only that was asked for.
    fn run(&mut self, load: &Load, month: Option<usize>) -> Outcome {
        let accepts = load.asks_for("--accept-missing");
        let outcome = load.run();
        let held = self.held();
        for (id, copies) in &held {
            assert_eq!(*copies, 1, "{id} is there twice:\n{}", outcome.stderr);
        }
        self.seen.extend(held.keys().cloned());
        if outcome.code == Some(0) && !accepts {
            assert!(self.damaged.is_empty(), "files were damaged:\n{}", outcome.stderr);
            for id in self.asked_for(month) {
                let there = held.contains_key(&id) || self.excused.contains(&id);
                assert!(there, "exit 0, and {id} is not there:\n{}", outcome.stderr);
            }
        }
        outcome
    }

    /// Returns the ids that are readable and asked for.
    fn asked_for(&self, month: Option<usize>) -> BTreeSet<String> {
        let files = (0..FILES).filter(|file| !self.damaged.contains(file));
        let numbers = files.flat_map(numbers);
        numbers
            .filter(|number| month.is_none_or(|month| number % MONTHS == month))
            .map(id)
            .collect()
    }

    /// Returns how often the engine holds each id.
    fn held(&self) -> BTreeMap<String, usize> {
        let mut held = BTreeMap::new();
        for id in self
            .engine
            .each(|_, index| index.documents.keys().cloned().collect::<Vec<_>>())
            .concat()
        {
            *held.entry(id).or_default() += 1;
        }
        held
    }

    /// Takes back all that went wrong; then everything must go in.
    fn heals(mut self) {
        (0..FILES).for_each(|file| self.repair(file));
        for month in 0..MONTHS {
            self.engine.shut(&index(month), None);
            self.engine.no_pipeline(&index(month));
        }
        self.excused.clear();
        // The first load chose the span of an index, and only that one is taken from then on.
        let spans = ["month", "day"].map(|span| self.load().with(["--index-by", span]));
        let again = spans.clone().map(|load| self.run(&load.with(["--reload"]), None));
        let chosen = again.iter().position(|outcome| outcome.code == Some(0));
        let chosen = chosen.unwrap_or_else(|| panic!("{}\n{}", again[0].stderr, again[1].stderr));
        let outcome = self.run(&spans[chosen], None).exits(0);
        assert_eq!(outcome.number("created"), 0, "{}", outcome.stderr);
        self.engine.assert_no_complaints();
    }
}

fn content(file: usize) -> Vec<u8> {
    gzip(&records(&events(numbers(file))))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let damage = prop_oneof![
        Just(Damage::FirstByte),
        Just(Damage::Html),
        Just(Damage::Zeros),
        Just(Damage::Empty),
        Just(Damage::Cut)
    ];
    let shut = prop_oneof![Just(Shut::Closed), Just(Shut::WriteBlock)];
    let step = prop_oneof![
        6 => Just(Step::Load),
        1 => Just(Step::LoadAgain),
        1 => (0..MONTHS).prop_map(Step::LoadMonth),
        1 => Just(Step::LoadByDay),
        1 => Just(Step::KilledLoad),
        2 => (0..MONTHS).prop_map(Step::DeleteIndex),
        1 => Just(Step::RecreateEngine),
        1 => Just(Step::RestoreElsewhere),
        2 => (0..FILES, damage).prop_map(|(file, damage)| Step::Damage(file, damage)),
        2 => (0..FILES).prop_map(Step::Repair),
        1 => (0..MONTHS, shut).prop_map(|(month, shut)| Step::Shut(month, shut)),
        1 => (0..MONTHS).prop_map(Step::Open),
        1 => (0..MONTHS).prop_map(Step::Pipeline),
        1 => (0..MONTHS).prop_map(Step::NoPipeline),
        1 => Just(Step::AcceptMissing),
        1 => Just(Step::AcceptCluster),
    ];
    proptest::collection::vec(step, 2..10)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exit_0_means_that_everything_readable_is_there_once(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.heals();
    }
}
