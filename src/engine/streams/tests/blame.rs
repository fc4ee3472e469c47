//! Who is blamed when a service fails or refuses some records, or all of them.

use super::*;
use crate::engine::StreamStatus;
use crate::model::time::Instant;
use crate::rules::ledger::Settlement;

/// One stream, in front of a service that answers after a millisecond, or what has a bad record after `slow` of them.
struct World {
    streams: Streams,
    waiting: Waiting,
    counts: Vec<StreamCounts>,
    millis: u64,
    slow: u64,
    /// Requests, each with when it is answered, in milliseconds.
    under_way: Vec<(u64, Put)>,
    delivered: Vec<String>,
    /// What was put aside, with the code and when, in milliseconds.
    put_aside: Vec<(String, String, u64)>,
    told: Vec<(u64, Retry)>,
    requests: Vec<Vec<String>>,
}

impl World {
    /// A stream with a file of these lines.
    fn new(settings: &StreamSettings, lines: &[String]) -> Self {
        let checkpoint = CheckpointSettings { interval: Duration::from_secs(1), max_bytes: 1 << 30 };
        let streams = Streams::try_new(std::slice::from_ref(settings), checkpoint, 1, at(0)).unwrap();
        let waiting = Waiting(BTreeMap::new());
        let (delivered, put_aside, told, requests) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let counts = vec![StreamCounts::default()];
        let (under_way, slow, millis) = (Vec::new(), 1, 0);
        let mut world =
            Self { streams, waiting, counts, millis, slow, under_way, delivered, put_aside, told, requests };
        world.write(1, lines);
        world
    }

    /// Another file with these lines.
    fn write(&mut self, number: u64, lines: &[String]) {
        let mut state = beginning(number, whose(0, number));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let fresh = read(&mut state, &lines, at(0));
        self.streams.offer(&mut state, fresh);
        self.waiting.0.insert(Incarnation(number), state);
    }

    /// Lets so many seconds pass; `answer` says what becomes of a request with these records.
    fn run(&mut self, seconds: u64, answer: impl Fn(&[String]) -> Vec<Verdict>) {
        self.run_millis(seconds * 1_000, answer);
    }

    fn run_millis(&mut self, millis: u64, answer: impl Fn(&[String]) -> Vec<Verdict>) {
        for _ in 0..millis {
            let now = Instant::at(Duration::from_millis(self.millis));
            self.millis += 1;
            let puts = self.streams.send(&mut self.waiting, now).0;
            for put in puts {
                let records = texts(&put.records);
                let is_slow = records.iter().any(|record| record.contains("BAD"));
                self.under_way.push((self.millis - 1 + if is_slow { self.slow } else { 1 }, put));
                self.requests.push(records);
            }
            let now = Instant::at(Duration::from_millis(self.millis));
            let answered: Vec<_> = self.under_way.extract_if(.., |(at, _)| *at <= self.millis).collect();
            for (_, put) in answered {
                let verdicts = answer(&texts(&put.records));
                let outcome = Outcome { verdicts, took: Duration::from_millis(1) };
                let judged =
                    self.streams.judge(put.request, outcome, |_| Encryption::Optional, &mut self.counts, now);
                self.settle(judged);
            }
        }
    }

    fn settle(&mut self, judged: Judged) {
        for apart in judged.apart {
            self.waiting.ready(apart.incarnation).set_apart(apart.entry, apart.more_bytes);
        }
        self.delivered.extend(texts(judged.delivered.iter().map(|(record, ..)| &record.data)));
        for (record, why) in &judged.rejected {
            let data = texts([&record.data]).remove(0);
            self.put_aside.push((data, why.code.to_string(), self.millis));
        }
        self.told.extend(judged.stuck.into_iter().map(|(_, why, _)| (self.millis, why)));
        let settled = judged.delivered.into_iter().map(|(record, ..)| record);
        for record in settled.chain(judged.rejected.into_iter().map(|(record, _)| record)) {
            let state = self.waiting.ready(record.incarnation);
            let _ = state.settle(&record, Settlement::Delivered);
            state.release();
            self.streams.offer(state, 0);
        }
    }

    fn status(&mut self) -> StreamStatus {
        let now = Instant::at(Duration::from_millis(self.millis));
        self.streams.status(|_| std::path::Path::new("/log/1.log").into(), now).remove(0)
    }
}

