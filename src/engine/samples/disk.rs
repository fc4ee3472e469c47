//! A disk of a few files, with an engine, a service that accepts everything, and a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{at, identity, path, settings};
use crate::engine::port::{
    Effect, Event, FileFault, FileId, Held, Hint, Likeness, Observation, Observed, Opened, Put, Read, Reload,
};
use crate::engine::report::Report;
use crate::engine::{Engine, Memory};
use crate::model::checkpoint::{Checkpoint, FirstLook, Save};
use crate::model::identity::{HEAD_BYTES, Identity, Incarnation};
use crate::model::record_id::RecordId;
use crate::model::renamed::Renamed;
use crate::model::settings::{Settings, SourceId, Until};
use crate::model::time::Instant;
use crate::model::verdict::{Encrypted, Outcome, Verdict};
use crate::rules::pattern::{Exclude, ExcludeGlob, Pattern, SourceNames};
use crate::rules::rotation::family::rotated_from;

/// A file; its inode is the second at which it was made.
struct OnDisk {
    inode: u64,
    /// In seconds.
    birth: u64,
    content: Vec<u8>,
    modified: u64,
    /// Whether `content` is what was compressed into the file.
    is_compressed: bool,
}

/// What a compressed file says to whoever reads it as it is.
const GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03 compressed\n";

/// An engine with a disk, a service that accepts everything, and a clock.
pub(in crate::engine) struct World {
    pub(in crate::engine) engine: Engine,
    settings: Settings,
    millis: u64,
    device: u64,
    has_births: bool,
    /// What is durable.
    saved: BTreeMap<Incarnation, Checkpoint>,
    looks: Vec<FirstLook>,
    /// Names that the one source leaves out.
    excluded: Vec<String>,
    /// Whether the one source reads links in another directory, of which each leads to the file of its name.
    pub(in crate::engine) by_links: bool,
    disk: BTreeMap<PathBuf, OnDisk>,
    /// Files that were copied and removed: who has them open still reads them.
    removed: Vec<OnDisk>,
    open: BTreeMap<FileId, u64>,
    /// Those that are open as what was compressed into them.
    decompressed: BTreeSet<FileId>,
    /// Whether the one source matches what rotators make of its files, too.
    matches_all: bool,
    sent: Vec<u8>,
    /// What was sent, each record by itself.
    pub(in crate::engine) records: Vec<Bytes>,
    /// Requests that the service has not answered.
    unanswered: Vec<Put>,
    /// Whether each record that is taken gets a RecordId.
    pub(in crate::engine) gives_ids: bool,
    pub(in crate::engine) copied: usize,
    /// Whether files are opened.
    opens: bool,
    /// Whether the service answers.
    pub(in crate::engine) takes: bool,
    /// A name that may not be opened.
    pub(in crate::engine) forbidden: Option<PathBuf>,
    /// How much was declared lost, each time.
    pub(in crate::engine) lost: Vec<u64>,
    /// Files that were told to be left out, each with how many bytes were not read.
    pub(in crate::engine) left_out: Vec<(PathBuf, u64)>,
    /// Names of files that were told not to be read.
    pub(in crate::engine) skipped: Vec<PathBuf>,
    /// What every save held.
    pub(in crate::engine) saves: Vec<Save>,
}

pub(in crate::engine) fn lines(word: &str, numbers: std::ops::Range<usize>) -> Vec<u8> {
    numbers.flat_map(|number| format!("{word} {number:05}\n").into_bytes()).collect()
}

impl World {
    pub(in crate::engine) fn new(matches_all: bool) -> Self {
        let mut world = Self::before_the_first_look(matches_all);
        world.pass(1);
        world
    }

    pub(in crate::engine) fn before_the_first_look(matches_all: bool) -> Self {
        Self::of_settings(settings(1), matches_all)
    }

