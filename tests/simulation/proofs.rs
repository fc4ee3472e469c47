//! What must hold in trouble, once trouble is over, and after a clean stop.

use std::cell::Cell;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use standpipe::engine::port::Event;
use standpipe::engine::{Engine, FileState};
use standpipe::model::verdict::RetryReason;

use super::climate::{CALM, Kind};
use super::disk::FileIndex;
use super::families::Family;
use super::link::Sum;
use super::reached::Reached;
use super::service::{Faults, Illness};
use super::world::World;

/// How long a line of what is well may take, whatever the matter is with others.
const ISOLATED_WITHIN: Duration = Duration::from_secs(10);

/// A link that is not thin, before it gets so.
const WIDE_BYTES_PER_SECOND: f64 = 1_000_000.0;

impl World {
    /// One file, and a process.
    pub fn begin(&mut self) {
        let first = self.layout.sources[0].1.join("0.log");
        self.create(&first);
        self.start();
    }

    /// Lets the world be as bad as it is for `actions` actions, then good, and checks that nothing is missing.
    pub fn run(&mut self, actions: u64) {
        match self.kind {
            Kind::Wide(Family::Share) => return self.prove_share(),
            Kind::Wide(Family::Outage) => return self.prove_outage(),
            Kind::Wide(Family::Thin) => return self.prove_thin(),
            Kind::Wide(Family::NoState) => self.ailments.is_save_silent = true,
            _ => {}
        }
        self.act_all(actions);
        if let Kind::Wide(
            Family::Isolation
            | Family::Silent
            | Family::SilentReads
            | Family::SilentSurveys
            | Family::NoState,
        ) = self.kind
        {
            self.check_isolation();
        }
        if self.kind == Kind::Wide(Family::Truth) {
            self.check_lag();
        }
        if self.kind == Kind::Wide(Family::Stubborn) {
            self.stop_beside_trouble();
        }
        self.end_trouble();
        let patience = self.now + Duration::from_secs(if self.is_wide() { 1_200 } else { 7_200 });
        let looked_at = Cell::new((0, false));
        let is_quiet = |world: &Self| {
            if looked_at.get().0 != world.oracle.changes + 1 {
                looked_at.set((world.oracle.changes + 1, world.everything_is_delivered()));
            }
            looked_at.get().1
        };
        let mended = self.now + Duration::from_secs(600);
        self.run_until(|world| is_quiet(world) || world.now > mended, u64::MAX);
        self.mend_what_refuses_everything();
        self.run_until(|world| is_quiet(world) || world.now > patience, u64::MAX);
        if self.now > patience {
            self.explain();
            panic!("I15: not quiet after {:?}: {}", Duration::from_secs(1_200), self.first_missing());
        }
        self.oracle.check_complete();
        if !self.is_wide() {
            assert!(self.oracle.least_due() == 1, "every line is due to the one stream");
        }
        self.reached.sent_twice_as_due += self.oracle.sent_to_two();
        for cut in self.oracle.cuts() {
            self.reached.joined += u64::from(cut.is_joined);
            self.reached.not_joined += u64::from(!cut.is_joined);
            self.reached.certainly_joined += u64::from(cut.is_certain);
        }
        self.check_repeats();
        self.check_rests();
        if self.is_wide() {
            self.check_rest_and_truth();
        }
        self.stop_and_start();
    }

    fn end_trouble(&mut self) {
        self.services.iter_mut().for_each(|service| service.faults = Faults::default());
        self.climate.calm_down();
        self.answer_all();
        if self.engine.is_none() {
            self.start();
        }
        if !self.left_out.is_empty() {
            self.reload(&Default::default(), false);
        }
        if self.climate.keep_halves {
            let halves = self.disk.files.iter().filter_map(|file| file.half.as_ref());
            halves.for_each(|(number, _)| self.oracle.is_not_due(*number));
        } else {
            self.disk.complete_all();
        }
    }

