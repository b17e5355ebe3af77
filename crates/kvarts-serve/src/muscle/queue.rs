//! Events on their way to Python: one consumer, who waits on a condition.
use super::event::Event;
use kvarts_engine::sync::{Condvar, Mutex};
use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

/// What waits for the next poll.
#[derive(Debug, Default)]
struct Waiting {
    events: Vec<Event>,
    /// (group, handle, size): apart, because a poll takes only so many bytes of them.
    writes: VecDeque<(u64, u64, usize)>,
    woken: bool,
    /// The word that the node must stop was given: nothing else is taken any more.
    stopped: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.writes.is_empty() && !self.woken
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
                other => waiting.events.push(other),
            }
        }
        drop(waiting);
        self.arrived.notify_one();
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
            self.arrived.wait_for(&mut waiting, left);
        }
        waiting.woken = false;
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
