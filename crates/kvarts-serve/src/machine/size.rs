//! How large a shard is, and where its middle lies: of an ordered one by the indexes of its tables, of a hashed one by a few
//! keys of each table, since its rows lie among those of others until compaction has dropped them.
use super::Result;
use super::held::Held;
use super::range::Range;
use super::rows::USER_PREFIX_BYTES;
use kvarts_formats::shards::Token;

/// How large a shard is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// About how many bytes of tables are its own.
    pub bytes: u64,
    /// A token with about half of them in front of it, inside of its range. `None` where tables cannot tell, or all keys that
    /// were looked at have one token.
    pub middle: Option<Vec<u8>>,
}

/// What a few keys of a table say.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    keys: usize,
    /// Tokens of those that are the shard's own.
    tokens: Vec<u64>,
}

impl Sample {
    pub(super) fn of(range: &Range, keys: &[Vec<u8>]) -> Self {
        let tokens = keys.iter().filter_map(|key| match range.token_of_row(key)? {
            Token::Hash(token) => Some(u64::from_be_bytes(token)),
            Token::Key(_) => None,
        });
        Self { keys: keys.len(), tokens: tokens.collect() }
    }
}

pub(super) fn size(held: &Held, range: &Range) -> Result<Size> {
    if range.is_ordered() {
        let (middle, bytes) = held.db.middle(&held.tree, range.bounds())?;
        let middle = middle.and_then(|key| key.get(USER_PREFIX_BYTES..).map(<[u8]>::to_vec));
        return Ok(Size { bytes, middle: middle.filter(|key| range.parts_at(key)) });
    }
    let mut tokens = Vec::new();
    for (bytes, sample) in held.samples(range)? {
        let each = bytes as f64 / sample.keys as f64;
        tokens.extend(sample.tokens.into_iter().map(|token| (token, each)));
    }
    tokens.sort_unstable_by_key(|(token, _)| *token);
    let total = tokens.iter().map(|(_, bytes)| bytes).sum::<f64>();
    let mut before = 0.0;
    let middle = tokens.iter().find(|(token, bytes)| {
        let is_half = before >= total / 2.0 && range.parts_at(&token.to_be_bytes()) && *token > tokens[0].0;
        before += bytes;
        is_half
    });
    Ok(Size { bytes: total as u64, middle: middle.map(|(token, _)| token.to_be_bytes().to_vec()) })
}