    /// As [`before_the_first_look`](Self::before_the_first_look), with other settings.
    pub(in crate::engine) fn of_settings(settings: Settings, matches_all: bool) -> Self {
        let engine = Engine::try_new(settings.clone(), Memory::default(), 0, at(0)).expect("delays in order");
        Self {
            engine,
            settings,
            millis: 10_000,
            device: 1,
            has_births: true,
            saved: BTreeMap::new(),
            looks: Vec::new(),
            excluded: Vec::new(),
            by_links: false,
            disk: BTreeMap::new(),
            removed: Vec::new(),
            open: BTreeMap::new(),
            decompressed: BTreeSet::new(),
            matches_all,
            sent: Vec::new(),
            records: Vec::new(),
            unanswered: Vec::new(),
            gives_ids: false,
            copied: 0,
            opens: true,
            takes: true,
            forbidden: None,
            lost: Vec::new(),
            left_out: Vec::new(),
            skipped: Vec::new(),
            saves: Vec::new(),
        }
    }

    pub(in crate::engine) fn now(&self) -> Instant {
        Instant::at(Duration::from_millis(self.millis))
    }

    /// A file of that content has the name from now on.
    pub(in crate::engine) fn make(&mut self, name: &str, content: &[u8]) {
        let inode = self.millis / 1_000;
        self.millis += 1_000;
        let file = OnDisk {
            inode,
            birth: inode,
            content: content.to_vec(),
            modified: self.millis,
            is_compressed: false,
        };
        self.disk.insert(path(name).to_path_buf(), file);
    }

    /// A rotator compresses the file of that name into another, and removes it; nobody is told.
    pub(in crate::engine) fn compress(&mut self, name: &str, to: &str) {
        let file = self.disk.remove(&*path(name)).expect("there");
        self.make(to, &file.content);
        self.removed.push(file);
        self.disk.get_mut(&*path(to)).expect("just made").is_compressed = true;
    }

    /// A rotator compresses the file of that name into another, and has come to its middle; nobody is told.
    pub(in crate::engine) fn begin_compressing(&mut self, name: &str, to: &str) {
        let content = self.disk[&*path(name)].content.clone();
        self.make(to, &content[..content.len() / 2]);
        self.disk.get_mut(&*path(to)).expect("just made").is_compressed = true;
    }

    /// The rotator has come to its end, and removes what it has compressed; nobody is told.
    pub(in crate::engine) fn end_compressing(&mut self, name: &str, to: &str) {
        let file = self.disk.remove(&*path(name)).expect("there");
        self.disk.get_mut(&*path(to)).expect("it was begun").content.clone_from(&file.content);
        self.removed.push(file);
    }

    /// Somebody moves the file to another file system: it is copied, and keeps when it was written last; nobody is
    /// told.
    pub(in crate::engine) fn transfer_silently(&mut self, from: &str, to: &str) {
        let file = self.disk.remove(&*path(from)).expect("there");
        self.millis += 1_000;
        self.make(to, &file.content);
        self.disk.get_mut(&*path(to)).expect("just made").modified = file.modified;
        self.removed.push(file);
    }

    pub(in crate::engine) fn is_there(&self, name: &str) -> bool {
        self.disk.contains_key(&*path(name))
    }

    /// The file has other content, and inotify says so.
    pub(in crate::engine) fn write(&mut self, name: &str, content: &[u8]) {
        self.touch(name);
        self.disk.get_mut(&*path(name)).expect("there").content = content.to_vec();
        self.tell(Event::Hint(Hint::Grown(path(name))));
    }

    pub(in crate::engine) fn touch(&mut self, name: &str) {
        self.millis += 10;
        self.disk.get_mut(&*path(name)).expect("there").modified = self.millis;
    }

    /// From now on, and as long as nothing else is said, the file system is mounted under this device number, and keeps no
    /// birth times.
    pub(in crate::engine) fn mount(&mut self, device: u64) {
        (self.device, self.has_births) = (device, false);
    }

    /// overlayfs copies a file up: the same inode, another birth time.
    pub(in crate::engine) fn copy_up(&mut self, name: &str) {
        self.disk.get_mut(&*path(name)).expect("there").birth = self.millis / 1_000 + 1;
    }

    pub(in crate::engine) fn rename(&mut self, from: &str, to: &str) {
        self.rename_silently(from, to);
        self.tell(Event::Hint(Hint::Renamed(Renamed { from: path(from), to: path(to) })));
    }

