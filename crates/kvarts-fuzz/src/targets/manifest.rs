//! File headers and manifests.
use super::tuples::sentence;
use crate::Verdict;
use crate::seal::{FILE, STORE, file, sealed};
use kvarts_formats::checksum::{TAG_BYTES, tag};
use kvarts_formats::compress::{ByLevel, Compression};
use kvarts_formats::header::{FileHeader, FileKind, HEADER_BYTES};
use kvarts_formats::manifest::{Manifest, TableRecord, TreeRecord};
use kvarts_formats::{FileId, Revision, TreeId};

pub fn header_seeds() -> Vec<Vec<u8>> {
    [FileKind::Table, FileKind::Log, FileKind::Manifest]
        .map(|kind| {
            let header = FileHeader { version: 1, kind, file: FILE, store: STORE, key: None };
            header.encode()[..HEADER_BYTES - TAG_BYTES].to_vec()
        })
        .to_vec()
}

/// A header with a true tag, of the file it names, has one form.
pub fn header(input: &[u8]) -> Verdict {
    let file = input.get(16..24).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")));
    let bytes = [input, &tag(FileId(file), 0, &[input])].concat();
    match FileHeader::decode(&bytes, FileKind::Log) {
        Ok(header) => {
            assert_eq!(header.encode()[..], bytes[..HEADER_BYTES], "a header has one form");
            "ok".to_owned()
        }
        Err(error) => sentence(&error),
    }
}

/// A file of format 2 around the content of a manifest.
fn header2() -> FileHeader {
    FileHeader { version: 2, kind: FileKind::Manifest, file: FILE, store: STORE, key: None }
}

/// Those of format 1, as they are in format 2, and one with trees that say how they are compressed.
pub fn manifest2_seeds() -> Vec<Vec<u8>> {
    let mut manifests = manifests();
    let levels = [Compression::None, Compression::Lz4, Compression::Zstd(9)];
    manifests[1].trees[0].compression = ByLevel::new(levels.to_vec());
    let content = |manifest: &Manifest| {
        let bytes = manifest.encode_sealed(&header2(), FILE);
        bytes[HEADER_BYTES..bytes.len() - TAG_BYTES].to_vec()
    };
    manifests.iter().map(content).collect()
}

/// A manifest of format 2 with a true tag has one form.
pub fn manifest2(input: &[u8]) -> Verdict {
    let bytes = [&header2().encode()[..], &sealed(HEADER_BYTES as u64, input)].concat();
    match Manifest::decode(&bytes) {
        Ok(manifest) => {
            assert_eq!(manifest.encode_sealed(&header2(), FILE), bytes, "a manifest has one form");
            format!("ok {} {}", manifest.version(), manifest.trees.len().min(3))
        }
        Err(error) => sentence(&error),
    }
}

pub fn manifest_seeds() -> Vec<Vec<u8>> {
    let content = |manifest: Manifest| {
        let bytes = manifest.encode(FILE);
        bytes[HEADER_BYTES..bytes.len() - TAG_BYTES].to_vec()
    };
    manifests().map(content).to_vec()
}

fn manifests() -> [Manifest; 2] {
    let table = |file, smallest: &str, largest: &str| TableRecord {
        file: FileId(file),
        bytes: 1,
        rows: 2,
        tombstones: 1,
        revision_min: Revision(1),
        revision_max: Revision(2),
        expiry_min_ms: 3,
        expiry_half_ms: 4,
        keys: 2,
        smallest: smallest.into(),
        largest: largest.into(),
    };
    let tree = |id, levels| TreeRecord {
        id: TreeId(id),
        name: format!("tree{id}"),
        key_codec: "str".into(),
        value_codec: "bytes".into(),
        compression: None,
        flushed: Revision(1),
        levels,
    };
    let levels = vec![vec![table(1, "a", "b")], vec![table(2, "c", "d"), table(3, "e", "f")]];
    let manifest = |trees| Manifest {
        store: STORE,
        next_file: 9,
        next_tree: 3,
        last_revision: Revision(5),
        logs: vec![FileId(7), FileId(8)],
        trees,
    };
    [manifest(vec![]), manifest(vec![tree(0, levels), tree(1, vec![])])]
}

/// A manifest with a true tag has one form.
pub fn manifest(input: &[u8]) -> Verdict {
    let bytes = file(FileKind::Manifest, &sealed(HEADER_BYTES as u64, input));
    match Manifest::decode(&bytes) {
        Ok(manifest) => {
            assert_eq!(manifest.encode(FILE), bytes, "a manifest has one form");
            format!("ok {}", manifest.trees.len().min(3))
        }
        Err(error) => sentence(&error),
    }
}
