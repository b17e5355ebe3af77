//! What the tests of the node log share: a directory in memory, and short ways to write a turn.
use super::*;
use kvarts_engine::fs::{Fs, MemFs};
use std::path::Path;
use std::sync::Arc;

mod crashes;
mod damage;
mod lying;
mod model;
mod reading;
mod rotation;

const NODE: [u8; 16] = *b"the tested node!";
const GROUP: u64 = 1;

fn dir() -> &'static Path {
    Path::new("/node/log")
}

/// A file system with the node's directory in it, durable.
fn node() -> MemFs {
    let fs = MemFs::new();
    fs.create_dir(Path::new("/node")).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

fn small() -> NodeLogOptions {
    NodeLogOptions { log_bytes: 4096, cache_bytes: 1 << 20 }
}

fn open(fs: &MemFs, options: NodeLogOptions) -> Result<NodeLog> {
    NodeLog::open(Arc::new(fs.clone()), dir(), NODE, options)
}

/// A log with one group that begins at (0, 0).
fn opened(fs: &MemFs, options: NodeLogOptions) -> NodeLog {
    let log = open(fs, options).unwrap();
    log.add_group(GROUP, 0, 0).unwrap();
    log
}

fn payload(index: u64, term: u64, bytes: usize) -> Bytes {
    let mut payload = format!("{index}@{term}:").into_bytes();
    payload.resize(bytes.max(payload.len()), (index * 31 + term) as u8);
    Bytes::from(payload)
}

fn entry(index: u64, term: u64, bytes: usize) -> (EntryMeta, Bytes) {
    let payload = payload(index, term, bytes);
    (EntryMeta { term, index, kind: (index % 3) as u32, size: payload.len() as u32 }, payload)
}

/// Entries `indexes` of one term, with payloads of `bytes` bytes.
fn entries(group: u64, indexes: std::ops::RangeInclusive<u64>, term: u64, bytes: usize) -> GroupWrite {
    GroupWrite { group, entries: indexes.map(|index| entry(index, term, bytes)).collect(), ..Default::default() }
}

/// Index and term of every entry that is kept, each with its payload checked.
fn kept(log: &NodeLog, group: u64) -> Vec<(u64, u64)> {
    let (first, last) = (log.first_index(group).unwrap(), log.last_index(group).unwrap());
    let metas = log.metas(group, first, last + 1, u64::MAX);
    assert_eq!(metas.len() as u64, last + 1 - first, "no hole");
    for meta in &metas {
        let found = log.payload(group, meta.index).unwrap();
        assert_eq!(found, payload(meta.index, meta.term, meta.size as usize), "{meta:?}");
        assert_eq!((meta.kind, log.term_at(group, meta.index)), ((meta.index % 3) as u32, Some(meta.term)));
    }
    metas.iter().map(|meta| (meta.index, meta.term)).collect()
}

fn sync(log: &NodeLog, write: GroupWrite) {
    let end = log.append(&[write]).unwrap();
    log.sync_to(end).unwrap();
}
