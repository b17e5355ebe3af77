//! A muscle under turns made by hand: what is answered, to whom, and when.
mod checks;
mod shards;
mod splits;

use super::door::Door;
use super::*;
use crate::intake::{Intake, Reply};
use kvarts_engine::fs::{Fs, MemFs};
use kvarts_wire::v1;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const GROUP: u64 = 1;
const FOUNDING: &[u8] = br#"{"voters":[1]}"#;
const LONG: Duration = Duration::from_secs(30);

/// The machine's clocks, but deadlines are over when a test says so.
struct TestTime {
    ahead: Mutex<Duration>,
}

impl Time for TestTime {
    fn boot_ns(&self) -> u64 {
        OsTime.boot_ns()
    }

    fn unix_us(&self) -> u64 {
        OsTime.unix_us()
    }

    fn now(&self) -> Instant {
        OsTime.now() + *self.ahead.lock().unwrap()
    }
}

struct Bench {
    muscle: Muscle,
    door: Door,
    time: Arc<TestTime>,
    ticket: u64,
    /// Events that were polled and that nobody has asked for yet.
    seen: Mutex<Vec<Event>>,
}

impl Bench {
    fn new() -> Self {
        Self::on(Arc::new(MemFs::volatile()))
    }

    fn on(fs: Arc<dyn Fs>) -> Self {
        let time = Arc::new(TestTime { ahead: Mutex::default() });
        let config = Config {
            workers: 1,
            memory_bytes: 8 << 20,
            sessions_max: 20,
            ..Config::new(PathBuf::from("/node"), 1, vec![7; 16])
        };
        let muscle = Muscle::open(fs, Arc::clone(&time) as Arc<dyn Time>, config).unwrap();
        if muscle.groups().is_empty() {
            muscle.add_group(GROUP, FOUNDING).unwrap();
        }
        let door = Door(Arc::clone(muscle.core()));
        Self { muscle, door, time, ticket: 0, seen: Mutex::default() }
    }

    fn lead(&self, leads: bool) {
        let role = Role { leads, term: 1, leader_id: 2, leader_address: "there:2".to_owned() };
        self.muscle.set_role(GROUP, role).unwrap();
    }

    /// Polls until there is an event that `which` wants.
    fn event<T>(&self, which: impl Fn(&Event) -> Option<T>) -> T {
        let deadline = OsTime.boot_ms() + LONG.as_millis() as u64;
        let mut seen = self.seen.lock().unwrap();
        loop {
            if let Some(at) = seen.iter().position(|event| which(event).is_some()) {
                return which(&seen.remove(at)).unwrap();
            }
            let (now_ms, events) = self.muscle.poll(deadline);
            assert!(now_ms < deadline, "no such event; the last were {seen:?}");
            seen.extend(events);
        }
    }

    fn put(&self, key: &str) -> Receiver<Result<v1::WriteResponse, v1::Error>> {
        let put = v1::Put { keyspace: 1, key: key.to_owned().into(), ..v1::Put::default() };
        let operations = vec![v1::Operation { kind: Some(v1::operation::Kind::Put(put)) }];
        self.write(v1::Command { operations, ..v1::Command::default() })
    }

    fn open_session(&self) -> Receiver<Result<v1::WriteResponse, v1::Error>> {
        let special = Some(v1::command::Special::OpenSession(v1::OpenSession {}));
        self.write(v1::Command { special, ..v1::Command::default() })
    }

    fn write(&self, command: v1::Command) -> Receiver<Result<v1::WriteResponse, v1::Error>> {
        let (reply, answer) = reply();
        self.door.write(v1::WriteRequest { command: Some(command), ..v1::WriteRequest::default() }, self.soon(), reply);
        answer
    }

    fn get(&self, key: &str) -> Receiver<Result<v1::GetResponse, v1::Error>> {
        let (reply, answer) = reply();
        let request = v1::GetRequest { keyspace: 1, keys: vec![key.to_owned().into()], ..v1::GetRequest::default() };
        self.door.get(request, self.soon(), reply);
        answer
    }

    fn soon(&self) -> Instant {
        OsTime.now() + LONG
    }

    fn handle(&self) -> u64 {
        self.event(|event| if let Event::Write { handle, .. } = event { Some(*handle) } else { None })
    }

    fn context(&self) -> u64 {
        self.event(|event| if let Event::Read { context, .. } = event { Some(*context) } else { None })
    }

    /// Appends an entry and waits until it is durable.
    fn append(&mut self, term: u64, index: u64, kind: u32, payload: Payload) {
        self.ticket += 1;
        let entries = vec![NewEntry { term, index, kind, payload }];
        let write = Write { group: GROUP, hard_state: Some((term, 1, 0)), snapshot: None, entries };
        let ticket = self.ticket;
        let writes = vec![write];
        self.muscle.perform(Turn { ticket: Some(ticket), must_sync: true, writes, ..Turn::default() });
        self.event(|event| (*event == Event::Synced(ticket)).then_some(()));
    }

