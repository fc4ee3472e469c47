//! What happened lately that somebody may have to know of: rotations, losses, outages, dead letters, reloads.
//!
//! Knows the reports of the engine, and short words for each. Keeps the last hundred, with what is repeated within seconds
//! as one event and a count; and of each code of dead letters the first message.
//!
//! *Invariant:* however much happens, and whatever names and messages say, what is kept is bounded.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::report::{Loss, Report};
use crate::model::offset::Offset;
use crate::model::settings::{SourceId, StreamId};
use crate::model::text::cut;
use crate::model::time::Instant;
use crate::model::verdict::Retry;

/// How many events are kept.
const MAX_EVENTS: usize = 100;

/// An event like one of so shortly before is counted there.
const LIKE_WITHIN: Duration = Duration::from_secs(10);

/// Of how many codes of dead letters the first message is kept, of all streams together.
const MAX_CODES: usize = 256;

/// The most that is kept of a message, in bytes.
const MAX_MESSAGE_BYTES: usize = 512;

/// What happened lately.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// The oldest first.
    noted: VecDeque<Noted>,
    first_letters: BTreeMap<(StreamId, Arc<str>), Arc<str>>,
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Info,
    Warn,
    Error,
}

/// Whom an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    pub(super) stream: Option<StreamId>,
    pub(super) source: Option<SourceId>,
    pub(super) path: Option<Arc<Path>>,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    pub(super) at: Instant,
    /// One word for it.
    pub(super) kind: &'static str,
    pub(super) level: Level,
    pub(super) about: About,
    pub(super) message: Arc<str>,
    /// How often it happened within a few seconds.
    pub(super) count: u64,
}

impl Events {
    /// Notes what the engine reports, if it is more than the daily round.
    pub fn note(&mut self, report: &Report, now: Instant) {
        if let Report::DeadLettered { stream, why: Retry { code, message, .. }, .. } = report
            && self.first_letters.len() < MAX_CODES
        {
            let first = self.first_letters.entry((*stream, Arc::clone(code)));
            first.or_insert_with(|| cut(message, MAX_MESSAGE_BYTES).as_ref().into());
        }
        if let Some((kind, level, about, message)) = of_a_file(report) {
            self.push(kind, level, about, &message, now);
        }
    }

    /// Another configuration is in effect.
    pub fn note_reload(&mut self, now: Instant) {
        self.push("reloaded", Level::Info, About::default(), "another configuration is in effect", now);
    }

    /// A changed configuration cannot be used.
    pub fn note_refused_reload(&mut self, now: Instant) {
        let message = "the changed configuration cannot be used: the one before stays in effect";
        self.push("reload_refused", Level::Error, About::default(), message, now);
    }

    /// The first message of a stream's dead letters with this code.
    pub(super) fn first_letter(&self, stream: StreamId, code: &Arc<str>) -> Option<&Arc<str>> {
        self.first_letters.get(&(stream, Arc::clone(code)))
    }

    /// Everything that is kept, the latest first.
    pub(super) fn latest(&self) -> impl Iterator<Item = &Noted> {
        self.noted.iter().rev()
    }

    fn push(&mut self, kind: &'static str, level: Level, about: About, message: &str, now: Instant) {
        let message = cut(message, MAX_MESSAGE_BYTES);
        let is_like = |noted: &Noted| {
            noted.kind == kind
                && (noted.about.stream, noted.about.source) == (about.stream, about.source)
                && now.since(noted.at) < LIKE_WITHIN
        };
        let like = self.noted.iter().rposition(is_like).and_then(|place| self.noted.remove(place));
        if self.noted.len() == MAX_EVENTS {
            self.noted.pop_front();
        }
        let count = like.map_or(0, |like| like.count) + 1;
        self.noted.push_back(Noted { at: now, kind, level, about, message: message.as_ref().into(), count });
    }
}

