//! Groups that come while a node runs, and what is told of them.
use super::*;
use kvarts_formats::shards::{Line, Map, Shard, Space};

#[test]
fn a_group_that_is_asked_for_says_when_it_is_there_and_takes_what_is_its_own() {
    let bench = Bench::new();
    bench.lead(true);
    bench.muscle.open_group(5, FOUNDING.to_vec());
    let opened = bench.event(|event| match event {
        Event::Opened { group, index, rows } => Some((*group, *index, rows.len())),
        _ => None,
    });
    assert_eq!((opened, bench.muscle.groups()), ((5, 1, 0), vec![GROUP, 5]));
    // Asked for again it stays as it is.
    bench.muscle.open_group(5, FOUNDING.to_vec());
    let shard = Shard { id: 5, epoch: 1, voters: vec![1], ..Shard::default() };
    let line = Line::new(Space::Ordered, vec![shard]).unwrap();
    bench.muscle.set_shards(Known { map: Map { version: 1, lines: [(1, line)].into() }, ..Known::default() });
    bench.muscle.set_role(5, Role { leads: true, term: 1, leader_id: 1, ..Role::default() }).unwrap();
    let answer = bench.put("mine");
    let group = bench.event(|event| if let Event::Write { group, .. } = event { Some(*group) } else { None });
    assert_eq!(group, 5);
    drop(bench.muscle.core().handles.clear());
    assert!(answer.recv().unwrap().is_err());
    let described = bench.door.describe(v1::DescribeRequest::default());
    assert_eq!((described.map_version, described.map.len()), (1, 1));
    assert_eq!(described.leads.iter().map(|led| led.group).collect::<Vec<_>>(), [GROUP, 5]);
    assert!(bench.door.describe(v1::DescribeRequest { map_version: 1 }).map.is_empty());
}

#[test]
fn a_group_that_is_asked_for_while_it_is_being_closed_is_opened_after_that() {
    let bench = Bench::new();
    for _ in 0..30 {
        bench.muscle.open_group(5, FOUNDING.to_vec());
        opened(&bench, 5);
        bench.muscle.perform(Turn { closed: vec![5], ..Turn::default() });
    }
    assert!(bench.muscle.core().failure().is_none());
}

fn opened(bench: &Bench, id: u64) {
    bench.event(|event| matches!(event, Event::Opened { group, .. } if *group == id).then_some(()));
}

#[test]
fn a_shard_is_measured_and_what_is_none_is_left_out() {
    let mut bench = Bench::new();
    bench.lead(true);
    for (index, key) in (2..).zip(["a", "b", "x", "y"]) {
        drop(bench.put(key));
        let handle = bench.handle();
        bench.append(1, index, 0, Payload::Handles(vec![handle]));
    }
    bench.apply(2, 5, false);
    bench.muscle.flush(GROUP).unwrap();
    let shard = Shard { id: GROUP, epoch: 1, voters: vec![1], ..Shard::default() };
    let line = Line::new(Space::parse(false, "whole", 1).unwrap(), vec![shard]).unwrap();
    bench.muscle.set_shards(Known { map: Map { version: 1, lines: [(1, line)].into() }, ..Known::default() });
    bench.muscle.measure(&[(77, 1), (GROUP, 2), (GROUP, 1)]);
    let measured = bench.event(|event| match event {
        Event::Measured { group, epoch, bytes, .. } => Some((*group, *bytes, *epoch)),
        _ => None,
    });
    assert!(measured.0 == GROUP && (1..4096).contains(&measured.1) && measured.2 == 1, "{measured:?}");
}

#[test]
fn a_word_of_another_node_comes_to_python() {
    let bench = Bench::new();
    let message = v1::PeerMessage { to: 1, sender: 2, word: "hello".into(), ..v1::PeerMessage::default() };
    bench.door.peer_messages(2, v1::PeerBatch { messages: vec![message] });
    let word = bench.event(|event| match event {
        Event::Word { node, word } => Some((*node, word.clone())),
        _ => None,
    });
    assert_eq!(word, (2, "hello".into()));
}

#[test]
fn a_node_that_was_removed_is_known() {
    let bench = Bench::new();
    bench.muscle.set_removed([3].into());
    assert_eq!([bench.door.is_removed(2), bench.door.is_removed(3)], [false, true]);
}
