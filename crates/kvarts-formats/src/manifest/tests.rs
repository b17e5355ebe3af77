use super::*;

pub(super) fn table(file: u64, smallest: &str, largest: &str) -> TableRecord {
    TableRecord {
        file: FileId(file),
        bytes: 1000 + file,
        rows: 50,
        tombstones: 3,
        revision_min: Revision(2),
        revision_max: Revision(90),
        expiry_min_ms: u64::MAX,
        expiry_half_ms: u64::MAX,
        keys: 40,
        smallest: smallest.into(),
        largest: largest.into(),
    }
}

fn tree(id: u32, name: &str, levels: Vec<Vec<TableRecord>>) -> TreeRecord {
    TreeRecord {
        id: TreeId(id),
        name: name.into(),
        key_codec: "str".into(),
        value_codec: "json".into(),
        compression: None,
        flushed: Revision(80),
        levels,
    }
}

fn manifest() -> Manifest {
    let level0 = vec![table(9, "b", "z"), table(7, "a", "y")];
    let level1 = vec![table(3, "a", "c"), table(2, "d", "m")];
    Manifest {
        store: *b"0123456789abcdef",
        next_file: 12,
        next_tree: 6,
        last_revision: Revision(100),
        logs: vec![FileId(10), FileId(11)],
        trees: vec![tree(0, "default", vec![level0, level1]), tree(5, "blå", vec![])],
    }
}

#[test]
fn manifest_round_trips() {
    for manifest in [manifest(), Manifest::default()] {
        assert_eq!(Manifest::decode(&manifest.encode(FileId(1))), Ok(manifest));
    }
}

#[test]
fn any_changed_or_missing_byte_is_an_error() {
    let good = manifest().encode(FileId(1));
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        assert!(Manifest::decode(&bytes).is_err(), "byte {at}");
        assert!(Manifest::decode(&good[..at]).is_err(), "cut at {at}");
    }
    assert!(Manifest::decode(&[&good[..], &[0]].concat()).is_err());
}

#[test]
fn contradictions_are_refused() {
    type Spoil = fn(&mut Manifest);
    let spoils: [(&str, Spoil); 13] = [
        ("same tree id", |m| m.trees[1].id = TreeId(0)),
        ("same tree name", |m| m.trees[1].name = "default".into()),
        ("tree id not given yet", |m| m.next_tree = 5),
        ("file id not given yet", |m| m.next_file = 11),
        ("table id not given yet", |m| m.trees[0].levels[1][0].file = FileId(12)),
        ("same file twice", |m| m.trees[0].levels[1][0].file = FileId(9)),
        ("log is a table", |m| m.logs[0] = FileId(9)),
        ("overlap", |m| m.trees[0].levels[1][0].largest = b"d".to_vec()),
        ("unsorted", |m| m.trees[0].levels[1].swap(0, 1)),
        ("keys turned round", |m| m.trees[0].levels[0][0].largest = b"a".to_vec()),
        ("revisions turned round", |m| m.trees[0].levels[0][0].revision_min = Revision(91)),
        ("more tombstones than rows", |m| m.trees[0].levels[0][0].tombstones = 51),
        ("revision not given yet", |m| m.last_revision = Revision(89)),
    ];
    for (name, spoil) in spoils {
        let mut manifest = manifest();
        spoil(&mut manifest);
        let refused = Manifest::decode(&manifest.encode(FileId(1)));
        assert!(matches!(refused, Err(FormatError::Corrupt { .. })), "{name}: {refused:?}");
    }
}
