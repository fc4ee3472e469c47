//! The daemon's process: it starts, ends, gets another configuration, and lets go of files.

use std::collections::BTreeSet;
use std::time::Duration;

use standpipe::engine::port::{Event, FileId, Reload, Watching};
use standpipe::engine::{Engine, Memory};
use standpipe::model::identity::{Identity, RESERVED_AT_ONCE};
use standpipe::model::offset::Offset;
use standpipe::model::settings::Packing;
use standpipe::rules::reload::merge;

use super::climate::{self, Kind};
use super::disk::FileIndex;
use super::excuse::Excuse;
use super::world::World;

impl World {
    pub fn start(&mut self) {
        self.process += 1;
        self.services.iter_mut().for_each(super::service::Service::next_sender);
        self.left_out.clear();
        let with_ranges = self.saved.values().filter(|saved| !saved.settled.is_empty());
        self.reached.started_with_ranges += with_ranges.count() as u64;
        let next_incarnation = self.next_incarnation;
        // Where saves fail, so does what reserves numbers.
        if self.rng.f64() >= self.climate.fail_save {
            self.next_incarnation += RESERVED_AT_ONCE;
        }
        let memory = Memory {
            checkpoints: self.saved.values().cloned().collect(),
            looks: self.looks.clone(),
            next_incarnation,
            reserved: self.next_incarnation,
            first_start: self.first_start,
            names: self.layout.names(&self.settings.sources),
            ..Memory::default()
        };
        if self.first_start {
            self.ailments.looked.clear();
            self.ailments.surveyed.clear();
        }
        let seed = self.rng.u64(..);
        // Those that something is stored for are open from the beginning.
        self.opened = self.saved.values().map(|saved| saved.stream.clone()).collect();
        let settings = self.with_opened(&self.settings);
        let engine = Engine::try_new(settings, memory, seed, self.now);
        self.engine = Some(engine.expect("the delays are in order"));
        self.tell(Event::Descriptors(self.descriptors));
        let watching = if self.rng.bool() { Watching::Full } else { Watching::Partial };
        self.tell(Event::Watching(watching));
    }

    pub fn crash_or_start(&mut self) {
        if self.engine.is_none() {
            return self.start();
        }
        self.reached.crashes += 1;
        self.reached.crashes_with_records_in_flight += u64::from(!self.puts_under_way.is_empty());
        self.reached.crashes_during_a_save += u64::from(self.saves_under_way > 0);
        let under_way: u64 = self.puts_under_way.values().sum();
        self.oracle.excuse_repeats(Excuse::AfterCrash, under_way + self.unsaved_lines.0);
        self.excuse_entwined();
        self.down();
        if self.rng.bool() {
            self.start();
        }
    }

    /// The process is told to end while a record waits that fails whatever happens, and its time runs out. What was
    /// acknowledged by then is durable, so only what is under way may come again.
    pub fn stop_beside_trouble(&mut self) {
        if self.engine.is_none() {
            self.start();
        }
        self.tell(Event::Drain);
        self.pass(Duration::from_secs(25));
        self.tell(Event::Leave);
        self.run_until(|world| world.unsaved_lines.0 == 0 && world.saves_under_way == 0, 10_000);
        self.reached.stops_beside_trouble += u64::from(
            self.status()
                .is_some_and(|status| status.files.listed.iter().any(|file| file.acknowledged < file.read)),
        );
        self.oracle.excuse_repeats(Excuse::AfterCrash, self.puts_under_way.values().sum());
        self.excuse_entwined();
        self.down();
        self.start();
    }

    /// Messages that stand in each other are durable together.
    fn excuse_entwined(&mut self) {
        let open: BTreeSet<_> = self.open.values().copied().collect();
        let mut lines = 0;
        for file in open.into_iter().map(|file| &self.disk.files[file]) {
            let saved = self.saved.values().filter(|saved| saved.identity == file.identity);
            let saved = saved.max_by_key(|saved| saved.offset);
            for span in self.shape.entwined(&file.content) {
                let (start, end) = (Offset::new(span.start), Offset::new(span.end));
                let is_durable = saved.is_some_and(|saved| {
                    let mut ranges = saved.settled.ranges().iter();
                    end <= saved.offset || ranges.any(|range| range.start() <= start && end <= range.end())
                });
                let within = file.lines.iter().filter(|(at, _)| span.start < *at && *at <= span.end);
                let accepted = within.filter(|(_, number)| self.oracle.is_settled_in(*number, file.due));
                lines += if is_durable { 0 } else { accepted.count() as u64 };
            }
        }
        self.oracle.excuse_repeats(Excuse::Entwined, lines);
    }

