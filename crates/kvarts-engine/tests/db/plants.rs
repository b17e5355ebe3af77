//! Canaries of the crash model: with one sync left out, a crash must break a promise, and the scenario must see it.
use crate::crash::run;
use crate::meddled::{Meddle, SyncOf};

/// A fault planted in the file system under a store: each of the kinds below leaves one kind of sync out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// All is as it should be.
    None,
    /// The header of a log is not durable when its name is told.
    LogHeader,
    /// The name of a log is not durable when the log is used.
    LogName,
    /// The log that is appended to is never durable.
    NewestLog,
    /// A log that rotation ended is not made durable before later ones are.
    EndedLog,
    /// The rows of a flushed memtable are not durable in the log when a manifest names its table.
    LogOfFlush,
    /// A table is not durable when a manifest names it.
    Table,
    /// A table has no durable name when a manifest names it.
    TableName,
    /// A manifest is renamed before its bytes are durable.
    Manifest,
    /// The rename of a manifest is not durable when the old files go.
    ManifestName,
    /// The directory of the store has no durable name.
    StoreName,
}

impl Plant {
    /// Every fault that a crash must bring to light.
    const ALL: [Self; 10] = [
        Self::LogHeader,
        Self::LogName,
        Self::NewestLog,
        Self::EndedLog,
        Self::LogOfFlush,
        Self::Table,
        Self::TableName,
        Self::Manifest,
        Self::ManifestName,
        Self::StoreName,
    ];

    /// The sync that is left out.
    fn left_out(self) -> Option<SyncOf> {
        Some(match self {
            Self::None => return None,
            Self::LogHeader => SyncOf::LogHeader,
            Self::LogName => SyncOf::LogName,
            Self::NewestLog => SyncOf::NewestLog,
            Self::EndedLog => SyncOf::EndedLog,
            Self::LogOfFlush => SyncOf::LogOfFlush,
            Self::Table => SyncOf::Table,
            Self::TableName => SyncOf::TableName,
            Self::Manifest => SyncOf::Manifest,
            Self::ManifestName => SyncOf::ManifestName,
            Self::StoreName => SyncOf::StoreName,
        })
    }
}

impl Meddle for Plant {
    fn skips(&self, sync: SyncOf) -> bool {
        self.left_out() == Some(sync)
    }
}

/// Seeds within which every fault is found, and none without one.
const SEEDS: u64 = 500;

#[test]
fn every_planted_fault_is_found() {
    println!("{:<13} {:>5}  violation", "plant", "seed");
    let mut missed = Vec::new();
    for plant in Plant::ALL {
        match (0..SEEDS).find_map(|seed| run(seed, plant).err().map(|broken| (seed, broken))) {
            Some((seed, broken)) => {
                println!("{:<13} {seed:>5}  {}", format!("{plant:?}"), broken.lines().next().unwrap_or_default());
            }
            None => missed.push(plant),
        }
    }
    assert!(missed.is_empty(), "{SEEDS} seeds found nothing wrong with {missed:?}");
}

#[test]
fn nothing_is_found_where_nothing_is_planted() {
    for seed in 0..SEEDS {
        assert_eq!(run(seed, Plant::None), Ok(()), "seed {seed}");
    }
}
