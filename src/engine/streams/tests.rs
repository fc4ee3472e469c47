//! What becomes of the records of a request, whatever its outcome.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

mod blame;
mod letters;
mod linger;

use super::*;
use crate::engine::lane::Ready;
use crate::engine::port::Put;
use crate::engine::samples::{at, beginning, read, whose};
use crate::model::identity::Incarnation;
use crate::model::settings::{Adaptive, Api, Audit, Order, Packing, QuotaSettings, RetrySettings, Spread};
use crate::model::verdict::{Encrypted, RequestEnd};

const LANE: LaneId = LaneId { stream: StreamId(0), place: 0 };

fn settings() -> StreamSettings {
    StreamSettings {
        name: "stream-0".into(),
        api: Api::PutRecordBatch,
        linger: Duration::ZERO,
        packing: Packing::Off,
        max_in_flight: NonZeroU32::new(8).unwrap(),
        order: Order::Free,
        quota: QuotaSettings {
            requests_per_second: NonZeroU32::new(1000).unwrap(),
            records_per_second: NonZeroU32::new(100_000).unwrap(),
            bytes_per_second: 1 << 20,
            share: 1.0,
            adaptive: Adaptive::Off,
        },
        spread: Spread::to_one("stream-0"),
        retry: RetrySettings {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(10),
            stuck_after: Duration::from_secs(600),
        },
        encryption: Encryption::Optional,
        audit: Audit::Off,
    }
}

/// Incarnations whose records wait to be sent.
struct Waiting(BTreeMap<Incarnation, IncarnationState>);

impl Ready for Waiting {
    fn ready(&mut self, incarnation: Incarnation) -> &mut IncarnationState {
        self.0.get_mut(&incarnation).expect("it was offered")
    }
}

/// One stream, and the first request with these lines under way.
struct Case {
    streams: Streams,
    waiting: Waiting,
    counts: Vec<StreamCounts>,
    put: Put,
}

fn sent(lines: &[&str]) -> Case {
    let checkpoint = CheckpointSettings { interval: Duration::from_secs(1), max_bytes: 1 << 20 };
    let mut streams = Streams::try_new(&[settings()], checkpoint, 1, at(0)).unwrap();
    let mut state = beginning(1, whose(0, 1));
    let fresh = read(&mut state, lines, at(0));
    streams.offer(&mut state, fresh);
    let mut waiting = Waiting([(Incarnation(1), state)].into());
    let (mut puts, ..) = streams.send(&mut waiting, at(0));
    assert_eq!(puts.len(), 1, "one request takes them all");
    let put = puts.remove(0);
    assert_eq!(put.records.len(), lines.len());
    Case { streams, waiting, counts: vec![StreamCounts::default()], put }
}

impl Case {
    fn judge(&mut self, verdicts: Vec<Verdict>, encryption: Encryption) -> Judged {
        let outcome = Outcome { verdicts, took: Duration::from_millis(5) };
        self.streams.judge(self.put.request, outcome, |_| encryption, &mut self.counts, at(1))
    }

    /// The requests that leave within the next minute, without an answer to any of them.
    fn sent_again(&mut self) -> Vec<Put> {
        (1..=60).flat_map(|second| self.streams.send(&mut self.waiting, at(second)).0).collect()
    }
}

fn delivered() -> Verdict {
    Verdict::Delivered { encrypted: Encrypted::Yes, id: None }
}

fn rejected() -> Verdict {
    Verdict::Rejected { code: "InvalidRecord".into(), message: "no".into(), answer: None }
}

fn retry(reason: RetryReason) -> Verdict {
    Verdict::Retry(Retry::new(reason, "Code", "later"))
}

fn texts<'a>(records: impl IntoIterator<Item = &'a bytes::Bytes>) -> Vec<String> {
    records.into_iter().map(|data| String::from_utf8_lossy(data).into_owned()).collect()
}

#[test]
fn l6_bodies_take_memory_as_long_as_their_requests_are_under_way() {
    let mut case = sent(&["abc\n", "def\n"]);
    assert_eq!(case.streams.body_bytes(), 12, "eight bytes in base64");
    case.judge(vec![delivered(), retry(RetryReason::Server)], Encryption::Optional);
    assert_eq!(case.streams.body_bytes(), 0);
    let again = case.sent_again();
    assert_eq!((again.len(), case.streams.body_bytes()), (1, 8));
}

#[test]
fn l7_delivered_rejected_and_repeated_records_of_one_answer_each_have_their_own_end() {
    let mut case = sent(&["a\n", "b\n", "c\n"]);
    let verdicts = vec![delivered(), rejected(), retry(RetryReason::Server)];
    let judged = case.judge(verdicts, Encryption::Optional);
    assert_eq!(judged.lane, LANE);
    assert_eq!(texts(judged.delivered.iter().map(|(record, ..)| &record.data)), ["a\n"]);
    assert_eq!(texts(judged.rejected.iter().map(|(record, ..)| &record.data)), ["b\n"]);
    assert_eq!(&*judged.rejected[0].1.code, "InvalidRecord");
    assert_eq!(case.counts[0].retries[&RetryReason::Server], 1);
    assert_eq!(case.counts[0].requests[&(Operation::PutRecordBatch, RequestEnd::Partial)], 1);
    assert!(!case.streams.any_under_way());
    let again = case.sent_again();
    assert_eq!(again.len(), 1);
    assert_eq!(texts(&again[0].records), ["c\n"]);
}

