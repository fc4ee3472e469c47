//! The wider world: families of trouble, each with what it draws and whether the engine stands it.
//!
//! A family that holds is part of every run. One that is open shows what the engine does not stand yet: it runs when
//! it is asked for, and any of its seeds can be selected.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use standpipe::model::path_fields::PathFields;
use standpipe::model::route::{ByPath, Route, Template};
use standpipe::model::settings::{
    Adaptive, Api, Envelope, Format, Grouping, LaneSettings, MemorySettings, Multiline, Order, Oversize,
    Packing, Runtime, Settings, Spread, StartAt, StartPattern,
};

use super::climate::{self, CALM, Climate, Draw, Layout};
use super::excuse::Excuse;
use super::oracle::STREAMS;
use super::service::{Faults, Illness};
use super::writers::Shape;

/// What one kind of seed of the wider world is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// One to four sources into one to four streams, with every trouble of the plain world.
    Streams,
    /// One of several streams is down, refusing, throttled, slow or silent; the others are well.
    Isolation,
    /// Saves or a stream's requests are never answered.
    Silent,
    /// The files of a stream are spread over delivery streams, of which one is down for a while, again and again.
    Lanes,
    /// Nothing in a directory is opened or read to the end of it.
    SilentReads,
    /// Surveys of a directory are never answered.
    SilentSurveys,
    /// Files are written under a name that no source matches, and renamed at once to one that a source does.
    Publish,
    /// Names come and go between a survey and the opening of what it showed.
    Brief,
    /// Several rotations between two looks, or while no process runs.
    Chains,
    /// Files are rotated in the middle of what a program says.
    Cuts,
    /// Files move from one source's directory to another's, both of one stream.
    Moves,
    /// Two sources of one stream match the same names.
    Twice,
    /// Two sources of different streams match the same names.
    Both,
    /// Names are links to files elsewhere that are rotated and exchanged there.
    Links,
    /// Names are links to files elsewhere that are copied and truncated there.
    LinkedCopies,
    /// Writers go on in files that were renamed.
    Late,
    /// Rotators copy, slowly or beside the patterns, and truncate what was not read.
    Copies,
    /// Rotators rename, copy the renamed file, and unlink it.
    RenameCopy,
    /// Rotators compress what they have just renamed.
    Compress,
    /// Programs rewrite their files in place, as long as before.
    Rewrites,
    /// Sources start at the end of files that are there at the first start.
    AtEnd,
    /// Files and directories refuse to be opened and read, for a while.
    ReadErrors,
    /// Open descriptors go bad; a fresh one works.
    StaleDescriptors,
    /// Surveys show sizes of a look before.
    StaleSizes,
    /// Somebody makes a file that begins and ends like one that is truncated.
    Strangers,
    /// The service refuses a constant share of requests or records.
    Share,
    /// The service is down for a while, and then well.
    Outage,
    /// The process is killed again and again.
    Repeats,
    /// The process is killed while one record waits that always fails.
    Stubborn,
    /// Some records always fail or are refused, and the service may refuse all of them for a while.
    Blame,
    /// Configurations that leave sources out, while files are rotated.
    Reloads,
    /// Configurations that call sources otherwise, while files are rotated.
    RenamedSources,
    /// The wall clock jumps.
    Clock,
    /// Files whose lines are all alike are truncated, and grow as long as before.
    Alike,
    /// A line goes on growing in a file that was renamed.
    Growing,
    /// What was seen and is gone unread is declared.
    Truth,
    /// Files are closed for others, and unlinked; what is gone unread is declared.
    Removed,
    /// Lines have envelopes, and nothing can be saved.
    NoState,
    /// More files than descriptors, each with a last line that is never completed.
    Halves,
    /// The link to the service is thin, or gets thin for a while.
    Thin,
    /// Paths name the streams of a source, which are opened when their first file is there, or refused for a while.
    Named,
}

