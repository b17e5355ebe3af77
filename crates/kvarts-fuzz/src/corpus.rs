//! Inputs on disk: one file each, named after its bytes, in a folder per target.
#![allow(clippy::disallowed_methods, reason = "a tool of developers, on their own files")]
use crate::Target;
use std::io;
use std::path::{Path, PathBuf};

/// Where the inputs of a target lie.
pub fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// Reads all inputs of a target, in order of their names.
pub fn read(target: &Target) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let entries = match std::fs::read_dir(folder(target)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(&path).map(|bytes| (path, bytes))).collect()
}

/// Writes an input and returns its path.
pub fn keep(target: &Target, input: &[u8]) -> io::Result<PathBuf> {
    let folder = folder(target);
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{:016x}", kvarts_formats::hash::key_hash(input)));
    std::fs::write(&path, input)?;
    Ok(path)
}
