//! The client in callers' hands: puts calls into the inbox of its thread, and ends it.
use super::call::{Aim, Call, Completion, Outcome, Queue, Request, Slot};
use super::driver::Driver;
use super::failure;
use kvarts_wire::v1;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What a client is made with.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// host:port of nodes to begin with; the others are learnt from them.
    pub hosts: Vec<String>,
}

/// Connections to a cluster. Shared between threads; dropping it closes it.
pub struct Client {
    inbox: Arc<Inbox>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Calls on their way to the driver.
pub(super) struct Inbox {
    /// `None` once closed.
    calls: Mutex<Option<Vec<Call>>>,
    filled: Notify,
}

impl Inbox {
    fn calls(&self) -> MutexGuard<'_, Option<Vec<Call>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there are calls, or the end.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes what waits into an empty `taken`. Returns false once closed.
    pub fn take(&self, taken: &mut Vec<Call>) -> bool {
        match &mut *self.calls() {
            Some(calls) => {
                std::mem::swap(calls, taken);
                true
            }
            None => false,
        }
    }

    /// Returns the call where it can be taken no more.
    fn add(&self, call: Call) -> Option<Call> {
        let first = match &mut *self.calls() {
            Some(calls) => {
                calls.push(call);
                calls.len() == 1
            }
            None => return Some(call),
        };
        // The driver takes all at once, so it is woken by the first only.
        if first {
            self.filled.notify_one();
        }
        None
    }

    /// Takes no more calls and returns those that wait.
    fn close(&self) -> Vec<Call> {
        let left = self.calls().take().unwrap_or_default();
        self.filled.notify_one();
        left
    }
}

impl Client {
    /// Starts the thread. Nothing is connected before the first call. Errors: no thread, no descriptor left.
    pub fn start(options: ClientOptions) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let inbox = Arc::new(Inbox { calls: Mutex::new(Some(Vec::new())), filled: Notify::new() });
        let theirs = Arc::clone(&inbox);
        let run = move || runtime.block_on(Driver::new(options, theirs).run());
        let thread = thread::Builder::new().name("kvarts-client".to_owned()).spawn(run)?;
        Ok(Self { inbox, thread: Mutex::new(Some(thread)) })
    }

    /// Asks, and fills `slot` with the outcome no later than `timeout` from now, about.
    pub fn call(&self, request: Request, aim: Aim, timeout: Duration, slot: &Arc<Slot>) {
        self.add(Call { request, aim, deadline: Instant::now() + timeout, done: Completion::Slot(Arc::clone(slot)) });
    }

    /// Asks, and puts the outcome into `queue` under `number`.
    pub fn submit(&self, request: Request, aim: Aim, timeout: Duration, queue: &Arc<Queue>, number: u64) {
        let done = Completion::Queue(Arc::clone(queue), number);
        self.add(Call { request, aim, deadline: Instant::now() + timeout, done });
    }

    /// Ends all calls with `ClosedError`, closes the connections and waits for the thread. Idempotent.
    pub fn close(&self) {
        self.inbox.close().into_iter().for_each(|call| finish(call.done, Err(failure::closed())));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// Tells whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.inbox.calls().is_none()
    }

    fn add(&self, call: Call) {
        if let Some(call) = self.inbox.add(call) {
            finish(call.done, Err(failure::closed()));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close();
    }
}

/// Hands an outcome over, and tells the reader of a queue at once.
fn finish(done: Completion, outcome: Outcome) {
    match done {
        Completion::Slot(slot) => slot.fill(outcome),
        Completion::Queue(queue, number) => {
            if queue.add(number, outcome) {
                queue.tell();
            }
        }
        Completion::Part(..) => {}
    }
}

/// Tells whether an answer to a write says that the session is gone.
pub(super) fn is_expired(result: &v1::Result) -> bool {
    result.outcome() == v1::Outcome::SessionExpired
}
