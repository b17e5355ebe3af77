//! Checkpoints, and a checkpoint of another replica put in the place of all rows.
use crate::support::command;
use crate::support::{DIR, apply_put, get, open, open_at, payload, put, rows};
use kvarts_engine::fs::{Fs, MemFs};
use kvarts_serve::machine::Machine;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const INCOMING: &str = "/incoming";
const LEADER: &str = "/leader";

/// A leader's machine with a checkpoint of it at `INCOMING`, and a follower's that is behind, in one file system.
fn leader_and_follower(fs: &MemFs) -> (Machine, Machine) {
    let leader = open_at(fs, LEADER).unwrap();
    for number in 0..30 {
        apply_put(&leader, 1_000 + number, &format!("key{number:02}"), "leader");
    }
    leader.apply_effects(31, 1, Some(b"all three"), &[(b"config/a".to_vec(), Some(b"1".to_vec()))]).unwrap();
    let (position, membership) = leader.checkpoint(Path::new(INCOMING)).unwrap();
    assert_eq!((position, membership), (leader.position(), b"all three".to_vec()));
    let follower = open(fs).unwrap();
    for number in 0..5 {
        apply_put(&follower, 900 + number, &format!("key{number:02}"), "follower");
    }
    (leader, follower)
}

#[test]
fn a_checkpoint_in_its_place_makes_a_follower_equal_to_the_leader() {
    let fs = MemFs::new();
    let (leader, follower) = leader_and_follower(&fs);
    follower.replace(Path::new(INCOMING)).unwrap();
    assert!(!fs.exists(Path::new(INCOMING)).unwrap());
    for _ in 0..2 {
        follower.flush().unwrap();
    }
    let again = {
        follower.close().unwrap();
        open(&fs).unwrap()
    };
    assert_eq!(fs.list(Path::new(DIR)).unwrap(), ["000002"]);
    let next = payload(9_000, &[command(vec![put("next", "1")])]);
    for machine in [&leader, &again] {
        assert_eq!(machine.apply(32, 2, &next).unwrap()[0].revision, 9_000);
    }
    assert_eq!(rows(&again), rows(&leader));
    assert_eq!((again.position(), again.membership()), (leader.position(), b"all three".to_vec()));
    assert_eq!(again.system(b"config/a").unwrap(), Some(b"1".to_vec()));
}

#[test]
fn a_checkpoint_tells_its_own_position_while_entries_go_on() {
    let fs = MemFs::new();
    let machine = open(&fs).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let index = machine.position().index + 1;
                apply_put(&machine, 0, "n", &index.to_string());
            }
        });
        for number in 0..20 {
            let path = format!("/copy{number}");
            let (position, _) = machine.checkpoint(Path::new(&path)).unwrap();
            fs.create_dir(Path::new(&format!("/of{number}"))).unwrap();
            let copy = open_at(&fs, &format!("/of{number}")).unwrap();
            copy.replace(Path::new(&path)).unwrap();
            assert_eq!(copy.position(), position);
            let told = get(&copy, "n").map(|index| index.parse::<u64>().unwrap());
            assert_eq!(told.unwrap_or(0), position.index);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_crash_at_any_moment_leaves_the_old_store_or_the_new_one_whole() {
    let fs = MemFs::new();
    let (leader, follower) = leader_and_follower(&fs);
    follower.flush().unwrap();
    let (old, new) = (rows(&follower), rows(&leader));
    drop((leader, follower));
    let (mut olds, mut news) = (0, 0);
    for step in 0.. {
        let world = fs.kill();
        let follower = open(&world).unwrap();
        world.crash_at_op(world.ops() + step);
        let done = follower.replace(Path::new(INCOMING));
        let finished = !world.has_crashed();
        for seed in 0..4 {
            let crashed = open(&world.crash(seed * 1_000 + step)).unwrap();
            let found = rows(&crashed);
            assert!(found == old || found == new, "step {step}, seed {seed}: neither the old rows nor the new");
            assert_eq!(crashed.position().index, if found == old { 5 } else { 31 });
            assert!(found == new || done.is_err(), "step {step}, seed {seed}: it was done and is gone");
            if found == old { olds += 1 } else { news += 1 }
        }
        if finished {
            break;
        }
    }
    assert!(olds > 20 && news > 8, "both sides of the rename were met: {olds} and {news}");
}

#[test]
fn a_damaged_checkpoint_is_refused_and_the_old_rows_stay() {
    let fs = MemFs::new();
    let (_leader, follower) = leader_and_follower(&fs);
    let before = rows(&follower);
    fs.corrupt(&Path::new(INCOMING).join("MANIFEST"), 100, 0xff).unwrap();
    let refused = follower.replace(Path::new(INCOMING)).unwrap_err();
    assert_eq!(refused.kind(), "CorruptionError", "{refused}");
    assert_eq!(rows(&follower), before);
    assert_eq!(fs.list(Path::new(DIR)).unwrap(), ["000001"]);
    apply_put(&follower, 2_000, "key00", "goes on");
}

#[test]
fn readers_see_the_old_rows_or_the_new_ones_and_no_error() {
    let fs = MemFs::new();
    let (_leader, follower) = leader_and_follower(&fs);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let counted = rows(&follower).len();
                    assert!(counted == 5 || counted == 30, "{counted} rows are a mix");
                }
            });
        }
        follower.replace(Path::new(INCOMING)).unwrap();
        for _ in 0..50 {
            assert_eq!(get(&follower, "key29").as_deref(), Some("leader"));
        }
        stop.store(true, Ordering::Relaxed);
    });
}