    pub(in crate::engine) fn remove(&mut self, name: &str) {
        self.disk.remove(&*path(name)).expect("there");
        self.tell(Event::Hint(Hint::Names));
    }

    /// As [`remove`](Self::remove), and nobody is told.
    pub(in crate::engine) fn remove_silently(&mut self, name: &str) {
        self.disk.remove(&*path(name)).expect("there");
    }

    /// As [`rename`](Self::rename), and nobody is told.
    pub(in crate::engine) fn rename_silently(&mut self, from: &str, to: &str) {
        let file = self.disk.remove(&*path(from)).expect("there");
        self.disk.insert(path(to).to_path_buf(), file);
    }

    /// As [`write`](Self::write), and nobody is told.
    pub(in crate::engine) fn write_silently(&mut self, name: &str, content: &[u8]) {
        self.touch(name);
        self.disk.get_mut(&*path(name)).expect("there").content = content.to_vec();
    }

    /// What is durable of the file of that name: the frontier.
    pub(in crate::engine) fn saved_to(&self, name: &str) -> Option<u64> {
        let identity = self.identity(&self.disk[&*path(name)]);
        let of_file = self.saved.values().filter(|saved| saved.identity == identity);
        of_file.map(|saved| saved.offset.bytes()).max()
    }

    pub(in crate::engine) fn identity_of(&self, name: &str) -> Identity {
        self.identity(&self.disk[&*path(name)])
    }

    pub(in crate::engine) fn is_open(&self, name: &str) -> bool {
        let inode = self.disk[&*path(name)].inode;
        self.open.values().any(|open| *open == inode)
    }

    /// The one source leaves these names out, from the next configuration on.
    pub(in crate::engine) fn exclude(&mut self, names: &[&str]) {
        self.excluded = names.iter().map(|name| (*name).to_owned()).collect();
    }

    fn names(&self) -> Vec<SourceNames> {
        let pattern = match (self.by_links, self.matches_all) {
            (true, _) => "/links/*.log",
            (false, true) => "/log/*",
            (false, false) => "/log/*.log",
        };
        let patterns = vec![Pattern::parse(pattern).expect("a pattern")];
        let globs = self.excluded.iter().map(|name| ExcludeGlob::parse(name).expect("a glob"));
        let names = SourceNames::new(patterns, Exclude::new(globs.collect()));
        vec![names; self.settings.sources.len()]
    }

    pub(in crate::engine) fn reload(&mut self) {
        self.change_source(0);
    }

    /// Another configuration has one source, which is as the first one was, and has the name that this number stands for.
    pub(in crate::engine) fn change_source(&mut self, number: usize) {
        let like = self.settings.sources[0].clone();
        let sources = self.settings.sources.len().max(number + 1);
        self.settings.sources.resize(sources, like);
        let retired = (0..sources).filter(|other| *other != number).map(SourceId).collect();
        let (settings, names) = (self.settings.clone(), self.names());
        self.tell(Event::Reload(Box::new(Reload { is_changed: true, settings, retired, names })));
    }

    /// A configuration without any source.
    pub(in crate::engine) fn leave_out_all(&mut self) {
        let (settings, names) = (self.settings.clone(), self.names());
        let retired = (0..settings.sources.len()).map(SourceId).collect();
        self.tell(Event::Reload(Box::new(Reload { is_changed: true, settings, retired, names })));
    }

    /// A configuration with one source more, which reads all names: what the first one leaves out is its alone.
    pub(in crate::engine) fn reload_with_the_rest(&mut self) -> Event {
        let mut settings = self.settings.clone();
        settings.sources.push(settings.sources[0].clone());
        let mut names = self.names();
        names.truncate(1);
        self.excluded.clear();
        names.extend(self.names().into_iter().take(1));
        let retired = Default::default();
        Event::Reload(Box::new(Reload { is_changed: true, settings, retired, names }))
    }

    /// The process ends at once, and another begins.
    pub(in crate::engine) fn restart(&mut self) {
        self.restart_for_a_moment();
        self.pass(1);
    }

