//! Compaction: running what the policy picks, and rewriting whole trees on request.
use super::filtering::Wanted;
use super::state::Shared;
use super::trees::TreeShared;
use super::{Db, Tree};
use crate::compaction::{
    self, CompactionPlan, CompactionPolicy, Earned, Leveled, Rest, full_plan, merge_level0, resting_plan, runs_merged,
};
use crate::version::{TableRef, Version};
use crate::{Error, FileId, Result, TreeId};
use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often level 0 has a turn within one rewriting of a tree.
const RELIEFS_MAX: u32 = 16;

/// How near writers must be to stopping for that.
const RELIEF_PRESSURE: f64 = 0.5;

/// Wait between looks whether a compaction by hand still wants its turn.
const HAND_WAIT: Duration = Duration::from_millis(1);

/// Wait between looks whether writers are quiet, while that may pay for something.
const QUIET_LOOK: Duration = Duration::from_secs(1);
/// Bytes that a second without a write pays for: a tenth of what compaction can do.
const QUIET_BYTES_PER_S: u64 = 64 << 20;
/// Wait between looks at what reads have lost, where only that may pay for something.
const READS_LOOK: Duration = Duration::from_secs(10);

/// Wait before another step is taken after one for which there was no room, at first and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// How quiet writers are, as the compaction thread sees it.
#[derive(Default)]
pub(super) struct Quiet {
    /// The newest revision at the last look, and when that was.
    seen: (u64, u64),
    /// Bytes that may be rewritten for it.
    bytes: u64,
    /// Until when no step is taken, and how long that is in all: none where the last one went well.
    not_before_ns: u64,
    back_off: Duration,
}

impl Quiet {
    fn look(&mut self, applied: u64, now_ns: u64) {
        let (revision, then_ns) = std::mem::replace(&mut self.seen, (applied, now_ns));
        let quiet_ms = if revision == applied { now_ns.saturating_sub(then_ns) / 1_000_000 } else { 0 };
        self.bytes = if quiet_ms == 0 { 0 } else { self.bytes + quiet_ms * QUIET_BYTES_PER_S / 1000 };
    }

    /// Lets time pass after a step for which there was no room. Returns how much.
    fn fail(&mut self, now_ns: u64) -> Duration {
        self.back_off = (2 * self.back_off).clamp(BACK_OFF.0, BACK_OFF.1);
        self.not_before_ns = now_ns + self.back_off.as_nanos() as u64;
        self.back_off
    }
}

impl Db {
    /// Flushes, then rewrites every tree (or one) into its deepest level and waits. Space of deleted and expired rows returns.
    pub fn compact(&self, tree: Option<&Tree>) -> Result<()> {
        let shared = &*self.shared;
        shared.check_writable()?;
        // Before `compacting` is taken: a writer that waits for level 0 to shrink holds `write`, and needs the thread that
        // takes `compacting`.
        shared.seal_now()?;
        shared.flush_all()?;
        shared.hands.fetch_add(1, Ordering::AcqRel);
        let mut last = shared.compacting.lock();
        shared.hands.fetch_sub(1, Ordering::AcqRel);
        match tree {
            Some(tree) if tree.shared.dropped.load(Ordering::Acquire) => Err(tree.shared.gone()),
            Some(tree) => shared.compact_tree(&tree.shared, &mut last),
            None => shared.live_trees().iter().try_for_each(|tree| shared.compact_tree(tree, &mut last)),
        }
    }
}

impl Shared {
    /// Live trees, by id.
    pub(super) fn live_trees(&self) -> Vec<Arc<TreeShared>> {
        self.install.lock().trees.values().cloned().collect()
    }

    /// Tells whether any table has rows that expire: time alone then makes work.
    pub(super) fn expires(&self) -> bool {
        let has_expiring = |tree: &Arc<TreeShared>| {
            tree.state.load().version.tables().any(|(_, table)| table.record.expiry_half_ms != u64::MAX)
        };
        self.live_trees().iter().any(has_expiring)
    }

    /// Runs what the policy picks until every tree is in shape.
    pub(super) fn compact_pending(&self) -> Result<()> {
        loop {
            // Writers may keep this going for ever: who waits to compact by hand has a turn between two plans.
            while self.hands.load(Ordering::Acquire) > 0 && !self.is_closed() {
                let mut progress = self.signals.progress.lock();
                self.signals.progressed.wait_for(&mut progress, HAND_WAIT);
            }
            let mut last = self.compacting.lock();
            if !self.compact_next(&mut last)? {
                return Ok(());
            }
        }
    }

