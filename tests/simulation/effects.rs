//! What the engine asks for: carried out on the fake disk and at the fake services, late, wrongly, or never answered.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use standpipe::engine::port::{
    Compare, Effect, Event, FileFault, FileId, Held, Likeness, Observation, Observed, Open, Put, Read,
    Reload, Survey, WantedStreams,
};
use standpipe::engine::report::{Loss, Report};
use standpipe::model::checkpoint::{Checkpoint, Save};
use standpipe::model::offset::Span;
use standpipe::model::route::Route;
use standpipe::model::settings::{Settings, SourceId, StartAt, StreamId};
use standpipe::model::time::Instant;
use standpipe::model::verdict::Verdict;

use super::disk::{File, FileIndex};
use super::excuse::Excuse;
use super::oracle;
use super::service::{Illness, POISON, STUBBORN, has};
use super::world::{Todo, World};

/// What the engine asks for at once, where a stream has enough, but for what it looks at again.
const A_SIP_BYTES: usize = 32 * 1024;

/// What is the matter with the disk.
#[derive(Debug, Default)]
pub struct Ailments {
    /// Directories whose files are never opened or read to the end of it.
    pub silent: BTreeSet<PathBuf>,
    pub is_survey_silent: bool,
    pub is_save_silent: bool,
    /// Open files whose descriptors went bad: a fresh one would work.
    pub stale: BTreeSet<FileId>,
    /// What the last survey showed of each file: how often it had been truncated, and its size.
    shown: BTreeMap<FileIndex, (u64, u64)>,
    /// By how many seconds the wall clock is off.
    pub clock_seconds: u64,
    /// Whether a survey has shown what was there at the first start.
    pub surveyed: BTreeSet<SourceId>,
    /// Sources that a process looked at of which something is durable, or that runs, each with the wall clock of the first
    /// look.
    pub looked: BTreeMap<SourceId, Duration>,
}

/// Whether nothing more is to come of a record.
pub fn is_final(verdict: &Verdict) -> bool {
    !matches!(verdict, Verdict::Retry(_))
}

/// How many lines a record holds, also as a text in an envelope.
fn lines(record: &[u8]) -> u64 {
    let ends = record.iter().filter(|byte| **byte == b'\n').count();
    let is_envelope = record.starts_with(b"{");
    let inside = if is_envelope { record.windows(2).filter(|pair| pair == b"\\n").count() } else { 0 };
    (ends + inside) as u64
}

impl World {
    /// The engine wants something done.
    pub fn ask(&mut self, effect: Effect) {
        match &effect {
            Effect::Put(put) => {
                let service = self.service_of(put.lane);
                self.services[service].check(put, self.now);
                let lines = put.records.iter().map(|data| lines(data)).sum();
                self.puts_under_way.insert(put.request.0, lines);
            }
            Effect::Save(_) => {
                self.saves_under_way += 1;
                self.unsaved_lines.1 = self.unsaved_lines.0;
            }
            Effect::Close(tail) => return self.close(*tail),
            Effect::Report(report) => return self.note(report),
            Effect::Moved { .. } | Effect::Replayed { .. } => unreachable!("nobody asks for it"),
            Effect::Want(_) => self.reached.streams_wanted += 1,
            Effect::Survey(survey) => drop(self.look_asked.insert(survey.source, self.now)),
            Effect::Open(_) | Effect::Read(_) | Effect::Compare(_) => {}
        }
        if self.is_silent(&effect) {
            self.reached.unanswered += 1;
            self.withheld.push((self.process, effect));
            return;
        }
        match effect {
            Effect::Put(put) if self.link.is_some() => self.carry(put),
            effect => {
                let delay = self.delay();
                self.later(delay, Todo::Do(self.process, effect));
            }
        }
    }

