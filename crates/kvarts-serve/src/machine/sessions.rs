//! Exactly once: what sessions remember, as one entry sees and changes it. Stored once per entry, at its end.
use super::rows::{SESSIONS, SessionRow, prefix_bounds, result_key, session_key, session_of};
use super::{Error, Result};
use bytes::{Buf, BufMut};
use kvarts_engine::TreeId;
use kvarts_engine::db::{self, Applier, RowChunk};
use kvarts_engine::formats::batch::Batch;
use kvarts_wire::v1;
use prost::Message;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Results kept per session. A client has at most this many requests unanswered.
pub const SESSION_WINDOW: u64 = 1024;

/// Rows of sessions read at once.
const ROWS_MAX: usize = 1024;

/// A session during one entry.
#[derive(Default)]
struct Session {
    /// As it stands in the rows; `None` where it is not there yet.
    stored: Option<SessionRow>,
    /// As it is now; `None` where it is dropped, or never was.
    now: Option<SessionRow>,
    /// Results that came in this entry and are still asked for.
    results: BTreeMap<u64, v1::Result>,
}

/// What became of a question for a sequence.
pub(super) enum Known {
    /// The session is gone, or has forgotten the sequence.
    Expired,
    /// The command was done before.
    Done(v1::Result),
    /// It is new.
    New,
}

/// Sessions that an entry touches.
#[derive(Default)]
pub(super) struct Sessions {
    touched: BTreeMap<u64, Session>,
}

impl Sessions {
    /// Opens a session: its id is the revision.
    pub(super) fn open(&mut self, revision: u64) {
        let now = Some(SessionRow { used: revision, ..SessionRow::default() });
        self.touched.insert(revision, Session { now, ..Session::default() });
    }

    /// Looks for what a sequence has come to. Where it is new, notes that the session was used and what it may forget.
    pub(super) fn begin(&mut self, applier: &Applier<'_>, command: &v1::Command, revision: u64) -> Result<Known> {
        let (id, sequence) = (command.session, command.sequence);
        let session = self.load(applier, id)?;
        let Some(row) = &mut session.now else {
            return Ok(Known::Expired);
        };
        // A sequence whose answer the client has got is not asked for again, but by a packet that was under way.
        if sequence <= row.answered {
            return Ok(Known::Expired);
        }
        if let Some(result) = session.results.get(&sequence) {
            return Ok(Known::Done(result.clone()));
        }
        // Above the newest stored there is none: most commands need no look.
        if let Some(stored) = session.stored.as_ref().filter(|stored| sequence <= stored.newest)
            && let Some(result) = read_result(applier, id, &stored.blocks, sequence)?
        {
            return Ok(Known::Done(result));
        }
        row.used = revision;
        row.answered = row.answered.max(command.answered).max(sequence.saturating_sub(SESSION_WINDOW));
        row.newest = row.newest.max(sequence);
        session.results = session.results.split_off(&(row.answered.saturating_add(1)));
        Ok(Known::New)
    }

    /// Keeps the result of a command that [`Sessions::begin`] called new.
    pub(super) fn keep(&mut self, command: &v1::Command, result: &v1::Result) {
        let session = self.touched.get_mut(&command.session).expect("begin was called first");
        let row = session.now.as_ref().expect("it was new to a session");
        if command.sequence > row.answered {
            session.results.insert(command.sequence, result.clone());
        }
    }

    /// Drops all sessions but the `keep` used last.
    pub(super) fn drop_all_but(&mut self, applier: &Applier<'_>, keep: usize) -> Result<()> {
        let mut scan = applier.scan_at(prefix_bounds(SESSIONS), 0)?;
        let mut more = true;
        while more {
            let mut chunk = RowChunk::default();
            more = scan.fill(&mut chunk, ROWS_MAX, usize::MAX, true)?;
            let (mut key_start, mut value_start) = (0, 0);
            for (&key_end, &value_end) in chunk.key_ends.iter().zip(&chunk.value_ends) {
                if let Some(id) = session_of(&chunk.keys[key_start..key_end]) {
                    let row = SessionRow::decode(&chunk.values[value_start..value_end])?;
                    self.touched.entry(id).or_insert_with(|| Session::stored_as(row));
                }
                (key_start, value_start) = (key_end, value_end);
            }
        }
        let mut oldest_first: Vec<(u64, u64)> =
            self.touched.iter().filter_map(|(&id, session)| session.now.as_ref().map(|row| (row.used, id))).collect();
        oldest_first.sort_unstable();
        for (_, id) in &oldest_first[..oldest_first.len().saturating_sub(keep)] {
            let session = self.touched.get_mut(id).expect("listed above");
            session.now = None;
            session.results.clear();
        }
        Ok(())
    }

