//! One lane, the way out to one delivery stream: whose turn it is, what goes into the next request, and when it may leave.
//!
//! Knows the queues of one lane. Does not know files beyond the records that they left here.
//!
//! *Invariant:* every file with records waiting gets its turn, a few records at a time; what is sent again goes
//! ahead of what was never sent, but for probes of a stream that may have failed for what is sent again.

mod again;
mod formed;
mod in_flight;
mod suspects;
mod turns;
mod withdrawn;

use std::time::Duration;

use crate::model::identity::Incarnation;
use crate::model::operation::Operation;
use crate::model::record::{MEMORY_OVERHEAD_BYTES, Record};
use crate::model::settings::{Api, CheckpointSettings, Order, StreamSettings};
use crate::model::time::Instant;
use crate::model::verdict::{RetryReason, Verdict};
use crate::rules::batch::{Limits, Size};
use crate::rules::bottleneck::Bottleneck;
use crate::rules::circuit::{CircuitBreaker, Permit};
use crate::rules::ladder::Ladder;
use crate::rules::quota::{Cost, Payment, Quota};
use crate::rules::retry::{Backoff, InvalidBackoff};
use crate::rules::under_way::UnderWay;

use super::incarnation::IncarnationState;

use self::again::Again;
use self::formed::Formed;
use self::in_flight::InFlight;
use self::turns::Turns;

pub(super) use self::again::{Company, Place};
pub(super) use self::formed::Request;

/// How many records one file may put into a request before the next file's turn.
const RECORDS_A_TURN: usize = 64;

/// Where a lane takes the records that wait.
pub(super) trait Ready {
    /// The incarnation that waits for its turn.
    fn ready(&mut self, incarnation: Incarnation) -> &mut IncarnationState;
}

/// One lane of a stream.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) settings: StreamSettings,
    pub(super) backoff: Backoff,
    pub(super) quota: Quota,
    pub(super) circuit: CircuitBreaker,
    pub(super) bottleneck: Bottleneck,
    /// Whether the operator is to be told of it.
    pub(super) advise: bool,
    turns: Turns,
    /// Records ready in all incarnations of this lane.
    waiting: usize,
    /// What they cost in memory, in bytes.
    waiting_bytes: u64,
    again: Again,
    /// Records that failed by themselves.
    pub(super) ladder: Ladder<Place>,
    /// Put together, but not yet admitted by the quota.
    formed: Formed,
    pub(super) in_flight: InFlight,
    /// When it is worth asking again though nothing happened.
    pub(super) deadline: Option<Instant>,
}

/// What becomes of the next request that is not large.
#[derive(Debug)]
enum Small {
    Leaves(Request),
    /// Its records wait for others. Nothing large takes from them meanwhile what the quota has for them.
    Lingers,
    /// There is none, or it waits for the quota, or for what is large and paid for.
    Waits,
}

impl Lane {
    /// # Errors
    /// When the retry delays make no backoff.
    pub(super) fn try_new(
        settings: StreamSettings,
        checkpoint: CheckpointSettings,
        now: Instant,
    ) -> Result<Self, InvalidBackoff> {
        let backoff = Backoff::try_new(settings.retry)?;
        let max_in_flight = settings.max_in_flight.get() as usize;
        Ok(Self {
            quota: Quota::new(settings.quota, now),
            circuit: CircuitBreaker::new(backoff, settings.quota.adaptive).requiring(settings.encryption),
            bottleneck: Bottleneck::default(),
            advise: false,
            backoff,
            ladder: Ladder::new(settings.retry.stuck_after),
            turns: Turns::new(settings.patience()),
            settings,
            waiting: 0,
            waiting_bytes: 0,
            again: Again::default(),
            formed: Formed::default(),
            in_flight: InFlight::new(UnderWay::new(max_in_flight, checkpoint.max_bytes)),
            deadline: None,
        })
    }

    /// Takes the settings of `fresh`, and goes on with what is under way. A lane that was held is tried at once:
    /// the change may be what mends it.
    pub(super) fn change(&mut self, fresh: Self, now: Instant) {
        // What was put together may be larger than what may be sent at once from now on.
        for request in std::mem::take(&mut self.formed).into_requests() {
            self.send_again(request.records, now, request.company);
        }
        self.ladder.change(fresh.settings.retry.stuck_after);
        self.turns.linger.change(fresh.settings.patience());
        let Self { settings, in_flight, backoff, quota, circuit, .. } = fresh;
        self.in_flight.may.take_limits_of(&in_flight.may);
        let earlier = std::mem::replace(&mut self.quota, quota);
        self.quota.take_over(earlier);
        self.circuit = circuit;
        self.backoff = backoff;
        self.settings = settings;
    }

