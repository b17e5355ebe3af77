//! What the nodes share: rows with their history, sessions, keyspaces, who leads, and what goes wrong.
use bytes::Bytes;
use kvarts_engine::clock::{Clock, OsClock};
use kvarts_wire::v1;
use kvarts_wire::v1::condition::Kind as ConditionKind;
use kvarts_wire::v1::operation::Kind as OperationKind;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

type Key = (u32, Vec<u8>);

/// A value, or its absence, as of a revision.
#[derive(Clone)]
pub struct Version {
    pub revision: u64,
    pub value: Option<Bytes>,
    expiry_ms: u64,
}

/// A session's results.
#[derive(Default)]
struct Session {
    answered: u64,
    results: HashMap<u64, v1::Result>,
}

/// All state.
pub struct World {
    rows: BTreeMap<Key, Vec<Version>>,
    pub revision: u64,
    sessions: HashMap<u64, Session>,
    pub keyspaces: Vec<v1::Keyspace>,
    pub nodes: Vec<v1::Node>,
    pub leader: u64,
    pub term: u64,
    pub hung: BTreeSet<u64>,
    pub swallow: u64,
    /// Sessions are forgotten with each write that is swallowed.
    pub forgetful: bool,
    pub busy: u64,
    pub lag_ms: u64,
    /// Largest answer to a get, in bytes of values.
    pub answer_bytes_max: usize,
}

impl World {
    pub fn new() -> Self {
        Self {
            rows: BTreeMap::new(),
            revision: 0,
            sessions: HashMap::new(),
            keyspaces: Vec::new(),
            nodes: Vec::new(),
            leader: 1,
            term: 1,
            hung: BTreeSet::new(),
            swallow: 0,
            forgetful: false,
            busy: 0,
            lag_ms: 0,
            answer_bytes_max: usize::MAX,
        }
    }

    pub fn obey(&mut self, word: &str, number: u64) -> Result<(), String> {
        match word {
            "lead" => (self.leader, self.term) = (number, self.term + 1),
            "hang" => drop(self.hung.insert(number)),
            "wake" => drop(self.hung.remove(&number)),
            "swallow" => (self.swallow, self.forgetful) = (number, false),
            "forget" => (self.swallow, self.forgetful) = (number, true),
            "busy" => self.busy = number,
            "lag" => self.lag_ms = number,
            "answers" => self.answer_bytes_max = number as usize,
            "expire" => self.sessions.clear(),
            _ => return Err(format!("no word {word}")),
        }
        Ok(())
    }

    pub fn get(&self, space: u32, key: &[u8], revision: u64, now_ms: u64) -> Option<&Version> {
        visible(self.rows.get(&(space, key.to_vec()))?, revision, now_ms)
    }

    /// Rows of a range, last first where `reverse`.
    pub fn range<'a>(
        &'a self,
        request: &'a v1::ScanRequest,
        revision: u64,
        now_ms: u64,
    ) -> Box<dyn Iterator<Item = (&'a [u8], &'a Version)> + 'a> {
        let start = (request.keyspace, request.start.to_vec());
        let start = if request.exclude_start { Bound::Excluded(start) } else { Bound::Included(start) };
        let stop = match (request.stop.is_empty(), request.include_stop) {
            (true, _) => Bound::Excluded((request.keyspace + 1, Vec::new())),
            (false, true) => Bound::Included((request.keyspace, request.stop.to_vec())),
            (false, false) => Bound::Excluded((request.keyspace, request.stop.to_vec())),
        };
        if is_empty(&start, &stop) {
            return Box::new(std::iter::empty());
        }
        let rows = self.rows.range((start, stop)).filter_map(move |((_, key), versions)| {
            visible(versions, revision, now_ms).map(|version| (key.as_slice(), version))
        });
        if request.reverse { Box::new(rows.collect::<Vec<_>>().into_iter().rev()) } else { Box::new(rows) }
    }

    /// Does a command once.
    pub fn apply(&mut self, command: v1::Command) -> v1::Result {
        let revision = (self.revision + 1).max(OsClock::default().unix_ms() * 1000);
        match command.special {
            Some(v1::command::Special::OpenSession(_)) => {
                self.revision = revision;
                self.sessions.insert(revision, Session::default());
                return v1::Result { revision, ..v1::Result::default() };
            }
            Some(_) => return v1::Result::default(),
            None => {}
        }
        if command.session == 0 {
            return self.operate(&command, revision);
        }
        let known = match self.sessions.get_mut(&command.session) {
            Some(session) if command.sequence > session.answered => {
                session.answered = session.answered.max(command.answered);
                session.results.retain(|sequence, _| *sequence > command.answered);
                session.results.get(&command.sequence).cloned()
            }
            _ => Some(v1::Result { outcome: v1::Outcome::SessionExpired.into(), ..v1::Result::default() }),
        };
        if let Some(known) = known {
            return known;
        }
        let result = self.operate(&command, revision);
        if let Some(session) = self.sessions.get_mut(&command.session) {
            session.results.insert(command.sequence, result.clone());
        }
        result
    }

    /// Takes note that a write is not answered.
    pub fn swallowed(&mut self) {
        self.swallow -= 1;
        if self.forgetful {
            self.sessions.clear();
        }
    }

    fn operate(&mut self, command: &v1::Command, revision: u64) -> v1::Result {
        let now_ms = OsClock::default().unix_ms();
        let mut changed: BTreeMap<Key, Version> = BTreeMap::new();
        let mut sums = Vec::new();
        for (position, operation) in command.operations.iter().enumerate() {
            let step = self.step(operation.kind.as_ref(), revision, now_ms, &mut changed);
            match step {
                Ok(sum) => sums.push(sum),
                Err((outcome, found)) => {
                    let failed = position as u32;
                    return v1::Result { outcome: outcome.into(), revision, found, failed, ..v1::Result::default() };
                }
            }
        }
        self.revision = revision;
        for (key, version) in changed {
            self.rows.entry(key).or_default().push(version);
        }
        v1::Result { revision, sums, ..v1::Result::default() }
    }

    fn step(
        &self,
        operation: Option<&OperationKind>,
        revision: u64,
        now_ms: u64,
        changed: &mut BTreeMap<Key, Version>,
    ) -> Result<v1::Sum, (v1::Outcome, Option<v1::Row>)> {
        let newest =
            |changed: &BTreeMap<Key, Version>, space: u32, key: &Bytes| match changed.get(&(space, key.to_vec())) {
                Some(version) => version.value.is_some().then(|| version.clone()),
                None => self.get(space, key, u64::MAX, now_ms).cloned(),
            };
        let none = v1::Sum::default();
        match operation {
            Some(OperationKind::Put(put)) => {
                let found = newest(changed, put.keyspace, &put.key);
                let kept_ms = found.as_ref().map_or(0, |version| version.expiry_ms);
                demand(put.condition.as_ref(), found, &put.key)?;
                let expiry_ms = match put.ttl_ms {
                    0 if put.keep_ttl => kept_ms,
                    0 => 0,
                    ttl_ms => now_ms + ttl_ms,
                };
                let version = Version { revision, value: Some(put.value.clone()), expiry_ms };
                changed.insert((put.keyspace, put.key.to_vec()), version);
            }
            Some(OperationKind::Delete(delete)) => {
                demand(delete.condition.as_ref(), newest(changed, delete.keyspace, &delete.key), &delete.key)?;
                changed.insert((delete.keyspace, delete.key.to_vec()), gone(revision));
            }
            Some(OperationKind::DeleteRange(range)) => {
                let (keyspace, start, stop) = (range.keyspace, range.start.clone(), range.stop.clone());
                let request = v1::ScanRequest { keyspace, start, stop, ..v1::ScanRequest::default() };
                for (key, _) in self.range(&request, u64::MAX, now_ms) {
                    changed.insert((range.keyspace, key.to_vec()), gone(revision));
                }
            }
            Some(OperationKind::Incr(incr)) => {
                let old = newest(changed, incr.keyspace, &incr.key);
                let (sum, version) = add(incr, old, revision)?;
                changed.insert((incr.keyspace, incr.key.to_vec()), version);
                let magnitude = sum.unsigned_abs() as u64;
                return Ok(v1::Sum { set: true, negative: sum < 0, magnitude });
            }
            None => {}
        }
        Ok(none)
    }
}

