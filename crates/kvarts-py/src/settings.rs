//! Options and clock from Python.
use crate::fault::{Fault, Outcome};
use kvarts_engine::clock;
use kvarts_engine::options::{Durability, Options};
use kvarts_formats::compress::{ByLevel, Compression};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::Arc;

/// A clock that stands still until it is told to move: for tests of what expires.
#[pyclass(frozen, module = "kvarts._native")]
pub struct ManualClock {
    /// What the engine reads.
    pub clock: Arc<clock::ManualClock>,
}

#[pymethods]
impl ManualClock {
    #[new]
    fn new(unix_ms: u64) -> Self {
        Self { clock: Arc::new(clock::ManualClock::new(unix_ms)) }
    }

    /// Moves the clock forward.
    fn advance_ms(&self, by_ms: u64) {
        self.clock.advance_ms(by_ms);
    }
}

/// Reads the options that `kvarts.base.options` has checked.
pub fn options_from(given: &Bound<'_, PyDict>) -> Outcome<Options> {
    let mut options = Options::default();
    for (name, value) in given {
        match name.extract::<&str>()? {
            "mode" => options.read_only = value.extract::<&str>()? == "r",
            "create" => options.create = value.extract()?,
            "fix_permissions" => options.fix_permissions = value.extract()?,
            "durability" => options.durability = durability(value.extract()?)?,
            "memory" => options.memory_bytes = value.extract()?,
            "memtable_bytes" => options.memtable_bytes = value.extract()?,
            "block_bytes" => options.block_bytes = value.extract()?,
            "table_bytes" => options.table_bytes = value.extract()?,
            "level_base_bytes" => options.level_base_bytes = value.extract()?,
            "level_growth" => options.level_growth = value.extract()?,
            "level0_tables" => options.level0_tables = value.extract()?,
            "filter_bits" => options.filter_bits = value.extract()?,
            "compression" => options.compression = compression(&value.extract::<Vec<String>>()?)?,
            "log_bytes" => options.log_bytes = value.extract()?,
            "sync_interval_ms" => options.sync_interval_ms = value.extract()?,
            "scrub_bytes_per_s" => options.scrub_bytes_per_s = value.extract()?,
            "background" => options.background = value.extract()?,
            other => return Err(Fault::invalid(format!("the engine has no option {other}"), "")),
        }
    }
    Ok(options)
}

fn durability(name: &str) -> Outcome<Durability> {
    match name {
        "sync" => Ok(Durability::Sync),
        "batch" => Ok(Durability::Batch),
        "none" => Ok(Durability::None),
        _ => Err(Fault::invalid(format!("durability={name:?}"), "sync, batch or none")),
    }
}

/// Reads the names of compressions, one for each level.
pub fn compression(names: &[String]) -> Outcome<ByLevel> {
    let levels: Result<Vec<Compression>, ()> = names.iter().map(|name| name.parse()).collect();
    let levels = levels.ok().and_then(ByLevel::new);
    levels.ok_or_else(|| Fault::invalid(format!("compression={names:?}"), "none, lz4, zstd or zstd:1 to zstd:19"))
}

/// Names of the compressions of a tree that says them for itself.
pub fn names_of(compression: Option<&ByLevel>) -> Option<Vec<String>> {
    compression.map(|levels| levels.as_slice().iter().map(ToString::to_string).collect())
}
