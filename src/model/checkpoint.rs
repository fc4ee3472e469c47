//! What is kept on disk: positions, and records that the service will never take.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::audit::AuditBlock;
use super::content::Digest;
use super::identity::{Fingerprint, Identity, Incarnation, Origin, Seen, Window};
use super::offset::Offset;
use super::said::Unmade;
use super::settings::StreamSettings;
use super::settled::Settled;

/// How far one incarnation of a file has been settled, and how to know that incarnation again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub incarnation: Incarnation,
    /// The stream as the configuration names it; with the file it makes the key: a file goes into a stream once.
    pub stream: Arc<str>,
    /// Where the file was last seen: for people, and for looking beside it. Never an identity.
    pub path: Arc<Path>,
    /// The name behind links, where it is another than `path`: what a rotator does, it does beside this one. The same as
    /// `path` where that is a name to which the file was renamed, and which no source matched.
    pub target: Option<Arc<Path>>,
    pub identity: Identity,
    pub origin: Origin,
    /// When the file was seen; `None` in what versions before 3 wrote.
    pub seen: Option<Seen>,
    /// How many bytes at the beginning were there at the first start and are not read, because the source starts at the
    /// end: settled, and not shipped.
    pub skipped_bytes: u64,
    pub fingerprint: Fingerprint,
    /// Every byte before it is settled.
    pub offset: Offset,
    /// The bytes just before `offset`.
    pub window: Window,
    /// What is settled beyond `offset`.
    pub settled: Settled,
    /// How far the file was known to reach, in bytes, where that is further than `offset`; otherwise 0.
    pub seen_bytes: u64,
    /// A digest of what comes before `offset`; `None` where the beginning was not read, and in what versions before 4
    /// wrote.
    pub proof: Option<Proof>,
}

/// A digest over the file's content from its first byte to `to`, a position at or before the frontier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Bytes covered, from the first of the file.
    pub to: u64,
    pub digest: [u8; 16],
}

impl From<Digest> for Proof {
    fn from(digest: Digest) -> Self {
        Self { to: digest.to(), digest: digest.hash().to_le_bytes() }
    }
}

impl Checkpoint {
    /// The digest that goes on from the offset.
    pub fn digest(&self) -> Option<Digest> {
        self.proof.and_then(|proof| Digest::from_parts(proof.to, u128::from_le_bytes(proof.digest)))
    }

    /// How many bytes were seen in the file and are not settled: lost, if the file is.
    pub fn unread_bytes(&self) -> u64 {
        let seen = self.seen_bytes.saturating_sub(self.offset.bytes());
        let settled: u64 = self.settled.ranges().iter().map(|range| range.len()).sum();
        seen.saturating_sub(settled)
    }

    /// Whether the file had been renamed to a name that no source matched: `path` is that one.
    pub fn has_lost_its_name(&self) -> bool {
        self.target.as_ref() == Some(&self.path)
    }

    /// The name in the directory that holds the file.
    pub fn real_path(&self) -> &Arc<Path> {
        self.target.as_ref().unwrap_or(&self.path)
    }
}

/// A record that the service refuses for what it is, or what no record was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub stream: Arc<str>,
    pub source: Arc<str>,
    pub path: Arc<Path>,
    /// The name behind links, where it is another than `path`.
    pub target: Option<Arc<Path>>,
    /// Where the record's line begins in its file.
    pub offset: Offset,
    /// The service's error code.
    pub code: Arc<str>,
    /// The service's message.
    pub message: Arc<str>,
    /// The record as it was sent, or what no record was made of.
    pub data: Bytes,
    /// What it takes to make records of the data; `None` when it is a record.
    pub unmade: Option<Box<Unmade>>,
}

/// When a source was looked at for the first time, for a stream: what comes under its names since is new, also to a later
/// process, and though nothing was found then.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FirstLook {
    /// The stream as the configuration names it, fields of paths included.
    pub stream: Arc<str>,
    pub source: Arc<str>,
    /// By the wall clock, in nanoseconds since 1970.
    pub nanos: i64,
}

/// What one transaction makes durable, all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Save {
    /// Inserted, or replaced by incarnation.
    pub checkpoints: Vec<Checkpoint>,
    /// Incarnations that are over: read to the end, settled and gone.
    pub forgotten: Vec<Incarnation>,
    pub dead_letters: Vec<DeadLetter>,
    pub looks: Vec<FirstLook>,
    /// RecordIds of what the checkpoints pass, and no earlier ones passed.
    pub audit: Vec<Arc<AuditBlock>>,
    /// No start gives an incarnation a number below this one any more.
    pub reserved: u64,
    /// The parts of rates that are had, in place of those that were durable; `None` where nobody knows of any.
    pub parts: Option<Vec<KnownPart>>,
}

/// Which part of the rate of a delivery stream refusals have left, because others send to it, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPart {
    /// Which stream sends to it.
    pub stream: Arc<str>,
    pub delivery_stream: Arc<str>,
    /// Empty for the region of the process.
    pub region: Arc<str>,
    /// Above 0, and below a million.
    pub millionths: u32,
}

const MILLION: f64 = 1e6;

/// From here on it is as good as all: what comes back after a refusal comes nearer to 1, and never to it.
const AS_GOOD_AS_ALL: f64 = 0.99;

impl KnownPart {
    /// What a stream has of the delivery stream in a place; `None` where that is as good as all.
    pub fn of(stream: &StreamSettings, place: usize, part: f64) -> Option<Self> {
        let lane = &stream.spread.lanes[place];
        let millionths = (part * MILLION).clamp(1.0, MILLION) as u32;
        (part < AS_GOOD_AS_ALL).then(|| Self {
            stream: Arc::clone(&stream.name),
            delivery_stream: Arc::clone(&lane.delivery_stream),
            region: lane.region.clone().unwrap_or_default(),
            millionths,
        })
    }

    /// Whether it is of the delivery stream that a stream has in a place.
    pub fn is_of(&self, stream: &StreamSettings, place: usize) -> bool {
        let lane = &stream.spread.lanes[place];
        self.stream == stream.name
            && self.delivery_stream == lane.delivery_stream
            && *self.region == *lane.region.as_deref().unwrap_or_default()
    }

    /// Above 0, and below 1.
    pub fn part(&self) -> f64 {
        f64::from(self.millionths) / MILLION
    }
}

impl Save {
    pub fn is_empty(&self) -> bool {
        self.checkpoints.is_empty()
            && self.forgotten.is_empty()
            && self.dead_letters.is_empty()
            && self.looks.is_empty()
            && self.audit.is_empty()
    }
}
