//! A row in the arena: header, links, key bytes, value bytes, in one piece.
use super::arena::{ALIGN, Arena};
use crate::iter::key_prefix;
use crate::prefetch;
use crate::sync::Witness;
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::{Kind, Revision};
use std::cmp::Ordering as Order;
use std::ptr;
use std::slice;

/// Tallest tower: 4^12 rows before the top level fills.
pub(super) const HEIGHT_MAX: usize = 12;
/// Longest key that the header can describe.
const KEY_BYTES_LIMIT: usize = (1 << 24) - 1;

/// The header. `height` links (`AtomicPtr<Node>`), the key and the value follow it in the same piece.
///
/// Everything but `prev` and the links is written before the row is published and never again.
#[repr(C)]
pub(super) struct Node {
    /// First 8 bytes of the key, big-endian, padded with zeros: decides most comparisons without touching the key.
    prefix: u64,
    revision: u64,
    /// Value length (32 bits), key length (24), height (4), kind (4).
    meta: u64,
    /// The row before it on level 0; the head for the first row. Null only in the head.
    pub(super) prev: AtomicPtr<Node>,
    written: Witness,
}

/// Where a search goes: before every row at or after (`key`, `revision` descending).
pub(super) struct Target<'a> {
    prefix: u64,
    key: &'a [u8],
    revision: u64,
}

impl<'a> Target<'a> {
    #[inline]
    pub(super) fn new(key: &'a [u8], revision: Revision) -> Self {
        Self { prefix: key_prefix(key), key, revision: revision.0 }
    }
}

/// Orders two keys whose prefixes are equal.
#[inline]
fn compare_tails(a: &[u8], b: &[u8]) -> Order {
    let (a_tail, b_tail) = (a.get(8..).unwrap_or(&[]), b.get(8..).unwrap_or(&[]));
    // Two tails are both empty where the keys differ only in how many zeros they end in: then the shorter is first.
    a_tail.cmp(b_tail).then(a.len().cmp(&b.len()))
}

impl Node {
    /// Writes an unlinked row with `height` null links into the arena. Panics where the key or value is too long.
    pub(super) fn allocate(
        arena: &mut Arena,
        height: usize,
        key: &[u8],
        revision: Revision,
        kind: Kind,
        value: &[u8],
    ) -> *mut Self {
        assert!((1..=HEIGHT_MAX).contains(&height));
        assert!(key.len() <= KEY_BYTES_LIMIT);
        assert!(value.len() <= u32::MAX as usize);
        const { assert!(align_of::<Node>() <= ALIGN && size_of::<Node>().is_multiple_of(ALIGN)) };
        let head_len = size_of::<Self>() + height * size_of::<AtomicPtr<Self>>();
        let node = arena.take(head_len + key.len() + value.len()).cast::<Self>().as_ptr();
        let meta = value.len() as u64 | (key.len() as u64) << 32 | (height as u64) << 56 | (kind as u64) << 60;
        // SAFETY: the piece is ours alone, aligned, and as long as header, links, key and value together.
        unsafe {
            node.write(Self {
                prefix: key_prefix(key),
                revision: revision.0,
                meta,
                prev: AtomicPtr::new(ptr::null_mut()),
                written: Witness::default(),
            });
            let links = node.add(1).cast::<AtomicPtr<Self>>();
            (0..height).for_each(|level| links.add(level).write(AtomicPtr::new(ptr::null_mut())));
            let bytes = links.add(height).cast::<u8>();
            ptr::copy_nonoverlapping(key.as_ptr(), bytes, key.len());
            ptr::copy_nonoverlapping(value.as_ptr(), bytes.add(key.len()), value.len());
            (*node).written.write();
        }
        node
    }
}

/// A row that was written by [`Node::allocate`] into an arena that is still alive.
///
/// Invariant: `0` is such a row, and it outlives every use of this: [`super::SkipList`] and its cursor uphold it. With that,
/// every method is sound: the header, key and value of a row never change after it is published.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Row(*mut Node);

impl Row {
    /// # Safety
    /// `node` came from [`Node::allocate`]; its arena outlives the returned row; this thread got it from the thread that
    /// wrote it by an acquiring load of a link (or is that thread).
    #[inline]
    pub(super) unsafe fn new(node: *mut Node) -> Self {
        debug_assert!(!node.is_null(), "a row that nobody wrote");
        Self(node)
    }

    #[inline]
    pub(super) fn as_ptr(self) -> *mut Node {
        self.0
    }

