//! Which group a request is for: the shard map as Python said it last, and what is refused by it.
//!
//! As `kvarts.shardmap.routing` decides it: an older epoch is no reason to refuse keys that a shard owns. A newer one is, and for
//! ranges any other, since the shard may have fewer rows of the range than its asker thinks.
use super::refusal;
use crate::machine::Range;
use arc_swap::ArcSwap;
use bytes::Bytes;
use kvarts_formats::shards::{HASH_VERSION, Line, Map, Shard, Space};
use kvarts_wire::v1;
use kvarts_wire::v1::operation::Kind as Step;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The group of the configuration, and of all keyspaces without shards.
pub const META: u64 = 1;

/// What Python knows of shards.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// All shards.
    pub map: Map,
    /// Keyspaces that are to have shards, and have none yet.
    pub unready: BTreeSet<u32>,
}

/// The group that a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its number.
    pub group: u64,
    /// Who keeps it; empty for the meta group.
    pub voters: Vec<u64>,
    /// Of the shard; 0 for the meta group.
    pub epoch: u64,
}

impl Route {
    /// To the meta group.
    pub fn meta() -> Self {
        Self { group: META, voters: Vec::new(), epoch: 0 }
    }
}

/// The shard map. Read without a lock.
#[derive(Default)]
pub struct Routes(ArcSwap<Known>);

impl Routes {
    /// Python says what there is.
    pub fn set(&self, known: Known) {
        self.0.store(Arc::new(known));
    }

    /// What Python said last.
    pub fn known(&self) -> Arc<Known> {
        self.0.load_full()
    }

    /// Where keys are read.
    pub fn of_keys(&self, keyspace: u32, keys: &[Bytes], owner: Option<&v1::Owner>) -> Result<Route, v1::Error> {
        let known = self.0.load();
        if keys.is_empty() {
            return known.no_key(keyspace, owner);
        }
        known.one(keys.iter().map(|key| (keyspace, Touch::Key(key))), owner)
    }

    /// Where a range is read.
    pub fn of_scan(&self, scan: &v1::ScanRequest) -> Result<Route, v1::Error> {
        let known = self.0.load();
        // One key more than an included bound has.
        let stop = if scan.include_stop { [&scan.stop[..], &[0]].concat() } else { scan.stop.to_vec() };
        let range = (scan.keyspace, Touch::Range(&scan.start, &stop));
        known.one([range].into_iter(), scan.owner.as_ref())
    }

    /// Where a write is asked for that was sent before: to the shard that it was sent to.
    pub fn of_resent(&self, owner: &v1::Owner) -> Route {
        Route { epoch: owner.epoch, ..self.0.load().named(owner) }
    }

    /// Tells whether the shard that a write was sent to owns all that it touches: then only its epoch is another, after a move.
    pub fn still_owns(&self, command: &v1::Command, owner: &v1::Owner) -> bool {
        let epoch = self.0.load().named(owner).epoch;
        self.of_command(command, Some(&v1::Owner { epoch, ..*owner })).is_ok()
    }

    /// Where a command is carried out.
    pub fn of_command(&self, command: &v1::Command, owner: Option<&v1::Owner>) -> Result<Route, v1::Error> {
        let known = self.0.load();
        let touched = command.operations.iter().filter_map(|operation| match operation.kind.as_ref()? {
            Step::Put(put) => Some((put.keyspace, Touch::Key(&put.key))),
            Step::Delete(delete) => Some((delete.keyspace, Touch::Key(&delete.key))),
            Step::Incr(incr) => Some((incr.keyspace, Touch::Key(&incr.key))),
            Step::DeleteRange(range) => Some((range.keyspace, Touch::Range(&range.start, &range.stop))),
        });
        known.one(touched, owner)
    }
}

/// What an operation touches.
enum Touch<'r> {
    Key(&'r [u8]),
    Range(&'r [u8], &'r [u8]),
}

impl Known {
    /// Which tokens a group owns; `None` where it is none of the keyspace's shards.
    pub fn range_of(&self, keyspace: u32, group: u64) -> Option<Arc<Range>> {
        let line = self.map.lines.get(&keyspace)?;
        let at = line.shards().iter().position(|shard| shard.id == group)?;
        let (shard, next) = (&line.shards()[at], line.shards().get(at + 1));
        let stop = next.map_or_else(Vec::new, |next| next.start.clone());
        Some(Arc::new(Range::new(keyspace, line.space().clone(), shard.start.clone(), stop, shard.epoch)))
    }

