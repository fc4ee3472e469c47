//! The wording of the log: one line for one report of the engine.
//!
//! Knows the words, and which reports come so often that only the first of a minute is written out. Does not know
//! why something is reported: that is the engine's. Called by the driver.

mod outages;

use std::path::Path;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::engine::report::{Loss, Report, Start};
use crate::model::offset::Offset;
use crate::model::settings::{LaneId, SourceId, StreamId};
use crate::model::time::Instant;
use crate::model::verdict::Retry;
use crate::rules::repeats::Repeats;
use crate::shell::files::problems::Problem;
use crate::shell::http::advice;
use crate::shell::http::snapshot::About;

use outages::{Outages, Repeated};

/// How many lines about names that are not read are written for each source in a minute, and about files otherwise.
const UNREAD_AT_ONCE: u64 = 20;
const FILES_AT_ONCE: u64 = 200;

/// The reports that were written out within the last minute, where a flood of them must not become one of log lines.
#[derive(Debug)]
pub(super) struct Log {
    /// Names that are not read.
    unread: Repeats<SourceId>,
    /// What becomes of files that are.
    files: Repeats<SourceId>,
    dead_letters: Repeats<StreamId>,
    stuck_records: Repeats<StreamId>,
    shortened: Repeats<SourceId>,
    outages: Outages,
    /// What was told to be missing, so that it is told once for all streams.
    missing: Vec<Retry>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            unread: Repeats::at_once(UNREAD_AT_ONCE),
            files: Repeats::at_once(FILES_AT_ONCE),
            dead_letters: Repeats::default(),
            stuck_records: Repeats::default(),
            shortened: Repeats::default(),
            outages: Outages::default(),
            missing: Vec::new(),
        }
    }
}

impl Log {
    /// Writes that names match and are not read, of which so many more are only counted.
    pub(super) fn problems(
        &mut self,
        source: SourceId,
        (problems, beyond): (Vec<Problem>, u64),
        about: &About,
        now: Instant,
    ) {
        for problem in problems {
            if self.unread.is_new(source, now) {
                let source = &*about.sources[problem.source.0];
                warn!(source, path = %problem.path.display(), reason = %problem.reason, "not read");
            }
        }
        self.unread.count(source, beyond, now);
    }

    /// Whether a line about a file is counted instead of written, because so many of its kind were written.
    fn is_one_of_many(&mut self, report: &Report, now: Instant) -> bool {
        match report {
            Report::Unreadable { source, .. } | Report::Skipped { source, .. } => {
                !self.unread.is_new(*source, now)
            }
            Report::Following { source, .. }
            | Report::Readable { source, .. }
            | Report::Rotated { source, .. }
            | Report::Closed { source, .. } => !self.files.is_new(*source, now),
            _ => false,
        }
    }

    /// Writes one line for `report`, or counts it for [`Log::tell_repeats`] when its like was written within the last minute.
    pub(super) fn tell(&mut self, report: &Report, about: &About, now: Instant) {
        let source = |source: &SourceId| &*about.sources[source.0];
        let stream = |stream: &StreamId| &*about.streams[stream.0].name;
        if self.is_one_of_many(report, now) {
            return;
        }
        match report {
            Report::Following { source: of, path, at, why } => following(source(of), path, *at, *why),
            Report::Unreadable { source: of, path, why } => {
                warn!(source = source(of), path = %path.display(), why, "cannot be read; trying again");
            }
            Report::Skipped { source: of, path, why } => {
                warn!(source = source(of), path = %path.display(), reason = why, "not read");
            }
            Report::Readable { source: of, path } => {
                info!(source = source(of), path = %path.display(), "can be read again");
            }
            Report::Rotated { source: of, from, to } => rotated(source(of), from, to.as_deref()),
            Report::Truncated { source: of, path, read } => truncated(source(of), path, *read),
            Report::Copied { source: of, path, of: original } => copied(source(of), path, original),
            Report::Abandoned { source: of, path, from, bytes, why } => {
                abandoned(source(of), path, *from, *bytes, *why);
            }
            Report::Gone { source: of, path, at } => gone(source(of), path, *at),
            Report::LeftOut { stream: of, path, at, unread } => left_out(stream(of), path, *at, *unread),
            Report::FewDescriptors { most } => few_descriptors(*most),
            Report::Closed { source: of, path } => {
                info!(source = source(of), path = %path.display(), "read to its end and delivered");
            }
            Report::Held { lane, .. }
            | Report::StillHeld { lane, .. }
            | Report::Stopped { lane, .. }
            | Report::Resumed { lane, .. }
            | Report::HandedOn { lane, .. }
            | Report::TakenBack { lane, .. } => self.of_lane(report, *lane, about, now),
            Report::BatchesWouldHelp { stream: of } => batches_would_help(stream(of)),
            Report::DeadLettered { stream: of, path, offset, why } => {
                if self.dead_letters.is_new(*of, now) {
                    dead_lettered(stream(of), path, *offset, why);
                }
            }
            Report::RecordStuck { stream: of, path, offset, why, after } => {
                if self.stuck_records.is_new(*of, now) {
                    record_stuck(stream(of), path, *offset, why, *after);
                }
            }
            Report::Shortened { source: of, path, messages } => {
                if self.shortened.is_new(*of, now) {
                    shortened(source(of), path, *messages);
                }
            }
            Report::Stuck { source: of, path, offset, why } => stuck(source(of), path, *offset, why),
            Report::Matchless { source: of } => matchless(source(of)),
            Report::Silent { source: of } => silent(source(of)),
            Report::Speaks { source: of } => info!(source = source(of), "the file system answers again"),
            Report::NotSaved { why } => error!(why, "progress cannot be saved; delivering goes on"),
            Report::SavedAgain => info!("progress is saved again"),
        }
    }

