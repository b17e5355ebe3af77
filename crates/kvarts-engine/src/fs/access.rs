//! Who else may change, or read, what lies in a store's directory: what is refused, what is told, and what can be mended.
//!
//! The rules are those of ssh and of PostgreSQL's data directory: only the owner (or root) writes; the group may be given
//! reading; what everybody can read is told and not refused. docs/guide/permissions.md tells users.
use super::Fs;
use crate::{Error, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bits by which others than the owner write.
const OTHERS_WRITE: u32 = 0o022;
/// Bits by which those who are neither owner nor in the group do anything.
const ALL_OTHERS: u32 = 0o007;
const ROOT: u32 = 0;

/// What lies under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after what stat(2) tells apart")]
pub enum Kind {
    File,
    Directory,
    Link,
    Pipe,
    Socket,
    Device,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "a file",
            Self::Directory => "a directory",
            Self::Link => "a symbolic link",
            Self::Pipe => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
        })
    }
}

/// What is known of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// What it is.
    pub kind: Kind,
    /// Who owns it.
    pub uid: u32,
    /// Its mode: the permission bits.
    pub mode: u32,
    /// Names it has.
    pub links: u64,
    /// Its length.
    pub bytes: u64,
}

/// Who owns a directory and what lies in it.
#[derive(Clone, Debug)]
pub struct Access {
    /// The user that we act as.
    pub me: u32,
    /// The directory.
    pub dir: Owned,
    /// What lies in it, by name.
    pub files: Vec<(String, Owned)>,
}

/// Something that others may do to a store and should not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Of which file or directory.
    pub path: PathBuf,
    /// What is wrong, to follow the path.
    pub what: String,
    /// The command, or the deed, that cures it.
    pub cure: String,
    /// True where the store is not opened for it.
    pub refused: bool,
    /// The mode that cures it, where one does.
    pub mode: Option<u32>,
}

/// Returns the file system that reaches what lies in `dir` whatever its path leads to later.
pub fn hold(fs: &Arc<dyn Fs>, dir: &Path) -> Result<Arc<dyn Fs>> {
    let held = fs.hold(dir).map_err(|error| Error::io("opening", dir, error))?;
    Ok(held.unwrap_or_else(|| Arc::clone(fs)))
}

/// What was seen of a directory that nobody else may change.
#[derive(Debug, Default)]
pub struct Guarded {
    /// What everybody can read of it.
    pub exposed: Option<Finding>,
    /// What lies in it, by name; nothing where the file system does not tell.
    pub files: Vec<(String, Owned)>,
}

/// Makes sure that nobody else may change `dir`, and what lies in it under a name that is `ours`. With `mends`, sets the modes
/// that stand against it. Errors: `Unsafe`.
pub fn guard(fs: &dyn Fs, dir: &Path, ours: &dyn Fn(&str) -> bool, mends: bool) -> Result<Guarded> {
    if mends {
        mend(fs, dir, ours)?;
    }
    let Some(access) = look(fs, dir)? else { return Ok(Guarded::default()) };
    let found = findings(dir, &access, ours);
    match found.iter().find(|finding| finding.refused) {
        Some(Finding { path, what, cure, .. }) => {
            Err(Error::Unsafe { path: path.clone(), what: what.clone(), hint: cure.clone() })
        }
        None => Ok(Guarded { exposed: found.into_iter().next(), files: access.files }),
    }
}

/// Returns what others may do to `dir`, and to what lies in it under a name that is `ours`.
pub fn survey(fs: &dyn Fs, dir: &Path, ours: &dyn Fn(&str) -> bool) -> Result<Vec<Finding>> {
    Ok(look(fs, dir)?.map(|access| findings(dir, &access, ours)).unwrap_or_default())
}

fn look(fs: &dyn Fs, dir: &Path) -> Result<Option<Access>> {
    fs.access(dir).map_err(|error| Error::io("looking at the permissions of", dir, error))
}

