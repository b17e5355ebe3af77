//! The floor: the name of an empty file says which manifest was in place last, so that an older copy of it is noticed.
//!
//! `NNNNNN-RRRRRR.floor`: manifest file N was durable, and the logs that it names held revision R durably (0: nothing is
//! known). The name is raised by a rename *after* the manifest is durable, so it never says too much: one that lags behind, or
//! is gone, hides damage but makes none.
use super::manifest::MANIFEST;
use super::open::parse_digits;
use crate::fs::Fs;
use crate::{Error, FileId, Result, Revision};
use std::io;
use std::path::Path;

const SUFFIX: &str = ".floor";

/// What is known to have been durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bound {
    /// The manifest that was in place, or an older one than the one that is.
    pub(super) manifest: FileId,
    /// The logs that this manifest names reach this revision.
    pub(super) revision: Revision,
}

/// The floor of a directory.
#[derive(Debug, Default)]
pub(super) struct Floor {
    /// What it says now, if there is one.
    bound: Option<Bound>,
}

/// Reads what the name of a file says, if it is a floor's.
pub(super) fn parse(name: &str) -> Option<Bound> {
    let (manifest, revision) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    Some(Bound { manifest: FileId(parse_digits(manifest)?), revision: Revision(parse_digits(revision)?) })
}

fn name_of(bound: Bound) -> String {
    format!("{:06}-{:06}{SUFFIX}", bound.manifest.0, bound.revision.0)
}

impl Floor {
    /// Finds the floor of a directory that holds `names`.
    pub(super) fn find(names: &[String]) -> Self {
        Self { bound: names.iter().filter_map(|name| parse(name)).max() }
    }

    /// The revision that the logs must reach, given the manifest that was found. Errors: `Corruption` where that is older
    /// than one that was in place.
    pub(super) fn check(&self, dir: &Path, found: FileId) -> Result<Revision> {
        match self.bound {
            Some(bound) if found < bound.manifest => {
                let what = format!("it is manifest {}, an older one: {} was in place", found.0, bound.manifest.0);
                Err(Error::Corruption { file: dir.join(MANIFEST), offset: 0, what })
            }
            Some(bound) if found == bound.manifest => Ok(bound.revision),
            _ => Ok(Revision::ZERO),
        }
    }

    /// Raises the floor; durable on return, unless the name could not be changed: then it stays where it was.
    pub(super) fn raise(&mut self, fs: &dyn Fs, dir: &Path, bound: Bound) -> io::Result<()> {
        let to = dir.join(name_of(bound));
        let raised = match self.bound {
            Some(before) if before == bound => return Ok(()),
            Some(before) => fs.rename(&dir.join(name_of(before)), &to),
            None => fs.create(&to).map(drop),
        };
        // One that could not be renamed is begun anew the next time, in case it is gone.
        self.bound = raised.is_ok().then_some(bound);
        if raised.is_ok() { fs.sync_dir(dir) } else { Ok(()) }
    }

    /// Raises the revision that the logs of the manifest in place reach.
    pub(super) fn reach(&mut self, fs: &dyn Fs, dir: &Path, revision: Revision) -> io::Result<()> {
        match self.bound {
            Some(bound) if bound.revision < revision => self.raise(fs, dir, Bound { revision, ..bound }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::MemFs;

    fn bound(manifest: u64, revision: u64) -> Bound {
        Bound { manifest: FileId(manifest), revision: Revision(revision) }
    }

    #[test]
    fn names_are_read_back() {
        for bound in [bound(1, 0), bound(12, 7), bound(4_294_967_295, u64::MAX)] {
            assert_eq!(parse(&name_of(bound)), Some(bound));
        }
        for other in ["000001.floor", "1-2.floor", "000001-000002.table", "00000a-000002.floor", "-.floor"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn raising_leaves_one_name_and_an_older_manifest_is_refused() {
        let (fs, dir) = (MemFs::new(), Path::new("/"));
        let mut floor = Floor::default();
        assert_eq!(floor.check(dir, FileId(1)).unwrap(), Revision::ZERO);
        floor.raise(&fs, dir, bound(3, 9)).unwrap();
        floor.raise(&fs, dir, bound(5, 8)).unwrap();
        let names = fs.list(dir).unwrap();
        assert_eq!(names, ["000005-000008.floor"]);
        let found = Floor::find(&names);
        assert!(matches!(found.check(dir, FileId(4)), Err(Error::Corruption { .. })));
        assert_eq!(found.check(dir, FileId(5)).unwrap(), Revision(8));
        assert_eq!(found.check(dir, FileId(6)).unwrap(), Revision::ZERO);
    }

    #[test]
    fn a_floor_that_went_away_is_made_again() {
        let (fs, dir) = (MemFs::new(), Path::new("/"));
        let mut floor = Floor::default();
        floor.raise(&fs, dir, bound(3, 0)).unwrap();
        fs.remove(&dir.join("000003-000000.floor")).unwrap();
        floor.raise(&fs, dir, bound(5, 0)).unwrap();
        floor.raise(&fs, dir, bound(6, 0)).unwrap();
        assert_eq!(fs.list(dir).unwrap(), ["000006-000000.floor"]);
    }
}
