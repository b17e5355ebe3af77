//! Salvaging logs: every whole batch, also behind what is damaged.
use super::trees::Found;
use super::{Damage, Gone, Repair};
use crate::log::{end_record_bytes, log_path};
use crate::{Error, FileId, Result, Revision};
use kvarts_formats::batch::BatchView;
use kvarts_formats::header::{FileHeader, FileKind, HEADER_BYTES};
use kvarts_formats::record::{RecordKind, record_at};
use std::io::ErrorKind;

/// Records start at multiples of this.
const ALIGN: usize = 8;

const MISSING: &str = "the log is missing";

/// What is wrong with a log in which batches are missing.
struct Gap {
    offset: usize,
    /// Revision of the last batch before it.
    after: Revision,
}

impl Repair<'_> {
    /// Takes the batches of a log; what cannot be read is noted.
    pub(super) fn take_log(&mut self, file: FileId, found: &mut Found) {
        let path = log_path(self.from, file);
        let data = match self.fs.read(&path) {
            Ok(data) => data,
            Err(error) => {
                let missing = error.kind() == ErrorKind::NotFound;
                self.note(file, 0, if missing { MISSING.into() } else { error.to_string() });
                return;
            }
        };
        match FileHeader::decode(&data, FileKind::Log) {
            Ok(header) if header.store != self.known.store || header.file != file => {
                self.note(file, 0, "this log belongs to another store, or has the number of another".into());
                return;
            }
            Ok(_) => {}
            Err(error) => self.note(file, 0, error.to_string()),
        }
        self.take_records(file, &data, found);
        self.advance(data.len() as u64);
    }

    fn take_records(&mut self, file: FileId, data: &[u8], found: &mut Found) {
        let written = data.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let (mut at, mut gap, mut newest, mut successor) = (HEADER_BYTES, None, Revision::ZERO, None);
        while at < written {
            let Ok(record) = record_at(file, at as u64, &data[at..]) else {
                gap.get_or_insert(Gap { offset: at, after: newest });
                at += ALIGN;
                continue;
            };
            if let (RecordKind::End, Some(next)) = (record.kind, record.payload.first_chunk()) {
                successor = Some(FileId(u64::from_le_bytes(*next)));
            }
            if record.kind == RecordKind::Batch {
                self.note_unended(file);
                match self.take_batch(file, record.offset, record.payload, found) {
                    Ok(revision) => {
                        self.note_gap(file, gap.take(), at, Some(revision));
                        newest = revision;
                    }
                    Err(error) => self.note(file, record.offset, error.to_string()),
                }
            }
            at = record.next as usize;
        }
        match successor {
            Some(next) if !self.known.logs.contains(&next) => self.note(next, 0, MISSING.into()),
            Some(_) => {}
            // A log is made with room for its last record, and that room is never given to another.
            None if gap.is_none() && data.len() < at + end_record_bytes() => {
                let what =
                    format!("the file was cut: commits after revision {}, if there were any, are gone", newest.0);
                self.note(file, at as u64, what);
            }
            None => self.unended = Some((file, at as u64)),
        }
        self.note_gap(file, gap, written, None);
    }

    /// Notes that a log before `file`, which has batches, does not end as one does that has a successor.
    fn note_unended(&mut self, file: FileId) {
        if let Some((unended, at)) = self.unended.take_if(|unended| unended.0 != file) {
            self.note(
                unended,
                at,
                "the log has no end, and there is one after it: commits between them are gone".into(),
            );
        }
    }

    fn take_batch(&mut self, file: FileId, offset: u64, payload: &[u8], found: &mut Found) -> Result<Revision> {
        let wrong = |error| Error::format(&log_path(self.from, file), offset, error);
        let batch = BatchView::decode(payload).map_err(wrong)?;
        for op in batch.ops() {
            let op = op.map_err(wrong)?;
            if let Some((name, codecs)) = self.known.tree_of(op.tree) {
                found.tree(&name, &codecs).mem.insert(op.key, batch.revision, op.kind, op.value);
            }
        }
        self.report.batches += 1;
        self.report.revision = self.report.revision.max(batch.revision);
        Ok(batch.revision)
    }

    fn note_gap(&mut self, file: FileId, gap: Option<Gap>, stop: usize, before: Option<Revision>) {
        let Some(gap) = gap else { return };
        let until = before.map_or_else(String::new, |revision| format!(" and before {}", revision.0));
        let what = format!(
            "{} bytes hold no whole record: commits after revision {}{until} are gone",
            stop - gap.offset,
            gap.after.0
        );
        self.note(file, gap.offset as u64, what);
    }

    /// Notes it where the logs end before what is known to have been durable.
    pub(super) fn check_reach(&mut self) {
        let (reached, reach) = (self.report.revision, self.known.reach);
        if let Some(&last) = self.known.logs.last().filter(|_| reached < reach) {
            let what = format!(
                "commits after revision {} and up to {} were on stable storage, and are gone",
                reached.0, reach.0
            );
            self.note(last, 0, what);
        }
    }

    /// Notes damage that may concern any key.
    fn note(&mut self, file: FileId, offset: u64, what: String) {
        let (smallest, largest) = (Vec::new(), Vec::new());
        let damage = Damage { file: log_path(self.from, file), offset, what, smallest, largest };
        self.report.gone.push(Gone { tree: String::new(), damage, rows_gone: true });
    }
}
