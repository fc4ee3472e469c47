//! What only one family of the wider world does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::actions::Deed;
use super::cuts::Rest;
use super::disk::FileIndex;
use super::excuse::Excuse;
use super::families::Family;
use super::service::Illness;
use super::world::{Todo, World};

/// What is done; a step that comes later is a deed of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Special {
    /// Many long lines at once.
    Burst(PathBuf),
    /// Writes a file under the first name, and gives it the second one so many microseconds later.
    Publish {
        before: PathBuf,
        name: PathBuf,
        micros: u64,
    },
    /// Renames a file, if it is there and the other name is free.
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    /// Writes the beginning of a message, whose rest comes in the next file of the name: how long before the file is renamed, and
    /// then before the rest comes.
    CutMessage {
        name: PathBuf,
        is_dated: bool,
        waits: [u64; 2],
    },
    TurnOver {
        name: PathBuf,
        is_dated: bool,
        wait: u64,
        rest: Rest,
    },
    GoOn {
        name: PathBuf,
        rest: Rest,
    },
    /// Renames a file, and back.
    OutAndBack {
        name: PathBuf,
        away: PathBuf,
        micros: u64,
    },
    /// Renames each generation to the next number, and begins another; so many times, so far apart.
    Chain {
        name: PathBuf,
        times: u32,
        micros: u64,
    },
    /// Begins a file elsewhere and lets a link lead to it.
    Link {
        link: PathBuf,
        target: PathBuf,
    },
    /// Renames what a link leads to, and begins another file there.
    RotateTarget(PathBuf),
    TruncateTarget(PathBuf),
    /// Lines that are all alike; the file may be truncated before, when all of it was delivered.
    Alike {
        name: PathBuf,
        lines: u32,
        again: bool,
    },
    /// Renames a file in which a line has just begun, which comes in so many pieces, one a second.
    Growing {
        name: PathBuf,
        to: PathBuf,
        pieces: u32,
    },
    Grow {
        name: PathBuf,
        pieces: u32,
    },
    /// Appends to a file if it is there.
    Late {
        name: PathBuf,
        seconds: u64,
    },
    /// Begins a copy, and ends it and truncates later.
    CopySlowly {
        name: PathBuf,
        copy: PathBuf,
        millis: u64,
    },
    EndCopy {
        name: PathBuf,
        copy: PathBuf,
    },
    /// Copies and truncates a file several times at once, with lines between: nobody sees the generations.
    CopyOften {
        name: PathBuf,
        times: u32,
    },
    /// Renames a file, copies it, and unlinks it.
    RenameCopy {
        name: PathBuf,
        copy: PathBuf,
        millis: u64,
    },
    EndRenameCopy {
        away: PathBuf,
        copy: PathBuf,
    },
    /// Renames a file, and puts what is compressed from it in its place.
    Compress {
        name: PathBuf,
        number: u32,
        millis: u64,
    },
    /// Half of it is compressed.
    BeginCompress(PathBuf),
    EndCompress(PathBuf),
    /// Other lines of the same number of bytes in the same file.
    Rewrite(PathBuf),
    /// Makes a file that begins and ends like another, with other lines between, and truncates that.
    Stranger {
        name: PathBuf,
        copy: PathBuf,
    },
    /// A directory, or what stands for surveys, saves or a stream, is silent from now on.
    Silence(Silence),
    /// The descriptor of a file goes bad.
    GoBad(PathBuf),
    /// The stream falls ill, or is well again.
    Ill(Option<bool>),
    /// One delivery stream is down from now on, and the others are well; or all are.
    IllAt(usize, bool),
    /// Sources are called otherwise.
    RenameSources,
    JumpClock(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    Directory(PathBuf),
    Surveys,
    Saves,
    Stream(usize),
}

