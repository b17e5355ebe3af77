//! Calls that Python answers: status, keyspaces, membership.
use super::pending::Answer;
use super::refusal;
use kvarts_engine::sync::Mutex;
use kvarts_wire::v1;
use std::collections::HashMap;
use std::mem;
use std::time::Instant;

#[derive(Default)]
struct Table {
    last: u64,
    waiting: HashMap<u64, (Answer<String>, Instant)>,
}

/// Calls under way.
#[derive(Default)]
pub struct Calls {
    table: Mutex<Table>,
}

impl Calls {
    /// Keeps a call, and returns its number.
    pub fn keep(&self, answer: Answer<String>, deadline: Instant) -> u64 {
        let mut table = self.table.lock();
        table.last += 1;
        let id = table.last;
        table.waiting.insert(id, (answer, deadline));
        id
    }

    /// Answers a call; one that is over already stays so.
    pub fn settle(&self, id: u64, outcome: Result<String, v1::Error>) {
        let waiting = self.table.lock().waiting.remove(&id);
        if let Some((answer, _)) = waiting {
            answer.give(outcome);
        }
    }

    /// Refuses calls whose time is over. Returns how many.
    pub fn expire(&self, now: Instant) -> usize {
        let late: Vec<_> = self.table.lock().waiting.extract_if(|_, (_, deadline)| *deadline <= now).collect();
        let count = late.len();
        for (_, (answer, _)) in late {
            answer.refuse(refusal::commit_unknown("not answered in time"));
        }
        count
    }

    /// Refuses all.
    pub fn give_up(&self, message: &str) {
        for (answer, _) in mem::take(&mut self.table.lock().waiting).into_values() {
            answer.refuse(refusal::commit_unknown(message));
        }
    }
}