    /// `state` has records ready, the last `fresh` of them new: it waits for its turn, unless order forbids.
    pub(super) fn offer(&mut self, state: &mut IncarnationState, fresh: usize) {
        self.waiting += fresh;
        self.waiting_bytes += state.freshly_ready(fresh).map(memory_bytes).sum::<u64>();
        if state.holds_back() {
            return;
        }
        let may = match self.settings.order {
            Order::Free => true,
            Order::PerFile => !state.has_outstanding(),
        };
        if may {
            self.turns.enter(state);
        }
    }

    /// A drain has begun: no record waits for others any more.
    pub(super) fn drain(&mut self) {
        self.turns.linger.end();
    }

    /// `records` failed together and go again at `due`.
    pub(super) fn send_again(&mut self, records: Vec<Record>, due: Instant, company: Company) {
        self.again.add(records, due, company);
    }

    /// How long a record, or a group, waits that has failed so often.
    pub(super) fn retry_delay(&self, failures: u32, chance: f64, now: Instant) -> Duration {
        match self.takes_others(now) {
            true => self.backoff.delay_beside_others(failures, chance),
            false => self.backoff.delay(failures, chance),
        }
    }

    /// Whether the service takes records, though it may not take all of them.
    pub(super) fn takes_others(&self, now: Instant) -> bool {
        self.circuit.open().is_none() && self.ladder.takes_others(now)
    }