impl Family {
    /// What the family does next, if anything.
    pub fn draw_deed(self, world: &mut World) -> Option<Special> {
        let name = world.draw_name();
        let number = world.actions.len();
        Some(match self {
            Self::Isolation => Special::Burst(world.layout.sources[0].1.join(name.file_name()?)),
            // Late enough that files are open.
            Self::Silent if number > 40 && world.withheld.is_empty() => Special::Silence(draw_silence(world)),
            Self::SilentReads if number > 40 && world.withheld.is_empty() => {
                Special::Silence(Silence::Directory(world.layout.sources[0].1.clone()))
            }
            Self::SilentSurveys => Special::Silence(Silence::Surveys),
            Self::StaleDescriptors => Special::GoBad(name),
            Self::Reloads => {
                let away = PathBuf::from(format!("/away/{number}.log"));
                Special::OutAndBack { name, away, micros: world.rng.u64(0..30_000_000) }
            }
            Self::RenamedSources => Special::RenameSources,
            Self::Clock => Special::JumpClock(world.rng.u64(0..4_000_000_000)),
            Self::Lanes => Special::IllAt(world.rng.usize(0..world.services.len()), world.rng.bool()),
            Self::Truth if world.rng.bool() => Special::Ill(Some(world.rng.bool())),
            Self::Truth => Special::Burst(name),
            _ => return self.draw_rotation(world, &name, number),
        })
    }

    /// What the family does with files of that name next, if anything.
    fn draw_rotation(self, world: &mut World, name: &Path, number: usize) -> Option<Special> {
        let directory = name.parent()?;
        let fresh = directory.join(format!("f{number}.log"));
        let micros = world.rng.u64(0..2_000);
        let millis = world.rng.u64(0..3_000);
        let name = name.to_owned();
        Some(match self {
            Self::Publish => Special::Publish { before: fresh.with_extension("tmp"), name: fresh, micros },
            Self::Brief if world.rng.bool() => {
                Special::OutAndBack { away: name.with_extension("log.away"), name, micros: micros * 30 }
            }
            Self::Brief => {
                let name = fresh.with_file_name(format!("f{number}-{}.log", micros % 3));
                Special::Publish { before: fresh, name, micros: micros * 60 }
            }
            Self::Cuts => {
                let most = if world.rng.bool() { 200_000 } else { 4_000_000 };
                let waits = [world.rng.u64(0..most), world.rng.u64(0..most)];
                // A rotator has its habit.
                let is_dated = world.rng.bool();
                let name = directory.join(if is_dated { "dated.log" } else { "numbered.log" });
                Special::CutMessage { name, is_dated, waits }
            }
            Self::Chains => Special::Chain { name, times: world.rng.u32(1..4), micros: micros * 50 },
            Self::Moves => {
                let from = world.rng.usize(0..2);
                let at = |place: usize| world.layout.sources[place].1.join(name.file_name().expect("named"));
                Special::Rename { from: at(from), to: at(1 - from) }
            }
            Self::Links | Self::LinkedCopies => self.draw_link(world, &name, number),
            Self::Late => Special::Late { name, seconds: world.rng.u64(0..40) },
            Self::Copies if micros < 400 => Special::Ill(Some(micros < 200)),
            Self::Copies if micros < 1_000 => Special::Burst(name),
            Self::Copies if micros < 1_300 => Special::CopyOften { name, times: world.rng.u32(2..5) },
            Self::Copies => {
                Special::CopySlowly { copy: name.with_extension(format!("log.{number}")), name, millis }
            }
            Self::Alike => {
                let lines = world.rng.u32(100..1_500);
                Special::Alike { name: directory.join("alike.log"), lines, again: world.rng.bool() }
            }
            Self::Growing => {
                let to = name.with_extension(format!("log.{number}"));
                Special::Growing { name, to, pieces: world.rng.u32(2..30) }
            }
            Self::RenameCopy => Special::RenameCopy {
                copy: name.with_extension(format!("log.{number}")),
                name,
                millis: millis / 10,
            },
            Self::Compress => Special::Compress { name, number: u32::try_from(number + 1).ok()?, millis },
            Self::Rewrites => Special::Rewrite(name),
            Self::Strangers => {
                let stem = name.file_stem()?.to_str()?.to_owned();
                Special::Stranger { copy: name.with_file_name(format!("{stem}-{number}.log")), name }
            }
            _ => return None,
        })
    }
}

fn draw_silence(world: &mut World) -> Silence {
    if world.rng.bool() { Silence::Saves } else { Silence::Stream(0) }
}

impl Family {
    fn draw_link(self, world: &mut World, name: &Path, number: usize) -> Special {
        let link = name.with_file_name("link.log");
        let is_linked = world.disk.links.contains_key(&link);
        match self {
            _ if !is_linked || world.rng.u8(0..4) == 0 => {
                Special::Link { link, target: format!("/real/{number}/app").into() }
            }
            Self::LinkedCopies => Special::TruncateTarget(link),
            _ => Special::RotateTarget(link),
        }
    }
}

