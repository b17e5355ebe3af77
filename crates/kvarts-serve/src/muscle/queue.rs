//! Events on their way to Python: one consumer, who waits on a condition.
use super::event::Event;
use kvarts_engine::sync::{Condvar, Mutex};
use std::collections::HashMap;
use std::mem;
use std::time::Duration;

/// For how long a quiet event waits for another to be told with.
const QUIET: Duration = Duration::from_millis(5);

/// What waits for the next poll.
#[derive(Debug, Default)]
struct Waiting {
    events: Vec<Event>,
    /// Some of `events` wants to be told now.
    loud: bool,
    /// The poll looks after a while whether quiet events came: they need not wake it.
    expecting: bool,
    /// By group, the entry whose commit lets the next one go.
    entries: HashMap<u64, Entry>,
    woken: bool,
    /// By group, where in `events` the word is that plain entries are applied, if nothing came since that it must not pass.
    applied: HashMap<u64, usize>,
    /// The word that the node must stop was given: nothing else is taken any more.
    stopped: bool,
}

/// An entry of a leader on its way.
#[derive(Clone, Copy, Debug)]
struct Entry {
    index: u64,
    /// It went to other nodes, too: one log that has it does not commit it.
    company: bool,
    /// How many logs have it, as far as was heard.
    logs: u32,
}

impl Entry {
    /// Notes that one log more has it. Returns whether it may be committed by that.
    fn another_log(&mut self) -> bool {
        self.logs += 1;
        self.logs > 1 || !self.company
    }
}

impl Waiting {
    /// Adds an event; returns whether the poll must hear of it.
    fn add(&mut self, event: Event, loud: bool) -> bool {
        let heard = !self.stopped && (loud || !self.expecting);
        self.loud |= heard;
        self.keep(event);
        heard
    }

    /// Adds an event that the poll finds when it returns.
    fn keep(&mut self, event: Event) {
        if !self.stopped {
            self.events.push(event);
        }
    }

    fn is_empty(&self) -> bool {
        !self.loud && !self.woken
    }
}

/// How much an event from another node wants to be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// At once.
    Loud,
    /// As the answer of a follower whose log has the entries of a group up to an index.
    Stored { group: u64, index: u64 },
    /// Never: it lies there until a turn comes, at the latest that of the next tick.
    Idle,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

impl Queue {
    /// Adds an event. After [`Event::Stop`] nothing is added.
    pub fn push(&self, event: Event) {
        self.push_all([event]);
    }

