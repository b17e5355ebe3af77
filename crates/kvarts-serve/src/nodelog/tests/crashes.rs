//! Cut anywhere, what comes back is what the log was after some record: one at or after the last that was synced.
//!
//! `KVARTS_CRASH_SEED=n KVARTS_CRASH_SEEDS=1 cargo test -p kvarts-serve nodelog` runs one seed.
use super::lying::{Lie, Lying};
use super::model::{Chance, Model, Step, apply, draw, seen};
use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

const SEEDS: u64 = 1200;
/// Crashes of one seed, each after the recovery from the one before.
const LIVES: u64 = 4;

/// What may come back: the log after each record since the last sync.
struct Window {
    states: Vec<Model>,
    /// Records that were surely handed to the kernel: what a killed process keeps.
    written: usize,
    /// Records before the position that the next sync asks for. A compaction returns none: it counts with what follows.
    ended: usize,
}

impl Window {
    fn new(state: Model) -> Self {
        Self { states: vec![state], written: 0, ended: 0 }
    }

    fn synced(&mut self) {
        self.states.drain(..self.ended);
        self.written -= self.ended;
        self.ended = 0;
    }

    fn newest(&self) -> &Model {
        &self.states[self.states.len() - 1]
    }
}

/// Runs a script until it is cut; returns what may come back. The log may be cut while it opens.
fn live(fs: &MemFs, lie: Lie, window: &mut Window, chance: &mut Chance) -> Result<()> {
    let log = NodeLog::open(Arc::new(Lying::new(fs.clone(), lie)), dir(), NODE, small())?;
    let mut end = log.synced();
    for _ in 0..150 {
        let step = draw(chance, window.newest());
        for change in step.changes() {
            let mut state = window.newest().clone();
            apply(&mut state, &change);
            window.states.push(state);
        }
        step.run(&log, &mut end)?;
        window.written = window.states.len() - 1;
        match step {
            Step::Sync => window.synced(),
            Step::Compact(..) => {}
            _ => window.ended = window.written,
        }
    }
    Ok(())
}

/// Opens what a crash left and says which state of the window it is.
fn recovered(fs: &MemFs, window: &Window, at_least: usize) -> std::result::Result<Model, String> {
    let log = open(fs, small()).map_err(|error| error.to_string())?;
    let found = seen(&log);
    let state = window.states.iter().rposition(|state| *state == found);
    match state {
        Some(at) if at >= at_least => Ok(found),
        Some(at) => Err(format!("record {at} of {at_least} that were kept")),
        None => Err(format!("no state of the {} that may be: {found:?}", window.states.len())),
    }
}

/// Lives through several crashes. Errors: what was wrong after one, and after how many.
fn lives(seed: u64, lie: Lie) -> std::result::Result<(), String> {
    let (mut fs, mut chance, mut window) = (node(), Chance(seed), Window::new(Model::new()));
    for life in 0..LIVES {
        fs.crash_at_op(fs.ops() + chance.below(220));
        let outcome = live(&fs, lie, &mut window, &mut chance);
        assert!(outcome.is_ok() || fs.has_crashed(), "seed={seed} life={life}: {outcome:?}");
        let killed = chance.below(4) == 0;
        let left = if killed { fs.kill() } else { fs.crash(seed * LIVES + life) };
        // A copy is opened to learn what is there; what was read back once comes back for ever.
        let at_least = if killed { window.written } else { 0 };
        let found = recovered(&left.kill(), &window, at_least).map_err(|wrong| format!("life {life}: {wrong}"))?;
        fs = left;
        if killed {
            // What a killed process left can still be lost to a power loss, until the log was opened again.
            let log = open(&fs, small()).map_err(|error| error.to_string())?;
            assert_eq!(seen(&log), found);
            recovered(&fs.crash(seed ^ life), &Window::new(found.clone()), 0)
                .map_err(|wrong| format!("life {life}, opened after a kill: {wrong}"))?;
        }
        window = Window::new(found);
    }
    Ok(())
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("KVARTS_CRASH_SEED").unwrap_or(0);
    first..first + number("KVARTS_CRASH_SEEDS").unwrap_or(SEEDS)
}

