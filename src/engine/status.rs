//! How things stand, as one value: for `/status`, readiness and the summary of `run --once`.
//!
//! Knows how to read the engine's state. Does not change it, and does not format.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::model::identity::Identity;
use crate::model::offset::Offset;
use crate::model::settings::{LaneId, SourceId, StreamId};
use crate::model::time::Instant;
use crate::model::verdict::Retry;
use crate::rules::meter::Amount;
use crate::rules::quota::Use;
use crate::rules::spread::Standing;

use super::Engine;
use super::files::file::Name;
use super::incarnation::IncarnationState;
use super::port::Watching;
use super::report::Counts;
use super::unnamed::LATE;

/// How many files that cannot be opened are told by name.
const MAX_UNREADABLE: usize = 1_000;

/// Files that cannot be opened: whoever writes into a log directory chooses how many.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// With the source that matches each, and why.
    pub named: Vec<(SourceId, Arc<Path>, String)>,
    /// How many more there are.
    pub beyond: usize,
}

impl Unreadable {
    pub fn count(&self) -> usize {
        self.named.len() + self.beyond
    }
}

/// What the sources' paths lead to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Matched {
    /// Names that the sources matched when they were last looked at.
    pub files: usize,
    /// Since when no file has matched any source, all of them having been looked at.
    pub none_since: Option<Instant>,
}

/// Everything an operator may ask about.
#[derive(Clone, Debug)]
pub struct Status {
    pub at: Instant,
    pub files: Followed,
    /// Files that cannot be opened, and why.
    pub unreadable: Unreadable,
    pub streams: Vec<StreamStatus>,
    pub matched: Matched,
    /// Sources whose file systems do not answer.
    pub silent: Vec<SourceId>,
    /// What the memory budget is charged, in bytes.
    pub buffered_bytes: u64,
    pub watching: Watching,
    /// Whether every source has been looked at once, and what was found is open.
    pub opened: bool,
    /// Why progress is not durable, when it is not.
    pub not_saved: Option<String>,
    /// Of so many files no line is sent for as long as nothing can be saved.
    pub waiting_for_a_save: usize,
    /// Since when the oldest progress that is not durable has waited.
    pub unsaved_since: Option<Instant>,
    /// Data of the dead letters, in bytes.
    pub dead_letter_bytes: u64,
    /// Files that wait because there is no room for their dead letters.
    pub stuck: Vec<(SourceId, Arc<Path>)>,
    pub counts: Counts,
}

/// How much is told of files: each of them is a row, and there may be a hundred thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Sums of the files of each source and stream.
    Sums,
    /// Sums, and each file.
    Files,
}

/// The files that are followed.
#[derive(Clone, Debug)]
pub struct Followed {
    pub detail: Detail,
    /// Each file, in the order of its incarnation; none where only sums were asked for.
    pub listed: Vec<FileStatus>,
    /// In the order of the settings.
    pub of_sources: Vec<FileSums>,
    /// In the order of the settings.
    pub of_streams: Vec<FileSums>,
}

impl Followed {
    /// How many files there are, listed or not.
    pub fn count(&self) -> usize {
        self.of_sources.iter().map(|of_source| of_source.files).sum()
    }
}

/// Files of one source, or of one stream, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSums {
    pub files: usize,
    /// Bytes that were seen in the files and are not acknowledged.
    pub behind_bytes: u64,
    /// When the oldest line that is not acknowledged was first seen to be there.
    pub behind_since: Option<Instant>,
}

impl FileSums {
    fn add(&mut self, state: &IncarnationState) {
        self.files += 1;
        let reach = state.seen_bytes().max(state.position().bytes());
        self.behind_bytes += reach.saturating_sub(state.frontier().bytes());
        self.behind_since = self.behind_since.into_iter().chain(state.behind_since()).min();
    }
}

/// One file that is followed.
#[derive(Clone, Debug)]
pub struct FileStatus {
    pub source: SourceId,
    /// Where its lines go.
    pub stream: StreamId,
    pub path: Arc<Path>,
    pub identity: Identity,
    pub state: FileState,
    /// Size in bytes when last looked at.
    pub size: u64,
    /// Where the next line begins.
    pub read: Offset,
    /// Everything before it is acknowledged.
    pub acknowledged: Offset,
    /// Bytes that were read and are not settled.
    pub unsettled_bytes: u64,
    /// Everything before it is acknowledged, and that is durable.
    pub durable: Option<Offset>,
    /// When the oldest line that is not acknowledged was first seen to be there.
    pub behind_since: Option<Instant>,
}

/// What a file is to its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// Some source matches its name.
    Followed,
    /// Renamed or removed, and read to its end.
    Draining,
    /// Its content is gone; what was read of it is still under way.
    Truncated,
}

/// One stream.
#[derive(Clone, Debug)]
pub struct StreamStatus {
    pub stream: StreamId,
    pub in_flight: usize,
    /// Records read and in no request that is under way: those that wait to go again among them.
    pub waiting: usize,
    /// What the last second used of the full quotas, 0 to 1 each: of several lanes, what the fullest did.
    pub used: Use,
    /// What throttling left of the rate: of several lanes, where it left the least.
    pub factor: f64,
    /// Why every lane is held back, when it is, and since when.
    pub held: Option<(Retry, Instant)>,
    pub last_error: Option<(Instant, Retry)>,
    /// What left in the last second.
    pub sent: Amount,
    /// When the service took a record last.
    pub delivered_at: Option<Instant>,
    /// When the service said last that it was too much.
    pub throttled_at: Option<Instant>,
    /// Files whose next record is refused, and has no room among the dead letters.
    pub blocked_files: usize,
    /// Whether lines wait for the quota of requests alone, so that batches would carry them.
    pub batches_would_help: bool,
    /// How many records fail alone, and have for long.
    pub stuck_records: usize,
    /// Some of them.
    pub stuck: Vec<StuckRecord>,
    /// Its lanes, in the order of the settings.
    pub lanes: Vec<LaneStatus>,
}

