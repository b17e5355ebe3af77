//! Every file operation of short scenarios fails in every way, one at a time: the answer is clear, and nothing acknowledged is lost.
use crate::player::{DAMAGED, Player, Step};
use crate::support::{Chance, DIR, open_on, put, tiny};
use crate::trace::{TREES as NAMES, Verdict, read_state};
use kvarts_engine::Error;
use kvarts_engine::clock::ManualClock;
use kvarts_engine::fs::{Fault, FaultFs, Fs, MemFs};
use kvarts_engine::options::{Durability, Options};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// A scenario, with what it is played under.
struct Scenario<'a> {
    name: &'a str,
    steps: &'a [Step],
    durability: Durability,
    /// Small ones flush and compact within the scenario, large ones let the log rotate.
    memtable_bytes: usize,
    /// The store has threads of its own: then which operation is the k-th is for them to say.
    background: bool,
}

use Step::*;

const LIFE: &[Step] = &[
    Commit(&["a"], 3, 40),
    Commit(&["a", "b"], 6, 40),
    Flush,
    Delete("a", 4),
    Commit(&["b", "a"], 4, 300),
    Compact,
    Reopen,
    Commit(&["a", "b"], 5, 40),
    Sync,
    Commit(&["a"], 1, 40),
];

const ROTATION: &[Step] = &[
    Commit(&["a"], 1, 30_000),
    Commit(&["a", "b"], 2, 12_000),
    Commit(&["a"], 1, 30_000),
    Sync,
    Commit(&["b"], 1, 50_000),
    Commit(&["a", "b"], 3, 40),
    Reopen,
    Commit(&["b"], 1, 20),
];

const TREES: &[Step] = &[
    Commit(&["a", "b"], 5, 60),
    Checkpoint,
    Drop("a"),
    Commit(&["b", "c"], 4, 60),
    Verify,
    Commit(&["a"], 2, 60),
    Checkpoint,
    Reopen,
    Drop("b"),
    Commit(&["a"], 2, 60),
];

const LEVELS: &[Step] = &[
    Commit(&["a", "b"], 4, 400),
    Commit(&["a"], 3, 900),
    Commit(&["b"], 3, 900),
    Delete("a", 5),
    Commit(&["a", "b"], 6, 500),
    Commit(&["a"], 3, 900),
    Compact,
    Commit(&["b"], 2, 400),
];

/// The scenarios that are always played.
const SCENARIOS: [Scenario<'static>; 6] = [
    scenario("life", LIFE, Durability::Sync, 4 << 10),
    scenario("life", LIFE, Durability::Batch, 4 << 10),
    scenario("rotation", ROTATION, Durability::Sync, 1 << 20),
    scenario("rotation", ROTATION, Durability::None, 1 << 20),
    scenario("trees", TREES, Durability::Batch, 4 << 10),
    scenario("levels", LEVELS, Durability::Sync, 2 << 10),
];

const fn scenario<'a>(name: &'a str, steps: &'a [Step], durability: Durability, memtable_bytes: usize) -> Scenario<'a> {
    Scenario { name, steps, durability, memtable_bytes, background: false }
}

/// Steps that a seed chooses.
fn drawn(chance: &mut Chance) -> Vec<Step> {
    const SETS: [&[&str]; 5] = [&["a"], &["b"], &["a", "b"], &["c", "a"], &["a", "b", "c"]];
    let mut steps = vec![Commit(&["a", "b"], 4, 60)];
    while steps.len() < 12 {
        let (name, names) = (*chance.pick(&NAMES), *chance.pick(&SETS));
        steps.push(match chance.below(16) {
            0 => Flush,
            1 => Sync,
            2 => Compact,
            3 => Checkpoint,
            4 => Verify,
            5 => Reopen,
            6 => Drop(name),
            7 => Delete(name, 1 + chance.below(5)),
            _ => Commit(names, 1 + chance.below(6), *chance.pick(&[8, 60, 400, 3_000, 20_000])),
        });
    }
    steps
}

/// Faults that are told, and whether they last.
const TOLD: [(Fault, bool); 8] = [
    (Fault::Io, false),
    (Fault::Io, true),
    (Fault::NoSpace, false),
    (Fault::NoSpace, true),
    (Fault::NoDescriptor, false),
    (Fault::NoDescriptor, true),
    (Fault::Short, false),
    (Fault::Late, false),
];

/// Faults that nobody tells of.
const SILENT: [(Fault, bool); 3] = [(Fault::Flip, false), (Fault::Lost, false), (Fault::Misdirected, false)];

/// Power losses that are tried at the end of each run.
const CRASHES: u64 = 3;

/// Plays a scenario once for each operation that can meet `fault`. Returns how many, or what broke.
fn fail_each(
    scenario: &Scenario<'_>,
    (fault, lasts): (Fault, bool),
    wrap: &dyn Fn(FaultFs) -> Arc<dyn Fs>,
) -> Result<u64, String> {
    let (mut at, mut count) = (0, 0);
    loop {
        let Scenario { durability, memtable_bytes, background, .. } = *scenario;
        let options = Options { memtable_bytes, background, ..tiny(durability) };
        let mut player = Player::new(options, wrap);
        player.plan(at, fault, lasts);
        let outcome = catch_unwind(AssertUnwindSafe(|| play_once(&mut player, scenario)));
        let Some(met) = player.fs.met().first().cloned() else { return Ok(count) };
        let outcome = outcome.unwrap_or_else(|_| Err("a panic".into()));
        if let Err(wrong) = outcome {
            return Err(format!("{} ({durability:?}), {fault:?} lasts={lasts} at {met:?}: {wrong}", scenario.name));
        }
        (at, count) = (met.number + 1, count + 1);
    }
}

