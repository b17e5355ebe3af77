//! Digests of state machines, by which replicas are compared: begun where an entry says so, counted beside everything else.
//!
//! One is counted at a time on a node, by steps, and between two steps it rests for as long as the step took: half of one
//! processor at most. Results stay for a while, with the group, to be asked for.
use super::core::Core;
use super::group::Group;
use crate::machine::{Digest, Sum};
use kvarts_engine::sync::Mutex;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of rows that are counted at once.
const STEP_BYTES: usize = 1 << 20;
/// Results of a group that are kept.
const KEPT: usize = 8;

/// How far a digest is.
#[derive(Clone, Debug)]
enum State {
    Counting { bytes: u64 },
    Done(Sum),
    Failed(String),
}

/// The latest digests of a group, by the numbers that their entries gave them.
#[derive(Default)]
pub struct Checks(Mutex<VecDeque<(u64, State)>>);

impl Checks {
    fn note(&self, number: u64, state: State) {
        let mut all = self.0.lock();
        match all.iter_mut().find(|(known, _)| *known == number) {
            Some((_, known)) => *known = state,
            None => all.push_back((number, state)),
        }
        while all.len() > KEPT {
            all.pop_front();
        }
    }

    /// What is known of one: JSON with a `state`.
    pub fn told(&self, number: u64) -> Option<Value> {
        let all = self.0.lock();
        let (_, state) = all.iter().find(|(known, _)| *known == number)?;
        Some(match state {
            State::Counting { bytes } => json!({ "state": "counting", "bytes": bytes }),
            State::Failed(why) => json!({ "state": "failed", "why": why }),
            State::Done(sum) => json!({
                "state": "done",
                "index": sum.position.index,
                "term": sum.position.term,
                "rows": sum.rows,
                "bytes": sum.bytes,
                "digest": hex(&sum.digest),
            }),
        })
    }
}

/// Begins the digest of what a group has applied, on the thread that applies; the rest goes on elsewhere.
pub fn begin(core: &Core, group: &Arc<Group>, number: u64) {
    let digest = match group.machine.digest() {
        Ok(digest) => digest,
        Err(error) => return group.checks.note(number, State::Failed(error.to_string())),
    };
    group.checks.note(number, State::Counting { bytes: 0 });
    let (me, group) = (core.me(), Arc::clone(group));
    core.runtime.spawn(async move {
        let _turn = me.checking.lock().await;
        let state = count(&me, &group, number, digest).await.unwrap_or_else(State::Failed);
        group.checks.note(number, state);
    });
}

async fn count(core: &Core, group: &Group, number: u64, mut digest: Digest) -> Result<State, String> {
    loop {
        if !core.group(group.id).is_some_and(|held| std::ptr::eq(&*held, group)) {
            return Err("the node holds the replica no longer".to_owned());
        }
        let begun_ns = core.time.boot_ns();
        let step = tokio::task::spawn_blocking(move || {
            let more = digest.step(STEP_BYTES);
            (digest, more)
        });
        let (counted, more) = step.await.map_err(|_| "counting did not end well on this node".to_owned())?;
        if !more.map_err(|error| error.to_string())? {
            return Ok(State::Done(counted.finish()));
        }
        group.checks.note(number, State::Counting { bytes: counted.bytes() });
        digest = counted;
        tokio::time::sleep(Duration::from_nanos(core.time.boot_ns() - begun_ns)).await;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
