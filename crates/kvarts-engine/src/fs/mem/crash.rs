//! What is left after a power loss, and after a killed process.
use super::dir::{Dir, EntryOp, Node, Tree};
use super::file::{FileData, Image, PendingWrite, SECTOR_BYTES};
use super::{Inode, MemFs};
use crate::fs::chance::Chance;
use crate::sync::RwLock;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

impl MemFs {
    /// Returns the file system as a power loss at this moment could leave it: one of many outcomes, chosen by `seed`.
    ///
    /// The same operations and the same seed give the same outcome. It shares nothing with `self`, which goes on
    /// unharmed; locks are free in it, and nothing in it fails or is counted yet.
    pub fn crash(&self, seed: u64) -> Self {
        let mut chance = Chance(seed);
        self.copy(&mut |dir| crash_dir(dir, &mut chance.fork()), &mut crash_file, seed)
    }

    /// Returns the file system as a killed process leaves it: nothing written is lost, locks are free, and what was not
    /// synced can still be lost to a later crash.
    pub fn kill(&self) -> Self {
        let mut keep = |data: &FileData, _: &mut Chance| data.released();
        self.copy(&mut Dir::clone, &mut keep, 0)
    }

    fn copy(
        &self,
        choose_entries: &mut dyn FnMut(&Dir) -> Dir,
        choose_bytes: &mut dyn FnMut(&FileData, &mut Chance) -> FileData,
        seed: u64,
    ) -> Self {
        let world = self.shared.world.lock();
        if !world.tracked {
            let mut keep = |data: &FileData, _: &mut Chance| data.released();
            return Self::from_tree(copy_tree(&world.tree, &mut Dir::clone, &mut keep, seed), false);
        }
        Self::from_tree(copy_tree(&world.tree, choose_entries, choose_bytes, seed), true)
    }
}

/// Copies all directories, and each file once, however many names it has.
fn copy_tree(
    tree: &Tree,
    choose_entries: &mut dyn FnMut(&Dir) -> Dir,
    choose_bytes: &mut dyn FnMut(&FileData, &mut Chance) -> FileData,
    seed: u64,
) -> Tree {
    let mut chance = Chance(seed ^ 0x5eed_f11e);
    let mut copies: HashMap<*const Inode, Arc<Inode>> = HashMap::new();
    let mut copy_node = |node: &Node| match node {
        Node::Dir(id) => Node::Dir(*id),
        Node::File(inode) => {
            let copy = copies.entry(Arc::as_ptr(inode)).or_insert_with(|| {
                // Every file draws from its own stream, so that one more write to one file does not reshuffle the others.
                Arc::new(RwLock::new(choose_bytes(&inode.read(), &mut chance.fork())))
            });
            Node::File(copy.clone())
        }
    };
    let mut dirs = Vec::with_capacity(tree.dirs.len());
    for dir in &tree.dirs {
        let mut dir = choose_entries(dir);
        dir.durable.values_mut().for_each(|node| *node = copy_node(node));
        dir.current.values_mut().for_each(|node| *node = copy_node(node));
        for op in &mut dir.pending {
            op.map_node(&mut copy_node);
        }
        dirs.push(dir);
    }
    Tree { dirs }
}

/// Of the unsynced operations none, all, a prefix or a choice survives.
fn crash_dir(dir: &Dir, chance: &mut Chance) -> Dir {
    let mut durable = dir.durable.clone();
    let kept = match chance.below(4) {
        0 => 0,
        1 => dir.pending.len(),
        _ => chance.below(dir.pending.len() + 1),
    };
    dir.pending[..kept].iter().for_each(|op| op.apply_to(&mut durable));
    if chance.below(2) == 0 {
        keep_entries(&mut durable, &dir.pending[kept..], chance);
    }
    Dir { current: durable.clone(), durable, pending: Vec::new() }
}

/// Keeps some operations. Those on one name survive in order; a rename of a file that survives may have left its old name
/// there. A directory never has two names.
fn keep_entries(durable: &mut BTreeMap<String, Node>, pending: &[EntryOp], chance: &mut Chance) {
    let mut lost = BTreeSet::new();
    for op in pending {
        let (name, other) = op.names();
        let is_bound = lost.contains(name) || other.is_some_and(|other| lost.contains(other));
        if is_bound || chance.below(2) == 0 {
            lost.insert(name);
            lost.extend(other);
            continue;
        }
        op.apply_to(durable);
        if let EntryOp::Rename(from, _, node @ Node::File(_)) = op
            && chance.below(4) == 0
        {
            durable.insert(from.clone(), node.clone());
            lost.insert(name);
        }
    }
}

fn crash_file(data: &FileData, chance: &mut Chance) -> FileData {
    let mut image = data.durable.clone();
    match chance.below(5) {
        0 => {}
        1 => image = data.current.clone(),
        2 => keep_prefix(&mut image, &data.pending, chance),
        3 => keep_sectors(&mut image, &data.pending, chance),
        _ => keep_writes(&mut image, &data.pending, chance),
    }
    // The length is metadata: it may have got ahead of the bytes, which then read as zeros.
    if chance.below(2) == 0 {
        image.len = image.len.max(data.current.len);
    }
    FileData::settled(image)
}

/// Keeps the first few writes, the last of them cut at a sector's edge or at any byte.
fn keep_prefix(image: &mut Image, pending: &[PendingWrite], chance: &mut Chance) {
    let whole = chance.below(pending.len() + 1);
    for write in &pending[..whole] {
        image.copy_from(write, write.offset, write.end());
    }
    if let Some(torn) = pending.get(whole) {
        tear(image, torn, chance);
    }
}

/// Keeps each write or not, whatever became of those before it; some are torn.
fn keep_writes(image: &mut Image, pending: &[PendingWrite], chance: &mut Chance) {
    for write in pending {
        match chance.below(8) {
            0..4 => image.copy_from(write, write.offset, write.end()),
            4 => tear(image, write, chance),
            _ => {}
        }
    }
}

/// Keeps the start of a write, up to a sector's edge or to any byte; what follows may be junk.
fn tear(image: &mut Image, torn: &PendingWrite, chance: &mut Chance) {
    let cut = torn.offset + chance.below((torn.end() - torn.offset) as usize + 1) as u64;
    let edge = if chance.below(2) == 0 { cut / SECTOR_BYTES * SECTOR_BYTES } else { cut };
    if edge > torn.offset {
        image.copy_from(torn, torn.offset, edge);
    }
    if chance.below(4) == 0 {
        let rest = torn.end() - edge.max(torn.offset);
        image.junk(edge.max(torn.offset), rest as usize, &mut || chance.next() as u8);
    }
}

/// Keeps each sector as it was at some moment since the sync, each at a moment of its own.
fn keep_sectors(image: &mut Image, pending: &[PendingWrite], chance: &mut Chance) {
    let mut touching: BTreeMap<u64, Vec<&PendingWrite>> = BTreeMap::new();
    for write in pending.iter().filter(|write| write.end() > write.offset) {
        for sector in write.offset / SECTOR_BYTES..=(write.end() - 1) / SECTOR_BYTES {
            touching.entry(sector).or_default().push(write);
        }
    }
    for (sector, writes) in touching {
        // Half of the sectors are as before or as now; the others were written out somewhere in between.
        let kept = match chance.below(4) {
            0 => 0,
            1 => writes.len(),
            _ => chance.below(writes.len() + 1),
        };
        let (start, end) = (sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
        for write in &writes[..kept] {
            image.copy_from(write, start.max(write.offset), end.min(write.end()));
        }
    }
}
