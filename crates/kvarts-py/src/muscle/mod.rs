//! The muscle of a node in Python's hands: numbers, bytes and tuples across; `kvarts.node.bridge` gives them meaning.
use crate::fault::{Fault, Outcome};
use crate::handle::{forked, forks};
use bytes::Bytes;
use kvarts_engine::fs::OsFs;
use kvarts_serve::muscle::{Care, Muscle as Native, OsTime};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

mod events;
mod settings;
mod turn;

/// The muscle of a node.
#[pyclass(frozen, weakref, module = "kvarts._native")]
pub struct Muscle {
    native: Arc<Native>,
    /// Forks of the process when it was made: in a child its threads do not exist, and nothing of it may run.
    forks: u64,
}

impl Muscle {
    fn native(&self) -> Outcome<&Native> {
        if forks() == self.forks { Ok(&self.native) } else { Err(forked()) }
    }
}

impl Drop for Muscle {
    fn drop(&mut self) {
        if forks() != self.forks {
            mem::forget(Arc::clone(&self.native));
            return;
        }
        // Threads are joined, and may want to answer: let other Python threads run.
        if Python::try_attach(|py| py.detach(|| self.native.stop())).is_none() {
            self.native.stop();
        }
    }
}

/// Term, index, kind, payload, size.
type SeenEntry<'py> = (u64, u64, u32, Option<Bound<'py, PyBytes>>, u32);

/// Key and value.
type SystemRow<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>);

#[pymethods]
impl Muscle {
    #[new]
    fn new(py: Python<'_>, config: &Bound<'_, PyDict>) -> Outcome<Self> {
        let config = settings::config_from(config)?;
        let native = py.detach(|| Native::open(Arc::new(OsFs), Arc::new(OsTime), config))?;
        Ok(Self { native: Arc::new(native), forks: forks() })
    }

    /// Listens, and serves from now on.
    fn start(&self, py: Python<'_>) -> Outcome<()> {
        let native = self.native()?;
        Ok(py.detach(|| native.start())?)
    }

    /// host:port that it listens at, or "" before `start`.
    #[getter]
    fn address(&self) -> Outcome<String> {
        Ok(self.native()?.address().map(|address| address.to_string()).unwrap_or_default())
    }

