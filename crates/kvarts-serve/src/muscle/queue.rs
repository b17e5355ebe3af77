//! Events on their way to Python: one consumer, who waits on a condition.
use super::event::Event;
use kvarts_engine::sync::{Condvar, Mutex};
use std::collections::VecDeque;
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
    /// (group, handle, size): apart, because a poll takes only so many bytes of them.
    writes: VecDeque<(u64, u64, usize)>,
    woken: bool,
    /// The word that the node must stop was given: nothing else is taken any more.
    stopped: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        !self.loud && self.writes.is_empty() && !self.woken
    }
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    /// Bytes of writes that one poll hands out: what may become one entry.
    write_bytes_max: usize,
}

impl Queue {
    /// An empty queue.
    pub fn new(write_bytes_max: usize) -> Self {
        Self { waiting: Mutex::default(), arrived: Condvar::default(), write_bytes_max }
    }

    /// Adds an event. After [`Event::Stop`] nothing is added.
    pub fn push(&self, event: Event) {
        self.push_all([event]);
    }

    /// Adds events that belong together.
    pub fn push_all(&self, events: impl IntoIterator<Item = Event>) {
        let mut waiting = self.waiting.lock();
        for event in events {
            if waiting.stopped {
                return;
            }
            waiting.stopped = matches!(event, Event::Stop(_));
            match event {
                Event::Write { group, handle, size } => waiting.writes.push_back((group, handle, size)),
                other => {
                    waiting.events.push(other);
                    waiting.loud = true;
                }
            }
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Adds an event that nothing waits for: Python hears of it with the next one, or a little later.
    ///
    /// A turn costs more than most of what it is for, so one less counts.
    pub fn push_quiet(&self, event: Event) {
        let mut waiting = self.waiting.lock();
        if waiting.stopped {
            return;
        }
        waiting.events.push(event);
        waiting.loud |= !waiting.expecting;
        let loud = waiting.loud;
        drop(waiting);
        if loud {
            self.arrived.notify_one();
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
        let mut events = mem::take(&mut waiting.events);
        let mut bytes = 0;
        while let Some(&(group, handle, size)) = waiting.writes.front() {
            bytes += size;
            if bytes > self.write_bytes_max && bytes > size {
                break;
            }
            waiting.writes.pop_front();
            events.push(Event::Write { group, handle, size });
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    const AT_ONCE: fn() -> Duration = || Duration::ZERO;

    fn write(handle: u64, size: usize) -> Event {
        Event::Write { group: 1, handle, size }
    }

    #[test]
    fn a_poll_takes_writes_up_to_its_bytes_but_at_least_one() {
        let queue = Queue::new(10);
        queue.push_all([write(1, 12), write(2, 6), Event::Synced(1), write(3, 4), write(4, 1)]);
        assert_eq!(queue.take(AT_ONCE), [Event::Synced(1), write(1, 12)]);
        assert_eq!(queue.take(AT_ONCE), [write(2, 6), write(3, 4)]);
        assert_eq!(queue.take(AT_ONCE), [write(4, 1)]);
        assert_eq!(queue.take(AT_ONCE), []);
    }

    #[test]
    fn a_quiet_event_comes_with_the_next_loud_one_or_a_little_later() {
        let queue = Arc::new(Queue::new(10));
        queue.expect_quiet();
        queue.push_quiet(Event::Synced(1));
        queue.push(Event::Synced(2));
        assert_eq!(queue.take(AT_ONCE), [Event::Synced(1), Event::Synced(2)]);
        queue.push_quiet(Event::Synced(3));
        assert_eq!(queue.take(|| Duration::from_secs(60)), [Event::Synced(3)], "nothing else came");
        let other = Arc::clone(&queue);
        let poll = thread::spawn(move || other.take(|| Duration::from_secs(60)));
        queue.push_quiet(Event::Synced(4));
        assert_eq!(poll.join().unwrap(), [Event::Synced(4)], "the poll was not told to expect it");
    }

    #[test]
    fn nothing_comes_after_the_stop() {
        let queue = Queue::new(10);
        queue.push_all([Event::Stop(None), Event::Synced(1)]);
        queue.push(Event::Synced(2));
        assert_eq!(queue.take(AT_ONCE), [Event::Stop(None)]);
    }

    #[test]
    fn a_poll_ends_when_an_event_comes_or_somebody_wakes_it() {
        let queue = Arc::new(Queue::new(10));
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
