//! Pages of a scan, and counts, at the newest revision or at one that the request pins.
use super::held::Held;
use super::range::Range;
use super::read::read_at;
use super::rows::{USER_PREFIX_BYTES, user_bounds};
use super::{Error, Result, check_scan};
use kvarts_engine::db::{RowChunk, Scan};
use kvarts_engine::iter::{Limits, Wanted};
use kvarts_wire::v1;
use std::sync::Arc;

/// Rows of a page where the request leaves it to us.
const PAGE_ROWS: usize = 1024;
/// Bytes of a page where the request leaves it to us.
const PAGE_BYTES: usize = 256 << 10;
/// Most rows and bytes of a page.
const PAGE_ROWS_MAX: usize = 64 << 10;
const PAGE_BYTES_MAX: usize = 2 << 20;
/// Rows that one page counts.
const COUNT_ROWS_MAX: u64 = 256 << 10;

const KEYS: Wanted = Wanted { keys: true, values: false, revisions: true, expiries: false };

/// Answers one page of `request`. `cut`: what is the shard's own by the map, for a scan that is answered whether or not this
/// replica has come as far.
pub(super) fn scan_page(
    held: &Held,
    request: &v1::ScanRequest,
    cut: Option<&Arc<Range>>,
    now_ms: u64,
) -> Result<v1::ScanResponse> {
    check_scan(request)?;
    let at = read_at(held, request.freshness.as_ref(), now_ms)?;
    let range = held.range();
    let (start, stop) = ((&request.start[..], !request.exclude_start), (&request.stop[..], request.include_stop));
    let ranges: Vec<_> = range.iter().chain(cut).map(Arc::clone).collect();
    // Who asked by an older map would take what is cut away for absent.
    ranges.iter().try_for_each(|range| range.check_scan(request))?;
    let (start, stop) = ranges.iter().fold((start, stop), |(start, stop), range| range.clamped(start, stop));
    let scan = held.db.scan_at(&held.tree, user_bounds(request.keyspace, start, stop), request.reverse, at)?;
    held.check_unsplit(range.as_ref())?;
    let response = v1::ScanResponse { revision: scan.revision().0, now_ms: at.now_ms, ..Default::default() };
    let ranges = ranges.iter().filter(|range| !range.is_ordered()).map(Arc::clone).collect();
    let rows = OwnRows { scan, ranges };
    if request.count_only { count(rows, request, response) } else { page(rows, request, response) }
}

/// The rows of a scan, without those that a split took away.
struct OwnRows {
    scan: Scan,
    /// Where bounds do not tell them apart.
    ranges: Vec<Arc<Range>>,
}

impl OwnRows {
    /// As [`Scan::fill_wanted`].
    fn fill(&mut self, chunk: &mut RowChunk, limits: Limits, wanted: Wanted) -> Result<bool> {
        if self.ranges.is_empty() {
            return Ok(self.scan.fill_wanted(chunk, limits, wanted)?);
        }
        let Limits { rows_max, bytes_max } = limits;
        loop {
            let mut all = RowChunk::default();
            let (rows_left, bytes_left) =
                (rows_max.saturating_sub(chunk.key_ends.len()), bytes_max.saturating_sub(chunk.bytes()));
            if rows_left == 0 || bytes_left == 0 {
                return Ok(true);
            }
            let left = Limits { rows_max: rows_left, bytes_max: bytes_left };
            let more = self.scan.fill_wanted(&mut all, left, wanted)?;
            push_own(chunk, &all, &self.ranges);
            if !more {
                return Ok(false);
            }
        }
    }
}

fn push_own(out: &mut RowChunk, all: &RowChunk, ranges: &[Arc<Range>]) {
    let (mut start, mut value_start) = (0, 0);
    for (at, &end) in all.key_ends.iter().enumerate() {
        let (key, value) = (&all.keys[start..end], all.value_ends.get(at).map(|&end| &all.values[value_start..end]));
        start = end;
        value_start = all.value_ends.get(at).copied().unwrap_or(0);
        if ranges.iter().any(|range| !range.owns_row(key)) {
            continue;
        }
        out.keys.extend_from_slice(key);
        out.key_ends.push(out.keys.len());
        if let Some(value) = value {
            out.values.extend_from_slice(value);
            out.value_ends.push(out.values.len());
        }
        out.revisions.push(all.revisions[at]);
        out.expiries.extend(all.expiries.get(at));
    }
}

fn page(mut scan: OwnRows, request: &v1::ScanRequest, response: v1::ScanResponse) -> Result<v1::ScanResponse> {
    let chosen = |asked: u32, ours: usize, most: usize| if asked == 0 { ours } else { (asked as usize).min(most) };
    let limit = if request.limit == 0 { u64::MAX } else { request.limit };
    let rows_max = chosen(request.page_rows, PAGE_ROWS, PAGE_ROWS_MAX);
    let rows_max = usize::try_from(limit).unwrap_or(usize::MAX).min(rows_max);
    let bytes_max = chosen(request.page_bytes, PAGE_BYTES, PAGE_BYTES_MAX);
    let mut chunk = RowChunk::default();
    let wanted = Wanted { values: !request.keys_only, expiries: request.with_expiries, ..KEYS };
    let more = scan.fill(&mut chunk, Limits { rows_max, bytes_max }, wanted)? && (chunk.key_ends.len() as u64) < limit;
    let (mut keys, mut start) = (Vec::with_capacity(chunk.keys.len()), 0);
    let mut key_ends = Vec::with_capacity(chunk.key_ends.len());
    for &end in &chunk.key_ends {
        keys.extend_from_slice(&chunk.keys[start + USER_PREFIX_BYTES..end]);
        key_ends.push(offset(keys.len())?);
        start = end;
    }
    let value_ends = chunk.value_ends.iter().map(|&end| offset(end)).collect::<Result<_>>()?;
    let revisions = chunk.revisions.iter().map(|revision| revision.0).collect();
    let (keys, values) = (keys.into(), chunk.values.into());
    let expiries = chunk.expiries;
    Ok(v1::ScanResponse { keys, key_ends, values, value_ends, revisions, expiries, more, ..response })
}

/// Counts rows. The page has the last key counted where there is more, for the next page to begin behind.
fn count(mut scan: OwnRows, request: &v1::ScanRequest, response: v1::ScanResponse) -> Result<v1::ScanResponse> {
    let most = if request.limit == 0 { COUNT_ROWS_MAX } else { request.limit.min(COUNT_ROWS_MAX) };
    let (mut counted, mut more, mut last) = (0, true, Vec::new());
    while more && counted < most {
        let mut chunk = RowChunk::default();
        let rows_max = usize::try_from(most - counted).unwrap_or(usize::MAX).min(PAGE_ROWS);
        more = scan.fill(&mut chunk, Limits { rows_max, bytes_max: PAGE_BYTES }, KEYS)?;
        counted += chunk.key_ends.len() as u64;
        if let Some(&end) = chunk.key_ends.last() {
            let start = if chunk.key_ends.len() > 1 { chunk.key_ends[chunk.key_ends.len() - 2] } else { 0 };
            last = chunk.keys[start + USER_PREFIX_BYTES..end].to_vec();
        }
    }
    let more = more && (request.limit == 0 || counted < request.limit);
    let (keys, key_ends) = if more { (last.clone().into(), vec![offset(last.len())?]) } else { Default::default() };
    Ok(v1::ScanResponse { count: counted, keys, key_ends, more, ..response })
}

fn offset(bytes: usize) -> Result<u32> {
    u32::try_from(bytes).map_err(|_| Error::limit("a page of more than 4 GiB", "ask for smaller pages"))
}