impl World {
    pub fn then(&mut self, delay: Duration, special: Special) {
        self.later(delay, Todo::Then(Deed::Special(special)));
    }

    pub fn perform_special(&mut self, special: &Special) {
        match special {
            Special::Burst(name) => self.burst(name),
            Special::Publish { before, name, micros } => {
                self.append(before);
                let rename = Special::Rename { from: before.clone(), to: name.clone() };
                self.then(Duration::from_micros(*micros), rename);
            }
            Special::Rename { from, to } => self.rename(from, to),
            Special::CutMessage { name, is_dated, waits } => self.cut_message(name, *is_dated, *waits),
            Special::TurnOver { name, is_dated, wait, rest } => self.turn_over(name, *is_dated, *wait, rest),
            Special::GoOn { name, rest } => self.go_on(name, rest),
            Special::OutAndBack { name, away, micros } => {
                self.rename(name, away);
                let back = Special::Rename { from: away.clone(), to: name.clone() };
                self.then(Duration::from_micros(*micros), back);
            }
            Special::Chain { name, times, micros } => {
                self.chain(name);
                if *times > 1 {
                    let next = Special::Chain { name: name.clone(), times: times - 1, micros: *micros };
                    self.then(Duration::from_micros(*micros), next);
                }
            }
            Special::Link { .. } | Special::RotateTarget(_) | Special::TruncateTarget(_) => {
                self.perform_with_link(special);
            }
            Special::Late { name, seconds } => {
                let late = Special::Late { name: name.with_extension("log.1"), seconds: 0 };
                match seconds {
                    0 if self.disk.find(name).is_some() => self.append(name),
                    0 => {}
                    _ => self.then(Duration::from_secs(*seconds), late),
                }
            }
            Special::Alike { name, lines, again } => self.write_alike(name, *lines, *again),
            Special::Growing { name, to, pieces } => self.begin_to_grow(name, to, *pieces),
            Special::Grow { name, pieces } => self.grow(name, *pieces),
            Special::Rewrite(name) => self.rewrite(name),
            Special::Stranger { name, copy } => self.stranger(name, copy),
            Special::Silence(silence) => self.silence(silence),
            Special::GoBad(name) => self.go_bad(name),
            Special::Ill(ill) => {
                self.services[0].faults.illness = ill.filter(|ill| *ill).map(|_| Illness::Down);
            }
            Special::IllAt(place, ill) => {
                self.services.iter_mut().for_each(|service| service.faults.illness = None);
                self.services[*place].faults.illness = ill.then_some(Illness::Down);
            }
            Special::RenameSources => self.reload(&Default::default(), true),
            Special::JumpClock(seconds) => {
                self.reached.clock_jumps += 1;
                self.ailments.clock_seconds = *seconds;
            }
            Special::CopySlowly { .. }
            | Special::EndCopy { .. }
            | Special::CopyOften { .. }
            | Special::RenameCopy { .. }
            | Special::EndRenameCopy { .. }
            | Special::Compress { .. }
            | Special::BeginCompress(_)
            | Special::EndCompress(_) => self.perform_copy(special),
        }
    }

    fn burst(&mut self, name: &Path) {
        let file = match self.disk.find(name) {
            Some(file) => file,
            None => self.create(name),
        };
        let before = self.disk.files[file].lines.len();
        for _ in 0..200 {
            let (number, text) = self.oracle.write("line", 2_000);
            self.disk.append(file, number, &text, true);
        }
        self.make_due(file, before);
        self.hint_grown(name);
    }

    pub fn rename(&mut self, from: &Path, to: &Path) {
        let Some(file) = self.disk.names.get(from).copied() else { return };
        if self.disk.names.contains_key(to) {
            return;
        }
        self.disk.complete(file);
        let was_matched = self.is_matched(file);
        self.disk.rename(from, to);
        self.named(file);
        self.reached.published += u64::from(!was_matched && self.is_matched(file));
        self.reached.away += u64::from(from.starts_with("/away"));
        if from.starts_with("/away") {
            self.excuse_younger_generations(file, to);
        }
        if !self.is_matched(file) {
            self.note_renamed(file, to);
        }
        self.hint_renamed(from, to);
    }

