//! A write that was sent before, and may have been done: the log of the shard that it was sent to says what came of it.
use super::*;
use kvarts_formats::shards::{Line, Map, Shard, Space};
use kvarts_wire::v1::operation::Kind as Step;

type Written = Receiver<Result<v1::WriteResponse, v1::Error>>;

/// The epoch of the shard before its split.
const EPOCH: u64 = 1;

/// Lets the node know by the map that keys from "m" on are the child's.
fn set_map_of_halves(bench: &Bench, lower: u64) {
    set_map(bench, &[(lower, b""), (CHILD, b"m")]);
}

/// Shards that begin at these keys, one epoch later than whoever asks knows.
fn set_map(bench: &Bench, shards: &[(u64, &[u8])]) {
    let shard = |&(id, start): &(u64, &[u8])| Shard { id, start: start.to_vec(), epoch: EPOCH + 1, voters: vec![1, 2] };
    let line = Line::new(Space::Ordered, shards.iter().map(shard).collect()).unwrap();
    bench.muscle.set_shards(Known { map: Map { version: 2, lines: [(1, line)].into() }, ..Known::default() });
}

fn bench_behind_the_split() -> Bench {
    let bench = bench_before_the_split(&MemFs::new());
    reach_the_split(&bench);
    assert!(split(&bench));
    set_map_of_halves(&bench, GROUP);
    bench
}

/// Asks the lower half by the epoch of before.
fn ask(bench: &Bench, command: v1::Command, resent: bool) -> Written {
    ask_of(bench, GROUP, command, resent)
}

fn ask_of(bench: &Bench, shard: u64, command: v1::Command, resent: bool) -> Written {
    let (reply, answer) = reply();
    let owner = Some(v1::Owner { shard, epoch: EPOCH });
    bench.door.write(v1::WriteRequest { command: Some(command), owner, resent }, bench.soon(), reply);
    answer
}

/// Makes an entry of what waits, and applies it.
fn commit(bench: &mut Bench, index: u64) {
    let handle = bench.handle();
    bench.append(1, index, 0, Payload::Handles(vec![handle]));
    bench.apply(index, index, false);
}

/// A session that the lower half opens behind the split.
fn session_of(bench: &mut Bench, index: u64) -> u64 {
    let opened = bench.open_session();
    commit(bench, index);
    of(&opened).unwrap().result.unwrap().revision
}

fn put(session: u64, keys: &[&'static str]) -> v1::Command {
    let put = |key: &&'static str| Step::Put(v1::Put { keyspace: 1, key: (*key).into(), ..v1::Put::default() });
    let operations = keys.iter().map(|key| v1::Operation { kind: Some(put(key)) }).collect();
    v1::Command { session, sequence: 1, operations, ..v1::Command::default() }
}

fn clear(session: u64) -> v1::Command {
    let range = Step::DeleteRange(v1::DeleteRange { keyspace: 1, ..v1::DeleteRange::default() });
    let operations = vec![v1::Operation { kind: Some(range) }];
    v1::Command { session, sequence: 1, operations, ..v1::Command::default() }
}

#[test]
fn the_log_says_for_good_that_a_write_did_not_take_place() {
    for command in [put(0, &["z"]), put(0, &["a", "z"]), clear(0)] {
        let mut bench = bench_behind_the_split();
        let session = session_of(&mut bench, SPLIT_AT + 1);
        let command = v1::Command { session, ..command };
        let refused = ask(&bench, command.clone(), false).recv().unwrap().unwrap_err();
        assert_eq!((refused.kind.as_str(), refused.settled), ("WrongShard", false), "the door says so by the map");
        let told = ask(&bench, command.clone(), true);
        commit(&mut bench, SPLIT_AT + 2);
        let told = told.recv().unwrap().unwrap_err();
        assert_eq!((told.kind.as_str(), told.settled, told.maybe_applied), ("WrongShard", true, false));
        // It is said again, though by now there is another sequence.
        let other = ask(&bench, v1::Command { sequence: 2, ..put(session, &["c"]) }, false);
        let again = ask(&bench, command, true);
        commit(&mut bench, SPLIT_AT + 3);
        assert!(of(&other).is_ok());
        assert!(again.recv().unwrap().unwrap_err().settled);
        assert_eq!([keys(&bench, GROUP), keys(&bench, CHILD)], [vec!["a", "b", "c"], vec!["x", "y"]]);
    }
}

#[test]
fn what_the_shard_still_owns_is_done_when_it_is_asked_for_again() {
    let mut bench = bench_behind_the_split();
    let session = session_of(&mut bench, SPLIT_AT + 1);
    let written = ask(&bench, put(session, &["c"]), true);
    commit(&mut bench, SPLIT_AT + 2);
    assert_eq!(of(&written).unwrap().result.unwrap().outcome(), v1::Outcome::Done);
    assert_eq!(keys(&bench, GROUP), ["a", "b", "c"]);
}

/// A group that leads here, and whose log has not come to the split that the map knows of.
fn bench_of_a_shard(id: u64) -> Bench {
    let bench = Bench::new();
    bench.lead(true);
    bench.muscle.open_group(id, FOUNDING.to_vec());
    bench.event(|event| matches!(event, Event::Opened { group, .. } if *group == id).then_some(()));
    set_leads(&bench, id, true);
    set_map_of_halves(&bench, id);
    bench
}

fn set_leads(bench: &Bench, id: u64, leads: bool) {
    bench.muscle.set_role(id, Role { leads, term: 1, leader_id: 2, ..Role::default() }).unwrap();
}

#[test]
fn a_leader_whose_log_has_not_come_to_the_split_lets_it_wait() {
    let bench = bench_of_a_shard(5);
    // Its log would take the write, which the other half owns.
    assert_eq!(of(&ask_of(&bench, 5, put(7, &["z"]), true)).unwrap_err(), "Unavailable");
    set_leads(&bench, 5, false);
    assert_eq!(of(&ask_of(&bench, 5, put(7, &["z"]), true)).unwrap_err(), "NotLeader");
}

#[test]
fn a_range_is_asked_for_again_where_the_shard_has_only_moved() {
    let bench = bench_of_a_shard(5);
    set_map(&bench, &[(5, b"")]);
    assert_eq!(of(&ask_of(&bench, 5, clear(7), false)).unwrap_err(), "WrongShard");
    let _waits = ask_of(&bench, 5, clear(7), true);
    let group = bench.event(|event| if let Event::Write { group, .. } = event { Some(*group) } else { None });
    assert_eq!(group, 5, "its log tells what came of it");
}

#[test]
fn who_did_not_know_that_a_keyspace_has_shards_is_told_for_good() {
    let bench = bench_of_a_shard(5);
    let refused = ask_of(&bench, routes::META, put(7, &["z"]), true).recv().unwrap().unwrap_err();
    assert_eq!((refused.kind.as_str(), refused.settled, refused.owners[0].id), ("WrongShard", true, CHILD));
}

#[test]
fn a_write_without_a_session_is_not_asked_for_again() {
    let bench = bench_behind_the_split();
    let refused = ask(&bench, put(0, &["z"]), true).recv().unwrap().unwrap_err();
    assert_eq!((refused.kind.as_str(), refused.settled), ("WrongShard", false));
}
