//! A group that splits: what is there afterwards, and after a crash at any moment of it.
mod resent;

use super::*;
use std::collections::{BTreeSet, VecDeque};
use std::sync::mpsc;

const CHILD: u64 = 9;
const SPLIT_AT: u64 = 6;

fn row(start: &str, stop: &str) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let row = format!(
        r#"{{"epoch":2,"hash":1,"keyspace":1,"ordered":true,"partition":"whole","start":"{start}","stop":"{stop}"}}"#
    );
    vec![(b"config/range".to_vec(), Some(row.into_bytes()))]
}

/// Of the entry that ends the group before "m".
fn effects() -> Effects {
    let founding = Founding { group: CHILD, membership: FOUNDING.into(), rows: row("6d", "") };
    let (membership, founding) = (FOUNDING.into(), Some(founding));
    Effects { group: GROUP, index: SPLIT_AT, membership, rows: row("", "6d"), founding, check: 0 }
}

/// Rows of four keys are in the log, and the entry that splits them.
fn bench_before_the_split(fs: &MemFs) -> Bench {
    let mut bench = Bench::on(Arc::new(fs.clone()));
    bench.lead(true);
    for (index, key) in (2..).zip(["a", "b", "x", "y"]) {
        drop(bench.put(key));
        let handle = bench.handle();
        bench.append(1, index, 0, Payload::Handles(vec![handle]));
    }
    bench.append(1, SPLIT_AT, 2, Payload::Bytes("split".into()));
    bench
}

fn reach_the_split(bench: &Bench) {
    bench.apply(2, SPLIT_AT, true);
}

/// Takes the effects, and waits until the child is there or the node has failed. Returns whether the child is.
fn split(bench: &Bench) -> bool {
    bench.muscle.perform(Turn { effects: vec![effects()], ..Turn::default() });
    bench.event(|event| match event {
        Event::Opened { group: CHILD, .. } => Some(true),
        Event::Stop(_) => Some(false),
        _ => None,
    })
}

fn keys(bench: &Bench, group: u64) -> Vec<String> {
    let rows = bench.muscle.core().group(group).unwrap().machine.rows(1).unwrap();
    rows.into_iter().map(|(key, ..)| String::from_utf8(key).unwrap()).collect()
}

#[test]
fn a_group_that_splits_becomes_two_with_what_is_theirs() {
    let fs = MemFs::new();
    let mut bench = bench_before_the_split(&fs);
    reach_the_split(&bench);
    assert!(split(&bench));
    assert_eq!([keys(&bench, GROUP), keys(&bench, CHILD)], [["a", "b"], ["x", "y"]]);
    let positions = [GROUP, CHILD].map(|group| bench.muscle.position(group).unwrap());
    assert_eq!(positions, [(SPLIT_AT, 1), (1, 0)]);
    assert_eq!((bench.muscle.first_index(CHILD).unwrap(), bench.muscle.last_index(CHILD).unwrap()), (2, 1));
    assert_eq!(bench.muscle.membership(CHILD).unwrap(), FOUNDING);
    // What was proposed before, and comes behind it, is told to go elsewhere.
    let lost = bench.put("z");
    let handle = bench.handle();
    bench.append(1, SPLIT_AT + 1, 0, Payload::Handles(vec![handle]));
    bench.apply(SPLIT_AT + 1, SPLIT_AT + 1, false);
    let error = lost.recv().unwrap().unwrap_err();
    assert_eq!((error.kind.as_str(), error.retryable, error.maybe_applied), ("WrongShard", true, false));
    bench.set_gate(u64::MAX, SPLIT_AT);
    assert_eq!(of(&bench.get("x")).unwrap_err(), "WrongShard");
    assert!(of(&bench.get("a")).unwrap().rows[0].found);
}

#[test]
fn a_child_that_has_been_here_is_left_as_it_is() {
    let fs = MemFs::new();
    let mut bench = bench_before_the_split(&fs);
    bench.muscle.add_group(CHILD, b"").unwrap();
    bench.append(1, SPLIT_AT + 1, 0, Payload::Handles(vec![]));
    reach_the_split(&bench);
    bench.muscle.perform(Turn { effects: vec![effects()], ..Turn::default() });
    bench.apply(SPLIT_AT + 1, SPLIT_AT + 1, false);
    assert_eq!(keys(&bench, GROUP), ["a", "b"]);
    assert_eq!(bench.muscle.position(CHILD).unwrap(), (0, 0));
}

