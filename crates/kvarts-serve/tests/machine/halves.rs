//! A machine that splits: both halves have their own rows, all sessions, and go on by themselves.
use crate::support::*;
use kvarts_engine::fs::MemFs;
use kvarts_formats::shards::{Partition, Space};
use kvarts_serve::machine::{Error, Machine, Range};
use kvarts_wire::v1;
use kvarts_wire::v1::Outcome;
use kvarts_wire::v1::command::Special;
use kvarts_wire::v1::operation::Kind as Step;
use std::path::Path;
use std::sync::Arc;

const CHILD: &str = "/child";
const MIDDLE: &str = "8000000000000000";
const EPOCH: u64 = 4;

fn range(ordered: bool, start: &str, stop: &str) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let row = format!(
        r#"{{"children":[],"epoch":{EPOCH},"hash":1,"keyspace":{KEYSPACE},"ordered":{ordered},"partition":"whole","start":"{start}","stop":"{stop}"}}"#
    );
    vec![(b"config/range".to_vec(), Some(row.into_bytes()))]
}

/// Splits a machine as a node does: first the copy, then the entry.
fn split(parent: &Machine, fs: &MemFs, ordered: bool, at: &str) -> Machine {
    parent.found(Path::new(CHILD), b"members", &range(ordered, at, "")).unwrap();
    parent.apply_effects(parent.position().index + 1, 1, Some(b"members"), &range(ordered, "", at)).unwrap();
    open_at(fs, CHILD).unwrap()
}

fn filled(fs: &MemFs) -> Machine {
    let machine = open(fs).unwrap();
    for number in 0..200 {
        apply_put(&machine, 1_000 + number, &format!("key{number:03}"), &number.to_string());
    }
    machine
}

fn keys(machine: &Machine) -> Vec<String> {
    rows(machine).into_iter().map(|(key, ..)| key).collect()
}

fn scan(machine: &Machine, epoch: u64, request: v1::ScanRequest) -> Result<v1::ScanResponse, Error> {
    let owner = Some(v1::Owner { shard: 2, epoch });
    machine.scan_page(&v1::ScanRequest { keyspace: KEYSPACE, owner, ..request }, 0)
}

fn count(machine: &Machine) -> u64 {
    scan(machine, EPOCH, v1::ScanRequest { count_only: true, ..Default::default() }).unwrap().count
}

#[test]
fn every_key_has_one_owner_and_its_old_revision() {
    for (ordered, at) in [(true, "6b6579313030"), (false, MIDDLE)] {
        let fs = MemFs::new();
        let parent = filled(&fs);
        let before = rows(&parent);
        let child = split(&parent, &fs, ordered, at);
        let (lower, upper) = (rows(&parent), rows(&child));
        assert!(!lower.is_empty() && !upper.is_empty());
        let mut both: Vec<TextRow> = lower.iter().chain(&upper).cloned().collect();
        both.sort();
        assert_eq!(both, before);
        assert_eq!([count(&parent), count(&child)], [lower.len() as u64, upper.len() as u64]);
        if ordered {
            assert_eq!((lower.len(), keys(&child)[0].as_str()), (100, "key100"));
        }
        let position = child.position();
        assert_eq!((position.index, position.term, child.membership()), (1, 0, b"members".to_vec()));
        // Pages go on behind what was left out.
        for machine in [&parent, &child] {
            let (mut found, mut start) = (Vec::new(), Vec::new());
            loop {
                let exclude_start = !start.is_empty();
                let request =
                    v1::ScanRequest { page_rows: 7, start: start.into(), exclude_start, ..Default::default() };
                let page = scan(machine, EPOCH, request).unwrap();
                let mut from = 0;
                for &end in &page.key_ends {
                    found.push(String::from_utf8(page.keys[from..end as usize].to_vec()).unwrap());
                    from = end as usize;
                }
                start = found.last().unwrap().clone().into_bytes();
                if !page.more {
                    break;
                }
            }
            assert_eq!(found, keys(machine));
        }
    }
}

#[test]
fn each_half_measures_what_is_its_own_while_the_rest_still_lies_there() {
    for space in [Space::Ordered, Space::Hashed(Partition::Whole)] {
        let ordered = space == Space::Ordered;
        let fs = MemFs::new();
        let parent = open(&fs).unwrap();
        for number in 0..2000_u64 {
            apply_put(&parent, 1_000 + number, &format!("key{number:04}"), &incompressible(number));
        }
        parent.flush().unwrap();
        let of =
            |start: &[u8], stop: &[u8], epoch| Range::new(KEYSPACE, space.clone(), start.into(), stop.into(), epoch);
        let whole = parent.size(&of(b"", b"", 1)).unwrap();
        let at = whole.middle.unwrap();
        let child = split(&parent, &fs, ordered, &hex(&at));
        for (half, own) in [(&parent, of(b"", &at, EPOCH)), (&child, of(&at, b"", EPOCH))] {
            half.flush().unwrap();
            let before = half.size(&own).unwrap();
            assert!((whole.bytes / 3..whole.bytes * 2 / 3).contains(&before.bytes), "{before:?} of {}", whole.bytes);
            let middle = before.middle.clone().unwrap();
            assert_eq!(middle > at, std::ptr::eq(half, &child));
            half.compact().unwrap();
            let after = half.size(&own).unwrap();
            assert!(after.bytes.abs_diff(before.bytes) < whole.bytes / 5, "{before:?}, then {after:?}");
        }
    }
}

