//! Surveys that are being taken in: a part of what a look shows with each event, so that nobody waits for long.
//!
//! A look may show a hundred thousand files, of which each is compared with what is known. Between two parts other events
//! come, as they come between a look and its answer: what was looked at may have changed since, and each file is judged as it
//! is when its turn comes.
//!
//! *Invariant:* one look is taken in at a time; what it does not show is judged once all that it shows was gone through;
//! another configuration finds no look that is taken in by half.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::checkpoint::FirstLook;
use crate::model::identity::{Identity, Incarnation};
use crate::model::settings::{SourceId, StartAt};
use crate::model::time::Instant;
use crate::rules::rotation::uncompressed;

use super::Engine;
use super::archives::Archive;
use super::port::{Event, FileId, Observation, Observed};
use super::report::Report;

mod parts;

use self::parts::{Unknown, after, part};

/// How much of a look is gone through with an event that brings something else, as a part of what is with others: such
/// events come by the dozen before anybody else is heard.
const BESIDE_OTHERS: usize = 16;

/// After how long the next part of a look is gone through, where nothing else happens: timers are no finer.
const NEXT_PART: Duration = Duration::from_millis(1);

/// When the next part of something is done that is done by parts, should nothing happen before.
pub(super) fn next_part(now: Instant) -> Instant {
    now + NEXT_PART
}

/// What is done with a look, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Each file that is shown, from this one on: is it as it was, and by which name does it go?
    Naming(usize),
    /// What was found to be of no interest, from this one on: is it still there?
    Keeping(Identity),
    /// What lies beside the files of the source, and archives, from this one on: is it known?
    Sorting(usize),
    /// Each file that is shown, from this one on: was something unknown made of it?
    Origins(usize),
    /// Generations that nobody saw come, from this one on.
    Missed(usize),
    /// Archives that nobody saw come, from this one on.
    Finding(usize),
    /// Each file that is known, from this one on: is it the source's, and shown?
    Comparing(FileId),
    /// Archives that were found, from this one on, are opened.
    Archives(usize),
    /// Each file that the source matches, from this one on: is it new?
    Meeting(usize),
    /// Stored positions in files that no source matches.
    Beside,
    /// Late lines in files that were closed, from this one on.
    Late(usize),
    /// Files that were closed, from this one on: are they there?
    Closed(Incarnation),
    /// Copies of what was cut off.
    Copies,
    Seams,
    /// What is not there any more is forgotten.
    Forgetting,
    /// The look itself is let go of: of many files, that takes as long as much else.
    Ending,
}

impl Stage {
    const KEEPING: Self = Self::Keeping(Identity { device: 0, inode: 0, birth_nanos: None });
    const LAST_KNOWN: Self = Self::Comparing(FileId(0));
}

/// A look that is being taken in.
#[derive(Debug)]
pub(super) struct Taking {
    observation: Observation,
    began: Instant,
    /// Whether what it shows was there at the first start.
    at_first_start: bool,
    /// Whether no look at the source was taken in before.
    is_first: bool,
    may_pass_over: bool,
    stage: Stage,
    /// One name for each file that the source matches and that is not as it was: its place in the observation.
    seen: BTreeMap<Identity, usize>,
    /// And for those that only lie beside them.
    beside: BTreeMap<Identity, usize>,
    /// How many of the files that are shown the source matches.
    matched: usize,
    /// Files that were followed when all that is shown had its name have lower numbers.
    known_before: FileId,
    /// Those of `seen`, in the same order.
    to_meet: Vec<usize>,
    unknown: Unknown,
    archives: Vec<Archive>,
    /// What is to be durable once all that was there is marked.
    first_look: Option<FirstLook>,
}

/// Looks that were answered.
#[derive(Debug, Default)]
pub(super) struct Takings {
    now: Option<Box<Taking>>,
    waiting: VecDeque<Observation>,
}

impl Takings {
    /// Whether any is to be taken in.
    pub(super) fn any(&self) -> bool {
        self.now.is_some() || !self.waiting.is_empty()
    }

    /// When the next part is taken in, should nothing happen before.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.any().then(|| next_part(now))
    }

    /// Whether files that are found by the first look at a source are still being marked: none of them is opened before that.
    pub(super) fn is_marking(&self, source: SourceId) -> bool {
        let first = self.now.as_ref().filter(|taking| taking.is_first && taking.observation.source == source);
        first.is_some_and(|taking| match taking.stage {
            Stage::Naming(_) | Stage::Keeping(_) | Stage::Sorting(_) | Stage::Origins(_) => true,
            Stage::Missed(_) | Stage::Finding(_) | Stage::Comparing(_) => true,
            Stage::Archives(_) | Stage::Meeting(_) => true,
            Stage::Beside | Stage::Late(_) | Stage::Closed(_) | Stage::Copies => false,
            Stage::Seams | Stage::Forgetting | Stage::Ending => false,
        })
    }

    /// The source of which what was there at the first start is being gone through.
    fn first_start_of(&self) -> Option<SourceId> {
        self.now.as_ref().filter(|taking| taking.at_first_start).map(|taking| taking.observation.source)
    }
}

