//! Rotations in the middle of what a program says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use standpipe::engine::port::Hint;

use super::disk::{FileIndex, LineNumber};
use super::oracle::Cut;
use super::special::Special;
use super::world::World;

/// How long what is cut waits for its rest at most, where the engine has to join it.
const AT_ONCE_MICROS: u64 = 400_000;

/// What is written to the file that follows: where lines end in it, and what is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    bytes: Vec<u8>,
    ends: Vec<(usize, LineNumber)>,
    cut: Cut,
}

/// Bytes of a file, and the lines that end there.
type Written = (Vec<u8>, Vec<(usize, LineNumber)>);

impl World {
    /// Writes the beginning of a message; the file is renamed, and the rest comes in another of its name.
    pub fn cut_message(&mut self, name: &Path, is_dated: bool, waits: [u64; 2]) {
        if !self.cutting.insert(name.to_owned()) {
            return;
        }
        let file = match self.disk.find(name) {
            Some(file) => file,
            None => self.create(name),
        };
        let before = self.disk.files[file].lines.len();
        self.disk.complete(file);
        for _ in 0..self.rng.usize(0..3) {
            self.append_whole(file);
        }
        let ((bytes, ends), rest) = self.draw_cut(waits);
        self.disk.append_mixed(file, &bytes, &ends);
        self.disk.files[file].cut = (rest.cut.last == rest.cut.first).then_some(rest.cut.first);
        self.make_due(file, before);
        self.hint_grown(name);
        let next = Special::TurnOver { name: name.to_owned(), is_dated, wait: waits[1], rest };
        self.then(Duration::from_micros(waits[0]), next);
    }

    fn append_whole(&mut self, file: FileIndex) {
        let (number, text) = self.shaped_line("line", 150);
        let parts = self.shape.parts(&text, "stdout", &mut self.rng);
        self.disk.append(file, number, &parts.concat(), true);
    }

    fn draw_cut(&mut self, waits: [u64; 2]) -> (Written, Rest) {
        let is_at_once = waits[0] + waits[1] <= AT_ONCE_MICROS;
        let is_calm =
            self.climate.crash == 0.0 && self.climate.lose_hint == 0.0 && self.climate.fail_save == 0.0;
        let mut pieces = if self.shape.runtime.is_some() { self.draw_parts() } else { self.draw_group() };
        let second = pieces.split_off(self.rng.usize(1..pieces.len()));
        let number = |piece: Option<&(Vec<u8>, LineNumber, bool)>| piece.expect("there is one").1;
        let (last, first) = (number(pieces.last()), number(second.first()));
        let cut = Cut { last, first, is_certain: is_at_once && is_calm, is_joined: false };
        if self.shape.runtime.is_some() && self.rng.u8(0..4) == 0 {
            let (number, text) = self.shaped_line("line", 100);
            let text = self.shape.parts(&text, "stderr", &mut self.rng).concat();
            pieces.push((text, number, true));
        }
        let (bytes, ends) = written(second);
        (written(pieces), Rest { bytes, ends, cut })
    }

    /// A line of a container in two parts or more.
    fn draw_parts(&mut self) -> Vec<(Vec<u8>, LineNumber, bool)> {
        let (number, text) = self.oracle.write_cells("line", 500, false, self.shape.longest);
        loop {
            let parts = self.shape.parts(&text, "stdout", &mut self.rng);
            if parts.len() > 1 {
                let last = parts.len() - 1;
                let parts = parts.into_iter().enumerate();
                return parts.map(|(index, part)| (part, number, index == last)).collect();
            }
        }
    }

    /// Lines of which all but the first go on with the one before.
    fn draw_group(&mut self) -> Vec<(Vec<u8>, LineNumber, bool)> {
        let count = self.rng.usize(2..6);
        let lines = (0..count).map(|index| {
            let (number, text) = self.oracle.write_cells("line", 100, index > 0, self.shape.longest);
            (text, number, true)
        });
        lines.collect()
    }

    /// The file is renamed as a rotator does it, and the rest comes a while later.
    pub fn turn_over(&mut self, name: &Path, is_dated: bool, wait: u64, rest: &Rest) {
        let Some(file) = self.disk.find(name) else { return };
        let is_known = self.open.values().any(|open| *open == file);
        let mut rest = rest.clone();
        rest.cut.is_certain &= is_known;
        let to = match is_dated {
            true => self.dated_name(name),
            false => self.shift_generations(name),
        };
        self.rename(name, &to);
        self.then(Duration::from_micros(wait), Special::GoOn { name: name.to_owned(), rest });
    }

    fn dated_name(&self, name: &Path) -> PathBuf {
        let number = self.disk.files.len();
        name.with_extension(format!("log.20261129-{number:06}"))
    }

    fn shift_generations(&mut self, name: &Path) -> PathBuf {
        let mut last = 1;
        while self.disk.names.contains_key(&Self::generation_name(name, last)) {
            last += 1;
        }
        for number in (1..last).rev() {
            let (from, to) = (Self::generation_name(name, number), Self::generation_name(name, number + 1));
            self.rename(&from, &to);
        }
        Self::generation_name(name, 1)
    }

    /// The rest of what is cut is written to another file of the name.
    pub fn go_on(&mut self, name: &Path, rest: &Rest) {
        self.cutting.remove(name);
        let file = self.create(name);
        self.disk.append_mixed(file, &rest.bytes, &rest.ends);
        if self.rng.bool() {
            self.append_whole(file);
        }
        self.make_due(file, 0);
        self.oracle.expect_joined(rest.cut.clone());
        self.hint_grown(name);
        self.hint(Hint::Names);
    }
}

fn written(pieces: Vec<(Vec<u8>, LineNumber, bool)>) -> Written {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for (piece, number, is_end) in pieces {
        bytes.extend(piece);
        ends.extend(is_end.then_some((bytes.len(), number)));
    }
    (bytes, ends)
}
