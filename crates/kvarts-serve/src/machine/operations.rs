//! One command's operations on users' keys: all or none, each on top of those before it.
use super::range::Range;
use super::rows::{push_user_key, user_bounds};
use super::{Error, Result};
use bytes::Bytes;
use kvarts_engine::TreeId;
use kvarts_engine::db::{Applier, Entry, RowChunk};
use kvarts_engine::formats::batch::Batch;
use kvarts_wire::v1;
use kvarts_wire::v1::condition::Kind as Ask;
use kvarts_wire::v1::incr::Encoding;
use kvarts_wire::v1::operation::Kind as Step;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Keys of a range that are read at once.
const RANGE_ROWS: usize = 1024;

/// Where and when the operations of a command take place.
pub(super) struct Scene<'s, 'a> {
    pub(super) applier: &'s Applier<'a>,
    pub(super) tree: TreeId,
    pub(super) revision: u64,
    pub(super) now_ms: u64,
    /// What is the shard's own, if it was split.
    pub(super) range: Option<&'s Range>,
}

/// An operation that may not take place.
pub(super) enum Refusal {
    /// The condition does not hold.
    Condition(Option<v1::Row>),
    /// No number, or a sum that does not fit.
    NotACounter(Option<v1::Row>),
}

/// What a key has become within the command: a value with its expiry, or nothing.
type Change = Option<(Bytes, Option<u64>)>;

/// The operations of one command at work.
pub(super) struct Operations<'s, 'a> {
    scene: Scene<'s, 'a>,
    batch: &'s mut Batch,
    /// Keys changed so far; unused where no later operation looks.
    changed: Option<BTreeMap<Vec<u8>, Change>>,
    /// The row key at hand.
    key: Vec<u8>,
}

/// Outcome of one operation: the sum, where it has one.
type Outcome = std::result::Result<Option<i128>, Refusal>;

impl<'s, 'a> Operations<'s, 'a> {
    /// Begins a command that adds its writes to `batch`.
    pub(super) fn new(scene: Scene<'s, 'a>, batch: &'s mut Batch, operations: &[v1::Operation]) -> Self {
        let looks = operations.len() > 1 && operations.iter().any(looks);
        Self { scene, batch, changed: looks.then(BTreeMap::new), key: Vec::new() }
    }

    /// Does one operation.
    pub(super) fn run(&mut self, operation: &v1::Operation) -> Result<Outcome> {
        match &operation.kind {
            Some(Step::Put(put)) => self.put(put),
            Some(Step::Delete(delete)) => self.delete(delete),
            Some(Step::DeleteRange(range)) => self.delete_range(range).map(|()| Ok(None)),
            Some(Step::Incr(incr)) => self.incr(incr),
            None => Err(Error::invalid("an operation of no known kind", "")),
        }
    }

    fn put(&mut self, put: &v1::Put) -> Result<Outcome> {
        self.at(put.keyspace, &put.key);
        if let Err(refusal) = self.demand(put.condition.as_ref(), &put.key)? {
            return Ok(Err(refusal));
        }
        let expiry_ms = if put.keep_ttl {
            self.look(|found| found.and_then(|(_, _, expiry_ms)| expiry_ms))?
        } else {
            (put.ttl_ms > 0).then(|| self.scene.now_ms.saturating_add(put.ttl_ms))
        };
        self.set(&put.value, expiry_ms);
        Ok(Ok(None))
    }

    fn delete(&mut self, delete: &v1::Delete) -> Result<Outcome> {
        self.at(delete.keyspace, &delete.key);
        if let Err(refusal) = self.demand(delete.condition.as_ref(), &delete.key)? {
            return Ok(Err(refusal));
        }
        self.batch.delete(self.scene.tree, &self.key);
        if let Some(changed) = &mut self.changed {
            changed.insert(self.key.clone(), None);
        }
        Ok(Ok(None))
    }

    fn delete_range(&mut self, range: &v1::DeleteRange) -> Result<()> {
        let bounds = user_bounds(range.keyspace, (&range.start, true), (&range.stop, false));
        let (Some((first, _)), Some((last, _))) = (bounds.start.clone(), bounds.stop.clone()) else {
            unreachable!("user_bounds gives both")
        };
        if first >= last {
            return Ok(());
        }
        let mut scan = self.scene.applier.scan_at(bounds, self.scene.now_ms)?;
        let mut more = true;
        while more {
            let mut chunk = RowChunk::default();
            more = scan.fill(&mut chunk, RANGE_ROWS, usize::MAX, false)?;
            let mut start = 0;
            for &end in &chunk.key_ends {
                let key = &chunk.keys[start..end];
                start = end;
                if self.scene.range.is_some_and(|range| !range.owns_row(key)) {
                    continue;
                }
                self.batch.delete(self.scene.tree, key);
                if let Some(changed) = &mut self.changed {
                    changed.insert(key.to_vec(), None);
                }
            }
        }
        if let Some(changed) = &mut self.changed {
            let within = changed.range_mut::<[u8], _>((Bound::Included(&*first), Bound::Excluded(&*last)));
            for (key, change) in within.filter(|(_, change)| change.is_some()) {
                self.batch.delete(self.scene.tree, key);
                *change = None;
            }
        }
        Ok(())
    }