#[test]
fn keys_of_one_part_have_no_middle() {
    let fs = MemFs::new();
    let machine = open(&fs).unwrap();
    let range = Range::new(KEYSPACE, Space::parse(false, "until:2f", 1).unwrap(), Vec::new(), Vec::new(), 1);
    for number in 0..500 {
        apply_put(&machine, 1_000 + number, &format!("one/{number:04}"), &incompressible(number));
    }
    machine.flush().unwrap();
    let one = machine.size(&range).unwrap();
    assert_eq!((one.bytes > 10_000, one.middle), (true, None));
    // Another part with much less: the cut lies between them, whichever comes first.
    for number in 0..100 {
        apply_put(&machine, 2_000 + number, &format!("two/{number:04}"), &incompressible(number));
    }
    machine.flush().unwrap();
    machine.compact().unwrap();
    let tokens =
        ["one/", "two/"].map(|key| Space::parse(false, "until:2f", 1).unwrap().token(key.as_bytes()).as_ref().to_vec());
    assert_eq!(machine.size(&range).unwrap().middle, tokens.into_iter().max());
}

fn incompressible(number: u64) -> String {
    let word = |turn| format!("{:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(turn));
    (1..9).map(word).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_the_log_holds_behind_the_split_for_the_other_half_is_refused() {
    let fs = MemFs::new();
    let parent = filled(&fs);
    let child = split(&parent, &fs, true, "6b6579313030");
    let outcome = |machine: &Machine, operations, epoch| {
        let command = v1::Command { epoch, ..command(operations) };
        apply(machine, 5_000, &[command])[0].outcome()
    };
    assert_eq!(outcome(&parent, vec![put("key000", "x"), put("key150", "x")], 0), Outcome::WrongShard);
    assert_eq!(get(&parent, "key000").unwrap(), "0");
    assert_eq!(outcome(&parent, vec![put("key000", "x")], 0), Outcome::Done);
    assert_eq!(outcome(&child, vec![put("key150", "y")], 0), Outcome::Done);
    assert_eq!(outcome(&child, vec![incr("key000")], 0), Outcome::WrongShard);
    let all = || {
        vec![v1::Operation {
            kind: Some(Step::DeleteRange(v1::DeleteRange { keyspace: KEYSPACE, ..Default::default() })),
        }]
    };
    assert_eq!(outcome(&parent, all(), EPOCH - 1), Outcome::WrongShard);
    assert_eq!(count(&parent), 100);
    assert_eq!(outcome(&parent, all(), EPOCH), Outcome::Done);
    assert_eq!([count(&parent), count(&child)], [0, 100]);
    assert!(matches!(parent.get(&get_request(&["key150"], None), 0), Err(Error::WrongShard)));
    assert!(matches!(scan(&parent, EPOCH - 1, v1::ScanRequest::default()), Err(Error::WrongShard)));
}

#[test]
fn a_write_of_before_the_split_is_known_to_both_halves() {
    let fs = MemFs::new();
    let parent = filled(&fs);
    let session = apply(&parent, 2_000, &[special(Special::OpenSession(v1::OpenSession {}))])[0].revision;
    let once = |key: &str, sequence| v1::Command { session, sequence, ..command(vec![incr(key)]) };
    let first = apply(&parent, 2_001, &[once("n000", 1), once("n200", 2)]);
    let child = split(&parent, &fs, true, "6e313030");
    // Asked again in either half, each tells what was done then.
    for machine in [&parent, &child] {
        assert_eq!(apply(machine, 3_000, &[once("n000", 1), once("n200", 2)]), first);
    }
    assert_eq!(get(&child, "n200").unwrap(), "1");
    // What the lower half had not done is done in the upper one, once.
    assert_eq!(apply(&parent, 3_001, &[once("n200", 3)])[0].outcome(), Outcome::WrongShard);
    for _ in 0..2 {
        assert_eq!(apply(&child, 3_002, &[once("n200", 3)])[0].outcome(), Outcome::Done);
    }
    assert_eq!(get(&child, "n200").unwrap(), "2");
}

#[test]
fn compaction_drops_what_the_other_half_has_and_nobody_sees_a_difference() {
    for (ordered, at) in [(true, "6b6579313030"), (false, MIDDLE)] {
        let fs = MemFs::new();
        let parent = filled(&fs);
        parent.flush().unwrap();
        let child = split(&parent, &fs, ordered, at);
        let in_tables = |machine: &Machine| machine.stats().unwrap().trees[0].table_rows;
        let sum = |machine: &Machine| {
            let mut digest = machine.digest().unwrap();
            while digest.step(1_000).unwrap() {}
            digest.finish()
        };
        // A digest that was begun before goes on over what there was then.
        for machine in [&parent, &child] {
            machine.flush().unwrap();
            let (before, rows_before, mut begun) = (sum(machine), rows(machine), machine.digest().unwrap());
            begun.step(1_000).unwrap();
            let all = in_tables(machine);
            machine.compact().unwrap();
            let others = 200 - rows_before.len() as u64;
            assert!(in_tables(machine) + others <= all, "{} of {all} rows are left", in_tables(machine));
            while begun.step(1_000).unwrap() {}
            assert_eq!((sum(machine), begun.finish()), (before.clone(), before));
            assert_eq!(rows(machine), rows_before);
            machine.close().unwrap();
        }
        for dir in ["/shard", CHILD] {
            let again = open_at(&fs, dir).unwrap();
            assert!(count(&again) > 50);
            again.compact().unwrap();
        }
    }
}

#[test]
fn a_replica_that_has_not_reached_the_split_can_be_asked_for_its_half() {
    for (ordered, at, space) in
        [(true, "6b6579313030", Space::Ordered), (false, MIDDLE, Space::Hashed(Partition::Whole))]
    {
        let fs = MemFs::new();
        let behind = filled(&fs);
        let bound = (0..at.len() / 2).map(|i| u8::from_str_radix(&at[2 * i..2 * i + 2], 16).unwrap()).collect();
        let cut = Arc::new(Range::new(KEYSPACE, space, Vec::new(), bound, EPOCH));
        let request = v1::ScanRequest { keyspace: KEYSPACE, count_only: true, ..Default::default() };
        let lower = behind.scan_page_within(&request, Some(&cut), 0).unwrap().count;
        assert_eq!(behind.scan_page(&request, 0).unwrap().count, 200);
        // Who knows the shard as it was is told that there is more elsewhere.
        let old = v1::ScanRequest { owner: Some(v1::Owner { shard: 2, epoch: EPOCH - 1 }), ..request.clone() };
        assert!(matches!(behind.scan_page_within(&old, Some(&cut), 0), Err(Error::WrongShard)));
        let _upper = split(&behind, &fs, ordered, at);
        assert_eq!(lower, count(&behind));
        assert!((1..200).contains(&lower));
    }
}

#[test]
fn nothing_is_dropped_before_tables_say_that_it_may_be() {
    let fs = MemFs::new();
    let parent = filled(&fs);
    parent.flush().unwrap();
    let child = split(&parent, &fs, true, "6b6579313030");
    child.close().unwrap();
    // The node dies before the entry is in tables: it takes the entry again, and makes the copy again.
    let left = fs.crash(1);
    drop(parent);
    let again = open(&left).unwrap();
    again.compact().unwrap();
    assert_eq!(rows(&again).len(), 200);
}

#[test]
fn both_halves_read_what_was_before_the_split() {
    let fs = MemFs::new();
    let parent = open(&fs).unwrap();
    let old = apply_put(&parent, 1_000_000, "key150", "old");
    apply_put(&parent, 1_000_001, "key150", "new");
    let child = split(&parent, &fs, true, "6b6579313030");
    assert_eq!(get_at(&child, "key150", Some((old, 1)), 0).unwrap().unwrap(), "old");
    assert_eq!(get(&child, "key150").unwrap(), "new");
    assert_eq!(get_at(&parent, "key050", Some((old, 1)), 0).unwrap(), None);
}

#[test]
fn halves_know_what_they_are_when_they_are_opened_again() {
    let fs = MemFs::new();
    let parent = filled(&fs);
    let child = split(&parent, &fs, false, MIDDLE);
    let before = [keys(&parent), keys(&child)];
    parent.close().unwrap();
    child.close().unwrap();
    assert_eq!([keys(&open(&fs).unwrap()), keys(&open_at(&fs, CHILD).unwrap())], before);
    let space = Space::Hashed(Partition::Whole);
    assert!(before[0].iter().all(|key| space.token(key.as_bytes()).as_ref()[0] < 0x80));
}

#[test]
fn halves_split_again() {
    let fs = MemFs::new();
    let parent = filled(&fs);
    let child = split(&parent, &fs, true, "6b6579313030");
    child.found(Path::new("/third"), b"members", &range(true, "6b6579313530", "")).unwrap();
    child.apply_effects(2, 1, Some(b"members"), &range(true, "6b6579313030", "6b6579313530")).unwrap();
    let third = open_at(&fs, "/third").unwrap();
    assert_eq!([count(&parent), count(&child), count(&third)], [100, 50, 50]);
    assert_eq!(keys(&third)[0], "key150");
}