#[test]
fn a_group_that_is_rejected_as_a_whole_goes_again_in_halves_each_by_itself() {
    let mut case = sent(&["a\n", "b\n", "c\n"]);
    let judged = case.judge(vec![rejected(), rejected(), rejected()], Encryption::Optional);
    assert!(judged.delivered.is_empty() && judged.rejected.is_empty(), "none is blamed yet");
    assert_eq!(case.counts[0].requests[&(Operation::PutRecordBatch, RequestEnd::Rejected)], 1);
    let halves = case.sent_again();
    assert_eq!(
        halves.iter().map(|put| texts(&put.records)).collect::<Vec<_>>(),
        [vec!["a\n"], vec!["b\n", "c\n"]]
    );
}

#[test]
fn records_that_are_repeated_count_their_failures_and_leave_after_a_delay() {
    let mut case = sent(&["a\n", "b\n"]);
    let judged = case.judge(vec![retry(RetryReason::Server), delivered()], Encryption::Optional);
    assert!(judged.reports.is_empty(), "a part was accepted");
    assert!(case.streams.deadline().is_none_or(|due| due >= at(1)));
    let again = case.sent_again();
    case.put = again.into_iter().next().expect("it is due");
    drop(case.judge(vec![retry(RetryReason::Server)], Encryption::Optional));
    assert_eq!(case.counts[0].retries[&RetryReason::Server], 2);
}

#[test]
fn what_was_kept_without_encryption_stays_delivered_and_nothing_follows_where_that_is_not_wanted() {
    let plain = || Verdict::Delivered { encrypted: Encrypted::No, id: None };
    for (encryption, stops) in [(Encryption::Optional, false), (Encryption::Required, true)] {
        let mut case = sent(&["a\n", "b\n"]);
        let judged = case.judge(vec![plain(), retry(RetryReason::Server)], encryption);
        assert_eq!(judged.delivered.len(), 1);
        let is_told = judged.reports.iter().any(|report| matches!(report, Report::Stopped { .. }));
        assert_eq!(is_told, stops);
        let status = |case: &mut Case, now| case.streams.status(|_| std::path::Path::new("/log").into(), now);
        assert_eq!(status(&mut case, at(1))[0].held.is_some(), stops);
        assert_eq!(case.sent_again().is_empty(), stops);
        // What was sent again is not answered.
        let held = status(&mut case, at(60)).remove(0).held;
        let code = if stops { "NotEncrypted" } else { "Timeout" };
        assert_eq!(held.as_ref().map(|(why, _)| &*why.code), Some(code));
    }
}

#[test]
fn what_was_kept_with_encryption_stops_nothing() {
    let mut case = sent(&["a\n"]);
    let judged = case.judge(vec![delivered()], Encryption::Required);
    assert_eq!((judged.delivered.len(), judged.reports.len()), (1, 0));
}

#[test]
fn a_throttled_request_is_counted_once_however_many_of_its_records_were() {
    let mut case = sent(&["a\n", "b\n", "c\n"]);
    let throttled = || retry(RetryReason::Throttled);
    drop(case.judge(vec![throttled(), throttled(), delivered()], Encryption::Optional));
    assert_eq!((case.counts[0].throttled, case.counts[0].retries[&RetryReason::Throttled]), (1, 2));
}

#[test]
#[should_panic(expected = "L7")]
fn l7_an_answer_with_fewer_verdicts_than_records_is_no_outcome() {
    let mut case = sent(&["a\n", "b\n"]);
    drop(case.judge(vec![delivered()], Encryption::Optional));
}

#[test]
#[should_panic(expected = "L7")]
fn l7_an_answer_with_more_verdicts_than_records_is_no_outcome() {
    let mut case = sent(&["a\n"]);
    drop(case.judge(vec![delivered(), delivered()], Encryption::Optional));
}

#[test]
#[should_panic(expected = "an outcome comes once for each request")]
fn an_outcome_comes_once_for_each_request() {
    let mut case = sent(&["a\n"]);
    drop(case.judge(vec![delivered()], Encryption::Optional));
    drop(case.judge(vec![delivered()], Encryption::Optional));
}

