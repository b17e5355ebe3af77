//! Canaries: with one thing done wrong under the store, a test must see it. Which test sees which, and the table of it.
use crate::crash::run;
use crate::faults::{damage, flip_each_byte, tell};
use crate::meddled::{Meddle, Meddled, SyncOf};
use crate::support::DIR;
use crate::trace::Verdict;
use kvarts_engine::FileId;
use kvarts_engine::formats::checksum::{TAG_BYTES, tag};
use kvarts_engine::formats::header::HEADER_BYTES;
use kvarts_engine::formats::record::{NewRecord, RECORD_HEADER_BYTES, RecordKind, record_bytes, scan};
use kvarts_engine::formats::table::FOOTER_BYTES;
use kvarts_engine::fs::{FaultFs, Fs};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A fault planted in the file system under a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// All is as it should be.
    None,
    /// One kind of sync is left out.
    Skip(SyncOf),
    /// The pointer is durable before the data: of a manifest, or of a table, whose bytes are synced once the manifest is in place.
    Late(SyncOf),
    /// A manifest is removed before another takes its place.
    RenameInTwo,
    /// A failed sync is taken for one that was done.
    SyncErrorDenied,
    /// A failed write to a table or a manifest is taken for one that was done.
    WriteErrorDenied,
    /// The checksums of log records are not looked at.
    LogUnchecked,
    /// The checksums of data blocks are not looked at.
    BlockUnchecked,
    /// The checksum of the manifest is not looked at.
    ManifestUnchecked,
    /// A log lies where an older one lay, and what is left of that counts.
    LogTailReused,
}

impl Plant {
    const ALL: [Self; 19] = [
        Self::Skip(SyncOf::LogHeader),
        Self::Skip(SyncOf::LogName),
        Self::Skip(SyncOf::NewestLog),
        Self::Skip(SyncOf::EndedLog),
        Self::Skip(SyncOf::LogOfFlush),
        Self::Skip(SyncOf::Table),
        Self::Skip(SyncOf::TableName),
        Self::Skip(SyncOf::Manifest),
        Self::Skip(SyncOf::ManifestName),
        Self::Skip(SyncOf::StoreName),
        Self::Late(SyncOf::Manifest),
        Self::Late(SyncOf::Table),
        Self::RenameInTwo,
        Self::SyncErrorDenied,
        Self::WriteErrorDenied,
        Self::LogUnchecked,
        Self::BlockUnchecked,
        Self::ManifestUnchecked,
        Self::LogTailReused,
    ];
}

/// A plant, and what it remembers.
pub struct Planted {
    plant: Plant,
    /// Payloads of the batches that were appended to each log.
    logged: Mutex<BTreeMap<u64, Vec<Vec<u8>>>>,
}

impl Planted {
    pub fn new(plant: Plant) -> Arc<Self> {
        Arc::new(Self { plant, logged: Mutex::default() })
    }

    /// Puts what an older log held last behind the records of log `file`, as if it had been written there.
    fn show_old_tail(&self, file: FileId, bytes: &mut [u8]) {
        let mut at = scan(file, bytes).end as usize;
        let logged = self.logged.lock().unwrap();
        let Some((_, payloads)) = logged.range(..file.0).next_back() else { return };
        for payload in &payloads[payloads.len().saturating_sub(3)..] {
            let end = at + record_bytes(payload.len());
            if bytes.get(at..end).is_none_or(|range| range.iter().any(|&byte| byte != 0)) {
                return;
            }
            let record = NewRecord { stream: 0, kind: RecordKind::Batch, payload: [payload, &[]] };
            record.write(&mut bytes[at..end], file, at as u64, 0);
            at = end;
        }
    }
}

impl Meddle for Planted {
    fn skips(&self, sync: SyncOf) -> bool {
        self.plant == Plant::Skip(sync)
    }

    fn delays(&self, sync: SyncOf) -> bool {
        self.plant == Plant::Late(sync)
    }

    fn denies_failed_sync(&self) -> bool {
        self.plant == Plant::SyncErrorDenied
    }

    fn denies_failed_write(&self) -> bool {
        self.plant == Plant::WriteErrorDenied
    }