    /// A stream that is left with nothing but bad records is held for a person, who mends its service.
    fn mend_what_refuses_everything(&mut self) {
        let Some(status) = self.status() else { return };
        let lanes = status.streams.iter().flat_map(|stream| &stream.lanes);
        for (service, lane) in self.services.iter_mut().zip(lanes) {
            let held = lane.held.as_ref();
            service.takes_poison = held.is_some_and(|(why, _)| why.reason == RetryReason::Rejected);
        }
    }

    fn check_repeats(&self) {
        let is_bounded = matches!(self.kind, Kind::Wide(Family::Repeats | Family::Stubborn | Family::Cuts));
        let excused = self.oracle.repeats_excused();
        if is_bounded {
            let repeats = self.oracle.repeats;
            assert!(repeats <= excused, "I23: {repeats} lines came twice, {excused} may have");
        } else if self.reached.crashes == 0 && excused == 0 {
            assert_eq!(self.oracle.repeats, 0, "I9: repeated without need");
        }
    }

    fn check_rests(&self) {
        let Reached { crashes, copies_inherited, sources_removed, .. } = self.reached;
        if self.shape.runtime.is_none() || crashes + copies_inherited + sources_removed == 0 {
            // Whether a joined line was too long is known only to those who read its beginning.
            assert_eq!(self.oracle.rests, 0, "the rest of a line was to be left out");
        }
    }

    /// I18: at rest, what was seen is what was read. I20: what was seen and is gone unread was declared.
    fn check_rest_and_truth(&mut self) {
        self.pass(Duration::from_secs(30));
        let halves: Vec<_> =
            self.disk.files.iter().map(|file| (file.identity, file.half.is_some())).collect();
        let status = self.status().expect("it runs");
        for file in status.files.listed.iter().filter(|file| file.state == FileState::Followed) {
            let has_half = halves.contains(&(file.identity, true));
            let (size, read) = (file.size, file.read.bytes());
            assert!(has_half || size <= read, "I18: {} has {size} bytes, {read} read", file.path.display());
        }
        if self.reached.crashes == 0 && matches!(self.kind, Kind::Wide(Family::Truth | Family::Removed)) {
            let (gone, declared) = (self.oracle.undeclared_bytes, self.declared_bytes);
            assert!(gone <= declared, "I20: {gone} bytes were seen and are gone, {declared} declared");
        }
    }

    /// I21: what is well goes on, whatever the matter is with others.
    fn check_isolation(&mut self) {
        let ill = self.services.iter().enumerate().filter(|(_, it)| it.faults.illness.is_some());
        let well = ill.fold(u8::MAX, |well, (stream, _)| well & !(1 << stream));
        // Surveys are silent of the first source alone.
        let unsurveyed = self.ailments.is_survey_silent.then(|| self.layout.sources[0].1.clone());
        let silent: Vec<_> = self.ailments.silent.iter().cloned().chain(unsurveyed).collect();
        let is_silent = |path: &Path| silent.iter().any(|silent| path.starts_with(silent));
        let mut files: Vec<FileIndex> = self.disk.names.values().copied().collect();
        files.retain(|file| !self.disk.names_of(*file).any(is_silent));
        let lines = |file: &FileIndex| self.disk.files[*file].lines.iter().map(|(_, number)| *number);
        let lines: Vec<_> = files.iter().flat_map(lines).collect();
        self.pass(ISOLATED_WITHIN);
        for number in lines {
            if !self.oracle.is_settled_in(number, well) && !self.oracle.is_excused(number) {
                self.explain();
                panic!("I21: line {number} of what is well waits for what is not");
            }
        }
    }

    /// I20: what is there is told, whether it can be read or not.
    fn check_lag(&mut self) {
        let sizes = self.disk.names.values().map(|file| &self.disk.files[*file]);
        let sizes: Vec<_> = sizes.map(|file| (file.identity, file.content.len() as u64)).collect();
        self.pass(Duration::from_secs(25));
        let status = self.status().expect("it runs");
        for file in status.files.listed.iter().filter(|file| file.state == FileState::Followed) {
            let size = sizes.iter().find(|(identity, _)| *identity == file.identity).map(|(_, size)| *size);
            let (size, told) = (size.unwrap_or(0), file.size);
            assert!(told >= size, "I20: {} has {size} bytes, {told} are told", file.path.display());
        }
    }