    /// Where the revision of a keyspace is read: only of a shard that is named can it be.
    fn no_key(&self, keyspace: u32, owner: Option<&v1::Owner>) -> Result<Route, v1::Error> {
        if let Some(route) = self.meta(keyspace, owner)? {
            return Ok(route);
        }
        let shards = self.map.lines[&keyspace].shards();
        match owner {
            Some(owner) => shards.iter().find(|shard| shard.id == owner.shard).map(route_to).ok_or_else(|| {
                let message = format!("shard {} is not one of keyspace {keyspace}", owner.shard);
                refusal::wrong_shard(message, Some(shard_of(&shards[0])))
            }),
            None if shards.len() == 1 => Ok(route_to(&shards[0])),
            None => Err(crossing(shards[0].id, shards[1].id)),
        }
    }

    /// The one group of all that is touched.
    fn one<'r>(
        &self,
        touched: impl Iterator<Item = (u32, Touch<'r>)>,
        owner: Option<&v1::Owner>,
    ) -> Result<Route, v1::Error> {
        let mut found: Option<Route> = None;
        for (keyspace, touch) in touched {
            let route = match self.meta(keyspace, owner)? {
                Some(route) => route,
                None => self.owner(&self.map.lines[&keyspace], touch, owner)?,
            };
            match &found {
                Some(first) if first.group != route.group => return Err(crossing(first.group, route.group)),
                Some(_) => {}
                None => found = Some(route),
            }
        }
        match (found, owner) {
            (Some(route), _) => Ok(route),
            (None, Some(owner)) => Ok(self.named(owner)),
            (None, None) => Ok(Route::meta()),
        }
    }

    /// The meta group, if a keyspace lies there.
    fn meta(&self, keyspace: u32, owner: Option<&v1::Owner>) -> Result<Option<Route>, v1::Error> {
        if self.map.lines.contains_key(&keyspace) {
            return Ok(None);
        }
        if self.unready.contains(&keyspace) {
            return Err(refusal::unavailable("the keyspace has no shards yet"));
        }
        match owner {
            Some(owner) if owner.shard > META => {
                Err(refusal::wrong_shard(format!("shard {} is not known here yet", owner.shard), None))
            }
            _ => Ok(Some(Route::meta())),
        }
    }

    fn owner(&self, line: &Line, touch: Touch<'_>, owner: Option<&v1::Owner>) -> Result<Route, v1::Error> {
        let (range, owners) = match touch {
            Touch::Key(key) => (false, std::slice::from_ref(line.owner(key))),
            Touch::Range(start, stop) => (true, line.owners(start, stop)),
        };
        let Some(first) = owners.first() else {
            // An empty range: whoever was asked finds nothing in it.
            return Ok(owner.map_or_else(|| route_to(&line.shards()[0]), |owner| self.named(owner)));
        };
        let Some(asked) = owner else {
            return if owners.len() == 1 { Ok(route_to(first)) } else { Err(crossing(first.id, owners[1].id)) };
        };
        let Some(named) = owners.iter().find(|shard| shard.id == asked.shard) else {
            let message =
                format!("shard {} does not own it; shard {}, epoch {}, does", asked.shard, first.id, first.epoch);
            return Err(refusal::wrong_shard(message, Some(shard_of(first))));
        };
        if asked.epoch > named.epoch || (range && asked.epoch != named.epoch) {
            let message = format!("shard {} is known here with epoch {}, not {}", named.id, named.epoch, asked.epoch);
            let news = if asked.epoch < named.epoch { Some(shard_of(named)) } else { None };
            return Err(refusal::wrong_shard(message, news));
        }
        Ok(route_to(named))
    }

    fn named(&self, owner: &v1::Owner) -> Route {
        let mut shards = self.map.lines.values().flat_map(Line::shards);
        let found = shards.find(|shard| shard.id == owner.shard);
        found.map_or_else(|| Route { group: owner.shard.max(META), ..Route::meta() }, route_to)
    }
}

fn route_to(shard: &Shard) -> Route {
    Route { group: shard.id, voters: shard.voters.clone(), epoch: shard.epoch }
}

/// A shard on the wire.
pub fn shard_of(shard: &Shard) -> v1::Shard {
    let Shard { id, start, epoch, voters } = shard.clone();
    v1::Shard { id, start: start.into(), epoch, voters }
}

/// All shards on the wire.
pub fn map_of(map: &Map) -> Vec<v1::KeyspaceShards> {
    let keyspaces = map.lines.iter().map(|(&keyspace, line)| v1::KeyspaceShards {
        keyspace,
        ordered: *line.space() == Space::Ordered,
        partition: line.space().partition().map(ToString::to_string).unwrap_or_default(),
        hash: HASH_VERSION,
        shards: line.shards().iter().map(shard_of).collect(),
    });
    keyspaces.collect()
}