    fn incr(&mut self, incr: &v1::Incr) -> Result<Outcome> {
        self.at(incr.keyspace, &incr.key);
        let u64s = incr.encoding == Encoding::U64 as i32;
        let read = |found: Option<(&[u8], u64, Option<u64>)>| match found {
            None => Ok((0, None, None)),
            Some((value, revision, expiry_ms)) => match number(value, u64s) {
                // Kept for the refusal where the sum does not fit.
                Some(number) => Ok((number, expiry_ms, Some((Bytes::copy_from_slice(value), revision)))),
                None => Err(Refusal::NotACounter(Some(row(&incr.key, value, revision)))),
            },
        };
        let (start, expiry_ms, found) = match self.look(read)? {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let by = if incr.negative { -i128::from(incr.by) } else { i128::from(incr.by) };
        let Some(stored) = written(start + by, u64s) else {
            let found = found.map(|(value, revision)| row(&incr.key, &value, revision));
            return Ok(Err(Refusal::NotACounter(found)));
        };
        self.set(&Bytes::from(stored), expiry_ms);
        Ok(Ok(Some(start + by)))
    }

    fn at(&mut self, keyspace: u32, key: &[u8]) {
        self.key.clear();
        push_user_key(&mut self.key, keyspace, key);
    }

    fn set(&mut self, value: &Bytes, expiry_ms: Option<u64>) {
        match expiry_ms {
            Some(expiry_ms) => self.batch.put_expiring(self.scene.tree, &self.key, expiry_ms, value),
            None => self.batch.put(self.scene.tree, &self.key, value),
        }
        if let Some(changed) = &mut self.changed {
            changed.insert(self.key.clone(), Some((value.clone(), expiry_ms)));
        }
    }

    /// Calls `with` on what the key at hand holds: value, revision, expiry.
    fn look<R>(&self, with: impl FnOnce(Option<(&[u8], u64, Option<u64>)>) -> R) -> Result<R> {
        let Scene { applier, revision, now_ms, .. } = &self.scene;
        if let Some(change) = self.changed.as_ref().and_then(|changed| changed.get(&self.key)) {
            return Ok(with(change.as_ref().map(|(value, expiry_ms)| (&value[..], *revision, *expiry_ms))));
        }
        let seen = |entry: Option<Entry<'_>>| with(entry.map(|entry| (entry.value, entry.revision.0, entry.expiry_ms)));
        Ok(applier.get_at(&self.key, *now_ms, seen)?)
    }

    fn demand(&self, condition: Option<&v1::Condition>, key: &[u8]) -> Result<std::result::Result<(), Refusal>> {
        let Some(ask) = condition.and_then(|condition| condition.kind.as_ref()) else {
            return Ok(Ok(()));
        };
        self.look(|found| {
            let holds = match ask {
                Ask::Absent(_) => found.is_none(),
                Ask::Present(_) => found.is_some(),
                Ask::AtRevision(asked) => found.is_some_and(|(_, revision, _)| revision == *asked),
                Ask::Equals(asked) => found.is_some_and(|(value, ..)| value == &asked[..]),
            };
            if holds {
                return Ok(());
            }
            Err(Refusal::Condition(found.map(|(value, revision, _)| row(key, value, revision))))
        })
    }
}

/// Tells whether an operation looks at what is there.
fn looks(operation: &v1::Operation) -> bool {
    match &operation.kind {
        Some(Step::Put(put)) => put.keep_ttl || put.condition.is_some(),
        Some(Step::Delete(delete)) => delete.condition.is_some(),
        Some(Step::Incr(_) | Step::DeleteRange(_)) => true,
        None => false,
    }
}

fn row(key: &[u8], value: &[u8], revision: u64) -> v1::Row {
    v1::Row { key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(value), revision }
}

fn number(stored: &[u8], u64s: bool) -> Option<i128> {
    if u64s {
        return stored.try_into().ok().map(|word| i128::from(u64::from_be_bytes(word)));
    }
    str::from_utf8(stored).ok()?.parse::<i64>().ok().map(i128::from)
}

fn written(sum: i128, u64s: bool) -> Option<Vec<u8>> {
    if u64s {
        return u64::try_from(sum).ok().map(|sum| sum.to_be_bytes().to_vec());
    }
    i64::try_from(sum).ok().map(|sum| sum.to_string().into_bytes())
}