    /// Runs the next plan; the trees take turns. Returns false where there is none.
    fn compact_next(&self, last: &mut TreeId) -> Result<bool> {
        self.check_open()?;
        let mut trees = self.live_trees();
        let turn = trees.partition_point(|tree| tree.id() <= *last);
        trees.rotate_left(turn);
        for tree in &trees {
            let version = Arc::clone(&tree.state.load().version);
            if let Some(plan) = Leveled.pick(&version, &self.options, &self.retention()) {
                *last = tree.id();
                self.compact_plan(tree, &version, plan)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the next step that reads or quiet have paid for, and returns when it is worth looking again, if ever.
    ///
    /// Nobody waits for such a step: where there is no room for it, writers are not told, and it is long until the next is
    /// tried.
    pub(super) fn compact_resting(&self, quiet: &mut Quiet) -> Result<Option<Duration>> {
        let now_ns = self.clock.monotonic_ns();
        quiet.look(self.applied.load(Ordering::Relaxed), now_ns);
        match quiet.not_before_ns.checked_sub(now_ns) {
            None | Some(0) => {}
            Some(left) => return Ok(Some(Duration::from_nanos(left))),
        }
        match self.take_resting_step(quiet) {
            Err(error) if error.may_pass() => Ok(Some(quiet.fail(self.clock.monotonic_ns()))),
            outcome => outcome,
        }
    }

    fn take_resting_step(&self, quiet: &mut Quiet) -> Result<Option<Duration>> {
        let mut last = self.compacting.lock();
        let mut rest = Rest::Complete;
        for tree in &self.live_trees() {
            self.check_open()?;
            let version = Arc::clone(&tree.state.load().version);
            let begun_ns = self.clock.monotonic_ns();
            let wanted = self.filtering_wanted(tree, &version);
            let steps = !matches!(wanted, Wanted::Nothing);
            if let Wanted::Step(plan) = wanted {
                self.compact_plan(tree, &version, plan)?;
                quiet.back_off = Duration::ZERO;
            }
            if steps {
                // Nobody waits for it: a third of the time is enough.
                let took = Duration::from_nanos(self.clock.monotonic_ns().saturating_sub(begun_ns));
                return Ok(Some(2 * took));
            }
            if tree.filtering.load().is_some() && self.filter_of(tree).is_none() {
                rest = rest.max(Rest::Reads); // Somebody reads what it would drop.
            }
            let state = tree.state.load_full();
            let earned = Earned { reads: state.waste.bytes(), quiet: quiet.bytes };
            match resting_plan(&state.version, &self.options, earned) {
                Ok((plan, cost)) => {
                    *last = tree.id();
                    quiet.bytes -= cost.min(quiet.bytes);
                    state.waste.spend(cost);
                    self.compact_plan(tree, &state.version, plan)?;
                    quiet.back_off = Duration::ZERO;
                    return Ok(Some(Duration::ZERO));
                }
                Err(later) => rest = rest.max(later),
            }
        }
        Ok(match rest {
            Rest::Complete => None,
            Rest::Reads => Some(READS_LOOK),
            Rest::Quiet => Some(QUIET_LOOK),
        })
    }

    /// Rewrites a tree step by step into its deepest level. Called with `compacting` held.
    fn compact_tree(&self, tree: &TreeShared, last: &mut TreeId) -> Result<()> {
        // One retention decides when the work is done: rows that others write meanwhile do not prolong it.
        let asked = self.retention();
        let mut reliefs = 0;
        loop {
            self.check_open()?;
            let version = Arc::clone(&tree.state.load().version);
            let plan = match full_plan(&version, &self.options, &asked) {
                Some(plan) => plan,
                None => match self.filtering_wanted(tree, &version) {
                    Wanted::Step(plan) => plan,
                    Wanted::Look => continue,
                    Wanted::Nothing => return Ok(()),
                },
            };
            self.compact_plan(tree, &version, plan)?;
            // Writers go on meanwhile: what slows them has a turn between two steps. It mixes newer rows into deeper
            // levels, which makes more steps; so only so often, and then writers wait for the end.
            if reliefs < RELIEFS_MAX && self.pressure(0) > RELIEF_PRESSURE {
                reliefs += 1;
                self.compact_next(last)?;
            }
        }
    }

    /// Runs a plan for a tree and installs what comes of it. Called with `compacting` held.
    ///
    /// Flushes go on meanwhile, and what they add to level 0 is merged there in between: a long job need not end before
    /// reads look into fewer tables again, and writers never wait for it.
    fn compact_plan(&self, tree: &TreeShared, version: &Version, plan: CompactionPlan) -> Result<()> {
        let busy: HashSet<FileId> = plan.tables().map(|table| table.record.file).collect();
        let seen = Cell::new(self.counters.flushes.load(Ordering::Relaxed));
        let failed = Cell::new(None);
        let relieves = || {
            let flushes = self.counters.flushes.load(Ordering::Relaxed);
            let relief = if seen.replace(flushes) == flushes { Ok(()) } else { self.thin_level0(&busy) };
            relief.map_err(|error| failed.set(Some(error))).is_ok()
        };
        let outcome = self.run_plan(tree, version, plan, &|| !relieves());
        failed.take().map_or(outcome, Err)
    }

    /// Merges what is ripe in level 0 of any tree, but for tables that are `busy` and older ones.
    fn thin_level0(&self, busy: &HashSet<FileId>) -> Result<()> {
        // Twice as many as could be merged: from there on writers are slowed.
        if self.level0_runs.load(Ordering::Relaxed) < 2 * runs_merged(&self.options) {
            return Ok(());
        }
        let is_busy = |table: &TableRef| busy.contains(&table.record.file);
        for tree in self.live_trees() {
            let version = Arc::clone(&tree.state.load().version);
            if let Some(plan) = merge_level0(&version, &self.options, &is_busy) {
                self.run_plan(&tree, &version, plan, &|| false)?;
            }
        }
        Ok(())
    }

    /// Runs a plan and installs what comes of it, unless `stop` says so every few rows, or the tree or the store goes.
    fn run_plan(
        &self,
        tree: &TreeShared,
        version: &Version,
        plan: CompactionPlan,
        stop: &dyn Fn() -> bool,
    ) -> Result<()> {
        let retention = self.retention();
        let dropped = || tree.dropped.load(Ordering::Acquire);
        let stop = || self.is_closed() || dropped() || stop();
        let compression = tree.compression(&self.options, plan.target());
        let keeps = compression == tree.compression(&self.options, plan.level());
        let plan = if keeps { plan } else { plan.rewriting() };
        let filtering = self.filter_of(tree);
        let filter = filtering.as_ref().map(|filtering| filtering.filter());
        let edit = match self
            .with_outputs(compression, &stop, |context| compaction::run(&plan, version, &retention, filter, context))
        {
            Err(Error::Closed) if dropped() => return Ok(()),
            outcome => outcome?,
        };
        let rewritten = if plan.is_move() { 0 } else { edit.added.iter().map(|(_, table)| table.record.bytes).sum() };
        self.install(tree, &edit, None)?;
        self.counters.compactions.fetch_add(1, Ordering::Relaxed);
        self.counters.compaction_bytes.fetch_add(rewritten, Ordering::Relaxed);
        self.set_failure(None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::fs::{Fs, MemFs};
    use crate::options::Options;
    use kvarts_formats::batch::Batch;
    use std::path::Path;

    #[test]
    fn a_step_that_nobody_waits_for_is_put_off_where_there_is_no_room_and_writers_are_not_told() {
        let (fs, clock) = (MemFs::volatile(), Arc::new(ManualClock::new(1_000)));
        let shared_fs: Arc<dyn Fs> = Arc::new(fs.clone());
        let options = Options { create: true, background: false, ..Options::default() };
        let db = Db::open(shared_fs, Arc::clone(&clock) as Arc<_>, Path::new("/"), "test", options).unwrap();
        let tree = db.create_tree("rows", "", "").unwrap();
        for round in 0..3u8 {
            let mut batch = Batch::new();
            (0..100u32).for_each(|key| batch.put(db.tree_info(&tree).id, &key.to_be_bytes(), &[round; 100]));
            db.write(&mut batch).unwrap();
            db.flush().unwrap();
        }
        let (shared, mut quiet) = (&*db.shared, Quiet::default());
        let mut look = |clock_ms: u64| {
            clock.advance_ms(clock_ms);
            shared.compact_resting(&mut quiet).unwrap()
        };
        let seconds = |seconds: u64| Some(Duration::from_secs(seconds));
        look(1);
        fs.set_full(true);
        assert_eq!(look(10_000), seconds(60), "there is no room");
        assert!(shared.failure().is_none(), "nobody waits for it");
        assert_eq!(look(20_000), seconds(40), "it is not tried again before");
        assert_eq!(look(40_000), seconds(120), "nor soon, where there is no room still");
        fs.set_full(false);
        assert_eq!(look(119_999), Some(Duration::from_millis(1)));
        assert_eq!(look(10_000), Some(Duration::ZERO), "a step was taken");
        while look(10_000).is_some() {}
        assert_eq!(db.stats().trees[0].levels.iter().map(|(tables, _)| tables).sum::<u64>(), 1);
        db.close().unwrap();
    }
}
