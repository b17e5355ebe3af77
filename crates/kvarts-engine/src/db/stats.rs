//! Numbers about an open store.
use super::state::Shared;
use super::trees::TreeShared;
use super::{Db, Stats, TreeStats};
use std::sync::atomic::{AtomicU64, Ordering};

impl Db {
    /// Numbers about the store.
    pub fn stats(&self) -> Stats {
        let shared = &*self.shared;
        let trees = shared.live_trees();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &shared.counters;
        let (cache_hits, cache_misses) = shared.cache.counts();
        let mut stats = Stats {
            revision: shared.visible().0,
            log_bytes: shared.log_bytes(),
            cache_bytes: shared.cache.bytes() as u64,
            memory_bytes: shared.options.memory_bytes as u64,
            cache_hits,
            cache_misses,
            user_bytes: count(&counters.user_bytes),
            flush_bytes: count(&counters.flush_bytes),
            compaction_bytes: count(&counters.compaction_bytes),
            flushes: count(&counters.flushes),
            compactions: count(&counters.compactions),
            syncs: count(&counters.syncs),
            stall_ns: count(&counters.stall_ns),
            snapshots: (shared.snapshots.lock().count() + shared.scans.load(Ordering::Relaxed)) as u64,
            ..Stats::default()
        };
        shared.scrubbed.tell(&mut stats);
        for tree in &trees {
            let state = tree.state.load();
            stats.memtable_bytes += state.mems().map(|mem| mem.bytes() as u64).sum::<u64>();
            stats.index_bytes +=
                state.version.levels.iter().flatten().map(|table| table.table.memory_bytes() as u64).sum::<u64>();
            let tree = tree_stats(tree);
            stats.table_bytes += tree.levels.iter().map(|&(_, bytes)| bytes).sum::<u64>();
            stats.trees.push(tree);
        }
        stats
    }
}

impl Shared {
    /// Bytes written to the logs in use.
    fn log_bytes(&self) -> u64 {
        let ended: u64 = self.logs.lock().iter().map(|&(_, bytes)| bytes).sum();
        ended + self.appended.load().offset
    }
}

fn tree_stats(tree: &TreeShared) -> TreeStats {
    let state = tree.state.load();
    let levels = &state.version.levels;
    TreeStats {
        name: tree.info().name.clone(),
        table_rows: levels.iter().flatten().map(|table| table.record.rows).sum(),
        memtable_rows: state.mems().map(|mem| mem.table.rows() as u64).sum(),
        levels: levels
            .iter()
            .map(|level| (level.len() as u64, level.iter().map(|table| table.record.bytes).sum()))
            .collect(),
    }
}