    /// Whether an effect is not answered for as long as there is trouble.
    fn is_silent(&self, effect: &Effect) -> bool {
        let in_silent = |path: &Path| self.ailments.silent.iter().any(|silent| path.starts_with(silent));
        match effect {
            Effect::Put(put) => {
                self.services[self.service_of(put.lane)].faults.illness == Some(Illness::Silent)
            }
            Effect::Save(_) => self.ailments.is_save_silent,
            Effect::Survey(survey) => self.ailments.is_survey_silent && survey.source == SourceId(0),
            Effect::Open(open) => in_silent(&open.path),
            Effect::Read(Read { file, .. }) | Effect::Compare(Compare { file, .. }) => {
                let file = self.open[file];
                self.disk.names_of(file).any(in_silent)
            }
            Effect::Close(_)
            | Effect::Report(_)
            | Effect::Moved { .. }
            | Effect::Replayed { .. }
            | Effect::Want(_) => false,
        }
    }

    /// What was not answered is, from now on.
    pub fn answer_all(&mut self) {
        let Ailments { silent, is_survey_silent, is_save_silent, .. } = &mut self.ailments;
        silent.clear();
        (*is_survey_silent, *is_save_silent) = (false, false);
        for (process, effect) in std::mem::take(&mut self.withheld) {
            let delay = self.delay();
            self.later(delay, Todo::Do(process, effect));
        }
    }

    fn note(&mut self, report: &Report) {
        if let Report::Abandoned { bytes, .. } = report {
            self.declared_bytes += bytes;
        }
        match report {
            Report::Held { .. } => self.reached.held += 1,
            Report::HandedOn { files, .. } => self.reached.handed_on += *files as u64,
            Report::TakenBack { files, .. } => self.reached.taken_back += *files as u64,
            Report::Truncated { path, .. } => {
                self.reached.truncations_seen += 1;
                let file = self.disk.find(path);
                self.truncation_told.extend(file.map(|file| (file, self.now)));
            }
            Report::Abandoned { from, why: Loss::HeldTooLong | Loss::DiskFull, .. } => {
                self.given_up = Some(from.bytes());
            }
            Report::Copied { .. } => self.reached.copies_inherited += 1,
            Report::Abandoned { bytes, .. } => self.reached.unread_bytes_lost += bytes,
            _ => {}
        }
    }

    /// What was asked for happens; for a process that is gone, only what was already on its way outside.
    pub fn carry_out(&mut self, process: u64, effect: Effect) {
        let alive = process == self.process && self.engine.is_some();
        let mut late = Duration::ZERO;
        let event = match effect {
            Effect::Put(put) => {
                late = self.services[self.service_of(put.lane)].lateness();
                self.put(&put)
            }
            Effect::Save(save) => self.save(save),
            _ if !alive => return,
            Effect::Survey(request) => self.survey(&request),
            Effect::Open(open) => self.open(&open),
            Effect::Read(read) => {
                self.reached.sips += u64::from((A_SIP_BYTES..2 * A_SIP_BYTES).contains(&read.len));
                self.read(read)
            }
            Effect::Compare(compare) => self.compare(compare),
            Effect::Want(wanted) => self.open_streams(&wanted),
            Effect::Close(_) | Effect::Report(_) | Effect::Moved { .. } | Effect::Replayed { .. } => {
                unreachable!("done at once")
            }
        };
        let delay = late + self.delay();
        self.later(delay, Todo::Tell(process, event));
    }

    /// Streams that paths name are open from now on, or cannot be opened.
    fn open_streams(&mut self, wanted: &WantedStreams) -> Event {
        let chance = self.climate.fail_save;
        if self.chance(chance) {
            self.reached.streams_refused += 1;
            return Event::ReloadRefused;
        }
        self.opened.extend(wanted.wanted.iter().cloned());
        let settings = self.with_opened(self.engine.as_ref().expect("it asked").settings());
        let (retired, names) = (BTreeSet::new(), Vec::new());
        Event::Reload(Box::new(Reload { is_changed: false, settings, retired, names }))
    }

