//! Surveys: when to look at names, and what for; one for each source, each with its own pace.
//!
//! `rules/cadence.rs` says how long until the next. A source whose file system does not answer has one survey under
//! way for as long as that takes; nothing of it is taken for gone meanwhile, and no other source waits.
//!
//! Knows sources and directories. Does not know files.
//!
//! *Invariant (L9):* hints only bring forward what is due anyway.

mod answers;
mod renames;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::model::hidden::Hidden;
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::model::watching::Watching;
use crate::rules::cadence::{Pace, late_at, next_tick};

use self::renames::Renames;
use super::taking::Takings;

/// The looks at one source.
#[derive(Debug, Default)]
struct OfSource {
    /// Something asks for a survey as soon as may be.
    wanted: bool,
    /// Whether one is under way, or what it showed is not all taken in.
    under_way: bool,
    /// Whether the one under way was answered.
    is_shown: bool,
    began: Option<Instant>,
    took: Duration,
    /// Whether the one under way was said to be late.
    is_silent: bool,
    /// Whether one was ever answered.
    answered: bool,
    /// Whether one was answered that began after the engine was told to finish, and no other is needed for that.
    finished: bool,
    /// Whether the survey under way, or the last one, began after that.
    began_finishing: bool,
    /// Whether one was taken in that began after that: what it did not show came later.
    ends_are_fixed: bool,
    /// Names that the source matched; `None` until it was looked at.
    matched_files: Option<usize>,
    /// Directories to look into with the next survey, for files that are not where they were.
    seek: BTreeSet<Arc<Path>>,
    /// Those that the survey under way, or the last one, looked into.
    sought: BTreeSet<Arc<Path>>,
    /// Directories in which stored positions are looked for, until they could be looked into.
    beside: BTreeSet<Arc<Path>>,
    /// Those of them that the survey under way looks into.
    beside_under_way: BTreeSet<Arc<Path>>,
}

impl OfSource {
    /// When the survey under way is late, unless that was said.
    fn late_at(&self) -> Option<Instant> {
        self.began.filter(|_| self.under_way && !self.is_shown && !self.is_silent).map(late_at)
    }
}

/// When to look at which source.
#[derive(Debug)]
pub(super) struct Surveys {
    sources: Vec<OfSource>,
    retired: BTreeSet<SourceId>,
    watching: Watching,
    /// Whether files wait for memory to be read.
    starved: bool,
    first_start: bool,
    is_finishing: bool,
    /// Streams of which stored positions are looked for beside the names that their files had, once all sources of
    /// the stream have been surveyed.
    look_beside: BTreeSet<StreamId>,
    /// Since when no source has matched any file, all of them having been looked at.
    matchless_since: Option<Instant>,
    /// When files without a name are looked after next.
    tick_at: Instant,
    /// When the survey that was answered last began, by the wall clock: nanoseconds since 1970.
    unix_nanos: i64,
    /// How many surveys were answered.
    looks: u64,
    takings: Takings,
    renames: Renames,
}

impl Surveys {
    /// No source was looked at yet; `look_beside` names the streams of which positions are stored.
    pub(super) fn new(sources: usize, first_start: bool, look_beside: BTreeSet<StreamId>) -> Self {
        let wanted = || OfSource { wanted: true, ..OfSource::default() };
        Self {
            sources: std::iter::repeat_with(wanted).take(sources).collect(),
            retired: BTreeSet::new(),
            watching: Watching::Full,
            starved: false,
            first_start,
            is_finishing: false,
            look_beside,
            matchless_since: None,
            tick_at: Instant::ZERO,
            unix_nanos: 0,
            looks: 0,
            takings: Takings::default(),
            renames: Renames::default(),
        }
    }

    /// Another configuration: more sources, and which of them are no longer configured. Files that were renamed while
    /// their source was away are looked for beside their names, as after a restart.
    pub(super) fn change(
        &mut self,
        sources: usize,
        retired: BTreeSet<SourceId>,
        look_beside: BTreeSet<StreamId>,
    ) {
        for source in self.retired.difference(&retired) {
            self.sources[source.0].answered = false;
        }
        self.sources.resize_with(sources, OfSource::default);
        self.retired = retired;
        self.look_beside.extend(look_beside);
        self.want_all();
    }

    /// Stored positions of these streams are looked for beside the names that their files had.
    pub(super) fn look_beside(&mut self, streams: impl IntoIterator<Item = StreamId>) {
        self.look_beside.extend(streams);
    }

