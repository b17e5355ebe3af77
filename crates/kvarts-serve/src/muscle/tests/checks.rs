//! Digests that entries ask for, and replicas that are fenced.
use super::*;
use kvarts_formats::shards::{Line, Map, Shard, Space};
use serde_json::Value;

const OTHER: u64 = 5;

fn done(bench: &Bench, group: u64, number: u64) -> Value {
    let deadline = OsTime.now() + LONG;
    loop {
        let told = bench.muscle.check(group, number).map(|told| serde_json::from_str::<Value>(&told).unwrap());
        if let Some(told) = told.filter(|told| told["state"] != "counting") {
            return told;
        }
        assert!(OsTime.now() < deadline, "no digest");
        bench.muscle.poll(OsTime.boot_ms() + 1);
    }
}

fn opened(bench: &Bench) {
    bench.muscle.open_group(OTHER, FOUNDING.to_vec());
    bench.event(|event| matches!(event, Event::Opened { group: OTHER, .. }).then_some(()));
}

fn fenced(bench: &Bench) {
    bench.muscle.fence(OTHER, "differs".to_owned());
    assert!(bench.muscle.core().group(OTHER).is_none(), "at once");
    while bench.muscle.fences().is_empty() {
        bench.muscle.poll(OsTime.boot_ms() + 1);
    }
}

#[test]
fn a_barrier_waits_for_its_effects() {
    let mut bench = Bench::new();
    bench.append(1, 2, 2, Payload::Bytes("do this".into()));
    bench.append(1, 3, 0, Payload::Handles(vec![]));
    let applies = vec![Apply { group: GROUP, first: 2, last: 2, barrier: true }];
    bench.muscle.perform(Turn { applies, ..Turn::default() });
    let command = bench.event(|event| match event {
        Event::Applied { index: 2, command, .. } => Some(command.clone()),
        _ => None,
    });
    assert_eq!((command.as_deref(), bench.muscle.position(GROUP).unwrap().0), (Some(&b"do this"[..]), 1));
    let (membership, rows) = (FOUNDING.into(), vec![(b"config/x".to_vec(), Some(b"1".to_vec()))]);
    let effects = vec![Effects { group: GROUP, index: 2, membership, rows, founding: None, check: 0 }];
    bench.muscle.perform(Turn { effects, ..Turn::default() });
    bench.apply(3, 3, false);
    assert_eq!(bench.muscle.position(GROUP).unwrap(), (3, 1));
    assert_eq!(bench.muscle.system(GROUP, b"config/x").unwrap().as_deref(), Some(&b"1"[..]));
}

#[test]
fn a_digest_is_of_the_entry_that_asks_for_it_and_of_what_it_writes() {
    let mut bench = Bench::new();
    bench.lead(true);
    for index in 2..4 {
        bench.append(1, index, 2, Payload::Bytes("check".into()));
        let applies = vec![Apply { group: GROUP, first: index, last: index, barrier: true }];
        bench.muscle.perform(Turn { applies, ..Turn::default() });
        let rows = vec![(b"config/last-check".to_vec(), Some(b"1".to_vec()))];
        let effects =
            vec![Effects { group: GROUP, index, membership: FOUNDING.into(), rows, founding: None, check: index * 10 }];
        bench.muscle.perform(Turn { effects, ..Turn::default() });
        bench.apply(index, index, false);
        let told = done(&bench, GROUP, index * 10);
        // The row of the check, the members, the position.
        assert_eq!((&told["state"], &told["index"], &told["rows"]), (&"done".into(), &index.into(), &3.into()));
    }
    assert_ne!(done(&bench, GROUP, 20)["digest"], done(&bench, GROUP, 30)["digest"]);
    assert_eq!((bench.muscle.check(GROUP, 7), bench.muscle.check(OTHER, 20)), (None, None));
}

