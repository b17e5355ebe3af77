use super::*;
use kvarts_formats::block::BlockBuilder;
use proptest::collection::vec;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::BTreeMap;

type Row = (Vec<u8>, u64, Kind, Vec<u8>);

/// A cursor over sorted rows; counts its moves.
struct VecCursor {
    rows: Vec<Row>,
    at: Option<usize>,
}

impl VecCursor {
    fn boxed(mut rows: Vec<Row>) -> BoxCursor {
        rows.sort_by(|a, b| compare((&a.0, Revision(a.1)), (&b.0, Revision(b.1))));
        Box::new(Self { rows, at: None })
    }

    fn split(&self, key: &[u8], revision: Revision) -> usize {
        self.rows.partition_point(|row| compare((&row.0, Revision(row.1)), (key, revision)).is_lt())
    }

    fn stand(&mut self, at: Option<usize>) -> Result<()> {
        self.at = at.filter(|&at| at < self.rows.len());
        Ok(())
    }

    fn row(&self) -> &Row {
        &self.rows[self.at.unwrap()]
    }
}

impl Cursor for VecCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.stand(Some(0))
    }
    fn seek_last(&mut self) -> Result<()> {
        self.stand(self.rows.len().checked_sub(1))
    }
    fn seek(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        self.stand(Some(self.split(key, revision)))
    }
    fn seek_before(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        self.stand(self.split(key, revision).checked_sub(1))
    }
    fn next(&mut self) -> Result<()> {
        self.stand(Some(self.at.unwrap() + 1))
    }
    fn prev(&mut self) -> Result<()> {
        self.stand(self.at.unwrap().checked_sub(1))
    }
    fn valid(&self) -> bool {
        self.at.is_some()
    }
    fn key(&self) -> &[u8] {
        &self.row().0
    }
    fn revision(&self) -> Revision {
        Revision(self.row().1)
    }
    fn kind(&self) -> Kind {
        self.row().2
    }
    fn value(&self) -> &[u8] {
        &self.row().3
    }
}

/// The same over blocks of up to `block_rows` rows, from which runs can be taken.
struct BlockCursor {
    rows: VecCursor,
    blocks: Vec<Block>,
    block_rows: usize,
}

impl BlockCursor {
    fn boxed(mut rows: Vec<Row>, block_rows: usize) -> BoxCursor {
        rows.sort_by(|a, b| compare((&a.0, Revision(a.1)), (&b.0, Revision(b.1))));
        rows.dedup_by(|b, a| (&a.0, a.1) == (&b.0, b.1));
        let block = |rows: &[Row]| {
            let mut builder = BlockBuilder::new(3);
            rows.iter().for_each(|(key, revision, kind, value)| builder.add(key, Revision(*revision), *kind, value));
            Block::parse(builder.finish()).unwrap()
        };
        let blocks = rows.chunks(block_rows).map(block).collect();
        Box::new(Self { rows: VecCursor { rows, at: None }, blocks, block_rows })
    }
}

impl Cursor for BlockCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.rows.seek_first()
    }
    fn seek_last(&mut self) -> Result<()> {
        self.rows.seek_last()
    }
    fn seek(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        self.rows.seek(key, revision)
    }
    fn seek_before(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        self.rows.seek_before(key, revision)
    }
    fn next(&mut self) -> Result<()> {
        self.rows.next()
    }
    fn prev(&mut self) -> Result<()> {
        self.rows.prev()
    }
    fn valid(&self) -> bool {
        self.rows.valid()
    }
    fn key(&self) -> &[u8] {
        self.rows.key()
    }
    fn revision(&self) -> Revision {
        self.rows.revision()
    }
    fn kind(&self) -> Kind {
        self.rows.kind()
    }
    fn value(&self) -> &[u8] {
        self.rows.value()
    }
    fn block(&self) -> Option<(&Block, usize)> {
        let at = self.rows.at?;
        Some((&self.blocks[at / self.block_rows], at % self.block_rows))
    }
    fn skip_in_block(&mut self, row: usize, before: &[u8]) -> Result<()> {
        let at = self.rows.at.unwrap();
        let to = at / self.block_rows * self.block_rows + row;
        assert!(to > at && self.rows.rows[to - 1].0 == before);
        self.rows.stand(Some(to))
    }
}

fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(0u8..2, 0..3), vec(0u8..2, 0..3).prop_map(|tail| [b"prefix--".as_slice(), &tail].concat())]
}

fn any_row() -> impl Strategy<Value = Row> {
    let body = prop_oneof![
        Just((Kind::Delete, vec![])),
        vec(any::<u8>(), 0..4).prop_map(|value| (Kind::Put, value)),
        (0u64..8, vec(any::<u8>(), 0..4))
            .prop_map(|(expiry, value)| (Kind::PutExpiring, [&expiry.to_le_bytes()[..], &value].concat())),
    ];
    (any_key(), 0u64..30, body).prop_map(|(key, revision, (kind, value))| (key, revision, kind, value))
}

/// Several sources; rows of equal (key, revision) occur across and within them.
fn any_sources() -> impl Strategy<Value = Vec<Vec<Row>>> {
    prop_oneof![vec(vec(any_row(), 0..40), 0..5), vec(vec(any_row(), 0..4), 0..12)]
}

/// Sources in blocks, mostly live rows of distinct keys, so that runs get long.
fn any_run_sources() -> impl Strategy<Value = Vec<(Vec<Row>, usize)>> {
    let key = prop_oneof![
        4 => (0u16..300).prop_map(|number| format!("key-{number:05}").into_bytes()),
        1 => (0u16..300).prop_map(|number| format!("key-{number:05}-and-more-than-sixteen-bytes").into_bytes()),
        1 => any_key(),
    ];
    let plain = (key, 0u64..24, vec(any::<u8>(), 0..4)).prop_map(|(key, at, value)| (key, at, Kind::Put, value));
    let row = prop_oneof![9 => plain, 1 => any_row()];
    vec((vec(row, 0..120), 1usize..50), 0..4)
}

/// Rows less those of equal (key, revision): a table has each once.
fn distinct(rows: &[Row]) -> Vec<Row> {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| compare((&a.0, Revision(a.1)), (&b.0, Revision(b.1))));
    rows.dedup_by(|b, a| (&a.0, a.1) == (&b.0, b.1));
    rows
}

fn any_bounds() -> impl Strategy<Value = Bounds> {
    let bound = || prop::option::of((any_key(), any::<bool>()));
    (bound(), bound()).prop_map(|(start, stop)| Bounds { start, stop })
}

/// All rows in the order of the merge: the sort is stable, so earlier sources come first.
fn merged(sources: &[Vec<Row>]) -> Vec<Row> {
    let mut all: Vec<Row> = sources.iter().flatten().cloned().collect();
    all.sort_by(|a, b| compare((&a.0, Revision(a.1)), (&b.0, Revision(b.1))));
    all
}

fn merge(sources: &[Vec<Row>]) -> MergeCursor {
    MergeCursor::new(sources.iter().cloned().map(VecCursor::boxed).collect())
}

fn within(key: &[u8], bounds: &Bounds) -> bool {
    let starts =
        bounds.start.as_ref().is_none_or(|(start, included)| key > start.as_slice() || *included && key == start);
    starts && bounds.stop.as_ref().is_none_or(|(stop, included)| key < stop.as_slice() || *included && key == stop)
}

type Seen = (Vec<u8>, u64, Option<u64>, Vec<u8>);