    /// A file has its name again: what had it meanwhile, and was rotated away before anybody saw it, is younger.
    fn excuse_younger_generations(&mut self, elder: FileIndex, name: &Path) {
        let generations = (0..).map(|number| Self::generation_name(name, number)).skip(1);
        let generations = generations.map_while(|name| self.disk.names.get(&name).copied());
        let is_younger = |file: &FileIndex| {
            self.disk.files[*file].identity.birth_nanos > self.disk.files[elder].identity.birth_nanos
        };
        let is_unseen =
            |file: &FileIndex| !self.open.values().any(|open| open == file) && !self.is_saved(*file);
        let unseen: Vec<_> = generations.filter(|file| is_younger(file) && is_unseen(file)).collect();
        for file in unseen {
            self.excuse(file, Excuse::ElderBack);
        }
    }

    pub fn chain(&mut self, name: &Path) {
        let mut last = 0;
        while self.disk.names.contains_key(&Self::generation_name(name, last)) {
            last += 1;
        }
        for number in (0..last).rev() {
            let (from, to) = (Self::generation_name(name, number), Self::generation_name(name, number + 1));
            self.rename(&from, &to);
        }
        self.append(name);
    }

    fn write_alike(&mut self, name: &Path, lines: u32, again: bool) {
        let file = match self.disk.find(name) {
            Some(file) => file,
            None => self.create(name),
        };
        let mut again_lines = 0;
        if again && self.oracle.alike_missing() == 0 {
            // As many again: no look shows anything of it, and these are excused (`Excuse::SameBytes`).
            again_lines = self.disk.files[file].content.len() / super::oracle::ALIKE.len();
            self.cut(file, &Default::default(), Excuse::CutOff);
        }
        for _ in 0..again_lines + lines as usize {
            self.disk.files[file].content.extend_from_slice(super::oracle::ALIKE);
        }
        self.oracle.write_alike(lines);
        self.hint_grown(name);
    }

    fn begin_to_grow(&mut self, name: &Path, to: &Path, pieces: u32) {
        let Some(file) = self.disk.names.get(name).copied() else { return };
        let is_open = self.open.values().any(|open| *open == file);
        if !is_open || self.disk.names.contains_key(to) {
            return;
        }
        let (number, text) = self.oracle.write("line", 100);
        self.disk.append(file, number, &text, false);
        self.make_due(file, 0);
        self.disk.rename(name, to);
        self.hint_renamed(name, to);
        self.then(Duration::from_secs(1), Special::Grow { name: to.to_owned(), pieces });
    }

    fn grow(&mut self, name: &Path, pieces: u32) {
        let Some(file) = self.disk.find(name) else { return };
        if pieces == 0 {
            self.disk.complete(file);
        } else {
            self.disk.grow(file);
            self.then(Duration::from_secs(1), Special::Grow { name: name.to_owned(), pieces: pieces - 1 });
        }
        self.hint_grown(name);
    }

    fn rewrite(&mut self, name: &Path) {
        let Some(file) = self.disk.find(name) else { return };
        self.disk.complete(file);
        let bytes = self.disk.files[file].content.len();
        if bytes < 100 {
            return;
        }
        self.cut(file, &Default::default(), Excuse::CutOff);
        // Longer lines than a record takes would come in pieces.
        const MAX_LINE_BYTES: usize = 100_000;
        let mut left = bytes;
        while left > 0 {
            let len = if left > MAX_LINE_BYTES + 100 { MAX_LINE_BYTES } else { left };
            let (number, text) = self.oracle.write_exactly(len);
            self.disk.append(file, number, &text, true);
            left -= len;
        }
        self.make_due(file, 0);
        self.hint_grown(name);
    }

    fn silence(&mut self, silence: &Silence) {
        match silence {
            Silence::Directory(directory) => {
                self.ailments.silent.insert(directory.clone());
            }
            Silence::Surveys => self.ailments.is_survey_silent = true,
            Silence::Saves => self.ailments.is_save_silent = true,
            Silence::Stream(stream) => self.services[*stream].faults.illness = Some(Illness::Silent),
        }
    }

    fn go_bad(&mut self, name: &Path) {
        let Some(file) = self.disk.find(name) else { return };
        let open = self.open.iter().filter(|(_, open)| **open == file).map(|(tail, _)| *tail);
        self.ailments.stale.extend(open);
    }
}
