//! Whole stores with one thing wrong: a changed byte, a cut, exchanged or misplaced bytes, a stale copy of a file, a lost
//! file. It is told before a wrong value leaves the store, or a key that was there is silently absent.
use crate::support::Chance;
use crate::trace::{State, Verdict, read_state};
use crate::worn::{Stop, Worn, open_at};
use kvarts_engine::Error;
use kvarts_engine::formats::header::HEADER_BYTES;
use kvarts_engine::fs::{Fs, MemFs};
use kvarts_engine::options::Options;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One thing that goes wrong with the files of a store.
#[derive(Clone, Debug)]
pub enum Mutation {
    /// A byte is another.
    Flip { name: String, at: u64, xor: u8 },
    /// A file is cut.
    Cut { name: String, len: usize },
    /// The rest of a file is zeros.
    Zero { name: String, from: usize },
    /// Two files hold what the other held.
    Exchange(String, String),
    /// A range of one file lies over another place.
    Misplace { from: String, at: usize, len: usize, to: String, over: usize },
    /// A file holds what it once held.
    Stale { name: String, version: usize },
    /// A file is gone.
    Lose(String),
    /// Something follows the end of a file.
    Grow { name: String, by: usize, byte: u8 },
}

/// What is made of a mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The store is refused.
    Refused,
    /// A read says so.
    Raised,
    /// All is read as it was.
    Harmless,
    /// A suffix of the last log is gone, and that is reported.
    Shorter,
}

pub struct Mutator<'a> {
    worn: &'a Worn,
    chance: Chance,
    files: BTreeMap<String, Vec<u8>>,
}

impl<'a> Mutator<'a> {
    pub fn new(worn: &'a Worn, seed: u64) -> Self {
        let names = worn.disk.list(&worn.dir).unwrap().into_iter().filter(|name| name != "LOCK");
        let files = names.map(|name| (name.clone(), worn.disk.bytes(&worn.dir.join(&name)).unwrap())).collect();
        Self { worn, chance: Chance(seed), files }
    }

    fn name(&mut self) -> String {
        let names: Vec<&String> = self.files.keys().collect();
        (*self.chance.pick(&names)).clone()
    }

    /// A place in a file; in a log mostly among the bytes that were written.
    fn place(&mut self, name: &str) -> usize {
        let bytes = &self.files[name];
        let written = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let bound = if self.chance.one_in(8) { bytes.len() } else { (written + 8).min(bytes.len()) };
        let ends = [0, HEADER_BYTES.min(bound), bound.saturating_sub(1), bound.saturating_sub(HEADER_BYTES)];
        match bound {
            0 => 0,
            _ if self.chance.one_in(8) => *self.chance.pick(&ends),
            _ => self.chance.below(bound as u64) as usize,
        }
    }

    pub fn draw(&mut self) -> Mutation {
        let (name, other) = (self.name(), self.name());
        match self.chance.below(16) {
            0..5 => {
                let at = self.place(&name) as u64;
                Mutation::Flip { name, at, xor: 1 + self.chance.below(255) as u8 }
            }
            5 | 6 => Mutation::Cut { len: self.place(&name), name },
            7 => Mutation::Zero { from: self.place(&name), name },
            8 => Mutation::Exchange(name, other),
            9 | 10 => {
                let (at, over) = (self.place(&name) & !7, self.place(&other) & !7);
                let len = 1 + self.chance.below(600) as usize;
                Mutation::Misplace { from: name, at, len, to: other, over }
            }
            11..14 => {
                let names: Vec<&String> = self.worn.versions.keys().collect();
                let name = (*self.chance.pick(&names)).clone();
                // Half of them of the one file that has most versions.
                let name = if self.chance.one_in(2) { "MANIFEST".to_owned() } else { name };
                let count = self.worn.versions[&name].len() as u64;
                Mutation::Stale { version: self.chance.below(count) as usize, name }
            }
            14 => Mutation::Lose(name),
            _ => Mutation::Grow { name, by: 1 + self.chance.below(300) as usize, byte: self.chance.below(3) as u8 },
        }
    }