fn gone(revision: u64) -> Version {
    Version { revision, value: None, expiry_ms: 0 }
}

fn visible(versions: &[Version], revision: u64, now_ms: u64) -> Option<&Version> {
    let version = versions.iter().rev().find(|version| version.revision <= revision)?;
    let expired = version.expiry_ms != 0 && version.expiry_ms <= now_ms;
    (version.value.is_some() && !expired).then_some(version)
}

fn is_empty(start: &Bound<Key>, stop: &Bound<Key>) -> bool {
    match (start, stop) {
        (Bound::Included(start), Bound::Included(stop)) => start > stop,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(stop) | Bound::Excluded(stop)) => {
            start >= stop
        }
        _ => false,
    }
}

fn row(key: &Bytes, version: Option<Version>) -> Option<v1::Row> {
    let version = version?;
    Some(v1::Row { key: key.clone(), value: version.value.unwrap_or_default(), revision: version.revision })
}

fn demand(
    condition: Option<&v1::Condition>,
    found: Option<Version>,
    key: &Bytes,
) -> Result<(), (v1::Outcome, Option<v1::Row>)> {
    let holds = match condition.and_then(|condition| condition.kind.as_ref()) {
        None => true,
        Some(ConditionKind::Absent(_)) => found.is_none(),
        Some(ConditionKind::Present(_)) => found.is_some(),
        Some(ConditionKind::AtRevision(revision)) => found.as_ref().is_some_and(|row| row.revision == *revision),
        Some(ConditionKind::Equals(value)) => found.as_ref().is_some_and(|row| row.value.as_ref() == Some(value)),
    };
    if holds { Ok(()) } else { Err((v1::Outcome::ConditionFailed, row(key, found))) }
}

fn add(
    incr: &v1::Incr,
    old: Option<Version>,
    revision: u64,
) -> Result<(i128, Version), (v1::Outcome, Option<v1::Row>)> {
    let binary = incr.encoding() == v1::incr::Encoding::U64;
    let stored = old.as_ref().and_then(|row| row.value.clone());
    let from = match &stored {
        None => Some(0),
        Some(value) if binary => value.as_ref().try_into().ok().map(|word| i128::from(u64::from_be_bytes(word))),
        Some(value) => str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok()).map(i128::from),
    };
    let by = i128::from(incr.by) * if incr.negative { -1 } else { 1 };
    let sum = from.map(|from| from + by);
    let value = sum.and_then(|sum| match binary {
        true => u64::try_from(sum).ok().map(|sum| Bytes::copy_from_slice(&sum.to_be_bytes())),
        false => i64::try_from(sum).ok().map(|sum| Bytes::from(sum.to_string())),
    });
    let expiry_ms = old.as_ref().map_or(0, |row| row.expiry_ms);
    match (sum, value) {
        (Some(sum), Some(value)) => Ok((sum, Version { revision, value: Some(value), expiry_ms })),
        _ => Err((v1::Outcome::NotACounter, row(&incr.key, old))),
    }
}