/// Whether the engine stands a family.
#[derive(Clone, Copy, Debug)]
pub enum Standing {
    /// Every seed passes.
    Holds,
    /// Some seeds fail: what fails, in one sentence.
    Open(&'static str),
}

use Standing::{Holds, Open};

/// Every family, and whether the engine stands it.
pub const FAMILIES: [(Family, Standing); 41] = [
    (Family::Streams, Holds),
    (Family::Isolation, Holds),
    (Family::Silent, Holds),
    (Family::Lanes, Holds),
    (Family::SilentReads, Holds),
    (Family::SilentSurveys, Holds),
    (Family::Publish, Holds),
    (Family::Brief, Holds),
    (Family::Chains, Holds),
    (Family::Cuts, Holds),
    (Family::Moves, Holds),
    (Family::Twice, Holds),
    (Family::Both, Holds),
    (Family::Links, Holds),
    (Family::LinkedCopies, Holds),
    (Family::Late, Holds),
    (Family::Copies, Holds),
    (Family::RenameCopy, Holds),
    (Family::Compress, Holds),
    (Family::Rewrites, Holds),
    (Family::AtEnd, Holds),
    (Family::ReadErrors, Holds),
    (Family::StaleDescriptors, Holds),
    (Family::StaleSizes, Holds),
    (Family::Strangers, Holds),
    (
        Family::Share,
        Open(
            "three of twenty seeds, with a quota of few records, use less of it than a constant share of refusals leaves",
        ),
    ),
    (Family::Outage, Holds),
    (Family::Repeats, Holds),
    (Family::Stubborn, Holds),
    (Family::Blame, Holds),
    (Family::Reloads, Holds),
    (Family::RenamedSources, Holds),
    (Family::Clock, Holds),
    (Family::Alike, Holds),
    (Family::Growing, Holds),
    (Family::Truth, Holds),
    (Family::Removed, Holds),
    (Family::NoState, Holds),
    (Family::Halves, Holds),
    (Family::Thin, Holds),
    (Family::Named, Holds),
];

impl Family {
    /// As it is called where a seed is selected.
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.extend(letter.to_lowercase());
        }
        name
    }

    /// What is drawn before anything happens.
    pub fn draw(self, rng: &mut fastrand::Rng) -> Draw {
        let mut draw = self.base(rng);
        self.trouble_with_files(rng, &mut draw.climate);
        self.trouble_beside_files(rng, &mut draw);
        draw
    }

    /// Sources, streams and settings, without any trouble.
    fn base(self, rng: &mut fastrand::Rng) -> Draw {
        let layout = self.layout(rng);
        let mut settings = settings(&layout, rng);
        if self == Self::Named {
            settings.sources.truncate(1);
            settings.sources[0].route = by_path();
        }
        let climate =
            Climate { names: rng.usize(1..4), max_delay: Duration::from_millis(rng.u64(1..80)), ..CALM };
        Draw {
            climate,
            faults: vec![Faults::default(); layout.streams],
            layout,
            settings,
            shape: Shape::default(),
            has_births: true,
            descriptors: usize::MAX,
        }
    }

    fn layout(self, rng: &mut fastrand::Rng) -> Layout {
        const NAMES: [&str; STREAMS] = ["s0", "s1", "s2", "s3"];
        let (sources, streams) = match self {
            Self::Streams => (rng.usize(1..5), rng.usize(1..5)),
            Self::Isolation | Self::Silent | Self::SilentReads | Self::SilentSurveys => (3, 3),
            Self::Moves | Self::Twice => (2, 1),
            Self::Both => (2, 2),
            Self::Reloads | Self::ReadErrors => (2, 2),
            Self::Named => (3, 3),
            _ => (1, 1),
        };
        let streams = streams.min(sources);
        let shares_directory = matches!(self, Self::Twice | Self::Both);
        let directory =
            |place: usize| if shares_directory { "/s0".into() } else { format!("/{}", NAMES[place]) };
        let name = |place: usize| NAMES[if self == Self::Named { 0 } else { place }];
        let source = |place: usize| (name(place), PathBuf::from(directory(place)), place % streams);
        Layout { sources: (0..sources).map(source).collect(), streams }
    }

    fn trouble_with_files(self, rng: &mut fastrand::Rng, climate: &mut Climate) {
        let crash = if rng.bool() { 0.03 } else { 0.0 };
        climate.withdrawn = self.withdrawn();
        match self {
            Self::Streams => {
                (climate.rotate, climate.truncate, climate.remove) = (0.04, 0.02, 0.02);
                (climate.crash, climate.reload, climate.lose_hint) = (crash, 0.02, rng.f64());
                (climate.poison, climate.fail_save) = (0.01, 0.2);
            }
            Self::Named => {
                (climate.rotate, climate.truncate, climate.remove) = (0.04, 0.02, 0.02);
                (climate.crash, climate.lose_hint, climate.fail_save) = (crash, rng.f64(), 0.3);
            }
            Self::Lanes => {
                (climate.names, climate.deed, climate.rotate) = (10, 0.05, 0.04);
                (climate.truncate, climate.reload, climate.crash) = (0.01, 0.02, crash);
            }
            Self::Links => (climate.deed, climate.crash) = (0.2, 0.06),
            Self::Publish | Self::Brief | Self::Chains | Self::LinkedCopies => {
                (climate.deed, climate.crash) = (0.2, crash);
            }
            Self::Moves | Self::Copies | Self::RenameCopy | Self::Compress => {
                (climate.deed, climate.crash) = (0.1, crash);
            }
            Self::Cuts => {
                (climate.deed, climate.crash) = (0.4, crash);
                if rng.bool() {
                    (climate.fail_save, climate.lose_hint) = (0.3, rng.f64());
                }
            }
            Self::Late => (climate.rotate, climate.deed) = (0.05, 0.1),
            Self::Isolation
            | Self::Silent
            | Self::SilentReads
            | Self::SilentSurveys
            | Self::Rewrites
            | Self::Strangers => {
                climate.deed = 0.08;
            }
            Self::StaleDescriptors | Self::Clock | Self::Alike | Self::Growing => climate.deed = 0.05,
            Self::Twice | Self::Both => climate.rotate = 0.05,
            Self::AtEnd => (climate.crash, climate.names) = (0.05, 4),
            Self::ReadErrors => {
                (climate.refuse_open, climate.refuse_read) = (0.2, 0.2);
                (climate.rotate, climate.hide) = (0.04, 0.2);
            }
            Self::StaleSizes => {
                (climate.stale_size, climate.rotate, climate.truncate) = (0.5, 0.03, 0.03);
            }
            Self::Repeats | Self::Stubborn => climate.crash = 0.04,
            Self::Reloads => {
                (climate.reload, climate.rotate, climate.deed) = (0.05, 0.03, 0.05);
            }
            Self::RenamedSources => (climate.deed, climate.rotate) = (0.05, 0.05),
            Self::Truth => (climate.deed, climate.truncate, climate.remove) = (0.15, 0.03, 0.01),
            Self::Removed => (climate.names, climate.remove) = (12, 0.05),
            Self::Halves => (climate.names, climate.keep_halves) = (12, true),
            Self::Blame => (climate.poison, climate.stubborn) = (0.01, 0.002),
            Self::Share | Self::Outage | Self::NoState | Self::Thin => {}
        }
        if self == Self::Stubborn {
            climate.stubborn = 0.002;
        }
    }

    fn trouble_beside_files(self, rng: &mut fastrand::Rng, draw: &mut Draw) {
        let ill = [
            Illness::Down,
            Illness::Refusing,
            Illness::Rejecting,
            Illness::Throttling,
            Illness::Slow,
            Illness::Silent,
        ];
        match self {
            Self::Streams => draw.faults.iter_mut().for_each(|faults| {
                (faults.throttle, faults.server, faults.partial) = (rng.f64() / 3.0, 0.1, 0.1);
            }),
            Self::Isolation => {
                draw.faults[0].illness = Some(ill[rng.usize(0..ill.len())]);
                draw.settings.memory = MemorySettings { buffer: 1 << 20, buffer_per_file: 1 << 20 };
            }
            Self::Truth | Self::Copies => {
                draw.settings.memory =
                    MemorySettings { buffer: climate::SMALL_BUDGET_BYTES, buffer_per_file: 264 << 10 };
            }
            Self::Cuts => cut(rng, draw),
            Self::SilentReads => draw.climate.names = 8,
            Self::Lanes => spread(rng, draw),
            Self::Repeats => draw.faults[0].server = rng.f64() / 3.0,
            Self::Stubborn => draw.faults[0].stubborn = true,
            Self::Blame => {
                draw.faults[0].stubborn = true;
                draw.faults[0].illness = rng.bool().then_some(Illness::Rejecting);
                draw.settings.streams[0].retry.stuck_after = Duration::from_secs(rng.u64(5..120));
            }
            Self::Share => {
                let share = [0.05, 0.1, 0.3, 0.5][rng.usize(0..4)];
                let faults = &mut draw.faults[0];
                *(if rng.bool() { &mut faults.throttle } else { &mut faults.partial }) = share;
            }
            Self::Outage => draw.faults[0].illness = Some(Illness::Down),
            Self::AtEnd => draw.settings.sources[0].start_at = StartAt::End,
            Self::NoState | Self::Clock => {
                let envelope =
                    Envelope { host: "host".into(), fields: Vec::new(), merge: false, ..Envelope::default() };
                draw.settings.sources[0].format = Format::Json(envelope);
            }
            Self::Removed | Self::Halves => draw.descriptors = 4,
            Self::Thin => thin(rng, draw),
            _ => {}
        }
        if matches!(
            self,
            Self::Isolation | Self::Silent | Self::SilentReads | Self::SilentSurveys | Self::NoState
        ) {
            // What is well is not slow either.
            draw.settings.streams.iter_mut().for_each(|stream| {
                (stream.api, stream.order) = (Api::PutRecordBatch, Order::Free);
            });
        }
        if matches!(self, Self::Share | Self::Outage) {
            let stream = &mut draw.settings.streams[0];
            (stream.api, stream.order) = (Api::PutRecordBatch, Order::Free);
            stream.max_in_flight = some(32);
            let quota = &mut stream.quota;
            (quota.requests_per_second, quota.records_per_second) = (some(1000), some(300));
            quota.share = 1.0;
        }
    }

    /// Excuses that a family is built to do without.
    fn withdrawn(self) -> BTreeSet<Excuse> {
        let withdrawn: &[Excuse] = match self {
            Self::Copies => &[Excuse::CopyNotSought],
            _ => &[],
        };
        withdrawn.iter().copied().collect()
    }
}

