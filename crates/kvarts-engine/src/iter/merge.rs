//! The merge of several cursors.
use super::{BoxCursor, Cursor, key_prefix};
use crate::{Kind, Result, Revision};
use std::cmp::Ordering;

/// Merges cursors, newest source first: of rows with equal (key, revision) the earlier source's comes first.
///
/// After an error it stands nowhere until the next seek.
pub struct MergeCursor {
    sources: Vec<Source>,
    /// Sources that stand on a row, as a binary heap: the one whose row comes next in the direction is first.
    heap: Vec<usize>,
    /// Where all sources but the first stand: behind the current row in this direction.
    direction: Direction,
}

struct Source {
    cursor: BoxCursor,
    /// [`key_prefix`] of the row it stands on. Stale where it stands on none, and unused in a merge of one.
    prefix: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

impl MergeCursor {
    /// Returns a merge of `sources`, which stands nowhere until the first seek.
    pub fn new(sources: Vec<BoxCursor>) -> Self {
        let heap = Vec::with_capacity(sources.len());
        let sources = sources.into_iter().map(|cursor| Source { cursor, prefix: 0 }).collect();
        Self { sources, heap, direction: Direction::Forward }
    }

    /// The same as `seek`, for a cursor going forward to a row at or after the current one: sources that are there stay.
    pub(super) fn skip_to(&mut self, key: &[u8], revision: Revision) -> Result<()> {
        debug_assert!(self.direction == Direction::Forward);
        self.reposition(Direction::Forward, |_, cursor| {
            let behind = cursor.valid() && super::compare((cursor.key(), cursor.revision()), (key, revision)).is_lt();
            if behind { cursor.seek(key, revision) } else { Ok(()) }
        })
    }

    /// Moves every source with `place` and starts anew in `direction`.
    fn reposition(
        &mut self,
        direction: Direction,
        mut place: impl FnMut(usize, &mut dyn Cursor) -> Result<()>,
    ) -> Result<()> {
        self.heap.clear();
        self.direction = direction;
        for (i, source) in self.sources.iter_mut().enumerate() {
            place(i, &mut *source.cursor)?;
        }
        for i in 0..self.sources.len() {
            if self.sources[i].cursor.valid() {
                self.sources[i].prefix = key_prefix(self.sources[i].cursor.key());
                self.heap.push(i);
            }
        }
        for place in (0..self.heap.len() / 2).rev() {
            self.sift_down(place);
        }
        Ok(())
    }

    /// Turns round: places all other sources on the far side of the current row.
    ///
    /// Of rows equal to the current one those of earlier sources lie before it and those of later sources behind it.
    fn turn(&mut self, direction: Direction) -> Result<()> {
        let current = self.heap[0];
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

    /// Moves the first source on and restores the heap.
    #[inline]
    fn advance(&mut self, direction: Direction) -> Result<()> {
        if self.direction != direction {
            self.turn(direction)?;
        }
        let first = self.heap[0];
        let source = &mut self.sources[first];
        let moved = match direction {
            Direction::Forward => source.cursor.next(),
            Direction::Backward => source.cursor.prev(),
        };
        if moved.is_err() {
            self.heap.clear();
            return moved;
        }
        if !source.cursor.valid() {
            self.heap.swap_remove(0);
        } else if self.heap.len() > 1 {
            source.prefix = key_prefix(source.cursor.key());
        }
        self.sift_down(0);
        Ok(())
    }

    /// Moves the source at `place` of the heap down to where it belongs.
    #[inline]
    fn sift_down(&mut self, mut place: usize) {
        loop {
            let mut child = 2 * place + 1;
            if child >= self.heap.len() {
                return;
            }
            if child + 1 < self.heap.len() && self.comes_before(self.heap[child + 1], self.heap[child]) {
                child += 1;
            }
            if !self.comes_before(self.heap[child], self.heap[place]) {
                return;
            }
            self.heap.swap(place, child);
            place = child;
        }
    }

    /// Tells whether source `a` comes before source `b` in the direction.
    #[inline]
    fn comes_before(&self, a: usize, b: usize) -> bool {
        let (left, right) = (&self.sources[a], &self.sources[b]);
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
    fn current(&self) -> &dyn Cursor {
        &*self.sources[self.heap[0]].cursor
    }
}

impl Cursor for MergeCursor {
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
        !self.heap.is_empty()
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.current().key()
    }

    #[inline]
    fn revision(&self) -> Revision {
        self.current().revision()
    }

    #[inline]
    fn kind(&self) -> Kind {
        self.current().kind()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.current().value()
    }
}
