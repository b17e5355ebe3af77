//! The merge of several cursors: a loser tree.
//!
//! Each source enters at a leaf; each inner node keeps the loser of the match played there, and the winner of all comes
//! next. When the winner moves on, only the matches on its way up are played again, one comparison each.
use super::{BoxCursor, Cursor, key_prefix};
use crate::{Kind, Result, Revision};
use kvarts_formats::block::Block;
use std::cmp::Ordering;

/// A node where no match was played yet.
const NOBODY: u32 = u32::MAX;

/// Rows that a source yields in succession before its next ones are looked at as a run.
const STREAK_MIN: usize = 4;

/// Merges cursors, newest source first: of rows with equal (key, revision) the earlier source's comes first.
///
/// After an error it stands nowhere until the next seek.
pub struct MergeCursor<C = BoxCursor> {
    sources: Vec<Source<C>>,
    /// The winner, then the loser of each node: the children of `i` are `2i` and `2i + 1`, the leaf of source `i` is
    /// `sources.len() + i`.
    losers: Vec<u32>,
    /// Where all sources but the winner stand: behind the current row in this direction.
    direction: Direction,
    /// Rows that the winner has yielded in succession.
    streak: usize,
}

struct Source<C> {
    cursor: C,
    /// [`key_prefix`] of the row it stands on. Unused where it stands on none, and in a merge of one.
    prefix: u64,
    /// Whether it stands on a row that counts: none does after an error.
    live: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// Rows of one block that lie ahead of all other sources.
pub(super) struct Run<'a> {
    pub(super) block: &'a Block,
    /// The row it stands on.
    pub(super) row: usize,
    /// So many rows are worth a look.
    pub(super) rows_max: usize,
    /// The next key of the other sources.
    pub(super) until: Option<&'a [u8]>,
}

impl<C: Cursor> MergeCursor<C> {
    /// Returns a merge of `sources`, which stands nowhere until the first seek.
    pub fn new(sources: Vec<C>) -> Self {
        let losers = vec![NOBODY; sources.len()];
        let sources = sources.into_iter().map(|cursor| Source { cursor, prefix: 0, live: false }).collect();
        Self { sources, losers, direction: Direction::Forward, streak: 0 }
    }

    /// The same as `seek`, for a cursor going forward to a row at or after the current one: sources that are there stay.
    pub(super) fn skip_to(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        debug_assert!(self.direction == Direction::Forward);
        self.reposition(Direction::Forward, |_, cursor| {
            let behind = cursor.valid() && super::compare((cursor.key(), cursor.revision()), (key, revision)).is_lt();
            if behind { cursor.seek(key, revision) } else { Ok(()) }
        })
    }

