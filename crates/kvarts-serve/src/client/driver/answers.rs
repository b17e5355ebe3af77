//! What an answer or an error does to its call: end it, or send it again.
use super::groups::META;
use super::link::LinkId;
use super::live::{Live, Place};
use super::{Driver, failure};
use crate::client::call::{Aim, Answer, Completion, Outcome, Request, Span, Unary};
use crate::client::handle::is_expired;
use kvarts_wire::v1;
use kvarts_wire::v1::stream_response::Kind;
use std::time::Duration;
use tokio::time::Instant;

/// Patience of the request that opens a session.
const OPENING: Duration = Duration::from_secs(5);

impl Driver {
    /// Answers came on a stream.
    pub(super) fn answered(&mut self, link: LinkId, responses: Vec<v1::StreamResponse>) {
        for response in responses {
            match response.kind {
                Some(Kind::Get(answer)) => self.succeeded(response.id, Answer::Get(answer)),
                Some(Kind::Scan(answer)) => self.succeeded(response.id, Answer::Scan(answer)),
                Some(Kind::Write(answer)) => self.written(response.id, answer.result.unwrap_or_default()),
                Some(Kind::Error(error)) => self.refused(link, response.id, error),
                None => {}
            }
        }
    }

    /// A call outside the streams ended.
    pub(super) fn ended(&mut self, id: u64, answer: Result<Answer, Box<v1::Error>>) {
        let Some(live) = self.calls.get_mut(&id) else { return };
        let error = match answer {
            Ok(answer) => return self.succeeded(id, answer),
            Err(error) => error,
        };
        // An error without a code is the connection's: what operators asked for may have been done.
        let once = matches!(live.request, Request::Unary(Unary::Admin(_))) && error.code.is_empty();
        if !error.retryable || once || matches!(live.aim, Aim::Node(_)) {
            return self.finish(id, Err(error));
        }
        live.place = Place::Waiting;
        if let Some(leader) = self.groups.get(META).leader.take() {
            self.nodes[leader.node].news = error.message;
        }
        self.rest(id);
    }

    fn succeeded(&mut self, id: u64, answer: Answer) {
        self.search.pause = Duration::ZERO;
        self.finish(id, Ok(answer));
    }

    fn written(&mut self, id: u64, result: v1::Result) {
        self.search.pause = Duration::ZERO;
        let Some(live) = self.calls.get_mut(&id) else { return };
        if !is_expired(&result) {
            return self.finish(id, Ok(Answer::Write(result)));
        }
        if let Some((group, session, _)) = live.once.take() {
            self.groups.get(group).session.forget(session);
        }
        if live.uncertain {
            return self.finish(id, Err(failure::session_expired()));
        }
        // This was the first time that the write reached the cluster, and it was refused: it takes a new session.
        live.place = Place::Waiting;
        self.dispatch(id);
    }

    /// A node answered with an error.
    fn refused(&mut self, link: LinkId, id: u64, error: v1::Error) {
        let Some(live) = self.calls.get_mut(&id) else { return };
        if !matches!(live.place, Place::Stream(on, _) if on == link) {
            return; // It was sent elsewhere in the meantime.
        }
        live.uncertain |= error.maybe_applied && live.is_write();
        let again = error.retryable || (live.uncertain && error.maybe_applied);
        if error.kind == "DeadlineExceeded" && live.deadline <= Instant::now() {
            return self.expire(id);
        }
        if !again {
            return self.finish(id, Err(Box::new(error)));
        }
        live.place = Place::Waiting;
        if live.aim == Aim::Any {
            live.aim = Aim::Leader;
        }
        let group = live.owner.shard;
        if error.kind == "WrongShard" {
            return self.wrong_shard(id, &error);
        } else if error.kind == "NotLeader" || error.maybe_applied {
            self.not_leader(link, group, &error);
        }
        self.rest(id);
    }

