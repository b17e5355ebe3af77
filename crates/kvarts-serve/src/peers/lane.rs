//! Messages that wait for one node.
use futures_util::Stream;
use kvarts_engine::sync::Mutex;
use kvarts_wire::v1::{PeerBatch, PeerMessage};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Bytes of one batch, about; one message may be larger by itself.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes that a message and an entry take besides payloads, about.
const OVERHEAD_BYTES: usize = 32;

/// The queue to one node.
pub struct Lane {
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    messages: VecDeque<(usize, PeerMessage)>,
    bytes: usize,
    waker: Option<Waker>,
    /// The last loss was told, and nothing was handed over since.
    told: bool,
    /// Messages are dropped, which was told, until the queue is half empty.
    overflowing: bool,
}

/// What became of a batch.
pub enum Queued {
    /// It waits to be sent.
    Waits,
    /// There is no room: it is dropped.
    Dropped,
    /// The same, for the first time: that is to be told.
    FirstDropped,
}

impl Lane {
    /// An empty queue.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, state: Mutex::default() }
    }

    /// Adds a batch, unless there is no room.
    pub fn add(&self, batch: PeerBatch) -> Queued {
        let sized: Vec<_> = batch.messages.into_iter().map(|message| (size_of(&message), message)).collect();
        let bytes: usize = sized.iter().map(|(bytes, _)| bytes).sum();
        let waker = {
            let mut state = self.state.lock();
            let full = state.bytes > 0 && state.bytes + bytes > self.bytes_max;
            if full || (state.overflowing && state.bytes > self.bytes_max / 2) {
                let first = !state.overflowing;
                state.overflowing = true;
                return if first { Queued::FirstDropped } else { Queued::Dropped };
            }
            state.overflowing = false;
            state.bytes += bytes;
            state.messages.extend(sized);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Queued::Waits
    }

    /// The connection is gone: drops what waits, which is old by the time there is another. True where that is to be told.
    pub fn lose(&self) -> bool {
        let mut state = self.state.lock();
        let dropped = std::mem::take(&mut state.messages);
        state.bytes = 0;
        state.overflowing = false;
        let first = !state.told;
        state.told = true;
        drop(state);
        drop(dropped);
        first
    }

    /// There is a connection: losing it is news.
    pub fn connected(&self) {
        self.state.lock().told = false;
    }
}

/// The sending half of a connection: all that waits goes together.
pub struct Batches(pub Arc<Lane>);

impl Stream for Batches {
    type Item = PeerBatch;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.0.state.lock();
        let Some((mut bytes, first)) = state.messages.pop_front() else {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        let mut messages = vec![first];
        while let Some((more, _)) = state.messages.front()
            && bytes + more <= BATCH_BYTES
        {
            bytes += more;
            messages.extend(state.messages.pop_front().map(|(_, message)| message));
        }
        state.bytes -= bytes;
        Poll::Ready(Some(PeerBatch { messages }))
    }
}

fn size_of(message: &PeerMessage) -> usize {
    let entries: usize = message.entries.iter().map(|entry| entry.payload.len() + OVERHEAD_BYTES).sum();
    OVERHEAD_BYTES + entries + message.word.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::StreamExt;
    use kvarts_wire::v1::PeerEntry;

    fn batch(payload: usize) -> PeerBatch {
        let entries = vec![PeerEntry { payload: vec![0; payload].into(), ..PeerEntry::default() }];
        PeerBatch { messages: vec![PeerMessage { entries, ..PeerMessage::default() }] }
    }

    fn next(lane: &Arc<Lane>) -> Option<usize> {
        let batch = Batches(Arc::clone(lane)).next().now_or_never()??;
        Some(batch.messages.len())
    }

    #[test]
    fn a_loss_is_told_once_per_connection() {
        let lane = Lane::new(1000);
        assert_eq!([lane.lose(), lane.lose()], [true, false]);
        lane.connected();
        assert_eq!([lane.lose(), lane.lose()], [true, false]);
    }

    #[test]
    fn what_has_no_room_is_dropped_and_told_once() {
        let lane = Arc::new(Lane::new(1000));
        assert!(matches!(lane.add(batch(900)), Queued::Waits));
        assert!(matches!(lane.add(batch(900)), Queued::FirstDropped));
        assert!(matches!(lane.add(batch(1)), Queued::Dropped), "until the queue is half empty");
        assert_eq!(next(&lane), Some(1));
        assert!(matches!(lane.add(batch(900)), Queued::Waits));
        assert!(matches!(lane.add(batch(900)), Queued::FirstDropped));
    }

    #[test]
    fn one_batch_has_room_whatever_its_size() {
        assert!(matches!(Lane::new(1000).add(batch(5000)), Queued::Waits));
    }

    #[test]
    fn what_waits_goes_together_up_to_a_limit() {
        let lane = Arc::new(Lane::new(64 << 20));
        for _ in 0..10 {
            lane.add(batch(300 << 10));
        }
        assert_eq!(
            [next(&lane), next(&lane), next(&lane), next(&lane), next(&lane)],
            [Some(3), Some(3), Some(3), Some(1), None]
        );
    }

    #[test]
    fn what_waited_for_a_lost_connection_is_dropped() {
        let lane = Arc::new(Lane::new(1000));
        lane.add(batch(900));
        lane.lose();
        assert_eq!(next(&lane), None);
        assert!(matches!(lane.add(batch(900)), Queued::Waits));
    }
}