    /// (milliseconds of the clock, events): waits for the first event until the clock shows `until_ms`.
    fn poll<'py>(&self, py: Python<'py>, until_ms: u64) -> Outcome<(u64, Bound<'py, PyList>)> {
        let native = self.native()?;
        let (now_ms, polled) = py.detach(|| native.poll(until_ms));
        Ok((now_ms, events::to_python(py, polled)?))
    }

    /// Carries out a turn.
    fn perform(&self, py: Python<'_>, turn: &Bound<'_, PyAny>) -> Outcome<()> {
        let native = self.native()?;
        let turn = turn::from_python(turn)?;
        py.detach(|| native.perform(turn));
        Ok(())
    }

    /// Lets the poll under way, or the next one, return at once.
    fn wake(&self) -> Outcome<()> {
        self.native()?.wake();
        Ok(())
    }

    /// Answers a call with JSON.
    fn answer(&self, call_id: u64, answer: String) -> Outcome<()> {
        self.native()?.answer(call_id, answer);
        Ok(())
    }

    /// Refuses a call with the fields of an error.
    fn refuse(&self, call_id: u64, error: &Bound<'_, PyDict>) -> Outcome<()> {
        self.native()?.refuse(call_id, settings::error_from(error)?);
        Ok(())
    }

    /// Has all state machines do a verb of the desk ("flush", "compact", "verify", "stats"), and the call answered.
    fn care(&self, call_id: u64, verb: &str) -> Outcome<()> {
        let care = Care::of(verb).ok_or_else(|| Fault::invalid(format!("no care {verb:?}"), "see muscle::Care"))?;
        self.native()?.care(care, call_id);
        Ok(())
    }

    /// Says where nodes listen.
    fn set_peers(&self, peers: BTreeMap<u64, String>) -> Outcome<()> {
        self.native()?.set_peers(peers);
        Ok(())
    }

    /// Says which nodes were removed from the cluster.
    fn set_removed(&self, nodes: Vec<u64>) -> Outcome<()> {
        self.native()?.set_removed(nodes.into_iter().collect());
        Ok(())
    }

    /// Sends a word to another node; it may get lost.
    fn tell(&self, node: u64, word: &[u8]) -> Outcome<()> {
        self.native()?.tell(node, Bytes::copy_from_slice(word));
        Ok(())
    }

    /// Says who leads a group.
    fn set_role(&self, group: u64, role: &str, term: u64, leader: u64, leader_address: String) -> Outcome<()> {
        Ok(self.native()?.set_role(group, settings::role_of(role, term, leader, leader_address))?)
    }

    /// Groups that the node holds.
    fn groups(&self) -> Outcome<Vec<u64>> {
        Ok(self.native()?.groups())
    }

    /// Adds a group; without a membership it waits to be told by a leader.
    fn add_group(&self, py: Python<'_>, group: u64, membership: &[u8]) -> Outcome<()> {
        let native = self.native()?;
        Ok(py.detach(|| native.add_group(group, membership))?)
    }

    /// The same without waiting: an event says when it is there.
    fn open_group(&self, group: u64, membership: &[u8]) -> Outcome<()> {
        self.native()?.open_group(group, membership.to_vec());
        Ok(())
    }

    /// Says which shards there are: the version of their map, keyspaces as (id, ordered, partition, hash, shards), each shard
    /// as (id, start, epoch, voters), in order; and which keyspaces are to have some and have none yet.
    fn set_shards(&self, version: u64, keyspaces: Vec<settings::RawLine>, unready: Vec<u32>) -> Outcome<()> {
        self.native()?.set_shards(settings::shards_from(version, keyspaces, unready)?);
        Ok(())
    }

    /// JSON of a digest of a group's rows, or None.
    fn check(&self, group: u64, number: u64) -> Outcome<Option<String>> {
        Ok(self.native()?.check(group, number))
    }

    /// Measures shards, given with their keyspaces: an event tells of each how many bytes are its own, about, and at which token
    /// half of them end, where tables tell.
    fn measure(&self, groups: Vec<(u64, u32)>) -> Outcome<()> {
        self.native()?.measure(&groups);
        Ok(())
    }

    /// Keeps history from a time on (0: from now) for so long; returns the time.
    fn hold(&self, number: u64, since_ms: u64, for_ms: u64) -> Outcome<u64> {
        Ok(self.native()?.hold(number, since_ms, for_ms))
    }

    /// Unix milliseconds, by the node's clock.
    fn unix_ms(&self) -> Outcome<u64> {
        Ok(self.native()?.unix_ms())
    }

    /// Ends a hold.
    fn release(&self, number: u64) -> Outcome<()> {
        self.native()?.release(number);
        Ok(())
    }

    /// Fences this node's replica of a group.
    fn fence(&self, group: u64, why: String) -> Outcome<()> {
        self.native()?.fence(group, why);
        Ok(())
    }

    /// Replicas that are fenced, durably, with why.
    fn fences(&self) -> Outcome<BTreeMap<u64, String>> {
        Ok(self.native()?.fences())
    }

    /// Gives up a fenced replica with its files.
    fn lift_fence(&self, group: u64) -> Outcome<()> {
        self.native()?.lift_fence(group);
        Ok(())
    }

    /// (index, term) that the state machine has reached.
    fn position(&self, group: u64) -> Outcome<(u64, u64)> {
        Ok(self.native()?.position(group)?)
    }

    /// The membership there.
    fn membership<'py>(&self, py: Python<'py>, group: u64) -> Outcome<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.native()?.membership(group)?))
    }

    /// (term, vote, commit) as written last.
    fn hard_state(&self, group: u64) -> Outcome<Option<(u64, u64, u64)>> {
        Ok(self.native()?.hard_state(group).map(|hard| (hard.term, hard.vote, hard.commit)))
    }

    /// Index of the first entry kept.
    fn first_index(&self, group: u64) -> Outcome<u64> {
        Ok(self.native()?.first_index(group)?)
    }

    /// Index of the last entry.
    fn last_index(&self, group: u64) -> Outcome<u64> {
        Ok(self.native()?.last_index(group)?)
    }

    /// Term of an entry, or of the one before the first.
    fn term_at(&self, group: u64, index: u64) -> Outcome<Option<u64>> {
        Ok(self.native()?.term_at(group, index))
    }

    /// (term, index, kind, payload unless NORMAL, size) of entries within `bytes_max`, at least one.
    fn entries<'py>(
        &self,
        py: Python<'py>,
        group: u64,
        start: u64,
        stop: u64,
        bytes_max: u64,
    ) -> Outcome<Vec<SeenEntry<'py>>> {
        let native = self.native()?;
        let entries = py.detach(|| native.entries(group, start, stop, bytes_max))?;
        let seen = entries.into_iter().map(|(meta, payload)| {
            (meta.term, meta.index, meta.kind, payload.map(|payload| PyBytes::new(py, &payload)), meta.size)
        });
        Ok(seen.collect())
    }

    /// (index, term, membership) of the state that survives without the log.
    fn snapshot<'py>(&self, py: Python<'py>, group: u64) -> Outcome<Option<(u64, u64, Bound<'py, PyBytes>)>> {
        let snapshot = self.native()?.snapshot(group)?;
        Ok(snapshot.map(|(index, term, membership)| (index, term, PyBytes::new(py, &membership))))
    }

    /// A system row.
    fn system<'py>(&self, py: Python<'py>, group: u64, key: &[u8]) -> Outcome<Option<Bound<'py, PyBytes>>> {
        let native = self.native()?;
        Ok(py.detach(|| native.system(group, key))?.map(|value| PyBytes::new(py, &value)))
    }

    /// System rows under a prefix, by key.
    fn system_scan<'py>(&self, py: Python<'py>, group: u64, prefix: &[u8]) -> Outcome<Vec<SystemRow<'py>>> {
        let native = self.native()?;
        let rows = py.detach(|| native.system_scan(group, prefix))?;
        Ok(rows.into_iter().map(|(key, value)| (PyBytes::new(py, &key), PyBytes::new(py, &value))).collect())
    }

    /// Puts a state machine on disk; returns the index that it holds.
    fn flush(&self, py: Python<'_>, group: u64) -> Outcome<u64> {
        let native = self.native()?;
        Ok(py.detach(|| native.flush(group))?)
    }

    /// Counters and gauges by name.
    fn stats<'py>(&self, py: Python<'py>) -> Outcome<Bound<'py, PyDict>> {
        let stats = PyDict::new(py);
        for (name, value) in self.native()?.figures() {
            stats.set_item(name, value)?;
        }
        Ok(stats)
    }

    /// All figures in the text format of Prometheus.
    fn metrics_text(&self) -> Outcome<String> {
        Ok(self.native()?.metrics_text())
    }

    /// Ends everything; whoever waits is answered. Does nothing the second time.
    fn stop(&self, py: Python<'_>) -> Outcome<()> {
        let native = self.native()?;
        py.detach(|| native.stop());
        Ok(())
    }
}
