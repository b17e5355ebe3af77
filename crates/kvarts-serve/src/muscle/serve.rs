//! Answering reads from a state machine.
use super::core::Core;
use super::group::Group;
use super::reads::{Ask, ReadBatch, WaitingRead};
use super::refusal;
use kvarts_wire::v1;
use std::sync::Arc;

/// Answers confirmed reads on a thread for connections: they may touch the disk.
pub fn later(core: &Core, group: &Arc<Group>, batch: ReadBatch) {
    if batch.is_empty() {
        return;
    }
    let (me, group) = (core.me(), Arc::clone(group));
    core.runtime.spawn(async move {
        for read in batch {
            let now_ns = me.time.boot_ns();
            me.stats.read.note(now_ns.saturating_sub(match &read.ask {
                Ask::Get(_, answer) => answer.since_ns,
                Ask::Scan(_, answer) => answer.since_ns,
            }));
            now(&me, &group, read.ask);
        }
    });
}

/// Answers a read here and now.
pub fn now(core: &Core, group: &Group, ask: Ask) {
    let now_ms = core.time.unix_us() / 1_000;
    match ask {
        Ask::Get(request, answer) => {
            answer.give(group.machine.get(&request, now_ms).map_err(|error| refusal::of_machine(&error)));
        }
        Ask::Scan(request, answer) => {
            let stale = request.freshness.is_some_and(|fresh| fresh.level() == v1::freshness::Level::Stale);
            // The map may know of a split that this replica has yet to reach.
            let cut = if stale { core.routes.known().range_of(request.keyspace, group.id) } else { None };
            let page = group.machine.scan_page_within(&request, cut.as_ref(), now_ms);
            answer.give(page.map_err(|error| refusal::of_machine(&error)));
        }
    }
}

/// Answers a read without a round if a gate lets it: the state first, then the clock. Gives it back otherwise.
pub fn under_gate(core: &Core, group: &Group, read: WaitingRead) -> Option<WaitingRead> {
    if group.gate_ms() <= core.time.boot_ms() {
        return Some(read);
    }
    // After the time: whoever sees a gate open sees the index that it was opened with, or a later one.
    let index = group.gate_index();
    let WaitingRead { ask, deadline } = group.reads.wait(read, index, || group.applied())?;
    let now_ms = core.time.unix_us() / 1_000;
    match ask {
        Ask::Get(request, answer) => {
            let outcome = group.machine.get(&request, now_ms);
            if group.gate_ms() <= core.time.boot_ms() {
                return Some(WaitingRead { ask: Ask::Get(request, answer), deadline });
            }
            answer.give(outcome.map_err(|error| refusal::of_machine(&error)));
        }
        Ask::Scan(request, answer) => {
            let outcome = group.machine.scan_page(&request, now_ms);
            if group.gate_ms() <= core.time.boot_ms() {
                return Some(WaitingRead { ask: Ask::Scan(request, answer), deadline });
            }
            answer.give(outcome.map_err(|error| refusal::of_machine(&error)));
        }
    }
    None
}
