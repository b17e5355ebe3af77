//! Verify: everything on disk is read and checked; damage is listed, not raised.
use super::manifest::{MANIFEST, read_manifest};
use super::state::Shared;
use super::{Damage, Db, VerifyReport};
use crate::keys::Identity;
use crate::log::log_path;
use crate::table::Lost;
use crate::version::TableRef;
use crate::{Error, FileId, Result};
use kvarts_formats::header::{FileHeader, FileKind, HEADER_BYTES};
use kvarts_formats::record::{LogEnd, scan_opening};
use std::io;
use std::path::Path;

impl Db {
    /// Reads everything on disk and checks it. `progress` gets (bytes done, bytes in all).
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<VerifyReport> {
        let shared = &*self.shared;
        shared.check_open()?;
        let tables = shared.tables();
        let logs: Vec<(FileId, u64)> = shared.logs.lock().clone();
        let all = tables.iter().map(|table| table.record.bytes).sum::<u64>()
            + logs.iter().map(|&(_, bytes)| bytes).sum::<u64>()
            + shared.appended.load().offset;
        let mut report = VerifyReport::default();
        shared.verify_manifest(&mut report)?;
        for table in &tables {
            shared.verify_record(table, &mut report)?;
            verify_table(table, &mut report, &mut |read| progress(read.min(all), all))?;
        }
        for (file, _) in logs {
            shared.verify_log(file, &mut report)?;
            progress(report.bytes.min(all), all);
        }
        Ok(report)
    }
}

impl Shared {
    fn verify_manifest(&self, report: &mut VerifyReport) -> Result<()> {
        let path = self.dir.join(MANIFEST);
        // Not replaced while it is read.
        let _install = self.install.lock();
        let bytes = self.fs.read(&path).map_err(|error| Error::io("reading", &path, error))?;
        report.files += 1;
        if let Err(error) = read_manifest(&path, &bytes, &self.store) {
            note(report, error, None)?;
        }
        Ok(())
    }

    /// Checks all that the manifest says of a table against what the table says of itself, which its rows are checked against.
    fn verify_record(&self, table: &TableRef, report: &mut VerifyReport) -> Result<()> {
        // Where it cannot be read, the check of the table says so.
        let Ok(found) = table.table.own_record() else { return Ok(()) };
        if *table.record == found {
            return Ok(());
        }
        let what = format!("it and table {} disagree about the table: {:?}, {found:?}", found.file.0, table.record);
        note(report, Error::Corruption { file: self.dir.join(MANIFEST), offset: 0, what }, Some(table))
    }

    fn verify_log(&self, file: FileId, report: &mut VerifyReport) -> Result<()> {
        let path = log_path(&self.dir, file);
        // Before the read: a record that is being appended meanwhile does not count.
        let end = self.appended.load();
        let mut bytes = match self.fs.read(&path) {
            Ok(bytes) => bytes,
            // Flushed and deleted since we began.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("reading", &path, error)),
        };
        if file == end.file {
            bytes.truncate(usize::try_from(end.offset).expect("a log fits in memory"));
        } else if file > end.file {
            return Ok(());
        }
        report.files += 1;
        report.bytes += bytes.len() as u64;
        match check_log(&mut bytes, &self.store, &path) {
            Ok(records) => report.blocks += records,
            Err(error) => note(report, error, None)?,
        }
        Ok(())
    }
}

/// Checks the records of a log. Returns their number.
fn check_log(bytes: &mut [u8], store: &Identity, path: &Path) -> Result<u64> {
    let header = bytes.get(..HEADER_BYTES).unwrap_or(bytes);
    let header = FileHeader::decode(header, FileKind::Log).map_err(|error| Error::format(path, 0, error))?;
    let seal = store.open(path, &header)?;
    let found = scan_opening(&seal, bytes);
    match found.verdict {
        LogEnd::Clean => Ok(found.records.len() as u64),
        // All of these bytes were appended whole by this process: torn is damage too.
        LogEnd::Torn { offset } | LogEnd::Damaged { offset } => {
            Err(Error::Corruption { file: path.to_owned(), offset, what: "a record is not whole".to_owned() })
        }
    }
}

fn verify_table(table: &TableRef, report: &mut VerifyReport, progress: &mut dyn FnMut(u64)) -> Result<()> {
    let mut read = report.bytes;
    let (blocks, lost) = table.table.check(&mut |bytes| {
        read += bytes;
        progress(read);
        true
    })?;
    report.files += 1;
    report.blocks += blocks;
    report.bytes += table.record.bytes;
    let path = table.table.path();
    report.damage.extend(lost.into_iter().map(|lost| Damage::of(&path, lost)));
    progress(report.bytes);
    Ok(())
}

impl Damage {
    /// What is lost of a table.
    pub(super) fn of(file: &Path, lost: Lost) -> Self {
        let (smallest, largest) = lost.keys.unwrap_or_default();
        Self { file: file.to_owned(), offset: lost.offset, what: lost.what, smallest, largest }
    }
}

/// Lists damage; other errors end the check.
fn note(report: &mut VerifyReport, error: Error, table: Option<&TableRef>) -> Result<()> {
    let (file, offset, what) = match error {
        Error::Corruption { file, offset, what } => (file, offset, what),
        newer @ Error::NewerFormat { .. } => {
            let what = newer.to_string();
            let Error::NewerFormat { file, .. } = newer else { unreachable!("matched above") };
            (file, 0, what)
        }
        other => return Err(other),
    };
    let keys = table.map(|table| (table.record.smallest.clone(), table.record.largest.clone()));
    let (smallest, largest) = keys.unwrap_or_default();
    report.damage.push(Damage { file, offset, what, smallest, largest });
    Ok(())
}
