//! Recent payloads in memory: the last ones appended, up to so many bytes.
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};

/// What an entry costs beyond its payload: key, place in the queue, handle.
const OVERHEAD_BYTES: usize = 128;

/// Stale turns in the queue that are borne before it is swept.
const STALE_MIN: usize = 1024;

/// Recent payloads by group and index. The oldest go first.
pub(super) struct Recent {
    bytes_max: usize,
    bytes: usize,
    /// Of appends so far: tells a payload from one that stood at its index before.
    serial: u64,
    payloads: HashMap<(u64, u64), (u64, Bytes)>,
    /// In the order of appends; those whose payload is gone or another are skipped.
    order: VecDeque<(u64, (u64, u64))>,
}

impl Recent {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, serial: 0, payloads: HashMap::new(), order: VecDeque::new() }
    }

    /// Bytes kept, with what keeping them costs.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, group: u64, index: u64) -> Option<Bytes> {
        self.payloads.get(&(group, index)).map(|(_, payload)| payload.clone())
    }

    pub(super) fn put(&mut self, group: u64, index: u64, payload: Bytes) {
        self.remove(group, index);
        let cost = payload.len() + OVERHEAD_BYTES;
        if cost > self.bytes_max {
            return;
        }
        self.serial += 1;
        self.bytes += cost;
        self.payloads.insert((group, index), (self.serial, payload));
        self.order.push_back((self.serial, (group, index)));
        while self.bytes > self.bytes_max {
            let Some((serial, key)) = self.order.pop_front() else { break };
            if self.is_current(serial, key) {
                self.remove(key.0, key.1);
            }
        }
        if self.order.len() > 2 * self.payloads.len() + STALE_MIN {
            let order = std::mem::take(&mut self.order);
            self.order = order.into_iter().filter(|&(serial, key)| self.is_current(serial, key)).collect();
        }
    }

    pub(super) fn remove(&mut self, group: u64, index: u64) {
        if let Some((_, payload)) = self.payloads.remove(&(group, index)) {
            self.bytes -= payload.len() + OVERHEAD_BYTES;
        }
    }

    fn is_current(&self, serial: u64, key: (u64, u64)) -> bool {
        self.payloads.get(&key).is_some_and(|&(current, _)| current == serial)
    }
}
