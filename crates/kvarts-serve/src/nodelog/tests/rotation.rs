//! Files come and go: a new one says all that the groups are, an old one stays as long as any entry in it counts.
use super::super::recover::{Stretch, plan};
use super::*;
use kvarts_engine::FileId;
use std::collections::BTreeMap;

fn files(fs: &MemFs) -> Vec<u64> {
    let names = fs.list(dir()).unwrap();
    names.iter().map(|name| name.strip_suffix(".log").unwrap().parse().unwrap()).collect()
}

#[test]
fn files_go_oldest_first_once_nothing_in_them_counts() {
    let fs = node();
    let log = opened(&fs, small());
    for index in 1..=40 {
        sync(&log, entries(GROUP, index..=index, 1, 500));
    }
    let all = log.stats().files;
    assert!(all >= 6, "{all}");
    log.compact(GROUP, 10).unwrap();
    assert_eq!(log.stats().files, all, "nothing goes before the compaction is durable");
    sync(&log, entries(GROUP, 41..=41, 1, 500));
    let fewer = log.stats().files;
    assert!(fewer < all, "{fewer}");
    assert_eq!(files(&fs).len() - fewer, files(&fs).len() - log.stats().files);
    log.compact(GROUP, 41).unwrap();
    sync(&log, entries(GROUP, 42..=42, 1, 500));
    assert_eq!(log.stats().files, 1);
    drop(log);
    let log = open(&fs, small()).unwrap();
    assert_eq!((kept(&log, GROUP), log.term_at(GROUP, 41)), (vec![(42, 1)], Some(1)));
    assert_eq!(files(&fs).len(), 1);
}

#[test]
fn group_that_lags_keeps_its_files() {
    let fs = node();
    let log = opened(&fs, small());
    log.add_group(2, 0, 0).unwrap();
    log.append(&[entries(2, 1..=3, 1, 100)]).unwrap();
    let hard_state = HardState { term: 5, vote: 1, commit: 2 };
    log.append(&[GroupWrite { group: 2, hard_state: Some(hard_state), ..Default::default() }]).unwrap();
    for index in 1..=60 {
        sync(&log, entries(GROUP, index..=index, 1, 500));
        log.compact(GROUP, index).unwrap();
    }
    let lagging = log.stats().files;
    assert!(lagging >= 8, "{lagging}");
    for seed in 0..20 {
        let after = open(&fs.crash(seed), small()).unwrap();
        assert_eq!((kept(&after, 2).len(), after.hard_state(2)), (3, Some(hard_state)), "seed={seed}");
    }
    log.compact(2, 3).unwrap();
    sync(&log, entries(GROUP, 61..=61, 1, 500));
    assert!(log.stats().files <= 2, "{}", log.stats().files);
    drop(log);
    let log = open(&fs, small()).unwrap();
    assert_eq!((log.last_index(2), log.term_at(2, 3), log.hard_state(2)), (Some(3), Some(1), Some(hard_state)));
}

#[test]
fn superseded_entries_and_replaced_logs_free_their_files_too() {
    let fs = node();
    let log = opened(&fs, small());
    for index in 1..=30 {
        sync(&log, entries(GROUP, index..=index, 1, 500));
    }
    sync(&log, entries(GROUP, 1..=1, 2, 500));
    assert!(log.stats().files <= 2, "{}", log.stats().files);
    for index in 2..=30 {
        sync(&log, entries(GROUP, index..=index, 2, 500));
    }
    sync(&log, GroupWrite { group: GROUP, snapshot: Some((99, 3, b"members".to_vec())), ..Default::default() });
    assert_eq!(log.stats().files, 1);
    drop(log);
    let log = open(&fs, small()).unwrap();
    assert_eq!((log.first_index(GROUP), log.term_at(GROUP, 99)), (Some(100), Some(3)));
    assert_eq!(log.snapshot_mark(GROUP), Some((99, 3, b"members".to_vec())));
}

#[test]
fn turn_larger_than_a_file_gets_one_of_its_own() {
    let fs = node();
    let log = opened(&fs, small());
    sync(&log, entries(GROUP, 1..=40, 1, 1000));
    sync(&log, entries(GROUP, 41..=41, 1, 50_000));
    assert_eq!(kept(&log, GROUP).len(), 41);
    drop(log);
    assert_eq!(kept(&open(&fs, small()).unwrap(), GROUP).len(), 41);
}

