use super::super::{Fs, LockOutcome, LogMode};
use super::OsFs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory of its own, removed at the end of the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("kvarts-fs-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        OsFs.create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    for umask in [0o000, 0o022, 0o077, 0o277, 0o777, 0o133] {
        let dir = Scratch::new();
        // The umask belongs to the process; other tests of this room are content with any.
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
        OsFs.create_dir(&dir.path("inner")).unwrap();
        drop(OsFs.create(&dir.path("file")).unwrap());
        drop(OsFs.create_log(&dir.path("log"), 4096, LogMode::Mapped).unwrap());
        drop(OsFs.lock(&dir.path("LOCK"), "me").unwrap());
        rustix::process::umask(before);
        assert_eq!(mode(&dir.path("inner")), 0o700, "umask {umask:o}");
        for name in ["file", "log", "LOCK"] {
            assert_eq!(mode(&dir.path(name)), 0o600, "umask {umask:o}, {name}");
        }
    }
}

#[test]
fn written_files_read_back_whole_and_at_offsets() {
    let dir = Scratch::new();
    let path = dir.path("a");
    let mut file = OsFs.create(&path).unwrap();
    file.append(b"hello ").unwrap();
    file.append(b"world").unwrap();
    file.sync().unwrap();
    OsFs.sync_dir(&dir.0).unwrap();
    assert_eq!(OsFs.read(&path).unwrap(), b"hello world");
    let open = OsFs.open(&path).unwrap();
    let mut bytes = [0; 5];
    open.read_exact_at(6, &mut bytes).unwrap();
    assert_eq!((&bytes, open.len()), (b"world", 11));
    assert_eq!(open.read_exact_at(7, &mut bytes).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(OsFs.create(&path).map(|_| ()).unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[test]
fn both_log_modes_leave_the_same_bytes() {
    let dir = Scratch::new();
    let capacity = 600 << 10;
    for (name, mode) in [("mapped", LogMode::Mapped), ("written", LogMode::Written)] {
        let mut log = OsFs.create_log(&dir.path(name), capacity, mode).unwrap();
        for step in 0..5_u8 {
            log.append_with(100 << 10, &mut |range| range.fill(step + 1)).unwrap();
        }
        log.syncer().sync().unwrap();
        let beyond = log.append_with(101 << 10, &mut |range| range.fill(9)).unwrap_err();
        assert_eq!(beyond.kind(), ErrorKind::InvalidInput);
        assert_eq!((log.len(), log.capacity()), (500 << 10, capacity));
    }
    let mapped = OsFs.read(&dir.path("mapped")).unwrap();
    assert!(mapped == OsFs.read(&dir.path("written")).unwrap());
    assert_eq!(mapped.len() as u64, capacity);
    assert_eq!((mapped[0], mapped[(500 << 10) - 1], mapped[500 << 10]), (1, 5, 0));
}

#[test]
fn short_and_long_records_of_a_mapped_log_lie_one_behind_the_other() {
    let dir = Scratch::new();
    let lengths = [3, 16 << 10, 40, (16 << 10) - 1, 300 << 10, 1, (1 << 20) + 5, 9000, 2 << 20, 5];
    let capacity = lengths.iter().sum::<usize>() as u64;
    let mut log = OsFs.create_log(&dir.path("log"), capacity, LogMode::Mapped).unwrap();
    let mut expected = Vec::new();
    for (step, &len) in lengths.iter().enumerate() {
        let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + step) as u8).collect();
        log.append_with(len, &mut |range| range.copy_from_slice(&bytes)).unwrap();
        expected.extend_from_slice(&bytes);
        let seen = OsFs.read(&dir.path("log")).unwrap();
        assert!(seen[..expected.len()] == expected, "what was copied and what was written are one file: step {step}");
        assert!(seen[expected.len()..].iter().all(|&byte| byte == 0), "zeros follow: step {step}");
    }
    assert_eq!(log.append_with(1, &mut |_| ()).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn bytes_of_a_mapped_log_outlive_its_handle_without_a_sync() {
    let dir = Scratch::new();
    let mut log = OsFs.create_log(&dir.path("log"), 4096, LogMode::Mapped).unwrap();
    log.append_with(3, &mut |range| range.copy_from_slice(b"abc")).unwrap();
    assert_eq!(&OsFs.read(&dir.path("log")).unwrap()[..4], b"abc\0", "another reader sees them at once");
    let syncer = log.syncer();
    drop(log);
    syncer.sync().unwrap();
    assert_eq!(&OsFs.read(&dir.path("log")).unwrap()[..4], b"abc\0");
}

#[test]
fn log_that_cannot_be_allocated_leaves_nothing() {
    let dir = Scratch::new();
    let path = dir.path("log");
    assert!(OsFs.create_log(&path, 1 << 62, LogMode::Mapped).is_err());
    assert!(!OsFs.exists(&path).unwrap());
}

#[test]
#[cfg(target_os = "linux")]
fn log_that_cannot_be_mapped_is_told_apart() {
    let dir = Scratch::new();
    // What is open for writing alone cannot be mapped: a mapping is read as well.
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(dir.path("log")).unwrap();
    let refused = super::log::build(file, 4096, LogMode::Mapped).map(|_| ()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("ermission"), "it says why: {refused}");
}

#[test]
fn second_lock_is_told_the_holder_until_the_first_is_dropped() {
    let dir = Scratch::new();
    let path = dir.path("LOCK");
    let LockOutcome::Taken(guard) = OsFs.lock(&path, "pid 1, a longer text").unwrap() else { panic!("it is free") };
    let LockOutcome::Held(holder) = OsFs.lock(&path, "pid 2").unwrap() else { panic!("it is taken") };
    assert_eq!(holder, "pid 1, a longer text");
    drop(guard);
    let LockOutcome::Taken(_guard) = OsFs.lock(&path, "pid 3").unwrap() else { panic!("it is free again") };
    assert_eq!(OsFs.read(&path).unwrap(), b"pid 3");
}

#[test]
fn links_renames_and_lists() {
    let dir = Scratch::new();
    OsFs.create(&dir.path("b")).unwrap().append(b"x").unwrap();
    OsFs.link(&dir.path("b"), &dir.path("c")).unwrap();
    OsFs.rename(&dir.path("b"), &dir.path("a")).unwrap();
    assert_eq!(OsFs.list(&dir.0).unwrap(), ["a", "c"]);
    OsFs.remove(&dir.path("a")).unwrap();
    assert!(!OsFs.exists(&dir.path("a")).unwrap());
    assert_eq!(OsFs.read(&dir.path("c")).unwrap(), b"x");
    assert_eq!(OsFs.read(&dir.path("a")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn symbolic_link_in_place_of_a_file_is_refused() {
    let dir = Scratch::new();
    OsFs.create(&dir.path("target")).unwrap().append(b"x").unwrap();
    std::os::unix::fs::symlink(dir.path("target"), dir.path("link")).unwrap();
    assert!(OsFs.read(&dir.path("link")).is_err());
    assert!(OsFs.open(&dir.path("link")).is_err());
    assert!(OsFs.lock(&dir.path("link"), "me").is_err());
}

#[test]
fn directory_behind_a_symbolic_link_is_used_like_any_other() {
    let dir = Scratch::new();
    let (real, link) = (dir.path("real"), dir.path("link"));
    OsFs.create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    OsFs.create(&link.join("file")).unwrap().append(b"x").unwrap();
    OsFs.sync_dir(&link).unwrap();
    assert_eq!(OsFs.list(&link).unwrap(), ["file"]);
}

#[test]
fn what_is_no_file_is_refused_and_holds_nobody_up() {
    let dir = Scratch::new();
    let pipe = dir.path("000001.log");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let socket = dir.path("000002.log");
    let _bound = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    OsFs.create_dir(&dir.path("000003.log")).unwrap();
    for path in [pipe, socket, dir.path("000003.log")] {
        assert!(OsFs.read(&path).is_err(), "{}", path.display());
        assert!(OsFs.open(&path).is_err(), "{}", path.display());
        assert!(OsFs.lock(&path, "me").is_err(), "{}", path.display());
    }
}

#[test]
fn directory_that_is_held_is_the_same_whatever_lies_at_its_path() {
    let dir = Scratch::new();
    let (real, aside) = (dir.path("real"), dir.path("aside"));
    OsFs.create_dir(&real).unwrap();
    let held = OsFs.hold(&real).unwrap().unwrap();
    held.create(&real.join("file")).unwrap().append(b"ours").unwrap();
    OsFs.rename(&real, &aside).unwrap();
    OsFs.create_dir(&real).unwrap();
    OsFs.create(&real.join("file")).unwrap().append(b"theirs").unwrap();
    assert_eq!(held.read(&real.join("file")).unwrap(), b"ours");
    assert_eq!(held.read(&aside.join("file")).unwrap(), b"ours", "other paths lead where they lead");
    held.create(&real.join("next")).unwrap();
    held.sync_dir(&real).unwrap();
    held.link(&real.join("file"), &dir.path("link")).unwrap();
    assert_eq!(OsFs.read(&dir.path("link")).unwrap(), b"ours");
    assert_eq!(
        (held.list(&real).unwrap(), OsFs.list(&real).unwrap()),
        (vec!["file".into(), "next".into()], vec!["file".into()])
    );
    held.remove(&real.join("next")).unwrap();
    assert_eq!(OsFs.list(&aside).unwrap(), ["file"]);
}

#[test]
fn access_tells_kinds_modes_and_links() {
    use super::super::Kind;
    let dir = Scratch::new();
    drop(OsFs.create(&dir.path("a")).unwrap());
    OsFs.link(&dir.path("a"), &dir.path("b")).unwrap();
    OsFs.set_mode(&dir.path("a"), 0o640).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path("c")).unwrap();
    let access = OsFs.access(&dir.0).unwrap().unwrap();
    let told: Vec<_> = access.files.iter().map(|(name, file)| (name.as_str(), file.kind, file.links)).collect();
    assert_eq!(told, [("a", Kind::File, 2), ("b", Kind::File, 2), ("c", Kind::Link, 1)]);
    assert_eq!((access.files[1].1.mode, access.dir.mode, access.dir.uid), (0o640, 0o700, access.me));
}

#[test]
fn what_is_released_reaches_nothing_even_where_another_directory_has_its_path() {
    let dir = Scratch::new();
    OsFs.create_dir(&dir.path("store")).unwrap();
    let held = OsFs.hold(&dir.path("store")).unwrap().unwrap();
    let file = dir.path("store").join("a");
    held.create(&file).unwrap().append(b"ours").unwrap();
    OsFs.rename(&dir.path("store"), &dir.path("moved")).unwrap();
    OsFs.create_dir(&dir.path("store")).unwrap();
    OsFs.create(&file).unwrap().append(b"another's").unwrap();
    assert_eq!(held.read(&file).unwrap(), b"ours", "held, whatever its path leads to");
    held.release();
    assert_eq!(held.remove(&file).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(held.create(&dir.path("store").join("b")).is_err());
    assert_eq!(OsFs.read(&file).unwrap(), b"another's");
}