    fn set_gate(&self, until_ms: u64, index: u64) {
        self.muscle.perform(Turn { gates: vec![(GROUP, until_ms, index)], ..Turn::default() });
    }

    fn apply(&self, first: u64, last: u64, barrier: bool) {
        self.muscle.perform(Turn { applies: vec![Apply { group: GROUP, first, last, barrier }], ..Turn::default() });
        self.event(|event| matches!(event, Event::Applied { index, .. } if *index == last).then_some(()));
    }
}

fn reply<R: Send + 'static>() -> (Reply<R>, Receiver<Result<R, v1::Error>>) {
    let (sender, answer) = channel();
    (Box::new(move |outcome| drop(sender.send(outcome))), answer)
}

fn of<R>(answer: &Receiver<Result<R, v1::Error>>) -> Result<R, String> {
    answer.recv_timeout(LONG).expect("an answer").map_err(|error| error.kind)
}

#[test]
fn a_write_is_answered_when_its_entry_is_applied() {
    let mut bench = Bench::new();
    bench.lead(true);
    let answer = bench.put("a");
    let handle = bench.handle();
    bench.append(1, 2, 0, Payload::Handles(vec![handle]));
    assert!(answer.try_recv().is_err(), "durable here, and not yet committed");
    bench.apply(2, 2, false);
    let result = of(&answer).unwrap().result.unwrap();
    assert_eq!(result.outcome(), v1::Outcome::Done);
    assert_eq!(bench.muscle.position(GROUP).unwrap(), (2, 1));
}

#[test]
fn writers_of_one_entry_are_answered_each_with_its_own_result() {
    let mut bench = Bench::new();
    bench.lead(true);
    let answers = ["a", "b", "c"].map(|key| bench.put(key));
    // One handle for all that come before a turn takes it.
    let handle = bench.handle();
    bench.append(1, 2, 0, Payload::Handles(vec![handle]));
    bench.apply(2, 2, false);
    let revisions = answers.map(|answer| of(&answer).unwrap().result.unwrap().revision);
    assert!(revisions.is_sorted() && revisions[0] < revisions[2], "{revisions:?}");
}

#[test]
fn a_node_that_does_not_lead_names_who_does() {
    let bench = Bench::new();
    bench.lead(false);
    for error in [bench.put("a").recv().unwrap().unwrap_err(), bench.get("a").recv().unwrap().unwrap_err()] {
        assert_eq!((error.kind.as_str(), error.leader_id, error.leader_address.as_str()), ("NotLeader", 2, "there:2"));
        assert!(error.retryable && !error.maybe_applied);
    }
}

#[test]
fn a_write_that_python_refuses_carries_the_hint() {
    let bench = Bench::new();
    bench.lead(true);
    bench.muscle.set_peers([(3, "elsewhere:3".to_owned())].into());
    for (why, kind) in [(Why::NotLeader, "NotLeader"), (Why::Busy, "Unavailable"), (Why::Unknown, "CommitUnknown")] {
        let answer = bench.put("a");
        let handle = bench.handle();
        let writes_refused = vec![WriteRefused { group: GROUP, handle, leader: 3, why }];
        bench.muscle.perform(Turn { writes_refused, release: vec![handle], ..Turn::default() });
        let error = answer.recv_timeout(LONG).unwrap().unwrap_err();
        assert_eq!(error.kind, kind);
        if why == Why::NotLeader {
            assert_eq!((error.leader_id, error.leader_address.as_str()), (3, "elsewhere:3"));
        }
    }
}

#[test]
fn a_write_whose_index_another_entry_took_may_be_sent_again() {
    let mut bench = Bench::new();
    bench.lead(true);
    let answer = bench.put("a");
    let handle = bench.handle();
    bench.append(1, 2, 0, Payload::Handles(vec![handle]));
    bench.append(2, 2, 0, Payload::Handles(vec![]));
    bench.apply(2, 2, false);
    assert_eq!(of(&answer).unwrap_err(), "NotLeader");
}

#[test]
fn reads_of_a_batch_are_answered_when_its_index_is_applied() {
    let mut bench = Bench::new();
    bench.lead(true);
    let written = bench.put("a");
    let handle = bench.handle();
    bench.append(1, 2, 0, Payload::Handles(vec![handle]));
    let (first, second) = (bench.get("a"), bench.get("b"));
    let context = bench.context();
    let later = bench.get("a");
    assert_ne!(bench.context(), context, "a batch that Python has seen takes no more");
    bench.muscle.perform(Turn { reads: vec![(GROUP, context, 2)], ..Turn::default() });
    assert!(first.try_recv().is_err(), "entry 2 is not applied");
    bench.apply(2, 2, false);
    assert!(of(&first).unwrap().rows[0].found);
    assert!(!of(&second).unwrap().rows[0].found);
    assert!(of(&written).is_ok());
    assert!(later.try_recv().is_err(), "nobody confirmed it");
}

