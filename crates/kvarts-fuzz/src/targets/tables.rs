//! Parts of tables, and batches.
use super::tuples::sentence;
use crate::Verdict;
use crate::seal::{FILE, sealed};
use kvarts_formats::batch::{Batch, BatchView};
use kvarts_formats::block::{Block, BlockBuilder};
use kvarts_formats::checksum::TAG_BYTES;
use kvarts_formats::compress::{Compression, open_block, seal_block};
use kvarts_formats::filter::{Filter, FilterBuilder};
use kvarts_formats::header::HEADER_BYTES;
use kvarts_formats::index::{BlockHandle, Index, IndexBuilder};
use kvarts_formats::table::{FOOTER_BYTES, Footer, Properties};
use kvarts_formats::{Kind, Revision, TreeId};

/// Where a footer, or a block, is said to stand.
const OFFSET: u64 = 4096;

pub fn block_seeds() -> Vec<Vec<u8>> {
    vec![block_of(1, 16, true), block_of(60, 4, true), block_of(40, 16, false), block_of(5, 1, false)]
}

fn block_of(rows: u64, interval: usize, varied: bool) -> Vec<u8> {
    let mut builder = BlockBuilder::new(interval);
    for i in 0..rows {
        let kind = if varied { [Kind::Put, Kind::Delete, Kind::PutExpiring][i as usize % 3] } else { Kind::Put };
        let len = if kind == Kind::Delete { 0 } else { 8 + if varied { i as usize % 5 } else { 0 } };
        let (key, revision) = if varied { (i / 3, 9_000 - 50 * i) } else { (i, 7) };
        builder.add(format!("key/{key:04}").as_bytes(), Revision(revision), kind, &vec![i as u8; len]);
    }
    builder.finish()
}

/// Accepted rows are sorted, and each is found where it is.
pub fn block(input: &[u8]) -> Verdict {
    let block = match Block::parse(input.to_vec()) {
        Ok(block) => block,
        Err(error) => return sentence(&error),
    };
    let (mut key, mut last) = (Vec::new(), None);
    for row in 0..block.rows() {
        block.key_after(row, &mut key);
        let place = (key.clone(), std::cmp::Reverse(block.revision(row)));
        assert!(last.is_none_or(|last| last < place), "accepted rows are sorted");
        last = Some(place);
        assert_eq!(block.find(&key, block.revision(row)), Some(row), "a row is found");
        let value = block.value(row).len();
        match block.kind(row) {
            Kind::Delete => assert_eq!(value, 0, "a tombstone has no value"),
            Kind::PutExpiring => assert!(value >= 8, "an expiry stands in front"),
            Kind::Put => {}
        }
    }
    assert_eq!(block.value_run(0, block.rows()).len(), block.value_offset(block.rows()));
    format!("ok {}", block.rows().min(3))
}

pub fn sealed_block_seeds() -> Vec<Vec<u8>> {
    let raw = block_of(60, 4, true);
    let seal = |compression| {
        let mut out = Vec::new();
        seal_block(&mut out, FILE, OFFSET, &raw, compression);
        out.truncate(out.len() - TAG_BYTES);
        out
    };
    [Compression::None, Compression::Lz4, Compression::Zstd(1), Compression::Zstd(19)].map(seal).to_vec()
}

/// A block with a true tag is expanded to what it says, or refused.
pub fn sealed_block(input: &[u8]) -> Verdict {
    match open_block(FILE, OFFSET, &sealed(OFFSET, input)) {
        Ok(raw) => {
            let growth = if input[0] == 2 { 32 << 10 } else { 255 };
            assert!(raw.len() <= growth * input.len(), "no more than the codec can stand for");
            "ok".to_owned()
        }
        Err(error) => sentence(&error),
    }
}

pub fn index_seeds() -> Vec<Vec<u8>> {
    let index = |blocks: u64, prefix: &str| {
        let mut builder = IndexBuilder::default();
        for i in 0..blocks {
            let handle = BlockHandle { offset: HEADER_BYTES as u64 + 50 * i, len: 50 };
            builder.add(format!("{prefix}{i:03}").as_bytes(), Revision(i), handle);
        }
        builder.finish()
    };
    vec![index(0, ""), index(1, "k"), index(30, "a/long/prefix/of/keys/"), index(9, "")]
}

