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
    assert_eq!(table.record(), &record(FILE, bytes, properties));
    assert_eq!(bytes, fs.open(&table_path(dir(), FILE)).unwrap().len());
    assert_eq!(scan(&mut *table.cursor(true)).unwrap(), flat(&rows));
    for (key, revision) in rows.keys() {
        for at in [revision.0 - 1, revision.0, revision.0 + 1] {
            assert_eq!(get(&table, key, at).unwrap(), get_from(&rows, key, at), "{key:?} at {at}");
        }
    }
    assert!(table.verify().unwrap() > 5);
}

/// A table that only its record tells of, as after opening a store.
fn unopened(fs: &Arc<dyn Fs>, properties: Properties, bytes: u64, cache: &Arc<BlockCache>) -> Arc<Table> {
    Table::unopened(fs, &dir().into(), STORE, &Arc::new(record(FILE, bytes, properties)), 1, cache)
}

#[test]
fn a_table_is_loaded_by_the_first_read_that_needs_it() {
    let (_, fs) = fs();
    let rows = small_rows();
    let (properties, bytes) = write(&*fs, FILE, &small_options(), &rows);
    let cache = BlockCache::new(1 << 20);
    let table = unopened(&fs, properties, bytes, &cache);
    let before = table.memory_bytes();
    let hash = key_hash(b"key/001");
    assert!(matches!(table.try_get(b"key/001", hash, Revision(100)), TableAnswer::NeedsRead));
    assert_eq!(cache.files().count(), 0, "nobody has opened it");
    assert!(table.verify().unwrap() > 5);
    assert_eq!(table.memory_bytes(), before, "verify keeps nothing");
    assert_eq!(get(&table, b"key/001", 100).unwrap(), get_from(&rows, b"key/001", 100));
    assert!(matches!(table.try_get(b"key/001", hash, Revision(100)), TableAnswer::Found(..)));
    assert!(table.memory_bytes() > before);
    assert_eq!(scan(&mut *table.cursor(true)).unwrap(), flat(&rows));
}

#[test]
fn what_is_wrong_with_a_table_is_said_by_the_read_that_loads_it() {
    let (disk, fs) = fs();
    let (properties, bytes) = write(&*fs, FILE, &small_options(), &small_rows());
    let other = Properties { rows: properties.rows - 1, ..properties.clone() };
    let lied = unopened(&fs, other, bytes, &BlockCache::new(1 << 20));
    let what = |error: Option<crate::Error>| match error {
        Some(crate::Error::Corruption { file, what, .. }) if file == table_path(dir(), FILE) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(what(get(&lied, b"key/001", 100).err()), "it and the manifest disagree about the table");
    let table = unopened(&fs, properties, bytes, &BlockCache::new(1 << 20));
    disk.corrupt(&table_path(dir(), FILE), bytes - 60, 1).unwrap();
    let found = [get(&table, b"key/001", 100).err(), scan(&mut *table.cursor(false)).err(), table.verify().err()];
    found.into_iter().for_each(|error| assert!(what(error).contains("checksum")));
    disk.corrupt(&table_path(dir(), FILE), bytes - 60, 1).unwrap();
    assert!(get(&table, b"key/001", 100).unwrap().is_some(), "what failed was not kept");
}

#[test]
fn few_descriptors_serve_many_tables() {
    let (_, fs) = fs();
    let rows = small_rows();
    let cache = BlockCache::with_files(0, 2);
    let tables: Vec<_> = (0..10)
        .map(|file| {
            write(&*fs, FileId(file), &small_options(), &rows);
            Table::open(&fs, dir(), STORE, FileId(file), &cache).unwrap()
        })
        .collect();
    for round in 0..3u64 {
        for table in &tables {
            assert_eq!(get(table, b"key/010", 100 - round).unwrap(), get_from(&rows, b"key/010", 100 - round));
            assert!(cache.files().count() <= 2);
        }
    }
    let mut cursors: Vec<_> = tables.iter().map(|table| table.cursor(false)).collect();
    cursors.iter_mut().for_each(|cursor| cursor.seek_first().unwrap());
    cursors.iter_mut().for_each(|cursor| {
        assert_eq!(drain(&mut **cursor, |cursor| cursor.next()).unwrap(), flat(&rows));
    });
    drop((cursors, tables));
    assert_eq!(cache.files().count(), 0);
}

#[test]
fn a_file_that_was_replaced_while_it_was_closed_is_damage() {
    let (disk, fs) = fs();
    let cache = BlockCache::with_files(0, 1);
    let (_, bytes) = write(&*fs, FILE, &small_options(), &small_rows());
    let table = Table::open(&fs, dir(), STORE, FILE, &cache).unwrap();
    write(&*fs, FileId(8), &small_options(), &small_rows());
    let _other = Table::open(&fs, dir(), STORE, FileId(8), &cache).unwrap();
    disk.truncate(&table_path(dir(), FILE), bytes - 1).unwrap();
    let error = get(&table, b"key/001", 100).unwrap_err();
    assert!(matches!(&error, crate::Error::Corruption { what, .. } if what.contains("changed")), "{error:?}");
    disk.remove(&table_path(dir(), FILE)).unwrap();
    let error = get(&table, b"key/001", 100).unwrap_err();
    assert!(matches!(&error, crate::Error::Corruption { what, .. } if what == "the file is missing"), "{error:?}");
}
