//! What a fleet is made of, and the settings of its daemons.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use standpipe::model::limits::RECORD_BYTES;
use standpipe::model::route::Route;
use standpipe::model::settings::{
    Adaptive, Api, Audit, CheckpointSettings, Encryption, Format, LaneSettings, LineFilter, MemorySettings,
    Newline, OnDrain, Order, Oversize, Packing, QuotaSettings, RetrySettings, Settings, SourceSettings,
    Spread, StartAt, StreamId, StreamSettings, Until,
};

use super::service::{BYTES, RECORDS, REQUESTS};

/// How long files wait at a delivery stream that takes nothing, where there is another region.
const SPREAD_AFTER: Duration = Duration::from_secs(10);
const FAILOVER_AFTER: Duration = Duration::from_secs(20);

/// Where the numbers of a quiet tenant's files begin.
pub const QUIET: u64 = 5_000;

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
    /// As many delivery streams in another region.
    pub standby: bool,
    /// Files of each daemon that another tenant writes, a line a second each, for a delivery stream of its own.
    pub quiet_files: u64,
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            daemons: 1,
            api: Api::Auto,
            line_bytes: 200,
            lanes: 1,
            files: 1,
            late: false,
            standby: false,
            quiet_files: 0,
            seed: 1,
        }
    }
}

impl Plan {
    /// Records that the delivery streams of one region take in a second.
    pub fn bottleneck_records_per_second(&self) -> f64 {
        let by_bytes = BYTES as f64 / self.line_bytes as f64;
        self.lanes as f64
            * match self.api {
                Api::PutRecord => by_bytes.min(REQUESTS as f64),
                Api::Auto | Api::PutRecordBatch => by_bytes.min(RECORDS as f64),
            }
    }

    /// The delivery streams of one stream.
    fn places(&self) -> usize {
        if self.standby { 2 * self.lanes } else { self.lanes }
    }

    /// All delivery streams: those of the first region, of the other, and of the quiet tenant.
    pub fn services(&self) -> usize {
        self.places() + usize::from(self.quiet_files > 0)
    }

    /// Which of them a lane leads to.
    pub fn service(&self, stream: StreamId, place: usize) -> usize {
        if stream == StreamId(0) { place } else { self.places() + place }
    }

    pub fn settings(self, daemon: usize) -> Settings {
        let mut tenants = vec![("fleet", self.spread(daemon))];
        if self.quiet_files > 0 {
            let quiet = Self { lanes: 1, standby: false, ..self };
            tenants.push(("quiet", quiet.spread(daemon)));
        }
        let sources = tenants.iter().enumerate();
        let sources = sources.map(|(stream, (name, _))| source(name, StreamId(stream))).collect();
        Settings {
            sources,
            streams: tenants.into_iter().map(|(name, spread)| self.stream(name, spread)).collect(),
            checkpoint: CheckpointSettings { interval: Duration::from_secs(1), max_bytes: 1 << 20 },
            memory: MemorySettings { buffer: (self.lanes as u64) << 20, buffer_per_file: 1 << 20 },
            files_at_once: NonZeroUsize::MAX,
            checkpoints_at_once: NonZeroUsize::MAX,
            until: Until::Drained,
            on_drain: OnDrain::KeepPartialLines,
        }
    }

    /// All of a fleet's files are called alike, wherever they are.
    fn spread(self, daemon: usize) -> Spread {
        let lane = |number: usize| LaneSettings {
            delivery_stream: format!("fleet-{number}").into(),
            region: (number >= self.lanes).then(|| "elsewhere".into()),
            quota: None,
            is_standby: number >= self.lanes,
            is_used: true,
        };
        Spread {
            lanes: (0..self.places()).map(lane).collect(),
            salt: format!("host-{daemon}").into(),
            spread_after: Some(if self.standby { SPREAD_AFTER } else { Duration::from_secs(60) }),
            failover_after: self.standby.then_some(FAILOVER_AFTER),
        }
    }

    fn stream(self, name: &str, spread: Spread) -> StreamSettings {
        StreamSettings {
            name: name.into(),
            api: self.api,
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
            spread,
            retry: RetrySettings {
                initial: Duration::from_millis(100),
                max: Duration::from_secs(30),
                stuck_after: Duration::from_secs(600),
            },
            encryption: Encryption::Optional,
            audit: Audit::Off,
        }
    }
}

fn source(name: &str, stream: StreamId) -> SourceSettings {
    SourceSettings {
        name: name.into(),
        route: Route::To(stream),
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
    }
}

fn number(n: u64) -> NonZeroU32 {
    NonZeroU32::new(u32::try_from(n).expect("small")).expect("above zero")
}
