//! Many scans at once: those beyond a few let go of what they read between two calls, and show what they began with.
use crate::support::{Chance, open_still, rows, tiny};
use kvarts_engine::Revision;
use kvarts_engine::db::{RowChunk, Scan};
use kvarts_engine::formats::batch::Batch;
use kvarts_engine::fs::MemFs;
use kvarts_engine::iter::{Bounds, Limits, Wanted};
use kvarts_engine::options::Durability;

type Row = (Vec<u8>, Vec<u8>, Revision);

const ALL: Wanted = Wanted { keys: true, values: true, revisions: true, expiries: false };

fn limits(rows_max: usize) -> Limits {
    Limits { rows_max, bytes_max: 1 << 20 }
}

/// A scan, and the rows that it has still to show, the next one last.
struct Running {
    scan: Scan,
    left: Vec<Row>,
}

impl Running {
    fn take(&mut self, rows_max: usize) {
        let mut chunk = RowChunk::default();
        self.scan.append(&mut chunk, limits(rows_max), ALL).unwrap();
        let (mut key_start, mut value_start) = (0, 0);
        for (i, (&key_end, &value_end)) in chunk.key_ends.iter().zip(&chunk.value_ends).enumerate() {
            let row = (
                chunk.keys[key_start..key_end].to_vec(),
                chunk.values[value_start..value_end].to_vec(),
                chunk.revisions[i],
            );
            assert_eq!(Some(row), self.left.pop());
            (key_start, value_start) = (key_end, value_end);
        }
        assert_eq!(self.scan.is_at_end(), self.left.is_empty());
    }
}

fn life_with_many_scans(seed: u64) {
    let mut chance = Chance(seed);
    let db = open_still(&MemFs::volatile(), tiny(Durability::None)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    let mut running: Vec<Running> = Vec::new();
    for round in 0..30 {
        let mut batch = Batch::new();
        for _ in 0..30 {
            let key = chance.key(200);
            if chance.one_in(4) {
                batch.delete(tree.id(), &key)
            } else {
                batch.put(tree.id(), &key, &chance.value(120))
            }
        }
        db.write(&mut batch).unwrap();
        match chance.below(5) {
            0 => db.flush().unwrap(),
            1 => db.compact(None).unwrap(),
            _ => {}
        }
        let is_reverse = round % 3 == 0;
        let mut left = rows(&db, &tree, None);
        if !is_reverse {
            left.reverse();
        }
        running.push(Running { scan: db.scan(&tree, Bounds::default(), is_reverse, None).unwrap(), left });
        for one in &mut running {
            one.take(chance.below(9) as usize);
            let key = chance.key(200);
            let expected = one.left.iter().find(|(there, ..)| *there == key).map(|(_, value, _)| value.clone());
            let found = one.scan.get(&key, |entry| entry.map(|entry| entry.value.to_vec())).unwrap();
            // What it has shown is not noted here any more.
            assert!(expected.is_none() || found == expected);
        }
    }
    assert_eq!(db.stats().snapshots, running.len() as u64);
    while let Some(mut one) = running.pop() {
        one.take(usize::MAX);
        while !one.left.is_empty() {
            one.take(usize::MAX);
        }
    }
    assert_eq!(db.stats().snapshots, 0);
    db.close().unwrap();
}

#[test]
fn resting_scans_show_what_they_began_with() {
    for seed in 0..40 {
        println!("seed {seed}: replay with life_with_many_scans({seed})");
        life_with_many_scans(seed);
    }
}

#[test]
fn a_resting_scan_of_a_dropped_tree_says_so() {
    let db = open_still(&MemFs::volatile(), tiny(Durability::None)).unwrap();
    let tree = db.create_tree("t", "", "").unwrap();
    let mut batch = Batch::new();
    (0..50_u8).for_each(|i| batch.put(tree.id(), &[i], b"v"));
    db.write(&mut batch).unwrap();
    let mut scans: Vec<Scan> = (0..20).map(|_| db.scan(&tree, Bounds::default(), false, None).unwrap()).collect();
    for scan in &mut scans {
        assert_eq!(scan.append(&mut RowChunk::default(), limits(5), ALL).unwrap(), 5);
    }
    db.drop_tree(&tree).unwrap();
    let outcomes: Vec<bool> = scans
        .iter_mut()
        .map(|scan| {
            let mut chunk = RowChunk::default();
            let outcome = scan.append(&mut chunk, limits(100), ALL);
            assert!(outcome.is_err() || chunk.key_ends.len() == 45, "all of its rows, or an error");
            outcome.is_ok()
        })
        .collect();
    assert!(outcomes[0] && !outcomes[19], "{outcomes:?}");
}
