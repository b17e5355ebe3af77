//! A batch of writes, encoded once: the bytes that callers fill are the bytes that the log stores.
//!
//! `revision u64, count u32`, then per operation: `tree varint, kind u8, key length varint, value length varint, key, value`.
//! A [`Kind::PutExpiring`] value starts with its expiry (8 bytes), which the value length includes.
use crate::bytes::{VARINT_BYTES_MAX, read_varint, u32_at, u64_at, write_varint};
use crate::ids::EXPIRY_BYTES;
use crate::{FormatError, Kind, Result, Revision, TreeId};

/// Bytes in front of the first operation.
const HEAD_BYTES: usize = 12;

/// Fewest bytes of an operation.
const OP_BYTES_MIN: usize = 4;

/// One operation, borrowed from a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op<'a> {
    /// The tree written to.
    pub tree: TreeId,
    /// What is said about the key.
    pub kind: Kind,
    /// The key.
    pub key: &'a [u8],
    /// The value as stored: with its expiry in front for `PutExpiring`, empty for `Delete`.
    pub value: &'a [u8],
}

/// Where a batch ended at some moment.
#[derive(Clone, Copy, Debug)]
pub struct End {
    bytes: usize,
    count: u32,
}

/// A batch being filled.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Invariant: empty, or [`HEAD_BYTES`] of room for the head and then whole operations, `count` of them.
    bytes: Vec<u8>,
    count: u32,
}

impl Batch {
    /// Returns an empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a write of `value` under `key`.
    #[inline]
    pub fn put(&mut self, tree: TreeId, key: &[u8], value: &[u8]) {
        self.begin(tree, Kind::Put, key, value.len());
        self.bytes.extend_from_slice(value);
    }

    /// Adds a write that is absent from `expiry_ms` (Unix milliseconds) on.
    #[inline]
    pub fn put_expiring(&mut self, tree: TreeId, key: &[u8], expiry_ms: u64, value: &[u8]) {
        self.begin(tree, Kind::PutExpiring, key, EXPIRY_BYTES + value.len());
        self.bytes.extend_from_slice(&expiry_ms.to_le_bytes());
        self.bytes.extend_from_slice(value);
    }

    /// Adds a delete.
    #[inline]
    pub fn delete(&mut self, tree: TreeId, key: &[u8]) {
        self.begin(tree, Kind::Delete, key, 0);
    }

    /// Appends all of an operation but its value, with room for that.
    fn begin(&mut self, tree: TreeId, kind: Kind, key: &[u8], value_len: usize) {
        let mut head = [0; 3 * VARINT_BYTES_MAX + 1];
        let mut end = write_varint(&mut head, 0, u64::from(tree.0));
        head[end] = kind as u8;
        end = write_varint(&mut head, end + 1, key.len() as u64);
        end = write_varint(&mut head, end, value_len as u64);
        self.bytes.reserve(HEAD_BYTES + end + key.len() + value_len);
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&[0; HEAD_BYTES]);
        }
        self.bytes.extend_from_slice(&head[..end]);
        self.bytes.extend_from_slice(key);
        self.count += 1;
    }

    /// Number of operations.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Tells whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// Where it ends now: what [`Batch::cut`] goes back to.
    pub fn end(&self) -> End {
        End { bytes: self.bytes.len(), count: self.count }
    }

    /// Takes away what was added since `end` was taken from this batch.
    pub fn cut(&mut self, end: End) {
        assert!(end.bytes <= self.bytes.len(), "an end of another batch, or of one that was emptied since");
        self.bytes.truncate(end.bytes);
        self.count = end.count;
    }

    /// Bytes that [`Batch::encoded`] returns as it stands.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len().max(HEAD_BYTES)
    }

    /// Stamps the revision and the count, and returns the encoded batch.
    pub fn encoded(&mut self, revision: Revision) -> &[u8] {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&[0; HEAD_BYTES]);
        }
        self.bytes[..8].copy_from_slice(&revision.0.to_le_bytes());
        self.bytes[8..HEAD_BYTES].copy_from_slice(&self.count.to_le_bytes());
        &self.bytes
    }

    /// Iterates over the operations. Cannot fail: the batch was built here.
    pub fn ops(&self) -> impl Iterator<Item = Op<'_>> {
        let rest = self.bytes.get(HEAD_BYTES..).unwrap_or_default();
        Ops { bytes: rest, at: 0, left: self.count }.map(|op| op.expect("a batch decodes what it encoded"))
    }
}

/// A batch read back from a log.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a> {
    /// The revision of the commit.
    pub revision: Revision,
    /// Number of operations.
    pub count: u32,
    ops: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// Decodes the head of a batch. Errors: `Corrupt`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        if bytes.len() < HEAD_BYTES {
            return Err(FormatError::corrupt(0, "a batch is shorter than its head"));
        }
        let (head, ops) = bytes.split_at(HEAD_BYTES);
        let count = u32_at(head, 8);
        if count as usize > ops.len() / OP_BYTES_MIN {
            return Err(FormatError::corrupt(8, "a batch counts more operations than it has bytes for"));
        }
        Ok(Self { revision: Revision(u64_at(head, 0)), count, ops })
    }

    /// Iterates over the operations; yields an error once and stops where the bytes are damaged.
    pub fn ops(&self) -> impl Iterator<Item = Result<Op<'a>>> + use<'a> {
        Ops { bytes: self.ops, at: 0, left: self.count }
    }
}

