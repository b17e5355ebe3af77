//! What the tests share: machines so small that a few entries reach tables, and commands in few words.
use bytes::Bytes;
use kvarts_engine::fs::{Fs, MemFs};
use kvarts_engine::options::Options;
use kvarts_serve::machine::{Machine, MachineOptions, Result, encode_payload};
use kvarts_wire::v1;
use kvarts_wire::v1::operation::Kind as Step;
use prost::Message;
use std::path::Path;
use std::sync::Arc;

/// Where the machines of these tests lie.
pub const DIR: &str = "/shard";
/// Where they put their keys.
pub const KEYSPACE: u32 = 3;
/// Milliseconds that history is kept.
pub const RETENTION_MS: u64 = 1_000;

pub fn options() -> MachineOptions {
    let engine = Options {
        background: false,
        memory_bytes: 1 << 20,
        memtable_bytes: 16 << 10,
        block_bytes: 256,
        table_bytes: 4 << 10,
        level_base_bytes: 16 << 10,
        level_growth: 3,
        level0_tables: 2,
        ..Options::default()
    };
    MachineOptions { engine, retention_ms: RETENTION_MS, holder: "test".to_owned(), ..MachineOptions::default() }
}

pub fn open(fs: &MemFs) -> Result<Machine> {
    open_at(fs, DIR)
}

pub fn open_at(fs: &MemFs, dir: &str) -> Result<Machine> {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    Machine::open(fs, Path::new(dir), options())
}

pub fn put(key: &str, value: &str) -> v1::Operation {
    put_for(key, value, 0)
}

pub fn put_for(key: &str, value: &str, ttl_ms: u64) -> v1::Operation {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    v1::Operation {
        kind: Some(Step::Put(v1::Put { keyspace: KEYSPACE, key, value, ttl_ms, condition: None, keep_ttl: false })),
    }
}

pub fn incr(key: &str) -> v1::Operation {
    let key = Bytes::copy_from_slice(key.as_bytes());
    v1::Operation { kind: Some(Step::Incr(v1::Incr { keyspace: KEYSPACE, key, by: 1, ..Default::default() })) }
}

pub fn command(operations: Vec<v1::Operation>) -> v1::Command {
    v1::Command { operations, ..Default::default() }
}

pub fn special(special: v1::command::Special) -> v1::Command {
    v1::Command { special: Some(special), ..Default::default() }
}

pub fn payload(stamp_us: u64, commands: &[v1::Command]) -> Bytes {
    let encoded: Vec<Vec<u8>> = commands.iter().map(Message::encode_to_vec).collect();
    encode_payload(stamp_us, encoded.iter().map(Vec::as_slice)).into()
}

/// Applies the next entry.
pub fn apply(machine: &Machine, stamp_us: u64, commands: &[v1::Command]) -> Vec<v1::Result> {
    machine.apply(machine.position().index + 1, 1, &payload(stamp_us, commands)).unwrap()
}

/// Applies one put as the next entry and returns its revision.
pub fn apply_put(machine: &Machine, stamp_us: u64, key: &str, value: &str) -> u64 {
    apply(machine, stamp_us, &[command(vec![put(key, value)])])[0].revision
}

pub fn get_request(keys: &[&str], freshness: Option<v1::Freshness>) -> v1::GetRequest {
    let keys = keys.iter().map(|key| Bytes::copy_from_slice(key.as_bytes())).collect();
    v1::GetRequest { keyspace: KEYSPACE, keys, freshness, ..v1::GetRequest::default() }
}

/// The newest value of a key.
pub fn get(machine: &Machine, key: &str) -> Option<String> {
    get_at(machine, key, None, 0).unwrap()
}

pub fn get_at(machine: &Machine, key: &str, pin: Option<(u64, u64)>, now_ms: u64) -> Result<Option<String>> {
    let freshness = pin.map(|(revision, now_ms)| v1::Freshness { revision, now_ms, ..Default::default() });
    let response = machine.get(&get_request(&[key], freshness), now_ms)?;
    let row = &response.rows[0];
    Ok(row.found.then(|| String::from_utf8(row.value.to_vec()).unwrap()))
}

/// A row as text.
pub type TextRow = (String, String, u64);

/// All rows of the keyspace.
pub fn rows(machine: &Machine) -> Vec<TextRow> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    machine.rows(KEYSPACE).unwrap().into_iter().map(|(key, value, at)| (text(key), text(value), at)).collect()
}

/// A stream of choices made from a seed (splitmix64).
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
