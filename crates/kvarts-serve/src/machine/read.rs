//! Reads: keys by name, and pages of a scan, at the newest revision or at one that the request pins.
use super::held::Held;
use super::rows::{USER_PREFIX_BYTES, push_user_key, user_bounds};
use super::{Error, Result, check_get, check_scan};
use bytes::Bytes;
use kvarts_engine::Revision;
use kvarts_engine::db::{ReadAt, RowChunk, Scan};
use kvarts_wire::v1;
use kvarts_wire::v1::get_response::Found;

/// Rows of a page where the request leaves it to us.
const PAGE_ROWS: usize = 1024;
/// Bytes of a page where the request leaves it to us.
const PAGE_BYTES: usize = 256 << 10;
/// Most rows and bytes of a page.
const PAGE_ROWS_MAX: usize = 64 << 10;
const PAGE_BYTES_MAX: usize = 2 << 20;
/// Rows that one page counts.
const COUNT_ROWS_MAX: u64 = 256 << 10;

/// Answers `request`. `now_ms` is the node's clock.
pub(super) fn get(held: &Held, request: &v1::GetRequest, now_ms: u64) -> Result<v1::GetResponse> {
    check_get(request)?;
    let at = read_at(held, request.freshness.as_ref(), now_ms)?;
    let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(request.keys.len()));
    for key in &request.keys {
        push_user_key(&mut bytes, request.keyspace, key);
        ends.push(bytes.len());
    }
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let keys: Vec<&[u8]> = starts.zip(&ends).map(|(start, &end)| &bytes[start..end]).collect();
    let mut rows = vec![Found::default(); keys.len()];
    let revision = held.db.get_many_at(&held.tree, &keys, at, &mut |at, entry| {
        let Some(entry) = entry else { return };
        let value = if request.keys_only { Bytes::new() } else { Bytes::copy_from_slice(entry.value) };
        rows[at] = Found { found: true, value, revision: entry.revision.0 };
    })?;
    Ok(v1::GetResponse { rows, revision: revision.0, now_ms: at.now_ms })
}

/// Key, value and revision of a user's row.
pub type UserRow = (Vec<u8>, Vec<u8>, u64);

/// All rows of a keyspace.
pub(super) fn rows(held: &Held, keyspace: u32) -> Result<Vec<UserRow>> {
    let bounds = user_bounds(keyspace, (b"", true), (b"", false));
    let mut scan = held.db.scan_at(&held.tree, bounds, false, read_at(held, None, 0)?)?;
    let mut chunk = RowChunk::default();
    scan.fill(&mut chunk, usize::MAX, usize::MAX, true)?;
    let (mut rows, mut key_start, mut value_start) = (Vec::new(), 0, 0);
    for (at, (&key_end, &value_end)) in chunk.key_ends.iter().zip(&chunk.value_ends).enumerate() {
        let key = chunk.keys[key_start + USER_PREFIX_BYTES..key_end].to_vec();
        rows.push((key, chunk.values[value_start..value_end].to_vec(), chunk.revisions[at].0));
        (key_start, value_start) = (key_end, value_end);
    }
    Ok(rows)
}

/// Answers one page of `request`.
pub(super) fn scan_page(held: &Held, request: &v1::ScanRequest, now_ms: u64) -> Result<v1::ScanResponse> {
    check_scan(request)?;
    let at = read_at(held, request.freshness.as_ref(), now_ms)?;
    let (start, stop) = ((&request.start[..], !request.exclude_start), (&request.stop[..], request.include_stop));
    let scan = held.db.scan_at(&held.tree, user_bounds(request.keyspace, start, stop), request.reverse, at)?;
    let response = v1::ScanResponse { revision: scan.revision().0, now_ms: at.now_ms, ..Default::default() };
    if request.count_only { count(scan, request, response) } else { page(scan, request, response) }
}

fn page(mut scan: Scan, request: &v1::ScanRequest, response: v1::ScanResponse) -> Result<v1::ScanResponse> {
    let chosen = |asked: u32, ours: usize, most: usize| if asked == 0 { ours } else { (asked as usize).min(most) };
    let limit = if request.limit == 0 { u64::MAX } else { request.limit };
    let rows_max = chosen(request.page_rows, PAGE_ROWS, PAGE_ROWS_MAX);
    let rows_max = usize::try_from(limit).unwrap_or(usize::MAX).min(rows_max);
    let bytes_max = chosen(request.page_bytes, PAGE_BYTES, PAGE_BYTES_MAX);
    let mut chunk = RowChunk::default();
    let more = scan.fill(&mut chunk, rows_max, bytes_max, !request.keys_only)? && (chunk.key_ends.len() as u64) < limit;
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
    Ok(v1::ScanResponse { keys, key_ends, values, value_ends, revisions, more, ..response })
}

/// Counts rows. The page has the last key counted where there is more, for the next page to begin behind.
fn count(mut scan: Scan, request: &v1::ScanRequest, response: v1::ScanResponse) -> Result<v1::ScanResponse> {
    let most = if request.limit == 0 { COUNT_ROWS_MAX } else { request.limit.min(COUNT_ROWS_MAX) };
    let (mut counted, mut more, mut last) = (0, true, Vec::new());
    while more && counted < most {
        let mut chunk = RowChunk::default();
        let rows_max = usize::try_from(most - counted).unwrap_or(usize::MAX).min(PAGE_ROWS);
        more = scan.fill(&mut chunk, rows_max, PAGE_BYTES, false)?;
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

/// What a read sees. The clock of a node may be behind that of the leaders before: a row once absent stays so.
fn read_at(held: &Held, freshness: Option<&v1::Freshness>, now_ms: u64) -> Result<ReadAt> {
    let newest_ms = now_ms.max(held.position().stamp_us / 1000);
    let Some(pinned) = freshness.filter(|freshness| freshness.revision != 0) else {
        return Ok(ReadAt { revision: None, now_ms: newest_ms });
    };
    let newest = held.db.revision();
    if pinned.revision > newest.0 {
        return Err(Error::Behind { asked: pinned.revision, newest: newest.0 });
    }
    let now_ms = if pinned.now_ms == 0 { newest_ms } else { pinned.now_ms };
    Ok(ReadAt { revision: Some(Revision(pinned.revision)), now_ms })
}

fn offset(bytes: usize) -> Result<u32> {
    u32::try_from(bytes).map_err(|_| Error::limit("a page of more than 4 GiB", "ask for smaller pages"))
}
