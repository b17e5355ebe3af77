//! Positions, effects, restarts, crashes: what is recovered is a prefix of entries, and applying the rest again is exact.
use crate::support::{
    Chance, apply, apply_put, command, get, incr, open, options, payload, put, put_for, rows, special,
};
use bytes::Bytes;
use kvarts_engine::fs::{Fs, MemFs};
use kvarts_serve::machine::{Error, Machine, MachineOptions, Position};
use kvarts_wire::v1;
use kvarts_wire::v1::command::Special;
use std::path::Path;
use std::sync::Arc;

#[test]
fn entries_are_applied_in_their_order_and_each_once() {
    let machine = open(&MemFs::new()).unwrap();
    assert_eq!(machine.position(), Position::default());
    let first = payload(5_000, &[command(vec![put("a", "1")])]);
    machine.apply(1, 4, &first).unwrap();
    assert_eq!(machine.position(), Position { index: 1, term: 4, stamp_us: 5_000 });
    for index in [0, 1, 3] {
        let refused = machine.apply(index, 4, &first);
        assert!(matches!(refused, Err(Error::OutOfOrder { expected: 2, .. })), "{refused:?}");
    }
    assert_eq!(rows(&machine), [("a".to_owned(), "1".to_owned(), 5_000)]);
}

#[test]
fn a_no_op_and_effects_move_the_position_and_a_stamp_never_goes_back() {
    let fs = MemFs::new();
    let machine = open(&fs).unwrap();
    machine.apply(1, 1, &Bytes::new()).unwrap();
    assert_eq!(apply_put(&machine, 9_000, "a", "1"), 9_000);
    assert_eq!(apply_put(&machine, 7_000, "b", "2"), 9_001);
    let rows = [(b"config/x".to_vec(), Some(b"1".to_vec())), (b"config/y".to_vec(), Some(b"2".to_vec()))];
    machine.apply_effects(4, 2, Some(b"three voters"), &rows).unwrap();
    assert_eq!(machine.position(), Position { index: 4, term: 2, stamp_us: 9_000 });
    machine.apply_effects(5, 2, None, &[(b"config/x".to_vec(), None)]).unwrap();
    // Revisions are given to barriers too: the next one stands behind them.
    assert_eq!(apply_put(&machine, 0, "a", "3"), 9_004);
    let check = |machine: &Machine| {
        assert_eq!(machine.membership(), b"three voters");
        assert_eq!(machine.system(b"config/x").unwrap(), None);
        assert_eq!(machine.system(b"config/y").unwrap(), Some(b"2".to_vec()));
        assert_eq!(machine.system_scan(b"config/").unwrap(), [(b"config/y".to_vec(), b"2".to_vec())]);
        assert!(matches!(machine.apply_effects(9, 2, None, &[]), Err(Error::OutOfOrder { .. })));
    };
    check(&machine);
    machine.close().unwrap();
    check(&open(&fs).unwrap());
}

#[test]
fn a_payload_that_cannot_be_read_changes_nothing() {
    let machine = open(&MemFs::new()).unwrap();
    let good = payload(1, &[command(vec![put("a", "1")])]);
    let unknown = payload(1, &[command(vec![put("a", "1"), v1::Operation { kind: None }])]);
    for bad in [good.slice(..good.len() - 1), good.slice(..5), unknown] {
        assert!(matches!(machine.apply(1, 1, &bad), Err(Error::Unreadable { index: 1, .. })));
    }
    assert!(rows(&machine).is_empty());
    machine.apply(1, 1, &good).unwrap();
}

#[test]
fn a_closed_machine_says_so() {
    let machine = open(&MemFs::new()).unwrap();
    machine.close().unwrap();
    machine.close().unwrap();
    assert_eq!(machine.apply(1, 1, &Bytes::new()).unwrap_err().kind(), "ClosedError");
    assert_eq!(machine.flush().unwrap_err().kind(), "ClosedError");
}

#[test]
fn flushed_is_what_a_kill_leaves() {
    let fs = MemFs::new();
    let machine = open(&fs).unwrap();
    machine.apply_effects(1, 1, Some(b"one"), &[]).unwrap();
    assert_eq!(machine.flushed().unwrap(), (Position::default(), Vec::new()));
    assert_eq!(machine.flush().unwrap().index, 1);
    machine.apply_effects(2, 1, Some(b"two"), &[]).unwrap();
    assert_eq!(machine.flushed().unwrap(), (Position { index: 1, term: 1, stamp_us: 0 }, b"one".to_vec()));
    let killed = open(&fs.kill()).unwrap();
    assert_eq!((killed.position().index, killed.membership()), (1, b"one".to_vec()));
}

/// The entries of one history, made from a seed: puts, counters, sessions, time.
fn history(seed: u64) -> Vec<Bytes> {
    let mut chance = Chance(seed);
    let mut stamp_us = 1_000_000;
    let mut entries = vec![payload(stamp_us, &[special(Special::OpenSession(v1::OpenSession {}))])];
    for sequence in 1..120 {
        stamp_us += chance.below(30_000);
        let mut commands: Vec<v1::Command> = (0..chance.below(4))
            .map(|_| {
                let key = format!("key{}", chance.below(30));
                command(vec![put_for(&key, &"v".repeat(chance.below(600) as usize), chance.below(3) * 40), incr("n")])
            })
            .collect();
        let answered = if chance.below(2) == 0 { sequence - 1 } else { 0 };
        // Asked twice in a row: the second has the answer of the first.
        for _ in 0..2 {
            commands.push(v1::Command { session: 1_000_000, sequence, answered, ..command(vec![incr("once")]) });
        }
        entries.push(payload(stamp_us, &commands));
    }
    entries
}