    /// Where it stands in a block, going forward, and has for a while: the rows from there on may be taken as a run.
    #[inline]
    pub(super) fn run(&self) -> Option<Run<'_>> {
        if self.sources.len() > 1 && self.streak < STREAK_MIN || self.direction != Direction::Forward {
            return None;
        }
        let (block, row) = self.winner().cursor.block()?;
        let rows_max = if self.sources.len() == 1 { usize::MAX } else { 2 * self.streak };
        Some(Run { block, row, rows_max, until: self.runner_up().map(|source| source.cursor.key()) })
    }

    /// Moves on to `row` of the block of the run, or behind it. `before` is the key of the row before.
    pub(super) fn skip_in_block(&mut self, row: usize, before: &[u8], skipped: usize) -> Result<()> {
        self.streak += skipped;
        self.moved(|cursor| cursor.skip_in_block(row, before))
    }

    /// Moves every source with `place` and starts anew in `direction`.
    fn reposition(&mut self, direction: Direction, mut place: impl FnMut(usize, &mut C) -> Result<()>) -> Result<()> {
        self.forget();
        self.direction = direction;
        for (i, source) in self.sources.iter_mut().enumerate() {
            place(i, &mut source.cursor)?;
        }
        for source in &mut self.sources {
            source.live = source.cursor.valid();
            if source.live {
                source.prefix = key_prefix(source.cursor.key());
            }
        }
        self.losers.fill(NOBODY);
        for i in 0..self.sources.len() {
            self.enter(i);
        }
        Ok(())
    }

    /// Stands nowhere.
    fn forget(&mut self) {
        self.sources.iter_mut().for_each(|source| source.live = false);
        self.streak = 0;
    }

    /// Plays a source that enters up to the first node where its opponent is not known yet.
    fn enter(&mut self, source: usize) {
        let mut winner = source as u32;
        let mut node = (source + self.sources.len()) / 2;
        while node > 0 {
            match self.losers[node] {
                NOBODY => {
                    self.losers[node] = winner;
                    return;
                }
                other if self.comes_before(other, winner) => {
                    self.losers[node] = winner;
                    winner = other;
                }
                _ => {}
            }
            node /= 2;
        }
        self.losers[0] = winner;
    }

    /// Plays the matches of the winner again, which has moved.
    #[inline]
    fn replay(&mut self) {
        let moved = self.losers[0];
        let mut winner = moved;
        let mut node = (moved as usize + self.sources.len()) / 2;
        while node > 0 {
            let other = self.losers[node];
            if self.comes_before(other, winner) {
                self.losers[node] = winner;
                winner = other;
            }
            node /= 2;
        }
        self.losers[0] = winner;
        self.streak = if winner == moved { self.streak + 1 } else { 0 };
    }

    /// The source that would come next without the winner: the best of those that lost to it.
    fn runner_up(&self) -> Option<&Source<C>> {
        let mut node = (self.losers[0] as usize + self.sources.len()) / 2;
        let mut best: Option<u32> = None;
        while node > 0 {
            let other = self.losers[node];
            if best.is_none_or(|best| self.comes_before(other, best)) {
                best = Some(other);
            }
            node /= 2;
        }
        best.map(|best| &self.sources[best as usize]).filter(|source| source.live)
    }

    /// Turns round: places all other sources on the far side of the current row.
    ///
    /// Of rows equal to the current one those of earlier sources lie before it and those of later sources behind it.
    fn turn(&mut self, direction: Direction) -> Result<()> {
        let current = self.losers[0] as usize;
        let cursor = &self.sources[current].cursor;
        let (mut key, revision) = (cursor.key().to_vec(), cursor.revision());
        let at_bytes = key.len();
        let after = match revision.0.checked_sub(1) {
            Some(older) => Revision(older),
            None => {
                key.push(0);
                Revision::MAX
            }
        };
        self.reposition(direction, |i, cursor| {
            let (key, revision) = match i.cmp(&current) {
                Ordering::Less => (&key[..], after),
                Ordering::Equal => return Ok(()),
                Ordering::Greater => (&key[..at_bytes], revision),
            };
            match direction {
                Direction::Forward => cursor.seek(key, revision),
                Direction::Backward => cursor.seek_before(key, revision),
            }
        })
    }

    /// Moves the winner on and finds the next one.
    #[inline]
    fn advance(&mut self, direction: Direction) -> Result<()> {
        if self.direction != direction {
            self.turn(direction)?;
        }
        self.moved(|cursor| match direction {
            Direction::Forward => cursor.next(),
            Direction::Backward => cursor.prev(),
        })
    }

    #[inline]
    fn moved(&mut self, go: impl FnOnce(&mut C) -> Result<()>) -> Result<()> {
        let several = self.sources.len() > 1;
        let source = &mut self.sources[self.losers[0] as usize];
        let moved = go(&mut source.cursor);
        if moved.is_err() {
            self.forget();
            return moved;
        }
        source.live = source.cursor.valid();
        if several {
            if source.live {
                source.prefix = key_prefix(source.cursor.key());
            }
            self.replay();
        }
        Ok(())
    }

    /// Tells whether source `a` comes before source `b` in the direction. One at its end comes after all others.
    #[inline]
    fn comes_before(&self, a: u32, b: u32) -> bool {
        let (left, right) = (&self.sources[a as usize], &self.sources[b as usize]);
        if !left.live || !right.live {
            return left.live;
        }
        let order = left.prefix.cmp(&right.prefix).then_with(|| {
            let by_row = super::compare(
                (left.cursor.key(), left.cursor.revision()),
                (right.cursor.key(), right.cursor.revision()),
            );
            by_row.then(a.cmp(&b))
        });
        match self.direction {
            Direction::Forward => order == Ordering::Less,
            Direction::Backward => order == Ordering::Greater,
        }
    }

    #[inline]
    fn winner(&self) -> &Source<C> {
        &self.sources[self.losers[0] as usize]
    }
}

impl<C: Cursor> Cursor for MergeCursor<C> {
    fn seek_first(&mut self) -> Result<()> {
        self.reposition(Direction::Forward, |_, cursor| cursor.seek_first())
    }

    fn seek_last(&mut self) -> Result<()> {
        self.reposition(Direction::Backward, |_, cursor| cursor.seek_last())
    }

    fn seek(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        self.reposition(Direction::Forward, |_, cursor| cursor.seek(key, revision))
    }

    fn seek_before(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        self.reposition(Direction::Backward, |_, cursor| cursor.seek_before(key, revision))
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        self.advance(Direction::Forward)
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        self.advance(Direction::Backward)
    }

    #[inline]
    fn valid(&self) -> bool {
        !self.sources.is_empty() && self.losers[0] != NOBODY && self.winner().live
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.winner().cursor.key()
    }

    #[inline]
    fn revision(&self) -> Revision {
        self.winner().cursor.revision()
    }

    #[inline]
    fn kind(&self) -> Kind {
        self.winner().cursor.kind()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.winner().cursor.value()
    }
}
