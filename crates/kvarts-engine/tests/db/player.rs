//! Plays a short scenario on a file system that goes wrong, and judges every answer on the way.
use crate::support::{Chance, Said, open_at, open_on};
use crate::trace::{Event, State, Trace, Verdict, perform, read_state};
use kvarts_engine::clock::ManualClock;
use kvarts_engine::db::Db;
use kvarts_engine::fs::{Fault, FaultFs, Fs, MemFs, Met};
use kvarts_engine::options::{Durability, Options};
use kvarts_engine::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// One step of a scenario. A tree is made by the first step that names it.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// One commit of so many rows of so many bytes, spread over the trees.
    Commit(&'static [&'static str], u64, usize),
    /// One commit that deletes so many keys of a tree.
    Delete(&'static str, u64),
    Drop(&'static str),
    Flush,
    Sync,
    Compact,
    Checkpoint,
    Verify,
    /// Closes the store and opens it again.
    Reopen,
}

/// A checkpoint that was answered, and what it must hold.
struct Copy {
    dir: PathBuf,
    state: State,
}

/// One store, what was done to it, and what goes wrong below.
pub struct Player {
    pub disk: MemFs,
    pub fs: FaultFs,
    /// What the store is given: `fs`, perhaps with more in between.
    above: Arc<dyn Fs>,
    fault: Option<Fault>,
    lasts: bool,
    options: Options,
    db: Option<Arc<Db>>,
    trace: Trace,
    copies: Vec<Copy>,
    chance: Chance,
    /// A write was refused for good: nothing is written before the store is opened again.
    poisoned: bool,
}

impl Player {
    /// `wrap` puts a file system over the one that fails.
    pub fn new(options: Options, wrap: impl FnOnce(FaultFs) -> Arc<dyn Fs>) -> Self {
        let disk = MemFs::new();
        let fs = FaultFs::new(Arc::new(disk.clone()));
        let above = wrap(fs.clone());
        let (trace, copies, chance) = (Trace::default(), Vec::new(), Chance(7));
        Self { disk, fs, above, fault: None, lasts: false, options, db: None, trace, copies, chance, poisoned: false }
    }

    /// Makes operation `at` go wrong.
    pub fn plan(&mut self, at: u64, fault: Fault, lasts: bool) {
        (self.fault, self.lasts) = (Some(fault), lasts);
        self.fs.fail_at(at, fault, lasts);
    }

    /// Plays all steps. `Err` says what was not as it must be.
    pub fn play(&mut self, steps: &[Step]) -> Verdict {
        self.open()?;
        for step in steps {
            self.act(step).map_err(|wrong| format!("{step:?}: {wrong}"))?;
            self.look().map_err(|wrong| format!("after {step:?}: {wrong}"))?;
        }
        Ok(())
    }

    /// Checks what a power loss, the end of the process, and a close would leave now.
    pub fn judge(&mut self, crashes: u64) -> Verdict {
        self.fs.heal();
        for seed in 0..crashes {
            self.judge_left(&self.disk.crash(seed), true).map_err(|wrong| format!("crash {seed}: {wrong}"))?;
        }
        self.judge_left(&self.disk.kill(), false).map_err(|wrong| format!("killed: {wrong}"))?;
        self.act(&Step::Reopen).map_err(|wrong| format!("closed in the end: {wrong}"))?;
        self.look().map_err(|wrong| format!("closed in the end: {wrong}"))
    }

    fn judge_left(&self, left: &MemFs, lost_power: bool) -> Verdict {
        let db = match open_on(Arc::new(left.clone()), &still(), self.options.clone()) {
            Err(error) if self.is_damage(&error) => return Ok(()),
            outcome => outcome.map_err(|error| format!("it does not open: {error}"))?,
        };
        match read_state(&db) {
            Err(error) if self.is_damage(&error) => return Ok(()),
            Err(error) => return Err(format!("it cannot be read: {error}")),
            Ok(found) => self.check(&found, lost_power)?,
        }
        let report = db.verify(&mut |_, _| {}).map_err(|error| format!("verify: {error}"))?;
        if !report.damage.is_empty() && !self.is_silent() {
            return Err(format!("verify finds damage: {:?}", report.damage));
        }
        drop(db);
        self.copies.iter().try_for_each(|copy| self.judge_copy(left, copy))
    }

    /// Checks what was found. Damage at the end of a log may look like a torn tail: then a suffix of it is gone, but not
    /// what is in tables, nor what the manifest says of trees. So each tree is a prefix by itself.
    fn check(&self, found: &State, lost_power: bool) -> Verdict {
        let of_log = |met: &Met| met.path.extension().is_some_and(|extension| extension == "log");
        if self.is_silent() && self.fs.met().iter().any(of_log) {
            return self.trace.check_each_tree(found);
        }
        self.trace.check(found, lost_power)
    }

    fn judge_copy(&self, left: &MemFs, copy: &Copy) -> Verdict {
        let opened = open_at(Arc::new(left.clone()), &still(), &copy.dir, self.options.clone());
        match opened.and_then(|db| read_state(&db)) {
            Ok(found) if found == copy.state => Ok(()),
            Ok(found) => Err(format!("checkpoint {:?} holds {found:?}, not {:?}", copy.dir, copy.state)),
            Err(error) if self.is_damage(&error) => Ok(()),
            Err(error) => Err(format!("checkpoint {:?}: {error}", copy.dir)),
        }
    }

    fn act(&mut self, step: &Step) -> Verdict {
        match step {
            Step::Commit(trees, rows, bytes) => {
                trees.iter().try_for_each(|tree| self.make(tree))?;
                let live = self.trace.now();
                let trees: Vec<_> = trees.iter().copied().filter(|tree| live.contains_key(tree)).collect();
                let ops: Vec<_> = (0..if trees.is_empty() { 0 } else { *rows })
                    .map(|row| (trees[row as usize % trees.len()], self.chance.key(12), self.value(*bytes)))
                    .collect();
                self.perform(Event::Commit(ops))
            }
            Step::Delete(tree, rows) => {
                self.make(tree)?;
                let rows = if self.trace.now().contains_key(tree) { *rows } else { 0 };
                let ops = (0..rows).map(|_| (*tree, self.chance.key(12), Said::Delete)).collect();
                self.perform(Event::Commit(ops))
            }
            Step::Drop(tree) if self.trace.now().contains_key(tree) => self.perform(Event::Drop(tree)),
            Step::Drop(_) => Ok(()),
            Step::Flush => self.make_durable(Db::flush),
            Step::Sync => self.make_durable(Db::sync),
            Step::Compact => {
                let outcome = self.db().compact(None);
                self.note(outcome).map(|_| ())
            }
            Step::Checkpoint => self.checkpoint(),
            Step::Verify => self.verify(),
            Step::Reopen => self.reopen(),
        }
    }

    fn value(&mut self, bytes: usize) -> Said {
        let byte = self.chance.next() as u8;
        Said::Put((0..bytes).map(|at| byte.wrapping_add((at * at / 7) as u8)).collect())
    }

    fn make(&mut self, tree: &'static str) -> Verdict {
        if self.trace.now().contains_key(tree) { Ok(()) } else { self.perform(Event::Create(tree)) }
    }

    fn perform(&mut self, event: Event) -> Verdict {
        let is_commit = matches!(event, Event::Commit(_));
        self.trace.say(event.clone());
        let was_poisoned = self.poisoned;
        let outcome = perform(self.db(), &event);
        if outcome.is_err() && (was_poisoned || !matches!(outcome, Err(Error::Poisoned(_)))) {
            // Refused, or failed with nothing done: only what poisons leaves a doubt.
            self.trace.unsay();
        }
        if self.note(outcome)? {
            self.trace.answer();
            if !is_commit || self.options.durability == Durability::Sync {
                self.trace.promise();
            }
        }
        Ok(())
    }

    fn make_durable(&mut self, call: impl FnOnce(&Db) -> Result<()>) -> Verdict {
        let outcome = call(self.db());
        if self.note(outcome)? {
            self.trace.promise();
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Verdict {
        let mut dir = PathBuf::from(format!("/copy{}", self.copies.len()));
        let mut outcome = self.db().checkpoint(None, &dir);
        if self.note(outcome.clone().map(|_| ()))? {
            self.trace.promise();
        } else if !self.poisoned {
            // What failed left nothing that stands in the way of the next try, but for what it could not remove.
            self.fs.heal();
            if self.lasts {
                dir.set_extension("again");
            }
            outcome = self.db().checkpoint(None, &dir);
            self.note(outcome.clone().map(|_| ()))?;
        }
        if outcome.is_ok() {
            self.copies.push(Copy { dir, state: self.trace.now() });
        }
        Ok(())
    }

    fn verify(&mut self) -> Verdict {
        let outcome = self.db().verify(&mut |_, _| {});
        let damage = outcome.as_ref().map(|report| report.damage.clone()).unwrap_or_default();
        self.note(outcome.map(|_| ()))?;
        let expected = self.is_silent() || self.fault == Some(Fault::Short);
        if damage.is_empty() || expected { Ok(()) } else { Err(format!("verify finds damage: {damage:?}")) }
    }

    fn reopen(&mut self) -> Verdict {
        let db = self.db.take().expect("the store is open");
        let outcome = db.close();
        drop(db);
        if self.note(outcome)? && !self.poisoned {
            self.trace.promise();
        }
        self.open()?;
        Ok(())
    }

    /// Opens the store; where that fails, once more without the fault. What is found must follow from the trace.
    fn open(&mut self) -> Verdict {
        let mut opened = open_on(Arc::clone(&self.above), &still(), self.options.clone());
        if let Err(error) = &opened {
            self.check_clear(error)?;
            self.fs.heal();
            opened = open_on(Arc::clone(&self.above), &still(), self.options.clone());
        }
        let db = match opened {
            // Damage that a silent fault has done stays. From here on there is nothing to look at.
            Err(error) if self.is_damage(&error) && self.is_silent() => return Err(DAMAGED.to_owned()),
            outcome => outcome.map_err(|error| format!("it does not open, although nothing fails: {error}"))?,
        };
        self.poisoned = false;
        self.db = Some(db);
        match self.read()? {
            Some(found) => {
                self.check(&found, false)?;
                self.trace.rebase(found);
            }
            None => return Err(DAMAGED.to_owned()),
        }
        Ok(())
    }

    /// Reads all; what is read is what was answered.
    fn look(&mut self) -> Verdict {
        match self.read()? {
            Some(found) if found != self.trace.now() => {
                Err(format!("what is read is not what was answered: {found:?}, not {:?}", self.trace.now()))
            }
            _ => Ok(()),
        }
    }

    /// Reads all, a second time where the first meets the fault. `None`: damage is told, as it must be.
    fn read(&mut self) -> std::result::Result<Option<State>, String> {
        let mut read = read_state(self.db());
        if let Err(error) = &read {
            self.check_clear(error)?;
            if !self.is_silent() {
                self.fs.heal();
            }
            read = read_state(self.db());
        }
        match read {
            Ok(found) => Ok(Some(found)),
            Err(error) if self.is_damage(&error) => Ok(None),
            Err(error) => Err(format!("reads fail, although nothing fails below: {error}")),
        }
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("the store is open")
    }

    /// Checks that an error says what it must. Returns whether there was none.
    fn note(&mut self, outcome: Result<()>) -> std::result::Result<bool, String> {
        let Err(error) = outcome else { return Ok(true) };
        self.check_clear(&error)?;
        if let Error::Poisoned(_) = error {
            self.poisoned = true;
        }
        Ok(false)
    }

    /// Checks that an error is one of the fault's.
    fn check_clear(&self, error: &Error) -> Verdict {
        let fits = match (error, self.fault) {
            (_, None) => false,
            (Error::Poisoned(_), _) => true,
            (Error::StorageFull(_), Some(fault)) => fault == Fault::NoSpace,
            (Error::Io { .. }, Some(fault)) => fault != Fault::NoSpace,
            (Error::NewerFormat { .. }, _) => self.is_silent(),
            (Error::Corruption { .. }, _) => self.is_silent() || self.fault == Some(Fault::Short),
            _ => false,
        };
        if fits { Ok(()) } else { Err(format!("an error that {:?} does not explain: {error:?}", self.fault)) }
    }

    fn is_silent(&self) -> bool {
        matches!(self.fault, Some(Fault::Flip | Fault::Lost | Fault::Misdirected))
    }

    fn is_damage(&self, error: &Error) -> bool {
        self.is_silent() && matches!(error, Error::Corruption { .. } | Error::NewerFormat { .. })
    }
}

/// The verdict where damage was told: the store could not be opened or read, and said so.
pub const DAMAGED: &str = "damage was told";

fn still() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(1_000))
}
