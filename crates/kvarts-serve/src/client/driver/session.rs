//! The session that makes writes happen once, and which of its sequences are unanswered.
use std::collections::VecDeque;

/// Sequences that the nodes keep results for: as many writes may be unanswered.
const WINDOW: usize = 1024;

/// One session; a new one takes its place when the nodes have forgotten it.
#[derive(Default)]
pub struct Session {
    /// 0: none is open.
    pub id: u64,
    /// A request to open one is under way.
    pub opening: bool,
    /// Whether each sequence from `first` on is unanswered. The front one always is.
    unanswered: VecDeque<bool>,
    /// Sequence of the front of `unanswered`, less 1: all up to it are answered.
    answered: u64,
}

impl Session {
    /// Begins the session `id`.
    pub fn begin(&mut self, id: u64) {
        *self = Self { id, ..Self::default() };
    }

    /// Gives up the session, if it is still this one.
    pub fn forget(&mut self, id: u64) {
        if self.id == id {
            *self = Self { opening: self.opening, ..Self::default() };
        }
    }

    /// Returns the next sequence, or `None` while as many as may be are unanswered.
    pub fn next(&mut self) -> Option<u64> {
        if self.unanswered.len() >= WINDOW {
            return None;
        }
        self.unanswered.push_back(true);
        Some(self.answered + self.unanswered.len() as u64)
    }

    /// Takes note that a sequence of session `id` is not asked for again.
    pub fn end(&mut self, id: u64, sequence: u64) {
        if id != self.id || sequence <= self.answered {
            return;
        }
        if let Some(unanswered) = self.unanswered.get_mut((sequence - self.answered - 1) as usize) {
            *unanswered = false;
        }
        while self.unanswered.front() == Some(&false) {
            self.unanswered.pop_front();
            self.answered += 1;
        }
    }

    /// All sequences up to this one are answered.
    pub fn answered(&self) -> u64 {
        self.answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answered_is_below_the_lowest_unanswered() {
        let mut session = Session::default();
        session.begin(7);
        assert_eq!([session.next(), session.next(), session.next()], [Some(1), Some(2), Some(3)]);
        session.end(7, 2);
        assert_eq!(session.answered(), 0);
        session.end(7, 1);
        assert_eq!(session.answered(), 2);
        session.end(7, 1);
        session.end(6, 3);
        assert_eq!(session.answered(), 2);
        session.end(7, 3);
        assert_eq!(session.answered(), 3);
        assert_eq!(session.next(), Some(4));
    }

    #[test]
    fn a_full_window_gives_no_sequence_until_the_lowest_is_answered() {
        let mut session = Session::default();
        session.begin(1);
        for sequence in 1..=WINDOW as u64 {
            assert_eq!(session.next(), Some(sequence));
        }
        session.end(1, 2);
        assert_eq!(session.next(), None);
        session.end(1, 1);
        assert_eq!(session.next(), Some(WINDOW as u64 + 1));
    }

    #[test]
    fn a_forgotten_session_leaves_a_newer_one_alone() {
        let mut session = Session::default();
        session.begin(1);
        session.begin(2);
        session.forget(1);
        assert_eq!(session.id, 2);
        session.forget(2);
        assert_eq!(session.id, 0);
    }
}
