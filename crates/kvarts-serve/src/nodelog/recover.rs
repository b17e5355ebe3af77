//! Opening: finds which files count, plays them, and has what is not known to be durable written anew.
use super::group::Place;
use super::index::Index;
use super::rewrite::{NEW_SUFFIX, rewrite};
use super::{NodeLogOptions, RecoveryReport};
use kvarts_engine::fs::Fs;
use kvarts_engine::log::{LogReader, LogStop, LogWriter, PrefixEnd, log_path};
use kvarts_engine::{Error, FileId, Result};
use kvarts_formats::header::HEADER_BYTES;
use kvarts_formats::node_record::NodeRecord;
use kvarts_formats::record::{Record, RecordKind};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A log that was opened.
pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) writer: LogWriter,
    pub(super) report: RecoveryReport,
}

/// Opens the log in `dir`.
pub(super) fn open(fs: &Arc<dyn Fs>, dir: &Path, id: [u8; 16], options: NodeLogOptions) -> Result<Recovered> {
    let files = find_files(&**fs, dir)?;
    let reader = LogReader::new(&**fs, dir, id);
    let mut roots = BTreeMap::new();
    for &file in &files {
        reader.first_record(file, &mut |record| {
            if let Ok(NodeRecord::Resumed { after, .. }) = NodeRecord::decode(record) {
                roots.insert(file, after);
            }
        })?;
    }
    let mut replay = Replay {
        reader,
        index: Index::new(options.cache_bytes),
        report: RecoveryReport::default(),
        oldest: files.first().copied(),
        shows_synced: BTreeMap::new(),
    };
    let stretches = plan(&files, &roots);
    let mut after = FileId(0);
    for stretch in &stretches {
        match stretch.stop {
            Some(stop) => replay.play_stretch(stretch.start, stop)?,
            None => after = replay.play_newest(stretch, &files)?,
        }
    }
    let Replay { reader, mut index, mut report, .. } = replay;
    index.settle().map_err(|stream| {
        let what = format!("entries of group {stream} are missing before this log");
        reader.damage(files.first().copied().unwrap_or_default(), HEADER_BYTES as u64, &what)
    })?;
    let next = FileId(files.last().map_or(1, |file| file.0 + 1));
    let writer = rewrite(fs, dir, id, options, &reader, &mut index, after, next, &mut report)?;
    remove_void(&**fs, dir, &files, &index)?;
    open_readers(&**fs, dir, &mut index)?;
    Ok(Recovered { index, writer, report })
}

/// Files that belong together: from one that recovery made, or the oldest, up to one where the next recovery went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) start: FileId,
    /// The last file; `None` for the newest stretch, of which the end is to be found.
    pub(super) stop: Option<FileId>,
    /// Where the stretch before ends.
    pub(super) after: FileId,
}

/// Tells which files count, oldest first. `roots` are those that recovery made, with the file that each goes on after.
pub(super) fn plan(files: &[FileId], roots: &BTreeMap<FileId, FileId>) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut stop = None;
    loop {
        let until = stop.unwrap_or(FileId(u64::MAX));
        let Some(&oldest) = files.first().filter(|&&file| file <= until) else { break };
        let root = roots.range(..=until).next_back();
        let (start, after) = root.map_or((oldest, FileId(0)), |(&root, &after)| (root, after));
        stretches.push(Stretch { start, stop, after });
        if root.is_none() || after >= start {
            break;
        }
        stop = Some(after);
    }
    stretches.reverse();
    stretches
}

struct Replay<'a> {
    reader: LogReader<'a>,
    index: Index,
    report: RecoveryReport,
    oldest: Option<FileId>,
    /// Files of the newest stretch, and whether a record in them was appended when all older files were durable.
    shows_synced: BTreeMap<FileId, bool>,
}

