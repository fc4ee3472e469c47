//! Many engines on one clock, each with one file that never ends.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use standpipe::engine::port::{Effect, Event, Observation, Observed, Opened, Put, Read};
use standpipe::engine::report::Report;
use standpipe::engine::{Engine, Memory};
use standpipe::model::identity::Identity;
use standpipe::model::limits::RECORD_BYTES;
use standpipe::model::route::Route;
use standpipe::model::settings::{
    Adaptive, Api, Audit, CheckpointSettings, Encryption, Format, LaneSettings, LineFilter, MemorySettings,
    Newline, OnDrain, Order, Oversize, Packing, QuotaSettings, RetrySettings, Settings, SourceSettings,
    Spread, StartAt, StreamId, StreamSettings, Until,
};
use standpipe::model::time::Instant;
use standpipe::model::verdict::Outcome;

use super::service::{BYTES, RECORDS, REQUESTS, Service};

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub daemons: usize,
    pub api: Api,
    pub line_bytes: usize,
    /// Delivery streams that files are spread over.
    pub lanes: usize,
    /// Files of each daemon.
    pub files: u64,
    /// Half of the daemons start 20 seconds after the others.
    pub late: bool,
    pub seed: u64,
}

impl Plan {
    pub fn bottleneck_records_per_second(&self) -> f64 {
        let by_bytes = BYTES as f64 / self.line_bytes as f64;
        self.lanes as f64
            * match self.api {
                Api::PutRecord => by_bytes.min(REQUESTS as f64),
                Api::Auto | Api::PutRecordBatch => by_bytes.min(RECORDS as f64),
            }
    }
}

/// What is to happen to one daemon.
#[derive(Debug)]
enum Todo {
    /// To be ignored if the deadline has changed since.
    Wake(u64),
    Arrive(Put, Instant),
    Tell(Event),
}

struct Daemon {
    engine: Engine,
    /// The number of the deadline that counts.
    deadline: u64,
    accepted: u64,
    /// How often it said that batches would help.
    advised: u64,
}

pub struct Fleet {
    plan: Plan,
    rng: fastrand::Rng,
    now: Instant,
    queue: BTreeMap<(Instant, u64), (usize, Todo)>,
    queued: u64,
    daemons: Vec<Daemon>,
    /// What any part of the endless file is cut from.
    content: Bytes,
    /// One for each delivery stream.
    pub services: Vec<Service>,
}

impl Fleet {
    pub fn new(plan: Plan) -> Self {
        let mut rng = fastrand::Rng::with_seed(plan.seed);
        let mut line = vec![b'x'; plan.line_bytes];
        line[plan.line_bytes - 1] = b'\n';
        let daemons: Vec<_> = (0..plan.daemons)
            .map(|number| Daemon {
                engine: Engine::try_new(
                    settings(plan, number),
                    Memory::default(),
                    rng.u64(..),
                    Instant::ZERO,
                )
                .expect("the delays are in order"),
                deadline: 0,
                accepted: 0,
                advised: 0,
            })
            .collect();
        let mut fleet = Self {
            content: line.repeat(1024 * 1024 / plan.line_bytes).into(),
            plan,
            rng,
            now: Instant::ZERO,
            queue: BTreeMap::new(),
            queued: 0,
            daemons,
            services: (0..plan.lanes).map(|_| Service::default()).collect(),
        };
        for daemon in 0..plan.daemons {
            let start = if plan.late && daemon % 2 == 1 { 20_000 } else { fleet.rng.u64(0..500) };
            fleet.later(Duration::from_millis(start), daemon, Todo::Tell(Event::Tick));
        }
        fleet
    }

    pub fn accepted(&self) -> Vec<u64> {
        self.daemons.iter().map(|daemon| daemon.accepted).collect()
    }

    pub fn advised(&self) -> u64 {
        self.daemons.iter().map(|daemon| daemon.advised).sum()
    }

    pub fn run_until(&mut self, end: Duration) {
        while let Some(next) = self.queue.first_entry()
            && next.key().0 <= Instant::at(end)
        {
            let ((at, _), (daemon, todo)) = next.remove_entry();
            self.now = at;
            match todo {
                Todo::Wake(number) if number == self.daemons[daemon].deadline => {
                    self.tell(daemon, Event::Tick);
                }
                Todo::Wake(_) => {}
                Todo::Arrive(put, sent) => self.arrive(daemon, &put, sent),
                Todo::Tell(event) => self.tell(daemon, event),
            }
        }
    }

    fn later(&mut self, delay: Duration, daemon: usize, todo: Todo) {
        self.queued += 1;
        self.queue.insert((self.now + delay, self.queued), (daemon, todo));
    }

    fn arrive(&mut self, daemon: usize, put: &Put, sent: Instant) {
        let verdicts = self.services[put.lane.place].answer(put, self.now);
        let accepted = verdicts
            .iter()
            .filter(|verdict| !matches!(verdict, standpipe::model::verdict::Verdict::Retry(_)));
        self.daemons[daemon].accepted += accepted.count() as u64;
        let back = self.way();
        let took = (self.now + back).since(sent);
        let event = Event::PutDone { request: put.request, outcome: Outcome { verdicts, took } };
        self.later(back, daemon, Todo::Tell(event));
    }