    /// The process is told to stop, and does so in time; another begins.
    pub(in crate::engine) fn stop_and_restart(&mut self) {
        self.tell(Event::Drain);
        self.come_to_the_end();
        self.restart();
    }

    /// Another process reads to the ends of the files, as `--once` does, and is done in time.
    pub(in crate::engine) fn run_once(&mut self) {
        let until = std::mem::replace(&mut self.settings.until, Until::EndOfFiles);
        self.restart_for_a_moment();
        self.come_to_the_end();
        self.settings.until = until;
    }

    fn come_to_the_end(&mut self) {
        for _ in 0..20 {
            if self.engine.is_done() {
                return;
            }
            self.pass(1);
        }
        assert!(self.engine.is_done(), "it does not come to its end");
    }

    /// As [`restart`](Self::restart), until the first look is answered.
    pub(in crate::engine) fn restart_for_a_moment(&mut self) {
        self.open.clear();
        self.decompressed.clear();
        self.unanswered.clear();
        let memory = Memory {
            checkpoints: self.saved.values().cloned().collect(),
            looks: self.looks.clone(),
            next_incarnation: self.saved.keys().map(|incarnation| incarnation.0 + 1).max().unwrap_or(0),
            names: self.names(),
            ..Memory::default()
        };
        let settings = self.settings.clone();
        self.engine = Engine::try_new(settings, memory, 0, self.now()).expect("delays in order");
        self.tell(Event::Tick);
    }

    /// As [`restart`](Self::restart), after processes that were killed as soon as something was durable, before a file was open.
    pub(in crate::engine) fn restart_unanswered(&mut self, processes: usize) {
        for _ in 0..processes {
            self.opens = false;
            self.restart();
            self.opens = true;
        }
        self.restart();
    }

    fn identity(&self, file: &OnDisk) -> Identity {
        let birth_nanos = i64::try_from(file.birth * 1_000_000_000).ok().filter(|_| self.has_births);
        Identity { device: self.device, birth_nanos, ..identity(file.inode) }
    }

    fn is_matched(&self, name: &Path) -> bool {
        let is_excluded = |excluded: &String| name.file_name().is_some_and(|name| *name == **excluded);
        if self.excluded.iter().any(is_excluded) {
            return false;
        }
        self.matches_all || name.extension().is_some_and(|extension| extension == "log")
    }

    pub(in crate::engine) fn tell(&mut self, event: Event) {
        let mut waiting = vec![event];
        while let Some(event) = waiting.pop() {
            let now = self.now();
            self.engine.handle(event, now);
            self.engine.check_laws();
            while let Some(effect) = self.engine.poll_effect() {
                waiting.extend(self.answer(effect));
            }
        }
    }

    fn observed(&self, name: &Path, file: &OnDisk) -> Observed {
        let is_matched = self.is_matched(name);
        let names = rotated_from(name).into_iter().filter(|from| self.is_matched(from));
        let is_link = self.by_links && is_matched;
        let link = || Path::new("/links").join(name.file_name().expect("named"));
        Observed {
            path: if is_link { link().into() } else { Arc::from(name) },
            target: is_link.then(|| Arc::from(name)),
            identity: self.identity(file),
            size: if file.is_compressed { GZIP.len() as u64 } else { file.content.len() as u64 },
            owner: 0,
            modified: Some(Duration::from_millis(file.modified)),
            is_matched,
            rotated_from: if is_matched { Vec::new() } else { names.map(Arc::from).collect() },
            is_told: false,
        }
    }

    fn take_records(&mut self, put: Put) -> Event {
        self.sent.extend(put.records.iter().flatten());
        let verdicts = put.records.iter().map(|_| self.verdict()).collect();
        self.records.extend(put.records);
        let outcome = Outcome { verdicts, took: Duration::ZERO };
        Event::PutDone { request: put.request, outcome }
    }

    /// The service takes what it has not answered.
    pub(in crate::engine) fn take_unanswered(&mut self) {
        self.takes = true;
        for put in std::mem::take(&mut self.unanswered) {
            let answer = self.take_records(put);
            self.tell(answer);
        }
    }