    #[inline]
    fn header<'a>(self) -> &'a Node {
        // SAFETY: the invariant of `Row`; only atomics in it change.
        let header = unsafe { &*self.0 };
        header.written.read();
        header
    }

    /// Levels that it is linked on, or will be.
    #[inline]
    pub(super) fn height(self) -> usize {
        (self.header().meta >> 56 & 0xf) as usize
    }

    #[inline]
    pub(super) fn revision(self) -> Revision {
        Revision(self.header().revision)
    }

    #[inline]
    pub(super) fn kind(self) -> Kind {
        Kind::from_byte((self.header().meta >> 60) as u8).expect("written from a Kind")
    }

    /// The bytes behind the links.
    #[inline]
    fn bytes(self) -> *const u8 {
        // SAFETY: the invariant of `Row`: `height` links follow the header in one piece.
        unsafe { self.0.add(1).cast::<AtomicPtr<Node>>().add(self.height()).cast::<u8>() }
    }

    /// The key. The caller chooses `'a` within the life of the arena.
    #[inline]
    pub(super) fn key<'a>(self) -> &'a [u8] {
        let len = (self.header().meta >> 32 & 0xff_ffff) as usize;
        // SAFETY: the invariant of `Row`: so many key bytes follow the links.
        unsafe { slice::from_raw_parts(self.bytes(), len) }
    }

    /// The value. The caller chooses `'a` within the life of the arena.
    #[inline]
    pub(super) fn value<'a>(self) -> &'a [u8] {
        let meta = self.header().meta;
        let key_len = (meta >> 32 & 0xff_ffff) as usize;
        // SAFETY: the invariant of `Row`: so many value bytes follow the key.
        unsafe { slice::from_raw_parts(self.bytes().add(key_len), meta as u32 as usize) }
    }

    /// The link on `level`, which must be below the height of the row.
    #[inline]
    pub(super) fn link<'a>(self, level: usize) -> &'a AtomicPtr<Node> {
        debug_assert!(level < self.height());
        // SAFETY: the invariant of `Row`; a search descends from the head and leaves a level only downwards, so it
        // asks a row only for levels on which it found it, which are below its height.
        unsafe { &*self.0.add(1).cast::<AtomicPtr<Node>>().add(level) }
    }

    /// The next row on `level`.
    #[inline]
    pub(super) fn next(self, level: usize) -> Option<Self> {
        let next = self.link(level).load(Ordering::Acquire);
        (!next.is_null()).then_some(Self(next))
    }

    /// The row before it on level 0: the head for the first row.
    #[inline]
    pub(super) fn prev(self) -> Self {
        Self(self.header().prev.load(Ordering::Acquire))
    }

    #[inline]
    pub(super) fn prev_link<'a>(self) -> &'a AtomicPtr<Node> {
        &self.header().prev
    }

    /// Fetches header and links into the cache while the caller does other work.
    #[inline]
    pub(super) fn prefetch(self) {
        let header = self.0.cast::<u8>().cast_const();
        prefetch::line(header);
        // The links may begin in the next line.
        prefetch::line(header.wrapping_add(size_of::<Node>()));
    }

    /// How it lies to another row: by key, then newest revision first.
    #[inline]
    pub(super) fn order(self, other: Self) -> Order {
        let (mine, theirs) = (self.header(), other.header());
        let keys = mine.prefix.cmp(&theirs.prefix).then_with(|| compare_tails(self.key(), other.key()));
        keys.then_with(|| theirs.revision.cmp(&mine.revision))
    }

    /// Tells whether it lies before the target.
    #[inline]
    pub(super) fn is_before(self, target: &Target<'_>) -> bool {
        let prefix = self.header().prefix;
        if prefix != target.prefix {
            return prefix < target.prefix;
        }
        match compare_tails(self.key(), target.key) {
            Order::Equal => self.header().revision > target.revision,
            order => order == Order::Less,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_tails_order_as_the_keys_do() {
        let keys: [&[u8]; 12] = [
            b"",
            b"\0",
            b"\0\0",
            b"\0\0\0\0\0\0\0\0",
            b"\0\0\0\0\0\0\0\0\0",
            b"a",
            b"a\0",
            b"abcdefgh",
            b"abcdefgh\0",
            b"abcdefghi",
            b"b",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ];
        for a in keys {
            for b in keys {
                let order = key_prefix(a).cmp(&key_prefix(b)).then_with(|| compare_tails(a, b));
                assert_eq!(order, a.cmp(b), "{a:?} {b:?}");
            }
        }
    }
}