    /// Sources that are no longer configured, and were to look for stored positions: another is to look now.
    pub(super) fn take_forsaken(&mut self) -> Vec<SourceId> {
        let mut forsaken = Vec::new();
        for source in &self.retired {
            let of_source = &mut self.sources[source.0];
            of_source.beside_under_way.clear();
            if !std::mem::take(&mut of_source.beside).is_empty() {
                forsaken.push(*source);
            }
        }
        forsaken
    }

    pub(super) fn retired(&self) -> &BTreeSet<SourceId> {
        &self.retired
    }

    pub(super) fn is_retired(&self, source: SourceId) -> bool {
        self.retired.contains(&source)
    }

    pub(super) fn watching(&self) -> Watching {
        self.watching
    }

    pub(super) fn set_watching(&mut self, watching: Watching) {
        self.watching = watching;
    }

    pub(super) fn set_starved(&mut self, starved: bool) {
        self.starved = starved;
    }

    /// When the survey that was answered last began, in nanoseconds since 1970.
    pub(super) fn unix_nanos(&self) -> i64 {
        self.unix_nanos
    }

    /// Every source is looked at as soon as may be.
    pub(super) fn want_all(&mut self) {
        self.sources.iter_mut().for_each(|source| source.wanted = true);
    }

    /// A source is looked at as soon as may be.
    pub(super) fn want(&mut self, source: SourceId) {
        self.sources[source.0].wanted = true;
    }

    /// A source is looked at as soon as may be; where the engine is to finish, not before that.
    pub(super) fn want_before_the_end(&mut self, source: SourceId) {
        let source = &mut self.sources[source.0];
        (source.wanted, source.finished) = (true, false);
    }

    /// The engine is told to finish: every source is looked at once more.
    pub(super) fn finish(&mut self) {
        self.is_finishing = true;
        self.want_all();
    }

    /// The next survey of `source` looks at what else is in the directory of `path`.
    pub(super) fn seek_beside(&mut self, source: SourceId, path: &Path) {
        let source = &mut self.sources[source.0];
        if let Some(directory) = path.parent() {
            source.seek.insert(Arc::from(directory));
        }
        source.wanted = true;
    }

    /// The number of the survey that was answered last.
    pub(super) fn look(&self) -> u64 {
        self.looks
    }

    /// Whether stored positions are looked for with the survey of `source` that was answered, or are to be.
    pub(super) fn looks_beside(&self, source: SourceId) -> bool {
        !self.look_beside.is_empty() || !self.sources[source.0].beside_under_way.is_empty()
    }

    /// Stored positions are looked for in these directories with the next survey of `source`.
    pub(super) fn look_into(&mut self, source: SourceId, directories: BTreeSet<Arc<Path>>) {
        let source = &mut self.sources[source.0];
        source.wanted |= !directories.is_empty();
        source.beside.extend(directories);
    }

    /// The directories in which the survey of `source` that was answered looked for stored positions. Those that are
    /// hidden are looked into again, whenever there is a survey anyway.
    pub(super) fn looked_into(&mut self, source: SourceId, hidden: &Hidden) -> BTreeSet<Arc<Path>> {
        let source = &mut self.sources[source.0];
        let mut looked = std::mem::take(&mut source.beside_under_way);
        looked.retain(|directory| !hidden.holds(directory));
        source.beside.retain(|directory| !looked.contains(directory));
        looked
    }

    /// Whether the file of a stored position is still to be looked for in the directory of `path`.
    pub(super) fn is_to_look_beside(&self, stream: StreamId, path: &Path) -> bool {
        let is_in =
            |source: &OfSource| path.parent().is_some_and(|directory| source.beside.contains(directory));
        self.look_beside.contains(&stream) || self.sources.iter().any(is_in)
    }

    /// Whether the last survey of `source` did so.
    pub(super) fn has_looked_beside(&self, source: SourceId, path: &Path) -> bool {
        path.parent().is_none_or(|directory| self.sources[source.0].sought.contains(directory))
    }

    /// The surveys that begin now, each with the directories to look into.
    pub(super) fn begin_due(&mut self, now: Instant) -> Vec<(SourceId, Vec<Arc<Path>>)> {
        let mut due = Vec::new();
        for place in 0..self.sources.len() {
            let id = SourceId(place);
            if self.due(id).is_none_or(|at| at > now) {
                continue;
            }
            let source = &mut self.sources[place];
            source.wanted = false;
            source.under_way = true;
            source.began = Some(now);
            source.began_finishing = self.is_finishing;
            source.sought = std::mem::take(&mut source.seek);
            source.beside_under_way = source.beside.clone();
            due.push((id, source.sought.union(&source.beside).cloned().collect()));
        }
        due
    }

