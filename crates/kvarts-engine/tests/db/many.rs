//! Reads of many keys: the same answers as one by one, from memory or disk, on one thread or several.
use super::support::{Chance, get, open_still, put, tiny};
use kvarts_engine::db::{Db, Tree};
use kvarts_engine::fs::MemFs;
use kvarts_engine::options::{Durability, Options};

const KEYS: u64 = 300;

/// Fills every place where a row can be: levels, level 0, the memtable; with tombstones and several revisions of a key.
fn fill(db: &Db, tree: &Tree, chance: &mut Chance) {
    for _ in 0..3000 {
        let (key, value) = (chance.key(KEYS), chance.value(300));
        put(db, tree, &key, &value).unwrap();
        if chance.one_in(8) {
            let mut batch = kvarts_engine::formats::batch::Batch::new();
            batch.delete(tree.id(), &chance.key(KEYS));
            db.write(&mut batch).unwrap();
        }
    }
}

#[test]
fn many_keys_are_found_as_each_alone() {
    for seed in 0..12 {
        println!("seed={seed}: many.rs");
        let mut chance = Chance(seed);
        let (memory_bytes, filter_bits) = (*chance.pick(&[1 << 20, 8 << 20]), *chance.pick(&[0, 2, 10]));
        let (fs, options) = (MemFs::new(), tiny(Durability::None));
        let db = open_still(&fs, Options { memory_bytes, filter_bits, ..options }).unwrap();
        let tree = db.create_tree("rows", "bytes", "bytes").unwrap();
        fill(&db, &tree, &mut chance);
        for count in [0, 1, 15, 16, 17, 500, 2000] {
            let keys: Vec<Vec<u8>> = (0..count).map(|_| chance.key(KEYS * 2)).collect();
            let borrowed: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let alone: Vec<_> = keys.iter().map(|key| get(&db, &tree, key)).collect();
            let (mut many, mut told) = (vec![None; count], vec![0; count]);
            db.get_many(&tree, &borrowed, None, &mut |at, entry| {
                told[at] += 1;
                many[at] = entry.map(|entry| entry.value.to_vec());
            })
            .unwrap();
            assert_eq!(many, alone);
            assert!(told.iter().all(|&times| times == 1), "each position is told once");
            for threads in [None, Some(1), Some(2), Some(4)] {
                assert_eq!(gathered(&db, &tree, &borrowed, threads), alone, "{count} keys on {threads:?} threads");
            }
        }
    }
}

fn gathered(db: &Db, tree: &Tree, keys: &[&[u8]], threads: Option<usize>) -> Vec<Option<Vec<u8>>> {
    let mut positions: Vec<usize> = (0..keys.len()).collect();
    let mut values = vec![None; keys.len()];
    let point = db.read_point(tree, None).unwrap();
    for part in point.gather(keys, &mut positions, threads).unwrap() {
        for (position, start, end) in part.spans {
            values[position] = Some(part.bytes[start..end].to_vec());
        }
    }
    values
}

#[test]
fn a_read_point_stays_at_its_revision() {
    let db = open_still(&MemFs::new(), tiny(Durability::None)).unwrap();
    let tree = db.create_tree("rows", "bytes", "bytes").unwrap();
    put(&db, &tree, b"key", b"old").unwrap();
    let point = db.read_point(&tree, None).unwrap();
    put(&db, &tree, b"key", b"new").unwrap();
    db.compact(None).unwrap();
    let mut found = Vec::new();
    point.find_rest(&[b"key"], &mut [0], &mut |_, entry| found.push(entry.map(|entry| entry.value.to_vec()))).unwrap();
    assert_eq!(found, [Some(b"old".to_vec())]);
    assert_eq!(get(&db, &tree, b"key"), Some(b"new".to_vec()));
}