/// One lane of a stream.
#[derive(Clone, Debug)]
pub struct LaneStatus {
    pub lane: LaneId,
    /// Whether the lane is still configured.
    pub is_used: bool,
    pub standing: Standing,
    /// How many files the lane carries.
    pub files: usize,
    /// How many of them have bytes that are not acknowledged.
    pub late_files: usize,
    pub in_flight: usize,
    /// Records read and in no request that is under way: those that wait to go again among them.
    pub waiting: usize,
    /// What the last second used of the full quotas: 0 to 1 each.
    pub used: Use,
    /// What throttling left of the rate.
    pub factor: f64,
    /// Why the lane is held back, when it is, and since when.
    pub held: Option<(Retry, Instant)>,
    pub last_error: Option<(Instant, Retry)>,
    /// What left in the last second.
    pub sent: Amount,
}

/// A record that fails alone, though its stream takes others or because of what it is.
#[derive(Clone, Debug)]
pub struct StuckRecord {
    pub path: Arc<Path>,
    /// Where its line begins.
    pub offset: Offset,
    /// How it failed last.
    pub why: Retry,
    /// When it failed first.
    pub since: Instant,
}

impl Engine {
    /// Everything as it stands now, each file among it.
    pub fn status(&mut self, now: Instant) -> Status {
        self.status_in(Detail::Files, now)
    }

    /// What has been counted, and what throttling left of the rate of each stream. What this costs does not depend on files.
    pub fn counted(&self) -> (&Counts, Vec<f64>) {
        (&self.counts, self.streams.factors())
    }

    /// Everything as it stands now.
    pub fn status_in(&mut self, detail: Detail, now: Instant) -> Status {
        let unreadable = self.unwanted.told.iter().map(|((source, path), why)| (*source, path, why.as_str()));
        let late = self.files.iter().filter(|(_, file)| file.state.is_late());
        let late = late.map(|(_, file)| (file.source, &file.path, LATE));
        let mut unreadable = unreadable.chain(late);
        let lives = &self.lives;
        let path_of = |incarnation| Arc::clone(&lives.on_its_way(incarnation).whose().path);
        let mut streams = self.streams.status(path_of, now);
        let (files, stuck) = self.followed_in(detail, &mut streams);
        Status {
            at: now,
            files,
            unreadable: Unreadable {
                named: unreadable
                    .by_ref()
                    .take(MAX_UNREADABLE)
                    .map(|(source, path, why)| (source, Arc::clone(path), why.to_owned()))
                    .collect(),
                beyond: unreadable.count(),
            },
            matched: Matched {
                files: self.surveys.matched_files(),
                none_since: self.surveys.matchless_since(),
            },
            silent: self.surveys.silent(),
            streams,
            buffered_bytes: self.intake.buffered(),
            watching: self.surveys.watching(),
            opened: self.startup.is_over(),
            waiting_for_a_save: self.saves.awaiting_at_all_events(),
            not_saved: self.saves.not_saved().map(|why| why.as_ref().to_owned()),
            unsaved_since: self.saves.unsaved_since(),
            dead_letter_bytes: self.saves.all_dead_letter_bytes(),
            stuck,
            counts: self.counts.clone(),
        }
    }

    /// The files that are followed, and those that wait because there is no room for their dead letters; counts them where
    /// they belong in `streams`.
    fn followed_in(
        &self,
        detail: Detail,
        streams: &mut [StreamStatus],
    ) -> (Followed, Vec<(SourceId, Arc<Path>)>) {
        let mut of_sources = vec![FileSums::default(); self.settings.sources.len()];
        let mut of_streams = vec![FileSums::default(); self.settings.streams.len()];
        let mut stuck = Vec::new();
        for state in self.lives.states() {
            let whose = state.whose();
            of_sources[whose.source.0].add(state);
            of_streams[state.stream().0].add(state);
            let lane = self.streams.lane_for(state);
            let stream = &mut streams[lane.stream.0];
            let lane = &mut stream.lanes[lane.place];
            lane.files += 1;
            lane.late_files += usize::from(!state.is_settled() || state.unread_bytes() > 0);
            if state.is_blocked() {
                stream.blocked_files += 1;
                stuck.push((whose.source, Arc::clone(&whose.path)));
            }
        }
        let listed = match detail {
            Detail::Sums => Vec::new(),
            Detail::Files => self.file_status(),
        };
        (Followed { detail, listed, of_sources, of_streams }, stuck)
    }

    fn file_status(&self) -> Vec<FileStatus> {
        let followed = self.files.iter().filter_map(|(_, file)| {
            let state = match file.name {
                Name::Matched => FileState::Followed,
                Name::Lost => FileState::Draining,
            };
            Some((file.incarnation()?, state))
        });
        let states: HashMap<_, _> = followed.collect();
        let status = self.lives.states().map(|state| {
            let whose = state.whose();
            FileStatus {
                source: whose.source,
                stream: state.stream(),
                path: Arc::clone(&whose.path),
                identity: whose.identity,
                state: states.get(&state.incarnation()).copied().unwrap_or(FileState::Truncated),
                size: state.seen_bytes(),
                read: state.position(),
                acknowledged: state.frontier(),
                unsettled_bytes: state.unsettled_bytes(),
                durable: state.durable(),
                behind_since: state.behind_since(),
            }
        });
        status.collect()
    }
}