impl Taking {
    /// Those that the source matches, and that are not as they were.
    fn seen(&self) -> impl Iterator<Item = &Observed> {
        self.seen.values().map(|place| &self.observation.files[*place])
    }

    /// Whether the source matches a file that is not as it was, or it lies beside them.
    fn shows(&self, file: &Identity) -> bool {
        self.seen.contains_key(file) || self.beside.contains_key(file)
    }

    /// Those that only lie beside them.
    fn beside(&self) -> BTreeMap<Identity, &Observed> {
        self.beside.iter().map(|(identity, place)| (*identity, &self.observation.files[*place])).collect()
    }
}

impl Engine {
    /// A survey was answered.
    pub(super) fn on_observed(&mut self, observation: Observation) {
        self.surveys.takings_mut().waiting.push_back(observation);
    }

    /// How many files of a look are gone through with an event.
    pub(super) fn files_with(&self, event: &Event) -> usize {
        let most = self.settings.files_at_once.get();
        match event {
            Event::Observed(_) | Event::Tick => most,
            // It may not find half a look.
            Event::Reload(_) => usize::MAX,
            _ => most.div_ceil(BESIDE_OTHERS),
        }
    }

    /// Goes on with the looks that were answered, for about so many files.
    pub(super) fn take_in(&mut self, most: usize, now: Instant) {
        let mut left = most;
        while left > 0 {
            let next = self.surveys.takings_mut().now.take().or_else(|| self.begin_taking_in(now));
            let Some(mut taking) = next else { return };
            let (done, next) = self.go_on(&mut taking, left, now);
            left = left.saturating_sub(done);
            if let Some(stage) = next {
                taking.stage = stage;
                self.surveys.takings_mut().now = Some(taking);
            }
        }
    }

    /// Whether nothing is saved now: of a source that starts at the end, where all its files ended is durable at once, or
    /// nothing is.
    pub(super) fn holds_saves(&self) -> bool {
        let source = self.surveys.takings().first_start_of();
        source.is_some_and(|source| self.settings.sources[source.0].start_at == StartAt::End)
    }

    fn begin_taking_in(&mut self, now: Instant) -> Option<Box<Taking>> {
        loop {
            let observation = self.surveys.takings_mut().waiting.pop_front()?;
            let source = observation.source;
            self.note_unused(source);
            if self.surveys.speaks(source) {
                self.report(Report::Speaks { source });
            }
            let (began, at_first_start, is_first) = self.surveys.answered(source, observation.unix_time, now);
            self.surveys.renames_mut().answered(source, observation.hidden.is_empty());
            // A survey that began before a reload still shows what is no longer configured.
            if self.surveys.is_retired(source) {
                self.surveys.shown(source);
                self.surveys.let_go(source);
                self.on_held(&observation.held, now);
                continue;
            }
            let may_pass_over = self.may_pass_over(source, began);
            return Some(Box::new(Taking {
                observation,
                began,
                at_first_start,
                is_first,
                may_pass_over,
                stage: Stage::Naming(0),
                seen: BTreeMap::new(),
                beside: BTreeMap::new(),
                matched: 0,
                known_before: FileId(0),
                to_meet: Vec::new(),
                unknown: Unknown::default(),
                archives: Vec::new(),
                first_look: None,
            }));
        }
    }

    /// Goes on with one look, for `most` files at most; returns for how many that was, and what comes next. What cannot be
    /// divided counts as much as the look shows.
    fn go_on(&mut self, taking: &mut Taking, most: usize, now: Instant) -> (usize, Option<Stage>) {
        let whole = taking.observation.files.len();
        let (done, next) = match taking.stage {
            Stage::Naming(from) => {
                let places = part(from, whole, most);
                places.clone().for_each(|place| self.name(taking, place));
                after(places, whole, Stage::Naming, Stage::KEEPING)
            }
            Stage::Keeping(from) => {
                if taking.stage == Stage::KEEPING {
                    taking.first_look = self.note_look(taking.observation.source);
                }
                self.keep_what_is_there(taking, from, most)
            }
            Stage::Sorting(from) => self.sort(taking, from, most),
            Stage::Origins(from) => Self::note_origins(taking, from, most),
            Stage::Missed(from) => self.find_missed(taking, from, most, now),
            Stage::Finding(from) => self.find_archives(taking, from, most),
            Stage::Comparing(from) => {
                let known = self.files.ids_within(from..taking.known_before, most);
                known.iter().for_each(|id| self.compare(taking, *id, now));
                let next = known.last().filter(|_| known.len() == most).map(|last| FileId(last.0 + 1));
                (known.len(), next.map_or(Stage::Archives(0), Stage::Comparing))
            }
            Stage::Archives(from) => self.open_found(taking, from, most, now),
            Stage::Meeting(from) => {
                let places = part(from, taking.to_meet.len(), most);
                places.clone().for_each(|place| self.meet_one(taking, taking.to_meet[place], now));
                if places.end == taking.to_meet.len() {
                    self.all_are_met(taking, now);
                }
                after(places, taking.to_meet.len(), Stage::Meeting, Stage::Beside)
            }
            Stage::Beside => {
                self.look_at_what_is_beside(taking, now);
                (whole, Stage::Late(0))
            }
            Stage::Late(from) => self.look_for_late_lines(taking, from, most, now),
            Stage::Closed(from) => self.look_for_closed(taking, from, most, now),
            Stage::Copies => {
                self.find_copies(taking, now);
                (whole, Stage::Seams)
            }
            Stage::Seams => {
                self.note_seams(&taking.observation);
                (whole, Stage::Forgetting)
            }
            Stage::Forgetting => {
                self.forget_what_is_gone(taking, now);
                (whole, Stage::Ending)
            }
            Stage::Ending => {
                let left = whole.saturating_sub(most);
                taking.observation.files.truncate(left);
                return (whole - left, (left > 0).then_some(Stage::Ending));
            }
        };
        // Of what is nothing, much is gone through at once.
        (done.max(1), Some(next))
    }

