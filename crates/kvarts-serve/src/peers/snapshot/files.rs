//! The files of a snapshot that comes in, as they are written. Blocks.
use crc_fast::{CrcAlgorithm, Digest};
use kvarts_engine::fs::{Fs, WriteFile};
use kvarts_wire::v1::SnapshotChunk;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Longest name of a file.
const NAME_BYTES_MAX: usize = 255;

/// Why a snapshot was refused.
#[derive(Debug)]
pub enum Refused {
    /// It is not as it should be.
    Wrong(String),
    /// It could not be written.
    Io(io::Error),
}

/// Files on their way into a directory.
pub struct Files {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// How many the sender has.
    expected: u32,
    done: u32,
    made: Vec<String>,
    open: Option<OpenFile>,
}

struct OpenFile {
    name: String,
    file: Box<dyn WriteFile>,
    digest: Digest,
}

impl Files {
    /// No file yet, in a directory that is empty.
    pub fn new(fs: Arc<dyn Fs>, dir: PathBuf, expected: u32) -> Self {
        Self { fs, dir, expected, done: 0, made: Vec::new(), open: None }
    }

    /// Writes a chunk. With the last one of a file, checks and syncs it.
    pub fn add(&mut self, chunk: &SnapshotChunk) -> Result<(), Refused> {
        let mut open = match self.open.take() {
            Some(open) if open.name == chunk.file => open,
            Some(open) => return Err(wrong(format!("{:?} begins before {:?} ended", chunk.file, open.name))),
            None => self.begin(&chunk.file)?,
        };
        open.digest.update(&chunk.data);
        open.file.append(&chunk.data)?;
        if !chunk.last {
            self.open = Some(open);
            return Ok(());
        }
        open.file.sync()?;
        let crc = open.digest.finalize() as u32;
        if crc != chunk.crc {
            return Err(wrong(format!("{:?} has checksum {crc:08x}, not {:08x}", chunk.file, chunk.crc)));
        }
        self.done += 1;
        Ok(())
    }

    /// Checks that all came, and syncs their names.
    pub fn finish(&mut self) -> Result<(), Refused> {
        if let Some(open) = &self.open {
            return Err(wrong(format!("{:?} was cut off", open.name)));
        }
        if self.done != self.expected {
            return Err(wrong(format!("{} of {} files came", self.done, self.expected)));
        }
        self.fs.sync_dir(&self.dir)?;
        if let Some(parent) = self.dir.parent() {
            self.fs.sync_dir(parent)?;
        }
        Ok(())
    }

    /// Removes what came. True where the directory is empty again.
    pub fn discard(mut self) -> bool {
        self.open = None;
        self.made.iter().all(|name| self.fs.remove(&self.dir.join(name)).is_ok())
    }

    fn begin(&mut self, name: &str) -> Result<OpenFile, Refused> {
        check_name(name)?;
        if self.done == self.expected {
            return Err(wrong(format!("{name:?} is one file more than the {} promised", self.expected)));
        }
        // Errors where a file comes twice.
        let file = self.fs.create(&self.dir.join(name))?;
        self.made.push(name.to_owned());
        Ok(OpenFile { name: name.to_owned(), file, digest: checksum() })
    }
}

/// CRC-32C.
pub fn checksum() -> Digest {
    Digest::new(CrcAlgorithm::Crc32Iscsi)
}

/// Lets through names as stores give them, and none that leads out of the directory.
fn check_name(name: &str) -> Result<(), Refused> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.starts_with('.') || !name.bytes().all(plain) {
        return Err(wrong(format!("{name:?} is no name of a file of ours")));
    }
    Ok(())
}

fn wrong(what: String) -> Refused {
    Refused::Wrong(what)
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(what) => f.write_str(what),
            Self::Io(error) => write!(f, "writing it: {error}"),
        }
    }
}

#[cfg(test)]
mod tests;
