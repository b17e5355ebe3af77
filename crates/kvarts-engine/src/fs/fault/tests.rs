//! Each test states what one fault does to the operations that can meet it.
use super::*;
use crate::fs::MemFs;
use std::io::ErrorKind;

const FILE: &str = "/file";

fn faulty() -> (FaultFs, MemFs) {
    let below = MemFs::new();
    (FaultFs::new(Arc::new(below.clone())), below)
}

fn file() -> &'static Path {
    Path::new(FILE)
}

/// What a fault leaves of a second append of `second`, and how that ended.
fn second_append(fault: Fault) -> (Vec<u8>, io::Result<()>) {
    let (fs, below) = faulty();
    let mut out = fs.create(file()).unwrap();
    out.append(b"first").unwrap();
    fs.fail_at(fs.ops(), fault, false);
    let outcome = out.append(b"second");
    (below.bytes(file()).unwrap(), outcome)
}

#[test]
fn only_the_operation_that_was_named_fails() {
    let (fs, _) = faulty();
    fs.fail_at(1, Fault::Io, false);
    assert!(fs.list(Path::new("/")).is_ok());
    assert_eq!(fs.exists(file()).unwrap_err().raw_os_error(), Some(Errno::IO.raw_os_error()));
    assert!(fs.exists(file()).is_ok());
    assert_eq!((fs.ops(), fs.met()), (3, vec![Met { number: 1, op: FsOp::Exists, path: file().to_owned() }]));
}

#[test]
fn a_fault_waits_for_an_operation_that_can_meet_it() {
    let (fs, _) = faulty();
    fs.fail_at(0, Fault::NoSpace, false);
    assert!(fs.exists(file()).is_ok());
    assert_eq!(fs.create(file()).map(|_| ()).unwrap_err().kind(), ErrorKind::StorageFull);
    fs.create(file()).unwrap();
    fs.fail_at(0, Fault::NoDescriptor, false);
    assert!(fs.rename(file(), Path::new("/other")).is_ok());
    let error = fs.open(Path::new("/other")).map(|_| ()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::MFILE.raw_os_error()));
}

#[test]
fn a_lasting_fault_ends_when_it_is_healed() {
    let (fs, _) = faulty();
    fs.fail_at(0, Fault::Io, true);
    assert!(fs.create(file()).is_err() && fs.create(file()).is_err());
    fs.heal();
    assert!(fs.create(file()).is_ok());
    assert_eq!(fs.met().len(), 2);
}

#[test]
fn a_failed_sync_is_never_made_good() {
    for fault in [Fault::Io, Fault::NoSpace] {
        let (fs, below) = faulty();
        let mut out = fs.create(file()).unwrap();
        let mut log = fs.create_log(Path::new("/log"), 8, LogMode::Mapped).unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        out.append(b"x").unwrap();
        log.append_with(1, &mut |out| out.fill(7)).unwrap();
        fs.fail_at(fs.ops(), fault, true);
        assert!(out.sync().is_err() && log.syncer().sync().is_err());
        fs.heal();
        assert!(out.sync().is_ok() && log.syncer().sync().is_ok());
        let kept = |name: &str| (0..100).all(|seed| below.crash(seed).bytes(Path::new(name)).unwrap().contains(&7));
        assert!(!kept("/log"));
        assert!((0..100).any(|seed| below.crash(seed).bytes(file()).unwrap() != b"x"));
    }
}

#[test]
fn a_late_error_comes_after_the_deed() {
    let (fs, below) = faulty();
    fs.create(file()).unwrap();
    fs.fail_at(0, Fault::Late, false);
    assert!(fs.rename(file(), Path::new("/other")).is_err());
    assert_eq!(below.list(Path::new("/")).unwrap(), ["other"]);
}

#[test]
fn a_short_write_leaves_a_part_and_says_so() {
    let (bytes, outcome) = second_append(Fault::Short);
    assert!(outcome.is_err() && b"firstsecond".starts_with(&bytes[..]) && bytes.len() < 11);
    let (fs, below) = faulty();
    let mut log = fs.create_log(Path::new("/log"), 100, LogMode::Written).unwrap();
    fs.fail_at(0, Fault::Short, false);
    assert!(log.append_with(50, &mut |out| out.fill(7)).is_err());
    let sevens = below.bytes(Path::new("/log")).unwrap().iter().filter(|&&byte| byte == 7).count();
    assert!((1..50).contains(&sevens) && log.is_empty());
}

#[test]
fn silent_faults_say_nothing() {
    let (flipped, outcome) = second_append(Fault::Flip);
    let bits: u32 = flipped.iter().zip(b"firstsecond").map(|(a, b)| (a ^ b).count_ones()).sum();
    assert!(outcome.is_ok() && flipped.starts_with(b"first") && bits == 1);
    assert_eq!(second_append(Fault::Lost).0, b"first\0\0\0\0\0\0");
    assert_eq!(second_append(Fault::Misdirected).0, b"firstfirstd");
}

#[test]
fn a_short_read_is_an_end_of_file_and_a_flipped_one_says_nothing() {
    let (fs, _) = faulty();
    fs.create(file()).unwrap().append(b"abcdef").unwrap();
    let open = fs.open(file()).unwrap();
    let mut bytes = [0; 6];
    fs.fail_at(0, Fault::Short, true);
    assert_eq!(open.read_exact_at(0, &mut bytes).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(fs.read(file()).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    fs.fail_at(0, Fault::Flip, true);
    open.read_exact_at(0, &mut bytes).unwrap();
    assert_ne!(&bytes, b"abcdef");
    assert_ne!(fs.read(file()).unwrap(), b"abcdef");
    fs.heal();
    assert_eq!(fs.read(file()).unwrap(), b"abcdef");
}