    /// One name for each file that is not as it was (a file may have several): the one it is known by, else the first. First the
    /// files that the source matches, then those that only lie beside them.
    fn name(&mut self, taking: &mut Taking, place: usize) {
        let (source, observed) = (taking.observation.source, &mut taking.observation.files[place]);
        self.name_archive(source, observed);
        taking.matched += usize::from(observed.is_matched);
        if taking.may_pass_over && self.pass_over_at_rest(source, observed) {
            return;
        }
        let known = self.followed(source, observed).map(|id| self.files.known(id));
        // A survey that began before a reload still shows what was left out since. What is compressed into a file goes on,
        // whatever the source makes of the file's name.
        let is_shown = observed.is_matched
            && (!self.leaving.is_outdated(taking.began) || self.leaving.takes(source, &observed.path))
            && known.is_none_or(|file| !file.kind.decompressed);
        let names = if is_shown { &mut taking.seen } else { &mut taking.beside };
        if known.is_some_and(|file| file.path == observed.path) {
            names.insert(observed.identity, place);
        } else {
            names.entry(observed.identity).or_insert(place);
        }
    }

    /// Compares what is known of a file with what was seen, if it is the source's.
    fn compare(&mut self, taking: &Taking, id: FileId, now: Instant) {
        let Taking { observation: Observation { source, files, hidden, .. }, began, .. } = taking;
        let Some(file) = self.files.get(id).filter(|file| file.source == *source) else { return };
        let identity = file.identity;
        if self.is_passed_over(id) {
            return;
        }
        if let Some(place) = taking.seen.get(&identity) {
            self.seen_again(id, &files[*place], *began, now);
        } else if !hidden.holds(&self.files.known(id).path) {
            self.not_seen(id, taking.beside.get(&identity).map(|place| &files[*place]), now);
        }
    }

    fn meet_one(&mut self, taking: &Taking, place: usize, now: Instant) {
        let Taking { observation, began, at_first_start, .. } = taking;
        let (source, observed) = (observation.source, &observation.files[place]);
        if !self.is_too_old(source, observed, observation.unix_time) && !self.is_compressed(source, observed)
        {
            self.meet(source, observed, *at_first_start, *began, now);
        }
    }

    /// Everything that was there is marked.
    fn all_are_met(&mut self, taking: &mut Taking, now: Instant) {
        let source = taking.observation.source;
        if taking.is_first {
            self.saves.await_marks(source);
        }
        if let Some(first) = taking.first_look.take() {
            self.saves.await_first_look(source, first, now);
        }
        if taking.at_first_start && self.settings.sources[source.0].start_at == StartAt::End {
            self.saves.await_look(source, now);
        }
        self.surveys.shown(source);
    }

    fn look_at_what_is_beside(&mut self, taking: &Taking, now: Instant) {
        let observation = &taking.observation;
        let beside = taking.beside();
        let shown = beside.values().copied().chain(taking.seen());
        self.look_beside(observation.source, shown, &observation.hidden, now);
        self.fix_held_ends(observation.source, &observation.held);
        self.on_held(&observation.held, now);
    }

    fn find_copies(&mut self, taking: &Taking, now: Instant) {
        let compressed = taking.seen().filter(|observed| uncompressed(&observed.path).is_some());
        let beside = taking.beside();
        self.open_candidates(&taking.observation, beside.values().copied().chain(compressed), now);
    }

    fn forget_what_is_gone(&mut self, taking: &Taking, now: Instant) {
        let observation = &taking.observation;
        let source = observation.source;
        self.forget_compressed(source, |file| taking.seen.contains_key(file), &observation.hidden);
        self.forget_archives(observation);
        self.forget_told(observation);
        if self.surveys.taken_in(source, taking.matched, now) {
            self.report(Report::Matchless { source });
        }
    }
}

#[cfg(test)]
mod tests;
