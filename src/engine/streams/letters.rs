//! Dead letters that are sent again, beside the records of files and within the same quota.
//!
//! Where both wait, a request of the one and a request of the other leave in turn. What fails is sent again by itself a few
//! times; what the service refuses, or what fails for what only a person can mend, is kept. Letters prove nothing: they
//! hold no stream and blame no record, and where a stream is held they are kept at once.
//!
//! What is sent for a letter may be several records: it has its end with the last of them.
//!
//! *Invariant:* each letter gets exactly one end: accepted, where all of its records were; kept; or not sent.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::model::limits::{RECORD_BYTES, billed_bytes};
use crate::model::operation::Operation;
use crate::model::settings::{Api, Compression, Encryption, LaneId, StreamId};
use crate::model::time::Instant;
use crate::model::verdict::{Encrypted, Outcome, Retry, RetryReason, Verdict};
use crate::rules::batch::{Limits, Size};
use crate::rules::compression::compression as begins_like;
use crate::rules::judge::{end_of, failure, is_plain, refusal};
use crate::rules::quota::{Admission, Cost, Payment};

use super::{Streams, sizes_of};
use crate::engine::lane::Company;
use crate::engine::port::{Letter, LetterEnd, LetterId, Put, RequestId};
use crate::engine::report::{Report, StreamCounts};
use crate::engine::shaping::gzip_member;

/// How often a letter is sent before it is kept.
const TRIES: u32 = 8;

/// The letters of one lane.
#[derive(Debug, Default)]
pub(super) struct Letters {
    waiting: VecDeque<Waiting>,
    /// Put together, and not admitted by the quota yet.
    formed: Option<Formed>,
    /// Whether records of files have had their turn since a letter was sent.
    is_turn: bool,
}

/// A record of a letter on its way.
#[derive(Debug)]
struct Waiting {
    letter: LetterId,
    data: Bytes,
    failures: u32,
    /// How it failed last.
    why: Option<Retry>,
    due: Instant,
}

#[derive(Debug)]
struct Formed {
    operation: Operation,
    letters: Vec<Waiting>,
    payment: Payment,
}

/// A request with letters that is under way.
#[derive(Debug)]
pub(super) struct SentLetters {
    lane: LaneId,
    operation: Operation,
    letters: Vec<Waiting>,
    at: Instant,
}

impl SentLetters {
    pub(super) fn lane(&self) -> LaneId {
        self.lane
    }
}

/// What becomes of letters, or of records of them.
pub(in crate::engine) type Ends = Vec<(LetterId, LetterEnd)>;

/// Letters of several records.
#[derive(Debug, Default)]
pub(super) struct Parts(BTreeMap<LetterId, (usize, LetterEnd)>);

impl Parts {
    fn expect(&mut self, letter: LetterId, records: usize) {
        if records > 1 {
            self.0.insert(letter, (records, LetterEnd::Accepted));
        }
    }

    /// What becomes of letters by what became of records: one that is kept keeps all of its letter.
    fn whole(&mut self, ends: Ends) -> Ends {
        let mut whole = Ends::new();
        for (letter, end) in ends {
            let Some((left, so_far)) = self.0.get_mut(&letter) else {
                whole.push((letter, end));
                continue;
            };
            *left -= 1;
            match (&end, &so_far) {
                (LetterEnd::Kept(_), LetterEnd::Accepted | LetterEnd::NotSent)
                | (LetterEnd::NotSent, LetterEnd::Accepted) => *so_far = end,
                _ => {}
            }
            if *left == 0 {
                whole.extend(self.0.remove(&letter).map(|(_, end)| (letter, end)));
            }
        }
        whole
    }
}

impl Letters {
    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.formed.is_none()
    }

    /// Whether letters go before records now.
    pub(super) fn go_first(&self) -> bool {
        self.is_turn
    }

    /// A request with records of files has left.
    pub(super) fn note_others(&mut self) {
        self.is_turn = true;
    }
}

impl Streams {
    /// Takes in letters, of whatever streams. Returns those that are kept at once.
    pub(in crate::engine) fn add_letters(&mut self, letters: Vec<Letter>, now: Instant) -> Ends {
        let mut ends = Ends::new();
        for Letter { id, stream, records } in letters {
            let of_name = self.lane_for_letter(&stream, id);
            let end = match of_name {
                None => kept(
                    "NoStream",
                    "no source of the configuration ships to this stream, or as many streams are in use as `max_streams` \
                     allows: then a replay while nothing runs reaches it",
                ),
                Some(_) if self.is_draining => LetterEnd::NotSent,
                Some(_) if records.is_empty() => LetterEnd::Accepted,
                Some(place) => {
                    let compression = self.lanes[place].settings.packing.compression();
                    match records.iter().map(|data| as_sent(data, compression)).collect::<Option<Vec<_>>>() {
                        None => kept(
                            "TooLarge",
                            "more than a record takes: `standpipe dead-letters export` has it",
                        ),
                        Some(records) => {
                            self.parts.expect(id, records.len());
                            let waiting = records.into_iter();
                            let waiting = waiting.map(|data| Waiting {
                                letter: id,
                                data,
                                failures: 0,
                                why: None,
                                due: now,
                            });
                            self.letters[place].waiting.extend(waiting);
                            continue;
                        }
                    }
                }
            };
            ends.push((id, end));
        }
        ends
    }

