//! A store as its life has left it, with every version that each of its files ever had: what mutations are made from.
use crate::support::{Chance, DIR, Said, open_on, tiny};
use crate::trace::{Event, NOW_MS, State, TREES, Trace, perform, read_state};
use kvarts_engine::clock::ManualClock;
use kvarts_engine::db::Db;
use kvarts_engine::formats::compress::{ByLevel, Compression};
use kvarts_engine::formats::header::HEADER_BYTES;
use kvarts_engine::fs::{Fs, MemFs};
use kvarts_engine::options::{Durability, Options};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a store was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Closed.
    Clean,
    /// Its process was killed.
    Killed,
    /// The power was lost.
    Powerless,
    /// It is a checkpoint of another.
    Copied,
}

/// A store that nobody holds open.
pub struct Worn {
    /// What the disk holds.
    pub disk: MemFs,
    /// Where the store lies.
    pub dir: PathBuf,
    pub options: Options,
    pub stop: Stop,
    /// What was done to it.
    pub trace: Trace,
    /// What an untouched copy shows.
    pub whole: State,
    /// Events that must be there whatever happens to the end of the log: durable before the first record of its last file.
    pub least: usize,
    /// All that the files of its directory ever held, oldest first: also those that are gone.
    pub versions: BTreeMap<String, Vec<Vec<u8>>>,
}

/// A store that is being worn.
struct Life {
    chance: Chance,
    disk: MemFs,
    options: Options,
    trace: Trace,
    versions: BTreeMap<String, Vec<Vec<u8>>>,
    /// The newest log with records, and the events before its first.
    last_log: (String, usize),
    /// The promise seen last, and the events before the log began that was the newest then.
    least: (usize, usize),
}

/// Opens the store of `dir` with a clock that stands still.
pub fn open_at(disk: &MemFs, dir: &Path, options: &Options) -> kvarts_engine::Result<Arc<Db>> {
    let clock = Arc::new(ManualClock::new(NOW_MS));
    Db::open(Arc::new(disk.clone()), clock, dir, "test", options.clone())
}

/// LZ4 above, zstd below.
fn mixed() -> ByLevel {
    ByLevel::new(vec![Compression::Lz4, Compression::Zstd(3)]).unwrap()
}

fn drawn_options(chance: &mut Chance) -> Options {
    Options {
        memtable_bytes: *chance.pick(&[2 << 10, 8 << 10, 256 << 10]),
        filter_bits: *chance.pick(&[0, 10]),
        open_files: *chance.pick(&[1, 3, usize::MAX]),
        compression: chance.pick(&[ByLevel::from(Compression::None), ByLevel::from(Compression::Lz4), mixed()]).clone(),
        block_bytes: *chance.pick(&[256, 1 << 10]),
        ..tiny(*chance.pick(&[Durability::Sync, Durability::Batch, Durability::None]))
    }
}

impl Life {
    fn value(&mut self) -> Vec<u8> {
        // Large ones fill logs and levels.
        if self.chance.one_in(5) { vec![self.chance.next() as u8; 3 << 10] } else { self.chance.value(200) }
    }

    fn said(&mut self) -> Said {
        match self.chance.below(8) {
            0 | 1 => Said::Delete,
            2 => Said::Expiring(*self.chance.pick(&[1, NOW_MS + 1]), self.value()),
            _ => Said::Put(self.value()),
        }
    }

    fn event(&mut self) -> Event {
        let live: Vec<&'static str> = self.trace.now().into_keys().collect();
        let name = *self.chance.pick(&TREES);
        if live.is_empty() || (self.chance.one_in(12) && !live.contains(&name)) {
            return Event::Create(name);
        }
        if self.chance.one_in(24) && live.contains(&name) {
            return Event::Drop(name);
        }
        let ops =
            (0..=self.chance.below(5)).map(|_| (*self.chance.pick(&live), self.chance.key(48), self.said())).collect();
        Event::Commit(ops)
    }

    fn act(&mut self, db: &mut Arc<Db>) {
        let before = self.trace.len();
        match self.chance.below(16) {
            0 => self.promise(db.flush()),
            1 => self.promise(db.sync()),
            2 if self.chance.one_in(3) => db.compact(None).unwrap(),
            3 if self.chance.one_in(3) => {
                *db = {
                    self.promise(db.close());
                    self.note(before);
                    open_at(&self.disk, Path::new(DIR), &self.options).unwrap()
                }
            }
            _ => {
                let event = self.event();
                let is_durable = !matches!(event, Event::Commit(_)) || self.options.durability == Durability::Sync;
                self.trace.say(event.clone());
                perform(db, &event).unwrap();
                self.trace.answer();
                if is_durable {
                    self.trace.promise();
                }
            }
        }
        self.note(before);
    }

    fn promise(&mut self, outcome: kvarts_engine::Result<()>) {
        outcome.unwrap();
        self.trace.promise();
    }

    /// Takes down what the files hold now.
    fn note(&mut self, events: usize) {
        let dir = Path::new(DIR);
        for name in self.disk.list(dir).unwrap().into_iter().filter(|name| name != "LOCK") {
            let bytes = self.disk.bytes(&dir.join(&name)).unwrap();
            // One that was made in advance says nothing of those before it until it has a record.
            let has_records = bytes.get(HEADER_BYTES..).is_some_and(|rest| rest.iter().any(|&byte| byte != 0));
            if name.ends_with(".log") && name > self.last_log.0 && has_records {
                self.last_log = (name.clone(), events);
            }
            let versions = self.versions.entry(name).or_default();
            if versions.last() != Some(&bytes) {
                versions.push(bytes);
            }
        }
        let promised = self.trace.promised();
        if promised > self.least.0 {
            self.least = (promised, self.last_log.1.min(promised));
        }
    }
}

impl Worn {
    /// Lives the life of a seed.
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let options = drawn_options(&mut chance);
        let (trace, versions, last_log) = (Trace::default(), BTreeMap::new(), (String::new(), 0));
        let disk = MemFs::new();
        let mut life = Life { chance, disk, options, trace, versions, last_log, least: (0, 0) };
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let mut db = open_on(Arc::new(life.disk.clone()), &clock, life.options.clone()).unwrap();
        for _ in 0..20 + life.chance.below(120) {
            life.act(&mut db);
        }
        life.stop(db)
    }
}

impl Life {
    fn stop(mut self, db: Arc<Db>) -> Worn {
        let stop = *self.chance.pick(&[Stop::Clean, Stop::Killed, Stop::Killed, Stop::Powerless, Stop::Copied]);
        let (events, mut dir) = (self.trace.len(), PathBuf::from(DIR));
        let disk = match stop {
            Stop::Clean => {
                db.close().unwrap();
                self.disk.kill()
            }
            Stop::Killed => self.disk.kill(),
            Stop::Powerless => self.disk.crash(self.chance.next()),
            Stop::Copied => {
                dir = PathBuf::from("/copy");
                db.checkpoint(None, &dir).unwrap();
                self.disk.kill()
            }
        };
        self.note(events);
        drop(db);
        let whole = read_state(&open_at(&disk.kill(), &dir, &self.options).unwrap()).unwrap();
        let is_unclean = matches!(stop, Stop::Killed | Stop::Powerless);
        let least = if is_unclean { self.least.1 } else { events };
        let (options, trace, versions) = (self.options, self.trace, self.versions);
        Worn { disk, dir, options, stop, trace, whole, least, versions }
    }
}
