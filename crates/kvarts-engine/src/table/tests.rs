use super::*;
use crate::fs::{Fs, MemFs};
use crate::iter::{Cursor, compare};
use crate::options::Options;
use crate::{Error, Kind, Result, Revision};
use kvarts_formats::compress::Compression;
use kvarts_formats::hash::key_hash;
use kvarts_formats::table::Properties;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
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
    let mut writer = TableWriter::create(fs, dir(), STORE, file, options).unwrap();
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

#[test]
fn obsolete_tables_take_their_file_and_blocks_along() {
    let (_, fs) = fs();
    write(&*fs, FILE, &small_options(), &small_rows());
    let cache = BlockCache::new(1 << 20);
    let table = Table::open(&fs, dir(), STORE, FILE, &cache).unwrap();
    let mut cursor = table.cursor(true);
    scan(&mut *cursor).unwrap();
    assert!(cache.bytes() > 0);
    table.mark_obsolete();
    drop(table);
    assert!(fs.exists(&table_path(dir(), FILE)).unwrap(), "a cursor still reads it");
    cursor.seek_last().unwrap();
    assert!(cursor.valid());
    drop(cursor);
    assert!(!fs.exists(&table_path(dir(), FILE)).unwrap());
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn searches_in_memory_ask_for_a_read_once() {
    let (_, fs) = fs();
    let rows = small_rows();
    write(&*fs, FILE, &small_options(), &rows);
    let table = open(&fs, FILE, 1 << 20).unwrap();
    let key = b"key/010";
    let try_get = || table.try_get(key, key_hash(key), Revision::MAX);
    assert!(matches!(try_get(), TableAnswer::NeedsRead));
    get(&table, key, 200).unwrap();
    assert!(matches!(try_get(), TableAnswer::Found(..)));
    assert_eq!(table.cache.counts(), (1, 1));
    let uncached = open(&fs, FILE, 0).unwrap();
    get(&uncached, key, 200).unwrap();
    assert!(matches!(uncached.try_get(key, key_hash(key), Revision::MAX), TableAnswer::NeedsRead));
}

#[test]
fn a_filter_answers_for_absent_keys() {
    let (_, fs) = fs();
    write(&*fs, FILE, &small_options(), &small_rows());
    let table = open(&fs, FILE, 1 << 20).unwrap();
    let absent = (0..1000).map(|i| format!("key/{i:03}x").into_bytes());
    let reads = absent.filter(|key| !matches!(table.try_get(key, key_hash(key), Revision::MAX), TableAnswer::Absent));
    assert!(reads.count() < 50);
}

#[test]
fn scans_without_filling_leave_the_cache_alone() {
    let (_, fs) = fs();
    write(&*fs, FILE, &small_options(), &small_rows());
    let table = open(&fs, FILE, 1 << 20).unwrap();
    scan(&mut *table.cursor(false)).unwrap();
    assert_eq!((table.cache.bytes(), table.cache.counts()), (0, (0, 0)));
}

#[test]
fn a_table_of_another_place_is_refused() {
    let (_, fs) = fs();
    let (_, len) = write(&*fs, FILE, &small_options(), &small_rows());
    let cache = BlockCache::new(0);
    let what = |store, file| match Table::open(&fs, dir(), store, file, &cache).map(drop) {
        Err(Error::Corruption { file, offset: 0, what }) => (file, what),
        other => panic!("{other:?}"),
    };
    fs.link(&table_path(dir(), FILE), &table_path(dir(), FileId(8))).unwrap();
    assert_eq!(what(*b"another store...", FILE).1, "the file belongs to another store");
    assert_eq!(what(STORE, FileId(8)), (table_path(dir(), FileId(8)), "the file has the number of another".into()));
    assert_eq!(what(STORE, FileId(9)).1, "the file is missing");
    assert!(len > 1000);
}

#[test]
#[should_panic(expected = "rows of a table must come sorted")]
fn unsorted_rows_are_a_bug() {
    let (_, fs) = fs();
    let mut writer = TableWriter::create(&*fs, dir(), STORE, FILE, &small_options()).unwrap();
    writer.add(b"b", Revision(1), Kind::Put, b"").unwrap();
    let _ = writer.add(b"b", Revision(1), Kind::Put, b"");
}

#[test]
fn a_full_disk_is_named() {
    let (control, fs) = fs();
    control.set_space(600);
    let mut writer = TableWriter::create(&*fs, dir(), STORE, FILE, &small_options()).unwrap();
    for ((key, revision), (kind, value)) in &small_rows() {
        writer.add(key, Revision(revision.0), *kind, value).unwrap();
    }
    assert!(matches!(writer.finish(), Err(Error::StorageFull(path)) if path == table_path(dir(), FILE)));
}

/// Everything a reader can ask of a table, or the first error.
fn answers(fs: &Arc<dyn Fs>, rows: &Rows) -> Result<(Vec<Found>, Vec<Flat>)> {
    let table = open(fs, FILE, 1 << 20)?;
    let found: Result<Vec<Found>> = rows.keys().map(|(key, revision)| get(&table, key, revision.0)).collect();
    Ok((found?, scan(&mut *table.cursor(true))?))
}

#[test]
fn no_flipped_byte_changes_an_answer() {
    let (control, fs) = fs();
    let rows = small_rows();
    let (_, len) = write(&*fs, FILE, &small_options(), &rows);
    let path = table_path(dir(), FILE);
    let whole = answers(&fs, &rows).unwrap();
    let before = open(&fs, FILE, 0).unwrap();
    for offset in 0..len {
        let xor = 1 << (offset % 8);
        control.corrupt(&path, offset, xor).unwrap();
        let place = |error| match error {
            Error::Corruption { file, offset: at, .. } if file == path => at,
            Error::NewerFormat { file, .. } if file == path && offset < 128 => 0,
            other => panic!("byte {offset}: {other:?}"),
        };
        match answers(&fs, &rows) {
            Ok(found) => assert!(found == whole, "byte {offset} changed an answer"),
            Err(error) => assert!(place(error) <= offset, "byte {offset} is damaged"),
        }
        let found = before.verify().map_err(place);
        assert!(found.is_err_and(|at| at <= offset && offset - at < 1200), "byte {offset}: {found:?}");
        control.corrupt(&path, offset, xor).unwrap();
    }
    before.verify().unwrap();
}

#[test]
fn a_cut_table_is_damage() {
    let (control, fs) = fs();
    let rows = small_rows();
    let (_, len) = write(&*fs, FILE, &small_options(), &rows);
    let before = open(&fs, FILE, 0).unwrap();
    for len in (0..len).rev().step_by(61) {
        control.truncate(&table_path(dir(), FILE), len).unwrap();
        assert!(matches!(open(&fs, FILE, 0), Err(Error::Corruption { .. })), "{len} bytes");
        assert!(matches!(before.verify(), Err(Error::Corruption { .. })), "{len} bytes");
    }
}

fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(0u8..3, 0..4), vec(any::<u8>(), 0..30), "user/[0-9]{1,3}".prop_map(String::into_bytes)]
}

