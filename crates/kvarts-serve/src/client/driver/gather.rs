//! The answers to the parts of a call, put together.
use super::Driver;
use crate::client::call::{Answer, Outcome, Part, Request};
use kvarts_wire::v1;

/// What came of the parts so far.
pub struct Gather {
    /// Number of the first of them: those of an earlier cut count no more.
    round: u64,
    left: usize,
    rows: Vec<v1::get_response::Found>,
    result: v1::Result,
    revision: u64,
    now_ms: u64,
}

impl Gather {
    /// Waits for so many parts, which have so many keys together.
    pub fn new(round: u64, parts: usize, keys: usize) -> Self {
        let rows = vec![v1::get_response::Found::default(); keys];
        Self { round, left: parts, rows, result: v1::Result::default(), revision: 0, now_ms: 0 }
    }

    fn add(&mut self, part: &Part, answer: Answer) {
        match answer {
            Answer::Get(got) => {
                self.revision = self.revision.max(got.revision);
                self.now_ms = self.now_ms.max(got.now_ms);
                if let Part::Places(places) = part {
                    for (place, row) in places.iter().zip(got.rows) {
                        self.rows[*place as usize] = row;
                    }
                }
            }
            // All are done, or it is the refusal of one.
            Answer::Write(result) if self.result.outcome == 0 => {
                let revision = self.result.revision.max(result.revision);
                self.result = v1::Result { revision, ..result };
            }
            _ => {}
        }
    }

    fn whole(self, request: &Request) -> Answer {
        match request {
            Request::Write { .. } => Answer::Write(self.result),
            // Rows of several shards were not read at one revision: there is none to go on at.
            Request::Get(_) => Answer::Get(v1::GetResponse { rows: self.rows, revision: 0, now_ms: self.now_ms }),
            _ => Answer::Get(v1::GetResponse { rows: self.rows, revision: self.revision, now_ms: self.now_ms }),
        }
    }
}

impl Driver {
    /// A part of a call has ended. The first error ends the whole; what else was asked for goes on by itself.
    pub(super) fn part_ended(&mut self, (whole, round): (u64, u64), part: Part, owner: v1::Owner, outcome: Outcome) {
        let Some(live) = self.calls.get_mut(&whole) else { return };
        if live.gather.as_ref().is_none_or(|gather| gather.round != round) {
            return;
        }
        let answer = match outcome {
            Ok(answer) => answer,
            Err(error) => return self.finish(whole, Err(error)),
        };
        if let (Request::Page(cursor, wish), Part::Source(source), Answer::Scan(page)) = (&live.request, &part, &answer)
        {
            cursor.moved(*source, owner.shard, owner.epoch);
            cursor.filled(*source, page.clone(), *wish);
        }
        let Some(gather) = &mut live.gather else { return };
        gather.left -= 1;
        gather.add(&part, answer);
        if gather.left > 0 {
            return;
        }
        let Some(gather) = live.gather.take() else { return };
        if matches!(live.request, Request::Page(..)) {
            return self.turn_page(whole);
        }
        let answer = gather.whole(&live.request);
        self.finish(whole, Ok(answer));
    }
}