    /// Whether no record waits or is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0 && self.again.is_empty() && self.formed.is_empty() && self.in_flight.requests == 0
    }

    /// Records that were read and are in no request that was sent: those that wait for the quota, or to go again, among them.
    pub(super) fn waiting(&self) -> usize {
        self.waiting + self.again.len() + self.formed.len()
    }

    /// What they cost in memory, in bytes.
    pub(super) fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// The next request that may leave now, if any; else sets the deadline.
    pub(super) fn next(&mut self, lives: &mut impl Ready, now: Instant) -> Option<Request> {
        self.deadline = None;
        self.quota.note_pause(self.in_flight.requests, now);
        let accepts_since = |since| self.ladder.has_accepted_since(since);
        if !self.in_flight.has_room_beside_failed(accepts_since) {
            return None;
        }
        self.again.let_leave(self.in_flight.has_room_for_failed(accepts_since));
        match self.circuit.may_send(self.in_flight.requests, now) {
            Permit::Send => {}
            Permit::NotBefore(at) => {
                self.deadline = (!self.is_empty()).then_some(at);
                return None;
            }
            Permit::HalfOpen | Permit::Never => return None,
        }
        if let Err(at) = self.formed.pay_for_large(&mut self.quota, now) {
            self.deadline = Some(at);
            return None;
        }
        match self.next_small(lives, now) {
            Small::Leaves(request) => return Some(self.sent(request, now)),
            Small::Lingers => return None,
            Small::Waits => {}
        }
        match self.formed.next_large(&mut self.quota, now) {
            Ok(request) => Some(self.sent(request, now)),
            Err(at) => {
                self.deadline = self.deadline.into_iter().chain(at).min();
                None
            }
        }
    }

    /// `request` is under way from now on.
    fn sent(&mut self, request: Request, now: Instant) -> Request {
        let longer = self.in_flight.sent(data_bytes(&request.records), request.company, now);
        Request { longer, ..request }
    }

    /// The next request that is not large, if it may leave now; what is large steps aside.
    fn next_small(&mut self, lives: &mut impl Ready, now: Instant) -> Small {
        while !self.formed.is_large_to_leave() {
            self.take_apart(now);
            if self.formed.next.is_none() {
                if let Some(until) = self.linger_until(lives, now) {
                    self.deadline = self.again.first_due().into_iter().chain([until]).min();
                    return Small::Lingers;
                }
                self.formed.next = self.form(lives, now);
            }
            if self.formed.next.is_none() {
                self.deadline = self.again.first_due();
                return Small::Waits;
            }
            match self.formed.next_small(&mut self.quota, now) {
                Ok(request) => return Small::Leaves(request),
                Err(None) => {}
                Err(at) => {
                    self.deadline = at;
                    if self.would_fit_into_batches(now) {
                        self.advise |= self.bottleneck.saw(now);
                    }
                    return Small::Waits;
                }
            }
        }
        Small::Waits
    }

    /// What the service's answer says of the quota: how much of a request it took, and how much was too much.
    pub(super) fn note_answer(
        &mut self,
        sizes: &[usize],
        verdicts: &[Verdict],
        sent_at: Instant,
        now: Instant,
    ) {
        let is_throttled = |verdict: &&Verdict| matches!(verdict, Verdict::Retry(why) if why.reason == RetryReason::Throttled);
        let accepted = sizes.iter().zip(verdicts).filter(|(_, it)| !matches!(it, Verdict::Retry(_)));
        let (count, bytes) = accepted.fold((0, 0), |(count, bytes), (size, _)| (count + 1, bytes + size));
        let throttled = verdicts.iter().filter(is_throttled).count();
        // A service that takes nothing at all is not asked for its share.
        if count == 0 && (throttled == 0 || self.circuit.open().is_some()) {
            return;
        }
        let cost = if count > 0 { Cost::of_request(count, bytes) } else { Cost::default() };
        self.quota.answered(cost, throttled as f64 / verdicts.len() as f64, sent_at, now);
    }

    /// Whether lines wait though only the quota of requests is used up: half of that of the records, and of the
    /// bytes, is free.
    fn would_fit_into_batches(&self, now: Instant) -> bool {
        let used = self.quota.used(now);
        self.settings.api == Api::PutRecord
            && self.waiting > 0
            && used.requests > 2.0 * used.records
            && used.requests > 2.0 * used.bytes
    }

    /// What was put together before the rate fell would take long to pay for.
    fn take_apart(&mut self, now: Instant) {
        let (max_records, _) = self.largest_request();
        if self.formed.next.as_ref().is_some_and(|formed| formed.records.len() > 2 * max_records)
            && let Some(formed) = self.formed.next.take()
        {
            self.send_again(formed.records, now, formed.company);
        }
    }

    fn form(&mut self, lives: &mut impl Ready, now: Instant) -> Option<Request> {
        let due = self.again.due(now);
        let operation = match self.settings.api {
            _ if self.circuit.awaits_encryption() => Operation::PutRecord,
            Api::PutRecord => Operation::PutRecord,
            Api::PutRecordBatch => Operation::PutRecordBatch,
            Api::Auto if due + self.waiting > 1 => Operation::PutRecordBatch,
            Api::Auto => Operation::PutRecord,
        };
        let mut size = Size::empty(match operation {
            Operation::PutRecord => Limits::single(),
            // Of many, one may be what fails.
            Operation::PutRecordBatch if self.probes_with_others() => Limits::single(),
            Operation::PutRecordBatch => {
                let (records, bytes) = self.largest_request();
                Limits::batch(records, bytes)
            }
        });
        let (mut records, mut company) = (Vec::new(), Company::Open);
        if self.probes_with_others() {
            self.take_turns(&mut records, &mut size, lives);
        }
        if records.is_empty() {
            company = self.again.take_due(&mut records, &mut size, now);
            if company == Company::Open && !size.is_full() {
                self.take_turns(&mut records, &mut size, lives);
            }
        }
        let payment = Payment::of(Cost::of_request(size.records(), size.bytes()));
        let longer = Duration::ZERO;
        (!records.is_empty()).then_some(Request { operation, records, company, payment, longer })
    }

    fn take_turns(&mut self, records: &mut Vec<Record>, size: &mut Size, lives: &mut impl Ready) {
        // In order, a file's next record waits for the answer to this one: a batch can fail in part.
        let a_turn = match self.settings.order {
            Order::Free => RECORDS_A_TURN,
            Order::PerFile => 1,
        };
        let mut full = size.is_full();
        while !full && let Some(incarnation) = self.turns.next() {
            let state = lives.ready(incarnation);
            state.leave_turn();
            let a_turn = a_turn.min(state.may_leave());
            let mut taken = 0;
            while taken < a_turn
                && let Some(record) = state.next_ready()
            {
                if !size.add(record.data.len()) {
                    full = true;
                    break;
                }
                self.waiting_bytes -= memory_bytes(record);
                records.extend(state.take_ready());
                taken += 1;
            }
            full |= size.is_full();
            self.waiting -= taken;
            self.offer(state, 0);
        }
    }
}

fn memory_bytes(record: &Record) -> u64 {
    record.data.len() as u64 + MEMORY_OVERHEAD_BYTES
}

fn data_bytes(records: &[Record]) -> u64 {
    records.iter().map(|record| record.data.len() as u64).sum()
}
