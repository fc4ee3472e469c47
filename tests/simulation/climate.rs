//! What trouble a seed draws: the worlds, their settings, and how often what goes wrong.

use std::collections::BTreeSet;
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use standpipe::model::limits::RECORD_BYTES;
use standpipe::model::route::Route;
use standpipe::model::settings::{
    Adaptive, Api, Audit, CheckpointSettings, Compression, Encryption, Envelope, Format, Grouping,
    LineFilter, MemorySettings, Multiline, Newline, OnDrain, Order, Oversize, Packing, QuotaSettings,
    RetrySettings, Runtime, Settings, SourceSettings, Spread, StartAt, StartPattern, StreamId,
    StreamSettings, Until,
};

use standpipe::rules::pattern::{Exclude, Pattern, SourceNames};

use super::excuse::Excuse;
use super::families::{FAMILIES, Family};
use super::service::Faults;
use super::writers::Shape;

/// What the engine asks for in one read of short lines.
pub const ONE_READ_BYTES: u64 = 256 * 1024 + 256;

/// Room for one read and little more: a few thousand lines that wait fill it.
pub const SMALL_BUDGET_BYTES: u64 = ONE_READ_BYTES + 8 * 1024;

/// Fewer than there are files, in some seeds.
const FEW_DESCRIPTORS: usize = 4;

/// Which world a seed is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One source, one stream, each line a record.
    Plain,
    /// Lines share records.
    Packed,
    /// Every line has an envelope; in every other seed they share records.
    Enveloped,
    /// Lines are unwrapped, joined, grouped, cut, and whatever else a source may ask for.
    Shaped,
    /// One kind of trouble of the wider world.
    Wide(Family),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::Packed => f.write_str("packed"),
            Self::Enveloped => f.write_str("enveloped"),
            Self::Shaped => f.write_str("shaped"),
            Self::Wide(family) => f.write_str(&family.name()),
        }
    }
}

impl Kind {
    pub fn by_name(name: &str) -> Option<Self> {
        let wide = FAMILIES.iter().map(|(family, _)| Self::Wide(*family));
        let mut all = [Self::Plain, Self::Packed, Self::Enveloped, Self::Shaped].into_iter().chain(wide);
        all.find(|kind| kind.to_string() == name)
    }
}

/// How often what goes wrong: chances from 0 to 1, of each action or each effect.
#[derive(Clone, Debug)]
pub struct Climate {
    /// Names in each directory.
    pub names: usize,
    pub rotate: f64,
    pub truncate: f64,
    pub remove: f64,
    pub crash: f64,
    pub lose_hint: f64,
    pub overflow: f64,
    pub poison: f64,
    pub fail_save: f64,
    pub reload: f64,
    /// How often the directory cannot be looked into.
    pub hide: f64,
    pub copy_truncate: f64,
    pub max_delay: Duration,
    /// How often a deed of the family is done, beside those above.
    pub deed: f64,
    /// How often a line is one that the service fails for as long as there is trouble.
    pub stubborn: f64,
    pub refuse_open: f64,
    pub refuse_read: f64,
    /// How often a survey shows the size of the look before.
    pub stale_size: f64,
    /// The most bytes of a long line.
    pub long_line: usize,
    /// Lines that were begun are never completed.
    pub keep_halves: bool,
    /// What the link to the services carries, if it is thin.
    pub bytes_per_second: Option<f64>,
    /// Excuses that are not taken.
    pub withdrawn: BTreeSet<Excuse>,
}

/// No trouble at all.
pub const CALM: Climate = Climate {
    names: 1,
    rotate: 0.0,
    truncate: 0.0,
    remove: 0.0,
    crash: 0.0,
    lose_hint: 0.0,
    overflow: 0.0,
    poison: 0.0,
    fail_save: 0.0,
    reload: 0.0,
    hide: 0.0,
    copy_truncate: 0.0,
    max_delay: Duration::from_millis(20),
    deed: 0.0,
    stubborn: 0.0,
    refuse_open: 0.0,
    refuse_read: 0.0,
    stale_size: 0.0,
    long_line: 60_000,
    keep_halves: false,
    bytes_per_second: None,
    withdrawn: BTreeSet::new(),
};

impl Climate {
    /// Writers and rotators go on as they are, and nothing else goes wrong any more.
    pub fn calm_down(&mut self) {
        self.crash = 0.0;
        self.lose_hint = 0.0;
        self.overflow = 0.0;
        self.fail_save = 0.0;
        self.hide = 0.0;
        self.reload = 0.0;
        self.refuse_open = 0.0;
        self.refuse_read = 0.0;
        self.stale_size = 0.0;
    }
}