#[test]
fn a_gate_lets_reads_pass_without_a_round_until_it_closes() {
    let bench = Bench::new();
    bench.lead(true);
    bench.set_gate(u64::MAX, 1);
    assert!(of(&bench.get("a")).is_ok());
    bench.set_gate(0, 0);
    let waiting = bench.get("a");
    let context = bench.context();
    bench.muscle.perform(Turn { reads_refused: vec![(GROUP, context, 0)], ..Turn::default() });
    assert_eq!(of(&waiting).unwrap_err(), "NotLeader");
}

#[test]
fn a_leader_has_sessions_dropped_where_there_are_too_many() {
    let mut bench = Bench::new();
    bench.lead(true);
    let mut opened = Vec::new();
    for index in 2..=4 {
        opened.extend((0..8).map(|_| bench.open_session()));
        let handle = bench.handle();
        bench.append(1, index, 0, Payload::Handles(vec![handle]));
        bench.apply(index, index, false);
    }
    assert!(opened.iter().all(|answer| of(answer).is_ok()));
    let sessions = |bench: &Bench| bench.muscle.core().group(GROUP).unwrap().machine.sessions();
    assert_eq!(sessions(&bench), 24);
    let handle = bench.handle();
    bench.append(1, 5, 0, Payload::Handles(vec![handle]));
    bench.apply(5, 5, false);
    assert_eq!(sessions(&bench), 20, "the entry that the leader asked for drops the oldest");
}

#[test]
fn a_read_under_a_gate_waits_for_its_index() {
    let mut bench = Bench::new();
    bench.lead(true);
    let _written = bench.put("a");
    let handle = bench.handle();
    bench.append(1, 2, 0, Payload::Handles(vec![handle]));
    bench.set_gate(u64::MAX, 2);
    let read = bench.get("a");
    assert!(read.try_recv().is_err(), "entry 2 is committed and not applied");
    bench.apply(2, 2, false);
    assert!(of(&read).unwrap().rows[0].found);
}

#[test]
fn who_waits_too_long_is_answered() {
    let mut bench = Bench::new();
    bench.lead(true);
    bench.muscle.start().unwrap();
    let appended = bench.put("a");
    let handle = bench.handle();
    bench.append(1, 2, 0, Payload::Handles(vec![handle]));
    let (queued, read) = (bench.put("b"), bench.get("a"));
    *bench.time.ahead.lock().unwrap() = LONG * 2;
    assert_eq!(of(&appended).unwrap_err(), "CommitUnknown");
    assert_eq!(of(&queued).unwrap_err(), "CommitUnknown");
    assert_eq!(of(&read).unwrap_err(), "DeadlineExceeded");
}

#[test]
fn what_is_durable_is_there_again_though_nothing_was_flushed() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::volatile());
    let mut bench = Bench::on(Arc::clone(&fs));
    bench.lead(true);
    let _waits = bench.put("a");
    let handle = bench.handle();
    bench.append(1, 2, 0, Payload::Handles(vec![handle]));
    drop(bench);
    let bench = Bench::on(fs);
    assert_eq!((bench.muscle.position(GROUP).unwrap(), bench.muscle.last_index(GROUP).unwrap()), ((1, 0), 2));
    assert_eq!(bench.muscle.hard_state(GROUP).map(|hard| (hard.term, hard.vote)), Some((1, 1)));
    bench.apply(2, 2, false);
    bench.set_gate(u64::MAX, 2);
    assert!(of(&bench.get("a")).unwrap().rows[0].found);
}

#[test]
fn who_waits_is_answered_when_the_node_stops() {
    let mut bench = Bench::new();
    bench.lead(true);
    let appended = bench.put("a");
    let handle = bench.handle();
    bench.append(1, 2, 0, Payload::Handles(vec![handle]));
    let read = bench.get("a");
    bench.muscle.stop();
    assert_eq!(of(&appended).unwrap_err(), "CommitUnknown");
    assert_eq!(of(&read).unwrap_err(), "Unavailable");
}

