//! Compaction: running what the policy picks, and rewriting whole trees on request.
use super::room::LEVEL0_SLOW;
use super::state::Shared;
use super::trees::TreeShared;
use super::{Db, Tree};
use crate::compaction::{self, CompactionPlan, CompactionPolicy, Leveled, full_plan};
use crate::version::Version;
use crate::{Error, Result, TreeId};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often level 0 has a turn within one rewriting of a tree.
const RELIEFS_MAX: u32 = 16;

/// Wait between looks whether a compaction by hand still wants its turn.
const HAND_WAIT: Duration = Duration::from_millis(1);

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

    /// Rewrites a tree step by step into its deepest level. Called with `compacting` held.
    fn compact_tree(&self, tree: &TreeShared, last: &mut TreeId) -> Result<()> {
        // One retention decides when the work is done: rows that others write meanwhile do not prolong it.
        let asked = self.retention();
        let mut reliefs = 0;
        loop {
            self.check_open()?;
            let version = Arc::clone(&tree.state.load().version);
            let Some(plan) = full_plan(&version, &self.options, &asked) else {
                return Ok(());
            };
            self.compact_plan(tree, &version, plan)?;
            // Writers go on meanwhile: what slows them has a turn between two steps. It mixes newer rows into deeper
            // levels, which makes more steps; so only so often, and then writers wait for the end.
            if reliefs < RELIEFS_MAX && self.level0_tables.load(Ordering::Acquire) >= LEVEL0_SLOW {
                reliefs += 1;
                self.compact_next(last)?;
            }
        }
    }

    /// Runs a plan for a tree and installs what comes of it. Called with `compacting` held.
    fn compact_plan(&self, tree: &TreeShared, version: &Version, plan: CompactionPlan) -> Result<()> {
        let retention = self.retention();
        let dropped = || tree.dropped.load(Ordering::Acquire);
        let stop = || self.is_closed() || dropped();
        let compression = tree.compression(&self.options, plan.target());
        let keeps = compression == tree.compression(&self.options, plan.level());
        let plan = if keeps { plan } else { plan.rewriting() };
        let edit = match self
            .with_outputs(compression, &stop, |context| compaction::run(&plan, version, &retention, context))
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
