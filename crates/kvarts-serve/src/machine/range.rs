//! Which rows are a shard's own, once it was split or is a half of one: the others lie here until compaction drops them, and
//! nobody sees them.
//!
//! A shard that was never split has no such row, and nothing here is asked for it.
use super::rows::{USER, USER_PREFIX_BYTES, user_bounds};
use super::{Error, Result};
use kvarts_engine::compaction::CompactionFilter;
use kvarts_engine::iter::Bounds;
use kvarts_formats::shards::{Space, Token};
use kvarts_wire::v1;
use kvarts_wire::v1::operation::Kind as Step;
use serde::Deserialize;

/// The system row that says it; `kvarts.statemachine.ranges` writes it.
pub const RANGE: &[u8] = b"config/range";

/// A key, and whether it is included. Empty: none.
type Bound<'b> = (&'b [u8], bool);

/// A range of tokens of a keyspace: those of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    keyspace: u32,
    space: Space,
    start: Vec<u8>,
    /// Empty: the end of the space.
    stop: Vec<u8>,
    /// The shard's epoch since the split: whoever asks for rows by an older one thinks that there are more here.
    epoch: u64,
}

/// As it stands in the row; bounds are hexadecimal.
#[derive(Deserialize)]
struct Said {
    keyspace: u32,
    ordered: bool,
    partition: String,
    hash: u32,
    start: String,
    stop: String,
    epoch: u64,
}

impl Range {
    /// The range of a shard as the map has it: `start` up to `stop` (empty: the end) of the tokens of a keyspace.
    pub fn new(keyspace: u32, space: Space, start: Vec<u8>, stop: Vec<u8>, epoch: u64) -> Self {
        Self { keyspace, space, start, stop, epoch }
    }

    /// Reads the row.
    pub(super) fn decode(row: &[u8]) -> Result<Self> {
        let broken = || Error::NotAShard("the row of the shard's range cannot be read".to_owned());
        let said: Said = serde_json::from_slice(row).map_err(|_| broken())?;
        let space = Space::parse(said.ordered, &said.partition, said.hash).ok_or_else(broken)?;
        let (start, stop) = (unhex(&said.start).ok_or_else(broken)?, unhex(&said.stop).ok_or_else(broken)?);
        Ok(Self { keyspace: said.keyspace, space, start, stop, epoch: said.epoch })
    }

    /// Tells whether a key is one of the shard's own.
    pub fn owns(&self, key: &[u8]) -> bool {
        let token = self.space.token(key);
        let token = token.as_ref();
        self.start[..] <= *token && (self.stop.is_empty() || *token < self.stop[..])
    }

    /// The same for the key of a row: the users' part of it.
    pub(super) fn owns_row(&self, key: &[u8]) -> bool {
        key.get(USER_PREFIX_BYTES..).is_some_and(|key| self.owns(key))
    }

    /// Tells whether all that a command touches is the shard's own. A range may reach beyond what is, if whoever took the
    /// command in knew where the shard ends.
    pub(super) fn takes(&self, command: &v1::Command) -> bool {
        command.operations.iter().all(|operation| match &operation.kind {
            Some(Step::Put(put)) => self.has(put.keyspace, &put.key),
            Some(Step::Delete(delete)) => self.has(delete.keyspace, &delete.key),
            Some(Step::Incr(incr)) => self.has(incr.keyspace, &incr.key),
            Some(Step::DeleteRange(range)) => range.keyspace == self.keyspace && command.epoch >= self.epoch,
            None => true,
        })
    }

    /// Errors: `WrongShard` where one of the keys is not the shard's own.
    pub(super) fn check_keys(&self, request: &v1::GetRequest) -> Result<()> {
        let own = request.keys.iter().all(|key| self.has(request.keyspace, key));
        if own { Ok(()) } else { Err(Error::WrongShard) }
    }

    /// Errors: `WrongShard` where whoever asks knows the shard by an epoch before the split.
    pub(super) fn check_scan(&self, request: &v1::ScanRequest) -> Result<()> {
        let known = request.owner.is_none_or(|owner| owner.epoch >= self.epoch);
        if known && request.keyspace == self.keyspace { Ok(()) } else { Err(Error::WrongShard) }
    }

    /// The bounds of a scan, brought within the range where that makes a difference. `true`: the bound is included.
    pub(super) fn clamped<'b>(&'b self, start: Bound<'b>, stop: Bound<'b>) -> (Bound<'b>, Bound<'b>) {
        if !self.is_ordered() {
            return (start, stop);
        }
        let start = if *start.0 < self.start[..] { (&self.start[..], true) } else { start };
        let beyond = stop.0.is_empty() || *stop.0 >= self.stop[..];
        (start, if beyond && !self.stop.is_empty() { (&self.stop[..], false) } else { stop })
    }

    /// Where rows of users can lie that are the shard's own.
    pub(super) fn bounds(&self) -> Bounds {
        let (start, stop) = self.clamped((b"", true), (b"", false));
        user_bounds(self.keyspace, start, stop)
    }

    /// The token of a row's key, if it is one of the shard's own.
    pub(super) fn token_of_row<'k>(&self, key: &'k [u8]) -> Option<Token<'k>> {
        let key = key.strip_prefix(&[USER])?;
        let (keyspace, key) = key.split_first_chunk()?;
        self.has(u32::from_be_bytes(*keyspace), key).then(|| self.space.token(key))
    }

    /// Tells whether a token is one at which the range could be cut.
    pub(super) fn parts_at(&self, token: &[u8]) -> bool {
        *self.start < *token && (self.stop.is_empty() || *token < *self.stop)
    }

    /// The shard's epoch since the split.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Tells whether tokens are keys.
    pub(super) fn is_ordered(&self) -> bool {
        self.space == Space::Ordered
    }

    fn has(&self, keyspace: u32, key: &[u8]) -> bool {
        keyspace == self.keyspace && self.owns(key)
    }
}