    /// What becomes of letters by what became of records of them.
    pub(in crate::engine) fn whole_letters(&mut self, ends: Ends) -> Ends {
        self.parts.whole(ends)
    }

    /// No further letter is sent. Returns those that are not on their way: what failed before is kept for that.
    pub(in crate::engine) fn stop_letters(&mut self) -> Ends {
        let waiting = self.letters.values_mut().flat_map(|letters| letters.waiting.drain(..));
        let end =
            |waiting: Waiting| (waiting.letter, waiting.why.map_or(LetterEnd::NotSent, LetterEnd::Kept));
        waiting.map(end).collect()
    }

    /// Keeps the letters of lanes that are held: they would be sent after what a person has to mend.
    pub(super) fn keep_held(&mut self, ends: &mut Ends) {
        for (lane, letters) in self.lanes.values().zip(self.letters.values_mut()) {
            let Some(open) = lane.circuit.open() else { continue };
            let formed = letters.formed.take().into_iter().flat_map(|formed| formed.letters);
            let all = letters.waiting.drain(..).chain(formed);
            ends.extend(all.map(|waiting| (waiting.letter, LetterEnd::Kept(open.why.clone()))));
        }
    }

    /// The next request with letters of a lane, if one may leave now; else the lane's deadline says when.
    pub(super) fn next_letters(&mut self, id: LaneId, number: RequestId, now: Instant) -> Option<Put> {
        let (lane, letters) = (&mut self.lanes[id], &mut self.letters[id]);
        if !lane.in_flight.has_room() || lane.circuit.open().is_some() {
            return None;
        }
        if letters.formed.is_none() {
            let largest = lane.largest_request();
            letters.formed = form(&mut letters.waiting, lane.settings.api, largest, now);
        }
        let Some(formed) = &mut letters.formed else {
            let due = letters.waiting.iter().map(|waiting| waiting.due).min();
            lane.deadline = lane.deadline.into_iter().chain(due).min();
            return None;
        };
        if let Admission::NotBefore(at) = lane.quota.admit(&mut formed.payment, now) {
            lane.deadline = lane.deadline.into_iter().chain([at]).min();
            return None;
        }
        let Formed { operation, letters: sent, .. } = letters.formed.take()?;
        letters.is_turn = false;
        let longer = lane.in_flight.sent_letters(bytes_of(&sent));
        let records = sent.iter().map(|waiting| waiting.data.clone()).collect();
        self.sent_letters.insert(number, SentLetters { lane: id, operation, letters: sent, at: now });
        Some(Put { request: number, lane: id, operation, records, longer })
    }

