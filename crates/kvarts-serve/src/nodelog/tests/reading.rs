//! What the log answers: the questions of kvarts.raft's LogStore, as the simulator's GroupLog answers them.
use super::*;

#[test]
fn new_group_is_empty_and_knows_the_term_before_its_first_entry() {
    let log = open(&node(), small()).unwrap();
    assert_eq!((log.groups(), log.last_index(3), log.hard_state(3)), (vec![], None, None));
    log.add_group(3, 10, 4).unwrap();
    assert_eq!(log.groups(), [3]);
    assert_eq!((log.first_index(3), log.last_index(3)), (Some(11), Some(10)));
    assert_eq!((log.term_at(3, 10), log.term_at(3, 11), log.term_at(3, 9)), (Some(4), None, None));
    assert_eq!((log.hard_state(3), log.snapshot_mark(3)), (Some(HardState::default()), None));
    assert!(matches!(log.add_group(3, 0, 0), Err(Error::InvalidArgument { .. })));
    assert!(matches!(log.add_group(1 << 32, 0, 0), Err(Error::InvalidArgument { .. })));
}

#[test]
fn entry_supersedes_what_stands_at_its_index_and_after() {
    let fs = node();
    let log = opened(&fs, small());
    log.append(&[entries(GROUP, 1..=5, 1, 50), entries(GROUP, 3..=4, 2, 70)]).unwrap();
    let expected = [(1, 1), (2, 1), (3, 2), (4, 2)];
    assert_eq!(kept(&log, GROUP), expected);
    assert!(log.payload(GROUP, 5).is_err());
    drop(log);
    assert_eq!(kept(&open(&fs, small()).unwrap(), GROUP), expected);
}

#[test]
fn hole_stranger_and_wrong_size_are_refused_and_nothing_is_written() {
    let log = opened(&node(), small());
    log.append(&[entries(GROUP, 1..=5, 1, 9)]).unwrap();
    log.compact(GROUP, 2).unwrap();
    let refused = |write: GroupWrite| {
        let first = entries(GROUP, 6..=6, 1, 9);
        assert!(matches!(log.append(&[first, write]), Err(Error::InvalidArgument { .. })));
    };
    refused(entries(GROUP, 8..=8, 1, 9));
    refused(entries(GROUP, 2..=2, 2, 9));
    refused(entries(7, 1..=1, 1, 9));
    refused(GroupWrite { entries: vec![entry(7, 1, 9), entry(9, 1, 9)], group: GROUP, ..Default::default() });
    let mut wrong = entries(GROUP, 7..=7, 1, 9);
    wrong.entries[0].0.size = 8;
    refused(wrong);
    assert_eq!(kept(&log, GROUP), [(3, 1), (4, 1), (5, 1)]);
}

#[test]
fn compaction_keeps_the_term_and_asks_only_what_is_there() {
    let fs = node();
    let log = opened(&fs, small());
    log.append(&[entries(GROUP, 1..=3, 1, 9), entries(GROUP, 4..=6, 2, 9)]).unwrap();
    log.compact(GROUP, 4).unwrap();
    for ignored in [0, 3, 4, 7, u64::MAX] {
        log.compact(GROUP, ignored).unwrap();
    }
    let check = |log: &NodeLog| {
        assert_eq!((log.first_index(GROUP), log.term_at(GROUP, 4), log.term_at(GROUP, 3)), (Some(5), Some(2), None));
        assert_eq!(kept(log, GROUP), [(5, 2), (6, 2)]);
        assert!(log.metas(GROUP, 4, 6, u64::MAX).is_empty());
        assert!(log.payload(GROUP, 4).is_err());
    };
    check(&log);
    drop(log);
    check(&open(&fs, small()).unwrap());
}

