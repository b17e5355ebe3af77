use super::*;
use crate::fs::{Fs, MemFs};
use crate::iter::Cursor;
use crate::options::Options;
use crate::{Kind, Result, Revision};
use kvarts_formats::hash::key_hash;
use kvarts_formats::table::Properties;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

const STORE: [u8; 16] = *b"a store of tests";
const FILE: FileId = FileId(7);

type Rows = BTreeMap<(Vec<u8>, Reverse<u64>), (Kind, Vec<u8>)>;
type Flat = (Vec<u8>, u64, Kind, Vec<u8>);

/// A file system, and the same for tests to break.
fn fs() -> (MemFs, Arc<dyn Fs>) {
    let fs = MemFs::new();
    (fs.clone(), Arc::new(fs))
}

fn dir() -> &'static Path {
    Path::new("/")
}

fn write(fs: &dyn Fs, file: FileId, options: &Options, rows: &Rows) -> (Properties, u64) {
    let mut writer = TableWriter::create(fs, dir(), STORE, file, options, options.compression.at(0)).unwrap();
    for ((key, revision), (kind, value)) in rows {
        writer.add(key, Revision(revision.0), *kind, value).unwrap();
    }
    writer.finish().unwrap()
}

fn open(fs: &Arc<dyn Fs>, file: FileId, cache_bytes: usize) -> Result<Arc<Table>> {
    Table::open(fs, dir(), STORE, file, &BlockCache::new(cache_bytes))
}

/// Rows of 50 keys with 1 to 3 revisions each, over several small blocks.
fn small_rows() -> Rows {
    let row = |i: u64| {
        let kind = [Kind::Put, Kind::Put, Kind::Delete, Kind::PutExpiring][i as usize % 4];
        let value = if kind == Kind::Delete { vec![] } else { (i + 1000).to_le_bytes().repeat(3) };
        ((format!("key/{:03}", i / 2).into_bytes(), Reverse(100 - i)), (kind, value))
    };
    (0..100).filter(|i| i % 5 > 0).map(row).collect()
}

fn small_options() -> Options {
    Options { block_bytes: 256, ..Options::default() }
}

fn flat(rows: &Rows) -> Vec<Flat> {
    rows.iter().map(|((key, revision), (kind, value))| (key.clone(), revision.0, *kind, value.clone())).collect()
}

fn standing(cursor: &dyn Cursor) -> Flat {
    (cursor.key().to_vec(), cursor.revision().0, cursor.kind(), cursor.value().to_vec())
}

/// All rows from the current one on.
fn drain(cursor: &mut dyn Cursor, step: fn(&mut dyn Cursor) -> Result<()>) -> Result<Vec<Flat>> {
    let mut rows = Vec::new();
    while cursor.valid() {
        rows.push(standing(cursor));
        step(cursor)?;
    }
    Ok(rows)
}

fn scan(cursor: &mut dyn Cursor) -> Result<Vec<Flat>> {
    cursor.seek_first()?;
    drain(cursor, |cursor| cursor.next())
}

type Found = Option<(u64, Kind, Vec<u8>)>;

/// What `get` finds; `try_get` has to agree once the block is in the cache.
fn get(table: &Table, key: &[u8], at: u64) -> Result<Found> {
    match table.get(key, key_hash(key), Revision(at))? {
        TableAnswer::Found(block, row) => {
            assert_eq!(block.find(key, Revision(at)), Some(row));
            Ok(Some((block.revision(row).0, block.kind(row), block.value(row).to_vec())))
        }
        TableAnswer::Absent => Ok(None),
        TableAnswer::NeedsRead => panic!("get never needs a read"),
    }
}

fn get_from(rows: &Rows, key: &[u8], at: u64) -> Found {
    let ((found, revision), (kind, value)) = rows.range((key.to_vec(), Reverse(at))..).next()?;
    (found == key).then(|| (revision.0, *kind, value.clone()))
}

#[test]
fn a_table_reads_back() {
    let (_, fs) = fs();
    let rows = small_rows();
    let (properties, bytes) = write(&*fs, FILE, &small_options(), &rows);
    let table = open(&fs, FILE, 1 << 20).unwrap();
    assert_eq!(table.properties(), &properties);
    assert_eq!(bytes, fs.open(&table_path(dir(), FILE)).unwrap().len());
    assert_eq!(scan(&mut *table.cursor(true)).unwrap(), flat(&rows));
    for (key, revision) in rows.keys() {
        for at in [revision.0 - 1, revision.0, revision.0 + 1] {
            assert_eq!(get(&table, key, at).unwrap(), get_from(&rows, key, at), "{key:?} at {at}");
        }
    }
    assert!(table.verify().unwrap() > 5);
}