    /// Judges a request with letters; `None` when the request has none.
    ///
    /// # Panics
    /// When the outcome has not exactly one verdict for each letter.
    pub(in crate::engine) fn judge_letters(
        &mut self,
        request: RequestId,
        outcome: &Outcome,
        encryption: impl Fn(StreamId) -> Encryption,
        counts: &mut [StreamCounts],
        now: Instant,
    ) -> Option<(Ends, Vec<Report>)> {
        let SentLetters { lane: id, operation, letters, at } = self.sent_letters.remove(&request)?;
        let verdicts = &outcome.verdicts;
        assert_eq!(verdicts.len(), letters.len(), "L7: one verdict for each letter");
        let counts = &mut counts[id.stream.0];
        count(counts, operation, outcome);
        self.activity[id].note_answer(verdicts, now);
        let lane = &mut self.lanes[id];
        let sizes: Vec<_> = letters.iter().map(|waiting| waiting.data.len()).collect();
        self.under_way_bytes -= bytes_of(&letters);
        lane.in_flight.letters_land();
        lane.landed((bytes_of(&letters), Company::Open), verdicts, at, now);
        lane.note_answer(&sizes, verdicts, at, now);
        let (mut ends, is_alone) = (Ends::new(), letters.len() == 1);
        let mut setup = None;
        for (waiting, verdict) in letters.into_iter().zip(verdicts) {
            let (number, bytes) = (waiting.letter, waiting.data.len());
            let why = match verdict {
                Verdict::Delivered { encrypted, .. } => {
                    counts.records_delivered += 1;
                    counts.bytes_delivered += bytes as u64;
                    counts.billed_bytes += billed_bytes(bytes);
                    counts.records_encrypted += u64::from(*encrypted == Encrypted::Yes);
                    ends.push((number, LetterEnd::Accepted));
                    continue;
                }
                Verdict::Rejected { .. } => refusal(verdict)?,
                Verdict::Retry(why) => why.clone(),
            };
            let failures = waiting.failures + 1;
            if is_over(why.reason, failures, is_alone) || self.is_draining {
                setup = setup.or_else(|| Some(why.clone()).filter(|why| why.reason == RetryReason::Setup));
                ends.push((number, LetterEnd::Kept(why)));
                continue;
            }
            let delay = lane.backoff.delay(failures, self.rng.f64());
            let due = if why.reason == RetryReason::Rejected { now } else { now + delay };
            self.letters[id].waiting.push_back(Waiting { failures, due, why: Some(why), ..waiting });
        }
        if let Some(why) = setup {
            // The others would get the same answer.
            let others = self.letters[id].waiting.drain(..);
            ends.extend(others.map(|waiting| (waiting.letter, LetterEnd::Kept(why.clone()))));
        }
        let mut reports = Vec::new();
        if encryption(id.stream) == Encryption::Required && verdicts.iter().any(is_plain) {
            reports.extend(self.stop_for_encryption(id, now));
        }
        Some((ends, reports))
    }
}

/// Counts a request with letters.
fn count(counts: &mut StreamCounts, operation: Operation, outcome: &Outcome) {
    *counts.requests.entry((operation, end_of(&outcome.verdicts))).or_default() += 1;
    counts.request_took.entry(operation).or_default().observe(outcome.took);
    let is_throttled = |why: &Retry| why.reason == RetryReason::Throttled;
    counts.throttled += u64::from(outcome.verdicts.iter().filter_map(failure).any(is_throttled));
}

/// Whether a letter that was not taken so often is not sent again. A group may be refused for one of its letters: then each is
/// sent by itself.
fn is_over(why: RetryReason, failures: u32, is_alone: bool) -> bool {
    match why {
        RetryReason::Setup => true,
        RetryReason::Rejected => is_alone,
        RetryReason::Throttled | RetryReason::Server | RetryReason::Network | RetryReason::Ambiguous => {
            failures >= TRIES
        }
    }
}

/// What is sent for the data of a letter; `None` for what is more than a record takes. Where records are gzip members, so is
/// what was kept before they were, or before it became a record: plain bytes between members would spoil the file.
fn as_sent(data: &Bytes, compression: Compression) -> Option<Bytes> {
    let is_member = begins_like(data) == Some("gzip");
    match compression {
        Compression::Gzip if !is_member => gzip_member(data, RECORD_BYTES).map(Bytes::from),
        Compression::Gzip | Compression::None => (data.len() <= RECORD_BYTES).then(|| data.clone()),
    }
}

fn kept(code: &str, message: &str) -> LetterEnd {
    LetterEnd::Kept(Retry::new(RetryReason::Setup, code, message))
}

fn bytes_of(letters: &[Waiting]) -> u64 {
    sizes_of(letters.iter().map(|waiting| &waiting.data))
}

/// Puts a request together of the letters that are due; one that failed before is sent by itself.
fn form(
    waiting: &mut VecDeque<Waiting>,
    api: Api,
    (records, bytes): (usize, usize),
    now: Instant,
) -> Option<Formed> {
    let first = waiting.iter().position(|waiting| waiting.due <= now)?;
    let first = waiting.remove(first)?;
    let limits = match api {
        Api::Auto | Api::PutRecordBatch if first.failures == 0 => Limits::batch(records, bytes),
        Api::PutRecord | Api::Auto | Api::PutRecordBatch => Limits::single(),
    };
    let mut size = Size::empty(limits);
    size.add(first.data.len());
    let mut letters = vec![first];
    while !size.is_full()
        && let Some(next) = waiting.pop_front_if(|next| next.failures == 0 && size.add(next.data.len()))
    {
        letters.push(next);
    }
    let operation = match api {
        Api::PutRecord => Operation::PutRecord,
        Api::Auto if letters.len() == 1 => Operation::PutRecord,
        Api::Auto | Api::PutRecordBatch => Operation::PutRecordBatch,
    };
    let payment = Payment::of(Cost::of_request(size.records(), size.bytes()));
    Some(Formed { operation, letters, payment })
}