impl Replay<'_> {
    /// Plays files that were durable when the next stretch began: each is whole up to its end.
    fn play_stretch(&mut self, start: FileId, stop: FileId) -> Result<()> {
        let mut file = start;
        loop {
            match self.play_file(file)? {
                LogStop::Continues(_) if file == stop => return Ok(()),
                LogStop::Continues(next) if next <= stop => file = next,
                LogStop::Continues(_) => {
                    return Err(self.reader.damage(file, HEADER_BYTES as u64, "this log leads past its successor"));
                }
                LogStop::Ends(end) => {
                    return Err(self.reader.damage(file, end.offset, "a log that was on stable storage ends early"));
                }
            }
        }
    }

    /// Plays the newest stretch up to the first torn record. Returns the last file that is known to be durable.
    fn play_newest(&mut self, stretch: &Stretch, files: &[FileId]) -> Result<FileId> {
        let mut chain = vec![stretch.start];
        let end = loop {
            match self.play_file(chain[chain.len() - 1])? {
                LogStop::Continues(next) => chain.push(next),
                LogStop::Ends(end) => break end,
            }
        };
        self.check_rest(&chain, files, end)?;
        let newest_synced = chain.iter().rposition(|file| self.shows_synced.get(file) == Some(&true));
        Ok(match newest_synced {
            Some(at) if at > 0 => chain[at - 1],
            _ => stretch.after,
        })
    }

    /// Checks that files beyond the prefix hold nothing that was synced, and reports what was dropped.
    fn check_rest(&mut self, chain: &[FileId], files: &[FileId], end: PrefixEnd) -> Result<()> {
        let mut dropped = end.dropped;
        for &file in files.iter().filter(|&&file| file > chain[0] && !chain.contains(&file)) {
            let (bytes, synced) = self.reader.read_unused(file)?;
            if synced {
                let what = "this log ends early: a later one was synced";
                return Err(self.reader.damage(end.file, end.offset, what));
            }
            dropped += bytes;
        }
        if dropped > 0 {
            self.report.torn = Some((self.reader.path(end.file), end.offset, dropped));
        }
        Ok(())
    }

    fn play_file(&mut self, file: FileId) -> Result<LogStop> {
        let Self { reader, index, report, shows_synced, .. } = self;
        index.push_file(file, None);
        report.files += 1;
        let (mut first, mut whole) = (None, HEADER_BYTES as u64);
        let stop = reader.read_log(file, &mut |record| {
            first.get_or_insert(record.kind);
            report.records += 1;
            *shows_synced.entry(file).or_default() |= record.synced > 0;
            let said = NodeRecord::decode(record).map_err(|error| placed(reader, file, record, error))?;
            if let NodeRecord::Resumed { whole: bytes, .. } = said {
                whole = bytes;
            }
            let place = Place { file, offset: record.offset };
            index.play(record.stream, &said, place, None).map_err(|what| reader.damage(file, record.offset, what))
        })?;
        if self.oldest == Some(file) && !matches!(first, Some(RecordKind::Group | RecordKind::Resumed)) {
            return Err(self.reader.damage(
                file,
                HEADER_BYTES as u64,
                "the oldest log does not say what its groups are",
            ));
        }
        match stop {
            LogStop::Ends(end) if end.offset < whole => {
                Err(self.reader.damage(file, end.offset, "a log record that was on stable storage is not whole"))
            }
            stop => Ok(stop),
        }
    }
}

fn placed(
    reader: &LogReader<'_>,
    file: FileId,
    record: &Record<'_>,
    error: kvarts_engine::formats::FormatError,
) -> Error {
    let payload = record.offset + kvarts_formats::record::RECORD_HEADER_BYTES as u64;
    Error::format(&reader.path(file), payload, error)
}

/// Makes the directory where it is absent, removes files that recovery left half made, and lists the others.
fn find_files(fs: &dyn Fs, dir: &Path) -> Result<Vec<FileId>> {
    let failed = |error| Error::io("opening the log", dir, error);
    match fs.create_dir(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    if let Some(parent) = dir.parent() {
        // Its maker may have been killed before its name was durable.
        fs.sync_dir(parent).map_err(failed)?;
    }
    let mut files = Vec::new();
    for name in fs.list(dir).map_err(failed)? {
        if name.ends_with(NEW_SUFFIX) {
            fs.remove(&dir.join(name)).map_err(failed)?;
        } else if let Some(file) = file_of(&name) {
            files.push(file);
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// The number in the name of a log file.
fn file_of(name: &str) -> Option<FileId> {
    let file = FileId(name.strip_suffix(".log")?.parse().ok()?);
    (log_path(Path::new(""), file) == Path::new(name)).then_some(file)
}

/// Removes files that do not count, durably: none may come back once those that tell so are gone.
fn remove_void(fs: &dyn Fs, dir: &Path, files: &[FileId], index: &Index) -> Result<()> {
    let void = files.iter().filter(|&&file| index.files().iter().all(|live| live.file != file));
    let failed = |error| Error::io("removing a log", dir, error);
    let mut removed = false;
    for &file in void {
        fs.remove(&log_path(dir, file)).map_err(failed)?;
        removed = true;
    }
    if removed { fs.sync_dir(dir).map_err(failed) } else { Ok(()) }
}

/// Opens every file for reading payloads.
fn open_readers(fs: &dyn Fs, dir: &Path, index: &mut Index) -> Result<()> {
    let files: Vec<_> = index.files().iter().map(|live| live.file).collect();
    for file in files {
        let path = log_path(dir, file);
        let reader = fs.open(&path).map_err(|error| Error::io("opening a log", &path, error))?;
        if let Some(live) = index.file_mut(file) {
            live.reader = Some(reader);
        }
    }
    Ok(())
}