fn crossing(one: u64, other: u64) -> v1::Error {
    refusal::error(
        "KV-3009",
        "CrossShard",
        format!("one request spans several shards ({one}, {other}, …)"),
        "ask shard by shard, or create the keyspace with partition=, so that keys used together lie together",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes {
        let shard = |id, start: &[u8], epoch| Shard { id, start: start.to_vec(), epoch, voters: vec![id] };
        let line = Line::new(Space::Ordered, vec![shard(2, b"", 1), shard(3, b"m", 4)]).unwrap();
        let map = Map { version: 5, lines: [(7, line)].into() };
        let routes = Routes::default();
        routes.set(Known { map, unready: [9].into() });
        routes
    }

    fn get(keyspace: u32, keys: &[&'static str], owner: Option<(u64, u64)>) -> Result<u64, String> {
        let keys: Vec<Bytes> = keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect();
        let owner = owner.map(|(shard, epoch)| v1::Owner { shard, epoch });
        routes().of_keys(keyspace, &keys, owner.as_ref()).map(|route| route.group).map_err(|error| error.kind)
    }

    fn scan(start: &'static str, stop: &'static str, owner: Option<(u64, u64)>) -> Result<u64, String> {
        let (start, stop) = (start.into(), stop.into());
        let owner = owner.map(|(shard, epoch)| v1::Owner { shard, epoch });
        let scan = v1::ScanRequest { keyspace: 7, start, stop, owner, ..v1::ScanRequest::default() };
        routes().of_scan(&scan).map(|route| route.group).map_err(|error| error.kind)
    }

    #[test]
    fn keys_go_to_their_owner_and_to_no_other() {
        let (wrong, cross) = (Err("WrongShard".to_owned()), Err("CrossShard".to_owned()));
        assert_eq!(get(7, &["a"], None), Ok(2));
        assert_eq!(get(7, &["a", "b"], Some((2, 1))), Ok(2));
        assert_eq!(get(7, &["z"], Some((2, 1))), wrong);
        assert_eq!(get(7, &["a", "z"], Some((2, 1))), wrong);
        assert_eq!(get(7, &["a", "z"], None), cross);
        // Older: whoever owns the keys today may serve them. Newer: a change is on its way here.
        assert_eq!(get(7, &["z"], Some((3, 2))), Ok(3));
        assert_eq!(get(7, &["z"], Some((3, 5))), wrong);
        // Of no key: the revision of the shard that is named.
        assert_eq!(get(7, &[], Some((3, 1))), Ok(3));
        assert_eq!(get(7, &[], Some((META, 0))), wrong);
        assert_eq!(get(7, &[], None), cross);
        assert_eq!(get(1, &[], None), Ok(META));
    }

    #[test]
    fn keyspaces_without_shards_lie_in_the_meta_group() {
        assert_eq!(get(1, &["a"], None), Ok(META));
        assert_eq!(get(1, &["a"], Some((META, 0))), Ok(META));
        // Its shards have not come here yet.
        assert_eq!(get(8, &["a"], Some((5, 1))), Err("WrongShard".to_owned()));
        assert_eq!(get(9, &["a"], None), Err("Unavailable".to_owned()));
        assert_eq!(get(7, &["a"], Some((META, 0))), Err("WrongShard".to_owned()));
    }

    #[test]
    fn ranges_need_the_very_epoch() {
        assert_eq!(scan("a", "b", None), Ok(2));
        assert_eq!(scan("", "", None), Err("CrossShard".to_owned()));
        assert_eq!(scan("", "", Some((3, 4))), Ok(3));
        assert_eq!(scan("", "", Some((3, 3))), Err("WrongShard".to_owned()));
        assert_eq!(scan("a", "b", Some((3, 4))), Err("WrongShard".to_owned()));
        assert_eq!(scan("b", "a", Some((3, 4))), Ok(3));
    }

    #[test]
    fn a_shard_ends_where_the_next_begins() {
        let known = routes().known();
        let owned =
            |group| known.range_of(7, group).map(|range| [&b"a"[..], b"lz", b"m", b"z"].map(|key| range.owns(key)));
        assert_eq!(owned(2), Some([true, true, false, false]));
        assert_eq!(owned(3), Some([false, false, true, true]));
        assert_eq!((owned(4), known.range_of(8, 2)), (None, None));
    }

    #[test]
    fn who_is_wrong_is_told_who_is_right() {
        let owner = v1::Owner { shard: 2, epoch: 1 };
        let error = routes().of_keys(7, &["z".into()], Some(&owner)).unwrap_err();
        assert_eq!(error.owners, [v1::Shard { id: 3, start: "m".into(), epoch: 4, voters: vec![3] }]);
        assert!(error.retryable && !error.maybe_applied);
    }

    #[test]
    fn a_command_without_keys_goes_to_the_group_that_it_names() {
        let special = Some(v1::command::Special::OpenSession(v1::OpenSession {}));
        let command = v1::Command { special, ..v1::Command::default() };
        let route = |owner| routes().of_command(&command, owner).unwrap();
        assert_eq!(route(None).group, META);
        assert_eq!(route(Some(&v1::Owner { shard: 3, epoch: 1 })), Route { group: 3, voters: vec![3], epoch: 4 });
    }
}