    fn verdict(&self) -> Verdict {
        let id = self.gives_ids.then(|| RecordId::alone(&format!("record-{}", self.records.len()), 0));
        Verdict::Delivered { encrypted: Encrypted::No, id }
    }

    /// As [`observed`](Self::observed), where a look was told of files that were renamed.
    fn observed_after(&self, name: &Path, file: &OnDisk, renamed: &[Renamed]) -> Observed {
        let mut observed = self.observed(name, file);
        let names = renamed.iter().filter(|renamed| *renamed.to == *name && !observed.is_matched);
        let names: Vec<_> = names.map(|renamed| Arc::clone(&renamed.from)).collect();
        observed.is_told = !names.is_empty();
        observed.rotated_from.extend(names);
        observed
    }

    fn content(&self, file: FileId) -> Option<&OnDisk> {
        let inode = self.open[&file];
        self.disk.values().chain(&self.removed).find(|on_disk| on_disk.inode == inode)
    }

    fn read(&self, file: FileId, at: u64, len: usize) -> Bytes {
        let as_it_is = !self.decompressed.contains(&file);
        let content = match self.content(file) {
            Some(file) if file.is_compressed && as_it_is => GZIP,
            Some(file) => &file.content,
            None => &[],
        };
        let from = usize::try_from(at).expect("small").min(content.len());
        Bytes::copy_from_slice(&content[from..(from + len).min(content.len())])
    }

    /// What the kernel says of a file that was copied and removed, and is open; of others nothing is said.
    fn held(&self, file: FileId) -> Option<Held> {
        let inode = self.open.get(&file)?;
        let removed = self.removed.iter().find(|removed| removed.inode == *inode)?;
        let size = removed.content.len() as u64;
        Some(Held { file, size, disk_bytes: size, is_removed: true, is_disk_nearly_full: false })
    }