/// `count` lines, of which those at `bad` say so.
fn lines(count: usize, bad: &[usize]) -> Vec<String> {
    (0..count).map(|n| format!("{n:04} {}\n", if bad.contains(&n) { "BAD" } else { "good" })).collect()
}

fn ample(api: Api) -> StreamSettings {
    let mut settings = settings();
    settings.api = api;
    settings.quota.requests_per_second = NonZeroU32::new(10_000).unwrap();
    settings.quota.bytes_per_second = 1 << 30;
    settings
}

/// A request with a bad record fails as a whole, as one behind a proxy that answers 413.
fn fails_whole(records: &[String]) -> Vec<Verdict> {
    let is_bad = records.iter().any(|record| record.contains("BAD"));
    vec![if is_bad { retry(RetryReason::Ambiguous) } else { delivered() }; records.len()]
}

/// A request with a bad record is refused as a whole.
fn refuses_whole(records: &[String]) -> Vec<Verdict> {
    let is_bad = records.iter().any(|record| record.contains("BAD"));
    vec![if is_bad { rejected() } else { delivered() }; records.len()]
}

/// A request with a bad record gets no answer.
fn answers_no_bad(records: &[String]) -> Vec<Verdict> {
    let is_bad = records.iter().any(|record| record.contains("BAD"));
    vec![if is_bad { retry(RetryReason::Network) } else { delivered() }; records.len()]
}

fn refuses_all(records: &[String]) -> Vec<Verdict> {
    vec![rejected(); records.len()]
}

#[test]
fn one_record_that_fails_its_batch_ends_alone_and_its_neighbours_are_delivered() {
    let mut world = World::new(&ample(Api::PutRecordBatch), &lines(500, &[137]));
    world.run(10, fails_whole);
    assert_eq!(world.delivered.len(), 499);
    assert!(world.put_aside.is_empty(), "nobody is blamed for ten seconds of failing");
    let with_it = world.requests.iter().filter(|records| records.iter().any(|line| line.contains("BAD")));
    let sizes: Vec<_> = with_it.map(Vec::len).collect();
    assert_eq!(sizes[..4], [500, 500, 250, 250], "each twice");
    assert!(sizes.len() < 35, "and then seldom: {sizes:?}");
    world.run(60, fails_whole);
    let status = world.status();
    assert!(
        status.held.is_none() && status.stuck_records == 1,
        "the others were accepted: {:?}",
        status.held
    );
}

#[test]
fn a_record_that_fails_alone_is_told_shown_and_put_aside_with_its_code_after_stuck_after() {
    for api in [Api::PutRecord, Api::PutRecordBatch, Api::Auto] {
        let mut settings = ample(api);
        settings.retry.stuck_after = Duration::from_secs(30);
        let mut world = World::new(&settings, &lines(50, &[20]));
        world.run(5, fails_whole);
        assert_eq!(world.status().stuck_records, 0, "{api:?}: others fail for a while, too");
        for second in 0..40 {
            // Others pass all the time.
            world.write(2 + second, &lines(2, &[]));
            world.run(1, fails_whole);
            if second == 15 {
                let status = world.status();
                assert_eq!((status.stuck_records, status.stuck.len()), (1, 1), "{api:?}");
                assert_eq!((&*status.stuck[0].why.code, status.stuck[0].offset.bytes()), ("Code", 20 * 10));
            }
        }
        assert_eq!(world.told.len(), 1, "{api:?}: told once");
        assert!((10_000..21_000).contains(&world.told[0].0), "{api:?}: {:?}", world.told);
        let [(line, code, millis)] = &world.put_aside[..] else { panic!("{:?}", world.put_aside) };
        assert_eq!((line.as_str(), code.as_str()), ("0020 BAD\n", "Code"), "{api:?}");
        assert!((30_000..45_000).contains(millis), "{api:?}: after {millis} ms");
        assert_eq!(world.status().stuck_records, 0);
        assert_eq!(world.delivered.len(), 49 + 80, "{api:?}");
    }
}

#[test]
fn a_record_that_fails_alone_where_others_passed_holds_no_stream_and_delays_nobody() {
    let mut world = World::new(&ample(Api::PutRecord), &lines(20, &[3]));
    world.write(2, &lines(20, &[]));
    world.run(120, fails_whole);
    let status = world.status();
    assert!(status.held.is_none(), "{:?}", status.held);
    assert_eq!((status.stuck_records, world.put_aside.len()), (1, 0));
    world.write(3, &lines(20, &[]));
    world.run(1, fails_whole);
    assert_eq!(world.delivered.len(), 59);
}

