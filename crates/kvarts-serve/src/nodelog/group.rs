//! One group's part of the log, as its records say: entries supersede, a mark replaces, compaction forgets. Pure.
use super::EntryMeta;
use kvarts_engine::FileId;
use kvarts_formats::node_record::{EntryId, GroupRecord, HardState, Mark, NodeRecord};
use std::collections::VecDeque;

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: FileId,
    pub(super) offset: u64,
}

/// An entry that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) term: u64,
    pub(super) place: Place,
    pub(super) kind: u32,
    pub(super) size: u32,
}

/// One group's part of the log. Invariant: places ascend with indexes, since whatever follows an entry is superseded by it.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) hard_state: HardState,
    /// The newest mark with the membership there.
    pub(super) mark: Option<(EntryId, Vec<u8>)>,
    /// The entry before the first one.
    base: EntryId,
    /// So many entries after the base lay in files that are gone. 0 but during recovery, where a record that makes them
    /// useless is still to come.
    absent: u64,
    slots: VecDeque<Slot>,
}

/// What a group is, but for its entries: what the start of a file says.
#[derive(Clone, Debug)]
pub(super) struct GroupState {
    hard_state: HardState,
    mark: Option<(EntryId, Vec<u8>)>,
    base: EntryId,
    last: u64,
}

impl GroupState {
    /// Of `group`, with the entries up to `last`.
    pub(super) fn of(group: &Group, last: u64) -> Self {
        Self { hard_state: group.hard_state, mark: group.mark.clone(), base: group.base, last }
    }

    pub(super) fn record(&self) -> NodeRecord<'_> {
        let mark = self.mark.as_ref().map(|(id, membership)| Mark { id: *id, membership });
        NodeRecord::Group(GroupRecord { hard_state: self.hard_state, base: self.base, last: self.last, mark })
    }
}

impl Group {
    /// Returns a group that begins after an entry.
    pub(super) fn after(base: EntryId) -> Self {
        Self { base, ..Self::default() }
    }

    /// Takes a record that states what the group is; returns entries that it drops.
    pub(super) fn restate(&mut self, said: &GroupRecord<'_>) -> std::result::Result<Vec<Slot>, &'static str> {
        let mut dropped = if said.base.index < self.base.index {
            // Another group of the same number was here before.
            std::mem::replace(self, Self::after(said.base)).slots.into()
        } else {
            self.truncate(said.last.saturating_add(1))
        };
        dropped.extend(self.forget(said.base));
        self.base = said.base;
        self.hard_state = said.hard_state;
        self.mark = said.mark.map(|mark| (mark.id, mark.membership.to_vec()));
        if self.last() < said.last {
            if !self.slots.is_empty() {
                return Err("a group's entries end before its record says");
            }
            self.absent = said.last - said.base.index;
        }
        Ok(dropped)
    }

    /// Puts an entry in its place; returns those that it supersedes.
    pub(super) fn put(&mut self, index: u64, slot: Slot) -> std::result::Result<Vec<Slot>, &'static str> {
        if index <= self.base.index || index > self.last().saturating_add(1) {
            return Err("an entry leaves a hole in its group's log");
        }
        let superseded = self.truncate(index);
        self.slots.push_back(slot);
        Ok(superseded)
    }

    /// Goes on after a leader's snapshot; returns all entries.
    pub(super) fn replace(&mut self, id: EntryId, membership: &[u8]) -> Vec<Slot> {
        self.mark = Some((id, membership.to_vec()));
        self.base = id;
        self.absent = 0;
        std::mem::take(&mut self.slots).into()
    }

    /// Makes `base` the entry before the first; returns entries up to it.
    pub(super) fn forget(&mut self, base: EntryId) -> Vec<Slot> {
        if base.index <= self.base.index {
            return Vec::new();
        }
        let gone = base.index - self.base.index;
        let absent = gone.min(self.absent);
        let stored = usize::try_from(gone - absent).unwrap_or(usize::MAX).min(self.slots.len());
        self.absent -= absent;
        self.base = base;
        self.slots.drain(..stored).collect()
    }

    /// Drops entries from `start` on; returns them.
    fn truncate(&mut self, start: u64) -> Vec<Slot> {
        let first = self.base.index + self.absent + 1;
        if start < first {
            self.absent = start.saturating_sub(self.base.index + 1);
        }
        let keep = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
        if keep >= self.slots.len() { Vec::new() } else { self.slots.split_off(keep).into() }
    }

    /// The entry before the first.
    pub(super) fn base(&self) -> EntryId {
        self.base
    }

    /// Index of the last entry.
    pub(super) fn last(&self) -> u64 {
        self.base.index + self.absent + self.slots.len() as u64
    }

    /// Tells whether entries are missing that no record made useless.
    pub(super) fn has_hole(&self) -> bool {
        self.absent > 0
    }

    /// Entries that count, in order.
    pub(super) fn slots(&self) -> &VecDeque<Slot> {
        &self.slots
    }

    /// An entry with its place.
    pub(super) fn slot(&self, index: u64) -> Option<&Slot> {
        let at = index.checked_sub(self.base.index + self.absent + 1)?;
        self.slots.get(usize::try_from(at).ok()?)
    }

    /// The term of an entry, or of the one before the first.
    pub(super) fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.base.index { Some(self.base.term) } else { self.slot(index).map(|slot| slot.term) }
    }

    /// Entries of `start..stop` within `bytes_max`, at least one where there is one; none where `start` is forgotten.
    pub(super) fn metas(&self, start: u64, stop: u64, bytes_max: u64) -> Vec<EntryMeta> {
        let mut metas = Vec::new();
        let mut bytes = 0u64;
        for index in start..stop.min(self.last().saturating_add(1)) {
            let Some(slot) = self.slot(index) else { break };
            bytes += u64::from(slot.size) + ENTRY_BYTES_OVERHEAD;
            if bytes > bytes_max && !metas.is_empty() {
                break;
            }
            metas.push(EntryMeta { term: slot.term, index, kind: slot.kind, size: slot.size });
        }
        metas
    }

    /// What the group is, with the entries in files up to `after`.
    pub(super) fn state_up_to(&self, after: FileId) -> GroupState {
        let kept = self.slots.partition_point(|slot| slot.place.file <= after) as u64;
        GroupState::of(self, self.base.index + self.absent + kept)
    }

    /// Moves entries that lie after the file `after` to where they were copied; `places` has one for each, in order.
    pub(super) fn moved(&mut self, after: FileId, places: &mut dyn Iterator<Item = Place>) {
        for slot in self.slots.iter_mut().filter(|slot| slot.place.file > after) {
            slot.place = places.next().expect("every entry after that file was copied");
        }
    }
}

/// What an entry counts beyond its payload where entries are limited in bytes; as kvarts.raft.messages has it.
const ENTRY_BYTES_OVERHEAD: u64 = 8;