    fn write(&self, disk: &MemFs, name: &str, bytes: &[u8]) {
        let path = self.worn.dir.join(name);
        if disk.exists(&path).unwrap() {
            disk.remove(&path).unwrap();
        }
        let mut file = disk.create(&path).unwrap();
        file.append(bytes).unwrap();
        file.sync().unwrap();
        disk.sync_dir(&self.worn.dir).unwrap();
    }

    /// Returns the disk with the mutation done.
    fn apply(&self, mutation: &Mutation) -> MemFs {
        let disk = self.worn.disk.kill();
        self.apply_to(&disk, mutation);
        disk
    }

    /// Does a mutation to a copy of the store.
    pub fn apply_to(&self, disk: &MemFs, mutation: &Mutation) {
        let changed = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
            let Ok(mut bytes) = disk.bytes(&self.worn.dir.join(name)) else { return };
            change(&mut bytes);
            self.write(disk, name, &bytes);
        };
        match mutation {
            Mutation::Flip { name, at, xor } => changed(name, &|bytes| {
                if let Some(byte) = bytes.get_mut(*at as usize) {
                    *byte ^= xor;
                }
            }),
            Mutation::Cut { name, len } => changed(name, &|bytes| bytes.truncate(*len)),
            Mutation::Zero { name, from } => {
                changed(name, &|bytes| bytes.iter_mut().skip(*from).for_each(|byte| *byte = 0))
            }
            Mutation::Exchange(name, other) => {
                self.write(disk, name, &self.files[other]);
                self.write(disk, other, &self.files[name]);
            }
            Mutation::Misplace { from, at, len, to, over } => {
                let range = &self.files[from][*at..(at + len).min(self.files[from].len())];
                changed(to, &|bytes| {
                    bytes.iter_mut().skip(*over).zip(range).for_each(|(byte, other)| *byte = *other);
                });
            }
            Mutation::Stale { name, version } => self.write(disk, name, &self.worn.versions[name][*version]),
            Mutation::Lose(name) => drop(disk.remove(&self.worn.dir.join(name))),
            Mutation::Grow { name, by, byte } => changed(name, &|bytes| bytes.resize(bytes.len() + by, *byte)),
        }
    }
}

fn told(error: &Error) -> bool {
    matches!(error, Error::Corruption { .. } | Error::NewerFormat { .. })
}

/// The same with a handle that only reads: what it answers is right, key by key too, and the files stay as they are.
fn judge_reading(worn: &Worn, disk: &MemFs) -> Result<(), String> {
    let options = Options { read_only: true, ..worn.options.clone() };
    let before = contents(disk, worn);
    let db = match open_at(disk, &worn.dir, &options) {
        Err(error) if told(&error) || matches!(error, Error::NotFound(_)) => return Ok(()),
        outcome => outcome.map_err(|error| format!("opening to read: {error}"))?,
    };
    match read_state(&db) {
        Err(error) if told(&error) => {}
        Err(error) => return Err(format!("reading: {error}")),
        Ok(found) => drop(check_rows(worn, &found, db.open_report().unclean.is_some())?),
    }
    for (name, rows) in worn.whole.iter().filter(|_| matches!(worn.stop, Stop::Clean | Stop::Copied)) {
        let tree = db.tree(name).unwrap().ok_or("a tree is gone")?;
        for (key, value) in rows {
            match db.get(&tree, key, None, |entry| entry.map(|entry| entry.value.to_vec())) {
                Err(error) if told(&error) => {}
                Ok(Some(found)) if found == *value => {}
                other => return Err(format!("get {key:?}: {other:?}")),
            }
        }
    }
    db.close().map_err(|error| format!("closing: {error}"))?;
    if contents(disk, worn) == before { Ok(()) } else { Err("reading has changed files".into()) }
}

fn contents(disk: &MemFs, worn: &Worn) -> BTreeMap<String, Vec<u8>> {
    let names = disk.list(&worn.dir).unwrap().into_iter();
    names.map(|name| (name.clone(), disk.bytes(&worn.dir.join(&name)).unwrap())).collect()
}

