//! True checksums for mutated bytes: else nothing but the checksum would ever be tried.
use kvarts_formats::FileId;
use kvarts_formats::checksum::{TAG_BYTES, tag};
use kvarts_formats::header::{FileHeader, FileKind, HEADER_BYTES};
use kvarts_formats::record::{RECORD_HEADER_BYTES, record_bytes};

/// The file that inputs are decoded as parts of.
pub const FILE: FileId = FileId(1);
/// The store it belongs to.
pub const STORE: [u8; 16] = [3; 16];

/// Returns `body` with the tag of what stands at `offset`.
pub fn sealed(offset: u64, body: &[u8]) -> Vec<u8> {
    [body, &tag(FILE, offset, &[body])].concat()
}

/// Returns a file: a true header, then `body`.
pub fn file(kind: FileKind, body: &[u8]) -> Vec<u8> {
    [&FileHeader { version: 1, kind, file: FILE, store: STORE, key: None }.encode()[..], body].concat()
}

/// Returns a log of which each record, as far as lengths lead, has a true tag.
pub fn log(body: &[u8]) -> Vec<u8> {
    let mut data = file(FileKind::Log, body);
    let mut at = HEADER_BYTES;
    while data.len() - at >= RECORD_HEADER_BYTES {
        let len = u32::from_le_bytes(data[at + 4..at + 8].try_into().expect("four bytes"));
        let end = at.saturating_add(record_bytes(len as usize));
        if end > data.len() || data[at] == 0 {
            break;
        }
        let seal = tag(FILE, at as u64, &[&data[at..end - TAG_BYTES]]);
        data[end - TAG_BYTES..end].copy_from_slice(&seal);
        at = end;
    }
    data
}
