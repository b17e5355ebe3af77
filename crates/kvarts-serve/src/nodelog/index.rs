//! What of the log counts: all groups, and in which file their entries lie.
use super::group::{Group, GroupState, Place, Slot};
use super::recent::Recent;
use super::{GroupWrite, LogPosition};
use bytes::Bytes;
use kvarts_engine::fs::ReadFile;
use kvarts_engine::{Error, FileId, Result};
use kvarts_formats::node_record::NodeRecord;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A file that may hold entries that count.
pub(super) struct LiveFile {
    pub(super) file: FileId,
    /// For reading payloads.
    pub(super) reader: Option<Arc<dyn ReadFile>>,
    /// Entries in it that count.
    entries: u64,
    /// Where the log ended when the last of them, and of all older files, ceased to count.
    useless_at: Option<LogPosition>,
}

/// All groups, and in which file their entries lie.
pub(super) struct Index {
    pub(super) groups: BTreeMap<u32, Group>,
    /// Oldest first; the last is the one appended to.
    files: VecDeque<LiveFile>,
    pub(super) recent: Recent,
    /// Groups from before a file that recovery made, which it did not restate: they are no more. Only during recovery.
    unstated: BTreeSet<u32>,
}

impl Index {
    pub(super) fn new(cache_bytes: usize) -> Self {
        let (groups, files, unstated) = (BTreeMap::new(), VecDeque::new(), BTreeSet::new());
        Self { groups, files, recent: Recent::new(cache_bytes), unstated }
    }