impl Level {
    /// As it stands in `/status`.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

type Told = (&'static str, Level, About, String);

/// What a report says of a source or one of its files, or else of a stream; `None` for the daily round.
fn of_a_file(report: &Report) -> Option<Told> {
    let file = |source: &SourceId, path: &Arc<Path>| About {
        source: Some(*source),
        path: Some(Arc::clone(path)),
        stream: None,
    };
    let source = |source: &SourceId| About { source: Some(*source), ..About::default() };
    Some(match report {
        Report::Rotated { source, from, to: Some(to) } => {
            ("rotated", Level::Info, file(source, from), format!("renamed to {}", to.display()))
        }
        Report::Rotated { source, from, to: None } => {
            ("removed", Level::Info, file(source, from), "no longer matched: read to its end".to_owned())
        }
        Report::Truncated { source, path, .. } => {
            ("truncated", Level::Info, file(source, path), "read from its beginning".to_owned())
        }
        Report::Copied { source, path, of } => {
            ("copied", Level::Info, file(source, path), format!("the copy of {}", of.display()))
        }
        Report::Abandoned { source, path, from, bytes, why } => {
            let why = if *why == Loss::Oversize {
                "too long for a record"
            } else {
                "gone before they could be read"
            };
            ("lost", Level::Error, file(source, path), lost(*from, *bytes, why))
        }
        Report::Unreadable { source, path, why } => {
            ("unreadable", Level::Warn, file(source, path), format!("cannot be read: {why}"))
        }
        Report::Stuck { source, path, .. } => (
            "dead_letters_full",
            Level::Error,
            file(source, path),
            "refused by the service, and the dead letters are full: the file waits".to_owned(),
        ),
        Report::Matchless { source: of } => {
            ("no_files", Level::Warn, source(of), "no file matches".to_owned())
        }
        Report::Silent { source: of } => {
            ("source_silent", Level::Warn, source(of), "the file system does not answer".to_owned())
        }
        Report::Speaks { source: of } => {
            ("source_answers", Level::Info, source(of), "the file system answers again".to_owned())
        }
        Report::FewDescriptors { .. } => (
            "few_descriptors",
            Level::Warn,
            About::default(),
            "no descriptor is left: idle files are closed and others wait".to_owned(),
        ),
        _ => return of_a_stream(report),
    })
}

/// What a report says of a stream, or of the state.
fn of_a_stream(report: &Report) -> Option<Told> {
    let stream = |stream: &StreamId| About { stream: Some(*stream), ..About::default() };
    let file = |of: &StreamId, path: &Arc<Path>| About {
        stream: Some(*of),
        path: Some(Arc::clone(path)),
        source: None,
    };
    Some(match report {
        Report::Held { lane, why } => {
            ("held", Level::Error, stream(&lane.stream), format!("{}: {}", why.code, why.message))
        }
        Report::Stopped { lane, why } => {
            ("stopped", Level::Error, stream(&lane.stream), format!("{}: {}", why.code, why.message))
        }
        Report::Resumed { lane, after } => {
            let message = format!("delivering again after {} s", after.as_secs());
            ("resumed", Level::Info, stream(&lane.stream), message)
        }
        Report::HandedOn { lane, files } => handed_on(stream(&lane.stream), *files),
        Report::TakenBack { lane, files } => taken_back(stream(&lane.stream), *files),
        Report::DeadLettered { stream: of, path, offset, why } => {
            let message = format!("offset {}: {}: {}", offset.bytes(), why.code, why.message);
            ("dead_letter", Level::Error, file(of, path), message)
        }
        Report::RecordStuck { stream: of, path, offset, why, .. } => {
            let message = format!("offset {}: {}: {}", offset.bytes(), why.code, why.message);
            ("record_stuck", Level::Warn, file(of, path), message)
        }
        Report::NotSaved { why } => {
            ("not_saved", Level::Error, About::default(), format!("progress cannot be saved: {why}"))
        }
        Report::SavedAgain => {
            ("saved_again", Level::Info, About::default(), "progress is saved again".to_owned())
        }
        Report::Rotated { .. }
        | Report::Truncated { .. }
        | Report::Copied { .. }
        | Report::Abandoned { .. }
        | Report::Unreadable { .. }
        | Report::Stuck { .. }
        | Report::Matchless { .. }
        | Report::Silent { .. }
        | Report::Speaks { .. }
        | Report::FewDescriptors { .. }
        | Report::Following { .. }
        | Report::Skipped { .. }
        | Report::Readable { .. }
        | Report::Gone { .. }
        | Report::LeftOut { .. }
        | Report::Closed { .. }
        | Report::StillHeld { .. }
        | Report::BatchesWouldHelp { .. }
        | Report::Shortened { .. } => return None,
    })
}

/// Offsets are those of the first byte that is lost and of the one behind the last.
fn lost(from: Offset, bytes: u64, why: &str) -> String {
    format!("{bytes} bytes lost, from offset {} to {}: {why}", from.bytes(), from.bytes() + bytes)
}

fn handed_on(stream: About, files: usize) -> Told {
    ("handed_on", Level::Warn, stream, format!("{files} files go on at other delivery streams"))
}

fn taken_back(stream: About, files: usize) -> Told {
    let message = format!("a delivery stream takes records again, and has {files} files back");
    ("taken_back", Level::Info, stream, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::verdict::RetryReason;

    fn at(seconds: u64) -> Instant {
        Instant::at(Duration::from_secs(seconds))
    }

    fn dead(stream: usize, code: &str, message: &str) -> Report {
        Report::DeadLettered {
            stream: StreamId(stream),
            path: Path::new("/log/a").into(),
            offset: Offset::new(7),
            why: Retry::new(RetryReason::Rejected, code, message),
        }
    }

    fn renamed(source: usize) -> Report {
        let path = |name: &str| Arc::from(Path::new(name));
        Report::Rotated { source: SourceId(source), from: path("/log/a"), to: Some(path("/log/a.1")) }
    }

    fn kept(events: &Events) -> Vec<(&'static str, u64)> {
        events.noted.iter().map(|noted| (noted.kind, noted.count)).collect()
    }

    #[test]
    fn what_is_repeated_within_seconds_is_one_event_for_each_whom_it_is_about() {
        let mut events = Events::default();
        for (second, report) in
            [(0, renamed(0)), (3, renamed(1)), (9, renamed(0)), (18, renamed(0)), (28, renamed(0))]
        {
            events.note(&report, at(second));
        }
        assert_eq!(
            kept(&events),
            [("rotated", 1), ("rotated", 3), ("rotated", 1)],
            "in the order of the last of each"
        );
        events.note_reload(at(29));
        events.note(&Report::SavedAgain, at(29));
        assert_eq!(kept(&events)[3..], [("reloaded", 1), ("saved_again", 1)]);
    }

    #[test]
    fn a_loss_is_told_with_its_first_offset_and_the_one_behind_its_last() {
        let (source, path) = (SourceId(0), Path::new("/log/a").into());
        let mut events = Events::default();
        let lost = Report::Abandoned { source, path, from: Offset::new(7), bytes: 5, why: Loss::Removed };
        events.note(&lost, at(0));
        assert_eq!(
            &*events.noted[0].message,
            "5 bytes lost, from offset 7 to 12: gone before they could be read"
        );
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut events = Events::default();
        for number in 0..1_000 {
            events.note(&dead(number, &format!("Code{number}"), &"m".repeat(10_000)), at(number as u64));
        }
        assert_eq!((events.noted.len(), events.first_letters.len()), (MAX_EVENTS, MAX_CODES));
        let longest = events.noted.iter().map(|noted| noted.message.len()).max();
        assert!(longest <= Some(MAX_MESSAGE_BYTES), "{longest:?}");
    }

    #[test]
    fn of_each_code_the_first_message_is_kept() {
        let mut events = Events::default();
        for (code, message) in [("Oversize", "first"), ("Oversize", "second"), ("Other", "third")] {
            events.note(&dead(1, code, message), at(0));
        }
        let first =
            |stream, code: &str| events.first_letter(StreamId(stream), &code.into()).map(|text| &**text);
        assert_eq!((first(1, "Oversize"), first(1, "Other")), (Some("first"), Some("third")));
        assert_eq!(first(0, "Oversize"), None);
    }
}