    /// The settings with those streams open that are.
    pub fn with_opened(&self, settings: &Settings) -> Settings {
        let mut settings = settings.clone();
        let place = |name: &str| settings.streams.iter().position(|stream| *stream.name == *name);
        let open = self.opened.iter().filter_map(|name| Some((name.clone(), StreamId(place(name)?))));
        let open: Vec<_> = open.collect();
        for source in &mut settings.sources {
            if let Route::ByPath(by_path) = &mut source.route {
                by_path.open.clone_from(&open);
            }
        }
        settings
    }

    fn chance(&mut self, of: f64) -> bool {
        of > 0.0 && self.rng.f64() < of
    }

    fn survey(&mut self, request: &Survey) -> Event {
        let mut hidden_directory = None;
        if self.rng.f64() < self.climate.hide {
            self.reached.hidden += 1;
            let directories = self.layout.sources.len();
            let which = if directories > 1 { self.rng.usize(0..directories) } else { 0 };
            hidden_directory = Some(self.layout.sources[which].1.clone());
        }
        let mut observation =
            self.disk.survey(request, |path| self.sources_of(path).contains(&request.source));
        if let Some(directory) = hidden_directory {
            observation.files.retain(|file| !file.path.starts_with(&directory));
            observation.hidden.insert(&directory);
            if self.layout.sources.len() == 1 {
                return Event::Observed(observation);
            }
        }
        observation.held = self.held(request);
        self.show_stale_sizes(&mut observation);
        self.ailments.looked.entry(request.source).or_insert(observation.unix_time);
        if self.ailments.surveyed.insert(request.source) {
            self.excuse_what_starts_at_end(&observation);
        }
        Event::Observed(observation)
    }

    /// The sources that match a name, where the engine has them.
    pub fn sources_of(&self, path: &Path) -> Vec<SourceId> {
        let mut sources = self.sources_in_and_out(path);
        sources.retain(|source| !self.is_left_out(*source));
        sources
    }

    /// The sources that match a name, those that the present configuration leaves out as well.
    pub fn sources_in_and_out(&self, path: &Path) -> Vec<SourceId> {
        let Some(engine) = &self.engine else { return Vec::new() };
        let sources = engine.settings().sources.iter().enumerate();
        sources
            .filter(|(_, source)| self.layout.matches(&source.name, path))
            .map(|(place, _)| SourceId(place))
            .collect()
    }

    /// Whether the present configuration leaves out a source of the engine.
    fn is_left_out(&self, source: SourceId) -> bool {
        let engine = self.engine.as_ref().expect("who asks");
        let name = &engine.settings().sources[source.0].name;
        let mut sources = self.settings.sources.iter().enumerate();
        !sources.any(|(place, source)| source.name == *name && !self.left_out.contains(&place))
    }

    /// What is there at the very first look of a source that starts at the end need not come.
    fn excuse_what_starts_at_end(&mut self, observation: &Observation) {
        let Some(engine) = &self.engine else { return };
        let starts_at_end = |source: &SourceId| engine.settings().sources[source.0].start_at == StartAt::End;
        let is_begun = |file: &&Observed| file.is_matched && starts_at_end(&observation.source);
        let observed = observation.files.iter().filter(is_begun);
        for file in observed.filter_map(|file| self.disk.find(&file.path)) {
            let file = &self.disk.files[file];
            let half = file.half.iter().map(|(number, _)| *number);
            for number in file.lines.iter().map(|(_, number)| *number).chain(half) {
                self.oracle.excuse(number, Excuse::StartedAtEnd);
            }
        }
    }

    fn show_stale_sizes(&mut self, observation: &mut Observation) {
        if self.climate.stale_size == 0.0 {
            return;
        }
        for observed in &mut observation.files {
            let Some(file) = self.disk.find(&observed.path) else { continue };
            let generation = self.generation.get(&file).copied().unwrap_or(0);
            let shown = self.ailments.shown.insert(file, (generation, observed.size));
            let is_stale = self.rng.f64() < self.climate.stale_size;
            if let Some((shown, size)) = shown
                && shown == generation
                && is_stale
            {
                observed.size = size;
                self.ailments.shown.insert(file, (generation, size));
            }
        }
    }

