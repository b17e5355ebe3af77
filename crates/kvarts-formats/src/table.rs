//! The tail of a table: properties block and footer. `header, data blocks, filter, index, properties, footer`.
//!
//! Footer: `magic 8, three handles (offset u64, length u32, zero u32) for index, filter and properties, zero 56, tag 16`.
//! Properties: `layout u32 (1), zero u32`, the nine numbers as u64 in the order of [`Properties`], then the smallest and
//! the largest key, each with its length (u32) in front.
use crate::bytes::{Reader, all_zero, push_bytes, u32_at, u64_at};
use crate::checksum::TAG_BYTES;
use crate::header::HEADER_BYTES;
use crate::index::BlockHandle;
use crate::seal::Seal;
use crate::{FormatError, Result, Revision};

/// Bytes of the footer, its tag included; it ends the file.
pub const FOOTER_BYTES: usize = 128;

const FOOTER_MAGIC: [u8; 8] = *b"kvtable\n";
const CONTENT_BYTES: usize = FOOTER_BYTES - TAG_BYTES;
const PROPERTIES_LAYOUT: u32 = 1;

/// Where the parts of a table lie. Each is a sealed block (see [`crate::compress`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The index block.
    pub index: BlockHandle,
    /// The filter block; length 0 where the table has none.
    pub filter: BlockHandle,
    /// The properties block.
    pub properties: BlockHandle,
}

impl Footer {
    /// Encodes the footer that starts at `offset` of a file.
    pub fn encode<'a>(&self, seal: impl Into<Seal<'a>>, offset: u64) -> [u8; FOOTER_BYTES] {
        let mut out = [0; FOOTER_BYTES];
        out[..8].copy_from_slice(&FOOTER_MAGIC);
        for (i, handle) in [self.index, self.filter, self.properties].into_iter().enumerate() {
            let at = 8 + 16 * i;
            out[at..at + 8].copy_from_slice(&handle.offset.to_le_bytes());
            out[at + 8..at + 12].copy_from_slice(&handle.len.to_le_bytes());
        }
        let tag = seal.into().close(offset.into(), &mut out[..CONTENT_BYTES], 0);
        out[CONTENT_BYTES..].copy_from_slice(&tag);
        out
    }

    /// Decodes and checks it. Every part that it names lies between the header and the footer. Errors: `Corrupt`.
    pub fn decode<'a>(seal: impl Into<Seal<'a>>, offset: u64, bytes: &[u8]) -> Result<Self> {
        let seal = seal.into();
        let starts_well = seal.hides() || bytes.starts_with(&FOOTER_MAGIC);
        if bytes.len() != FOOTER_BYTES || !starts_well {
            return Err(FormatError::corrupt(0, "a table does not end in a footer"));
        }
        let (content, tag) = bytes.split_at(CONTENT_BYTES);
        let Some(bytes) = seal.open(offset.into(), content, 0, tag) else {
            return Err(FormatError::corrupt(0, "the checksum of a footer differs"));
        };
        if bytes[..8] != FOOTER_MAGIC {
            return Err(FormatError::corrupt(0, "a table does not end in a footer"));
        }
        let handle = |i: usize| {
            let at = 8 + 16 * i;
            let handle = BlockHandle { offset: u64_at(&bytes, at), len: u32_at(&bytes, at + 8) };
            let is_absent = i == 1 && handle.len == 0;
            let lies_inside =
                handle.len > 0 && handle.offset >= HEADER_BYTES as u64 && handle.end().is_some_and(|end| end <= offset);
            if u32_at(&bytes, at + 12) != 0 || !(is_absent || lies_inside) {
                return Err(FormatError::corrupt(at, "a footer names a part that lies outside the table"));
            }
            Ok(handle)
        };
        if !all_zero(&bytes[56..CONTENT_BYTES]) {
            return Err(FormatError::corrupt(56, "a reserved field of a footer is not zero"));
        }
        Ok(Self { index: handle(0)?, filter: handle(1)?, properties: handle(2)? })
    }
}

/// What is known of a table's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Rows, tombstones included.
    pub rows: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Rows with an expiry.
    pub expiring: u64,
    /// Bytes of keys and values before compression.
    pub raw_bytes: u64,
    /// Smallest revision.
    pub revision_min: Revision,
    /// Largest revision.
    pub revision_max: Revision,
    /// Earliest expiry among its rows (Unix milliseconds); `u64::MAX` where none expires.
    pub expiry_min_ms: u64,
    /// About when half of its rows will have expired (Unix milliseconds); `u64::MAX` where fewer expire.
    pub expiry_half_ms: u64,
    /// Distinct keys: the other rows are older versions of theirs.
    pub keys: u64,
    /// Smallest key.
    pub smallest: Vec<u8>,
    /// Largest key.
    pub largest: Vec<u8>,
}