/// The membership with which a node opens a shard of a later epoch: none, a leader is to tell it.
const UNKNOWN: &[u8] = b"";

fn opened(bench: &Bench) -> u64 {
    bench.event(|event| if let Event::Opened { group: CHILD, index, .. } = event { Some(*index) } else { None })
}

#[test]
fn a_child_that_is_asked_for_before_its_copy_is_made_is_not_opened_empty() {
    let bench = bench_before_the_split(&MemFs::new());
    reach_the_split(&bench);
    bench.muscle.perform(Turn { effects: vec![effects()], ..Turn::default() });
    bench.muscle.open_group(CHILD, UNKNOWN.to_vec());
    assert_eq!((opened(&bench), keys(&bench, CHILD)), (1, vec!["x".to_owned(), "y".to_owned()]));
    assert_eq!(bench.muscle.membership(CHILD).unwrap(), FOUNDING);
}

#[test]
fn a_child_that_does_not_come_by_its_split_is_opened_empty() {
    let bench = bench_before_the_split(&MemFs::new());
    reach_the_split(&bench);
    // A snapshot has taken the parent past that entry.
    let passed = Effects { index: SPLIT_AT - 1, ..effects() };
    bench.muscle.perform(Turn { effects: vec![passed], ..Turn::default() });
    bench.muscle.open_group(CHILD, UNKNOWN.to_vec());
    assert_eq!((opened(&bench), keys(&bench, CHILD)), (0, vec![]));
}

#[test]
fn a_crash_at_any_moment_leaves_the_split_undone_or_done() {
    let fs = MemFs::new();
    drop(bench_before_the_split(&fs));
    let (mut undone, mut done, mut step) = (0, 0, 0);
    loop {
        let world = fs.kill();
        let bench = Bench::on(Arc::new(world.clone()));
        reach_the_split(&bench);
        world.crash_at_op(world.ops() + step);
        let opened = split(&bench);
        let finished = !world.has_crashed();
        drop(bench);
        for (what, left) in [("killed", world.kill()), ("without power", world.crash(step))] {
            let case = format!("{what} at step {step}");
            if is_done_after_a_crash(left, opened, &case) {
                done += 1;
            } else {
                undone += 1;
            }
        }
        if finished {
            break;
        }
        step += 1;
    }
    assert!(undone > 40 && done > 16, "both sides were met: {undone} and {done}");
}

/// Checks a node that a crash has left, and splits its group where that has not happened. Returns whether it had.
fn is_done_after_a_crash(left: MemFs, opened: bool, case: &str) -> bool {
    let again = Bench::on(Arc::new(left));
    let groups: BTreeSet<u64> = again.muscle.groups().into_iter().collect();
    let (index, _) = again.muscle.position(GROUP).unwrap();
    let is_done = groups.contains(&CHILD);
    assert_eq!(is_done, index >= SPLIT_AT, "{case}: half a split, {groups:?} at {index}");
    assert!(is_done || !opened, "{case}: the child was there and is gone");
    if !is_done {
        reach_the_split(&again);
        assert!(split(&again), "{case}");
    }
    assert_eq!([keys(&again, GROUP), keys(&again, CHILD)], [["a", "b"], ["x", "y"]], "{case}");
    assert_eq!(again.muscle.position(CHILD).unwrap(), (1, 0), "{case}");
    let left = again.muscle.core().fs.list(&again.muscle.core().shards()).unwrap();
    assert_eq!(left, ["1", "9"], "{case}");
    is_done
}

#[test]
fn a_copy_becomes_a_group_before_another_is_made() {
    let bench = bench_before_the_split(&MemFs::new());
    let group = bench.muscle.core().group(GROUP).unwrap();
    let stage = || keeper::Job::Stage { group: Arc::clone(&group), effects: effects() };
    let found = keeper::Job::Found { group: Arc::clone(&group), effects: effects(), taken: true };
    let (jobs, told) = mpsc::channel();
    for job in [stage(), keeper::Job::Flush(Arc::clone(&group)), found, stage(), keeper::Job::Stop] {
        jobs.send(job).unwrap();
    }
    drop(jobs);
    let mut waiting = VecDeque::new();
    let order = std::iter::from_fn(|| keeper::next(&told, &mut waiting)).map(|job| match job {
        keeper::Job::Found { .. } => "found",
        keeper::Job::Stage { .. } => "stage",
        keeper::Job::Flush(_) => "flush",
        _ => "stop",
    });
    assert_eq!(order.collect::<Vec<_>>(), ["found", "stage", "flush", "stage", "stop"]);
}