#[test]
fn restarts_gather_no_files() {
    let fs = node();
    let log = opened(&fs, small());
    log.add_group(2, 0, 0).unwrap();
    sync(&log, entries(2, 1..=1, 1, 100));
    for index in 1..=20 {
        sync(&log, entries(GROUP, index..=index, 1, 500));
    }
    drop(log);
    let before = files(&fs).len();
    for index in 21..=24 {
        for _ in 0..5 {
            drop(open(&fs, small()).unwrap());
        }
        let log = open(&fs, small()).unwrap();
        log.append(&[entries(GROUP, index..=index, 1, 500)]).unwrap();
        assert!(log.stats().files <= before + 1, "{:?}", files(&fs));
        assert_eq!(kept(&log, GROUP).len() as u64, index);
    }
}

#[test]
fn full_disk_refuses_the_turn_and_a_later_one_goes_on() {
    let fs = node();
    let log = opened(&fs, small());
    let mut index = 1;
    fs.set_full(true);
    let error = loop {
        match log.append(&[entries(GROUP, index..=index, 1, 500)]) {
            Ok(_) => index += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::StorageFull(_)), "{error}");
    assert_eq!(kept(&log, GROUP).len() as u64, index - 1);
    fs.set_full(false);
    sync(&log, entries(GROUP, index..=index, 1, 500));
    drop(log);
    assert_eq!(kept(&open(&fs, small()).unwrap(), GROUP).len() as u64, index);
}

#[test]
fn next_file_is_made_ahead_where_a_sync_finds_the_current_one_half_full() {
    let fs = node();
    let log = opened(&fs, small());
    sync(&log, entries(GROUP, 1..=1, 1, 3000));
    assert_eq!(files(&fs), [1, 2]);
    assert_eq!(log.stats().files, 1, "it does not count yet");
    let before = fs.syncs();
    log.append(&[entries(GROUP, 2..=2, 1, 3000)]).unwrap();
    assert_eq!((fs.syncs(), log.stats().files), (before, 2), "going on in it takes no sync");
    drop(log);
    assert_eq!(kept(&open(&fs, small()).unwrap(), GROUP).len(), 2);
}

#[test]
fn plan_follows_what_recovery_made() {
    let ids = |numbers: &[u64]| numbers.iter().map(|&number| FileId(number)).collect::<Vec<_>>();
    let planned = |files: &[u64], roots: &[(u64, u64)]| {
        let roots: BTreeMap<_, _> = roots.iter().map(|&(root, after)| (FileId(root), FileId(after))).collect();
        plan(&ids(files), &roots)
            .iter()
            .map(|stretch: &Stretch| (stretch.start.0, stretch.stop.map(|stop| stop.0), stretch.after.0))
            .collect::<Vec<_>>()
    };
    assert_eq!(planned(&[], &[]), []);
    assert_eq!(planned(&[1, 2], &[(1, 0)]), [(1, None, 0)]);
    assert_eq!(planned(&[4, 5], &[]), [(4, None, 0)]);
    assert_eq!(planned(&[1, 2, 3, 5], &[(1, 0), (5, 2)]), [(1, Some(2), 0), (5, None, 2)]);
    assert_eq!(planned(&[3, 5], &[(5, 2)]), [(5, None, 2)], "3 does not count and 2 is gone");
    assert_eq!(planned(&[2, 3, 4, 6, 9], &[(4, 2), (9, 6)]), [(2, Some(2), 0), (4, Some(6), 2), (9, None, 6)]);
    assert_eq!(planned(&[1, 2, 3, 4], &[(2, 0), (4, 0)]), [(4, None, 0)]);
}

#[test]
fn files_of_the_machine_are_kept_the_same_way() {
    use kvarts_engine::fs::OsFs;
    let dir = std::env::temp_dir().join(format!("kvarts-nodelog-test-{}", std::process::id()));
    let open = || NodeLog::open(Arc::new(OsFs), &dir, NODE, NodeLogOptions { cache_bytes: 0, ..small() }).unwrap();
    let log = open();
    log.add_group(GROUP, 0, 0).unwrap();
    for index in 1..=40 {
        sync(&log, entries(GROUP, index..=index, 1, 500));
    }
    log.compact(GROUP, 20).unwrap();
    sync(&log, entries(GROUP, 35..=36, 2, 5000));
    let expected = (21..=34).map(|index| (index, 1)).chain([(35, 2), (36, 2)]).collect::<Vec<_>>();
    assert_eq!(kept(&log, GROUP), expected);
    for _ in 0..2 {
        assert_eq!(kept(&open(), GROUP), expected);
    }
    let log = open();
    log.remove_group(GROUP).unwrap();
    log.sync_to(log.append(&[]).unwrap()).unwrap();
    assert_eq!((OsFs.list(&dir).unwrap().len(), log.stats().files), (1, 1));
    for name in OsFs.list(&dir).unwrap() {
        OsFs.remove(&dir.join(name)).unwrap();
    }
    std::fs::remove_dir(&dir).unwrap();
}
