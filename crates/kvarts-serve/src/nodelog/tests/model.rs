//! The model: a dictionary of groups, changed record by record as the simulator's GroupLog is; and scripts of turns from a seed.
use super::*;
use std::collections::BTreeMap;

/// What a reader sees of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GroupModel {
    hard_state: HardState,
    base: (u64, u64),
    mark: Option<(u64, u64, Vec<u8>)>,
    /// Term and bytes of each entry after the base.
    entries: Vec<(u64, u32)>,
}

impl GroupModel {
    fn last(&self) -> u64 {
        self.base.0 + self.entries.len() as u64
    }
}

/// One record of the log.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Add(u64, (u64, u64)),
    Remove(u64),
    HardState(u64, HardState),
    Snapshot(u64, (u64, u64, Vec<u8>)),
    Entry(u64, EntryMeta),
    Compact(u64, u64),
}

pub(super) type Model = BTreeMap<u64, GroupModel>;

pub(super) fn apply(model: &mut Model, change: &Change) {
    match change {
        Change::Add(group, base) => drop(model.insert(*group, GroupModel { base: *base, ..Default::default() })),
        Change::Remove(group) => drop(model.remove(group)),
        Change::HardState(group, hard_state) => model.get_mut(group).unwrap().hard_state = *hard_state,
        Change::Snapshot(group, mark) => {
            let group = model.get_mut(group).unwrap();
            (group.base, group.mark) = ((mark.0, mark.1), Some(mark.clone()));
            group.entries.clear();
        }
        Change::Entry(group, meta) => {
            let group = model.get_mut(group).unwrap();
            group.entries.truncate((meta.index - group.base.0 - 1) as usize);
            group.entries.push((meta.term, meta.size));
        }
        Change::Compact(group, index) => {
            let group = model.get_mut(group).unwrap();
            let gone = (index - group.base.0) as usize;
            group.base = (*index, group.entries[gone - 1].0);
            group.entries.drain(..gone);
        }
    }
}

/// What a log says, payloads checked.
pub(super) fn seen(log: &NodeLog) -> Model {
    let of = |group: u64| {
        let base = log.first_index(group).unwrap() - 1;
        let sizes = log.metas(group, base + 1, u64::MAX, u64::MAX).into_iter().map(|meta| meta.size);
        GroupModel {
            hard_state: log.hard_state(group).unwrap(),
            base: (base, log.term_at(group, base).unwrap()),
            mark: log.snapshot_mark(group),
            entries: kept(log, group).into_iter().map(|(_, term)| term).zip(sizes).collect(),
        }
    };
    log.groups().into_iter().map(|group| (group, of(group))).collect()
}

/// Choices from a seed (splitmix64).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What a script does next.
#[derive(Debug)]
pub(super) enum Step {
    Add(u64, (u64, u64)),
    Remove(u64),
    Turn(Vec<GroupWrite>),
    Compact(u64, u64),
    Sync,
}

impl Step {
    /// The records that it writes.
    pub(super) fn changes(&self) -> Vec<Change> {
        match self {
            Self::Add(group, base) => vec![Change::Add(*group, *base)],
            Self::Remove(group) => vec![Change::Remove(*group)],
            Self::Compact(group, index) => vec![Change::Compact(*group, *index)],
            Self::Turn(writes) => writes.iter().flat_map(changes_of).collect(),
            Self::Sync => vec![],
        }
    }

    pub(super) fn run(&self, log: &NodeLog, end: &mut LogPosition) -> Result<()> {
        match self {
            Self::Add(group, (index, term)) => *end = log.add_group(*group, *index, *term)?,
            Self::Remove(group) => *end = log.remove_group(*group)?,
            Self::Compact(group, index) => log.compact(*group, *index)?,
            Self::Turn(writes) => *end = log.append(writes)?,
            Self::Sync => log.sync_to(*end)?,
        }
        Ok(())
    }
}

fn changes_of(write: &GroupWrite) -> Vec<Change> {
    let hard_state = write.hard_state.map(|hard_state| Change::HardState(write.group, hard_state));
    let snapshot = write.snapshot.clone().map(|mark| Change::Snapshot(write.group, mark));
    let entries = write.entries.iter().map(|(meta, _)| Change::Entry(write.group, *meta));
    snapshot.into_iter().chain(entries).chain(hard_state).collect()
}

/// Groups of the scripts: 1 is never compacted by itself, so that it lags behind the others.
const GROUPS: std::ops::RangeInclusive<u64> = 1..=3;

/// Draws a step that is right after `model`.
pub(super) fn draw(chance: &mut Chance, model: &Model) -> Step {
    let group = *GROUPS.start() + chance.below(GROUPS.count() as u64);
    let Some(known) = model.get(&group) else {
        let base = [(0, 0), (chance.below(50), 3)][chance.below(2) as usize];
        return Step::Add(group, base);
    };
    match chance.below(100) {
        0..15 => Step::Sync,
        15..25 if !known.entries.is_empty() && (group > 1 || chance.below(4) == 0) => {
            Step::Compact(group, known.base.0 + 1 + chance.below(known.entries.len() as u64))
        }
        25 => Step::Remove(group),
        _ => Step::Turn(draw_turn(chance, model.clone())),
    }
}

/// Writes for some of the groups, now and then two for the same.
fn draw_turn(chance: &mut Chance, mut model: Model) -> Vec<GroupWrite> {
    let mut writes = Vec::new();
    for _ in 0..=chance.below(3) {
        let group = *model.keys().nth(chance.below(model.len() as u64) as usize).unwrap();
        let write = draw_write(chance, group, &model[&group]);
        changes_of(&write).iter().for_each(|change| apply(&mut model, change));
        writes.push(write);
    }
    writes
}

fn draw_write(chance: &mut Chance, group: u64, known: &GroupModel) -> GroupWrite {
    let term = known.hard_state.term + chance.below(2);
    let mut write = GroupWrite { group, ..Default::default() };
    if chance.below(3) == 0 {
        write.hard_state = Some(HardState { term, vote: chance.below(4), commit: known.last() });
    }
    let (mut base, mut last) = (known.base.0, known.last());
    if chance.below(20) == 0 {
        (base, last) = (last + chance.below(5), last + 5);
        write.snapshot = Some((last, term, vec![term as u8; chance.below(40) as usize]));
        base = base.max(last);
    }
    let supersedes = last > base && chance.below(5) == 0;
    let first = if supersedes { base + 1 + chance.below(last - base) } else { last + 1 };
    let bytes = [0, 100, 700][chance.below(3) as usize];
    let count = chance.below(5);
    write.entries = (first..first + count).map(|index| entry(index, term, chance.below(bytes + 1) as usize)).collect();
    write
}

#[test]
fn log_agrees_with_the_model_through_restarts() {
    for seed in 0..150 {
        let (fs, mut chance, mut model) = (node(), Chance(seed), Model::new());
        let mut log = open(&fs, small()).unwrap();
        let mut end = LogPosition::default();
        for step in 0..120 {
            if chance.below(15) == 0 {
                drop(log);
                log = open(&fs, NodeLogOptions { cache_bytes: 2000, ..small() }).unwrap();
                end = log.synced();
            }
            let next = draw(&mut chance, &model);
            next.run(&log, &mut end).unwrap();
            next.changes().iter().for_each(|change| apply(&mut model, change));
            assert_eq!(seen(&log), model, "seed={seed} step={step} after {next:?}");
        }
    }
}
