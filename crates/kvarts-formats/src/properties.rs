//! Collects the properties of a table while its rows are written.
use crate::ids::EXPIRY_BYTES;
use crate::table::Properties;
use crate::{Kind, Revision};

/// Expiries held at most; then every second one goes, and from there on only every second counts.
const SAMPLES_MAX: usize = 4096;

/// Collects the properties of a table from its rows, in a few dozen KiB whatever the table holds.
#[derive(Debug)]
pub struct PropertiesBuilder {
    properties: Properties,
    /// Every `stride`-th expiry. Exact, for up to [`SAMPLES_MAX`] rows that expire.
    samples: Vec<u64>,
    stride: u64,
}

impl Default for PropertiesBuilder {
    fn default() -> Self {
        let never = Properties { expiry_min_ms: u64::MAX, expiry_half_ms: u64::MAX, ..Properties::default() };
        Self { properties: Properties { revision_min: Revision::MAX, ..never }, samples: Vec::new(), stride: 1 }
    }
}

impl PropertiesBuilder {
    /// Counts a row; rows must come sorted. `value` is as stored (with expiry for `PutExpiring`).
    pub fn add(&mut self, key: &[u8], revision: Revision, kind: Kind, value: &[u8]) {
        let properties = &mut self.properties;
        if properties.rows == 0 {
            properties.smallest = key.to_vec();
        }
        if properties.rows == 0 || properties.largest != key {
            properties.keys += 1;
            properties.largest.clear();
            properties.largest.extend_from_slice(key);
        }
        properties.rows += 1;
        properties.tombstones += u64::from(kind == Kind::Delete);
        properties.raw_bytes += (key.len() + value.len()) as u64;
        properties.revision_min = properties.revision_min.min(revision);
        properties.revision_max = properties.revision_max.max(revision);
        if kind == Kind::PutExpiring {
            let expiry = value.first_chunk::<EXPIRY_BYTES>().expect("a stored value begins with its expiry");
            self.add_expiry(u64::from_le_bytes(*expiry));
        }
    }

    fn add_expiry(&mut self, expiry_ms: u64) {
        let properties = &mut self.properties;
        properties.expiry_min_ms = properties.expiry_min_ms.min(expiry_ms);
        if properties.expiring.is_multiple_of(self.stride) {
            if self.samples.len() == SAMPLES_MAX {
                self.samples = self.samples.iter().copied().step_by(2).collect();
                self.stride *= 2;
            }
            // SAMPLES_MAX is even, so the row that fills the space up is again one of every `stride`.
            self.samples.push(expiry_ms);
        }
        properties.expiring += 1;
    }

    /// Bytes of keys and values so far.
    pub fn raw_bytes(&self) -> u64 {
        self.properties.raw_bytes
    }

    /// Number of rows so far.
    pub fn rows(&self) -> u64 {
        self.properties.rows
    }

    /// Returns the properties of the rows added.
    pub fn finish(mut self) -> Properties {
        let half = self.properties.rows.div_ceil(2);
        if self.properties.expiring > 0 && half <= self.properties.expiring {
            // The share of the expiring rows that makes half of all rows, scaled to the samples.
            let at =
                (u128::from(half - 1) * self.samples.len() as u128 / u128::from(self.properties.expiring)) as usize;
            self.properties.expiry_half_ms = *self.samples.select_nth_unstable(at).1;
        }
        self.properties
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(rows: &[(&str, u64, Kind, u64)]) -> Properties {
        let mut builder = PropertiesBuilder::default();
        for &(key, revision, kind, expiry_ms) in rows {
            let value = [&expiry_ms.to_le_bytes()[..], b"v"].concat();
            let value: &[u8] = if kind == Kind::Delete { b"" } else { &value };
            builder.add(key.as_bytes(), Revision(revision), kind, value);
        }
        builder.finish()
    }

    #[test]
    fn properties_count_rows_keys_and_revisions() {
        let rows = [
            ("a", 9, Kind::Put, 0),
            ("a", 3, Kind::Delete, 0),
            ("b", 4, Kind::PutExpiring, 70),
            ("c", 5, Kind::Put, 0),
        ];
        let properties = Properties {
            rows: 4,
            tombstones: 1,
            expiring: 1,
            raw_bytes: 4 + 27,
            revision_min: Revision(3),
            revision_max: Revision(9),
            expiry_min_ms: 70,
            expiry_half_ms: u64::MAX,
            keys: 3,
            smallest: b"a".to_vec(),
            largest: b"c".to_vec(),
        };
        assert_eq!(built(&rows), properties);
        assert_eq!(Properties::decode(&properties.encode()), Ok(properties));
    }

    #[test]
    fn half_is_the_expiry_by_which_half_of_all_rows_are_gone() {
        let expiring = |expiry_ms| ("k", 0, Kind::PutExpiring, expiry_ms);
        let put = ("k", 0, Kind::Put, 0);
        assert_eq!(built(&[expiring(50), expiring(10), expiring(30)]).expiry_half_ms, 30);
        assert_eq!(built(&[expiring(50), expiring(10), expiring(30), expiring(20)]).expiry_half_ms, 20);
        assert_eq!(built(&[expiring(50), expiring(10), put, put]).expiry_half_ms, 50);
        assert_eq!(built(&[expiring(50), put, put]).expiry_half_ms, u64::MAX);
        assert_eq!(built(&[put]).expiry_half_ms, u64::MAX);
    }

    #[test]
    fn half_is_about_right_of_more_rows_than_are_sampled() {
        let mut builder = PropertiesBuilder::default();
        for i in 0..100_000u64 {
            let expiry_ms = i * 7919 % 100_000;
            builder.add(&i.to_be_bytes(), Revision(i), Kind::PutExpiring, &expiry_ms.to_le_bytes());
        }
        assert!(builder.samples.len() <= SAMPLES_MAX);
        let properties = builder.finish();
        assert_eq!((properties.expiring, properties.expiry_min_ms), (100_000, 0));
        assert!(properties.expiry_half_ms.abs_diff(50_000) < 3000, "{}", properties.expiry_half_ms);
    }
}
