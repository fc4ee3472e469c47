//! Which requests leave, of files and of letters that are sent again.

use super::{Ends, Sent, Streams, sizes_of};
use crate::engine::lane::{Ready, Request};
use crate::engine::port::{Put, RequestId};
use crate::engine::report::Report;
use crate::model::settings::LaneId;
use crate::model::time::Instant;

impl Streams {
    /// Every request that may leave now, and what the operator is to be told.
    pub(in crate::engine) fn send(
        &mut self,
        ready: &mut impl Ready,
        now: Instant,
    ) -> (Vec<Put>, Vec<Report>, Ends) {
        let (mut puts, mut reports, mut ends) = (Vec::new(), Vec::new(), Ends::new());
        for id in self.lanes.ids() {
            reports.extend(self.hold_if_silent(id, now));
        }
        self.keep_held(&mut ends);
        for id in self.lanes.ids() {
            loop {
                let number = RequestId(self.next_request);
                let letters_first = self.letters[id].go_first();
                if letters_first && let Some(put) = self.next_letters(id, number, now) {
                    self.next_request += 1;
                    puts.push(put);
                    continue;
                }
                let Some(request) = self.lanes[id].next(ready, now) else {
                    // What letters wait for is the lane's deadline, too.
                    let Some(put) = self.next_letters(id, number, now) else { break };
                    self.next_request += 1;
                    puts.push(put);
                    continue;
                };
                self.next_request += 1;
                self.letters[id].note_others();
                let Request { operation, records, company, longer, .. } = request;
                puts.push(Put {
                    request: number,
                    lane: id,
                    operation,
                    records: records.iter().map(|record| record.data.clone()).collect(),
                    longer,
                });
                self.requests.insert(number, Sent { lane: id, operation, records, company, at: now });
            }
            let lane = &mut self.lanes[id];
            lane.deadline = lane.deadline.into_iter().chain(lane.silent_at()).min();
            if std::mem::take(&mut lane.advise) {
                reports.push(Report::BatchesWouldHelp { stream: id.stream });
            }
        }
        for put in &puts {
            self.activity[put.lane].sends(put, now);
            self.under_way_bytes += sizes_of(put.records.iter());
        }
        self.next_change = self.next_change(now);
        (puts, reports, ends)
    }

    /// Whether it is to be told that nothing answers a lane's requests, however long they may take.
    fn hold_if_silent(&mut self, id: LaneId, now: Instant) -> Option<Report> {
        let lane = &mut self.lanes[id];
        // Lots are drawn only for what is held: the draws of all else stay what they are.
        lane.silent_at().filter(|at| *at <= now)?;
        let why = lane.hold_if_silent(self.rng.f64(), now)?;
        self.activity[id].last_error = Some((now, why.clone()));
        Some(Report::Held { lane: id, why })
    }
}