    /// When `source` is looked at next; `None` while it is, or when it need not be.
    fn due(&self, id: SourceId) -> Option<Instant> {
        let source = &self.sources[id.0];
        let is_done = self.is_finishing && source.finished && !source.wanted;
        if source.under_way || is_done || self.is_retired(id) {
            return None;
        }
        let Some(began) = source.began else {
            return Some(Instant::ZERO);
        };
        let (is_wanted, took) = (source.wanted, source.took);
        let is_last = self.is_finishing && !source.finished;
        let pace = Pace { is_wanted, is_last, watching: self.watching, is_starved: self.starved, took };
        Some(pace.next_after(began))
    }

    pub(super) fn deadline(&self, needs_tick: bool, now: Instant) -> Option<Instant> {
        let surveys = (0..self.sources.len()).filter_map(|place| self.due(SourceId(place)));
        let tick = needs_tick.then_some(self.tick_at.max(now + Duration::from_millis(1)));
        let late = self.sources.iter().filter_map(OfSource::late_at);
        surveys.chain(tick).chain(late).min()
    }

    /// Whether files without a name are to be looked after now.
    pub(super) fn tick_is_due(&mut self, now: Instant) -> bool {
        let is_due = self.tick_at <= now;
        if is_due {
            self.tick_at = next_tick(now);
        }
        is_due
    }

    /// Sources whose survey is late, each named once.
    pub(super) fn fall_silent(&mut self, now: Instant) -> Vec<SourceId> {
        let mut silent = Vec::new();
        for (place, source) in self.sources.iter_mut().enumerate() {
            if source.late_at().is_some_and(|at| at <= now) {
                source.is_silent = true;
                silent.push(SourceId(place));
            }
        }
        silent
    }

    /// Sources whose survey is late.
    pub(super) fn silent(&self) -> Vec<SourceId> {
        let places = self.sources.iter().enumerate().filter(|(_, source)| source.is_silent);
        places.map(|(place, _)| SourceId(place)).filter(|source| !self.is_retired(*source)).collect()
    }

    /// Since when no source has matched any file.
    pub(super) fn matchless_since(&self) -> Option<Instant> {
        self.matchless_since
    }

    /// Whether what the survey of `source` shows that is answered now is where a drain ends.
    pub(super) fn fixes_ends(&self, source: SourceId) -> bool {
        self.sources[source.0].began_finishing
    }

    /// Whether a file that the source is seen to match now for the first time came after a drain began.
    pub(super) fn is_too_late(&self, source: SourceId) -> bool {
        self.sources[source.0].ends_are_fixed
    }

    /// Names that the sources matched when they were last looked at.
    pub(super) fn matched_files(&self) -> usize {
        self.configured().filter_map(|source| source.matched_files).sum()
    }

    /// Whether every source has been looked at once.
    pub(super) fn all_answered(&self) -> bool {
        self.configured().all(|source| source.answered)
    }

    /// Whether every source has been looked at since the engine was told to finish.
    pub(super) fn all_finished(&self) -> bool {
        self.is_finishing && self.configured().all(|source| source.finished)
    }

    fn configured(&self) -> impl Iterator<Item = &OfSource> {
        let sources = self.sources.iter().enumerate();
        sources.filter(|(place, _)| !self.is_retired(SourceId(*place))).map(|(_, source)| source)
    }

