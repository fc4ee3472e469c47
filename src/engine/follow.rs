//! Which files are followed: surveys, openings, names that come and go.
//!
//! Routes what was seen to `rules::rotation` and keeps the index of open files. Does not read lines.
//!
//! *Invariant (L9):* whatever hints said or failed to say, every survey compares all that is there with all that
//! is known.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Identity, Incarnation};
use crate::model::offset::Offset;
use crate::model::settings::{OnDrain, SourceId, StartAt, StreamId};
use crate::model::time::Instant;
use crate::rules::history::{Head, History};
use crate::rules::rotation::{recognise, same_file, uncompressed};

use super::Engine;
use super::life::{Afterwards, Life};
use super::port::{Effect, FileFault, FileId, Hint, Observation, Observed, Opened, Survey, Watching};
use super::report::{Loss, Report, Rotation, Start};
use super::tail::{Descriptor, LastLine, Name, Phase, Tail};

/// How long until the next look at everything when hints can be relied on: it finds what mmap writers and lost
/// hints leave.
const SURVEY_EVERY: Duration = Duration::from_secs(20);

/// The same when they cannot.
const SURVEY_EVERY_UNWATCHED: Duration = Duration::from_secs(1);

/// The same while files wait for memory: what happens to one that is not read is seen by surveys alone.
const SURVEY_EVERY_STARVED: Duration = Duration::from_secs(5);

/// The least time between surveys that hints ask for, so that a directory with much coming and going costs a
/// bounded part of a core; also that many times what the last survey took.
const SURVEY_GAP: Duration = Duration::from_millis(50);
const SURVEY_GAP_FACTOR: u32 = 10;

/// How often files without a name are looked at: hints no longer find them.
const UNNAMED_EVERY: Duration = Duration::from_secs(1);

/// When to look at names, and what for.
#[derive(Debug)]
pub(super) struct Surveys {
    pub(super) watching: Watching,
    /// Something asks for a survey as soon as may be.
    pub(super) wanted: bool,
    under_way: bool,
    /// Whether files wait for memory to be read.
    pub(super) starved: bool,
    began: Option<Instant>,
    took: Duration,
    /// Directories to look into once: they held files that no source showed at the first survey.
    beside: Option<Vec<Arc<Path>>>,
    /// Whether checkpoints may still be found beside the sources' names.
    pub(super) may_look_beside: bool,
    first_start: bool,
    unnamed_at: Instant,
    /// Directories to look into with the next survey, for files that are not where they were.
    seek: BTreeSet<Arc<Path>>,
    /// Those that the survey under way looks into.
    sought: BTreeSet<Arc<Path>>,
}

impl Surveys {
    pub(super) fn new(first_start: bool, stored: &[Checkpoint]) -> Self {
        Self {
            watching: Watching::Full,
            wanted: true,
            under_way: false,
            starved: false,
            began: None,
            took: Duration::ZERO,
            beside: None,
            may_look_beside: !stored.is_empty(),
            first_start,
            unnamed_at: Instant::ZERO,
            seek: BTreeSet::new(),
            sought: BTreeSet::new(),
        }
    }

    /// The next survey looks at what else is in the directory of `path`.
    pub(super) fn seek_beside(&mut self, path: &Path) {
        if let Some(directory) = path.parent() {
            self.seek.insert(Arc::from(directory));
        }
        self.wanted = true;
    }

    /// Whether the survey in hand did so.
    pub(super) fn has_looked_beside(&self, path: &Path) -> bool {
        path.parent().is_none_or(|directory| self.sought.contains(directory))
    }

    /// Whether every name has been looked at once.
    pub(super) fn surveyed(&self) -> bool {
        !self.first_start && self.began.is_some() && !(self.under_way && self.took.is_zero())
    }

    fn due(&self) -> Option<Instant> {
        if self.under_way {
            return None;
        }
        let Some(began) = self.began else {
            return Some(Instant::ZERO);
        };
        let delay = match (self.wanted, self.watching) {
            (true, _) => SURVEY_GAP.max(self.took * SURVEY_GAP_FACTOR),
            (false, Watching::Full) if self.starved => SURVEY_EVERY_STARVED,
            (false, Watching::Full) => SURVEY_EVERY,
            (false, Watching::Partial) => SURVEY_EVERY_UNWATCHED,
        };
        Some(began + delay)
    }
}

