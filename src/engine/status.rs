//! How things stand, as one value: for `/status`, readiness and the summary of `run --once`.
//!
//! Knows how to read the engine's state. Does not change it, and does not format.

use std::path::Path;
use std::sync::Arc;

use crate::model::identity::Identity;
use crate::model::offset::Offset;
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::model::verdict::Retry;
use crate::rules::quota::Use;

use super::Engine;
use super::port::Watching;
use super::report::Counts;
use super::tail::{Name, Phase, Tail};

/// Everything an operator may ask about.
#[derive(Clone, Debug)]
pub struct Status {
    pub at: Instant,
    pub files: Vec<FileStatus>,
    /// Files that cannot be opened, and why.
    pub unreadable: Vec<(SourceId, Arc<Path>, String)>,
    pub streams: Vec<StreamStatus>,
    /// What the memory budget is charged, in bytes.
    pub buffered_bytes: u64,
    pub watching: Watching,
    /// Whether every source has been looked at once, and what was found is open.
    pub opened: bool,
    /// Why progress is not durable, when it is not.
    pub not_saved: Option<String>,
    /// Since when the oldest progress that is not durable has waited.
    pub unsaved_since: Option<Instant>,
    /// Data of the dead letters, in bytes.
    pub dead_letter_bytes: u64,
    /// Files that wait because there is no room for their dead letters.
    pub stuck: Vec<(SourceId, Arc<Path>)>,
    pub counts: Counts,
}

/// One file that is followed.
#[derive(Clone, Debug)]
pub struct FileStatus {
    pub source: SourceId,
    pub path: Arc<Path>,
    pub identity: Identity,
    pub state: FileState,
    /// Size in bytes when last looked at.
    pub size: u64,
    /// Where the next line begins.
    pub read: Offset,
    /// Everything before it is acknowledged.
    pub acknowledged: Offset,
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
    /// It was renamed or removed, and is read to its end.
    Draining,
    /// Its content is gone; what was read of it is still under way.
    Truncated,
}

/// One stream.
#[derive(Clone, Debug)]
pub struct StreamStatus {
    pub stream: StreamId,
    pub in_flight: usize,
    /// Records read and not yet sent.
    pub waiting: usize,
    /// What the last second used of the full quotas: 0 to 1 each.
    pub used: Use,
    /// What throttling left of the rate.
    pub factor: f64,
    /// Why the stream is held back, when it is, and since when.
    pub held: Option<(Retry, Instant)>,
    pub last_error: Option<(Instant, Retry)>,
    /// Whether lines wait for the quota of requests alone, so that batches would carry them.
    pub batches_would_help: bool,
}

impl Engine {
    /// Everything as it stands now.
    pub fn status(&mut self, now: Instant) -> Status {
        let is_opening = |tail: &Tail| matches!(tail.phase, Phase::Opening { .. } | Phase::FindingEnd);
        self.opened |= self.surveys.surveyed() && !self.tails.values().any(is_opening);
        let followed = self.tails.values().filter_map(|tail| {
            let incarnation = tail.incarnation()?;
            let state = match tail.name {
                Name::Matched => FileState::Followed,
                Name::Lost => FileState::Draining,
            };
            Some((incarnation, state))
        });
        let mut states: std::collections::BTreeMap<_, _> = followed.collect();
        let files = self
            .lives
            .values()
            .map(|life| FileStatus {
                source: life.source,
                path: Arc::clone(&life.path),
                identity: life.identity,
                state: states.remove(&life.incarnation).unwrap_or(FileState::Truncated),
                size: life.seen_bytes,
                read: life.position(),
                acknowledged: life.ledger.frontier(),
                durable: life.durable,
                behind_since: life.seen.oldest(),
            })
            .collect();
        let streams = self
            .streams
            .iter_mut()
            .enumerate()
            .map(|(index, stream)| StreamStatus {
                stream: StreamId(index),
                in_flight: stream.in_flight,
                waiting: stream.waiting(),
                used: stream.quota.used(now),
                factor: stream.quota.factor(),
                held: stream.circuit.open().map(|open| (open.why.clone(), open.since)),
                last_error: self.last_errors[index].clone(),
                batches_would_help: stream.bottleneck.lasts(now),
            })
            .collect();
        let unreadable = self
            .unreadable
            .iter()
            .map(|((source, path), why)| (*source, Arc::clone(path), why.clone()))
            .collect();
        let stuck = self.lives.values().filter(|life| life.stuck > 0);
        Status {
            at: now,
            files,
            unreadable,
            streams,
            buffered_bytes: self.buffered,
            watching: self.surveys.watching,
            opened: self.opened,
            not_saved: self.not_saved.clone(),
            dead_letter_bytes: self.dead_letter_bytes + self.unsaved_dead_letter_bytes,
            stuck: stuck.map(|life| (life.source, Arc::clone(&life.path))).collect(),
            unsaved_since: self.pace.unsaved_since(),
            counts: self.counts.clone(),
        }
    }
}