#[test]
fn a_fenced_replica_serves_nobody_and_stays_so_after_a_crash() {
    let fs = MemFs::new();
    let bench = Bench::on(Arc::new(fs.clone()));
    opened(&bench);
    bench.muscle.flush(OTHER).unwrap();
    let shard = Shard { id: OTHER, epoch: 1, voters: vec![1, 2], ..Shard::default() };
    let line = Line::new(Space::Ordered, vec![shard]).unwrap();
    bench.muscle.set_shards(Known { map: Map { version: 1, lines: [(1, line)].into() }, ..Known::default() });
    bench.muscle.set_role(OTHER, Role { leads: true, term: 1, leader_id: 1, ..Role::default() }).unwrap();
    fenced(&bench);
    let error = bench.put("mine").recv().unwrap().unwrap_err();
    assert_eq!((error.kind.as_str(), error.leader_id), ("NotLeader", 2));
    assert!(error.message.contains("fenced"), "{}", error.message);
    // Asked for again it is not made, and turns that name it do nothing.
    bench.muscle.open_group(OTHER, FOUNDING.to_vec());
    bench.muscle.perform(Turn { closed: vec![OTHER], ..Turn::default() });
    drop(bench);
    for left in [fs.kill(), fs.crash(7)] {
        let again = Bench::on(Arc::new(left));
        assert_eq!(again.muscle.groups(), [GROUP]);
        assert_eq!(again.muscle.fences(), [(OTHER, "differs".to_owned())].into());
    }
}

#[test]
fn a_fence_that_is_lifted_leaves_nothing_and_the_group_begins_anew() {
    let fs = MemFs::new();
    let bench = Bench::on(Arc::new(fs.clone()));
    opened(&bench);
    fenced(&bench);
    bench.muscle.lift_fence(OTHER);
    bench.muscle.open_group(OTHER, Vec::new());
    bench.event(|event| matches!(event, Event::Opened { group: OTHER, index: 0, .. }).then_some(()));
    assert!(bench.muscle.fences().is_empty());
    drop(bench);
    let again = Bench::on(Arc::new(fs.kill()));
    assert_eq!((again.muscle.groups(), again.muscle.position(OTHER).unwrap()), (vec![GROUP, OTHER], (0, 0)));
}

#[test]
fn a_crash_while_a_fence_is_made_or_lifted_leaves_it_done_or_undone() {
    let (mut met, mut step) = ([0, 0, 0], 0);
    loop {
        let world = MemFs::new();
        let bench = Bench::on(Arc::new(world.clone()));
        opened(&bench);
        bench.muscle.flush(OTHER).unwrap();
        world.crash_at_op(world.ops() + step);
        bench.muscle.fence(OTHER, "differs".to_owned());
        bench.muscle.lift_fence(OTHER);
        bench.muscle.open_group(OTHER, Vec::new());
        let finished = bench.event(|event| match event {
            Event::Opened { group: OTHER, .. } => Some(true),
            Event::Stop(_) => Some(false),
            _ => None,
        });
        drop(bench);
        for left in [world.kill(), world.crash(step)] {
            let again = Bench::on(Arc::new(left));
            let there = again.muscle.position(OTHER).ok();
            match (again.muscle.fences().contains_key(&OTHER), there) {
                (false, Some((1, 0))) => met[0] += 1,
                (true, None) => met[1] += 1,
                // Given up: nothing of it is left, or it has begun anew.
                (false, None | Some((0, 0))) => met[2] += 1,
                other => panic!("step {step}: {other:?}"),
            }
        }
        if finished && !world.has_crashed() {
            break;
        }
        step += 1;
    }
    assert!(met.iter().all(|count| *count > 1), "all were met: {met:?}");
}

#[test]
fn history_is_kept_while_it_is_held() {
    let bench = Bench::new();
    let since_ms = bench.muscle.hold(7, 0, 60_000);
    assert_eq!((since_ms, bench.muscle.hold(8, 1_234, 60_000)), (1, 1_234));
    assert_eq!(bench.muscle.core().holds.count(), 2);
    bench.muscle.release(8);
    bench.muscle.core().holds.expire(OsTime.now() + LONG);
    assert_eq!(bench.muscle.core().holds.count(), 1);
    bench.muscle.core().holds.expire(OsTime.now() + LONG * 3);
    assert_eq!(bench.muscle.core().holds.count(), 0);
}
