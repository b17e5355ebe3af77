//! Answers of one stream on their way from the threads that give them to the connection.
use crate::intake::{Reply, refusal};
use kvarts_engine::sync::Mutex;
use kvarts_wire::v1;
use kvarts_wire::v1::stream_response::Kind;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

/// Bytes of one message of answers, about; one answer may be larger by itself.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes that an answer takes besides its rows, about.
const OVERHEAD_BYTES: usize = 32;

/// Answers that wait to be sent.
pub struct Answers {
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Batch>,
    bytes: usize,
    /// Woken by the next answer.
    waker: Option<Waker>,
    /// The connection waits for answers. Invariant: false while anything is in `batches`.
    parked: bool,
    /// The stream is gone: answers are dropped.
    closed: bool,
}

/// Answers of one message, their bytes, and the weight of their requests.
#[derive(Default)]
pub struct Batch {
    pub responses: Vec<v1::StreamResponse>,
    pub weight: usize,
    bytes: usize,
}

impl Answers {
    /// No answers yet. None may be larger than `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, state: Mutex::default() }
    }

    /// Says that answers need no wake-up, since the connection's task runs. Returns the bytes that wait.
    pub fn unpark(&self) -> usize {
        let mut state = self.state.lock();
        state.parked = false;
        state.bytes
    }

    /// Takes the answers for one message.
    pub fn take(&self) -> Option<Batch> {
        let mut state = self.state.lock();
        let batch = state.batches.pop_front()?;
        state.bytes -= batch.bytes;
        Some(batch)
    }

    /// Has the next answer wake the task. False where there is one by now.
    pub fn park(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if !state.batches.is_empty() {
            return false;
        }
        match &mut state.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        state.parked = true;
        true
    }

    /// Drops what waits and what is still to come.
    pub fn close(&self) {
        let (batches, waker) = {
            let mut state = self.state.lock();
            state.closed = true;
            (std::mem::take(&mut state.batches), state.waker.take())
        };
        drop((batches, waker));
    }

    /// Adds an answer, and wakes the connection's task if it waits for one.
    pub fn add(&self, id: u64, weight: usize, kind: Kind) {
        let bytes = size_of(&kind);
        let kind = if bytes > self.bytes_max { too_large(bytes, self.bytes_max) } else { kind };
        let response = v1::StreamResponse { id, kind: Some(kind) };
        let waker = {
            let mut state = self.state.lock();
            if state.closed {
                return;
            }
            state.bytes += bytes;
            match state.batches.back_mut() {
                Some(last) if last.bytes + bytes <= BATCH_BYTES => last.add(response, weight, bytes),
                _ => {
                    let mut batch = Batch::default();
                    batch.add(response, weight, bytes);
                    state.batches.push_back(batch);
                }
            }
            if !state.parked {
                return;
            }
            state.parked = false;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Batch {
    fn add(&mut self, response: v1::StreamResponse, weight: usize, bytes: usize) {
        self.responses.push(response);
        self.weight += weight;
        self.bytes += bytes;
    }
}

/// The right to answer one request of a stream. Dropped unused, it answers that the outcome is unknown.
pub struct Ticket {
    answers: Option<Arc<Answers>>,
    id: u64,
    weight: u32,
    writes: bool,
}

impl Ticket {
    /// A ticket for request `id`, which counts as `weight` until its answer is sent.
    pub fn new(answers: &Arc<Answers>, id: u64, weight: usize, writes: bool) -> Self {
        Self { answers: Some(Arc::clone(answers)), id, weight: weight as u32, writes }
    }

    /// Answers.
    pub fn give(mut self, kind: Kind) {
        if let Some(answers) = self.answers.take() {
            answers.add(self.id, self.weight as usize, kind);
        }
    }

    /// Returns what answers with an answer of one kind, or an error.
    pub fn reply<R: 'static>(self, kind: fn(R) -> Kind) -> Reply<R> {
        Box::new(move |answer| self.give(answer.map_or_else(Kind::Error, kind)))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(answers) = self.answers.take() {
            let lost = "the request was dropped on the node";
            let error = if self.writes { refusal::commit_unknown(lost) } else { refusal::unavailable(lost) };
            answers.add(self.id, self.weight as usize, Kind::Error(error));
        }
    }
}

/// Bytes of an answer, about.
fn size_of(kind: &Kind) -> usize {
    let rows = match kind {
        Kind::Get(get) => get.rows.iter().map(|row| row.value.len() + OVERHEAD_BYTES).sum(),
        Kind::Scan(scan) => scan.keys.len() + scan.values.len() + 20 * scan.key_ends.len(),
        Kind::Write(write) => match &write.result {
            Some(result) => {
                result.found.as_ref().map_or(0, |row| row.value.len() + row.key.len()) + 12 * result.sums.len()
            }
            None => 0,
        },
        Kind::Error(error) => error.message.len() + error.hint.len(),
    };
    OVERHEAD_BYTES + rows
}

fn too_large(bytes: usize, bytes_max: usize) -> Kind {
    let message = format!("an answer of {bytes} bytes is over {bytes_max} bytes");
    Kind::Error(refusal::over_limit(message, "ask for fewer keys at once"))
}