impl Engine {
    pub(super) fn on_hint(&mut self, hint: Hint) {
        match hint {
            Hint::Grown(path) => {
                for tail in self.by_path.get(&path).cloned().unwrap_or_default() {
                    self.wake(tail);
                }
            }
            Hint::Names => self.surveys.wanted = true,
            Hint::Everything => {
                self.counts.watch_overflows += 1;
                self.surveys.wanted = true;
                let tails: Vec<_> = self.tails.keys().copied().collect();
                for tail in tails {
                    self.wake(tail);
                }
            }
        }
    }

    /// Starts the survey that is due, and looks after files without a name.
    pub(super) fn follow(&mut self, now: Instant) {
        let idle = self.finishing.is_some_and(|finishing| finishing.surveyed) && !self.surveys.wanted;
        if !idle && self.surveys.due().is_some_and(|at| at <= now) {
            self.surveys.wanted = false;
            self.surveys.under_way = true;
            self.surveys.began = Some(now);
            let mut also = self.surveys.beside.clone().unwrap_or_default();
            self.surveys.sought = std::mem::take(&mut self.surveys.seek);
            also.extend(self.surveys.sought.iter().cloned());
            self.effects.push_back(Effect::Survey(Survey { also, held: self.held() }));
        }
        if self.surveys.unnamed_at <= now {
            self.surveys.unnamed_at = now + UNNAMED_EVERY;
            self.look_after_unnamed(now);
        }
    }

    pub(super) fn follow_deadline(&self, now: Instant) -> Option<Instant> {
        let finishing = self.finishing.is_some_and(|finishing| finishing.surveyed) && !self.surveys.wanted;
        let survey = if finishing { None } else { self.surveys.due() };
        let looked_after =
            self.needs_tick.then_some(self.surveys.unnamed_at.max(now + Duration::from_millis(1)));
        survey.into_iter().chain(looked_after).min()
    }

    pub(super) fn on_observed(&mut self, observation: &Observation, now: Instant) {
        self.surveys.under_way = false;
        self.surveys.took = now.since(self.surveys.began.unwrap_or(now));
        let seen = self.one_name_each(&observation.files);
        let beside: BTreeMap<Identity, &Observed> = observation
            .files
            .iter()
            .filter(|file| file.sources.is_empty())
            .map(|file| (file.identity, file))
            .collect();

        let known: Vec<_> = self.tails.iter().map(|(id, tail)| (*id, tail.source, tail.identity)).collect();
        for (id, source, identity) in known {
            match seen.get(&(source, identity)) {
                Some(file) => self.seen_again(id, file, now),
                None => {
                    let path = &self.tails[&id].path;
                    let is_hidden = observation.hidden.iter().any(|hidden| path.starts_with(hidden));
                    if !is_hidden {
                        self.not_seen(id, beside.get(&identity).copied(), now);
                    }
                }
            }
        }
        let at_first_start = std::mem::take(&mut self.surveys.first_start);
        for ((source, identity), file) in &seen {
            if !self.by_file.contains_key(&(*source, *identity)) {
                self.open(*source, file, Name::Matched, at_first_start, now);
            }
        }
        self.look_beside(&seen, &beside, &observation.hidden, now);
        self.on_held(&observation.held, now);
        self.open_candidates(beside.values().copied(), &observation.hidden, now);
        let present: BTreeSet<_> = observation.files.iter().map(|file| &file.path).collect();
        self.unreadable.retain(|(_, path), _| present.contains(path));
        if let Some(finishing) = &mut self.finishing {
            let is_hidden = |directory: &Arc<Path>| observation.hidden.contains(directory);
            let beside = self.surveys.beside.iter().flatten();
            finishing.surveyed |= beside.into_iter().all(is_hidden) && !self.surveys.wanted;
        }
    }

