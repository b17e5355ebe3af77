//! Settings, roles and refusals from Python.
use crate::fault::{Fault, Outcome};
use kvarts_formats::shards::{Line, Map, Shard, Space};
use kvarts_serve::muscle::{Config, Known, Role};
use kvarts_wire::v1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::PathBuf;

/// Reads the settings of a muscle. Errors: `InvalidArgument` for one that is unknown, missing or cannot be.
pub fn config_from(given: &Bound<'_, PyDict>) -> Outcome<Config> {
    let needed = |name: &str| {
        given.get_item(name)?.ok_or_else(|| Fault::invalid(format!("a muscle needs {name:?}"), "see _native.pyi"))
    };
    let data: PathBuf = needed("data")?.extract()?;
    let cluster = bytes_of_hex(needed("cluster_id")?.extract()?)?;
    let mut config = Config::new(data, needed("node_id")?.extract()?, cluster);
    for (name, value) in given {
        match name.extract::<&str>()? {
            "data" | "node_id" | "cluster_id" => {}
            "listen" => config.listen = value.extract()?,
            "features" => config.features = value.extract()?,
            "memory" => config.memory_bytes = value.extract()?,
            "workers" => config.workers = value.extract()?,
            "durable" => config.durable = value.extract()?,
            "request_timeout_ms" => config.request_timeout_ms = value.extract()?,
            "requests_max" => config.requests_max = value.extract()?,
            "handle_bytes_max" => config.handle_bytes_max = value.extract()?,
            "command_bytes_max" => config.command_bytes_max = value.extract()?,
            "entry_bytes_max" => config.entry_bytes_max = value.extract()?,
            "flush_bytes" => config.flush_bytes = value.extract()?,
            "flush_entries" => config.flush_entries = value.extract()?,
            other => return Err(Fault::invalid(format!("a muscle has no setting {other}"), "see _native.pyi")),
        }
    }
    Ok(config)
}

fn bytes_of_hex(text: &str) -> Outcome<Vec<u8>> {
    let refused = || Fault::invalid(format!("cluster_id={text:?}"), "an even number of hexadecimal digits");
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return Err(refused());
    }
    let pairs = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
    pairs.collect::<Result<_, _>>().map_err(|_| refused())
}

/// Keyspace, ordered, partition, hash, shards: each with id, start, epoch, voters.
pub type RawLine = (u32, bool, String, u32, Vec<RawShard>);
type RawShard = (u64, Vec<u8>, u64, Vec<u64>);

/// Reads a shard map. Errors: `InvalidArgument` for shards that do not cover their keyspace.
pub fn shards_from(version: u64, keyspaces: Vec<RawLine>, unready: Vec<u32>) -> Outcome<Known> {
    let mut map = Map { version, ..Map::default() };
    for (keyspace, ordered, partition, hash, shards) in keyspaces {
        let shards = shards.into_iter().map(|(id, start, epoch, voters)| Shard { id, start, epoch, voters });
        let line = Space::parse(ordered, &partition, hash).and_then(|space| Line::new(space, shards.collect()));
        let Some(line) = line else {
            return Err(Fault::invalid(format!("the shards of keyspace {keyspace}"), "see kvarts.shardmap"));
        };
        map.lines.insert(keyspace, line);
    }
    Ok(Known { map, unready: unready.into_iter().collect() })
}

/// The role that Python names as `kvarts.raft.messages.Role` does, in lower case.
pub fn role_of(role: &str, term: u64, leader_id: u64, leader_address: String) -> Role {
    Role { leads: role == "leader", term, leader_id, leader_address }
}

/// Reads the fields of an error; those that are absent keep their default.
pub fn error_from(given: &Bound<'_, PyDict>) -> Outcome<v1::Error> {
    let mut error = v1::Error::default();
    for (name, value) in given {
        match name.extract::<&str>()? {
            "code" => error.code = value.extract()?,
            "kind" => error.kind = value.extract()?,
            "message" => error.message = value.extract()?,
            "hint" => error.hint = value.extract()?,
            "retryable" => error.retryable = value.extract()?,
            "maybe_applied" => error.maybe_applied = value.extract()?,
            "leader_id" => error.leader_id = value.extract()?,
            "leader_address" => error.leader_address = value.extract()?,
            other => return Err(Fault::invalid(format!("an error has no field {other}"), "see kvarts.v1.Error")),
        }
    }
    Ok(error)
}