#[test]
fn an_entry_that_fails_in_every_batch_is_put_aside_too_and_throttling_never_counts() {
    for (reason, count) in [(RetryReason::Server, 1), (RetryReason::Throttled, 0)] {
        let mut settings = ample(Api::PutRecordBatch);
        settings.retry.stuck_after = Duration::from_secs(20);
        let mut world = World::new(&settings, &lines(100, &[3]));
        let entry = |line: &String| if line.contains("BAD") { retry(reason) } else { delivered() };
        for second in 0..60 {
            world.write(2 + second, &lines(2, &[]));
            world.run(1, |records| records.iter().map(entry).collect());
        }
        assert_eq!((world.put_aside.len(), world.told.len()), (count, count), "{reason:?}");
    }
}

#[test]
fn l19_a_service_that_is_down_for_long_costs_no_record() {
    let mut settings = ample(Api::PutRecord);
    settings.retry.stuck_after = Duration::from_secs(5);
    let mut world = World::new(&settings, &lines(100, &[]));
    let down = |records: &[String]| vec![retry(RetryReason::Server); records.len()];
    world.run(120, down);
    assert_eq!((world.put_aside.len(), world.status().stuck_records), (0, 0));
    world.run(15, |records| vec![delivered(); records.len()]);
    assert_eq!((world.put_aside.len(), world.delivered.len()), (0, 100));
}

#[test]
fn a_refused_record_is_put_aside_once_another_is_accepted_and_its_neighbours_are_delivered() {
    for api in [Api::PutRecord, Api::PutRecordBatch, Api::Auto] {
        let mut world = World::new(&ample(api), &lines(500, &[0, 137, 138, 499]));
        world.run(3, refuses_whole);
        assert_eq!(world.delivered.len(), 496, "{api:?}");
        let mut aside: Vec<_> = world.put_aside.iter().map(|(line, ..)| &line[..4]).collect();
        aside.sort_unstable();
        assert_eq!(aside, ["0000", "0137", "0138", "0499"], "{api:?}");
    }
}

#[test]
fn l19_a_service_that_refuses_everything_holds_the_stream_and_costs_no_record() {
    for api in [Api::PutRecord, Api::PutRecordBatch, Api::Auto] {
        let mut world = World::new(&ample(api), &lines(1_000, &[]));
        world.run(300, refuses_all);
        assert!(world.put_aside.is_empty(), "{api:?}: {:?}", world.put_aside.len());
        let status = world.status();
        let (why, _) = status.held.expect("it is held");
        assert_eq!((why.reason, &*why.code), (RetryReason::Rejected, "InvalidRecord"), "{api:?}");
        assert_eq!(status.last_error.expect("it was").1.reason, RetryReason::Rejected);
        assert!(world.requests.len() < 1_000, "{api:?}: {} requests", world.requests.len());
        world.run(20, |records| vec![delivered(); records.len()]);
        assert_eq!((world.delivered.len(), world.put_aside.len()), (1_000, 0), "{api:?}");
        assert!(world.status().held.is_none());
    }
}

#[test]
fn l19_a_service_that_begins_to_refuse_everything_costs_no_record_that_it_would_have_taken() {
    let mut world = World::new(&ample(Api::PutRecord), &lines(20_000, &[]));
    world.run(1, |records| vec![delivered(); records.len()]);
    assert!((1..20_000).contains(&world.delivered.len()));
    world.run(120, refuses_all);
    world.run(40, |records| vec![delivered(); records.len()]);
    assert_eq!((world.delivered.len(), world.put_aside.len()), (20_000, 0));
}

#[test]
fn after_a_hold_suspects_are_judged_anew_and_those_that_are_bad_are_put_aside() {
    let mut world = World::new(&ample(Api::PutRecord), &lines(100, &[5]));
    world.run(60, refuses_all);
    world.run(60, refuses_whole);
    assert_eq!(world.delivered.len(), 99);
    assert_eq!(world.put_aside.len(), 1);
    assert!(world.put_aside[0].0.contains("BAD"));
}

#[test]
fn one_bad_record_and_nothing_else_is_put_aside_within_a_minute_or_two() {
    let mut world = World::new(&ample(Api::PutRecord), &lines(1, &[0]));
    world.run(30, refuses_whole);
    assert!(world.put_aside.is_empty(), "nothing was ever accepted");
    world.run(45, refuses_whole);
    assert_eq!(world.put_aside.len(), 1);
    assert!(world.status().held.is_none());
}