fn any_rows() -> impl Strategy<Value = Rows> {
    let body = prop_oneof![
        Just((Kind::Delete, vec![])),
        vec(any::<u8>(), 0..300).prop_map(|value| (Kind::Put, value)),
        vec(any::<u8>(), 8..20).prop_map(|value| (Kind::PutExpiring, value)),
        (any::<u8>(), 0usize..40).prop_map(|(byte, len)| (Kind::Put, vec![byte; len])),
    ];
    btree_map((any_key(), (0u64..6).prop_map(Reverse)), body, 1..150)
}

fn any_options() -> impl Strategy<Value = Options> {
    let block_bytes = prop_oneof![Just(256), Just(700), Just(4096), Just(64 << 10)];
    let compression = prop_oneof![Just(Compression::None), Just(Compression::Lz4)];
    let filter_bits = prop_oneof![Just(0), Just(10)];
    (block_bytes, compression, filter_bits).prop_map(|(block_bytes, compression, filter_bits)| Options {
        block_bytes,
        compression,
        filter_bits,
        ..Options::default()
    })
}

/// Walks and seeks of a cursor, against the sorted rows.
fn check_moves(cursor: &mut dyn Cursor, rows: &[Flat], moves: &[(u8, Vec<u8>, u64)]) {
    let mut at: Option<usize> = None;
    for (step, key, revision) in moves {
        let split = rows.partition_point(|row| compare((&row.0, Revision(row.1)), (key, Revision(*revision))).is_lt());
        match (step, at) {
            (0, _) => {
                cursor.seek_first().unwrap();
                at = Some(0);
            }
            (1, _) => {
                cursor.seek_last().unwrap();
                at = rows.len().checked_sub(1);
            }
            (2, _) => {
                cursor.seek(key, Revision(*revision)).unwrap();
                at = Some(split);
            }
            (3, _) => {
                cursor.seek_before(key, Revision(*revision)).unwrap();
                at = split.checked_sub(1);
            }
            (4..7, Some(here)) => {
                cursor.next().unwrap();
                at = Some(here + 1);
            }
            (7..10, Some(here)) => {
                cursor.prev().unwrap();
                at = here.checked_sub(1);
            }
            _ => {}
        }
        at = at.filter(|&at| at < rows.len());
        assert_eq!(cursor.valid().then(|| standing(cursor)).as_ref(), at.map(|at| &rows[at]));
    }
}

