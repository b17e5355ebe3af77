//! The directories of a machine: `000001`, `000002`, …, of which the highest counts. A store that comes in is put together
//! under `NNNNNN.new` and gets its name by one rename: after a crash there is the old one or the new one, whole.
use super::Result;
use kvarts_engine::Error;
use kvarts_engine::fs::Fs;
use std::io;
use std::path::{Path, PathBuf};

const NEW: &str = ".new";
/// What an open store has besides its rows.
const LOCK: &str = "LOCK";

/// Makes sure that `dir` is there, and returns the number of the store that counts, if there is one.
pub(super) fn find(fs: &dyn Fs, dir: &Path) -> Result<Option<u64>> {
    if !fs.exists(dir).map_err(io_error("looking for", dir))? {
        fs.create_dir(dir).map_err(io_error("making the directory", dir))?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs.sync_dir(parent).map_err(io_error("syncing", parent))?;
        return Ok(None);
    }
    Ok(list(fs, dir)?.iter().filter_map(|name| number_of(name)).max())
}

/// The directory of a store.
pub(super) fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:06}"))
}

/// Where a store is put together.
pub(super) fn new_path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:06}{NEW}"))
}

/// Removes all stores in `dir` but `number`, the ones put together by half too. What stays is removed another time.
pub(super) fn tidy(fs: &dyn Fs, dir: &Path, number: u64) -> Result<()> {
    for name in list(fs, dir)? {
        let half = name.strip_suffix(NEW).and_then(number_of);
        if half.is_some() || number_of(&name).is_some_and(|other| other != number) {
            let _ = remove(fs, &dir.join(name));
        }
    }
    Ok(())
}

/// Puts the files of `from` together under the new name of `number`, by hard links; durable on return.
pub(super) fn assemble(fs: &dyn Fs, from: &Path, dir: &Path, number: u64) -> Result<PathBuf> {
    let to = new_path_of(dir, number);
    if fs.exists(&to).map_err(io_error("looking for", &to))? {
        remove(fs, &to)?;
    }
    fs.create_dir(&to).map_err(io_error("making the directory", &to))?;
    for name in list(fs, from)?.iter().filter(|name| *name != LOCK) {
        let link = to.join(name);
        fs.link(&from.join(name), &link).map_err(io_error("linking", &link))?;
    }
    fs.sync_dir(&to).map_err(io_error("syncing", &to))?;
    Ok(to)
}

/// Gives the store put together under `number` its name: from here on it is the one that counts.
pub(super) fn establish(fs: &dyn Fs, dir: &Path, number: u64) -> Result<PathBuf> {
    let to = path_of(dir, number);
    fs.rename(&new_path_of(dir, number), &to).map_err(io_error("renaming", &to))?;
    fs.sync_dir(dir).map_err(io_error("syncing", dir))?;
    Ok(to)
}

/// Removes a directory of files.
pub(super) fn remove(fs: &dyn Fs, path: &Path) -> Result<()> {
    for name in list(fs, path)? {
        let file = path.join(name);
        fs.remove(&file).map_err(io_error("removing", &file))?;
    }
    Ok(fs.remove_dir(path).map_err(io_error("removing", path))?)
}

fn list(fs: &dyn Fs, dir: &Path) -> Result<Vec<String>> {
    Ok(fs.list(dir).map_err(io_error("listing", dir))?)
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.len() >= 6 && name.bytes().all(|byte| byte.is_ascii_digit());
    if digits { name.parse().ok() } else { None }
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::io(doing, &path, error)
}
