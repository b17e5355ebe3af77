use super::*;
use std::sync::mpsc;
use std::sync::{Barrier, Mutex};

#[test]
fn synced_position_follows_syncs_not_appends() {
    let fs = store();
    let mut log = writer(fs.clone(), 4096);
    let syncer = log.syncer();
    let made = log.position();
    assert_eq!(syncer.synced(), made, "the header is durable");
    let one = log.append(b"one").unwrap();
    let two = log.append(b"two").unwrap();
    assert_eq!(syncer.synced(), made);
    syncer.sync_to(one).unwrap();
    assert_eq!(syncer.synced(), two, "one sync covers all that was appended");
    let syncs = fs.syncs();
    syncer.sync_to(two).unwrap();
    assert_eq!((fs.syncs(), syncer.syncs()), (syncs, 1), "what is durable is not synced again");
}

#[test]
fn older_files_are_synced_first_and_a_new_file_counts_only_then() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = order.clone();
    let fs = store();
    let hook: SyncHook = Arc::new(move |path, sync| {
        seen.lock().unwrap().push(path.to_owned());
        sync()
    });
    let mut log = writer(Hooked::new(fs.clone(), hook), 4096);
    let syncer = log.syncer();
    log.append(b"one").unwrap();
    log.rotate(FileId(2), 8).unwrap();
    assert_eq!(syncer.synced().file, FileId(1), "the new file's own header does not count before the old file");
    let two = log.append(b"two").unwrap();
    order.lock().unwrap().clear();
    syncer.sync_to(two).unwrap();
    assert_eq!(*order.lock().unwrap(), [path(1), path(2)]);
    assert_eq!(syncer.synced(), two);
}

#[test]
fn syncing_to_the_start_of_a_new_file_makes_the_old_one_durable() {
    let fs = store();
    let mut log = writer(fs.clone(), 4096);
    log.append(b"one").unwrap();
    log.rotate(FileId(2), 8).unwrap();
    log.syncer().sync_to(log.position()).unwrap();
    assert_eq!((log.syncer().synced(), log.syncer().syncs()), (log.position(), 1));
    for seed in 0..50 {
        assert_eq!(recover(&fs.crash(seed), &[1, 2]).unwrap().0, [b"one"], "seed={seed}");
    }
}

#[test]
fn one_sync_serves_all_who_wait() {
    const THREADS: usize = 8;
    let (entered_send, entered) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(Some(gate));
    let fs = store();
    // Holds the first sync of the log after creation (which ends with the directory's) until told to go on.
    let made = AtomicBool::new(false);
    let hook: SyncHook = Arc::new(move |path, sync| {
        if path == dir() {
            made.store(true, Ordering::SeqCst);
        } else if made.load(Ordering::SeqCst)
            && let Some(gate) = gate.lock().unwrap().take()
        {
            entered_send.send(()).unwrap();
            gate.recv().unwrap();
        }
        sync()
    });
    let log = writer(Hooked::new(fs.clone(), hook), 64 << 10);
    let syncer = log.syncer();
    let log = Mutex::new(log);
    let appended = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let end = log.lock().unwrap().append(b"leader").unwrap();
            syncer.sync_to(end).unwrap();
        });
        entered.recv().unwrap();
        let (log, syncer, appended) = (&log, &syncer, &appended);
        for i in 1..THREADS as u8 {
            scope.spawn(move || {
                let end = log.lock().unwrap().append(&[i; 100]).unwrap();
                appended.wait();
                syncer.sync_to(end).unwrap();
                assert!(syncer.synced() >= end);
            });
        }
        // All have appended while the first sync runs; the second sync takes them together.
        appended.wait();
        go.send(()).unwrap();
    });
    assert_eq!(syncer.syncs(), 2);
    for seed in 0..20 {
        assert_eq!(recover(&fs.crash(seed), &[1]).unwrap().0.len(), THREADS, "seed={seed}");
    }
}

#[test]
fn many_threads_append_sync_and_rotate() {
    const THREADS: usize = 4;
    const WRITES: usize = 200;
    let fs = store();
    let log = Mutex::new(writer(fs.clone(), 2000));
    let syncer = log.lock().unwrap().syncer();
    std::thread::scope(|scope| {
        for thread in 0..THREADS as u8 {
            let (log, syncer) = (&log, &syncer);
            scope.spawn(move || {
                for i in 0..WRITES as u8 {
                    let end = {
                        let mut log = log.lock().unwrap();
                        if !log.fits(2) {
                            let next = FileId(log.file().0 + 1);
                            log.rotate(next, 2).unwrap();
                        }
                        log.append(&[thread, i]).unwrap()
                    };
                    syncer.sync_to(end).unwrap();
                    assert!(syncer.synced() >= end);
                }
            });
        }
    });
    let (payloads, report) = recover(&fs.crash(1), &[1]).unwrap();
    assert_eq!((payloads.len(), report.torn), (THREADS * WRITES, None));
    for thread in 0..THREADS as u8 {
        let own: Vec<u8> = payloads.iter().filter(|p| p[0] == thread).map(|p| p[1]).collect();
        assert!(own.is_sorted() && own.len() == WRITES, "each thread's writes are in its order");
    }
}

#[test]
fn failed_sync_poisons_for_good() {
    let fs = store();
    let mut log = writer(fs.clone(), 4096);
    let syncer = log.syncer();
    let one = log.append(b"one").unwrap();
    syncer.sync_to(one).unwrap();
    let two = log.append(b"two").unwrap();
    fs.fail_syncs(true);
    let Err(Error::Poisoned(cause)) = syncer.sync_to(two) else { panic!("the sync failed") };
    assert!(cause.contains("000001.log"), "{cause}");
    fs.fail_syncs(false);
    let syncs = fs.syncs();
    for position in [one, two] {
        assert!(matches!(syncer.sync_to(position), Err(Error::Poisoned(_))));
    }
    assert_eq!((fs.syncs(), syncer.synced()), (syncs, one), "nothing is retried, nothing more is promised");
}

#[test]
fn closing_waits_for_the_sync_that_runs_and_lets_every_file_go() {
    let (entered_send, entered) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let holding = Arc::new(AtomicBool::new(false));
    let armed = holding.clone();
    let hook: SyncHook = Arc::new(move |_, sync| {
        if armed.swap(false, Ordering::SeqCst) {
            entered_send.send(()).unwrap();
            gate.lock().unwrap().recv().unwrap();
        }
        sync()
    });
    let files = Arc::downgrade(&hook);
    let mut log = writer(Hooked::new(store(), hook), 4096);
    let syncer = log.syncer();
    log.append(b"one").unwrap();
    log.rotate(FileId(2), 8).unwrap();
    let two = log.append(b"two").unwrap();
    holding.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| syncer.sync_to(two));
        entered.recv().unwrap();
        let closer = scope.spawn(|| {
            syncer.close();
            syncer.synced()
        });
        go.send(()).unwrap();
        leader.join().unwrap().unwrap();
        assert_eq!(closer.join().unwrap(), two, "the sync was not cut short");
    });
    let three = log.append(b"three").unwrap();
    drop(log);
    assert!(files.upgrade().is_none(), "nobody holds a file of the log");
    syncer.sync_to(two).unwrap();
    assert!(matches!(syncer.sync_to(three), Err(Error::Closed)));
}
