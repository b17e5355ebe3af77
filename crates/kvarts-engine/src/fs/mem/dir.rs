//! Directories: durable entries, current entries, and the operations that lie between them.
use super::Inode;
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

/// Index of a directory in [`Tree::dirs`].
pub(super) type DirId = usize;

const ROOT: DirId = 0;

/// What a name stands for.
#[derive(Clone)]
pub(super) enum Node {
    File(Arc<Inode>),
    Dir(DirId),
}

/// One atomic change of a directory.
#[derive(Clone)]
pub(super) enum EntryOp {
    Set(String, Node),
    Unset(String),
    Rename(String, String, Node),
}

impl EntryOp {
    /// Applies the change to a set of entries.
    pub(super) fn apply_to(&self, entries: &mut BTreeMap<String, Node>) {
        match self {
            Self::Set(name, node) => {
                entries.insert(name.clone(), node.clone());
            }
            Self::Unset(name) => {
                entries.remove(name);
            }
            Self::Rename(from, to, node) => {
                entries.remove(from);
                entries.insert(to.clone(), node.clone());
            }
        }
    }

    /// The names that the change touches: of a rename the old one, then the new.
    pub(super) fn names(&self) -> (&str, Option<&str>) {
        match self {
            Self::Set(name, _) | Self::Unset(name) => (name, None),
            Self::Rename(from, to, _) => (from, Some(to)),
        }
    }

    /// Replaces the node by what `map` makes of it.
    pub(super) fn map_node(&mut self, map: &mut dyn FnMut(&Node) -> Node) {
        match self {
            Self::Set(_, node) | Self::Rename(_, _, node) => *node = map(node),
            Self::Unset(_) => {}
        }
    }
}

/// A directory. Invariant: `current` is `durable` with `pending` applied in order (untracked: `durable` stays empty).
#[derive(Clone, Default)]
pub(super) struct Dir {
    pub(super) durable: BTreeMap<String, Node>,
    pub(super) current: BTreeMap<String, Node>,
    pub(super) pending: Vec<EntryOp>,
}

impl Dir {
    pub(super) fn apply(&mut self, op: EntryOp, tracked: bool) {
        op.apply_to(&mut self.current);
        if tracked {
            self.pending.push(op);
        }
    }

    pub(super) fn sync(&mut self) {
        for op in self.pending.drain(..) {
            op.apply_to(&mut self.durable);
        }
    }
}

/// All directories; the first is `/`. A directory that is removed loses its name only: stores make few.
pub(super) struct Tree {
    pub(super) dirs: Vec<Dir>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { dirs: vec![Dir::default()] }
    }
}

impl Tree {
    pub(super) fn add_dir(&mut self) -> DirId {
        self.dirs.push(Dir::default());
        self.dirs.len() - 1
    }

    /// Returns the directory and the name that `path` stands for; the directory must exist, the name need not.
    pub(super) fn place(&self, path: &Path) -> io::Result<(DirId, String)> {
        let mut names = names(path)?;
        let last = names.pop().ok_or(io::ErrorKind::AlreadyExists)?;
        match self.walk(&names)? {
            Node::Dir(dir) => Ok((dir, last.to_owned())),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Node> {
        self.walk(&names(path)?)
    }

    pub(super) fn find_dir(&self, path: &Path) -> io::Result<DirId> {
        match self.find(path)? {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn find_file(&self, path: &Path) -> io::Result<Arc<Inode>> {
        match self.find(path)? {
            Node::File(inode) => Ok(inode),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn walk(&self, names: &[&str]) -> io::Result<Node> {
        let mut node = Node::Dir(ROOT);
        for &name in names {
            let Node::Dir(dir) = node else { return Err(io::ErrorKind::NotADirectory.into()) };
            node = self.dirs[dir].current.get(name).ok_or(io::ErrorKind::NotFound)?.clone();
        }
        Ok(node)
    }
}

/// The names along a path. A path that does not start at `/` is taken to.
fn names(path: &Path) -> io::Result<Vec<&str>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(name.to_str().ok_or(io::ErrorKind::InvalidInput)?),
            Component::ParentDir | Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    Ok(names)
}
