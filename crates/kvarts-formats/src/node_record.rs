//! What the records of a node log say: one log for all groups of a node, a record's stream is its group.
//!
//! A payload is a *head* of fixed fields, then a *tail* of bytes that belong to others: an entry's payload, an encoded
//! membership. The two are apart so that an entry's bytes are copied once, into the log.
use crate::bytes::{Reader, u32_at, u64_at};
use crate::record::{NewRecord, Record, RecordKind};
use crate::{FileId, FormatError, Result};

/// What a replica must remember of its elections, and how far it knew its log to be committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The newest term it has seen.
    pub term: u64,
    /// Whom it voted for in that term; 0 is nobody.
    pub vote: u64,
    /// The newest index it knew to be committed.
    pub commit: u64,
}

/// Index and term of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryId {
    /// Its place in the group's log.
    pub index: u64,
    /// The term it was appended in.
    pub term: u64,
}

/// One record of a node log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRecord<'a> {
    /// The group's hard state from here on.
    HardState(HardState),
    /// An entry; it supersedes what stands at its index and after.
    Entry {
        /// Index and term.
        id: EntryId,
        /// What kind of payload it is: the replicator's business.
        kind: u32,
        /// The payload.
        payload: &'a [u8],
    },
    /// A leader's snapshot replaces the group's log, which goes on after this entry.
    SnapshotMark(Mark<'a>),
    /// The entries up to this one are forgotten.
    Compacted(EntryId),
    /// All that the group is, but for its entries.
    Group(GroupRecord<'a>),
    /// The first record of a file that recovery made.
    Resumed {
        /// Files up to this one count before this file, those in between do not; 0 where none counts.
        after: FileId,
        /// Bytes of this file that were on stable storage before it got its name.
        whole: u64,
    },
    /// The group is no more.
    Removed,
}

/// Up to where a leader's snapshot replaced the log, and who the members were there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark<'a> {
    /// The last entry that the snapshot covers.
    pub id: EntryId,
    /// The membership there, encoded by the replicator.
    pub membership: &'a [u8],
}

/// All that a group is, but for its entries: what a file needs at its start so that those before it may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRecord<'a> {
    /// Hard state.
    pub hard_state: HardState,
    /// The entry before the first one that is kept.
    pub base: EntryId,
    /// Of entries before this record, those after this index do not count. At least the base's index.
    pub last: u64,
    /// The newest mark, if there ever was one.
    pub mark: Option<Mark<'a>>,
}

/// Bytes of the largest head.
pub const HEAD_BYTES_MAX: usize = 64;
/// Bytes of an entry's head.
pub const ENTRY_HEAD_BYTES: usize = 24;
/// Bytes of a group's fixed fields; a mark follows them, or nothing.
const GROUP_BYTES: usize = 48;

/// The head of a record's payload.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    bytes: [u8; HEAD_BYTES_MAX],
    len: usize,
}

