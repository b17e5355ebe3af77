//! Reads of keys by name, at the newest revision or at one that the request pins; and what such a read sees.
use super::held::Held;
use super::rows::{USER, USER_PREFIX_BYTES, push_user_key, user_bounds};
use super::{Error, Result, check_get};
use bytes::Bytes;
use kvarts_engine::Revision;
use kvarts_engine::db::{ReadAt, RowChunk};
use kvarts_engine::iter::Bounds;
use kvarts_wire::v1;
use kvarts_wire::v1::get_response::Found;

/// Answers `request`. `now_ms` is the node's clock.
pub(super) fn get(held: &Held, request: &v1::GetRequest, now_ms: u64) -> Result<v1::GetResponse> {
    check_get(request)?;
    let range = held.range();
    if let Some(range) = &range {
        range.check_keys(request)?;
    }
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
    held.check_unsplit(range.as_ref())?;
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
    let range = held.range();
    let (mut rows, mut key_start, mut value_start) = (Vec::new(), 0, 0);
    for (at, (&key_end, &value_end)) in chunk.key_ends.iter().zip(&chunk.value_ends).enumerate() {
        let key = chunk.keys[key_start + USER_PREFIX_BYTES..key_end].to_vec();
        if range.as_ref().is_none_or(|range| range.owns(&key)) {
            rows.push((key, chunk.values[value_start..value_end].to_vec(), chunk.revisions[at].0));
        }
        (key_start, value_start) = (key_end, value_end);
    }
    Ok(rows)
}

/// The user's key in the middle of the bytes of users' rows, and about how many those are.
pub(super) fn middle(held: &Held) -> Result<(Option<Vec<u8>>, u64)> {
    let bounds = match held.range() {
        Some(range) => range.bounds(),
        None => Bounds { start: Some((vec![USER], true)), stop: Some((vec![USER + 1], false)) },
    };
    let (middle, bytes) = held.db.middle(&held.tree, bounds)?;
    Ok((middle.and_then(|key| key.get(USER_PREFIX_BYTES..).map(<[u8]>::to_vec)), bytes))
}

/// What a read sees. The clock of a node may be behind that of the leaders before: a row once absent stays so.
pub(super) fn read_at(held: &Held, freshness: Option<&v1::Freshness>, now_ms: u64) -> Result<ReadAt> {
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
