//! Models: loom runs each with every order of its threads, and with every value that a load may return under the orderings
//! that are written there. `nox -s models` runs them; each is run again with bugs planted, which must be found.
//!
//! Reader and writer are both spawned, the writer first: loom remembers of each atomic only the last access, so a reader that
//! runs first in the main thread would hide from it what there is to try.
//!
//! What runs is the code of the memtable (skip list, arena, table of keys) and of `publish`. The state of a tree, an `ArcSwap`
//! in the store, is a number here. Threads are few and rows fewer: the bound on preemptions is three.
use super::publish::{raise, read_point, replace, shown};
use crate::memtable::Memtable;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Plant, plant};
use crate::{Kind, Revision};
use loom::model::Builder;
use loom::thread;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

const OLD: &[u8] = b"m-old";

/// Runs a model as it is, which must hold, and with each of the bugs, each of which must be found.
fn holds_but_for(bugs: &[Plant], model: fn()) {
    let check = || {
        let mut builder = Builder::new();
        builder.preemption_bound = Some(3);
        builder.max_branches = 20_000;
        builder.check(model);
    };
    // What is planted holds for the whole process: one test at a time.
    static ALONE: crate::sync::Mutex<()> = crate::sync::Mutex::new(());
    let _alone = ALONE.lock();
    plant(Plant::Nothing);
    check();
    for &bug in bugs {
        plant(bug);
        let found = catch_unwind(AssertUnwindSafe(check)).is_err();
        plant(Plant::Nothing);
        assert!(found, "the model does not find the planted bug {bug:?}");
    }
}

/// Returns a memtable with one row.
fn memtable() -> Arc<Memtable> {
    let table = Memtable::new();
    table.insert(OLD, Revision(1), Kind::Put, OLD);
    table
}

fn insert(table: &Memtable, key: &[u8], revision: u64) {
    table.insert(key, Revision(revision), Kind::Put, key);
}

/// Asserts that a key is there at a revision, whole: its value is the key.
fn assert_holds(table: &Memtable, key: &[u8], at: Revision) {
    let row = table.get(key, at).expect("what was shown is found");
    assert_eq!(row.value, key);
}

#[test]
fn a_scan_beside_an_insert_misses_nothing_that_was_there() {
    holds_but_for(&[Plant::Link], || {
        let table = memtable();
        let writer = Arc::clone(&table);
        let writing = thread::spawn(move || {
            insert(&writer, b"a-new", 2);
            insert(&writer, b"z-new", 3);
        });
        let reading = thread::spawn(move || {
            let mut cursor = table.cursor();
            cursor.seek_first().unwrap();
            let mut seen = Vec::new();
            while cursor.valid() {
                assert_eq!(cursor.key(), cursor.value());
                seen.push(cursor.key().to_vec());
                cursor.next().unwrap();
            }
            assert!(seen.is_sorted());
            assert!(seen.iter().any(|key| key == OLD), "{seen:?}");
        });
        writing.join().unwrap();
        reading.join().unwrap();
    });
}

#[test]
fn a_get_beside_an_insert_finds_a_row_whole_or_not_at_all() {
    holds_but_for(&[Plant::Note, Plant::Slot], || {
        let table = memtable();
        let writer = Arc::clone(&table);
        let writing = thread::spawn(move || {
            insert(&writer, b"new", 2);
            insert(&writer, OLD, 3);
        });
        let reading = thread::spawn(move || {
            if let Some(row) = table.get(b"new", Revision::MAX) {
                assert_eq!((row.value, row.revision), (&b"new"[..], Revision(2)));
            }
            assert_holds(&table, OLD, Revision::MAX);
        });
        writing.join().unwrap();
        reading.join().unwrap();
    });
}

#[test]
fn a_get_finds_old_keys_while_the_table_of_keys_grows() {
    holds_but_for(&[Plant::Grow], || {
        let table = memtable();
        insert(&table, b"second", 2);
        let writer = Arc::clone(&table);
        // Three of four slots: the table doubles.
        let writing = thread::spawn(move || insert(&writer, b"third", 3));
        let reading = thread::spawn(move || {
            assert_holds(&table, OLD, Revision::MAX);
            assert_holds(&table, b"second", Revision::MAX);
        });
        writing.join().unwrap();
        reading.join().unwrap();
    });
}

#[test]
fn what_a_revision_shows_is_there_for_gets_and_scans_either_way() {
    holds_but_for(&[Plant::Show], || {
        let (table, visible) = (memtable(), Arc::new(AtomicU64::new(1)));
        let (writer, showing) = (Arc::clone(&table), Arc::clone(&visible));
        let writing = thread::spawn(move || {
            insert(&writer, b"a", 2);
            insert(&writer, b"z", 2);
            raise(&showing, Revision(2));
        });
        let reading = thread::spawn(move || {
            let at = shown(&visible);
            if at == Revision(2) {
                assert_holds(&table, b"a", at);
                assert_holds(&table, b"z", at);
                let mut cursor = table.cursor();
                cursor.seek_last().unwrap();
                for key in [b"z", OLD, b"a"] {
                    assert_eq!(cursor.key(), key);
                    cursor.prev().unwrap();
                }
            }
        });
        writing.join().unwrap();
        reading.join().unwrap();
    });
}

#[test]
fn a_reader_beside_a_seal_has_all_rows_of_the_revision_it_reads_at() {
    holds_but_for(&[Plant::Count, Plant::Recheck, Plant::Show], || {
        // How many of the memtables, oldest first, are in the state of the tree.
        let (mems, state) = (Arc::new([memtable(), Memtable::new()]), Arc::new(AtomicUsize::new(1)));
        let counters = Arc::new((AtomicU64::new(0), AtomicU64::new(1)));
        let (all, sealing, shared) = (Arc::clone(&mems), Arc::clone(&state), Arc::clone(&counters));
        let writing = thread::spawn(move || {
            let (generation, visible) = &*shared;
            replace(generation, || sealing.store(2, Ordering::Release));
            insert(&all[1], b"new", 2);
            raise(visible, Revision(2));
        });
        let reading = thread::spawn(move || {
            let (generation, visible) = &*counters;
            let (count, at) = read_point(generation, || state.load(Ordering::Acquire), visible);
            let found = |key| mems[..count].iter().any(|mem| mem.get(key, at).is_some_and(|row| row.value == key));
            assert!(found(OLD));
            assert_eq!(found(b"new"), at == Revision(2), "the state holds what is visible");
        });
        writing.join().unwrap();
        reading.join().unwrap();
    });
}
