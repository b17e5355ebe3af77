//! Which shards a call is for: found in the map; a call for several becomes one call for each.
use super::Driver;
use super::gather::Gather;
use super::groups::META;
use super::live::{Live, Place};
use crate::client::call::{Answer, Completion, Part, Request, Span};
use crate::client::failure;
use bytes::Bytes;
use kvarts_formats::shards::{Line, Map, Shard, Space};
use kvarts_wire::v1;
use kvarts_wire::v1::operation::Kind as Step;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// What becomes of a call.
pub enum Route {
    /// It goes to this shard.
    To(v1::Owner),
    /// It was made into calls for several shards, or has ended.
    Taken,
    /// The map does not tell: a newer one must come.
    Unknown,
}

/// A part of a call: for which shard, what is asked, and where in the whole it belongs.
type Scattered = (v1::Owner, Request, Part);

impl Driver {
    /// Finds the shard of a call, or makes it several calls.
    pub(super) fn route(&mut self, id: u64) -> Route {
        let Some(live) = self.calls.get_mut(&id) else { return Route::Taken };
        if let Some(owner) = live.fixed.or_else(|| live.judge()) {
            return Route::To(owner);
        }
        if live.request.range_of().is_some_and(|keyspace| self.patched.contains(&keyspace)) {
            return Route::Unknown;
        }
        let parts = match &mut live.request {
            Request::Get(get) => parts_of_keys(&self.map, get),
            Request::Write { command, span } => match parts_of_command(&self.map, command, *span) {
                Ok(parts) => parts,
                Err(error) => {
                    self.finish(id, Err(error));
                    return Route::Taken;
                }
            },
            Request::GetAt(get, cursor) => {
                let owner = get.keys.first().map_or(owner_of(None), |key| owner_of_key(&self.map, get.keyspace, key));
                let line = self.map.lines.get(&get.keyspace);
                let before = line.into_iter().flat_map(|line| line.up_to(owner.shard)).map(|shard| shard.id);
                get.freshness = cursor.freshness(std::iter::once(owner.shard).chain(before));
                Parts::One(owner)
            }
            Request::Moment { keyspace, start, stop, span, freshness } => {
                let owners = owners(&self.map, *keyspace, start, stop);
                if *span == Span::One && owners.len() > 1 {
                    let error = crossing(&self.map, *keyspace, "snapshot()", owners.iter().map(|shard| shard.id));
                    self.finish(id, Err(error));
                    return Route::Taken;
                }
                let (keyspace, fresh) = (*keyspace, *freshness);
                Parts::Many(owners.iter().map(|shard| moment_of(shard, keyspace, fresh)).collect())
            }
            Request::Shards { keyspace, start, stop } => {
                let ids = owners(&self.map, *keyspace, start, stop).iter().map(|shard| shard.id).collect();
                self.finish(id, Ok(Answer::Shards(ids)));
                return Route::Taken;
            }
            Request::Page(cursor, _) => {
                if !cursor.has_begun() {
                    let (keyspace, start, stop) = cursor.range();
                    cursor.begin(&owners(&self.map, keyspace, &start, &stop));
                }
                self.turn_page(id);
                return Route::Taken;
            }
            Request::Scan(scan) => {
                let owners = owners(&self.map, scan.keyspace, &scan.start, &scan.stop);
                Parts::One(owner_of(owners.first()))
            }
            Request::Unary(_) => Parts::One(owner_of(None)),
        };
        match parts {
            Parts::One(owner) => Route::To(owner),
            Parts::Many(parts) => {
                self.scatter(id, parts);
                Route::Taken
            }
        }
    }

    /// Makes a call that waits for its parts.
    fn scatter(&mut self, id: u64, parts: Vec<Scattered>) {
        self.unbind(id);
        let Some(live) = self.calls.get_mut(&id) else { return };
        live.place = Place::Parts;
        live.gather = Some(Gather::new(self.next_call, parts.len(), live.request.keys()));
        self.spread(id, parts);
    }

    /// Asks for the pages that a scan needs next; ends the call with the rows that are known where none is.
    pub(super) fn turn_page(&mut self, id: u64) {
        let Some(live) = self.calls.get_mut(&id) else { return };
        let Request::Page(cursor, wish) = &live.request else { return };
        let wants = cursor.wants(*wish);
        if wants.is_empty() {
            let page = cursor.take(*wish);
            return self.finish(id, Ok(Answer::Scan(page)));
        }
        let part = |want: crate::client::cursor::Want| {
            let owner = v1::Owner { shard: want.shard, epoch: want.epoch };
            (owner, Request::Scan(want.request), Part::Source(want.source))
        };
        let parts: Vec<Scattered> = wants.into_iter().map(part).collect();
        live.place = Place::Parts;
        live.gather = Some(Gather::new(self.next_call, parts.len(), 0));
        self.spread(id, parts);
    }

