//! How rows become visible: a revision is shown after its rows are in, and a state is counted after it was replaced.
//!
//! A reader takes the count, the state, the newest revision, and the count again. The state comes first: tables in it were
//! made when an earlier revision was visible, so they hold what a later one sees. But the memtable may have been replaced in
//! between, and the new one may hold newer visible rows; then the count moved before they became visible, and the reader
//! takes both again. `models` tries this with every order of threads.
use crate::Revision;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Plant, is_planted, publishing};

/// Raises a counter of revisions that only the holder of the write lock changes.
pub(super) fn raise(counter: &AtomicU64, revision: Revision) {
    if counter.load(Ordering::Relaxed) < revision.0 {
        counter.store(revision.0, publishing(Plant::Show));
    }
}

/// Returns the newest revision that was shown.
pub(super) fn shown(visible: &AtomicU64) -> Revision {
    Revision(visible.load(Ordering::Acquire))
}

/// Replaces a state, by `store`, and counts it.
pub(super) fn replace(generation: &AtomicU64, store: impl FnOnce()) {
    if is_planted(Plant::Count) {
        generation.fetch_add(1, Ordering::AcqRel);
        return store();
    }
    store();
    // After the store: a reader that took the old state and then sees anything published later also sees this.
    generation.fetch_add(1, Ordering::AcqRel);
}

/// Returns a state, by `load`, and the newest visible revision, such that the state holds all of that revision.
pub(super) fn read_point<S>(generation: &AtomicU64, load: impl Fn() -> S, visible: &AtomicU64) -> (S, Revision) {
    loop {
        let before = generation.load(Ordering::Acquire);
        let (state, revision) = (load(), shown(visible));
        if generation.load(Ordering::Acquire) == before || is_planted(Plant::Recheck) {
            return (state, revision);
        }
    }
}