    /// Writes what a report says of a lane, unless it is of an outage that is counted.
    fn of_lane(&mut self, report: &Report, lane: LaneId, about: &About, now: Instant) {
        if self.outages.is_told(report, now) {
            of_lane(report, lane, about);
        }
    }

    /// Writes how many reports were counted instead of written, once their minute is over.
    pub(super) fn tell_repeats(&mut self, about: &About, now: Instant) {
        for (stream, count) in self.dead_letters.due(now) {
            let stream = &*about.streams[stream.0].name;
            error!(stream, count, "more records were put aside as dead letters");
        }
        for Repeated { lane, count, held: now_held } in self.outages.due(now) {
            let at = (&*about.streams[lane.stream.0].name, about.delivery_stream_beside_others(lane));
            if count > 0 {
                held_again(at, count);
            }
            if let Some(why) = now_held {
                held(at, &why);
            }
        }
        for (stream, count) in self.stuck_records.due(now) {
            let stream = &*about.streams[stream.0].name;
            warn!(stream, count, "more records fail alone");
        }
        for (source, count) in self.unread.due(now) {
            let source = &*about.sources[source.0];
            warn!(source, count, "more names are not read; /status has up to 1,000 of each source, and why");
        }
        for (source, count) in self.files.due(now) {
            let source = &*about.sources[source.0];
            info!(source, count, "more files were followed, renamed, closed, or can be read again");
        }
        for (source, count) in self.shortened.due(now) {
            let source = &*about.sources[source.0];
            warn!(source, count, "more reads brought lines of which only the beginning is shipped");
        }
    }

    /// Writes that nothing can be sent to a stream yet, for want of a region or credentials; once for all streams that want
    /// the same.
    pub(super) fn unsigned(&mut self, stream: StreamId, why: &Retry, about: &About) {
        if self.missing.contains(why) {
            return;
        }
        self.missing.push(why.clone());
        let stream = &*about.streams[stream.0].name;
        error!(
            stream, code = %why.code, error = %why.message, advice = advice(why),
            "nothing can be delivered yet; looking again until it can"
        );
    }

    /// When [`Log::tell_repeats`] has something to write next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let of_sources = [&self.unread, &self.files, &self.shortened].map(Repeats::deadline);
        let of_streams = [&self.dead_letters, &self.stuck_records].map(Repeats::deadline);
        of_sources.into_iter().chain(of_streams).chain([self.outages.deadline()]).flatten().min()
    }
}

fn following(source: &str, path: &Path, at: Offset, why: Start) {
    let why = match why {
        Start::New => "new",
        Start::Checkpoint => "checkpoint",
        Start::Copy => "copy",
        Start::End => "end of a file that was there at the first start",
    };
    info!(source, path = %path.display(), offset = at.bytes(), why, "following");
}

fn rotated(source: &str, from: &Path, to: Option<&Path>) {
    match to {
        Some(to) => info!(source, from = %from.display(), to = %to.display(), "renamed"),
        None => info!(source, path = %from.display(), "no longer matched: reading it to its end"),
    }
}

fn truncated(source: &str, path: &Path, read: Offset) {
    let read = read.bytes();
    info!(source, path = %path.display(), read, "truncated: reading it from its beginning");
}

fn copied(source: &str, path: &Path, of: &Path) {
    info!(
        source, path = %path.display(), of = %of.display(),
        "the copy of a file that was truncated: read on from where that was read to"
    );
}

fn abandoned(source: &str, path: &Path, from: Offset, bytes: u64, why: Loss) {
    error!(
        source, path = %path.display(), offset = from.bytes(), bytes, reason = why.label(),
        "lost: gone before they could be read"
    );
}

fn gone(source: &str, path: &Path, at: Offset) {
    info!(
        source, path = %path.display(), offset = at.bytes(),
        "gone, and no copy of it was found: what was written to it beyond this offset was not read"
    );
}

