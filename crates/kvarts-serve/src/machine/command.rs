//! The commands of one entry, one after the other, under one hold of the engine's write lock.
use super::operations::{Operations, Refusal, Scene};
use super::range::Range;
use super::rows::{APPLIED, Position, lock_key, token};
use super::sessions::{Known, Sessions};
use super::{Error, Result};
use kvarts_engine::db::Applier;
use kvarts_engine::formats::batch::Batch;
use kvarts_engine::{Revision, TreeId};
use kvarts_wire::v1;
use kvarts_wire::v1::Outcome;
use kvarts_wire::v1::command::Special;

/// One entry being applied.
pub(super) struct EntryWork<'w, 'a> {
    applier: &'w mut Applier<'a>,
    tree: TreeId,
    /// The position that the entry leads to.
    position: Position,
    /// Revision of the command at hand, or of the one before.
    revision: u64,
    /// Writes of the command at hand.
    batch: Batch,
    sessions: Sessions,
    /// What is the shard's own, if it was split.
    range: Option<&'w Range>,
}

impl<'w, 'a> EntryWork<'w, 'a> {
    /// Begins an entry that leads to `position`.
    pub(super) fn new(
        applier: &'w mut Applier<'a>,
        tree: TreeId,
        position: Position,
        range: Option<&'w Range>,
    ) -> Self {
        let revision = applier.last().0;
        Self { applier, tree, position, revision, batch: Batch::new(), sessions: Sessions::default(), range }
    }

    /// Does all commands, and moves the position with the last. Returns one result per command, and how many more sessions
    /// there are.
    pub(super) fn run(mut self, commands: &[v1::Command]) -> Result<(Vec<v1::Result>, i64)> {
        let mut results = Vec::with_capacity(commands.len());
        for (at, command) in commands.iter().enumerate() {
            self.revision = self.next_revision();
            let before = self.batch.end();
            let result = self.command(command)?;
            if result.outcome != Outcome::Done as i32 {
                self.batch.cut(before);
            }
            results.push(result);
            if at + 1 < commands.len() {
                self.commit()?;
            }
        }
        if commands.is_empty() {
            self.revision = self.next_revision();
        }
        let growth = self.sessions.growth();
        self.sessions.store(self.tree, &mut self.batch);
        self.end()?;
        Ok((results, growth))
    }

    /// Writes rows, or removes them where the value is `None`, and moves the position with them.
    pub(super) fn write<'r>(mut self, rows: impl IntoIterator<Item = (&'r [u8], Option<&'r [u8]>)>) -> Result<()> {
        self.revision = self.next_revision();
        for (key, value) in rows {
            match value {
                Some(value) => self.batch.put(self.tree, key, value),
                None => self.batch.delete(self.tree, key),
            }
        }
        self.end()
    }

    fn next_revision(&self) -> u64 {
        (self.revision + 1).max(self.position.stamp_us)
    }

    fn commit(&mut self) -> Result<()> {
        if !self.batch.is_empty() {
            self.applier.commit(&mut self.batch, Revision(self.revision))?;
            self.batch.clear();
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.batch.put(self.tree, APPLIED, &self.position.encode());
        self.commit()
    }

    fn command(&mut self, command: &v1::Command) -> Result<v1::Result> {
        match &command.special {
            Some(Special::OpenSession(_)) => self.sessions.open(self.revision),
            Some(Special::DropSessions(dropped)) => self.sessions.drop_all_but(self.applier, dropped.keep as usize)?,
            Some(Special::MoveLock(moved)) => return self.move_lock(&moved.lock),
            None => return self.once(command),
        }
        Ok(self.result(Outcome::Done))
    }

    fn move_lock(&mut self, lock: &[u8]) -> Result<v1::Result> {
        let token = self.token(lock)?.checked_add(1).ok_or_else(|| Error::invalid("a lock moved too often", ""))?;
        self.batch.put(self.tree, &lock_key(lock), &token.to_le_bytes());
        Ok(v1::Result { sums: vec![sum(Some(i128::from(token)))], ..self.result(Outcome::Done) })
    }

    fn token(&self, lock: &[u8]) -> Result<u64> {
        let found = self.applier.get_at(&lock_key(lock), 0, |entry| entry.map(|entry| token(entry.value)))?;
        Ok(found.transpose()?.unwrap_or(0))
    }

    fn once(&mut self, command: &v1::Command) -> Result<v1::Result> {
        if command.session == 0 {
            return self.operate(command);
        }
        match self.sessions.begin(self.applier, command, self.revision)? {
            Known::Expired => Ok(self.result(Outcome::SessionExpired)),
            Known::Done(result) => Ok(result),
            Known::New => {
                let result = self.operate(command)?;
                self.sessions.keep(command, &result);
                Ok(result)
            }
        }
    }

    fn operate(&mut self, command: &v1::Command) -> Result<v1::Result> {
        if self.range.is_some_and(|range| !range.takes(command)) {
            return Ok(self.result(Outcome::WrongShard));
        }
        if let Some(fence) = &command.fence
            && fence.token < self.token(&fence.lock)?
        {
            return Ok(self.result(Outcome::FenceRejected));
        }
        let (revision, now_ms) = (self.revision, self.position.stamp_us / 1000);
        let scene = Scene { applier: self.applier, tree: self.tree, revision, now_ms, range: self.range };
        let mut operations = Operations::new(scene, &mut self.batch, &command.operations);
        let mut sums = Vec::new();
        for (at, operation) in command.operations.iter().enumerate() {
            match operations.run(operation)? {
                Ok(None) if sums.is_empty() => {}
                Ok(total) => {
                    sums.resize(at, sum(None));
                    sums.push(sum(total));
                }
                Err(refusal) => return Ok(self.refused(refusal, at)),
            }
        }
        Ok(v1::Result { sums, ..self.result(Outcome::Done) })
    }

    fn refused(&self, refusal: Refusal, at: usize) -> v1::Result {
        let (outcome, found) = match refusal {
            Refusal::Condition(found) => (Outcome::ConditionFailed, found),
            Refusal::NotACounter(found) => (Outcome::NotACounter, found),
        };
        let failed = u32::try_from(at).expect("a command has fewer operations than bytes");
        v1::Result { found, failed, ..self.result(outcome) }
    }

    fn result(&self, outcome: Outcome) -> v1::Result {
        v1::Result { outcome: outcome as i32, revision: self.revision, ..v1::Result::default() }
    }
}

fn sum(total: Option<i128>) -> v1::Sum {
    let Some(total) = total else { return v1::Sum::default() };
    let magnitude = u64::try_from(total.unsigned_abs()).expect("a sum was stored in 64 bits");
    v1::Sum { set: true, negative: total < 0, magnitude }
}