proptest! {
    #[test]
    fn l7_every_record_is_delivered_rejected_or_sent_again_exactly_once(
        ends in proptest::collection::vec(0..3_u8, 1..20)
    ) {
        let lines: Vec<_> = (0..ends.len()).map(|number| format!("{number}\n")).collect();
        let mut case = sent(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let verdict = |end: &u8| match end {
            0 => delivered(),
            1 => rejected(),
            _ => retry(RetryReason::Server),
        };
        let judged = case.judge(ends.iter().map(verdict).collect(), Encryption::Optional);
        let mut seen = texts(judged.delivered.iter().map(|(record, ..)| &record.data));
        seen.extend(texts(judged.rejected.iter().map(|(record, ..)| &record.data)));
        // A stream that is held sends one request, and waits for its answer.
        let mut verdicts = 0;
        while verdicts < ends.len() {
            let again = case.sent_again();
            if again.is_empty() {
                break;
            }
            for put in again {
                seen.extend(texts(&put.records));
                case.put = put;
                let all = vec![delivered(); case.put.records.len()];
                verdicts += all.len();
                let judged = case.judge(all, Encryption::Optional);
                seen.extend(texts(judged.rejected.iter().map(|(record, ..)| &record.data)));
            }
        }
        seen.sort();
        let mut lines = lines;
        lines.sort();
        prop_assert_eq!(seen, lines);
    }
}

/// The milliseconds at which each record leaves: large ones of the first file, small ones of the second.
fn leave(
    settings: &StreamSettings,
    large: &[&str],
    small: &[&str],
    patience_ms: u64,
) -> (Vec<u64>, Vec<u64>) {
    let checkpoint = CheckpointSettings { interval: Duration::from_secs(1), max_bytes: 1 << 30 };
    let mut streams = Streams::try_new(std::slice::from_ref(settings), checkpoint, 1, at(0)).unwrap();
    let mut waiting = Waiting(BTreeMap::new());
    for (number, lines) in [(1, large), (2, small)] {
        let mut state = beginning(number, whose(0, number));
        let fresh = read(&mut state, lines, at(0));
        streams.offer(&mut state, fresh);
        waiting.0.insert(Incarnation(number), state);
    }
    let (mut large, mut small, mut counts) = (Vec::new(), Vec::new(), vec![StreamCounts::default()]);
    for millis in 0..patience_ms {
        let now = Instant::at(Duration::from_millis(millis));
        for put in streams.send(&mut waiting, now).0 {
            let left = if put.records[0].len() > 1_000 { &mut large } else { &mut small };
            left.extend(put.records.iter().map(|_| millis));
            let verdicts = vec![delivered(); put.records.len()];
            let outcome = Outcome { verdicts, took: Duration::ZERO };
            drop(streams.judge(put.request, outcome, |_| Encryption::Optional, &mut counts, now));
        }
    }
    (large, small)
}

#[test]
fn small_records_pass_large_ones_that_wait_for_the_quota_and_large_ones_leave_all_the_same() {
    let long = format!("{}\n", "x".repeat(900_000));
    for api in [Api::PutRecord, Api::Auto] {
        let settings = StreamSettings { api, max_in_flight: NonZeroU32::new(64).unwrap(), ..settings() };
        let (large, small) = leave(&settings, &[long.as_str(); 3], &["x\n"; 300], 6_000);
        assert_eq!((large.len(), small.len()), (3, 300), "{large:?}");
        assert!(small[299] < 1_000, "{api:?}: the last small one leaves after {} ms", small[299]);
        assert!(large[2] < 4_000, "{api:?}: {large:?}");
    }
}

#[test]
fn small_records_without_end_do_not_starve_a_large_one() {
    let long = format!("{}\n", "x".repeat(900_000));
    let short = format!("{}\n", "y".repeat(900));
    let settings = StreamSettings { api: Api::PutRecord, ..settings() };
    let (large, small) = leave(&settings, &[long.as_str()], &vec![short.as_str(); 4_000], 3_500);
    assert!(small.len() < 4_000, "there were always more");
    assert_eq!(large.len(), 1, "in 3.5 seconds of 1 MiB each");
}

#[test]
fn an_endpoint_that_never_answers_is_told_within_a_minute_and_an_answer_ends_it() {
    let mut case = sent(&["a\n"]);
    drop(case.streams.send(&mut case.waiting, at(0)));
    assert_eq!(case.streams.deadline(), Some(at(45)));
    let held = |case: &mut Case, now| case.streams.send(&mut case.waiting, now).1;
    assert!(held(&mut case, at(44)).is_empty());
    let told = held(&mut case, at(45));
    assert!(matches!(&told[..], [Report::Held { lane: LANE, why }] if &*why.code == "Timeout"), "{told:?}");
    assert!(held(&mut case, at(46)).is_empty() && case.streams.deadline().is_none_or(|due| due > at(46)));
    let outcome = Outcome { verdicts: vec![delivered()], took: Duration::from_secs(60) };
    let judged =
        case.streams.judge(case.put.request, outcome, |_| Encryption::Optional, &mut case.counts, at(60));
    assert!(matches!(&judged.reports[..], [Report::Resumed { lane: LANE, .. }]), "{:?}", judged.reports);
}