    fn held(&self, request: &Survey) -> Vec<Held> {
        let held = |tail: &FileId| {
            let file = *self.open.get(tail)?;
            Some(Held {
                file: *tail,
                size: self.disk.files[file].content.len() as u64,
                disk_bytes: self.disk.files[file].disk_bytes(),
                is_removed: !self.disk.is_named(file),
                is_disk_nearly_full: self.disk.is_nearly_full,
            })
        };
        request.held.iter().filter_map(held).collect()
    }

    /// The daemon learns what is there.
    pub fn note_seen(&mut self, observation: &Observation) {
        // What is shown of a source that was left out meanwhile is no look at it.
        if self.is_left_out(observation.source) {
            let shown = (observation.source, observation.unix_time);
            self.ailments.looked.retain(|source, first| (*source, *first) != shown);
        }
        for observed in &observation.files {
            // A name may lead to another file since. What was looked at while a truncation was found may be what was before it.
            if let Some(file) = self.disk.find(&observed.path)
                && self.disk.files[file].identity == observed.identity
                && self.truncation_told.get(&file) <= self.look_asked.get(&observation.source)
            {
                if let Some((gone, reached)) = self.gone_unread.remove(&file)
                    && observed.size < reached
                {
                    self.oracle.undeclared_bytes += gone;
                }
                self.see(file, observed.size);
            }
        }
    }

    pub fn see(&mut self, file: FileIndex, size: u64) {
        let seen = self.seen_to.entry(file).or_default();
        *seen = (*seen).max(size.min(self.disk.files[file].content.len() as u64));
    }

    fn open(&mut self, open: &Open) -> Event {
        let tail = open.file;
        if self.chance(self.climate.refuse_open) {
            self.reached.unreadable += 1;
            return Event::Opened { file: tail, result: Err(FileFault::Unreadable("simulated".into())) };
        }
        let result = self.disk.open(open).map(|(file, opened)| {
            self.open.insert(tail, file);
            self.closed.remove(&tail);
            self.ailments.stale.remove(&tail);
            opened
        });
        assert!(self.open.len() <= self.descriptors, "more files are open than may be");
        Event::Opened { file: tail, result }
    }

    /// What the wall clock says, since 1970.
    pub fn unix_time(&self) -> Duration {
        self.now.since(Instant::ZERO) + Duration::from_secs(self.ailments.clock_seconds)
    }

    fn read(&mut self, read: Read) -> Event {
        let file = self.open[&read.file];
        let unix_time = self.unix_time();
        if self.ailments.stale.contains(&read.file) || self.chance(self.climate.refuse_read) {
            self.reached.unreadable += 1;
            let result = Err(FileFault::Unreadable("simulated".into()));
            return Event::Bytes {
                file: read.file,
                result,
                unix_time,
                modified: None,
                room: 0,
                begins: true,
            };
        }
        let bytes = self.disk.read(file, read.at.bytes(), read.len);
        let end = read.at.bytes() + bytes.len() as u64;
        let generation = self.generation.get(&file).copied().unwrap_or(0);
        self.served.insert(read.file, (file, generation, end));
        let is_at_end = bytes.len() < read.len;
        let modified = Some(self.disk.files[file].modified()).filter(|_| is_at_end);
        let begins = read.begins.matches(&self.disk.read(file, 0, standpipe::model::identity::HEAD_BYTES));
        Event::Bytes { file: read.file, result: Ok(bytes.into()), unix_time, modified, room: 0, begins }
    }

