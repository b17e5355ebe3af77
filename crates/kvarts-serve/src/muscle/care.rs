//! What operators ask of a state machine: flush, compact, verify, figures. It may take minutes, so it runs on threads of its
//! own and answers its call itself; only one compaction or check goes on at a time. A node that stops does not wait for it.
use super::core::Core;
use super::event::Event;
use super::group::Group;
use super::keeper;
use super::refusal;
use crate::machine::{Machine, Result, Size};
use kvarts_engine::db::{Damage, Stats};
use serde_json::{Value, json};
use std::sync::Arc;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// Put all rows into tables.
    Flush,
    /// Rewrite all rows into the deepest level.
    Compact,
    /// Read all tables and check them.
    Verify,
    /// Tell numbers about the engine.
    Stats,
    /// Tell of each group about how many bytes its rows take, and which key lies in their middle.
    Middles,
}

impl Care {
    /// Reads a verb of the desk.
    pub fn of(verb: &str) -> Option<Self> {
        Some(match verb {
            "flush" => Self::Flush,
            "compact" => Self::Compact,
            "verify" => Self::Verify,
            "stats" => Self::Stats,
            "middles" => Self::Middles,
            _ => return None,
        })
    }

    fn is_long(self) -> bool {
        matches!(self, Self::Compact | Self::Verify)
    }
}

/// Begins, and returns at once; the call is answered with JSON when it is done.
pub fn begin(core: &Core, groups: Vec<Arc<Group>>, care: Care, call: u64) {
    let me = core.me();
    core.runtime.spawn(async move {
        let _turn = if care.is_long() { Some(me.care.lock().await) } else { None };
        let core = Arc::clone(&me);
        let done = tokio::task::spawn_blocking(move || {
            let answers: Result<Vec<Value>> = groups.iter().map(|group| take_care(&core, group, care)).collect();
            let answer = answers.map(together);
            core.calls
                .settle(call, answer.map(|answer| answer.to_string()).map_err(|error| refusal::of_machine(&error)));
        });
        if done.await.is_err() {
            me.calls.settle(call, Err(refusal::unavailable("what was asked for did not end well on this node")));
        }
    });
}

/// Measures groups as shards of their keyspaces, one after the other, and returns at once; an event tells of each. One that
/// cannot be read is left out: its reads tell what is wrong. Nothing is begun while others are still measured: whoever asks
/// asks again.
pub fn measure(core: &Core, asked: &[(u64, u32)]) {
    let Ok(turn) = Arc::clone(&core.measuring).try_lock_owned() else { return };
    let known = core.routes.known();
    let found = asked.iter().filter_map(|&(id, keyspace)| Some((core.group(id)?, known.range_of(keyspace, id)?)));
    let (me, groups) = (core.me(), found.collect::<Vec<_>>());
    core.runtime.spawn_blocking(move || {
        // Ends with this work however it ends.
        let _turn = turn;
        for (group, range) in groups {
            if let Ok(Size { bytes, middle }) = group.machine.size(&range) {
                me.queue.push(Event::Measured { group: group.id, epoch: range.epoch(), bytes, middle });
            }
        }
    });
}

/// The answers of several groups as one: numbers are added up but for positions and revisions, of which the highest counts.
fn together(answers: Vec<Value>) -> Value {
    let mut all = serde_json::Map::new();
    for answer in answers {
        let Value::Object(answer) = answer else { continue };
        for (name, value) in answer {
            match (all.get_mut(&name), value) {
                (Some(Value::Array(known)), Value::Array(more)) => known.extend(more),
                (Some(known), more) => {
                    let (a, b) = (known.as_u64().unwrap_or(0), more.as_u64().unwrap_or(0));
                    *known = if HIGHEST.contains(&&*name) { a.max(b) } else { a + b }.into();
                }
                (None, value) => drop(all.insert(name, value)),
            }
        }
    }
    Value::Object(all)
}

/// Numbers that are not added up: positions, and what all groups of a node share.
const HIGHEST: [&str; 4] = ["index", "revision", "cache_bytes", "memory_bytes"];

fn take_care(core: &Core, group: &Group, care: Care) -> Result<Value> {
    let machine = &group.machine;
    match care {
        Care::Flush => keeper::flush(core, group).map(|index| json!({ "index": index })),
        Care::Compact => {
            // By the keeper's way, so that the log hears of it.
            let index = keeper::flush(core, group)?;
            machine.compact().map(|()| json!({ "index": index }))
        }
        Care::Verify => report(machine),
        Care::Stats => machine.stats().map(|stats| figures(&stats)),
        Care::Middles => middle(core, group),
    }
}

/// Few rows may be in memtables only.
fn middle(core: &Core, group: &Group) -> Result<Value> {
    let mut found = group.machine.middle()?;
    if found.0.is_none() {
        keeper::flush(core, group)?;
        found = group.machine.middle()?;
    }
    let (key, bytes) = found;
    Ok(json!({ "groups": [{ "group": group.id, "bytes": bytes, "middle": key.map(|key| hex(&key)) }] }))
}

/// As `kvarts.base.types.Report`, bytes in hexadecimal.
fn report(machine: &Machine) -> Result<Value> {
    let report = machine.verify()?;
    let damage: Vec<Value> = report.damage.iter().map(place).collect();
    Ok(json!({ "files": report.files, "blocks": report.blocks, "bytes": report.bytes, "damage": damage }))
}

fn place(damage: &Damage) -> Value {
    json!({
        "file": damage.file.display().to_string(),
        "offset": damage.offset,
        "what": damage.what,
        "smallest": hex(&damage.smallest),
        "largest": hex(&damage.largest),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As `kvarts.base.types.Stats`.
fn figures(stats: &Stats) -> Value {
    let trees: Vec<Value> = stats
        .trees
        .iter()
        .map(|tree| {
            json!({
                "name": tree.name,
                "table_rows": tree.table_rows,
                "memtable_rows": tree.memtable_rows,
                "levels": tree.levels,
            })
        })
        .collect();
    json!({
        "revision": stats.revision,
        "table_bytes": stats.table_bytes,
        "log_bytes": stats.log_bytes,
        "memtable_bytes": stats.memtable_bytes,
        "cache_bytes": stats.cache_bytes,
        "index_bytes": stats.index_bytes,
        "memory_bytes": stats.memory_bytes,
        "cache_hits": stats.cache_hits,
        "cache_misses": stats.cache_misses,
        "user_bytes": stats.user_bytes,
        "flush_bytes": stats.flush_bytes,
        "compaction_bytes": stats.compaction_bytes,
        "flushes": stats.flushes,
        "compactions": stats.compactions,
        "syncs": stats.syncs,
        "stall_ns": stats.stall_ns,
        "snapshots": stats.snapshots,
        "keyspaces": trees,
    })
}