/// The operations that are left. Offsets in errors count from the start of the batch.
struct Ops<'a> {
    bytes: &'a [u8],
    at: usize,
    left: u32,
}

impl<'a> Ops<'a> {
    /// Reads the operation at `at` and moves behind it; `None` where the bytes are not one.
    #[inline]
    fn read(&mut self) -> Option<Op<'a>> {
        let (tree, at) = read_varint(self.bytes, self.at)?;
        let kind = Kind::from_byte(*self.bytes.get(at)?)?;
        let (key_len, at) = read_varint(self.bytes, at + 1)?;
        let (value_len, at) = read_varint(self.bytes, at)?;
        let (key, rest) = self.bytes[at..].split_at_checked(usize::try_from(key_len).ok()?)?;
        let value = rest.get(..usize::try_from(value_len).ok()?)?;
        let fits = match kind {
            Kind::Delete => value.is_empty(),
            Kind::Put => true,
            Kind::PutExpiring => value.len() >= EXPIRY_BYTES,
        };
        self.at = at + key.len() + value.len();
        fits.then_some(Op { tree: TreeId(u32::try_from(tree).ok()?), kind, key, value })
    }

    fn fail(&mut self, what: &'static str) -> Option<Result<Op<'a>>> {
        let offset = HEAD_BYTES + self.at;
        (self.left, self.at) = (0, self.bytes.len());
        Some(Err(FormatError::corrupt(offset, what)))
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Result<Op<'a>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return if self.at < self.bytes.len() { self.fail("bytes follow the last operation") } else { None };
        }
        let start = self.at;
        match self.read() {
            Some(op) => {
                self.left -= 1;
                Some(Ok(op))
            }
            None => {
                self.at = start;
                self.fail("an operation is damaged")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_read_back() {
        let mut batch = Batch::new();
        assert_eq!(batch.bytes_len(), batch.encoded(Revision(1)).len());
        batch.put(TreeId(1), b"key", &[5; 300]);
        batch.put_expiring(TreeId(400), b"", 99, b"v");
        batch.delete(TreeId(u32::MAX), &[1; 200]);
        assert_eq!((batch.len(), batch.bytes_len()), (3, batch.encoded(Revision(8)).len()));
        let ops: Vec<_> = batch.ops().collect();
        assert_eq!(ops[0], Op { tree: TreeId(1), kind: Kind::Put, key: b"key", value: &[5; 300] });
        assert_eq!(ops[1].value, [99, 0, 0, 0, 0, 0, 0, 0, b'v']);
        assert_eq!((ops[2].kind, ops[2].tree, ops[2].key.len()), (Kind::Delete, TreeId(u32::MAX), 200));

        let bytes = batch.clone().encoded(Revision(9)).to_vec();
        let view = BatchView::decode(&bytes).unwrap();
        assert_eq!((view.revision, view.count), (Revision(9), 3));
        assert_eq!(view.ops().collect::<Result<Vec<_>>>(), Ok(ops));
    }

    #[test]
    fn cut_takes_away_what_was_added_since() {
        let mut batch = Batch::new();
        let start = batch.end();
        batch.put(TreeId(1), b"key", b"value");
        let (one, encoded) = (batch.end(), batch.encoded(Revision(1)).to_vec());
        batch.delete(TreeId(2), b"other");
        batch.cut(one);
        assert_eq!(batch.encoded(Revision(1)), encoded);
        batch.cut(start);
        assert!(batch.is_empty());
        assert_eq!(batch.ops().count(), 0);
    }

    #[test]
    fn cleared_batch_is_empty() {
        let mut batch = Batch::new();
        batch.put(TreeId(1), b"key", b"value");
        batch.clear();
        assert!(batch.is_empty() && batch.ops().next().is_none());
        assert_eq!(BatchView::decode(batch.encoded(Revision(3))).unwrap().ops().count(), 0);
    }

    #[test]
    fn damage_is_one_error_and_then_the_end() {
        let mut batch = Batch::new();
        batch.put(TreeId(1), b"key", b"value");
        let bytes = batch.encoded(Revision(1)).to_vec();
        let fails = |bytes: &[u8]| {
            let items: Vec<_> = BatchView::decode(bytes).unwrap().ops().collect();
            items.last().unwrap().is_err() && items.iter().filter(|item| item.is_err()).count() == 1
        };
        assert!(fails(&bytes[..bytes.len() - 1]), "cut short");
        assert!(fails(&[&bytes[..], &[0]].concat()), "left over");
        for (at, byte) in [(13, 3), (13, 0), (14, 200), (15, 4), (8, 0)] {
            let mut damaged = bytes.clone();
            damaged[at] = byte;
            assert!(fails(&damaged), "byte {at} = {byte}");
        }
        assert!(BatchView::decode(&bytes[..11]).is_err());
        assert!(BatchView::decode(&[0xff; 20]).is_err());
    }
}