/// Where each source looks, and which stream its lines are for.
#[derive(Clone, Debug)]
pub struct Layout {
    /// For each source its name, directory, and stream; a source whose paths name its streams has several of them.
    pub sources: Vec<(&'static str, PathBuf, usize)>,
    pub streams: usize,
}

impl Layout {
    pub fn plain() -> Self {
        Self { sources: vec![("source", "/log".into(), 0)], streams: 1 }
    }

    /// Whether a source of that name, as it was called at first or later, matches the path.
    pub fn matches(&self, source: &str, path: &Path) -> bool {
        let named = |(name, ..): &&(&str, PathBuf, usize)| *name == source.trim_end_matches('\'');
        self.sources.iter().filter(named).any(|(_, directory, _)| is_log_in(directory, path))
    }

    /// The names that these sources read, as they are called at first or later.
    pub fn names(&self, sources: &[SourceSettings]) -> Vec<SourceNames> {
        let of_source = |source: &SourceSettings| {
            let named = self.sources.iter().filter(|(name, ..)| *name == source.name.trim_end_matches('\''));
            let patterns = named.map(|(_, directory, _)| format!("{}/*.log", directory.display()));
            let patterns = patterns.map(|pattern| Pattern::parse(&pattern).expect("a pattern"));
            SourceNames::new(patterns.collect(), Exclude::new(Vec::new()))
        };
        sources.iter().map(of_source).collect()
    }

    /// The streams that a name leads to, a bit each.
    pub fn due(&self, path: &Path) -> u8 {
        let matched = self.sources.iter().filter(|(_, directory, _)| is_log_in(directory, path));
        matched.fold(0, |due, (.., stream)| due | 1 << stream)
    }
}

fn is_log_in(directory: &Path, path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log") && path.parent() == Some(directory)
}

/// Everything that is drawn before anything happens.
#[derive(Debug)]
pub struct Draw {
    pub climate: Climate,
    pub layout: Layout,
    /// For each stream.
    pub faults: Vec<Faults>,
    pub settings: Settings,
    pub shape: Shape,
    pub has_births: bool,
    pub descriptors: usize,
}

fn maybe(rng: &mut fastrand::Rng, most: f64) -> f64 {
    if rng.bool() { rng.f64() * most } else { 0.0 }
}

impl Draw {
    pub fn new(kind: Kind, seed: u64, rng: &mut fastrand::Rng) -> Self {
        match kind {
            Kind::Plain => Self::of_old(seed, rng, Packing::Off, Format::Raw, Shape::default()),
            Kind::Packed => {
                let bytes = [30, 700, 20_000, RECORD_BYTES][(seed % 4) as usize];
                let packing = packed(bytes, Duration::from_millis(1 + 37 * (seed % 50)));
                Self::of_old(seed, rng, packing, Format::Raw, Shape::default())
            }
            Kind::Enveloped => {
                let envelope = Envelope {
                    host: "host".into(),
                    fields: Vec::new(),
                    merge: seed.is_multiple_of(3),
                    ..Envelope::default()
                };
                let packing = match seed % 2 {
                    0 => Packing::Off,
                    _ => packed(5_000, Duration::from_millis(seed)),
                };
                Self::of_old(seed, rng, packing, Format::Json(envelope), Shape::default())
            }
            Kind::Shaped => Self::shaped(seed, rng),
            Kind::Wide(family) => family.draw(rng),
        }
    }

    fn shaped(seed: u64, rng: &mut fastrand::Rng) -> Self {
        // Not in step with the climates.
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let choose = |step: u64, of: u64| (mixed / step) % of;
        let runtime = [Some(Runtime::Cri), None, Some(Runtime::Docker)][choose(1, 3) as usize];
        let multiline = (choose(3, 2) == 0).then(|| Multiline {
            grouping: Grouping::Start(StartPattern::try_new("^[0-9]").expect("a regular expression")),
            max_lines: [500, 3][choose(96, 2) as usize],
            timeout: Duration::from_secs(2),
        });
        let envelope =
            Envelope { host: "host".into(), fields: Vec::new(), merge: false, ..Envelope::default() };
        let format = if choose(6, 2) == 0 { Format::Raw } else { Format::Json(envelope) };
        let oversize = [Oversize::Split, Oversize::Truncate, Oversize::DeadLetter][choose(12, 3) as usize];
        let longest = [RECORD_BYTES, 700, 5_000][choose(36, 3) as usize];
        let packing = match choose(5, 2) {
            0 => Packing::Off,
            _ => packed(5_000, Duration::from_millis(seed % 900)),
        };
        Self::of_old(seed, rng, packing, format, Shape { runtime, multiline, oversize, longest })
    }