fn any_moves() -> impl Strategy<Value = Vec<(u8, Vec<u8>, u64)>> {
    vec((0u8..10, any_key(), 0u64..7), 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn gets_agree_with_the_model(rows in any_rows(), options in any_options(), keys in vec(any_key(), 0..20), at in 0u64..7) {
        let (_, fs) = fs();
        let (properties, _) = write(&*fs, FILE, &options, &rows);
        let table = open(&fs, FILE, 1 << 20).unwrap();
        prop_assert_eq!(table.properties(), &properties);
        prop_assert_eq!(properties.rows, rows.len() as u64);
        for key in rows.keys().map(|(key, _)| key).chain(&keys) {
            prop_assert_eq!(get(&table, key, at).unwrap(), get_from(&rows, key, at));
        }
        table.verify().unwrap();
    }

    #[test]
    fn cursors_agree_with_the_model(rows in any_rows(), options in any_options(), moves in any_moves(), fill in any::<bool>()) {
        let (_, fs) = fs();
        write(&*fs, FILE, &options, &rows);
        let table = open(&fs, FILE, if fill { 4096 } else { 0 }).unwrap();
        let wanted = flat(&rows);
        let mut cursor = table.cursor(fill);
        prop_assert_eq!(&scan(&mut *cursor).unwrap(), &wanted);
        cursor.seek_last().unwrap();
        let mut backward = drain(&mut *cursor, |cursor| cursor.prev()).unwrap();
        backward.reverse();
        prop_assert_eq!(&backward, &wanted);
        check_moves(&mut *cursor, &wanted, &moves);
    }

    #[test]
    fn level_cursors_agree_with_the_model(rows in any_rows(), cuts in vec(any_key(), 0..6), moves in any_moves()) {
        let (_, fs) = fs();
        let cache = BlockCache::new(1 << 20);
        let mut parts: BTreeMap<usize, Rows> = BTreeMap::new();
        for ((key, revision), body) in &rows {
            let part = cuts.iter().filter(|cut| *cut <= key).count();
            parts.entry(part).or_default().insert((key.clone(), *revision), body.clone());
        }
        let tables = parts.iter().map(|(part, rows)| {
            let file = FileId(*part as u64 + 1);
            write(&*fs, file, &small_options(), rows);
            Table::open(&fs, dir(), STORE, file, &cache).unwrap()
        });
        let mut cursor = level_cursor(tables.collect(), true);
        let wanted = flat(&rows);
        prop_assert_eq!(&scan(&mut *cursor).unwrap(), &wanted);
        check_moves(&mut *cursor, &wanted, &moves);
    }
}
