//! A slow disk delays what waits for it, and nothing else: not what is read, not the order, not what is kept.
use crate::support::{get, open_on, put, tiny};
use crate::trace::NOW_MS;
use kvarts_engine::clock::{Clock, ManualClock, OsClock};
use kvarts_engine::db::Db;
use kvarts_engine::fs::{FaultFs, MemFs};
use kvarts_engine::options::{Durability, Options};
use kvarts_engine::{Error, Revision};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longest sync; none takes less than half of it.
const LONGEST: Duration = Duration::from_millis(20);

fn options() -> Options {
    Options { background: true, ..tiny(Durability::Sync) }
}

fn open(fs: &FaultFs) -> Arc<Db> {
    open_on(Arc::new(fs.clone()), &Arc::new(ManualClock::new(NOW_MS)), options()).unwrap()
}

#[test]
fn a_slow_sync_delays_the_answer_but_no_reader() {
    let disk = MemFs::new();
    let fs = FaultFs::new(Arc::new(disk.clone()));
    let db = open(&fs);
    let tree = db.create_tree("t", "", "").unwrap();
    put(&db, &tree, b"k", b"before").unwrap();
    fs.slow_syncs(7, LONGEST);
    let answered = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let clock = OsClock::default();
            let start = clock.monotonic_ns();
            put(&db, &tree, b"k", b"after").unwrap();
            answered.store(true, Ordering::SeqCst);
            assert!(
                u128::from(clock.monotonic_ns() - start) >= (LONGEST / 2).as_nanos(),
                "an answer that did not wait for the disk"
            );
        });
        while !answered.load(Ordering::SeqCst) {
            let value = get(&db, &tree, b"k").unwrap();
            assert!(value == b"before" || value == b"after", "{value:?}");
        }
    });
    assert_eq!(get(&db, &tree, b"k").unwrap(), b"after");
    let left = open(&FaultFs::new(Arc::new(disk.crash(1))));
    assert_eq!(get(&left, &left.tree("t").unwrap().unwrap(), b"k").unwrap(), b"after");
}

#[test]
fn writers_keep_their_order_and_close_waits_for_the_disk() {
    let disk = MemFs::new();
    let fs = FaultFs::new(Arc::new(disk.clone()));
    let db = open(&fs);
    let tree = db.create_tree("t", "", "").unwrap();
    fs.slow_syncs(11, LONGEST);
    let write = |writer: u8| -> Vec<(Vec<u8>, Revision)> {
        let mut answered = Vec::new();
        for number in 0..200_u8 {
            let key = vec![writer, number];
            match put(&db, &tree, &key, &[number; 100]) {
                Ok(revision) => answered.push((key, revision)),
                Err(Error::Closed) => return answered,
                Err(error) => panic!("{error:?}"),
            }
        }
        answered
    };
    let answered: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = [1, 2, 3]
            .map(|writer| {
                let write = &write;
                scope.spawn(move || write(writer))
            })
            .into();
        while db.revision() < Revision(12) {
            std::thread::yield_now();
        }
        db.close().unwrap();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    for of_writer in &answered {
        assert!(of_writer.windows(2).all(|two| two[0].1 < two[1].1), "{of_writer:?}");
    }
    // Closed means durable: a power loss takes nothing.
    let again = open(&FaultFs::new(Arc::new(disk.crash(3))));
    let tree = again.tree("t").unwrap().unwrap();
    for (key, _) in answered.iter().flatten() {
        assert_eq!(get(&again, &tree, key), Some(vec![key[1]; 100]));
    }
}