#[test]
fn in_order_a_bad_record_costs_a_second_and_keeps_what_is_behind_it_in_order() {
    let settings = StreamSettings { order: Order::PerFile, ..ample(Api::PutRecord) };
    let mut world = World::new(&settings, &lines(100, &[30, 60]));
    world.run(6, refuses_whole);
    let mut good = lines(100, &[30, 60]);
    good.retain(|line| line.contains("good"));
    assert_eq!(world.delivered, good);
    assert_eq!(world.put_aside.len(), 2);
}

#[test]
fn more_than_ten_bad_records_in_a_row_delay_the_good_ones_and_do_not_stop_them() {
    let bad: Vec<usize> = (0..15).collect();
    let mut world = World::new(&ample(Api::PutRecord), &lines(400, &bad));
    for second in 0..120 {
        world.write(2 + second, &lines(2, &[]));
        world.run(1, refuses_whole);
    }
    assert_eq!((world.delivered.len(), world.put_aside.len()), (385 + 240, 15));
}

#[test]
fn a_stream_that_is_held_for_a_record_that_fails_goes_on_with_the_next_that_does_not() {
    let mut world = World::new(&ample(Api::PutRecord), &lines(1, &[0]));
    world.run(120, fails_whole);
    assert!(world.status().held.is_some(), "nothing else was sent");
    world.write(2, &lines(10, &[]));
    world.run(11, fails_whole);
    assert_eq!((world.delivered.len(), world.put_aside.len()), (10, 0));
}

#[test]
fn records_that_wait_to_be_sent_again_are_counted_with_those_that_wait() {
    let mut world = World::new(&ample(Api::PutRecordBatch), &lines(20, &[]));
    world.run(1, |records| vec![retry(RetryReason::Server); records.len()]);
    let status = world.status();
    assert_eq!((status.in_flight, status.waiting), (0, 20));
    world.run(60, |records| vec![delivered(); records.len()]);
    assert_eq!((world.delivered.len(), world.status().waiting), (20, 0));
}

/// Records of one file are never answered, and another file gets ten lines a second, in a request each.
#[test]
fn records_that_are_never_answered_keep_no_other_waiting_and_are_put_aside() {
    for (requests, bytes) in [(64, 10), (64, 5_000), (8, 10)] {
        let mut settings = ample(Api::PutRecord);
        settings.max_in_flight = NonZeroU32::new(requests).unwrap();
        settings.retry.stuck_after = Duration::from_secs(100);
        let bad: Vec<_> = (0..5).map(|n| format!("BAD {n} {}\n", "x".repeat(bytes))).collect();
        let mut world = World::new(&settings, &bad);
        world.slow = 30_000;
        let (mut written, mut late) = (0, 0);
        for number in 0..4_000 {
            world.write(number + 2, &lines(1, &[]));
            written += 1;
            world.run_millis(100, answers_no_bad);
            late = late.max(written - world.delivered.len());
        }
        assert!(late <= 10, "{late} lines waited: {requests} requests at once, {bytes} bytes");
        assert_eq!(world.put_aside.len(), 5, "{requests} requests at once, {bytes} bytes");
    }
}

#[test]
fn what_shares_a_request_with_a_record_that_is_never_answered_waits_for_it_once_where_others_pass() {
    let mut world = World::new(&ample(Api::PutRecordBatch), &lines(2, &[0]));
    world.slow = 30_000;
    for number in 0..320 {
        world.run_millis(100, answers_no_bad);
        world.write(number + 2, &["other\n".to_owned()]);
    }
    assert!(world.delivered.contains(&"0001 good\n".to_owned()), "after 32 s");
}

/// Every batch has records that fail it at once.
#[test]
fn where_no_batch_is_without_a_record_that_fails_it_all_others_are_delivered_soon() {
    for answer in [fails_whole as fn(&[String]) -> _, answers_no_bad] {
        let bad: Vec<_> = (0..2_000).step_by(20).collect();
        let mut world = World::new(&ample(Api::PutRecordBatch), &lines(2_000, &bad));
        let mut seconds = 0;
        while world.delivered.len() < 1_900 && seconds < 120 {
            world.run(1, answer);
            seconds += 1;
        }
        let found = (world.delivered.len(), seconds, world.requests.len());
        assert!(
            found.0 == 1_900 && seconds <= 20 && found.2 < 2_500,
            "delivered, seconds, requests: {found:?}"
        );
    }
}