    /// How many more sessions there are after the entry than before it.
    pub(super) fn growth(&self) -> i64 {
        let count = |session: Option<&SessionRow>| i64::from(session.is_some());
        self.touched.values().map(|session| count(session.now.as_ref()) - count(session.stored.as_ref())).sum()
    }

    /// Adds what has changed to `batch`.
    pub(super) fn store(&mut self, tree: TreeId, batch: &mut Batch) {
        for (&id, session) in &mut self.touched {
            if session.stored == session.now {
                continue;
            }
            let forgotten = session.now.as_ref().map_or(u64::MAX, |row| row.answered);
            for &block in session.stored.iter().flat_map(|stored| &stored.blocks).filter(|block| **block <= forgotten) {
                batch.delete(tree, &result_key(id, block));
            }
            let Some(row) = &mut session.now else {
                batch.delete(tree, &session_key(id));
                continue;
            };
            row.blocks.retain(|block| *block > forgotten);
            if let Some((&newest, _)) = session.results.last_key_value() {
                // A sequence is new only once, so no other row of results ends with it.
                let place = row.blocks.partition_point(|block| *block < newest);
                row.blocks.insert(place, newest);
                batch.put(tree, &result_key(id, newest), &encode_results(&session.results));
            }
            batch.put(tree, &session_key(id), &row.encode());
        }
    }

    fn load(&mut self, applier: &Applier<'_>, id: u64) -> Result<&mut Session> {
        match self.touched.entry(id) {
            Entry::Occupied(touched) => Ok(touched.into_mut()),
            Entry::Vacant(place) => {
                let read = |entry: Option<db::Entry<'_>>| entry.map(|entry| SessionRow::decode(entry.value));
                let row = applier.get_at(&session_key(id), 0, read)?.transpose()?;
                Ok(place.insert(row.map_or_else(Session::default, Session::stored_as)))
            }
        }
    }
}

impl Session {
    fn stored_as(row: SessionRow) -> Self {
        Self { stored: Some(row.clone()), now: Some(row), results: BTreeMap::new() }
    }
}

/// Looks in the rows of results that may hold a sequence: those that do not end before it.
fn read_result(applier: &Applier<'_>, id: u64, blocks: &[u64], sequence: u64) -> Result<Option<v1::Result>> {
    for &block in &blocks[blocks.partition_point(|block| *block < sequence)..] {
        let find = |entry: Option<db::Entry<'_>>| entry.map(|entry| result_of(entry.value, sequence));
        let found = applier.get_at(&result_key(id, block), 0, find)?;
        let broken = || Error::NotAShard(format!("session {id} has no results that end with {block}"));
        if let Some(result) = found.flatten().ok_or_else(broken)? {
            return Ok(Some(result));
        }
    }
    Ok(None)
}

/// Each: the sequence (u64), the length of what follows (u32), the result; integers little-endian.
fn encode_results(results: &BTreeMap<u64, v1::Result>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(results.len() * 32);
    for (sequence, result) in results {
        bytes.put_u64_le(*sequence);
        bytes.put_u32_le(u32::try_from(result.encoded_len()).expect("a result is smaller than a message"));
        result.encode(&mut bytes).expect("a vector grows");
    }
    bytes
}

/// The result of a sequence among those of a row. `None` outside where the row is none, inside where it is not among them.
fn result_of(mut row: &[u8], sequence: u64) -> Option<Option<v1::Result>> {
    while !row.is_empty() {
        let (found, bytes) = (row.try_get_u64_le().ok()?, row.try_get_u32_le().ok()? as usize);
        let result = row.split_off(..bytes)?;
        if found == sequence {
            return v1::Result::decode(result).ok().map(Some);
        }
    }
    Some(None)
}