    fn compare(&mut self, compare: Compare) -> Event {
        let Compare { file, with, at, len } = compare;
        let is_bad = |file| self.ailments.stale.contains(file);
        if is_bad(&file) || is_bad(&with) || self.chance(self.climate.refuse_read) {
            let result = Err(FileFault::Unreadable("simulated".into()));
            return Event::Compared { file, result };
        }
        // The other may have been closed meanwhile.
        let read = |file: &FileId| Some(self.disk.read(*self.open.get(file)?, at.bytes(), len));
        let (Some(one), Some(other)) = (read(&file), read(&with)) else {
            let result = Err(FileFault::Unreadable("closed".into()));
            return Event::Compared { file, result };
        };
        self.reached.compared += 1;
        Event::Compared { file, result: Ok(Likeness::of(&one, &other, len)) }
    }

    pub fn put(&mut self, put: &Put) -> Event {
        let lines = put.records.iter().flat_map(|data| data.split_inclusive(|byte| *byte == b'\n'));
        for generation in lines.filter_map(oracle::generation) {
            // A crash now must not give the number to another.
            assert!(generation < self.next_incarnation, "incarnation {generation} is named, and not durable");
        }
        let service = &self.services[self.service_of(put.lane)];
        let outcome = service.answer(put, &mut self.rng, &mut self.oracle, &mut self.reached);
        Event::PutDone { request: put.request, outcome }
    }

    fn save(&mut self, save: Save) -> Event {
        if self.rng.f64() < self.climate.fail_save {
            self.reached.failed_saves += 1;
            return Event::Saved(Err("simulated".into()));
        }
        for letter in &save.dead_letters {
            let stream = self.stream_called(&letter.stream);
            self.oracle.dead_letter(stream, &letter.data);
            let is_to_blame = [POISON, STUBBORN].iter().any(|word| has(&letter.data, word));
            if !is_to_blame && &*letter.code != "Oversize" {
                self.oracle.blame_wrongly();
            }
        }
        self.keep_record_ids(&save);
        for incarnation in &save.forgotten {
            self.saved.remove(incarnation);
        }
        self.next_incarnation = self.next_incarnation.max(save.reserved);
        for checkpoint in save.checkpoints {
            self.check_checkpoint(&checkpoint);
            self.check_record_ids(&checkpoint);
            self.reached.ranges_saved += u64::from(!checkpoint.settled.is_empty());
            self.next_incarnation = self.next_incarnation.max(checkpoint.incarnation.0 + 1);
            self.saved.insert(checkpoint.incarnation, checkpoint);
        }
        self.looks.extend(save.looks);
        self.first_start = false;
        Event::Saved(Ok(()))
    }

    pub fn stream_called(&self, name: &str) -> usize {
        let place = self.settings.streams.iter().position(|stream| *stream.name == *name);
        place.expect("every stream keeps its name")
    }

    /// L1 for a checkpoint that is durable from now on.
    fn check_checkpoint(&self, checkpoint: &Checkpoint) {
        let stream = 1 << self.stream_called(&checkpoint.stream);
        let same = |file: &&File| file.identity == checkpoint.identity;
        for file in self.disk.files.iter().filter(same) {
            if checkpoint.fingerprint.is_empty() || !checkpoint.fingerprint.matches(&file.content) {
                continue;
            }
            for (end, number) in &file.lines {
                // Most lines are settled, and many ranges lie in some checkpoints: they are asked for the other lines alone.
                if self.oracle.is_settled_in(*number, stream) {
                    continue;
                }
                // Around what a runtime wrote there is more, and parts of other lines between: where it begins is not known.
                let is_wrapped = self.shape.runtime.is_some();
                let start = if is_wrapped { 0 } else { end - self.oracle.text(*number).len() as u64 };
                let is_within = |range: &Span| range.start().bytes() <= start && *end <= range.end().bytes();
                let is_covered = checkpoint.settled.ranges().iter().any(is_within);
                assert!(
                    (*end > checkpoint.offset.bytes() && !is_covered)
                        // What of it is in another file, the checkpoint of that says.
                        || self.oracle.is_cut(*number)
                        || self.oracle.is_excused_by(*number, Excuse::StartedAtEnd),
                    "L1: {checkpoint:?} is beyond line {number}, or covers it, and it is not settled"
                );
            }
        }
    }
}