    fn renames_in_two(&self) -> bool {
        self.plant == Plant::RenameInTwo
    }

    fn shows(&self, path: &Path, offset: u64, bytes: &mut [u8], rest: u64) {
        let is = |extension: &str| path.extension().is_some_and(|found| found == extension);
        match self.plant {
            Plant::LogUnchecked if is("log") => retag_records(number(path), bytes),
            Plant::LogTailReused if is("log") => self.show_old_tail(number(path), bytes),
            Plant::ManifestUnchecked if bytes.len() > HEADER_BYTES && path.ends_with("MANIFEST") => {
                let file = u64::from_le_bytes(bytes[16..24].try_into().unwrap());
                retag(FileId(file), HEADER_BYTES as u64, &mut bytes[HEADER_BYTES..]);
            }
            // What ends at the footer, or in it, is not one block.
            Plant::BlockUnchecked if is("table") && offset > 0 && rest > FOOTER_BYTES as u64 => {
                retag(number(path), offset, bytes);
            }
            _ => {}
        }
    }

    fn learns(&self, log: &Path, bytes: &[u8]) {
        let is_batch =
            bytes.len() > RECORD_HEADER_BYTES && bytes.starts_with(b"vK") && bytes[2] == RecordKind::Batch as u8;
        if self.plant == Plant::LogTailReused && is_batch {
            let payload = bytes[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + payload_len(bytes)].to_vec();
            self.logged.lock().unwrap().entry(number(log).0).or_default().push(payload);
        }
    }
}

/// The number in the name of a file.
fn number(path: &Path) -> FileId {
    FileId(path.file_stem().unwrap().to_str().unwrap().parse().unwrap())
}

fn payload_len(record: &[u8]) -> usize {
    u32::from_le_bytes(record[4..8].try_into().unwrap()) as usize
}

/// Makes the tag at the end of `bytes` one that fits them.
fn retag(file: FileId, offset: u64, bytes: &mut [u8]) {
    if let Some((content, end)) = bytes.split_last_chunk_mut::<TAG_BYTES>() {
        *end = tag(file, offset, &[content]);
    }
}

/// The same for each record of a log.
fn retag_records(file: FileId, bytes: &mut [u8]) {
    let mut at = HEADER_BYTES;
    while bytes.get(at..at + RECORD_HEADER_BYTES).is_some_and(|head| head.starts_with(b"vK")) {
        let end = at + record_bytes(payload_len(&bytes[at..]));
        let Some(record) = bytes.get_mut(at..end) else { return };
        retag(file, at as u64, record);
        at = end;
    }
}

/// Seeds of the crash test within which it finds a fault. By itself the test finds none in these.
const SEEDS: u64 = 500;

/// Returns the test that finds a plant, and what it says.
fn find(plant: Plant) -> Option<(String, String)> {
    let quiet = |check: &dyn Fn() -> Verdict| {
        catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|_| Err("a panic".into())).err()
    };
    let wrap =
        |fs: FaultFs| -> Arc<dyn Fs> { Arc::new(Meddled::new(Arc::new(fs), Path::new(DIR), Planted::new(plant))) };
    let crashes = || (0..SEEDS).find_map(|seed| Some((format!("crash, seed {seed}"), quiet(&|| run(seed, plant))?)));
    crashes()
        .or_else(|| Some(("faults told".to_owned(), quiet(&|| tell(&wrap))?)))
        .or_else(|| Some(("faults not told".to_owned(), quiet(&|| damage(&wrap))?)))
        .or_else(|| Some(("each byte flipped".to_owned(), quiet(&|| flip_each_byte(&wrap))?)))
}

#[test]
fn every_planted_fault_is_found() {
    let mut table = format!("{:<20} {:<18} what it says\n", "plant", "found by");
    let mut missed = Vec::new();
    for plant in Plant::ALL {
        match find(plant) {
            Some((test, broken)) => {
                let said: String = broken.lines().next().unwrap_or_default().chars().take(160).collect();
                table += &format!("{:<20} {test:<18} {said}\n", format!("{plant:?}"));
            }
            None => missed.push(plant),
        }
    }
    println!("{table}");
    assert!(missed.is_empty(), "no test found anything wrong with {missed:?}");
}
