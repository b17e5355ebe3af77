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
