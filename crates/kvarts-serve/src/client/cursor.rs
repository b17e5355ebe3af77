//! A scan over the shards of a keyspace: a page of each is at hand, and rows are merged in the order of their keys.
//!
//! All pages of a shard are as of the revision of its first one, which is fetched with the first of the others.
use bytes::{Bytes, BytesMut};
use kvarts_formats::shards::Shard;
use kvarts_wire::v1;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Rows of a merged page where nobody says how many.
const PAGE_ROWS: usize = 8192;
/// Rows asked of each shard beside its share of a page: keys are spread by chance.
const ROWS_SPARE: usize = 8;

/// A scan that goes on where its last page ended. One caller at a time.
pub struct Cursor(Mutex<State>);

struct State {
    /// Bounds, direction, freshness.
    ask: v1::ScanRequest,
    /// Rows that may still come; `None`: all.
    left: Option<u64>,
    /// One for each shard, once the map is known.
    sources: Option<Vec<Source>>,
    counted: u64,
}

/// What a page should be like.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Rows; 0: the client chooses.
    pub rows: u32,
    /// Leaves values out.
    pub keys_only: bool,
    /// Counts all that is left instead.
    pub count: bool,
}

/// The rows of one shard.
#[derive(Clone, Default)]
struct Source {
    shard: u64,
    epoch: u64,
    /// The revision and the time that its first page was read at.
    pin: Option<(u64, u64)>,
    page: v1::ScanResponse,
    /// Rows of the page that were taken.
    taken: usize,
    last: Option<Bytes>,
    more: bool,
}

/// A page to be asked for: of the source with this number.
pub struct Want {
    pub source: usize,
    pub shard: u64,
    pub epoch: u64,
    pub request: v1::ScanRequest,
}

impl Cursor {
    /// Begins before the first row. `ask` says what is scanned; its `limit` counts, its page sizes do not.
    pub fn new(ask: v1::ScanRequest) -> Self {
        let left = (ask.limit > 0).then_some(ask.limit);
        Self(Mutex::new(State { ask, left, sources: None, counted: 0 }))
    }

    /// The same rows from the first on, at the same revisions.
    pub fn again(&self) -> Self {
        let state = self.state();
        let begin = |source: &Source| Source { pin: source.pin, ..Source::at(source.shard, source.epoch) };
        let sources = state.sources.as_ref().map(|sources| sources.iter().map(begin).collect());
        let (ask, left) = (state.ask.clone(), (state.ask.limit > 0).then_some(state.ask.limit));
        Self(Mutex::new(State { ask, left, sources, counted: 0 }))
    }

    /// The keyspace, and the bounds as `[start, stop)`.
    pub(super) fn range(&self) -> (u32, Vec<u8>, Vec<u8>) {
        let state = self.state();
        let ask = &state.ask;
        let beyond = |bound: &Bytes, by: bool| if by { [bound, &[0][..]].concat() } else { bound.to_vec() };
        let start = beyond(&ask.start, ask.exclude_start);
        (ask.keyspace, start, beyond(&ask.stop, ask.include_stop && !ask.stop.is_empty()))
    }

    /// Shard, revision and time of each source that a page was read of: what its rows are as of.
    pub fn moments(&self) -> Vec<(u64, u64, u64)> {
        let state = self.state();
        let sources = state.sources.iter().flatten();
        sources.filter_map(|source| source.pin.map(|(revision, now_ms)| (source.shard, revision, now_ms))).collect()
    }

    /// Tells whether the scan has begun: its shards are chosen.
    pub(super) fn has_begun(&self) -> bool {
        self.state().sources.is_some()
    }

    /// Chooses the shards.
    pub(super) fn begin(&self, shards: &[Shard]) {
        self.state().sources = Some(shards.iter().map(|shard| Source::at(shard.id, shard.epoch)).collect());
    }

    /// Begins anew, with shards to be chosen; false where rows were read already.
    pub(super) fn restart(&self) -> bool {
        let mut state = self.state();
        let begun = state.sources.iter().flatten().any(|source| source.pin.is_some());
        if !begun {
            state.sources = None;
        }
        !begun
    }

    /// What a row is read at, to be seen as the scan sees it: in the first of these shards that is a source. Those behind it
    /// were split off it since.
    pub(super) fn freshness(&self, shards: impl Iterator<Item = u64>) -> Option<v1::Freshness> {
        let state = self.state();
        let sources = state.sources.as_deref().unwrap_or_default();
        state.pinned(first_of(sources, shards).and_then(|source| source.pin))
    }