    /// I24: with refusals at a constant share, the rest of the quota is used.
    fn prove_share(&mut self) {
        self.write_for(Duration::from_secs(75));
        self.pass(Duration::from_secs(10));
        let faults = self.services[0].faults;
        let share = faults.throttle + faults.partial;
        self.expect_throughput(Duration::from_secs(50), 0.8 * (1.0 - share));
    }

    /// I24: after an outage, the quota is used again within seconds of the first success.
    fn prove_outage(&mut self) {
        self.write_for(Duration::from_secs(120));
        self.pass(Duration::from_secs(60));
        self.services[0].faults.illness = None;
        let before = self.oracle.accepted(0);
        let until = self.now + Duration::from_secs(60);
        self.run_until(|world| world.oracle.accepted(0) > before || world.now > until, u64::MAX);
        self.pass(Duration::from_secs(10));
        self.expect_throughput(Duration::from_secs(10), 0.9);
    }

    /// I25: everything comes over a thin link, at most twice, and most of what the link carries is of use.
    fn prove_thin(&mut self) {
        let thin = self.climate.bytes_per_second.expect("it is thin");
        let grows_thin = self.rng.u8(0..3) == 0;
        let recovers = grows_thin && self.rng.bool();
        // Above, the number of requests under way is what short lines wait for, where each has its own.
        let shortest = if grows_thin || thin > 60_000.0 { 1 } else { 0 };
        let line_bytes = [100, 1_000, 10_000, 900_000][self.rng.usize(shortest..4)];
        let first = if grows_thin { WIDE_BYTES_PER_SECOND } else { thin };
        let bytes = (60.0 * thin) as usize + if grows_thin { 4 * first as usize } else { 0 };
        self.change_link(first);
        self.write_lines((bytes / line_bytes).clamp(8, 6_000), line_bytes);
        // A record is a line, and each that is accepted is a change.
        let all = self.oracle.changes + self.oracle.written() as u64;
        if grows_thin {
            self.reached.links_grew_thin += 1;
            self.pass(Duration::from_secs(2));
        }
        self.change_link(thin);
        let before = self.link_sum();
        if recovers {
            self.pass(Duration::from_secs(60));
            self.change_link(first);
        }
        let until = self.now + Duration::from_secs(3_600);
        let is_all = |world: &Self| world.oracle.changes - world.oracle.repeats >= all;
        self.run_until(|world| is_all(world) || world.now > until, u64::MAX);
        let Sum { possible, useful, given_up } = self.link_sum();
        self.pass(Duration::from_secs(60));
        self.oracle.check_complete();
        let (part, most) =
            ((useful - before.useful) / (possible - before.possible), self.oracle.most_often());
        let told = format!(
            "{given_up} requests were given up, with lines of {line_bytes} bytes at {first:.0}, then {thin:.0} bytes a second"
        );
        assert!(most <= 2, "I25: a line came {most} times; {told}");
        assert!(recovers || part >= 0.8, "I25: {part:.2} of the link was of use; {told}");
    }

    fn write_lines(&mut self, lines: usize, line_bytes: usize) {
        let path = self.layout.sources[0].1.join("0.log");
        let file = self.disk.names[&path];
        for _ in 0..lines {
            let (number, text) = self.oracle.write_exactly(line_bytes);
            self.disk.append(file, number, &text, true);
        }
        self.make_due(file, 0);
        self.hint_grown(&path);
    }

    fn write_for(&mut self, time: Duration) {
        let quota = self.settings.streams[0].quota.records_per_second.get();
        let path = self.layout.sources[0].1.join("0.log");
        let file = self.disk.names[&path];
        for _ in 0..u64::from(quota) * time.as_secs() {
            let (number, text) = self.oracle.write("line", 100);
            self.disk.append(file, number, &text, true);
        }
        self.make_due(file, 0);
        self.hint_grown(&path);
    }