    /// How long a request or an answer is on its way.
    fn way(&mut self) -> Duration {
        Duration::from_micros(self.rng.u64(5_000..15_000))
    }

    fn tell(&mut self, daemon: usize, event: Event) {
        let now = self.now;
        self.daemons[daemon].engine.handle(event, now);
        while let Some(effect) = self.daemons[daemon].engine.poll_effect() {
            let event = match effect {
                Effect::Survey(request) => {
                    let (hidden, held) = (standpipe::model::hidden::Hidden::default(), Vec::new());
                    let (source, files) = (request.source, (0..self.plan.files).map(endless).collect());
                    Event::Observed(Observation { source, files, hidden, held, unix_time: Duration::ZERO })
                }
                Effect::Open(open) => {
                    let number = open.path.file_stem().and_then(|name| name.to_str()?.parse().ok());
                    let Observed { identity, size, .. } = endless(number.expect("a number"));
                    let head = self.content.slice(..1024);
                    Event::Opened { file: open.file, result: Ok(Opened { identity, size, head, held: None }) }
                }
                Effect::Read(read) => self.read(read),
                Effect::Save(_) => Event::Saved(Ok(())),
                Effect::Put(put) => {
                    let way = self.way();
                    self.later(way, daemon, Todo::Arrive(put, now));
                    continue;
                }
                Effect::Report(Report::BatchesWouldHelp { .. }) => {
                    self.daemons[daemon].advised += 1;
                    continue;
                }
                Effect::Compare(_)
                | Effect::Close(_)
                | Effect::Report(_)
                | Effect::Moved { .. }
                | Effect::Want(_)
                | Effect::Replayed { .. } => continue,
            };
            self.later(Duration::from_micros(100), daemon, Todo::Tell(event));
        }
        let state = &mut self.daemons[daemon];
        state.deadline += 1;
        if let Some(at) = state.engine.next_deadline(now) {
            let number = state.deadline;
            self.later(at.since(now), daemon, Todo::Wake(number));
        }
    }

    fn read(&self, read: Read) -> Event {
        let from =
            usize::try_from(read.at.bytes() % self.plan.line_bytes as u64).expect("below a line's length");
        let result = Ok(self.content.slice(from..from + read.len));
        Event::Bytes { file: read.file, result, unix_time: Duration::ZERO, modified: None }
    }
}

fn endless(number: u64) -> Observed {
    Observed {
        path: Path::new(&format!("/log/{number}.log")).into(),
        target: None,
        identity: Identity { device: 1, inode: number + 1, birth_nanos: Some(1) },
        size: 1 << 50,
        owner: 0,
        modified: None,
        is_matched: true,
        rotated_from: Vec::new(),
    }
}

/// All of a fleet's files are called alike, wherever they are.
fn spread(plan: Plan, daemon: usize) -> Spread {
    let lane = |number: usize| LaneSettings {
        delivery_stream: format!("fleet-{number}").into(),
        region: None,
        quota: None,
        is_standby: false,
        is_used: true,
    };
    Spread {
        lanes: (0..plan.lanes).map(lane).collect(),
        salt: format!("host-{daemon}").into(),
        spread_after: Some(Duration::from_secs(60)),
        failover_after: None,
    }
}

fn settings(plan: Plan, daemon: usize) -> Settings {
    let number = |n: u64| NonZeroU32::new(u32::try_from(n).expect("small")).expect("above zero");
    Settings {
        sources: vec![SourceSettings {
            name: "fleet".into(),
            route: Route::To(StreamId(0)),
            start_at: StartAt::Beginning,
            newline: Newline::Append,
            format: Format::Raw,
            max_message_bytes: RECORD_BYTES,
            oversize: Oversize::Split,
            runtime: None,
            multiline: None,
            filter: LineFilter::default(),
            ignore_older: None,
            close_removed_after: Duration::from_secs(10),
        }],
        streams: vec![StreamSettings {
            name: "fleet".into(),
            api: plan.api,
            linger: Duration::from_millis(5),
            packing: Packing::Off,
            max_in_flight: number(64),
            order: Order::Free,
            quota: QuotaSettings {
                requests_per_second: number(REQUESTS),
                records_per_second: number(RECORDS),
                bytes_per_second: BYTES,
                share: 0.9,
                adaptive: Adaptive::On,
            },
            spread: spread(plan, daemon),
            retry: RetrySettings {
                initial: Duration::from_millis(100),
                max: Duration::from_secs(30),
                stuck_after: Duration::from_secs(600),
            },
            encryption: Encryption::Optional,
            audit: Audit::Off,
        }],
        checkpoint: CheckpointSettings { interval: Duration::from_secs(1), max_bytes: 1 << 20 },
        memory: MemorySettings { buffer: (plan.lanes as u64) << 20, buffer_per_file: 1 << 20 },
        until: Until::Drained,
        on_drain: OnDrain::KeepPartialLines,
    }
}