impl Properties {
    /// Encodes the properties (raw).
    pub fn encode(&self) -> Vec<u8> {
        let numbers = [
            self.rows,
            self.tombstones,
            self.expiring,
            self.raw_bytes,
            self.revision_min.0,
            self.revision_max.0,
            self.expiry_min_ms,
            self.expiry_half_ms,
            self.keys,
        ];
        let mut out = Vec::with_capacity(88 + self.smallest.len() + self.largest.len());
        out.extend_from_slice(&u64::from(PROPERTIES_LAYOUT).to_le_bytes());
        numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        push_bytes(&mut out, &self.smallest);
        push_bytes(&mut out, &self.largest);
        out
    }

    /// Decodes them. Errors: `Corrupt`.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        if reader.u64()? != u64::from(PROPERTIES_LAYOUT) {
            return Err(FormatError::corrupt(0, "unknown layout of properties"));
        }
        let properties = Self {
            rows: reader.u64()?,
            tombstones: reader.u64()?,
            expiring: reader.u64()?,
            raw_bytes: reader.u64()?,
            revision_min: Revision(reader.u64()?),
            revision_max: Revision(reader.u64()?),
            expiry_min_ms: reader.u64()?,
            expiry_half_ms: reader.u64()?,
            keys: reader.u64()?,
            smallest: reader.bytes()?.to_vec(),
            largest: reader.bytes()?.to_vec(),
        };
        reader.finish()?;
        properties.check()?;
        Ok(properties)
    }

    fn check(&self) -> Result<()> {
        let is_counted = self.tombstones.checked_add(self.expiring).is_some_and(|some| some <= self.rows);
        let is_ordered = self.expiry_min_ms <= self.expiry_half_ms && self.keys <= self.rows;
        if !is_counted || !is_ordered || self.revision_min > self.revision_max || self.smallest > self.largest {
            return Err(FormatError::corrupt(0, "the properties of a table contradict each other"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileId;

    fn footer() -> Footer {
        let handle = |offset, len| BlockHandle { offset, len };
        Footer { index: handle(5000, 300), filter: handle(4000, 1000), properties: handle(5300, 700) }
    }

    #[test]
    fn footer_round_trips() {
        let bytes = footer().encode(FileId(4), 6000);
        assert_eq!(Footer::decode(FileId(4), 6000, &bytes), Ok(footer()));
        let without_filter = Footer { filter: BlockHandle::default(), ..footer() };
        let bytes = without_filter.encode(FileId(4), 6000);
        assert_eq!(Footer::decode(FileId(4), 6000, &bytes), Ok(without_filter));
    }

    #[test]
    fn footer_elsewhere_or_changed_is_an_error() {
        let good = footer().encode(FileId(4), 6000);
        assert!(Footer::decode(FileId(5), 6000, &good).is_err());
        assert!(Footer::decode(FileId(4), 6001, &good).is_err());
        assert!(Footer::decode(FileId(4), 6000, &good[..127]).is_err());
        for at in 0..FOOTER_BYTES {
            let mut bytes = good;
            bytes[at] ^= 4;
            assert!(Footer::decode(FileId(4), 6000, &bytes).is_err(), "byte {at}");
        }
    }

    #[test]
    fn footer_naming_parts_outside_the_table_is_refused() {
        let outside = [(100, 10), (5990, 11), (6000, 1), (u64::MAX, 5), (5000, 0)];
        for (offset, len) in outside {
            let bytes = Footer { index: BlockHandle { offset, len }, ..footer() }.encode(FileId(4), 6000);
            assert!(Footer::decode(FileId(4), 6000, &bytes).is_err(), "{offset} {len}");
        }
    }

    #[test]
    fn properties_round_trip() {
        let properties = Properties {
            rows: 10,
            tombstones: 3,
            expiring: 2,
            raw_bytes: 999,
            revision_min: Revision(4),
            revision_max: Revision(70),
            expiry_min_ms: 1234,
            expiry_half_ms: 5678,
            keys: 9,
            smallest: b"a".to_vec(),
            largest: b"zebra".to_vec(),
        };
        let bytes = properties.encode();
        assert_eq!(Properties::decode(&bytes).as_ref(), Ok(&properties));
        assert_eq!(Properties::decode(&Properties::default().encode()), Ok(Properties::default()));
        assert!((0..bytes.len()).all(|len| Properties::decode(&bytes[..len]).is_err()), "cut short");
        assert!(Properties::decode(&[&bytes[..], &[0]].concat()).is_err(), "left over");
        for (at, byte) in [(0, 2), (4, 1), (16, 9), (40, 71), (65, 0), (72, 11), (84, 200), (88, b'{')] {
            let mut damaged = bytes.clone();
            damaged[at] = byte;
            assert!(Properties::decode(&damaged).is_err(), "byte {at} = {byte}");
        }
    }
}