    /// Takes one record; `payload` is an entry's, to be kept in memory. Errors: what is wrong with it where it stands.
    pub(super) fn play(
        &mut self,
        stream: u32,
        said: &NodeRecord<'_>,
        place: Place,
        payload: Option<&Bytes>,
    ) -> std::result::Result<(), &'static str> {
        match *said {
            NodeRecord::Group(group) => {
                self.unstated.remove(&stream);
                let known = self.groups.entry(stream).or_insert_with(|| Group::after(group.base));
                let dropped = known.restate(&group)?;
                self.drop_slots(&dropped);
                return Ok(());
            }
            NodeRecord::Resumed { .. } => {
                self.unstated = self.groups.keys().copied().collect();
                return Ok(());
            }
            _ => {}
        }
        let group = self.groups.get_mut(&stream).ok_or("a record of a group that was never added")?;
        let first = group.base().index + 1;
        let dropped = match *said {
            NodeRecord::HardState(hard_state) => {
                group.hard_state = hard_state;
                return Ok(());
            }
            NodeRecord::Entry { id, kind, payload } => {
                let size = u32::try_from(payload.len()).map_err(|_| "an entry is larger than any record")?;
                let dropped = group.put(id.index, Slot { term: id.term, place, kind, size })?;
                self.count(place.file);
                self.drop_recent(stream, id.index + 1, dropped.len());
                dropped
            }
            NodeRecord::SnapshotMark(mark) => {
                let dropped = group.replace(mark.id, mark.membership);
                self.drop_recent(stream, first, dropped.len());
                dropped
            }
            NodeRecord::Compacted(id) => {
                if id.index > group.last() {
                    return Err("a group is forgotten beyond its end");
                }
                let dropped = group.forget(id);
                self.drop_recent(stream, first, dropped.len());
                dropped
            }
            NodeRecord::Removed => {
                let group = self.groups.remove(&stream).ok_or("a record of a group that was never added")?;
                self.drop_recent(stream, first, group.slots().len());
                group.slots().iter().copied().collect()
            }
            NodeRecord::Group(_) | NodeRecord::Resumed { .. } => unreachable!("handled above"),
        };
        self.drop_slots(&dropped);
        if let (NodeRecord::Entry { id, .. }, Some(payload)) = (said, payload) {
            self.recent.put(u64::from(stream), id.index, payload.clone());
        }
        Ok(())
    }

    /// Ends recovery: drops groups that are no more. Errors: a group with a hole.
    pub(super) fn settle(&mut self) -> std::result::Result<(), u32> {
        for stream in std::mem::take(&mut self.unstated) {
            if let Some(group) = self.groups.remove(&stream) {
                let slots: Vec<_> = group.slots().iter().copied().collect();
                self.drop_slots(&slots);
            }
        }
        self.groups.iter().find(|(_, group)| group.has_hole()).map_or(Ok(()), |(stream, _)| Err(*stream))
    }

    /// Checks that a turn leaves no hole and names no stranger. Errors: `InvalidArgument`.
    pub(super) fn check(&self, writes: &[GroupWrite]) -> Result<()> {
        let mut ends: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for write in writes {
            let group = self.group(write.group).ok_or_else(|| unknown(write.group))?;
            let (base, last) = ends.entry(write.group).or_insert((group.base().index, group.last()));
            if let Some((index, ..)) = write.snapshot {
                (*base, *last) = (index, index);
            }
            for (meta, payload) in &write.entries {
                if meta.index <= *base || meta.index > last.saturating_add(1) {
                    let what = format!("entry {} leaves a hole in group {}", meta.index, write.group);
                    return Err(Error::invalid(what, format!("they may go on after {base}, at most after {last}")));
                }
                if u64::from(meta.size) != payload.len() as u64 {
                    let what = format!("entry {} of {} bytes says it has {}", meta.index, payload.len(), meta.size);
                    return Err(Error::invalid(what, "the size is that of the payload"));
                }
                *last = meta.index;
            }
        }
        Ok(())
    }

    /// What all groups are, without their entries: each with the index of its last one.
    pub(super) fn states(&self) -> Vec<(u32, GroupState)> {
        let state = |(&stream, group): (&u32, &Group)| (stream, GroupState::of(group, group.last()));
        self.groups.iter().map(state).collect()
    }

    pub(super) fn group(&self, group: u64) -> Option<&Group> {
        self.groups.get(&u32::try_from(group).ok()?)
    }

    /// Adds the file that is appended to from now on.
    pub(super) fn push_file(&mut self, file: FileId, reader: Option<Arc<dyn ReadFile>>) {
        self.files.push_back(LiveFile { file, reader, entries: 0, useless_at: None });
    }

    /// Forgets files after `after`: what of them counts was copied.
    pub(super) fn drop_files_after(&mut self, after: FileId) {
        self.files.retain(|live| live.file <= after);
    }

    pub(super) fn files(&self) -> &VecDeque<LiveFile> {
        &self.files
    }

    pub(super) fn file_mut(&mut self, file: FileId) -> Option<&mut LiveFile> {
        self.files.iter_mut().rev().find(|live| live.file == file)
    }

    pub(super) fn reader(&self, file: FileId) -> Option<Arc<dyn ReadFile>> {
        self.files.iter().rev().find(|live| live.file == file)?.reader.clone()
    }

    /// Counts an entry in a file.
    pub(super) fn count(&mut self, file: FileId) {
        self.file_mut(file).expect("a file is added before entries in it").entries += 1;
    }

    /// Notes which of the oldest files are useless, now that the log ends at `end`.
    pub(super) fn note_useless(&mut self, end: LogPosition) {
        let older = self.files.len().saturating_sub(1);
        for live in self.files.iter_mut().take(older).take_while(|live| live.entries == 0) {
            live.useless_at.get_or_insert(end);
        }
    }

    /// Takes out the oldest file if everything that made it useless is durable.
    pub(super) fn take_useless(&mut self, synced: LogPosition) -> Option<LiveFile> {
        let useless_at = self.files.front()?.useless_at?;
        if useless_at <= synced { self.files.pop_front() } else { None }
    }

    /// Puts a file back that could not be removed.
    pub(super) fn put_back(&mut self, live: LiveFile) {
        self.files.push_front(live);
    }

    fn drop_slots(&mut self, slots: &[Slot]) {
        for slot in slots {
            let live = self.file_mut(slot.place.file).expect("an entry lies in a file that counts");
            live.entries -= 1;
        }
    }

    fn drop_recent(&mut self, stream: u32, first: u64, count: usize) {
        for index in first..first + count as u64 {
            self.recent.remove(u64::from(stream), index);
        }
    }
}

/// The error for a group that was not added.
pub(super) fn unknown(group: u64) -> Error {
    Error::invalid(format!("this node has no group {group}"), "add it first")
}

/// The stream of a group. Errors: `InvalidArgument` beyond 32 bits.
pub(super) fn stream_of(group: u64) -> Result<u32> {
    u32::try_from(group).map_err(|_| Error::invalid(format!("group {group} is no number of a group"), "use 32 bits"))
}
