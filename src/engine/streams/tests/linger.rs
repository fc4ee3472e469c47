//! When records leave that wait for others to share their request.

use super::*;

/// One stream, to which files are written line by line.
struct World {
    streams: Streams,
    waiting: Waiting,
    counts: Vec<StreamCounts>,
    /// When each request left, in milliseconds, by which operation, with how many records.
    left: Vec<(u64, Operation, usize)>,
}

impl World {
    fn new(settings: &StreamSettings) -> Self {
        let settings = std::slice::from_ref(settings);
        Self {
            streams: Streams::try_new(settings, checkpoint(), 1, at(0)).unwrap(),
            waiting: Waiting(BTreeMap::new()),
            counts: vec![StreamCounts::default()],
            left: Vec::new(),
        }
    }

    /// Another file with these lines is read.
    fn write(&mut self, number: u64, lines: &[&str], now: Instant) {
        let mut state = beginning(number, whose(0, number));
        let fresh = read(&mut state, lines, now);
        self.streams.offer(&mut state, fresh);
        self.waiting.0.insert(Incarnation(number), state);
    }

    /// Sends what may leave, each answered at once with what `verdict` says of a record.
    fn send(&mut self, millis: u64, verdict: impl Fn() -> Verdict) {
        let now = ms(millis);
        loop {
            let puts = self.streams.send(&mut self.waiting, now).0;
            if puts.is_empty() {
                break;
            }
            for put in puts {
                self.left.push((millis, put.operation, put.records.len()));
                let verdicts = put.records.iter().map(|_| verdict()).collect();
                let outcome = Outcome { verdicts, took: Duration::ZERO };
                let judged =
                    self.streams.judge(put.request, outcome, |_| Encryption::Optional, &mut self.counts, now);
                for (record, ..) in judged.delivered {
                    let state = self.waiting.ready(record.incarnation);
                    let _ = state.settle(&record, crate::rules::ledger::Settlement::Delivered);
                    self.streams.offer(state, 0);
                }
            }
        }
    }

    /// Sends at every deadline, up to a second.
    fn run(&mut self, from: u64) {
        self.send(from, delivered);
        while let Some(next) = self.streams.deadline().filter(|next| *next < at(1)) {
            self.send(next.nanos() / 1_000_000, delivered);
        }
    }
}

fn checkpoint() -> CheckpointSettings {
    CheckpointSettings { interval: Duration::from_secs(1), max_bytes: 1 << 20 }
}

fn ms(millis: u64) -> Instant {
    Instant::at(Duration::from_millis(millis))
}

fn lingering(api: Api) -> StreamSettings {
    StreamSettings { api, linger: Duration::from_millis(5), ..settings() }
}

#[test]
fn lines_of_ten_files_a_millisecond_apart_share_a_request_each_five_milliseconds() {
    for api in [Api::Auto, Api::PutRecordBatch] {
        let mut world = World::new(&lingering(api));
        for number in 0..10 {
            world.write(number, &["x\n"], ms(number));
            world.send(number, delivered);
        }
        world.run(10);
        let batch = Operation::PutRecordBatch;
        assert_eq!(world.left, [(5, batch, 6), (11, batch, 4)], "{api:?}");
    }
}

#[test]
fn who_stays_alone_leaves_by_itself_when_its_time_is_over() {
    let cases = [
        (Api::Auto, 5, Operation::PutRecord),
        (Api::PutRecordBatch, 5, Operation::PutRecordBatch),
        (Api::PutRecord, 0, Operation::PutRecord),
    ];
    for (api, waits, operation) in cases {
        let mut world = World::new(&lingering(api));
        world.write(1, &["x\n"], ms(7));
        world.run(7);
        assert_eq!(world.left, [(7 + waits, operation, 1)], "{api:?}");
    }
}

#[test]
fn a_request_that_is_full_leaves_at_once_and_what_is_left_waits() {
    let batch = Operation::PutRecordBatch;
    let mut world = World::new(&lingering(Api::Auto));
    world.write(1, &["x\n"; 510], ms(0));
    world.run(0);
    assert_eq!(world.left, [(0, batch, 500), (5, batch, 10)], "by records");

    let line = format!("{}\n", "x".repeat(2_999));
    let mut world = World::new(&lingering(Api::Auto));
    for number in 0..3 {
        world.write(number, &[&line], ms(0));
    }
    world.run(0);
    assert_eq!(world.left, [(0, batch, 2), (5, Operation::PutRecord, 1)], "by bytes");
}

#[test]
fn in_a_drain_nothing_waits_and_no_other_configuration_makes_it_wait() {
    let settings = [lingering(Api::Auto)];
    let mut world = World::new(&settings[0]);
    world.write(1, &["x\n"], ms(0));
    world.send(1, delivered);
    world.streams.drain();
    world.send(2, delivered);
    assert_eq!(world.left.len(), 1);
    world.streams.change(&[settings[0].clone(), settings[0].clone()], checkpoint(), ms(3)).unwrap();
    world.write(2, &["x\n"], ms(3));
    world.send(3, delivered);
    assert_eq!(world.left.iter().map(|(at, ..)| *at).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn another_configuration_changes_how_long_those_wait_that_are_ready() {
    let mut world = World::new(&lingering(Api::Auto));
    world.write(1, &["x\n"], ms(0));
    world.send(1, delivered);
    let longer = StreamSettings { linger: Duration::from_millis(20), ..lingering(Api::Auto) };
    world.streams.change(&[longer], checkpoint(), ms(2)).unwrap();
    world.send(19, delivered);
    assert_eq!(world.left, []);
    world.streams.change(&[settings()], checkpoint(), ms(19)).unwrap();
    world.send(19, delivered);
    assert_eq!(world.left.len(), 1);
}

#[test]
fn what_is_sent_again_does_not_wait_and_takes_along_who_does() {
    let mut world = World::new(&lingering(Api::Auto));
    world.write(1, &["a\n", "b\n"], ms(0));
    world.send(5, || retry(RetryReason::Throttled));
    let due = world.streams.deadline().expect("they are sent again");
    let due = due.nanos() / 1_000_000 + 1;
    world.write(2, &["c\n"], ms(due));
    world.send(due, delivered);
    assert_eq!(world.left[1..], [(due, Operation::PutRecordBatch, 3)]);
}

#[test]
fn in_order_the_lines_of_a_file_wait_once_and_not_again_after_each_answer() {
    let settings = StreamSettings { order: Order::PerFile, ..lingering(Api::Auto) };
    let mut world = World::new(&settings);
    world.write(1, &["a\n", "b\n", "c\n"], ms(0));
    world.run(0);
    assert_eq!(world.left.iter().map(|(at, ..)| *at).collect::<Vec<_>>(), [5, 5, 5]);
}

#[test]
fn while_a_small_record_waits_a_large_one_does_not_take_its_quota() {
    let large = format!("{}\n", "x".repeat(900_000));
    let mut world = World::new(&lingering(Api::Auto));
    world.write(1, &[&large], ms(0));
    world.send(0, delivered);
    let mut small = Vec::new();
    for number in 2..200 {
        world.write(number, &["x\n"], ms(number));
        world.send(number, delivered);
        small.push(number);
    }
    for millis in 200..3_000 {
        world.send(millis, delivered);
    }
    assert_eq!(world.left.iter().map(|(_, _, records)| records).sum::<usize>(), 1 + small.len());
    let late = world.left.iter().filter(|(at, _, records)| *records > 1 && *at > 300).count();
    assert_eq!(late, 0, "{:?}", world.left);
}
