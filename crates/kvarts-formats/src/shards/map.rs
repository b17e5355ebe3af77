//! The shards of all keyspaces, as one looks them up.
use super::partition::Space;
use std::collections::BTreeMap;

/// A range of tokens and who keeps it. It ends where the next one of its line begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// The number of its group.
    pub id: u64,
    /// Its first token; empty: the beginning of the space.
    pub start: Vec<u8>,
    /// Grows whenever range or voters change.
    pub epoch: u64,
    /// Nodes that keep it.
    pub voters: Vec<u64>,
}

/// The shards of one keyspace in the order of their ranges. Never empty; the first begins where the space does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    space: Space,
    shards: Vec<Shard>,
}

impl Line {
    /// Returns nothing where the shards do not cover the space once, in order.
    pub fn new(space: Space, shards: Vec<Shard>) -> Option<Self> {
        let begins = shards.first().is_some_and(|shard| shard.start.is_empty());
        (begins && shards.is_sorted_by(|a, b| a.start < b.start)).then_some(Self { space, shards })
    }

    /// How keys become tokens.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// All shards.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The owner of a key.
    pub fn owner(&self, key: &[u8]) -> &Shard {
        &self.shards[self.place(self.space.token(key).as_ref())]
    }

    /// The shards that may hold keys of `[start, stop)`, in the order of their ranges; an empty bound is none.
    pub fn owners(&self, start: &[u8], stop: &[u8]) -> &[Shard] {
        if !stop.is_empty() && start >= stop {
            return &[];
        }
        if self.space == Space::Ordered {
            let last = if stop.is_empty() { self.shards.len() } else { self.lower(stop) };
            return &self.shards[self.place(start)..last];
        }
        match self.space.scan_token(start, stop) {
            Some(token) => std::slice::from_ref(&self.shards[self.place(token.as_ref())]),
            None => &self.shards,
        }
    }

    /// Takes in what a node said of one shard: it begins there, whoever was thought to own its first token. Returns whether
    /// that was news. Where it ends is not known then, nor what lies behind it: good for keys, not for ranges.
    pub fn learn(&mut self, shard: Shard) -> bool {
        match self.shards.binary_search_by(|each| each.start.cmp(&shard.start)) {
            Ok(at) if self.shards[at].epoch >= shard.epoch => return false,
            Ok(at) => self.shards[at] = shard,
            Err(at) => self.shards.insert(at, shard),
        }
        true
    }

    /// A shard and those before it in the order of ranges, from there to the first: what was split off lies behind that which
    /// it was split off.
    pub fn up_to(&self, id: u64) -> impl Iterator<Item = &Shard> {
        let count = self.shards.iter().position(|shard| shard.id == id).map_or(0, |at| at + 1);
        self.shards[..count].iter().rev()
    }

    /// The place of a token's owner.
    fn place(&self, token: &[u8]) -> usize {
        self.shards.partition_point(|shard| *shard.start <= *token) - 1
    }

    /// How many shards begin below a token.
    fn lower(&self, token: &[u8]) -> usize {
        self.shards.partition_point(|shard| *shard.start < *token)
    }
}

/// The shards of all keyspaces that have some. Keyspaces without lie in the meta group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    /// The number of its changes.
    pub version: u64,
    /// By keyspace.
    pub lines: BTreeMap<u32, Line>,
}

#[cfg(test)]
mod tests {
    use super::super::partition::Partition;
    use super::*;

    fn shard(id: u64, start: &[u8]) -> Shard {
        Shard { id, start: start.to_vec(), epoch: 1, voters: vec![1] }
    }

    fn ids(shards: &[Shard]) -> Vec<u64> {
        shards.iter().map(|shard| shard.id).collect()
    }

    #[test]
    fn shards_that_leave_a_hole_are_no_line() {
        assert!(Line::new(Space::Ordered, vec![]).is_none());
        assert!(Line::new(Space::Ordered, vec![shard(2, b"a")]).is_none());
        assert!(Line::new(Space::Ordered, vec![shard(2, b""), shard(3, b"b"), shard(4, b"b")]).is_none());
    }

    #[test]
    fn ranges_of_an_ordered_keyspace_ask_the_shards_they_cross() {
        let line = Line::new(Space::Ordered, vec![shard(2, b""), shard(3, b"g"), shard(4, b"p")]).unwrap();
        assert_eq!([line.owner(b"a").id, line.owner(b"g").id, line.owner(b"z").id], [2, 3, 4]);
        let table: [(&[u8], &[u8], &[u64]); 7] = [
            (b"", b"", &[2, 3, 4]),
            (b"a", b"g", &[2]),
            (b"a", b"g\0", &[2, 3]),
            (b"g", b"p", &[3]),
            (b"h", b"", &[3, 4]),
            (b"", b"g", &[2]),
            (b"h", b"h", &[]),
        ];
        for (start, stop, expected) in table {
            assert_eq!(ids(line.owners(start, stop)), expected, "{start:?} {stop:?}");
        }
    }

    #[test]
    fn scans_of_a_hashed_keyspace_ask_all_unless_they_stay_within_a_part() {
        let halves = vec![shard(2, b""), shard(3, &[0x80, 0, 0, 0, 0, 0, 0, 0])];
        let line = Line::new(Space::Hashed(Partition::Until(b"/".to_vec())), halves).unwrap();
        assert_eq!(ids(line.owners(b"", b"")), [2, 3]);
        assert_eq!(ids(line.owners(b"user/", b"user0")), [line.owner(b"user/7").id]);
        assert_eq!(line.owner(b"user/7").id, line.owner(b"user").id);
    }

    #[test]
    fn news_of_a_split_makes_a_new_owner_and_old_news_changes_nothing() {
        let mut line = Line::new(Space::Ordered, vec![shard(2, b"")]).unwrap();
        assert!(line.learn(Shard { epoch: 2, ..shard(3, b"m") }));
        assert_eq!([line.owner(b"a").id, line.owner(b"m").id], [2, 3]);
        assert!(line.learn(Shard { epoch: 3, voters: vec![2], ..shard(3, b"m") }));
        assert!(!line.learn(Shard { epoch: 2, ..shard(3, b"m") }));
        assert_eq!((line.owner(b"z").epoch, &*line.owner(b"z").voters), (3, &[2][..]));
        assert_eq!(line.up_to(3).map(|each| each.id).collect::<Vec<_>>(), [3, 2]);
    }
}