    /// Adds events that belong together.
    pub fn push_all(&self, events: impl IntoIterator<Item = Event>) {
        let mut waiting = self.waiting.lock();
        // A barrier or a snapshot may be among them.
        waiting.applied.clear();
        for event in events {
            if waiting.stopped {
                return;
            }
            waiting.stopped = matches!(event, Event::Stop(_));
            waiting.events.push(event);
            waiting.loud = true;
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Adds the word that plain entries of a group are applied, for which nothing waits: Python hears of it with the next
    /// event, or a little later, and of several words only the last.
    ///
    /// A turn costs more than most of what it is for, so one less counts.
    pub fn push_applied(&self, group: u64, index: u64) {
        let mut waiting = self.waiting.lock();
        let Waiting { events, applied, .. } = &mut *waiting;
        if let Some(Event::Applied { index: known, .. }) = applied.get(&group).and_then(|&at| events.get_mut(at)) {
            *known = index;
            return;
        }
        let at = events.len();
        applied.insert(group, at);
        self.add(&mut waiting, Event::Applied { group, index, command: None }, false);
    }

    /// Adds the word that writes wait: quiet while an entry of their group is on its way, since they go with the next.
    pub fn push_write(&self, group: u64, handle: u64) {
        let mut waiting = self.waiting.lock();
        let loud = !waiting.entries.contains_key(&group);
        self.add(&mut waiting, Event::Write { group, handle, size: 0 }, loud);
    }

    /// Adds what came from another node together: the poll wakes once, if at all.
    pub fn push_received(&self, events: Vec<(Event, Tone)>) {
        let mut waiting = self.waiting.lock();
        let mut heard = false;
        for (event, tone) in events {
            let loud = match tone {
                Tone::Loud => true,
                Tone::Idle => {
                    waiting.keep(event);
                    continue;
                }
                // Quiet where it commits nothing: behind the entry that writes wait for, or as the first to have it.
                Tone::Stored { group, index } => match waiting.entries.get_mut(&group) {
                    None => false,
                    Some(entry) => index < entry.index || entry.another_log(),
                },
            };
            heard |= waiting.add(event, loud);
        }
        if heard {
            self.arrived.notify_one();
        }
    }

    /// Adds the word that turns are durable: for each, the groups whose entries it wrote as their leader, and its ticket.
    pub fn push_synced(&self, turns: Vec<(Vec<u64>, u64)>) {
        let mut waiting = self.waiting.lock();
        let mut heard = false;
        for (groups, ticket) in turns {
            let mut loud = false;
            for group in groups {
                loud |= waiting.entries.get_mut(&group).is_none_or(Entry::another_log);
            }
            heard |= waiting.add(Event::Synced(ticket), loud);
        }
        if heard {
            self.arrived.notify_one();
        }
    }

    fn add(&self, waiting: &mut Waiting, event: Event, loud: bool) {
        if waiting.add(event, loud) {
            self.arrived.notify_one();
        }
    }

    /// Writes of a group wait until an entry is committed, which went to other nodes (`company`) or is ours alone.
    /// Told by the thread that polls.
    pub fn wait_for_entry(&self, group: u64, index: u64, company: bool) {
        self.waiting.lock().entries.insert(group, Entry { index, company, logs: 0 });
    }

    /// Entries of a group up to an index are committed, or this node leads it no more.
    pub fn entry_arrived(&self, group: u64, index: u64) {
        let mut waiting = self.waiting.lock();
        if waiting.entries.get(&group).is_some_and(|entry| entry.index <= index) {
            waiting.entries.remove(&group);
            waiting.loud |= waiting.events.iter().any(|event| matches!(event, Event::Write { .. }));
        }
    }

    /// What was begun ends in a quiet event. Told by the thread that polls.
    pub fn expect_quiet(&self) {
        self.waiting.lock().expecting = true;
    }

    /// Lets the poll under way, or the next one, return at once.
    pub fn wake(&self) {
        self.waiting.lock().woken = true;
        self.arrived.notify_one();
    }

    /// Returns what is there; waits for at most `timeout` until something is.
    pub fn take(&self, timeout: impl Fn() -> Duration) -> Vec<Event> {
        let mut waiting = self.waiting.lock();
        while waiting.is_empty() {
            let left = timeout();
            if left.is_zero() {
                break;
            }
            if !waiting.expecting {
                self.arrived.wait_for(&mut waiting, left);
            } else if self.arrived.wait_for(&mut waiting, left.min(QUIET)) {
                // From here on one that comes wakes the poll.
                waiting.expecting = false;
                waiting.loud = !waiting.events.is_empty();
            }
        }
        (waiting.woken, waiting.loud) = (false, false);
        waiting.applied.clear();
        mem::take(&mut waiting.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    const AT_ONCE: fn() -> Duration = || Duration::ZERO;

    #[test]
    fn writes_are_quiet_while_an_entry_of_their_group_is_on_its_way() {
        let write = |group, handle| Event::Write { group, handle, size: 0 };
        let queue = Queue::default();
        queue.expect_quiet();
        queue.wait_for_entry(1, 7, true);
        queue.push_write(1, 3);
        assert!(queue.waiting.lock().is_empty());
        queue.push_write(2, 4);
        assert_eq!(queue.take(AT_ONCE), [write(1, 3), write(2, 4)], "another group's is loud");
        queue.push_write(1, 5);
        queue.entry_arrived(1, 6);
        assert!(queue.waiting.lock().is_empty(), "entry 7 has not arrived");
        queue.entry_arrived(1, 7);
        assert!(!queue.waiting.lock().is_empty());
        assert_eq!(queue.take(AT_ONCE), [write(1, 5)]);
    }

    #[test]
    fn a_quiet_event_comes_with_the_next_loud_one_or_a_little_later() {
        let queue = Arc::new(Queue::default());
        queue.expect_quiet();
        let applied = |index| Event::Applied { group: 1, index, command: None };
        queue.push_applied(1, 4);
        queue.push(Event::Synced(2));
        queue.push_applied(1, 5);
        assert_eq!(
            queue.take(AT_ONCE),
            [applied(4), Event::Synced(2), applied(5)],
            "what came between may be a barrier"
        );
        queue.push_applied(1, 5);
        queue.push_applied(2, 9);
        queue.push_applied(1, 6);
        let other = Event::Applied { group: 2, index: 9, command: None };
        assert_eq!(queue.take(AT_ONCE), [applied(6), other], "the last word counts");
        queue.push_applied(1, 6);
        assert_eq!(queue.take(|| Duration::from_secs(60)), [applied(6)], "nothing else came");
        let other = Arc::clone(&queue);
        let poll = thread::spawn(move || other.take(|| Duration::from_secs(60)));
        queue.push_applied(1, 7);
        assert_eq!(poll.join().unwrap(), [applied(7)], "the poll was not told to expect it");
    }

    #[test]
    fn the_first_log_that_has_an_entry_is_quiet_unless_there_is_no_other() {
        let queue = Queue::default();
        queue.expect_quiet();
        queue.wait_for_entry(1, 7, true);
        queue.push_synced(vec![(vec![1], 1)]);
        assert!(queue.waiting.lock().is_empty(), "one of three logs has it");
        stored(&queue, 7, 2);
        assert_eq!(queue.take(AT_ONCE), [Event::Synced(1), Event::PeerLost(2)]);
        queue.entry_arrived(1, 7);
        stored(&queue, 7, 3);
        assert!(queue.waiting.lock().is_empty(), "it is committed");
        queue.take(AT_ONCE);
        queue.wait_for_entry(1, 9, true);
        stored(&queue, 8, 2);
        assert!(!queue.waiting.lock().is_empty(), "a follower that catches up wants more");
        queue.take(AT_ONCE);
        queue.wait_for_entry(1, 10, false);
        queue.push_synced(vec![(vec![1], 2)]);
        assert!(!queue.waiting.lock().is_empty(), "nobody else has to say anything");
    }

    /// An answer of group 1.
    fn stored(queue: &Queue, index: u64, node: u64) {
        queue.push_received(vec![(Event::PeerLost(node), Tone::Stored { group: 1, index })]);
    }

    #[test]
    fn what_nobody_waits_for_lies_until_a_poll_returns() {
        let queue = Queue::default();
        queue.push_received(vec![(Event::PeerLost(2), Tone::Idle)]);
        assert!(queue.waiting.lock().is_empty());
        assert_eq!(queue.take(AT_ONCE), [Event::PeerLost(2)], "the tick is due");
        queue.push_received(vec![(Event::PeerLost(2), Tone::Idle), (Event::PeerLost(3), Tone::Loud)]);
        assert_eq!(queue.take(|| Duration::from_secs(60)), [Event::PeerLost(2), Event::PeerLost(3)]);
    }

    #[test]
    fn nothing_comes_after_the_stop() {
        let queue = Queue::default();
        queue.push_all([Event::Stop(None), Event::Synced(1)]);
        queue.push(Event::Synced(2));
        assert_eq!(queue.take(AT_ONCE), [Event::Stop(None)]);
    }

    #[test]
    fn a_poll_ends_when_an_event_comes_or_somebody_wakes_it() {
        let queue = Arc::new(Queue::default());
        for woken in [false, true] {
            let other = Arc::clone(&queue);
            let poll = thread::spawn(move || other.take(|| Duration::from_secs(60)));
            if woken {
                queue.wake();
            } else {
                queue.push(Event::Synced(1));
            }
            assert_eq!(poll.join().unwrap().len(), usize::from(!woken));
        }
    }
}