/// Sets the modes that cure what is found, the directory's first: then nobody else can put anything in the way of the others.
pub fn mend(fs: &dyn Fs, dir: &Path, ours: &dyn Fn(&str) -> bool) -> Result<()> {
    let set = |path: &Path, mode| {
        let done = fs.set_mode(path, mode);
        done.map_err(|error| Error::io("setting the mode of", path, error))
    };
    // Twice at most: writing first, then what everybody can read.
    for _ in 0..2 {
        let of_dir = survey(fs, dir, ours)?.into_iter().find(|finding| finding.path == dir);
        if let Some(mode) = of_dir.and_then(|finding| finding.mode) {
            set(dir, mode)?;
        }
    }
    // Looked at again: what lay here before the directory was mended may be something else by now.
    for finding in survey(fs, dir, ours)? {
        if let Some(mode) = finding.mode.filter(|_| finding.path != dir) {
            set(&finding.path, mode)?;
        }
    }
    Ok(())
}

/// Judges who may do what to a store in `dir`: the directory first. Pure.
fn findings(dir: &Path, access: &Access, ours: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let mut found: Vec<Finding> = judge(dir, &access.dir, access.me).into_iter().collect();
    let is_open = access.dir.mode & 0o001 != 0;
    let mut exposed = 0;
    for (name, file) in access.files.iter().filter(|(name, _)| ours(name)) {
        let path = dir.join(name);
        found.extend(judge_kind(&path, name, file).or_else(|| judge(&path, file, access.me)));
        exposed += u32::from(is_open && file.mode & 0o004 != 0);
    }
    if exposed > 0 && !found.iter().any(|finding| finding.path == dir) {
        let path = dir.to_owned();
        let what = format!("can be entered by everybody, and {exposed} of its files read");
        let cure = format!("chmod o-rwx {}", shown(&path));
        found.insert(0, Finding { path, what, cure, refused: false, mode: Some(access.dir.mode & !ALL_OTHERS) });
    }
    found
}

fn judge(path: &Path, one: &Owned, me: u32) -> Option<Finding> {
    let refused =
        |what: String, cure: String, mode| Some(Finding { path: path.to_owned(), what, cure, refused: true, mode });
    if one.uid != me && one.uid != ROOT {
        let cure = format!("run as user {}, or chown -R {me} the store's directory if it is yours", one.uid);
        return refused(format!("belongs to user {}, and we are user {me}", one.uid), cure, None);
    }
    if one.mode & OTHERS_WRITE == 0 {
        return None;
    }
    let what = format!("can be written by others than its owner (mode {:04o})", one.mode);
    if one.uid != me {
        let cure = "it is root's: put the store in a directory of your own inside it".to_owned();
        return refused(what, cure, None);
    }
    // A file with other names may be somebody's file under a name of ours. A table has them where there are checkpoints.
    let is_one = one.kind == Kind::Directory || one.links == 1 || path.extension().is_some_and(|end| end == "table");
    let store = if one.kind == Kind::Directory { path } else { path.parent().unwrap_or(path) };
    let cure = format!("`kvarts doctor {} --fix-permissions`, or open it with fix_permissions=True", shown(store));
    refused(what, cure, is_one.then_some(one.mode & !OTHERS_WRITE))
}

/// Judges what lies under a name of ours.
fn judge_kind(path: &Path, name: &str, one: &Owned) -> Option<Finding> {
    let refused =
        |what: String, cure: String| Some(Finding { path: path.to_owned(), what, cure, refused: true, mode: None });
    if one.kind != Kind::File {
        return refused(format!("is {}, not a file", one.kind), "put the file itself there, or remove it".to_owned());
    }
    // The lock is the one file that is written under a name that was there.
    if name == "LOCK" && one.links > 1 {
        let what = "is a file that has other names too: writing it would write theirs".to_owned();
        return refused(what, format!("rm {}", shown(path)));
    }
    None
}

