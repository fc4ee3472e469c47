//! Files, incarnations and lines that the tests of the parts are made of.

pub(super) mod disk;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Fingerprint, Identity, Incarnation, Seen, Window};
use crate::model::limits::RECORD_BYTES;
use crate::model::offset::{Offset, Span};
use crate::model::record::Backing;
use crate::model::route::Route;
use crate::model::settings::{
    Adaptive, Api, Audit, CheckpointSettings, Encryption, Format, LineFilter, MemorySettings, Newline,
    OnDrain, Order, Oversize, Packing, QuotaSettings, RetrySettings, Settings, SourceId, SourceSettings,
    Spread, StartAt, StreamId, StreamSettings, Until,
};
use crate::model::settled::Settled;
use crate::model::time::Instant;
use crate::rules::history::{Head, History};

use super::incarnation::{IncarnationState, Whose};
use super::shaping::{Cut, Piece, Shaped};

pub(super) fn at(seconds: u64) -> Instant {
    Instant::at(Duration::from_secs(seconds))
}

/// A file on the first device, with a birth time.
pub(super) fn identity(inode: u64) -> Identity {
    Identity { device: 1, inode, birth_nanos: Some(1) }
}

pub(super) fn path(name: &str) -> Arc<Path> {
    Path::new("/log").join(name).into()
}

pub(super) fn stream_name(stream: usize) -> Arc<str> {
    format!("stream-{stream}").into()
}

/// A file of the first source, in a stream, under a name of its own.
pub(super) fn whose(stream: usize, inode: u64) -> Whose {
    let identity = identity(inode);
    Whose {
        source: SourceId(0),
        stream: StreamId(stream),
        stream_name: stream_name(stream),
        path: path(&format!("{inode}.log")),
        target: None,
        identity,
        origin: identity.into(),
        seen: Seen { first_nanos: 0, last_nanos: 0, owner: 0 },
    }
}

/// An incarnation of which nothing was read.
pub(super) fn beginning(incarnation: u64, whose: Whose) -> IncarnationState {
    IncarnationState::new(Incarnation(incarnation), whose, History::beginning(), Head::default(), None)
}

/// A checkpoint of the same file, of which `offset` bytes were settled.
pub(super) fn checkpoint(incarnation: u64, whose: Whose, offset: u64) -> Checkpoint {
    Checkpoint {
        incarnation: Incarnation(incarnation),
        stream: whose.stream_name,
        path: whose.path,
        target: whose.target,
        identity: whose.identity,
        origin: whose.origin,
        seen: Some(whose.seen),
        skipped_bytes: 0,
        fingerprint: Fingerprint::default(),
        offset: Offset::new(offset),
        window: Window::default(),
        settled: Settled::default(),
        seen_bytes: 0,
        proof: None,
    }
}

/// What `lines` come to, each by itself: what becomes of each is what `piece` says.
pub(super) fn shaped(position: Offset, lines: &[&str], piece: impl Fn(Bytes) -> Piece) -> (Shaped, Bytes) {
    let mut start = position;
    let mut pieces = Vec::new();
    for line in lines {
        let end = start.plus(line.len() as u64);
        pieces.push((Span::new(start, end), piece(Bytes::copy_from_slice(line.as_bytes()))));
        start = end;
    }
    let kept = Bytes::from(lines.concat());
    (Shaped { pieces, bytes: kept.len(), ..Shaped::nothing(None, Cut::default()) }, kept)
}

/// A slice of what was read is sent.
pub(super) fn send(data: Bytes) -> Piece {
    Piece::Send(data, Backing::Read)
}

/// Takes in lines that are to be sent, up to the end of the file. Returns how many became ready.
pub(super) fn read(state: &mut IncarnationState, lines: &[&str], now: Instant) -> usize {
    let (shaped, kept) = shaped(state.position(), lines, send);
    let end = state.position().plus(kept.len() as u64);
    let (change, dead) = state.take_in(shaped, kept, (end, true), now);
    assert!(dead.is_empty());
    change.fresh
}

/// So many sources, each into a stream of its own, with everything by default.
pub(super) fn settings(sources: usize) -> Settings {
    let some = |n: u32| std::num::NonZeroU32::new(n).expect("above zero");
    let source = |place: usize| SourceSettings {
        name: format!("source-{place}").into(),
        route: Route::To(StreamId(place)),
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
    };
    let stream = |place: usize| StreamSettings {
        name: stream_name(place),
        api: Api::Auto,
        linger: Duration::ZERO,
        packing: Packing::Off,
        max_in_flight: some(64),
        order: Order::Free,
        quota: QuotaSettings {
            requests_per_second: some(2_000),
            records_per_second: some(5_000),
            bytes_per_second: 5_000_000,
            share: 0.9,
            adaptive: Adaptive::On,
        },
        spread: Spread::to_one(stream_name(place)),
        retry: RetrySettings {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(30),
            stuck_after: Duration::from_secs(600),
        },
        encryption: Encryption::Optional,
        audit: Audit::Off,
    };
    Settings {
        sources: (0..sources).map(source).collect(),
        streams: (0..sources).map(stream).collect(),
        checkpoint: CheckpointSettings { interval: Duration::from_secs(1), max_bytes: 1 << 20 },
        memory: MemorySettings { buffer: 64 << 20, buffer_per_file: 8 << 20 },
        files_at_once: std::num::NonZeroUsize::MAX,
        checkpoints_at_once: std::num::NonZeroUsize::MAX,
        until: Until::Drained,
        on_drain: OnDrain::KeepPartialLines,
    }
}