fn play_once(player: &mut Player, scenario: &Scenario<'_>) -> Verdict {
    match player.play(scenario.steps).and_then(|()| player.judge(CRASHES)) {
        Err(told) if told.ends_with(DAMAGED) => Ok(()),
        verdict => verdict,
    }
}

/// Plays a scenario with each of these faults, each operation failing in turn. `Err` says what broke first.
fn fail_with(scenario: &Scenario<'_>, faults: &[(Fault, bool)], wrap: &dyn Fn(FaultFs) -> Arc<dyn Fs>) -> Verdict {
    for &(fault, lasts) in faults {
        let count = fail_each(scenario, (fault, lasts), wrap)?;
        let (durability, fault) = (format!("{:?}", scenario.durability), format!("{fault:?}"));
        println!("{:<12} {durability:<10} {fault:<13} lasts={lasts:<6} {count:>4} operations failed", scenario.name);
    }
    Ok(())
}

/// Plays the scenarios that are always played, with faults that are told, over what `wrap` makes of the file system.
pub fn tell(wrap: &dyn Fn(FaultFs) -> Arc<dyn Fs>) -> Verdict {
    SCENARIOS.iter().try_for_each(|scenario| fail_with(scenario, &TOLD, wrap))
}

/// The same with faults that nobody tells of.
pub fn damage(wrap: &dyn Fn(FaultFs) -> Arc<dyn Fs>) -> Verdict {
    SCENARIOS.iter().try_for_each(|scenario| fail_with(scenario, &SILENT, wrap))
}

/// Flips a bit of each byte of a closed store in turn. It is told, or all is read as it was.
pub fn flip_each_byte(wrap: &dyn Fn(FaultFs) -> Arc<dyn Fs>) -> Verdict {
    let disk = MemFs::new();
    let open = |disk: &MemFs| {
        open_on(wrap(FaultFs::new(Arc::new(disk.clone()))), &Arc::new(ManualClock::new(1_000)), tiny(Durability::Batch))
    };
    let db = open(&disk).map_err(|error| error.to_string())?;
    for (tree, key) in [("a", "k1"), ("a", "k2"), ("b", "k1"), ("b", "k3")] {
        let tree = db.tree(tree).unwrap().map_or_else(|| db.create_tree(tree, "text", "text"), Ok).unwrap();
        put(&db, &tree, key.as_bytes(), &[7; 100]).unwrap();
        db.flush().unwrap();
    }
    let before = read_state(&db).unwrap();
    db.close().unwrap();
    let mut flipped = 0;
    for name in disk.list(Path::new(DIR)).unwrap().iter().filter(|name| *name != "LOCK") {
        let path = Path::new(DIR).join(name);
        for at in 0..disk.bytes(&path).unwrap().len() as u64 {
            let damaged = disk.kill();
            damaged.corrupt(&path, at, 1 << (at % 8)).unwrap();
            flipped += 1;
            match open(&damaged).and_then(|db| read_state(&db)) {
                Err(Error::Corruption { .. } | Error::NewerFormat { .. }) => {}
                Err(error) => return Err(format!("byte {at} of {name}: {error}")),
                Ok(found) if found == before => {}
                Ok(found) => return Err(format!("byte {at} of {name} went unnoticed: {found:?}")),
            }
        }
    }
    println!("{flipped} bytes flipped");
    Ok(())
}

fn plain(fs: FaultFs) -> Arc<dyn Fs> {
    Arc::new(fs)
}

#[test]
fn whatever_operation_fails_nothing_acknowledged_is_lost() {
    tell(&plain).unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn whatever_is_damaged_silently_is_never_read_as_another_value() {
    damage(&plain).unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn no_byte_of_a_closed_store_changes_unnoticed() {
    flip_each_byte(&plain).unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn whatever_operation_of_a_store_with_threads_fails_it_ends() {
    let scenario = Scenario { background: true, ..scenario("threads", LIFE, Durability::Batch, 4 << 10) };
    let faults = [(Fault::Io, false), (Fault::NoSpace, false), (Fault::Io, true)];
    fail_with(&scenario, &faults, &plain).unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn whatever_operation_of_a_drawn_scenario_fails_nothing_acknowledged_is_lost() {
    let seeds: u64 = std::env::var("KVARTS_FAULT_SEEDS").map_or(2, |count| count.parse().unwrap());
    let first: u64 = std::env::var("KVARTS_FAULT_SEED").map_or(0, |seed| seed.parse().unwrap());
    for seed in first..first + seeds {
        let mut chance = Chance(seed);
        let durability = *chance.pick(&[Durability::Sync, Durability::Batch, Durability::None]);
        let memtable_bytes = *chance.pick(&[2 << 10, 8 << 10, 1 << 20]);
        let (name, steps) = (format!("seed {seed}"), drawn(&mut chance));
        let verdict =
            fail_with(&scenario(&name, &steps, durability, memtable_bytes), &[&TOLD[..], &SILENT].concat(), &plain);
        verdict.unwrap_or_else(|wrong| {
            panic!(
                "{wrong}\nsteps: {steps:?}\nreplay: KVARTS_FAULT_SEED={seed} KVARTS_FAULT_SEEDS=1 \
                 cargo test -p kvarts-engine --test db of_a_drawn_scenario"
            )
        });
    }
}