#[test]
fn after_a_power_loss_the_rest_of_the_log_leads_to_the_same_rows_and_results() {
    for seed in 0..120 {
        let entries = history(seed);
        let whole = open(&MemFs::new()).unwrap();
        let expected: Vec<_> =
            entries.iter().enumerate().map(|(at, entry)| whole.apply(at as u64 + 1, 1, entry).unwrap()).collect();

        let fs = MemFs::new();
        fs.crash_at_op(20 + Chance(seed).below(260));
        let mut acknowledged = 0;
        if let Ok(machine) = open(&fs) {
            for (at, entry) in entries.iter().enumerate() {
                if machine.apply(at as u64 + 1, 1, entry).is_err() {
                    break;
                }
                if fs.has_crashed() {
                    break;
                }
                acknowledged = machine.flushed().map_or(acknowledged, |(position, _)| position.index);
            }
        }
        let machine = open(&fs.crash(seed)).unwrap();
        let start = machine.position().index;
        assert!(start >= acknowledged, "seed {seed}: flushed up to {acknowledged}, found {start}");
        for at in start as usize..entries.len() {
            let results = machine.apply(at as u64 + 1, 1, &entries[at]).unwrap();
            assert_eq!(results, expected[at], "seed {seed}: entry {}", at + 1);
        }
        assert_eq!(rows(&machine), rows(&whole), "seed {seed}");
        assert_eq!(get(&machine, "once").as_deref(), Some("119"), "seed {seed}");
    }
}

#[test]
fn a_full_disk_may_pass() {
    let fs = MemFs::new();
    let machine = open(&fs).unwrap();
    fs.set_full(true);
    let entry = |index: u64| payload(index, &[command(vec![put(&format!("k{index}"), &"v".repeat(2_000))])]);
    let mut index = 1;
    let refused = loop {
        match machine.apply(index, 1, &entry(index)) {
            Ok(_) => index += 1,
            Err(error) => break error,
        }
        assert!(index < 10_000, "memory is bounded");
    };
    assert!(refused.may_pass() && refused.kind() == "StorageFull", "{refused}");
    assert_eq!(machine.position().index, index - 1);
    fs.set_full(false);
    machine.apply(index, 1, &entry(index)).unwrap();
    assert_eq!(rows(&machine).len() as u64, index);
}

#[test]
fn dropped_sessions_take_their_results_with_them() {
    let machine = open(&MemFs::new()).unwrap();
    let opened = special(Special::OpenSession(v1::OpenSession {}));
    let ids: Vec<u64> = apply(&machine, 0, &[opened.clone(), opened]).iter().map(|result| result.revision).collect();
    let asked = |sequence| v1::Command { session: ids[0], sequence, ..command(vec![incr("n")]) };
    let done = apply(&machine, 0, &[asked(1), asked(3)]);
    assert_eq!(machine.system_scan(b"result/").unwrap().len(), 1, "an entry's results share a row");
    apply(&machine, 0, &[asked(2)]);
    assert_eq!(machine.system_scan(b"result/").unwrap().len(), 2);
    assert_eq!(apply(&machine, 0, &[asked(3), asked(1)]), [done[1].clone(), done[0].clone()]);
    assert_eq!(machine.sessions(), 2);
    apply(&machine, 0, &[special(Special::DropSessions(v1::DropSessions { keep: 0 }))]);
    assert!(machine.system_scan(b"result/").unwrap().is_empty());
    assert!(machine.system_scan(b"session/").unwrap().is_empty());
    assert_eq!(machine.sessions(), 0);
    assert_eq!(apply(&machine, 0, &[asked(1)])[0].outcome, v1::Outcome::SessionExpired as i32);
}

#[test]
fn a_session_keeps_no_more_than_its_window() {
    let machine = open(&MemFs::new()).unwrap();
    let id = apply(&machine, 0, &[special(Special::OpenSession(v1::OpenSession {}))])[0].revision;
    let asked = |sequence| v1::Command { session: id, sequence, ..command(vec![incr("n")]) };
    for sequence in 1..=1_500 {
        apply(&machine, 0, &[asked(sequence)]);
    }
    assert_eq!(machine.system_scan(b"result/").unwrap().len(), 1_024);
    // A sequence far ahead, and an answer no client can have, are no reason to count up to them.
    let far = v1::Command { answered: u64::MAX, ..asked(u64::MAX - 1) };
    assert_eq!(apply(&machine, 0, &[asked(1 << 60), far])[1].outcome, v1::Outcome::Done as i32);
    assert!(machine.system_scan(b"result/").unwrap().is_empty());
    assert_eq!(apply(&machine, 0, &[asked(u64::MAX)])[0].outcome, v1::Outcome::SessionExpired as i32);
}

#[test]
fn threads_flush_and_compact_while_entries_are_applied() {
    let mut background = options();
    background.engine.background = true;
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let machine = Machine::open(fs, Path::new("/shard"), MachineOptions { retention_ms: 0, ..background }).unwrap();
    for index in 1..=3_000u64 {
        let key = format!("key{}", index % 500);
        machine.apply(index, 1, &payload(index * 1_000, &[command(vec![put(&key, &"v".repeat(100))])])).unwrap();
    }
    assert_eq!(rows(&machine).len(), 500);
    let (flushed, _) = machine.flushed().unwrap();
    assert!(flushed.index > 0 && flushed.index <= 3_000);
    assert!(machine.verify().unwrap().damage.is_empty());
    machine.compact().unwrap();
    assert_eq!(machine.stats().unwrap().trees[0].table_rows, 501, "rows and the position; no history is kept");
}