/// Rows of users are kept where they are the shard's own; all others are.
impl CompactionFilter for Range {
    fn keeps(&self, key: &[u8]) -> bool {
        key[0] != USER || self.owns_row(key)
    }

    fn keeps_any(&self, smallest: &[u8], largest: &[u8]) -> bool {
        if !self.is_ordered() || smallest[0] != USER || largest[0] != USER {
            return true;
        }
        let before = largest.get(USER_PREFIX_BYTES..).is_some_and(|largest| *largest < self.start[..]);
        let behind = !self.stop.is_empty() && smallest.get(USER_PREFIX_BYTES..) >= Some(&self.stop[..]);
        !before && !behind
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? << 4 | digit(*low)?) as u8);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(ordered: bool, start: &str, stop: &str) -> Range {
        let row = format!(
            r#"{{"children":[9],"epoch":4,"hash":1,"keyspace":3,"ordered":{ordered},"partition":"until:2f","start":"{start}","stop":"{stop}"}}"#
        );
        Range::decode(row.as_bytes()).unwrap()
    }

    #[test]
    fn keys_of_an_ordered_range_lie_between_its_bounds() {
        let middle = range(true, "67", "70");
        let own = |key: &str| middle.owns(key.as_bytes());
        assert_eq!(["f", "g", "h", "ozz", "p"].map(own), [false, true, true, true, false]);
        assert!(range(true, "67", "").owns(b"zzz"));
    }

    #[test]
    fn a_scan_of_an_ordered_range_ends_where_the_range_does() {
        let middle = range(true, "67", "70");
        let clamped = |start: &'static str, stop: &'static str| {
            let (start, stop) = middle.clamped((start.as_bytes(), false), (stop.as_bytes(), true));
            [start, stop].map(|(key, included)| (String::from_utf8(key.to_vec()).unwrap(), included))
        };
        let bounds = |start: (&str, bool), stop: (&str, bool)| [start, stop].map(|(key, in_)| (key.to_owned(), in_));
        assert_eq!(clamped("", ""), bounds(("g", true), ("p", false)));
        assert_eq!(clamped("h", "k"), bounds(("h", false), ("k", true)));
        assert_eq!(clamped("g", "p"), bounds(("g", false), ("p", false)));
        assert_eq!(clamped("a", "z"), bounds(("g", true), ("p", false)));
    }

    #[test]
    fn compaction_keeps_what_is_own_and_all_of_the_system() {
        let middle = range(true, "67", "70");
        let row = |key: &str| [&[USER, 0, 0, 0, 3], key.as_bytes()].concat();
        assert_eq!(["f", "g", "p"].map(|key| middle.keeps(&row(key))), [false, true, false]);
        assert!(middle.keeps(b"\0config/range"));
        let any = |smallest: &str, largest: &str| middle.keeps_any(&row(smallest), &row(largest));
        assert_eq!([any("a", "f"), any("a", "g"), any("o", "z"), any("p", "z")], [false, true, true, false]);
        assert!(middle.keeps_any(b"\0applied", &row("a")), "the table has rows of the system");
        let hashed = range(false, "", "8000000000000000");
        assert!(hashed.keeps_any(&row("a"), &row("b")));
    }

    #[test]
    fn keys_of_one_part_are_all_own_or_none_is() {
        let (lower, upper) = (range(false, "", "8000000000000000"), range(false, "8000000000000000", ""));
        for user in 0..200 {
            let own = lower.owns(format!("user{user}").as_bytes());
            assert_eq!(upper.owns(format!("user{user}/x").as_bytes()), !own);
            assert_eq!(lower.owns(format!("user{user}/x").as_bytes()), own);
        }
    }

    #[test]
    fn a_range_that_was_taken_in_before_the_split_is_refused() {
        let range = range(true, "", "67");
        let deletes = |epoch| {
            let kind = Some(Step::DeleteRange(v1::DeleteRange { keyspace: 3, ..Default::default() }));
            v1::Command { operations: vec![v1::Operation { kind }], epoch, ..Default::default() }
        };
        assert_eq!([3, 4, 5].map(|epoch| range.takes(&deletes(epoch))), [false, true, true]);
    }

    #[test]
    fn a_row_that_says_nothing_is_an_error() {
        for row in
            ["", "{}", r#"{"epoch":4,"hash":1,"keyspace":3,"ordered":true,"partition":"","start":"6","stop":""}"#]
        {
            assert!(Range::decode(row.as_bytes()).is_err(), "{row}");
        }
    }
}