    /// The map was old, or is older than ours at the node that was asked.
    fn wrong_shard(&mut self, id: u64, error: &v1::Error) {
        self.learn_owner(id, error);
        let Some(live) = self.calls.get_mut(&id) else { return };
        live.uncertain &= !error.settled;
        if live.uncertain {
            // Where the keys are now, nobody knows what came of it.
            return self.rest(id);
        }
        self.unbind(id);
        if self.reroute(id) {
            self.rest(id);
        }
    }

    /// A write that has not taken place goes elsewhere: it takes a sequence of the session there.
    pub(super) fn unbind(&mut self, id: u64) {
        let once = self.calls.get_mut(&id).filter(|live| !live.uncertain).and_then(|live| live.once.take());
        let Some((group, session, sequence)) = once else { return };
        let known = self.groups.get(group);
        known.session.end(session, sequence);
        if !known.sessionless.is_empty() {
            self.dispatch_sessionless(group);
        }
    }

    /// The node of a stream does not lead; it may know who does.
    fn not_leader(&mut self, link: LinkId, group: u64, error: &v1::Error) {
        if let Some(node) = self.node_of(link) {
            "does not lead".clone_into(&mut self.nodes[node].news);
            self.dethrone(node, group);
        }
        if !error.leader_address.is_empty() {
            let _ = self.node_at(&error.leader_address);
        }
        if self.groups.leader(group).is_none() {
            self.seek(group, Instant::now());
        }
    }

    /// Sends a call again after a while.
    pub(super) fn rest(&mut self, id: u64) {
        if let Some(live) = self.calls.get_mut(&id) {
            self.resting.push((Instant::now() + live.rest(), id));
        }
    }

    /// Asks for a session, unless that is under way, or there is one whose window is full.
    pub(super) fn open_session(&mut self, group: u64) {
        let session = &mut self.groups.get(group).session;
        if session.id != 0 || session.opening {
            return;
        }
        session.opening = true;
        let special = Some(v1::command::Special::OpenSession(v1::OpenSession {}));
        let command = v1::Command { special, ..v1::Command::default() };
        let deadline = Instant::now() + OPENING;
        let id = self.next_call;
        self.next_call += 1;
        self.next_check = self.next_check.min(deadline);
        let request = Request::Write { command, span: Span::One };
        self.calls.insert(id, Live::opening(request, group, deadline));
        self.dispatch(id);
    }

    fn session_opened(&mut self, group: u64, outcome: Outcome) {
        let known = self.groups.get(group);
        known.session.opening = false;
        match outcome {
            Ok(Answer::Write(result)) => {
                known.session.begin(result.revision);
                self.dispatch_sessionless(group);
            }
            // Nobody led for too long: those that still wait ask again.
            Err(error) if error.retryable || error.maybe_applied => {
                if !known.sessionless.is_empty() {
                    self.open_session(group);
                }
            }
            Err(error) => {
                for id in std::mem::take(&mut known.sessionless) {
                    self.finish(id, Err(error.clone()));
                }
            }
            Ok(_) => {}
        }
    }

    /// Ends a call and hands its outcome over.
    pub(super) fn finish(&mut self, id: u64, outcome: Outcome) {
        let Some(live) = self.calls.remove(&id) else { return };
        if let Some((group, session, sequence)) = live.once {
            self.groups.get(group).session.end(session, sequence);
        }
        match live.done {
            None => self.session_opened(live.owner.shard, outcome),
            Some(Completion::Part(whole, round, part)) => self.part_ended((whole, round), part, live.owner, outcome),
            Some(Completion::Slot(slot)) => slot.fill(outcome),
            Some(Completion::Queue(queue, number)) => {
                if queue.add(number, outcome) {
                    self.untold.push(queue);
                }
            }
        }
        if let Some((group, ..)) = live.once
            && !self.groups.get(group).sessionless.is_empty()
        {
            self.dispatch_sessionless(group);
        }
    }
}