    /// One source and one stream, and every trouble at once.
    fn of_old(seed: u64, rng: &mut fastrand::Rng, packing: Packing, format: Format, shape: Shape) -> Self {
        let faults = Faults {
            throttle: maybe(rng, 0.5),
            server: maybe(rng, 0.5),
            setup: maybe(rng, 0.02),
            partial: maybe(rng, 0.3),
            accept_then_lose: maybe(rng, 0.2),
            nonsense: maybe(rng, 0.2),
            ..Faults::default()
        };
        let mut climate = Climate {
            names: rng.usize(1..6),
            rotate: maybe(rng, 0.05),
            truncate: maybe(rng, 0.03),
            remove: maybe(rng, 0.02),
            crash: maybe(rng, 0.02),
            lose_hint: maybe(rng, 1.0),
            overflow: maybe(rng, 0.05),
            poison: maybe(rng, 0.02),
            fail_save: maybe(rng, 0.5),
            max_delay: Duration::from_millis(rng.u64(1..400)),
            // Not every seed, so that the others have less trouble at once.
            hide: if seed % 3 == 2 { 0.2 } else { 0.0 },
            copy_truncate: if seed % 5 == 4 { 0.05 } else { 0.0 },
            reload: if seed % 4 == 2 { 0.02 } else { 0.0 },
            ..CALM
        };
        let mut settings = settings(rng);
        settings.streams[0].packing = packing;
        settings.sources[0].format = format;
        shape.apply(&mut settings);
        // A source that must know whether a line was cut looks back by a whole line: the budget has to hold one.
        if seed % 4 == 1 && shape.oversize == Oversize::Split {
            settings.memory =
                MemorySettings { buffer: SMALL_BUDGET_BYTES, buffer_per_file: SMALL_BUDGET_BYTES };
        }
        let has_births = rng.u8(0..4) > 0;
        let mut descriptors = usize::MAX;
        if seed % 4 == 3 {
            climate.names = 12;
            descriptors = FEW_DESCRIPTORS;
        }
        let layout = Layout::plain();
        Self { climate, layout, faults: vec![faults], settings, shape, has_births, descriptors }
    }
}

/// One source, and one stream whose settings are drawn.
pub fn settings(rng: &mut fastrand::Rng) -> Settings {
    let some = |n: u32| NonZeroU32::new(n).expect("above zero");
    let quota = QuotaSettings {
        requests_per_second: some(rng.u32(20..3000)),
        records_per_second: some(rng.u32(40..6000)),
        bytes_per_second: rng.u64(200..6000) * 1024,
        share: 0.5 + rng.f64() / 2.0,
        adaptive: if rng.bool() { Adaptive::On } else { Adaptive::Off },
    };
    let api = [Api::PutRecord, Api::Auto, Api::PutRecordBatch][rng.usize(0..3)];
    let max_in_flight = some(rng.u32(1..65));
    Settings {
        sources: vec![source("source", 0)],
        streams: vec![StreamSettings {
            name: "stream".into(),
            api,
            // Not drawn by itself: the worlds of old seeds stay what they were.
            linger: Duration::from_millis(u64::from(max_in_flight.get() % 8)),
            packing: Packing::Off,
            max_in_flight,
            order: if rng.bool() { Order::Free } else { Order::PerFile },
            quota,
            spread: Spread::to_one("stream"),
            retry: RetrySettings {
                initial: Duration::from_millis(100),
                max: Duration::from_secs(30),
                stuck_after: Duration::from_secs(600),
            },
            encryption: Encryption::Optional,
            audit: Audit::On { max_bytes: 16 << 20 },
        }],
        checkpoint: CheckpointSettings {
            interval: Duration::from_millis(rng.u64(10..3000)),
            max_bytes: rng.u64(1_000..1_000_000),
        },
        memory: MemorySettings { buffer: 4 << 20, buffer_per_file: 2 << 20 },
        // Not drawn by itself, either. Half of the worlds take surveys in by a few files at once.
        files_at_once: match max_in_flight.get() as usize % 8 {
            few @ 4..=7 => NonZeroUsize::new(few - 3).expect("above zero"),
            _ => NonZeroUsize::MAX,
        },
        // Nor is this. A third of the worlds save what changed in parts.
        checkpoints_at_once: match max_in_flight.get() as usize % 9 {
            few @ 6..=8 => NonZeroUsize::new(few - 5).expect("above zero"),
            _ => NonZeroUsize::MAX,
        },
        until: Until::Drained,
        on_drain: OnDrain::KeepPartialLines,
    }
}

pub fn source(name: &str, stream: usize) -> SourceSettings {
    SourceSettings {
        name: name.into(),
        route: Route::To(StreamId(stream)),
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

fn packed(bytes: usize, delay: Duration) -> Packing {
    Packing::On { bytes, delay, compression: Compression::None }
}