#[test]
fn nothing_that_was_synced_is_lost_and_nothing_else_appears() {
    for seed in seeds() {
        lives(seed, Lie::None)
            .unwrap_or_else(|wrong| panic!("replay with KVARTS_CRASH_SEED={seed} KVARTS_CRASH_SEEDS=1: {wrong}"));
    }
}

fn caught(lie: Lie) -> usize {
    (0..200).filter(|&seed| lives(seed, lie).is_err()).count()
}

#[test]
fn canary_a_log_whose_files_are_not_synced_is_caught() {
    let caught = caught(Lie::Files);
    assert!(caught > 100, "{caught}");
}

#[test]
fn canary_a_log_whose_directory_is_not_synced_is_caught() {
    let caught = caught(Lie::Dirs);
    assert!(caught > 50, "{caught}");
}

#[test]
fn canary_a_log_that_syncs_each_second_time_is_caught() {
    let caught = caught(Lie::EverySecond);
    assert!(caught > 50, "{caught}");
}

#[test]
fn sync_claims_no_more_than_is_durable_while_turns_go_on() {
    let fs = node();
    let log = opened(&fs, NodeLogOptions { log_bytes: 64 << 10, ..small() });
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for index in 1..=2000 {
                log.append(&[entries(GROUP, index..=index, 1, 100)]).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        let mut crashes = 0;
        while !done.load(Ordering::SeqCst) || crashes < 10 {
            let last = log.last_index(GROUP).unwrap();
            // Whoever sees the entry may sync up to where the log ends.
            let end = log.append(&[]).unwrap();
            log.sync_to(end).unwrap();
            let after = open(&fs.crash(crashes), small()).unwrap();
            assert!(after.last_index(GROUP).unwrap() >= last, "crash {crashes}");
            assert_eq!(kept(&after, GROUP)[..last as usize], (1..=last).map(|index| (index, 1)).collect::<Vec<_>>());
            crashes += 1;
        }
    });
}

#[test]
fn failed_sync_is_final_and_the_reopened_log_writes_anew_what_was_not_durable() {
    let fs = node();
    let log = opened(&fs, small());
    sync(&log, entries(GROUP, 1..=3, 1, 50));
    let end = log.append(&[entries(GROUP, 4..=6, 1, 50)]).unwrap();
    fs.fail_syncs(true);
    assert!(log.sync_to(end).is_err());
    fs.fail_syncs(false);
    assert!(matches!(log.sync_to(end), Err(Error::Poisoned(_))));
    drop(log);
    let log = open(&fs, small()).unwrap();
    assert_eq!(log.report().copied, 6);
    for seed in 0..50 {
        assert_eq!(kept(&open(&fs.crash(seed), small()).unwrap(), GROUP).len(), 6, "seed={seed}");
    }
}

#[test]
fn commit_index_never_outlives_the_entries_of_its_turn() {
    let fs = node();
    let log = opened(&fs, small());
    sync(&log, entries(GROUP, 1..=6, 1, 300));
    let hard_state = HardState { term: 2, vote: 1, commit: 6 };
    let mut write = entries(GROUP, 3..=6, 2, 300);
    write.hard_state = Some(hard_state);
    log.append(&[write]).unwrap();
    let mut without = 0;
    for seed in 0..200 {
        let after = open(&fs.crash(seed), small()).unwrap();
        if after.hard_state(GROUP) == Some(hard_state) {
            assert_eq!((after.last_index(GROUP), after.term_at(GROUP, 6)), (Some(6), Some(2)), "seed={seed}");
        } else {
            without += 1;
        }
    }
    assert!((20..180).contains(&without), "{without} of 200 crashes lost the hard state");
}