#[test]
fn snapshot_replaces_the_log_even_beyond_its_end() {
    let fs = node();
    let log = opened(&fs, small());
    log.append(&[entries(GROUP, 1..=6, 1, 9)]).unwrap();
    let hard_state = HardState { term: 9, vote: 2, commit: 20 };
    let mut write = entries(GROUP, 21..=22, 9, 9);
    write.snapshot = Some((20, 8, b"members".to_vec()));
    write.hard_state = Some(hard_state);
    log.append(&[write]).unwrap();
    log.compact(GROUP, 21).unwrap();
    let check = |log: &NodeLog| {
        assert_eq!(log.snapshot_mark(GROUP), Some((20, 8, b"members".to_vec())));
        assert_eq!(log.hard_state(GROUP), Some(hard_state));
        assert_eq!((kept(log, GROUP), log.term_at(GROUP, 21)), (vec![(22, 9)], Some(9)));
    };
    check(&log);
    drop(log);
    check(&open(&fs, small()).unwrap());
}

#[test]
fn metas_stop_within_the_bytes_but_give_one() {
    let log = opened(&node(), small());
    log.append(&[entries(GROUP, 1..=6, 1, 100)]).unwrap();
    let indexes = |start, stop, bytes| -> Vec<u64> {
        log.metas(GROUP, start, stop, bytes).iter().map(|meta| meta.index).collect()
    };
    assert_eq!(indexes(1, 7, 324), [1, 2, 3]);
    assert_eq!(indexes(1, 7, 323), [1, 2]);
    assert_eq!(indexes(2, 7, 0), [2]);
    assert_eq!(indexes(2, 4, u64::MAX), [2, 3]);
    assert_eq!(indexes(5, 99, u64::MAX), [5, 6]);
    assert!(indexes(3, 3, u64::MAX).is_empty());
    assert!(indexes(9, 12, u64::MAX).is_empty());
}

#[test]
fn payloads_beyond_the_cache_come_from_the_file() {
    let fs = node();
    let options = NodeLogOptions { log_bytes: 1 << 20, cache_bytes: 10_000 };
    let log = opened(&fs, options);
    log.append(&[entries(GROUP, 1..=200, 1, 300)]).unwrap();
    let cached = log.stats().cached_bytes;
    assert!((9_000..=10_000).contains(&cached), "{cached}");
    assert_eq!(kept(&log, GROUP).len(), 200);
    log.append(&[entries(GROUP, 201..=201, 1, 20_000)]).unwrap();
    assert_eq!(kept(&log, GROUP).len(), 201);
    log.compact(GROUP, 201).unwrap();
    assert_eq!(log.stats().cached_bytes, 0);
    for index in 202..=6000 {
        log.append(&[entries(GROUP, index..=index, 1, 30)]).unwrap();
        log.compact(GROUP, index).unwrap();
    }
    assert_eq!((log.stats().cached_bytes, log.stats().entries), (0, 0));
}

#[test]
fn removed_group_is_gone_and_may_come_again() {
    let fs = node();
    let log = opened(&fs, small());
    log.append(&[entries(GROUP, 1..=60, 1, 100)]).unwrap();
    log.remove_group(GROUP).unwrap();
    log.remove_group(GROUP).unwrap();
    assert!(log.groups().is_empty());
    drop(log);
    let log = open(&fs, small()).unwrap();
    assert!(log.groups().is_empty());
    log.add_group(GROUP, 2, 7).unwrap();
    log.append(&[entries(GROUP, 3..=4, 8, 9)]).unwrap();
    drop(log);
    let log = open(&fs, small()).unwrap();
    assert_eq!((kept(&log, GROUP), log.stats().files), (vec![(3, 8), (4, 8)], 1));
}

#[test]
fn one_turn_is_one_write() {
    let fs = node();
    let log = opened(&fs, NodeLogOptions { log_bytes: 1 << 20, ..small() });
    log.add_group(2, 0, 0).unwrap();
    let before = fs.ops();
    let mut first = entries(GROUP, 1..=64, 1, 1000);
    first.hard_state = Some(HardState { term: 1, vote: 1, commit: 0 });
    log.append(&[first, entries(2, 1..=64, 1, 1000)]).unwrap();
    assert_eq!(fs.ops() - before, 1);
    let before = log.synced();
    assert_eq!(
        log.append(&[]).unwrap().offset,
        log.append(&[GroupWrite { group: 2, ..Default::default() }]).unwrap().offset
    );
    assert_eq!(log.synced(), before, "nobody synced");
}
