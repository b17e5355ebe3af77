use super::*;
use kvarts_engine::fs::MemFs;
use std::path::Path;

fn files(expected: u32) -> (Arc<MemFs>, Files) {
    let fs = Arc::new(MemFs::new());
    fs.create_dir(Path::new("/1")).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    (fs.clone(), Files::new(fs, "/1".into(), expected))
}

fn chunk(file: &str, data: &[u8], last: bool) -> SnapshotChunk {
    let mut digest = checksum();
    digest.update(data);
    let (file, data, crc) = (file.to_owned(), data.to_vec().into(), digest.finalize() as u32);
    SnapshotChunk { file, data, last, crc, ..SnapshotChunk::default() }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let long = "n".repeat(256);
    for name in ["", ".", "..", ".hidden", "../up", "down/there", "/abs", "nul\0", "back\\slash", "ü", "a b", &long] {
        let (_, mut files) = files(1);
        assert!(files.add(&chunk(name, b"x", true)).is_err(), "{name:?}");
        assert!(files.made.is_empty());
    }
    for name in ["000001.sst", "MANIFEST-000002", "a_b", &long[1..]] {
        let (_, mut files) = files(1);
        assert!(files.add(&chunk(name, b"x", true)).is_ok(), "{name:?}");
    }
}

#[test]
fn a_file_that_comes_twice_is_refused() {
    let (_, mut files) = files(2);
    files.add(&chunk("a", b"x", true)).unwrap();
    assert!(matches!(files.add(&chunk("a", b"x", true)), Err(Refused::Io(_))));
}

#[test]
fn files_do_not_interleave() {
    let (_, mut files) = files(2);
    files.add(&chunk("a", b"x", false)).unwrap();
    assert!(files.add(&chunk("b", b"x", false)).is_err());
}

#[test]
fn a_finished_snapshot_survives_a_crash() {
    let (fs, mut files) = files(2);
    for chunk in [chunk("a", b"first", true), chunk("b", b"", true)] {
        files.add(&chunk).unwrap();
    }
    files.finish().unwrap();
    let after = fs.crash(7);
    assert_eq!(after.list(Path::new("/1")).unwrap(), ["a", "b"]);
    assert_eq!(after.read(Path::new("/1/a")).unwrap(), b"first");
}

#[test]
fn discarding_removes_also_what_was_half_written() {
    let (fs, mut files) = files(2);
    files.add(&chunk("a", b"x", true)).unwrap();
    files.add(&chunk("b", b"x", false)).unwrap();
    assert!(files.discard());
    assert!(fs.list(Path::new("/1")).unwrap().is_empty());
}
