//! Requests that wait: each is answered exactly once, at the latest when it is dropped, and counts until then.
use super::refusal;
use crate::intake::Reply;
use kvarts_wire::v1;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many requests a node has, and may have.
#[derive(Debug)]
pub struct Crowd {
    now: AtomicUsize,
    max: usize,
}

impl Crowd {
    /// Nobody yet.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { now: AtomicUsize::new(0), max })
    }

    /// Requests that wait.
    pub fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    fn enter(&self) -> bool {
        let before = self.now.fetch_add(1, Ordering::Relaxed);
        if before >= self.max {
            self.now.fetch_sub(1, Ordering::Relaxed);
        }
        before < self.max
    }
}

/// Where the answer to one request goes.
pub struct Answer<R> {
    reply: Option<Reply<R>>,
    crowd: Arc<Crowd>,
    /// When the request came, by [`super::clock::Time::boot_ns`].
    pub since_ns: u64,
}

impl<R> Answer<R> {
    /// Takes a request in; refuses it at once where there are too many.
    pub fn admit(crowd: &Arc<Crowd>, since_ns: u64, reply: Reply<R>) -> Option<Self> {
        if crowd.enter() {
            return Some(Self { reply: Some(reply), crowd: Arc::clone(crowd), since_ns });
        }
        reply(Err(refusal::unavailable(format!("{} requests wait on this node already", crowd.max))));
        None
    }

    /// Answers.
    pub fn give(mut self, outcome: Result<R, v1::Error>) {
        if let Some(reply) = self.reply.take() {
            reply(outcome);
        }
    }

    /// Refuses.
    pub fn refuse(self, error: v1::Error) {
        self.give(Err(error));
    }
}

impl<R> Drop for Answer<R> {
    fn drop(&mut self) {
        self.crowd.now.fetch_sub(1, Ordering::Relaxed);
        if let Some(reply) = self.reply.take() {
            reply(Err(refusal::unavailable("the node stops")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// What replies were called with.
    type Kept = Arc<Mutex<Vec<Result<u8, String>>>>;

    fn kept() -> (Kept, impl Fn() -> Reply<u8>) {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&answers);
        let reply = move || {
            let to = Arc::clone(&to);
            let reply: Reply<u8> = Box::new(move |outcome| {
                to.lock().unwrap().push(outcome.map_err(|error| error.kind));
            });
            reply
        };
        (answers, reply)
    }

    #[test]
    fn a_request_is_answered_once_and_leaves_the_crowd() {
        let (answers, reply) = kept();
        let crowd = Crowd::new(1);
        let answer = Answer::admit(&crowd, 0, reply()).unwrap();
        assert_eq!(crowd.now(), 1);
        answer.give(Ok(7));
        assert_eq!((crowd.now(), answers.lock().unwrap().clone()), (0, vec![Ok(7)]));
    }

    #[test]
    fn a_request_that_is_dropped_is_refused() {
        let (answers, reply) = kept();
        drop(Answer::admit(&Crowd::new(1), 0, reply()));
        assert_eq!(*answers.lock().unwrap(), vec![Err("Unavailable".to_owned())]);
    }

    #[test]
    fn one_request_too_many_is_refused_at_once() {
        let (answers, reply) = kept();
        let crowd = Crowd::new(1);
        let first = Answer::admit(&crowd, 0, reply());
        assert!(Answer::admit(&crowd, 0, reply()).is_none());
        assert_eq!(*answers.lock().unwrap(), vec![Err("Unavailable".to_owned())]);
        drop(first);
        assert!(Answer::admit(&crowd, 0, reply()).is_some());
    }
}
