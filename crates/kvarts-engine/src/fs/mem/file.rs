//! A file's bytes: the durable image, and the writes since.

/// Bytes that a disk writes as one.
pub(super) const SECTOR_BYTES: u64 = 512;

/// Content of a file: `bytes`, then zeros up to `len` (so that a preallocated log costs no memory).
#[derive(Clone, Default)]
pub(super) struct Image {
    bytes: Vec<u8>,
    pub(super) len: u64,
}

impl Image {
    /// Returns `len` bytes at `offset` for writing, zero where nothing was written before.
    fn range_mut(&mut self, offset: u64, len: usize) -> &mut [u8] {
        let (start, end) = (offset as usize, offset as usize + len);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.len = self.len.max(end as u64);
        &mut self.bytes[start..end]
    }

    /// Overwrites `range` (offsets in the file) with what `write` holds there.
    pub(super) fn copy_from(&mut self, write: &PendingWrite, start: u64, end: u64) {
        let from = &write.bytes[(start - write.offset) as usize..(end - write.offset) as usize];
        self.range_mut(start, from.len()).copy_from_slice(from);
    }

    /// Overwrites `len` bytes from `start` on with what `byte` gives.
    pub(super) fn junk(&mut self, start: u64, len: usize, byte: &mut dyn FnMut() -> u8) {
        self.range_mut(start, len).iter_mut().for_each(|at| *at = byte());
    }

    fn truncate(&mut self, len: u64) {
        self.len = self.len.min(len);
        self.bytes.truncate(self.len as usize);
    }

    fn flip(&mut self, offset: u64, xor: u8) {
        if offset < self.len {
            self.range_mut(offset, 1)[0] ^= xor;
        }
    }
}

/// A write since the last sync.
#[derive(Clone)]
pub(super) struct PendingWrite {
    pub(super) offset: u64,
    bytes: Vec<u8>,
}

impl PendingWrite {
    pub(super) fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// Who holds a lock on a file.
#[derive(Clone, Copy, Default)]
pub(super) struct Locks {
    pub(super) writer: bool,
    pub(super) readers: u32,
}

/// A file. Invariant: `current` is `durable` with `pending` applied in order and grown to its length.
#[derive(Clone)]
pub(super) struct FileData {
    tracked: bool,
    pub(super) durable: Image,
    pub(super) current: Image,
    pub(super) pending: Vec<PendingWrite>,
    /// Someone holds the lock.
    pub(super) locks: Locks,
}

impl FileData {
    /// Returns a file of `capacity` zeros, of which nothing is durable: after a crash it may be empty.
    pub(super) fn new(tracked: bool, capacity: u64) -> Self {
        let current = Image { bytes: Vec::new(), len: capacity };
        Self { tracked, durable: Image::default(), current, pending: Vec::new(), locks: Locks::default() }
    }

    /// Returns a file whose every byte is durable.
    pub(super) fn settled(image: Image) -> Self {
        Self { tracked: true, durable: image.clone(), current: image, pending: Vec::new(), locks: Locks::default() }
    }

    /// Returns a copy that nobody holds the lock of.
    pub(super) fn released(&self) -> Self {
        Self { locks: Locks::default(), ..self.clone() }
    }

    pub(super) fn len(&self) -> u64 {
        self.current.len
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.current.len as usize);
        bytes.extend_from_slice(&self.current.bytes);
        bytes.resize(self.current.len as usize, 0);
        bytes
    }

    /// Copies bytes at `offset` into `buf`; returns false where the file is shorter.
    pub(super) fn read_at(&self, offset: u64, buf: &mut [u8]) -> bool {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.current.len) {
            return false;
        }
        let written = self.current.bytes.get(offset as usize..).unwrap_or(&[]);
        let copied = written.len().min(buf.len());
        buf[..copied].copy_from_slice(&written[..copied]);
        buf[copied..].fill(0);
        true
    }

    /// Writes `len` bytes at `offset` as `fill` sets them.
    pub(super) fn write_with(&mut self, offset: u64, len: usize, fill: &mut dyn FnMut(&mut [u8])) {
        let range = self.current.range_mut(offset, len);
        fill(range);
        if self.tracked {
            self.pending.push(PendingWrite { offset, bytes: range.to_vec() });
        }
    }

    /// Makes the bytes and the length durable.
    pub(super) fn sync(&mut self) {
        for write in self.pending.drain(..) {
            self.durable.copy_from(&write, write.offset, write.end());
        }
        self.durable.len = self.current.len;
    }

    /// Sets the whole content, durable at once: what is written into a lock file has no part in recovery.
    pub(super) fn replace(&mut self, bytes: &[u8]) {
        self.pending.clear();
        self.current = Image { bytes: bytes.to_vec(), len: bytes.len() as u64 };
        self.durable = self.current.clone();
    }

    /// Damages the file, durable and current alike; unsynced writes count as synced first.
    pub(super) fn flip(&mut self, offset: u64, xor: u8) {
        self.sync();
        self.durable.flip(offset, xor);
        self.current.flip(offset, xor);
    }

    /// Cuts the file, durable and current alike; unsynced writes count as synced first.
    pub(super) fn truncate(&mut self, len: u64) {
        self.sync();
        self.durable.truncate(len);
        self.current.truncate(len);
    }
}