#[test]
fn a_failure_is_told_and_ends_every_turn() {
    let bench = Bench::new();
    bench.lead(true);
    let unknown = Payload::Handles(vec![99]);
    let entries = vec![NewEntry { term: 1, index: 2, kind: 0, payload: unknown }];
    let write = Write { group: GROUP, hard_state: None, snapshot: None, entries };
    bench.muscle.perform(Turn { writes: vec![write], ..Turn::default() });
    let reason = bench.event(|event| if let Event::Stop(reason) = event { reason.clone() } else { None });
    assert!(reason.what.contains("handle 99"), "{reason}");
    assert_eq!(of(&bench.put("a")).unwrap_err(), "Unavailable");
}

#[test]
fn a_full_disk_may_pass_and_nothing_acknowledged_is_lost() {
    let fs = Arc::new(MemFs::volatile());
    let mut bench = Bench::on(Arc::clone(&fs) as Arc<dyn Fs>);
    bench.lead(true);
    let answer = bench.put("a");
    let handle = bench.handle();
    bench.append(1, 2, 0, Payload::Handles(vec![handle]));
    bench.apply(2, 2, false);
    of(&answer).unwrap();
    fs.set_space(0);
    bench.muscle.perform(Turn { flushes: vec![GROUP], ..Turn::default() });
    let reason = bench.event(|event| if let Event::Stop(reason) = event { reason.clone() } else { None });
    assert!(reason.may_pass, "{reason}");
    drop(bench);
    fs.set_space(u64::MAX);
    let bench = Bench::on(fs);
    bench.apply(2, 2, false);
    bench.set_gate(u64::MAX, 2);
    assert!(of(&bench.get("a")).unwrap().rows[0].found);
}

/// Closes the group, and waits until its files are gone.
fn close(bench: &Bench, fs: &MemFs) {
    bench.muscle.perform(Turn { closed: vec![GROUP], ..Turn::default() });
    let until = OsTime.now() + LONG;
    while !fs.list(Path::new("/node/shards")).unwrap().is_empty() {
        assert!(OsTime.now() < until);
        std::thread::yield_now();
    }
}

#[test]
fn a_closed_group_leaves_nothing_and_may_come_back() {
    let fs = Arc::new(MemFs::volatile());
    let mut bench = Bench::on(Arc::clone(&fs) as Arc<dyn Fs>);
    bench.append(1, 2, 0, Payload::Handles(vec![]));
    bench.apply(2, 2, false);
    close(&bench, &fs);
    assert!(bench.muscle.groups().is_empty());
    bench.muscle.add_group(GROUP, FOUNDING).unwrap();
    assert_eq!((bench.muscle.position(GROUP).unwrap(), bench.muscle.last_index(GROUP).unwrap()), ((1, 0), 1));
    close(&bench, &fs);
    drop(bench);
    let bench = Bench::on(fs);
    assert_eq!(bench.muscle.position(GROUP).unwrap(), (1, 0), "founded anew");
}

#[test]
fn a_crash_in_the_middle_of_closing_leaves_the_group_or_nothing() {
    let fs = Arc::new(MemFs::volatile());
    let mut bench = Bench::on(Arc::clone(&fs) as Arc<dyn Fs>);
    bench.append(1, 2, 0, Payload::Handles(vec![]));
    drop(bench);
    for dir in ["/node/shards/1", "/node/shards/2", "/node/shards/3", "/node/shards/closed-4"].map(Path::new) {
        if !fs.exists(dir).unwrap() {
            fs.create_dir(dir).unwrap();
        }
    }
    // The log still has group 1, and had never heard of 3.
    fs.create(Path::new("/node/shards/1/CLOSED")).unwrap();
    fs.create(Path::new("/node/shards/2/CLOSED")).unwrap();
    let bench = Bench::on(Arc::clone(&fs) as Arc<dyn Fs>);
    assert_eq!(bench.muscle.last_index(GROUP).unwrap(), 2);
    assert_eq!(fs.list(Path::new("/node/shards")).unwrap(), ["1", "3"]);
    assert!(!fs.exists(Path::new("/node/shards/1/CLOSED")).unwrap());
}

#[test]
fn care_is_answered_by_the_muscle_itself() {
    let mut bench = Bench::new();
    bench.append(1, 2, 0, Payload::Handles(vec![]));
    bench.apply(2, 2, false);
    for (verb, part) in
        [("flush", "\"index\":2"), ("compact", "\"index\":2"), ("verify", "\"damage\":[]"), ("stats", "\"flushes\":")]
    {
        let (reply, answer) = reply();
        bench.door.call(verb.to_owned(), "{}".to_owned(), bench.soon(), reply);
        let id = bench.event(|event| if let Event::Call { id, .. } = event { Some(*id) } else { None });
        bench.muscle.care(Care::of(verb).unwrap(), id);
        let said = of(&answer).unwrap();
        assert!(said.contains(part), "{verb}: {said}");
    }
    assert_eq!(Care::of("status"), None);
}