/// Each block is found by its last key.
pub fn index(input: &[u8]) -> Verdict {
    let index = match Index::parse(input) {
        Ok(index) => index,
        Err(error) => return sentence(&error),
    };
    for i in 0..index.blocks() {
        assert_eq!(index.find(index.end_key(i), index.end_revision(i)), i, "a block is found");
        assert!(index.handle(i).end().is_some(), "a block ends somewhere");
    }
    index.find(b"key/44", Revision(1));
    format!("ok {}", index.blocks().min(3))
}

pub fn filter_seeds() -> Vec<Vec<u8>> {
    [0u64, 1, 200]
        .map(|keys| {
            let mut builder = FilterBuilder::default();
            (0..keys).for_each(|hash| builder.add(hash << 50));
            builder.finish(10)
        })
        .to_vec()
}

/// Any hash can be asked about.
pub fn filter(input: &[u8]) -> Verdict {
    match Filter::parse(input.to_vec()) {
        Ok(filter) => {
            let asked = [0, 1, u64::MAX, 1 << 63, 0x1234_5678_9abc_def0].map(|hash| filter.may_contain(hash));
            assert!(filter.bytes() > 0 || !asked[0]);
            "ok".to_owned()
        }
        Err(error) => sentence(&error),
    }
}

pub fn footer_seeds() -> Vec<Vec<u8>> {
    let handle = |offset, len| BlockHandle { offset, len };
    [(handle(128, 60), handle(188, 40)), (handle(600, 100), handle(0, 0))]
        .map(|(index, filter)| {
            let footer = Footer { index, filter, properties: handle(1000, 99) };
            footer.encode(FILE, OFFSET)[..FOOTER_BYTES - TAG_BYTES].to_vec()
        })
        .to_vec()
}

/// A footer with a true tag has one form, and names what lies in front of it.
pub fn footer(input: &[u8]) -> Verdict {
    let bytes = sealed(OFFSET, input);
    match Footer::decode(FILE, OFFSET, &bytes) {
        Ok(footer) => {
            assert_eq!(footer.encode(FILE, OFFSET)[..], bytes, "a footer has one form");
            "ok".to_owned()
        }
        Err(error) => sentence(&error),
    }
}

pub fn properties_seeds() -> Vec<Vec<u8>> {
    let properties =
        Properties { rows: 9, keys: 8, smallest: b"a".into(), largest: b"zz".into(), ..Default::default() };
    vec![properties.encode(), Properties::default().encode()]
}

/// Properties have one form.
pub fn properties(input: &[u8]) -> Verdict {
    match Properties::decode(input) {
        Ok(properties) => {
            assert_eq!(properties.encode(), input, "properties have one form");
            "ok".to_owned()
        }
        Err(error) => sentence(&error),
    }
}

pub fn batch_seeds() -> Vec<Vec<u8>> {
    let mut batch = Batch::new();
    batch.put(TreeId(0), b"some key", &[1; 150]);
    let one = batch.encoded(Revision(1)).to_vec();
    batch.put_expiring(TreeId(300), b"other", 77, b"value");
    batch.delete(TreeId(70_000), b"gone");
    vec![Batch::new().encoded(Revision(7)).to_vec(), one, batch.encoded(Revision(1 << 40)).to_vec()]
}

/// A batch that was read whole is written as it was.
pub fn batch(input: &[u8]) -> Verdict {
    let view = match BatchView::decode(input) {
        Ok(view) => view,
        Err(error) => return sentence(&error),
    };
    let mut copy = Batch::new();
    let mut count = 0;
    for op in view.ops() {
        let op = match op {
            Ok(op) => op,
            Err(error) => return sentence(&error),
        };
        count += 1;
        match op.kind {
            Kind::Delete => copy.delete(op.tree, op.key),
            Kind::Put => copy.put(op.tree, op.key, op.value),
            Kind::PutExpiring => {
                let (expiry, value) = op.value.split_at(8);
                copy.put_expiring(op.tree, op.key, u64::from_le_bytes(expiry.try_into().expect("eight bytes")), value);
            }
        }
    }
    assert_eq!(count, view.count, "as many as it says");
    assert_eq!(copy.encoded(view.revision), input, "a batch has one form");
    format!("ok {}", count.min(3))
}