    /// Takes up the streams of which every source has been looked at, and of which stored positions are to be looked for
    /// beside the names that their files had: each with the source that looks.
    pub(super) fn take_look_beside(
        &mut self,
        leads_to: impl Fn(SourceId, StreamId) -> bool,
    ) -> Vec<(StreamId, SourceId)> {
        if self.look_beside.is_empty() {
            return Vec::new();
        }
        let mut ready = Vec::new();
        for stream in self.look_beside.clone() {
            let places = (0..self.sources.len()).map(SourceId);
            let of_stream: Vec<_> =
                places.filter(|id| !self.is_retired(*id) && leads_to(*id, stream)).collect();
            let all = of_stream.iter().all(|id| self.sources[id.0].answered);
            if let Some(first) = of_stream.first().filter(|_| all) {
                self.look_beside.remove(&stream);
                ready.push((stream, *first));
            }
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SourceId = SourceId(0);
    const B: SourceId = SourceId(1);

    fn at(millis: u64) -> Instant {
        Instant::at(Duration::from_millis(millis))
    }

    impl Surveys {
        /// What was shown is taken in at once.
        fn answer(&mut self, source: SourceId, now: Instant) {
            self.answered(source, Duration::ZERO, now);
            self.shown(source);
            self.let_go(source);
        }
    }

    fn surveys() -> Surveys {
        Surveys::new(2, false, BTreeSet::new())
    }

    fn begun(surveys: &mut Surveys, now: Instant) -> Vec<SourceId> {
        surveys.begin_due(now).into_iter().map(|(source, _)| source).collect()
    }

    #[test]
    fn a_source_that_does_not_answer_holds_up_no_other() {
        let mut surveys = surveys();
        assert_eq!(begun(&mut surveys, at(0)), [A, B]);
        surveys.answer(B, at(1));
        assert_eq!(begun(&mut surveys, at(20_000)), [B], "A is under way for ever");
        assert_eq!(surveys.fall_silent(at(29_999)), []);
        assert_eq!(surveys.fall_silent(at(30_000)), [A]);
        assert_eq!((surveys.fall_silent(at(40_000)), surveys.silent()), (vec![], vec![A]), "said once");
        assert!(!surveys.all_answered(), "and that is not taken for done");
    }

    #[test]
    fn what_hints_ask_for_waits_for_ten_times_what_the_last_look_took() {
        let mut surveys = surveys();
        drop(begun(&mut surveys, at(0)));
        surveys.answer(A, at(1));
        surveys.answer(B, at(30));
        surveys.want_all();
        assert_eq!(begun(&mut surveys, at(50)), [A]);
        assert_eq!(begun(&mut surveys, at(299)), []);
        assert_eq!(begun(&mut surveys, at(300)), [B]);
    }

    #[test]
    fn nothing_matches_from_the_last_first_look_on_until_a_file_is_there() {
        let mut surveys = surveys();
        begun(&mut surveys, at(0));
        surveys.answer(A, at(1));
        assert!(surveys.taken_in(A, 0, at(1)), "told at its first look");
        assert_eq!(surveys.matchless_since(), None, "the other was not looked at");
        surveys.answer(B, at(5));
        assert!(surveys.taken_in(B, 0, at(5)));
        assert!(!surveys.taken_in(A, 0, at(9)), "once");
        assert_eq!(surveys.matchless_since(), Some(at(5)));
        assert!(!surveys.taken_in(B, 1, at(20)));
        assert_eq!(surveys.matchless_since(), None);
        assert!(!surveys.taken_in(B, 0, at(30)), "what was there and goes is told elsewhere");
        assert_eq!(surveys.matchless_since(), Some(at(30)));
    }

    #[test]
    fn a_drain_is_over_when_each_source_was_looked_at_since_and_nothing_asks_for_more() {
        let mut surveys = surveys();
        drop(begun(&mut surveys, at(0)));
        surveys.finish();
        for source in [A, B] {
            surveys.answer(source, at(1));
            surveys.taken_in(source, 1, at(0));
        }
        assert!(!surveys.all_finished(), "both began before");
        assert_eq!(begun(&mut surveys, at(100)), [A, B]);
        surveys.answer(A, at(101));
        surveys.answer(B, at(101));
        surveys.seek_beside(B, Path::new("/log/a.log"));
        surveys.taken_in(A, 1, at(0));
        surveys.taken_in(B, 1, at(0));
        assert!(!surveys.all_finished(), "a file is looked for");
        assert_eq!(begun(&mut surveys, at(200)), [B]);
        assert!(surveys.has_looked_beside(B, Path::new("/log/b.log")));
        surveys.answer(B, at(201));
        surveys.taken_in(B, 1, at(0));
        assert!(surveys.all_finished());
        assert_eq!(surveys.deadline(false, at(300)), None);
    }

    #[test]
    fn positions_are_looked_for_beside_names_once_all_sources_of_their_stream_were_looked_at() {
        let mut surveys = Surveys::new(2, false, [StreamId(0)].into());
        drop(begun(&mut surveys, at(0)));
        surveys.answer(A, at(1));
        assert_eq!(surveys.take_look_beside(|_, _| true), []);
        surveys.answer(B, at(1));
        assert_eq!(surveys.take_look_beside(|_, _| true), [(StreamId(0), A)]);
        assert_eq!(surveys.take_look_beside(|_, _| true), []);
    }
}