impl Head {
    fn of(numbers: &[u64]) -> Self {
        let mut bytes = [0; HEAD_BYTES_MAX];
        for (out, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            out.copy_from_slice(&number.to_le_bytes());
        }
        Self { bytes, len: 8 * numbers.len() }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl<'a> NodeRecord<'a> {
    /// The kind of record that says this.
    pub fn kind(&self) -> RecordKind {
        match self {
            Self::HardState(_) => RecordKind::HardState,
            Self::Entry { .. } => RecordKind::Entry,
            Self::SnapshotMark(_) => RecordKind::SnapshotMark,
            Self::Compacted(_) => RecordKind::Compacted,
            Self::Group(_) => RecordKind::Group,
            Self::Resumed { .. } => RecordKind::Resumed,
            Self::Removed => RecordKind::Removed,
        }
    }

    /// Encodes the fixed fields.
    pub fn head(&self) -> Head {
        match *self {
            Self::HardState(hard) => Head::of(&[hard.term, hard.vote, hard.commit]),
            Self::Entry { id, kind, .. } => Head::of(&[id.term, id.index, u64::from(kind)]),
            Self::SnapshotMark(mark) => Head::of(&[mark.id.index, mark.id.term]),
            Self::Compacted(id) => Head::of(&[id.index, id.term]),
            Self::Group(group) => {
                let (hard, base, mark) = (group.hard_state, group.base, group.mark.map(|mark| mark.id));
                let numbers = [hard.term, hard.vote, hard.commit, base.index, base.term, group.last];
                match mark {
                    None => Head::of(&numbers),
                    Some(id) => {
                        let [a, b, c, d, e, f] = numbers;
                        Head::of(&[a, b, c, d, e, f, id.index, id.term])
                    }
                }
            }
            Self::Resumed { after, whole } => Head::of(&[after.0, whole]),
            Self::Removed => Head::of(&[]),
        }
    }

    /// The bytes that follow the fixed fields.
    pub fn tail(&self) -> &'a [u8] {
        match *self {
            Self::Entry { payload, .. } => payload,
            Self::SnapshotMark(mark) => mark.membership,
            Self::Group(group) => group.mark.map_or(&[], |mark| mark.membership),
            _ => &[],
        }
    }

    /// Puts head and tail together as a record of the group `stream`.
    pub fn with_head(&self, head: &'a Head, stream: u32) -> NewRecord<'a> {
        NewRecord { stream, kind: self.kind(), payload: [head.as_bytes(), self.tail()] }
    }

    /// Reads what a whole record says. Errors: `Corrupt`, with an offset from the start of the payload: it cannot be, or
    /// it is a record of the engine's log.
    pub fn decode(record: &Record<'a>) -> Result<Self> {
        let mut fields = Reader::new(record.payload);
        let said = match record.kind {
            RecordKind::HardState => Self::HardState(hard_state(&mut fields)?),
            RecordKind::Entry => return entry(record.payload),
            RecordKind::SnapshotMark => Self::SnapshotMark(mark(&mut fields)?),
            RecordKind::Compacted => Self::Compacted(entry_id(&mut fields)?),
            RecordKind::Group => Self::Group(group(&mut fields)?),
            RecordKind::Resumed => Self::Resumed { after: FileId(fields.u64()?), whole: fields.u64()? },
            RecordKind::Removed => Self::Removed,
            RecordKind::Batch | RecordKind::End => {
                return Err(FormatError::corrupt(0, "a record of this kind has no place in a node log"));
            }
        };
        fields.finish()?;
        Ok(said)
    }
}

fn entry(payload: &[u8]) -> Result<NodeRecord<'_>> {
    if payload.len() < ENTRY_HEAD_BYTES {
        return Err(FormatError::corrupt(0, "an entry is cut short"));
    }
    let (head, payload) = payload.split_at(ENTRY_HEAD_BYTES);
    let id = EntryId { term: u64_at(head, 0), index: u64_at(head, 8) };
    if id.index == 0 || id.index == u64::MAX || u32_at(head, 20) != 0 {
        return Err(FormatError::corrupt(8, "no entry has this index or kind"));
    }
    Ok(NodeRecord::Entry { id, kind: u32_at(head, 16), payload })
}

fn hard_state(fields: &mut Reader<'_>) -> Result<HardState> {
    Ok(HardState { term: fields.u64()?, vote: fields.u64()?, commit: fields.u64()? })
}

/// No entry has the last index of all: the one after an entry must have a number too.
fn entry_id(fields: &mut Reader<'_>) -> Result<EntryId> {
    let at = fields.at();
    let id = EntryId { index: fields.u64()?, term: fields.u64()? };
    if id.index == u64::MAX {
        return Err(FormatError::corrupt(at, "no entry has this index"));
    }
    Ok(id)
}

fn mark<'a>(fields: &mut Reader<'a>) -> Result<Mark<'a>> {
    let id = entry_id(fields)?;
    Ok(Mark { id, membership: fields.take(fields.left())? })
}

fn group<'a>(fields: &mut Reader<'a>) -> Result<GroupRecord<'a>> {
    let (hard_state, base, last) = (hard_state(fields)?, entry_id(fields)?, fields.u64()?);
    if last < base.index || last == u64::MAX {
        return Err(FormatError::corrupt(GROUP_BYTES - 8, "a group's log does not end there"));
    }
    let mark = if fields.left() == 0 { None } else { Some(mark(fields)?) };
    Ok(GroupRecord { hard_state, base, last, mark })
}

#[cfg(test)]
mod tests;
