//! What clients and peers send: commands, requests, messages between nodes, and entries that a machine applies.
use crate::Verdict;
use bytes::Bytes;
use kvarts_engine::fs::{Fs, MemFs};
use kvarts_engine::options::Options;
use kvarts_serve::machine::{Machine, MachineOptions, check_command, check_get, check_scan, encode_payload};
use kvarts_wire::v1;
use kvarts_wire::v1::command::Special;
use kvarts_wire::v1::operation::Kind as Step;
use prost::Message;
use std::path::Path;
use std::sync::Arc;

const KEYSPACE: u32 = 3;

fn commands() -> Vec<v1::Command> {
    let put = |key: &'static str, value: &'static str| {
        Step::Put(v1::Put { keyspace: KEYSPACE, key: key.into(), value: value.into(), ..Default::default() })
    };
    let expiring = Step::Put(v1::Put {
        keyspace: KEYSPACE,
        key: "e".into(),
        value: "7".into(),
        ttl_ms: 5,
        condition: Some(v1::Condition::default()),
        keep_ttl: false,
    });
    let incr = Step::Incr(v1::Incr { keyspace: KEYSPACE, key: "n".into(), by: 1, ..Default::default() });
    let delete = Step::Delete(v1::Delete { keyspace: KEYSPACE, key: "a".into(), ..Default::default() });
    let range = Step::DeleteRange(v1::DeleteRange { keyspace: KEYSPACE, start: "a".into(), ..Default::default() });
    let steps = [put("a", "1"), expiring, incr, delete, range, put("b", "22")];
    let operations = |steps: &[Step]| steps.iter().map(|step| v1::Operation { kind: Some(step.clone()) }).collect();
    let fence = v1::Fence { lock: "lock".into(), token: 1 };
    vec![
        v1::Command { special: Some(Special::OpenSession(v1::OpenSession::default())), ..Default::default() },
        v1::Command { special: Some(Special::DropSessions(v1::DropSessions { keep: 2 })), ..Default::default() },
        v1::Command { special: Some(Special::MoveLock(v1::MoveLock { lock: "lock".into() })), ..Default::default() },
        v1::Command { operations: operations(&steps), ..Default::default() },
        v1::Command { session: 1, operations: operations(&steps[2..3]), fence: Some(fence), ..Default::default() },
    ]
}

pub fn command_seeds() -> Vec<Vec<u8>> {
    let get = v1::GetRequest { keyspace: KEYSPACE, keys: vec!["a".into(), "b".into()], ..Default::default() };
    let scan = v1::ScanRequest { keyspace: KEYSPACE, start: "a".into(), stop: "z".into(), ..Default::default() };
    let tagged = |tag: u8, bytes: Vec<u8>| [&[tag][..], &bytes].concat();
    let commands = commands().into_iter().map(|command| tagged(0, command.encode_to_vec()));
    commands.chain([tagged(1, get.encode_to_vec()), tagged(2, scan.encode_to_vec())]).collect()
}

/// What a client sends is decoded and checked; what was decoded is encoded to something that means the same.
pub fn command(input: &[u8]) -> Verdict {
    let (tag, body) = input.split_first().unwrap_or((&0, &[]));
    let body = Bytes::copy_from_slice(body);
    match tag % 3 {
        0 => decoded(body, |command: &v1::Command| check_command(command).map_err(|error| error.to_string())),
        1 => decoded(body, |get: &v1::GetRequest| check_get(get).map_err(|error| error.to_string())),
        _ => decoded(body, |scan: &v1::ScanRequest| check_scan(scan).map_err(|error| error.to_string())),
    }
}

pub fn peer_seeds() -> Vec<Vec<u8>> {
    let entry = v1::PeerEntry { term: 2, index: 7, kind: 1, payload: "payload".into() };
    let snapshot = v1::SnapshotMark { index: 5, term: 2, membership: "{}".into() };
    let message = v1::PeerMessage {
        group: 1,
        kind: 3,
        to: 2,
        sender: 1,
        term: 2,
        entries: vec![entry.clone(), entry],
        snapshot: Some(snapshot),
        ..Default::default()
    };
    let batch = v1::PeerBatch { messages: vec![message.clone(), v1::PeerMessage::default()] };
    let chunk = v1::SnapshotChunk {
        message: Some(message),
        file: "000001.table".into(),
        data: "data".into(),
        last: true,
        crc: 77,
        files: 3,
    };
    let tagged = |tag: u8, bytes: Vec<u8>| [&[tag][..], &bytes].concat();
    vec![tagged(0, batch.encode_to_vec()), tagged(1, chunk.encode_to_vec())]
}

/// What a peer sends is decoded.
pub fn peer(input: &[u8]) -> Verdict {
    let (tag, body) = input.split_first().unwrap_or((&0, &[]));
    let body = Bytes::copy_from_slice(body);
    if tag % 2 == 0 { decoded(body, |_: &v1::PeerBatch| Ok(())) } else { decoded(body, |_: &v1::SnapshotChunk| Ok(())) }
}

fn decoded<M: Message + Default + PartialEq>(body: Bytes, check: impl Fn(&M) -> Result<(), String>) -> Verdict {
    let message = match M::decode(body) {
        Ok(message) => message,
        // What went wrong stands behind the path of fields that led there.
        Err(error) => return plain(error.to_string().rsplit(": ").next().unwrap_or_default()),
    };
    assert!(M::decode(&message.encode_to_vec()[..]).is_ok_and(|again| again == message), "a message means one thing");
    match check(&message) {
        Ok(()) => "ok".to_owned(),
        Err(refused) => plain(&refused),
    }
}

pub fn payload_seeds() -> Vec<Vec<u8>> {
    let encoded: Vec<Vec<u8>> = commands().iter().map(Message::encode_to_vec).collect();
    let all = encode_payload(1_700_000_000_000_000, encoded.iter().map(Vec::as_slice));
    let one = encode_payload(7, [encoded[3].as_slice()]);
    vec![all, one, encode_payload(0, []), Vec::new()]
}

/// An entry is applied, or refused without a trace; the machine goes on.
pub fn apply(input: &[u8]) -> Verdict {
    let engine = Options { background: false, memory_bytes: 1 << 20, memtable_bytes: 16 << 10, ..Options::default() };
    let options =
        MachineOptions { engine, retention_ms: 1_000, holder: "fuzz".to_owned(), ..MachineOptions::default() };
    let fs: Arc<dyn Fs> = Arc::new(MemFs::default());
    let machine = Machine::open(fs, Path::new("/shard"), options).expect("a machine in memory");
    let before = encode_payload(1, [commands()[3].encode_to_vec().as_slice()]);
    machine.apply(1, 1, &Bytes::from(before)).expect("a true entry");
    let rows = machine.rows(KEYSPACE).expect("rows");
    let verdict = match machine.apply(2, 1, &Bytes::copy_from_slice(input)) {
        Ok(results) => {
            assert_eq!(machine.position().index, 2, "the entry was applied");
            format!("ok {:?}", results.iter().map(|result| result.outcome).take(3).collect::<Vec<_>>())
        }
        Err(error) => {
            assert_eq!(machine.position().index, 1, "a refused entry moves nothing");
            assert!(machine.rows(KEYSPACE).expect("rows") == rows, "a refused entry leaves no trace");
            plain(&error.to_string())
        }
    };
    machine.close().expect("memory");
    verdict
}

fn plain(text: &str) -> Verdict {
    let text = text.split('"').step_by(2).collect::<String>();
    text.chars().filter(|mark| !mark.is_ascii_digit()).take(90).collect()
}
