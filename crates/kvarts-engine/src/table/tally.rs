//! What is counted of the rows of a table, by the writer and again by `verify`.
use crate::{Kind, Revision};
use kvarts_formats::table::Properties;

/// Properties in the making.
pub(super) struct Tally {
    properties: Properties,
}

impl Tally {
    pub(super) fn new() -> Self {
        let (revision_min, expiry_min_ms) = (Revision::MAX, u64::MAX);
        Self { properties: Properties { revision_min, expiry_min_ms, ..Properties::default() } }
    }

    /// Counts a row.
    #[inline]
    pub(super) fn add(&mut self, key: &[u8], revision: Revision, kind: Kind, value: &[u8]) {
        let properties = &mut self.properties;
        if properties.rows == 0 {
            properties.smallest = key.to_vec();
        }
        properties.rows += 1;
        properties.raw_bytes += (key.len() + value.len()) as u64;
        properties.revision_min = properties.revision_min.min(revision);
        properties.revision_max = properties.revision_max.max(revision);
        match kind {
            Kind::Put => {}
            Kind::Delete => properties.tombstones += 1,
            Kind::PutExpiring => {
                let expiry = value.first_chunk().expect("whoever wrote the row put its expiry in front");
                properties.expiring += 1;
                properties.expiry_min_ms = properties.expiry_min_ms.min(u64::from_le_bytes(*expiry));
            }
        }
    }

    pub(super) fn rows(&self) -> u64 {
        self.properties.rows
    }

    /// Returns the properties of rows of which the last has this key.
    pub(super) fn finish(mut self, last_key: &[u8]) -> Properties {
        self.properties.largest = last_key.to_vec();
        self.properties
    }
}