    /// The process ends, and with it all that it held.
    pub fn down(&mut self) {
        self.engine = None;
        self.process += 1;
        self.puts_under_way.clear();
        self.saves_under_way = 0;
        self.unsaved_lines = (0, 0);
        self.ailments.stale.clear();
        let open = std::mem::take(&mut self.open);
        let files: BTreeSet<_> = open.into_values().collect();
        for file in files {
            if !self.disk.is_named(file) {
                self.bytes_gone(file, Excuse::StoppedBeforeRead);
                self.release(file);
            }
        }
        self.oracle.crashed();
        self.closed.clear();
        self.read_to.clear();
        self.served.clear();
        let unmatched = self.disk.names.values().copied();
        let unmatched: Vec<_> =
            unmatched.filter(|file| !self.is_matched(*file) && !self.is_saved(*file)).collect();
        for file in unmatched {
            self.excuse(file, Excuse::RenamedUnseen);
        }
    }

    /// Whether any name of a file is one that a source matches.
    pub fn is_matched(&self, file: FileIndex) -> bool {
        self.disk.names_of(file).any(|path| self.layout.due(path) != 0)
    }

    pub fn is_saved(&self, file: FileIndex) -> bool {
        let identity: Identity = self.disk.files[file].identity;
        let content = &self.disk.files[file].content;
        self.saved.values().filter(|saved| saved.identity == identity).any(|saved| {
            // Without a birth time, an inode that was recycled looks like the file that had it before.
            let before = usize::try_from(saved.offset.bytes()).ok().and_then(|offset| content.get(..offset));
            identity.birth_nanos.is_some()
                || (!saved.fingerprint.is_empty()
                    && saved.fingerprint.matches(content)
                    && before.is_some_and(|before| saved.window.matches(before)))
        })
    }

    /// Another configuration: other settings for the stream, with or without some sources.
    pub fn reload(&mut self, without: &BTreeSet<usize>, renamed: bool) {
        let Some(old) = self.engine.as_ref().map(|engine| engine.settings().clone()) else { return };
        self.reached.reloads += 1;
        let (leaves, comes) = (!without.is_subset(&self.left_out), !self.left_out.is_subset(without));
        self.reached.sources_removed += u64::from(leaves);
        self.reached.sources_back_with_records_under_way +=
            u64::from(comes && !self.puts_under_way.is_empty());
        self.left_out.clone_from(without);
        if self.is_wide() && !without.is_empty() && !self.climate.keep_halves {
            // What is left without a newline in a file that no source matches any more is shipped as it is.
            self.disk.complete_all();
        }
        let mut new = self.settings.clone();
        match self.kind {
            Kind::Wide(_) if renamed => {
                for source in &mut new.sources {
                    source.name = format!("{}'", source.name).into();
                }
            }
            Kind::Wide(_) => {}
            Kind::Plain | Kind::Packed | Kind::Enveloped | Kind::Shaped => new = self.other_settings(),
        }
        self.settings = new.clone();
        let engine = self.engine.as_ref().expect("it has settings");
        let unused = engine.unused_streams().into_iter().collect();
        let mut place = 0..;
        new.sources.retain(|_| !without.contains(&place.next().expect("endless")));
        let merged = merge(&old, &new, &unused);
        let retired = merged.retired();
        let names = self.layout.names(&merged.settings.sources);
        self.tell(Event::Reload(Box::new(Reload {
            is_changed: true,
            settings: merged.settings,
            retired,
            names,
        })));
    }

    /// Drawn anew, but for what lines look like.
    fn other_settings(&mut self) -> standpipe::model::settings::Settings {
        let mut new = climate::settings(&mut self.rng);
        let packing = self.packing;
        new.sources[0].format = self.settings.sources[0].format.clone();
        self.shape.apply(&mut new);
        // Lines that share records do so in every other configuration.
        new.streams[0].packing =
            if packing != Packing::Off && self.rng.bool() { Packing::Off } else { packing };
        // A budget below what is already in memory would be exceeded for a while.
        new.memory = self.settings.memory;
        self.services[0].change(new.streams[0].quota);
        new
    }