    fn expect_throughput(&mut self, time: Duration, part: f64) {
        let before = self.oracle.accepted(0);
        self.pass(time);
        let accepted = (self.oracle.accepted(0) - before) as f64;
        let allowed = f64::from(self.settings.streams[0].quota.records_per_second.get()) * time.as_secs_f64();
        assert!(
            accepted >= part * allowed,
            "I24: {:.2} of the quota was used, {part:.2} could have been",
            accepted / allowed
        );
    }

    /// What a person wants to see of a run that is not quiet in the end.
    fn explain(&mut self) {
        let mut told = String::new();
        for (path, file) in &self.disk.names {
            let file = &self.disk.files[*file];
            let left: Vec<_> =
                file.lines.iter().filter(|(_, number)| !self.oracle.is_settled(*number)).take(3).collect();
            let size = file.content.len();
            let line = format!("{} {:?} {size} bytes, undelivered: {left:?}", path.display(), file.identity);
            writeln!(told, "{line}").expect("a string takes everything");
        }
        let status = self.status();
        let open = format!("open: {:?}\n{status:#?}", self.open);
        self.trace.push_str(&told);
        self.trace.push_str(&open);
    }

    fn first_missing(&self) -> String {
        for (path, file) in &self.disk.names {
            let mut lines = self.disk.files[*file].lines.iter();
            let is_missing = |number| !self.oracle.is_settled(number) && !self.oracle.is_excused(number);
            if let Some((end, number)) = lines.find(|(_, number)| is_missing(*number)) {
                return format!("{} lacks line {number}, which ends at {end}", path.display());
            }
        }
        format!("{} lines that are like others, or what has no name", self.oracle.alike_missing())
    }

    /// I17: after a clean stop with a healthy service, the next start repeats nothing.
    fn stop_and_start(&mut self) {
        self.tell(Event::Drain);
        self.run_until(|world| world.engine.as_ref().is_some_and(Engine::is_done), 100_000);
        let repeats = self.oracle.repeats;
        self.down();
        self.start();
        let until = self.now + Duration::from_secs(60);
        self.run_until(|world| world.now >= until, 100_000);
        assert_eq!(self.oracle.repeats, repeats, "I17: a clean stop and start repeated lines");
        self.oracle.check_complete();
    }

    /// A file is removed while the service is down, with more in it than is read ahead; `then` makes the daemon give
    /// it up. What is lost is declared, and all that was read is delivered once the service is back.
    pub fn gives_up_what_is_removed(&mut self, then: impl Fn(&mut Self)) {
        self.climate = CALM;
        self.services[0].faults = Faults { illness: Some(Illness::Down), ..Faults::default() };
        let name = Path::new("/log/0.log");
        while self.disk.files[self.disk.names[name]].content.len() < 3 * self.settings.memory.buffer as usize
        {
            self.append(name);
        }
        self.disk.complete_all();
        self.pass(Duration::from_secs(60));
        self.remove(name);
        self.pass(Duration::from_secs(60));
        assert_eq!(self.open.len(), 1, "it is held");
        then(self);
        assert_eq!(self.open.len(), 0, "it is given up");
        let counts = &self.status().expect("it runs").counts.sources[0];
        let declared: u64 = counts.abandoned_bytes.values().sum();
        assert!(declared > 0 && self.oracle.excused() > 0, "what is lost is declared");
        self.services[0].faults = Faults::default();
        self.pass(Duration::from_secs(600));
        self.oracle.check_complete();
        let delivered = self.oracle.written() - self.oracle.excused();
        assert!(delivered > 0, "what was read is delivered");
    }

    pub fn fill_the_disk(&mut self) {
        self.disk.is_nearly_full = true;
    }

    /// Whether the files on the disk take room there.
    pub fn let_files_take_room(&mut self, they_do: bool) {
        self.disk.files.iter_mut().for_each(|file| file.is_without_blocks = !they_do);
    }

    fn everything_is_delivered(&self) -> bool {
        self.disk.names.values().chain(self.open.values()).all(|file| {
            let lines = &self.disk.files[*file].lines;
            lines.iter().all(|(_, number)| self.oracle.is_settled(*number) || self.oracle.is_excused(*number))
        }) && !self.oracle.has_fragile()
            && self.oracle.alike_missing() == 0
    }
}