    /// One name for each file of each source (a file may have several): the one it is known by, else the first.
    fn one_name_each<'a>(&self, files: &'a [Observed]) -> BTreeMap<(SourceId, Identity), &'a Observed> {
        let mut seen = BTreeMap::new();
        for file in files {
            // A survey that began before a reload still shows what is no longer configured.
            for source in file.sources.iter().filter(|source| !self.retired.contains(source)) {
                let key = (*source, file.identity);
                let known = self.by_file.get(&key).and_then(|tail| self.tails.get(tail));
                if known.is_some_and(|tail| tail.path == file.path) {
                    seen.insert(key, file);
                } else {
                    seen.entry(key).or_insert(file);
                }
            }
        }
        seen
    }

    fn seen_again(&mut self, id: FileId, file: &Observed, now: Instant) {
        let tail = self.tails.get_mut(&id).expect("a known tail is kept");
        tail.name = Name::Matched;
        tail.last_line = LastLine::Waits;
        tail.size = file.size;
        if tail.path != file.path {
            let (source, from) = (tail.source, Arc::clone(&tail.path));
            self.rename(id, Arc::clone(&file.path), file.target.clone(), now);
            self.count_rotation(source, Rotation::Renamed);
            self.report(Report::Rotated { source, from, to: Some(Arc::clone(&file.path)) });
        }
        if self.is_shorter_than_read(id, file.size) {
            // The next read may have to wait for memory, and the copy of what was cut off may not be there for long.
            return self.begin_again(id, now);
        }
        // Otherwise a size may be older than the last read; only a read says whether the content is the same.
        let seen_bytes = self.tails[&id].incarnation().map(|life| self.lives[&life].seen_bytes);
        let tail = &self.tails[&id];
        let interrupted = tail.dirty && tail.descriptor == Descriptor::None;
        if interrupted || seen_bytes.is_some_and(|seen_bytes| seen_bytes != file.size) {
            self.note_seen(id, file.size, now);
            self.wake(id);
        }
    }

    /// Whether the survey in hand began after the last read, and saw less than was read.
    fn is_shorter_than_read(&self, id: FileId, size: u64) -> bool {
        let tail = &self.tails[&id];
        let Phase::Following(incarnation) = tail.phase else { return false };
        tail.descriptor == Descriptor::Open
            && tail.reading.is_none()
            && self.surveys.began.is_some_and(|began| tail.read_at < began)
            && size < self.lives[&incarnation].position().bytes()
    }

    fn not_seen(&mut self, id: FileId, beside: Option<&Observed>, now: Instant) {
        let tail = &self.tails[&id];
        let is_closed = matches!(tail.descriptor, Descriptor::None | Descriptor::Awaited);
        let (source, from, before) = (tail.source, Arc::clone(&tail.path), tail.name);
        match beside {
            Some(file) if from != file.path => {
                self.rename(id, Arc::clone(&file.path), None, now);
                if is_closed {
                    self.count_rotation(source, Rotation::Renamed);
                    self.report(Report::Rotated {
                        source,
                        from: Arc::clone(&from),
                        to: Some(Arc::clone(&file.path)),
                    });
                }
            }
            None if is_closed => return self.not_found(id, now),
            _ => {}
        }
        let tail = self.tails.get_mut(&id).expect("a known tail is kept");
        if is_closed {
            if tail.name == Name::Matched {
                tail.lost_since = now;
            }
            tail.name = Name::Lost;
            tail.quiet_since = now;
            tail.dirty = true;
            self.needs_tick = true;
            self.await_descriptor(id);
        } else if before == Name::Matched && tail.incarnation().is_some() {
            tail.name = Name::Lost;
            (tail.quiet_since, tail.lost_since) = (now, now);
            self.needs_tick = true;
            self.count_rotation(source, Rotation::Removed);
            self.report(Report::Rotated { source, from, to: None });
            self.wake(id);
        }
    }

    /// Looks once for files that were renamed, while nobody watched, to names that no source matches.
    fn look_beside(
        &mut self,
        seen: &BTreeMap<(SourceId, Identity), &Observed>,
        beside: &BTreeMap<Identity, &Observed>,
        hidden: &[Arc<Path>],
        now: Instant,
    ) {
        if let Some(mut directories) = self.surveys.beside.take() {
            // What could not be looked into is looked into again, whenever there is a survey anyway.
            directories.retain(|directory| hidden.contains(directory));
            self.surveys.beside = Some(directories).filter(|directories| !directories.is_empty());
            let mut by_inode: HashMap<u64, Vec<&Observed>> = HashMap::new();
            for file in beside.values().chain(seen.values()) {
                by_inode.entry(file.identity.inode).or_default().push(file);
            }
            let (mut found, mut missing) = (Vec::new(), Vec::new());
            for (identity, path, stream) in self.unread() {
                let mut sources = self.settings.sources.iter().enumerate();
                let source = sources.find(|(place, source)| {
                    *self.settings.streams[source.stream.0].name == *stream
                        && !self.retired.contains(&SourceId(*place))
                });
                let Some((source, _)) = source else { continue };
                let of_inode = by_inode.get(&identity.inode).into_iter().flatten();
                match of_inode.into_iter().find(|file| same_file(identity, file.identity)) {
                    Some(file) => found.push((SourceId(source), *file)),
                    None if hidden.iter().any(|hidden| path.starts_with(hidden)) => {}
                    None => missing.push((SourceId(source), identity)),
                }
            }
            for (source, file) in found {
                // Another source of its stream may just have found it again.
                if !self.is_followed(file.identity, self.settings.sources[source.0].stream)
                    && file.sources.is_empty()
                {
                    let id = self.open(source, file, Name::Lost, false, now);
                    let tail = self.tails.get_mut(&id).expect("just begun");
                    tail.decompressed = uncompressed(&file.path).is_some();
                }
            }
            for (source, identity) in missing {
                self.on_missing(source, identity, now);
            }
        } else if self.surveys.may_look_beside {
            let mut shown: HashMap<u64, Vec<Identity>> = HashMap::new();
            for (_, identity) in seen.keys() {
                shown.entry(identity.inode).or_default().push(*identity);
            }
            let is_shown = |identity: Identity| {
                let of_inode = shown.get(&identity.inode);
                of_inode.is_some_and(|files| files.iter().any(|file| same_file(identity, *file)))
            };
            let missing = self.unread().filter(|(identity, ..)| !is_shown(*identity));
            let directories: BTreeSet<Arc<Path>> =
                missing.filter_map(|(_, path, _)| path.parent().map(Arc::from)).collect();
            self.surveys.may_look_beside = false;
            if !directories.is_empty() {
                self.surveys.beside = Some(directories.into_iter().collect());
                self.surveys.wanted = true;
            }
        }
    }

    fn is_followed(&self, file: Identity, into: StreamId) -> bool {
        let of_source = |source| self.by_file.contains_key(&(SourceId(source), file));
        let mut sources = self.settings.sources.iter().enumerate();
        sources.any(|(place, source)| source.stream == into && of_source(place))
    }

    /// Of files that are under no name, copies may be left, or what a rotator compressed.
    fn on_missing(&mut self, source: SourceId, file: Identity, now: Instant) {
        let stream = self.settings.sources[source.0].stream;
        if let Some(parted) = self.parted_life(file, stream).filter(|life| !self.cut_off.contains(*life)) {
            self.cut_off(parted, 0, Afterwards::Kept, now);
        }
        let stream = &self.settings.streams[stream.0].name;
        let stored: Vec<_> = self.stored.of(file, stream).cloned().collect();
        for stored in stored {
            self.stored_cut_off(stored, source, Afterwards::Kept, now);
        }
    }

    /// Positions in files that are not open, of sources that are configured: what is known of the file, and its
    /// stream.
    fn unread(&self) -> impl Iterator<Item = (Identity, &Path, &str)> {
        let is_wanted =
            |life: &Incarnation| self.parked.get(life).is_none_or(|source| !self.retired.contains(source));
        let stored = self.stored.iter().filter(move |stored| is_wanted(&stored.incarnation));
        let stored = stored.map(|stored| (stored.identity, &*stored.path, &*stored.stream));
        let lives = self.lives.values().filter(|life| !life.attached && life.afterwards == Afterwards::Kept);
        let lives = lives.filter(move |life| is_wanted(&life.incarnation));
        let stream = |stream: StreamId| &*self.settings.streams[stream.0].name;
        stored.chain(lives.map(move |life| (life.identity, &*life.path, stream(life.stream))))
    }

    pub(super) fn open(
        &mut self,
        source: SourceId,
        file: &Observed,
        name: Name,
        at_first_start: bool,
        now: Instant,
    ) -> FileId {
        let id = FileId(self.next_tail);
        self.next_tail += 1;
        let path = Arc::clone(&file.path);
        let mut tail = Tail::opening(source, Arc::clone(&path), file.identity, name, at_first_start, now);
        tail.target.clone_from(&file.target);
        self.tails.insert(id, tail);
        self.by_file.insert((source, file.identity), id);
        self.index(id);
        self.needs_tick |= name == Name::Lost;
        self.await_descriptor(id);
        id
    }

    pub(super) fn on_opened(&mut self, id: FileId, result: Result<Opened, FileFault>, now: Instant) {
        self.descriptors.opening_is_over();
        let opened = match result {
            Ok(opened) => opened,
            Err(fault) => return self.on_not_opened(id, fault, now),
        };
        let tail = self.tails.get_mut(&id).expect("a tail is kept while it is opened");
        tail.descriptor = Descriptor::Open;
        if !self.is_as_expected(id, &opened, now) {
            return;
        }
        let tail = self.tails.get_mut(&id).expect("just seen");
        if tail.incarnation().is_some() {
            return self.on_reopened(id, &opened, now);
        }
        let source = tail.source;
        let Phase::Opening { at_first_start } = tail.phase else { unreachable!("others are opened again") };
        tail.size = opened.size;
        let unmatched = tail.name == Name::Lost;
        let path = Arc::clone(&tail.path);
        if self.unreadable.remove(&(source, Arc::clone(&path))).is_some() {
            self.report(Report::Readable { source, path: Arc::clone(&path) });
        }
        let stream = self.settings.sources[source.0].stream;
        if self.tails[&id].only_as_copy {
            return self.on_candidate_opened(id, &opened, now);
        }
        if let Some(life) = self.parted_life(opened.identity, stream) {
            return self.go_on_with(id, life, now);
        }
        let stream_name = &self.settings.streams[stream.0].name;
        let mine = self.stored.of(opened.identity, stream_name);
        let found = recognise(opened.identity, opened.size, &opened.head, mine).cloned();
        let start_at = self.settings.sources[source.0].start_at;
        self.supersede(opened.identity, source, found.as_ref().map(|found| found.incarnation), now);
        if found.is_none() && unmatched && opened.identity.birth_nanos.is_none() {
            // Without a birth time nothing says that this is a file a source ever showed.
            return self.drop_tail(id);
        }
        match found {
            Some(stored) => {
                let history = History::resumed(stored.offset, stored.window);
                // As much as the fingerprint vouches for, or was read: what lies beyond may change before it is read.
                let read = usize::try_from(stored.offset.bytes()).unwrap_or(usize::MAX);
                let vouched = opened.head.len().min(usize::from(stored.fingerprint.len()).max(read));
                let head = Head::of(&opened.head[..vouched]);
                self.begin_life(id, stored.incarnation, history, head, Some(&stored));
                self.tails.get_mut(&id).expect("just opened").is_new = stored.offset == Offset::ZERO;
                self.report(Report::Following { source, path, at: stored.offset, why: Start::Checkpoint });
                self.wake(id);
            }
            None if at_first_start && start_at == StartAt::End && opened.size > 0 => {
                self.tails.get_mut(&id).expect("just opened").phase = Phase::FindingEnd;
                self.wake(id);
            }
            None => {
                let incarnation = self.fresh_incarnation();
                self.begin_life(id, incarnation, History::beginning(), Head::default(), None);
                self.tails.get_mut(&id).expect("just opened").is_new = true;
                self.report(Report::Following { source, path, at: Offset::ZERO, why: Start::New });
                self.wake(id);
            }
        }
        self.note_seen(id, opened.size, now);
        self.pace.changed(0, now);
    }

    /// A file has one content: once it is open, every checkpoint of it is either the one that goes on, or that of
    /// a life that is over.
    fn supersede(&mut self, file: Identity, source: SourceId, kept: Option<Incarnation>, now: Instant) {
        let stream = self.settings.sources[source.0].stream;
        let claimed = self.stored.take(file, &self.settings.streams[stream.0].name);
        for stored in claimed.into_iter().filter(|stored| Some(stored.incarnation) != kept) {
            self.stored_cut_off(stored, source, Afterwards::Forgotten, now);
        }
    }

    pub(super) fn on_refused(&mut self, id: FileId, why: String) {
        let tail = &self.tails[&id];
        let (source, path) = (tail.source, Arc::clone(&tail.path));
        self.by_file.remove(&(source, tail.identity));
        self.unindex(id);
        self.tails.remove(&id);
        let before = self.unreadable.insert((source, Arc::clone(&path)), why.clone());
        if before.as_ref() != Some(&why) {
            self.report(Report::Unreadable { source, path, why });
        }
    }

    pub(super) fn fresh_incarnation(&mut self) -> Incarnation {
        self.next_incarnation += 1;
        Incarnation(self.next_incarnation - 1)
    }

    /// From now on `id` reads this incarnation. It is saved even before anything of it is settled: a file that is
    /// renamed before that must be found again.
    pub(super) fn begin_life(
        &mut self,
        id: FileId,
        incarnation: Incarnation,
        history: History,
        head: Head,
        known: Option<&Checkpoint>,
    ) {
        let tail = self.tails.get_mut(&id).expect("a life begins in an open file");
        tail.phase = Phase::Following(incarnation);
        let stream = self.settings.sources[tail.source.0].stream;
        let life = Life::of(tail, stream, incarnation, history, head, known);
        self.lives.insert(incarnation, life);
        self.changed.insert(incarnation);
        self.parting.remove(&incarnation);
        self.parked.remove(&incarnation);
        self.cut_off.remove(incarnation);
    }

    /// An incarnation of which nothing more was to be read, and that is not settled yet: its source was away.
    fn parted_life(&self, file: Identity, stream: StreamId) -> Option<Incarnation> {
        let is_it = |life: &&Life| {
            !life.attached
                && life.afterwards == Afterwards::Kept
                && life.stream == stream
                && same_file(life.identity, file)
        };
        self.lives.values().find(is_it).map(|life| life.incarnation)
    }

    /// It is read on from where reading stopped; the next read says whether it is still the same content.
    fn go_on_with(&mut self, id: FileId, incarnation: Incarnation, now: Instant) {
        let tail = self.tails.get_mut(&id).expect("just opened");
        tail.phase = Phase::Following(incarnation);
        let life = self.lives.get_mut(&incarnation).expect("just found");
        life.attached = true;
        life.source = tail.source;
        life.path = Arc::clone(&tail.path);
        let (source, path, at) = (tail.source, Arc::clone(&tail.path), life.position());
        self.changed.insert(incarnation);
        self.report(Report::Following { source, path, at, why: Start::Checkpoint });
        self.wake(id);
        self.pace.changed(0, now);
    }

    /// The file reaches up to `size`, by a look at it; the next read puts right what is not so.
    pub(super) fn note_seen(&mut self, id: FileId, size: u64, now: Instant) {
        if let Some(incarnation) = self.tails[&id].incarnation() {
            let life = self.lives.get_mut(&incarnation).expect("a followed life is kept");
            life.seen.note(Offset::new(size), now);
            life.let_go();
        }
    }

    /// The content that was read is no longer in the file: it is read again, as another incarnation.
    pub(super) fn begin_again(&mut self, id: FileId, now: Instant) {
        let tail = self.tails.get_mut(&id).expect("a tail begins again while it is open");
        let old = tail.incarnation().expect("a tail begins again after it began");
        tail.quiet_since = now;
        tail.last_line = LastLine::Waits;
        tail.forget_end();
        let (source, path) = (tail.source, Arc::clone(&tail.path));
        let read = self.lives[&old].position();
        self.count_rotation(source, Rotation::Truncated);
        self.report(Report::Truncated { source, path: Arc::clone(&path), read });
        let lost = self.lives[&old].seen_bytes.saturating_sub(read.bytes());
        self.cut_off(old, lost, Afterwards::Forgotten, now);
        let incarnation = self.fresh_incarnation();
        self.begin_life(id, incarnation, History::beginning(), Head::default(), None);
        self.lives.get_mut(&incarnation).expect("just begun").skipping_nuls = true;
        self.pace.changed(0, now);
        self.wake(id);
    }

    /// Declares a loss.
    pub(super) fn abandon(&mut self, source: SourceId, path: Arc<Path>, from: Offset, bytes: u64, why: Loss) {
        *self.counts.sources[source.0].abandoned_bytes.entry(why).or_default() += bytes;
        self.report(Report::Abandoned { source, path, from, bytes, why });
    }

    /// Nothing more is read of this incarnation; once it is settled, its checkpoint is forgotten or kept.
    pub(super) fn detach(&mut self, incarnation: Incarnation, afterwards: Afterwards, now: Instant) {
        let life = self.lives.get_mut(&incarnation).expect("a life is kept until it is settled");
        life.attached = false;
        life.afterwards = afterwards;
        self.forget_if_over(incarnation, now);
    }

    pub(super) fn forget_if_over(&mut self, incarnation: Incarnation, now: Instant) {
        let over = self.lives.get(&incarnation).is_some_and(|life| !life.attached && life.is_settled())
            && !self.cut_off.contains(incarnation);
        if over {
            let life = self.lives.remove(&incarnation).expect("just found");
            self.changed.remove(&incarnation);
            match life.afterwards {
                Afterwards::Forgotten => drop(self.forgotten.insert(incarnation)),
                Afterwards::Kept => {
                    let stream = Arc::clone(&self.settings.streams[life.stream.0].name);
                    self.stored.push(life.checkpoint(stream));
                    self.parting.insert(incarnation);
                }
            }
            self.pace.changed(0, now);
        }
    }

    /// Whether a last line without newline in this file is shipped at its end.
    pub(super) fn ships_last_line(&self, tail: &Tail) -> bool {
        let finishing =
            self.finishing.is_some_and(|finishing| finishing.partial_lines == OnDrain::ShipPartialLines);
        finishing || tail.last_line == LastLine::Ships
    }

    pub(super) fn drop_tail(&mut self, id: FileId) {
        self.unindex(id);
        let tail = self.tails.remove(&id).expect("a tail is dropped once");
        let key = (tail.source, tail.identity);
        if self.by_file.get(&key) == Some(&id) {
            self.by_file.remove(&key);
        }
        if tail.descriptor == Descriptor::Open {
            self.descriptors.release();
            self.effects.push_back(Effect::Close(id));
        }
    }

    fn rename(&mut self, id: FileId, path: Arc<Path>, target: Option<Arc<Path>>, now: Instant) {
        self.unindex(id);
        let tail = self.tails.get_mut(&id).expect("a tail is renamed while it is open");
        tail.path = Arc::clone(&path);
        tail.target = target;
        if let Some(incarnation) = tail.incarnation() {
            self.lives.get_mut(&incarnation).expect("a followed life is kept").path = path;
            self.changed.insert(incarnation);
            self.pace.changed(0, now);
        }
        self.index(id);
    }

    pub(super) fn index(&mut self, id: FileId) {
        let tail = &self.tails[&id];
        for name in std::iter::once(&tail.path).chain(&tail.target) {
            self.by_path.entry(Arc::clone(name)).or_default().push(id);
        }
    }

    pub(super) fn unindex(&mut self, id: FileId) {
        let tail = &self.tails[&id];
        for name in std::iter::once(&tail.path).chain(&tail.target) {
            if let Some(ids) = self.by_path.get_mut(name) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.by_path.remove(name);
                }
            }
        }
    }

    pub(super) fn count_rotation(&mut self, source: SourceId, rotation: Rotation) {
        *self.counts.sources[source.0].rotations.entry(rotation).or_default() += 1;
    }
}
