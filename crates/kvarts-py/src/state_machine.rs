//! A machine in memory, for tests that compare it with its model in Python.
use crate::fault::{Fault, Outcome};
use kvarts_engine::fs::{Fs, MemFs};
use kvarts_engine::options::Options;
use kvarts_engine::sync::Mutex;
use kvarts_serve::machine::{Error, Machine, MachineOptions, encode_payload};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::path::Path;
use std::sync::Arc;

/// Where it lies in its own memory.
const DIR: &str = "/shard";

/// Key, value, revision.
type Row<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>, u64);

/// A machine in memory. It has no threads: a full memtable is flushed by the call that filled it.
#[pyclass(frozen, module = "kvarts._native")]
pub struct StateMachine {
    fs: Arc<dyn Fs>,
    memtable_bytes: usize,
    machine: Mutex<Machine>,
}

impl StateMachine {
    fn open(fs: &Arc<dyn Fs>, memtable_bytes: usize) -> Outcome<Machine> {
        let engine = Options {
            background: false,
            memory_bytes: 4 << 20,
            memtable_bytes,
            block_bytes: 256,
            table_bytes: 4 << 10,
            level_base_bytes: 16 << 10,
            level0_tables: 2,
            ..Options::default()
        };
        let options = MachineOptions { engine, ..MachineOptions::default() };
        Machine::open(Arc::clone(fs), Path::new(DIR), options).map_err(fault)
    }
}

#[pymethods]
impl StateMachine {
    #[new]
    #[pyo3(signature = (*, memtable_bytes=65536))]
    fn new(memtable_bytes: usize) -> Outcome<Self> {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::volatile());
        let machine = Mutex::new(Self::open(&fs, memtable_bytes)?);
        Ok(Self { fs, memtable_bytes, machine })
    }

    /// Applies the next entry: encoded commands, stamped by the leader. Returns encoded results.
    fn apply<'py>(&self, py: Python<'py>, stamp_us: u64, commands: Vec<Vec<u8>>) -> Outcome<Vec<Bound<'py, PyBytes>>> {
        let payload = encode_payload(stamp_us, commands.iter().map(Vec::as_slice));
        let results = py.detach(|| {
            let machine = self.machine.lock();
            machine.apply(machine.position().index + 1, 1, &payload.into()).map_err(fault)
        })?;
        Ok(results.iter().map(|result| PyBytes::new(py, &kvarts_serve::machine::encode_result(result))).collect())
    }

    /// Key, value and revision of each row of a keyspace, in the order of keys, by the time of the last entry.
    fn rows<'py>(&self, py: Python<'py>, keyspace: u32) -> Outcome<Vec<Row<'py>>> {
        let rows = py.detach(|| self.machine.lock().rows(keyspace)).map_err(fault)?;
        Ok(rows
            .into_iter()
            .map(|(key, value, revision)| (PyBytes::new(py, &key), PyBytes::new(py, &value), revision))
            .collect())
    }

    /// Puts all rows into tables.
    fn flush(&self, py: Python<'_>) -> Outcome<()> {
        py.detach(|| self.machine.lock().flush()).map(|_| ()).map_err(fault)
    }

    /// Rewrites all rows.
    fn compact(&self, py: Python<'_>) -> Outcome<()> {
        py.detach(|| self.machine.lock().compact()).map_err(fault)
    }

    /// Closes it and opens it again.
    fn reopen(&self, py: Python<'_>) -> Outcome<()> {
        py.detach(|| {
            let mut machine = self.machine.lock();
            machine.close().map_err(fault)?;
            *machine = Self::open(&self.fs, self.memtable_bytes)?;
            Ok(())
        })
    }
}

fn fault(error: Error) -> Fault {
    match error {
        Error::Engine(error) => Fault::Engine(error),
        other => Fault::invalid(other.to_string(), ""),
    }
}