fn visible_model(sources: &[Vec<Row>], bounds: &Bounds, at: u64, now_ms: u64) -> Vec<Seen> {
    let mut newest: BTreeMap<Vec<u8>, Row> = BTreeMap::new();
    for row in merged(sources).into_iter().filter(|row| row.1 <= at && within(&row.0, bounds)) {
        newest.entry(row.0.clone()).or_insert(row);
    }
    let seen = newest.into_values().filter_map(|(key, revision, kind, value)| match kind {
        Kind::Delete => None,
        Kind::Put => Some((key, revision, None, value)),
        Kind::PutExpiring => {
            let expiry = u64::from_le_bytes(value[..8].try_into().unwrap());
            (now_ms < expiry).then(|| (key, revision, Some(expiry), value[8..].to_vec()))
        }
    });
    seen.collect()
}

fn drain(mut view: VisibleCursor) -> Vec<Seen> {
    let mut seen = Vec::new();
    while view.valid() {
        seen.push((view.key().to_vec(), view.revision().0, view.expiry_ms(), view.value().to_vec()));
        view.step().unwrap();
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_view_shows_what_the_model_shows(sources in any_sources(), bounds in any_bounds(), at in 0u64..32, now_ms in 0u64..9) {
        let wanted = visible_model(&sources, &bounds, at, now_ms);
        let forward = VisibleCursor::new(merge(&sources), bounds.clone(), false, Revision(at), now_ms).unwrap();
        prop_assert_eq!(drain(forward), wanted.clone());
        let mut backward = drain(VisibleCursor::new(merge(&sources), bounds, true, Revision(at), now_ms).unwrap());
        backward.reverse();
        prop_assert_eq!(backward, wanted);
    }

    #[test]
    fn runs_are_what_the_model_shows(
        sources in any_run_sources(),
        bounds in any_bounds(),
        at in 20u64..32,
        now_ms in 0u64..9,
        (rows_max, bytes_max) in (1usize..30, 1usize..200),
        reverse in prop::bool::weighted(0.1),
    ) {
        let distinct: Vec<Vec<Row>> = sources.iter().map(|(rows, _)| distinct(rows)).collect();
        let mut wanted = visible_model(&distinct, &bounds, at, now_ms);
        if reverse {
            wanted.reverse();
        }
        let merge = || MergeCursor::new(sources.iter().map(|(rows, size)| BlockCursor::boxed(rows.clone(), *size)).collect());
        let mut view = VisibleCursor::new(merge(), bounds.clone(), reverse, Revision(at), now_ms).unwrap();
        let (mut out, mut seen) = (Columns::<i32>::default(), 0);
        let all = Wanted { keys: true, values: true, revisions: true, expiries: false };
        while view.valid() {
            let bytes = out.bytes();
            let rows = view.append(&mut out, Limits { rows_max, bytes_max }, all).unwrap();
            let taken: Vec<usize> = wanted[seen..seen + rows].iter().map(|row| row.0.len() + row.3.len()).collect();
            let before_last: usize = taken[..rows - 1].iter().sum();
            prop_assert_eq!(out.bytes() - bytes, taken.iter().sum::<usize>());
            prop_assert!(rows <= rows_max && (rows == 1 || before_last < bytes_max));
            prop_assert!(rows == rows_max || out.bytes() - bytes >= bytes_max || !view.valid());
            seen += rows;
        }
        let found: Vec<(Vec<u8>, u64, Vec<u8>)> = (0..seen).map(|i| {
            let start = |ends: &[i32]| if i == 0 { 0 } else { ends[i - 1] as usize };
            let key = out.keys[start(&out.key_ends)..out.key_ends[i] as usize].to_vec();
            let value = out.values[start(&out.value_ends)..out.value_ends[i] as usize].to_vec();
            (key, out.revisions[i].0, value)
        }).collect();
        prop_assert_eq!(found, wanted.iter().map(|row| (row.0.clone(), row.1, row.3.clone())).collect::<Vec<_>>());

        let mut values = Columns::<usize>::default();
        let mut view = VisibleCursor::new(merge(), bounds, reverse, Revision(at), now_ms).unwrap();
        let only = Wanted { keys: false, values: true, revisions: false, expiries: false };
        view.append(&mut values, Limits { rows_max: usize::MAX, bytes_max: usize::MAX }, only).unwrap();
        prop_assert_eq!(&values.values, &out.values);
        prop_assert!(values.keys.is_empty() && values.key_ends.is_empty() && values.revisions.is_empty());
    }

    #[test]
    fn a_merge_walks_and_turns_like_one_sorted_list(sources in any_sources(), moves in vec((0u8..8, any_key(), 0u64..30), 0..60)) {
        let all = merged(&sources);
        let mut cursor = merge(&sources);
        let mut at: Option<usize> = None;
        for (step, key, revision) in moves {
            let split = all.partition_point(|row| compare((&row.0, Revision(row.1)), (&key, Revision(revision))).is_lt());
            match (step, at) {
                (0, _) => { cursor.seek_first().unwrap(); at = Some(0); }
                (1, _) => { cursor.seek_last().unwrap(); at = all.len().checked_sub(1); }
                (2, _) => { cursor.seek(&key, Revision(revision)).unwrap(); at = Some(split); }
                (3, _) => { cursor.seek_before(&key, Revision(revision)).unwrap(); at = split.checked_sub(1); }
                (4 | 5, Some(here)) => { cursor.next().unwrap(); at = Some(here + 1); }
                (6 | 7, Some(here)) => { cursor.prev().unwrap(); at = here.checked_sub(1); }
                _ => {}
            }
            at = at.filter(|&at| at < all.len());
            let standing = cursor.valid().then(|| {
                (cursor.key().to_vec(), cursor.revision().0, cursor.kind(), cursor.value().to_vec())
            });
            prop_assert_eq!(standing.as_ref(), at.map(|at| &all[at]));
        }
    }

    #[test]
    fn prefixes_never_contradict_the_keys(a in vec(0u8..3, 0..12), b in vec(0u8..3, 0..12)) {
        prop_assert!(key_prefix(&a).cmp(&key_prefix(&b)).then(a.cmp(&b)) == a.cmp(&b));
    }
}

/// A cursor that counts the rows it passes.
struct Counting(BoxCursor, std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl Cursor for Counting {
    fn seek_first(&mut self) -> Result<()> {
        self.0.seek_first()
    }
    fn seek_last(&mut self) -> Result<()> {
        self.0.seek_last()
    }
    fn seek(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        self.0.seek(key, revision)
    }
    fn seek_before(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        self.0.seek_before(key, revision)
    }
    fn next(&mut self) -> Result<()> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.0.next()
    }
    fn prev(&mut self) -> Result<()> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.0.prev()
    }
    fn valid(&self) -> bool {
        self.0.valid()
    }
    fn key(&self) -> &[u8] {
        self.0.key()
    }
    fn revision(&self) -> Revision {
        self.0.revision()
    }
    fn kind(&self) -> Kind {
        self.0.kind()
    }
    fn value(&self) -> &[u8] {
        self.0.value()
    }
}

#[test]
fn many_hidden_versions_are_skipped_by_seeking() {
    let versions = |key: &[u8]| -> Vec<Row> {
        (0..1000).map(Reverse).map(|Reverse(revision)| (key.to_vec(), revision, Kind::Put, vec![1])).collect()
    };
    for reverse in [false, true] {
        let moves = std::sync::Arc::default();
        let rows = [versions(b"a"), versions(b"b"), versions(b"c")].concat();
        let source = Counting(VecCursor::boxed(rows), std::sync::Arc::clone(&moves));
        let merge = MergeCursor::new(vec![Box::new(source) as BoxCursor]);
        let seen = drain(VisibleCursor::new(merge, Bounds::default(), reverse, Revision(500), 0).unwrap());
        assert_eq!(seen.iter().map(|row| row.1).collect::<Vec<_>>(), [500, 500, 500]);
        let moves = moves.load(std::sync::atomic::Ordering::Relaxed);
        assert!(moves < 100, "{moves} moves");
    }
}
