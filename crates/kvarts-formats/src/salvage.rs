//! Finding sealed blocks without an index: for files whose own map of them is damaged.
//!
//! A sealed block does not say how long it is stored, but it ends in a tag that begins with the CRC of all before it. So the
//! CRC is carried along byte by byte, and where the next eight bytes equal it, the whole tag is compared.
use crate::bytes::{all_zero, u32_at, u64_at};
use crate::checksum::{TAG_BYTES, matches};
use crate::compress::{BLOCK_BYTES_MAX, HEAD_BYTES, growth_max};
use crate::{FileId, index::BlockHandle};

/// At most so many times the length of the file is summed up: only crafted bytes get there.
const WORK_MAX: usize = 64;

/// CRC-64/NVME, a byte at a time: reflected, register and final xor all ones.
const POLYNOMIAL: u64 = 0x9a6c_9329_ac4b_c9b5;

const TABLE: [u64; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// Finds the sealed blocks of `file`, whose bytes are `data`, at and after `from`. What does not lie in one is passed over.
///
/// Blocks that are not data blocks (filter, index, properties) are found too.
pub fn find_blocks(file: FileId, data: &[u8], from: usize) -> Vec<BlockHandle> {
    let mut found = Vec::new();
    let (mut at, mut work) = (from, data.len().saturating_mul(WORK_MAX));
    while at + HEAD_BYTES + TAG_BYTES <= data.len() && work > 0 {
        match block_len(file, data, at, &mut work) {
            Some(len) => {
                found.push(BlockHandle { offset: at as u64, len: len as u32 });
                at += len;
            }
            None => at += 1,
        }
    }
    found
}

/// Returns how many bytes the block that starts at `at` takes, if there is one.
fn block_len(file: FileId, data: &[u8], at: usize, work: &mut usize) -> Option<usize> {
    let rest = &data[at..];
    let (compression, raw) = (rest[0], u32_at(rest, 4) as usize);
    let growth = growth_max(compression)?;
    if !all_zero(&rest[1..4]) || raw > BLOCK_BYTES_MAX {
        return None;
    }
    // Compressed where that saves something: never longer than raw.
    let longest = (HEAD_BYTES + raw).min(rest.len() - TAG_BYTES);
    let shortest = HEAD_BYTES + raw.div_ceil(growth);
    if compression == 0 && shortest <= longest {
        *work = work.saturating_sub(shortest);
        let is_whole = matches(file, at as u64, &rest[..shortest], &rest[shortest..shortest + TAG_BYTES]);
        return is_whole.then_some(shortest + TAG_BYTES);
    }
    let mut crc = !0;
    for (len, &byte) in rest[..longest + 1].iter().enumerate() {
        let is_end = len >= shortest && !crc == u64_at(rest, len);
        if is_end && matches(file, at as u64, &rest[..len], &rest[len..len + TAG_BYTES]) {
            *work = work.saturating_sub(len);
            return Some(len + TAG_BYTES);
        }
        crc = TABLE[((crc ^ u64::from(byte)) & 0xff) as usize] ^ (crc >> 8);
    }
    *work = work.saturating_sub(longest);
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::{Compression, open_block, seal_block};

    #[test]
    fn blocks_are_found_around_what_is_damaged() {
        let raws: Vec<Vec<u8>> = (0..9_u8).map(|i| vec![i; 40 + 300 * usize::from(i % 4)]).collect();
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd(3)] {
            let mut data = vec![9; 128];
            let starts: Vec<usize> = raws
                .iter()
                .map(|raw| {
                    let start = data.len();
                    seal_block(&mut data, FileId(3), start as u64, raw, compression);
                    start
                })
                .collect();
            let offsets =
                |data: &[u8]| find_blocks(FileId(3), data, 128).iter().map(|one| one.offset as usize).collect();
            let found: Vec<usize> = offsets(&data);
            assert_eq!(found, starts);
            for handle in find_blocks(FileId(3), &data, 128) {
                let stored = &data[handle.offset as usize..][..handle.len as usize];
                assert!(raws.contains(&open_block(FileId(3), handle.offset, stored).unwrap()));
            }
            data[starts[2] + 4] ^= 1;
            data[starts[5] + 20] ^= 1;
            let found: Vec<usize> = offsets(&data);
            let left: Vec<usize> = [0, 1, 3, 4, 6, 7, 8].map(|i| starts[i]).to_vec();
            assert_eq!(found, left);
            assert!(find_blocks(FileId(4), &data, 128).is_empty(), "those of another file do not count");
        }
    }

    #[test]
    fn junk_holds_no_blocks_and_ends() {
        assert!(find_blocks(FileId(1), &[0; 5000], 0).is_empty());
        let ones: Vec<u8> = (0..4000_u32).flat_map(|i| (i % 3).to_le_bytes()).collect();
        assert!(find_blocks(FileId(1), &ones, 0).is_empty());
    }
}