    /// Adds a shard that was split off one of the sources, unless it is one: it goes on where that one is, at the same
    /// revision. `before`: the shard and those before it, from there to the first.
    pub(super) fn split(&self, shard: &Shard, before: impl Iterator<Item = u64>) {
        let mut state = self.state();
        let Some(sources) = &mut state.sources else { return };
        let Some(found) = first_of(sources, before).filter(|found| found.shard != shard.id) else { return };
        let Source { pin, last, more, .. } = found.clone();
        sources.push(Source { pin, last, more, ..Source::at(shard.id, shard.epoch) });
    }

    /// The pages without which the next rows are not known.
    pub(super) fn wants(&self, wish: Wish) -> Vec<Want> {
        let state = self.state();
        if state.left == Some(0) {
            return Vec::new();
        }
        let sources: Vec<(usize, &Source)> = state.sources.iter().flatten().enumerate().collect();
        let count = sources.len();
        let wanting = sources.into_iter().filter(|(_, source)| source.is_empty() && source.more);
        wanting.map(|(number, source)| state.want(number, source, count, wish)).collect()
    }

    /// Takes in a page that was wanted.
    pub(super) fn filled(&self, source: usize, page: v1::ScanResponse, wish: Wish) {
        let mut state = self.state();
        state.counted += page.count;
        if wish.count
            && let Some(left) = &mut state.left
        {
            *left = left.saturating_sub(page.count);
        }
        let Some(source) = state.sources.as_mut().and_then(|sources| sources.get_mut(source)) else { return };
        source.pin.get_or_insert((page.revision, page.now_ms));
        source.last = last_key(&page).or(source.last.take());
        source.more = page.more && !page.key_ends.is_empty();
        source.taken = 0;
        source.page = if wish.count { v1::ScanResponse::default() } else { page };
    }

    /// The shard of a source, as it is known now.
    pub(super) fn moved(&self, source: usize, shard: u64, epoch: u64) {
        if let Some(source) = self.state().sources.as_mut().and_then(|sources| sources.get_mut(source)) {
            (source.shard, source.epoch) = (shard, epoch);
        }
    }

    /// Takes the next rows in the order of their keys: those that are known without another page.
    pub(super) fn take(&self, wish: Wish) -> v1::ScanResponse {
        let mut state = self.state();
        if wish.count {
            return v1::ScanResponse { count: state.counted, ..v1::ScanResponse::default() };
        }
        let most = if wish.rows == 0 { PAGE_ROWS } else { wish.rows as usize };
        let most = state.left.map_or(most, |left| most.min(usize::try_from(left).unwrap_or(usize::MAX)));
        let reverse = state.ask.reverse;
        let sources = state.sources.get_or_insert_default();
        let page = match &mut sources[..] {
            [only] => only.whole_page(most),
            sources => merge(sources, most, reverse),
        };
        let rest = sources.iter().any(|source| source.more || !source.is_empty());
        if let Some(left) = &mut state.left {
            *left -= page.key_ends.len() as u64;
        }
        v1::ScanResponse { more: rest && state.left != Some(0), ..page }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn want(&self, number: usize, source: &Source, sources: usize, wish: Wish) -> Want {
        let rows = match (wish.rows, sources) {
            (rows, 0 | 1) => rows,
            (0, _) => 0,
            (rows, _) => {
                let share = (rows as usize).div_ceil(sources);
                u32::try_from(share + share / 2 + ROWS_SPARE).unwrap_or(u32::MAX).min(rows)
            }
        };
        let mut request = v1::ScanRequest {
            limit: self.left.unwrap_or(0),
            page_rows: rows,
            keys_only: wish.keys_only,
            count_only: wish.count,
            freshness: self.pinned(source.pin),
            owner: None,
            ..self.ask.clone()
        };
        match &source.last {
            Some(last) if self.ask.reverse => (request.stop, request.include_stop) = (last.clone(), false),
            Some(last) => (request.start, request.exclude_start) = (last.clone(), true),
            None => {}
        }
        Want { source: number, shard: source.shard, epoch: source.epoch, request }
    }

    fn pinned(&self, pin: Option<(u64, u64)>) -> Option<v1::Freshness> {
        match pin {
            Some((revision, now_ms)) => {
                Some(v1::Freshness { revision, now_ms, ..self.ask.freshness.unwrap_or_default() })
            }
            None => self.ask.freshness,
        }
    }
}

fn first_of(sources: &[Source], mut shards: impl Iterator<Item = u64>) -> Option<&Source> {
    shards.find_map(|shard| sources.iter().find(|source| source.shard == shard))
}

impl Source {
    fn at(shard: u64, epoch: u64) -> Self {
        Self { shard, epoch, more: true, ..Self::default() }
    }