    /// What a read brings, and how much room is behind it: NULs that reach to the end of the file.
    fn read_content(&self, read: &Read) -> (Bytes, u64) {
        let bytes = self.read(read.file, read.at.bytes(), read.len);
        let rest = self.read(read.file, read.at.bytes(), usize::MAX >> 1);
        let content = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1).max(read.before);
        match content < bytes.len() {
            true => (bytes.slice(..content), (rest.len() - content) as u64),
            false => (bytes, 0),
        }
    }

    fn answer(&mut self, effect: Effect) -> Option<Event> {
        Some(match effect {
            Effect::Survey(survey) => {
                // No source looks there.
                let shown = self.disk.iter().filter(|(name, _)| !name.starts_with(path("away")));
                Event::Observed(Observation {
                    source: survey.source,
                    files: shown
                        .map(|(name, file)| self.observed_after(name, file, &survey.renamed))
                        .collect(),
                    hidden: crate::model::hidden::Hidden::default(),
                    held: survey.held.iter().filter_map(|held| self.held(*held)).collect(),
                    unix_time: Duration::from_millis(self.millis),
                })
            }
            Effect::Open(_) if !self.opens => return None,
            Effect::Open(open) if self.forbidden.as_deref() == Some(&*open.path) => {
                Event::Opened { file: open.file, result: Err(FileFault::Unreadable("denied".to_owned())) }
            }
            Effect::Open(open) => {
                let real = open
                    .path
                    .strip_prefix("/links")
                    .map_or(open.path.clone(), |name| Path::new("/log").join(name).into());
                let on_disk = self.disk.get(&*real);
                if open.decompressed && on_disk.is_some_and(|found| !found.is_compressed) {
                    let result = Err(FileFault::Unreadable("no gzip".to_owned()));
                    return Some(Event::Opened { file: open.file, result });
                }
                if open.decompressed {
                    self.decompressed.insert(open.file);
                }
                let found = on_disk.map(|found| {
                    let as_it_is = found.is_compressed && !open.decompressed;
                    let content = if as_it_is { GZIP } else { &found.content };
                    let head = Bytes::copy_from_slice(&content[..content.len().min(HEAD_BYTES)]);
                    (
                        found.inode,
                        Opened {
                            identity: self.identity(found),
                            size: content.len() as u64,
                            head,
                            held: open
                                .held
                                .iter()
                                .copied()
                                .find(|held| self.open.get(held) == Some(&found.inode)),
                            place: None,
                        },
                    )
                });
                let result = found.ok_or(FileFault::Gone).map(|(inode, opened)| {
                    self.open.insert(open.file, inode);
                    opened
                });
                Event::Opened { file: open.file, result }
            }
            Effect::Read(read) => {
                let (bytes, room) = self.read_content(&read);
                let modified = self.content(read.file).map(|file| Duration::from_millis(file.modified));
                let modified = modified.filter(|_| bytes.len() < read.len && room == 0);
                let unix_time = Duration::from_millis(self.millis);
                let begins = read.begins.matches(&self.read(read.file, 0, HEAD_BYTES));
                Event::Bytes { file: read.file, result: Ok(bytes), unix_time, modified, room, begins }
            }
            Effect::Compare(compare) => {
                let of = |file| self.read(file, compare.at.bytes(), compare.len);
                let likeness = Likeness::of(&of(compare.file), &of(compare.with), compare.len);
                Event::Compared { file: compare.file, result: Ok(likeness) }
            }
            Effect::Save(save) => {
                self.saves.push(save.clone());
                save.forgotten.iter().for_each(|forgotten| drop(self.saved.remove(forgotten)));
                let saved = save.checkpoints.into_iter().map(|saved| (saved.incarnation, saved));
                self.saved.extend(saved);
                self.looks.extend(save.looks);
                Event::Saved(Ok(()))
            }
            Effect::Put(put) if !self.takes => {
                self.unanswered.push(put);
                return None;
            }
            Effect::Put(put) => self.take_records(put),
            Effect::Close(file) => {
                self.open.remove(&file);
                self.decompressed.remove(&file);
                return None;
            }
            Effect::Moved { .. } | Effect::Replayed { .. } | Effect::Want(_) => return None,
            Effect::Report(report) => {
                self.copied += usize::from(matches!(report, Report::Copied { .. }));
                match report {
                    Report::LeftOut { path, unread, .. } => {
                        self.left_out.push((path.to_path_buf(), unread));
                    }
                    Report::Skipped { path, .. } => self.skipped.push(path.to_path_buf()),
                    Report::Abandoned { bytes, .. } => self.lost.push(bytes),
                    _ => {}
                }
                return None;
            }
        })
    }

    /// Begins a survey, and returns what it shows, of which nobody was told.
    pub(in crate::engine) fn survey_untold(&mut self) -> Event {
        loop {
            self.millis += 250;
            let now = self.now();
            self.engine.handle(Event::Hint(Hint::Names), now);
            let (mut shown, mut others) = (None, Vec::new());
            while let Some(effect) = self.engine.poll_effect() {
                let is_survey = matches!(effect, Effect::Survey(_));
                let answer = self.answer(effect);
                if is_survey { shown = answer } else { others.extend(answer) }
            }
            others.into_iter().for_each(|event| self.tell(event));
            if let Some(shown) = shown {
                return shown;
            }
        }
    }

    /// So many seconds pass, in steps; every fifth second everything is looked at.
    pub(in crate::engine) fn pass(&mut self, seconds: u64) {
        for step in 0..seconds * 4 {
            self.millis += 250;
            self.tell(if step % 20 == 0 { Event::Hint(Hint::Names) } else { Event::Tick });
        }
    }

    /// What was sent since it was asked last, whatever it is.
    pub(in crate::engine) fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sent)
    }

    /// What was sent since it was asked last, in the order of the lines.
    pub(in crate::engine) fn take(&mut self) -> Vec<String> {
        let sent = String::from_utf8(std::mem::take(&mut self.sent)).expect("text");
        let mut sent: Vec<_> = sent.lines().map(str::to_owned).collect();
        sent.sort();
        sent
    }
}

pub(in crate::engine) fn told(content: &[u8]) -> Vec<String> {
    let mut lines: Vec<_> = std::str::from_utf8(content).expect("text").lines().map(str::to_owned).collect();
    lines.sort();
    lines
}
