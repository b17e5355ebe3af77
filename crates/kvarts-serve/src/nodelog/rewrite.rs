//! The file that recovery makes: all that the groups are, and a copy of the entries that nothing showed to be durable.
//!
//! Bytes that were read back may be in the kernel's memory only, and a sync that failed before may have marked them clean:
//! syncing what was read would prove nothing. So they are written again.
use super::group::{GroupState, Place};
use super::index::Index;
use super::{NodeLogOptions, RecoveryReport};
use kvarts_engine::fs::{Fs, LogMode};
use kvarts_engine::log::{LogReader, LogWriter, PreparedLog, log_path};
use kvarts_engine::{Error, FileId, Result};
use kvarts_formats::header::HEADER_BYTES;
use kvarts_formats::node_record::{ENTRY_HEAD_BYTES, NodeRecord};
use kvarts_formats::record::{NewRecord, Record, record_at, record_bytes};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// How the name of a file ends that does not count yet.
pub(super) const NEW_SUFFIX: &str = ".log.new";

/// Bytes of records that are appended in one piece.
const PIECE_BYTES: usize = 1 << 20;

/// Writes what the groups are, and their entries in files after `after`, into the file `next`; returns its appending end.
///
/// The file gets its name when it is whole and durable; from then on the files between do not count. Errors: `Corruption`
/// where an entry cannot be read back; `StorageFull`, `Io`. The log is as it was then.
pub(super) fn rewrite(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    id: [u8; 16],
    options: NodeLogOptions,
    reader: &LogReader<'_>,
    index: &mut Index,
    after: FileId,
    next: FileId,
    report: &mut RecoveryReport,
) -> Result<LogWriter> {
    let states: Vec<_> = index.groups.iter().map(|(stream, group)| (*stream, group.state_up_to(after))).collect();
    let copies = entries_after(index, after);
    let size = |each: &Copied| record_bytes(ENTRY_HEAD_BYTES + each.size as usize);
    let stated: usize = states.iter().map(|(_, state)| state_bytes(state)).sum();
    let resumed = record_bytes(2 * size_of::<u64>());
    let bytes = resumed + stated + copies.iter().map(size).sum::<usize>();

    let path = dir.join(format!("{:06}{NEW_SUFFIX}", next.0));
    let made = PreparedLog::create(&**fs, &path, id, next, options.log_bytes, bytes, LogMode::Written)?;
    let mut writer = LogWriter::begin(fs.clone(), dir, id, made, options.log_bytes, LogMode::Written);
    let first = NodeRecord::Resumed { after, whole: (HEADER_BYTES + bytes) as u64 };
    let mut said = vec![(0, first)];
    said.extend(states.iter().map(|(stream, state)| (*stream, state.record())));
    append(&mut writer, &said)?;
    let places = copy(&mut writer, reader, &copies)?;
    assert_eq!(writer.position().offset, (HEADER_BYTES + bytes) as u64, "the first record says how long it is");
    writer.syncer().sync_to(writer.position())?;
    let failed = |error| Error::io("naming a log", &path, error);
    fs.rename(&path, &log_path(dir, next)).map_err(failed)?;
    fs.sync_dir(dir).map_err(failed)?;

    report.copied = copies.len() as u64;
    index.drop_files_after(after);
    index.push_file(next, None);
    for (stream, group) in &mut index.groups {
        let mut moved = places.get(stream).into_iter().flatten().copied();
        group.moved(after, &mut moved);
    }
    copies.iter().for_each(|_| index.count(next));
    Ok(writer)
}

/// An entry to copy.
struct Copied {
    place: Place,
    stream: u32,
    size: u32,
}

/// Entries in files after `after`, as they lie.
fn entries_after(index: &Index, after: FileId) -> Vec<Copied> {
    let mut copies = Vec::new();
    for (&stream, group) in &index.groups {
        let slots = group.slots().iter().filter(|slot| slot.place.file > after);
        copies.extend(slots.map(|slot| Copied { place: slot.place, stream, size: slot.size }));
    }
    copies.sort_unstable_by_key(|each| (each.place.file, each.place.offset));
    copies
}

/// Copies entries; returns the new places of each group's, in order. Memory: one file at a time.
fn copy(writer: &mut LogWriter, reader: &LogReader<'_>, copies: &[Copied]) -> Result<BTreeMap<u32, Vec<Place>>> {
    let mut places: BTreeMap<u32, Vec<Place>> = BTreeMap::new();
    for of_file in copies.chunk_by(|a, b| a.place.file == b.place.file) {
        let file = of_file[0].place.file;
        let data = reader.read(file)?.ok_or_else(|| reader.damage(file, 0, "this log is missing"))?;
        let mut piece: Vec<Record<'_>> = Vec::new();
        let mut bytes = 0;
        for each in of_file {
            let offset = each.place.offset;
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
            let record = record_at(file, offset, &data[start..]);
            let record = record.map_err(|error| Error::format(&reader.path(file), 0, error))?;
            let place = Place { file: writer.file(), offset: writer.position().offset + bytes as u64 };
            places.entry(each.stream).or_default().push(place);
            bytes += record_bytes(record.payload.len());
            piece.push(record);
            if bytes >= PIECE_BYTES {
                append_copies(writer, &piece)?;
                (piece, bytes) = (Vec::new(), 0);
            }
        }
        append_copies(writer, &piece)?;
    }
    Ok(places)
}

fn append_copies(writer: &mut LogWriter, piece: &[Record<'_>]) -> Result<()> {
    if piece.is_empty() {
        return Ok(());
    }
    let mut records = Vec::with_capacity(piece.len());
    for record in piece {
        records.push(NewRecord { stream: record.stream, kind: record.kind, payload: [record.payload, &[]] });
    }
    writer.append_records(&records).map(|_| ())
}

fn append(writer: &mut LogWriter, said: &[(u32, NodeRecord<'_>)]) -> Result<()> {
    let heads: Vec<_> = said.iter().map(|(_, record)| record.head()).collect();
    let records: Vec<_> =
        said.iter().zip(&heads).map(|((stream, record), head)| record.with_head(head, *stream)).collect();
    writer.append_records(&records).map(|_| ())
}

fn state_bytes(state: &GroupState) -> usize {
    let record = state.record();
    record.with_head(&record.head(), 0).bytes()
}
