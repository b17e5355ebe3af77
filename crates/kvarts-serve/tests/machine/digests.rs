//! The digest of a machine: the same for the same entries, whatever became of them on disk; another for any other row.
use crate::support::*;
use kvarts_engine::fs::MemFs;
use kvarts_serve::machine::{Machine, Sum};
use kvarts_wire::v1;
use std::path::Path;

const CHILD: &str = "/child";

fn digest(machine: &Machine, step_bytes: usize) -> Sum {
    let mut digest = machine.digest().unwrap();
    while digest.step(step_bytes).unwrap() {}
    digest.finish()
}

/// Entry `number` of a history: overwrites, deletes, rows that expire, results of a session.
fn entry(chance: &mut Chance, number: u64) -> (u64, Vec<v1::Command>) {
    let stamp_us = 1_000_000 + number * 50_000;
    if number == 0 {
        return (stamp_us, vec![special(v1::command::Special::OpenSession(v1::OpenSession {}))]);
    }
    let key = |chance: &mut Chance| format!("key{:02}", chance.below(40));
    let mut operations = vec![incr("n")];
    for _ in 0..chance.below(5) {
        let (at, length) = (key(chance), 20 + chance.below(400) as usize);
        operations.push(put_for(&at, &"v".repeat(length), chance.below(3) * 700));
    }
    let once = v1::Command { session: 1_000_000, sequence: number, answered: number / 2, ..command(operations) };
    (stamp_us, vec![once])
}

fn split_row(start: &str, stop: &str) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let row = format!(
        r#"{{"epoch":4,"hash":1,"keyspace":{KEYSPACE},"ordered":false,"partition":"whole","start":"{start}","stop":"{stop}"}}"#
    );
    vec![(b"config/range".to_vec(), Some(row.into_bytes()))]
}

#[test]
fn replicas_that_flush_compact_and_restart_as_they_like_have_one_digest() {
    for seed in 0..8 {
        let worlds = [MemFs::new(), MemFs::new()];
        let mut machines = worlds.each_ref().map(|fs| open(fs).unwrap());
        let (mut chance, mut whims) = (Chance(seed), Chance(seed + 1_000));
        for number in 0..150 {
            let (stamp_us, commands) = entry(&mut chance, number);
            for (machine, fs) in machines.iter_mut().zip(&worlds) {
                apply(machine, stamp_us, &commands);
                match whims.below(12) {
                    0 => drop(machine.flush().unwrap()),
                    1 => machine.compact().unwrap(),
                    2 => {
                        machine.close().unwrap();
                        *machine = open(fs).unwrap();
                    }
                    _ => {}
                }
            }
            if number % 30 == 29 {
                let [one, other] = machines.each_ref().map(|machine| digest(machine, 1 + whims.below(9_000) as usize));
                assert_eq!(one, other, "seed {seed}, entry {number}: SEED={seed} replays it");
                assert!(one.rows > 20 && one.bytes > 1_000);
            }
        }
    }
}

#[test]
fn any_other_row_is_another_digest() {
    let with = |change: &dyn Fn(&Machine)| {
        let machine = open(&MemFs::new()).unwrap();
        apply_put(&machine, 1_000_000, "a", "1");
        apply_put(&machine, 2_000_000, "b", "2");
        change(&machine);
        digest(&machine, 1 << 20).digest
    };
    let same = with(&|machine| _ = apply_put(machine, 3_000_000, "c", "3"));
    assert_eq!(with(&|machine| _ = apply_put(machine, 3_000_000, "c", "3")), same);
    let others = [
        with(&|machine| _ = apply_put(machine, 3_000_000, "c", "4")),
        with(&|machine| _ = apply_put(machine, 3_000_001, "c", "3")),
        with(&|machine| _ = apply_put(machine, 3_000_000, "d", "3")),
        with(&|machine| drop(apply(machine, 3_000_000, &[command(vec![put_for("c", "3", 60_000)])]))),
        with(&|machine| drop(apply(machine, 3_000_000, &[command(vec![put_for("c", "3", 60_001)])]))),
        with(&|_| {}),
    ];
    for (at, other) in others.iter().enumerate() {
        assert_ne!(*other, same, "case {at}");
        assert!(!others[..at].contains(other), "case {at}");
    }
}

#[test]
fn what_is_applied_and_dropped_meanwhile_does_not_count() {
    let fs = MemFs::new();
    let machine = open(&fs).unwrap();
    for number in 0..60 {
        let key = format!("key{number:02}");
        apply(&machine, 1_000_000 + number, &[command(vec![put_for(&key, &"v".repeat(300), 500)])]);
    }
    let expected = digest(&machine, 1 << 20);
    let mut slow = machine.digest().unwrap();
    let mut stamp_us = 1_100_000;
    while slow.step(700).unwrap() {
        // Long after: the window goes by, rows expire, are overwritten and forgotten.
        stamp_us += 2_000_000;
        apply_put(&machine, stamp_us, "key30", "other");
        machine.compact().unwrap();
    }
    assert_eq!(slow.finish(), expected);
}

#[test]
fn rows_that_a_split_took_away_count_no_more() {
    let fs = MemFs::new();
    let whole = open(&fs).unwrap();
    for number in 0..100 {
        apply_put(&whole, 1_000_000 + number, &format!("key{number:03}"), "v");
    }
    whole.found(Path::new(CHILD), b"members", &split_row("8000000000000000", "")).unwrap();
    let rows_before = digest(&whole, 1 << 20).rows;
    whole.apply_effects(101, 1, Some(b"members"), &split_row("", "8000000000000000")).unwrap();
    let child = open_at(&fs, CHILD).unwrap();
    let (lower, upper) = (digest(&whole, 1 << 20), digest(&child, 1 << 20));
    let own = |machine: &Machine| rows(machine).len() as u64;
    // Position, members and range stand in both; before, there were no members and no range.
    let system = [lower.rows - own(&whole), upper.rows - own(&child)];
    assert_eq!((system, own(&whole) + own(&child) + 1), ([3, 3], rows_before));
    assert!(own(&whole) > 20 && own(&child) > 20);
}