    /// I11: the daemon lets go of a file.
    pub fn close(&mut self, tail: FileId) {
        let file = self.open.remove(&tail).expect("a file is closed once");
        self.ailments.stale.remove(&tail);
        if !self.left_out.is_empty() && !self.is_matched(file) {
            // Let go of unread, as it was asked for.
            self.excuse(file, Excuse::LeftOut);
        }
        let is_named = self.disk.is_named(file);
        if self.descriptors < usize::MAX && !is_named {
            self.excuse_what_came_since(file);
        }
        let given_up = self.given_up.take();
        if let Some(from) = given_up {
            for (end, number) in &self.disk.files[file].lines {
                if !self.oracle.is_settled(*number) {
                    self.oracle.bytes_gone(*number, *end <= from, Excuse::GivenUp);
                }
            }
        }
        if self.descriptors < usize::MAX && is_named {
            self.reached.closed_for_others += 1;
            self.closed.insert(tail, file);
        }
        if !is_named && !self.open.values().any(|open| *open == file) {
            if !self.seen_to.contains_key(&file) {
                // It was opened under the name of another, which no look had shown it under, and is gone.
                self.excuse(file, Excuse::BetweenTwoLooks);
            }
            self.check_closed(file, given_up.is_some());
            // What was refused and is not durable yet exists only in the daemon's memory now.
            self.bytes_gone(file, Excuse::BetweenTwoLooks);
            self.release(file);
        }
    }

    /// A file may be closed when it was at its end a moment ago: what came since, and went with it, was not there when
    /// anybody looked.
    fn excuse_what_came_since(&mut self, file: FileIndex) {
        let read_to = self.read_to.get(&file).copied().unwrap_or(0);
        let unseen = self.disk.files[file].lines.iter().filter(|(end, _)| *end > read_to);
        for (_, number) in unseen {
            if !self.oracle.is_settled(*number) {
                self.oracle.bytes_gone(*number, false, Excuse::ClosedAndDeleted);
            }
        }
    }

    fn check_closed(&self, file: FileIndex, is_given_up: bool) {
        for (_, number) in self.disk.files[file].lines.iter().filter(|_| self.left_out.is_empty()) {
            assert!(
                self.oracle.is_rejected(*number)
                    || self.oracle.is_settled(*number)
                    || self.oracle.is_excused(*number)
                    || (is_given_up && self.oracle.is_fragile(*number)),
                "I11: closed with line {number} undelivered"
            );
        }
    }

    /// Nobody holds the file any more: its inode may be given to another.
    pub fn release(&mut self, file: FileIndex) {
        if !self.disk.used.contains(&file) {
            self.disk.release(file);
        }
    }

    /// The daemon cannot know of this file.
    pub fn excuse(&mut self, file: FileIndex, why: Excuse) {
        let file = &self.disk.files[file];
        for number in file.lines.iter().map(|(_, number)| *number).chain(file.cut) {
            // Nothing is due of a line whose rest is still to come.
            if Some(number) == file.cut || !self.oracle.is_settled(number) {
                self.oracle.bytes_gone(number, false, why);
            }
        }
    }

    /// The file's content is gone for all who have not read it.
    pub fn bytes_gone(&mut self, file: FileIndex, why: Excuse) {
        self.bytes_gone_but_for(file, &BTreeSet::new(), why);
    }

    /// The same but for lines that are elsewhere too. What was seen of the others is to be declared lost.
    pub fn bytes_gone_but_for(
        &mut self,
        file: FileIndex,
        elsewhere: &BTreeSet<super::disk::LineNumber>,
        why: Excuse,
    ) {
        let read_to = self.read_to.get(&file).copied().unwrap_or(0);
        let seen_to = self.seen_to.get(&file).copied().unwrap_or(0);
        // Of content that came after one that was cut off between two reads, nobody can know more than how far it reached
        // beyond what was read of that one.
        let present = self.generation.get(&file).copied().unwrap_or(0);
        let served = self.served.values().filter(|(of, generation, _)| (*of, *generation) == (file, present));
        let served_to = served.map(|(.., end)| *end).max().unwrap_or(0);
        let taken_to = if self.engine.is_some() { self.taken_in(file) } else { 0 };
        let counted_to = self.counted_to.get(&file).copied().unwrap_or(0);
        let known_to = read_to.max(served_to).max(taken_to).max(counted_to);
        self.counted_to.insert(file, seen_to.max(counted_to));
        let mut gone = 0;
        for (end, number) in &self.disk.files[file].lines {
            if !elsewhere.contains(number) && !self.oracle.is_settled(*number) {
                self.oracle.bytes_gone(*number, *end <= read_to, why);
                if *end > known_to && *end <= seen_to && self.engine.is_some() {
                    gone += (self.oracle.text(*number).len() as u64).min(*end - known_to);
                }
            }
        }
        if known_to > 0 || !self.disk.is_named(file) {
            self.oracle.undeclared_bytes += gone;
        } else if gone > 0 {
            // Nothing was read of it: only that less is there says that it is gone.
            self.gone_unread.insert(file, (gone, seen_to));
        }
    }
}