    fn spread(&mut self, id: u64, parts: Vec<Scattered>) {
        let Some(whole) = self.calls.get(&id) else { return };
        let (aim, deadline, round) = (whole.aim.clone(), whole.deadline, self.next_call);
        for (owner, request, part) in parts {
            let number = self.next_call;
            self.next_call += 1;
            let mut live = Live::part(request, aim.clone(), deadline, Completion::Part(id, round, part));
            live.fixed = Some(owner);
            self.calls.insert(number, live);
            self.dispatch(number);
        }
    }

    /// The map has news: a call that was meant for another shard is for the one that owns its keys now. Returns false where
    /// it is dropped, since the whole of which it is a part is cut anew.
    pub(super) fn reroute(&mut self, id: u64) -> bool {
        let Some(live) = self.calls.get_mut(&id) else { return false };
        let Some(meant) = live.fixed.take() else { return true };
        match &live.request {
            Request::Scan(scan) => {
                let scan = (scan.keyspace, scan.start.clone(), scan.stop.clone());
                return self.reroute_scan(id, meant, scan);
            }
            Request::Get(get) if get.keys.is_empty() => {}
            _ => return true,
        }
        if let Some(Live { done: Some(Completion::Part(whole, ..)), .. }) = self.calls.remove(&id) {
            self.cut_anew(whole);
        }
        false
    }

    /// A page that was refused: the scan gets a source for each shard that was split off the one that was meant, and this page
    /// is what is left there of the rest.
    fn reroute_scan(&mut self, id: u64, meant: v1::Owner, (keyspace, start, stop): (u32, Bytes, Bytes)) -> bool {
        let Some(live) = self.calls.get_mut(&id) else { return false };
        let whole = match live.done {
            Some(Completion::Part(whole, ..)) => Some(whole),
            _ => None,
        };
        let line = self.map.lines.get(&keyspace).filter(|_| !self.patched.contains(&keyspace));
        let known = line.map(|line| (line, line.shards().iter().find(|shard| shard.id == meant.shard)));
        let (line, known) = match known {
            Some((line, Some(known))) if known.epoch > meant.epoch => (line, known),
            // It had no shards when the scan began.
            Some((_, None)) => {
                self.calls.remove(&id);
                whole.into_iter().for_each(|whole| self.cut_anew(whole));
                return false;
            }
            // Nothing is known yet of what has changed.
            _ => {
                live.fixed = Some(meant);
                return true;
            }
        };
        let left = line.owners(&start, &stop).iter().any(|shard| shard.id == meant.shard);
        live.fixed = Some(owner_of(Some(known)));
        if let Some(Live { request: Request::Page(cursor, _), .. }) = whole.and_then(|whole| self.calls.get(&whole)) {
            let (_, start, stop) = cursor.range();
            for owner in line.owners(&start, &stop) {
                cursor.split(owner, line.up_to(owner.id).map(|shard| shard.id));
            }
        }
        if !left {
            self.finish(id, Ok(Answer::Scan(v1::ScanResponse::default())));
        }
        left
    }

    /// The shards of a range are others than was thought.
    fn cut_anew(&mut self, id: u64) {
        let Some(live) = self.calls.get_mut(&id) else { return };
        (live.gather, live.place) = (None, Place::Waiting);
        if let Request::Page(cursor, _) = &live.request
            && !cursor.restart()
        {
            return self.finish(id, Err(failure::shards_changed()));
        }
        self.rest(id);
    }

    /// Takes in the map that a node sent, if it is newer.
    pub(super) fn learn_map(&mut self, version: u64, keyspaces: Vec<v1::KeyspaceShards>) {
        // One that is older than ours is of no use; whoever is refused again asks again.
        self.search.map_wanted &= version < self.map.version || !self.patched.is_empty();
        if version <= self.map.version {
            return;
        }
        self.search.map_wanted = false;
        self.patched.clear();
        let lines = keyspaces.into_iter().filter_map(|said| Some((said.keyspace, line_of(said)?)));
        self.map = Map { version, lines: lines.collect() };
    }

    /// A node said that another shard owns what it was asked for.
    pub(super) fn learn_owner(&mut self, id: u64, error: &v1::Error) {
        let keyspace = self.calls.get(&id).and_then(|live| live.request.keyspace());
        let line = keyspace.and_then(|keyspace| self.map.lines.get_mut(&keyspace));
        if let (Some(line), Some(owner)) = (line, error.owners.first())
            && line.learn(shard_of(owner.clone()))
        {
            self.patched.extend(keyspace);
        }
        self.search.map_wanted = true;
        self.seek(META, Instant::now());
    }
}

enum Parts {
    One(v1::Owner),
    Many(Vec<Scattered>),
}

