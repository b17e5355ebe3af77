//! Descriptors that can be given back.
//!
//! The limit of open files is the process's. Whoever keeps files open only to save opening them again offers them here, and
//! they are asked for when something that cannot wait (a log, a flush, a manifest) finds none left.
use arc_swap::ArcSwapOption;
use rustix::io::Errno;
use std::sync::{Arc, Weak};

/// Keeps descriptors that it can do without.
pub trait Lender: Send + Sync {
    /// Closes some, and tells whether there were any. Called with no lock of a file system's held; must open nothing.
    fn give_back(&self) -> bool;
}

/// Whoever offered any. Changed without a lock: a child that was forked meanwhile would find it taken for ever.
static LENDERS: ArcSwapOption<Vec<Weak<dyn Lender>>> = ArcSwapOption::const_empty();

/// How often one call asks: others may take at once what was given back.
const ASKED_MAX: usize = 32;

/// Offers the descriptors of `lender` for as long as it lives.
pub fn offer(lender: &Arc<dyn Lender>) {
    LENDERS.rcu(|lenders| {
        let others = lenders.iter().flat_map(|lenders| lenders.iter()).filter(|other| other.strong_count() > 0);
        Some(Arc::new(others.cloned().chain([Arc::downgrade(lender)]).collect::<Vec<_>>()))
    });
}

/// Opens a file; where the process or the system has no descriptor left, once more after some were given back.
pub(super) fn with_room<T>(mut open: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 0..ASKED_MAX {
        match open() {
            Err(Errno::MFILE | Errno::NFILE) if are_given_back() => {}
            outcome => return outcome,
        }
    }
    open()
}

fn are_given_back() -> bool {
    let lenders = LENDERS.load_full().unwrap_or_default();
    // All of them are asked, not only as many as it takes: the next file needs one too.
    lenders.iter().filter_map(Weak::upgrade).filter(|lender| lender.give_back()).count() > 0
}