fn left_out(stream: &str, path: &Path, offset: u64, unread_bytes: u64) {
    if unread_bytes == 0 {
        info!(stream, path = %path.display(), offset, "left out by the configuration: its position is kept");
        return;
    }
    warn!(
        stream, path = %path.display(), offset, unread_bytes,
        "left out by the configuration, with bytes that are not read: its position is kept"
    );
}

fn few_descriptors(open: usize) {
    warn!(
        open,
        "no descriptor is left: idle files are closed and others wait; raise the limit on open files (LimitNOFILE in \
         a unit, ulimit -n in a shell)"
    );
}

/// Writes what a report says of a lane.
fn of_lane(report: &Report, lane: LaneId, about: &About) {
    let at = (&*about.streams[lane.stream.0].name, about.delivery_stream_beside_others(lane));
    match report {
        Report::Held { why, .. } => held(at, why),
        Report::StillHeld { why, tries, after, .. } => {
            still_held(at, why, *tries, *after);
        }
        Report::Stopped { why, .. } => stopped(at, why),
        Report::Resumed { after, .. } => {
            let (stream, delivery_stream) = at;
            info!(stream, delivery_stream, seconds = after.as_secs_f64(), "delivering again");
        }
        Report::HandedOn { files, .. } => handed_on(at, *files),
        Report::TakenBack { files, .. } => {
            let (stream, delivery_stream) = at;
            info!(stream, delivery_stream, files, "takes records again, and has its files back");
        }
        _ => {}
    }
}

/// A stream, and where it has several delivery streams, which.
type At<'a> = (&'a str, Option<&'a str>);

fn handed_on((stream, delivery_stream): At<'_>, files: usize) {
    warn!(
        stream,
        delivery_stream,
        files,
        "takes nothing for long: its files go on at the other delivery streams until it does"
    );
}

fn held((stream, delivery_stream): At<'_>, why: &Retry) {
    error!(
        stream, delivery_stream, code = %why.code, reason = why.reason.label(), error = %why.message,
        request_id = why.request_id(), endpoint = why.endpoint(), advice = advice(why),
        "not delivering; trying again until it works"
    );
}

fn held_again((stream, delivery_stream): At<'_>, count: u64) {
    warn!(stream, delivery_stream, count, "was held, and delivered again, more often");
}

fn still_held((stream, delivery_stream): At<'_>, why: &Retry, tries: u32, after: Duration) {
    error!(
        stream, delivery_stream, code = %why.code, reason = why.reason.label(), error = %why.message, tries,
        seconds = after.as_secs(), request_id = why.request_id(), endpoint = why.endpoint(), advice = advice(why),
        "still not delivering"
    );
}

fn stopped((stream, delivery_stream): At<'_>, why: &Retry) {
    error!(
        stream, delivery_stream, code = %why.code, reason = why.reason.label(), error = %why.message,
        request_id = why.request_id(), endpoint = why.endpoint(), advice = advice(why),
        "stopped: nothing more is sent until the configuration is read again"
    );
}

fn batches_would_help(stream: &str) {
    warn!(
        stream,
        "lines wait for the quota of requests, and there is room for more records and bytes: `api = \"auto\"` would \
         carry more lines in fewer requests"
    );
}

fn dead_lettered(stream: &str, path: &Path, offset: Offset, why: &Retry) {
    error!(
        stream, path = %path.display(), offset = offset.bytes(), code = %why.code, error = %why.message,
        request_id = why.request_id(), endpoint = why.endpoint(), "put aside as a dead letter"
    );
}

fn record_stuck(stream: &str, path: &Path, offset: Offset, why: &Retry, after: Duration) {
    warn!(
        stream, path = %path.display(), offset = offset.bytes(), code = %why.code, reason = why.reason.label(),
        error = %why.message, seconds = after.as_secs(), request_id = why.request_id(), endpoint = why.endpoint(),
        "one record fails alone, and no other waits for it; it is tried on, and put aside as a dead letter if that lasts"
    );
}

fn shortened(source: &str, path: &Path, messages: u64) {
    warn!(
        source, path = %path.display(), messages,
        "longer than max_line_bytes or a record: only the beginning is shipped"
    );
}

fn matchless(source: &str) {
    warn!(source, "no file matches: correct its paths, unless files are still to come");
}

fn silent(source: &str) {
    warn!(
        source,
        "the file system does not answer: nothing of this source is taken for gone, and the others go on"
    );
}

fn stuck(source: &str, path: &Path, offset: Offset, why: &Retry) {
    error!(
        source, path = %path.display(), offset = offset.bytes(), code = %why.code, error = %why.message,
        request_id = why.request_id(), endpoint = why.endpoint(),
        "refused by the service, and the dead letters are full: this file waits until `standpipe dead-letters replay` or \
         `purge` gives room"
    );
}