fn parts_of_keys(map: &Map, get: &v1::GetRequest) -> Parts {
    let Some(line) = map.lines.get(&get.keyspace) else { return Parts::One(owner_of(None)) };
    let mut by_shard: BTreeMap<u64, (v1::Owner, Vec<u32>)> = BTreeMap::new();
    for (place, key) in get.keys.iter().enumerate() {
        let shard = line.owner(key);
        by_shard.entry(shard.id).or_insert_with(|| (owner_of(Some(shard)), Vec::new())).1.push(place as u32);
    }
    if by_shard.len() < 2 {
        return Parts::One(by_shard.into_values().next().map_or(owner_of(line.shards().first()), |(owner, _)| owner));
    }
    let part = |(owner, places): (v1::Owner, Vec<u32>)| {
        let keys = places.iter().map(|&place| get.keys[place as usize].clone()).collect();
        (owner, Request::Get(v1::GetRequest { keys, ..get.clone_without_keys() }), Part::Places(places))
    };
    Parts::Many(by_shard.into_values().map(part).collect())
}

/// A request for other keys.
trait WithoutKeys {
    fn clone_without_keys(&self) -> Self;
}

impl WithoutKeys for v1::GetRequest {
    fn clone_without_keys(&self) -> Self {
        let Self { keyspace, freshness, keys_only, .. } = *self;
        Self { keyspace, freshness, keys_only, ..Self::default() }
    }
}

fn parts_of_command(map: &Map, command: &v1::Command, span: Span) -> Result<Parts, Box<v1::Error>> {
    let mut by_shard: BTreeMap<u64, (v1::Owner, Vec<v1::Operation>)> = BTreeMap::new();
    let mut first = None;
    for operation in &command.operations {
        let (keyspace, owners) = match &operation.kind {
            Some(Step::Put(put)) => (put.keyspace, vec![owner_of_key(map, put.keyspace, &put.key)]),
            Some(Step::Delete(delete)) => (delete.keyspace, vec![owner_of_key(map, delete.keyspace, &delete.key)]),
            Some(Step::Incr(incr)) => (incr.keyspace, vec![owner_of_key(map, incr.keyspace, &incr.key)]),
            Some(Step::DeleteRange(range)) => {
                let owners = owners(map, range.keyspace, &range.start, &range.stop);
                (range.keyspace, owners.iter().map(|shard| owner_of(Some(shard))).collect())
            }
            None => continue,
        };
        first.get_or_insert(keyspace);
        for owner in owners {
            by_shard.entry(owner.shard).or_insert_with(|| (owner, Vec::new())).1.push(operation.clone());
        }
    }
    if by_shard.len() < 2 {
        return Ok(Parts::One(by_shard.into_values().next().map_or(owner_of(None), |(owner, _)| owner)));
    }
    if span == Span::One {
        return Err(crossing(map, first.unwrap_or_default(), "a batch", by_shard.into_keys()));
    }
    let part = |(owner, operations)| {
        let command = v1::Command { operations, fence: command.fence.clone(), ..v1::Command::default() };
        (owner, Request::Write { command, span }, Part::Whole)
    };
    Ok(Parts::Many(by_shard.into_values().map(part).collect()))
}

fn moment_of(shard: &Shard, keyspace: u32, freshness: Option<v1::Freshness>) -> Scattered {
    // No key: only the revision is wanted.
    let get = v1::GetRequest { keyspace, freshness, keys_only: true, ..v1::GetRequest::default() };
    (owner_of(Some(shard)), Request::Get(get), Part::Whole)
}

/// The shards of a range; the meta group for a keyspace without shards.
fn owners(map: &Map, keyspace: u32, start: &[u8], stop: &[u8]) -> Vec<Shard> {
    match map.lines.get(&keyspace) {
        Some(line) => line.owners(start, stop).to_vec(),
        None => vec![Shard { id: META, ..Shard::default() }],
    }
}

fn owner_of_key(map: &Map, keyspace: u32, key: &[u8]) -> v1::Owner {
    owner_of(map.lines.get(&keyspace).map(|line| line.owner(key)))
}

fn owner_of(shard: Option<&Shard>) -> v1::Owner {
    shard.map_or(v1::Owner { shard: META, epoch: 0 }, |shard| v1::Owner { shard: shard.id, epoch: shard.epoch })
}

fn shard_of(said: v1::Shard) -> Shard {
    let v1::Shard { id, start, epoch, voters } = said;
    Shard { id, start: start.to_vec(), epoch, voters }
}

fn line_of(said: v1::KeyspaceShards) -> Option<Line> {
    let space = Space::parse(said.ordered, &said.partition, said.hash)?;
    Line::new(space, said.shards.into_iter().map(shard_of).collect())
}

/// The error for what must lie in one shard and touches several.
fn crossing(map: &Map, keyspace: u32, verb: &str, shards: impl Iterator<Item = u64>) -> Box<v1::Error> {
    let ids: Vec<u64> = shards.collect();
    let few: Vec<String> = ids.iter().take(4).map(ToString::to_string).collect();
    let more = if ids.len() > 4 { ", …" } else { "" };
    let ordered = map.lines.get(&keyspace).is_none_or(|line| *line.space() == Space::Ordered);
    failure::cross_shard(&format!("{verb} spans {} shards ({}{more})", ids.len(), few.join(", ")), ordered)
}