    fn is_empty(&self) -> bool {
        self.taken == self.page.key_ends.len()
    }

    /// The rows that are left of the page, all or the first ones.
    fn whole_page(&mut self, most: usize) -> v1::ScanResponse {
        if self.taken == 0 && self.page.key_ends.len() <= most {
            return std::mem::take(&mut self.page);
        }
        let mut out = Columns::default();
        while !self.is_empty() && out.key_ends.len() < most {
            out.push(self);
        }
        out.page()
    }

    /// The key at hand.
    fn key(&self) -> Option<Bytes> {
        cell(&self.page.keys, &self.page.key_ends, self.taken)
    }
}

/// Merges until a source that has more runs dry: its next row may come before those of the others.
fn merge(sources: &mut [Source], most: usize, reverse: bool) -> v1::ScanResponse {
    let mut heads = BinaryHeap::with_capacity(sources.len());
    for (number, source) in sources.iter().enumerate() {
        match source.key() {
            Some(key) => heads.push(Head { key, number, reverse }),
            None if source.more => return v1::ScanResponse::default(),
            None => {}
        }
    }
    let mut out = Columns::default();
    while out.key_ends.len() < most {
        let Some(Head { number, .. }) = heads.pop() else { break };
        let source = &mut sources[number];
        out.push(source);
        match source.key() {
            Some(key) => heads.push(Head { key, number, reverse }),
            None if source.more => break,
            None => {}
        }
    }
    out.page()
}

/// The next row of a source; the one that comes first is the greatest.
#[derive(PartialEq, Eq)]
struct Head {
    key: Bytes,
    number: usize,
    reverse: bool,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.key.cmp(&other.key);
        if self.reverse { order } else { order.reverse() }
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A page that is being put together.
#[derive(Default)]
struct Columns {
    keys: BytesMut,
    key_ends: Vec<u32>,
    values: BytesMut,
    value_ends: Vec<u32>,
    revisions: Vec<u64>,
    expiries: Vec<u64>,
}

impl Columns {
    /// Takes the row at hand of a source.
    fn push(&mut self, source: &mut Source) {
        let (page, at) = (&source.page, source.taken);
        self.keys.extend_from_slice(&cell(&page.keys, &page.key_ends, at).unwrap_or_default());
        self.key_ends.push(self.keys.len() as u32);
        if let Some(value) = cell(&page.values, &page.value_ends, at) {
            self.values.extend_from_slice(&value);
            self.value_ends.push(self.values.len() as u32);
        }
        self.revisions.extend(page.revisions.get(at));
        self.expiries.extend(page.expiries.get(at));
        source.taken += 1;
    }

