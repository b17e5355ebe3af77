//! How long one entry takes: 64 puts of 1000 bytes, plain, with sessions, and under a condition.
//! `cargo run --release -p kvarts-serve --example apply -- DIRECTORY [ENTRIES]`
use bytes::Bytes;
use kvarts_engine::clock::{Clock, OsClock};
use kvarts_engine::fs::OsFs;
use kvarts_serve::machine::{Machine, MachineOptions, encode_payload};
use kvarts_wire::v1;
use prost::Message;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

const COMMANDS: u64 = 64;
const VALUE_BYTES: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain,
    Sessions,
    Conditions,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("give a directory that does not exist")?);
    let entries: u64 = arguments.next().map_or(Ok(3_000), |count| count.parse())?;
    let machine = Machine::open(Arc::new(OsFs), &dir, MachineOptions::default())?;
    let opened =
        v1::Command { special: Some(v1::command::Special::OpenSession(v1::OpenSession {})), ..Default::default() };
    let session = apply(&machine, &payload(&[opened]))?[0].revision;
    let (clock, mut number) = (OsClock::default(), 0);
    for kind in [Kind::Plain, Kind::Sessions, Kind::Conditions] {
        let mut took = Vec::new();
        for _ in 0..entries {
            let commands: Vec<_> = (0..COMMANDS).map(|at| command(kind, number + at, session)).collect();
            number += COMMANDS;
            let payload = payload(&commands);
            let start_ns = clock.monotonic_ns();
            apply(&machine, &payload)?;
            took.push(clock.monotonic_ns() - start_ns);
        }
        took.sort_unstable();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize] / 1000;
        println!(
            "{kind:?}: p50 {} us, p90 {} us, p99 {} us, worst {} us per entry",
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0)
        );
    }
    let stats = machine.stats()?;
    println!("{} flushes, waited {} ms for them", stats.flushes, stats.stall_ns / 1_000_000);
    Ok(machine.close()?)
}

fn apply(machine: &Machine, payload: &Bytes) -> Result<Vec<v1::Result>, kvarts_serve::machine::Error> {
    machine.apply(machine.position().index + 1, 1, payload)
}

fn payload(commands: &[v1::Command]) -> Bytes {
    let encoded: Vec<Vec<u8>> = commands.iter().map(Message::encode_to_vec).collect();
    encode_payload(OsClock::default().unix_ms() * 1000, encoded.iter().map(Vec::as_slice)).into()
}

/// A put under one of a million keys, in no order.
fn command(kind: Kind, number: u64, session: u64) -> v1::Command {
    let key = format!("key{:013}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1_000_000);
    let condition =
        (kind == Kind::Conditions).then_some(v1::Condition { kind: Some(v1::condition::Kind::AtRevision(1)) });
    let put =
        v1::Put { key: key.into(), value: vec![number as u8; VALUE_BYTES].into(), condition, ..Default::default() };
    let operation = v1::Operation { kind: Some(v1::operation::Kind::Put(put)) };
    let mut command = v1::Command { operations: vec![operation], ..Default::default() };
    if kind == Kind::Sessions {
        // As a client with 64 in flight tells it.
        (command.session, command.sequence, command.answered) = (session, number + 1, number.saturating_sub(COMMANDS));
    }
    command
}