/// Opens a mutated store, reads all of it, and judges what came of it.
fn judge(worn: &Worn, disk: &MemFs) -> Result<Outcome, String> {
    judge_reading(worn, disk)?;
    let db = match open_at(disk, &worn.dir, &worn.options) {
        Err(error) if told(&error) => return Ok(Outcome::Refused),
        outcome => outcome.map_err(|error| format!("opening: {error}"))?,
    };
    let read = read_state(&db);
    let report = db.verify(&mut |_, _| {}).map_err(|error| format!("verify: {error}"))?;
    match read {
        Err(error) if told(&error) && report.damage.is_empty() => Err(format!("verify does not find {error}")),
        Err(error) if told(&error) => Ok(Outcome::Raised),
        Err(error) => Err(format!("reading: {error}")),
        Ok(found) if db.open_report().created => check_nothing_lost(worn, &found),
        Ok(found) => check_rows(worn, &found, db.open_report().unclean.is_some()),
    }
}

/// A store that was made anew had nothing to lose.
fn check_nothing_lost(worn: &Worn, found: &State) -> Result<Outcome, String> {
    match worn.whole.values().all(BTreeMap::is_empty) && found.is_empty() {
        true => Ok(Outcome::Harmless),
        false => Err("another store was made in its place".into()),
    }
}

fn check_rows(worn: &Worn, found: &State, is_reported: bool) -> Result<Outcome, String> {
    let (all, least) = (worn.trace.longest_prefix(&worn.whole), worn.least);
    let Some(len) = worn.trace.longest_prefix(found) else {
        return Err(format!("what is read never was: {found:?}\nnot {:?}", worn.whole));
    };
    match (Some(len) >= all, is_reported) {
        (true, _) => Ok(Outcome::Harmless),
        (false, true) if len >= least => Ok(Outcome::Shorter),
        (false, true) => {
            Err(format!("{len} of {all:?} events are left, of which {least} were durable in older logs and tables"))
        }
        (false, false) => Err(format!("{len} of {all:?} events are left, and nothing is said")),
    }
}

/// Mutates the store of a seed so many times. Counts the outcomes by the kind of mutation.
fn mutate(seed: u64, count: u64, tally: &mut BTreeMap<(String, Outcome), u64>) -> Verdict {
    let worn = Worn::new(seed);
    let mut mutator = Mutator::new(&worn, seed ^ 0x6d75_7461);
    for number in 0..count {
        let mutation = mutator.draw();
        let disk = mutator.apply(&mutation);
        let outcome = catch_unwind(AssertUnwindSafe(|| judge(&worn, &disk))).unwrap_or_else(|_| Err("a panic".into()));
        let outcome = outcome.map_err(|wrong| {
            let files: Vec<_> = mutator.files.iter().map(|(name, bytes)| (name, bytes.len())).collect();
            format!("mutation {number}, {mutation:?} of a store {:?}, {files:?}: {wrong}", worn.stop)
        })?;
        if outcome == Outcome::Shorter && !matches!(worn.stop, Stop::Killed | Stop::Powerless) {
            return Err(format!("mutation {number}, {mutation:?}: a closed store has no log to lose"));
        }
        let kind = format!("{mutation:?}").chars().take_while(|char| char.is_alphabetic()).collect();
        *tally.entry((kind, outcome)).or_default() += 1;
    }
    Ok(())
}

/// Mutations of one store.
const EACH: u64 = 100;

/// Stores in which something once went unnoticed.
const FOUND: [u64; 4] = [423, 526, 612, 894];

#[test]
fn whatever_is_wrong_with_one_file_is_told_before_a_wrong_answer() {
    let count: u64 = std::env::var("KVARTS_MUTATIONS").map_or(10_000, |count| count.parse().unwrap());
    let first: u64 = std::env::var("KVARTS_MUTATION_SEED").map_or(0, |seed| seed.parse().unwrap());
    let mut tally = BTreeMap::new();
    let mut unnoticed = Vec::new();
    for seed in (first..first + count.div_ceil(EACH)).chain(FOUND) {
        if let Err(wrong) = mutate(seed, EACH, &mut tally) {
            unnoticed.push(format!("seed {seed}: {}", wrong.chars().take(600).collect::<String>()));
        }
    }
    assert!(
        unnoticed.is_empty(),
        "{}\nreplay: KVARTS_MUTATION_SEED=... KVARTS_MUTATIONS=1 \
         cargo test -p kvarts-engine --test db whatever_is_wrong_with_one_file",
        unnoticed.join("\n\n")
    );
    for ((kind, outcome), count) in tally {
        println!("{kind:<10} {:<10} {count:>7}", format!("{outcome:?}"));
    }
}
