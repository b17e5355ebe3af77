//! How a machine that split gives its other half away: a copy of itself by hard links that begins a life of its own.
use super::command::EntryWork;
use super::handle::{Machine, Shared, fresh_dir};
use super::place::path_of;
use super::range::RANGE;
use super::rows::{MEMBERSHIP, Position, system_key};
use super::{Error, Result};
use kvarts_engine::db::Applier;
use std::path::Path;

/// Where every group begins: at the entry that founds it.
const FOUNDED: (u64, u64) = (1, 0);

impl Machine {
    /// Makes a copy at `to` (absent; its parent is there) by hard links, as the first state of another group: with its members and
    /// its system rows, at the position where groups begin. Users' rows, sessions, locks and revisions go on as they are.
    /// Durable on return, but for the name of `to`.
    pub fn found(&self, to: &Path, membership: &[u8], rows: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<()> {
        let (fs, options) = self.parts();
        fresh_dir(&**fs, to)?;
        self.checkpoint(&path_of(to, 1))?;
        let mut options = options.clone();
        options.engine.background = false;
        let copy = Self::open(std::sync::Arc::clone(fs), to, options)?;
        copy.shared().begin(membership, rows)?;
        copy.flush()?;
        copy.close()
    }
}

impl Shared {
    /// Takes the first position of a group, whatever the one before was; its stamp goes on.
    fn begin(&self, membership: &[u8], rows: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<()> {
        let _applying = self.applying.lock();
        let held = self.held()?;
        let (index, term) = FOUNDED;
        let position = Position { index, term, stamp_us: held.position().stamp_us };
        let keys: Vec<Vec<u8>> = rows.iter().map(|(key, _)| system_key(key)).collect();
        let written = keys.iter().zip(rows).map(|(key, (_, value))| (key.as_slice(), value.as_deref()));
        let all = std::iter::once((MEMBERSHIP, Some(membership))).chain(written);
        let decide = |applier: &mut Applier<'_>| EntryWork::new(applier, held.tree.id(), position, None).write(all);
        held.db.apply_entry(&held.tree, 0, decide)?;
        held.moved(position, Some(membership));
        if rows.iter().any(|(key, _)| key == RANGE) { held.look_at_range() } else { Ok::<(), Error>(()) }
    }
}
