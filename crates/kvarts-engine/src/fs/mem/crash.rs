//! What is left after a power loss, and after a killed process.
use super::dir::{Dir, Node, Tree};
use super::file::{FileData, Image, PendingWrite, SECTOR_BYTES};
use super::{Inode, MemFs};
use crate::sync::RwLock;
use std::collections::{BTreeMap, HashMap};
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

/// Of the unsynced operations a prefix survives.
fn crash_dir(dir: &Dir, chance: &mut Chance) -> Dir {
    let mut durable = dir.durable.clone();
    for op in &dir.pending[..chance.below(dir.pending.len() + 1)] {
        op.apply_to(&mut durable);
    }
    Dir { current: durable.clone(), durable, pending: Vec::new() }
}

fn crash_file(data: &FileData, chance: &mut Chance) -> FileData {
    let mut image = data.durable.clone();
    match chance.below(4) {
        0 => {}
        1 => image = data.current.clone(),
        2 => keep_prefix(&mut image, &data.pending, chance),
        _ => keep_sectors(&mut image, &data.pending, chance),
    }
    // The length is metadata: it may have got ahead of the bytes, which then read as zeros.
    if chance.below(2) == 0 {
        image.len = image.len.max(data.current.len);
    }
    FileData::settled(image)
}

/// Keeps the first few writes, the last of them cut at a sector's edge.
fn keep_prefix(image: &mut Image, pending: &[PendingWrite], chance: &mut Chance) {
    let whole = chance.below(pending.len() + 1);
    for write in &pending[..whole] {
        image.copy_from(write, write.offset, write.end());
    }
    if let Some(torn) = pending.get(whole) {
        let sectors = (torn.end() - torn.offset) / SECTOR_BYTES;
        let edge = (torn.offset / SECTOR_BYTES + chance.below(sectors as usize + 1) as u64) * SECTOR_BYTES;
        if edge > torn.offset {
            image.copy_from(torn, torn.offset, edge.min(torn.end()));
        }
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

/// A stream of choices made from a seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn fork(&mut self) -> Self {
        Self(self.next())
    }
}