/// The streams `stream0` and so on, by the directories `/s0` and so on; none of them is open.
fn by_path() -> Route {
    Route::ByPath(Box::new(ByPath {
        template: Template::parse("stream{place}").expect("a template"),
        path_fields: PathFields::try_new("^/s(?<place>[0-9])/").expect("an expression"),
        allowed: Vec::new(),
        default: None,
        max_streams: STREAMS,
        open: Vec::new(),
        is_full: false,
    }))
}

/// Two or three delivery streams, of which the last may be on standby.
fn spread(rng: &mut fastrand::Rng, draw: &mut Draw) {
    let standby = rng.bool();
    let names = if standby || rng.bool() { &["a", "b", "c"][..] } else { &["a", "b"] };
    let lane = |name: &&str| LaneSettings {
        delivery_stream: (*name).into(),
        region: None,
        quota: None,
        is_standby: standby && *name == "c",
        is_used: true,
    };
    let after = Duration::from_millis(rng.u64(500..5_000));
    draw.settings.streams[0].spread = Spread {
        lanes: names.iter().map(lane).collect(),
        salt: "host".into(),
        spread_after: Some(after),
        failover_after: standby.then_some(2 * after),
    };
    draw.faults = vec![Faults::default(); names.len()];
}

/// Lines that belong together, or parts of lines, in front of a service that fails now and then.
fn cut(rng: &mut fastrand::Rng, draw: &mut Draw) {
    let runtime = [None, Some(Runtime::Cri), Some(Runtime::Docker)][rng.usize(0..3)];
    let multiline = (runtime.is_none() || rng.bool()).then(|| Multiline {
        grouping: Grouping::Start(StartPattern::try_new("^[0-9]").expect("a regular expression")),
        max_lines: 500,
        timeout: Duration::from_secs(2),
    });
    let oversize = [Oversize::Split, Oversize::DeadLetter][rng.usize(0..2)];
    draw.shape = Shape { runtime, multiline, oversize, longest: [700, 5_000][rng.usize(0..2)] };
    draw.shape.apply(&mut draw.settings);
    if rng.bool() {
        let envelope =
            Envelope { host: "host".into(), fields: Vec::new(), merge: false, ..Envelope::default() };
        draw.settings.sources[0].format = Format::Json(envelope);
    }
    let faults = &mut draw.faults[0];
    (faults.server, faults.partial) = (rng.f64() / 4.0, rng.f64() / 4.0);
}

