//! A log cut anywhere comes back as a prefix of what was appended, at least as long as what was synced.
use super::*;
use std::cell::Cell;

/// How far the script came before the crash.
#[derive(Default)]
struct Progress {
    /// The log was made, so a manifest may name it.
    made: Cell<bool>,
    appended: Cell<usize>,
    synced: Cell<usize>,
}

fn payload(i: usize) -> Vec<u8> {
    vec![i as u8 + 1; 1 + (i * 397) % 1500]
}

/// Appends, syncs now and then, and rotates as files fill, until done or cut.
fn script(fs: impl Fs, progress: &Progress) -> Result<()> {
    let mut log = LogWriter::create(Arc::new(fs), dir(), STORE, FileId(1), 4000, LogMode::Mapped)?;
    progress.made.set(true);
    for i in 0..25 {
        let bytes = payload(i);
        if !log.fits(bytes.len()) {
            log.rotate(FileId(log.file().0 + 1), bytes.len())?;
        }
        log.append(&bytes)?;
        progress.appended.set(i + 1);
        if i % 5 == 2 {
            log.syncer().sync_to(log.position())?;
            progress.synced.set(i + 1);
        }
    }
    Ok(())
}

/// Checks what is left; says what is wrong with it.
fn check(fs: &MemFs, progress: &Progress) -> std::result::Result<(), String> {
    if !progress.made.get() {
        return Ok(());
    }
    let names = fs.list(dir()).unwrap();
    let files: Vec<u64> = names.iter().map(|name| name.trim_end_matches(".log").parse().unwrap()).collect();
    let (found, _) = recover(fs, if files.is_empty() { &[1] } else { &files }).map_err(|error| error.to_string())?;
    // An append that was cut may be whole: it counts as appended although its caller never knew.
    if found.len() > progress.appended.get() + 1 || !found.iter().enumerate().all(|(i, bytes)| *bytes == payload(i)) {
        return Err(format!("{} batches that are no prefix", found.len()));
    }
    if found.len() < progress.synced.get() {
        return Err(format!("{} batches of {} synced", found.len(), progress.synced.get()));
    }
    Ok(())
}

/// Runs the script once per operation it does, cut there, and calls `look` on the moment of the cut.
fn at_every_op(hook: &SyncHook, mut look: impl FnMut(u64, &MemFs, &Progress)) {
    for cut in 0.. {
        let (fs, progress) = (store(), Progress::default());
        fs.crash_at_op(fs.ops() + cut);
        let outcome = script(Hooked::new(fs.clone(), hook.clone()), &progress);
        look(cut, &fs, &progress);
        if outcome.is_ok() {
            assert!(cut > 40, "the script does more than {cut} operations");
            return;
        }
    }
}

/// How many crashes show that something is wrong.
fn crashes_caught(
    hook: impl Fn(&Path, &dyn Fn() -> io::Result<()>) -> io::Result<()> + Send + Sync + 'static,
) -> usize {
    let hook: SyncHook = Arc::new(hook);
    let mut caught = 0;
    at_every_op(&hook, |_, fs, progress| {
        caught += (0..40).filter(|&seed| check(&fs.crash(seed), progress).is_err()).count();
    });
    caught
}

#[test]
fn log_cut_anywhere_is_a_prefix_that_holds_what_was_synced() {
    let honest: SyncHook = Arc::new(|_, sync| sync());
    at_every_op(&honest, |cut, fs, progress| {
        for seed in 0..40 {
            check(&fs.crash(seed), progress).unwrap_or_else(|wrong| panic!("cut={cut} seed={seed}: {wrong}"));
        }
        let killed = fs.kill();
        check(&killed, progress).unwrap_or_else(|wrong| panic!("cut={cut} killed: {wrong}"));
        if progress.made.get() {
            let found = recover(&killed, &[1]).unwrap().0.len();
            assert!(found >= progress.appended.get(), "cut={cut}: a killed process loses nothing");
        }
    });
}

#[test]
fn canary_a_log_that_syncs_no_file_is_caught() {
    assert!(crashes_caught(|path, sync| if path == dir() { sync() } else { Ok(()) }) > 100);
}

#[test]
fn canary_a_log_that_syncs_no_directory_is_caught() {
    assert!(crashes_caught(|path, sync| if path == dir() { Ok(()) } else { sync() }) > 100);
}

#[test]
fn canary_a_log_that_leaves_out_its_second_file_is_caught() {
    // The file that matters is neither the first nor the newest: what is forgotten there leaves a hole.
    assert!(crashes_caught(|at, sync| if at == path(2) { Ok(()) } else { sync() }) > 10);
}
