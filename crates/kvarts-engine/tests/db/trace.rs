//! What was done to a store, and what may be found of it: a prefix with all that was promised.
use crate::support::Said;
use kvarts_engine::Result;
use kvarts_engine::db::{Db, RowChunk, Tree};
use kvarts_engine::formats::batch::Batch;
use kvarts_engine::iter::Bounds;
use std::collections::BTreeMap;

/// `Err` says how the promises were broken.
pub type Verdict = std::result::Result<(), String>;

/// Names of the trees that there may be.
pub const TREES: [&str; 3] = ["a", "b", "c"];

/// Where the clocks stand.
pub const NOW_MS: u64 = 1_000;

/// One step of a trace.
#[derive(Clone, Debug)]
pub enum Event {
    /// A commit: (tree, key, what was said).
    Commit(Vec<(&'static str, Vec<u8>, Said)>),
    Create(&'static str),
    Drop(&'static str),
}

/// What a store holds after a prefix of the trace: per tree, key to value.
pub type State = BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>;

fn step(state: &mut State, event: &Event) {
    match event {
        Event::Create(name) => {
            state.insert(name, BTreeMap::new());
        }
        Event::Drop(name) => {
            state.remove(name);
        }
        Event::Commit(ops) => {
            for (name, key, said) in ops {
                let tree = state.get_mut(name).expect("the trace writes to live trees");
                match said {
                    Said::Put(value) => tree.insert(key.clone(), value.clone()),
                    Said::Expiring(expiry_ms, value) if *expiry_ms > NOW_MS => tree.insert(key.clone(), value.clone()),
                    Said::Expiring(..) | Said::Delete => tree.remove(key),
                };
            }
        }
    }
}

/// What was done since a store was last seen whole.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The state that the last recovery showed.
    base: State,
    /// What was done since, the last of it perhaps in vain.
    events: Vec<Event>,
    /// Length of the prefix that must survive a power loss.
    promised: usize,
    /// Length of the prefix that must survive the end of the process.
    answered: usize,
}

impl Trace {
    /// Notes what is about to be tried: what fails may still have happened.
    pub fn say(&mut self, event: Event) {
        self.events.push(event);
    }

    /// What was tried last has not happened, and will not.
    pub fn unsay(&mut self) {
        self.events.pop();
    }

    /// All that was said was answered.
    pub fn answer(&mut self) {
        self.answered = self.events.len();
    }

    /// All that was answered must survive a power loss.
    pub fn promise(&mut self) {
        self.promised = self.answered;
    }

    /// What the trees hold after all that was answered.
    pub fn now(&self) -> State {
        self.after(self.answered)
    }

    fn after(&self, len: usize) -> State {
        let mut state = self.base.clone();
        self.events[..len].iter().for_each(|event| step(&mut state, event));
        state
    }

    /// Checks that what was found is a prefix, with all that must survive a power loss (or the end of the process).
    pub fn check(&self, found: &State, lost_power: bool) -> Verdict {
        let least = if lost_power { self.promised } else { self.answered };
        let mut state = self.base.clone();
        let mut matches = Vec::new();
        for len in 0..=self.events.len() {
            if len > 0 {
                step(&mut state, &self.events[len - 1]);
            }
            if state == *found {
                matches.push(len);
            }
        }
        if matches.last().is_none_or(|&len| len < least) {
            let (events, base) = (&self.events, &self.base);
            return Err(format!(
                "recovered is no prefix of at least {least} steps (prefixes that match: {matches:?})\n\
                 recovered: {found:?}\nsteps: {events:?}\nafter: {base:?}"
            ));
        }
        Ok(())
    }

    /// Length of the prefix that must survive a power loss.
    pub fn promised(&self) -> usize {
        self.promised
    }

    /// Number of events said so far.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// The longest prefix after which the rows are those that were found; trees without rows do not count.
    pub fn longest_prefix(&self, found: &State) -> Option<usize> {
        let mut state = self.base.clone();
        let mut longest = has_rows_of(&state, found).then_some(0);
        for (at, event) in self.events.iter().enumerate() {
            step(&mut state, event);
            if has_rows_of(&state, found) {
                longest = Some(at + 1);
            }
        }
        longest
    }

    /// Tells whether a key of a tree ever had this value.
    pub fn was_said(&self, tree: &str, key: &[u8], value: &[u8]) -> bool {
        let says = |said: &Said| matches!(said, Said::Put(put) | Said::Expiring(_, put) if put == value);
        self.events.iter().any(|event| match event {
            Event::Commit(ops) => ops.iter().any(|(name, at, said)| *name == tree && at == key && says(said)),
            Event::Create(_) | Event::Drop(_) => false,
        })
    }

    /// Checks that each tree is what it was after some prefix.
    pub fn check_each_tree(&self, found: &State) -> Verdict {
        let was = |name: &str| (0..=self.events.len()).any(|len| self.after(len).get(name) == found.get(name));
        match TREES.iter().find(|name| !was(name)) {
            None => Ok(()),
            Some(name) => Err(format!("tree {name} never was {:?}\n{self:?}", found.get(name))),
        }
    }

    /// Goes on from what was found.
    pub fn rebase(&mut self, found: State) {
        *self = Self { base: found, ..Self::default() };
    }
}

/// Tells whether two states have the same rows.
fn has_rows_of(state: &State, found: &State) -> bool {
    let rows = |state: &State, name: &str| state.get(name).cloned().unwrap_or_default();
    TREES.iter().all(|name| rows(state, name) == rows(found, name))
}

/// Does what an event says. The tree that it names must be there.
pub fn perform(db: &Db, event: &Event) -> Result<()> {
    let live = |name: &str| db.tree(name).map(|tree| tree.expect("the trace names live trees"));
    match event {
        Event::Create(name) => db.create_tree(name, "", "").map(|_| ()),
        Event::Drop(name) => db.drop_tree(&live(name)?),
        Event::Commit(ops) => {
            let mut batch = Batch::new();
            for (name, key, said) in ops {
                said.add_to(&mut batch, &live(name)?, key);
            }
            db.write(&mut batch).map(|_| ())
        }
    }
}

/// Reads all that a store holds, by a scan, and again key by key.
pub fn read_state(db: &Db) -> Result<State> {
    let mut state = State::new();
    for info in db.trees()? {
        let name = TREES.iter().find(|&&name| name == info.name).expect("no tree but those that were made");
        let tree = db.tree(name)?.expect("it was listed");
        let rows = scan_all(db, &tree)?;
        for (key, value) in &rows {
            let found = db.get(&tree, key, None, |entry| entry.map(|entry| entry.value.to_vec()))?;
            assert_eq!(found.as_ref(), Some(value), "a get finds what the scan found at {key:?}");
        }
        state.insert(name, rows);
    }
    Ok(state)
}

fn scan_all(db: &Db, tree: &Tree) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut scan = db.scan(tree, Bounds::default(), false, None)?;
    let mut rows = BTreeMap::new();
    loop {
        let mut chunk = RowChunk::default();
        let more = scan.fill(&mut chunk, 64, 1 << 20, true)?;
        let (mut key_start, mut value_start) = (0, 0);
        for (&key_end, &value_end) in chunk.key_ends.iter().zip(&chunk.value_ends) {
            rows.insert(chunk.keys[key_start..key_end].to_vec(), chunk.values[value_start..value_end].to_vec());
            (key_start, value_start) = (key_end, value_end);
        }
        if !more {
            return Ok(rows);
        }
    }
}