/// A link of 20 to 300 kB a second, in front of a service that takes what comes; everything is as by default.
fn thin(rng: &mut fastrand::Rng, draw: &mut Draw) {
    // Half of them carry what may be under way by default later than a request may take.
    let most = if rng.bool() { 45_000 } else { 300_000 };
    draw.climate.bytes_per_second = Some(rng.u32(20_000..most).into());
    draw.climate.max_delay = Duration::from_millis(rng.u64(1..200));
    let stream = &mut draw.settings.streams[0];
    (stream.order, stream.max_in_flight, stream.linger) = (Order::Free, some(64), Duration::from_millis(5));
    draw.settings.checkpoint.max_bytes = 1 << 20;
    draw.settings.memory = MemorySettings { buffer: 64 << 20, buffer_per_file: 8 << 20 };
}

fn some(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("above zero")
}

/// The settings of all sources and streams; quotas are ample.
fn settings(layout: &Layout, rng: &mut fastrand::Rng) -> Settings {
    let mut settings = climate::settings(rng);
    settings.sources =
        layout.sources.iter().map(|(name, _, stream)| climate::source(name, *stream)).collect();
    let one = settings.streams.remove(0);
    for place in 0..layout.streams {
        let mut stream = one.clone();
        stream.name = format!("stream{place}").into();
        stream.packing = Packing::Off;
        stream.quota.requests_per_second = some(rng.u32(1000..3000));
        stream.quota.records_per_second = some(rng.u32(2000..6000));
        stream.quota.bytes_per_second = 8 << 20;
        stream.quota.adaptive = if rng.bool() { Adaptive::On } else { Adaptive::Off };
        stream.max_in_flight = some(rng.u32(8..65));
        if stream.api == Api::PutRecord {
            stream.order = Order::Free;
        }
        settings.streams.push(stream);
    }
    settings
}