    fn page(self) -> v1::ScanResponse {
        let Self { keys, key_ends, values, value_ends, revisions, expiries } = self;
        let (keys, values) = (keys.freeze(), values.freeze());
        v1::ScanResponse { keys, key_ends, values, value_ends, revisions, expiries, ..v1::ScanResponse::default() }
    }
}

fn cell(bytes: &Bytes, ends: &[u32], at: usize) -> Option<Bytes> {
    let end = *ends.get(at)? as usize;
    let start = if at == 0 { 0 } else { ends[at - 1] as usize };
    (start <= end && end <= bytes.len()).then(|| bytes.slice(start..end))
}

fn last_key(page: &v1::ScanResponse) -> Option<Bytes> {
    cell(&page.keys, &page.key_ends, page.key_ends.len().checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WISH: Wish = Wish { rows: 4, keys_only: false, count: false };

    fn page(rows: &[&str], more: bool, revision: u64) -> v1::ScanResponse {
        let mut out = Columns::default();
        for row in rows {
            out.keys.extend_from_slice(row.as_bytes());
            out.key_ends.push(out.keys.len() as u32);
            out.values.extend_from_slice(row.to_uppercase().as_bytes());
            out.value_ends.push(out.values.len() as u32);
            out.revisions.push(revision);
        }
        v1::ScanResponse { more, revision, now_ms: 9, ..out.page() }
    }

    fn keys(page: &v1::ScanResponse) -> Vec<String> {
        let cells = (0..page.key_ends.len()).map(|at| cell(&page.keys, &page.key_ends, at).unwrap());
        cells.map(|key| String::from_utf8(key.to_vec()).unwrap()).collect()
    }

    fn begun(ask: v1::ScanRequest, shards: u64) -> Cursor {
        let cursor = Cursor::new(ask);
        cursor.begin(&(2..2 + shards).map(|id| Shard { id, epoch: 1, ..Shard::default() }).collect::<Vec<_>>());
        cursor
    }

    #[test]
    fn rows_of_two_shards_come_in_the_order_of_their_keys() {
        let cursor = begun(v1::ScanRequest::default(), 2);
        assert_eq!(cursor.wants(WISH).len(), 2);
        cursor.filled(0, page(&["a", "d"], true, 70), WISH);
        cursor.filled(1, page(&["b", "c", "e", "g"], false, 90), WISH);
        // "e" may have to wait for a row of the first shard that is not here yet.
        let first = cursor.take(WISH);
        assert_eq!((keys(&first), first.more), (["a", "b", "c", "d"].map(String::from).to_vec(), true));
        assert_eq!((&first.values[..], &first.revisions[..]), (&b"ABCD"[..], &[70, 90, 90, 70][..]));
        let wants = cursor.wants(WISH);
        let [want] = &wants[..] else { panic!("{} wants", wants.len()) };
        assert_eq!((want.source, &want.request.start[..], want.request.exclude_start), (0, &b"d"[..], true));
        assert_eq!(want.request.freshness.map(|fresh| (fresh.revision, fresh.now_ms)), Some((70, 9)));
        cursor.filled(0, page(&["f"], false, 70), WISH);
        let last = cursor.take(WISH);
        assert_eq!((keys(&last), last.more), (["e", "f", "g"].map(String::from).to_vec(), false));
    }

    #[test]
    fn a_limit_counts_rows_of_all_shards() {
        let cursor = begun(v1::ScanRequest { limit: 3, reverse: true, ..v1::ScanRequest::default() }, 2);
        cursor.filled(0, page(&["z", "x"], true, 1), WISH);
        cursor.filled(1, page(&["y", "w"], true, 1), WISH);
        let only = cursor.take(WISH);
        assert_eq!((keys(&only), only.more), (["z", "y", "x"].map(String::from).to_vec(), false));
        assert!(cursor.wants(WISH).is_empty());
    }

    #[test]
    fn rows_are_counted_until_no_shard_has_more() {
        let (wish, count) = (Wish { count: true, ..WISH }, |count| v1::ScanResponse { count, ..Default::default() });
        let cursor = begun(v1::ScanRequest::default(), 2);
        cursor.filled(0, v1::ScanResponse { count: 10, ..page(&["k"], true, 5) }, wish);
        cursor.filled(1, count(7), wish);
        assert_eq!(cursor.wants(wish).iter().map(|want| want.source).collect::<Vec<_>>(), [0]);
        cursor.filled(0, count(2), wish);
        assert!(cursor.wants(wish).is_empty());
        assert_eq!(cursor.take(wish).count, 19);
    }

    #[test]
    fn a_shard_that_was_split_goes_on_as_two_at_the_same_revision() {
        let cursor = begun(v1::ScanRequest::default(), 2);
        cursor.filled(0, page(&["a", "c"], true, 70), WISH);
        cursor.filled(1, page(&["b"], false, 90), WISH);
        // Off the first one, which has more, and off the last, which has not; then one that is known.
        for (id, before) in [(8, vec![8, 2]), (9, vec![9, 3, 8, 2]), (8, vec![8, 2])] {
            cursor.split(&Shard { id, epoch: 5, ..Shard::default() }, before.into_iter());
        }
        let wanted = |cursor: &Cursor| {
            let pin = |want: &Want| want.request.freshness.map_or(0, |fresh| fresh.revision);
            let wants = cursor.wants(WISH);
            wants.iter().map(|want| (want.shard, pin(want), want.request.start.to_vec())).collect::<Vec<_>>()
        };
        assert_eq!(wanted(&cursor), [(8, 70, b"c".to_vec())]);
        cursor.filled(2, page(&["d"], false, 70), WISH);
        assert_eq!(keys(&cursor.take(WISH)), ["a", "b", "c"]);
        assert_eq!(wanted(&cursor), [(2, 70, b"c".to_vec())]);
    }

    #[test]
    fn the_same_rows_again_are_read_at_the_same_revisions() {
        let cursor = begun(v1::ScanRequest::default(), 2);
        cursor.filled(0, page(&["a"], false, 70), WISH);
        cursor.filled(1, page(&[], false, 90), WISH);
        let revisions = |cursor: &Cursor| {
            cursor.wants(WISH).iter().map(|want| want.request.freshness.unwrap().revision).collect::<Vec<_>>()
        };
        assert_eq!(revisions(&cursor.again()), [70, 90]);
        assert_eq!(cursor.freshness([5, 3, 2].into_iter()).unwrap().revision, 90);
    }
}
