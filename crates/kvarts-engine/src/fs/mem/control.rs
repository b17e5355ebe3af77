//! What tests use to make things go wrong, and to look at what is there.
use super::MemFs;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

impl MemFs {
    /// Operations so far that changed or synced something, failed ones included. Reads do not count.
    pub fn ops(&self) -> u64 {
        self.shared.world.lock().ops
    }

    /// Lets operations go on until `ops` of them were counted; the next one, and everything after it, reads included,
    /// fails with "crashed" and changes nothing. [`MemFs::crash`] and [`MemFs::kill`] then see that moment.
    pub fn crash_at_op(&self, ops: u64) {
        self.shared.world.lock().ops_max = ops;
    }

    /// Tells whether the crash that was planned has happened.
    pub fn has_crashed(&self) -> bool {
        self.shared.crashed.load(Ordering::SeqCst)
    }

    /// Syncs that succeeded so far, of files and directories.
    pub fn syncs(&self) -> u64 {
        self.shared.world.lock().syncs
    }

    /// Makes every sync fail from now on, or work again.
    pub fn fail_syncs(&self, fail: bool) {
        self.shared.world.lock().syncs_fail = fail;
    }

    /// Sets how many bytes may still be written or allocated; 0 refuses new files too. Removing files gives none back.
    pub fn set_space(&self, bytes: u64) {
        self.shared.world.lock().space = bytes;
    }

    /// Fills the disk, or makes it endless again. Appends to a log go on: their space was allocated.
    pub fn set_full(&self, full: bool) {
        self.set_space(if full { 0 } else { u64::MAX });
    }

    /// Flips the bits of `xor` in one byte, durably. Errors: `NotFound`; `UnexpectedEof` beyond the end.
    pub fn corrupt(&self, path: &Path, offset: u64, xor: u8) -> io::Result<()> {
        let inode = self.shared.world.lock().tree.find_file(path)?;
        let mut data = inode.write();
        if offset >= data.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        data.flip(offset, xor);
        Ok(())
    }

    /// Cuts a file to `len` bytes, durably. Errors: `NotFound`.
    pub fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let inode = self.shared.world.lock().tree.find_file(path)?;
        inode.write().truncate(len);
        Ok(())
    }

    /// Returns the bytes of a file, whether synced or not, also after a planned crash. Not counted.
    pub fn bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        let inode = self.shared.world.lock().tree.find_file(path)?;
        let bytes = inode.read().to_vec();
        Ok(bytes)
    }
}

impl std::fmt::Debug for MemFs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let world = self.shared.world.lock();
        write!(f, "MemFs(ops={} syncs={} crashed={})", world.ops, world.syncs, self.has_crashed())
    }
}