/// Returns a path as a shell takes it.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = text.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-+:@".contains(letter));
    if is_plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: u32 = 1000;

    fn file(mode: u32) -> Owned {
        Owned { kind: Kind::File, uid: ME, mode, links: 1, bytes: 0 }
    }

    fn dir(mode: u32) -> Owned {
        Owned { kind: Kind::Directory, ..file(mode) }
    }

    fn judged(dir: Owned, name: &str, file: Owned) -> Vec<(bool, Option<u32>)> {
        let access = Access { me: ME, dir, files: vec![(name.to_owned(), file)] };
        let found = findings(Path::new("/s"), &access, &|name| name != "notes");
        assert!(found.iter().all(|one| !one.what.is_empty() && !one.cure.is_empty()));
        found.into_iter().map(|one| (one.refused, one.mode)).collect()
    }

    #[test]
    fn what_only_the_owner_or_root_can_write_is_let_be() {
        for (of_dir, of_file) in [(0o700, 0o600), (0o750, 0o640), (0o711, 0o640), (0o700, 0o644), (0o500, 0o400)] {
            assert_eq!(judged(dir(of_dir), "MANIFEST", file(of_file)), [], "{of_dir:o} {of_file:o}");
        }
        let of_root = Owned { uid: ROOT, ..dir(0o755) };
        assert_eq!(judged(of_root, "MANIFEST", Owned { uid: ROOT, ..file(0o600) }), []);
    }

    #[test]
    fn what_others_can_write_is_refused_and_mended_by_taking_that_alone() {
        assert_eq!(judged(dir(0o770), "MANIFEST", file(0o600)), [(true, Some(0o750))]);
        assert_eq!(judged(dir(0o702), "MANIFEST", file(0o600)), [(true, Some(0o700))]);
        assert_eq!(judged(dir(0o1777), "MANIFEST", file(0o600)), [(true, Some(0o1755))]);
        assert_eq!(judged(dir(0o700), "000001.log", file(0o660)), [(true, Some(0o640))]);
        assert_eq!(judged(dir(0o700), "000001.log", file(0o602)), [(true, Some(0o600))]);
        assert_eq!(judged(dir(0o700), "notes", file(0o666)), [], "not ours");
    }

    #[test]
    fn what_is_anothers_is_refused_and_not_mended() {
        assert_eq!(judged(Owned { uid: 7, ..dir(0o700) }, "notes", file(0o600)), [(true, None)]);
        assert_eq!(judged(dir(0o700), "MANIFEST", Owned { uid: 7, ..file(0o600) }), [(true, None)]);
        assert_eq!(judged(Owned { uid: ROOT, ..dir(0o2775) }, "notes", file(0o600)), [(true, None)]);
    }

    #[test]
    fn what_everybody_can_read_is_told() {
        assert_eq!(judged(dir(0o755), "MANIFEST", file(0o644)), [(false, Some(0o750))]);
        assert_eq!(judged(dir(0o755), "MANIFEST", file(0o600)), []);
    }

    #[test]
    fn what_is_no_file_is_refused() {
        for kind in [Kind::Directory, Kind::Link, Kind::Pipe, Kind::Socket, Kind::Device] {
            assert_eq!(judged(dir(0o700), "MANIFEST", Owned { kind, ..file(0o600) }), [(true, None)], "{kind}");
        }
    }

    #[test]
    fn other_names_are_for_tables_only() {
        let shared = |mode| Owned { links: 2, ..file(mode) };
        assert_eq!(judged(dir(0o700), "000001.table", shared(0o600)), []);
        assert_eq!(judged(dir(0o700), "000001.table", shared(0o660)), [(true, Some(0o640))]);
        assert_eq!(judged(dir(0o700), "MANIFEST", shared(0o600)), [], "it is replaced, never written");
        assert_eq!(judged(dir(0o700), "MANIFEST", shared(0o660)), [(true, None)]);
        assert_eq!(judged(dir(0o700), "LOCK", shared(0o600)), [(true, None)]);
    }

    #[test]
    fn commands_quote_what_a_shell_would_split() {
        assert_eq!(shown(Path::new("/a/b-1.log")), "/a/b-1.log");
        assert_eq!(shown(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
